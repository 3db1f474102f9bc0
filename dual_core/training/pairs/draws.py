"""What an iteration trains on, drawn beside the computation of the one before it.

All draws of an iteration are made at once, in the order in which the run needs them, and with them
goes where the draws stand after it. So a checkpoint holds the state that belongs to the iterations
that were computed, however far ahead the drawing is, and a run that goes on from it draws what it
would have drawn.
"""
from __future__ import annotations

from contextlib import closing, contextmanager
from typing import Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Tuple, Union

import numpy as np
import torch
from torch import Tensor

from dual_core.noise_model.linear_simulator import LinearSimulator
from dual_core.overlap import ahead
from dual_core.training.config import TrainingConfig
from dual_core.training.data import TrainingData
from dual_core.training.pairs.batch import Batch
from dual_core.training.pairs.recorrupted import RecorruptedPairs
from dual_core.training.pairs.turned import WedgePairs
from dual_core.volumes.arithmetic import arithmetic_on
from dual_core.volumes.patches import generator_state, restored_generator

CPU = torch.device("cpu")

Tensors = Tuple[Any, ...]  # each a Tensor, or None for what the simulator does not make


class Place(NamedTuple):
    """Where the draws stand: arrays or tensors of the pools by name, and plain values."""

    tensors: Dict[str, Any]
    values: Dict[str, Any]


class Drawn(NamedTuple):
    """What one iteration trains on, in the host's memory or, of what a GPU made, in its own.

    Attributes
    ----------
    batch : of the six networks.
    known : for each rehearsal of Dn a tomogram and its density, ``(b, 1, z, y, x)``; for the
        missing wedge a block without it, the turned block, and ``(1, z, y, x)`` the coefficients
        to learn.
    blocks : for each rehearsal of Gs a block ``(1, 1, z, y, x)`` of the linear model, see
        `SimulatedBatch`, and a code ``(1, K)``.
    recorrupted : pairs of copies of a real block with independent noise.
    after : where the draws stand now.
    """

    batch: Batch
    known: List[Tensors]
    blocks: List[Tensors]
    recorrupted: List[Tensors]
    after: Place


class Draws:
    """Draws for one iteration after the other.

    Parameters
    ----------
    data : both domains and what the networks rehearse on.
    config : the training configuration.
    generator : of all random numbers.
    device : where training computes. A GPU makes what it rehearses on itself, and fetches the rest
        from memory that is pinned, without waiting.
    """

    def __init__(
        self,
        data: TrainingData,
        config: TrainingConfig,
        generator: np.random.Generator,
        device: torch.device = CPU,
    ) -> None:
        self.data = data
        self.config = config
        self.generator = generator
        self.iteration = 0
        self._pinned = device.type == "cuda"
        for source in (data.simulator, data.recorrupted):
            if source is not None:
                source.compute_on(arithmetic_on(device))

    def next(self) -> Drawn:
        """The draws of the next iteration."""
        config, random = self.config, self.generator
        batch = self._batch()
        known: List[Tensors] = []
        blocks: List[Tensors] = []
        recorrupted: List[Tensors] = []
        if self.data.simulator is not None:
            known = [self._known(self.data.simulator) for _ in range(config.rehearsals)]
            for _ in range(config.generator_rehearsals):
                block = self.data.simulator.draw_block(random)
                blocks.append(self._tensors(*block.to_simulate, self._codes(1)))
            pairs = self.data.recorrupted
            if pairs and self.iteration >= config.recorrupted_from * config.iterations:
                recorrupted = [
                    self._tensors(*pairs.draw(random)) for _ in range(config.recorrupted)
                ]
        self.iteration += 1
        return Drawn(batch, known, blocks, recorrupted, self.place())

    @contextmanager
    def ahead(self) -> Iterator[Callable[[], Drawn]]:
        """A function like `next`; a thread makes the draws after those that it gives."""
        with closing(ahead(iter(self.next, None))) as items:
            yield items.__next__

    def place(self) -> Place:
        """Random state, position in the data, pools."""
        arrays: Dict[str, Any] = {}
        for source_name, source in self._sources().items():
            # Pools are renewed array by array, never written into: nothing needs a copy.
            for name, array in source.tensors().items():
                arrays[f"{source_name}.{name}"] = array
        values = {
            "generator": generator_state(self.generator),
            "noisy": self.data.noisy.patches.state(),
            "clean": self.data.clean.patches.state(),
            **{name: source.state() for name, source in self._sources().items()},
        }
        return Place(arrays, values)

    def restore(self, place: Place, iteration: int) -> None:
        """Go back to where the draws stood after `iteration` iterations."""
        self.iteration = iteration
        self.generator = restored_generator(place.values["generator"])
        self.data.noisy.patches.restore(place.values["noisy"])
        self.data.clean.patches.restore(place.values["clean"])
        for source_name, source in self._sources().items():
            prefix = f"{source_name}."
            pool = {
                name[len(prefix) :]: array
                for name, array in place.tensors.items()
                if name.startswith(prefix)
            }
            source.restore(pool, place.values[source_name])

    def _batch(self) -> Batch:
        config, random = self.config, self.generator
        tomogram = self.data.noisy.patches.draw(config.batch, random)
        code = self._codes(config.batch)
        if self.data.simulator is None:
            density = self.data.clean.patches.draw(config.batch, random)
            noise = random.standard_normal(density.shape, dtype=np.float32)
            return Batch(*self._tensors(tomogram, density, noise, code))
        pairs = self.data.simulator.draw(config.batch, random)
        return Batch(*self._tensors(
            tomogram, pairs.density, pairs.noise, code, pairs.tomogram, pairs.own_noise,
            pairs.structure,
        ))

    def _known(self, simulator: LinearSimulator) -> Tensors:
        if self.data.wedge_pairs is not None:
            pair = self.data.wedge_pairs.draw(self.generator)
            tomogram, turned = (part[np.newaxis, np.newaxis] for part in pair[:2])
            return self._tensors(tomogram, turned, pair.learn[np.newaxis])
        return self._tensors(*simulator.draw_to_denoise(self.config.batch, self.generator))

    def _codes(self, count: int) -> np.ndarray:
        shape = (count, self.config.network.code_size)
        return self.generator.standard_normal(shape, dtype=np.float32)

    def _sources(self) -> Mapping[str, Union[LinearSimulator, WedgePairs, RecorruptedPairs]]:
        """What draws rehearsals and has a pool to save, by its name in a checkpoint."""
        sources = {
            "simulator": self.data.simulator,
            "wedge_pairs": self.data.wedge_pairs,
            "recorrupted": self.data.recorrupted,
        }
        return {name: source for name, source in sources.items() if source is not None}

    def _tensors(self, *arrays: Any) -> Tensors:
        return tuple(None if array is None else self._tensor(array) for array in arrays)

    def _tensor(self, array: Union[np.ndarray, Tensor]) -> Tensor:
        if isinstance(array, Tensor):
            return array
        tensor = torch.from_numpy(array)
        return tensor.pin_memory() if self._pinned else tensor
