"""Missing-wedge compensation: against a truth, by a second wedge, and for an asymmetric range.

    python benchmarks/missing_wedge.py --model run/model.safetensors --name "a denoising model"

1. ``tomo_9`` is compensated and scored against ``grand_9``: inside the wedge, outside it, whole.
2. The double-wedge protocol of table 3 of the paper on ``tomo_9`` and on the real ``13pf_MT``.
3. ``grand_9`` is simulated with tilts from -50 to 70 degrees and compensated: what changes must be
   exactly what was not measured.

Writes table.md and pictures to OUTPUT/NAME.
"""

from __future__ import annotations

import argparse
import json
import os
import re
from pathlib import Path
from typing import Any, Dict, List

import numpy as np
import scipy.fft
from common import DATA, ROOT, circumstances, dual

from dual_core.figures import slices_figure, spectra_figure
from dual_core.tasks.wedge.merge import wedge_weight
from dual_core.volumes.geometry import wedge_mask
from dual_core.volumes.reading import open_volume

RANGE = ("-60", "60")
ASYMMETRIC = (-50.0, 70.0)
REAL_RANGE = ("-65", "65")


def compensate(args: argparse.Namespace, source: Path, folder: Path, *options: object) -> Path:
    """Run ``dual compensate``; the file it wrote."""
    dual(
        ["compensate", "--model", args.model, source, "--output", folder, "--device", args.device,
         "--resume", *options],
        args.threads,
    )
    return folder / f"{source.stem}_compensated.mrc"


def variants(args: argparse.Namespace) -> Dict[str, List[object]]:
    """What is compared: label -> options of ``dual compensate``."""
    found: Dict[str, List[object]] = {f"amplitude {a}": ["--amplitude", a] for a in args.amplitudes}
    if args.measured_from:
        found["measured region denoised"] = ["--measured-from", args.measured_from]
    return found


