"""Table 1 of the paper, its classical part: filters tuned on pair 8, tested on pair 9.

    python benchmarks/classical_baselines.py [--data ../shared/data]

prints a Markdown table, and writes the scores as a CSV that ``benchmarks/denoise.py`` shows beside
the model's. The folder holds ``shrec_like/tomo_8.mrc``, ``grand_8.mrc`` and pair 9;
density is dark in the tomograms and bright in the grand models.
"""

from __future__ import annotations

import argparse
import csv
import logging
import time
from pathlib import Path
from typing import Dict, List, Tuple

import numpy as np

from dual_core.evaluation.truth.classical import CRITERIA, tuned_baselines
from dual_core.evaluation.truth.metrics import VolumeScores, score_volume
from dual_core.volumes.reading import open_volume

ROOT = Path(__file__).resolve().parents[1]
OUTPUT = ROOT / "benchmarks" / "output" / "classical_baselines.csv"
SCORES = ("psnr_db", "ssim", "cc", "cc_measured", "cc_wedge")


def load_pair(folder: Path, number: int) -> Tuple[np.ndarray, np.ndarray, float]:
    """Return a tomogram (contrast turned to bright), its truth and the voxel size."""
    truth = open_volume(folder / f"grand_{number}.mrc")
    tomogram = open_volume(folder / f"tomo_{number}.mrc")
    return -tomogram.load(), truth.load(), truth.voxel_size_A


def row(label: str, parameters: str, scores: VolumeScores) -> str:
    """Return a line of the Markdown table."""
    resolutions = [scores.fsc.resolution_A(threshold) for threshold in (0.5, 0.143)]
    cells = [
        label,
        parameters,
        f"{scores.psnr_db:.2f}",
        f"{scores.ssim:.3f}",
        f"{scores.cc:.3f}",
        f"{scores.cc_measured:.2f} / {scores.cc_wedge:.2f}",
        " / ".join("-" if value is None else f"{value:.0f}" for value in resolutions),
    ]
    return "| " + " | ".join(cells) + " |"


def write_csv(path: Path, scored: Dict[Tuple[str, str], VolumeScores]) -> None:
    """Write a row a method: label, parameters, scores."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("method", "parameters", *SCORES))
        for (label, parameters), scores in scored.items():
            writer.writerow((label, parameters, *(getattr(scores, name) for name in SCORES)))


def main() -> None:
    """Tune, test, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--criterion", choices=CRITERIA, default="psnr")
    parser.add_argument("--output", type=Path, default=OUTPUT, metavar="CSV")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")

    folder = args.data / "shrec_like"
    noisy_8, truth_8, _ = load_pair(folder, 8)
    noisy_9, truth_9, voxel_size_A = load_pair(folder, 9)
    started = time.monotonic()
    scored = {("no denoising", ""): score_volume(noisy_9, truth_9, voxel_size_A)}
    for label, parameters, denoised in tuned_baselines(noisy_9, (noisy_8, truth_8), args.criterion):
        scored[label, parameters] = score_volume(denoised, truth_9, voxel_size_A)
    lines: List[str] = [row(*what, scores) for what, scores in scored.items()]
    write_csv(args.output, scored)

    print("| method | parameters | PSNR | SSIM | CC | CC measured / wedge | FSC 0.5 / 0.143 (A) |")
    print("|---|---|---|---|---|---|---|")
    print("\n".join(lines))
    print(f"\nTuned for {args.criterion}; {time.monotonic() - started:.0f} s.")


if __name__ == "__main__":
    main()
