"""Pick particles without a template: maxima of a 3D Difference of Gaussians.

Each tomogram T.mrc becomes OUTPUT/T_picks.csv and OUTPUT/T_picks.star (RELION 3.1 and 5), the best
pick first. Pick on denoised tomograms, but extract and average from the raw ones.
"""

from __future__ import annotations

import argparse
import logging
from typing import TYPE_CHECKING, Any, Dict

from dual_core.cli.batch_options import (
    add_shard_argument,
    add_tomogram_arguments,
    run_batch,
)
from dual_core.cli.common import positive_float, positive_int, progress_bar

if TYPE_CHECKING:
    from dual_core.picking import PickOptions

logger = logging.getLogger(__name__)

EXAMPLE = """
dual pick denoised/tomo_*_denoised.mrc --diameter 280 --number 500 --output picks
dual pick tomo_1.mrc --diameter 280 --threshold 5 --mask lamella.mrc --border 150 --output picks
dual pick tomo_1.mrc --sigma 8 --min-distance 240 --number 500 --output picks
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``dual pick``."""
    _add_file_arguments(parser)
    _add_particle_arguments(parser)
    _add_amount_arguments(parser)
    _add_place_arguments(parser)
    add_tomogram_arguments(parser)


def _add_file_arguments(parser: argparse.ArgumentParser) -> None:
    files = parser.add_argument_group("files")
    files.add_argument("tomograms", nargs="+", metavar="T.mrc", help="tomograms, any MRC mode")
    files.add_argument(
        "--output", required=True, metavar="DIR", help="folder for the results, created if missing"
    )
    files.add_argument(
        "--resume",
        action="store_true",
        help="skip the tomograms that were finished before with the same options",
    )
    add_shard_argument(files)


def _add_particle_arguments(parser: argparse.ArgumentParser) -> None:
    particle = parser.add_argument_group("particle")
    particle.add_argument(
        "--diameter", type=positive_float, metavar="A", help="diameter of the particle in angstrom"
    )
    particle.add_argument(
        "--sigma",
        type=positive_float,
        metavar="VOXELS",
        help="sigma of the narrower Gaussian in voxels (default: diameter / 3.46)",
    )
    particle.add_argument(
        "--factor",
        type=positive_float,
        default=1.1,
        metavar="K",
        help="ratio of the sigmas of the two Gaussians",
    )
    particle.add_argument(
        "--min-distance",
        dest="min_distance",
        type=positive_float,
        metavar="A",
        help="smallest distance between two picks in angstrom (default: 24/28 of the diameter)",
    )


def _add_amount_arguments(parser: argparse.ArgumentParser) -> None:
    amount = parser.add_argument_group("how many").add_mutually_exclusive_group()
    amount.add_argument("--number", type=positive_int, metavar="N", help="the best N per tomogram")
    amount.add_argument(
        "--threshold",
        type=positive_float,
        metavar="SIGMAS",
        help="all picks with at least this score, in robust standard deviations of the filtered "
        "tomogram "
        "(default: 4, unless there is --number)",
    )


def _add_place_arguments(parser: argparse.ArgumentParser) -> None:
    where = parser.add_argument_group("where")
    where.add_argument(
        "--border",
        type=positive_float,
        metavar="A",
        help="no picks closer than this to a face of the tomogram, in angstrom",
    )
    where.add_argument(
        "--mask", metavar="M.mrc", help="pick where this volume is above 0.5; for all tomograms"
    )
    where.add_argument(
        "--boundary",
        choices=("mean", "mirror"),
        default="mean",
        help="what is assumed outside the tomogram: its mean, or its mirror image",
    )


def run(args: argparse.Namespace) -> int:
    """Run ``dual pick``; 0 all well, 1 some tomograms failed, 2 all failed."""
    from dual_core.picking import pick_particles
    from dual_core.picking.files import write_picks
    from dual_core.tasks.batch import Job, file_hash, plan_jobs
    from dual_core.tasks.shards import Shard
    from dual_core.volumes.byte_volumes import as_mask
    from dual_core.volumes.reading import open_volume

    options = _options(args)
    jobs = [
        Job(job.source, job.output.with_suffix(".csv"))
        for job in plan_jobs(args.tomograms, args.output, "_picks")
    ]
    shard = Shard.parse(args.shard)
    jobs = shard.of(jobs)
    mask = None
    if args.mask is not None:
        mask = as_mask(open_volume(args.mask, require_voxel_size=False))
    settings = {
        "options": vars(options),
        "voxel_size_A": args.voxel_size,
        "mask": None if args.mask is None else file_hash(args.mask),
    }

    def work(job: Job) -> Dict[str, Any]:
        volume = open_volume(job.source, voxel_size_A=args.voxel_size)
        with progress_bar(job.source.name, unit="plane") as progress:
            picked = pick_particles(volume, options, mask, progress)
        write_picks(job.output, volume, picked)
        told = {
            "picks": len(picked.scores),
            "maxima": picked.maxima,
            "contrast": picked.contrast,
            "sigma_voxel": picked.sigma,
            "min_distance_voxel": picked.min_distance,
        }
        logger.info(
            "%s: %d picks; density %s, sigma %.2f voxels, at least %.1f voxels apart",
            job.source, told["picks"], picked.contrast, picked.sigma, picked.min_distance,
        )
        return told

    return run_batch(args, "pick", shard, jobs, work, settings)


def _options(args: argparse.Namespace) -> PickOptions:
    from dual_core.errors import DualError
    from dual_core.picking import PickOptions

    if args.diameter is None and args.sigma is None:
        raise DualError("no size of the particle; give --diameter A or --sigma VOXELS")
    if args.factor <= 1:
        raise DualError(f"--factor {args.factor:g}: give a number above 1, such as 1.1")
    return PickOptions(
        diameter_A=args.diameter,
        sigma=args.sigma,
        factor=args.factor,
        min_distance_A=args.min_distance,
        number=args.number,
        threshold=args.threshold,
        contrast=args.contrast,
        border_A=args.border or 0.0,
        boundary=args.boundary,
    )
