"""`train`: a model from tomograms and grand models."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Callable, Dict, List, Optional, Sequence, Tuple, Union

from dual_core.api.given import (
    THIS_MACHINE,
    Given,
    Machine,
    PathLike,
    SomeGiven,
    as_files,
    called,
)
from dual_core.errors import DualError
from dual_core.networks.model import DualModel
from dual_core.training.checkpoint import holds_training
from dual_core.training.config import TrainingConfig, preset_config
from dual_core.training.loop import RunOptions, as_begun
from dual_core.training.loop import train as run_training


@dataclass(frozen=True)
class Trained:
    """A trained model and how its training ended.

    Attributes
    ----------
    path : the model file; give it to `denoise` and the others.
    folder : the training directory, with history, previews and checkpoint.
    iterations : done so far.
    finished : whether that is the whole run.
    reason : ``finished``, ``time limit``, or the name of the signal that ended it.
    """

    path: Path
    folder: Path
    iterations: int
    finished: bool
    reason: str

    def load(self) -> DualModel:
        """The model in memory, on the CPU."""
        return DualModel.load(self.path)


def train(
    noisy: SomeGiven,
    clean: SomeGiven,
    output: PathLike,
    *,
    config: Union[str, TrainingConfig] = "standard",
    voxel_size_A: Optional[float] = None,
    halves: Sequence[Tuple[Given, Given]] = (),
    resume: bool = False,
    overwrite: bool = False,
    time_limit_min: Optional[float] = None,
    machine: Machine = THIS_MACHINE,
    progress: Optional[Callable[[int, int, Dict[str, float]], None]] = None,
) -> Trained:
    """Train a model without labels, pairs or half maps, as ``dual train`` does (section 2.3).

    Parameters
    ----------
    noisy : one or several tomograms: paths of MRC files or ndarrays ``(z, y, x)``, y the tilt axis.
    clean : one or several grand models, likewise; ``()`` for the task ``missing-wedge``.
    output : training directory, made if need be.
    config : a preset (``quick``, ``standard``, ``thorough``, ``gpu``) or a `TrainingConfig`, for
        example
        ``preset_config("quick", iterations=100, tilt_range_deg=(-60.0, 60.0))``.
    voxel_size_A : of all arrays, in angstrom; `TrainingConfig` has one for each domain.
    halves : (even, odd) halves of some of the tomograms, on which the noise is measured.
    resume : go on from the checkpoint in `output`.
    overwrite : start anew in a folder that holds a training.
    time_limit_min : stop after so many minutes with a checkpoint.
    machine : where to train; ``memory_GiB`` (default 2) is for the voxels of each domain.
    progress : called after each iteration with (done, all, loss terms).

    Raises
    ------
    DualError
        Input that cannot be used, a folder that holds a training, a loss that is not finite.
    """
    folder = Path(output)
    if resume and overwrite:
        raise DualError("resume and overwrite exclude each other; give one of them")
    if holds_training(folder) and not (resume or overwrite):
        raise DualError(f"{folder} holds a training; give resume or overwrite, or another output")
    if isinstance(config, str):
        config = preset_config(config)
        config = as_begun(config, folder) if resume else config
    options = RunOptions(machine.device, machine.precision, time_limit_min)
    if machine.memory_GiB is not None:
        options = replace(options, memory_budget=int(machine.memory_GiB * 2**30))
    noisy_size, clean_size = (
        size or voxel_size_A for size in (config.noisy_voxel_size_A, config.clean_voxel_size_A)
    )
    with tempfile.TemporaryDirectory(prefix="dual-") as name, called(Path(name), "volume"):
        place = Path(name)
        found = run_training(
            as_files(noisy, noisy_size, place, "tomogram"),
            as_files(clean, clean_size, place, "clean"),
            folder, config, options, resume, progress,
            halves=_pairs(halves, noisy_size, place),
        )
    return Trained(found.model, folder, found.iterations, found.finished, found.reason)


def _pairs(
    halves: Sequence[Tuple[Given, Given]], size: Optional[float], folder: Path
) -> List[Tuple[Path, Path]]:
    even = as_files([one for one, _ in halves], size, folder, "even half")
    return list(zip(even, as_files([one for _, one in halves], size, folder, "odd half")))
