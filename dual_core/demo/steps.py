"""What each step of the demo does, by the functions that the commands call."""

from __future__ import annotations

import time
import zlib
from pathlib import Path
from typing import Callable, ContextManager, Dict, List, NamedTuple, Sequence, Tuple, Union

import numpy as np

from dual_core.demo.plan import VOXEL_SIZE_A, DemoPlan
from dual_core.demo.record import SCORES, Facts, Row, write_scores
from dual_core.evaluation.truth.classical import Gaussian
from dual_core.evaluation.truth.metrics import score_volume
from dual_core.figures import curves_figure, slices_figure, spectra_figure
from dual_core.grand_models.pack import pack
from dual_core.networks.card import GENERAL
from dual_core.networks.model import DualModel
from dual_core.physics.simulate import simulate_tomogram as project_tomogram
from dual_core.report.write import ReportOptions, write_report
from dual_core.tasks.denoise import denoise_tomogram, make_runner
from dual_core.tasks.simulate import SimulateOptions, open_for_simulation, simulate_tomogram
from dual_core.tasks.simulation.noise_codes import draw_noise
from dual_core.tasks.simulation.noisy_tiles import SimulationRunner
from dual_core.tasks.simulation.training_set import carry_labels, update_table
from dual_core.training.checkpoint import FOLDER
from dual_core.training.loop import RunOptions, train
from dual_core.training.monitor import read_history
from dual_core.volumes.reading import open_volume, write_volume

GAUSSIAN_SIGMA = 2.5  # voxels; about the best of the simple filters for such tomograms
AFTERWARDS_S = 120.0  # for denoising, simulating, scores and pictures
SMALLEST_TRAINING = 0.25  # of the budget: a demo without training would show nothing
CURVES = {
    "reconstruction": ("loss_density", "loss_tomogram"),
    "adversarial": ("loss_adversarial_t", "loss_adversarial_v", "loss_discriminators"),
    "correlation": ("cc_density", "cc_tomogram", "cc_denoised"),
}

Report = Callable[[int, int], None]
Bar = Callable[[str, str], ContextManager[Report]]


class Step(NamedTuple):
    """One step: what it is for, the command line that does the same, what it makes, and how."""

    name: str
    sentence: str
    command: str
    outputs: Sequence[Path]
    work: Callable[[], Facts]


class Stopped(Exception):
    """A signal has stopped the training, and its checkpoint is written."""


