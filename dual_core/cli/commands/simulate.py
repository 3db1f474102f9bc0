"""Simulate tomograms from grand models with a trained model: a labelled training set.

Each grand model G.mrc becomes OUTPUT/G_simulated_01.mrc, _02 and so on: float32, on the grid of
the grand model, standardised as the tomograms that the model was trained on. Masks and particle
lists of 'dual pack' are copied too, and OUTPUT/training_set.csv lists which files belong together.

The same seed gives the same tomogram, with any --tile and any number of threads, copies or files.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Dict

from dual_core.cli.batch_options import add_memory_argument, add_shard_argument, tell_failures
from dual_core.cli.common import (
    add_device_argument,
    add_precision_argument,
    dump_options,
    non_negative_int,
    output_folder,
    positive_int,
    progress_bar,
    voxel_size,
)

if TYPE_CHECKING:
    from dual_core.tasks.batch import Job
    from dual_core.tasks.shards import Shard

logger = logging.getLogger(__name__)

EXAMPLE = """
dual simulate --model run/model.safetensors cells/grand_model_*.mrc --output set --copies 3
dual simulate --model run/model.safetensors grand_model_1.mrc --output set --noise-from tomo_*.mrc
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``dual simulate``."""
    _add_file_arguments(parser)
    _add_noise_arguments(parser)
    _add_result_arguments(parser)
    _add_grand_model_arguments(parser)
    add_machine_arguments(parser)


def _add_file_arguments(parser: argparse.ArgumentParser) -> None:
    files = parser.add_argument_group("files")
    files.add_argument(
        "grand_models", nargs="+", metavar="G.mrc", help="grand models, as 'dual pack' writes them"
    )
    files.add_argument(
        "--model", required=True, metavar="M", help="model of 'dual train', its folder or file"
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


def _add_noise_arguments(parser: argparse.ArgumentParser) -> None:
    noise = parser.add_argument_group("noise")
    noise.add_argument(
        "--copies",
        type=positive_int,
        default=1,
        metavar="N",
        help="tomograms per grand model, each with different noise",
    )
    noise.add_argument(
        "--noise-from",
        dest="noise_from",
        nargs="+",
        default=[],
        metavar="T.mrc",
        help="imitate the noise of these tomograms: copy 1 that of the first, and so on "
        "(default: random noise codes)",
    )
    noise.add_argument(
        "--noise-contrast",
        dest="noise_contrast",
        choices=("auto", "dark", "bright"),
        default="auto",
        help="whether density is dark or bright in the tomograms of --noise-from",
    )
    noise.add_argument(
        "--seed", type=non_negative_int, default=0, metavar="N",
        help="random seed; the same seed gives the same tomograms"
    )


def _add_result_arguments(parser: argparse.ArgumentParser) -> None:
    result = parser.add_argument_group("result")
    result.add_argument(
        "--output-contrast",
        choices=("auto", "dark", "bright", "as-model"),
        default="auto",
        help="sign of the density in the result; auto: as in the tomograms the model was trained "
        "on (dark if the model does not say), as-model: as in its clean domain",
    )


def _add_grand_model_arguments(parser: argparse.ArgumentParser) -> None:
    model = parser.add_argument_group("grand model")
    model.add_argument(
        "--contrast",
        choices=("auto", "dark", "bright"),
        default="auto",
        help="whether density is dark or bright in the grand models; auto detects and reports it",
    )
    model.add_argument(
        "--standardise",
        choices=("model", "own"),
        default="model",
        help="scale the density by the mean and deviation of the grand models the model was "
        "trained on (model), or by each grand model's own (own; for other density units)",
    )
    model.add_argument(
        "--voxel-size",
        dest="voxel_size",
        type=voxel_size,
        metavar="A",
        help="voxel size of the grand models in angstrom, instead of that in the headers",
    )


def add_machine_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the machine, as simulation has them."""
    machine = parser.add_argument_group("machine")
    add_device_argument(machine, several=True)
    add_precision_argument(machine)
    machine.add_argument(
        "--tile",
        type=positive_int,
        metavar="N",
        help="side in voxels of the blocks computed at once, at least one tile; smaller blocks "
        "need less memory; the simulated noise does not depend on it (default: a tile for each "
        "thread)",
    )
    machine.add_argument(
        "--halo",
        type=non_negative_int,
        metavar="N",
        help="context around the core of a tile in voxels (default: by the model)",
    )
    add_memory_argument(machine)


