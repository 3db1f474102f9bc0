"""Denoise tomograms with a trained model.

Each tomogram T.mrc becomes OUTPUT/T_denoised.mrc: float32, on the grid, in the contrast and in the
intensities of the tomogram. With --explained, OUTPUT/T_explained.mrc is the part of T it explains.
Pick particles on denoised tomograms, but average the raw ones.
"""

from __future__ import annotations

import argparse
import logging
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Dict, Sequence

from dual_core.cli.batch_options import (
    add_machine_arguments,
    add_memory_argument,
    add_shard_argument,
    add_tomogram_arguments,
    for_record,
    run_batch,
)
from dual_core.cli.common import fraction, output_folder, positive_float, progress_bar
from dual_core.errors import DualError

if TYPE_CHECKING:
    from dual_core.tasks.batch import Job

logger = logging.getLogger(__name__)

EXAMPLE = """
dual denoise --model run/model.safetensors tomo_*.mrc --output denoised
dual denoise --model run/model.safetensors tomo_1.mrc --output half --strength 0.7
dual denoise --model general tomo_*.mrc --output first_look
dual denoise --model general tomo_*.mrc --output adapted --adapt 2
dual denoise --model general tomo_*.mrc --output adapted --adapt 2 --adapt-only
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``dual denoise``."""
    files = parser.add_argument_group("files")
    files.add_argument("tomograms", nargs="+", metavar="T.mrc", help="tomograms, any MRC mode")
    files.add_argument(
        "--model",
        required=True,
        metavar="M",
        help="model of 'dual train' (its folder or file), or 'general': the model that comes with "
        "DUAL, which needs no training",
    )
    files.add_argument(
        "--output", required=True, metavar="DIR", help="folder for the results, created if missing"
    )
    files.add_argument(
        "--resume",
        action="store_true",
        help="skip the tomograms that were finished before with the same model and options",
    )
    add_shard_argument(files)
    _add_result_arguments(parser)
    add_tomogram_arguments(parser).add_argument(
        "--tilt-axis",
        choices=("y", "x"),
        help="axis of the tilt (default: that of the tomograms the model was trained on)",
    )
    add_memory_argument(add_machine_arguments(parser))


def _add_result_arguments(parser: argparse.ArgumentParser) -> None:
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
        help="intensities of the result: on the scale of the tomogram or of the clean domain",
    )
    result.add_argument(
        "--keep-measured",
        choices=("auto", "yes", "no"),
        default="auto",
        help="combine the network's output with the tomogram, so that at no resolution the result "
        "is worse than a filtered tomogram; auto: if the model's clean domain lacks much of what "
        "its tomograms show, or the model has none",
    )
    result.add_argument(
        "--adapt",
        type=positive_float,
        metavar="MIN",
        help="first train the denoiser further on these tomograms for MIN minutes, without a "
        "clean domain; the adapted model is kept as OUTPUT/adapted.safetensors",
    )
    result.add_argument(
        "--adapt-only",
        action="store_true",
        help="make the adapted model and denoise nothing, for a set that is denoised in shares",
    )
    result.add_argument(
        "--explained",
        action="store_true",
        help="also write T_explained.mrc, the part of the tomogram that the result explains: the "
        "result with the tomogram's own contrast transfer and missing wedge; subtract it from the "
        "tomogram to see what was removed",
    )


def run(args: argparse.Namespace) -> int:
    """Run ``dual denoise``; 0 all well, 1 some tomograms failed, 2 all failed."""
    from dual_core.networks.card import model_file, read_card
    from dual_core.tasks.batch import file_hash, plan_jobs
    from dual_core.tasks.shards import Shard

    if args.adapt_only and args.adapt is None:
        raise DualError("--adapt-only needs --adapt MIN: how long")
    shard = Shard.parse(args.shard)
    jobs = shard.of(plan_jobs(args.tomograms, args.output, "_denoised"))
    # Before torch is imported, which takes seconds.
    card = read_card(args.model)

    from dual_core.networks.model import DualModel
    from dual_core.noise_model.linear_file import linear_of
    from dual_core.tasks.denoise import DenoiseOptions, denoise_tomogram, make_runner

    options = DenoiseOptions(
        args.strength, args.contrast, args.output_contrast, args.units, args.voxel_size,
        args.keep_measured, args.tilt_axis,
    )
    model = DualModel.load(args.model)
    name = file_hash(model_file(args.model))
    settings: Dict[str, Any] = {"model": name, "options": options.as_dict()}
    if args.adapt is not None:
        settings["adapt"] = args.adapt
        model = _adapted(args, model, jobs, options, name)
    if args.adapt_only:
        return 0
    linear = linear_of(model.linear)
    runner = make_runner(model, args.device, args.precision, args.tile, args.halo, args.memory)
    logger.info("model %s: %s", args.model, card.summary())
    logger.info("%s", runner.describe())
    if args.explained:
        beside = plan_jobs([job.source for job in jobs], args.output, "_explained")
        jobs = [replace(job, beside=other.output) for job, other in zip(jobs, beside)]
    settings.update(bfloat16=runner.bfloat16, halo=args.halo)

    def work(job: Job) -> Dict[str, Any]:
        with progress_bar(job.source.name) as progress:
            report = denoise_tomogram(
                job.source, job.output, model.card, runner, options, progress, linear, job.beside
            )
        return for_record(asdict(report))

    return run_batch(args, "denoise", shard, jobs, work, settings)


def _adapted(
    args: argparse.Namespace, model: Any, jobs: Sequence[Job], options: Any, name: str
) -> Any:
    """The model, adapted to the tomograms of these jobs."""
    from dual_core.tasks.denoising.adapt import adapted_model

    if args.shard is not None:
        raise DualError(
            "--adapt and --shard exclude each other, since each shard would train for itself; "
            "adapt first with --adapt-only, and give the shards OUTPUT/adapted.safetensors"
        )
    with output_folder(args.output) as folder, progress_bar("adapting", "s") as progress:
        return adapted_model(
            model, [job.source for job in jobs], folder, args.adapt, options, args.device, name,
            args.resume, progress,
        )