def against_truth(args: argparse.Namespace, output: Path) -> str:
    """Part 1, as a table."""
    data = args.data / "shrec_like"
    raw = data / "tomo_9.mrc"
    made = {}
    for label, options in variants(args).items():
        folder = output / "truth" / label.replace(" ", "_")
        done = compensate(
            args, raw, folder, "--tilt-range", *RANGE, "--contrast", "dark", *options
        )
        made[label] = folder / f"{label.replace(' ', '_')}.mrc"
        if not made[label].exists():
            os.link(done, made[label])
    scores = output / "truth" / "scores"
    dual(
        ["evaluate", "wedge", "--truth", data / "grand_9.mrc", "--raw", raw, *made.values(),
         "--tilt-range", *RANGE, "--contrast", "dark", "--output", scores],
        args.threads,
    )
    rows = json.loads((scores / "scores.json").read_text(encoding="utf-8"))["scores"]
    lines = [
        "| `tomo_9` | CC in the wedge | CC where measured | CC | SSIM | PSNR (dB) | measured kept "
        "| wedge power |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for label, row in zip(["as it is", *made], rows):
        lines.append(
            f"| {label} | {row['cc_wedge']:.3f} | {row['cc_measured']:.3f} | {row['cc']:.3f} "
            f"| {row['ssim']:.3f} | {row['psnr_db']:.2f} | {row['kept']:.5f} "
            f"| {row['wedge_power']:.3f} |"
        )
    return "\n".join(lines)


def double_wedge(args: argparse.Namespace, output: Path) -> str:
    """Part 2, as a table."""
    lines = [
        "| second wedge of | | PSNR (dB) | SSIM | CC | CC 100 to 4 voxels |",
        "|---|---|---|---|---|---|",
    ]
    jobs = [
        ("tomo_9", args.data / "shrec_like" / "tomo_9.mrc", args.model, RANGE, "dark"),
        ("13pf_MT", args.data / "real" / "13pf_MT.mrc", args.real_model, REAL_RANGE, "bright"),
    ]
    for name, source, model, tilts, contrast in jobs:
        for number, (label, options) in enumerate(variants(args).items()):
            folder = output / "double" / f"{name}_{label.replace(' ', '_')}"
            if not (folder / "scores.json").exists():
                dual(
                    ["evaluate", "wedge", "--model", model, "--double", source, "--tilt-range",
                     *tilts, "--contrast", contrast, "--device", args.device, "--output", folder,
                     *options],
                    args.threads,
                )
            rows = json.loads((folder / "scores.json").read_text(encoding="utf-8"))["scores"]
            for row in rows:
                if row["name"] != "compensated" and number:
                    continue
                row["name"] = row["name"].replace("compensated", f"filled, {label}")
                cells = [
                    "-" if row[key] is None else f"{row[key]:.{digits}f}"
                    for key, digits in (("psnr_db", 2), ("ssim", 3), ("cc", 3), ("cc_band", 3))
                ]
                lines.append(f"| `{name}` | {row['name']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def asymmetric(args: argparse.Namespace, output: Path) -> str:
    """Part 3, in words."""
    folder = output / "asymmetric"
    simulated = folder / "grand_9_tomogram.mrc"
    tilts = [f"{angle:g}" for angle in ASYMMETRIC]
    if not simulated.exists():
        dual(
            ["project", args.data / "shrec_like" / "grand_9.mrc", "--output", folder,
             "--tilt-range", *tilts, "3", "--seed", "0"],
            args.threads,
        )
    done = compensate(args, simulated, folder, "--tilt-range", *tilts, "--contrast", "dark")
    before, after = open_volume(simulated).load(), open_volume(done).load()
    found = changed_region(before, after)
    shown = {"simulated, -50 to 70": -before, "compensated": -after}
    voxel_size_A = open_volume(simulated).voxel_size_A
    spectra_figure(shown, output / "asymmetric_spectra.png", voxel_size_A)
    slices_figure(shown, output / "asymmetric_slices.png", voxel_size_A, planes=("xz", "xy"))
    return (
        f"Simulated with {tilts[0]} to {tilts[1]} degrees. Of the power of the change, "
        f"{found['measured_share']:.1e} lies on coefficients that were measured; "
        f"the largest change of one of them is {found['largest_measured']:.1e} of the root mean "
        f"square measured coefficient. Of the coefficients in the wedge beyond the soft edge "
        f"{100 * found['changed']:.2f} % changed by more than that. The simulated tomogram itself "
        f"has a power per coefficient in the wedge of {found['wedge_power']:.3f} of that outside."
    )


def changed_region(before: np.ndarray, after: np.ndarray) -> Dict[str, float]:
    """Where in Fourier space two volumes differ, against the asymmetric range."""
    depth, _, width = before.shape
    half = width // 2 + 1
    measured = wedge_mask((depth, 1, width), ASYMMETRIC)[:, 0, :half]
    full = wedge_weight((depth, width), ASYMMETRIC) == 1
    spectrum = scipy.fft.rfft2(before, axes=(0, 2)).transpose(0, 2, 1)
    change = np.abs(scipy.fft.rfft2(after - before, axes=(0, 2))).transpose(0, 2, 1)
    power = np.abs(spectrum) ** 2
    zero = np.zeros(measured.shape, bool)
    zero[0, 0] = True
    typical = float(np.sqrt(power[measured & ~zero].mean()))
    largest = float(change[measured].max())
    return {
        "measured_share": float((change[measured] ** 2).sum() / (change**2).sum()),
        "largest_measured": largest / typical,
        "changed": float((change[full] > largest).mean()),
        "wedge_power": float(power[~measured].mean() / power[measured & ~zero].mean()),
    }


def main() -> None:
    """Run the parts that are asked for and write the report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True, help="the model that fills")
    parser.add_argument("--real-model", type=Path, help="another one for 13pf_MT")
    parser.add_argument("--measured-from", type=Path, help="a denoising model, for a row more")
    parser.add_argument("--name", default="model", help="of the model, for table and folder")
    parser.add_argument("--amplitudes", nargs="+", default=["auto"], help="rows to compare")
    parser.add_argument("--parts", nargs="+", type=int, choices=(1, 2, 3), default=[1, 2, 3])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument(
        "--output", type=Path, default=ROOT / "benchmarks" / "output" / "missing_wedge"
    )
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--device", default="cpu")
    args: Any = parser.parse_args()
    args.data, args.model = args.data.resolve(), args.model.resolve()
    args.real_model = (args.real_model or args.model).resolve()
    if args.measured_from:
        args.measured_from = args.measured_from.resolve()
    output = args.output.resolve() / re.sub(r"\W+", "_", args.name)
    output.mkdir(parents=True, exist_ok=True)
    parts = {
        1: ("Against the truth", against_truth),
        2: ("Double wedge", double_wedge),
        3: ("Asymmetric range", asymmetric),
    }
    told = [f"# Missing wedge, {args.name}"]
    for number in args.parts:
        title, work = parts[number]
        told.append(f"## {title}\n\n{work(args, output)}")
        text = "\n\n".join([*told, circumstances(args.threads)]) + "\n"
        (output / "table.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
