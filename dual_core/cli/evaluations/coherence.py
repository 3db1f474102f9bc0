"""The half coherence in ``dual evaluate halves``: for each pair of halves, and pooled over all."""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List, Sequence, Tuple

from dual_core.cli.batch_options import for_record
from dual_core.cli.common import replacing
from dual_core.cli.evaluations.table import Row, format_table

if TYPE_CHECKING:
    from dual_core.evaluation.half_coherence import HalfCoherence

COLUMNS: Dict[str, Tuple[str, str]] = {
    "halves": ("half coherence", ""),
    "detail_A": ("detail (A)", ".0f"),
    "raw": ("raw with raw", ".3f"),
    "denoised": ("denoised with other raw", ".3f"),
    "ratio": ("ratio", ".2f"),
    "limit": ("limit", ".2f"),
}
POOLED = "all"
EXPLANATION = (
    "ratio: 1 is what any filter has; above it the result knows more of the specimen, below it "
    "less; the limit is that of the structure without noise"
)


def add_coherence_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that the half coherence needs."""
    parser.add_argument(
        "--pair",
        nargs=2,
        action="append",
        default=[],
        metavar=("A.mrc", "B.mrc"),
        help="the halves of a further tomogram, for the half coherence pooled over all (may be "
        "given several times)",
    )
    parser.add_argument(
        "--tilt-range",
        nargs=2,
        type=float,
        metavar=("MIN", "MAX"),
        help="in degrees: only what was measured is compared (default: the model's)",
    )
    parser.add_argument(
        "--tilt-axis", choices=("y", "x"), help="axis of the tilt (default: the model's)"
    )


def coherences(
    args: argparse.Namespace,
    card: Any,
    networks: Any,
    first: Tuple[Any, Any, Any, Any, float],
) -> List[Tuple[str, HalfCoherence]]:
    """(name, half coherence) of each pair and, of several, of all.

    Parameters
    ----------
    args : the command's; `first`, `second` and `pair` name the files.
    card, networks : of the model; the card with the tilt axis of the halves.
    first : both halves, both denoised, and the voxel size, of the first pair.
    """
    from dual_core.evaluation.half_coherence import half_coherence
    from dual_core.evaluation.trust.run import open_halves

    given = args.tilt_range
    tilt_range = (float(given[0]), float(given[1])) if given else card.tilt_range_deg
    a, b, denoised_a, denoised_b, voxel_size_A = first
    found = [(
        Path(args.first).name,
        half_coherence((a, b), (denoised_a, denoised_b), voxel_size_A, tilt_range, card.tilt_axis),
    )]
    for one, other in args.pair:
        pair = open_halves(
            one, other, card, args.contrast, args.voxel_size, args.largest_side
        )
        raw = pair[0].voxels, pair[1].voxels
        denoised = networks.result(raw[0]), networks.result(raw[1])
        found.append((
            Path(one).name,
            half_coherence(raw, denoised, pair[0].voxel_size_A, tilt_range, card.tilt_axis),
        ))
    if len(found) > 1:
        total = found[0][1]
        for _, single in found[1:]:
            total = total + single
        found.append((POOLED, total))
    return found


def tell(found: Sequence[Tuple[str, HalfCoherence]]) -> None:
    """Print the table."""
    rows: List[Row] = [{"halves": name, **row} for name, one in found for row in one.rows()]
    print(format_table(rows, COLUMNS))
    print(EXPLANATION)


def write(found: Sequence[Tuple[str, HalfCoherence]], folder: Path) -> None:
    """Write ``half_coherence.csv``, ``.png`` and, with the verdicts, ``.json``."""
    from dual_core.evaluation.half_coherence import coherence_figure
    from dual_core.evaluation.trust.coherence import finding_of

    told = [
        {
            "halves": name,
            "finding": finding_of(one, True).as_dict(),
            "shells": [for_record(row) for row in one.rows()],
        }
        for name, one in found
    ]
    with replacing(folder / "half_coherence.json") as file:
        json.dump(told, file, indent=1)
    with replacing(folder / "half_coherence.csv") as file:
        writer = csv.DictWriter(file, list(COLUMNS), lineterminator="\n")
        writer.writeheader()
        for name, one in found:
            writer.writerows({"halves": name, **row} for row in one.rows())
    coherence_figure(found, folder / "half_coherence.png")
