"""Experiment 5: a segmenter that knows one kind of tomogram, on tomograms of another kind.

    python benchmarks/translation.py --cells benchmarks/output/shrec_cells

``dual project`` makes both kinds from cells whose classes are known: tomograms like those that the
segmenter learns from (source), and others of more defocus and noise (target). The target's own
cells have no labels that anything below is told. Tested is one target tomogram (of ``grand_9``)
with a segmenter trained on

* ``source``: the labelled source tomograms, as it is;
* ``translated``: the same segmenter, after the target tomogram was carried over to the source by
  ``dual translate`` (a model of ``dual train --task translate`` on both kinds);
* ``simulated``: the labelled cells as a DUAL model of the target simulates them;
* ``target``: labelled tomograms of the target, which nobody has: the bound.

Dice of five classes; the same steps and seeds. Done again is only what is not there. Writes
table.md and scores.csv.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import Any, Dict, List, Sequence

import numpy as np
import torch
from common import DATA, ROOT, circumstances, dual
from segmentation import load
from segmenter import CLASSES, SegmenterConfig, dice, five_classes, segment, standardised, train

LABELLED, TESTED, UNLABELLED = range(4, 8), 9, range(4)
SOURCE: Sequence[object] = ("--defocus", 3.6, "--snr", 0.6)
TARGET: Sequence[object] = ("--defocus", 6.0, "--snr", 0.25, "--tilt-range", -54, 54, 3)
ROWS = ("source", "translated", "simulated", "target")


class Experiment:
    """The files of the experiment, each made when it is first asked for."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.labelled = [args.data / f"grand_{n}.mrc" for n in LABELLED]
        self.tested = args.data / f"grand_{TESTED}.mrc"
        self.unlabelled = [args.cells / f"grand_model_{n}.mrc" for n in UNLABELLED]

    def projected(self, kind: str, grands: Sequence[Path], seed: int) -> List[Path]:
        """Tomograms of a kind, of some grand models."""
        folder = self.args.output / kind
        settings = SOURCE if kind == "source" else TARGET
        made = [folder / f"{path.stem}_tomogram.mrc" for path in grands]
        if not all(path.exists() for path in made):
            dual(["project", *grands, "--output", folder, "--seed", seed, *settings],
                 self.args.threads)
        return made

    def model(self, name: str, *options: object) -> Path:
        """A trained model."""
        run = self.args.output / f"model_{name}"
        if not (run / "model.safetensors").exists():
            dual(["train", *options, "--output", run, "--preset", self.args.preset,
                  "--tilt-axis", "y", "--seed", 0], self.args.threads)
        return run / "model.safetensors"

    def test_tomogram(self, row: str) -> Path:
        """What the segmenter of a row is applied to."""
        (raw,) = self.projected("target", [self.tested], 2)
        if row != "translated":
            return raw
        noisy = self.projected("target", self.unlabelled, 1)
        clean = self.projected("source", self.labelled, 0)
        model = self.model("translate", "--task", "translate", "--noisy", *noisy, "--clean", *clean)
        folder = self.args.output / "translated"
        dual(["translate", "--model", model, "--direction", "to-clean", raw, "--output", folder,
              "--resume"], self.args.threads)
        return folder / f"{raw.stem}_translated.mrc"

    def learnt_from(self, row: str) -> List[Path]:
        """The tomograms of the labelled cells that the segmenter of a row learns from."""
        if row in ("source", "translated"):
            return self.projected("source", self.labelled, 0)
        if row == "target":
            return self.projected("target", self.labelled, 3)
        noisy = self.projected("target", self.unlabelled, 1)
        model = self.model("target", "--noisy", *noisy, "--clean", *self.labelled)
        folder = self.args.output / "simulated"
        dual(["simulate", "--model", model, *self.labelled, "--output", folder, "--contrast",
              "bright", "--output-contrast", "dark", "--resume"], self.args.threads)
        return [folder / f"{path.stem}_simulated_01.mrc" for path in self.labelled]

    def run(self, row: str, seed: int, networks: Dict[Any, Any]) -> Dict[str, Any]:
        """Train unless an earlier row has, and test."""
        tested = standardised(load(self.test_tomogram(row)))
        learnt = self.learnt_from(row)
        if (learnt[0], seed) not in networks:
            labels = [five_classes(load(self.args.data / f"class_{n}.mrc")) for n in LABELLED]
            pairs = [(standardised(load(path)), one) for path, one in zip(learnt, labels)]
            config = SegmenterConfig(seed=seed, iterations=self.args.iterations)
            networks[learnt[0], seed] = train(pairs, config)
        found = segment(networks[learnt[0], seed], tested)
        scores = dice(found, five_classes(load(self.args.data / f"class_{TESTED}.mrc")))
        print(f"{row}, seed {seed}: macro Dice {np.mean(scores):.3f}", flush=True)
        return {"segmenter": row, "seed": seed, **dict(zip(CLASSES, scores)),
                "macro Dice": float(np.mean(scores))}


def main() -> None:
    """All rows, a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=DATA / "shrec_like")
    parser.add_argument("--cells", type=Path, required=True, help="folder of shrec_cells.py")
    output = ROOT / "benchmarks" / "output" / "translation"
    parser.add_argument("--output", type=Path, default=output)
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--rows", choices=ROWS, nargs="+", default=list(ROWS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--iterations", type=int, default=600)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    args.output = args.output.resolve()
    args.cells = args.cells.resolve()
    args.output.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(args.threads)
    experiment, networks = Experiment(args), {}
    rows = [experiment.run(row, seed, networks) for row in args.rows for seed in args.seeds]
    with open(args.output / "scores.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    lines = ["| " + " | ".join(rows[0]) + " |", "|---" * len(rows[0]) + "|"]
    for row in rows:
        cells = [f"{value:.3f}" if isinstance(value, float) else str(value)
                 for value in row.values()]
        lines.append("| " + " | ".join(cells) + " |")
    table = "\n".join(lines) + f"\n\n{circumstances(args.threads)}\n"
    (args.output / "table.md").write_text(table, encoding="utf-8")
    print(table)


if __name__ == "__main__":
    main()
