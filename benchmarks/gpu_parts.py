"""The parts of benchmarks/gpu.py: what is trained, denoised, simulated, compensated and timed."""

from __future__ import annotations

import argparse
import json
import time
from typing import Any, Callable, Dict, List

import numpy as np
import torch
from roofline import Counter, operations_a_voxel
from throughput import VOXEL_SIZE_A, write_noise
from torch.nn import functional

from dual_core.evaluation.truth.metrics import psnr, standardise
from dual_core.networks.card import ModelCard
from dual_core.networks.devices import choose_device, use_bfloat16
from dual_core.networks.generators import NetworkConfig
from dual_core.networks.model import DualModel, plain_config
from dual_core.tasks.denoise import DenoiseOptions, denoise_tomogram, make_runner
from dual_core.tasks.missing_wedge import CompensateOptions, compensate_tomogram
from dual_core.tasks.simulate import SimulateOptions, open_for_simulation, simulate_tomogram
from dual_core.tasks.simulation.noise_codes import draw_noise
from dual_core.tasks.simulation.noisy_tiles import SimulationRunner
from dual_core.training.config import TrainingConfig, preset_config
from dual_core.training.data import open_training_data
from dual_core.training.loop import RunOptions, train
from dual_core.training.session import Session
from dual_core.volumes.geometry import wedge_mask
from dual_core.volumes.reading import open_volume, write_volume

TILTS = (-60.0, 60.0)
PRECISIONS = ("bfloat16", "float32")
CEILING = {False: (256, (64, 128, 128)), True: (32, (8, 16, 16))}  # toy: channels, side
CELL = {False: (128, 256, 256), True: (32, 64, 64)}
LARGE = {False: (512, 1024, 1024), True: (24, 48, 48)}
NOISE = 3.0  # deviations of a tomogram's noise in those of its structure
WARM, TIMED = 3, 20  # iterations
SHARE = 0.75  # of the time for a training; opening the data takes the rest
QUALITY_S = 180  # of a training whose quality is judged, the opening of its data included
TOO_LARGE, ROOM_GIB = 64, 12.0  # patches of 64 voxels a side, and memory that does not hold them


