"""How near denoising, simulating and training come to what this machine can compute at all.

    python benchmarks/roofline.py
    python benchmarks/roofline.py --noisy tomo_0.mrc --clean grand_4.mrc --iterations 3

The operations of each network are counted from its layers as it runs, a multiplication and an
addition as two. The ceiling is what torch's own convolution reaches here, in the same arithmetic
and layout: 3 x 3 x 3, as many channels as suit the processor. Denoising and simulating are whole
tasks, from file to file, and only the operations that one pass over the whole volume needs are
counted: tiles that compute a voxel twice, reading, statistics and writing are waste. A training
iteration is timed part by part. Backward, a layer counts once for the gradient of its weights and
once for that of its input, where those are asked for.

``--clock cpu`` takes processor seconds, for a machine with other work; give OMP_NUM_THREADS=1 with
it.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import math
import os
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Tuple

import numpy as np
import torch
from common import circumstances
from throughput import VOXEL_SIZE_A, write_noise
from torch import Tensor, nn
from torch.nn import functional

from dual_core.networks.card import ModelCard
from dual_core.networks.devices import choose_device, use_bfloat16
from dual_core.networks.generators import NetworkConfig, OutputFilter
from dual_core.networks.model import DualModel, plain_config
from dual_core.networks.refinement import Refinement
from dual_core.tasks.denoise import DenoiseOptions, denoise_tomogram, make_runner
from dual_core.tasks.simulate import SimulateOptions, open_for_simulation, simulate_tomogram
from dual_core.tasks.simulation.noise_codes import draw_noise
from dual_core.tasks.simulation.noisy_tiles import SimulationRunner
from dual_core.training import step as step_module
from dual_core.training.config import preset_config
from dual_core.training.data import open_training_data
from dual_core.training.session import Session
from dual_core.volumes.reading import write_volume

CEILING_CHANNELS = 96
CEILING_SIDES = (24, 48, 48)
CLOCKS: Dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}
_clock = CLOCKS["wall"]


def clock() -> float:
    """Seconds, by the clock that was asked for."""
    return _clock()


def operations_of(layer: nn.Module, inputs: Tensor, output: Tensor) -> Tuple[float, float]:
    """What a layer computes, forward and, with gradients, backward."""
    if isinstance(layer, OutputFilter):
        # Three small convolutions of 8 to 8 features, along an axis each.
        forward = 2.0 * 3 * 8 * (2 * layer.CELLS + 1) * output.numel()
        weights = False
    elif isinstance(layer, Refinement):
        # On a CPU its layers are computed in another form; these are the operations of the layers.
        convolutions = [entry for entry in layer if isinstance(entry, nn.Conv3d)]
        parts = [math.prod(entry.weight.shape) * 2.0 * output.numel() for entry in convolutions]
        if not torch.is_grad_enabled():
            return sum(parts), 0.0
        into = parts if inputs.requires_grad else parts[1:]
        weights = convolutions[0].weight.requires_grad
        return sum(parts), sum(parts) * int(weights) + sum(into)
    elif isinstance(layer, nn.Conv3d):
        taps = math.prod(layer.kernel_size) * layer.in_channels // layer.groups
        forward, weights = 2.0 * taps * output.numel(), layer.weight.requires_grad
    elif isinstance(layer, nn.Linear):
        forward = 2.0 * layer.in_features * output.numel()
        weights = layer.weight.requires_grad
    else:
        return 0.0, 0.0
    if not torch.is_grad_enabled():
        return forward, 0.0
    return forward, forward * (int(weights) + int(inputs.requires_grad))


class Counter:
    """Counts the operations of networks while they run, under the part that runs."""

    def __init__(self, *networks: nn.Module) -> None:
        self.by_part: Dict[str, float] = defaultdict(float)
        self.part = ""
        layers = {layer for network in networks for layer in network.modules()}
        inner = {entry for layer in layers if isinstance(layer, Refinement) for entry in layer}
        for layer in layers - inner:
            if isinstance(layer, (nn.Conv3d, nn.Linear, OutputFilter, Refinement)):
                layer.register_forward_hook(self._count)

    def _count(self, layer: nn.Module, inputs: Tuple[Tensor, ...], output: Tensor) -> None:
        self.by_part[self.part] += sum(operations_of(layer, inputs[0], output))

    @property
    def total(self) -> float:
        return sum(self.by_part.values())


def operations_a_voxel(network: nn.Module, multiple: int) -> float:
    """Of one pass over a volume, for each voxel of it."""
    counter = Counter(network)
    volume = torch.zeros(1, 1, *[4 * multiple] * 3)
    with torch.inference_mode():
        network(volume)
    return counter.total / volume.numel()


def ceiling(bfloat16: bool) -> float:
    """Operations a second of torch's convolution, the fastest of several runs."""
    kind = torch.bfloat16 if bfloat16 else torch.float32
    layout = torch.channels_last_3d
    features = torch.randn(1, CEILING_CHANNELS, *CEILING_SIDES, dtype=kind)
    weight = torch.randn(CEILING_CHANNELS, CEILING_CHANNELS, 3, 3, 3, dtype=kind)
    features = features.contiguous(memory_format=layout)
    weight = weight.contiguous(memory_format=layout)
    best = math.inf
    with torch.inference_mode():
        for _ in range(6):
            started = clock()
            functional.conv3d(features, weight, padding=1)
            best = min(best, clock() - started)
    return 2.0 * 27 * CEILING_CHANNELS**2 * math.prod(CEILING_SIDES) / best


