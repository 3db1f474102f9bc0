"""Run the whole workflow on small synthetic cells, on a CPU: pack, project, train, denoise, score.

It makes its own data, and prints for each step the command that does the same. OUTPUT gets demo.png
(raw, denoised, truth), spectra.png, curves.png, scores.csv and all files of the steps. Started
again with the same OUTPUT, it continues where it stopped.
"""

from __future__ import annotations

import argparse
import signal
from pathlib import Path

from dual_core.cli.common import dump_options, non_negative_int, positive_float, progress_bar

EXAMPLE = """
dual demo
dual demo --output try --minutes 5 --seed 1
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``dual demo``."""
    parser.add_argument(
        "--output",
        default="dual_demo",
        metavar="DIR",
        help="folder for the results, new or that of an earlier demo",
    )
    parser.add_argument(
        "--minutes",
        type=positive_float,
        default=15.0,
        metavar="N",
        help="time limit for the whole run; training stops early if need be",
    )
    parser.add_argument(
        "--seed", type=non_negative_int, default=0, metavar="N",
        help="random seed; another one gives other cells and other noise"
    )


def run(args: argparse.Namespace) -> int:
    """Run ``dual demo``; 0, or 128 and the signal's number where one stopped the training."""
    from dual_core.cli.evaluations.against_truth import COLUMNS
    from dual_core.cli.evaluations.table import format_table
    from dual_core.demo.run import run_demo

    output = Path(args.output)
    result = run_demo(output, args.minutes, args.seed, _say, progress_bar)
    if result.reason != "finished":
        return 128 + signal.Signals[result.reason]
    dump_options(args, output / "demo.yaml")
    print("\nagainst the truth (CC: correlation; measured: where the tilts measure; wedge: where "
          "they do not)\n")
    print(format_table(result.scores, COLUMNS))
    print(f"\nopen {output / 'report.html'}; demo.png, simulated.png and others lie beside it")
    return 0


def _say(line: str) -> None:
    print(line, flush=True)
