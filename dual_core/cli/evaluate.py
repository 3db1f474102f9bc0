"""Score volumes against a truth, or compare classical denoisers tuned on a validation pair.

'dual evaluate volumes --help' and 'dual evaluate baselines --help' show the options of each.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import tempfile
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Dict, Iterator, List, Optional, Sequence, Tuple

from dual_core.cli.common import (
    add_device_argument,
    dump_options,
    non_negative_int,
    output_folder,
    positive_float,
    replacing,
)
from dual_core.errors import DualError

if TYPE_CHECKING:
    import numpy as np

    from dual_core.evaluation.metrics import VolumeScores

logger = logging.getLogger(__name__)

VOLUMES_EXAMPLE = """
  dual evaluate volumes --truth grand_9.mrc tomo_9.mrc denoised/tomo_9_denoised.mrc \\
      --output scores
""".strip("\n")
BASELINES_EXAMPLE = """
  dual evaluate baselines --noisy tomo_9.mrc --truth grand_9.mrc \\
      --validation-noisy tomo_8.mrc --validation-truth grand_8.mrc \\
      --model run/model.safetensors --output scores
""".strip("\n")
EXAMPLE = textwrap.dedent(f"{VOLUMES_EXAMPLE}\n{BASELINES_EXAMPLE}")

# Key of a row -> heading and format in the printed table.
COLUMNS: Dict[str, Tuple[str, str]] = {
    "name": ("name", ""),
    "contrast": ("contrast", ""),
    "parameters": ("parameters", ""),
    "psnr_db": ("PSNR (dB)", ".2f"),
    "ssim": ("SSIM", ".3f"),
    "cc": ("CC", ".3f"),
    "cc_measured": ("CC measured", ".3f"),
    "cc_wedge": ("CC wedge", ".3f"),
    "fsc_0.5_A": ("FSC 0.5 (A)", ".1f"),
    "fsc_0.143_A": ("FSC 0.143 (A)", ".1f"),
}
SAME_VOXEL_SIZE = 0.01

Row = Dict[str, object]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the nested commands and their options."""
    nested = parser.add_subparsers(dest="what", metavar="WHAT", required=True)
    volumes = nested.add_parser(
        "volumes",
        help="PSNR, SSIM, CC, Fourier correlations and FSC of volumes against a truth",
        description="Scores standardised volumes (mean 0, deviation 1) against a truth of the same "
        "shape\nwhose density is bright.",
        epilog=f"example:\n{VOLUMES_EXAMPLE}",
    )
    volumes.add_argument("volumes", nargs="+", metavar="T.mrc", help="volumes to score")
    volumes.add_argument("--truth", required=True, metavar="G.mrc", help="the grand model")
    volumes.add_argument("--mask", metavar="M.mrc", help="score inside this mask (0 to 1)")
    volumes.add_argument(
        "--data-range",
        type=positive_float,
        metavar="R",
        help="peak for PSNR and SSIM, in deviations of the truth (default: its max - min)",
    )
    _add_shared(volumes)

    baselines = nested.add_parser(
        "baselines",
        help="Gaussian, anisotropic diffusion and non-local means, tuned, beside a model",
        description="Tunes the classical denoisers on a validation pair, scores them on another.",
        epilog=f"example:\n{BASELINES_EXAMPLE}",
    )
    baselines.add_argument("--noisy", required=True, metavar="T.mrc", help="tomogram to denoise")
    baselines.add_argument("--truth", required=True, metavar="G.mrc", help="its grand model")
    baselines.add_argument(
        "--validation-noisy", required=True, metavar="T8.mrc", help="tomogram to tune on"
    )
    baselines.add_argument(
        "--validation-truth", required=True, metavar="G8.mrc", help="its grand model"
    )
    baselines.add_argument(
        "--criterion", choices=("psnr", "ssim"), default="psnr", help="what is tuned for"
    )
    baselines.add_argument("--model", metavar="M", help="a trained model to compare with")
    baselines.add_argument(
        "--topaz",
        metavar="COMMAND",
        help="what starts topaz, for example 'topaz' or 'PYTHON -m topaz.commands.denoise3d'",
    )
    add_device_argument(baselines)
    _add_shared(baselines)