class Bench:
    """The parts. Each gives a row: numbers by name."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.folder, self.toy, self.data = args.output, args.toy, args.data
        self.name, self.device = args.device, choose_device(args.device)

    def parts(self) -> Dict[str, Callable[[], Dict[str, Any]]]:
        """Every part by its name, the most wanted first."""
        found: Dict[str, Callable[[], Dict[str, Any]]] = {}
        for precision in PRECISIONS:
            found[f"ceiling {precision}"] = lambda p=precision: self.ceiling(p)
        found["agreement"] = self.agreement
        for preset in ("standard", "gpu"):
            found[f"train {preset} bfloat16"] = lambda n=preset: self.training(n, "bfloat16")
        for task in ("denoise", "simulate", "compensate"):
            found[f"{task} bfloat16"] = lambda t=task: self.task(t, "bfloat16")
        found["denoise float32"] = lambda: self.task("denoise", "float32")
        for preset in ("gpu", "standard"):
            found[f"train {preset} float32"] = lambda n=preset: self.training(n, "float32")
        found["halving"] = self.halving
        for preset in ("gpu", "standard"):
            found[f"quality {preset}"] = lambda n=preset: self.quality(n)
        return found

    def agreement(self) -> Dict[str, Any]:
        """How far a denoised tomogram is from the processor's, in deviations of that."""
        model = DualModel.load("general")
        noisy = open_volume(self.folder / "noisy_9.mrc").load()
        half = noisy[: len(noisy) // 2]
        source = self.folder / "agreement.mrc"
        write_volume(source, half, VOXEL_SIZE_A)
        found = {}
        ways = [("cpu", "float32"), (self.name, "float32"), (self.name, "bfloat16")]
        for name, precision in ways:
            output = self.folder / "agreed.mrc"
            denoiser = make_runner(model, name, precision)
            options = DenoiseOptions(contrast="bright")
            denoise_tomogram(source, output, model.card, denoiser, options)
            found[f"{name} {precision}"] = open_volume(output).load()
        exact = found.pop("cpu float32")
        return {f"off_{name.split()[1]}": float((other - exact).std() / exact.std())
                for name, other in found.items()}

    def halving(self) -> Dict[str, Any]:
        """The batch and the loss after iterations that began with more than memory holds."""
        if self.device.type == "cuda":
            there = torch.cuda.get_device_properties(self.device).total_memory / 2**30
            torch.cuda.set_per_process_memory_fraction(ROOM_GIB / there, self.device)
        size = {} if self.toy else {"batch": TOO_LARGE}
        config = preset_config("gpu", **{**self.changes(), **size})
        data = open_training_data(*self.domains(), config)
        session = Session(data, config, self.device, use_bfloat16(self.device, "auto"))
        for _ in range(2):
            values = session.iterate()
        losses = [value for name, value in values.items() if name.startswith("loss")]
        return {"began": config.batch, "batch": session.batch,
                "finite": bool(np.isfinite(losses).all()), **self.memory()}

    def ceiling(self, precision: str) -> Dict[str, Any]:
        """Operations a second of torch's convolution, 3 x 3 x 3, channels last."""
        channels, side = CEILING[self.toy]
        kind = torch.bfloat16 if precision == "bfloat16" else torch.float32
        make = {"dtype": kind, "device": self.device}
        layout = {"memory_format": torch.channels_last_3d}
        features = torch.randn(1, channels, *side, **make).contiguous(**layout)
        weight = torch.randn(channels, channels, 3, 3, 3, **make).contiguous(**layout)
        best = np.inf
        with torch.inference_mode():
            for _ in range(12):
                self.wait()
                started = time.perf_counter()
                functional.conv3d(features, weight, padding=1)
                self.wait()
                best = min(best, time.perf_counter() - started)
        operations = 2.0 * 27 * channels**2 * np.prod(side) / best
        return {"Top_a_second": operations / 1e12}

    def training(self, preset: str, precision: str) -> Dict[str, Any]:
        """Iterations a second where all parts of one take place, and what drawing one takes."""
        config = self.config(preset)
        bfloat16 = use_bfloat16(self.device, precision)
        data = open_training_data(*self.domains(), config)
        session = Session(data, config, self.device, bfloat16)
        session.iteration = session.draws.iteration = config.iterations // 2 + 1
        counter = Counter(session.trainer.model)
        timed = 2 if self.toy else TIMED
        with session.drawing_ahead():
            for number in range(WARM + timed):
                if number == WARM:
                    self.wait()
                    self.begin_memory()
                    counter.by_part.clear()
                    started = time.perf_counter()
                session.iterate()
            self.wait()
            seconds = (time.perf_counter() - started) / timed
        started = time.perf_counter()
        for _ in range(timed):
            session.draws.next()
        drawing = (time.perf_counter() - started) / timed
        return {
            "iterations_a_second": 1 / seconds, "batch": session.batch, "drawing_s": drawing,
            "Top_a_second": counter.total / timed / seconds / 1e12, **self.memory(),
        }

    def quality(self, preset: str) -> Dict[str, Any]:
        """Correlation and PSNR of a denoised tomogram that training has not seen."""
        noisy, clean, test, truth_of = self.own_data() if self.data is None else (
            [self.data / f"tomo_{number}.mrc" for number in range(4)],
            [self.data / f"grand_{number}.mrc" for number in range(4, 8)],
            self.data / "tomo_9.mrc", self.data / "grand_9.mrc",
        )
        changes = self.changes() if self.data is None else {}
        config = preset_config(preset, **changes)
        rate = self.rows().get(f"train {preset} bfloat16", {}).get("iterations_a_second")
        if rate:  # the schedule of the learning rate is to end within the time
            number = min(max(int(SHARE * QUALITY_S * rate), 4), config.iterations)
            config = preset_config(preset, **{**changes, "iterations": number})
        run = self.folder / f"quality_{preset}"
        limit = (QUALITY_S - 10) / 60
        options = RunOptions(device=self.name, precision="auto", time_limit_min=limit, previews=0)
        started = time.perf_counter()
        result = train(noisy, clean, run, config, options)
        seconds = time.perf_counter() - started
        model = DualModel.load(result.model)
        output = run / "denoised.mrc"
        options_of_task = DenoiseOptions(**{} if self.data else {"contrast": "bright"})
        denoise_tomogram(test, output, model.card, make_runner(model, self.name), options_of_task)
        truth = standardise(open_volume(truth_of).load())
        raw, denoised = (standardise(open_volume(path).load()) for path in (test, output))
        extent = float(truth.max() - truth.min())
        sign = 1.0 if float((denoised * truth).mean()) > 0 else -1.0  # dark density
        return {
            "minutes": seconds / 60, "iterations": result.iterations, "finished": result.finished,
            "psnr_raw_dB": psnr(sign * raw, truth, extent),
            "psnr_dB": psnr(sign * denoised, truth, extent),
            "cc_raw": sign * float((raw * truth).mean()),
            "cc": sign * float((denoised * truth).mean()),
        }

    def task(self, task: str, precision: str) -> Dict[str, Any]:
        """A large volume of noise with a standard network, from file to file."""
        shape = LARGE[self.toy]
        source, output = self.folder / "large.mrc", self.folder / f"{task}.mrc"
        if not source.exists():
            write_noise(source, shape)
        torch.manual_seed(0)
        network = NetworkConfig(output_filter=True)
        card = ModelCard(VOXEL_SIZE_A, "bright", plain_config(network))
        model = DualModel(network, card).eval()
        working = model.structural_generator if task == "simulate" else model.denoiser
        operations = operations_a_voxel(working, working.multiple) * float(np.prod(shape))
        spent = self.time_of(working)
        self.begin_memory()
        if task == "simulate":
            options = SimulateOptions(contrast="bright", standardise="own")
            density = open_for_simulation(source, card, options)
            noise = draw_noise(network.code_size, 0, density.content, 1)
            runner = SimulationRunner(model, self.name, precision)
            done: Any = simulate_tomogram(density, output, model, runner, noise, options)
        elif task == "denoise":
            denoiser = make_runner(model, self.name, precision)
            bright = DenoiseOptions(contrast="bright")
            done = denoise_tomogram(source, output, card, denoiser, bright)
        else:
            denoiser = make_runner(model, self.name, precision)
            wedge = CompensateOptions(TILTS, contrast="bright")
            done = compensate_tomogram(source, output, card, denoiser, wedge)
        output.unlink()
        return {
            "Mvoxel_a_second": float(np.prod(shape)) / 1e6 / done.seconds, "seconds": done.seconds,
            "network_s": sum(spent), "tiles": len(spent),
            "Top_a_second": operations / 1e12 / done.seconds, **self.memory(),
        }

    def time_of(self, network: torch.nn.Module) -> List[float]:
        """Fills with the seconds that each pass of a network takes."""
        spent: List[float] = []

        def begin(*_: Any) -> None:
            self.wait()
            spent.append(-time.perf_counter())

        def end(*_: Any) -> None:
            self.wait()
            spent[-1] += time.perf_counter()

        network.register_forward_pre_hook(begin)
        network.register_forward_hook(end)
        return spent

    def changes(self) -> Dict[str, Any]:
        """What makes a training small enough to try the script."""
        small = NetworkConfig(
            channels=(4, 8), noise_channels=(2, 4), discriminator_channels=(4, 4),
            output_filter=True,
        )
        values = {"tilt_range_deg": TILTS, "contrast": "bright", "clean_contrast": "bright"}
        toy = {"network": small, "patch": 24, "batch": 2, "iterations": 6}
        return {**values, **(toy if self.toy else {})}

    def config(self, preset: str) -> TrainingConfig:
        """The configuration of a preset."""
        return preset_config(preset, **self.changes())

    def domains(self) -> Any:
        """The training files: tomograms of two cells, and two other cells."""
        return self.own_data()[:2]

    def own_data(self) -> Any:
        """Files of the two domains, a tomogram that is not among them, and its truth."""
        names = ("noisy_0", "noisy_1"), ("cell_2", "cell_3")
        domains = ([self.folder / f"{name}.mrc" for name in chosen] for chosen in names)
        return (*domains, self.folder / "noisy_9.mrc", self.folder / "cell_9.mrc")

    def make_data(self) -> None:
        """Cells of blobs of two sizes, and tomograms of some of them."""
        from scipy.ndimage import gaussian_filter

        shape = CELL[self.toy]
        generator = np.random.default_rng(0)
        mask = wedge_mask(shape, TILTS)
        for number in (0, 1, 2, 3, 9):
            cell = np.zeros(shape)
            for radius, share in ((1.5, 1e-3), (4.0, 1e-4)):
                seeds = (generator.random(shape) < share).astype(np.float32)
                cell += gaussian_filter(seeds, radius) * radius**3
            cell = (cell - cell.mean()) / cell.std()
            write_volume(self.folder / f"cell_{number}.mrc", cell.astype(np.float32), VOXEL_SIZE_A)
            noise = gaussian_filter(generator.standard_normal(shape), 0.6)
            noisy = np.fft.fftn(cell + NOISE * noise / noise.std()) * mask
            tomogram = np.fft.ifftn(noisy).real.astype(np.float32)
            write_volume(self.folder / f"noisy_{number}.mrc", tomogram, VOXEL_SIZE_A)

    def rows(self) -> Dict[str, Dict[str, Any]]:
        """What was found so far."""
        path = self.folder / "rows.json"
        return dict(json.loads(path.read_text())["rows"]) if path.exists() else {}

    def wait(self) -> None:
        """Until the device has done what it was told."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def begin_memory(self) -> None:
        """Forget the peak so far."""
        if self.device.type == "cuda":
            torch.zeros(1, device=self.device)  # before anything is there torch knows no peak
            torch.cuda.reset_peak_memory_stats(self.device)

    def memory(self) -> Dict[str, float]:
        """The peak on the device, in GiB; nothing on a CPU."""
        if self.device.type != "cuda":
            return {}
        return {"peak_GiB": torch.cuda.max_memory_allocated(self.device) / 2**30}