def row(what: str, operations: float, seconds: float, limit: float) -> Dict[str, Any]:
    """A row of the table, said at once."""
    found = {
        "what": what,
        "gigaoperations": operations / 1e9,
        "seconds": seconds,
        "share_of_ceiling": operations / seconds / limit if seconds else 0.0,
    }
    print(
        f"{what:42} {operations / 1e9:10.1f} Gop {seconds:8.2f} s "
        f"{100 * found['share_of_ceiling']:6.1f} % of the ceiling", flush=True,
    )
    return found


def tasks(folder: Path, shape: Tuple[int, int, int], precision: str) -> Iterator[Dict[str, Any]]:
    """Denoising and simulating a volume of noise, from file to file."""
    torch.manual_seed(0)
    config = NetworkConfig(output_filter=True)
    model = DualModel(config, ModelCard(VOXEL_SIZE_A, "bright", plain_config(config))).eval()
    write_noise(folder / "noise.mrc", shape)
    voxels = float(np.prod(shape))
    bfloat16 = use_bfloat16(choose_device("cpu"), precision)

    runner = make_runner(model, "cpu", precision)
    operations = voxels * operations_a_voxel(model.denoiser, model.multiple)
    limit = ceiling(bfloat16)
    started = clock()
    denoise_tomogram(
        folder / "noise.mrc", folder / "denoised.mrc", model.card, runner,
        DenoiseOptions(contrast="bright"),
    )
    seconds = clock() - started
    limit = max(limit, ceiling(bfloat16))
    name = f"denoise {' x '.join(map(str, shape))}, {voxels / seconds / 1e3:.0f} kvoxel/s"
    yield row(name, operations, seconds, limit)

    simulator = SimulationRunner(model, "cpu", precision)
    generator = model.structural_generator
    operations = voxels * operations_a_voxel(generator, generator.multiple)
    options = SimulateOptions(contrast="bright", standardise="own")
    density = open_for_simulation(folder / "noise.mrc", model.card, options)
    noise = draw_noise(config.code_size, 0, density.content, 1)
    started = clock()
    simulate_tomogram(
        density, folder / "simulated.mrc", model, simulator, noise, options
    )
    seconds = clock() - started
    limit = max(limit, ceiling(bfloat16))
    name = f"simulate {' x '.join(map(str, shape))}, {voxels / seconds / 1e3:.0f} kvoxel/s"
    yield row(name, operations, seconds, limit)


