"""Drawing training patches from the two domains.

A domain is a list of volumes on one voxel size, standardised and turned to one contrast. What
fits into the memory budget is read once and kept. Of a larger domain only a pool of blocks is in
memory: a block is read once, gives many patches, and is then replaced by another, so that
training on data larger than the memory reads the disk in long runs and seldom.
"""
from __future__ import annotations

import copy
import math
from dataclasses import dataclass, replace
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from dual_core.errors import DualError
from dual_core.volumes.reading import ReadableVolume, Triple
from dual_core.volumes.views import ExchangedVolume

MEMORY_BUDGET = 2 << 30  # bytes of voxels that one domain may keep in memory
BLOCK_SIDE = 96  # voxels of a block of the pool, or twice the patch where that is more
POOL_BLOCKS = 32
EMPTY_DEVIATION = 0.05  # of a clean patch, in deviations of the clean domain
EMPTY_SHARE = 0.1  # of the clean patches may be empty: a cell has empty places too
EMPTY_TRIES = 20
MOST_BLANK = 0.1  # of a patch; what is blank in it looks like a tomogram without noise
MOST_BLANK_BLOCK = 0.5  # of a block of the pool, from which patches are then chosen
BLANK_TRIES = 20

FLIPS_SYMMETRIC = ((0,), (1,), (2,))
FLIPS_ASYMMETRIC = ((1,), (0, 2))


@dataclass(frozen=True)
class StandardisedVolume:
    """A volume with what its values are to be standardised with.

    ``(value - mean) / deviation`` is what training sees; a negative deviation turns the contrast.
    Where ``mask``, a volume of bool, is true, the volume is blank. Standardised values are cut at
    ``most`` on either side.
    """

    volume: ReadableVolume
    mean: float
    deviation: float
    mask: Optional[ReadableVolume] = None
    most: float = math.inf

    def read(self, start: Triple, size: Triple) -> np.ndarray:
        """A standardised region, float32 ``(z, y, x)``; 0 where blank."""
        block = self.volume.read(start, size)
        block -= np.float32(self.mean)
        block /= np.float32(self.deviation)
        if math.isfinite(self.most):
            np.clip(block, np.float32(-self.most), np.float32(self.most), out=block)
        if self.mask is not None:
            block[self.mask.read(start, size)] = 0
        return block

    def blank(self, start: Triple, size: Triple) -> float:
        """The blank part of a region, 0 to 1."""
        if self.mask is None:
            return 0.0
        return float(self.mask.read(start, size).mean())

    def exchanged(self, axes: Tuple[int, int]) -> StandardisedVolume:
        """The same with two of its axes exchanged."""
        return replace(
            self,
            volume=ExchangedVolume(self.volume, axes),
            mask=self.mask and ExchangedVolume(self.mask, axes),
        )

    def random_start(
        self,
        size: Triple,
        generator: np.random.Generator,
        corner: Triple = (0, 0, 0),
        extent: Optional[Triple] = None,
    ) -> Triple:
        """Where a random region of `size` begins that is hardly blank, as far as one is found.

        It lies in the part of the volume that begins at `corner` and has `extent`, by default all.
        """
        least, best = math.inf, corner
        for _ in range(BLANK_TRIES):
            room = zip(corner, extent or self.volume.shape, size)
            start = _triple([a + int(generator.integers(n - k + 1)) for a, n, k in room])
            blank = self.blank(start, size)
            if blank < least:
                least, best = blank, start
            if least <= MOST_BLANK:
                break
        return best