class Demo:
    """The work of each step.

    ``anew`` says whether some step was done in this run and not found from an earlier one.
    """

    def __init__(
        self, plan: DemoPlan, minutes: float, say: Callable[[str], None], bar: Bar
    ) -> None:
        self.started = time.monotonic()
        self.plan, self.minutes, self.say, self.bar = plan, minutes, say, bar
        self.anew = False

    def steps(self) -> List[Step]:
        """The story, in order."""
        return [*self._make_domains(), *self._train_and_use_model(), *self._show_results()]

    def _make_domains(self) -> List[Step]:
        """Two domains that nobody paired."""
        plan = self.plan
        return [
            Step(
                "pack clean",
                f"Pack {len(plan.clean)} grand models, cells without noise: the clean domain.",
                plan.pack_command(plan.clean),
                plan.clean,
                lambda: self.pack(plan.clean),
            ),
            Step(
                "pack cells",
                f"Pack {len(plan.cells)} other cells, for the microscope to look at.",
                plan.pack_command(plan.cells),
                plan.cells,
                lambda: self.pack(plan.cells),
            ),
            Step(
                "project",
                "Simulate their tilt series and reconstruct them: the noisy domain.",
                plan.project_command(),
                plan.tomograms,
                self.project,
            ),
            Step(
                "first look",
                "Denoise one with the general model, which comes with DUAL and needs no training: "
                f"{plan.pictures['first_look'].name} shows it.",
                plan.first_look_command(),
                [plan.first_look, plan.pictures["first_look"]],
                self.first_look,
            ),
        ]

    def _train_and_use_model(self) -> List[Step]:
        """The model, and what it is for."""
        plan = self.plan
        return [
            Step(
                "train",
                "Train on both domains, without pairs and labels; the last tomogram is held out.",
                plan.train_command(),
                [plan.model],
                self.train,
            ),
            Step(
                "denoise",
                "Denoise the tomogram that was held out.",
                plan.denoise_command(),
                [plan.denoised],
                self.denoise,
            ),
            Step(
                "simulate",
                "Simulate another tomogram of its cell, with labels, in the manner of the others.",
                plan.simulate_command(),
                [plan.simulated, plan.training_set],
                self.simulate,
            ),
        ]

    def _show_results(self) -> List[Step]:
        """What has come of it."""
        plan = self.plan
        return [
            Step(
                "score",
                "Compare it with the truth, beside the raw tomogram, a Gaussian of "
                f"{GAUSSIAN_SIGMA:g} voxels and the general model.",
                plan.score_command(),
                [plan.scores],
                self.score,
            ),
            Step(
                "draw",
                "Draw slices, power spectra and the course of the training.",
                "",
                list(plan.pictures.values()),
                self.draw,
            ),
            Step(
                "report",
                "Write a page with all of it, to open in a browser.",
                plan.report_command(),
                [plan.report],
                self.report,
            ),
        ]

    def pack(self, cells: Sequence[Path]) -> Facts:
        """Grand models."""
        pack(self.plan.pack_config(cells), cells[0].parent, len(cells))
        return {}

    def project(self) -> Facts:
        """Tomograms of the cells."""
        plan = self.plan
        config = plan.simulator_config()
        plan.tomograms[0].parent.mkdir(parents=True, exist_ok=True)
        with self.bar("projecting", "tomogram") as report:
            for done, (cell, tomogram) in enumerate(zip(plan.cells, plan.tomograms), start=1):
                density = open_volume(cell).load()
                # The noise that `dual project` draws for the same cell and seed.
                rng = np.random.default_rng([plan.seed, zlib.crc32(density.tobytes())])
                write_volume(tomogram, project_tomogram(density, config, rng), VOXEL_SIZE_A)
                report(done, len(plan.cells))
        return {}

    def first_look(self) -> Facts:
        """The held-out tomogram as the general model denoises it, and a picture."""
        plan = self.plan
        self._denoise(GENERAL, plan.first_look)
        dark = {"raw": plan.tomograms[-1], "general": plan.first_look}
        volumes = {name: _clipped(-open_volume(path).load()) for name, path in dark.items()}
        slices_figure(volumes, plan.pictures["first_look"], VOXEL_SIZE_A)
        return {}

    def train(self) -> Facts:
        """The model, in the time that is left."""
        plan = self.plan
        config = plan.training_config()
        budget_s = 60 * self.minutes
        left_s = budget_s - AFTERWARDS_S - (time.monotonic() - self.started)
        options = RunOptions(
            time_limit_min=max(left_s, SMALLEST_TRAINING * budget_s) / 60,
            previews=plan.scale.previews,
        )
        resume = not self.anew and (plan.training_run / FOLDER).exists()
        with self.bar("training", "iteration") as report:
            result = train(
                plan.tomograms[:-1],
                plan.clean,
                plan.training_run,
                config,
                options,
                resume,
                lambda done, total, values: report(done, total),
            )
        self.say(f"    {result.iterations} of {config.iterations} iterations")
        if result.finished:
            return {}
        if result.reason != "time limit":
            raise Stopped(result.reason)
        self.say("    the time was up; the same command with more --minutes trains longer")
        return {"enough_for_min": self.minutes}

    def denoise(self) -> Facts:
        """The held-out tomogram, denoised."""
        self._denoise(self.plan.model, self.plan.denoised)
        return {}

    def _denoise(self, path: Union[str, Path], output: Path) -> None:
        model = DualModel.load(path)
        output.parent.mkdir(parents=True, exist_ok=True)
        with self.bar("denoising", "tile") as report:
            denoise_tomogram(
                self.plan.tomograms[-1], output, model.card, make_runner(model), progress=report
            )

    def simulate(self) -> Facts:
        """A tomogram of the held-out cell from its grand model, with labels."""
        plan = self.plan
        model, cell, folder = DualModel.load(plan.model), plan.cells[-1], plan.simulated.parent
        folder.mkdir(parents=True, exist_ok=True)
        density = open_for_simulation(cell, model.card, SimulateOptions())
        noise = draw_noise(model.config.code_size, plan.seed, density.content, 1)
        with self.bar("simulating", "tile") as report:
            simulate_tomogram(
                density, plan.simulated, model, SimulationRunner(model), noise, progress=report
            )
        row = {"tomogram": plan.simulated.name, "grand_model": str(cell), "copy": 1}
        update_table(folder, [{**row, **carry_labels(cell, folder), "code_from": noise.code_from}])
        return {}

    def score(self) -> Facts:
        """``scores.csv``."""
        volumes, truth = self._volumes()
        raw = volumes.pop("raw")
        simple = {"raw": raw, f"Gaussian {GAUSSIAN_SIGMA:g}": Gaussian(GAUSSIAN_SIGMA)(raw)}
        rows: List[Row] = []
        for name, volume in {**simple, **volumes}.items():
            scores = score_volume(volume, truth, VOXEL_SIZE_A).as_dict()
            rows.append({"name": name, **{key: scores[key] for key in SCORES}})
        write_scores(rows, self.plan.scores)
        return {}

    def draw(self) -> Facts:
        """The pictures."""
        volumes, truth = self._volumes()
        shown = {**volumes, "truth": truth}
        plan, pictures = self.plan, self.plan.pictures
        slices_figure(
            {name: _clipped(volume) for name, volume in shown.items()},
            pictures["demo"],
            VOXEL_SIZE_A,
        )
        synthetic = {
            "tomogram": volumes["raw"], "simulated": -open_volume(plan.simulated).load()
        }
        slices_figure(
            {name: _clipped(volume) for name, volume in synthetic.items()},
            pictures["simulated"],
            VOXEL_SIZE_A,
        )
        spectra_figure(
            {**shown, "simulated": synthetic["simulated"]}, pictures["spectra"], VOXEL_SIZE_A
        )
        curves_figure(read_history(plan.training_run), pictures["curves"], CURVES)
        return {}

    def report(self) -> Facts:
        """``report.html``; 'dual report' without --no-trust judges the result as well."""
        plan = self.plan
        options = ReportOptions(
            tomograms=[plan.tomograms[-1]],
            truths=[plan.cells[-1]],
            denoised=[plan.denoised],
            trust=False,
        )
        write_report(plan.training_run, plan.report, options)
        return {}

    def _volumes(self) -> Tuple[Dict[str, np.ndarray], np.ndarray]:
        """Raw and denoised, density bright as in the truth; and the truth."""
        plan = self.plan
        dark = {"raw": plan.tomograms[-1], "general": plan.first_look, "denoised": plan.denoised}
        volumes = {name: -open_volume(path).load() for name, path in dark.items()}
        return volumes, open_volume(self.plan.cells[-1]).load()


def _clipped(volume: np.ndarray) -> np.ndarray:
    """Without the gold's peaks, beside which protein would be black in the section of a bead."""
    low, high = np.percentile(volume, [0.1, 99.5])
    return np.clip(volume, low, high)
