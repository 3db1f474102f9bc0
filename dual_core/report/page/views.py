"""What is shown of one tomogram: slices, spectra and scores, read in bounded memory."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple

import numpy as np

from dual_core.errors import DualError
from dual_core.evaluation.truth.metrics import FSC_THRESHOLDS, VolumeScores, pearson, score_volume
from dual_core.figures import PLANES, central_slice, log_power, radial_mean, scale_bar_nm
from dual_core.report.pictures import Picture, chart, grey_limits, grey_picture, spectrum_picture
from dual_core.volumes.reading import ReadableVolume, Triple, Volume, open_volume
from dual_core.volumes.resampling import same_voxel_size

DEPTHS = (0.25, 0.375, 0.5, 0.625, 0.75)
SPECTRUM_CROP = 256  # voxels a side
SCORED_VOXELS = 1 << 25  # scoring takes about 40 bytes a voxel

logger = logging.getLogger(__name__)

Panels = List[Tuple[str, Picture]]
Tilts = Tuple[Tuple[float, float], str]  # range in degrees, and axis

WEDGE_PLANES = {"y": "xz", "x": "yz"}  # in which the missing wedge lies, by tilt axis


@dataclass(frozen=True)
class Cut:
    """One slice through raw, denoised, removed and, where it is known, the truth.

    ``bar_share`` is the length of a scale bar of ``bar_nm`` in widths of the picture.
    """

    plane: str
    index: int
    sections: int
    panels: Panels
    bar_nm: float
    bar_share: float


@dataclass(frozen=True)
class Scores:
    """Raw and denoised against the truth; ``crop`` is the shape that was scored where not all."""

    raw: VolumeScores
    denoised: VolumeScores
    curve: Picture
    crop: Optional[Triple]
    tilt_range: Tuple[float, float]


@dataclass(frozen=True)
class TomogramView:
    """All that is shown of one tomogram.

    ``removed_share`` is the part of its variance that denoising took away, in ``crop``, the
    shape in the middle that the spectra are of; their pictures are of ``spectra_plane``.
    """

    name: str
    shape: Triple
    voxel_size_A: float
    depths: List[Cut]
    others: List[Cut]
    spectra: Panels
    spectra_plane: str
    curve: Picture
    removed_share: float
    crop: Triple
    scores: Optional[Scores]


@dataclass(frozen=True)
class Input:
    """A tomogram and its truth, opened and found to fit each other."""

    path: Path
    volume: Volume
    truth: Optional[Volume]


def open_inputs(
    tomograms: Sequence[Path], truths: Sequence[Path], voxel_size_A: Optional[float]
) -> List[Input]:
    """Open tomograms and truths, before anything that takes long.

    Raises
    ------
    DualError
        If a file cannot be used, or there is not one truth of its shape for each tomogram.
    """
    if truths and len(truths) != len(tomograms):
        raise DualError(
            f"{len(tomograms)} tomograms and {len(truths)} truths were given; "
            "give one truth for each tomogram, in the same order"
        )
    inputs = []
    for number, path in enumerate(tomograms):
        volume = open_volume(path, voxel_size_A=voxel_size_A)
        truth = None
        if truths:
            truth = open_volume(truths[number], voxel_size_A=voxel_size_A)
            check_alike(volume, truth, "truth")
        inputs.append(Input(Path(path), volume, truth))
    return inputs


def check_alike(tomogram: Volume, other: Volume, what: str) -> None:
    """Refuse a volume that is not on the grid of its tomogram."""
    if other.shape != tomogram.shape:
        raise DualError(
            f"{other.name} has shape {other.shape}, its tomogram {tomogram.name} "
            f"{tomogram.shape} (z, y, x); give the {what} of that tomogram"
        )
    if not same_voxel_size(other.voxel_size_A, tomogram.voxel_size_A):
        raise DualError(
            f"{other.name} has voxels of {other.voxel_size_A:g} A, its tomogram of "
            f"{tomogram.voxel_size_A:g} A; give --voxel-size if a header is wrong"
        )


def view_tomogram(
    given: Input,
    denoised: Volume,
    tilts: Tilts,
    explained: Optional[ReadableVolume] = None,
) -> TomogramView:
    """Draw slices and spectra of a tomogram and what denoising made of it, and score both.

    Slices are read one by one, spectra are of the middle, at most `SPECTRUM_CROP` voxels a
    side; the scores of at most `SCORED_VOXELS` voxels in the middle. Truths have bright
    density; the tomogram's contrast is the one that correlates. The pictures of the spectra are of
    the plane across the tilt axis, where the missing wedge lies. What was removed is the tomogram
    less `explained`, by default less the denoised one itself.
    """
    volume, truth = given.volume, given.truth
    explained = denoised if explained is None else explained
    volumes: Dict[str, ReadableVolume] = {
        "raw": volume, "denoised": denoised, "explained": explained
    }
    scores, sign = None, 1.0
    if truth is not None:
        volumes["truth"] = truth
        try:
            scores, sign = _scores(volume, denoised, truth, tilts)
        except DualError as error:  # constant, as of an untrained model: the page shows that
            logger.warning("%s: no scores (%s)", given.path, error)
    depths = sorted({int(volume.shape[0] * depth) for depth in DEPTHS})
    plane = WEDGE_PLANES[tilts[1]]
    spectra, curve, removed_share, crop = _spectra(volume, denoised, explained, plane)
    return TomogramView(
        name=given.path.name,
        shape=volume.shape,
        voxel_size_A=volume.voxel_size_A,
        depths=[_cut(volumes, "xy", index, sign) for index in depths],
        others=[
            _cut(volumes, plane, volume.shape[PLANES[plane][0]] // 2, sign)
            for plane in ("xz", "yz")
        ],
        spectra=spectra,
        spectra_plane=plane,
        curve=curve,
        removed_share=removed_share,
        crop=crop,
        scores=scores,
    )


def read_slice(volume: ReadableVolume, plane: str, index: int) -> np.ndarray:
    """Read one slice ``(vertical, horizontal)`` of a volume on disk."""
    axis = PLANES[plane][0]
    start, size = [0, 0, 0], list(volume.shape)
    start[axis], size[axis] = index, 1
    block = volume.read((start[0], start[1], start[2]), (size[0], size[1], size[2]))
    return np.squeeze(block, axis=axis)


def read_middle(volume: ReadableVolume, size: Triple) -> np.ndarray:
    """Read the block of shape ``size`` in the middle."""
    start = [(whole - part) // 2 for whole, part in zip(volume.shape, size)]
    return volume.read((start[0], start[1], start[2]), size)


def scored_shape(shape: Triple) -> Triple:
    """Return the largest block in the middle of ``shape`` with at most `SCORED_VOXELS`."""
    z, y, x = shape
    while z * y * x > SCORED_VOXELS:
        longest = max(z, y, x)
        z, y, x = (min(side, max(1, int(longest * 0.95))) for side in (z, y, x))
    return z, y, x


def _cut(volumes: Dict[str, ReadableVolume], plane: str, index: int, sign: float) -> Cut:
    cuts = {label: read_slice(volume, plane, index) for label, volume in volumes.items()}
    raw = cuts["raw"]
    # Raw and removed are nearly the same noise: on one grey scale they can be compared.
    low, high = grey_limits(raw)
    middle = float(raw.mean())
    panels = [
        ("raw", grey_picture(raw, (low, high))),
        ("denoised", grey_picture(cuts["denoised"])),
        ("removed", grey_picture(raw - cuts["explained"], (low - middle, high - middle))),
    ]
    if "truth" in cuts:
        panels.append(("truth", grey_picture(sign * cuts["truth"])))
    width_A = raw.shape[1] * volumes["raw"].voxel_size_A
    bar_nm = scale_bar_nm(width_A / 10)
    sections = volumes["raw"].shape[PLANES[plane][0]]
    return Cut(plane, index, sections, panels, bar_nm, 10 * bar_nm / width_A)


def _spectra(
    volume: ReadableVolume, denoised: ReadableVolume, explained: ReadableVolume, plane: str
) -> Tuple[Panels, Picture, float, Triple]:
    z, y, x = (min(side, SPECTRUM_CROP) for side in volume.shape)
    crop = (z, y, x)
    raw = read_middle(volume, crop)
    spread = float(raw.std(dtype=np.float64)) or 1.0
    raw = (raw - raw.mean(dtype=np.float64)).astype(np.float32) / np.float32(spread)
    clean = read_middle(denoised, crop)
    clean = (clean - clean.mean(dtype=np.float64)).astype(np.float32) / np.float32(spread)
    kept = read_middle(explained, crop)
    kept = (kept - kept.mean(dtype=np.float64)).astype(np.float32) / np.float32(spread)
    removed_share = 1 - float(kept.var(dtype=np.float64))
    panels: Panels = []
    curves = {}
    for label in ("raw", "denoised", "removed"):
        block = raw if label == "raw" else clean if label == "denoised" else raw - kept
        power = log_power(block)
        panels.append((label, spectrum_picture(central_slice(power, plane))))
        frequency, mean = radial_mean(power)
        curves[label] = (frequency / volume.voxel_size_A, mean)
    curve = chart(curves, "spatial frequency (1/Å)", "log₁₀ power")
    return panels, curve, removed_share, crop


def _scores(
    volume: Volume, denoised: Volume, truth: Volume, tilts: Tilts
) -> Tuple[Scores, float]:
    shape = scored_shape(volume.shape)
    wanted = read_middle(truth, shape)
    raw = read_middle(volume, shape)
    sign = -1.0 if pearson(raw, wanted) < 0 else 1.0

    def score(block: np.ndarray) -> VolumeScores:
        block *= np.float32(sign)
        return score_volume(block, wanted, volume.voxel_size_A, None, 0, None, *tilts)

    before = score(raw)
    del raw
    after = score(read_middle(denoised, shape))
    fsc = {"raw": before.fsc, "denoised": after.fsc}
    curve = chart(
        {label: (c.frequency_per_A, c.correlation) for label, c in fsc.items()},
        "spatial frequency (1/Å)",
        "correlation with the truth",
        FSC_THRESHOLDS,
    )
    crop = None if shape == volume.shape else shape
    return Scores(before, after, curve, crop, tilts[0]), sign
