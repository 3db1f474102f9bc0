"""`denoise`: the noise of a tomogram removed with a trained model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Optional

import numpy as np

from dual_core.api.given import (
    THIS_MACHINE,
    AnyModel,
    Given,
    Machine,
    PathLike,
    files_of,
    model_of,
)
from dual_core.noise_model.linear_file import linear_of
from dual_core.tasks.denoise import DenoiseOptions, denoise_tomogram, make_runner


@dataclass(frozen=True)
class Denoised:
    """A denoised tomogram and what was found on the way.

    Attributes
    ----------
    array : ndarray ``(z, y, x)`` float32; None where a file was written from a file.
    path : the file that was written, or None.
    contrast : ``dark`` or ``bright``: the tomogram's density, as detected or given.
    voxel_size_A, model_voxel_size_A : of the tomogram and of the model, in angstrom.
    scale, offset : a and b of the least-squares fit t = a d + b + r, t the standardised tomogram,
        d the network's output, r what is removed; NaN with ``strength`` 0.
    correlation : of t and d, -1 to 1; NaN with ``strength`` 0.
    blank_share : part of the tomogram that is padding, 0 to 1.
    tiles : number of tiles.
    seconds : time taken.
    """

    array: Optional[np.ndarray]
    path: Optional[Path]
    contrast: str
    voxel_size_A: float
    model_voxel_size_A: float
    scale: float
    offset: float
    correlation: float
    blank_share: float
    tiles: int
    seconds: float


def denoise(
    tomogram: Given,
    model: AnyModel,
    *,
    voxel_size_A: Optional[float] = None,
    output: Optional[PathLike] = None,
    strength: float = 1.0,
    contrast: str = "auto",
    output_contrast: str = "as-input",
    units: str = "input",
    keep_measured: str = "auto",
    tilt_axis: Optional[str] = None,
    machine: Machine = THIS_MACHINE,
    progress: Optional[Callable[[int, int], None]] = None,
) -> Denoised:
    """Denoise a tomogram, as ``dual denoise`` does (Dn, equation 2 of the paper).

    Parameters
    ----------
    tomogram : path of an MRC file, or ndarray ``(z, y, x)``, y the tilt axis, z the beam.
    model : path of a model file, or `DualModel`.
    voxel_size_A : in angstrom; needed for an array, else instead of the header's.
    output : MRC file to write. Without it the result is in ``array``.
    strength : part of the noise that is removed, 0 to 1.
    contrast : whether density is ``dark`` or ``bright`` in the tomogram; ``auto`` detects it.
    output_contrast : ``as-input`` or ``as-model``.
    units : ``input`` (intensities of the tomogram) or ``standardised`` (of the clean domain).
    keep_measured : ``yes``, ``no`` or ``auto``: whether the network's output is combined with the
        tomogram, so that at no resolution the result is worse than a filter; ``auto``: where the
        model's clean domain was found to lack much of what its tomograms show.
    tilt_axis : ``y`` or ``x``; by default that of the tomograms of the training.
    machine : where the network runs.
    progress : called with (tiles done, all tiles).

    Raises
    ------
    DualError
        A file that cannot be read or written, an array without voxel size or of other than three
        axes, NaN, a volume of one value, an option out of range.
    """
    options = DenoiseOptions(
        strength, contrast, output_contrast, units, voxel_size_A, keep_measured, tilt_axis
    )
    with files_of(tomogram, voxel_size_A, output, "tomogram") as files:
        net = model_of(model)
        runner = make_runner(
            net, machine.device, machine.precision, machine.tile, machine.halo, machine.memory_GiB
        )
        linear = linear_of(net.linear)
        found = denoise_tomogram(
            files.source, files.target, net.card, runner, options, progress, linear
        )
        return Denoised(
            files.array(), files.output, found.contrast, found.voxel_size_A,
            found.model_voxel_size_A, found.scale, found.offset, found.correlation,
            found.blank_share, found.tiles, found.seconds,
        )
