"""Real in-situ crops with halves: half coherence, and pictures to look at.

    python benchmarks/in_situ.py --preset quick --output docs/images
    python benchmarks/in_situ.py --preset quick --halves

Trains on the even halves of the crops alone (with --halves on the full crops 0 and 1 with their
halves), with cells of ``dual pack`` as the clean domain. Then both halves of every crop are
denoised, with --keep-measured no and auto, and each result is held against the other half as it was
measured. Prints the ratios by detail, pooled over the crops (with --halves of crop 2 alone, which
no training saw), and draws in_situ.png: raw, filtered, denoised, and the other half. What is in
WORK is not made again.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Dict, List, Sequence

import numpy as np
from common import DATA, ROOT, circumstances, dual
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy.ndimage import gaussian_filter

from dual_core.evaluation.half_coherence import HalfCoherence, half_coherence
from dual_core.training.config import PRESETS
from dual_core.volumes.reading import open_volume

CROPS = (0, 1, 2)
TILTS = (-57.0, 57.0)
SMOOTHING = 1.5  # voxels of the Gaussian that is drawn beside it


def crop(data: Path, number: int, part: str) -> Path:
    """One of the files of a crop: ``even``, ``odd`` or ``full``."""
    return data / "real" / f"insitu_{number}_{part}.mrc"


def train(args: argparse.Namespace, work: Path) -> Path:
    """Pack cells and train on the crops; the model."""
    model = work / "run" / "model.safetensors"
    if (work / "trained").exists():
        return model
    cells = work / "cells"
    if not (cells / "grand_model_1.mrc").exists():
        dual(["pack", "--output", cells, "--count", 2, "--shape", 64, 128, 128,
              "--voxel-size", 15.68, "--seed", 2, *args.pack], args.threads)
    noisy = ["--noisy", *(crop(args.data, n, "even") for n in CROPS)]
    if args.halves:
        noisy = ["--noisy", *(crop(args.data, n, "full") for n in CROPS[:2])]
        for part in ("even", "odd"):
            noisy += [f"--{part}", *(crop(args.data, n, part) for n in CROPS[:2])]
    resume = ["--resume"] if (work / "run" / "checkpoint").exists() else []
    seconds = dual(
        ["train", *noisy, "--clean", *sorted(cells.glob("grand_model_*.mrc")), "--output",
         work / "run", "--contrast", "bright", "--tilt-axis", "x", "--tilt-range", *TILTS,
         "--preset", args.preset, "--seed", args.seed, "--device", args.device, *resume],
        args.threads,
    )
    print(f"trained in {seconds / 60:.1f} minutes")
    (work / "trained").touch()
    return model


def denoised(args: argparse.Namespace, model: Path, folder: Path, keep: str) -> Path:
    """Both halves of every crop, denoised into a folder."""
    halves = [crop(args.data, number, part) for number in CROPS for part in ("even", "odd")]
    dual(["denoise", "--model", model, *halves, "--output", folder, "--contrast", "bright",
          "--keep-measured", keep, "--device", args.device, "--resume", "--quiet"], args.threads)
    return folder


def load(path: Path) -> np.ndarray:
    """A whole volume."""
    return open_volume(path).load()


def score(data: Path, folder: Path, crops: Sequence[int] = CROPS) -> HalfCoherence:
    """Pooled over some crops."""
    total = None
    for number in crops:
        names = [crop(data, number, part) for part in ("even", "odd")]
        raw = [load(name) for name in names]
        results = [load(folder / f"{name.stem}_denoised.mrc") for name in names]
        found = half_coherence(
            (raw[0], raw[1]), (results[0], results[1]), 15.68, TILTS, "x"
        )
        total = found if total is None else total + found
    assert total is not None
    return total


def draw(data: Path, folders: Dict[str, Path], path: Path) -> None:
    """The middle section of every crop: a row a crop."""
    rows: List[Dict[str, np.ndarray]] = []
    for number in CROPS:
        even, odd = (load(crop(data, number, part)) for part in ("even", "odd"))
        name = f"insitu_{number}_even_denoised.mrc"
        rows.append({
            "one half": even,
            f"Gaussian, {SMOOTHING} voxels": gaussian_filter(even, SMOOTHING),
            **{label: load(folder / name) for label, folder in folders.items()},
            f"the other half, Gaussian, {SMOOTHING} voxels": gaussian_filter(odd, SMOOTHING),
        })
    columns = len(rows[0])
    figure = Figure(figsize=(2.6 * columns, 2.7 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(rows), columns, squeeze=False)
    for number, (axes, row) in enumerate(zip(panels, rows)):
        for panel, (label, volume) in zip(axes, row.items()):
            section = volume[len(volume) // 2]
            low, high = np.percentile(section, (0.5, 99.5))
            panel.imshow(section, cmap="gray_r", vmin=low, vmax=high, origin="lower")
            panel.set(xticks=[], yticks=[])
            if number == 0:
                panel.set_title(label, fontsize=8)
    figure.savefig(path, dpi=80)


def main() -> None:
    """Train, denoise, score, draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    output = ROOT / "benchmarks" / "output" / "in_situ"
    parser.add_argument("--data", type=Path, default=DATA, help="holds real/")
    parser.add_argument("--output", type=Path, default=output, help="for the picture")
    parser.add_argument("--work", type=Path, default=output, help="for cells, model, volumes")
    parser.add_argument("--halves", action="store_true", help="train with halves, leave out crop 2")
    parser.add_argument("--pack", nargs="*", default=[], help="further options of dual pack")
    parser.add_argument("--preset", choices=PRESETS, default="quick")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    args.data = args.data.resolve()
    kind = f"{args.preset}_{args.seed}{'_halves' if args.halves else ''}"
    work = args.work.resolve() / kind
    work.mkdir(parents=True, exist_ok=True)
    args.output.mkdir(parents=True, exist_ok=True)
    model = train(args, work)
    folders = {
        "DUAL, --keep-measured no": denoised(args, model, work / "plain", "no"),
        "DUAL": denoised(args, model, work / "kept", "auto"),
    }
    scored = CROPS[2:] if args.halves else CROPS
    scores = {label: score(args.data, folder, scored) for label, folder in folders.items()}
    first = next(iter(scores.values()))
    print("| detail (A) | " + " | ".join(f"{d:.0f}" for d in first.detail_A) + " |")
    print("| raw with raw | " + " | ".join(f"{v:.2f}" for v in first.raw) + " |")
    for label, found in scores.items():
        print(f"| {label} | " + " | ".join(f"{v:.3f}" for v in found.ratio) + " |")
    draw(args.data, folders, args.output / "in_situ.png")
    print(circumstances(args.threads))


if __name__ == "__main__":
    main()
