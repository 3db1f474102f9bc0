"""What the scores against a truth share: options, reading, the table and the files."""

from __future__ import annotations

import argparse
import csv
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Dict, Iterable, List, Optional, Sequence, Tuple

from dual_core.cli.common import (
    dump_options,
    finite_float,
    non_negative_int,
    replacing,
    voxel_size,
)
from dual_core.cli.evaluations.table import Row, format_table
from dual_core.errors import DualError

if TYPE_CHECKING:
    import numpy as np

    from dual_core.evaluation.truth.metrics import VolumeScores

logger = logging.getLogger(__name__)

# Key of a row -> heading and format in the printed table.
COLUMNS: Dict[str, Tuple[str, str]] = {
    "name": ("name", ""),
    "contrast": ("contrast", ""),
    "parameters": ("parameters", ""),
    "psnr_db": ("PSNR (dB)", ".2f"),
    "ssim": ("SSIM", ".3f"),
    "cc": ("CC", ".3f"),
    "cc_measured": ("CC measured", ".3f"),
    "cc_wedge": ("CC wedge", ".3f"),
    "fsc_0.5_A": ("FSC 0.5 (A)", ".1f"),
    "fsc_0.143_A": ("FSC 0.143 (A)", ".1f"),
}
SAME_VOXEL_SIZE = 0.01


def add_truth_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of every score against a truth."""
    parser.add_argument(
        "--contrast",
        choices=("auto", "dark", "bright"),
        default="auto",
        help="density of the volumes; auto takes the one that correlates with the truth",
    )
    parser.add_argument(
        "--margin",
        type=non_negative_int,
        default=0,
        metavar="N",
        help="voxels left out along every face",
    )
    parser.add_argument(
        "--tilt-range",
        nargs=2,
        type=finite_float,
        default=[-60.0, 60.0],
        metavar=("MIN", "MAX"),
        help="tilt angles in degrees, for the correlation inside the missing wedge",
    )
    parser.add_argument("--tilt-axis", choices=("y", "x"), default="y", help="axis of the tilt")
    parser.add_argument(
        "--voxel-size", type=voxel_size, metavar="A",
        help="voxel size in angstrom, instead of the one in the headers"
    )
    parser.add_argument("--output", metavar="DIR", help="write CSV, JSON and PNG")


def check_tilt_range(args: argparse.Namespace) -> None:
    """Refuse a tilt range the wrong way round.

    Raises
    ------
    DualError
        If the first angle is not the smaller one.
    """
    if args.tilt_range[0] >= args.tilt_range[1]:
        raise DualError("--tilt-range needs the smaller angle first, for example -60 60")


def score_against_truth(
    args: argparse.Namespace,
    volumes: Iterable[Tuple[str, Dict[str, object], np.ndarray]],
    truth: np.ndarray,
    voxel_size_A: float,
    output: Optional[Path],
    data_range: Optional[float] = None,
    mask: Optional[np.ndarray] = None,
) -> None:
    """Score volumes as they come, print the table, write the files where there is a folder.

    Parameters
    ----------
    args : options of `add_truth_arguments`.
    volumes : (name, what else the row tells, volume with bright density), taken one by one.
    truth : the grand model.
    voxel_size_A : of all.
    output : folder for the files, or None.
    data_range, mask : see `dual_core.evaluation.truth.metrics.score_volume`.
    """
    from dual_core.evaluation.truth.metrics import score_volume

    rows: List[Row] = []
    scored: Dict[str, VolumeScores] = {}
    pictures: Dict[str, np.ndarray] = {}
    tilts = (tuple(args.tilt_range), args.tilt_axis)
    for name, told, volume in volumes:
        scores = score_volume(volume, truth, voxel_size_A, data_range, args.margin, mask, *tilts)
        rows.append({"name": name, **told, **scores.as_dict()})
        scored[name] = scores
        if output:
            pictures[name] = volume
    print(format_table(rows, COLUMNS))
    if output:
        _write(output, rows, scored, {**pictures, "truth": truth}, voxel_size_A, args)


def load_alike(
    path: str,
    args: argparse.Namespace,
    shape: Optional[Tuple[int, ...]] = None,
    voxel_size_A: Optional[float] = None,
    is_mask: bool = False,
) -> Tuple[np.ndarray, float]:
    """Read a volume and its voxel size, which must be those of the truth where given."""
    from dual_core.volumes.byte_volumes import as_mask
    from dual_core.volumes.reading import open_volume

    volume = open_volume(path, voxel_size_A=args.voxel_size)
    if shape is not None and tuple(volume.shape) != tuple(shape):
        raise DualError(
            f"{path} has shape {tuple(volume.shape)}, its truth {tuple(shape)} (z, y, x); "
            "give volumes of one shape"
        )
    found = volume.voxel_size_A
    if voxel_size_A is not None and abs(found / voxel_size_A - 1) > SAME_VOXEL_SIZE:
        raise DualError(
            f"{path} has voxels of {found:g} A, its truth of {voxel_size_A:g} A; "
            "give --voxel-size if a header is wrong"
        )
    return as_mask(volume).load() if is_mask else volume.load(), found


def contrast_of(volume: np.ndarray, truth: np.ndarray, wanted: str) -> str:
    """The contrast that is wanted or, for ``auto``, the one that correlates with the truth."""
    if wanted != "auto":
        return wanted
    from dual_core.evaluation.truth.metrics import pearson

    # With a truth at hand its sign is safer than any guess from the volume alone.
    return "dark" if pearson(volume, truth) < 0 else "bright"


def _write(
    folder: Path,
    rows: Sequence[Row],
    scored: Dict[str, VolumeScores],
    pictures: Dict[str, np.ndarray],
    voxel_size_A: float,
    args: argparse.Namespace,
) -> None:
    from dual_core.figures import slices_figure, spectra_figure

    with replacing(folder / "scores.csv") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    frequencies = next(iter(scored.values())).fsc.frequency_per_A.tolist()
    curves = {"frequency_per_A": frequencies}
    curves.update({name: scores.fsc.correlation.tolist() for name, scores in scored.items()})
    with replacing(folder / "scores.json") as file:
        json.dump({"truth": args.truth, "scores": list(rows), "fsc": curves}, file, indent=1)
    with replacing(folder / "fsc.csv") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(curves)
        lines.writerows(zip(*curves.values()))
    shown = {Path(name).name: picture for name, picture in pictures.items()}
    if len(shown) < len(pictures):
        shown = pictures
    slices_figure(shown, folder / "slices.png", voxel_size_A)
    spectra_figure(shown, folder / "spectra.png", voxel_size_A)
    dump_options(args, folder / "evaluate.yaml")
    logger.info("written: %s", folder)
