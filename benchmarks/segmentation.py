"""Experiment 4: is a simulated tomogram good to learn from? A segmenter trained on three kinds.

    python benchmarks/segmentation.py --model MODEL
    python benchmarks/segmentation.py --model MODEL --seeds 0 1 --iterations 400
    python benchmarks/segmentation.py --model MODEL --sets many --cells CELLS --iterations 1600

One small U-Net (``segmenter.py``), the same steps and seeds, trained on

* ``dual``: grand_4..7 simulated with ``dual simulate`` (labels class_4..7);
* ``white``: the same grand models and white noise, at the signal-to-noise ratio of real tomograms
  (from the correlation of tomo_8 with grand_8, which a user would not know);
* ``real``: tomo_8 with class_8, the only labelled tomogram beside the test's: a quarter of the
  voxels of the others, but of the very kind that is tested;
* ``cells``: the cells of a folder that ``dual pack`` or ``shrec_cells.py`` has made, simulated like
  those of ``dual``;
* ``many``: both.

Each is tested on tomo_9 with class_9 by the Dice coefficient of five classes, and of four with all
molecules as one. A run whose settings have not changed is not done again. Writes table.md,
scores.csv, slices.png.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from pathlib import Path
from typing import Any, Dict, List, Tuple

import numpy as np
import torch
import yaml
from common import DATA, ROOT, circumstances, dual
from segmenter import (
    CLASSES,
    SegmenterConfig,
    classes_of_packed,
    dice,
    five_classes,
    segment,
    standardised,
    train,
    with_one_molecule,
)

from dual_core.evaluation.truth.metrics import pearson
from dual_core.volumes.reading import open_volume

SETS = ("dual", "white", "real", "cells", "many")
SIMULATED, LABELLED, TESTED = range(4, 8), 8, 9
COLOURS = ("#00000000", "#56b4e9", "#d55e00", "#009e73", "#f0e442")

Pair = Tuple[np.ndarray, np.ndarray]
Row = Dict[str, Any]


def load(path: Path) -> np.ndarray:
    """A whole volume."""
    return open_volume(path, require_voxel_size=False).load()


def labels_of(args: argparse.Namespace, number: int) -> np.ndarray:
    """The five classes of a cell."""
    return five_classes(load(args.data / f"class_{number}.mrc"))


def signal_to_noise(args: argparse.Namespace) -> float:
    """Variance of the structure over that of all else in tomo_8."""
    tomogram = load(args.data / f"tomo_{LABELLED}.mrc")
    correlation = pearson(tomogram, load(args.data / f"grand_{LABELLED}.mrc"))
    return correlation**2 / (1 - correlation**2)


def examples(args: argparse.Namespace, which: str) -> List[Pair]:
    """What a segmenter of this kind learns from: standardised tomograms (dark) and classes."""
    if which == "real":
        tomogram = load(args.data / f"tomo_{LABELLED}.mrc")
        return [(standardised(tomogram), labels_of(args, LABELLED))]
    if which == "white":
        noise = 1 / np.sqrt(signal_to_noise(args))
        rng = np.random.default_rng(0)
        pairs = []
        for number in SIMULATED:
            grand = load(args.data / f"grand_{number}.mrc")
            signal = -(grand - grand.mean()) / grand.std()
            noisy = signal + noise * rng.standard_normal(grand.shape, dtype=np.float32)
            pairs.append((standardised(noisy), labels_of(args, number)))
        return pairs
    pairs = []
    if which != "cells":
        grands = [args.data / f"grand_{number}.mrc" for number in SIMULATED]
        pairs += simulated(args, grands, [labels_of(args, number) for number in SIMULATED])
    if which != "dual":
        grands = packed_cells(args)
        pairs += simulated(args, grands, [classes_of(path) for path in grands])
    return pairs


def packed_cells(args: argparse.Namespace) -> List[Path]:
    """The grand models of the folder, in their order."""
    return sorted(args.cells.glob("grand_model_*.mrc"), key=lambda p: int(p.stem.split("_")[-1]))


def classes_of(path: Path) -> np.ndarray:
    """The five classes of a cell of ``dual pack``."""
    number = path.stem.split("_")[-1]
    record = yaml.safe_load((path.parent / f"pack_{number}.yaml").read_text(encoding="utf-8"))
    return classes_of_packed(load(path.parent / f"class_mask_{number}.mrc"), record)


def simulated(
    args: argparse.Namespace, grands: List[Path], labels: List[np.ndarray]
) -> List[Pair]:
    """Each of these cells as the model's tomograms show it, with its classes."""
    folder = args.output / "simulated" / grands[0].parent.name
    dual(
        ["simulate", "--model", args.model, *grands, "--output", folder, "--copies", args.copies,
         "--contrast", "bright", "--output-contrast", "dark", "--seed", 0, "--resume"],
        args.threads,
    )
    return [
        (standardised(load(folder / f"{path.stem}_simulated_{copy:02d}.mrc")), classes)
        for path, classes in zip(grands, labels)
        for copy in range(1, args.copies + 1)
    ]


