"""Tomograms of a wide family from one density: random transfer, wedge, noise and number format.

Two ways. *Linear*: transfer H and noise amplitude are drawn as functions of frequency and of the
angle about the tilt axis, ``t = H v + n``; cheap, and wide. *Tilt series*: the conventional
simulator of the package (`dual project`) with random settings; it has rays, a defocus that changes
over the specimen, solvent and a detector.
"""

from __future__ import annotations

import math
from typing import Tuple

import numpy as np
import scipy.fft
from scipy.ndimage import gaussian_filter

from dual_core.physics.config import SimulatorConfig
from dual_core.physics.simulate import simulate_tomogram
from dual_core.volumes.described.describe import EXTREME, SEEN

TABLE = 512  # frequencies at which radial functions are tabulated
WAVELENGTH_A = {300.0: 0.01969, 200.0: 0.02508}


def log_uniform(generator: np.random.Generator, low: float, high: float) -> float:
    """Alike in every octave between two bounds."""
    return math.exp(generator.uniform(math.log(low), math.log(high)))


def random_tilts(generator: np.random.Generator) -> Tuple[float, float, float]:
    """Lowest and highest tilt and the step, in degrees."""
    low, high = -generator.uniform(40.0, 70.0), generator.uniform(40.0, 70.0)
    if generator.random() < 0.5:
        high = -low
    return low, high, float(generator.choice([1.0, 2.0, 3.0, 3.0]))


def tilt_series_tomogram(
    density: np.ndarray, voxel_size_A: float, generator: np.random.Generator
) -> np.ndarray:
    """A tomogram from a simulated tilt series, density bright; the tilt axis is y."""
    low, high, step = random_tilts(generator)
    config = SimulatorConfig(
        voxel_size_A,
        tilt_range=(low, high),
        tilt_step=step,
        voltage_kV=float(generator.choice([200.0, 300.0])),
        defocus_um=float(generator.uniform(1.5, 8.0)),
        defocus_spread_um=float(generator.uniform(0.0, 0.3)),
        phase_flip=bool(generator.random() < 0.5),
        snr=log_uniform(generator, 0.02, 2.0) * step / 3.0,
        solvent_share=float(generator.uniform(0.0, 0.3)),
        total_dose=float(generator.uniform(60.0, 160.0)),
        dose_weighting=bool(generator.random() < 0.3),
        mtf_nyquist=float(generator.uniform(0.3, 0.9)),
        noise_mtf_nyquist=float(generator.uniform(0.2, 0.9)),
        weighting=str(generator.choice(["ramp", "exact"])),
        contrast="bright",
    )
    return simulate_tomogram(density, config, generator)


def linear_tomogram(
    density: np.ndarray, voxel_size_A: float, generator: np.random.Generator
) -> np.ndarray:
    """A tomogram of a random linear model, density bright; the tilt axis is y."""
    shape = density.shape
    transfer, amplitude = random_linear_model(shape, voxel_size_A, generator)
    white = generator.standard_normal(shape, dtype=np.float32)
    white *= _uneven(shape, generator)
    # Gold rules the power of the structure, and is not what a tomogram is read for.
    signal = scipy.fft.irfftn(scipy.fft.rfftn(density) * transfer, s=shape)
    noise = scipy.fft.irfftn(scipy.fft.rfftn(white) * amplitude, s=shape)
    faint = scipy.fft.irfftn(scipy.fft.rfftn(np.minimum(density, 1.5)) * transfer, s=shape)
    ratio = log_uniform(generator, 0.004, 2.5)
    noise *= np.sqrt(faint.var() / max(noise.var(), 1e-12) / ratio)
    return np.asarray(signal + noise, dtype=np.float32)


def random_linear_model(
    shape: Tuple[int, int, int], voxel_size_A: float, generator: np.random.Generator
) -> Tuple[np.ndarray, np.ndarray]:
    """H and the amplitude of the noise on the half grid of a shape; the tilt axis is y."""
    kz, ky = (np.fft.fftfreq(n).astype(np.float32) for n in shape[:2])
    kx = np.fft.rfftfreq(shape[2]).astype(np.float32)
    kz, ky, kx = kz[:, None, None], ky[None, :, None], kx[None, None, :]
    across = np.sqrt(kz**2 + kx**2)
    frequency = np.sqrt(across**2 + ky**2)
    angle = np.degrees(np.arctan2(kz, np.maximum(kx, 1e-6)))  # -90 to 90
    measured, by_angle = _wedge(angle, generator)
    contrast, noise = _radial(voxel_size_A, generator)
    table = np.linspace(0.0, 0.9, TABLE)
    transfer = np.interp(frequency, table, contrast).astype(np.float32) * by_angle * measured
    amplitude = np.interp(frequency, table, noise).astype(np.float32)
    # Exposed through a longer path at high tilts, noise is stronger there.
    amplitude *= 1.0 + generator.uniform(0.0, 0.5) * (np.abs(angle) / 60.0) ** 2
    amplitude *= measured + generator.uniform(0.0, 0.1) * (1.0 - measured)
    weighting = 1.0
    if generator.random() < 0.4:  # iterative reconstructions damp what lies far from the axis
        knee, power = log_uniform(generator, 0.02, 0.5), generator.uniform(0.3, 1.0)
        weighting = (1.0 + across / knee) ** -power
    if generator.random() < 0.4:  # low-pass filters of users, interpolation
        weighting = weighting * np.exp(-0.5 * (frequency / log_uniform(generator, 0.12, 0.6)) ** 2)
    return transfer * weighting, amplitude * weighting


