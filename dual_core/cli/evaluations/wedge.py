"""``dual evaluate wedge``: how well a missing wedge was filled."""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Dict, List, Optional, Tuple

from dual_core.cli.common import (
    add_device_argument,
    dump_options,
    finite_float,
    non_negative_int,
    output_folder,
    replacing,
    voxel_size,
)
from dual_core.cli.evaluations.against_truth import contrast_of, load_alike
from dual_core.cli.evaluations.table import Row, format_table
from dual_core.errors import DualError
from dual_core.safety.leftovers import temporary_folder

if TYPE_CHECKING:
    import numpy as np

logger = logging.getLogger(__name__)

SUMMARY = "how well a missing wedge was filled: against a truth, or by a second wedge"
DESCRIPTION = (
    "With --truth and --raw: scores tomograms of 'dual compensate' against their grand model.\n"
    "With --model and --double: fills the wedge of a tomogram, cuts a second wedge along x, fills\n"
    "that too, and compares it with what was cut (table 3 of the paper). No truth is needed, but\n"
    "what was cut holds noise that nothing can predict: read the numbers beside the references."
)
EXAMPLE = """
  dual evaluate wedge --truth grand_9.mrc --raw tomo_9.mrc --tilt-range -60 60 \\
      filled/tomo_9_compensated.mrc --output scores
  dual evaluate wedge --model run/model.safetensors --double tomo_9.mrc --tilt-range -60 60
""".strip("\n")

