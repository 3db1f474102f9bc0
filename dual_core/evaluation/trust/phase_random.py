"""A tomogram without structure: the same power spectrum with random phases.

Structure is in the phases. A volume whose phases are random has the spectrum of the tomogram, so
the same noise, background, missing wedge and contrast transfer, and holds nothing that could
be found. Whatever a denoiser shows in it is its own invention.
"""

from __future__ import annotations

import numpy as np
import scipy.fft

SMALLEST = 1e-30


def randomise_phases(volume: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return a real volume of the same power spectrum and mean, with random phases.

    The phases are those of a volume of white noise. It is real, so they have the symmetry
    ``phase(-k) = -phase(k)`` (modulo a turn) that a real result needs, and each coefficient that
    is its own partner stays real. Memory: about four times the volume in float32.

    Parameters
    ----------
    volume : ndarray, (z, y, x)
    generator : numpy.random.Generator
        The same state gives the same result.

    Returns
    -------
    ndarray, (z, y, x), float32
    """
    noise = generator.standard_normal(volume.shape, dtype=np.float32)
    phases = scipy.fft.rfftn(noise, overwrite_x=True)
    del noise
    spectrum = scipy.fft.rfftn(volume.astype(np.float32, copy=False))
    mean = spectrum[0, 0, 0]
    # Plane by plane: a second spectrum of amplitudes is not needed.
    for plane, phase in zip(spectrum, phases):
        plane[:] = np.abs(plane) / np.maximum(np.abs(phase), SMALLEST) * phase
    spectrum[0, 0, 0] = mean
    return scipy.fft.irfftn(spectrum, s=volume.shape, overwrite_x=True).astype(np.float32)
