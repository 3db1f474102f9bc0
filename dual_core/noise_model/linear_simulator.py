"""Tomograms of the linear model: pairs that the denoiser can be trained on."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from dual_core.noise_model.calibration import MARGIN, LinearModel
from dual_core.noise_model.full_power.noise_profile import NoiseProfile
from dual_core.noise_model.tapered_power import on_grid
from dual_core.volumes.arithmetic import HOST, HostArithmetic
from dual_core.volumes.patches import PatchSource

POOL = 16  # simulated blocks at hand
USES = 4  # draws for each block that is made anew: making it costs as much as a training step


class SimulatedBatch(NamedTuple):
    """Patches of the linear model, ``(count, 1, patch, patch, patch)`` each, float32.

    Arrays of the host, or tensors where a GPU draws (`LinearSimulator.compute_on`).
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

    def each(self, function: Callable[[Any], Any]) -> SimulatedBatch:
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
        self._patch_side = patch
        self._flips = tuple(flips)
        self._limits = limits
        side = blocks.side + 2 * MARGIN
        field = (side, side, side)
        self._compute = HOST
        self._transfer = on_grid(model.transfer, field)
        self._amplitude = on_grid(model.noise_amplitude, field)
        self._response = None if profile is None else profile.response(field)
        self._weighting = None if model.weighting is None else on_grid(model.weighting, field)
        self.pool: List[SimulatedBatch] = []
        self.drawn = 0

    def compute_on(self, arithmetic: HostArithmetic) -> None:
        """Draw with this arithmetic from now on; what is drawn lies where it computes."""
        self._compute = arithmetic
        for name in ("_transfer", "_amplitude", "_response", "_weighting"):
            filter_ = getattr(self, name)
            if filter_ is not None:
                setattr(self, name, arithmetic.given(filter_))
        self.pool = [block.each(arithmetic.given) for block in self.pool]

    def draw(self, count: int, generator: np.random.Generator) -> SimulatedBatch:
        """`count` random patches."""
        return SimulatedBatch(*self._patches(count, generator, lambda block: block.made))

    def draw_to_denoise(self, count: int, generator: np.random.Generator) -> Tuple[Any, Any]:
        """What the denoiser learns from, of `count` random patches, and their density."""
        tomogram, density = self._patches(
            count, generator, lambda block: (block.to_denoise, block.density)
        )
        return tomogram, density

    def draw_block(self, generator: np.random.Generator) -> SimulatedBatch:
        """A whole block, ``(1, 1, side, side, side)`` each."""
        self._renew(generator)
        parts = self._flipped(self.pool[int(generator.integers(POOL))].made, generator)
        return SimulatedBatch(*(self._compute.copied(part)[None, None] for part in parts))

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
                self._compute.given(tensors[f"{number}.{name}"])
                for name in names if f"{number}.{name}" in tensors
            ))
            for number in range(count)
        ]
        self.drawn = int(state["drawn"])
        self._source.restore(state["blocks"])

    def simulate(self, generator: np.random.Generator) -> SimulatedBatch:
        """A block of the clean domain, its tomogram and its noise, ``(side, side, side)``."""
        compute, inside = self._compute, (slice(MARGIN, -MARGIN),) * 3
        density = compute.given(self._source.draw(1, generator)[0, 0])
        padded = compute.padded(density, MARGIN)
        noise = compute.white_noise(padded.shape, generator)
        spectrum = compute.spectrum(padded)
        if self._weighting is not None:
            spectrum *= self._weighting
            density = compute.block(spectrum, padded.shape)[inside]
        spectrum *= self._transfer
        white = compute.spectrum(noise)
        tomogram = compute.block(spectrum + white * self._amplitude, padded.shape)
        tomogram = compute.clipped(tomogram, self._limits)
        seen = [tomogram[inside], density, noise[inside]]
        if self._response is not None:
            own = compute.block(white * self._response, padded.shape)
            structure = compute.block(spectrum, padded.shape)
            measured = compute.clipped(own + structure, self._limits)[inside]
            seen = [measured, *seen[1:], own[inside], structure[inside], seen[0]]
        return SimulatedBatch(*map(compute.copied, seen))

    def _renew(self, generator: np.random.Generator) -> None:
        """Fill the pool or replace one of its blocks."""
        while len(self.pool) < POOL:
            self.pool.append(self.simulate(generator))
        if self.drawn % USES == 0:
            self.pool[self.drawn // USES % POOL] = self.simulate(generator)
        self.drawn += 1

    def _patches(
        self, count: int, generator: np.random.Generator,
        wanted: Callable[[SimulatedBatch], Sequence[Any]],
    ) -> List[Any]:
        """The wanted parts of random patches, ``(count, 1, patch, patch, patch)`` each."""
        self._renew(generator)
        patches = [self._patch(generator, wanted) for _ in range(count)]
        return [self._compute.stacked(part) for part in zip(*patches)]

    def _patch(
        self, generator: np.random.Generator, wanted: Callable[[SimulatedBatch], Sequence[Any]]
    ) -> List[Any]:
        parts = wanted(self.pool[int(generator.integers(POOL))])
        start = [int(generator.integers(side - self._patch_side + 1)) for side in parts[0].shape]
        region = tuple(slice(first, first + self._patch_side) for first in start)
        return self._flipped([part[region] for part in parts], generator)

    def _flipped(self, parts: Sequence[Any], generator: np.random.Generator) -> List[Any]:
        """All in the same random directions."""
        turned = [axes for axes in self._flips if generator.random() < 0.5]
        # Groups may share an axis, which is as it was after two of them.
        along = [axis for axis in range(3) if sum(axis in axes for axes in turned) % 2]
        return [self._compute.flipped(part, along) for part in parts] if along else list(parts)
