"""Template-free particle picking by a 3D Difference of Gaussians."""

from dual_core.picking.pick import (
    DEFAULT_THRESHOLD,
    PickOptions,
    PickResult,
    pick_particles,
    sigma_of_diameter,
)

__all__ = [
    "DEFAULT_THRESHOLD",
    "PickOptions",
    "PickResult",
    "pick_particles",
    "sigma_of_diameter",
]
