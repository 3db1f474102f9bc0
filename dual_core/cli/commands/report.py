"""Write one page about a training run: curves, pictures, and whether its results can be trusted.

RUN is the --output folder of 'dual train', finished or not. The page is a single HTML file with its
pictures inside and opens offline. Without tomograms it shows the training only.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import List

from dual_core.cli.batch_options import add_machine_arguments, add_tomogram_arguments
from dual_core.cli.common import (
    finite_float,
    positive_float,
    progress_bar,
)
from dual_core.cli.pairing import in_order_of
from dual_core.errors import DualError

logger = logging.getLogger(__name__)

EXAMPLE = """
dual report run
dual report run --tomograms tomo_9.mrc
dual report run --tomograms tomo_9.mrc --truth grand_9.mrc --output tomo_9.html
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``dual report``."""
    files = parser.add_argument_group("files")
    files.add_argument("run", metavar="RUN", help="training directory: --output of 'dual train'")
    files.add_argument(
        "--tomograms", nargs="+", default=[], metavar="T.mrc", help="tomograms to show and judge"
    )
    files.add_argument(
        "--truth",
        nargs="+",
        default=[],
        metavar="G.mrc",
        help="the grand model of each tomogram, in the same order: gives scores",
    )
    files.add_argument(
        "--denoised",
        nargs="+",
        default=[],
        metavar="D.mrc",
        help="denoised volume of each tomogram, in the same order (default: the model makes it)",
    )
    files.add_argument(
        "--output", metavar="FILE", help="the page (default: RUN/report.html)"
    )
    trust = parser.add_argument_group("trust report")
    trust.add_argument(
        "--halves",
        nargs=2,
        default=[],
        metavar=("A.mrc", "B.mrc"),
        help="two half maps of one tomogram; each is denoised and compared with the other",
    )
    trust.add_argument(
        "--trust",
        metavar="DIR",
        help="use the trust report that 'dual evaluate trust --output DIR' has written",
    )
    trust.add_argument(
        "--diameter",
        type=positive_float,
        default=150.0,
        metavar="A",
        help="diameter in angstrom of the particles that are counted",
    )
    trust.add_argument(
        "--no-trust", action="store_true", help="skip the trust report, which is faster"
    )
    tomogram = add_tomogram_arguments(parser)
    tomogram.add_argument(
        "--tilt-range",
        nargs=2,
        type=finite_float,
        metavar=("MIN", "MAX"),
        help="tilt angles in degrees, for the scores (default: the model's, or -60 60)",
    )
    tomogram.add_argument(
        "--tilt-axis",
        choices=("y", "x"),
        help="axis of the tilt (default: that of the tomograms the model was trained on, or y)",
    )
    add_machine_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run ``dual report``."""
    if args.tilt_range and args.tilt_range[0] >= args.tilt_range[1]:
        raise DualError("--tilt-range needs the smaller angle first, for example -60 60")
    if args.trust and args.no_trust:
        raise DualError("--trust and --no-trust contradict each other; give one of them")

    from dual_core.report.denoised import Machine
    from dual_core.report.write import ReportOptions, write_report

    def paths(names: List[str]) -> List[Path]:
        return [Path(name) for name in names]

    options = ReportOptions(
        tomograms=paths(args.tomograms),
        truths=paths(in_order_of(args.tomograms, args.truth)),
        denoised=paths(in_order_of(args.tomograms, args.denoised)),
        halves=paths(args.halves),
        trust=not args.no_trust,
        trust_folder=None if args.trust is None else Path(args.trust),
        diameter_A=args.diameter,
        contrast=args.contrast,
        voxel_size_A=args.voxel_size,
        tilt_range=(args.tilt_range[0], args.tilt_range[1]) if args.tilt_range else None,
        tilt_axis=args.tilt_axis,
        machine=Machine(args.device, args.precision, args.tile, args.halo),
    )
    output = None if args.output is None else Path(args.output)
    page = write_report(Path(args.run), output, options, progress_bar)
    logger.info("%s: written, %.1f MB; open it in a browser", page, page.stat().st_size / 1e6)
    return 0
