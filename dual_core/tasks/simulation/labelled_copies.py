"""Several tomograms of each grand model, every one with noise of its own, with their labels."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Callable, ContextManager, Dict, List, Mapping, Sequence

from dual_core.networks.model import DualModel
from dual_core.tasks.batch import Job
from dual_core.tasks.simulate import SimulateOptions, open_for_simulation, simulate_tomogram
from dual_core.tasks.simulation.density_map import DensityMap
from dual_core.tasks.simulation.noise_codes import RANDOM, Noise, draw_noise
from dual_core.tasks.simulation.noisy_tiles import SimulationRunner
from dual_core.tasks.simulation.training_set import carry_labels, update_table

ProgressOf = Callable[[str], ContextManager[Callable[[int, int], None]]]


@dataclass(frozen=True)
class NoiseOfCopies:
    """The noise of each copy: as in the tomograms given, copy 1 as in the first, or drawn.

    Attributes
    ----------
    seed : of what is drawn.
    files : the tomograms that are imitated; may be none.
    codes : their noise codes ``(K,)``, one for each.
    profiles : their noise profiles, one for each, where the model has measured noise.
    """

    seed: int
    files: Sequence[str]
    codes: Sequence[Any]
    profiles: Sequence[Any] = ()

    def source(self, copy: int) -> str:
        """The tomogram that is imitated, or that none is."""
        return str(self.files[(copy - 1) % len(self.codes)]) if self.codes else RANDOM

    def draw(self, code_size: int, content: int, copy: int) -> Noise:
        """The noise for copy `copy`, from 1, of the grand model with this content."""
        noise = draw_noise(code_size, self.seed, content, copy)
        if not self.codes:
            return noise
        number = (copy - 1) % len(self.codes)
        profile = self.profiles[number] if self.profiles else None
        return Noise(self.codes[number], noise.seed, self.source(copy), profile)


@dataclass(frozen=True)
class LabelledCopies:
    """The tomograms of a folder, their labels, and the table that says what belongs together.

    Attributes
    ----------
    folder : of the results.
    table : name of the table in it.
    copies : the number of its copy, from 1, for each tomogram.
    noises : where the noise of each copy comes from.
    """

    folder: Path
    table: str
    copies: Mapping[Job, int]
    noises: NoiseOfCopies

    def add(self, jobs: Sequence[Job]) -> None:
        """Write finished tomograms into the table, and their labels beside them."""
        if jobs:
            update_table(self.folder, [self._row(job) for job in jobs], self.table)

    def _row(self, job: Job) -> Dict[str, Any]:
        return {
            "tomogram": job.output.name,
            "grand_model": str(job.source.resolve()),
            **carry_labels(job.source, self.folder),
            "code_from": self.noises.source(self.copies[job]),
            "copy": self.copies[job],
        }


@dataclass(frozen=True)
class SimulationOfCopies:
    """How the tomograms are made; a grand model that is open stays so for its next copy.

    Attributes
    ----------
    model, runner, options : see `dual_core.tasks.simulate.simulate_tomogram`.
    labelled : where the tomograms belong.
    progress : gives a context with ``progress(done, total)`` in tiles for the name of a file.
    """

    model: DualModel
    runner: SimulationRunner
    options: SimulateOptions
    labelled: LabelledCopies
    progress: ProgressOf
    _opened: List[DensityMap] = field(default_factory=list)

    def make(self, job: Job) -> Dict[str, Any]:
        """Write a tomogram and its row of the table; what is worth keeping on record."""
        density = self._open(job.source)
        copy = self.labelled.copies[job]
        code_size = self.model.config.code_size
        noise = self.labelled.noises.draw(code_size, density.content, copy)
        with self.progress(job.output.name) as progress:
            report = simulate_tomogram(
                density, job.output, self.model, self.runner, noise, self.options, progress
            )
        self.labelled.add([job])
        return asdict(report)

    def _open(self, path: Path) -> DensityMap:
        if not self._opened or self._opened[0].volume.facts.path != path:
            self._opened[:] = [open_for_simulation(path, self.model.card, self.options)]
        return self._opened[0]