def settings_of(args: argparse.Namespace, which: str, config: SegmenterConfig) -> Dict[str, Any]:
    """All that a run depends on, as JSON gives it back."""
    settings: Dict[str, Any] = {"set": which, **vars(config)}
    if which not in ("white", "real"):
        stat = args.model.stat()
        settings.update(
            model=str(args.model), changed=stat.st_mtime, bytes=stat.st_size, copies=args.copies
        )
    if which in ("cells", "many"):
        settings.update(cells=str(args.cells), number=len(packed_cells(args)))
    return json.loads(json.dumps(settings))


def run(args: argparse.Namespace, which: str, seed: int, pairs: Dict[str, List[Pair]]) -> Row:
    """Train and test once, or take what an equal run left; labels go to a file beside."""
    config = SegmenterConfig(seed=seed, iterations=args.iterations)
    memory = args.output / f"{which}_{seed}.json"
    settings = settings_of(args, which, config)
    if memory.exists():
        known = json.loads(memory.read_text(encoding="utf-8"))
        if known["settings"] == settings:
            return known["row"]
    if which not in pairs:
        pairs[which] = examples(args, which)
    print(f"training on '{which}', seed {seed}", flush=True)
    started = time.monotonic()
    network = train(pairs[which], config)
    minutes = (time.monotonic() - started) / 60
    found = segment(network, standardised(load(args.data / f"tomo_{TESTED}.mrc")))
    truth = labels_of(args, TESTED)
    scores = dice(found, truth)
    of_four = dice(with_one_molecule(found), with_one_molecule(truth))
    of_four.pop(3)  # small complexes, which are with the large ones
    voxels = sum(volume.size for volume, _ in pairs[which])
    row: Row = {"set": which, "seed": seed, "voxels": voxels, "minutes": minutes,
                **dict(zip(CLASSES, scores)), "macro": float(np.mean(scores)),
                "molecules": of_four[2], "macro of four": float(np.mean(of_four))}
    np.save(labels_file(args, which, seed), found)
    memory.write_text(json.dumps({"settings": settings, "row": row}), encoding="utf-8")
    print(f"  macro Dice {row['macro']:.3f}", flush=True)
    return row


def labels_file(args: argparse.Namespace, which: str, seed: int) -> Path:
    """Where the classes that a segmenter found are kept."""
    return args.output / f"{which}_{seed}.npy"


