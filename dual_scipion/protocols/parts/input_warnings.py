"""What speaks against an input and can be known before the run, without torch and without voxels.

The engine warns of the same, and of what only voxels tell, but in a log that is read too late.
"""

from __future__ import annotations

import re
from typing import Any, Iterable, List, Optional, Sequence, Tuple

from dual_core.errors import DualError
from dual_core.networks.card import ModelCard
from dual_scipion import convert
from dual_scipion.objects import tilt_text

MOST_NAMES = 5
UNSET_VOXEL_SIZE_A = 1.0  # what programs write that do not know it
_TURNED = 2  # so many times as long as the thinnest axis z may not be


def names_text(names: Sequence[str]) -> str:
    """Some names for a sentence; of many the first ones."""
    return ", ".join(names[:MOST_NAMES]) + (", ..." if len(names) > MOST_NAMES else "")


def geometry_warnings(volumes: Any) -> List[str]:
    """Of a set of tomograms: whether it lies on its side, and whether its voxel size was never set.

    Parameters
    ----------
    volumes : a set, or None. The file of its first item is looked at.
    """
    if volumes is None:
        return []
    warnings = []
    size = volumes.getSamplingRate()
    if size and abs(size - UNSET_VOXEL_SIZE_A) < 1e-3:
        warnings.append(
            "The voxel size of the tomograms is 1.00 A, which often means that nobody set it: if "
            "it is wrong import them again with the right one."
        )
    shape = _first_shape(volumes)
    if shape is None:
        return warnings
    depth, rows, columns = shape
    if _TURNED * min(rows, columns) <= depth:
        warnings.append(
            f"The tomograms have {columns} x {rows} x {depth} voxels (x, y, z) and are thinnest "
            f"along {'y' if rows <= columns else 'x'}; DUAL takes the beam to be along z. If it is "
            "not, turn them first, for example with IMOD's trimvol -rx."
        )
    return warnings


def _first_shape(volumes: Any) -> Optional[Tuple[int, int, int]]:
    """``(z, y, x)`` of the first item; None for an empty set and for an unreadable file."""
    first = volumes.getFirstItem()
    volumes.close()
    if first is None:
        return None
    try:
        return convert.shape_of(convert.volume_path(first))
    except (DualError, OSError, ValueError, AttributeError):  # the run tells what is wrong with it
        return None


def card_of(model: Any) -> Optional[ModelCard]:
    """The card of a ``DualModel``; None without one or if its file is gone."""
    try:
        card: Optional[ModelCard] = None if model is None else model.getCard()
    except DualError:
        return None
    return card


def voxel_size_warnings(card: ModelCard, sets: Iterable[Any]) -> List[str]:
    """Sets whose voxel size is not one of those that a model was made for; None is passed over."""
    warnings = []
    for volumes in filter(None, sets):
        size = volumes.getSamplingRate()
        if not size or card.knows_voxel_size(size):
            continue
        low, high = card.known_voxel_sizes_A
        known = f"{low:.2f} A" if high - low < 0.005 else f"{low:.2f} to {high:.2f} A"
        warnings.append(
            f"The voxel size of the input is {size:.2f} A and that of the model {known}. The "
            "engine rescales, but a model knows the detail only of its own voxel size: train one "
            "for this, or bin the tomograms."
        )
    return warnings


def tilt_warnings(
    card: ModelCard, ranges: Iterable[Optional[Tuple[float, float]]], apart_deg: float
) -> List[str]:
    """Tomograms with a tilt range that is not that of the training.

    Parameters
    ----------
    ranges : of the tomograms in degrees, None where it is not known.
    apart_deg : so far from what was trained on an end of the range may be.
    """
    ends, found = _trained_tilts(card), set(ranges)
    if ends is None:
        return []
    far = [
        tilt_text(*one)
        for one in sorted(one for one in found if one is not None and one[0] < one[1])
        if any(not a - apart_deg <= at <= b + apart_deg for at, (a, b) in zip(one, ends))
    ]
    if not far:
        return []
    (low, _), (_, high) = ends
    return [
        f"The tilt range is {names_text(far)} degrees, and that of the tomograms that the model "
        f"was trained on {tilt_text(low, high)}: their missing wedge is another one. Check the "
        "acquisition, or train a model on these."
    ]


def _trained_tilts(
    card: ModelCard,
) -> Optional[Tuple[Tuple[float, float], Tuple[float, float]]]:
    """Between what the lowest tilt lay, and the highest one; None where the card tells neither."""
    if card.tilt_range_deg is not None:
        low, high = card.tilt_range_deg
        return (low, low), (high, high)
    known = card.trained_on
    if known is None or known.smallest_tilt_deg is None or known.largest_tilt_deg is None:
        return None
    return known.smallest_tilt_deg, known.largest_tilt_deg


def halves_warnings(tomograms: Iterable[Any], consequence: str) -> List[str]:
    """Tomograms that list half maps of which one is gone, or both.

    Parameters
    ----------
    tomograms : items.
    consequence : of it for the run, the end of a sentence.
    """
    lone = [convert.ts_id(item) for item in tomograms if convert.missing_half(item)]
    if not lone:
        return []
    return [
        f"Only one of the two half maps, or none, is there for {len(lone)} tomograms "
        f"({names_text(lone)}): {consequence}. Look for the missing files."
    ]


def foreign_halves(tomograms: Iterable[Any]) -> List[str]:
    """Tomograms whose half maps were made by another run of the project than they themselves.

    Some protocols that filter a tomogram (tomo3d 3.4.2) hand on the half maps of their input.
    """
    odd = [
        convert.ts_id(item)
        for item in tomograms
        if not {_run_of(path) for path in convert.half_paths(item)}
        <= {None, _run_of(item.getFileName())}
    ]
    if not odd:
        return []
    return [
        f"The half maps of {len(odd)} tomograms ({names_text(odd)}) were made by another run than "
        "the tomograms. See that they are halves of these: programs that filter tomograms may hand "
        "on the half maps of what was filtered. If so do not use them."
    ]


def _run_of(path: str) -> Optional[str]:
    """The folder of the run of the project that a file is in; None outside of all runs."""
    found = re.search(r"(?:^|/)Runs/([^/]+)/", path)
    return found.group(1) if found else None


def training_halves(tomograms: Sequence[Any]) -> List[str]:
    """What is to be known of half maps where the noise shall be measured on them.

    Why it is not although some of the tomograms have them, or why it had better not be.
    """
    instead = "the noise is measured on the tomograms themselves"
    having = sum(bool(convert.half_paths(item)) for item in tomograms)
    lone = halves_warnings(tomograms, instead)
    if lone or not having:
        return lone
    if having == len(tomograms):
        return foreign_halves(tomograms)
    return [
        f"{having} of {len(tomograms)} tomograms have half maps; since some have none, {instead}."
    ]
