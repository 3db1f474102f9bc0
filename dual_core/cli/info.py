"""Say what a model file or a volume is: a model's card, or a volume's facts and statistics."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, Dict

from dual_core.cli.common import positive_float
from dual_core.errors import DualError

EXAMPLE = """
dual info run/model.safetensors
dual info tomo_1.mrc
"""

MODEL_SUFFIX = ".safetensors"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``dual info``."""
    parser.add_argument("file", metavar="FILE", help="a model (.safetensors) or an MRC volume")
    parser.add_argument(
        "--voxel-size",
        dest="voxel_size",
        type=positive_float,
        metavar="A",
        help="voxel size in angstrom, instead of that in the header of a volume",
    )


def run(args: argparse.Namespace) -> int:
    """Run ``dual info``: YAML on stdout."""
    import yaml

    path = Path(args.file)
    if not path.is_file():
        raise DualError(f"{path}: no such file; give a model (.safetensors) or an MRC volume")
    is_model = path.suffix.lower() == MODEL_SUFFIX
    facts = _model_facts(path) if is_model else _volume_facts(path, args.voxel_size)
    yaml.safe_dump(facts, sys.stdout, sort_keys=False, allow_unicode=True)
    return 0


def _model_facts(path: Path) -> Dict[str, Any]:
    from dual_core.card import read_card

    card = read_card(path)
    content = asdict(card) if is_dataclass(card) else dict(vars(card))
    return {"model": str(path), **{name: _plain(value) for name, value in content.items()}}


def _volume_facts(path: Path, voxel_size_A: Any) -> Dict[str, Any]:
    from dual_core.contrast import detect_contrast
    from dual_core.volumes import open_volume, volume_statistics

    volume = open_volume(path, voxel_size_A=voxel_size_A, require_voxel_size=False)
    facts = volume.facts
    result: Dict[str, Any] = {
        "volume": str(path),
        "shape_zyx": list(facts.shape),
        "dtype": str(facts.dtype),
        "voxel_size_A": _plain(facts.voxel_size_A) or "missing",
        "origin_xyz_A": _plain(facts.origin_A),
    }
    statistics = volume_statistics(volume)
    result.update({name: _plain(value) for name, value in asdict(statistics).items()})
    verdict = detect_contrast(volume)
    result["contrast"] = str(verdict.contrast)
    result["contrast_confident"] = bool(verdict.confident)
    result["skewness"] = _plain(verdict.skewness)
    return result


def _plain(value: Any) -> Any:
    """Values as YAML writes them without tags, numbers with six digits that count."""
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (bool, int, str)) or value is None:
        return value
    try:
        return float(f"{float(value):.6g}")
    except (TypeError, ValueError):
        return str(value)
