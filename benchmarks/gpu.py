"""What a GPU does: training, denoising, simulating, compensating, in one run of at most 8 minutes.

    python benchmarks/gpu.py --output gpu
    python benchmarks/gpu.py --toy --device cpu --output toy      # to try it
    python benchmarks/gpu.py --output gpu --data shared/data/shrec_like --only quality

Needs the engine's packages alone and makes its own data: cells of blobs, and tomograms of them
with a missing wedge and noise. Each part runs in a process of its own with a share of the time
that is left, so that a part that fails, hangs or breaks the GPU costs its own row alone. Rows go
to ``OUTPUT/rows.json`` as they are found, and stay there when other parts are run later; at the end
``OUTPUT/table.md`` has them with card, driver and date, those without a result marked "not
measured" with the reason. ``--data`` takes tomo_0 to 3, grand_4 to 7, and tomo_9 with grand_9 of a
folder for the parts called *quality*.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict

import torch
from common import circumstances
from gpu_parts import Bench

LIMITS_S = {
    "train": 60, "ceiling": 20, "quality": 225, "denoise": 60, "simulate": 90, "compensate": 120,
    "agreement": 60, "halving": 60,
}


def facts(device: torch.device) -> Dict[str, str]:
    """What the rows were measured on."""
    found = {"what": circumstances(torch.get_num_threads()), "device": str(device)}
    if device.type == "cuda":
        found["card"] = torch.cuda.get_device_name(device)
        found["cuda"] = str(torch.version.cuda)
        query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        try:
            said = subprocess.run(query, capture_output=True, text=True, timeout=20).stdout
            found["driver"] = said.split("\n")[0].strip()
        except (OSError, subprocess.TimeoutExpired) as error:
            found["driver"] = f"unknown ({type(error).__name__})"
    return found


def run_part(name: str, args: argparse.Namespace, seconds: float) -> Dict[str, Any]:
    """A part in a process of its own; its row, or the reason why there is none."""
    own = [sys.executable, __file__, "--part", name]
    own += ["--device", args.device, "--output", str(args.output), *["--toy"] * args.toy]
    own += ["--data", str(args.data)] if args.data else []
    log = args.output / f"{name.replace(' ', '_')}.log"
    try:
        with open(log, "w", encoding="utf-8") as said:
            done = subprocess.run(
                own, stdout=subprocess.PIPE, stderr=said, text=True, timeout=seconds
            )
    except subprocess.TimeoutExpired:
        return {"not measured": f"took more than {seconds:.0f} s"}
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        reason = (log.read_text().strip().splitlines() or [f"status {done.returncode}"])[-1]
        return {"not measured": reason[:200]}
    try:
        return dict(json.loads(lines[-1]))
    except ValueError:
        return {"not measured": "its result cannot be read"}


def table(told: Dict[str, str], rows: Dict[str, Dict[str, Any]]) -> str:
    """All rows as Markdown."""
    head = ", ".join(f"{name} {value}" for name, value in told.items())
    lines = [head, "", "| part | result |", "|---|---|"]
    for name, row in rows.items():
        values = [f"{what} {value:.4g}" if isinstance(value, float) else f"{what} {value}"
                  for what, value in row.items()]
        lines.append(f"| {name} | {', '.join(values)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run every part, or the one that was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, required=True, help="folder for all files")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--minutes", type=float, default=8.0, help="for everything")
    parser.add_argument("--toy", action="store_true", help="small enough for a CPU")
    parser.add_argument("--data", type=Path, help="folder with tomograms and grand models")
    parser.add_argument("--only", nargs="+", help="parts whose names begin so")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    args = parser.parse_args()
    ends = time.monotonic() + 60 * args.minutes
    args.output.mkdir(parents=True, exist_ok=True)
    bench = Bench(args)
    if args.part:
        print(json.dumps(bench.parts()[args.part]()))
        return
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    told, rows = facts(bench.device), bench.rows()
    bench.make_data()
    for name in bench.parts():
        if args.only and not any(name.startswith(begun) for begun in args.only):
            continue
        left = ends - time.monotonic()
        limit = min(LIMITS_S[name.split()[0]], left)
        rows[name] = run_part(name, args, limit) if left > 5 else {"not measured": "no time left"}
        print(f"{name}: {rows[name]}", flush=True)
        (args.output / "rows.json").write_text(json.dumps({"facts": told, "rows": rows}, indent=1))
        (args.output / "table.md").write_text(table(told, rows))
    print((args.output / "table.md").read_text())


if __name__ == "__main__":
    main()
