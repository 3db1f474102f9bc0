"""Positions of particles between Scipion's sets and the engine: which tomogram, which voxel.

A position is told in voxels ``(x, y, z)`` of one tomogram, counted from the first voxel, whatever
the origin of the tomogram is.
"""

from __future__ import annotations

import csv
import os
from typing import Any, Dict, Iterable, List, Sequence

from tomo.constants import BOTTOM_LEFT_CORNER

from dual_core.errors import DualError
from dual_scipion import convert
from dual_scipion.convert import Pick

# Binning cuts off what does not fill a voxel; this many voxels of the larger size.
SIZE_TOLERANCE = 1.5


def items_by_ts_id(volumes: Any) -> Dict[str, Any]:
    """The items of a set by their tsIds, in their order; read anew and closed afterwards."""
    if volumes is None:
        return {}
    volumes.close()
    volumes.loadAllProperties()
    found = {convert.ts_id(item): item.clone() for item in volumes.iterItems()}
    volumes.close()
    return found


def scale_between(picked: Any, wanted: Any) -> float:
    """By what positions in one tomogram are multiplied to lie in another of the same region.

    Parameters
    ----------
    picked, wanted : tomograms of the same region, perhaps binned differently.

    Raises
    ------
    DualError
        If their sizes show that they are not of the same region.
    """
    scale = float(picked.getSamplingRate() / wanted.getSamplingRate())
    one, other = (convert.shape_of(convert.volume_path(item)) for item in (picked, wanted))
    allowed = SIZE_TOLERANCE * max(1.0, scale)
    if any(abs(scale * a - b) > allowed for a, b in zip(one, other)):
        sizes = [" x ".join(map(str, reversed(shape))) for shape in (one, other)]
        raise DualError(
            f"the tomogram that is picked on has {sizes[0]} voxels (x, y, z) of "
            f"{picked.getSamplingRate():.2f} A and that to extract from {sizes[1]} of "
            f"{wanted.getSamplingRate():.2f} A: they do not show the same region; give the "
            "tomogram that this one was made from"
        )
    return scale


def transferred(picks: Iterable[Pick], picked: Any, wanted: Any) -> List[Pick]:
    """Picks of one tomogram in voxels of another one of the same region, binned differently.

    Positions are those of voxel centres, and both tomograms have the same centre: voxel i of a
    binned tomogram lies in the middle of the voxels that it was made of. (That of twice the index
    is half a voxel beside it, and at eightfold binning three and a half.)

    Parameters
    ----------
    picks : in voxels of `picked`.
    picked, wanted : tomograms.

    Raises
    ------
    DualError
        As `scale_between`.
    """
    scale = scale_between(picked, wanted)
    one, other = (convert.shape_of(convert.volume_path(item)) for item in (picked, wanted))
    # From centre to centre; shapes are (z, y, x).
    shift = [(b - 1) / 2 - scale * (a - 1) / 2 for a, b in zip(reversed(one), reversed(other))]
    return [
        pick._replace(
            x=scale * pick.x + shift[0], y=scale * pick.y + shift[1], z=scale * pick.z + shift[2]
        )
        for pick in picks
    ]


def picks_of(coordinates: Any, tomogram: Any) -> List[Pick]:
    """The particles of one tomogram in a ``SetOfCoordinates3D``, in voxels of that set."""
    picks = []
    for item in coordinates.iterCoordinates(volume=tomogram):
        x, y, z = item.getPosition(BOTTOM_LEFT_CORNER)
        picks.append(Pick(x, y, z, item.getScore() or 0.0, item.getGroupId() or 0))
    return picks


def write_picks(path: str, picks: Sequence[Pick], voxel_size_A: float) -> None:
    """Write particles as the engine reads them, whole or not at all.

    Positions stand there in voxels and in angstrom, so that lists of differently binned
    tomograms can be compared.
    """
    names = [f"{axis}_voxel" for axis in "xyz"] + [f"{axis}_A" for axis in "xyz"]
    temporary = f"{path}.{os.getpid()}.tmp"
    with open(temporary, "w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([*names, "score_sigmas", "class"])
        for pick in picks:
            voxels = (pick.x, pick.y, pick.z)
            places = [f"{value:.3f}" for value in voxels]
            places += [f"{value * voxel_size_A:.3f}" for value in voxels]
            writer.writerow([*places, f"{pick.score:.4f}", pick.group])
    os.replace(temporary, path)
