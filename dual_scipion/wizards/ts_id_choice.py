"""The list of tomograms to choose from, and the names as the form has them. No window."""

from __future__ import annotations

from typing import Any, List, NamedTuple, Sequence, Set, Tuple

from dual_core.errors import DualError
from dual_scipion import convert
from dual_scipion.slices import read_shape


class TomogramRow(NamedTuple):
    """What the list shows of a tomogram: texts, ``-`` where something is not known."""

    name: str
    size: str
    thickness: str
    tilts: str


def tomogram_rows(items: Sequence[Any]) -> List[TomogramRow]:
    """A row for each tomogram; one whose file cannot be read says so and stays in the list."""
    return [_row(item) for item in items]


def _row(item: Any) -> TomogramRow:
    tilts = convert.tilt_range(item)
    tilt_text = f"{tilts[0]:g} to {tilts[1]:g}" if tilts and tilts[0] < tilts[1] else "-"
    try:
        z, y, x = read_shape(convert.volume_path(item))
    except DualError:
        return TomogramRow(convert.ts_id(item), "cannot be read", "-", tilt_text)
    thickness_nm = z * (item.getSamplingRate() or 0) / 10
    thickness = f"{thickness_nm:.0f}" if thickness_nm else "-"
    return TomogramRow(convert.ts_id(item), f"{x} x {y} x {z}", thickness, tilt_text)


def chosen_names(text: str, names: Sequence[str], empty_is_all: bool) -> Tuple[Set[str], List[str]]:
    """What is chosen when the window opens, and the names of the field that the set lacks.

    Parameters
    ----------
    text : of the field.
    names : tsIds of the set.
    empty_is_all : whether an empty field means all tomograms, and not a choice by other means.
    """
    given = convert.parse_names(text)
    unknown = [name for name in given if name not in set(names)]
    if not given and empty_is_all:
        return set(names), unknown
    return set(given) - set(unknown), unknown


def field_text(names: Sequence[str], chosen: Set[str], empty_is_all: bool) -> str:
    """The field for a choice, in the order of the set; empty where that means the same.

    Raises
    ------
    DualError
        If nothing is chosen and an empty field would mean all.
    """
    if empty_is_all and not chosen:
        raise DualError("Choose at least one tomogram.")
    if empty_is_all and chosen >= set(names):
        return ""
    return " ".join(name for name in names if name in chosen)


def matching(rows: Sequence[TomogramRow], typed: str) -> List[TomogramRow]:
    """The rows whose tsId contains every word that was typed, in capitals or not."""
    words = typed.lower().split()
    return [row for row in rows if all(word in row.name.lower() for word in words)]
