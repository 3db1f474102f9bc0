"""From Scipion's objects to the engine's files and back.

Nothing here reads voxels. Headers are read with mrcfile and not with Scipion's ``ImageHandler``,
which opens files for writing and so fails on read-only data.
"""

from __future__ import annotations

import csv
import os
import re
from typing import Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import mrcfile
from pwem.convert.headers import setMRCSamplingRate
from pwem.objects import Transform, Volume
from tomo.constants import BOTTOM_LEFT_CORNER
from tomo.objects import (
    Coordinate3D,
    SetOfCoordinates3D,
    SetOfTomograms,
    TomoAcquisition,
    Tomogram,
    TomoMask,
)

from dual_core.errors import DualError

HALVES = 2
SCORE_COLUMNS = ("score", "score_sigmas")


class Pick(NamedTuple):
    """One particle of a list: voxels (the centre of the first is 0), a score and a class."""

    x: float
    y: float
    z: float
    score: float
    group: int


# Scipion to engine --------------------------------------------------------------------------


def ts_id(volume: Volume) -> str:
    """The tsId of a tomogram; of a volume without one the name of its file."""
    found = volume.getTsId() if hasattr(volume, "getTsId") else None
    return str(found or os.path.splitext(os.path.basename(volume_path(volume, False)))[0])


def safe_name(text: str) -> str:
    """A tsId as the name of a file: no folder, no blank, no comma (half maps are joined by it)."""
    return re.sub(r"[^\w.+-]", "_", text)


def volume_path(volume: Volume, must_exist: bool = True) -> str:
    """The file of a tomogram or volume.

    Raises
    ------
    DualError
        If it is not there, or if the volume is one of several in a stack.
    """
    path = str(volume.getFileName() or "")
    path = path[: -len(":mrc")] if path.endswith(":mrc") else path
    if must_exist:
        if not os.path.exists(path):
            raise DualError(f"the file {path} does not exist; import the tomogram again")
        if volume.getIndex() > 1:
            raise DualError(f"{path} is a stack of volumes; give one file for each volume")
    return path


def half_paths(volume: Volume) -> List[str]:
    """The files of the two half maps, or none.

    By their names, as the plugins of IMOD and cryoCARE tell even from odd: the order in which
    plugins list them differs.
    """
    if not volume.hasHalfMaps():
        return []
    paths = [path.strip() for path in volume.getHalfMaps(asList=True)]
    return sorted(paths) if len(paths) == HALVES and all(map(os.path.exists, paths)) else []


def missing_half(volume: Volume) -> bool:
    """Whether half maps are listed, but not both are there."""
    return bool(volume.hasHalfMaps()) and not half_paths(volume)


def tilt_range(volume: Volume) -> Optional[Tuple[float, float]]:
    """The tilt range in degrees from the acquisition, or ``None`` where it is not known."""
    acquisition = volume.getAcquisition()
    if not isinstance(acquisition, TomoAcquisition):
        return None
    low, high = acquisition.getAngleMin(), acquisition.getAngleMax()
    return (float(low), float(high)) if low is not None and high is not None else None


def common_tilt_range(volumes: Iterable[Volume]) -> Optional[Tuple[float, float]]:
    """The tilt range in degrees that all have in common, or ``None``."""
    found = {tilt_range(volume) for volume in volumes}
    common = found.pop() if len(found) == 1 else None
    return common if common is not None and common[0] < common[1] else None


def parse_names(text: Optional[str]) -> List[str]:
    """Names in a field of a form, separated by blanks, commas or line ends."""
    return [name for name in re.split(r"[\s,;]+", text or "") if name]


# Engine to Scipion --------------------------------------------------------------------------


def shape_of(path: str) -> Tuple[int, int, int]:
    """The shape ``(z, y, x)`` of an MRC file."""
    with mrcfile.open(path, permissive=True, header_only=True) as file:
        return int(file.header.nz), int(file.header.ny), int(file.header.nx)


def set_header_voxel_size(path: str, voxel_size_A: float) -> None:
    """Write the voxel size into the header of a file of ours."""
    setMRCSamplingRate(path, voxel_size_A)


