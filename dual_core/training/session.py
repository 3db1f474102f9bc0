"""The state of a training run: what a checkpoint holds and what one iteration changes."""
from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, Iterator, List, Mapping, Optional, Tuple

import numpy as np
import torch

from dual_core.errors import DualError
from dual_core.networks.card import MODEL_FILE, ModelCard
from dual_core.networks.devices import patches_that_fit
from dual_core.networks.model import DualModel
from dual_core.noise_model.full_power.network_gain import network_gain
from dual_core.noise_model.full_power.noise_profile import profile_to_arrays
from dual_core.noise_model.linear_file import linear_to_arrays
from dual_core.tiles.runner import is_out_of_memory
from dual_core.training.checkpoint import (
    check_values,
    no_checkpoint_left,
    readable_checkpoints,
    save_checkpoint,
    tell_of_damage,
)
from dual_core.training.config import TrainingConfig
from dual_core.training.data import TrainingData, make_card
from dual_core.training.monitor import all_finite
from dual_core.training.pairs.batch import Batch
from dual_core.training.pairs.draws import Drawn, Draws, Place
from dual_core.training.pairs.recorrupted import RecorruptionLoss
from dual_core.training.parallel.ranks import ALONE, Ranks
from dual_core.training.start import start_from
from dual_core.training.step import Trainer

logger = logging.getLogger(__name__)

SNAPSHOTS = "snapshots"
# Of the weights of two processes, in their root mean square. Like machines have equal ones.
ALIKE = 1e-2
# On the card of a checkpoint, and to be the same when a run goes on.
COMPARED = (
    "network", "noisy_domain", "clean_domain", "voxel_size_A", "seed", "method", "task",
    "tilt_range_deg",
)


class OtherTraining(DualError):
    """A checkpoint is whole, and of a training with other options or data."""