COLUMNS: Dict[str, Tuple[str, str]] = {
    "name": ("name", ""),
    "psnr_db": ("PSNR (dB)", ".2f"),
    "ssim": ("SSIM", ".3f"),
    "cc": ("CC", ".3f"),
    "cc_measured": ("CC measured", ".3f"),
    "cc_wedge": ("CC wedge", ".3f"),
    "kept": ("measured kept", ".5f"),
    "wedge_power": ("wedge power", ".3f"),
    "cc_band": ("CC 100 to 4 voxels", ".3f"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "volumes", nargs="*", metavar="C.mrc", help="compensated tomograms (with --truth)"
    )
    parser.add_argument("--truth", metavar="G.mrc", help="the grand model")
    parser.add_argument("--raw", metavar="T.mrc", help="the tomogram before compensation")
    parser.add_argument("--double", metavar="T.mrc", help="tomogram for the double-wedge test")
    parser.add_argument(
        "--model", metavar="M", help="the model that fills the wedge (with --double)"
    )
    parser.add_argument(
        "--measured-from", metavar="M", help="as for 'dual compensate' (with --double)"
    )
    parser.add_argument(
        "--amplitude",
        choices=("auto", "shells", "single", "model"),
        default="auto",
        help="as for 'dual compensate' (with --double)",
    )
    parser.add_argument(
        "--tilt-range",
        nargs=2,
        type=finite_float,
        required=True,
        metavar=("MIN", "MAX"),
        help="smallest and largest tilt angle in degrees",
    )
    parser.add_argument("--tilt-axis", choices=("y", "x"), default="y", help="axis of the tilt")
    parser.add_argument(
        "--contrast",
        choices=("auto", "dark", "bright"),
        default="auto",
        help="density of the tomograms; auto detects it",
    )
    parser.add_argument(
        "--voxel-size", type=voxel_size, metavar="A",
        help="voxel size in angstrom, instead of the one in the headers"
    )
    parser.add_argument(
        "--seed", type=non_negative_int, default=0, metavar="N",
        help="random seed of the noise reference"
    )
    add_device_argument(parser)
    parser.add_argument("--output", metavar="DIR", help="write CSV, JSON and PNG")


def run(args: argparse.Namespace) -> int:
    """Score, print a table and write the files."""
    with_truth = args.truth is not None and args.raw is not None and bool(args.volumes)
    double = args.double is not None and args.model is not None
    if with_truth == double:
        raise DualError(
            "give either --truth G.mrc --raw T.mrc and compensated tomograms, or --model M and "
            "--double T.mrc"
        )
    if not -90 <= args.tilt_range[0] < args.tilt_range[1] <= 90:
        raise DualError("--tilt-range needs the smaller angle first, for example -60 60")
    folder = output_folder(args.output) if args.output else contextlib.nullcontext()
    with folder as output:
        rows, volumes, voxel_size_A = _double(args) if double else _with_truth(args)
        print(format_table(rows, COLUMNS))
        if output:
            _write(output, args, rows, volumes, voxel_size_A)
    return 0


Result = Tuple[List[Row], Dict[str, "np.ndarray"], float]


def _with_truth(args: argparse.Namespace) -> Result:
    from dual_core.evaluation.truth.wedge import score_against_truth

    truth, voxel_size_A = load_alike(args.truth, args)
    raw, _ = load_alike(args.raw, args, truth.shape, voxel_size_A)
    dark = contrast_of(raw, truth, args.contrast) == "dark"
    volumes: Dict[str, np.ndarray] = {}
    for path in (args.raw, *args.volumes):
        volume, _ = load_alike(path, args, truth.shape, voxel_size_A)
        volumes[path] = _upright(-volume if dark else volume, args)
    truth = _upright(truth, args)
    tilt_range = (args.tilt_range[0], args.tilt_range[1])
    rows: List[Row] = [
        {
            "name": name,
            **score_against_truth(volume, truth, volumes[args.raw], tilt_range, voxel_size_A),
        }
        for name, volume in volumes.items()
    ]
    return rows, {**volumes, "truth": truth}, voxel_size_A


def _double(args: argparse.Namespace) -> Result:
    import numpy as np

    from dual_core.evaluation.truth.wedge import double_wedge
    from dual_core.networks.model import DualModel
    from dual_core.tasks.denoise import make_runner
    from dual_core.tasks.missing_wedge import CompensateOptions, compensate_tomogram
    from dual_core.volumes.described.describe import describe
    from dual_core.volumes.reading import open_volume, write_volume

    source = open_volume(args.double, voxel_size_A=args.voxel_size)
    contrast = args.contrast
    if contrast == "auto":
        contrast = describe(source).contrast.contrast
        logger.info("%s: density is %s (detected)", args.double, contrast)
    tilt_range = (args.tilt_range[0], args.tilt_range[1])
    options = CompensateOptions(tilt_range, amplitude=args.amplitude, contrast=contrast)
    model = DualModel.load(args.model)
    runner = make_runner(model, args.device)
    measured_from = None
    if args.measured_from is not None:
        other = DualModel.load(args.measured_from)
        measured_from = (other.card, make_runner(other, args.device))

    with temporary_folder() as folder:

        def compensate(volume: np.ndarray) -> np.ndarray:
            before, after = Path(folder, "before.mrc"), Path(folder, "after.mrc")
            write_volume(before, volume, source.voxel_size_A)
            compensate_tomogram(
                before, after, model.card, runner, options, measured_from=measured_from
            )
            return open_volume(after).load()

        tomogram = _upright(source.load(), args)
        found = double_wedge(compensate, tomogram, tilt_range, np.random.default_rng(args.seed))
    rows: List[Row] = [{"name": name, **scores} for name, scores in found.scores.items()]
    return rows, {"tomogram": tomogram, **found.volumes}, source.voxel_size_A


def _upright(volume: np.ndarray, args: argparse.Namespace) -> np.ndarray:
    """With the tilt axis along y."""
    return volume.swapaxes(1, 2).copy() if args.tilt_axis == "x" else volume


def _write(
    folder: Path,
    args: argparse.Namespace,
    rows: List[Row],
    volumes: Dict[str, np.ndarray],
    voxel_size_A: float,
) -> None:
    from dual_core.figures import slices_figure, spectra_figure

    with replacing(folder / "scores.csv") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    what: Dict[str, Optional[str]] = {"truth": args.truth, "double": args.double}
    with replacing(folder / "scores.json") as file:
        json.dump({**what, "tilt_range": args.tilt_range, "scores": rows}, file, indent=1)
    shown = {Path(name).name: volume for name, volume in volumes.items()}
    if len(shown) < len(volumes):
        shown = volumes
    slices_figure(shown, folder / "slices.png", voxel_size_A, planes=("xz", "xy"))
    spectra_figure(shown, folder / "spectra.png", voxel_size_A)
    dump_options(args, folder / "evaluate.yaml")
    logger.info("written: %s", folder)
