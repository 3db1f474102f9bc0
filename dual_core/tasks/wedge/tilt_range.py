"""Which tilt range a tomogram has: as given, as the model says, never as a silent guess."""

from __future__ import annotations

import logging
from typing import Optional

from dual_core.errors import DualError
from dual_core.noise_model.domain.seen_tilts import Range, suggest_tilt_range
from dual_core.volumes.reading import ReadableVolume

logger = logging.getLogger(__name__)

CONTRADICTION_DEG = 12.0  # four steps of the estimate


def resolve_tilt_range(
    given: Optional[Range],
    of_model: Optional[Range],
    volume: ReadableVolume,
    name: Optional[str] = None,
) -> Range:
    """The tilt range to work with; a warning where the power spectrum contradicts it.

    Parameters
    ----------
    given : what the user said, or None.
    of_model : what the model's card says, or None.
    volume : the tomogram ``(z, y, x)``, tilt axis y.
    name : of the tomogram for messages, where that is not the volume's.

    Raises
    ------
    DualError
        Neither is known, or the angles are impossible.
    """
    name = name or volume.name
    found = suggest_tilt_range(volume)
    said = None if found is None else f"{found[0]:.0f} {found[1]:.0f}"
    chosen = of_model if given is None else given
    if chosen is None:
        hint = (
            f"its power spectrum suggests about {said}; if that is right pass --tilt-range {said}"
            if said
            else "pass --tilt-range MIN MAX, in degrees"
        )
        raise DualError(f"{name}: the tilt range is not known; {hint}")
    smallest, largest = float(chosen[0]), float(chosen[1])
    if not -90 <= smallest < largest <= 90 or largest - smallest >= 180:
        raise DualError(
            f"tilt range {smallest:g} to {largest:g}: give the smallest and the largest angle in "
            "degrees, for example --tilt-range -60 60"
        )
    if given is None:
        logger.info(
            "%s: tilt range %g to %g, as the model's tomograms", name, smallest, largest
        )
    if found is not None:
        apart = max(abs(smallest - found[0]), abs(largest - found[1]))
        if apart > CONTRADICTION_DEG:
            logger.warning(
                "%s: the tilt range is said to be %g %g, but the power spectrum suggests about "
                "%s; check the angles, their sign and the tilt axis",
                name, smallest, largest, said,
            )
    return smallest, largest