class Session:
    """What a checkpoint holds: the trainer, the data's position, the random states."""

    def __init__(
        self,
        data: TrainingData,
        config: TrainingConfig,
        device: torch.device,
        bfloat16: bool,
        ranks: Ranks = ALONE,
    ) -> None:
        self.data = data
        self.config = config
        self.device = device
        self.ranks = ranks
        self.iteration = 0
        self.batch = config.batch  # less where memory is short
        most = patches_that_fit(device, config.network.channels[0], config.patch, bfloat16)
        if most is not None and most < config.batch and ranks.count == 1:
            self.batch = max(most, 1)
            logger.warning("%s has memory for a batch of %d, not %d; going on with that",
                           device, self.batch, config.batch)
        self._recorruption_loss: Optional[RecorruptionLoss] = None
        torch.manual_seed(config.seed)
        model = DualModel(config.network, make_card(data, config, 0)).to(device)
        if config.start_from:
            start_from(model, config.start_from, data.simulator, config.seed)
        ranks.share_first(model)
        self.trainer = Trainer(model, config, bfloat16, ranks, self._filters())
        self.draws = Draws(data, config, self._new_generator(), device)
        self._next = self.draws.next
        self._place: Optional[Place] = None

    def _filters(self) -> Optional[Tuple[torch.Tensor, torch.Tensor]]:
        """h and c of equation 1 for a patch."""
        profile, side = self.data.profile, self.config.patch
        if profile is None:
            return None
        shape = (side, side, side)
        h, c = profile.transfer_on(shape), profile.response(shape)
        return torch.from_numpy(h).to(self.device), torch.from_numpy(c).to(self.device)

    def _new_generator(self) -> np.random.Generator:
        """Draws of its own for each process, which no process before this iteration had."""
        seed = self.config.seed
        if self.ranks.first:
            return np.random.default_rng(seed)
        return np.random.default_rng([seed, self.ranks.number, self.iteration])

    def iterate(self) -> Dict[str, float]:
        """One iteration; its loss terms. Without memory for it, half the batch from here on."""
        drawn = self._next()
        while True:
            try:
                values = self._train_on(drawn)
                break
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            self._halve()  # outside the handler, so that the tensors that the error holds are gone
        self.iteration += 1
        self._place = drawn.after
        return values

    def _train_on(self, drawn: Drawn) -> Dict[str, float]:
        batch = Batch(*self._moved(drawn.batch))
        values = self.trainer.step(batch, self.iteration / self.config.iterations)
        if all_finite(values):
            values.update(self._rehearse(drawn))
        return values

    def _halve(self) -> None:
        """Train on half of each batch from now on.

        Raises
        ------
        DualError
            If a batch has one patch; and where several processes train together, of which the
            others have memory and would wait.
        """
        device, batch = self.device, self.batch
        if batch == 1 or self.ranks.count > 1:
            raise DualError(
                f"out of memory on {device} with a batch of {batch}; give a smaller "
                f"{'--patch' if batch == 1 else '--batch'}, or free memory there"
            )
        self.batch = batch // 2
        self.trainer.drop_gradients()
        if device.type == "cuda":
            torch.cuda.empty_cache()
        logger.warning(
            "out of memory on %s with a batch of %d at iteration %d; going on with %d",
            device, batch, self.iteration + 1, self.batch,
        )

    @contextmanager
    def drawing_ahead(self) -> Iterator[None]:
        """Let a thread draw for the next iteration beside this one. The run ends in this block."""
        with self.draws.ahead() as self._next:
            yield

    def _rehearse(self, drawn: Drawn) -> Dict[str, float]:
        """Steps of Dn and of Gs on known pairs and on real blocks; their mean losses."""
        rehearsals = self.trainer.rehearsals
        of_dn: Callable[..., float] = rehearsals.denoiser
        if self.data.wedge_pairs is not None:
            of_dn = rehearsals.wedge
        found = {
            "loss_rehearsal": [of_dn(*self._moved(known)) for known in drawn.known],
            "loss_generator_rehearsal": [
                rehearsals.generator(*self._moved(block)) for block in drawn.blocks
            ],
            "loss_recorrupted": [
                rehearsals.recorrupted(seen, other, self._loss_of_copies())
                for seen, other in map(self._moved, drawn.recorrupted)
            ],
        }
        return {name: float(np.mean(values)) for name, values in found.items() if values}

    def _loss_of_copies(self) -> RecorruptionLoss:
        pairs = self.data.recorrupted
        assert pairs is not None
        if self._recorruption_loss is None:
            self._recorruption_loss = RecorruptionLoss(
                pairs.model, pairs.side, self.device, self.config.recorrupted_loss
            )
        return self._recorruption_loss

    def _moved(self, tensors: Iterable[Optional[torch.Tensor]]) -> List[Any]:
        """As much as a batch holds, on the device; a GPU fetches it while it computes."""
        return [
            None if tensor is None else tensor[: self.batch].to(self.device, non_blocking=True)
            for tensor in tensors
        ]

    def save(self, run: Path) -> None:
        """Write checkpoint and model, with the draws of all processes; the first one writes."""
        self._require_alike()
        drawn = self.ranks.gather(self._draws())
        if not self.ranks.first:
            return
        tensors = self.trainer.tensors()
        for number, (own, _) in enumerate(drawn):
            tensors.update({_prefix(number) + name: tensor for name, tensor in own.items()})
        values = {
            "iteration": self.iteration,
            **drawn[0][1],
            "others": [own for _, own in drawn[1:]],
            "trainer": self.trainer.plain_state(),
            "card": make_card(self.data, self.config, self.iteration).to_json(),
            "batch": self.batch,
        }
        save_checkpoint(run, tensors, values)
        self._model_to_save().save(run / MODEL_FILE)

    def _draws(self) -> Tuple[Dict[str, torch.Tensor], Dict[str, Any]]:
        """What each process has for itself: random state, place in the data, pools, codes."""
        place = self._place or self.draws.place()
        tensors = {name: torch.as_tensor(array).cpu() for name, array in place.tensors.items()}
        return {"codes": self.trainer.codes.cpu(), **tensors}, place.values

    def _require_alike(self) -> None:
        """See that all processes hold the same weights.

        Raises
        ------
        DualError
            If they have come apart: then each would train a model of its own.
        """
        difference = self.ranks.difference(self.trainer.weights())
        if self.ranks.count > 1:
            logger.debug("largest difference between the processes' weights: %g", difference)
        if not difference <= ALIKE:
            raise DualError(
                f"the weights of the processes differ by {difference:.2g} of their size at "
                f"iteration {self.iteration}; train on GPUs of one kind, or on one GPU"
            )

    def save_snapshot(self, run: Path) -> None:
        """Keep the model as it is now."""
        folder = run / SNAPSHOTS
        folder.mkdir(exist_ok=True)
        self._model_to_save().save(folder / f"model_{self.iteration:07d}.safetensors")

    def _model_to_save(self) -> DualModel:
        model = self.trainer.averaged_model()
        model.card = make_card(self.data, self.config, self.iteration)
        if self.data.linear is not None:
            arrays = linear_to_arrays(self.data.linear)
            profile, clean = self.data.profile, self.data.clean.volumes
            if profile is not None:
                gain = network_gain(model.structural_generator, clean, profile, self.config.seed)
                arrays.update(profile_to_arrays(replace(profile, gain=gain)))
            model.linear = {name: torch.from_numpy(array) for name, array in arrays.items()}
        return model

    def restore(self, run: Path) -> None:
        """Go back to the newest checkpoint in `run` that can be used.

        Raises
        ------
        DualError
            Where there is none, and where it is of a training with other options.
        """
        for folder, tensors, values in readable_checkpoints(run):
            try:
                check_values(values, folder)
                previous = ModelCard.from_json(values["card"], folder)
                self._require_same(previous, values, run)
                self._put_back(tensors, values)
            except OtherTraining:
                raise
            except (
                DualError, RuntimeError, LookupError, TypeError, ValueError, AttributeError,
                OverflowError,
            ) as error:  # whatever is wrong with it, the one before is whole
                tell_of_damage(folder, error)
                continue
            self._require_alike()
            return
        raise no_checkpoint_left(run)

    def _require_same(self, previous: ModelCard, values: Mapping[str, Any], run: Path) -> None:
        present = make_card(self.data, self.config, int(values["iteration"]))
        for what in COMPARED:
            if getattr(previous, what) != getattr(present, what):
                raise OtherTraining(
                    f"{run} was trained with another {what.replace('_', ' ')}; give the options "
                    "of that run, or another --output"
                )

    def _put_back(self, tensors: Dict[str, torch.Tensor], values: Mapping[str, Any]) -> None:
        """Put back what `save` wrote."""
        self.trainer.restore(tensors, values["trainer"])
        self.iteration = int(values["iteration"])
        self.batch = min(max(int(values.get("batch", self.batch)), 1), self.batch)
        drawn: List[Mapping[str, Any]] = [values, *values.get("others", [])]
        if self.ranks.number < len(drawn):
            self._restore_draws(tensors, drawn[self.ranks.number])
        else:  # more processes than before: this one begins with draws of its own
            self.draws.generator = self._new_generator()
            self.draws.iteration = self.iteration

    def _restore_draws(
        self, tensors: Mapping[str, torch.Tensor], values: Mapping[str, Any]
    ) -> None:
        """Put back what `_draws` gave for this process."""
        own = _prefix(self.ranks.number)
        self.trainer.codes = tensors[own + "codes"].to(self.device)
        arrays = {
            name[len(own) :]: tensor.numpy()
            for name, tensor in tensors.items()
            if name.startswith(own)
        }
        self.draws.restore(Place(arrays, dict(values)), self.iteration)
        self._place = self.draws.place()


def _prefix(number: int) -> str:
    """What the names of a process's own tensors begin with in a checkpoint."""
    return f"process{number}." if number else ""
