"""``dual evaluate volumes``: scores against a truth."""

from __future__ import annotations

import argparse
import contextlib
from typing import TYPE_CHECKING, Dict, Iterator, Tuple

from dual_core.cli.common import output_folder, positive_float
from dual_core.cli.evaluations.against_truth import (
    add_truth_arguments,
    check_tilt_range,
    contrast_of,
    load_alike,
    score_against_truth,
)

if TYPE_CHECKING:
    import numpy as np

SUMMARY = "PSNR, SSIM, CC, Fourier correlations and FSC of volumes against a truth"
DESCRIPTION = (
    "Scores standardised volumes (mean 0, deviation 1) against a truth of the same shape\n"
    "whose density is bright."
)
EXAMPLE = """
  dual evaluate volumes --truth grand_9.mrc tomo_9.mrc denoised/tomo_9_denoised.mrc \\
      --output scores
""".strip("\n")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("volumes", nargs="+", metavar="T.mrc", help="volumes to score")
    parser.add_argument("--truth", required=True, metavar="G.mrc", help="the grand model")
    parser.add_argument("--mask", metavar="M.mrc", help="score inside this mask (0 to 1)")
    parser.add_argument(
        "--data-range",
        type=positive_float,
        metavar="R",
        help="peak for PSNR and SSIM, in deviations of the truth (default: its max - min)",
    )
    add_truth_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Score, print a table and write the files."""
    check_tilt_range(args)
    folder = output_folder(args.output) if args.output else contextlib.nullcontext()
    with folder as output:
        truth, voxel_size_A = load_alike(args.truth, args)
        mask = None
        if args.mask is not None:
            mask = load_alike(args.mask, args, truth.shape, is_mask=True)[0]
        score_against_truth(
            args, _volumes(args, truth, voxel_size_A), truth, voxel_size_A, output,
            args.data_range, mask,
        )
    return 0


def _volumes(
    args: argparse.Namespace, truth: np.ndarray, voxel_size_A: float
) -> Iterator[Tuple[str, Dict[str, object], np.ndarray]]:
    for path in args.volumes:
        volume, _ = load_alike(path, args, truth.shape, voxel_size_A)
        contrast = contrast_of(volume, truth, args.contrast)
        yield path, {"contrast": contrast}, volume if contrast == "bright" else -volume
