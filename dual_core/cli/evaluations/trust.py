"""``dual evaluate trust``: can a model be trusted on these tomograms?"""

from __future__ import annotations

import argparse
import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Dict, List, Tuple

from dual_core.cli.batch_options import add_machine_arguments
from dual_core.cli.common import (
    dump_options,
    finite_float,
    non_negative_int,
    output_folder,
    positive_float,
    positive_int,
    progress_bar,
    voxel_size,
)
from dual_core.cli.evaluations.table import Row, format_table
from dual_core.errors import DualError

if TYPE_CHECKING:
    from dual_core.evaluation.trust.findings import TomogramTrust

logger = logging.getLogger(__name__)

SUMMARY = "can a model be trusted on these tomograms? (no truth needed)"
DESCRIPTION = (
    "Tests what denoising removed, what the model turns pure noise into, whether flipping the\n"
    "tomogram changes the result and, if given, half tomograms. Each number has a verdict: green,\n"
    "amber or red; docs/trust.md explains them. Writes trust.json, figures and maps of the\n"
    "deviation over flips."
)
EXAMPLE = """
  dual evaluate trust --model run/model.safetensors tomo_9.mrc --output trust
  dual evaluate trust --model run/model.safetensors tomo_9.mrc \\
      --halves tomo_9_odd.mrc tomo_9_even.mrc --diameter 280 --output trust
""".strip("\n")
COLUMNS: Dict[str, Tuple[str, str]] = {
    "verdict": ("verdict", ""),
    "value": ("value", ".3f"),
    "title": ("what", ""),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "tomograms", nargs="+", metavar="T.mrc", help="tomograms to test the model on"
    )
    parser.add_argument("--model", required=True, metavar="M", help="model of 'dual train'")
    parser.add_argument("--output", required=True, metavar="DIR", help="folder for the results")
    parser.add_argument(
        "--halves",
        nargs=2,
        metavar=("A.mrc", "B.mrc"),
        help="half tomograms of the first tomogram, with independent noise",
    )
    parser.add_argument(
        "--diameter",
        type=positive_float,
        default=150.0,
        metavar="A",
        help="diameter in angstrom of the particles that are counted",
    )
    parser.add_argument(
        "--tilt-range",
        nargs=2,
        type=finite_float,
        metavar=("MIN", "MAX"),
        help="tilt angles in degrees (default: the model's, or symmetric)",
    )
    parser.add_argument(
        "--tilt-axis", choices=("y", "x"), help="of the tomograms (default: the model's)"
    )
    parser.add_argument(
        "--contrast",
        choices=("auto", "dark", "bright"),
        default="auto",
        help="density of the tomograms; auto detects it",
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
        help="of a larger tomogram the middle N voxels along each axis are examined",
    )
    parser.add_argument(
        "--seed", type=non_negative_int, default=0, metavar="N",
        help="random seed of the random phases"
    )
    add_machine_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Judge, print a table for each tomogram and write the files."""
    from dual_core.cli.evaluations.against_truth import check_tilt_range
    from dual_core.networks.card import read_card

    if args.tilt_range is not None:
        check_tilt_range(args)
    for path in (*args.tomograms, *(args.halves or ())):
        if not Path(path).exists():
            raise DualError(f"{path}: no such file; check the path")
    card = read_card(args.model)
    if args.tilt_axis:
        card = replace(card, tilt_axis=args.tilt_axis)

    from dual_core.evaluation.trust.examine import TrustOptions
    from dual_core.evaluation.trust.network_pass import networks_of
    from dual_core.evaluation.trust.run import trust_report
    from dual_core.networks.model import DualModel

    limits = tuple(args.tilt_range) if args.tilt_range else card.tilt_range_deg
    options = TrustOptions(args.diameter, args.seed, limits, card.contrast)
    total = len(args.tomograms) * options.passes + (4 if args.halves else 0)
    with output_folder(args.output) as output, progress_bar("trust", unit="step") as progress:
        done: List[None] = []

        def on_pass() -> None:
            done.append(None)
            progress(len(done), total)

        model = DualModel.load(args.model)
        model.card = card
        networks = networks_of(
            model, args.device, args.precision, args.tile, args.halo, on_pass
        )
        dump_options(args, output / "evaluate.yaml")
        report = trust_report(
            Path(args.model).name if Path(args.model).parent == Path() else args.model,
            card, networks, args.tomograms, output, options, args.contrast, args.voxel_size,
            tuple(args.halves) if args.halves else None, args.largest_side, _print,
        )
    print(f"verdict: {report.verdict} (the worst of all)")
    logger.info("written: %s", output)
    return 0


def _print(judged: TomogramTrust) -> None:
    rows: List[Row] = [
        {"verdict": one.verdict, "value": one.value, "title": one.title}
        for one in judged.findings
    ]
    print(judged.name)
    print(format_table(rows, COLUMNS))
    for one in judged.findings:
        if one.verdict != "green":
            print(f"  {one.verdict or 'note'}: {one.sentence}")
