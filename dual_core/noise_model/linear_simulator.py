"""Tomograms of the linear model: pairs that the denoiser can be trained on."""

from __future__ import annotations

import functools
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np
import scipy.fft

from dual_core.noise_model.calibration import MARGIN, LinearModel
from dual_core.noise_model.full_power.noise_profile import NoiseProfile
from dual_core.noise_model.tapered_power import on_grid
from dual_core.volumes.patches import PatchSource

POOL = 16  # simulated blocks at hand
USES = 4  # draws for each block that is made anew: making it costs as much as a training step


class SimulatedBatch(NamedTuple):
    """Patches of the linear model, ``(count, 1, patch, patch, patch)`` each, float32.

    ``noise`` is white. Of a simulator with measured noise ``own_noise`` and ``structure`` are what
    became of it and of the density in the tomogram, and ``plain`` is the tomogram with the linear
    model's noise; nobody else asks for them, and they cost transforms, memory and a larger
    checkpoint.
    """

    tomogram: np.ndarray
    density: np.ndarray
    noise: np.ndarray
    own_noise: Optional[np.ndarray] = None
    structure: Optional[np.ndarray] = None
    plain: Optional[np.ndarray] = None

    @property
    def made(self) -> Tuple[np.ndarray, ...]:
        """The arrays that there are."""
        return tuple(part for part in self if part is not None)

    @property
    def to_denoise(self) -> np.ndarray:
        """The tomogram that the denoiser learns from.

        Measured noise fills up the power of the real tomograms, and so it holds what of their
        structure the linear model has missed. A denoiser that took that for noise would smooth.
        """
        return self.tomogram if self.plain is None else self.plain

    @property
    def to_simulate(self) -> Tuple[Optional[np.ndarray], ...]:
        """What the structural generator learns from: all but `plain`."""
        return self[:-1]

    def each(self, function: Callable[[np.ndarray], np.ndarray]) -> SimulatedBatch:
        """The same with a function of each array."""
        return SimulatedBatch(*map(function, self.made))


class LinearSimulator:
    """Tomograms of the linear model, with the densities and the white noise that made them.

    Holds a pool of blocks, of which one is replaced at every fourth draw.

    Parameters
    ----------
    model : from `fit_linear_model`.
    blocks : draws blocks ``(1, 1, side, side, side)`` of the clean domain.
    patch : side of the patches to draw.
    flips : groups of axes that may be flipped together without moving the missing wedge.
    limits : lowest and highest value of the real tomograms, standardised. Integers saturate at
        gold, where the linear model goes on and would outweigh all else in what is learned.
    profile : the noise as it is over the whole thickness, instead of the linear model's.
    """

    def __init__(
        self,
        model: LinearModel,
        blocks: PatchSource,
        patch: int,
        flips: Sequence[Tuple[int, ...]],
        limits: Tuple[float, float] = (-np.inf, np.inf),
        profile: Optional[NoiseProfile] = None,
    ) -> None:
        self._source = blocks
        self._patch = patch
        self._flips = tuple(flips)
        self._limits = limits
        side = blocks.side + 2 * MARGIN
        field = (side, side, side)
        self._transfer = on_grid(model.transfer, field)
        self._amplitude = on_grid(model.noise_amplitude, field)
        self._response = None if profile is None else profile.response(field)
        self._weighting = None if model.weighting is None else on_grid(model.weighting, field)
        self.pool: List[SimulatedBatch] = []
        self.drawn = 0

    def draw(self, count: int, generator: np.random.Generator) -> SimulatedBatch:
        """`count` random patches."""
        self._renew(generator)
        patches = [
            self._flipped(self._crop(generator), generator).made for _ in range(count)
        ]
        return SimulatedBatch(*(np.stack(part)[:, np.newaxis] for part in zip(*patches)))

    def draw_block(self, generator: np.random.Generator) -> SimulatedBatch:
        """A whole block, ``(1, 1, side, side, side)`` each."""
        self._renew(generator)
        block = self._flipped(self.pool[int(generator.integers(POOL))], generator)
        return block.each(lambda part: np.ascontiguousarray(part)[np.newaxis, np.newaxis])

    def tensors(self) -> Dict[str, np.ndarray]:
        """The pool, for a checkpoint."""
        return {
            f"{number}.{name}": part
            for number, block in enumerate(self.pool)
            for name, part in zip(SimulatedBatch._fields, block.made)
        }

    def state(self) -> Dict[str, Any]:
        """The rest of what a checkpoint needs, plain values."""
        return {"drawn": self.drawn, "blocks": self._source.state()}

    def restore(self, tensors: Mapping[str, np.ndarray], state: Mapping[str, Any]) -> None:
        """Put back what `tensors` and `state` gave."""
        names = SimulatedBatch._fields[: 3 if self._response is None else None]
        # Checkpoints of earlier versions hold further arrays of each block, or no plain ones.
        count = len({name.split(".")[0] for name in tensors})
        self.pool = [
            SimulatedBatch(*(
                tensors[f"{number}.{name}"] for name in names if f"{number}.{name}" in tensors
            ))
            for number in range(count)
        ]
        self.drawn = int(state["drawn"])
        self._source.restore(state["blocks"])

    def simulate(self, generator: np.random.Generator) -> SimulatedBatch:
        """A block of the clean domain, its tomogram and its noise, ``(side, side, side)``."""
        density = self._source.draw(1, generator)[0, 0]
        padded = np.pad(density, MARGIN, mode="reflect")
        noise = generator.standard_normal(padded.shape, dtype=np.float32)
        spectrum = scipy.fft.rfftn(padded)
        if self._weighting is not None:
            spectrum *= self._weighting
            density = scipy.fft.irfftn(spectrum, s=padded.shape).astype(np.float32)
            density = density[(slice(MARGIN, -MARGIN),) * 3].copy()
        spectrum *= self._transfer
        white = scipy.fft.rfftn(noise)
        tomogram = scipy.fft.irfftn(spectrum + white * self._amplitude, s=padded.shape)
        tomogram = self._limited(tomogram)
        inside = (slice(MARGIN, -MARGIN),) * 3
        seen = [tomogram[inside], density, noise[inside]]
        if self._response is not None:
            own = scipy.fft.irfftn(white * self._response, s=padded.shape)
            structure = scipy.fft.irfftn(spectrum, s=padded.shape)
            measured = self._limited(own + structure)[inside]
            seen = [measured, *seen[1:], own[inside], structure[inside], seen[0]]
        return SimulatedBatch(*(np.ascontiguousarray(part, dtype=np.float32) for part in seen))

    def _limited(self, tomogram: np.ndarray) -> np.ndarray:
        low, high = self._limits
        return np.clip(tomogram.astype(np.float32), np.float32(low), np.float32(high))

    def _renew(self, generator: np.random.Generator) -> None:
        """Fill the pool or replace one of its blocks."""
        while len(self.pool) < POOL:
            self.pool.append(self.simulate(generator))
        if self.drawn % USES == 0:
            self.pool[self.drawn // USES % POOL] = self.simulate(generator)
        self.drawn += 1

    def _crop(self, generator: np.random.Generator) -> SimulatedBatch:
        block = self.pool[int(generator.integers(POOL))]
        start = [
            int(generator.integers(length - self._patch + 1)) for length in block.density.shape
        ]
        region = tuple(slice(first, first + self._patch) for first in start)
        return block.each(lambda part: part[region])

    def _flipped(self, block: SimulatedBatch, generator: np.random.Generator) -> SimulatedBatch:
        for axes in self._flips:
            if generator.random() < 0.5:
                block = block.each(functools.partial(np.flip, axis=axes))
        return block
