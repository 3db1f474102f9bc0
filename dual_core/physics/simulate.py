"""The conventional simulator: from a grand model to a tomogram, step by step.

    grand model + solvent -> projections -> CTF -> radiation damage -> detector and shot noise
    -> (phase flipping, dose weighting) -> weighted back-projection

Assumptions: weak-phase specimen (images are linear in the density), Gaussian instead of Poisson
shot noise (hundreds of electrons a pixel), perfect tilt alignment.
"""

from __future__ import annotations

import logging
import zlib
from dataclasses import dataclass
from typing import Iterable, Iterator, List, Sequence

import numpy as np
from scipy import fft

from dual_core.errors import DualError
from dual_core.physics import ctf, noise
from dual_core.physics.config import SimulatorConfig
from dual_core.physics.projection import project
from dual_core.physics.reconstruction import reconstruct

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TiltSeries:
    """Simulated tilt images ``(tilt, y, u)`` of two half exposures, ready for reconstruction."""

    angles: List[float]
    odd: np.ndarray
    even: np.ndarray

    @property
    def full(self) -> np.ndarray:
        """The whole exposure: the mean of the halves."""
        return (self.odd + self.even) / 2


@dataclass(frozen=True)
class Tomograms:
    """A tomogram and its halves, each ``(z, y, x)`` float32; ``full`` is the mean of the halves."""

    full: np.ndarray
    odd: np.ndarray
    even: np.ndarray


def generator_of(grand_model: np.ndarray, seed: int) -> np.random.Generator:
    """The generator of the noise of a grand model's tomogram.

    Two cells must not share one noise, and neither a file's name nor its place in a list may
    change the result: the voxels decide.
    """
    return np.random.default_rng([seed, zlib.crc32(grand_model.tobytes())])


def simulate_tomogram(
    grand_model: np.ndarray, config: SimulatorConfig, rng: np.random.Generator
) -> np.ndarray:
    """Tomogram ``(z, y, x)`` float32 as a microscope would give it for `grand_model`.

    The same generator state gives the same tomogram.

    Parameters
    ----------
    grand_model
        ``(z, y, x)``, density bright on any scale.

    Raises
    ------
    DualError
        If the grand model is not 3D, holds NaN or infinity, or is constant.
    """
    series = simulate_tilt_series(grand_model, config, rng)
    return reconstruct(series.full, series.angles, grand_model.shape, config.weighting)


def simulate_halves(
    grand_model: np.ndarray, config: SimulatorConfig, rng: np.random.Generator
) -> Tomograms:
    """:func:`simulate_tomogram` with the same result, and the tomograms of two half exposures.

    The halves are as those of odd and even movie frames: every tilt is in both, shot noise is
    independent, specimen and solvent are the same.
    """
    series = simulate_tilt_series(grand_model, config, rng)
    shape = grand_model.shape
    full = reconstruct(series.full, series.angles, shape, config.weighting)
    odd = reconstruct(series.odd, series.angles, shape, config.weighting)
    # Reconstruction is linear, so the third one is free.
    return Tomograms(full, odd, 2 * full - odd)


def simulate_tilt_series(
    grand_model: np.ndarray, config: SimulatorConfig, rng: np.random.Generator
) -> TiltSeries:
    """Tilt series of `grand_model`; parameters and errors as for :func:`simulate_tomogram`."""
    density = _checked(grand_model)
    angles = config.angles
    defoci_um = config.defocus_um + config.defocus_spread_um * rng.standard_normal(len(angles))
    signal = _record(project(density, angles), defoci_um, config, damage=True)
    if config.snr is None:
        odd = even = signal
    else:
        centre = _central_columns(signal.shape[2], density.shape[2])
        power = _mean_variance(signal[:, :, centre])
        if config.solvent_share > 0:
            solvent = project(rng.standard_normal(density.shape, dtype=np.float32), angles)
            solvent = _record(solvent, defoci_um, config, damage=False)
            unit = _mean_variance(solvent[:, :, centre])
            signal += (
                noise.noise_amplitude(power * config.solvent_share, unit, config.snr) * solvent
            )
        shot = [_shot_noise(signal.shape, density.shape[0], config, rng) for _ in range(2)]
        unit = _mean_variance((shot[0] + shot[1])[:, :, centre] / 2)
        amplitude = noise.noise_amplitude(power * (1 - config.solvent_share), unit, config.snr)
        odd, even = (signal + amplitude * each for each in shot)
        logger.info("signal variance %.4g, SNR %.4g in %d tilts", power, config.snr, len(angles))
    processed = [_process(images, defoci_um, config) for images in (odd, even)]
    return TiltSeries(angles, processed[0], processed[1])


