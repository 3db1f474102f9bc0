"""A linear model of the noisy domain, found from the two domains without pairs.

The model is ``t = H v + n``: a transfer function H of the structure (contrast transfer, missing
wedge, filter of the reconstruction) and Gaussian noise n of power N, both over the spatial
frequency. Second moments alone cannot tell structure from noise: any H goes with the
power ``S_t - |H|^2 S_v`` of noise. Higher cumulants can, since those of Gaussian noise are zero
while density is sparse: in each band of frequencies the third cumulant of the tomogram is H^3 and
the fourth H^4 times that of the clean domain after the same filter.

The model fixes the strength of the simulated noise against the structure, which is what the
adversarial game of two networks leaves free to drift. It is where the structural generator starts.
"""
from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, NamedTuple, Sequence, Tuple

import numpy as np
import scipy.fft
from scipy.interpolate import RegularGridInterpolator
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from .patches import PatchSource, StandardisedVolume
from .volumes import Triple

logger = logging.getLogger(__name__)

SIDE = 64  # of the blocks that spectra are taken from, in voxels
BLOCKS = 80  # of each domain
BAND_EDGES = (0.02, 0.03, 0.04, 0.055, 0.07, 0.085, 0.1, 0.12, 0.15, 0.2, 0.3)  # cycles per voxel
TRIM = 0.25  # of the blocks at each end; gold is in few blocks and would outweigh all else
MOST_SIGNAL = 0.9  # of the power in a band; there is always some noise
SIGNIFICANT = 2.0  # standard errors below which a third cumulant is not believed
FLOOR = 1e-6
WEDGE_BAND = (0.08, 0.35)  # distance from the tilt axis where the wedge is looked for
WEDGE_POWER = 0.4  # of the power near x below which a direction counts as not measured
ANGLE_STEP_DEG = 3.0
ANGLE_BINS = 60
MARGIN = 16  # voxels that a block is mirrored by before it is filtered
POOL = 16  # simulated blocks at hand


@dataclass(frozen=True)
class LinearModel:
    """Transfer of the structure and amplitude of the noise, on an FFT grid.

    Attributes
    ----------
    transfer : H on the half grid of a real FFT, ``(side, side, side // 2 + 1)``, real.
    noise_amplitude : sqrt(N) in units of white noise of deviation 1, same shape.
    bands : (centre in cycles per voxel, mean H, signal-to-noise ratio) for the log.
    """

    transfer: np.ndarray
    noise_amplitude: np.ndarray
    bands: Tuple[Tuple[float, float, float], ...]


def fit_linear_model(
    noisy: Sequence[StandardisedVolume],
    clean: Sequence[StandardisedVolume],
    generator: np.random.Generator,
) -> LinearModel:
    """Fit ``t = H v + n`` to two unpaired domains.

    Parameters
    ----------
    noisy, clean : the domains, standardised, of one contrast and voxel size.
    generator : draws the blocks that are looked at.
    """
    side = min(SIDE, *(length for entry in (*noisy, *clean) for length in entry.volume.shape))
    side -= side % 2
    noisy_spectra = _block_spectra(noisy, side, generator)
    clean_spectra = _block_spectra(clean, side, generator)
    frequency = _frequency(side)
    noisy_power = _smooth_power(noisy_spectra)
    clean_power = _smooth_power(clean_spectra)
    # Weighted back-projection gives structure one transfer in all measured directions, while the
    # ramp filter makes the noise grow with the distance from the tilt axis. So H is isotropic but
    # for the missing wedge, and all other anisotropy of the power is the noise's.
    measured = measured_directions(noisy_power, side)
    centres, values = [], []
    for low, high in zip(BAND_EDGES[:-1], BAND_EDGES[1:]):
        centre, width = (low + high) / 2, (high - low) / 2
        band = np.exp(-0.5 * ((frequency - centre) / width) ** 2)
        band[0, 0, 0] = 0.0
        values.append(_band_transfer(noisy_spectra, clean_spectra, band, band * measured))
        centres.append(centre)
        logger.debug("transfer at %.4f cycles per voxel: %.3f", centre, values[-1])
    transfer = np.interp(frequency, centres, values) * measured
    ceiling = np.sqrt(MOST_SIGNAL * noisy_power / np.maximum(clean_power, FLOOR))
    transfer = np.clip(transfer, -ceiling, ceiling)
    noise_power = np.maximum(noisy_power - transfer**2 * clean_power, FLOOR)
    bands = _describe(transfer, clean_power, noise_power, frequency)
    return LinearModel(
        transfer.astype(np.float32), np.sqrt(noise_power).astype(np.float32), bands
    )


