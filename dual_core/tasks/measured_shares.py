"""How much of each shell of a result is to be the tomogram's: measured on the tomogram itself.

`dual_core.tasks.keep_measured` says what for.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Callable, Iterator, List, Tuple

import numpy as np
import scipy.fft

from dual_core.noise_model.calibration import LinearModel
from dual_core.noise_model.tapered_power import half_grid_frequency, on_grid
from dual_core.tiles.plan import as_triple
from dual_core.training.pairs.recorruption import Recorruption
from dual_core.volumes.geometry import sine_taper
from dual_core.volumes.interface import Triple

EDGES = (0.012, 0.03, 0.05, 0.08, 0.11, 0.15, 0.2, 0.25, 0.32)  # of the shells, cycles per voxel
BLOCK = 64  # side of the blocks that the shares are found on, in voxels
STRENGTH = 0.2  # a of the copies: weak, so that the network sees the tomogram's own noise
FEWEST = 8  # coefficients that make a shell
LEAST = 0.05  # share below which nothing is given back
WEAKEST = 0.1  # H below which what comes back is not brought to the density's strength

Read = Callable[[Triple, Triple], np.ndarray]
Network = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Shares:
    """How much of each shell of the result is the tomogram's.

    Attributes
    ----------
    values : one a shell of `EDGES`, 0 to 1.
    """

    values: Tuple[float, ...]

    @property
    def any(self) -> bool:
        """Whether there is anything to give back."""
        return max(self.values) > 0.0

    def at(self, frequency: np.ndarray) -> np.ndarray:
        """The share at frequencies in cycles per voxel, linear between the middles of shells."""
        middles = [(low + high) / 2 for low, high in zip(EDGES, EDGES[1:])]
        return np.interp(frequency, [*middles, EDGES[-1]], [*self.values, 0.0])

    def describe(self, voxel_size_A: float) -> str:
        """For the log: detail and share."""
        return ", ".join(
            f"{2 * voxel_size_A / (low + high):.0f} A: {value:.2f}"
            for low, high, value in zip(EDGES, EDGES[1:], self.values)
            if value > 0
        )


def find_shares(
    read: Read, shape: Triple, network: Network, model: LinearModel, multiple: int, seed: int = 0
) -> Shares:
    """Find the shares on blocks spread over a tomogram.

    Parameters
    ----------
    read : ``read(start, size)``, the standardised tomogram, tilt axis y.
    shape : of the tomogram.
    network : the denoiser, for blocks whose sides are multiples of `multiple`.
    model : the linear model, in units of the standardised tomogram.
    seed : of the noise that is drawn.
    """
    size = as_triple([min(BLOCK, length) // multiple * multiple for length in shape])
    if min(size) < multiple or min(size) < 2:
        return Shares((0.0,) * (len(EDGES) - 1))
    shells = _Shells(model, size)
    recorruption = Recorruption(model, size, STRENGTH, excess=1.0)
    generator = np.random.default_rng(seed)
    for start in _spread(shape, size):
        block = read(start, size)
        if float(np.ptp(block)) == 0.0:
            continue
        shells.begin()
        noise = recorruption.noise(block, generator)
        # Once with the noise and once with its negative: what is linear in it cancels.
        for drawn in (noise, -noise):
            seen, other = recorruption.with_noise(block, drawn)
            shells.add(seen, other, network(seen))
    return Shares(tuple(shells.shares()))


class _Shells:
    """Sums over blocks from which the share of each shell follows."""

    def __init__(self, model: LinearModel, size: Triple) -> None:
        tapers = [sine_taper(length).astype(np.float32) for length in size]
        self._window = tapers[0][:, None, None] * tapers[1][:, None] * tapers[2]
        self._back = brought_back(model, size)
        self._weight = 1.0 / np.maximum(self._back**2, 1e-12)  # errors count as in the tomogram
        self._noise = on_grid(model.noise_amplitude, size) ** 2 * float(np.mean(self._window**2))
        measured = measured_part(model, size)
        frequency = half_grid_frequency(size)
        # Columns inside of the half grid stand for their conjugates too.
        twice = np.full(size[2] // 2 + 1, 2.0)
        twice[0] = 1.0
        if size[2] % 2 == 0:
            twice[-1] = 1.0
        self._shells = [
            measured * twice * ((frequency >= low) & (frequency < high))
            for low, high in zip(EDGES, EDGES[1:])
        ]
        self._blocks: List[np.ndarray] = []

    def begin(self) -> None:
        """Begin with another block."""
        self._blocks.append(np.zeros((len(self._shells), 4)))

    def add(self, seen: np.ndarray, other: np.ndarray, density: np.ndarray) -> None:
        """Add a pair of copies and what the network makes of the first."""
        first, second, known = (
            scipy.fft.rfftn(part * self._window, norm="ortho") for part in (seen, other, density)
        )
        # With D alone the second copy is missed by `error`; what the first adds is `step`.
        step, error = first * self._back - known, second * self._back - known
        product = self._weight * (step.real * error.real + step.imag * error.imag)
        square = self._weight * (step.real**2 + step.imag**2)
        power = first.real**2 + first.imag**2
        for sums, shell in zip(self._blocks[-1], self._shells):
            sums += [float((shell * part).sum()) for part in (product, square, power, self._noise)]

    def shares(self) -> List[float]:
        """Least squares; at most what a Wiener filter of the tomogram alone would pass.

        The median over blocks: gold is in few of them, and its streaks are no noise either.
        """
        found = []
        for number, shell in enumerate(self._shells):
            share = 0.0
            if self._blocks and np.count_nonzero(shell) >= FEWEST:
                product, square, power, noise = np.moveaxis(
                    np.array([block[number] for block in self._blocks]), 1, 0
                )
                best = product / np.maximum(square, 1e-12)
                most = 1.0 - noise / np.maximum(power, 1e-12)
                share = float(min(np.median(best), np.median(most), 1.0))
            found.append(share if share >= LEAST else 0.0)
        return found


def brought_back(model: LinearModel, shape: Triple) -> np.ndarray:
    """What brings a tomogram back to a density: the sign of H over its strength in the shell.

    The strength is the shell's mean, not the coefficient's own: within a shell the tomogram keeps
    its weighting, as under a filter, and no weakly measured direction is raised with its noise.
    """
    transfer = on_grid(model.transfer, shape)
    frequency = half_grid_frequency(shape)
    measured = measured_part(model, shape) > 0.5
    count = max(shape)
    shell = np.minimum((frequency * count).astype(np.intp), count - 1)
    numbers = np.bincount(shell[measured], minlength=count)
    strengths = np.bincount(shell[measured], np.abs(transfer[measured]), count)
    places = np.flatnonzero(numbers)
    if not places.size:
        return np.zeros_like(transfer)
    strength = np.interp(
        frequency, (places + 0.5) / count, strengths[places] / numbers[places]
    )
    result: np.ndarray = np.sign(transfer) / np.maximum(strength, WEAKEST)
    return result


def measured_part(model: LinearModel, shape: Triple) -> np.ndarray:
    """Where coefficients were measured; towards the wedge's blurred edge the data still count."""
    if model.measured is None:
        return np.ones((shape[0], shape[1], shape[2] // 2 + 1), dtype=np.float32)
    return np.sqrt(np.clip(on_grid(model.measured, shape), 0.0, 1.0))


def _spread(shape: Triple, size: Triple) -> Iterator[Triple]:
    """Starts of blocks spread over a volume, at most two along each axis."""
    rooms = [length - part for length, part in zip(shape, size)]
    counts = [min(-(-length // part), 2) for length, part in zip(shape, size)]
    places = [
        [(2 * k + 1) * room // (2 * count) if count > 1 else room // 2 for k in range(count)]
        for room, count in zip(rooms, counts)
    ]
    yield from itertools.product(*places)
