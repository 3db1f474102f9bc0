"""What the general model is trained on: cells as files, tomograms made anew all the time, patches.

Tomograms are made in this process or by others beside it (`workers`), which pass them on through
shared memory. The pool that patches are cut from lies on the device that trains.
"""

from __future__ import annotations

import mmap
import multiprocessing
from pathlib import Path
from typing import Any, Dict, Iterator, List, Sequence, Tuple

import numpy as np
import scipy.fft
import torch
from general_cells import SHAPE, random_cell
from general_tomograms import (
    as_stored,
    linear_tomogram,
    log_uniform,
    standardised,
    tilt_series_tomogram,
)

from dual_core.noise_model.tapered_power import half_grid_frequency

TILT_SERIES_SHARE = 0.4  # of the tomograms
MARGIN = 6  # voxels at the faces of a linear tomogram, where its filter wraps around
RENEWED_AFTER = 3  # patches drawn, after which a tomogram is replaced where no one else makes them
INSIDE = tuple(n - 2 * MARGIN for n in SHAPE)
# What no molecule explains: smooth fluctuations of density, as a cytosol has beside its complexes.
FIELD_SHARE = 0.5  # of the linear tomograms
FIELD_DEVIATION = (0.03, 0.3)  # in densities of protein
FIELD_DETAIL_A = (60.0, 800.0)  # finest and coarsest
FIELD_SLOPE = (1.0, 3.5)  # its power falls as this power of the frequency
SCALES = (0.7, 1.4)  # of patches: a crop is standardised by what happens to be in it
SMALL_SHARE, SMALLEST = 0.25, 0.6  # patches that are small volumes, mirrored as at their faces

Pair = Tuple[np.ndarray, np.ndarray]


def make_cells(work: Path, seed: int, count: int, workers: int = 0) -> List[Path]:
    """The cells and a tomogram of a simulated tilt series of each, as files in `work`."""
    folder = work / "cells"
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"cell_{number}.npz" for number in range(count)]
    missing = [(path, seed, number) for number, path in enumerate(paths) if not path.exists()]
    if workers:
        with multiprocessing.get_context("fork").Pool(workers) as pool:
            for line in pool.imap_unordered(_make_cell, missing, chunksize=1):
                print(line, flush=True)
    else:
        for one in missing:
            print(_make_cell(one), flush=True)
    return paths


def _make_cell(one: Tuple[Path, int, int]) -> str:
    path, seed, number = one
    density, voxel_size_A = random_cell(seed, number)
    generator = np.random.default_rng([seed, number, 1])
    tomogram = as_stored(tilt_series_tomogram(density, voxel_size_A, generator), generator)
    temporary = path.with_suffix(".part.npz")
    np.savez(temporary, density=density.astype(np.float16), voxel_size_A=voxel_size_A,
             tomogram=tomogram.astype(np.float16))
    temporary.rename(path)
    return f"{path.stem}: {voxel_size_A:.1f} A"


class Cells:
    """Cells in memory; a tomogram of one of them, made anew each time."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.cells: List[Dict[str, Any]] = []
        for path in paths:
            with np.load(path) as stored:
                self.cells.append({name: stored[name] for name in stored.files})

    def pair(self, generator: np.random.Generator, number: int = -1) -> Pair:
        """A tomogram, of a new linear model or of a tilt series, and its density: `INSIDE`."""
        if number < 0:
            number = int(generator.integers(len(self.cells)))
        cell = self.cells[number]
        density = cell["density"].astype(np.float32)
        inside = (slice(MARGIN, -MARGIN),) * 3
        if generator.random() < TILT_SERIES_SHARE:
            tomogram = standardised(cell["tomogram"].astype(np.float32))
            return tomogram[inside], density[inside]
        density = _turned(density, generator)
        if generator.random() < FIELD_SHARE:
            density = density + random_field(float(cell["voxel_size_A"]), generator)
        tomogram = linear_tomogram(density, float(cell["voxel_size_A"]), generator)
        return standardised(as_stored(tomogram[inside], generator)), density[inside]


def random_field(voxel_size_A: float, generator: np.random.Generator) -> np.ndarray:
    """Smooth fluctuations about 0 that belong to no molecule, ``SHAPE``."""
    frequency = half_grid_frequency(SHAPE).astype(np.float32) / voxel_size_A
    coarse, fine = 1.0 / FIELD_DETAIL_A[1], 1.0 / FIELD_DETAIL_A[0]
    amplitude = (frequency + coarse) ** (-0.5 * generator.uniform(*FIELD_SLOPE))
    amplitude *= np.exp(-((frequency / fine) ** 2))
    white = generator.standard_normal(SHAPE, dtype=np.float32)
    field = scipy.fft.irfftn(scipy.fft.rfftn(white) * amplitude, s=SHAPE)
    field *= log_uniform(generator, *FIELD_DEVIATION) / field.std()
    return field.astype(np.float32)


def _turned(density: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Turned by right angles about z and flipped; a cell has no preferred way to lie there."""
    density = np.rot90(density, int(generator.integers(4)), axes=(1, 2))
    flips = [axis for axis in range(3) if generator.random() < 0.5]
    return np.ascontiguousarray(np.flip(density, flips))


