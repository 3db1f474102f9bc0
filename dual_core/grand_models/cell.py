"""What a cell has beside molecules, in proportion to the volume, where the user does not say.

Cells differ more than any number here. These are amounts that show a network enough of each thing:
on the crowded side of what a tomogram of a cell shows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Dict, FrozenSet, Optional, Tuple

from dual_core.errors import DualError
from dual_core.grand_models.config import PackConfig
from dual_core.grand_models.structures.helices import ACTIN, MICROTUBULE, FilamentKind
from dual_core.grand_models.structures.membranes import LEAFLET_DISTANCE_A

NM3_PER_VESICLE = 2.0e6
NM_BETWEEN_SHEETS = 150.0
NM2_PER_MICROTUBULE = 16000.0  # of a cross-section of the sample
NM2_PER_ACTIN = 6000.0
CROWD_MG_PER_ML = 40.0
VESICLE_RADIUS_NM = (15.0, 40.0)
# A sample of this volume or more has at least one of everything.
_ONE_OF_EACH_NM3 = 3.0e5
# Less cannot be closed by a bilayer (`PackConfig` refuses it).
_SMALLEST_RADIUS_NM = 6.0
# Long over short axis, as `structures.membranes` draws it.
_LONGEST_AXIS = 1.2


@dataclass(frozen=True)
class Contents:
    """How much of everything beside molecules is placed.

    Attributes
    ----------
    sheets, vesicles, microtubules, actin : int
    crowd_mg_per_ml : float
    vesicle_radius_nm : tuple of float
    by_default : frozenset of str
        Those that the user did not ask for: less of them will do.
    left_out : tuple of str
        Those of them that the sample is too thin for.
    """

    sheets: int
    vesicles: int
    microtubules: int
    actin: int
    crowd_mg_per_ml: float
    vesicle_radius_nm: Tuple[float, float]
    by_default: FrozenSet[str]
    left_out: Tuple[str, ...]


def contents_of(config: PackConfig) -> Contents:
    """What a configuration asks for, and where it does not say, what a cell has.

    What does not fit into the sample is then left out.

    Raises
    ------
    DualError
        If vesicles are asked for, of no given radius, in a sample that is too thin for any.
    """
    first, last = config.slab
    sides_nm = [0.1 * config.voxel_size_A * side
                for side in (last - first, config.shape[1], config.shape[2])]
    volume_nm3 = math.prod(sides_nm)
    across_nm = math.sqrt(sides_nm[1] * sides_nm[2])
    section_nm2 = sides_nm[0] * across_nm
    radius_nm = config.vesicle_radius_nm or _fitting_radius_nm(min(sides_nm), config.sigma_A)
    room = {
        "sheets": True,
        "vesicles": radius_nm is not None,
        "microtubules": _filament_fits(MICROTUBULE, sides_nm[0], config),
        "actin": _filament_fits(ACTIN, sides_nm[0], config),
    }
    usual = {
        "sheets": across_nm / NM_BETWEEN_SHEETS,
        "vesicles": volume_nm3 / NM3_PER_VESICLE,
        "microtubules": section_nm2 / NM2_PER_MICROTUBULE,
        "actin": section_nm2 / NM2_PER_ACTIN,
    }
    at_least = 1 if volume_nm3 >= _ONE_OF_EACH_NM3 else 0
    numbers: Dict[str, int] = {}
    by_default, left_out = {"crowd"} if config.crowd is None else set(), []
    for name, amount in usual.items():
        given = getattr(config, name)
        numbers[name] = max(round(amount), at_least) if given is None else given
        if given is None:
            by_default.add(name)
            if numbers[name] and not room[name]:
                numbers[name] = 0
                left_out.append(name)
    if numbers["vesicles"] and radius_nm is None:
        raise DualError(f"the sample is too thin for vesicles ({min(sides_nm):.0f} nm); give a "
                        "larger --thickness or --vesicles 0")
    crowd = CROWD_MG_PER_ML if config.crowd is None else config.crowd
    return Contents(numbers["sheets"], numbers["vesicles"], numbers["microtubules"],
                    numbers["actin"], crowd, radius_nm or VESICLE_RADIUS_NM,
                    frozenset(by_default), tuple(left_out))


def _fitting_radius_nm(side_nm: float, sigma_A: float) -> Optional[Tuple[float, float]]:
    """Smallest and largest radius of vesicles in a sample with this smallest side."""
    edge_nm = 0.1 * (LEAFLET_DISTANCE_A + 3.0 * sigma_A)
    largest = min(VESICLE_RADIUS_NM[1], (0.5 * side_nm - edge_nm) / _LONGEST_AXIS)
    if largest < _SMALLEST_RADIUS_NM:
        return None
    return max(_SMALLEST_RADIUS_NM, min(VESICLE_RADIUS_NM[0], 0.6 * largest)), largest


def _filament_fits(kind: FilamentKind, depth_nm: float, config: PackConfig) -> bool:
    thickness_A = 2.0 * (kind.outer_radius_A + 4.0 * config.sigma_A) + 2.0 * config.voxel_size_A
    return thickness_A <= 10.0 * depth_nm
