"""`adapt`: a denoiser trained on tomograms alone for some minutes."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Callable, Optional

from dual_core.api.given import (
    THIS_MACHINE,
    AnyModel,
    Machine,
    PathLike,
    SomeGiven,
    as_files,
    called,
    model_of,
)
from dual_core.networks.model import DualModel
from dual_core.tasks.denoise import DenoiseOptions
from dual_core.tasks.denoising.adapt import adapted_model


def adapt(
    tomograms: SomeGiven,
    model: AnyModel = "general",
    *,
    minutes: float = 2.0,
    voxel_size_A: Optional[float] = None,
    contrast: str = "auto",
    tilt_axis: Optional[str] = None,
    output: Optional[PathLike] = None,
    machine: Machine = THIS_MACHINE,
    progress: Optional[Callable[[int, int], None]] = None,
) -> DualModel:
    """Adapt a denoiser to tomograms, as ``dual denoise --adapt`` does; no clean domain is needed.

    Parameters
    ----------
    tomograms : one or several: paths of MRC files or ndarrays ``(z, y, x)``, y the tilt axis.
    model : path of a model file, ``general`` or `DualModel`; it stays as it is.
    minutes : how long to train.
    voxel_size_A : in angstrom; needed for arrays, else instead of the headers'.
    contrast : whether density is ``dark`` or ``bright``; ``auto`` detects it.
    tilt_axis : ``y`` or ``x``; by default that of the tomograms of the model's training.
    output : folder that keeps the model as ``adapted.safetensors``; made if need be.
    machine : where to train; its device alone counts.
    progress : called with (seconds done, seconds in all).

    Returns
    -------
    DualModel
        Which denoises only; give it to `denoise`.

    Raises
    ------
    DualError
        A file that cannot be read, an array without voxel size, a volume thinner than 32 voxels.
    """
    options = DenoiseOptions(contrast=contrast, voxel_size_A=voxel_size_A, tilt_axis=tilt_axis)
    with tempfile.TemporaryDirectory(prefix="dual-") as name, called(Path(name), "tomogram"):
        sources = as_files(tomograms, voxel_size_A, Path(name), "tomogram")
        folder = Path(name) if output is None else Path(output)
        folder.mkdir(parents=True, exist_ok=True)
        return adapted_model(
            model_of(model), sources, folder, minutes, options, machine.device, progress=progress
        )
