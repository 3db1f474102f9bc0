"""Train a model from tomograms and grand models, without labels, pairs or half maps.

The result is OUTPUT/model.safetensors. The folder also gets config.yaml, history.jsonl, preview
pictures and a checkpoint; --resume continues exactly where the run stopped.
On several GPUs start it with torchrun; each GPU takes --batch patches per iteration.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict

from dual_core.cli.common import (
    add_device_argument,
    add_precision_argument,
    dump_options,
    finite_float,
    non_negative_int,
    output_folder,
    positive_float,
    positive_int,
    voxel_size,
)
from dual_core.cli.pairing import in_order_of
from dual_core.cli.progress import Progress
from dual_core.errors import DualError
from dual_core.safety.locks import folder_lock

if TYPE_CHECKING:
    from dual_core.training.parallel.ranks import Ranks

logger = logging.getLogger(__name__)

EXAMPLE = """
dual train --noisy tomo_*.mrc --clean grand_model_*.mrc --output run
dual train --noisy tomo_*.mrc --clean grand_model_*.mrc --output run --resume
dual train --noisy tomo_1.mrc --clean grand_model_*.mrc --output try --preset quick
dual train --noisy tomo_*.mrc --even 'h/{name}_even.mrc' --odd 'h/{name}_odd.mrc' --clean g*.mrc ...
dual train --task missing-wedge --noisy tomo_*.mrc --tilt-range -60 60 --output wedge
torchrun --standalone --nproc_per_node 2 -m dual_core train --noisy tomo_*.mrc --clean g*.mrc ...
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``dual train``."""
    _add_file_arguments(parser)
    _add_training_arguments(parser)
    _add_data_arguments(parser)
    _add_machine_arguments(parser)


def _add_file_arguments(parser: argparse.ArgumentParser) -> None:
    files = parser.add_argument_group("files")
    files.add_argument(
        "--noisy", nargs="+", required=True, metavar="T.mrc", help="tomograms, any MRC mode"
    )
    files.add_argument(
        "--clean",
        nargs="+",
        default=[],
        metavar="V.mrc",
        help="grand models: noise-free density maps of cells, for example from 'dual pack'; "
        "tomograms of high signal-to-noise ratio with --task translate; none with --task "
        "missing-wedge",
    )
    for option, which in (("--even", "even"), ("--odd", "odd")):
        files.add_argument(
            option,
            nargs="+",
            default=[],
            metavar="H.mrc",
            help=f"{which} halves of the tomograms, in the same order, or one pattern such as "
            f"'{{name}}_{which}.mrc', where {{name}} is the tomogram's name and {{folder}} its "
            "folder: the noise is then measured on the difference of the halves",
        )
    files.add_argument(
        "--output", required=True, metavar="DIR", help="training directory, created if missing"
    )
    files.add_argument(
        "--resume", action="store_true", help="continue from the checkpoint in the output folder"
    )
    files.add_argument(
        "--overwrite",
        action="store_true",
        help="delete the training in the output folder and start again",
    )


def _add_training_arguments(parser: argparse.ArgumentParser) -> None:
    training = parser.add_argument_group("training")
    training.add_argument(
        "--task",
        choices=("denoise+simulate", "translate", "missing-wedge"),
        default="denoise+simulate",
        help="what the model is for: to denoise tomograms and simulate them from grand models; to "
        "translate between two experimental domains; or to compensate the missing wedge",
    )
    training.add_argument(
        "--preset",
        choices=("quick", "standard", "thorough", "gpu"),
        default="standard",
        help="how long to train: quick for a first look, standard for use, thorough for an "
        "overnight run; gpu: wider networks, patches of 64 and batches of 8, too slow on a CPU",
    )
    training.add_argument(
        "--method",
        choices=("stable", "paper"),
        default="stable",
        help="stable: the best in our benchmarks; paper: the equations of the paper as printed, "
        "made numerically safe",
    )
    _add_length_arguments(training)


def _add_length_arguments(training: argparse._ArgumentGroup) -> None:
    training.add_argument(
        "--iterations", type=positive_int, metavar="N",
        help="number of iterations, instead of the preset's"
    )
    training.add_argument(
        "--time-limit",
        type=positive_float,
        metavar="MIN",
        help="stop after this many minutes, with a model and a checkpoint to continue from; the "
        "schedule of the preset is not shortened, so for a short run --preset quick is better",
    )
    training.add_argument(
        "--batch",
        type=positive_int,
        metavar="N",
        help="patches per iteration and GPU (default: 4)",
    )
    training.add_argument(
        "--patch",
        type=positive_int,
        metavar="N",
        help="side of a training patch in voxels (default: 32)",
    )
    training.add_argument(
        "--learning-rate", type=positive_float, metavar="R", help="learning rate of all networks"
    )
    training.add_argument(
        "--measured-noise",
        choices=("yes", "no"),
        help="give simulated tomograms noise of the power that was measured on yours, rays of the "
        "tilts and wedge included, and let Gs make the structure alone (default: yes with the "
        "method stable)",
    )
    training.add_argument(
        "--from",
        dest="start_from",
        metavar="MODEL",
        help="begin with the weights of another model: 'general', the one that comes with DUAL, or "
        "a model.safetensors; needs fewer iterations",
    )
    training.add_argument(
        "--seed", type=non_negative_int, default=0, metavar="N", help="random seed"
    )


def _add_data_arguments(parser: argparse.ArgumentParser) -> None:
    data = parser.add_argument_group("data")
    for option, what in (("--contrast", "tomograms"), ("--clean-contrast", "grand models")):
        data.add_argument(
            option,
            choices=("auto", "dark", "bright"),
            default="auto",
            help=f"whether density is dark or bright in the {what}; auto detects and reports it",
        )
    data.add_argument(
        "--voxel-size",
        type=voxel_size,
        metavar="A",
        help="voxel size in angstrom to train at (default: that of the grand models)",
    )
    data.add_argument(
        "--noisy-voxel-size",
        type=voxel_size,
        metavar="A",
        help="voxel size of the tomograms, instead of that in their headers",
    )
    data.add_argument(
        "--clean-voxel-size",
        type=voxel_size,
        metavar="A",
        help="voxel size of the grand models, instead of that in their headers",
    )
    data.add_argument(
        "--tilt-range",
        nargs=2,
        type=finite_float,
        metavar=("MIN", "MAX"),
        help="smallest and largest tilt angle in degrees; give it if it is not symmetric, so that "
        "patches are only flipped in ways that keep the missing wedge; --task missing-wedge needs "
        "it",
    )
    data.add_argument(
        "--tilt-axis", choices=("y", "x"), default="y", help="axis of the tilt in the tomograms"
    )


def _add_machine_arguments(parser: argparse.ArgumentParser) -> None:
    machine = parser.add_argument_group("machine")
    add_device_argument(machine)
    add_precision_argument(machine)
    machine.add_argument(
        "--memory",
        type=positive_float,
        default=2.0,
        metavar="GIB",
        help="memory in GiB for the voxels of each domain; a larger domain is read block by "
        "block",
    )
    machine.add_argument(
        "--checkpoint-every",
        type=positive_float,
        default=5.0,
        metavar="MIN",
        help="minutes between two checkpoints",
    )
    machine.add_argument(
        "--snapshots",
        type=non_negative_int,
        default=0,
        metavar="N",
        help="also save the model at N points of the run, in OUTPUT/snapshots",
    )


def run(args: argparse.Namespace) -> int:
    """Run ``dual train``; 0 finished or time limit reached, 128 + its number after a signal."""
    from dual_core.training.parallel.launched import joined

    with joined() as ranks:
        return _run(args, ranks)


def _run(args: argparse.Namespace, ranks: Ranks) -> int:
    folder = Path(args.output)
    from dual_core.training.checkpoint import holds_training
    from dual_core.training.config import preset_config
    from dual_core.training.loop import RunOptions, as_begun, train
    from dual_core.training.pairs.halves import match_halves

    if args.resume and args.overwrite:
        raise DualError("--resume and --overwrite exclude each other; give one of them")
    changes = _changes(args)
    config = preset_config(args.preset, args.method, **changes)
    if args.resume:
        config = as_begun(config, folder, given=changes)
    options = RunOptions(
        device=args.device,
        precision=args.precision,
        time_limit_min=args.time_limit,
        checkpoint_every_min=args.checkpoint_every,
        memory_budget=int(args.memory * 2**30),
        snapshots=args.snapshots,
    )
    noisy, clean = ([Path(path) for path in paths] for paths in (args.noisy, args.clean))
    halves = match_halves(noisy, *(in_order_of(args.noisy, f) for f in (args.even, args.odd)))
    # Of several processes the first writes and tells.
    with contextlib.ExitStack() as held:
        if ranks.first:
            held.enter_context(output_folder(folder))
            held.enter_context(folder_lock(folder, "a training"))
            if holds_training(folder) and not (args.resume or args.overwrite):
                raise DualError(
                    f"{folder} holds a training or a trained model; give --resume to go on, "
                    "--overwrite to start again without it, or another --output"
                )
            dump_options(args, folder / "train.yaml")
        bar = Progress(config.iterations, args.quiet or not ranks.first)
        try:
            result = train(noisy, clean, folder, config, options, args.resume, bar, ranks, halves)
        finally:
            bar.close()
    if result.finished:
        logger.info("finished; the model is %s", result.model)
        return 0
    if ranks.first:
        logger.warning(
            "stopped at iteration %d of %d (%s); the model so far is %s, go on with --resume",
            result.iterations,
            config.iterations,
            result.reason,
            result.model,
        )
    if result.reason == "time limit":
        return 0
    return 128 + signal.Signals[result.reason]  # as shells count


def _changes(args: argparse.Namespace) -> Dict[str, Any]:
    """What the command line changes in the preset."""
    given = {
        "iterations": args.iterations,
        "batch": args.batch,
        "patch": args.patch,
        "learning_rate": args.learning_rate,
        "start_from": args.start_from,
        "voxel_size_A": args.voxel_size,
        "noisy_voxel_size_A": args.noisy_voxel_size,
        "clean_voxel_size_A": args.clean_voxel_size,
        "tilt_range_deg": tuple(args.tilt_range) if args.tilt_range else None,
        "measured_noise": {"yes": True, "no": False}.get(args.measured_noise),
    }
    changes: Dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    changes.update(
        task=args.task,
        seed=args.seed,
        contrast=args.contrast,
        clean_contrast=args.clean_contrast,
        tilt_axis=args.tilt_axis,
    )
    return changes
