"""Experiment 1: training on SHREC-like tomograms, scored against the truth along the run.

    python benchmarks/classical_baselines.py                        # first, for their rows
    python benchmarks/denoise.py --preset quick --seeds 0 1 2
    python benchmarks/denoise.py --preset standard --seeds 0 1 2 --double

Trains with ``dual train`` on tomo_0..3 and grand_4..7 (other cells), denoises pairs 8 and 9 with
``dual denoise``, and scores them. The truth serves the scores alone. A run is done once: one that
is whole in OUTPUT/PRESET[-METHOD]/seed_SEED_ITERATIONS is not trained again, an interrupted one is
resumed, and its time is then unknown. Writes table.md, scores.csv, curve.csv, curve.png and
slices.png beside the runs.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
from itertools import cycle
from pathlib import Path
from typing import Any, Dict, List, Optional

import numpy as np
from common import DATA, ROOT, circumstances, dual

from dual_core.evaluation.truth.metrics import score_volume
from dual_core.figures import COLOURS, slices_figure
from dual_core.networks.card import read_card
from dual_core.training.config import METHODS, PRESETS, preset_config
from dual_core.training.monitor import read_history
from dual_core.volumes.reading import open_volume

SCORES = ("psnr_db", "ssim", "cc", "cc_measured", "cc_wedge")
TRAIN_NOISY, TRAIN_CLEAN = range(4), range(4, 8)
TESTED, CURVE_ON = (8, 9), 9

Row = Dict[str, Any]


def train(args: argparse.Namespace, run: Path, seed: int, iterations: int) -> Optional[float]:
    """Train unless it is done; minutes of the command, or None where the run was resumed."""
    timing = run / "minutes.json"
    model = run / "model.safetensors"
    if not model.exists() or read_card(model).iterations < iterations:
        resume = (run / "checkpoint").exists()
        seconds = dual(
            [
                "train",
                "--noisy", *(args.data / f"tomo_{n}.mrc" for n in TRAIN_NOISY),
                "--clean", *(args.data / f"grand_{n}.mrc" for n in TRAIN_CLEAN),
                "--output", run, "--preset", args.preset, "--method", args.method,
                "--seed", seed, "--iterations", iterations, "--snapshots", args.snapshots,
                "--device", args.device, *(["--resume"] if resume else []),
            ],
            args.threads,
        )
        minutes = None if resume else seconds / 60
        timing.write_text(json.dumps({"minutes": minutes}), encoding="utf-8")
    if timing.exists():
        return json.loads(timing.read_text(encoding="utf-8"))["minutes"]
    # A run that was started by hand: what its history says, unless that is of several sittings.
    seconds_so_far = [entry["seconds"] for entry in read_history(run)]
    whole = bool(seconds_so_far) and seconds_so_far == sorted(seconds_so_far)
    return seconds_so_far[-1] / 60 if whole else None


def denoise(args: argparse.Namespace, model: Path, numbers: List[int], folder: Path) -> float:
    """Denoise tomograms; seconds."""
    sources = [args.data / f"tomo_{n}.mrc" for n in numbers]
    return dual(
        ["denoise", "--model", model, *sources, "--output", folder, "--contrast", "dark",
         "--device", args.device, "--resume", "--quiet"],
        args.threads,
    )


def score(args: argparse.Namespace, folder: Path, number: int) -> Row:
    """Scores of one denoised tomogram."""
    truth = open_volume(args.data / f"grand_{number}.mrc")
    denoised = -open_volume(folder / f"tomo_{number}_denoised.mrc").load()
    found = score_volume(denoised, truth.load(), truth.voxel_size_A).as_dict()
    return {name: found[name] for name in SCORES}


def curve_of(args: argparse.Namespace, run: Path) -> List[Row]:
    """Scores of the snapshots along a run; scored ones are remembered."""
    memory = run / "curve.json"
    rows: List[Row] = json.loads(memory.read_text()) if memory.exists() else []
    known = {row["iteration"] for row in rows}
    for model in sorted((run / "snapshots").glob("model_*.safetensors")):
        iteration = int(model.stem.rpartition("_")[2])
        if iteration in known:
            continue
        folder = run / "snapshots" / model.stem
        denoise(args, model, [CURVE_ON], folder)
        rows.append({"iteration": iteration, **score(args, folder, CURVE_ON)})
        rows.sort(key=lambda row: row["iteration"])
        memory.write_text(json.dumps(rows), encoding="utf-8")
    return rows


def draw_curves(curves: Dict[str, List[Row]], best_psnr: Optional[float], path: Path) -> None:
    """PSNR and SSIM over iterations, a line a run."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    for panel, (name, title) in zip(
        figure.subplots(1, 2), (("psnr_db", "PSNR (dB)"), ("ssim", "SSIM"))
    ):
        for colour, (label, rows) in zip(cycle(COLOURS), curves.items()):
            panel.plot(
                [row["iteration"] for row in rows], [row[name] for row in rows],
                marker="o", markersize=3, linewidth=1.4, color=colour, label=label,
            )
        if name == "psnr_db" and best_psnr is not None:
            panel.axhline(best_psnr, color="#888888", linestyle=":", label="best classical")
        panel.set_title(f"{title}, tomo_{CURVE_ON} against the truth", fontsize=10)
        panel.set_xlabel("iteration")
        panel.grid(color="#dddddd", linewidth=0.6)
    figure.axes[0].legend(fontsize=8, frameon=False)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    figure.savefig(temporary, format="png")
    os.replace(temporary, path)


