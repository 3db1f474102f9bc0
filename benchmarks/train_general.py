"""Train the general model, which comes with the package: denoise without any training.

    python benchmarks/train_general.py --work WORK --minutes 55      (again and again, it resumes)

Makes its training set by the package's own means (general_cells.py, general_tomograms.py): cells of
many kinds, voxel sizes of 6.5 to 17 A, tomograms of linear models drawn at random and of simulated
tilt series; no file of a user or of a benchmark. The denoiser alone is trained, on known pairs: of
a standardised tomogram it learns the density in units of protein (Huber loss, so that gold does not
rule it). WORK/history.jsonl has the loss and, on tomograms that are never trained on, how well the
result correlates with the truth beside the tomogram itself. WORK/model.safetensors is the model of
averaged weights, written with every checkpoint.

Stops after MINUTES with a checkpoint; the same command goes on. The seed and the number of
iterations stand on the card.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Dict, List, Tuple

import numpy as np
import torch
from general_cells import random_cell
from general_tomograms import (
    as_stored,
    linear_tomogram,
    standardised,
    tilt_series_tomogram,
)
from torch.nn import functional

from dual_core.networks.card import ModelCard, TrainedRange
from dual_core.networks.generators import NetworkConfig, UNet
from dual_core.networks.model import plain_config, save_denoiser

CELLS, HELD_OUT = 140, 6
USED_A = (7.0, 16.0)  # voxel sizes, a little inside of those that are trained on
TILT_SERIES_SHARE = 0.4  # of the tomograms
POOL, RENEWED_AFTER = 24, 3  # tomograms at hand, and the steps after which one is replaced
MARGIN = 6  # voxels at the faces of a linear tomogram, where its filter wraps around
PEAK_RATE, WARM_UP, DECAY = 5e-4, 300, 0.999

Pair = Tuple[np.ndarray, np.ndarray]


def make_cells(work: Path, seed: int, count: int) -> List[Path]:
    """The cells and a tomogram of a simulated tilt series of each, as files in `work`."""
    folder = work / "cells"
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"cell_{number}.npz" for number in range(count)]
    for number, path in enumerate(paths):
        if path.exists():
            continue
        density, voxel_size_A = random_cell(seed, number)
        generator = np.random.default_rng([seed, number, 1])
        tomogram = as_stored(tilt_series_tomogram(density, voxel_size_A, generator), generator)
        temporary = path.with_suffix(".part.npz")
        np.savez(temporary, density=density.astype(np.float16), voxel_size_A=voxel_size_A,
                 tomogram=tomogram.astype(np.float16))
        temporary.rename(path)
        print(f"cell {number + 1} of {count}: {voxel_size_A:.1f} A", flush=True)
    return paths


class Tomograms:
    """A pool of pairs (tomogram, density) that is renewed bit by bit; draws patches of them."""

    def __init__(self, paths: List[Path]) -> None:
        self.cells = []
        for path in paths:
            with np.load(path) as stored:
                self.cells.append({name: stored[name] for name in stored.files})
        self.pool: List[Pair] = []
        self.drawn = 0

    def pair(self, generator: np.random.Generator, number: int = -1) -> Pair:
        """A tomogram, of a new linear model or of a tilt series, and its density."""
        if number < 0:
            number = int(generator.integers(len(self.cells)))
        cell = self.cells[number]
        density = cell["density"].astype(np.float32)
        if generator.random() < TILT_SERIES_SHARE:
            return standardised(cell["tomogram"].astype(np.float32)), density
        density = _turned(density, generator)
        tomogram = linear_tomogram(density, float(cell["voxel_size_A"]), generator)
        inside = (slice(MARGIN, -MARGIN),) * 3
        return standardised(as_stored(tomogram[inside], generator)), density[inside]

    def draw(self, count: int, patch: int, generator: np.random.Generator) -> Pair:
        """Patches ``(count, 1, patch, patch, patch)`` of tomograms and of their densities."""
        while len(self.pool) < POOL:
            self.pool.append(self.pair(generator))
        if self.drawn % RENEWED_AFTER == 0:
            self.pool[self.drawn // RENEWED_AFTER % POOL] = self.pair(generator)
        self.drawn += 1
        pairs = [_patch(self.pool[int(generator.integers(POOL))], patch, generator)
                 for _ in range(count)]
        tomograms, densities = (np.stack(part)[:, np.newaxis] for part in zip(*pairs))
        return tomograms, densities


def _turned(density: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Turned by right angles about z and flipped; a cell has no preferred way to lie there."""
    density = np.rot90(density, int(generator.integers(4)), axes=(1, 2))
    flips = [axis for axis in range(3) if generator.random() < 0.5]
    return np.ascontiguousarray(np.flip(density, flips))


def _patch(pair: Pair, patch: int, generator: np.random.Generator) -> Pair:
    """A cube of both; half of them mirrored, and a third with the tilt axis along x."""
    start = [int(generator.integers(n - patch + 1)) for n in pair[0].shape]
    region = tuple(slice(first, first + patch) for first in start)
    tomogram, density = pair[0][region], pair[1][region]
    flips = [axis for axis in range(3) if generator.random() < 0.5]
    swap = (0, 2, 1) if generator.random() < 0.33 else (0, 1, 2)
    both = (np.flip(part, flips).transpose(swap) for part in (tomogram, density))
    first, second = (np.ascontiguousarray(part, dtype=np.float32) for part in both)
    return first, second


