"""`compensate`: the missing wedge filled with what a trained model predicts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Optional, Tuple

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
from dual_core.tasks.denoise import make_runner
from dual_core.tasks.missing_wedge import CompensateOptions, compensate_tomogram
from dual_core.tiles.runner import NetworkRunner


@dataclass(frozen=True)
class Compensated:
    """A tomogram with its missing wedge filled, and what was found on the way.

    Attributes
    ----------
    array : ndarray ``(z, y, x)`` float32; None where a file was written from a file.
    path : the file that was written, or None.
    contrast : ``dark`` or ``bright``: the tomogram's density.
    tilt_range : smallest and largest tilt angle in degrees that the wedge was taken from.
    tilt_axis : ``y`` or ``x``.
    amplitude : how the amplitude of what fills was found: ``shells``, ``single`` or ``model``.
    voxel_size_A : in angstrom.
    correlation : of the tomogram and the network's output, -1 to 1.
    tiles : number of tiles.
    seconds : time taken.
    """

    array: Optional[np.ndarray]
    path: Optional[Path]
    contrast: str
    tilt_range: Tuple[float, float]
    tilt_axis: str
    amplitude: str
    voxel_size_A: float
    correlation: float
    tiles: int
    seconds: float


def compensate(
    tomogram: Given,
    model: AnyModel,
    *,
    tilt_range: Optional[Tuple[float, float]] = None,
    voxel_size_A: Optional[float] = None,
    output: Optional[PathLike] = None,
    measured_from: Optional[AnyModel] = None,
    tilt_axis: str = "y",
    soft_edge_deg: float = 3.0,
    amplitude: str = "auto",
    contrast: str = "auto",
    machine: Machine = THIS_MACHINE,
    progress: Optional[Callable[[int, int], None]] = None,
) -> Compensated:
    """Fill the missing wedge, as ``dual compensate`` does (section 2.5 of the paper).

    What was measured stays; what fills is predicted. Do not average the result.

    Parameters
    ----------
    tomogram : path of an MRC file, or ndarray ``(z, y, x)``, z the beam.
    model : path or `DualModel` of a training with the task ``missing-wedge``, or a denoising one.
    tilt_range : smallest and largest tilt in degrees; by default the model's, if it knows it.
    voxel_size_A : in angstrom; needed for an array, else instead of the header's.
    output : MRC file to write. Without it the result is in ``array``.
    measured_from : a denoising model through which the measured coefficients are taken.
    tilt_axis : ``y`` or ``x``.
    soft_edge_deg : degrees inside the wedge over which the prediction fades in.
    amplitude : ``auto``, ``shells``, ``single`` or ``model``.
    contrast : ``auto``, ``dark`` or ``bright``: density in the tomogram.
    machine, progress : as for `dual_core.denoise`.

    Raises
    ------
    DualError
        A tilt range that is unknown or impossible; else as `dual_core.denoise`.
    """
    options = CompensateOptions(
        tilt_range, tilt_axis, soft_edge_deg, amplitude, contrast, voxel_size_A
    )
    with files_of(tomogram, voxel_size_A, output, "tomogram") as files:
        net = model_of(model)
        other = None
        if measured_from is not None:
            denoising = model_of(measured_from)
            other = denoising.card, _runner(denoising, machine)
        found = compensate_tomogram(
            files.source, files.target, net.card, _runner(net, machine), options, progress, other
        )
        return Compensated(
            files.array(), files.output, found.contrast, found.tilt_range, found.tilt_axis,
            found.amplitude, found.voxel_size_A, found.correlation, found.tiles, found.seconds,
        )


def _runner(model: AnyModel, machine: Machine) -> NetworkRunner:
    return make_runner(
        model, machine.device, machine.precision, machine.tile, machine.halo, machine.memory_GiB
    )
