"""Picks as files: CSV with scores, and STAR for RELION beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Dict, Sequence

from dual_core.particles import position_columns, write_csv, write_star
from dual_core.picking.pick import PickResult
from dual_core.volumes.interface import ReadableVolume


def write_picks(path: Path, volume: ReadableVolume, picked: PickResult) -> Path:
    """Write picks as CSV, and as STAR under the same name; the path of the latter.

    Parameters
    ----------
    path : of the CSV.
    volume : that was picked in; its name is the tomogram's in the STAR file.
    picked : from `dual_core.picking.pick.pick_particles`.
    """
    scores = [f"{score:.4f}" for score in picked.scores]
    star = path.with_suffix(".star")
    # First, so that the CSV, which the record of the batch looks at, means that both are there.
    write_star(
        star,
        Path(volume.name).stem,
        picked.positions,
        volume.voxel_size_A,
        volume.shape,
        {"rlnAutopickFigureOfMerit": scores},
    )
    columns: Dict[str, Sequence[object]] = {
        "pick": list(range(1, len(scores) + 1)),
        **position_columns(picked.positions, volume.voxel_size_A),
        "score_sigmas": scores,
        "difference_of_gaussians": [f"{value:.6g}" for value in picked.values],
    }
    write_csv(path, columns)
    return star
