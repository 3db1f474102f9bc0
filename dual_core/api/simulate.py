"""`simulate`: a tomogram from a grand model with a trained model, and its labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, Optional

import numpy as np

from dual_core.api.given import (
    THIS_MACHINE,
    AnyModel,
    Given,
    Machine,
    PathLike,
    as_file,
    files_of,
    model_of,
)
from dual_core.tasks.simulate import SimulateOptions, open_for_simulation, simulate_tomogram
from dual_core.tasks.simulation.noise_codes import (
    Noise,
    draw_noise,
    encode_tomogram,
    profile_of_tomogram,
)
from dual_core.tasks.simulation.noisy_tiles import SimulationRunner
from dual_core.tasks.simulation.training_set import carry_labels


@dataclass(frozen=True)
class Simulated:
    """A simulated tomogram and what was found on the way.

    Attributes
    ----------
    array : ndarray ``(z, y, x)`` float32; None where a file was written from a file.
    path : the file that was written, or None.
    contrast : ``dark`` or ``bright``: density in the grand model.
    output_contrast : ``dark`` or ``bright``: density in the simulated tomogram.
    voxel_size_A, model_voxel_size_A : of the grand model and of the model, in angstrom.
    code_from : where the noise code is from.
    labels : ``class_mask``, ``instance_mask`` and ``particles``: files beside the tomogram, where
        the grand model is a file of `dual_core.pack`.
    tiles : number of tiles.
    seconds : time taken.
    """

    array: Optional[np.ndarray]
    path: Optional[Path]
    contrast: str
    output_contrast: str
    voxel_size_A: float
    model_voxel_size_A: float
    code_from: str
    labels: Dict[str, Path]
    tiles: int
    seconds: float


def simulate(
    grand_model: Given,
    model: AnyModel,
    *,
    voxel_size_A: Optional[float] = None,
    output: Optional[PathLike] = None,
    copy: int = 1,
    seed: int = 0,
    noise_from: Optional[Given] = None,
    noise_contrast: str = "auto",
    contrast: str = "auto",
    output_contrast: str = "auto",
    standardise: str = "model",
    machine: Machine = THIS_MACHINE,
    progress: Optional[Callable[[int, int], None]] = None,
) -> Simulated:
    """Simulate a tomogram, as ``dual simulate`` does: Gs(v + P(Gn(z))), equation 1 of the paper.

    Parameters
    ----------
    grand_model : path of an MRC file, or ndarray ``(z, y, x)`` of noise-free density.
    model : path of a model file, or `DualModel`.
    voxel_size_A : in angstrom; needed for an array, else instead of the header's.
    output : MRC file to write; labels of the grand model are copied into its folder.
    copy, seed : each copy and each seed has noise of its own; the same gives the same tomogram.
    noise_from : tomogram (path, or array of the same voxel size) whose noise is imitated; by
        default a noise code is drawn.
    noise_contrast : its contrast.
    contrast : ``auto``, ``dark`` or ``bright``: density in the grand model.
    output_contrast : ``auto`` (as in the tomograms of the training), ``dark``, ``bright`` or
        ``as-model``.
    standardise : ``model``, or ``own`` for density in other units than those of the training.
    machine, progress : as for `dual_core.denoise`.

    Raises
    ------
    DualError
        As `dual_core.denoise`.
    """
    options = SimulateOptions(contrast, output_contrast, standardise, voxel_size_A=voxel_size_A)
    with files_of(grand_model, voxel_size_A, output, "grand model") as files:
        net = model_of(model)
        net.card.require_all_networks("simulate")
        density = open_for_simulation(files.source, net.card, options)
        noise = draw_noise(net.config.code_size, seed, density.content, copy)
        if noise_from is not None:
            path = as_file(noise_from, voxel_size_A, files.scratch, "noise_from")
            code = encode_tomogram(path, net, noise_contrast)
            profile = profile_of_tomogram(path, net, noise_contrast)
            noise = Noise(code, noise.seed, str(path), profile)
        runner = SimulationRunner(
            net, machine.device, machine.precision, machine.tile, machine.halo, machine.memory_GiB
        )
        found = simulate_tomogram(density, files.target, net, runner, noise, options, progress)
        return Simulated(
            files.array(), files.output, found.contrast, found.output_contrast,
            found.voxel_size_A, found.model_voxel_size_A, found.code_from,
            _labels(files.source, files.output), found.tiles, found.seconds,
        )


def _labels(grand_model: Path, output: Optional[Path]) -> Dict[str, Path]:
    """The labels of a grand model, copied beside the output; none of an array."""
    if output is None:
        return {}
    names = carry_labels(grand_model, output.parent)
    return {column: output.parent / name for column, name in names.items() if name}
