"""A dataclass from values of anybody's making: every field checked against its annotation.

The one place where cards, checkpoints, histories, records and configurations are typed. An
annotation is the type of a field; `within_bounds` and `one_of` narrow it in the field's metadata.

Standard library only: the model card uses it, and the Scipion plugin reads that.
"""
from __future__ import annotations

import dataclasses
import math
import typing
from typing import Any, Dict, Mapping, Optional, Sequence, Tuple, Type, TypeVar, Union

from dual_core.errors import DualError
from dual_core.safety.limits import Bounds
from dual_core.safety.shown import shown

Made = TypeVar("Made")

LONGEST_TEXT = 100_000  # characters
LARGEST_WHOLE = 2**200  # a state of a random generator has 128 bits
DEEPEST = 32
_BOUNDS, _CHOICES, _INCREASING = "bounds", "choices", "increasing"


class WrongField(DualError):
    """A field that is not what it must be; ``problem`` names it without the file."""

    def __init__(self, problem: str, where: str, mend: str) -> None:
        super().__init__(f"{where}: {problem}; {mend}")
        self.problem = problem


def within_bounds(bounds: Bounds, increasing: bool = False) -> Dict[str, Any]:
    """Metadata of a field: each of its numbers is within bounds; and they may have to increase."""
    return {_BOUNDS: bounds, _INCREASING: increasing}


def one_of(*choices: str) -> Dict[str, Any]:
    """Metadata of a field: one of these words."""
    return {_CHOICES: choices}


def checked(
    kind: Type[Made],
    values: Any,
    where: str,
    mend: str = "copy the file again",
    refuse_unknown: bool = False,
) -> Made:
    """An object of the dataclass ``kind`` from plain values, as JSON and YAML give them.

    Lists become tuples where the annotation says so. Unknown fields are ignored unless
    ``refuse_unknown``.

    Raises
    ------
    WrongField
        For the first field that is missing or not of its type, with ``where``, its name and
        ``mend``.
    """
    if not isinstance(values, Mapping):
        raise WrongField(f"holds {shown(values)} and not fields with names", where, mend)
    hints = typing.get_type_hints(kind)
    given: Dict[str, Any] = {}
    for entry in dataclasses.fields(kind):  # type: ignore[arg-type]
        if entry.name not in values:
            absent = (dataclasses.MISSING,) * 2
            if (entry.default, entry.default_factory) == absent and entry.init:
                raise WrongField(f"the field '{entry.name}' is missing", where, mend)
            continue
        problem, value = _converted(values[entry.name], hints[entry.name])
        problem = problem or _narrowed(value, entry.metadata)
        if problem:
            told = f"the field '{entry.name}' is {shown(values[entry.name])}, not {problem}"
            raise WrongField(told, where, mend)
        given[entry.name] = value
    unknown = [name for name in values if name not in hints]
    if unknown and refuse_unknown:
        raise WrongField(f"the field {shown(unknown[0])} is unknown", where, mend)
    try:
        return kind(**given)
    except (ValueError, TypeError, OverflowError, DualError) as error:  # its own rules
        raise WrongField(" ".join(str(error).split())[:300], where, mend) from error


def _converted(value: Any, hint: Any) -> Tuple[str, Any]:
    """What is wrong (what it should be, or nothing), and the value in the annotation's type."""
    origin, inner = getattr(hint, "__origin__", None), getattr(hint, "__args__", ())
    if origin is Union:
        return _optional(value, [one for one in inner if one is not type(None)], len(inner))
    if hint is Any:
        return ("" if is_plain(value) else "plain and finite values"), value
    if origin is not None:
        return _container(value, origin, inner)
    if dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
        try:
            refuse = not getattr(hint, "IGNORES_UNKNOWN", False)
            return "", checked(typing.cast(Type[Any], hint), value, "", "", refuse)
        except WrongField as error:
            return f"right: {error.problem}", value
    return _scalar(value, hint)


