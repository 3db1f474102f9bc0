"""The state of a training run: what a checkpoint holds and what one iteration changes."""
from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Tuple, Union

import numpy as np
import torch

from dual_core.errors import DualError
from dual_core.networks.card import ModelCard
from dual_core.networks.model import DualModel
from dual_core.noise_model.full_power.noise_profile import profile_to_arrays
from dual_core.noise_model.linear_file import linear_to_arrays
from dual_core.noise_model.linear_simulator import LinearSimulator
from dual_core.training.checkpoint import (
    MODEL,
    check_values,
    no_checkpoint_left,
    readable_checkpoints,
    save_checkpoint,
    tell_of_damage,
)
from dual_core.training.config import TrainingConfig
from dual_core.training.data import TrainingData, make_card
from dual_core.training.monitor import all_finite
from dual_core.training.pairs.recorrupted import RecorruptedPairs, RecorruptionLoss
from dual_core.training.pairs.turned import WedgePairs
from dual_core.training.parallel.ranks import ALONE, Ranks
from dual_core.training.start import start_from
from dual_core.training.step import Batch, Trainer
from dual_core.volumes.patches import generator_state, restored_generator

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
        self._recorruption_loss: Optional[RecorruptionLoss] = None
        self.generator = self._new_generator()
        torch.manual_seed(config.seed)
        model = DualModel(config.network, make_card(data, config, 0)).to(device)
        if config.start_from:
            start_from(model, config.start_from, data.simulator, config.seed)
        ranks.share_first(model)
        self.trainer = Trainer(model, config, bfloat16, ranks, self._filters())

    def _filters(self) -> Optional[Tuple[torch.Tensor, torch.Tensor]]:
        """h and c of equation 1 for a patch."""
        profile, side = self.data.profile, self.config.patch
        if profile is None:
            return None
        shape = (side, side, side)
        h, c = profile.transfer_on(shape), profile.response(shape)
        return self._tensor(h), self._tensor(c)

    def _new_generator(self) -> np.random.Generator:
        """Draws of its own for each process, which no process before this iteration had."""
        seed = self.config.seed
        if self.ranks.first:
            return np.random.default_rng(seed)
        return np.random.default_rng([seed, self.ranks.number, self.iteration])

    def iterate(self) -> Dict[str, float]:
        """One iteration; its loss terms."""
        config = self.config
        values = self.trainer.step(self._batch(), self.iteration / config.iterations)
        if self.data.simulator is not None and all_finite(values):
            values.update(self._rehearse(self.data.simulator))
            values.update(self._recorrupted())
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

    def _recorrupted(self) -> Dict[str, float]:
        """Steps of Dn on copies of real blocks with independent noise; their mean loss."""
        config, pairs = self.config, self.data.recorrupted
        if pairs is None or self.iteration < config.recorrupted_from * config.iterations:
            return {}
        if self._recorruption_loss is None:
            self._recorruption_loss = RecorruptionLoss(
                pairs.model, pairs.side, self.device, config.recorrupted_loss
            )
        found = []
        for _ in range(config.recorrupted):
            seen, other = (self._tensor(part) for part in pairs.draw(self.generator))
            found.append(
                self.trainer.rehearsals.recorrupted(seen, other, self._recorruption_loss)
            )
        return {"loss_recorrupted": float(np.mean(found))} if found else {}

    def _codes(self, count: int) -> np.ndarray:
        return self.generator.standard_normal((count, self.config.network.code_size), np.float32)

    def _batch(self) -> Batch:
        config, random = self.config, self.generator
        tomogram = self.data.noisy.patches.draw(config.batch, random)
        code = self._codes(config.batch)
        linear, own, structure = None, None, None
        if self.data.simulator is None:
            density = self.data.clean.patches.draw(config.batch, random)
            noise = random.standard_normal(density.shape, dtype=np.float32)
        else:
            pairs = self.data.simulator.draw(config.batch, random)
            density, noise, linear = pairs.density, pairs.noise, self._tensor(pairs.tomogram)
            own, structure = self._tensor(pairs.own_noise), self._tensor(pairs.structure)
        return Batch(
            self._tensor(tomogram), self._tensor(density), self._tensor(noise),
            self._tensor(code), linear, own, structure,
        )

    def _sources(self) -> Dict[str, Union[LinearSimulator, WedgePairs, RecorruptedPairs]]:
        """What draws rehearsals and has a pool to save, by its name in a checkpoint."""
        sources = {
            "simulator": self.data.simulator,
            "wedge_pairs": self.data.wedge_pairs,
            "recorrupted": self.data.recorrupted,
        }
        return {name: source for name, source in sources.items() if source is not None}

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array).to(self.device)

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
        }
        save_checkpoint(run, tensors, values)
        self._model_to_save().save(run / MODEL)

    def _draws(self) -> Tuple[Dict[str, torch.Tensor], Dict[str, Any]]:
        """What each process has for itself: random state, place in the data, pools, codes."""
        tensors = {"codes": self.trainer.codes.cpu()}
        for source_name, source in self._sources().items():
            for name, array in source.tensors().items():
                tensors[f"{source_name}.{name}"] = torch.from_numpy(array)
        values = {
            "generator": generator_state(self.generator),
            "noisy": self.data.noisy.patches.state(),
            "clean": self.data.clean.patches.state(),
            **{name: source.state() for name, source in self._sources().items()},
        }
        return tensors, values

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
            if self.data.profile is not None:
                arrays.update(profile_to_arrays(self.data.profile))
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
        drawn: List[Mapping[str, Any]] = [values, *values.get("others", [])]
        if self.ranks.number < len(drawn):
            self._restore_draws(tensors, drawn[self.ranks.number])
        else:  # more processes than before: this one begins with draws of its own
            self.generator = self._new_generator()

    def _restore_draws(
        self, tensors: Mapping[str, torch.Tensor], values: Mapping[str, Any]
    ) -> None:
        """Put back what `_draws` gave for this process."""
        own = _prefix(self.ranks.number)
        self.trainer.codes = tensors[own + "codes"].to(self.device)
        self.generator = restored_generator(values["generator"])
        self.data.noisy.patches.restore(values["noisy"])
        self.data.clean.patches.restore(values["clean"])
        for source_name, source in self._sources().items():
            prefix = f"{own}{source_name}."
            pool = {
                name[len(prefix) :]: tensor.numpy()
                for name, tensor in tensors.items()
                if name.startswith(prefix)
            }
            source.restore(pool, values[source_name])


def _prefix(number: int) -> str:
    """What the names of a process's own tensors begin with in a checkpoint."""
    return f"process{number}." if number else ""
