"""A domain from its files: voxel size, contrast, standardisation, facts for the card."""
from __future__ import annotations

import functools
import hashlib
import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

from dual_core.errors import DualError
from dual_core.networks.card import TrainedRange
from dual_core.noise_model.domain.profile import measure_range
from dual_core.volumes.described.describe import Described, describe
from dual_core.volumes.patches import (
    FLIPS_ASYMMETRIC,
    FLIPS_SYMMETRIC,
    PatchSource,
    StandardisedVolume,
)
from dual_core.volumes.reading import (
    ReadableVolume,
    Volume,
    VolumeStatistics,
    open_volume,
    volume_statistics,
    warn_of_orientation,
)
from dual_core.volumes.resampling import ResampledVolume

logger = logging.getLogger(__name__)

HASHED_BYTES = 1 << 20  # of a volume's beginning; enough to tell two tomograms apart
SYMMETRIC_WITHIN_DEG = 3.0
MASK_NAME = "_mask_"  # in the names of the masks that 'dual pack' writes
LABEL_BLOCK = (96, 384, 384)  # voxels in the middle that are looked at
EQUAL_NEIGHBOURS = 0.8  # share of them; 1.00 in masks, 0.03 in density as integers


@dataclass(frozen=True)
class Domain:
    """One domain, ready for training.

    Attributes
    ----------
    patches : where the training patches come from.
    volumes : the standardised volumes, for previews.
    facts : a dictionary for each volume, for the card.
    contrast : ``dark`` or ``bright`` density in the files.
    mean, deviation : of the whole domain in the files' units.
    """

    patches: PatchSource
    volumes: Tuple[StandardisedVolume, ...]
    facts: Tuple[Dict[str, Any], ...]
    contrast: str
    mean: float
    deviation: float

    @functools.cached_property
    def known_range(self) -> TrainedRange:
        """What the volumes look like, for the card; of a domain of tomograms."""
        return measure_range(self.volumes, [fact["voxel_size_A"] for fact in self.facts])


@dataclass(frozen=True)
class OpenedFiles:
    """Volumes as they are in the files, and the same described on a common voxel size.

    ``originals`` describe them on their own voxel size, for the contrast. With ``exchanged`` the
    tilt axis is x in the files.
    """

    volumes: Tuple[Volume, ...]
    originals: Tuple[Described, ...]
    views: Tuple[Described, ...]
    exchanged: bool = False

    @property
    def statistics(self) -> Tuple[VolumeStatistics, ...]:
        """Of each volume on the common voxel size."""
        return tuple(view.statistics for view in self.views)

    @property
    def pooled(self) -> Tuple[float, float]:
        """Mean and deviation of all voxels that are not blank."""
        voxels = [float(np.prod(v.volume.shape)) * (1 - v.share) for v in self.views]
        return _pooled(self.statistics, voxels)

    @property
    def facts(self) -> Tuple[Dict[str, Any], ...]:
        """Name, shape, voxel size, hash, blank share, mean and deviation of each volume."""
        return tuple(
            {
                **_facts(volume),
                "blank_share": round(found.share, 4),
                "mean": found.statistics.mean,
                "deviation": found.statistics.std,
            }
            for volume, found in zip(self.volumes, self.originals)
        )

    def standardised(self, each: bool, sign: float = 1.0) -> Tuple[StandardisedVolume, ...]:
        """Every volume with what to standardise it by: its own statistics or those of all."""
        mean, deviation = self.pooled
        entries = []
        for view in self.views:
            entry = view.standardised(sign)
            if not each:
                entry = StandardisedVolume(view.volume, mean, sign * deviation)
            entries.append(entry.exchanged((1, 2)) if self.exchanged else entry)
        return tuple(entries)


def limits_of(
    statistics: Sequence[VolumeStatistics], volumes: Sequence[StandardisedVolume]
) -> Tuple[float, float]:
    """The lowest and the highest standardised value in the volumes with these statistics."""
    ends = [
        (value - entry.mean) / entry.deviation
        for found, entry in zip(statistics, volumes)
        for value in (found.minimum, found.maximum)
    ]
    return min(ends), max(ends)


def open_files(
    volumes: Sequence[Volume], voxel_size_A: float, tilt_axis: str = "y", tomograms: bool = True
) -> OpenedFiles:
    """Bring volumes to one voxel size, and tomograms to the tilt axis y.

    Of tomograms, padding is found and left out, and extreme values do not count. Grand models are
    taken as they are: their empty background and their gold are what they show.

    Raises
    ------
    DualError
        For values that are not finite and for volumes that are constant.
    """
    originals = tuple(
        describe(volume) if tomograms else _as_it_is(volume)
        for volume in volumes
    )
    if tomograms:
        views = tuple(found.on_grid(voxel_size_A) for found in originals)
    else:
        views = tuple(_resampled(found, voxel_size_A) for found in originals)
    return OpenedFiles(tuple(volumes), originals, views, exchanged=tilt_axis == "x")


