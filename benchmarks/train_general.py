"""Train the general model, which comes with the package: denoise without any training.

    python benchmarks/train_general.py --work WORK --minutes 55      (again and again, it resumes)

Makes its training set by the package's own means (general_cells.py, general_tomograms.py): cells of
many kinds, voxel sizes of 6.5 to 17 A, tomograms of linear models drawn at random and of simulated
tilt series, with fluctuations that no molecule explains, small volumes and scales
(general_feed.py); no file of a user or of a benchmark. The denoiser alone is trained, on known
pairs: of a standardised tomogram it learns the density in units of protein (Huber loss, so that
gold does not rule it). WORK/history.jsonl has the loss and, on tomograms that are never trained
on, how well the result correlates with the truth beside the tomogram itself. WORK/model.safetensors
is the model of averaged weights, written with every checkpoint.

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
from typing import Dict, List

import numpy as np
import torch
from general_feed import Cells, Feed, Pair, make_cells
from torch.nn import functional

from dual_core.networks.card import ModelCard, TrainedRange
from dual_core.networks.devices import choose_device, use_bfloat16
from dual_core.networks.generators import NetworkConfig, UNet
from dual_core.networks.model import DualModel, plain_config, save_denoiser
from dual_core.training.rehearsal import autocast

CELLS, HELD_OUT = 140, 6
USED_A = (7.0, 16.0)  # voxel sizes, a little inside of those that are trained on
WARM_UP, DECAY = 300, 0.999


class Run:
    """Network, averaged weights, optimiser, random states: what a checkpoint holds."""

    def __init__(self, args: argparse.Namespace) -> None:
        torch.manual_seed(args.seed)
        self.config = NetworkConfig(channels=tuple(args.channels), output_filter=True)
        self.device = choose_device(args.device)
        self.bfloat16 = use_bfloat16(self.device, args.precision)
        self.rate = args.rate
        make = (self.config.channels, self.config.stem_stride)
        self.network = UNet(*make, output_filter=True)
        self.averaged = UNet(*make, output_filter=True).requires_grad_(False)
        if args.start:
            self.network.load_state_dict(DualModel.load(args.start).denoiser.state_dict())
        for network in (self.network, self.averaged):
            network.to(self.device, memory_format=torch.channels_last_3d)
        self.averaged.load_state_dict(self.network.state_dict())
        self.optimiser = torch.optim.AdamW(self.network.parameters(), self.rate, weight_decay=1e-4)
        self.generator = np.random.default_rng(args.seed)
        self.iteration = 0

    def step(
        self, tomogram: torch.Tensor, density: torch.Tensor, progress: float
    ) -> torch.Tensor:
        """One step; the loss."""
        rate = self.rate * min(1.0, (self.iteration + 1) / WARM_UP)
        rate *= max(0.5 * (1.0 + math.cos(math.pi * min(progress, 1.0))), 0.005)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        with autocast(self.device, self.bfloat16):
            output = self.network(tomogram)
        loss = functional.huber_loss(output.float(), density, delta=1.0)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        self.iteration += 1
        decay = min(DECAY, (1 + self.iteration) / (10 + self.iteration))
        with torch.no_grad():
            for average, weight in zip(self.averaged.parameters(), self.network.parameters()):
                average.lerp_(weight, 1.0 - decay)
        return loss.detach()

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
    device = next(network.parameters()).device
    for tomogram, density in pairs:
        with torch.no_grad():
            seen = torch.from_numpy(tomogram[np.newaxis, np.newaxis]).to(device)
            output = network(seen)[0, 0].cpu().numpy()
        truth = np.minimum(density, 1.5).ravel()
        for name, values in (("result", np.minimum(output, 1.5)), ("tomogram", tomogram)):
            found[name] += float(np.corrcoef(values.ravel(), truth)[0, 1]) / len(pairs)
    return found


def progress(args: argparse.Namespace, begun: float, iteration: int) -> float:
    """Of the learning rate's schedule, 0 to 1: by iterations, or by the time of this call."""
    if args.last:
        return (time.monotonic() - begun) / (60.0 * args.minutes)
    return float(iteration) / float(args.iterations)


def options() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=55.0, help="of training, in this call")
    parser.add_argument("--last", action="store_true",
                        help="the schedule of the learning rate ends with this call's minutes")
    parser.add_argument("--iterations", type=int, default=13000)
    parser.add_argument("--patch", type=int, default=48)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--rate", type=float, default=5e-4, help="highest learning rate")
    parser.add_argument("--channels", type=int, nargs="+", default=[24, 48, 96])
    parser.add_argument("--start", default="", help="a model to begin with, or general")
    parser.add_argument("--cells", type=int, default=CELLS)
    parser.add_argument("--only-cells", action="store_true", help="make them and stop")
    parser.add_argument("--pool", type=int, default=24, help="tomograms at hand")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--workers", type=int, default=0,
                        help="processes that make cells and tomograms; 0 makes them in between")
    return parser.parse_args()


def main() -> None:
    """Train until the time or the iterations are over."""
    args = options()
    torch.set_num_threads(args.threads)
    paths = make_cells(args.work, args.seed, args.cells + HELD_OUT, args.workers)
    if args.only_cells:
        return
    held_out = Cells(paths[args.cells :])
    fixed = np.random.default_rng(7)
    judged = [held_out.pair(fixed, number % HELD_OUT) for number in range(2 * HELD_OUT)]
    judged = [tuple(part[2:82, 34:114, 34:114].copy() for part in pair) for pair in judged]
    cells = Cells(paths[: args.cells])
    run = Run(args)
    run.restore(args.work)
    feed = Feed(cells, run.device, args.pool, args.workers, [args.seed, 1, run.iteration])
    card = ModelCard(
        voxel_size_A=10.0, voxel_sizes_A=USED_A, contrast="bright", task="denoise",
        network=plain_config(run.config), method="pairs", seed=args.seed,
        trained_on=TrainedRange(USED_A, (-70.0, -40.0), (40.0, 70.0)),
    )
    begun, first = time.monotonic(), run.iteration
    losses: List[torch.Tensor] = []
    late = False
    while not late and (args.last or run.iteration < args.iterations):
        pair = feed.draw(args.batch, args.patch, run.generator)
        losses.append(run.step(*pair, progress(args, begun, run.iteration)))
        late = time.monotonic() - begun > 60.0 * args.minutes
        if run.iteration % 200 == 0 or late or run.iteration == args.iterations:
            minutes = (time.monotonic() - begun) / 60.0
            row = {"iteration": run.iteration, "loss": float(torch.stack(losses).mean()),
                   "minutes": minutes, "a_second": (run.iteration - first) / minutes / 60.0,
                   "made": feed.put, **judge(run.averaged, judged)}
            with open(args.work / "history.jsonl", "a", encoding="utf-8") as stream:
                stream.write(json.dumps(row) + "\n")
            print(", ".join(f"{name} {value:.4g}" for name, value in row.items()), flush=True)
            losses = []
            run.save(args.work, card)


if __name__ == "__main__":
    main()
