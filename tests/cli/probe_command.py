"""A command that stores what it was called with."""

import sys
import types

from dual_core.cli import common, parsing
from dual_core.cli import main as cli


def make_command(monkeypatch, run=None, nested=False):
    """A command `probe` that stores what it was called with."""
    seen = []
    module = types.ModuleType("dual_core.cli.probe")
    module.__doc__ = "Probe the frame."
    module.EXAMPLE = "dual probe a.mrc --number 3"

    def add_options(parser):
        parser.add_argument("files", nargs="+")
        parser.add_argument("--number", type=common.positive_int, default=1, help="how many")
        parser.add_argument("--share", type=common.fraction, default=0.5)
        parser.add_argument("--range", nargs=2, type=float)
        parser.add_argument("--name", required=True)
        parser.add_argument("--fast-mode", action="store_true")
        parser.add_argument("--kind", choices=("a", "b"))
        parser.add_argument(
            "--angles", nargs=parsing.TWO_OR_THREE, type=float, metavar=("MIN", "MAX", "STEP")
        )
        parser.add_argument("--resume", action="store_true")
        parser.add_argument("--time-limit", type=float)

    def add_arguments(parser):
        if nested:
            commands = parser.add_subparsers(dest="what", required=True)
            add_options(commands.add_parser("deep"))
        else:
            add_options(parser)

    def store(args):
        seen.append(args)
        return run(args) if run else 0

    module.add_arguments = add_arguments
    module.run = store
    monkeypatch.setitem(sys.modules, "dual_core.cli.probe", module)
    monkeypatch.setitem(cli.COMMANDS, "probe", ("dual_core.cli.probe", "probe the frame"))
    return seen
