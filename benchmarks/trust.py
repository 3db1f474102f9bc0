"""Experiment: does the trust report tell a good model from an untrained and a noise-fed one?

    python benchmarks/denoise.py --preset standard --seeds 0       # first, for the good model
    python benchmarks/trust.py

Judges with ``dual evaluate trust``, on tomo_9 and on its copy with random phases (pure noise of
the same spectrum): the good model; one that was never trained; and one that was trained on copies
with random phases of tomo_0..3 in place of tomograms, with the true grand models as the clean
domain. The latter two are made here where they are not there yet. The grand model of tomo_9 gives
the correlation with the truth beside the verdicts; no verdict uses it. Writes table.md, trust.csv
and trust.png beside the reports.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
import textwrap
from pathlib import Path
from typing import Any, Dict, List, Optional

import numpy as np
from common import DATA, ROOT, circumstances, dual

from dual_core.evaluation.trust.findings import THRESHOLDS
from dual_core.evaluation.trust.phase_random import randomise_phases
from dual_core.evaluation.truth.metrics import pearson
from dual_core.figures import COLOURS, _new_figure, _plain, _save
from dual_core.volumes.reading import open_volume, write_volume

TRAINED_ON, CLEAN, TESTED = range(4), range(4, 8), 9
COLOUR_OF = {"green": "#009e73", "amber": "#e69f00", "red": "#d55e00"}

Row = Dict[str, Any]


def noise_copy(source: Path, target: Path, seed: int) -> Path:
    """A tomogram with random phases, made once."""
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        volume = open_volume(source)
        copy = randomise_phases(volume.load(), np.random.default_rng(seed))
        write_volume(target, copy, volume.voxel_size_A)
    return target


def untrained_model(path: Path) -> Path:
    """Networks as they are before the first iteration; made anew, as their code may change."""
    import torch

    from dual_core.networks.card import ModelCard
    from dual_core.networks.generators import NetworkConfig
    from dual_core.networks.model import DualModel, plain_config

    torch.manual_seed(0)
    config = NetworkConfig()
    DualModel(config, ModelCard(10.0, "bright", plain_config(config))).save(path)
    return path


def noise_fed_model(args: argparse.Namespace, folder: Path) -> Path:
    """A model whose noisy domain held no structure."""
    model = folder / "noise_fed" / "model.safetensors"
    if not model.exists():
        copies = [
            noise_copy(args.data / f"tomo_{n}.mrc", folder / "noise" / f"tomo_{n}_noise.mrc", n)
            for n in TRAINED_ON
        ]
        dual(
            ["train", "--noisy", *copies, "--clean",
             *(args.data / f"grand_{n}.mrc" for n in CLEAN), "--output", model.parent,
             "--preset", "quick", "--seed", 0, "--contrast", "dark", "--device", args.device],
            args.threads,
        )
    return model


def judge(args: argparse.Namespace, label: str, model: Path, tomogram: Path, what: str) -> Row:
    """One report; an existing one is read."""
    folder = args.output / f"{label.replace(' ', '_')}_on_{what.replace(' ', '_')}"
    if not (folder / "trust.json").exists():
        dual(
            ["evaluate", "trust", "--model", model, tomogram, "--output", folder, "--quiet",
             "--contrast", "dark", "--device", args.device,
             "--tile", args.tile, "--halo", args.halo],
            args.threads,
        )
    report = json.loads((folder / "trust.json").read_text(encoding="utf-8"))
    return {"model": label, "tomogram": what, "verdict": report["verdict"],
            "findings": {one["key"]: one for one in report["tomograms"][0]["findings"]}}


def truth_correlation(args: argparse.Namespace, model: Path) -> float:
    """Correlation of the denoised tomogram with the grand model."""
    with tempfile.TemporaryDirectory() as folder:
        dual(
            ["denoise", "--model", model, args.data / f"tomo_{TESTED}.mrc", "--output", folder,
             "--contrast", "dark", "--output-contrast", "as-model", "--quiet",
             "--device", args.device, "--tile", args.tile, "--halo", args.halo],
            args.threads,
        )
        denoised = open_volume(Path(folder, f"tomo_{TESTED}_denoised.mrc")).load()
    return pearson(denoised, open_volume(args.data / f"grand_{TESTED}.mrc").load())


def markdown(rows: List[Row]) -> str:
    """The table: a line a finding, a column a model and tomogram."""
    heads = [f"{row['model']}, {row['tomogram']}" for row in rows]
    lines = [f"| | {' | '.join(heads)} |", "|---" * (len(rows) + 1) + "|"]
    for key in judged(rows):
        cells = [shown(row["findings"][key]) if key in row["findings"] else "" for row in rows]
        lines.append(f"| `{key}` | {' | '.join(cells)} |")
    lines.append(f"| **verdict** | {' | '.join('**' + row['verdict'] + '**' for row in rows)} |")
    told = ["-" if row["cc"] is None else f"{row['cc']:.3f}" for row in rows]
    lines.append(f"| correlation with the truth | {' | '.join(told)} |")
    return "\n".join(lines)


def judged(rows: List[Row]) -> List[str]:
    """The keys that any of the reports has, in the reports' order."""
    return [key for key in THRESHOLDS if any(key in row["findings"] for row in rows)]


