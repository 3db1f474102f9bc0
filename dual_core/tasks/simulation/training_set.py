"""Simulated tomograms with the labels of their grand models: a labelled training set.

The grand models of ``dual pack`` are called ``grand_model_K.mrc`` and have ``class_mask_K.mrc``,
``instance_mask_K.mrc``, ``particles_K.csv`` and others beside them. These are copied once beside
the tomograms, and a table says which belong together.
"""

from __future__ import annotations

import contextlib
import csv
import io
import logging
import os
import shutil
from pathlib import Path
from typing import Dict, Iterable, List, Mapping, Union

from dual_core.errors import DualError
from dual_core.networks.model import write_atomically
from dual_core.safety.leftovers import temporary_name

logger = logging.getLogger(__name__)

PathLike = Union[str, Path]

TABLE = "training_set.csv"
COLUMNS = (
    "tomogram",
    "grand_model",
    "class_mask",
    "instance_mask",
    "particles",
    "code_from",
    "copy",
)
_GRAND_MODEL = "grand_model_"
# What the column of the table names, and what is copied without a column of its own (None).
_LABELS = (
    ("class_mask", "class_mask_{}.mrc"),
    ("instance_mask", "instance_mask_{}.mrc"),
    ("particles", "particles_{}.csv"),
    (None, "particles_{}.star"),
    (None, "pack_{}.yaml"),
)


def carry_labels(grand_model: PathLike, folder: PathLike) -> Dict[str, str]:
    """Copy the labels of a grand model into a folder, those that are not there yet.

    Returns
    -------
    dict
        File names by column: ``class_mask``, ``instance_mask``, ``particles``; empty where the
        grand model has no such file or is not one of ``dual pack``.

    Raises
    ------
    DualError
        If a file cannot be copied.
    """
    grand_model, folder = Path(grand_model), Path(folder)
    names = {column: "" for column, _ in _LABELS if column is not None}
    if not grand_model.stem.startswith(_GRAND_MODEL):
        return names
    key = grand_model.stem[len(_GRAND_MODEL) :]
    for column, pattern in _LABELS:
        label = grand_model.with_name(pattern.format(key))
        if not label.is_file():
            continue
        _copy(label, folder / label.name)
        if column is not None:
            names[column] = label.name
    return names


def update_table(
    folder: PathLike, rows: Iterable[Mapping[str, object]], name: str = TABLE
) -> None:
    """Write ``training_set.csv``: new rows, and the old ones whose tomograms are still there.

    Parameters
    ----------
    folder : path
    rows : iterable of mapping
        By `COLUMNS`; a tomogram that the table has already gets the new row.
    name : str
        Another name for the table: that of a shard.
    """
    folder = Path(folder)
    path = folder / name
    table: Dict[str, Mapping[str, object]] = {}
    for old in _read(path):
        if (folder / old["tomogram"]).is_file():
            table[old["tomogram"]] = old
    for row in rows:
        table[str(row["tomogram"])] = row
    write_atomically(path, _as_csv(table).encode("utf-8", "backslashreplace"))


def join_tables(folder: PathLike) -> None:
    """Write ``training_set.csv`` from the tables of all shards so far.

    Shards may end at the same time. Each has written its own table before; it looks again after
    it has written the common one, so that whoever writes last has everybody's rows.
    """
    folder = Path(folder)
    written = ""
    while True:
        table: Dict[str, Mapping[str, object]] = {}
        stem, suffix = TABLE.split(".")
        for path in (folder / TABLE, *sorted(folder.glob(f"{stem}.*of*.{suffix}"))):
            for row in _read(path):
                if (folder / row["tomogram"]).is_file():
                    table[row["tomogram"]] = row
        text = _as_csv(table)
        if text == written:
            return
        write_atomically(folder / TABLE, text.encode("utf-8", "backslashreplace"))
        written = text


def _as_csv(table: Mapping[str, Mapping[str, object]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for _, row in sorted(table.items()):
        writer.writerow({column: row[column] for column in COLUMNS})
    return text.getvalue()


def _read(path: Path) -> List[Dict[str, str]]:
    try:
        with open(path, encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            if set(COLUMNS) <= set(reader.fieldnames or ()):
                return [row for row in reader if None not in row.values()]
            logger.warning("%s: is not a table of this kind; it is replaced", path)
    except FileNotFoundError:
        pass
    return []


def _copy(source: Path, target: Path) -> None:
    """A copy with the times of the original, whole or not at all; nothing where it is there."""
    facts = source.stat()
    with contextlib.suppress(FileNotFoundError):
        there = target.stat()
        same = (there.st_size, there.st_mtime_ns) == (facts.st_size, facts.st_mtime_ns)
        if same or os.path.samefile(source, target):
            return
    temporary = temporary_name(target)
    try:
        shutil.copy2(source, temporary)
        os.replace(temporary, target)
    except OSError as error:
        raise DualError(
            f"{target} cannot be written ({error.strerror}); free disk space or choose another "
            "folder"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
