"""Experiment 3: do simulated tomograms look like the real one of the same cell?

    python benchmarks/realism.py --model MODEL

``dual simulate`` turns grand_8 into a tomogram, and ``dual evaluate realism`` compares it with
tomo_8, which the model has not seen. Compared in the same way:

* ``white noise``: grand_8 and white noise, at the signal-to-noise ratio that tomo_8 has by its
  correlation with grand_8;
* ``conventional, guessed``: ``dual project`` with the parameters of
  `dual_core.evaluation.realism.references.guessed_simulator`: what can be read off the microscope's
  sheet, 3 micrometres of defocus (the middle of the usual 2 to 4), an SNR of 0.1, no damage,
  no solvent, no detector blur;
* ``conventional, fitted``: with the defaults of ``dual project``, which were fitted to tomo_8 and
  its truth together. A user cannot have these; the row shows what perfect knowledge is worth;
* ``other real tomograms``: tomo_0..3, other cells of the same kind: the floor.

Writes table.md, the files of ``dual evaluate realism`` and the tomograms.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import Dict, List

from common import DATA, ROOT, circumstances, dual

from dual_core.evaluation.realism.references import (
    guessed_simulator,
    projected_reference,
    white_reference,
)
from dual_core.evaluation.truth.metrics import pearson
from dual_core.physics.config import SimulatorConfig
from dual_core.volumes.reading import open_volume, write_volume

CELL, OTHERS = 8, range(4)
COLUMNS = {
    "name": "group",
    "radial_rms": "radial (rms of S/S real - 1)",
    "radial_log_rms": "radial (ln)",
    "angular_rms": "angular (log10)",
    "wedge_contrast": "wedge contrast",
    "wedge_error": "wedge error",
    "wasserstein": "intensity",
    "local": "local statistics",
    "accuracy": "classifier",
}


def simulate(args: argparse.Namespace) -> Dict[str, List[Path]]:
    """The tomograms of every group."""
    grand = args.data / f"grand_{CELL}.mrc"
    dual(
        ["simulate", "--model", args.model, grand, "--output", args.output / "dual",
         "--copies", 1, "--seed", args.seed, "--contrast", "bright", "--output-contrast", "dark",
         "--resume", "--quiet"],
        args.threads,
    )
    truth = open_volume(grand)
    model, size = truth.load(), truth.voxel_size_A
    correlation = pearson(open_volume(args.data / f"tomo_{CELL}.mrc").load(), model)
    snr = correlation**2 / (1 - correlation**2)
    print(f"white noise at an SNR of {snr:.3f}", flush=True)
    groups = {"DUAL": [args.output / "dual" / f"grand_{CELL}_simulated_01.mrc"]}
    made = {
        "white noise": lambda: white_reference(model, snr, args.seed),
        "conventional, guessed": lambda: projected_reference(
            model, guessed_simulator(size), args.seed
        ),
        "conventional, fitted": lambda: projected_reference(
            model, SimulatorConfig(size, contrast="bright"), args.seed
        ),
    }
    for name, make in made.items():
        path = args.output / f"{name.replace(', ', '_').replace(' ', '_')}.mrc"
        write_volume(path, -make(), size)
        groups[name] = [path]
    groups["other real tomograms"] = [args.data / f"tomo_{n}.mrc" for n in OTHERS]
    return groups


def markdown(rows: List[Dict[str, str]]) -> str:
    """The table."""
    lines = ["| " + " | ".join(COLUMNS.values()) + " |", "|---" * len(COLUMNS) + "|"]
    for row in rows:
        cells = []
        for key in COLUMNS:
            if key == "name":
                cells.append(row[key])
            elif key == "wedge_error":
                cells.append(f"{float(row[key]):+.1%}")
            elif key == "accuracy":
                error = float(row["accuracy_standard_error"])
                cells.append(f"{float(row[key]):.3f} ± {error:.3f}")
            else:
                cells.append(f"{float(row[key]):.3f}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def findings(rows: Dict[str, Dict[str, str]]) -> List[str]:
    """The targets, and whether they are met."""
    ours = rows["DUAL"]
    told = [
        f"Wedge contrast of tomo_{CELL}: {float(ours['wedge_contrast_real']):.2f}; "
        f"DUAL within 20 %: {'yes' if abs(float(ours['wedge_error'])) <= 0.2 else 'no'}.",
        "Radial spectrum of DUAL within 15 % rms: "
        + ("yes." if float(ours["radial_rms"]) <= 0.15 else "no."),
    ]
    others = [name for name in ("white noise", "conventional, guessed") if name in rows]
    lower = all(float(ours["accuracy"]) < float(rows[name]["accuracy"]) for name in others)
    told.append(f"Classifier less sure of DUAL than of {' and '.join(others)}: "
                + ("yes." if lower else "no."))
    return told


def main() -> None:
    """Simulate, compare, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model", type=Path, required=True, help="a model trained on tomo_0..3 and grand_4..7"
    )
    parser.add_argument("--data", type=Path, default=DATA / "shrec_like")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "output" / "realism")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    args.model, args.data, args.output = (
        path.resolve() for path in (args.model, args.data, args.output)
    )
    args.output.mkdir(parents=True, exist_ok=True)
    groups = simulate(args)
    named = [f"{name}={path}" for name, paths in groups.items() for path in paths]
    minutes = dual(
        ["evaluate", "realism", "--real", args.data / f"tomo_{CELL}.mrc", "--synthetic", *named,
         "--contrast", "dark", "--seed", args.seed, "--output", args.output],
        args.threads,
    ) / 60
    with open(args.output / "realism.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    told = findings({row["name"]: row for row in rows})
    foot = "\n".join([*told, f"{minutes:.1f} minutes; {circumstances(args.threads)}"])
    table = f"{markdown(rows)}\n\n{foot}\n"
    (args.output / "table.md").write_text(table, encoding="utf-8")
    print(table)


if __name__ == "__main__":
    main()
