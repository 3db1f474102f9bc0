"""The table of ``dual info``: a line for each volume and each model."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple

from dual_core.cli.evaluations.table import Row, format_table
from dual_core.errors import DualError
from dual_core.safety.shown import printable

logger = logging.getLogger(__name__)

MODEL_SUFFIX = ".safetensors"
VOLUME_SUFFIXES = (".mrc", ".rec", ".map", ".st", ".mrcs", ".ccp4", ".ali", ".preali")
SLIGHTLY_OFF = 0.2  # of voxel sizes; more makes a model a poor choice, as denoising warns
COLUMNS: Dict[str, Tuple[str, str]] = {
    "name": ("name", ""),
    "kind": ("kind", ""),
    "shape": ("z x y x x", ""),
    "voxel": ("voxel (A)", ""),
    "minimum": ("min", ".4g"),
    "maximum": ("max", ".4g"),
    "mean": ("mean", ".4g"),
    "deviation": ("std", ".4g"),
    "contrast": ("density", ""),
    "blank": ("blank", ".0%"),
    "remark": ("remark", ""),
}


def files_in(path: Path) -> List[Path]:
    """The volumes and models of a folder by name; of a file the file itself."""
    if not path.is_dir():
        return [path]
    wanted = (*VOLUME_SUFFIXES, MODEL_SUFFIX)
    return sorted(p for p in path.iterdir() if p.is_file() and p.suffix.lower() in wanted)


def print_table(paths: Sequence[Path], voxel_size_A: Optional[float]) -> int:
    """Print a line for each file; 1 where one cannot be read, and it says why.

    Raises
    ------
    DualError
        If there is no file at all.
    """
    if not paths:
        raise DualError("there are no volumes (.mrc, .rec, .map ...) or models here; give others")
    models = [path for path in paths if path.suffix.lower() == MODEL_SUFFIX]
    rows, sizes, failed = [], _model_sizes(models), False
    for path in paths:
        row: Row = dict.fromkeys(COLUMNS)
        row.update(name=printable(str(path)), kind="model" if path in models else "volume")
        try:
            row.update(_model(path) if path in models else _volume(path, voxel_size_A, sizes))
        except DualError as error:
            failed = True
            row.update(kind="unreadable", remark=printable(str(error)))
        rows.append(row)
    empty = {key for key in COLUMNS if all(row[key] in (None, "") for row in rows)}
    print(format_table(rows, {key: how for key, how in COLUMNS.items() if key not in empty}))
    return int(failed)


def _model_sizes(models: Sequence[Path]) -> Dict[Path, float]:
    from dual_core.networks.card import read_card

    sizes = {}
    for path in models:
        try:
            sizes[path] = read_card(path).voxel_size_A
        except DualError:  # its own line says so
            continue
    return sizes


def _model(path: Path) -> Row:
    from dual_core.networks.card import read_card

    card = read_card(path)
    remark = f"{card.task}, {card.iterations} iterations"
    return {"voxel": f"{card.voxel_size_A:g}", "contrast": card.contrast, "remark": remark}


def _volume(path: Path, voxel_size_A: Optional[float], models: Dict[Path, float]) -> Row:
    from dual_core.volumes.described.describe import describe
    from dual_core.volumes.reading import open_volume, volume_statistics

    volume = open_volume(path, voxel_size_A=voxel_size_A, require_voxel_size=False)
    row: Row = {
        "kind": str(volume.facts.dtype),
        "shape": " x ".join(map(str, volume.shape)),
        "voxel": f"{volume.voxel_size_A:g}" if volume.voxel_size_A > 0 else "missing",
    }
    statistics = volume_statistics(volume)
    described = describe(volume)
    row.update(
        minimum=statistics.minimum, maximum=statistics.maximum, mean=statistics.mean,
        deviation=statistics.std, blank=described.share or None,
    )
    verdict = described.contrast
    row["contrast"] = f"{verdict.contrast}{'' if verdict.confident else ' ?'}"
    row["remark"] = _fit(volume.voxel_size_A, models)
    return row


def _fit(voxel_size_A: float, models: Dict[Path, float]) -> str:
    """What is to be said of a volume beside these models: which have its voxel size."""
    if voxel_size_A <= 0:
        return "give --voxel-size"
    if not models:
        return ""
    fitting = [p.name for p, size in models.items() if abs(voxel_size_A / size - 1) <= SLIGHTLY_OFF]
    return f"fits {', '.join(map(printable, fitting))}" if fitting else "fits no model here"