class Feed:
    """A pool of pairs on a device that is renewed bit by bit; cuts patches from them.

    Parameters
    ----------
    cells : what tomograms are made of.
    device : where the pool lies.
    size : pairs in the pool.
    workers : processes that make tomograms; 0 makes them here, one after three draws.
    seed : of the workers' draws; what the caller's generator gives is drawn here.
    """

    def __init__(
        self, cells: Cells, device: torch.device, size: int, workers: int, seed: Sequence[int]
    ) -> None:
        self.cells, self.device, self.size = cells, device, size
        self.pool: List[torch.Tensor] = []
        self.drawn = 0
        self.put = 0  # pairs so far
        self._made = _Workers(cells, workers, seed) if workers else None

    def draw(
        self, count: int, patch: int, generator: np.random.Generator
    ) -> Tuple[torch.Tensor, torch.Tensor]:
        """Patches ``(count, 1, patch, patch, patch)`` of tomograms and of their densities."""
        self._renew(generator)
        chosen = [self._patch(patch, generator) for _ in range(count)]
        both = torch.stack(chosen).float()
        return both[:, :1], both[:, 1:]

    def _renew(self, generator: np.random.Generator) -> None:
        if self._made is not None:
            for pair in self._made.new(wait=len(self.pool) < self.size // 4):
                self._put(torch.from_numpy(pair))
                if len(self.pool) >= self.size // 4:
                    break
            return
        while len(self.pool) < self.size:
            self._put(_stacked(self.cells.pair(generator)))
        if self.drawn % RENEWED_AFTER == 0:
            self._put(_stacked(self.cells.pair(generator)))
        self.drawn += 1

    def _put(self, pair: torch.Tensor) -> None:
        """Into the pool, in place of the oldest where it is full."""
        if len(self.pool) < self.size:
            self.pool.append(pair.to(self.device, copy=True))
        else:
            self.pool[self.put % self.size].copy_(pair)
        self.put += 1

    def _patch(self, patch: int, generator: np.random.Generator) -> torch.Tensor:
        """A cube of both; half of them mirrored, and a third with the tilt axis along x."""
        pair = self.pool[int(generator.integers(len(self.pool)))]
        small = generator.random() < SMALL_SHARE
        sides = [int(patch * generator.uniform(SMALLEST, 1.0)) if small else patch] * 3
        start = [int(generator.integers(n - k + 1)) for n, k in zip(pair.shape[1:], sides)]
        region = pair[(slice(None), *(slice(a, a + k) for a, k in zip(start, sides)))]
        flips = [axis for axis in (1, 2, 3) if generator.random() < 0.5]
        if generator.random() < 0.33:
            region = region.transpose(2, 3)
        region = region.flip(flips) if flips else region
        scale = log_uniform(generator, *SCALES)
        region = torch.stack((region[0].float() * scale, region[1].float()))
        margin = patch - sides[0]
        if margin:
            pad = (margin // 2, margin - margin // 2) * 3
            region = torch.nn.functional.pad(region[None], pad, mode="reflect")[0]
        return region


def _stacked(pair: Pair) -> torch.Tensor:
    return torch.from_numpy(np.stack(pair).astype(np.float16))


class _Workers:
    """Processes that make pairs without end; each has one place in shared memory to put it."""

    def __init__(self, cells: Cells, count: int, seed: Sequence[int]) -> None:
        # Anonymous memory is shared by what is forked, and needs no /dev/shm, which can be small.
        context = multiprocessing.get_context("fork")
        shape = (count, 2, *INSIDE)
        memory = mmap.mmap(-1, 2 * int(np.prod(shape)))
        self.places = np.frombuffer(memory, np.float16).reshape(shape)
        self.ready = context.SimpleQueue()
        self.free = [context.Semaphore(1) for _ in range(count)]
        for number in range(count):
            place, free = self.places[number], self.free[number]
            own = (cells, place, free, self.ready, number, [*seed, number])
            context.Process(target=_make_pairs, args=own, daemon=True).start()

    def new(self, wait: bool) -> Iterator[np.ndarray]:
        """Pairs ``(2, *INSIDE)`` that are there, float16; with `wait`, at least one.

        A pair is to be copied before the next one is asked for.
        """
        while wait or not self.ready.empty():
            number = self.ready.get()
            try:
                yield self.places[number]
            finally:
                self.free[number].release()


def _make_pairs(
    cells: Cells, place: np.ndarray, free: Any, ready: Any, number: int, seed: Sequence[int]
) -> None:
    generator = np.random.default_rng(seed)
    while True:
        tomogram, density = cells.pair(generator)
        free.acquire()
        place[0], place[1] = tomogram, density
        ready.put(number)
