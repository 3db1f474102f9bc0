"""Average subvolumes at the picks, without alignment, to check that picks are on particles.

Give the tomograms and a list of picks for each, in the same order or named after them. Average the
raw tomograms, even if you picked on denoised ones. Writes OUTPUT/average.mrc (density bright) and
its radial profile.
Correct picks give a ball of the particle's size; each wrong pick lowers it. Picks in noise give a
low ball as well, so the average alone does not prove that there are particles.
"""

from __future__ import annotations

import argparse
import json
import logging
from typing import TYPE_CHECKING, Iterator, List, Optional, Tuple

from dual_core.cli.batch_options import add_tomogram_arguments
from dual_core.cli.common import (
    dump_options,
    output_folder,
    positive_float,
    positive_int,
    replacing,
)
from dual_core.cli.pairing import in_order_of
from dual_core.errors import DualError

if TYPE_CHECKING:
    import numpy as np

    from dual_core.volumes.reading import Volume

logger = logging.getLogger(__name__)

EXAMPLE = """
dual average tomo_1.mrc --picks picks/tomo_1_denoised_picks.csv --diameter 280 --output average
dual average tomo_*.mrc --picks picks/*_picks.csv --box 48 --number 200 --output average
"""
BOX_PER_DIAMETER = 2.0
SAME_VOXEL_SIZE = 0.01


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``dual average``."""
    files = parser.add_argument_group("files")
    files.add_argument("tomograms", nargs="+", metavar="T.mrc", help="tomograms, any MRC mode")
    files.add_argument(
        "--picks",
        nargs="+",
        required=True,
        metavar="P.csv",
        help="lists of picks, CSV or STAR, one for each tomogram: in the same order, or with names "
        "that begin with the tomogram's",
    )
    files.add_argument(
        "--output", required=True, metavar="DIR", help="folder for the results, created if missing"
    )
    particle = parser.add_argument_group("particles")
    particle.add_argument(
        "--diameter", type=positive_float, metavar="A", help="diameter of the particle in angstrom"
    )
    particle.add_argument(
        "--box",
        type=positive_int,
        metavar="VOXELS",
        help="side of the box (default: twice the diameter)",
    )
    particle.add_argument(
        "--number", type=positive_int, metavar="N", help="the best N picks of each list only"
    )
    particle.add_argument(
        "--class",
        dest="only_class",
        metavar="C",
        help="particles of this class only (number or name, in the lists)",
    )
    add_tomogram_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run ``dual average``."""
    if len(args.picks) != len(args.tomograms):
        raise DualError(
            f"{len(args.tomograms)} tomograms and {len(args.picks)} lists of picks; give one list "
            "for each tomogram, in the same order"
        )
    if args.box is None and args.diameter is None:
        raise DualError("no size of the box; give --diameter A or --box VOXELS")

    from dual_core.particles import write_csv
    from dual_core.picking.averaging import (
        average_figure,
        average_particles,
        fit_ball,
        radial_profile,
    )
    from dual_core.volumes.reading import open_volume, write_volume

    volumes = [open_volume(path, voxel_size_A=args.voxel_size) for path in args.tomograms]
    voxel_size_A = _common_voxel_size(volumes)
    box = args.box or max(4, round(BOX_PER_DIAMETER * args.diameter / voxel_size_A))
    picks = [
        _positions(path, volume.shape, voxel_size_A, args)
        for path, volume in zip(in_order_of(args.tomograms, args.picks), volumes)
    ]
    with output_folder(args.output) as output:
        average = average_particles(_report(volumes, picks), box, args.contrast)
        ball = fit_ball(average.volume, voxel_size_A, average.counts)
        radius, mean = radial_profile(average.volume, voxel_size_A, average.counts)
        write_volume(output / "average.mrc", average.volume, voxel_size_A)
        columns = {"radius_A": radius, "density": mean}
        write_csv(
            output / "radial_profile.csv",
            {name: [f"{value:.6g}" for value in values] for name, values in columns.items()},
        )
        average_figure(average, ball, voxel_size_A, output / "radial_profile.png", args.diameter)
        told = {"particles": average.used, "left_out": average.left_out, "box_voxel": box}
        with replacing(output / "average.json") as file:
            json.dump({**told, **ball.as_dict()}, file, indent=1)
        dump_options(args, output / "average.yaml")
    print(
        f"{average.used} particles averaged, {average.left_out} too near to a face.\n"
        f"The ball that fits best has a radius of {ball.radius_A:.0f} A; it is {ball.height:.3f} "
        f"deviations of the tomograms high, the noise around it {ball.noise:.3f}, and it explains "
        f"{100 * ball.explained:.0f} % of the variance."
    )
    logger.info("written: %s", output)
    return 0


def _common_voxel_size(volumes: List[Volume]) -> float:
    sizes = [volume.voxel_size_A for volume in volumes]
    if max(sizes) > (1 + SAME_VOXEL_SIZE) * min(sizes):
        raise DualError(
            f"voxel sizes from {min(sizes):g} to {max(sizes):g} A; average tomograms of one voxel "
            "size, or give --voxel-size A if the headers are wrong"
        )
    return sizes[0]


def _positions(
    path: str, shape: Tuple[int, int, int], voxel_size_A: float, args: argparse.Namespace
) -> np.ndarray:
    """Picks in voxels, ``(n, 3)``; the best first where there are scores."""
    import numpy as np

    from dual_core.particles import read_particles

    found = read_particles(path, shape, voxel_size_A)
    if args.only_class is not None:
        found = found.of_class(args.only_class)
    positions = found.positions_A(voxel_size_A) / voxel_size_A
    scores: Optional[np.ndarray] = found.scores()
    order = slice(None) if scores is None else np.argsort(-scores, kind="stable")
    chosen: np.ndarray = positions[order][: args.number]
    return chosen


def _report(
    volumes: List[Volume], picks: List[np.ndarray]
) -> Iterator[Tuple[Volume, np.ndarray]]:
    for volume, positions in zip(volumes, picks):
        logger.info("%s: %d picks", volume.name, len(positions))
        yield volume, positions
