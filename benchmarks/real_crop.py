"""Experiment 2: a real crop, trained with SHREC-like grand models, before and after.

    python benchmarks/real_crop.py --preset quick
    python benchmarks/real_crop.py --preset standard --output docs/images
    python benchmarks/real_crop.py --preset quick --clean default

The crop (``13pf_MT.mrc``, a microtubule and two gold beads, density bright) has no truth: the
pictures are the result. Writes real_crop_slices.png and real_crop_spectra.png into OUTPUT; model
and denoised volume go to WORK. What is in WORK is not trained again.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import List

from common import DATA, ROOT, circumstances, dual

from dual_core.figures import slices_figure, spectra_figure
from dual_core.training.config import PRESETS
from dual_core.volumes.reading import open_volume

GRAND_MODELS = range(4, 8)
SHAPE = (64, 128, 128)


def clean_domain(args: argparse.Namespace, work: Path) -> List[Path]:
    """The grand models of ``shrec_like``, or cells of ``dual pack`` without options."""
    if args.clean == "shrec":
        return [args.data.resolve() / "shrec_like" / f"grand_{n}.mrc" for n in GRAND_MODELS]
    cells = work / "cells"
    if not (cells / "done").exists():
        dual(["pack", "--output", cells, "--count", 3, "--shape", *SHAPE, "--voxel-size",
              open_volume(args.data / "real" / "13pf_MT.mrc").voxel_size_A], args.threads)
        (cells / "done").touch()
    return sorted(cells.glob("grand_model_*.mrc"))


def main() -> None:
    """Train, denoise, draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    output = ROOT / "benchmarks" / "output" / "real_crop"
    parser.add_argument("--data", type=Path, default=DATA, help="holds real/ and shrec_like/")
    parser.add_argument("--output", type=Path, default=output, help="for the pictures")
    parser.add_argument("--work", type=Path, default=output, help="for model and volume")
    parser.add_argument("--preset", choices=PRESETS, default="standard")
    parser.add_argument(
        "--clean", choices=("shrec", "default"), default="shrec",
        help="grand models of shrec_like, or the default cells of dual pack",
    )
    parser.add_argument("--iterations", type=int, help="instead of the preset's")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    work = args.work.resolve() / f"{args.preset}_{args.clean}"
    crop = args.data.resolve() / "real" / "13pf_MT.mrc"
    model, run = work / "run" / "model.safetensors", work / "run"
    if not (model.exists() and (work / "trained").exists()):
        clean = clean_domain(args, work)
        length = ["--iterations", args.iterations] if args.iterations else []
        resume = ["--resume"] if (run / "checkpoint").exists() else []
        seconds = dual(
            ["train", "--noisy", crop, "--clean", *clean, "--output", run, "--contrast", "bright",
             "--preset", args.preset, "--seed", args.seed, "--device", args.device, *length,
             *resume],
            args.threads,
        )
        print(f"trained in {seconds / 60:.1f} minutes")
        (work / "trained").touch()
    dual(
        ["denoise", "--model", model, crop, "--output", work, "--contrast", "bright",
         "--device", args.device, "--resume"],
        args.threads,
    )
    raw = open_volume(crop)
    volumes = {
        "raw": raw.load(),
        "denoised": open_volume(work / f"{crop.stem}_denoised.mrc").load(),
    }
    output = args.output.resolve()
    for draw, name in ((slices_figure, "slices"), (spectra_figure, "spectra")):
        path = draw(volumes, output / f"real_crop_{name}.png", raw.voxel_size_A)
        print(f"written {path}")
    print(circumstances(args.threads))


if __name__ == "__main__":
    main()