class Run:
    """Network, averaged weights, optimiser, random states: what a checkpoint holds."""

    def __init__(self, args: argparse.Namespace) -> None:
        torch.manual_seed(args.seed)
        self.config = NetworkConfig(channels=tuple(args.channels), output_filter=True)
        make = (self.config.channels, self.config.stem_stride)
        self.network = UNet(*make, output_filter=True)
        self.averaged = UNet(*make, output_filter=True).requires_grad_(False)
        for network in (self.network, self.averaged):
            network.to(memory_format=torch.channels_last_3d)
        self.averaged.load_state_dict(self.network.state_dict())
        self.optimiser = torch.optim.AdamW(self.network.parameters(), PEAK_RATE, weight_decay=1e-4)
        self.generator = np.random.default_rng(args.seed)
        self.iteration = 0

    def step(self, tomogram: np.ndarray, density: np.ndarray, total: int) -> float:
        """One step; the loss."""
        progress = self.iteration / total
        rate = PEAK_RATE * min(1.0, (self.iteration + 1) / WARM_UP)
        rate *= max(0.5 * (1.0 + math.cos(math.pi * min(progress, 1.0))), 0.005)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        output = self.network(torch.from_numpy(tomogram))
        loss = functional.huber_loss(output, torch.from_numpy(density), delta=1.0)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        self.iteration += 1
        decay = min(DECAY, (1 + self.iteration) / (10 + self.iteration))
        with torch.no_grad():
            for average, weight in zip(self.averaged.parameters(), self.network.parameters()):
                average.lerp_(weight, 1.0 - decay)
        return float(loss.detach())

    def save(self, work: Path, card: ModelCard) -> None:
        """Checkpoint and model; the checkpoint is trusted, it is this program's own."""
        state = {name: getattr(self, name).state_dict()
                 for name in ("network", "averaged", "optimiser")}
        state["generator"] = json.dumps(self.generator.bit_generator.state)
        state["iteration"] = self.iteration
        torch.save(state, work / "checkpoint.part")
        (work / "checkpoint.part").rename(work / "checkpoint.pt")
        save_denoiser(self.averaged, replace(card, iterations=self.iteration),
                      work / "model.safetensors")

    def restore(self, work: Path) -> None:
        """Go on from the checkpoint, if there is one."""
        if not (work / "checkpoint.pt").exists():
            return
        state = torch.load(work / "checkpoint.pt", weights_only=True)
        for name in ("network", "averaged", "optimiser"):
            getattr(self, name).load_state_dict(state[name])
        self.generator.bit_generator.state = json.loads(state["generator"])
        self.iteration = state["iteration"]


def judge(network: UNet, pairs: List[Pair]) -> Dict[str, float]:
    """Mean correlation with the truth, density cut at 1.5 of protein: result, and tomogram."""
    found = {"result": 0.0, "tomogram": 0.0}
    for tomogram, density in pairs:
        with torch.no_grad():
            output = network(torch.from_numpy(tomogram[np.newaxis, np.newaxis]))[0, 0].numpy()
        truth = np.minimum(density, 1.5).ravel()
        for name, values in (("result", np.minimum(output, 1.5)), ("tomogram", tomogram)):
            found[name] += float(np.corrcoef(values.ravel(), truth)[0, 1]) / len(pairs)
    return found


def main() -> None:
    """Train until the time or the iterations are over."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=55.0)
    parser.add_argument("--iterations", type=int, default=13000)
    parser.add_argument("--patch", type=int, default=48)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--channels", type=int, nargs="+", default=[24, 48, 96])
    parser.add_argument("--cells", type=int, default=CELLS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    begun = time.monotonic()
    paths = make_cells(args.work, args.seed, args.cells + HELD_OUT)
    tomograms, held_out = Tomograms(paths[: args.cells]), Tomograms(paths[args.cells :])
    fixed = np.random.default_rng(7)
    judged = [held_out.pair(fixed, number % HELD_OUT) for number in range(2 * HELD_OUT)]
    judged = [tuple(part[8:88, 40:120, 40:120].copy() for part in pair) for pair in judged]
    run = Run(args)
    run.restore(args.work)
    card = ModelCard(
        voxel_size_A=10.0, voxel_sizes_A=USED_A, contrast="bright", task="denoise",
        network=plain_config(run.config), method="pairs", seed=args.seed,
        trained_on=TrainedRange(USED_A, (-70.0, -40.0), (40.0, 70.0)),
    )
    losses: List[float] = []
    while run.iteration < args.iterations:
        losses.append(run.step(*tomograms.draw(args.batch, args.patch, run.generator),
                               args.iterations))
        late = time.monotonic() - begun > 60.0 * args.minutes
        if run.iteration % 200 == 0 or late or run.iteration == args.iterations:
            row = {"iteration": run.iteration, "loss": float(np.mean(losses)),
                   "minutes": (time.monotonic() - begun) / 60.0, **judge(run.averaged, judged)}
            with open(args.work / "history.jsonl", "a", encoding="utf-8") as stream:
                stream.write(json.dumps(row) + "\n")
            print(", ".join(f"{name} {value:.4g}" for name, value in row.items()), flush=True)
            losses = []
            run.save(args.work, card)
        if late:
            break


if __name__ == "__main__":
    main()
