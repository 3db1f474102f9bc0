"""How long the window of a result keeps its user waiting, with a tomogram of 4 GB.

    xvfb-run -a -s "-screen 0 1500x1060x24" python benchmarks/scipion_viewers.py --output /tmp/large

Raw, denoised and explained volumes of 1024 x 1024 x 1024 voxels (float32) are made as sparse
files: zeros that take no room on the disk, but pages of the memory once they are read. The window
is opened on them, its slices are scrolled through in each plane, each one waited for, and the
spectra are computed. ``blocked`` is the longest time that the window answered nothing.
Before it begins, the files are dropped from the system's memory. It prints one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import tkinter as tk
from pathlib import Path
from typing import Any, Callable, Dict, Tuple

import mrcfile
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]
HEADER_BYTES = 1024
NAMES = ("raw", "denoised", "explained")


def sparse_volume(path: Path, side: int) -> None:
    """A cube of zeros, float32, with 10 A voxels."""
    with mrcfile.new(str(path), overwrite=True) as file:
        file.set_data(np.zeros((1, 1, 1), np.float32))
        file.voxel_size = 10.0
        for axis in "xyz":
            file.header[f"n{axis}"] = file.header[f"m{axis}"] = side
        file.header.cella = (10.0 * side,) * 3
    os.truncate(path, HEADER_BYTES + 4 * side**3)


def forget(path: Path) -> None:
    """Drop a file from the system's memory."""
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def wait(root: tk.Tk, until: Callable[[], bool]) -> Tuple[float, float]:
    """Let Tk work until something holds; seconds in all, and the longest it worked at one go."""
    begun, longest = time.perf_counter(), 0.0
    while not until():
        before = time.perf_counter()
        root.update()
        longest = max(longest, time.perf_counter() - before)
        time.sleep(0.002)
    return time.perf_counter() - begun, longest


def measure(folder: Path, count: int) -> Dict[str, Any]:
    """Open the window, scroll and compute spectra."""
    from dual_scipion.viewers.shown import Difference, Progress, Shown
    from dual_scipion.viewers.windows.volumes import VolumesWindow

    raw, denoised, explained = (str(folder / f"{name}.mrc") for name in NAMES)
    difference = Difference("removed", 0, 1, path=explained)
    shown = Shown("TS", 10.0, (("raw", raw), ("denoised", denoised)), difference, same_units=True)
    root = tk.Tk()
    root.withdraw()
    begun = time.perf_counter()
    window = VolumesWindow(root, "large", lambda: Progress([shown], 1), "tomograms denoised")
    _, blocked = wait(root, lambda: window.drawn is not None)
    found: Dict[str, Any] = {"open_s": time.perf_counter() - begun, "open_blocked_s": blocked}
    for plane in ("xy", "xz", "yz"):
        window.controls.choose(plane)
        there = lambda: window.drawn == (window.controls.plane, window.controls.index)  # noqa: E731
        found[f"{plane}_first_s"], longest = wait(root, there)
        begun = time.perf_counter()
        for _ in range(count):
            window.controls.stepper.step(1)
            longest = max(longest, wait(root, there)[1])
        found[f"{plane}_per_s"] = count / (time.perf_counter() - begun)
        found[f"{plane}_sharp_after_s"], other = wait(root, lambda: not window.busy())
        found[f"{plane}_blocked_s"] = max(longest, other)
    window.tabs.select(1)
    root.update()
    found["spectra_s"], found["spectra_blocked_s"] = wait(root, lambda: not window.busy())
    window.destroy()
    return found


def main() -> int:
    """Make the files where they are missing, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", type=Path, required=True, help="folder for the sparse files")
    parser.add_argument("--side", type=int, default=1024, help="voxels (default: 1024)")
    parser.add_argument("--count", type=int, default=40, help="slices a plane (default: 40)")
    args = parser.parse_args()
    from scipion_chain import prepare_scipion

    prepare_scipion(Path(tempfile.mkdtemp(prefix="dual")))
    args.output.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        path = args.output / f"{name}.mrc"
        if not path.exists():
            sparse_volume(path, args.side)
        forget(path)
    found = measure(args.output, args.count)
    print(json.dumps({key: round(value, 3) for key, value in found.items()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
