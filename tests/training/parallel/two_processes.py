"""Two processes that torchrun starts, and what they train on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from dual_core.volumes.reading import write_volume

WORKER = Path(__file__).with_name("distributed_worker.py")
PATIENCE_S = 300.0  # a hang is a failure; how fast it goes is not judged


def make_data(folder: Path) -> Path:
    """A tomogram of one small cell and the grand model of another."""
    random = np.random.default_rng(0)
    for name in ("tomogram", "grand_model"):
        seeds = np.zeros((32, 48, 48), dtype=np.float32)
        seeds[tuple(random.integers(0, side, 60) for side in seeds.shape)] = 1.0
        density = gaussian_filter(seeds, 1.5) * 30
        if name == "tomogram":
            density = -density + random.standard_normal(density.shape).astype(np.float32)
        write_volume(folder / f"{name}.mrc", density.astype(np.float32), 10.0)
    return folder


def launch(log: Path, *program: str) -> subprocess.Popen:
    """Start two processes; all that they and the launcher say goes to `log`."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    # The copy under test, wherever the tests are started.
    paths = [str(Path(__file__).resolve().parents[3]), os.environ.get("PYTHONPATH", "")]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    with open(log, "w") as stream:
        return subprocess.Popen(
            [sys.executable, *launcher, *program],
            stdout=stream,
            stderr=stream,
            stdin=subprocess.DEVNULL,
            env=environ,
        )


def finished(log: Path, *program: str) -> int:
    return launch(log, *program).wait(timeout=PATIENCE_S)
