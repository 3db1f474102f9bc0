"""A denoiser adapted to the very tomograms that it is to denoise; no clean domain is needed.

A general model knows what density looks like, and not how these tomograms were made. Noise and
transfer are measured on each of them (`dual_core.noise_model.own_model`). Then the denoiser trains
for some minutes, on blocks of 64 voxels a side, each step on two things at once:

* two copies of a real block with independent noise (`dual_core.training.pairs.recorruption`): what
  the transfer makes of the density of one is compared with the other, shell by shell. This is where
  the tomograms teach it;
* the density that the model had made of the block before, seen through the same transfer under
  fresh noise. This is the prior: it keeps what the model knew, and the scale of its output.
"""

from __future__ import annotations

import copy
import json
import logging
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Callable, List, Optional, Sequence, Tuple

import numpy as np
import torch
from torch import Tensor, nn

from dual_core.errors import DualError
from dual_core.networks.card import DENOISE, ModelCard
from dual_core.networks.devices import choose_devices
from dual_core.networks.model import DualModel, save_denoiser, write_atomically
from dual_core.noise_model.calibration import MARGIN, seen_through
from dual_core.noise_model.own_model import own_linear_model
from dual_core.noise_model.tapered_power import on_grid
from dual_core.safety.documents import parse_json
from dual_core.tasks.given_volume import GivenTomogram
from dual_core.training.pairs.recorrupted import RecorruptionLoss
from dual_core.training.pairs.recorruption import Recorruption
from dual_core.volumes.described.describe import SEEN
from dual_core.volumes.interface import Triple
from dual_core.volumes.reading import open_volume

logger = logging.getLogger(__name__)

MODEL, RECORD = "adapted.safetensors", "adapted.json"
SIDE = 64  # of the blocks, in voxels
SMALLEST = 32  # side of the smallest block that a spectrum can be compared on
MOST_TOMOGRAMS = 12  # that are trained on; of more some are taken evenly
RATE = 3e-4
DECAY_FROM = 0.4  # of the time after which the rate falls to 0
PRIOR = 1.0  # weight of the prior, in relative squared error
GRADIENT_NORM = 1.0
SAVE_EVERY_S = 30.0

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Record:
    """What `RECORD` says: how far an adaptation is, and what it is of."""

    model: str
    tomograms: Tuple[str, ...]
    minutes_wanted: float
    minutes_done: float
    steps: int


class _Tomogram:
    """A tomogram to train on: blocks of it, its noise and its transfer."""

    def __init__(
        self, given: GivenTomogram, side: int, network: Callable[[np.ndarray], np.ndarray],
        device: torch.device, generator: np.random.Generator,
    ) -> None:
        self.entry = given.entry
        self._size = (side,) * 3

        def density(start: Triple, size: Triple) -> np.ndarray:
            return network(self.entry.read(start, size))

        linear = own_linear_model(self.entry, density, generator)
        for frequency, _, ratio in linear.bands:
            logger.debug("%s: %.0f A: signal over noise %.2g", given.volume.name,
                         given.voxel_size_A / frequency, ratio)
        self._recorruption = Recorruption(linear, self._size)
        self.loss = RecorruptionLoss(linear, side, device, "coherence")
        self._transfer = on_grid(linear.transfer, (side + 2 * MARGIN,) * 3)

    def draw(self, generator: np.random.Generator) -> np.ndarray:
        """A random block."""
        return self.entry.read(self.entry.random_start(self._size, generator), self._size)

    def copies(
        self, block: np.ndarray, generator: np.random.Generator
    ) -> Tuple[np.ndarray, np.ndarray]:
        """Two copies of a block with independent noise."""
        seen, other = self._recorruption(block, generator)
        return np.clip(seen, -SEEN, SEEN), other

    def again(
        self, block: np.ndarray, density: np.ndarray, generator: np.random.Generator
    ) -> np.ndarray:
        """The density as this tomogram would show it, under fresh noise as strong as a block's."""
        noise = self._recorruption.noise(block, generator)
        result = seen_through(density, self._transfer) + noise
        return np.clip(result, -SEEN, SEEN).astype(np.float32)


def adapted_model(
    model: DualModel,
    sources: Sequence[Path],
    folder: Path,
    minutes: float,
    options: Any,
    device: str = "auto",
    name: str = "",
    resume: bool = False,
    progress: Optional[Progress] = None,
) -> DualModel:
    """Train the denoiser on tomograms for some minutes; the model with the adapted denoiser.

    The model is kept as ``adapted.safetensors`` in `folder`, written twice a minute, with a record
    of how far it is.

    Parameters
    ----------
    model : any model; it stays as it is.
    sources : the tomograms.
    folder : for the model and the record; it is there.
    minutes : how long to train.
    options : `DenoiseOptions`: contrast, voxel size and tilt axis of the tomograms.
    device : see `dual_core.networks.devices`.
    name : what the record calls the model: its hash.
    resume : go on from the record in `folder`, if it is of the same model and tomograms.
    progress : ``progress(done, total)`` in seconds.

    Raises
    ------
    DualError
        If no tomogram can be read and has `SMALLEST` voxels along each axis.
    """
    wanted = Record(name, tuple(str(source) for source in sources), minutes, 0.0, 0)
    begun = _begun(folder, wanted) if resume else None
    if begun is not None:
        model = DualModel.load(folder / MODEL)
        logger.info("going on with %s, adapted for %.1f minutes", folder / MODEL,
                    begun.minutes_done)
    record = begun or wanted
    card = replace(model.card, task=DENOISE, likeness=None)
    place = choose_devices(device)[0]
    student = copy.deepcopy(model.denoiser).to(place).train()
    if record.minutes_done < minutes:
        teacher = copy.deepcopy(model.denoiser).to(place).eval().requires_grad_(False)
        run = _Run(student, teacher, model.multiple, place)
        run.open(sources, model.card, options)
        record = run.train(record, progress, lambda now: _save(student, card, folder, now))
        logger.info("adapted in %d steps; the model is %s", record.steps, folder / MODEL)
    result = DualModel(model.config, card)
    result.denoiser.load_state_dict(student.state_dict())
    return result.eval()


