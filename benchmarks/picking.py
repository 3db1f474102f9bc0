"""Time and memory of ``dual pick`` on a large tomogram, and whether it finds what was put in.

    python benchmarks/picking.py
    python benchmarks/picking.py --shape 256 512 512 --threads 1

Makes an int8 volume of noise with dark balls of 28 nm in it, picks as many in a child process, and
prints what the child took over its whole life: seconds, CPU seconds, largest resident set.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Tuple

import numpy as np

from dual_core.evaluation.picks import score_picks
from dual_core.particles import read_particles
from dual_core.volumes.reading import VolumeWriter

VOXEL_SIZE_A = 10.0
DIAMETER_A = 280.0
SPACING = 64
AMPLITUDE, DEVIATION = 6.0, 30.0


def write_tomogram(path: Path, shape: Tuple[int, int, int]) -> np.ndarray:
    """Balls on a disturbed grid, in noise of five times their density; their centres (z, y, x)."""
    rng = np.random.default_rng(0)
    cells = [np.arange(SPACING // 2, length - SPACING // 2 + 1, SPACING) for length in shape]
    centres = np.stack(np.meshgrid(*cells, indexing="ij"), axis=-1).reshape(-1, 3)
    centres = centres + rng.integers(-8, 9, centres.shape)
    radius = DIAMETER_A / VOXEL_SIZE_A / 2
    with VolumeWriter(path, shape, VOXEL_SIZE_A, dtype=np.int8) as writer:
        for z in range(shape[0]):
            plane = rng.standard_normal(shape[1:], dtype=np.float32) * DEVIATION
            for cz, cy, cx in centres[np.abs(centres[:, 0] - z) < radius]:
                reach = int(radius)
                rows, columns = slice(cy - reach, cy + reach + 1), slice(cx - reach, cx + reach + 1)
                step = np.arange(-reach, reach + 1)
                inside = step[:, None] ** 2 + step**2 + (cz - z) ** 2 <= radius**2
                plane[rows, columns] -= AMPLITUDE * inside
            writer.write((z, 0, 0), np.clip(np.rint(plane), -127, 127)[None].astype(np.int8))
    return centres


def main() -> None:
    """Make, pick, score and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", type=int, nargs=3, default=[512, 1024, 1024])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", help="where the volume is kept meanwhile")
    args = parser.parse_args()

    with tempfile.TemporaryDirectory(dir=args.folder, prefix="dual-picking-") as folder:
        tomogram = Path(folder, "tomogram.mrc")
        centres = write_tomogram(tomogram, tuple(args.shape))
        command = [sys.executable, "-m", "dual_core", "pick", str(tomogram), "--output", folder]
        command += ["--diameter", str(DIAMETER_A), "--number", str(len(centres))]
        environment = {**os.environ, "OMP_NUM_THREADS": str(args.threads)}
        started = time.monotonic()
        subprocess.run(command, env=environment, check=True)
        seconds = time.monotonic() - started
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        picks = read_particles(Path(folder, "tomogram_picks.csv"))
    scores = score_picks(centres * VOXEL_SIZE_A, picks.positions_A(), 80.0)
    print("| volume | threads | seconds | CPU seconds | peak memory (GiB) | particles | F1 |")
    print("|---|---|---|---|---|---|---|")
    print(
        f"| {' x '.join(map(str, args.shape))} | {args.threads} | {seconds:.0f} "
        f"| {used.ru_utime + used.ru_stime:.0f} | {used.ru_maxrss / 2**20:.2f} "
        f"| {len(centres)} | {scores.f1:.3f} |"
    )


if __name__ == "__main__":
    main()
