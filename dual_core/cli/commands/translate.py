"""Translate tomograms between two experimental domains with a trained model.

Each tomogram V.mrc becomes OUTPUT/V_translated.mrc: float32, on its grid, in the contrast of the
other domain. 'to-clean' makes tomograms of the noisy domain look like the clean one, 'to-noisy'
does the reverse and adds noise. The model must come from 'dual train --task translate'.
"""

from __future__ import annotations

import argparse
import logging
from typing import TYPE_CHECKING, Any, Dict

from dual_core.cli.batch_options import (
    add_shard_argument,
    add_tomogram_arguments,
    for_record,
    run_batch,
)
from dual_core.cli.commands.simulate import add_machine_arguments
from dual_core.cli.common import non_negative_int, progress_bar

if TYPE_CHECKING:
    from dual_core.tasks.translate import TranslateOptions

logger = logging.getLogger(__name__)

EXAMPLE = """
dual translate --model run/model.safetensors --direction to-clean low_*.mrc --output clean
dual translate --model run/model.safetensors --direction to-noisy high.mrc --output noisy --seed 3
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``dual translate``."""
    files = parser.add_argument_group("files")
    files.add_argument("tomograms", nargs="+", metavar="V.mrc", help="tomograms, any MRC mode")
    files.add_argument(
        "--model",
        required=True,
        metavar="M",
        help="model of 'dual train --task translate', its folder or file",
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
    result = parser.add_argument_group("result")
    result.add_argument(
        "--direction",
        required=True,
        choices=("to-clean", "to-noisy"),
        help="to-clean: from the domain given as --noisy in training to the one given as --clean; "
        "to-noisy: the other way",
    )
    result.add_argument(
        "--units",
        choices=("standardised", "input"),
        default="standardised",
        help="intensities of the result: those of the other domain, standardised, or the input's",
    )
    result.add_argument(
        "--noise-from",
        dest="noise_from",
        metavar="T.mrc",
        help="for to-noisy: imitate the noise of this tomogram (default: a random noise code)",
    )
    result.add_argument(
        "--noise-contrast",
        dest="noise_contrast",
        choices=("auto", "dark", "bright"),
        default="auto",
        help="whether density is dark or bright in the tomogram of --noise-from",
    )
    result.add_argument(
        "--seed",
        type=non_negative_int,
        default=0,
        metavar="N",
        help="for to-noisy: random seed; the same seed gives the same result",
    )
    add_tomogram_arguments(parser)
    add_machine_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run ``dual translate``; 0 all well, 1 some tomograms failed, 2 all failed."""
    from dual_core.errors import DualError
    from dual_core.networks.card import model_file, read_card
    from dual_core.tasks.batch import Job, file_hash, plan_jobs
    from dual_core.tasks.shards import Shard

    shard = Shard.parse(args.shard)
    jobs = shard.of(plan_jobs(args.tomograms, args.output, "_translated"))
    if args.noise_from and args.direction == "to-clean":
        raise DualError("--noise-from is for --direction to-noisy; leave it out")
    # Before torch is imported, which takes seconds.
    card = read_card(args.model)
    card.require_all_networks("translate")

    from dual_core.networks.model import DualModel
    from dual_core.tasks.simulation.noise_codes import encode_tomogram
    from dual_core.tasks.translate import (
        make_translation_runner,
        translate_tomogram,
        warn_of_other_task,
    )

    options = _options(args)
    model = DualModel.load(args.model)
    runner = make_translation_runner(
        model, args.direction, args.device, args.precision, args.tile, args.halo, args.memory
    )
    logger.info("model %s: %s", args.model, card.summary())
    logger.info("%s", runner.describe())
    warn_of_other_task(card, args.direction)
    code = None
    if args.noise_from:
        code = encode_tomogram(args.noise_from, model, args.noise_contrast)
    settings = {
        "model": file_hash(model_file(args.model)),
        "options": options.as_dict(),
        "noise_from": file_hash(args.noise_from) if args.noise_from else None,
        "noise_contrast": args.noise_contrast,
        "bfloat16": runner.bfloat16,
        "halo": args.halo,
    }

    def work(job: Job) -> Dict[str, Any]:
        with progress_bar(job.source.name) as progress:
            results = translate_tomogram(
                job.source,
                job.output,
                model,
                runner,
                options,
                code,
                args.noise_from or "",
                progress,
            )
        return for_record(results)

    return run_batch(args, "translate", shard, jobs, work, settings)


def _options(args: argparse.Namespace) -> TranslateOptions:
    from dual_core.tasks.translate import TranslateOptions

    return TranslateOptions(
        direction=args.direction,
        contrast=args.contrast,
        units=args.units,
        voxel_size_A=args.voxel_size,
        seed=args.seed,
    )
