"""Describe models and volumes: the card of a model, or the header and statistics of a volume.

Several files, or a folder of volumes and models, give a table with one line per file. For the
output folder of a command it shows what is finished, what failed and what is missing, over all
shards; --table lists the files instead.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, Dict

from dual_core.cli.common import voxel_size
from dual_core.cli.info_table import MODEL_SUFFIX, files_in, print_table
from dual_core.networks.card import GENERAL

EXAMPLE = """
dual info run/model.safetensors
dual info tomo_1.mrc
dual info tomo_*.mrc run/model.safetensors
dual info denoised
dual info denoised --table
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``dual info``."""
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="models (.safetensors, or 'general'), MRC volumes, or a folder",
    )
    parser.add_argument(
        "--table", action="store_true",
        help="show a table even for a single file or an output folder"
    )
    parser.add_argument(
        "--voxel-size",
        dest="voxel_size",
        type=voxel_size,
        metavar="A",
        help="voxel size in angstrom, instead of that in the header of a volume",
    )


def run(args: argparse.Namespace) -> int:
    """Run ``dual info``: YAML or a table on stdout; 1 where a file of the table is unreadable."""
    import yaml

    paths = [Path(file) for file in args.files]
    if len(paths) > 1 or args.table:
        return print_table([one for path in paths for one in files_in(path)], args.voxel_size)
    path = paths[0]
    inside = files_in(path) if path.is_dir() else []
    models = [one for one in inside if one.suffix.lower() == MODEL_SUFFIX]
    # Of a training directory the reader of cards says where its model is.
    general = args.files == [GENERAL]
    if general or path.suffix.lower() == MODEL_SUFFIX or (inside and models == inside):
        facts: Any = _model_facts(path)
    else:
        facts = _batch_facts(path)
        if facts is None and inside:
            return print_table(inside, args.voxel_size)
        facts = facts or _volume_facts(path, args.voxel_size)
    # Lists of numbers on one line, and nothing folded.
    yaml.safe_dump(
        facts,
        sys.stdout,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=None,
        width=float("inf"),
    )
    return 0


def _batch_facts(path: Path) -> Any:
    """What the batches in a folder have done; None where there is none."""
    from dual_core.tasks.shards import batches_in, sum_up

    if not path.is_dir():
        return None
    found = [sum_up(path, command) for command in batches_in(path)]
    return found[0] if len(found) == 1 else found or None


def _model_facts(path: Path) -> Dict[str, Any]:
    from dual_core.networks.card import read_card

    card = read_card(path)
    content = asdict(card)
    network = content.pop("network")
    facts = {name: _plain(value) for name, value in content.items()}
    return {"summary": card.summary(), "model": str(path), **facts, "network": _plain(network)}


def _volume_facts(path: Path, voxel_size_A: Any) -> Dict[str, Any]:
    from dual_core.volumes.described.describe import describe
    from dual_core.volumes.reading import open_volume, volume_statistics, warn_of_unset_voxel_size

    volume = open_volume(path, voxel_size_A=voxel_size_A, require_voxel_size=False)
    facts = volume.facts
    if voxel_size_A is None:
        warn_of_unset_voxel_size(facts.voxel_size_A, volume.name)
    result: Dict[str, Any] = {
        "volume": str(path),
        "shape_zyx": list(facts.shape),
        "dtype": str(facts.dtype),
        "voxel_size_A": _plain(facts.voxel_size_A) or "missing",
        "origin_xyz_A": _plain(facts.origin_A),
        "start_xyz_voxel": list(facts.start),
    }
    sizes = facts.header_voxel_size_A
    if voxel_size_A is None and max(sizes) > 1.01 * min(sizes):
        result["voxel_size_A"] = f"not one: {' x '.join(f'{size:g}' for size in sizes)} (x, y, z)"
    statistics = volume_statistics(volume)
    result.update({name: _plain(value) for name, value in asdict(statistics).items()})
    described = describe(volume)
    result["blank_share"] = round(described.share, 4)
    result["mean_of_the_rest"] = _plain(described.statistics.mean)
    result["std_of_the_rest"] = _plain(described.statistics.std)
    verdict = described.contrast
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