def run(args: argparse.Namespace) -> int:
    """Run ``dual simulate``; 0 all well, 1 some tomograms failed, 2 all failed."""
    from dual_core.networks.card import model_file, read_card
    from dual_core.tasks.batch import BatchRecord, file_hash, run_jobs
    from dual_core.tasks.shards import Shard, ShardStatus

    shard = Shard.parse(args.shard)
    copies = _plan_copies(args, shard)
    # Before torch is imported, which takes seconds.
    card = read_card(args.model)
    card.require_all_networks("simulate")

    from dual_core.networks.model import DualModel
    from dual_core.tasks.simulate import SimulateOptions, warn_of_other_task
    from dual_core.tasks.simulation.labelled_copies import (
        LabelledCopies,
        NoiseOfCopies,
        SimulationOfCopies,
    )
    from dual_core.tasks.simulation.noise_codes import encode_tomogram, profile_of_tomogram
    from dual_core.tasks.simulation.noisy_tiles import SimulationRunner
    from dual_core.tasks.simulation.training_set import TABLE, join_tables

    options = SimulateOptions(
        contrast=args.contrast,
        output_contrast=args.output_contrast,
        standardise=args.standardise,
        voxel_size_A=args.voxel_size,
    )
    model = DualModel.load(args.model)
    runner = SimulationRunner(model, args.device, args.precision, args.tile, args.halo, args.memory)
    logger.info("model %s: %s", args.model, card.summary())
    logger.info("%s", runner.describe())
    warn_of_other_task(card)
    codes = [encode_tomogram(path, model, args.noise_contrast) for path in args.noise_from]
    profiles = [profile_of_tomogram(path, model, args.noise_contrast) for path in args.noise_from]
    noises = NoiseOfCopies(args.seed, args.noise_from, codes, profiles)
    labelled = LabelledCopies(Path(args.output), shard.name(TABLE), copies, noises)
    simulation = SimulationOfCopies(model, runner, options, labelled, progress_bar)
    settings = {
        "model": file_hash(model_file(args.model)),
        "options": options.as_dict(),
        "seed": args.seed,
        "noise_from": [file_hash(path) for path in args.noise_from],
        "noise_contrast": args.noise_contrast,
        "bfloat16": runner.bfloat16,
        "halo": args.halo,
    }
    with output_folder(args.output) as output:
        record = BatchRecord(output / shard.name("simulate.jsonl"), settings)
        status = ShardStatus(record, shard, list(copies))
        dump_options(args, output / shard.name("simulate.yaml"))
        summary = run_jobs(list(copies), simulation.make, record, args.resume, status.write)
        status.write(summary)
        # Those that were skipped are in the table of the call that made them, unless that is lost.
        labelled.add([job for job in copies if record.is_finished(job)])
        if shard.count > 1:
            join_tables(output)
    tell_failures(summary, len(args.grand_models), "grand models")
    return summary.status


def _plan_copies(args: argparse.Namespace, shard: Shard) -> Dict[Job, int]:
    """The number of its copy, from 1, for each tomogram of a shard, in the order of making."""
    from dual_core.tasks.batch import plan_jobs

    # Copy by copy they are planned, grand model by grand model they are made.
    planned = [
        plan_jobs(args.grand_models, args.output, f"_simulated_{copy:02d}")
        for copy in range(1, args.copies + 1)
    ]
    return {job: copy for jobs in shard.of(list(zip(*planned))) for copy, job in enumerate(jobs, 1)}
