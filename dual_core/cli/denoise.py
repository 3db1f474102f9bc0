"""Denoise tomograms with a trained model.

Each tomogram T.mrc becomes OUTPUT/T_denoised.mrc: float32, on the grid, in the contrast and in the
intensities of the tomogram. Pick particles on denoised tomograms, but average the raw ones.
"""

from __future__ import annotations

import argparse
import logging
from dataclasses import asdict
from typing import Any, Dict

from dual_core.cli.common import (
    add_device_argument,
    add_precision_argument,
    dump_options,
    fraction,
    non_negative_int,
    output_folder,
    positive_float,
    positive_int,
    progress_bar,
)

logger = logging.getLogger(__name__)

EXAMPLE = """
dual denoise --model run/model.safetensors tomo_*.mrc --output denoised
dual denoise --model run/model.safetensors tomo_1.mrc --output half --strength 0.7
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``dual denoise``."""
    files = parser.add_argument_group("files")
    files.add_argument("tomograms", nargs="+", metavar="T.mrc", help="tomograms, any MRC mode")
    files.add_argument(
        "--model", required=True, metavar="M", help="model file (.safetensors) of 'dual train'"
    )
    files.add_argument(
        "--output", required=True, metavar="DIR", help="folder for the results, made if need be"
    )
    files.add_argument(
        "--resume",
        action="store_true",
        help="skip the tomograms that were finished before with the same model and options",
    )
    result = parser.add_argument_group("result")
    result.add_argument(
        "--strength",
        type=fraction,
        default=1.0,
        metavar="S",
        help="how much of the noise to remove, 0 (the tomogram itself) to 1 (all)",
    )
    result.add_argument(
        "--output-contrast",
        choices=("as-input", "as-model"),
        default="as-input",
        help="sign of the density in the result: as in the tomogram or in the clean domain",
    )
    result.add_argument(
        "--units",
        choices=("input", "standardised"),
        default="input",
        help="intensities of the result: the tomogram's or those of the clean domain",
    )
    tomogram = parser.add_argument_group("tomogram")
    tomogram.add_argument(
        "--contrast",
        choices=("auto", "dark", "bright"),
        default="auto",
        help="whether density is dark or bright in the tomograms; auto finds out and says so",
    )
    tomogram.add_argument(
        "--voxel-size",
        dest="voxel_size",
        type=positive_float,
        metavar="A",
        help="voxel size in angstrom, instead of that in the headers",
    )
    machine = parser.add_argument_group("machine")
    add_device_argument(machine)
    add_precision_argument(machine)
    machine.add_argument(
        "--tile",
        type=positive_int,
        metavar="N",
        help="longest side of a tile in voxels, halo included (default: what suits the device)",
    )
    machine.add_argument(
        "--halo",
        type=non_negative_int,
        metavar="N",
        help="context around the core of a tile in voxels (default: chosen with the tile)",
    )


def run(args: argparse.Namespace) -> int:
    """Run ``dual denoise``; 0 all well, 1 some tomograms failed, 2 all failed."""
    from dual_core.card import read_card
    from dual_core.tasks.batch import BatchRecord, Job, file_hash, plan_jobs, run_jobs

    jobs = plan_jobs(args.tomograms, args.output, "_denoised")
    # Before torch is imported, which takes seconds.
    card = read_card(args.model)

    from dual_core.model import DualModel
    from dual_core.tasks.denoise import DenoiseOptions, denoise_tomogram, make_runner

    options = DenoiseOptions(
        strength=args.strength,
        contrast=args.contrast,
        output_contrast=args.output_contrast,
        units=args.units,
        voxel_size_A=args.voxel_size,
    )
    model = DualModel.load(args.model)
    runner = make_runner(model, args.device, args.precision, args.tile, args.halo)
    logger.info("model %s: %s", args.model, card.summary())
    logger.info("%s", runner.describe())
    settings = {
        "model": file_hash(args.model),
        "options": options.as_dict(),
        "bfloat16": runner.bfloat16,
        "halo": args.halo,
    }

    def work(job: Job) -> Dict[str, Any]:
        with progress_bar(job.source.name) as progress:
            report = denoise_tomogram(
                job.source, job.output, model.card, runner, options, progress
            )
        return {
            name: None if value != value else value for name, value in asdict(report).items()
        }

    with output_folder(args.output) as output:
        record = BatchRecord(output / "denoise.jsonl", settings)
        dump_options(args, output / "denoise.yaml")
        summary = run_jobs(jobs, work, record, args.resume)
    if summary.failed and len(jobs) > 1:
        names = ", ".join(str(path) for path in summary.failed)
        logger.error("%d of %d tomograms failed: %s", len(summary.failed), len(jobs), names)
    return summary.status
