"""Fill the missing wedge of tomograms with what a trained model predicts.

Each tomogram T.mrc becomes OUTPUT/T_compensated.mrc: float32, on the grid, in the contrast and in
the intensities of the tomogram. Fourier coefficients that were measured stay as they were;
what fills the wedge is predicted by a network, not measured. Use the result to look at, to
segment and to pick; never average it, and never report a structure that is seen only in it.
"""

from __future__ import annotations

import argparse
import logging
from dataclasses import asdict
from typing import Any, Dict

from dual_core.cli.batch_options import (
    add_machine_arguments,
    add_memory_argument,
    add_shard_argument,
    add_tomogram_arguments,
    for_record,
    run_batch,
)
from dual_core.cli.common import finite_float, progress_bar

logger = logging.getLogger(__name__)

EXAMPLE = """
dual compensate --model run/model.safetensors tomo_*.mrc --output filled --tilt-range -60 60
dual compensate --model run/model.safetensors tomo_1.mrc --output filled --tilt-range -50 70 \\
    --measured-from denoising/model.safetensors
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``dual compensate``."""
    files = parser.add_argument_group("files")
    files.add_argument("tomograms", nargs="+", metavar="T.mrc", help="tomograms, any MRC mode")
    files.add_argument(
        "--model",
        required=True,
        metavar="M",
        help="model of 'dual train --task missing-wedge' (its folder or file), or a denoising one",
    )
    files.add_argument(
        "--output", required=True, metavar="DIR", help="folder for the results, created if missing"
    )
    files.add_argument(
        "--measured-from",
        metavar="DENOISING_MODEL",
        help="take the measured coefficients from the tomogram denoised with this model, instead "
        "of from the raw tomogram",
    )
    files.add_argument(
        "--resume",
        action="store_true",
        help="skip the tomograms that were finished before with the same models and options",
    )
    add_shard_argument(files)
    wedge = parser.add_argument_group("missing wedge")
    wedge.add_argument(
        "--tilt-range",
        nargs=2,
        type=finite_float,
        metavar=("MIN", "MAX"),
        help="smallest and largest tilt angle in degrees, such as -60 60 or -50 70; can be "
        "left out only if the model file has it ('dual info')",
    )
    wedge.add_argument(
        "--tilt-axis", choices=("y", "x"), default="y", help="axis of the tilt; the beam is z"
    )
    wedge.add_argument(
        "--soft-edge",
        type=_degrees,
        default=3.0,
        metavar="DEG",
        help="degrees inside the wedge over which the prediction fades in",
    )
    wedge.add_argument(
        "--amplitude",
        choices=("auto", "shells", "single", "model"),
        default="auto",
        help="amplitude of the prediction: fitted to the measured region shell by shell (shells), "
        "with one factor for all frequencies (single), or as the network gives it (model); auto "
        "is shells for a denoising model and model for a missing-wedge model",
    )
    add_tomogram_arguments(parser)
    add_memory_argument(add_machine_arguments(parser))


def run(args: argparse.Namespace) -> int:
    """Run ``dual compensate``; 0 all well, 1 some tomograms failed, 2 all failed."""
    from dual_core.networks.card import model_file, read_card
    from dual_core.tasks.batch import Job, file_hash, plan_jobs
    from dual_core.tasks.shards import Shard

    shard = Shard.parse(args.shard)
    jobs = shard.of(plan_jobs(args.tomograms, args.output, "_compensated"))
    # Before torch is imported, which takes seconds.
    card = read_card(args.model)

    from dual_core.networks.model import DualModel
    from dual_core.tasks.denoise import make_runner
    from dual_core.tasks.missing_wedge import CompensateOptions, compensate_tomogram

    options = CompensateOptions(
        tilt_range=None if args.tilt_range is None else (args.tilt_range[0], args.tilt_range[1]),
        tilt_axis=args.tilt_axis,
        soft_edge_deg=args.soft_edge,
        amplitude=args.amplitude,
        contrast=args.contrast,
        voxel_size_A=args.voxel_size,
    )
    machine = (args.device, args.precision, args.tile, args.halo, args.memory)
    runner = make_runner(DualModel.load(args.model), *machine)
    measured_from = None
    if args.measured_from is not None:
        denoising = DualModel.load(args.measured_from)
        measured_from = (denoising.card, make_runner(denoising, *machine))
    logger.info("model %s: %s", args.model, card.summary())
    logger.info("%s", runner.describe())
    logger.info("what fills the wedge is predicted, not measured")
    settings = {
        "model": file_hash(model_file(args.model)),
        "measured_from": args.measured_from and file_hash(args.measured_from),
        "options": options.as_dict(),
        "bfloat16": runner.bfloat16,
        "halo": args.halo,
    }

    def work(job: Job) -> Dict[str, Any]:
        with progress_bar(job.source.name) as progress:
            report = compensate_tomogram(
                job.source, job.output, card, runner, options, progress, measured_from
            )
        return for_record(asdict(report))

    return run_batch(args, "compensate", shard, jobs, work, settings)


def _degrees(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 90:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of degrees from 0 to 90")
    return value