def derived_tomogram(
    source: Volume, path: str, half_maps: Sequence[str] = (), kind: type = Tomogram
) -> Tomogram:
    """A tomogram made from another one: its metadata, another file.

    Whatever is known of the source is kept, also what other plugins noted. The half maps are those
    that are given: a copy would point to the halves of the source. Origin and acquisition are
    always there, as all items of a set must have the same columns.

    Parameters
    ----------
    source : a tomogram, or a volume without acquisition and tsId.
    path : the new file, already in its place.
    half_maps : two files, or none.
    kind : ``Tomogram`` or ``TomoMask``.
    """
    tomogram = kind()
    if isinstance(source, Tomogram):
        given = source.clone()
        if given.getAcquisition() is None:
            given.setAcquisition(TomoAcquisition())
        # All attributes, those of other plugins too: copyInfo takes a few if the classes differ.
        tomogram.copy(given, copyId=False)
    else:
        tomogram.setSamplingRate(source.getSamplingRate())
        tomogram.setAcquisition(TomoAcquisition())
        if source.hasOrigin():
            tomogram.setOrigin(source.getOrigin().clone())
    tomogram.setTsId(ts_id(source))
    tomogram.setLocation(path)
    tomogram.setHalfMaps(list(half_maps))
    if not tomogram.hasOrigin():
        tomogram.setOrigin(_centre(path, tomogram.getSamplingRate()))
    return tomogram


def _centre(path: str, voxel_size_A: float) -> Transform:
    """The origin that no origin means: the centre. 0 for a file that cannot be read."""
    try:
        shape = shape_of(path)
    except (OSError, ValueError, AttributeError):
        shape = (0, 0, 0)
    origin = Transform()
    origin.setShifts(*(-0.5 * length * voxel_size_A for length in reversed(shape)))
    return origin


def new_tomogram(
    path: str,
    name: str,
    voxel_size_A: float,
    tilt_range_deg: Optional[Tuple[float, float]] = None,
    kind: type = Tomogram,
) -> Tomogram:
    """A tomogram that comes from no other one, such as a simulated one; centred origin."""
    tomogram = kind()
    tomogram.setTsId(name)
    tomogram.setLocation(path)
    tomogram.setSamplingRate(voxel_size_A)
    tomogram.setAcquisition(TomoAcquisition())
    if tilt_range_deg is not None:
        tomogram.getAcquisition().setAngleMin(tilt_range_deg[0])
        tomogram.getAcquisition().setAngleMax(tilt_range_deg[1])
    tomogram.setOrigin(_centre(path, voxel_size_A))
    return tomogram


def derived_mask(tomogram: Tomogram, path: str) -> TomoMask:
    """A mask on the grid of a tomogram, for a ``SetOfTomoMasks``."""
    mask = derived_tomogram(tomogram, path, kind=TomoMask)
    mask.setVolName(volume_path(tomogram, must_exist=False))
    return mask


def prepare_coordinates(
    coordinates: SetOfCoordinates3D, tomograms: SetOfTomograms, box_size: int
) -> None:
    """What a set of coordinates needs before the first item.

    Parameters
    ----------
    tomograms : the set, or a pointer to it, that the positions are voxels of.
    box_size : voxels.
    """
    coordinates.setPrecedents(tomograms)
    plain = tomograms.get() if tomograms.isPointer() else tomograms
    coordinates.setSamplingRate(plain.getSamplingRate())
    coordinates.setBoxSize(int(box_size))


def append_picks(coordinates: SetOfCoordinates3D, tomogram: Tomogram, picks: Sequence[Pick]) -> int:
    """Append the particles of one tomogram; return how many.

    Positions are rounded to voxels: extraction of some other plugins goes wrong with fractions.
    The tomogram comes first, since a coordinate is stored relative to its origin.
    """
    for pick in picks:
        item = Coordinate3D()
        item.setVolume(tomogram)
        item.setPosition(round(pick.x), round(pick.y), round(pick.z), BOTTOM_LEFT_CORNER)
        item.setTomoId(ts_id(tomogram))
        item.setScore(pick.score)
        item.setGroupId(pick.group)
        coordinates.append(item)
    return len(picks)


def read_picks(path: str) -> List[Pick]:
    """The particles of the engine's CSV: columns ``x_voxel``, ``y_voxel``, ``z_voxel``.

    A score (``score`` or a like column) and a class (``class``, a number) are taken where they
    are; otherwise they are 0 and 1.

    Raises
    ------
    DualError
        If a column is missing or not a number.
    """
    picks = []
    for number, row in enumerate(_rows(path), start=2):
        score = next((row[name] for name in SCORE_COLUMNS if row.get(name)), "0")
        group = row.get("class") or "1"
        try:
            x, y, z = (float(row[f"{axis}_voxel"]) for axis in "xyz")
            picks.append(Pick(x, y, z, float(score), int(group) if group.isdigit() else 1))
        except (KeyError, TypeError, ValueError) as error:
            raise DualError(
                f"{path}, line {number}: no particle list of DUAL ({error}); make it again"
            ) from error
    return picks


def _rows(path: str) -> Iterator[Dict[str, str]]:
    try:
        with open(path, encoding="utf-8", newline="") as file:
            yield from csv.DictReader(file)
    except OSError as error:
        raise DualError(f"{path} cannot be read ({error.strerror}); check the path") from error
