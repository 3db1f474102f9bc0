"""Rows of results as aligned text."""

from __future__ import annotations

from typing import Dict, Mapping, Sequence, Tuple

Row = Dict[str, object]


def format_table(rows: Sequence[Row], columns: Mapping[str, Tuple[str, str]]) -> str:
    """Return the rows as aligned text; ``-`` where a value is undefined.

    Parameters
    ----------
    rows : dictionaries of equal keys.
    columns : key -> (heading, format); an empty format is for text. In the order to print.
    """
    keys = [key for key in columns if key in rows[0]]
    cells = [[columns[key][0] for key in keys]]
    for row in rows:
        cells.append(
            ["-" if row[key] is None else format(row[key], columns[key][1]) for key in keys]
        )
    widths = [max(len(line[i]) for line in cells) for i in range(len(keys))]
    numeric = [bool(columns[key][1]) for key in keys]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric)
        ).rstrip()
        for line in cells
    )