class _Run:
    """Student, teacher and the tomograms that they train on."""

    def __init__(
        self, student: nn.Module, teacher: nn.Module, multiple: int, device: torch.device
    ) -> None:
        self.student, self.teacher = student, teacher
        self._multiple = multiple
        self._device = device
        self._generator = np.random.default_rng(0)
        self._optimiser = torch.optim.AdamW(student.parameters(), RATE, weight_decay=1e-6)
        self.tomograms: List[_Tomogram] = []

    def open(self, sources: Sequence[Path], card: ModelCard, options: Any) -> None:
        """Measure noise and transfer of each tomogram; one that cannot be used is left out."""
        count = min(len(sources), MOST_TOMOGRAMS)
        failed: List[DualError] = []
        for place in np.linspace(0, len(sources) - 1, count).round().astype(int):
            try:
                self.tomograms.append(self._opened(sources[place], card, options))
            except DualError as error:
                failed.append(error)
        if not self.tomograms:
            raise failed[0]
        for reason in failed:
            logger.warning("left out of the adaptation: %s", reason)

    def _opened(self, source: Path, card: ModelCard, options: Any) -> _Tomogram:
        volume = open_volume(source, voxel_size_A=options.voxel_size_A)
        axis = options.tilt_axis or card.tilt_axis
        given = GivenTomogram(volume, card, options.contrast, axis)
        side = min(SIDE, *given.shape) // self._multiple * self._multiple
        if side < SMALLEST:
            raise DualError(
                f"{volume.name} is too thin to adapt to ({min(given.shape)} voxels of at "
                f"least {SMALLEST}); leave out --adapt"
            )
        return _Tomogram(given, side, self._density, self._device, self._generator)

    def train(
        self, record: Record, progress: Optional[Progress], save: Callable[[Record], None]
    ) -> Record:
        """Train until the time is over."""
        before, started = 60.0 * record.minutes_done, time.monotonic()
        total = 60.0 * record.minutes_wanted
        saved = started
        while True:
            now = time.monotonic()
            done = before + now - started
            if now - saved > SAVE_EVERY_S or done >= total:
                record = replace(record, minutes_done=done / 60.0)
                save(record)
                saved = now
            if progress is not None:
                progress(int(min(done, total)), int(total))
            if done >= total:
                return record
            part = done / total
            for group in self._optimiser.param_groups:
                group["lr"] = RATE * min(1.0, max((1.0 - part) / (1.0 - DECAY_FROM), 0.01))
            self._step()
            record = replace(record, steps=record.steps + 1)

    def _step(self) -> None:
        generator = self._generator
        tomogram = self.tomograms[int(generator.integers(len(self.tomograms)))]
        block = tomogram.draw(generator)
        if float(np.ptp(block)) == 0.0:  # padding
            return
        seen, other = tomogram.copies(block, generator)
        loss = tomogram.loss(self.student(self._tensor(seen)), self._tensor(other))
        known = self._density(block)
        again = self.student(self._tensor(tomogram.again(block, known, generator)))
        wanted = self._tensor(known)
        loss = loss + PRIOR * (again - wanted).square().mean() / wanted.var().clamp_min(1e-6)
        if not bool(torch.isfinite(loss)):
            return
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.student.parameters(), GRADIENT_NORM)
        self._optimiser.step()

    def _density(self, block: np.ndarray) -> np.ndarray:
        """What the model as it was makes of a block of any shape."""
        rest = [(0, -n % self._multiple) for n in block.shape]
        with torch.no_grad():
            output = self.teacher(self._tensor(np.pad(block, rest, mode="reflect")))[0, 0]
        z, y, x = block.shape
        found: np.ndarray = output.cpu().numpy()[:z, :y, :x]
        return found

    def _tensor(self, block: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(block)[None, None]).to(self._device)


def _save(network: nn.Module, card: ModelCard, folder: Path, record: Record) -> None:
    """Model first: a record speaks of a model that is there."""
    save_denoiser(network, card, folder / MODEL)
    write_atomically(folder / RECORD, json.dumps(asdict(record)).encode())


def _begun(folder: Path, wanted: Record) -> Optional[Record]:
    """How far the same adaptation is, or None."""
    try:
        values = parse_json((folder / RECORD).read_text(encoding="utf-8"))
        same = all(
            values[name] == json.loads(json.dumps(getattr(wanted, name)))
            for name in ("model", "tomograms")
        )
        done, steps = float(values["minutes_done"]), int(values["steps"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not same or not (folder / MODEL).exists():
        return None
    return replace(wanted, minutes_done=done, steps=steps)
