"""Pairs for the missing wedge, made from the tomograms themselves.

A tomogram that is turned about its tilt axis has its missing wedge elsewhere, and has measured
what another lacks. So a turned block loses the original wedge's coefficients, and the denoiser
learns to put them back. Exchanging z and x is the turn by 90 degrees (section 2.5 of the paper);
that every other turn serves as well is the idea of IsoNet (Liu et al. 2022).
"""

from __future__ import annotations

import math
from typing import Any, Dict, List, Mapping, NamedTuple, Tuple

import numpy as np
import scipy.fft
from scipy.ndimage import gaussian_filter, rotate

from dual_core.errors import DualError
from dual_core.noise_model.calibration import LinearModel
from dual_core.volumes.geometry import swap_beam_and_x
from dual_core.volumes.patches import PatchSource

SIDE = 64  # of a pair, in voxels
STEP = 8  # sides are multiples of it
SMALLEST_SIDE = 32
POOL = 8
USES = 2  # pairs drawn for each that is made anew
EXCHANGED = 0.25  # share of the pairs that are turned by exactly 90 degrees, without interpolation
POWER_BLOCKS = 60
FLOOR = 1e-6


class WedgePair(NamedTuple):
    """A block without the original wedge, the block that it was made from, and what to learn.

    ``tomogram`` and ``turned`` are float32 ``(side, side, side)``; ``learn`` says which
    coefficients of the full spectrum are in the missing wedge of the one and not of the other.
    """

    tomogram: np.ndarray
    turned: np.ndarray
    learn: np.ndarray


class Directions:
    """Which coefficients a tilt range measures, on a grid, after a turn about the tilt axis y.

    Parameters
    ----------
    side : of the cubic grid.
    tilt_range_deg : smallest and largest tilt.
    """

    def __init__(self, side: int, tilt_range_deg: Tuple[float, float]) -> None:
        axis = scipy.fft.fftfreq(side)
        kz, kx = axis[:, None, None], axis[None, None, :]
        self._angle = np.degrees(np.arctan2(kz, kx)) + np.zeros((1, side, 1))
        self._near_axis = (kz**2 + kx**2 < (1.01 / side) ** 2) & np.ones((1, side, 1), bool)
        self._range = tilt_range_deg

    def measured(self, turned_deg: float = 0.0) -> np.ndarray:
        """Boolean ``(side, side, side)``, zero frequency first; all that is near the tilt axis."""
        smallest, largest = self._range
        middle, half = (smallest + largest) / 2, (largest - smallest) / 2
        # The direction of a coefficient has no sign: angles count modulo 180 degrees.
        away = np.abs((self._angle - middle + turned_deg + 90.0) % 180.0 - 90.0)
        return (away <= half) | self._near_axis


