"""The noise profile of a domain, measured so that tomograms simulated with it have its power.

The power of whole-thickness blocks, less the share of the structure by the linear model, has the
rays and the wedge. Its level is then corrected on small blocks: tomograms are simulated with the
linear model and this noise, and the mean log powers of their small blocks are compared with those
of the tomograms. Most small blocks have no gold, and the mean of the logarithm hardly knows of the
others.
"""

from __future__ import annotations

import logging
from typing import Iterable, Iterator, Sequence, Tuple

import numpy as np
import scipy.fft
from scipy.ndimage import gaussian_filter

from dual_core.noise_model.calibration import MARGIN, LinearModel, seen_through
from dual_core.noise_model.full_power.noise_profile import NoiseProfile, symmetric
from dual_core.noise_model.full_power.whole_blocks import field_power, grid_of, typical_power
from dual_core.noise_model.tapered_power import on_grid
from dual_core.tiles.plan import as_triple
from dual_core.volumes.geometry import half_overlapping, squared_sine_window
from dual_core.volumes.interface import Triple
from dual_core.volumes.patches import MOST_BLANK, StandardisedVolume

logger = logging.getLogger(__name__)

SMALL, LARGE = 32, 64  # voxels a side of the small blocks, and of those they are taken from
BLOCKS = 24  # simulated ones at most; of the tomograms, whose noise cannot be drawn anew, more
FEWEST_BLOCKS, REAL_BLOCKS = 4, 4  # at least; of the tomograms for each simulated one
SHARE_BLOCKS = 60  # of the clean domain
ROUNDS = 3
LARGEST_CHANGE = 1.5  # of a logarithm in one round
SMOOTHING = 0.6  # coefficients
LOWEST_SHARE = 0.05
TINY = 1e-9
LEFT = 0.2  # of the noise at least, when rounding is taken from it


def measure_noise_profile(
    noisy: Sequence[StandardisedVolume],
    clean: Sequence[StandardisedVolume],
    linear: LinearModel,
    limits: Tuple[float, float],
    generator: np.random.Generator,
) -> NoiseProfile:
    """Measure the noise profile of a domain.

    Parameters
    ----------
    noisy : the tomograms, standardised.
    clean : the grand models, standardised.
    linear : from `dual_core.noise_model.calibration`.
    limits : lowest and highest standardised value of the tomograms.
    generator : draws blocks and noise.

    Raises
    ------
    DualError
        For tomograms that are blank.
    """
    grid = grid_of(min(min(e.volume.shape[0], e.volume.shape[2]) for e in noisy))
    power = typical_power(noisy, grid, generator)
    share = on_grid(noise_share(linear, clean, generator), grid)
    profile = NoiseProfile(
        np.zeros_like(power), power, linear.transfer, limits,
        measured=linear.measured, weighting=linear.weighting,
    )
    profile = profile.with_power(field_power(power, grid) * np.maximum(share, LOWEST_SHARE))

    side = min(LARGE, *(n for entry in (*noisy, *clean) for n in entry.volume.shape)) // 2 * 2
    small = min(SMALL, side)
    voxels = sum(float(np.prod(entry.volume.shape)) for entry in noisy)
    count = int(np.clip(2 * voxels / side**3, FEWEST_BLOCKS, BLOCKS))
    wanted = _mean_log_power(_blocks_of(noisy, side, REAL_BLOCKS * count, generator), small)
    curves = [c for c in (linear.transfer, linear.weighting) if c is not None]
    responses = [on_grid(curve, (side + 2 * MARGIN,) * 3) for curve in curves]
    structures = [
        seen_through(block, *responses) for block in _blocks_of(clean, side, count, generator)
    ]
    for number in range(ROUNDS):
        response = profile.response(_field_of(side))
        blocks = (
            np.clip(structure + _noise(response, side, generator), *limits)
            for structure in structures
        )
        away = wanted - _mean_log_power(blocks, small)
        logger.debug("noise profile, round %d: rms %.3f", number, np.sqrt(np.mean(away**2)))
        change = on_grid(np.clip(away, -LARGEST_CHANGE, LARGEST_CHANGE), grid)
        profile = profile.with_power(profile.amplitude**2 * np.exp(change))
    power = profile.amplitude**2
    return symmetric(profile.with_power(np.maximum(power - rounding_power(noisy), LEFT * power)))