def _block_spectra(
    volumes: Sequence[StandardisedVolume], side: int, generator: np.random.Generator
) -> List[np.ndarray]:
    """Orthonormal spectra of random blocks, tapered so that their faces do not count."""
    taper = np.sin(np.pi * (np.arange(side) + 0.5) / side).astype(np.float32)
    window = taper[:, None, None] * taper[None, :, None] * taper[None, None, :]
    window /= np.sqrt(np.mean(window**2))
    sizes = np.array([float(np.prod(entry.volume.shape)) for entry in volumes])
    spectra = []
    for _ in range(BLOCKS):
        entry = volumes[int(generator.choice(len(volumes), p=sizes / sizes.sum()))]
        start = [int(generator.integers(n - side + 1)) for n in entry.volume.shape]
        position: Triple = (start[0], start[1], start[2])
        block = entry.read(position, (side, side, side)) * window
        spectra.append(scipy.fft.rfftn(block, norm="ortho"))
    return spectra


def _frequency(side: int) -> np.ndarray:
    axis = np.fft.fftfreq(side)
    half = np.fft.rfftfreq(side)
    return np.sqrt(
        axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + half[None, None, :] ** 2
    )


def _smooth_power(spectra: Sequence[np.ndarray]) -> np.ndarray:
    """Mean power, smoothed over the next coefficients."""
    power = np.mean([np.abs(spectrum) ** 2 for spectrum in spectra], axis=0)
    return np.maximum(gaussian_filter(power, 0.8, mode=("wrap", "wrap", "nearest")), FLOOR)


def measured_directions(power: np.ndarray, side: int) -> np.ndarray:
    """How much of each coefficient was measured, 0 to 1, found from the power alone.

    The missing wedge is where the power, seen along the tilt axis y, falls far below that of the
    directions near x. Works for any tilt range, symmetric or not; a volume without a wedge gives
    1 everywhere.

    Parameters
    ----------
    power : mean power of the tomograms on the half grid, ``(side, side, side // 2 + 1)``.
    side : of the grid.
    """
    kz = np.fft.fftfreq(side)[:, None, None]
    ky = np.fft.fftfreq(side)[None, :, None]
    kx = np.fft.rfftfreq(side)[None, None, :]
    distance = np.sqrt(kz**2 + kx**2) + 0.0 * ky  # from the tilt axis
    angle = np.degrees(np.arctan2(kz, kx)) + 0.0 * ky
    looked_at = (distance > WEDGE_BAND[0]) & (distance < WEDGE_BAND[1]) & (np.abs(ky) < 0.25)
    bins = np.clip(((angle + 90.0) / ANGLE_STEP_DEG).astype(np.intp), 0, ANGLE_BINS - 1)
    # Relative to the mean at that distance, so that the fall of the spectrum does not count.
    ring = np.rint(distance * side).astype(np.intp)
    relative = power / _group_mean(power, ring)
    totals = np.bincount(bins[looked_at], relative[looked_at], minlength=ANGLE_BINS)
    counts = np.bincount(bins[looked_at], minlength=ANGLE_BINS)
    profile = totals / np.maximum(counts, 1)
    centres = (np.arange(ANGLE_BINS) + 0.5) * ANGLE_STEP_DEG - 90.0
    reference = np.median(profile[np.abs(centres) < 30.0])
    present = profile > WEDGE_POWER * reference
    share = gaussian_filter1d(present.astype(float), 0.5, mode="wrap")
    # Near the tilt axis every direction is within one voxel of a measured one.
    return np.where(distance < 1.0 / side, 1.0, share[bins])


