"""Which steps of a demo are done, so that it can go on where it stopped; and its scores."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any, Dict, List, Sequence

from dual_core.errors import DualError
from dual_core.networks.model import write_atomically
from dual_core.safety.documents import read_json

RECORD = "demo.json"
SCORES = ("psnr_db", "ssim", "cc", "cc_measured", "cc_wedge")

Facts = Dict[str, Any]
Row = Dict[str, Any]


class Record:
    """``demo.json``: the settings of a demo and what is known of each finished step.

    Parameters
    ----------
    folder : of the demo; made if absent.
    settings : plain values; a demo goes on only with the same.

    Raises
    ------
    DualError
        If the folder holds something that is no demo, or one with other settings.
    """

    def __init__(self, folder: Path, settings: Facts) -> None:
        self._path = folder / RECORD
        self._settings = json.loads(json.dumps(settings))
        self._steps: Dict[str, Facts] = {}
        if self._path.exists():
            self._read()
            return
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise DualError(f"{folder} holds something else; give a new or empty --output folder")
        folder.mkdir(parents=True, exist_ok=True)
        self._write()

    def facts(self, name: str, outputs: Sequence[Path]) -> Facts:
        """What is known of a step; empty when it is not finished or an output is missing."""
        if not all(output.is_file() for output in outputs):
            return {}
        return self._steps.get(name, {})

    def add(self, name: str, facts: Facts) -> None:
        """Note a finished step. All later ones are forgotten: they hang on it."""
        kept = list(self._steps)
        if name in kept:
            kept = kept[: kept.index(name)]
        self._steps = {**{step: self._steps[step] for step in kept}, name: facts}
        self._write()

    def _read(self) -> None:
        again = "give another --output folder"
        try:
            content = read_json(self._path, undefined=True)
            settings, self._steps = dict(content["settings"]), dict(content["steps"])
            if not all(isinstance(facts, dict) for facts in self._steps.values()):
                raise ValueError("a step is no mapping")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DualError(f"{self._path} is damaged; {again}") from error
        if settings != self._settings:
            names = ("seed", "version", "scale")
            differing = [n for n in names if settings.get(n) != self._settings.get(n)]
            raise DualError(
                f"{self._path.parent} holds a demo with another {' and '.join(differing)}; {again}"
            )

    def _write(self) -> None:
        content = {"settings": self._settings, "steps": self._steps}
        write_atomically(self._path, json.dumps(content, indent=1).encode())


def write_scores(rows: Sequence[Row], path: Path) -> None:
    """Write a row a method: ``name`` and `SCORES`; empty where undefined."""
    lines = [",".join(("name", *SCORES))]
    for row in rows:
        values = ("" if row[key] is None else f"{row[key]:.4f}" for key in SCORES)
        lines.append(",".join((row["name"], *values)))
    write_atomically(path, ("\n".join(lines) + "\n").encode())


def read_scores(path: Path) -> List[Row]:
    """Read what `write_scores` wrote."""
    with open(path, encoding="utf-8", newline="") as file:
        return [
            {"name": row["name"], **{key: float(row[key]) if row[key] else None for key in SCORES}}
            for row in csv.DictReader(file)
        ]
