"""``dual evaluate halves``: Fourier shell correlation of half tomograms, raw and denoised."""

from __future__ import annotations

import argparse
import contextlib
import csv
import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Dict, List, Tuple

from dual_core.cli.batch_options import add_machine_arguments
from dual_core.cli.common import (
    dump_options,
    output_folder,
    positive_int,
    replacing,
    voxel_size,
)
from dual_core.cli.evaluations.against_truth import load_alike
from dual_core.cli.evaluations.coherence import (
    add_coherence_arguments,
    coherences,
    tell,
    write,
)
from dual_core.cli.evaluations.table import Row, format_table
from dual_core.errors import DualError

if TYPE_CHECKING:
    import numpy as np

    from dual_core.evaluation.half_coherence import HalfCoherence
    from dual_core.evaluation.halves import HalvesResult

logger = logging.getLogger(__name__)

SUMMARY = "half tomograms: FSC, raw and denoised, and whether denoising beats any filter"
DESCRIPTION = (
    "Fourier shell correlation of two half tomograms with independent noise, as 'dual project\n"
    "--halves' writes them. The FSC of denoised halves measures consistency, not truth: what the\n"
    "network expects to see is common to both halves. So each denoised half is also compared with\n"
    "the other raw half (half coherence): above 1 denoising beats any filter."
)
EXAMPLE = """
  dual evaluate halves tomo_odd.mrc tomo_even.mrc --model run/model.safetensors --output fsc
""".strip("\n")
COLUMNS: Dict[str, Tuple[str, str]] = {
    "halves": ("halves", ""),
    "0.5": ("FSC 0.5", ""),
    "0.143": ("FSC 0.143", ""),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("first", metavar="A.mrc", help="half tomogram")
    parser.add_argument("second", metavar="B.mrc", help="the other half")
    parser.add_argument("--model", metavar="M", help="also denoise each half with this model")
    parser.add_argument("--mask", metavar="M.mrc", help="multiply by this mask (0 to 1, soft edge)")
    parser.add_argument(
        "--contrast",
        choices=("auto", "dark", "bright"),
        default="auto",
        help="density of the halves, for the model; auto detects it",
    )
    parser.add_argument(
        "--voxel-size", type=voxel_size, metavar="A",
        help="voxel size in angstrom, instead of the one in the headers"
    )
    parser.add_argument(
        "--largest-side",
        type=positive_int,
        default=256,
        metavar="N",
        help="of larger halves the middle N voxels along each axis are compared (with --model)",
    )
    parser.add_argument("--output", metavar="DIR", help="write CSV and PNG")
    add_coherence_arguments(parser)
    add_machine_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Correlate, print a table and write the files."""
    for path in (args.first, args.second, *(one for pair in args.pair for one in pair)):
        if not Path(path).exists():
            raise DualError(f"{path}: no such file; check the path")
    folder = output_folder(args.output) if args.output else contextlib.nullcontext()
    with folder as output:
        found: List[Tuple[str, HalfCoherence]] = []
        if args.model:
            result, volumes, voxel_size_A, found = _with_model(args)
        else:
            result, volumes, voxel_size_A = _raw(args)
        rows: List[Row] = [{"halves": name, **row} for name, row in result.rows().items()]
        print(format_table(_told(result), COLUMNS))
        if result.gain is not None:
            from dual_core.evaluation.halves import CAUTION

            print(f"mean FSC at the scale of particles: {result.gain:+.3f} by denoising")
            print(CAUTION)
            tell(found)
        if output:
            _write(output, rows, result, volumes, voxel_size_A)
            if found:
                write(found, output)
            dump_options(args, output / "evaluate.yaml")
            logger.info("written: %s", output)
    return 0


def _require_two(first: np.ndarray, second: np.ndarray, args: argparse.Namespace) -> None:
    if first.shape == second.shape and bool((first == second).all()):
        raise DualError(
            f"{args.first} and {args.second} hold the same values, and so correlate everywhere; "
            "give two halves of one tomogram"
        )


def _told(result: HalvesResult) -> List[Row]:
    from dual_core.evaluation.halves import crossing_text

    return [
        {
            "halves": name,
            "0.5": crossing_text(curve, 0.5),
            "0.143": crossing_text(curve, 0.143),
        }
        for name, curve in result.curves.items()
    ]


def _raw(args: argparse.Namespace) -> Tuple[HalvesResult, Dict[str, np.ndarray], float]:
    from dual_core.evaluation.halves import compare_halves

    first, voxel_size_A = load_alike(args.first, args)
    second, _ = load_alike(args.second, args)
    _require_two(first, second, args)
    mask = None if args.mask is None else load_alike(args.mask, args, is_mask=True)[0]
    return (*compare_halves(first, second, voxel_size_A, mask=mask), voxel_size_A)


def _with_model(
    args: argparse.Namespace,
) -> Tuple[HalvesResult, Dict[str, np.ndarray], float, List[Tuple[str, HalfCoherence]]]:
    from dual_core.networks.card import read_card

    card = read_card(args.model)
    if args.tilt_axis:
        card = replace(card, tilt_axis=args.tilt_axis)

    from dual_core.evaluation.halves import compare_halves
    from dual_core.evaluation.trust.network_pass import networks_of, read_like
    from dual_core.evaluation.trust.run import open_halves
    from dual_core.networks.model import DualModel

    a, b = open_halves(
        args.first, args.second, card, args.contrast, args.voxel_size, args.largest_side
    )
    _require_two(a.voxels, b.voxels, args)
    mask = None if args.mask is None else read_like(args.mask, a, args.largest_side)
    model = DualModel.load(args.model)
    model.card = card
    networks = networks_of(model, args.device, args.precision, args.tile, args.halo)
    result, volumes = compare_halves(
        a.voxels, b.voxels, a.voxel_size_A, networks.result, mask
    )
    denoised = volumes["A denoised"], volumes["B denoised"]
    first = (a.voxels, b.voxels, *denoised, a.voxel_size_A)
    found = coherences(args, card, networks, first)
    return result, volumes, a.voxel_size_A, found


def _write(
    folder: Path,
    rows: List[Row],
    result: HalvesResult,
    volumes: Dict[str, np.ndarray],
    voxel_size_A: float,
) -> None:
    from dual_core.evaluation.halves import fsc_figure
    from dual_core.figures import slices_figure

    with replacing(folder / "halves.csv") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    curves = {"frequency_per_A": result.curves["raw"].frequency_per_A.tolist()}
    curves.update({name: curve.correlation.tolist() for name, curve in result.curves.items()})
    with replacing(folder / "fsc.csv") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(curves)
        lines.writerows(zip(*curves.values()))
    fsc_figure(result.curves, folder / "fsc.png")
    slices_figure(volumes, folder / "slices.png", voxel_size_A)
