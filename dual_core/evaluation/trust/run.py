"""The trust report of files: examine each tomogram, write figures, maps and ``trust.json``."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path
from typing import Any, Callable, List, Optional, Sequence, Tuple, Union

from dual_core.errors import DualError
from dual_core.evaluation.halves import HalvesResult, compare_halves, crossing_text, fsc_figure
from dual_core.evaluation.trust.coherence import coherence_findings
from dual_core.evaluation.trust.examine import TrustOptions, examine
from dual_core.evaluation.trust.figures import trust_figures
from dual_core.evaluation.trust.findings import (
    Finding,
    TomogramTrust,
    TrustReport,
    halves_findings,
    led_by_coherence,
)
from dual_core.evaluation.trust.network_pass import (
    LARGEST_SIDE,
    Networks,
    OpenedTomogram,
    open_tomogram,
)
from dual_core.evaluation.trust.simulation import simulation_findings
from dual_core.volumes.reading import write_volume

logger = logging.getLogger(__name__)

PathLike = Union[str, Path]


def trust_report(
    model: str,
    card: Any,
    networks: Networks,
    tomograms: Sequence[PathLike],
    output: Path,
    options: TrustOptions,
    contrast: str = "auto",
    voxel_size_A: Optional[float] = None,
    halves: Optional[Tuple[PathLike, PathLike]] = None,
    largest_side: int = LARGEST_SIDE,
    on_tomogram: Optional[Callable[[TomogramTrust], None]] = None,
) -> TrustReport:
    """Judge a model on tomograms and write everything into a folder.

    Parameters
    ----------
    model : str
        Name of the model.
    card : ModelCard
    networks : Networks
    tomograms : sequence of path
    output : path
        An existing folder. ``trust.json``, and for each tomogram figures and
        ``<stem>_deviation.mrc``, the deviation over flips in the units of the clean domain.
    options : TrustOptions
    contrast, voxel_size_A
        Of the tomograms; see `open_tomogram`.
    halves : two paths, optional
        Half tomograms of the first (or only) tomogram.
    largest_side : int
        Voxels along each axis of the middle part that is examined.
    on_tomogram : callable, optional
        Called with the findings of each tomogram as soon as they are there.

    Raises
    ------
    DualError
        Of files that cannot be read or would have one name, and of `examine`.
    """
    clashes = [stem for stem, n in Counter(Path(one).stem for one in tomograms).items() if n > 1]
    if clashes:
        raise DualError(
            f"two tomograms are named {clashes[0]}; their figures would overwrite each other: "
            "judge them with two --output folders"
        )
    opening = (card, contrast, voxel_size_A, largest_side)
    pair = None
    if halves is not None:  # opened first, so that a mistake is told before the long work
        pair = open_halves(halves[0], halves[1], *opening)
    judged: List[TomogramTrust] = []
    for number, path in enumerate(tomograms):
        opened = open_tomogram(path, *opening)
        if opened.is_cropped:
            logger.info(
                "%s: the middle %s of %s voxels (z, y, x) are examined",
                path, opened.voxels.shape, tuple(opened.whole_shape),
            )
        own_halves = pair if number == 0 else None
        judged.append(_judge(opened, card, networks, output, options, own_halves))
        if on_tomogram is not None:
            on_tomogram(judged[-1])
    report = TrustReport(model, judged)
    report.write(output)
    return report


def _judge(
    opened: OpenedTomogram,
    card: Any,
    networks: Networks,
    output: Path,
    options: TrustOptions,
    halves: Optional[Tuple[OpenedTomogram, OpenedTomogram]],
) -> TomogramTrust:
    """Judge the model on one tomogram; its figures and its map of deviations are written."""
    stem = Path(opened.name).stem
    try:
        examination = examine(opened.voxels, opened.voxel_size_A, networks, options)
    except DualError as error:
        raise DualError(f"{opened.name}: {error}") from error
    write_volume(
        output / f"{stem}_deviation.mrc",
        examination.volumes["deviation"],
        opened.voxel_size_A,
        opened.origin_A,
    )
    figures = trust_figures(examination.volumes, output, stem, opened.voxel_size_A)
    findings = coherence_findings(
        opened.voxels,
        opened.voxel_size_A,
        examination.networks,
        options.tilt_range_deg or card.tilt_range_deg,
        None if halves is None else (halves[0].voxels, halves[1].voxels),
    )
    findings = led_by_coherence([*findings, *examination.findings])
    findings += simulation_findings(
        examination.networks, opened.voxels, examination.volumes["restored"]
    )
    if halves is not None:
        first, second = halves
        result, _ = compare_halves(
            first.voxels, second.voxels, first.voxel_size_A, networks.denoise
        )
        findings += findings_of_halves(result)
        figures["halves"] = fsc_figure(result.curves, output / f"{stem}_halves.png").name
    return TomogramTrust(opened.name, findings, figures)


def open_halves(
    first: PathLike,
    second: PathLike,
    card: Any,
    contrast: str = "auto",
    voxel_size_A: Optional[float] = None,
    largest_side: int = LARGEST_SIDE,
) -> Tuple[OpenedTomogram, OpenedTomogram]:
    """Open two half tomograms as a model sees them.

    Raises
    ------
    DualError
        If they differ in shape or, with ``auto``, in contrast.
    """
    a, b = (open_tomogram(path, card, contrast, voxel_size_A, largest_side)
            for path in (first, second))
    if a.whole_shape != b.whole_shape:
        raise DualError(
            f"{first} has {tuple(a.whole_shape)} voxels and {second} {tuple(b.whole_shape)} "
            "(z, y, x); give the two halves of one tomogram"
        )
    return a, b


def findings_of_halves(result: HalvesResult) -> List[Finding]:
    """The findings that halves with a model give."""
    if result.gain is None or result.noise_energy is None:
        return []
    raw, denoised = (crossing_text(result.curves[name]) for name in ("raw", "denoised"))
    return halves_findings(result.gain, raw, denoised, result.noise_energy)