def rounding_power(volumes: Sequence[StandardisedVolume]) -> float:
    """The power of what was rounded away where tomograms are integers, in the mean over volumes.

    In the missing wedge of 8-bit tomograms it is a tenth of what is there. It comes back as
    soon as a simulated tomogram is saved with as few grey levels.
    """
    powers = []
    for entry in volumes:
        size = as_triple([min(length, LARGE) for length in entry.volume.shape])
        start = as_triple([(n - m) // 2 for n, m in zip(entry.volume.shape, size)])
        values = entry.volume.read(start, size)
        whole = bool(np.all(values == np.rint(values)))
        powers.append(1.0 / 12.0 / entry.deviation**2 if whole else 0.0)
    return float(np.mean(powers))


def noise_share(
    linear: LinearModel, clean: Sequence[StandardisedVolume], generator: np.random.Generator
) -> np.ndarray:
    """The noise's part of a typical block's power, 0 to 1, on the linear model's grid."""
    wanted = linear.transfer.shape[0]
    side = min(wanted, *(n for entry in clean for n in entry.volume.shape)) // 2 * 2
    window = _window(side)
    powers = [
        np.abs(scipy.fft.rfftn(block * window)) ** 2
        for block in _blocks_of(clean, side, SHARE_BLOCKS, generator)
    ]
    structure = on_grid(_smoothed(np.median(powers, axis=0) / np.log(2.0), 1.0), (wanted,) * 3)
    noise = linear.noise_amplitude.astype(np.float64) ** 2
    share: np.ndarray = noise / (noise + linear.transfer.astype(np.float64) ** 2 * structure)
    return _smoothed(share, 1.0)


def _field_of(side: int) -> Triple:
    return (2 * side, side + 2 * MARGIN, 2 * side)


def _noise(response: np.ndarray, side: int, generator: np.random.Generator) -> np.ndarray:
    shape = _field_of(side)
    white = generator.standard_normal(shape, dtype=np.float32)
    noise: np.ndarray = scipy.fft.irfftn(scipy.fft.rfftn(white) * response, s=shape)
    return noise[:side, :side, :side]


def _blocks_of(
    volumes: Sequence[StandardisedVolume], side: int, count: int, generator: np.random.Generator
) -> Iterator[np.ndarray]:
    """Cubes of some volumes, drawn evenly; of each three the first that is not blank."""
    sizes = np.array([float(np.prod(entry.volume.shape)) for entry in volumes])
    cube = (side, side, side)
    for _ in range(count):
        entry = volumes[int(generator.choice(len(volumes), p=sizes / sizes.sum()))]
        starts = [entry.random_start(cube, generator) for _ in range(3)]
        found = [start for start in starts if entry.blank(start, cube) <= MOST_BLANK]
        yield entry.read(found[0] if found else starts[0], cube)


def _mean_log_power(blocks: Iterable[np.ndarray], side: int) -> np.ndarray:
    """Mean log power of the small blocks, on their half grid, the same for both ways along y."""
    window = _window(side)
    total, number = np.zeros((side, side, side // 2 + 1)), 0
    for block in blocks:
        for z, y, x in half_overlapping(block.shape, (side,) * 3):
            part = block[z : z + side, y : y + side, x : x + side]
            total += np.log(np.abs(scipy.fft.rfftn(part * window)) ** 2 + TINY)
            number += 1
    mean = total / number
    return _smoothed((mean + np.roll(mean[:, ::-1], 1, axis=1)) / 2, SMOOTHING)


def _window(side: int) -> np.ndarray:
    """A squared sine along each axis of a cube; the sum of its squares is 1."""
    window = squared_sine_window((side,) * 3)
    return (window / np.sqrt(np.sum(window**2))).astype(np.float32)


def _smoothed(values: np.ndarray, width: float) -> np.ndarray:
    result: np.ndarray = gaussian_filter(values, width, mode=("wrap", "wrap", "nearest"))
    return result
