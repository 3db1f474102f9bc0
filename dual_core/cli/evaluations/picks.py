"""``dual evaluate picks``: precision, recall and F1 of particle picks."""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Tuple

from dual_core.cli.common import (
    dump_options,
    output_folder,
    positive_float,
    replacing,
    voxel_size,
)
from dual_core.cli.evaluations.table import Row, format_table
from dual_core.cli.pairing import in_order_of
from dual_core.errors import DualError

if TYPE_CHECKING:
    import numpy as np

logger = logging.getLogger(__name__)

SUMMARY = "precision, recall and F1 of picks against known particles"
DESCRIPTION = (
    "Compares lists of picks with lists of particles, the first with the first, and so on, and\n"
    "gives mean and deviation over them. Lists are CSV (x_voxel, y_voxel, z_voxel or x_A, y_A,\n"
    "z_A) or STAR files."
)
EXAMPLE = """
  dual evaluate picks --truth particles_8.csv --picks picks/tomo_8_picks.csv --tolerance 80
  dual evaluate picks --truth particles_*.csv --picks picks/*_picks.csv --tolerance 80 --class 1
""".strip("\n")

COLUMNS: Dict[str, Tuple[str, str]] = {
    "truth": ("truth", ""),
    "name": ("picks", ""),
    "particles": ("particles", "d"),
    "picks": ("number", "d"),
    "hits": ("hits", "d"),
    "precision": ("precision", ".3f"),
    "recall": ("recall", ".3f"),
    "f1": ("F1", ".3f"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "lists", nargs="*", metavar="PICKS.csv", help="lists of picks, or give them to --picks"
    )
    parser.add_argument(
        "--truth",
        nargs="+",
        required=True,
        metavar="P.csv",
        help="lists of known particles, as many as there are lists of picks and in their order",
    )
    parser.add_argument(
        "--picks", nargs="+", default=[], metavar="PICKS.csv", help="lists of picks"
    )
    parser.add_argument(
        "--tolerance",
        type=positive_float,
        required=True,
        metavar="A",
        help="largest distance of a pick from its particle in angstrom",
    )
    parser.add_argument(
        "--class",
        dest="only_class",
        metavar="C",
        help="particles of this class only (number or name, in the lists of particles)",
    )
    parser.add_argument(
        "--counting",
        choices=("one-to-one", "overlap"),
        default="one-to-one",
        help="count each particle for one pick at most, or, as in the paper, every pick that "
        "overlaps one",
    )
    parser.add_argument(
        "--tomogram",
        metavar="T.mrc",
        help="a tomogram of the size of all, for lists of RELION 5, whose positions are from the "
        "middle",
    )
    parser.add_argument(
        "--voxel-size",
        type=voxel_size,
        metavar="A",
        help="voxel size in angstrom for lists with positions in voxels only (default: as in the "
        "other list)",
    )
    parser.add_argument("--output", metavar="DIR", help="write CSV and JSON")


def run(args: argparse.Namespace) -> int:
    """Score, print a table and write the files."""
    from dual_core.evaluation.picks import (
        STATISTICS,
        mean_and_deviation,
        precision_recall_curve,
        score_picks,
    )

    pairs = _pairs(args)
    rows: List[Row] = []
    curves: List[List[object]] = []
    folder = output_folder(args.output) if args.output else contextlib.nullcontext()
    with folder as output:
        for truth_path, picks_path in pairs:
            truth, picks = _positions(truth_path, picks_path, args)
            scores = score_picks(truth, picks, args.tolerance, args.counting)
            rows.append({"truth": truth_path, "name": picks_path, **scores.as_dict()})
            precision, recall = precision_recall_curve(truth, picks, args.tolerance)
            curves += [
                [picks_path, number, f"{one:.6f}", f"{other:.6f}"]
                for number, (one, other) in enumerate(zip(precision, recall), start=1)
            ]
        summary = {
            key: mean_and_deviation([float(str(row[key])) for row in rows]) for key in STATISTICS
        }
        print(format_table(rows, COLUMNS))
        if len(rows) > 1:
            told = [f"{key} {mean:.3f} ± {off:.3f}" for key, (mean, off) in summary.items()]
            print(f"mean and deviation over {len(rows)} pairs: {', '.join(told)}")
        if output:
            _write(Path(output), rows, curves, summary, args)
    return 0


def _pairs(args: argparse.Namespace) -> List[Tuple[str, str]]:
    """Lists of particles and of picks, in their order."""
    truths, picks = list(args.truth), [*args.lists, *args.picks]
    if not picks and len(truths) % 2 == 0:
        # --truth takes all that follows: P1 P2 PICKS1 PICKS2.
        half = len(truths) // 2
        truths, picks = truths[:half], truths[half:]
    if len(truths) != len(picks):
        raise DualError(
            f"{len(truths)} lists of particles and {len(picks)} of picks; give as many of both, "
            "in the same order: --truth P1 P2 --picks PICKS1 PICKS2"
        )
    return list(zip(truths, in_order_of(truths, picks)))


def _positions(
    truth_path: str, picks_path: str, args: argparse.Namespace
) -> Tuple[np.ndarray, np.ndarray]:
    """Particles and picks in angstrom, the picks in the order of their scores."""
    import numpy as np

    from dual_core.particles import read_particles

    where: Tuple[Any, ...] = ()
    if args.tomogram is not None:
        from dual_core.volumes.reading import open_volume

        volume = open_volume(args.tomogram, voxel_size_A=args.voxel_size)
        where = (volume.shape, volume.voxel_size_A)
    truth, picks = read_particles(truth_path, *where), read_particles(picks_path, *where)
    if args.only_class is not None:
        truth = truth.of_class(args.only_class)
    voxel_size_A: Optional[float] = args.voxel_size
    scores = picks.scores()
    order = slice(None) if scores is None else np.argsort(-scores, kind="stable")
    return (
        truth.positions_A(voxel_size_A or picks.voxel_size_A),
        picks.positions_A(voxel_size_A or truth.voxel_size_A)[order],
    )


def _write(
    folder: Path,
    rows: List[Row],
    curves: List[List[object]],
    summary: Dict[str, Tuple[float, float]],
    args: argparse.Namespace,
) -> None:
    with replacing(folder / "picks.csv") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    with replacing(folder / "precision_recall.csv") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(["picks", "number", "precision", "recall"])
        lines.writerows(curves)
    told = {key: {"mean": mean, "deviation": off} for key, (mean, off) in summary.items()}
    settings = {"tolerance_A": args.tolerance, "counting": args.counting}
    with replacing(folder / "picks.json") as file:
        json.dump({**settings, "scores": rows, "summary": told}, file, indent=1)
    dump_options(args, folder / "evaluate.yaml")
    logger.info("written: %s", folder)