def markdown(rows: List[Row]) -> str:
    """The table, a line a run."""
    lines = ["| trained on | seed | voxels | minutes | " + " | ".join(CLASSES)
             + " | macro Dice | molecules as one | macro of four |",
             "|---|---|---|---|" + "---|" * (len(CLASSES) + 3)]
    for row in rows:
        cells = [row["set"], str(row["seed"]), f"{row['voxels'] / 1e6:.1f} M",
                 f"{row['minutes']:.1f}", *(f"{row[name]:.3f}" for name in CLASSES),
                 f"{row['macro']:.3f}", f"{row['molecules']:.3f}", f"{row['macro of four']:.3f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def findings(rows: List[Row]) -> List[str]:
    """The two questions of the experiment, answered with means over the seeds."""
    found = {row["set"] for row in rows}
    mean = {w: float(np.mean([r["macro"] for r in rows if r["set"] == w])) for w in found}
    told = ["Macro Dice, mean over seeds: " + ", ".join(
        f"{which} {mean[which]:.3f}" for which in SETS if which in mean) + "."]
    if {"dual", "white"} <= found:
        told.append(f"dual against white: {mean['dual'] - mean['white']:+.3f}.")
    if {"dual", "real"} <= found:
        told.append(f"dual against real: {100 * (mean['dual'] / mean['real'] - 1):+.1f} %.")
    return told


def draw(args: argparse.Namespace, rows: List[Row]) -> None:
    """The tested tomogram with the classes laid over it: truth, then each kind (first seed)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    tomogram = load(args.data / f"tomo_{TESTED}.mrc")
    shown = {"truth": labels_of(args, TESTED)}
    for row in rows:
        label = f"{row['set']}: {row['macro']:.3f}"
        if not any(name.startswith(f"{row['set']}:") for name in shown):
            shown[label] = np.load(labels_file(args, row["set"], row["seed"]))
    figure = Figure(figsize=(3.1 * len(shown), 5.2), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(
        2, len(shown), squeeze=False,
        gridspec_kw={"height_ratios": [1, tomogram.shape[0] / tomogram.shape[2]]},
    )
    for column, (label, classes) in zip(panels.T, shown.items()):
        for panel, axis in zip(column, (0, 1)):
            grey = np.take(tomogram, tomogram.shape[axis] // 2, axis)
            low, high = np.percentile(grey, [0.5, 99.5])
            panel.imshow(grey, cmap="gray", vmin=low, vmax=high, origin="lower")
            panel.imshow(
                np.take(classes, classes.shape[axis] // 2, axis), cmap=ListedColormap(COLOURS),
                vmin=0, vmax=len(CLASSES) - 1, alpha=0.6, origin="lower", interpolation="none",
            )
            panel.set(xticks=[], yticks=[])
        column[0].set_title(label, fontsize=10)
    handles = [Patch(color=colour, label=name) for colour, name in zip(COLOURS[1:], CLASSES[1:])]
    figure.legend(
        handles=handles, loc="outside lower center", ncols=len(handles), fontsize=9, frameon=False
    )
    figure.savefig(args.output / "slices.png")


def main() -> None:
    """Simulate, train, test, compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, help="a model trained on tomo_0..3 and grand_4..7")
    parser.add_argument("--data", type=Path, default=DATA / "shrec_like")
    parser.add_argument(
        "--output", type=Path, default=ROOT / "benchmarks" / "output" / "segmentation"
    )
    parser.add_argument("--sets", choices=SETS, nargs="+", default=["dual", "white", "real"])
    parser.add_argument("--cells", type=Path, help="a folder of dual pack, for 'cells' and 'many'")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], metavar="N")
    parser.add_argument("--iterations", type=int, default=SegmenterConfig.iterations)
    parser.add_argument("--copies", type=int, default=1, help="simulated of each grand model")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    if args.model is None and not {"white", "real"}.issuperset(args.sets):
        parser.error("simulated tomograms need --model")
    if args.cells is None and {"cells", "many"} & set(args.sets):
        parser.error("the sets 'cells' and 'many' need --cells")
    args.model = args.model.resolve() if args.model else None
    args.cells = args.cells.resolve() if args.cells else None
    args.output.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(args.threads)

    pairs: Dict[str, List[Pair]] = {}
    rows = [run(args, which, seed, pairs) for which in args.sets for seed in args.seeds]
    with open(args.output / "scores.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    told = findings(rows)
    snr = f"SNR of the white noise: {signal_to_noise(args):.3f}."
    foot = "\n".join([*told, snr, circumstances(args.threads)])
    table = f"{markdown(rows)}\n\n{foot}\n"
    (args.output / "table.md").write_text(table, encoding="utf-8")
    draw(args, rows)
    print(table)


if __name__ == "__main__":
    main()
