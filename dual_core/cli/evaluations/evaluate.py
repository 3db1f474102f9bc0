"""Score results against a known truth, or judge them without one.

'dual evaluate WHAT --help' shows the options of each.
"""

from __future__ import annotations

import argparse
import importlib
import textwrap
from types import ModuleType
from typing import Dict

EXAMPLE = textwrap.dedent(
    """
      dual evaluate volumes --truth grand_9.mrc tomo_9.mrc tomo_9_denoised.mrc --output scores
      dual evaluate WHAT --help
    """
).strip("\n")

# Each module has SUMMARY, DESCRIPTION, EXAMPLE, add_arguments(parser) and run(args).
WHAT = ("volumes", "baselines", "picks", "wedge", "realism", "halves", "trust")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the nested commands and their options."""
    nested = parser.add_subparsers(dest="what", metavar="WHAT", required=True)
    for name, module in _modules().items():
        module.add_arguments(
            nested.add_parser(
                name,
                help=module.SUMMARY,
                description=module.DESCRIPTION,
                epilog=f"example:\n{module.EXAMPLE}",
            )
        )


def run(args: argparse.Namespace) -> int:
    """Run the nested command; its exit status."""
    status: int = _modules()[args.what].run(args)
    return status


def _modules() -> Dict[str, ModuleType]:
    return {name: importlib.import_module(f"dual_core.cli.evaluations.{name}") for name in WHAT}