class PatchSource:
    """Random patches of one domain, reproducible from the generator that is handed in.

    Parameters
    ----------
    volumes : the domain.
    side : side of a patch in voxels.
    flips : groups of axes that may be flipped together. Tomograms: every axis by itself, or, for
        an asymmetric tilt range, y, and z with x, which leave the wedge where it is.
    turns : whether patches may be turned by right angles about any axis (grand models only: a
        turned tomogram would have its wedge elsewhere).
    skip_empty : whether patches without any structure are mostly drawn again (grand models).
    memory_budget : bytes; a domain that is larger is read block by block.
    """

    def __init__(
        self,
        volumes: Sequence[StandardisedVolume],
        side: int,
        flips: Sequence[Tuple[int, ...]] = FLIPS_SYMMETRIC,
        turns: bool = False,
        skip_empty: bool = False,
        memory_budget: int = MEMORY_BUDGET,
    ) -> None:
        if not volumes:
            raise ValueError("a domain needs at least one volume")
        for entry in volumes:
            if min(entry.volume.shape) < side:
                shape = " x ".join(map(str, entry.volume.shape))
                raise DualError(
                    f"{entry.volume.name} has {shape} voxels on the model's voxel size and a "
                    f"training patch has {side}; give a larger volume or a smaller --patch"
                )
        self.side = side
        self.flips = tuple(flips)
        self.turns = turns
        self.skip_empty = skip_empty
        self._volumes = list(volumes)
        self._block_side = max(BLOCK_SIDE, 2 * side)
        sizes = [float(np.prod(entry.volume.shape)) for entry in volumes]
        self._weights = np.array(sizes) / sum(sizes)
        self.in_memory = 4 * sum(sizes) <= memory_budget
        # (volume, start, uses left) of each block: all that is needed to read the pool again.
        self._keys: List[Tuple[int, Triple, int]] = []
        self._blocks: List[np.ndarray] = []
        if self.in_memory:
            for index, entry in enumerate(volumes):
                self._keys.append((index, (0, 0, 0), -1))
                self._blocks.append(entry.read((0, 0, 0), entry.volume.shape))

    @property
    def smallest_side(self) -> int:
        """The thinnest extent of any volume, in voxels."""
        return min(min(entry.volume.shape) for entry in self._volumes)

    def draw(self, count: int, generator: np.random.Generator) -> np.ndarray:
        """``(count, 1, side, side, side)`` patches, float32, each freshly augmented."""
        return np.stack([self._patch(generator) for _ in range(count)])[:, np.newaxis]

    def with_side(self, side: int) -> PatchSource:
        """The same domain in patches of another size; what is in memory is shared."""
        other = copy.copy(self)
        other.side = side
        other._block_side = max(BLOCK_SIDE, 2 * side)
        if not self.in_memory:
            other._keys, other._blocks = [], []
        return other

    def state(self) -> List[List[Any]]:
        """The pool of blocks as plain values, for a checkpoint."""
        return [[index, list(start), uses] for index, start, uses in self._keys]

    def restore(self, state: Sequence[Sequence[Any]]) -> None:
        """Read the pool of blocks that `state` named again."""
        if self.in_memory:
            return
        self._keys = [(int(index), _triple(start), int(uses)) for index, start, uses in state]
        self._blocks = [self._read_block(index, start) for index, start, _ in self._keys]

    def _patch(self, generator: np.random.Generator) -> np.ndarray:
        patch = self._crop(generator)
        if self.skip_empty and generator.random() >= EMPTY_SHARE:
            for _ in range(EMPTY_TRIES):
                if patch.std() >= EMPTY_DEVIATION:
                    break
                patch = self._crop(generator)
        return self._augment(patch, generator)

    def _crop(self, generator: np.random.Generator) -> np.ndarray:
        if self.in_memory:
            place = int(generator.choice(len(self._blocks), p=self._weights))
        else:
            place = self._pool_block(generator)
        index, corner, _ = self._keys[place]
        block, size = self._blocks[place], _triple([self.side] * 3)
        entry, extent = self._volumes[index], _triple(self._blocks[place].shape)
        start = entry.random_start(size, generator, corner, extent)
        return block[tuple(slice(a - b, a - b + self.side) for a, b in zip(start, corner))]

    def _augment(self, patch: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        for axes in self.flips:
            if generator.random() < 0.5:
                patch = np.flip(patch, axes)
        if self.turns:
            patch = patch.transpose(generator.permutation(3))
        return np.ascontiguousarray(patch)

    def _pool_block(self, generator: np.random.Generator) -> int:
        while len(self._keys) < POOL_BLOCKS:
            self._keys.append(self._new_key(generator))
            self._blocks.append(self._read_block(*self._keys[-1][:2]))
        place = int(generator.integers(POOL_BLOCKS))
        index, start, uses = self._keys[place]
        if uses == 0:
            self._keys[place] = self._new_key(generator)
            index, start, uses = self._keys[place]
            self._blocks[place] = self._read_block(index, start)
        self._keys[place] = (index, start, uses - 1)
        return place

    def _new_key(self, generator: np.random.Generator) -> Tuple[int, Triple, int]:
        index = int(generator.choice(len(self._volumes), p=self._weights))
        entry, size = self._volumes[index], self._block_shape(index)
        least, best = math.inf, (0, 0, 0)
        for _ in range(BLANK_TRIES):
            start = self._block_start(entry.volume.shape, size, generator)
            blank = entry.blank(start, size)
            if blank < least:
                least, best = blank, start
            if least <= MOST_BLANK_BLOCK:
                break
        return index, best, (self._block_side // self.side) ** 3

    def _block_start(
        self, shape: Triple, size: Triple, generator: np.random.Generator
    ) -> Triple:
        start = []
        for length, extent in zip(shape, size):
            # A patch at the border is in few blocks: more of them lie there to make up for it.
            beyond = (extent - self.side) // 2
            place = int(generator.integers(-beyond, length - extent + beyond + 1))
            start.append(min(max(place, 0), length - extent))
        return _triple(start)

    def _block_shape(self, index: int) -> Triple:
        shape = self._volumes[index].volume.shape
        return _triple([min(length, self._block_side) for length in shape])

    def _read_block(self, index: int, start: Triple) -> np.ndarray:
        return self._volumes[index].read(start, self._block_shape(index))


def generator_state(generator: np.random.Generator) -> Dict[str, Any]:
    """The state of a random generator as plain values."""
    return dict(generator.bit_generator.state)


def restored_generator(state: Mapping[str, Any]) -> np.random.Generator:
    """A random generator in the state that `generator_state` gave."""
    generator = np.random.default_rng()
    generator.bit_generator.state = dict(state)
    return generator


def _triple(values: Sequence[int]) -> Triple:
    return int(values[0]), int(values[1]), int(values[2])
