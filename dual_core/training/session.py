"""The state of a training run: what a checkpoint holds and what one iteration changes."""
from __future__ import annotations

import datetime
from pathlib import Path
from typing import Dict, List, Union

import numpy as np
import torch

from .. import __version__
from ..card import ModelCard
from ..errors import DualError
from ..linear_simulator import LinearSimulator
from ..model import DualModel, plain_config
from ..patches import generator_state, restored_generator
from ..wedge_pairs import WedgePairs
from .checkpoint import load_checkpoint, save_checkpoint
from .config import TrainingConfig
from .data import TrainingData
from .step import Batch, Trainer, all_finite

MODEL = "model.safetensors"
SNAPSHOTS = "snapshots"
# On the card of a checkpoint, and to be the same when a run goes on.
COMPARED = (
    "network", "noisy_domain", "clean_domain", "voxel_size_A", "seed", "method", "task",
    "tilt_range_deg",
)


class Session:
    """What a checkpoint holds: the trainer, the data's position, the random states."""

    def __init__(
        self, data: TrainingData, config: TrainingConfig, device: torch.device, bfloat16: bool
    ) -> None:
        self.data = data
        self.config = config
        self.device = device
        self.iteration = 0
        self.generator = np.random.default_rng(config.seed)
        torch.manual_seed(config.seed)
        model = DualModel(config.network, make_card(data, config, 0)).to(device)
        self.trainer = Trainer(model, config, bfloat16)

    def iterate(self) -> Dict[str, float]:
        """One iteration; its loss terms."""
        config = self.config
        values = self.trainer.step(self._batch(), self.iteration / config.iterations)
        if self.data.simulator is not None and all_finite(values):
            values.update(self._rehearse(self.data.simulator))
        self.iteration += 1
        return values

    def _rehearse(self, simulator: LinearSimulator) -> Dict[str, float]:
        """Steps of Dn and of Gs on pairs of the linear model; their mean losses."""
        config, rehearsals = self.config, self.trainer.rehearsals
        found: Dict[str, List[float]] = {"loss_rehearsal": [], "loss_generator_rehearsal": []}
        for _ in range(config.rehearsals):
            if self.data.wedge_pairs is not None:
                pair = self.data.wedge_pairs.draw(self.generator)
                tomogram, turned = (
                    self._tensor(part[np.newaxis, np.newaxis]) for part in pair[:2]
                )
                learn = self._tensor(pair.learn)
                found["loss_rehearsal"].append(rehearsals.wedge(tomogram, turned, learn))
                continue
            pairs = simulator.draw(config.batch, self.generator)
            tomogram, density = self._tensor(pairs.tomogram), self._tensor(pairs.density)
            found["loss_rehearsal"].append(rehearsals.denoiser(tomogram, density))
        for _ in range(config.generator_rehearsals):
            block = simulator.draw_block(self.generator)
            arrays = (*block, self._codes(1))
            found["loss_generator_rehearsal"].append(
                rehearsals.generator(*(self._tensor(array) for array in arrays))
            )
        return {name: float(np.mean(values)) for name, values in found.items() if values}

    def _codes(self, count: int) -> np.ndarray:
        shape = (count, self.config.network.code_size)
        return self.generator.standard_normal(shape, dtype=np.float32)

    def _batch(self) -> Batch:
        config, random = self.config, self.generator
        tomogram = self.data.noisy.patches.draw(config.batch, random)
        code = self._codes(config.batch)
        linear = None
        if self.data.simulator is None:
            density = self.data.clean.patches.draw(config.batch, random)
            noise = random.standard_normal(density.shape, dtype=np.float32)
        else:
            pairs = self.data.simulator.draw(config.batch, random)
            density, noise, linear = pairs.density, pairs.noise, self._tensor(pairs.tomogram)
        return Batch(
            self._tensor(tomogram), self._tensor(density), self._tensor(noise),
            self._tensor(code), linear,
        )

    def _sources(self) -> Dict[str, Union[LinearSimulator, WedgePairs]]:
        """What draws rehearsals and has a pool to save, by its name in a checkpoint."""
        sources = {"simulator": self.data.simulator, "wedge_pairs": self.data.wedge_pairs}
        return {name: source for name, source in sources.items() if source is not None}

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array).to(self.device)

    def save(self, run: Path) -> None:
        """Write checkpoint and model."""
        values = {
            "iteration": self.iteration,
            "generator": generator_state(self.generator),
            "noisy": self.data.noisy.patches.state(),
            "clean": self.data.clean.patches.state(),
            "trainer": self.trainer.plain_state(),
            **{name: source.state() for name, source in self._sources().items()},
            "card": make_card(self.data, self.config, self.iteration).to_json(),
        }
        tensors = self.trainer.tensors()
        for source_name, source in self._sources().items():
            for name, array in source.tensors().items():
                tensors[f"{source_name}.{name}"] = torch.from_numpy(array)
        save_checkpoint(run, tensors, values)
        self._model_to_save().save(run / MODEL)

    def save_snapshot(self, run: Path) -> None:
        """Keep the model as it is now."""
        folder = run / SNAPSHOTS
        folder.mkdir(exist_ok=True)
        self._model_to_save().save(folder / f"model_{self.iteration:07d}.safetensors")

    def _model_to_save(self) -> DualModel:
        model = self.trainer.averaged_model()
        model.card = make_card(self.data, self.config, self.iteration)
        return model

    def restore(self, run: Path) -> None:
        """Go back to the checkpoint in `run`."""
        tensors, values = load_checkpoint(run)
        previous = ModelCard.from_json(values["card"], run)
        present = make_card(self.data, self.config, int(values["iteration"]))
        for what in COMPARED:
            if getattr(previous, what) != getattr(present, what):
                raise DualError(
                    f"{run} was trained with another {what.replace('_', ' ')}; give the options "
                    "of that run, or another --output"
                )
        self.trainer.restore(tensors, values["trainer"])
        self.generator = restored_generator(values["generator"])
        self.data.noisy.patches.restore(values["noisy"])
        self.data.clean.patches.restore(values["clean"])
        for source_name, source in self._sources().items():
            prefix = f"{source_name}."
            pool = {
                name[len(prefix) :]: tensor.numpy()
                for name, tensor in tensors.items()
                if name.startswith(prefix)
            }
            source.restore(pool, values[source_name])
        self.iteration = int(values["iteration"])


def make_card(data: TrainingData, config: TrainingConfig, iterations: int) -> ModelCard:
    """The card of the model that this training makes."""
    return ModelCard(
        voxel_size_A=data.voxel_size_A,
        contrast=data.clean.contrast,
        noisy_contrast=data.noisy.contrast,
        network=plain_config(config.network),
        task=config.task,
        method=config.method,
        iterations=iterations,
        seed=config.seed,
        clean_mean=data.clean.mean,
        clean_deviation=data.clean.deviation,
        noisy_domain=list(data.noisy.facts),
        clean_domain=list(data.clean.facts),
        tilt_range_deg=config.tilt_range_deg,
        software_version=__version__,
        date=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    )
