"""Is a tomogram one of those that a model was trained on? Asked before the work, of a few blocks.

A model of any other domain gives a result all the same, and it looks well. So whatever lies outside
of what its training saw is named in one line. Contrast is not compared: tomograms are turned.
"""

from __future__ import annotations

import logging
from typing import Any, List, Optional, Tuple

from dual_core.networks.card import OTHER_TILT_DEG, TrainedRange
from dual_core.noise_model.domain.profile import Facts, facts_of, noise_factor
from dual_core.volumes.patches import StandardisedVolume

logger = logging.getLogger(__name__)

# Of one kind of data the factor was 0.8 to 1.5, with noise two and three times as strong 1.6 to 4.
STRONGER_NOISE = 1.6
WEAKER_NOISE = 0.5
OTHER_SPECTRUM_DB = 4.0  # of one kind of data it was below 1.5, of other reconstructions 6 to 20


def outside(card: Any, facts: Optional[Facts], voxel_size_A: float) -> List[str]:
    """What of a tomogram lies outside of what a model was trained on, in a few words each.

    Parameters
    ----------
    card : ModelCard
        Those without ``trained_on`` only know their voxel size.
    facts : Facts, optional
        Of the tomogram as the network sees it; None to compare the voxel size alone.
    voxel_size_A : float
        Of the file.
    """
    known: Optional[TrainedRange] = getattr(card, "trained_on", None)
    found = _of_voxel_size(card, voxel_size_A)
    if known is not None and facts is not None:
        found += _of_noise(known, facts) + _of_tilts(known, facts)
    return found


def warn_of_domain(
    name: str, card: Any, entry: Optional[StandardisedVolume], voxel_size_A: float
) -> None:
    """One line of warning on a tomogram that is far from what a model was trained on.

    Parameters
    ----------
    name : of the tomogram.
    card : ModelCard
    entry : StandardisedVolume, optional
        The tomogram as the network sees it; None to compare the voxel size alone.
    voxel_size_A : float
        Of the file.
    """
    known = getattr(card, "trained_on", None)
    facts = facts_of(entry) if entry is not None and known is not None else None
    found = outside(card, facts, voxel_size_A)
    if found:
        logger.warning(
            "%s: far from what the model was trained on: %s; a model trained on tomograms like "
            "this one does better, and 'dual evaluate trust' tells how far to believe this one",
            name, ", ".join(found),
        )


def _of_voxel_size(card: Any, voxel_size_A: float) -> List[str]:
    """The voxel size that the networks work on is fine too: there is nothing to resample."""
    if card.knows_voxel_size(voxel_size_A):
        return []
    return [f"its voxels are {voxel_size_A:.3g} A and not {_span(card.known_voxel_sizes_A, 3)} A"]


def _of_noise(known: TrainedRange, facts: Facts) -> List[str]:
    if facts.profile is None or known.noise is None:
        return []
    factor, misfit = noise_factor(facts.profile, known.structure_power, known.noise_power)
    if misfit > known.misfit_dB + OTHER_SPECTRUM_DB:
        return ["its spectrum is another one (filter, reconstruction or transfer function)"]
    low, high = known.noise
    if factor > high * STRONGER_NOISE:
        return [f"its noise is {_times(factor / high)} as strong against the structure"]
    if factor < low * WEAKER_NOISE:
        return ["its noise is less than half as strong against the structure (was it filtered?)"]
    return []


def _of_tilts(known: TrainedRange, facts: Facts) -> List[str]:
    if facts.tilt_range_deg is None or known.smallest_tilt_deg is None:
        return []
    assert known.largest_tilt_deg is not None
    ends = (known.smallest_tilt_deg, known.largest_tilt_deg)
    for value, (low, high) in zip(facts.tilt_range_deg, ends):
        if not low - OTHER_TILT_DEG <= value <= high + OTHER_TILT_DEG:
            smallest, largest = facts.tilt_range_deg
            return [
                f"its tilt range looks like {smallest:.0f} to {largest:.0f} degrees and not "
                f"{_span(ends[0])} to {_span(ends[1])}"
            ]
    return []


def _times(factor: float) -> str:
    return f"{factor:.1f} times" if factor < 5 else "more than 5 times"


def _span(ends: Tuple[float, float], digits: int = 2) -> str:
    low, high = (f"{value:.{digits}g}" for value in ends)
    return low if low == high else f"({low} to {high})"
