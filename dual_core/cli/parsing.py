"""The parser of a command: its help, mistyped options, options from a file.

Standard library only at import, so that ``--help`` is instant.
"""

from __future__ import annotations

import argparse
import difflib
import re
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, List, NoReturn, Sequence, Union

from dual_core.cli.common import PROGRAM_OPTIONS
from dual_core.errors import DualError
from dual_core.safety.checks import is_plain
from dual_core.safety.documents import read_yaml
from dual_core.safety.shown import printable, shown

# For `nargs` of an option; argparse has no name for it.
TWO_OR_THREE = "2 or 3"
_NUMBER = re.compile(r"-\.?\d")


class CommandParser(argparse.ArgumentParser):
    """A parser whose errors are `DualError`, one line each, and that knows `TWO_OR_THREE`.

    Nested parsers are of this class too, so that what holds for the one holds for the others:
    `HelpFormatter`, and no abbreviated options.
    """

    def __init__(self, **arguments: Any) -> None:
        arguments.setdefault("formatter_class", HelpFormatter)
        arguments.setdefault("allow_abbrev", False)
        super().__init__(**arguments)

    def error(self, message: str) -> NoReturn:
        raise DualError(f"{message}; see '{self.prog} --help'")

    def _get_nargs_pattern(self, action: argparse.Action) -> str:
        if action.nargs == TWO_OR_THREE:
            return "(AAA?)"
        return super()._get_nargs_pattern(action)

    def _match_argument(self, action: argparse.Action, arg_strings_pattern: str) -> int:
        try:
            return super()._match_argument(action, arg_strings_pattern)
        except (argparse.ArgumentError, TypeError) as error:
            if not isinstance(action.metavar, tuple):
                raise
            values = f"{action.nargs} values, {' '.join(action.metavar)}"
            raise argparse.ArgumentError(action, f"needs {values}") from error


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Keeps the lines of the example and names the defaults that mean something, once."""

    def _get_help_string(self, action: argparse.Action) -> str:
        text, default = action.help or "", action.default
        silent = isinstance(default, bool) or default in (None, argparse.SUPPRESS, [], "")
        if silent or "(default" in text or not action.option_strings:
            return text
        values = default if isinstance(default, (list, tuple)) else [default]
        shown = " ".join(f"{v:g}" if isinstance(v, float) else str(v) for v in values)
        return f"{text} (default: {shown.replace('%', '%%')})"

    def _format_args(self, action: argparse.Action, default_metavar: str) -> str:
        if action.nargs == TWO_OR_THREE and isinstance(action.metavar, tuple):
            first, second, third = action.metavar
            return f"{first} {second} [{third}]"
        return super()._format_args(action, default_metavar)


def refuse_unknown_options(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> None:
    """Name a mistyped option, and what was meant.

    argparse would complain of the required option that is missing because of the typing error.

    Raises
    ------
    DualError
        For an option that the parser, or the nested command that is called, does not have.
    """
    if {"-h", "--help"} & set(arguments):
        return
    for argument in arguments:
        if argument == "--":
            return
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction) and argument in action.choices:
                parser = action.choices[argument]
        name = argument.partition("=")[0]
        known = list(parser._option_string_actions)
        if name.startswith("--"):
            unknown = name not in known
        else:  # -vq is -v -q
            unknown = name.startswith("-") and name[:2] not in known and len(name) > 1
        if unknown and " " not in name and not _NUMBER.match(name):
            raise DualError(
                f"there is no option '{printable(name, 100)}'{did_you_mean(name, known)}; "
                f"see '{parser.prog} --help'"
            )


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`` (did you mean '...'?)`` where something of a similar name is known, else nothing."""
    close = difflib.get_close_matches(name[:100], list(known), n=1)
    return f" (did you mean '{close[0]}'?)" if close else ""


def read_config(path: Union[str, Path]) -> Dict[str, Any]:
    """The options of a YAML file, ``-`` in their names turned to ``_``.

    Raises
    ------
    DualError
        If the file cannot be read or is not a mapping of names to values.
    """
    content = read_yaml(path, "config")
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise DualError(f"config {path}: not a mapping; write one 'option: value' a line")
    if not is_plain(list(content.values())):
        raise DualError(
            f"config {path}: a value is no plain text, number or list; write dates in quotes"
        )
    return {shown_name(key).replace("-", "_"): value for key, value in content.items()}


def shown_name(key: Any) -> str:
    """The name of an option from a file; what is no name is shortened, and then unknown."""
    return printable(key, 100) if isinstance(key, str) else shown(key)


def apply_config(
    parser: argparse.ArgumentParser,
    options: Dict[str, Any],
    path: Union[str, Path],
    words: Sequence[str] = (),
) -> None:
    """Make options from a file the defaults of a parser, so that the command line wins.

    Of nested commands only the one that ``words``, the command line, calls is looked at: two of
    them may have options of one name that take different things.

    Raises
    ------
    DualError
        For an unknown option or a value that the option refuses.
    """
    actions: Dict[str, List[argparse.Action]] = {}
    for action in _actions(parser, words):
        if action.dest not in PROGRAM_OPTIONS:
            actions.setdefault(action.dest, []).append(action)
    chosen = {a.dest for a in parser._actions if isinstance(a, argparse._SubParsersAction)}
    for name, value in options.items():
        # As `dump_options` writes it.
        if name in chosen and isinstance(value, str) and value in words:
            continue
        if name not in actions:
            raise DualError(
                f"config {path}: option '{name}' is unknown{did_you_mean(name, actions)}; "
                f"see '{parser.prog} --help'"
            )
        if value is None:
            continue
        for action in actions[name]:
            try:
                action.default = _convert(action, value)
            except (argparse.ArgumentTypeError, ValueError, TypeError) as error:
                raise DualError(f"config {path}: option '{name}': {error}") from error
            action.required = False
            if not action.option_strings:
                action.nargs = "*" if action.nargs in ("+", "*") else "?"


def _actions(
    parser: argparse.ArgumentParser, words: Sequence[str] = ()
) -> Iterator[argparse.Action]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            called = [action.choices[word] for word in words if word in action.choices][:1]
            for nested in called or set(action.choices.values()):
                yield from _actions(nested, words)
        else:
            yield action


def _convert(action: argparse.Action, value: Any) -> Any:
    if action.nargs == 0:
        if not isinstance(value, bool):
            raise ValueError(f"{shown(value)} is not true or false")
        return value
    many = action.nargs not in (None, "?") or isinstance(action, argparse._AppendAction)
    if not many:
        return _convert_one(action, value)
    values = value if isinstance(value, list) else [value]
    if isinstance(action, argparse._AppendAction) and isinstance(action.nargs, int):
        return [_convert_some(action, item) for item in values]  # given several times, each a list
    return _convert_some(action, values)


def _convert_some(action: argparse.Action, values: Any) -> List[Any]:
    if not isinstance(values, list):
        raise ValueError(f"{shown(values)} is not a list")
    counts = [2, 3] if action.nargs == TWO_OR_THREE else [action.nargs]
    if isinstance(counts[0], int) and len(values) not in counts:
        raise ValueError(f"needs {action.nargs} values, not {len(values)}")
    return [_convert_one(action, item) for item in values]


def _convert_one(action: argparse.Action, value: Any) -> Any:
    if isinstance(value, (list, dict, bool)):
        raise ValueError(f"{shown(value)} is not a single value")
    kind = action.type
    result = kind(str(value)) if callable(kind) else str(value)
    if action.choices is not None and result not in action.choices:
        raise ValueError(f"{shown(value)} is not one of {', '.join(map(str, action.choices))}")
    return result