def _add_shared(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--contrast",
        choices=("auto", "dark", "bright"),
        default="auto",
        help="density of the volumes; auto takes the one that correlates with the truth",
    )
    parser.add_argument(
        "--margin",
        type=non_negative_int,
        default=0,
        metavar="N",
        help="voxels left out along every face",
    )
    parser.add_argument(
        "--tilt-range",
        nargs=2,
        type=float,
        default=[-60.0, 60.0],
        metavar=("MIN", "MAX"),
        help="tilt angles in degrees, for the correlation inside the missing wedge",
    )
    parser.add_argument("--tilt-axis", choices=("y", "x"), default="y", help="axis of the tilt")
    parser.add_argument(
        "--voxel-size", type=positive_float, metavar="A", help="instead of the one in the headers"
    )
    parser.add_argument("--output", metavar="DIR", help="write CSV, JSON and PNG")


def run(args: argparse.Namespace) -> int:
    """Score, print a table and write the files."""
    if args.tilt_range[0] >= args.tilt_range[1]:
        raise DualError("--tilt-range needs the smaller angle first, for example -60 60")
    if not args.output:
        return _score(args, None)
    with output_folder(args.output) as folder:
        return _score(args, folder)


def _score(args: argparse.Namespace, output: Optional[Path]) -> int:
    truth, voxel_size_A = _load(args.truth, args)
    volumes: Iterator[Tuple[str, str, np.ndarray]]
    mask, data_range, wanted = None, None, "bright"
    if args.what == "volumes":
        data_range, wanted = args.data_range, args.contrast
        if args.mask is not None:
            mask, _ = _load(args.mask, args, truth.shape)
        volumes = (
            (path, "", _load(path, args, truth.shape, voxel_size_A)[0]) for path in args.volumes
        )
    else:
        volumes = _baselines(args, truth, voxel_size_A)

    from dual_core.evaluation.metrics import score_volume

    rows: List[Row] = []
    scored: Dict[str, VolumeScores] = {}
    pictures: Dict[str, np.ndarray] = {}
    for name, parameters, volume in volumes:
        contrast = _contrast(volume, truth, wanted)
        bright = volume if contrast == "bright" else -volume
        tilts = (tuple(args.tilt_range), args.tilt_axis)
        scores = score_volume(bright, truth, voxel_size_A, data_range, args.margin, mask, *tilts)
        told = {"contrast": contrast} if args.what == "volumes" else {"parameters": parameters}
        rows.append({"name": name, **told, **scores.as_dict()})
        scored[name] = scores
        if output:
            pictures[name] = bright
    print(format_table(rows))
    if output:
        _write(output, rows, scored, {**pictures, "truth": truth}, voxel_size_A, args)
    return 0


def format_table(rows: Sequence[Row]) -> str:
    """Return the rows as aligned text; ``-`` where a value is undefined."""
    keys = [key for key in COLUMNS if key in rows[0]]
    cells = [[COLUMNS[key][0] for key in keys]]
    for row in rows:
        cells.append(
            ["-" if row[key] is None else format(row[key], COLUMNS[key][1]) for key in keys]
        )
    widths = [max(len(line[i]) for line in cells) for i in range(len(keys))]
    numeric = [bool(COLUMNS[key][1]) for key in keys]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric)
        ).rstrip()
        for line in cells
    )