def open_volumes(paths: Sequence[Path], voxel_size_A: Optional[float]) -> List[Volume]:
    """Open the files of a domain; `voxel_size_A` instead of the headers'."""
    volumes = [open_volume(path, voxel_size_A) for path in paths]
    for volume in volumes:
        warn_of_orientation(volume)
    return volumes


def _as_it_is(volume: ReadableVolume) -> Described:
    """A grand model with its plain statistics."""
    return Described(volume, volume_statistics(volume), cut=math.inf)


def _resampled(found: Described, voxel_size_A: float) -> Described:
    """A grand model on another voxel size, with its plain statistics there."""
    view = ResampledVolume(found.volume, voxel_size_A)
    return _as_it_is(view) if view.is_resampled else found


def warn_of_labels(volume: Volume) -> None:
    """Say so where a grand model is rather a mask of labels, such as lie beside grand models."""
    path = Path(volume.facts.path)
    if MASK_NAME in path.name or looks_like_labels(volume):
        logger.warning(
            "%s looks like a mask of labels and not like density; if it is one, leave it out of "
            "--clean", path,
        )


def looks_like_labels(volume: Volume) -> bool:
    """Whether a volume of an integer type is a mask: regions of one value each, on zero.

    The number of values does not tell, since a mask may number hundreds of particles; but in
    a mask nearly every voxel that is not zero has the value of its neighbour in the same region.
    """
    if volume.facts.dtype.kind not in "iu":
        return False
    size = tuple(min(length, most) for length, most in zip(volume.shape, LABEL_BLOCK))
    start = tuple((length - side) // 2 for length, side in zip(volume.shape, size))
    block = volume.read((start[0], start[1], start[2]), (size[0], size[1], size[2]))
    if block.min() < 0 or (block == 0).mean() < 0.5:
        return False
    one, other = block[:, :, 1:], block[:, :, :-1]
    inside = (one > 0) & (other > 0)
    return bool(inside.any()) and float((one == other)[inside].mean()) > EQUAL_NEIGHBOURS


def common_contrast(
    volumes: Sequence[Described], wanted: str, what: str, option: str
) -> str:
    """The contrast that all volumes share, detected or given."""
    if wanted != "auto":
        logger.info("%s: density is %s (as given)", what, wanted)
        return wanted
    votes: Dict[str, List[float]] = {"dark": [], "bright": []}
    doubtful = []
    for described in volumes:
        volume, verdict = described.volume, described.contrast
        votes[verdict.contrast].append(abs(verdict.skewness))
        if not verdict.confident:
            doubtful.append(volume.name)
    found = max(votes, key=lambda contrast: sum(votes[contrast]))
    other = "bright" if found == "dark" else "dark"
    if votes[other] and len(doubtful) < len(volumes) and min(len(v) for v in votes.values()):
        logger.warning(
            "%s: %d of %d volumes look %s, the others %s; if they really differ, turn some with "
            "another program, else give %s",
            what, len(votes[other]), len(volumes), other, found, option,
        )
    if doubtful:
        logger.warning(
            "%s: the contrast of %s is hard to tell; taken as %s, give %s if that is wrong",
            what, ", ".join(doubtful), found, option,
        )
    logger.info("%s: density is %s (detected)", what, found)
    return found


def _pooled(
    statistics: Sequence[VolumeStatistics], voxels: Sequence[float]
) -> Tuple[float, float]:
    """Mean and deviation over several volumes of so many voxels."""
    weights = np.array(voxels)
    weights /= weights.sum()
    means = np.array([entry.mean for entry in statistics])
    squares = np.array([entry.std**2 + entry.mean**2 for entry in statistics])
    mean = float(weights @ means)
    return mean, float(np.sqrt(max(weights @ squares - mean**2, 0.0)))


def allowed_flips(tilt_range_deg: Optional[Tuple[float, float]]) -> Sequence[Tuple[int, ...]]:
    """Flips that leave the missing wedge where it is."""
    if tilt_range_deg is None or abs(sum(tilt_range_deg)) <= SYMMETRIC_WITHIN_DEG:
        return FLIPS_SYMMETRIC
    return FLIPS_ASYMMETRIC


def _facts(volume: Volume) -> Dict[str, Any]:
    """Name, shape, voxel size and a hash of a volume, for the card."""
    path = Path(volume.facts.path)
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as stream:
            digest.update(stream.read(HASHED_BYTES))
    except OSError as error:
        raise DualError(f"{path} cannot be read ({error.strerror}); check the disk") from error
    digest.update(str(path.stat().st_size).encode())
    return {
        "name": path.name,
        "shape": list(volume.shape),
        "voxel_size_A": volume.voxel_size_A,
        "sha256_of_first_MiB_and_size": digest.hexdigest(),
    }
