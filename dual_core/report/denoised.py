"""The denoised volumes that the report shows: given, made before by the same model, or made now."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Callable, ContextManager, Iterator, List, Optional, Sequence

from dual_core.errors import DualError
from dual_core.noise_model.explained import ExplainedVolume
from dual_core.noise_model.linear_file import linear_of
from dual_core.report.page.views import Input, check_alike
from dual_core.report.run_folder import RunFolder
from dual_core.tasks.batch import BatchRecord, file_hash, plan_jobs
from dual_core.tasks.denoise import DenoiseOptions, denoise_tomogram, make_runner
from dual_core.volumes.reading import ReadableVolume, Volume, open_volume

logger = logging.getLogger(__name__)

RECORD = "denoise.jsonl"  # that of 'dual denoise'
SUFFIX = "_denoised"

Bar = Callable[[str], ContextManager[Callable[[int, int], None]]]


@contextlib.contextmanager
def no_bar(label: str) -> Iterator[Callable[[int, int], None]]:
    """Report no progress."""
    yield lambda done, total: None


@dataclass(frozen=True)
class Machine:
    """Where and how the networks run; see `dual_core.tiles.runner`."""

    device: str = "auto"
    precision: str = "auto"
    tile: Optional[int] = None
    halo: Optional[int] = None


def denoised_volumes(
    run: RunFolder,
    inputs: Sequence[Input],
    given: Sequence[Path],
    folder: Path,
    options: DenoiseOptions,
    machine: Machine,
    bar: Bar = no_bar,
) -> List[Volume]:
    """Return a denoised volume for each tomogram, on its grid.

    Parameters
    ----------
    run : RunFolder
        With a model, unless all denoised volumes are given.
    inputs : sequence of Input
    given : sequence of path
        Denoised volumes, one for each tomogram, or none.
    folder : path
        Where volumes are written that are made now, as by ``dual denoise``. One that lies there
        or in ``RUN/denoised`` is used if its record says that it came from the same model,
        tomogram and options.
    options, machine
        For the denoiser.
    bar : callable
        ``bar(label)``: a context manager that gives ``progress(done, total)``.

    Raises
    ------
    DualError
        If the volumes given do not fit, or a tomogram cannot be denoised.
    """
    if given and len(given) != len(inputs):
        raise DualError(
            f"{len(inputs)} tomograms and {len(given)} denoised volumes were given; "
            "give one for each tomogram, in the same order"
        )
    paths = list(given) or _find_or_make(run, inputs, folder, options, machine, bar)
    volumes = []
    for one, path in zip(inputs, paths):
        volume = open_volume(path, voxel_size_A=options.voxel_size_A)
        check_alike(one.volume, volume, "denoised volume")
        volumes.append(volume)
    return volumes


def _find_or_make(
    run: RunFolder,
    inputs: Sequence[Input],
    folder: Path,
    options: DenoiseOptions,
    machine: Machine,
    bar: Bar,
) -> List[Path]:
    from dual_core.networks.model import DualModel

    model = DualModel.load(run.model)
    if model.card.task == "missing-wedge":
        raise DualError(
            f"the model of {run.path} fills the missing wedge and does not denoise; run "
            "'dual compensate' and give its results with --denoised"
        )
    runner = make_runner(model, machine.device, machine.precision, machine.tile, machine.halo)
    settings = {
        "model": file_hash(run.model),
        "options": options.as_dict(),
        "bfloat16": runner.bfloat16,
        "halo": machine.halo,
    }
    sources = [one.path for one in inputs]
    found: List[Path] = []
    places = [
        (BatchRecord(place / RECORD, settings), plan_jobs(sources, place, SUFFIX))
        for place in (folder, run.path / "denoised")
    ]
    record, jobs = places[0]
    for number, job in enumerate(jobs):
        before = [those[number] for one, those in places if one.is_finished(those[number])]
        if before:
            logger.info("%s: made before by this model, used again", before[0].output)
            found.append(before[0].output)
            continue
        folder.mkdir(parents=True, exist_ok=True)
        with bar(job.source.name) as progress:
            report = denoise_tomogram(
                job.source, job.output, model.card, runner, options, progress
            )
        numbers: Any = {k: None if v != v else v for k, v in asdict(report).items()}
        record.add(job, numbers)
        found.append(job.output)
    return found


def explained_of(run: RunFolder, given: Input, denoised: Volume) -> Optional[ReadableVolume]:
    """What the density explains of its tomogram; None for a model without a linear model."""
    if run.card is None:
        return None
    from dual_core.networks.model import DualModel

    tensors = DualModel.load(run.model).linear
    linear = linear_of(tensors)
    if linear is None:
        return None
    return ExplainedVolume(
        denoised, given.volume, linear, run.card.voxel_size_A, run.card.tilt_axis
    )
