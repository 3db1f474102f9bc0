"""Jobs of an array that are killed and run again: the same files as one run, byte for byte.

    python benchmarks/shards.py
    python benchmarks/shards.py --tomograms 12 --shards 3 --kills 1

Makes small tomograms of noise and a small model, denoises all of them in one run, and once more in
shards that run at the same time. Some shards, chosen at random, are killed (SIGKILL) after a random
number of files, in the middle of the next one, and run again with ``--resume``. Then the files of
both folders are compared, and ``dual info`` has to say that nothing is missing.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Dict, List, Sequence

import numpy as np

from dual_core.cli.main import main
from dual_core.tasks.shards import sum_up
from dual_core.volumes.reading import write_volume

VOXEL_SIZE_A = 10.0
SHAPE = (24, 40, 40)
MOMENT_S = 0.05  # how long at most a shard that is to be killed works on after its last file


def make_data(folder: Path, count: int, shape: Sequence[int] = SHAPE) -> List[Path]:
    """Tomograms and ``model.safetensors``."""
    import torch

    from dual_core.networks.card import ModelCard
    from dual_core.networks.generators import NetworkConfig
    from dual_core.networks.model import DualModel, plain_config

    torch.manual_seed(0)
    config = NetworkConfig(channels=(8, 16), noise_side=16, discriminator_channels=(4, 4))
    DualModel(config, ModelCard(VOXEL_SIZE_A, "bright", plain_config(config))).save(
        folder / "model.safetensors"
    )
    generator = np.random.default_rng(0)
    paths = [folder / f"tomo_{number:03d}.mrc" for number in range(count)]
    for path in paths:
        write_volume(path, generator.standard_normal(shape, dtype=np.float32), VOXEL_SIZE_A)
    return paths


def command(folder: Path, output: Path, tomograms: Sequence[Path], *more: str) -> List[str]:
    """The arguments of ``dual``."""
    model = folder / "model.safetensors"
    return [
        "denoise", "--model", str(model), *map(str, tomograms), "--output", str(output),
        "--contrast", "bright", "--device", "cpu", "--precision", "float32", *more,
    ]  # fmt: skip


def start(arguments: List[str]) -> subprocess.Popen:
    """Start ``dual``."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen([sys.executable, "-m", "dual_core", *arguments], **quiet)


def outputs(folder: Path) -> Dict[str, bytes]:
    """The volumes of a folder, by name."""
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.mrc"))}


def wait_for_files(record: Path, count: int, process: subprocess.Popen) -> None:
    """Until a shard has finished so many files, or has ended."""
    while process.poll() is None:
        if (record.read_bytes().count(b"\n") if record.exists() else 0) >= count:
            return
        time.sleep(0.002)


def try_shards(
    folder: Path, count: int, shards: int, kills: int, seed: int, shape: Sequence[int] = SHAPE
) -> Dict[str, Any]:
    """Do it; what was found."""
    choose = random.Random(seed)
    tomograms = make_data(folder, count, shape)
    one, many = folder / "one", folder / "many"
    if main(command(folder, one, tomograms)) != 0:
        raise SystemExit("the one run failed")

    def begin(index: int) -> subprocess.Popen:
        shard = f"{index}/{shards}"
        return start(command(folder, many, tomograms, "--shard", shard, "--resume"))

    running = {index: begin(index) for index in range(1, shards + 1)}
    killed: Dict[int, int] = {}
    for index in sorted(choose.sample(range(1, shards + 1), kills)):
        files = len(tomograms[index - 1 :: shards])
        after = choose.randrange(files)
        record = many / f"denoise.{index}of{shards}.jsonl"
        wait_for_files(record, after, running[index])
        time.sleep(choose.uniform(0, MOMENT_S))
        running[index].kill()
        killed[index] = after
    ends = {index: process.wait() for index, process in running.items()}
    before = sum_up(many, "denoise")
    again = [process.wait() for process in [begin(index) for index in killed]]
    told = sum_up(many, "denoise")
    expected, found = outputs(one), outputs(many)
    left = sorted(path.name for path in many.iterdir() if path.name.startswith("."))
    return {
        "files": len(found),
        "equal": sum(found.get(name) == content for name, content in expected.items()),
        "expected": len(expected),
        "killed": killed,
        "killed_in_time": sum(ends[index] == -signal.SIGKILL for index in killed),
        "other_ends": sorted({ends[index] for index in ends if index not in killed}),
        "missing_before": before["missing"],
        "ends_again": again,
        "told": {name: told[name] for name in ("done", "failed", "missing")},
        "left_over": left,
    }


def measure() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tomograms", type=int, default=40)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        found = try_shards(Path(name), args.tomograms, args.shards, args.kills, args.seed)
    for what, value in found.items():
        print(f"{what:16} {value}")
    whole = found["equal"] == found["expected"] == found["files"] == args.tomograms
    print("the same files, byte for byte" if whole else "NOT the same files")
    raise SystemExit(not whole)


if __name__ == "__main__":
    measure()