class Stopwatch:
    """Seconds of parts that may contain one another: what is inside counts for itself alone."""

    def __init__(self, counter: Counter) -> None:
        self.seconds: Dict[str, float] = defaultdict(float)
        self._counter = counter
        self._running: List[str] = []
        self._since = clock()

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Time of this block counts for `name`."""
        self._take()
        self._running.append(name)
        self._counter.part = name
        try:
            yield
        finally:
            self._take()
            self._running.pop()
            self._counter.part = self._running[-1] if self._running else ""

    def watch(self, owner: Any, method: str, name: str) -> None:
        """Let a method of an object count for `name`."""
        original: Callable[..., Any] = getattr(owner, method)

        @functools.wraps(original)
        def watched(*args: Any, **options: Any) -> Any:
            with self.part(name):
                return original(*args, **options)

        setattr(owner, method, watched)

    def _take(self) -> None:
        now = clock()
        if self._running:
            self.seconds[self._running[-1]] += now - self._since
        self._since = now


def training(
    noisy: List[Path], clean: List[Path], iterations: int, precision: str
) -> Iterator[Dict[str, Any]]:
    """Iterations of the preset ``standard`` after two that are not counted, part by part."""
    config = preset_config("standard")
    device = choose_device("cpu")
    bfloat16 = use_bfloat16(device, precision)
    session = Session(open_training_data(noisy, clean, config), config, device, bfloat16)
    # Where all parts take place.
    session.iteration = int(config.recorrupted_from * config.iterations) + 1
    session.draws.iteration = session.iteration
    trainer = session.trainer
    counter = Counter(trainer.model)
    watch = Stopwatch(counter)
    watch.watch(session.draws, "next", "drawing")
    session._next = session.draws.next  # beside the computation otherwise; here it is to be seen
    watch.watch(trainer, "_train_generators", "generators (equations 1 to 9)")
    watch.watch(trainer, "_train_discriminators", "discriminators")
    watch.watch(trainer.rehearsals, "denoiser", "rehearsals of Dn")
    watch.watch(trainer.rehearsals, "generator", "rehearsals of Gs")
    watch.watch(trainer.rehearsals, "recorrupted", "Dn on recorrupted blocks")
    watch.watch(trainer, "_average", "averaged weights")
    trainer.rehearsals._stepped = trainer._average
    for optimiser in trainer._optimisers.values():
        watch.watch(optimiser, "step", "optimisers")
    watch.watch(step_module.nn.utils, "clip_grad_norm_", "gradient norms")
    for _ in range(2):
        session.iterate()
    watch.seconds.clear()
    counter.by_part.clear()
    limit, started = ceiling(bfloat16), clock()
    for _ in range(iterations):
        with watch.part("the rest"):
            session.iterate()
    seconds = clock() - started
    limit = max(limit, ceiling(bfloat16))
    for name in sorted(watch.seconds, key=lambda key: -watch.seconds[key]):
        operations = counter.by_part[name] / iterations
        yield row(f"iteration: {name}", operations, watch.seconds[name] / iterations, limit)
    yield row("a training iteration", counter.total / iterations, seconds / iterations, limit)


def make_domains(folder: Path) -> Tuple[List[Path], List[Path]]:
    """A grand model of blobs and a tomogram of it: smoothed, and in noise."""
    from scipy.ndimage import gaussian_filter

    generator = np.random.default_rng(0)
    shape = (96, 192, 192)
    seeds = (generator.random(shape) > 0.9995).astype(np.float32)
    density = gaussian_filter(seeds, 2.5) * 100
    coloured = gaussian_filter(generator.standard_normal(shape), 0.7)
    tomogram = -density + 4 * coloured * density.std() / coloured.std()
    paths = folder / "noisy.mrc", folder / "clean.mrc"
    for path, volume in zip(paths, (tomogram, density)):
        write_volume(path, volume.astype(np.float32), VOXEL_SIZE_A)
    return [paths[0]], [paths[1]]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", type=int, nargs=3, default=(128, 384, 384), metavar="N")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--iterations", type=int, default=5, help="of training; 0 for none")
    parser.add_argument("--noisy", type=Path, nargs="+", help="default: made up")
    parser.add_argument("--clean", type=Path, nargs="+", help="default: made up")
    parser.add_argument("--clock", choices=sorted(CLOCKS), default="wall")
    parser.add_argument("--only", choices=("tasks", "training"), help="default: both")
    parser.add_argument("--json", type=Path, help="write the rows there too")
    args = parser.parse_args()
    global _clock
    _clock = CLOCKS[args.clock]
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # as the command line does
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bfloat16 = use_bfloat16(choose_device("cpu"), args.precision)
        kind = "bfloat16" if bfloat16 else "float32"
        print(circumstances(torch.get_num_threads()))
        print(f"ceiling: {ceiling(bfloat16) / 1e9:.0f} Gop/s, {kind}, channels last", flush=True)
        if args.only != "training":
            rows += tasks(folder, tuple(args.shape), args.precision)
        if args.iterations and args.only != "tasks":
            domains = (args.noisy, args.clean)
            if args.noisy is None or args.clean is None:
                domains = make_domains(folder)
            rows += training(*domains, args.iterations, args.precision)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