def classical_rows(path: Path) -> List[Row]:
    """The rows that ``classical_baselines.py`` wrote; none where it was not run."""
    if not path.exists():
        print(f"{path} is not there: run benchmarks/classical_baselines.py for the classical rows")
        return []
    with open(path, encoding="utf-8", newline="") as file:
        return [
            {"what": f"{row['method']} {row['parameters']}".strip(), "pair": CURVE_ON,
             **{name: float(row[name]) for name in SCORES}}
            for row in csv.DictReader(file)
        ]


def markdown(rows: List[Row]) -> str:
    """The table."""
    lines = [
        "| | pair | iterations | minutes | PSNR (dB) | SSIM | CC | CC measured / wedge |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        minutes = row.get("minutes")
        cells = (
            row["what"], row["pair"], row.get("iterations", ""),
            "" if minutes is None else f"{minutes:.1f}",
            f"{row['psnr_db']:.2f}", f"{row['ssim']:.3f}", f"{row['cc']:.3f}",
            f"{row['cc_measured']:.2f} / {row['cc_wedge']:.2f}",
        )
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def write_csv(path: Path, rows: List[Row]) -> None:
    """Rows of equal or different keys as CSV."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def findings(rows: List[Row], double: Optional[Row]) -> List[str]:
    """Sentences about the spread of the seeds and about longer training, on the test pair."""
    psnr = [row["psnr_db"] for row in rows]
    told = [f"PSNR of {len(psnr)} seeds: {min(psnr):.2f} to {max(psnr):.2f} dB "
            f"(spread {max(psnr) - min(psnr):.2f} dB)."]
    if double is not None:
        gain = double["psnr_db"] - rows[0]["psnr_db"]
        told.append(f"Twice the iterations: {gain:+.2f} dB against the same seed.")
    return told


def main() -> None:
    """Train, denoise, score, draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=DATA / "shrec_like")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "output" / "denoise")
    parser.add_argument("--preset", choices=PRESETS, default="standard")
    parser.add_argument("--method", choices=METHODS, default="stable")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="N")
    parser.add_argument("--double", action="store_true", help="also twice as long (first seed)")
    parser.add_argument("--iterations", type=int, help="instead of the preset's")
    parser.add_argument("--snapshots", type=int, default=8, help="points of the curve")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--classical", type=Path, metavar="CSV",
        default=ROOT / "benchmarks" / "output" / "classical_baselines.csv",
    )
    args = parser.parse_args()
    args.data, args.output = args.data.resolve(), args.output.resolve()
    length = args.iterations or preset_config(args.preset, args.method).iterations
    name = args.preset if args.method == "stable" else f"{args.preset}-{args.method}"
    output = args.output / name
    output.mkdir(parents=True, exist_ok=True)

    runs = [(f"{name}, seed {seed}", seed, length) for seed in args.seeds]
    if args.double:
        runs.append((f"{name} twice as long, seed {args.seeds[0]}", args.seeds[0], 2 * length))
    rows: List[Row] = []
    curves: Dict[str, List[Row]] = {}
    shown: Dict[str, np.ndarray] = {}
    for label, seed, iterations in runs:
        run = output / f"seed_{seed}_{iterations}"
        minutes = train(args, run, seed, iterations)
        denoise(args, run / "model.safetensors", list(TESTED), run / "denoised")
        for pair in TESTED:
            rows.append({"what": f"DUAL {label}", "pair": pair, "seed": seed,
                         "iterations": iterations, "minutes": minutes,
                         **score(args, run / "denoised", pair)})
        curves[label] = curve_of(args, run)
        if not shown:
            truth = open_volume(args.data / f"grand_{CURVE_ON}.mrc")
            shown = {
                "raw": -open_volume(args.data / f"tomo_{CURVE_ON}.mrc").load(),
                "DUAL": -open_volume(run / "denoised" / f"tomo_{CURVE_ON}_denoised.mrc").load(),
                "truth": truth.load(),
            }
            slices_figure(shown, output / "slices.png", truth.voxel_size_A)
    classical = classical_rows(args.classical)
    write_csv(output / "scores.csv", classical + rows)
    points = [{"run": label, **row} for label, found in curves.items() for row in found]
    best = max((row["psnr_db"] for row in classical), default=None)
    if points:
        write_csv(output / "curve.csv", points)
        draw_curves(curves, best, output / "curve.png")
    tested = [row for row in rows if row["pair"] == CURVE_ON]
    double = tested.pop() if args.double else None
    foot = "\n".join([*findings(tested, double), circumstances(args.threads)])
    table = f"{markdown(classical + rows)}\n\n{foot}\n"
    (output / "table.md").write_text(table, encoding="utf-8")
    print(table)


if __name__ == "__main__":
    main()
