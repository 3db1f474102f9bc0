"""JSON and YAML of anybody's making: bounded in size, depth and expansion before they are parsed.

JSON needs the standard library only: the model card uses it, and the Scipion plugin reads that.
"""
from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path
from typing import Any, Dict, NoReturn, Union

from dual_core.errors import DualError
from dual_core.safety.shown import printable

DEEPEST = 32  # brackets in brackets; what DUAL writes has 6
MOST_DIGITS = 400  # of a number; float ends at 309
MOST_NODES = 100_000  # of a YAML file with its aliases expanded
LARGEST_YAML = 1 << 19  # bytes; thousands of file names
LARGEST_JSON = 1 << 26

_JSON_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"?|[][{}]', re.DOTALL)


def parse_json(text: str, undefined: bool = False) -> Any:
    """Parse JSON that may be hostile. NaN and Infinity are refused too, unless ``undefined``.

    Raises
    ------
    ValueError
        For text that is no JSON, too deep, or holds numbers of absurd length.
    """
    depth = 0
    for token in _JSON_TOKEN.finditer(text):
        first = token.group()[0]
        if first in "[{":
            depth += 1
            if depth > DEEPEST:
                raise ValueError(f"more than {DEEPEST} brackets in each other")
        elif first in "]}":
            depth -= 1
    constant = float if undefined else _constant
    return json.loads(text, parse_int=_whole, parse_float=_float, parse_constant=constant)


def _whole(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError("a number of absurd length")
    return int(digits)


def _float(digits: str) -> float:
    if len(digits) > MOST_DIGITS:
        raise ValueError("a number of absurd length")
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise ValueError("an infinite number")
    return value


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def read_small_text(path: Union[str, Path], largest: int) -> str:
    """A UTF-8 text file, if it is a regular file and not larger than ``largest`` bytes.

    Raises
    ------
    OSError
        As `open` does.
    DualError
        For a pipe, a device or a folder (to open a pipe would wait for ever), a file that is too
        large, and one that is no text.
    """
    kind = os.stat(path)
    name = printable(str(path))
    if stat.S_ISDIR(kind.st_mode):
        raise DualError(f"{name}: is a folder; give a file")
    if not stat.S_ISREG(kind.st_mode):
        raise DualError(f"{name}: not a regular file; give a file")
    if kind.st_size > largest:
        raise DualError(
            f"{name}: has {kind.st_size} bytes, more than the {largest} that such a file may have; "
            "check that it is the right file"
        )
    try:
        return Path(path).read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise DualError(f"{name}: cannot be read (not a text file); check the path") from error


def read_json(path: Union[str, Path], undefined: bool = False) -> Any:
    """The content of a JSON file; ``undefined`` as in `parse_json`.

    Raises
    ------
    OSError, DualError
        As `read_small_text`.
    ValueError
        As `parse_json`.
    """
    return parse_json(read_small_text(path, LARGEST_JSON), undefined)


def parse_yaml(text: str) -> Any:
    """Parse YAML of plain values that may be hostile.

    Raises
    ------
    yaml.YAMLError
        For text that is no YAML, too deep, or that aliases make too large.
    ValueError
        For values that do not exist, such as a 31st of February.
    """
    import yaml

    class Bounded(yaml.SafeLoader):
        """Counts depth while it composes, and the nodes with their aliases afterwards."""

        depth = 0

        def compose_node(self, parent: Any, index: Any) -> Any:
            self.depth += 1
            if self.depth > DEEPEST:
                raise yaml.composer.ComposerError(
                    None, None, f"more than {DEEPEST} levels", self.peek_event().start_mark
                )
            try:
                return super().compose_node(parent, index)
            finally:
                self.depth -= 1

    loader = Bounded(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _expanded(node, {})
        return loader.construct_document(node)
    except (OverflowError, RecursionError, TypeError, KeyError, IndexError) as error:
        # What the library lets through for values of impossible form.
        raise ValueError(f"{type(error).__name__} in a value") from error
    finally:
        loader.dispose()


def _expanded(node: Any, known: Dict[int, int]) -> int:
    """How many nodes there are with aliases expanded; each is looked at once."""
    import yaml

    if id(node) in known:
        if known[id(node)] == 0:
            raise yaml.composer.ComposerError(
                None, None, "an alias inside what it stands for", node.start_mark
            )
        return known[id(node)]
    known[id(node)] = 0
    total = 1
    if isinstance(node, yaml.ScalarNode):
        number = node.tag.endswith((":int", ":float"))
        if number and len(node.value) > MOST_DIGITS:
            raise yaml.composer.ComposerError(
                None, None, "a number of absurd length", node.start_mark
            )
    elif isinstance(node, yaml.MappingNode):
        total += sum(_expanded(part, known) for pair in node.value for part in pair)
    else:
        total += sum(_expanded(part, known) for part in node.value)
    if total > MOST_NODES:
        raise yaml.composer.ComposerError(
            None, None, f"aliases make more than {MOST_NODES} values of it", node.start_mark
        )
    known[id(node)] = total
    return total


def read_yaml(path: Union[str, Path], what: str = "") -> Any:
    """The content of a YAML file; ``what`` goes before its name in messages.

    Raises
    ------
    DualError
        For a file that cannot be read, is no YAML, or is hostile.
    """
    import yaml

    name = f"{what} {printable(str(path))}".strip()
    try:
        return parse_yaml(read_small_text(path, LARGEST_YAML))
    except OSError as error:
        raise DualError(f"{name}: cannot be read ({error.strerror}); check the path") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark is not None else ""
        told = getattr(error, "problem", None)
        reason = f" ({printable(str(told), 80)})" if told else ""
        raise DualError(f"{name}: not valid YAML{where}{reason}; correct the file") from error
    except ValueError as error:
        reason = printable(str(error), 80)
        raise DualError(f"{name}: a value is impossible ({reason}); correct the file") from error
