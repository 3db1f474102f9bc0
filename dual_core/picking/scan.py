"""Maxima and noise of a filtered volume whose planes go by one after the other."""

from __future__ import annotations

import itertools
import math
from concurrent.futures import Executor
from typing import Callable, Iterable, Iterator, List, Optional, Tuple

import numpy as np

from dual_core.errors import DualError
from dual_core.picking.difference_of_gaussians import local_maxima
from dual_core.volumes.reading import ReadableVolume

Report = Callable[[int, int], None]
Triplet = Tuple[Optional[np.ndarray], np.ndarray, Optional[np.ndarray]]

# The difference is a band-pass of about a tenth of the range of the data: what is this much
# below the highest peak may be rounding.
_ROUNDING = 1e-4
_MAD_TO_DEVIATION = 1.4826
_SAMPLES = 4e6
_FEW_SAMPLES = 1000


class Scan:
    """Gathers the maxima and a sample of the values while the filtered planes go by."""

    def __init__(
        self,
        volume: ReadableVolume,
        mask: Optional[ReadableVolume],
        border: float,
        blank: Optional[ReadableVolume] = None,
    ) -> None:
        self._name = volume.name
        self._shape = volume.shape
        self._mask = mask
        self._blank = blank
        margin = math.ceil(border)
        self._allowed = [slice(margin, length - margin) for length in volume.shape]
        voxels = float(np.prod(volume.shape, dtype=np.float64))
        self._step = max(1, math.ceil((voxels / _SAMPLES) ** (1 / 3)))
        self._positions: List[np.ndarray] = []
        self._values: List[np.ndarray] = []
        self._inside: List[np.ndarray] = []
        self._anywhere: List[np.ndarray] = []

    def run(
        self,
        planes: Iterable[np.ndarray],
        executor: Executor,
        threads: int,
        report: Optional[Report],
    ) -> None:
        """Take in all planes, several at a time."""
        triplets = enumerate(_with_neighbours(planes))
        depth = self._shape[0]
        while True:
            batch = list(itertools.islice(triplets, threads))
            if not batch:
                return
            for found in executor.map(lambda item: self._search(*item), batch):
                positions, values, inside, anywhere = found
                self._positions.append(positions)
                self._values.append(values)
                self._inside.append(inside)
                self._anywhere.append(anywhere)
            if report is not None:
                report(batch[-1][0] + 1, depth)

    def _search(
        self, z: int, triplet: Triplet
    ) -> Tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        plane = triplet[1]
        _, rows, columns = self._shape
        allowed = np.zeros((rows, columns), dtype=bool)
        if self._allowed[0].start <= z < self._allowed[0].stop:
            if self._mask is None:
                allowed[self._allowed[1], self._allowed[2]] = True
            else:
                whole = self._mask.read((z, 0, 0), (1, rows, columns))[0] > 0.5
                region = tuple(self._allowed[1:])
                allowed[region] = whole[region]
            if self._blank is not None:
                allowed &= ~self._blank.read((z, 0, 0), (1, rows, columns))[0]
        y, x = local_maxima(*triplet)
        usable = allowed[y, x]
        y, x = y[usable], x[usable]
        positions = np.stack([np.full_like(y, z), y, x], axis=1).astype(np.int32)
        nothing = np.zeros(0, np.float32)  # not a view, which would keep the plane
        if z % self._step:
            return positions, plane[y, x], nothing, nothing
        sample = plane[:: self._step, :: self._step]
        inside = sample[allowed[:: self._step, :: self._step]]
        return positions, plane[y, x], inside, sample.ravel()

    def result(self) -> Tuple[np.ndarray, np.ndarray, float, float]:
        """Positions and values of the maxima, median and robust deviation of the volume.

        The latter two are of every so many voxels of the region that is picked in.
        """
        sample = np.concatenate(self._inside)
        if sample.size < _FEW_SAMPLES:
            sample = np.concatenate(self._anywhere)
        sample = sample.astype(np.float64)
        median = float(np.median(sample))
        deviation = _MAD_TO_DEVIATION * float(np.median(np.abs(sample - median)))
        deviation = deviation or float(sample.std())
        positions, values = np.concatenate(self._positions), np.concatenate(self._values)
        if deviation == 0:
            raise DualError(
                f"{self._name}: all voxels are equal; there is nothing in this volume"
            )
        above = values > _ROUNDING * values.max(initial=0.0)
        return positions[above], values[above].astype(np.float64), median, deviation


def _with_neighbours(planes: Iterable[np.ndarray]) -> Iterator[Triplet]:
    before: Optional[np.ndarray] = None
    plane: Optional[np.ndarray] = None
    for after in planes:
        if plane is not None:
            yield before, plane, after
        before, plane = plane, after
    if plane is not None:
        yield before, plane, None