def shown(found: Row) -> str:
    """Value and verdict of a finding."""
    value: Optional[float] = found["value"]
    return f"{'-' if value is None else f'{value:.3f}'} {found['verdict']}"


def draw(rows: List[Row], path: Path) -> None:
    """Values as bars, verdicts as colours, a panel a finding."""
    keys = judged(rows)
    figure = _new_figure(11.0, 5.6)
    panels = figure.subplots(2, -(-len(keys) // 2), squeeze=False).ravel()
    names = [f"{row['model']}\n{row['tomogram']}" for row in rows]
    missing = {"value": None, "verdict": "missing"}
    for number, (panel, key) in enumerate(zip(panels, keys)):
        found = [row["findings"].get(key, missing) for row in rows]
        values = [one["value"] or 0.0 for one in found]
        colours = [COLOUR_OF.get(one["verdict"], COLOURS[0]) for one in found]
        panel.barh(range(len(rows)), np.minimum(values, 2.0), color=colours)
        for place, one in enumerate(found):
            text = f"{one['value']:.2f}" if one["value"] is not None else (
                "" if one is missing else "not measurable"
            )
            across = panel.get_yaxis_transform()
            panel.text(0.03, place, text, va="center", fontsize=8, transform=across)
        panel.set_yticks(range(len(rows)), names if number % (len(panels) // 2) == 0 else [])
        panel.tick_params(labelsize=7)
        panel.invert_yaxis()
        panel.set_title(textwrap.fill(THRESHOLDS[key][0], 30), fontsize=8)
        _plain(panel)
        panel.set_axisbelow(True)
    for panel in panels[len(keys):]:
        panel.set_axis_off()
    _save(figure, path, None)


def write_csv(path: Path, rows: List[Row]) -> None:
    """A line a finding."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("model", "tomogram", "key", "value", "verdict"))
        for row in rows:
            for found in row["findings"].values():
                writer.writerow((row["model"], row["tomogram"], found["key"], found["value"],
                                 found["verdict"]))


def main() -> None:
    """Make the models, judge, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    output = ROOT / "benchmarks" / "output"
    parser.add_argument("--data", type=Path, default=DATA / "shrec_like")
    parser.add_argument("--output", type=Path, default=output / "trust")
    parser.add_argument(
        "--good", type=Path, metavar="M",
        default=output / "denoise" / "standard" / "seed_0_500" / "model.safetensors",
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    # One tile holds the volume: the halo serves its mirrored border only.
    parser.add_argument("--tile", type=int, default=240)
    parser.add_argument("--halo", type=int, default=16)
    args = parser.parse_args()
    args.data, args.output = args.data.resolve(), args.output.resolve()
    args.output.mkdir(parents=True, exist_ok=True)
    if not args.good.exists():
        raise SystemExit(f"{args.good} is not there: run benchmarks/denoise.py first")

    real = args.data / f"tomo_{TESTED}.mrc"
    noise = noise_copy(real, args.output / "noise" / f"tomo_{TESTED}_noise.mrc", TESTED)
    models = {
        "good": args.good.resolve(),
        "untrained": untrained_model(args.output / "untrained.safetensors"),
        "noise-fed": noise_fed_model(args, args.output),
    }
    rows: List[Row] = []
    for label, model in models.items():
        correlation = truth_correlation(args, model)
        for tomogram, what in ((real, "tomo_9"), (noise, "pure noise")):
            row = judge(args, label, model, tomogram, what)
            rows.append({**row, "cc": correlation if tomogram == real else None})
    write_csv(args.output / "trust.csv", rows)
    draw(rows, args.output / "trust.png")
    table = f"{markdown(rows)}\n\n{circumstances(args.threads)}\n"
    (args.output / "table.md").write_text(table, encoding="utf-8")
    print(table)


if __name__ == "__main__":
    main()
