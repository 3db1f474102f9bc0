"""Throughput and peak memory of ``dual denoise`` on a large random volume.

    python benchmarks/throughput.py
    python benchmarks/throughput.py --shape 64 256 256 --model run/model.safetensors --threads 2

Makes a volume of noise, denoises it in a child process with a given model or a freshly
initialised standard one, and prints what the child took: voxels a second over its whole life
(start of the interpreter, reading, writing, all) and over denoising alone, and the largest
resident set.
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

import numpy as np

from dual_core.volumes.reading import VolumeWriter

VOXEL_SIZE_A = 10.0


def write_noise(path: Path, shape: tuple) -> None:
    """A volume of white noise, written section by section."""
    generator = np.random.default_rng(0)
    with VolumeWriter(path, shape, VOXEL_SIZE_A) as writer:
        for z in range(shape[0]):
            section = generator.standard_normal((1,) + shape[1:], dtype=np.float32)
            writer.write((z, 0, 0), section)


def write_model(path: Path) -> None:
    """A standard model that has learned nothing; in a child, so that this process stays small."""
    code = (
        "import sys, torch\n"
        "from dual_core.networks.card import ModelCard\n"
        "from dual_core.networks.model import DualModel, plain_config\n"
        "from dual_core.networks.generators import NetworkConfig\n"
        "torch.manual_seed(0)\n"
        "config = NetworkConfig()\n"
        f"card = ModelCard({VOXEL_SIZE_A}, 'bright', plain_config(config))\n"
        "DualModel(config, card).save(sys.argv[1])\n"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)


def denoise(model: Path, volume: Path, output: Path, options: list, threads: int) -> tuple:
    """Run the command; (seconds of the process, seconds of denoising, peak GiB)."""
    command = [sys.executable, "-m", "dual_core", "denoise", "--model", str(model), str(volume)]
    command += ["--output", str(output), "--contrast", "bright", *options]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    started = time.monotonic()
    process = subprocess.Popen(command, env=environment)
    # The usage of this child alone: RUSAGE_CHILDREN would count the one that made the model too.
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - started
    process.returncode = os.WEXITSTATUS(status) if os.WIFEXITED(status) else 1
    if process.returncode:
        raise SystemExit(f"dual denoise failed with status {process.returncode}")
    unit = 1 if sys.platform == "darwin" else 1024
    record = json.loads((output / "denoise.jsonl").read_text().splitlines()[-1])
    return seconds, record["results"]["seconds"], usage.ru_maxrss * unit / 2**30


def main() -> None:
    """Make, denoise, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", type=int, nargs=3, default=(256, 1024, 1024), metavar="N")
    parser.add_argument("--model", type=Path, help="default: a new standard model")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--tile", help="as for dual denoise")
    parser.add_argument("--halo", help="as for dual denoise")
    parser.add_argument("--memory", help="as for dual denoise")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--folder", type=Path, help="where to work; default: temporary files")
    args = parser.parse_args()
    shape = tuple(args.shape)
    options = ["--device", args.device, "--precision", args.precision]
    for name in ("tile", "halo", "memory"):
        if getattr(args, name):
            options += [f"--{name}", getattr(args, name)]
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder = Path(name)
        write_noise(folder / "noise.mrc", shape)
        model = args.model or folder / "model.safetensors"
        if args.model is None:
            write_model(model)
        whole, alone, peak = denoise(
            model, folder / "noise.mrc", folder / "out", options, args.threads
        )
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    voxels = float(np.prod(shape)) / 1e3
    print(f"{' x '.join(map(str, shape))} voxels, {args.threads} threads, {args.device}")
    print(f"{voxels / alone:.0f} kvoxel/s denoising ({alone:.1f} s)")
    print(f"{voxels / whole:.0f} kvoxel/s the whole command ({whole:.1f} s)")
    print(f"{peak:.2f} GiB peak memory of the command (this script: {own:.2f} GiB)")


if __name__ == "__main__":
    main()
