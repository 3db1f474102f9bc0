"""``dual evaluate baselines``: classical denoisers, tuned on a pair, beside a model."""

from __future__ import annotations

import argparse
import contextlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Dict, Iterator, Tuple

from dual_core.cli.common import add_device_argument, output_folder
from dual_core.cli.evaluations.against_truth import (
    add_truth_arguments,
    check_tilt_range,
    contrast_of,
    load_alike,
    score_against_truth,
)
from dual_core.safety.leftovers import temporary_folder

if TYPE_CHECKING:
    import numpy as np

logger = logging.getLogger(__name__)

SUMMARY = "Gaussian, anisotropic diffusion and non-local means, tuned, beside a model"
DESCRIPTION = "Tunes the classical denoisers on a validation pair, scores them on another."
EXAMPLE = """
  dual evaluate baselines --noisy tomo_9.mrc --truth grand_9.mrc \\
      --validation-noisy tomo_8.mrc --validation-truth grand_8.mrc \\
      --model run/model.safetensors --output scores
""".strip("\n")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--noisy", required=True, metavar="T.mrc", help="tomogram to denoise")
    parser.add_argument("--truth", required=True, metavar="G.mrc", help="its grand model")
    parser.add_argument(
        "--validation-noisy", required=True, metavar="T8.mrc", help="tomogram to tune on"
    )
    parser.add_argument(
        "--validation-truth", required=True, metavar="G8.mrc", help="its grand model"
    )
    parser.add_argument(
        "--criterion", choices=("psnr", "ssim"), default="psnr",
        help="score that the parameters are tuned for"
    )
    parser.add_argument("--model", metavar="M", help="a trained model to compare with")
    parser.add_argument(
        "--topaz",
        metavar="COMMAND",
        help="command that starts topaz, for example 'topaz' or 'PYTHON -m "
        "topaz.commands.denoise3d'",
    )
    add_device_argument(parser)
    add_truth_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Tune, score, print a table and write the files."""
    check_tilt_range(args)
    folder = output_folder(args.output) if args.output else contextlib.nullcontext()
    with folder as output:
        truth, voxel_size_A = load_alike(args.truth, args)
        score_against_truth(
            args, _baselines(args, truth, voxel_size_A), truth, voxel_size_A, output
        )
    return 0


def _baselines(
    args: argparse.Namespace, truth: np.ndarray, voxel_size_A: float
) -> Iterator[Tuple[str, Dict[str, object], np.ndarray]]:
    """Yield label, parameters and denoised volume, in bright contrast."""
    from dual_core.evaluation.truth.classical import topaz_denoise, tuned_baselines

    validation_truth, _ = load_alike(args.validation_truth, args)
    validation_noisy, _ = load_alike(args.validation_noisy, args, validation_truth.shape)
    noisy, _ = load_alike(args.noisy, args, truth.shape, voxel_size_A)
    contrast = contrast_of(noisy, truth, args.contrast)
    logger.info("%s: density is %s", args.noisy, contrast)
    if contrast == "dark":
        noisy = -noisy
    if contrast_of(validation_noisy, validation_truth, args.contrast) == "dark":
        validation_noisy = -validation_noisy
    if args.model is not None:
        yield "DUAL", {"parameters": ""}, _denoise_with_model(args, contrast)
    yield "no denoising", {"parameters": ""}, noisy
    for name, parameters, denoised in tuned_baselines(
        noisy, (validation_noisy, validation_truth), args.criterion, args.margin
    ):
        yield name, {"parameters": parameters}, denoised
    if args.topaz is not None:
        for model in ("unet-3d-10a", "unet-3d-20a"):
            denoised = -topaz_denoise(-noisy, voxel_size_A, args.topaz, model)
            yield "topaz", {"parameters": model}, denoised


def _denoise_with_model(args: argparse.Namespace, contrast: str) -> np.ndarray:
    from dual_core.networks.model import DualModel
    from dual_core.tasks.denoise import DenoiseOptions, denoise_tomogram, make_runner
    from dual_core.volumes.reading import open_volume

    model = DualModel.load(args.model)
    options = DenoiseOptions(contrast=contrast, voxel_size_A=args.voxel_size)
    with temporary_folder() as folder:
        output = Path(folder, "denoised.mrc")
        denoise_tomogram(args.noisy, output, model.card, make_runner(model, args.device), options)
        denoised = open_volume(output).load()
    return denoised if contrast == "bright" else -denoised
