"""Time and memory of large inputs: training on ten files, and how the cost of denoising grows.

    python benchmarks/large.py training
    python benchmarks/large.py growth --memory 0.7 --plot docs/images/growth.png

``training``: ten tomograms of 500 x 1024 x 1024 voxels (one file of integers under ten names) and
a small grand model; how long ``dual train`` takes until its first iteration, and the most memory
that it has. ``growth``: ``dual denoise`` on volumes of 64 to 512 slices, and on one to eight
files; seconds of the processor and peak memory of each run, and how well a straight line describes
the seconds. Processor seconds, since other programs that run at the same time change those of the
clock.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

import numpy as np
from common import circumstances
from throughput import VOXEL_SIZE_A, write_model, write_noise

from dual_core.volumes.reading import write_volume

SLICES = (64, 128, 256, 512)
FILES = (1, 2, 4, 8)
AREA = (192, 192)
BLOBS = 0.001  # of the voxels


def run(arguments: Sequence[object], folder: Path) -> Dict[str, float]:
    """Run ``dual``: seconds by the clock and of the processor, and the peak memory in GiB."""
    command = [sys.executable, "-m", "dual_core", *map(str, arguments)]
    started = time.monotonic()
    with open(folder / "log", "w", encoding="utf-8") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.WEXITSTATUS(status) if os.WIFEXITED(status) else 1
    if process.returncode:
        raise SystemExit(f"failed: {(folder / 'log').read_text(encoding='utf-8')[-2000:]}")
    unit = 1 if sys.platform == "darwin" else 1024
    return {
        "clock_s": time.monotonic() - started,
        "processor_s": usage.ru_utime + usage.ru_stime,
        "peak_GiB": usage.ru_maxrss * unit / 2**30,
    }


def training(shape: Tuple[int, int, int], files: int) -> Dict[str, Any]:
    """Two iterations of ``standard`` on large files."""
    from scipy.ndimage import gaussian_filter

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        generator = np.random.default_rng(0)
        side = (96, 192, 192)
        cell = gaussian_filter((generator.random(side) < BLOBS).astype(np.float32), 2.5) * 100
        write_volume(folder / "cell.mrc", cell, VOXEL_SIZE_A)
        # One block again and again: what matters is that all of it is read.
        block = generator.standard_normal(side) - cell / cell.std() / 3
        block = np.clip(np.round(25 * block), -127, 127).astype(np.int8)
        repeats = [-(-length // part) for length, part in zip(shape, side)]
        volume = np.tile(block, repeats)[tuple(slice(length) for length in shape)]
        write_volume(folder / "tomo_0.mrc", volume, VOXEL_SIZE_A)
        del volume
        for number in range(1, files):
            os.link(folder / "tomo_0.mrc", folder / f"tomo_{number}.mrc")
        found: Dict[str, Any] = {"files": files, "shape": list(shape)}
        found.update(run(
            ["train", "--noisy", *sorted(folder.glob("tomo_*.mrc")), "--clean", folder / "cell.mrc",
             "--output", folder / "run", "--contrast", "dark", "--iterations", 2,
             "--device", "cpu"],
            folder,
        ))
        history = (folder / "run" / "history.jsonl").read_text(encoding="utf-8").splitlines()
        found["two_iterations_done_s"] = json.loads(history[-1])["seconds"]
    return found


def growth(slices: Sequence[int], files: Sequence[int], memory: float) -> List[Dict[str, Any]]:
    """Denoising of ever thicker volumes, and of ever more files."""
    rows: List[Dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_model(folder / "model.safetensors")
        base = ["denoise", "--model", folder / "model.safetensors", "--contrast", "bright"]
        base += ["--memory", memory]
        for depth in slices:
            write_noise(folder / "t.mrc", (depth, *AREA))
            found = run([*base, folder / "t.mrc", "--output", folder / f"d{depth}"], folder)
            rows.append({"slices": depth, "files": 1, **found})
            print(rows[-1], flush=True)
        write_noise(folder / "t0.mrc", (min(slices), *AREA))
        for count in files:
            names = [folder / f"t{number}.mrc" for number in range(count)]
            for path in names[1:]:
                if not path.exists():
                    os.link(names[0], path)
            found = run([*base, *names, "--output", folder / f"f{count}"], folder)
            rows.append({"slices": min(slices), "files": count, **found})
            print(rows[-1], flush=True)
    return rows


def line(values: Sequence[float], seconds: Sequence[float]) -> Tuple[float, float, float]:
    """Offset, slope, and the largest distance from the line in parts of the largest value."""
    slope, offset = np.polyfit(values, seconds, 1)
    away = np.abs(np.array(seconds) - offset - slope * np.array(values)).max()
    return float(offset), float(slope), float(away / max(seconds))


def draw(rows: List[Dict[str, Any]], path: Path, foot: str) -> None:
    """Seconds and memory against slices, and against files."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, what in zip(figure.subplots(1, 2), ("slices", "files")):
        chosen = series(rows, what)
        values = [row[what] for row in chosen]
        seconds = [row["processor_s"] for row in chosen]
        offset, slope, _ = line(values, seconds)
        axes.plot(values, seconds, "o", color="tab:blue")
        axes.plot(values, [offset + slope * value for value in values], "-", color="tab:blue")
        axes.set(xlabel=what, ylabel="processor seconds", ylim=(0, None), xlim=(0, None))
        right = axes.twinx()
        right.plot(values, [row["peak_GiB"] for row in chosen], "s--", color="tab:orange")
        right.set(ylabel="peak memory (GiB)", ylim=(0, 2))
    figure.supxlabel(foot, fontsize=6)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def series(rows: List[Dict[str, Any]], what: str) -> List[Dict[str, Any]]:
    """The rows in which one thing grows."""
    first = [row for row in rows if row["files"] == 1]
    if what == "slices":
        return first[:-1]
    return [first[-1], *(row for row in rows if row["files"] > 1)]


def main() -> None:
    """Measure, print, draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("training", "growth"))
    parser.add_argument("--shape", type=int, nargs=3, default=(500, 1024, 1024), metavar="N")
    parser.add_argument("--files", type=int, default=10, help="of the training")
    parser.add_argument("--slices", type=int, nargs="+", default=SLICES)
    parser.add_argument("--memory", type=float, default=0.7, help="of denoising, in GiB")
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    foot = circumstances(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)))
    print(foot)
    if args.what == "training":
        rows = [training(tuple(args.shape), args.files)]
        for name, value in rows[0].items():
            print(f"{name:24} {value}")
    else:
        rows = growth(args.slices, FILES, args.memory)
        for what in ("slices", "files"):
            chosen = series(rows, what)
            found = line([r[what] for r in chosen], [r["processor_s"] for r in chosen])
            peaks = [row["peak_GiB"] for row in chosen]
            print(f"{what}: {found[0]:.1f} s + {found[1]:.3f} s each, at most "
                  f"{100 * found[2]:.1f} % of the largest off; "
                  f"peak {min(peaks):.2f} to {max(peaks):.2f} GiB")
        if args.plot:
            draw(rows, args.plot, foot)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"this script itself: {own:.2f} GiB")


if __name__ == "__main__":
    main()