def _record(
    images: np.ndarray, defoci_um: np.ndarray, config: SimulatorConfig, damage: bool
) -> np.ndarray:
    """What the detector shows of perfect projections, noise apart."""
    _, rows, columns = images.shape
    frequency = ctf.image_frequencies((rows, columns), config.voxel_size_A)
    blur = noise.detector_response((rows, columns), config.mtf_nyquist)
    filters = (blur * transfer for transfer in _transfers(frequency, defoci_um, config))
    if damage:
        filters = (f * a for f, a in zip(filters, _attenuations(frequency, config)))
    return _filtered(images, filters)


def _process(images: np.ndarray, defoci_um: np.ndarray, config: SimulatorConfig) -> np.ndarray:
    """What is done to the recorded images before the reconstruction."""
    frequency = ctf.image_frequencies((images.shape[1], images.shape[2]), config.voxel_size_A)
    # Optics show density dark; phase flipping keeps that sign at low frequencies.
    sign = 1.0 if config.contrast == "dark" else -1.0
    filters = [np.full(frequency.shape, sign) for _ in images]
    if config.phase_flip:
        for response, transfer in zip(filters, _transfers(frequency, defoci_um, config)):
            response[transfer > 0] *= -1
    if config.dose_weighting:
        for response, attenuation in zip(filters, _attenuations(frequency, config)):
            response *= attenuation
    return _filtered(images, filters)


def _transfers(
    frequency: np.ndarray, defoci_um: np.ndarray, config: SimulatorConfig
) -> Iterator[np.ndarray]:
    """The CTF of every tilt."""
    for defocus in defoci_um:
        yield ctf.contrast_transfer(
            frequency, defocus, config.voltage_kV, config.cs_mm, config.amplitude_contrast
        )


def _attenuations(frequency: np.ndarray, config: SimulatorConfig) -> Iterator[np.ndarray]:
    """What radiation has left of the specimen at every tilt."""
    for dose in noise.accumulated_doses(config.angles, config.total_dose, config.dose_order):
        yield noise.dose_attenuation(frequency, dose, config.voltage_kV)


def _shot_noise(
    shape: Sequence[int], thickness: int, config: SimulatorConfig, rng: np.random.Generator
) -> np.ndarray:
    """Shot noise of half an exposure on an arbitrary scale, relative to the signal."""
    passed = noise.transmission(config.angles, thickness * config.voxel_size_A, config.free_path_A)
    blur = noise.detector_response((shape[1], shape[2]), config.noise_mtf_nyquist)
    white = rng.standard_normal(tuple(shape), dtype=np.float32)
    return _filtered(white, (blur / np.sqrt(share) for share in passed))


def _filtered(images: np.ndarray, filters: Iterable[np.ndarray]) -> np.ndarray:
    """Every image times its own Fourier response (of ``rfft2``)."""
    out = np.empty(images.shape, np.float32)
    for image, response, result in zip(images, filters, out):
        spectrum = fft.rfft2(image) * response.astype(np.float32)
        result[:] = fft.irfft2(spectrum, s=image.shape)
    return out


def _central_columns(width: int, columns: int) -> slice:
    start = (width - columns) // 2
    return slice(start, start + columns)


def _mean_variance(images: np.ndarray) -> float:
    return float(np.mean(np.var(images, axis=(1, 2), dtype=np.float64)))


def _checked(grand_model: np.ndarray) -> np.ndarray:
    if grand_model.ndim != 3:
        raise DualError(f"a grand model has three axes, not {grand_model.ndim}; give a 3D volume")
    density = np.asarray(grand_model, dtype=np.float32)
    if not np.isfinite(density).all():
        raise DualError("the grand model holds NaN or infinity; replace these values first")
    if density.min() == density.max():
        raise DualError("the grand model is constant: nothing to project; check the file")
    return density
