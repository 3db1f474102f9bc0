"""The entry point ``dual``: finds the command, reads its options, turns errors into one line."""

from __future__ import annotations

import argparse
import importlib
import signal
import sys
from types import ModuleType
from typing import Dict, List, Optional, Sequence, Tuple

from dual_core import __version__
from dual_core.cli.common import add_common_arguments, one_line, set_up_logging
from dual_core.cli.parsing import (
    CommandParser,
    apply_config,
    did_you_mean,
    read_config,
    refuse_unknown_options,
)
from dual_core.cli.streams import lasting_streams
from dual_core.errors import DualError
from dual_core.overlap import prepare_torch
from dual_core.safety.leftovers import remove_own
from dual_core.safety.shown import printable
from dual_core.safety.signals import asked_to_end, unwinding_signals

# name -> (module, one line for the help), by what a user wants. A module is imported only when its
# command is called.
GROUPS: Dict[str, Dict[str, Tuple[str, str]]] = {
    "prepare": {
        "info": ("dual_core.cli.commands.info", "describe volumes, models and folders of them"),
        "pack": ("dual_core.cli.commands.pack", "pack molecules into grand models (clean cells)"),
        "project": (
            "dual_core.cli.commands.project",
            "simulate tilt series and tomograms of grand models, without a network",
        ),
    },
    "train": {
        "train": ("dual_core.cli.commands.train", "train a model on tomograms and grand models"),
        "report": (
            "dual_core.cli.commands.report", "write an HTML page on a training and its results"
        ),
    },
    "use": {
        "denoise": ("dual_core.cli.commands.denoise", "denoise tomograms with a trained model"),
        "compensate": (
            "dual_core.cli.commands.compensate", "fill the missing wedge with a trained model"
        ),
        "simulate": (
            "dual_core.cli.commands.simulate", "simulate labelled tomograms with a trained model"
        ),
        "translate": (
            "dual_core.cli.commands.translate", "translate between two kinds of tomograms"
        ),
        "pick": ("dual_core.cli.commands.pick", "pick particles by a 3D Difference of Gaussians"),
    },
    "judge": {
        "evaluate": (
            "dual_core.cli.evaluations.evaluate",
            "score volumes and picks, compare half maps, write the trust report",
        ),
        "average": (
            "dual_core.cli.commands.average", "average subvolumes at picks, to check the picks"
        ),
    },
    "try": {
        "demo": ("dual_core.cli.commands.demo", "the whole workflow on small synthetic cells"),
        "completion": (
            "dual_core.cli.completion", "print a script for tab completion in the shell"
        ),
    },
}
COMMANDS = {name: entry for group in GROUPS.values() for name, entry in group.items()}

