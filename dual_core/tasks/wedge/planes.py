"""Transforms of the planes ``(z, x)`` of a volume, in which a wedge about y looks the same."""

from __future__ import annotations

from typing import Tuple

import numpy as np
import scipy.fft

from dual_core.overlap import threads
from dual_core.volumes.geometry import wedge_mask

Range = Tuple[float, float]


def wedge_content(volume: np.ndarray, tilt_range: Range) -> np.ndarray:
    """The part of a volume ``(z, y, x)`` that lies in the missing wedge; a hard mask, periodic.

    ``volume - wedge_content(volume, tilt_range)`` has lost its wedge.
    """
    depth, _, width = volume.shape
    missing = ~wedge_mask((depth, 1, width), tilt_range)[:, :, : width // 2 + 1]
    return masked(volume.astype(np.float32), missing)


def masked(volume: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """What a mask over the half grid of ``(z, x)`` leaves of a volume, float32."""
    spectrum = scipy.fft.rfft2(volume, axes=(0, 2), workers=threads())
    spectrum *= mask
    return scipy.fft.irfft2(
        spectrum, s=(volume.shape[0], volume.shape[2]), axes=(0, 2), overwrite_x=True,
        workers=threads(),
    )