def _wedge(angle: np.ndarray, generator: np.random.Generator) -> Tuple[np.ndarray, np.ndarray]:
    """How far each angle was measured, 0 to 1, and how well structure survives there."""
    low, high, step = random_tilts(generator)
    width = generator.uniform(0.5, 1.5) * step
    measured = np.clip((angle - low) / width + 0.5, 0.0, 1.0)
    measured *= np.clip((high - angle) / width + 0.5, 0.0, 1.0)
    start = 0.0 if generator.random() < 0.6 else low  # of the acquisition: the dose damages
    loss = generator.uniform(0.0, 0.7)
    by_angle = np.exp(-loss * (np.abs(angle - start) / 60.0))
    return measured.astype(np.float32), by_angle.astype(np.float32)


def _radial(
    voxel_size_A: float, generator: np.random.Generator
) -> Tuple[np.ndarray, np.ndarray]:
    """Contrast transfer and noise amplitude at `TABLE` frequencies from 0 to 0.9 per voxel."""
    frequency = np.linspace(0.0, 0.9, TABLE)
    per_A = frequency / voxel_size_A
    wavelength = WAVELENGTH_A[float(generator.choice([200.0, 300.0]))]
    absorption = generator.uniform(0.05, 0.12)
    shift = math.pi * generator.uniform(0.2, 0.6) if generator.random() < 0.12 else 0.0
    defocus = 1e4 * generator.uniform(1.5, 8.0)
    spread = 1e4 * generator.uniform(0.03, 0.4)
    contrast = np.zeros(TABLE)
    for offset in np.linspace(-1.7, 1.7, 9):  # over the tilts and through the specimen
        phase = math.pi * wavelength * (defocus + offset * spread) * per_A**2
        phase += shift + math.asin(absorption) - 0.5 * math.pi * 2.7e7 * wavelength**3 * per_A**4
        contrast += np.sin(phase) / 9.0
    kind = generator.random()
    correction = np.ones(TABLE)
    if kind < 0.4:
        contrast = np.abs(contrast)
    elif kind < 0.65:
        correction = contrast / (contrast**2 + generator.uniform(0.03, 0.3))
    envelope = np.exp(-0.25 * generator.uniform(0.0, 2500.0) * per_A**2)
    envelope *= np.exp(-0.5 * (frequency * generator.uniform(0.0, 1.5)) ** 2)
    if generator.random() < 0.3:  # gradients taken out, and all that is as coarse
        correction = correction * (1.0 - np.exp(-0.5 * (frequency / generator.uniform(
            0.003, 0.02)) ** 2))
    shot = np.exp(-0.5 * (frequency * generator.uniform(0.0, 2.0)) ** 2)
    solvent = generator.uniform(0.0, 0.8) * np.abs(contrast) * envelope
    coarse = generator.uniform(0.0, 0.5) * np.ones(TABLE)
    coarse *= (0.02 / np.maximum(frequency, 0.01)) ** generator.uniform(0.3, 1.2)
    noise = np.sqrt(shot**2 + solvent**2 + coarse**2) * np.abs(correction)
    return contrast * envelope * correction, noise


def _uneven(shape: Tuple[int, int, int], generator: np.random.Generator) -> np.ndarray:
    """How strong the noise is about each voxel: nearly even, weaker or stronger towards faces."""
    field = gaussian_filter(generator.standard_normal((8, 8, 8)), 1.5)
    field = 1.0 + generator.uniform(0.0, 0.2) * field / max(float(field.std()), 1e-6)
    places = [np.arange(n) * 8 // n for n in shape]
    coarse = gaussian_filter(field[np.ix_(*places)].astype(np.float32), [n / 16 for n in shape])
    return np.maximum(coarse, 0.3)


def as_stored(tomogram: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """As a file would hold it: gold cut off, steps of bytes; in deviations."""
    values = standardised(tomogram)
    if generator.random() < 0.5:
        low, high = -generator.uniform(4.0, 15.0), generator.uniform(4.0, 20.0)
        values = np.clip(values, low, high)
    if generator.random() < 0.4:
        step = 1.0 / generator.uniform(8.0, 40.0)
        values = np.round(values / step) * step
    return values.astype(np.float32)


def standardised(tomogram: np.ndarray) -> np.ndarray:
    """As a network sees a tomogram: gold sets no scale, and is cut (`volumes.described`)."""
    kept = tomogram.ravel()
    for _ in range(20):
        mean, deviation = float(kept.mean()), max(float(kept.std()), 1e-9)
        inside = np.abs(kept - mean) < EXTREME * deviation
        if inside.all():
            break
        kept = kept[inside]
    return np.clip((tomogram - mean) / deviation, -SEEN, SEEN).astype(np.float32)