class WedgePairs:
    """Draws pairs from turned tomograms.

    Parameters
    ----------
    blocks : the tomograms, any side; flips that keep the wedge are welcome.
    tilt_range_deg : of all of them, tilt axis y.

    Raises
    ------
    DualError
        If the tomograms are too thin.
    """

    def __init__(self, blocks: PatchSource, tilt_range_deg: Tuple[float, float]) -> None:
        thinnest = blocks.smallest_side
        turning = int(thinnest / math.sqrt(2.0)) // STEP * STEP
        self.turns = turning >= SMALLEST_SIDE
        side = min(SIDE, turning if self.turns else thinnest // STEP * STEP)
        if side < SMALLEST_SIDE:
            raise DualError(
                f"a tomogram is {thinnest} voxels thin, and the missing wedge needs "
                f"{SMALLEST_SIDE}; give thicker tomograms or a smaller --voxel-size"
            )
        self.side = side
        drawn = min(thinnest, math.ceil(side * math.sqrt(2.0))) if self.turns else side
        self._blocks = blocks.with_side(drawn)
        self._whole = blocks.with_side(side)
        self._directions = Directions(side, tilt_range_deg)
        self._lost_deg = 180.0 - (tilt_range_deg[1] - tilt_range_deg[0])
        self._amplitude = _amplitude(blocks.with_side(side))
        self.pool: List[WedgePair] = []
        self.drawn = 0

    def draw(self, generator: np.random.Generator) -> WedgePair:
        """One pair from the pool, of which one is replaced now and then."""
        while len(self.pool) < POOL:
            self.pool.append(self.make(generator))
        if self.drawn % USES == 0:
            self.pool[int(generator.integers(POOL))] = self.make(generator)
        self.drawn += 1
        return self.pool[int(generator.integers(POOL))]

    def make(self, generator: np.random.Generator) -> WedgePair:
        """A new pair."""
        if self.turns and generator.random() >= EXCHANGED:
            # Less than half the wedge's width would leave most of the wedge where it was.
            angle = generator.uniform(self._lost_deg / 2, 180.0 - self._lost_deg / 2)
            turned = self._turn(self._blocks.draw(1, generator)[0, 0], float(angle))
        else:
            angle = 90.0
            turned = np.ascontiguousarray(swap_beam_and_x(self._whole.draw(1, generator)[0, 0]))
        original, present = self._directions.measured(), self._directions.measured(float(angle))
        noise = generator.standard_normal(turned.shape, dtype=np.float32)
        # What the turned block lacks of the original's directions is filled with noise: a
        # tomogram has no such gap there.
        spectrum = scipy.fft.fftn(turned) * (original & present)
        spectrum += scipy.fft.fftn(noise) * self._amplitude * (original & ~present)
        tomogram = scipy.fft.ifftn(spectrum).real.astype(np.float32)
        return WedgePair(tomogram, turned, present & ~original)

    def tensors(self) -> Dict[str, np.ndarray]:
        """The pool, for a checkpoint."""
        return {
            f"{number}.{name}": part
            for number, pair in enumerate(self.pool)
            for name, part in zip(WedgePair._fields, pair)
        }

    def state(self) -> Dict[str, Any]:
        """The rest of what a checkpoint needs, plain values."""
        return {
            "drawn": self.drawn, "blocks": self._blocks.state(), "whole": self._whole.state()
        }

    def restore(self, tensors: Mapping[str, np.ndarray], state: Mapping[str, Any]) -> None:
        """Put back what `tensors` and `state` gave."""
        count = len(tensors) // len(WedgePair._fields)
        self.pool = [
            WedgePair(*(tensors[f"{number}.{name}"] for name in WedgePair._fields))
            for number in range(count)
        ]
        self.drawn = int(state["drawn"])
        self._blocks.restore(state["blocks"])
        self._whole.restore(state["whole"])

    def linear_model(self) -> LinearModel:
        """From the exchanged domain to the tomograms: their wedge, and noise where it lacks."""
        half = self.side // 2 + 1
        measured = self._directions.measured()
        exchanged = swap_beam_and_x(measured)
        amplitude = np.maximum(self._amplitude * (measured & ~exchanged), FLOOR)
        return LinearModel(
            np.ascontiguousarray(measured[..., :half], dtype=np.float32),
            np.ascontiguousarray(amplitude[..., :half], dtype=np.float32),
            (),
        )

    def _turn(self, block: np.ndarray, angle: float) -> np.ndarray:
        """The middle of a block after a turn about y; what comes from outside is mirrored in."""
        turned = rotate(block, angle, axes=(0, 2), reshape=False, order=3, mode="mirror")
        first = (len(block) - self.side) // 2
        inside = slice(first, first + self.side)
        return np.ascontiguousarray(turned[inside, inside, inside])


def _amplitude(blocks: PatchSource) -> np.ndarray:
    """Root of the tomograms' power, white noise of deviation 1 having 1 everywhere."""
    generator = np.random.default_rng(0)
    power = np.zeros((blocks.side,) * 3)
    for _ in range(POWER_BLOCKS):
        block = blocks.draw(1, generator)[0, 0]
        power += np.abs(scipy.fft.fftn(block, norm="ortho")) ** 2 / POWER_BLOCKS
    return np.sqrt(gaussian_filter(power, 0.8, mode="wrap"))
