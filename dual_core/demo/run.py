"""The steps of the demo, done by the functions that the commands call."""

from __future__ import annotations

import contextlib
import logging
import time
import zlib
from dataclasses import asdict
from pathlib import Path
from typing import Callable, ContextManager, Dict, Iterator, List, NamedTuple, Sequence, Tuple

import numpy as np

from dual_core import __version__
from dual_core.demo.plan import VOXEL_SIZE_A, DemoPlan, DemoScale
from dual_core.demo.record import SCORES, Facts, Record, Row, read_scores, write_scores
from dual_core.evaluation.classical import Gaussian
from dual_core.evaluation.metrics import score_volume
from dual_core.figures import curves_figure, slices_figure, spectra_figure
from dual_core.grand_models.pack import pack
from dual_core.model import DualModel
from dual_core.physics.simulate import simulate_tomogram
from dual_core.tasks.denoise import denoise_tomogram, make_runner
from dual_core.training.checkpoint import FOLDER
from dual_core.training.loop import RunOptions, train
from dual_core.training.monitor import read_history
from dual_core.volumes import open_volume, write_volume

logger = logging.getLogger(__name__)

GAUSSIAN_SIGMA = 2.5  # voxels; about the best of the simple filters for such tomograms
AFTERWARDS_S = 60.0  # for denoising, scores and pictures
SMALLEST_TRAINING = 0.25  # of the budget: a demo without training would show nothing
CURVES = {
    "reconstruction": ("loss_density", "loss_tomogram"),
    "adversarial": ("loss_adversarial_t", "loss_adversarial_v", "loss_discriminators"),
    "correlation": ("cc_density", "cc_tomogram", "cc_denoised"),
}

Report = Callable[[int, int], None]
Bar = Callable[[str, str], ContextManager[Report]]


class DemoResult(NamedTuple):
    """The scores, a row a method, and how the demo ended: ``finished`` or a signal's name."""

    scores: List[Row]
    reason: str


class Step(NamedTuple):
    """One step: what it is for, the command line that does the same, what it makes, and how."""

    name: str
    sentence: str
    command: str
    outputs: Sequence[Path]
    work: Callable[[], Facts]


class _Stopped(Exception):
    """A signal has stopped the training, and its checkpoint is written."""


@contextlib.contextmanager
def _no_bar(label: str, unit: str) -> Iterator[Report]:
    yield lambda done, total: None


def run_demo(
    output: Path,
    minutes: float = 15.0,
    seed: int = 0,
    say: Callable[[str], None] = logger.info,
    bar: Bar = _no_bar,
    scale: DemoScale = DemoScale(),  # noqa: B008 (frozen)
) -> DemoResult:
    """Run the demo, or what is left of it: a step whose result is there is skipped.

    Parameters
    ----------
    output : folder for everything, new or that of an earlier run with the same seed.
    minutes : time for the whole; training gets what the other steps leave, at least a quarter.
    seed : of everything random.
    say : called with each line of the story.
    bar : ``bar(label, unit)``: a context manager that gives ``report(done, total)``.
    scale : how large the demo is.

    Raises
    ------
    DualError
        If the folder holds something else.
    """
    demo = _Demo(DemoPlan(Path(output), seed, scale), minutes, say, bar)
    record = Record(
        Path(output), {"version": __version__, "seed": seed, "scale": asdict(scale)}
    )
    steps = demo.steps()
    for number, step in enumerate(steps, start=1):
        say(f"\n{number}/{len(steps)} {step.sentence}")
        if step.command:
            say(f"    $ {step.command}")
        facts = record.facts(step.name, step.outputs)
        # What follows a step that was done anew is stale; training that was cut short may go on.
        if facts and not demo.anew and minutes <= facts.get("enough_for_min", minutes):
            say("    finished before: skipped")
            continue
        begun = time.monotonic()
        try:
            facts = step.work()
        except _Stopped as stopped:
            say(f"    stopped by {stopped}; the same command goes on from here")
            return DemoResult([], str(stopped))
        seconds = time.monotonic() - begun
        record.add(step.name, {"seconds": round(seconds, 1), **facts})
        demo.anew = True
        say(f"    done in {seconds:.0f} s")
    return DemoResult(read_scores(demo.plan.scores), "finished")


class _Demo:
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
                "score",
                "Compare it with the truth, beside the raw tomogram and a Gaussian of "
                f"{GAUSSIAN_SIGMA:g} voxels.",
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
                write_volume(tomogram, simulate_tomogram(density, config, rng), VOXEL_SIZE_A)
                report(done, len(plan.cells))
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
            raise _Stopped(result.reason)
        self.say("    the time was up; the same command with more --minutes trains longer")
        return {"enough_for_min": self.minutes}

    def denoise(self) -> Facts:
        """The held-out tomogram, denoised."""
        plan = self.plan
        model = DualModel.load(plan.model)
        plan.denoised.parent.mkdir(parents=True, exist_ok=True)
        with self.bar("denoising", "tile") as report:
            denoise_tomogram(
                plan.tomograms[-1], plan.denoised, model.card, make_runner(model), progress=report
            )
        return {}

    def score(self) -> Facts:
        """``scores.csv``."""
        volumes, truth = self._volumes()
        volumes[f"Gaussian {GAUSSIAN_SIGMA:g}"] = Gaussian(GAUSSIAN_SIGMA)(volumes["raw"])
        rows: List[Row] = []
        for name in sorted(volumes, key=lambda name: name == "denoised"):
            scores = score_volume(volumes[name], truth, VOXEL_SIZE_A).as_dict()
            rows.append({"name": name, **{key: scores[key] for key in SCORES}})
        write_scores(rows, self.plan.scores)
        return {}

    def draw(self) -> Facts:
        """The pictures."""
        volumes, truth = self._volumes()
        shown = {**volumes, "truth": truth}
        pictures = self.plan.pictures
        slices_figure(
            {name: _clipped(volume) for name, volume in shown.items()},
            pictures["demo"],
            VOXEL_SIZE_A,
        )
        spectra_figure(shown, pictures["spectra"], VOXEL_SIZE_A)
        curves_figure(read_history(self.plan.training_run), pictures["curves"], CURVES)
        return {}

    def _volumes(self) -> Tuple[Dict[str, np.ndarray], np.ndarray]:
        """Raw and denoised, density bright as in the truth; and the truth."""
        dark = {"raw": self.plan.tomograms[-1], "denoised": self.plan.denoised}
        volumes = {name: -open_volume(path).load() for name, path in dark.items()}
        return volumes, open_volume(self.plan.cells[-1]).load()


def _clipped(volume: np.ndarray) -> np.ndarray:
    """Without the gold's peaks, beside which protein would be black in the section of a bead."""
    low, high = np.percentile(volume, [0.1, 99.5])
    return np.clip(volume, low, high)
