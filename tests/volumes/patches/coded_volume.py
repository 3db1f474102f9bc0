"""A volume whose voxels say where they are, and training patches from it."""

from __future__ import annotations

import weakref
from typing import List, Tuple

import numpy as np

from dual_core.volumes.interface import ArrayVolume, Triple, check_region
from dual_core.volumes.patches import PatchSource, StandardisedVolume


class CodedVolume:
    """A volume of any size whose voxels say where they are; it counts what is read and held."""

    voxel_size_A = 10.0

    def __init__(self, shape: Triple, name: str = "coded") -> None:
        self.shape = shape
        self.name = name
        self.starts: List[Triple] = []
        self.voxels_read = 0
        self.held = 0
        self.most_held = 0

    def read(self, start: Triple, size: Triple) -> np.ndarray:
        check_region(start, size, self.shape)
        z, y, x = (np.arange(first, first + n) for first, n in zip(start, size))
        _, rows, columns = self.shape
        block = (z[:, None, None] * rows + y[:, None]) * columns + x
        block = block.astype(np.float32)
        self.starts.append(start)
        self.voxels_read += block.size
        self.held += block.size
        self.most_held = max(self.most_held, self.held)
        weakref.finalize(block, self._forget, block.size)
        return block

    def _forget(self, voxels: int) -> None:
        self.held -= voxels

    def load(self) -> np.ndarray:
        return self.read((0, 0, 0), self.shape)

    def place(self, value: float) -> Tuple[int, ...]:
        return tuple(int(n) for n in np.unravel_index(round(float(value)), self.shape))


def source_of(*volumes, side: int = 4, flips=(), **options) -> PatchSource:
    """A source on volumes that are left as they are; without augmentation by default."""
    entries = [
        StandardisedVolume(
            ArrayVolume(volume, 10.0) if isinstance(volume, np.ndarray) else volume, 0.0, 1.0
        )
        for volume in volumes
    ]
    return PatchSource(entries, side, flips=flips, **options)


def places_of(source: PatchSource, volume: CodedVolume, count: int, seed: int = 0) -> np.ndarray:
    drawn = source.draw(count, np.random.default_rng(seed))
    return np.array([volume.place(patch[0, 0, 0, 0]) for patch in drawn])
