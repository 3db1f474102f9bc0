"""Diameters of particles: limits, rounding, what a voxel size makes of them. No window."""

from __future__ import annotations

import math
from typing import Tuple

from dual_core.errors import DualError

# The engine refuses a narrower Gaussian of less than half a voxel (`dual pick`).
SMALLEST_VOXELS = 2 * math.sqrt(3) * 0.5
COMFORTABLE_VOXELS = (10.0, 20.0)


def diameter_limits(shape: Tuple[int, int], voxel_size_A: float) -> Tuple[float, float]:
    """The smallest and the largest diameter of the slider, in angstrom, rounded.

    Parameters
    ----------
    shape : of the slice, ``(y, x)``.
    voxel_size_A : of the slice.
    """
    low = math.ceil(SMALLEST_VOXELS * voxel_size_A)
    high = math.floor(min(shape) / 2 * voxel_size_A)
    return float(low), float(max(high, low + 1))


def parse_diameter(text: str) -> float:
    """A diameter that was typed, in angstrom.

    Raises
    ------
    DualError
        If it is not a number above 0.
    """
    try:
        diameter = float(text.strip().replace(",", "."))
    except ValueError:
        diameter = math.nan
    if not (math.isfinite(diameter) and diameter > 0):
        raise DualError("The diameter must be a number of angstrom, more than 0.")
    return diameter


def advice(diameter_A: float, voxel_size_A: float) -> str:
    """What a diameter is in voxels, and whether the voxel size suits it."""
    voxels = diameter_A / voxel_size_A
    low, high = COMFORTABLE_VOXELS
    text = f"{voxels:.1f} voxels of {voxel_size_A:g} Å"
    if voxels < SMALLEST_VOXELS:
        return f"{text}: too small to be picked here; take tomograms with smaller voxels"
    if voxels < low / 2:
        return f"{text}: coarse; smaller voxels place the picks better"
    if voxels > 2 * high:
        return f"{text}: finer than needed; binned tomograms are picked much faster"
    return text
