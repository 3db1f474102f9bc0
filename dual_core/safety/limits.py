"""Bounds of quantities that make physical sense, said once; and arithmetic before allocation.

Standard library only: the model card uses it, and the Scipion plugin reads that.
"""
from __future__ import annotations

import math
from typing import Iterable, NamedTuple, Optional

from dual_core.errors import DualError
from dual_core.safety.shown import shown


class Bounds(NamedTuple):
    """What a quantity may be, ends included, with its unit for messages."""

    low: float
    high: float
    unit: str = ""

    def __str__(self) -> str:
        return f"from {self.low:g} to {self.high:g}{' ' + self.unit if self.unit else ''}"

    def hold(self, value: float) -> bool:
        """Whether a value is inside; NaN is not."""
        return self.low <= value <= self.high


# From a tenth of an atom to a tenth of a micrometre: the sampling of everything from atomic maps
# to light microscopy.
VOXEL_SIZE_A = Bounds(0.1, 1000.0, "A")
# What can be an object of electron tomography, its distance or its filter: 0.01 A to 1 mm.
LENGTH_A = Bounds(0.01, 1e7, "A")
# Coordinates of atoms and particles: a whole cell, either side of zero.
COORDINATE_A = Bounds(-1e7, 1e7, "A")
COORDINATE_VOXEL = Bounds(-1e6, 1e6, "voxels")
# Diameters in voxels; also what a mask, a gap or a filter may span.
SPAN_VOXEL = Bounds(0.0, 4096.0, "voxels")
MASS_KDA = Bounds(0.001, 1e7, "kDa")
COUNT = Bounds(0, 1_000_000)
TILT_DEG = Bounds(-90.0, 90.0, "degrees")
# Grey values beyond this overflow float32 when they are squared and summed.
GREY = Bounds(-1e18, 1e18)
ITERATIONS = Bounds(0, 1_000_000_000)
SEED = Bounds(0, 2**63 - 1)
# Voxels of one array that is made in memory: 16 GiB as float32.
MOST_VOXELS = 2**32
MOST_MOLECULE = 2**27  # of a molecule's, which is kept in double precision with copies


def within(value: float, bounds: Bounds, what: str, advice: Optional[str] = None) -> float:
    """The value, if it is a finite number within bounds.

    Raises
    ------
    DualError
        With ``what``, the value, the bounds and the advice, in one line.
    """
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not bounds.hold(value):
        mend = advice or f"give a number {bounds}"
        raise DualError(f"{what} is {shown(value)}, outside of the possible range; {mend}")
    return value


def check_voxels(
    shape: Iterable[float], what: str, advice: str, most: int = MOST_VOXELS
) -> None:
    """See by arithmetic that an array can be made, before it is.

    Parameters
    ----------
    shape : sides in voxels, whole numbers or not.

    Raises
    ------
    DualError
        If a side is not finite or there are more than ``most`` voxels.
    """
    sides = list(shape)
    total = 1.0
    for side in sides:
        total *= side
    if not all(math.isfinite(side) for side in sides) or total > most:
        written = " x ".join(f"{side:.4g}" for side in sides)
        raise DualError(
            f"{what} would have {written} voxels ({total * 4 / 2**30:.3g} GiB); {advice}"
        )