def _group_mean(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Each value replaced by the mean over its group."""
    totals = np.bincount(groups.ravel(), values.ravel())
    counts = np.bincount(groups.ravel())
    return (totals / np.maximum(counts, 1))[groups]


def _band_transfer(
    noisy: Sequence[np.ndarray],
    clean: Sequence[np.ndarray],
    noisy_filter: np.ndarray,
    clean_filter: np.ndarray,
) -> float:
    """H of one band from the third and fourth cumulants of the filtered domains.

    The third, trimmed, follows the many particles and has a sign; the fourth, untrimmed, is
    strongest for the few beads of gold. Their errors differ in sign where the two domains hold
    different amounts of gold, so the geometric mean of both is taken.
    """
    noisy_third, noisy_fourth = _cumulants(noisy, noisy_filter)
    clean_third, clean_fourth = _cumulants(clean, clean_filter)
    estimates = []
    sign = 1.0
    third, error = _trimmed_mean(noisy_third)
    reference, reference_error = _trimmed_mean(clean_third)
    if abs(third) > SIGNIFICANT * error and abs(reference) > SIGNIFICANT * reference_error:
        sign = float(np.sign(third / reference))
        estimates.append(abs(third / reference) ** (1 / 3))
    fourth, reference = float(np.mean(noisy_fourth)), float(np.mean(clean_fourth))
    if fourth > 0 and reference > 0:
        estimates.append((fourth / reference) ** 0.25)
    if not estimates:
        return 0.0
    return sign * float(np.exp(np.mean(np.log(estimates))))


def _cumulants(
    spectra: Sequence[np.ndarray], band: np.ndarray
) -> Tuple[np.ndarray, np.ndarray]:
    """Third and fourth cumulant of each filtered block."""
    third, fourth = [], []
    band = band.astype(np.float32)
    for spectrum in spectra:
        values = scipy.fft.irfftn(spectrum * band, norm="ortho")
        squares = values * values
        third.append(np.mean(squares * values))
        fourth.append(np.mean(squares * squares) - 3.0 * np.mean(squares) ** 2)
    return np.array(third, dtype=np.float64), np.array(fourth, dtype=np.float64)


def _trimmed_mean(values: np.ndarray) -> Tuple[float, float]:
    """Mean without the extreme blocks, and its standard error."""
    cut = int(TRIM * len(values))
    kept = np.sort(values)[cut : len(values) - cut]
    return float(np.mean(kept)), float(np.std(kept) / np.sqrt(len(kept)))


def _describe(
    transfer: np.ndarray, clean_power: np.ndarray, noise_power: np.ndarray, frequency: np.ndarray
) -> Tuple[Tuple[float, float, float], ...]:
    rows = []
    for low, high in zip(BAND_EDGES[:-1], BAND_EDGES[1:]):
        inside = (frequency >= low) & (frequency < high)
        if inside.any():
            signal = float(np.mean((transfer**2 * clean_power)[inside]))
            noise = float(np.mean(noise_power[inside]))
            rows.append(((low + high) / 2, float(transfer[inside].mean()), signal / noise))
    return tuple(rows)


class SimulatedBatch(NamedTuple):
    """Patches of the linear model, ``(count, 1, patch, patch, patch)`` each, float32."""

    tomogram: np.ndarray
    density: np.ndarray
    noise: np.ndarray


class LinearSimulator:
    """Tomograms of the linear model, with the densities and the white noise that made them.

    Holds a pool of blocks, of which one is replaced at every draw.

    Parameters
    ----------
    model : from `fit_linear_model`.
    blocks : draws blocks ``(1, 1, side, side, side)`` of the clean domain.
    patch : side of the patches to draw.
    flips : groups of axes that may be flipped together without moving the missing wedge.
    """

    def __init__(
        self,
        model: LinearModel,
        blocks: PatchSource,
        patch: int,
        flips: Sequence[Tuple[int, ...]],
    ) -> None:
        self._source = blocks
        self._patch = patch
        self._flips = tuple(flips)
        self._filters = _filters_for(model, (blocks.side + 2 * MARGIN,) * 3)
        self.pool: List[SimulatedBatch] = []
        self.drawn = 0

    def draw(self, count: int, generator: np.random.Generator) -> SimulatedBatch:
        """`count` random patches."""
        while len(self.pool) < POOL:
            self.pool.append(self.simulate(generator))
        self.pool[self.drawn % POOL] = self.simulate(generator)
        self.drawn += 1
        patches = [self._crop(generator) for _ in range(count)]
        return SimulatedBatch(*(np.stack(part)[:, np.newaxis] for part in zip(*patches)))

    def tensors(self) -> Dict[str, np.ndarray]:
        """The pool, for a checkpoint."""
        names = SimulatedBatch._fields
        return {
            f"{number}.{name}": part
            for number, block in enumerate(self.pool)
            for name, part in zip(names, block)
        }

    def state(self) -> Dict[str, Any]:
        """The rest of what a checkpoint needs, plain values."""
        return {"drawn": self.drawn, "blocks": self._source.state()}

    def restore(self, tensors: Mapping[str, np.ndarray], state: Mapping[str, Any]) -> None:
        """Put back what `tensors` and `state` gave."""
        names = SimulatedBatch._fields
        count = len(tensors) // len(names)
        self.pool = [
            SimulatedBatch(*(tensors[f"{number}.{name}"] for name in names))
            for number in range(count)
        ]
        self.drawn = int(state["drawn"])
        self._source.restore(state["blocks"])

    def simulate(self, generator: np.random.Generator) -> SimulatedBatch:
        """A block of the clean domain, its tomogram and its noise, ``(side, side, side)``."""
        density = self._source.draw(1, generator)[0, 0]
        transfer, amplitude = self._filters
        padded = np.pad(density, MARGIN, mode="reflect")
        noise = generator.standard_normal(padded.shape, dtype=np.float32)
        spectrum = scipy.fft.rfftn(padded) * transfer + scipy.fft.rfftn(noise) * amplitude
        tomogram = scipy.fft.irfftn(spectrum, s=padded.shape).astype(np.float32)
        inside = (slice(MARGIN, -MARGIN),) * 3
        return SimulatedBatch(tomogram[inside].copy(), density, noise[inside].copy())

    def _crop(self, generator: np.random.Generator) -> SimulatedBatch:
        block = self.pool[int(generator.integers(POOL))]
        start = [
            int(generator.integers(length - self._patch + 1)) for length in block.density.shape
        ]
        region = tuple(slice(first, first + self._patch) for first in start)
        patch = [part[region] for part in block]
        for axes in self._flips:
            if generator.random() < 0.5:
                patch = [np.flip(part, axes) for part in patch]
        return SimulatedBatch(*patch)


def _filters_for(model: LinearModel, shape: Triple) -> Tuple[np.ndarray, np.ndarray]:
    """Transfer and noise amplitude interpolated to the real FFT grid of a shape."""
    side = model.transfer.shape[0]
    axis = np.append(np.sort(np.fft.fftfreq(side)), 0.5)
    half = np.fft.rfftfreq(side)
    wanted = np.meshgrid(
        np.fft.fftfreq(shape[0]), np.fft.fftfreq(shape[1]), np.fft.rfftfreq(shape[2]),
        indexing="ij", sparse=False,
    )
    points = np.stack([grid.ravel() for grid in wanted], axis=1)
    filters = []
    for values in (model.transfer, model.noise_amplitude):
        centred = np.fft.fftshift(values, axes=(0, 1))
        closed = np.pad(centred, ((0, 1), (0, 1), (0, 0)), mode="wrap")
        interpolate = RegularGridInterpolator((axis, axis, half), closed)
        filters.append(interpolate(points).reshape(wanted[0].shape).astype(np.float32))
    return filters[0], filters[1]
