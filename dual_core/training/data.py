"""From files to the two domains: voxel size, contrast, standardisation, facts for the card."""
from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

from ..calibration import LinearModel, fit_linear_model
from ..contrast import detect_contrast
from ..errors import DualError
from ..linear_simulator import LinearSimulator
from ..patches import (
    FLIPS_ASYMMETRIC,
    FLIPS_SYMMETRIC,
    MEMORY_BUDGET,
    PatchSource,
    StandardisedVolume,
)
from ..resampling import ResampledVolume
from ..volumes import Volume, VolumeStatistics, open_volume, volume_statistics
from .config import TrainingConfig

logger = logging.getLogger(__name__)

HASHED_BYTES = 1 << 20  # of a volume's beginning; enough to tell two tomograms apart
SYMMETRIC_WITHIN_DEG = 3.0
BLOCK_SIDE = 64  # voxels of the blocks that the linear model simulates
MASK_NAME = "_mask_"  # in the names of the masks that 'dual pack' writes
LABEL_BLOCK = (96, 384, 384)  # voxels in the middle that are looked at
EQUAL_NEIGHBOURS = 0.8  # share of them; 1.00 in masks, 0.03 in density as integers
FAINTEST = 0.02  # signal-to-noise ratio in the best band below which something is wrong


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


@dataclass(frozen=True)
class TrainingData:
    """Both domains, the voxel size that they are brought to, and a linear model of the noisy one.

    ``simulator`` is None where the method does without the linear model.
    """

    noisy: Domain
    clean: Domain
    voxel_size_A: float
    simulator: Optional[LinearSimulator]


def open_training_data(
    noisy: Sequence[Path],
    clean: Sequence[Path],
    config: TrainingConfig,
    memory_budget: int = MEMORY_BUDGET,
) -> TrainingData:
    """Open both domains, bring them to one voxel size and one contrast, standardise them.

    Tomograms are standardised one by one, since each has its own gain; grand models all alike,
    since a particle has one density in all of them.

    Raises
    ------
    DualError
        For a file that cannot be used, for a contrast that cannot be told, or for volumes that
        are smaller than a patch.
    """
    noisy_volumes = [open_volume(path, config.noisy_voxel_size_A) for path in noisy]
    clean_volumes = [open_volume(path, config.clean_voxel_size_A) for path in clean]
    voxel_size_A = config.voxel_size_A or clean_volumes[0].voxel_size_A
    noisy_views = [ResampledVolume(volume, voxel_size_A) for volume in noisy_volumes]
    clean_views = [ResampledVolume(volume, voxel_size_A) for volume in clean_volumes]
    # Before anything is said of the volumes: an unusable one ends it with one line.
    noisy_statistics = [
        _statistics(volume, view) for volume, view in zip(noisy_volumes, noisy_views)
    ]
    clean_statistics = [
        _statistics(volume, view) for volume, view in zip(clean_volumes, clean_views)
    ]
    for volume in clean_volumes:
        _warn_of_labels(volume)
    noisy_contrast = _common_contrast(noisy_volumes, config.contrast, "tomograms", "--contrast")
    clean_contrast = _common_contrast(
        clean_volumes, config.clean_contrast, "clean domain", "--clean-contrast"
    )
    sign = 1.0 if noisy_contrast == clean_contrast else -1.0
    if sign < 0:
        logger.info("tomograms are multiplied by -1, so that density has one sign everywhere")

    clean_mean, clean_deviation = _pooled(clean_statistics, [view.shape for view in clean_views])
    noisy_mean, noisy_deviation = _pooled(noisy_statistics, [view.shape for view in noisy_views])
    noisy_standardised = [
        StandardisedVolume(view, found.mean, sign * found.std)
        for view, found in zip(noisy_views, noisy_statistics)
    ]
    clean_standardised = [
        StandardisedVolume(view, clean_mean, clean_deviation) for view in clean_views
    ]
    flips = _allowed_flips(config.tilt_range_deg)
    noisy_patches = PatchSource(
        noisy_standardised, config.patch, flips=flips, memory_budget=memory_budget
    )
    clean_patches = PatchSource(
        clean_standardised, config.patch, turns=True, skip_empty=True, memory_budget=memory_budget
    )
    simulator = None
    if config.uses_linear_model:
        generator = np.random.default_rng(config.seed)
        linear = fit_linear_model(noisy_standardised, clean_standardised, generator)
        side = min(BLOCK_SIDE, *(length for view in clean_views for length in view.shape))
        blocks = clean_patches.with_side(side - side % 2)
        simulator = LinearSimulator(linear, blocks, config.patch, flips)
        _tell(linear, voxel_size_A)
    return TrainingData(
        Domain(
            noisy_patches,
            tuple(noisy_standardised),
            tuple(_facts(volume) for volume in noisy_volumes),
            noisy_contrast,
            noisy_mean,
            noisy_deviation,
        ),
        Domain(
            clean_patches,
            tuple(clean_standardised),
            tuple(_facts(volume) for volume in clean_volumes),
            clean_contrast,
            clean_mean,
            clean_deviation,
        ),
        voxel_size_A,
        simulator,
    )


def _statistics(volume: Volume, view: ResampledVolume) -> VolumeStatistics:
    """Statistics of the view; a value that is not finite is named by its place in the file."""
    found = volume_statistics(volume)
    return volume_statistics(view) if view.is_resampled else found


def _warn_of_labels(volume: Volume) -> None:
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


def _tell(linear: LinearModel, voxel_size_A: float) -> None:
    """Log where the structure ends in the noise."""
    ratios = ", ".join(
        f"{voxel_size_A / frequency:.0f} A: {ratio:.2f}" for frequency, _, ratio in linear.bands
    )
    logger.info("power of the structure over that of the noise, by detail: %s", ratios)
    if max(ratio for _, _, ratio in linear.bands) < FAINTEST:
        logger.warning(
            "hardly any structure that the clean domain shows was found in the tomograms; check "
            "contrast and voxel sizes, and whether both domains show the same kind of sample"
        )


def _common_contrast(volumes: Sequence[Volume], wanted: str, what: str, option: str) -> str:
    """The contrast that all volumes share, detected or given."""
    if wanted != "auto":
        logger.info("%s: density is %s (as given)", what, wanted)
        return wanted
    votes: Dict[str, List[float]] = {"dark": [], "bright": []}
    doubtful = []
    for volume in volumes:
        verdict = detect_contrast(volume)
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
    statistics: Sequence[VolumeStatistics], shapes: Sequence[Tuple[int, int, int]]
) -> Tuple[float, float]:
    """Mean and deviation of all voxels of several volumes."""
    weights = np.array([float(np.prod(shape)) for shape in shapes])
    weights /= weights.sum()
    means = np.array([entry.mean for entry in statistics])
    squares = np.array([entry.std**2 + entry.mean**2 for entry in statistics])
    mean = float(weights @ means)
    return mean, float(np.sqrt(max(weights @ squares - mean**2, 0.0)))


def _allowed_flips(tilt_range_deg: Optional[Tuple[float, float]]) -> Sequence[Tuple[int, ...]]:
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