def _baselines(
    args: argparse.Namespace, truth: np.ndarray, voxel_size_A: float
) -> Iterator[Tuple[str, str, np.ndarray]]:
    """Yield label, parameters and denoised volume, in bright contrast."""
    from dual_core.evaluation.classical import topaz_denoise, tuned_baselines

    validation_truth, _ = _load(args.validation_truth, args)
    validation_noisy, _ = _load(args.validation_noisy, args, validation_truth.shape)
    noisy, _ = _load(args.noisy, args, truth.shape, voxel_size_A)
    contrast = _contrast(noisy, truth, args.contrast)
    logger.info("%s: density is %s", args.noisy, contrast)
    if contrast == "dark":
        noisy = -noisy
    if _contrast(validation_noisy, validation_truth, args.contrast) == "dark":
        validation_noisy = -validation_noisy
    if args.model is not None:
        yield "DUAL", "", _denoise_with_model(args, contrast)
    yield "no denoising", "", noisy
    yield from tuned_baselines(
        noisy, (validation_noisy, validation_truth), args.criterion, args.margin
    )
    if args.topaz is not None:
        for model in ("unet-3d-10a", "unet-3d-20a"):
            yield "topaz", model, -topaz_denoise(-noisy, voxel_size_A, args.topaz, model)


def _denoise_with_model(args: argparse.Namespace, contrast: str) -> np.ndarray:
    from dual_core.model import DualModel
    from dual_core.tasks.denoise import DenoiseOptions, denoise_tomogram, make_runner
    from dual_core.volumes import open_volume

    model = DualModel.load(args.model)
    options = DenoiseOptions(contrast=contrast, voxel_size_A=args.voxel_size)
    with tempfile.TemporaryDirectory(prefix="dual-evaluate-") as folder:
        output = Path(folder, "denoised.mrc")
        denoise_tomogram(args.noisy, output, model.card, make_runner(model, args.device), options)
        denoised = open_volume(output).load()
    return denoised if contrast == "bright" else -denoised


def _load(
    path: str,
    args: argparse.Namespace,
    shape: Optional[Tuple[int, ...]] = None,
    voxel_size_A: Optional[float] = None,
) -> Tuple[np.ndarray, float]:
    """Read a volume and its voxel size, which must be those of the truth where given."""
    from dual_core.volumes import open_volume

    volume = open_volume(path, voxel_size_A=args.voxel_size)
    if shape is not None and tuple(volume.shape) != tuple(shape):
        raise DualError(
            f"{path} has shape {tuple(volume.shape)}, its truth {tuple(shape)} (z, y, x); "
            "give volumes of one shape"
        )
    found = volume.voxel_size_A
    if voxel_size_A is not None and abs(found / voxel_size_A - 1) > SAME_VOXEL_SIZE:
        raise DualError(
            f"{path} has voxels of {found:g} A, its truth of {voxel_size_A:g} A; "
            "give --voxel-size if a header is wrong"
        )
    return volume.load(), found


def _contrast(volume: np.ndarray, truth: np.ndarray, wanted: str) -> str:
    if wanted != "auto":
        return wanted
    from dual_core.evaluation.metrics import pearson

    # With a truth at hand its sign is safer than any guess from the volume alone.
    return "dark" if pearson(volume, truth) < 0 else "bright"


def _write(
    folder: Path,
    rows: Sequence[Row],
    scored: Dict[str, VolumeScores],
    pictures: Dict[str, np.ndarray],
    voxel_size_A: float,
    args: argparse.Namespace,
) -> None:
    from dual_core.figures import slices_figure, spectra_figure

    with replacing(folder / "scores.csv") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    frequencies = next(iter(scored.values())).fsc.frequency_per_A.tolist()
    curves = {"frequency_per_A": frequencies}
    curves.update({name: scores.fsc.correlation.tolist() for name, scores in scored.items()})
    with replacing(folder / "scores.json") as file:
        json.dump({"truth": args.truth, "scores": list(rows), "fsc": curves}, file, indent=1)
    with replacing(folder / "fsc.csv") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(curves)
        lines.writerows(zip(*curves.values()))
    shown = {Path(name).name: picture for name, picture in pictures.items()}
    if len(shown) < len(pictures):
        shown = pictures
    slices_figure(shown, folder / "slices.png", voxel_size_A)
    spectra_figure(shown, folder / "spectra.png", voxel_size_A)
    dump_options(args, folder / "evaluate.yaml")
    logger.info("written: %s", folder)