def _optional(value: Any, kinds: Sequence[Any], count: int) -> Tuple[str, Any]:
    if value is None and len(kinds) < count:
        return "", None
    problem = ""
    for kind in kinds:
        problem, converted = _converted(value, kind)
        if not problem:
            return "", converted
    return problem, value


def _container(value: Any, origin: Any, inner: Sequence[Any]) -> Tuple[str, Any]:
    if origin in (dict, typing.get_origin(Mapping[str, Any])):
        good = isinstance(value, Mapping) and all(isinstance(name, str) for name in value)
        if not good:
            return "fields with names", value
        made = {}
        for name, part in value.items():
            problem, made[name] = _converted(part, inner[1])
            if problem:
                return f"right: '{shown(name)[1:-1]}' is not {problem}", value
        return "", made
    if not isinstance(value, (list, tuple)):
        return "a list", value
    kinds: Sequence[Any] = inner
    if origin is not tuple or (len(inner) == 2 and inner[1] is Ellipsis):
        kinds = [inner[0]] * len(value)
    if len(kinds) != len(value):
        return f"a list of {len(kinds)}", value
    parts = []
    for part, kind in zip(value, kinds):
        problem, converted = _converted(part, kind)
        if problem:
            return f"a list of which each is {problem}", value
        parts.append(converted)
    return "", (tuple(parts) if origin is tuple else parts)


def _scalar(value: Any, hint: Any) -> Tuple[str, Any]:
    flag = isinstance(value, bool)
    if hint is bool:
        return ("" if flag else "true or false"), value
    if hint is int:
        good = isinstance(value, int) and not flag and abs(value) < LARGEST_WHOLE
        return ("" if good else "a whole number"), value
    if hint is float:
        if not isinstance(value, (int, float)) or flag or not _finite(value):
            return "a finite number", value
        return "", float(value)
    if hint is str:
        return ("" if isinstance(value, str) and _is_text(value) else "a line of text"), value
    return ("" if isinstance(value, hint) else f"a {getattr(hint, '__name__', hint)}"), value


def _narrowed(value: Any, metadata: Mapping[str, Any]) -> str:
    """What a value of the right type should be further, or nothing."""
    if value is None:
        return ""
    choices: Optional[Sequence[str]] = metadata.get(_CHOICES)
    if choices is not None and value not in choices:
        return f"one of {', '.join(choices)}"
    bounds: Optional[Bounds] = metadata.get(_BOUNDS)
    numbers = value if isinstance(value, (list, tuple)) else [value]
    if bounds is not None and not all(bounds.hold(number) for number in numbers):
        return f"{'a number' if numbers is not value else 'numbers'} {bounds}"
    if metadata.get(_INCREASING) and any(a >= b for a, b in zip(numbers, numbers[1:])):
        return "numbers that increase"
    return ""


def is_plain(value: Any, depth: int = 0) -> bool:
    """Whether a value is made of text, finite numbers, lists and mappings alone, not too deep."""
    if value is None or isinstance(value, bool):
        return True
    if isinstance(value, str):
        return _is_text(value)
    if isinstance(value, (int, float)):
        return _finite(value)
    if depth > DEEPEST:
        return False
    if isinstance(value, (list, tuple)):
        return all(is_plain(part, depth + 1) for part in value)
    if isinstance(value, Mapping):
        return all(
            isinstance(name, str) and is_plain(part, depth + 1) for name, part in value.items()
        )
    return False


def _finite(value: float) -> bool:
    return math.isfinite(value) if isinstance(value, float) else abs(value) < LARGEST_WHOLE


def _is_text(value: str) -> bool:
    """Not endless, and without what no file name and no output can hold."""
    if len(value) > LONGEST_TEXT or "\0" in value:
        return False
    try:
        # A name that is no UTF-8 has such surrogates, and is a name none the less.
        value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True