EPILOG = "'dual COMMAND --help' shows the options of a command and an example."
_PROGRAM_FLAGS = ("-v", "--verbose", "-q", "--quiet", "--debug")


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run a command and return its exit status.

    0 is success, 2 a mistake that the user can mend (one line on stderr says how), 129, 130 and
    143 the signals SIGHUP, SIGINT and SIGTERM; others are the command's own or an error of the
    program (1). 1 is also the status where nobody read the results to their end.
    """
    prepare_torch()
    with lasting_streams() as output:
        status = _guarded(arguments)
        output.flush()
        return 1 if output.broken and status == 0 else status


def _guarded(arguments: Optional[Sequence[str]]) -> int:
    argv = list(sys.argv[1:] if arguments is None else arguments)
    with unwinding_signals():
        try:
            status = _run(argv)
            return 128 + asked_to_end() if asked_to_end() and status == 0 else status
        except (Exception, KeyboardInterrupt) as error:
            if "--debug" in argv:
                raise
            if isinstance(error, KeyboardInterrupt) or asked_to_end() == signal.SIGINT:
                print("dual: interrupted", file=sys.stderr)
                return 128 + signal.SIGINT
            return 128 + asked_to_end() if asked_to_end() else _told(error)
        finally:
            if asked_to_end():
                remove_own()


def _told(error: Exception) -> int:
    """Say in one line what went wrong and how to mend it; the exit status."""
    if isinstance(error, DualError):
        return _fail(one_line(error))
    if isinstance(error, MemoryError):
        return _fail("out of memory; use smaller tiles or patches, or a machine with more memory")
    if isinstance(error, OSError):
        where = f" ({printable(error.filename)})" if error.filename else ""
        return _fail(f"{error.strerror or one_line(error)}{where}; check path, rights and space")
    if isinstance(error, ModuleNotFoundError):
        if str(error.name).startswith("dual_core"):
            raise error
        mend = "pip install 'scipion-em-dual[core]'"
        return _fail(f"the Python package '{error.name}' is missing; {mend}")
    # The last resort: a bug must not look like a user's mistake.
    kind = type(error).__name__
    _fail(f"unexpected {kind}: {one_line(error)}; run again with --debug and report it")
    return 1


def _run(argv: List[str]) -> int:
    leading = []
    while argv and argv[0] in _PROGRAM_FLAGS:
        leading.append(argv.pop(0))
    if not argv or argv[0] in ("-h", "--help"):
        _overview().print_help()
        return 0
    if argv[0] == "--version":
        print(f"dual {__version__}")
        return 0
    name = argv[0]
    if name not in COMMANDS:
        kind = "option" if name.startswith("-") else "command"
        raise DualError(
            f"there is no {kind} '{name}'{did_you_mean(name, COMMANDS)}; see 'dual --help'"
        )
    module = _load(name)
    parser = build_parser(name, module)
    rest = leading + argv[1:]
    refuse_unknown_options(parser, rest)
    config = _config_path(rest)
    if config is not None:
        apply_config(parser, read_config(config), config, rest)
    args = parser.parse_args(rest)
    args.command = name
    set_up_logging(args.verbose, args.quiet)
    return int(module.run(args))


def build_parser(name: str, module: ModuleType) -> CommandParser:
    """The parser of one command: its own options, the common ones, its example at the end.

    Parameters
    ----------
    name : str
        Name of the command.
    module : module
        With ``EXAMPLE`` and ``add_arguments(parser)``.
    """
    description = (module.__doc__ or COMMANDS[name][1]).strip()
    parser = CommandParser(
        prog=f"dual {name}",
        description=description,
        epilog="example:\n" + "\n".join("  " + e for e in module.EXAMPLE.strip().splitlines()),
    )
    module.add_arguments(parser)
    add_common_arguments(parser)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for nested in set(action.choices.values()):
                add_common_arguments(nested, nested=True)
    return parser


def parser_of(name: str) -> CommandParser:
    """The parser of a command by its name."""
    return build_parser(name, _load(name))


def _overview() -> argparse.ArgumentParser:
    width = max(map(len, COMMANDS))
    lines = []
    for group, commands in GROUPS.items():
        lines += ["", f"{group}:"]
        lines += [f"  {name:{width}}  {text}" for name, (_, text) in commands.items()]
    parser = CommandParser(
        prog="dual",
        usage="dual [--help] [--version] COMMAND ...",
        description="Denoise and simulate cryo-electron tomograms with networks trained on them.\n"
        + "\n".join(lines),
        epilog=EPILOG,
    )
    parser.add_argument("--version", action="store_true", help="print the version")
    return parser


def _load(name: str) -> ModuleType:
    path = COMMANDS[name][0]
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError as error:
        if error.name == path:
            raise DualError(f"the command '{name}' is not in this version of dual") from error
        raise


def _config_path(argv: List[str]) -> Optional[str]:
    finder = CommandParser(prog="dual", add_help=False)
    finder.add_argument("--config")
    return finder.parse_known_args(argv)[0].config


def _fail(message: str) -> int:
    print(f"dual: error: {message}", file=sys.stderr)
    return 2
