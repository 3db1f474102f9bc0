"""Particle lists as text: CSV and STAR tables to columns under the names that our CSV has."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Dict, List, Mapping, Sequence

import numpy as np

from dual_core.errors import DualError
from dual_core.safety.limits import COORDINATE_A
from dual_core.safety.shown import printable

Columns = Mapping[str, Sequence[object]]

VOXEL = ("z_voxel", "y_voxel", "x_voxel")
ANGSTROM = ("z_A", "y_A", "x_A")
_STAR_WORD = re.compile(r"""'([^']*)'(?=\s|$)|"([^"]*)"(?=\s|$)|(\S+)""")
CENTRED = tuple(f"rlnCenteredCoordinate{axis}Angst" for axis in "ZYX")
LARGEST = 1 << 28  # bytes of a list; some millions of particles
_STAR_COORDINATES = ("rlnCoordinateZ", "rlnCoordinateY", "rlnCoordinateX")
# Name in RELION -> name in our CSV, for what is read back.
_STAR_NAMES = {
    "rlnAutopickFigureOfMerit": "score_sigmas",
    "rlnClassNumber": "class",
}


def csv_columns(path: Path, text: str) -> Dict[str, List[str]]:
    """The columns of a CSV file; DualError where it is none, or its rows differ in length."""
    try:
        rows = [row for row in csv.reader(io.StringIO(text)) if row]
    except csv.Error as error:
        raise DualError(f"{path}: is no CSV file ({error}); correct the file") from error
    if not rows:
        raise DualError(f"{path}: empty; give a CSV file with a header")
    header = [name.strip() for name in rows[0]]
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(header):
            raise DualError(
                f"{path}: row {number} has {len(row)} values under {len(header)} column names; "
                "correct the file"
            )
    return {name: [row[at].strip() for row in rows[1:]] for at, name in enumerate(header)}


def star_columns(path: Path, text: str) -> Dict[str, List[str]]:
    """The first table of a STAR file that has coordinates, under the names of our CSV."""
    names: List[str] = []
    rows: List[List[str]] = []
    for line in [*text.splitlines(), "data_"]:
        words = _words(line)
        if not words:
            continue
        if words[0].startswith(("data_", "loop_")):
            if set(_STAR_COORDINATES) <= set(names) or set(CENTRED) <= set(names):
                break
            names, rows = [], []
        elif words[0].startswith("_"):
            names.append(words[0][1:])
        else:
            rows.append(words)
    if any(len(row) != len(names) for row in rows):
        raise DualError(f"{path}: rows and columns of its table do not agree; correct the file")
    table = {name: [row[at] for row in rows] for at, name in enumerate(names)}
    if len(set(table.get("rlnTomoName", table.get("rlnMicrographName", [])))) > 1:
        raise DualError(f"{path}: particles of several tomograms; give one file a tomogram")
    columns = dict(table)
    if set(_STAR_COORDINATES) <= set(table):
        columns.update(zip(VOXEL, (table[name] for name in _STAR_COORDINATES)))
        if "rlnPixelSize" in table:
            sizes = numbers(path, table, ("rlnPixelSize",))
            placed = numbers(path, table, _STAR_COORDINATES) * sizes
            for axis, name in enumerate(ANGSTROM):
                columns[name] = [repr(value) for value in placed[:, axis].tolist()]
    columns.update({ours: table[name] for name, ours in _STAR_NAMES.items() if name in table})
    return columns


def _words(line: str) -> List[str]:
    """The words of a line of a STAR file; one in quotes may hold spaces, # begins a comment."""
    words = []
    for match in _STAR_WORD.finditer(line):
        if match.group().startswith("#"):
            break
        words.append(next(part for part in match.groups() if part is not None))
    return words


def numbers(path: Path, columns: Columns, names: Sequence[str]) -> np.ndarray:
    """Columns as numbers, ``(rows, names)``; DualError where they are none or make no sense."""
    try:
        values = np.array([columns[name] for name in names], dtype=np.float64).T
    except ValueError as error:
        raise DualError(
            f"{path}: {', '.join(names)}: not all are numbers ({printable(str(error), 120)}); "
            "correct the file"
        ) from error
    if not np.isfinite(values).all():
        raise DualError(f"{path}: {', '.join(names)}: NaN or infinite values; correct the file")
    if values.size and not COORDINATE_A.hold(float(np.abs(values).max())):
        raise DualError(
            f"{path}: {', '.join(names)}: a value of {np.abs(values).max():.3g} makes no sense; "
            "correct the file"
        )
    return values
