"""DUAL beside noise-to-noise training on the same halves, with the same U-Net.

    python benchmarks/noise_to_noise.py --work WORK --steps 1200

Noise-to-noise (Lehtinen et al. 2018; what cryoCARE does): the U-Net of DUAL's denoiser learns to
make one half of ``shrec_halves`` from the other, on patches of 48 voxels; the result is the mean of
both halves denoised. DUAL: ``dual train --preset quick`` on the means of the halves with the grand
models of ``shrec_like`` as the clean domain, without and with ``--even/--odd``. Scored on the third
tomogram: PSNR and SSIM against its truth, half coherence of the denoised halves. What is in WORK is
not made again.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import Dict, List, Tuple

import numpy as np
import torch
from common import DATA, circumstances, dual

from dual_core.evaluation.half_coherence import half_coherence
from dual_core.evaluation.trust.network_pass import run_on_array
from dual_core.evaluation.truth.metrics import score_volume
from dual_core.networks.generators import UNet
from dual_core.tiles.runner import NetworkRunner
from dual_core.volumes.reading import open_volume, write_volume

CELLS, JUDGED = (0, 1, 2), 2
PATCH, BATCH, RATE = 48, 2, 5e-4
VOXEL_SIZE_A = 10.0

Pair = Tuple[np.ndarray, np.ndarray]


def halves_of(data: Path, number: int) -> Pair:
    """Both halves of a tomogram, density bright, in deviations of their mean."""
    first, second = (
        -open_volume(data / "shrec_halves" / f"tomo_{number}_{part}.mrc").load()
        for part in ("even", "odd")
    )
    mean = (first + second) / 2
    return (first - mean.mean()) / mean.std(), (second - mean.mean()) / mean.std()


def train_noise_to_noise(pairs: List[Pair], steps: int) -> UNet:
    """The U-Net of DUAL's denoiser, trained to make one half from the other."""
    torch.manual_seed(0)
    generator = np.random.default_rng(0)
    network = UNet((24, 48, 96), 2, output_filter=True).to(memory_format=torch.channels_last_3d)
    optimiser = torch.optim.AdamW(network.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for step in range(steps):
        patches = []
        for _ in range(BATCH):
            pair = pairs[int(generator.integers(len(pairs)))]
            start = [int(generator.integers(n - PATCH + 1)) for n in pair[0].shape]
            region = tuple(slice(first, first + PATCH) for first in start)
            flips = [axis for axis in range(3) if generator.random() < 0.5]
            both = [np.flip(half[region], flips) for half in pair]
            patches.append(both[::-1] if generator.random() < 0.5 else both)
        seen, wanted = (
            torch.from_numpy(np.ascontiguousarray(np.stack(part)[:, None], dtype=np.float32))
            for part in zip(*patches)
        )
        loss = (network(seen) - wanted).square().mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if step % 200 == 199:
            print(f"step {step + 1} of {steps}: {float(loss.detach()):.4f}", flush=True)
    return network.eval()


def dual_halves(args: argparse.Namespace, with_halves: bool) -> Dict[str, Tuple[np.ndarray, Pair]]:
    """DUAL's results for the third tomogram and for both of its halves; density bright.

    The density, and what it explains of the tomogram: seen through its transfer and wedge, which
    is what noise-to-noise predicts.
    """
    work, data = args.work, args.data
    for number in CELLS:
        path = work / f"mean_{number}.mrc"
        if not path.exists():
            parts = [open_volume(data / "shrec_halves" / f"tomo_{number}_{part}.mrc").load()
                     for part in ("even", "odd")]
            write_volume(path, (parts[0] + parts[1]) / 2, VOXEL_SIZE_A)
    run = work / ("dual_halves" if with_halves else "dual")
    options: List[object] = []
    for part in ("even", "odd") if with_halves else ():
        options.append(f"--{part}")
        options += [data / "shrec_halves" / f"tomo_{number}_{part}.mrc" for number in CELLS]
    if not (run / "done").exists():
        resume = ["--resume"] if (run / "checkpoint").exists() else []
        dual(["train", "--noisy", *(work / f"mean_{number}.mrc" for number in CELLS), *options,
              "--clean", *(data / "shrec_like" / f"grand_{n}.mrc" for n in range(4, 8)),
              "--output", run, "--preset", args.preset, "--seed", 0, *resume], args.threads)
        (run / "done").touch()
    sources = [work / f"mean_{JUDGED}.mrc"]
    sources += [data / "shrec_halves" / f"tomo_{JUDGED}_{part}.mrc" for part in ("even", "odd")]
    dual(["denoise", "--model", run / "model.safetensors", *sources, "--output", run / "denoised",
          "--explained", "--resume"], args.threads)
    found = {}
    for kind in ("denoised", "explained"):
        whole, even, odd = (
            -open_volume(run / "denoised" / f"{source.stem}_{kind}.mrc").load()
            for source in sources
        )
        found[kind] = whole, (even, odd)
    return found


def main() -> None:
    """Train, denoise, score, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.work = args.work.resolve()
    args.work.mkdir(parents=True, exist_ok=True)
    pairs = [halves_of(args.data, number) for number in CELLS]
    raw = pairs[JUDGED]
    truth = open_volume(args.data / "shrec_halves" / f"grand_{JUDGED}.mrc").load()
    network = train_noise_to_noise(pairs, args.steps)
    runner = NetworkRunner(network, network.multiple, network.receptive_radius, "cpu", inside=True)
    both = run_on_array(runner, raw[0]), run_on_array(runner, raw[1])
    rows: Dict[str, Tuple[np.ndarray, Pair]] = {
        "raw": ((raw[0] + raw[1]) / 2, raw),
        "noise-to-noise": ((both[0] + both[1]) / 2, both),
    }
    for name, with_halves in (("DUAL", False), ("DUAL, halves given", True)):
        for kind, row in dual_halves(args, with_halves).items():
            rows[name if kind == "denoised" else f"{name}: {kind}"] = row
    with open(args.work / "scores.csv", "w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        for name, (whole, halves) in rows.items():
            scores = score_volume(whole, truth, VOXEL_SIZE_A)
            found = half_coherence(raw, halves, VOXEL_SIZE_A, (-60.0, 60.0))
            ratios = [f"{value:.3f}" for value in found.ratio]
            table.writerow([name, f"{scores.psnr_db:.2f}", f"{scores.ssim:.3f}", *ratios])
            print(f"| {name} | {scores.psnr_db:.2f} | {scores.ssim:.3f} | {' '.join(ratios)} |")
    print(circumstances(args.threads))


if __name__ == "__main__":
    main()
