"""`translate`: a tomogram brought to another experimental domain."""

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
    as_file,
    files_of,
    model_of,
)
from dual_core.errors import DualError
from dual_core.tasks.simulation.noise_codes import encode_tomogram
from dual_core.tasks.translate import (
    TO_CLEAN,
    TranslateOptions,
    make_translation_runner,
    translate_tomogram,
)


@dataclass(frozen=True)
class Translated:
    """A translated tomogram and what was found on the way.

    Attributes
    ----------
    array : ndarray ``(z, y, x)`` float32; None where a file was written from a file.
    path : the file that was written, or None.
    direction : ``to-clean`` or ``to-noisy``.
    contrast : ``dark`` or ``bright``: density in the tomogram that was given.
    voxel_size_A, model_voxel_size_A : of the tomogram and of the model, in angstrom.
    tiles : number of tiles.
    seconds : time taken.
    """

    array: Optional[np.ndarray]
    path: Optional[Path]
    direction: str
    contrast: str
    voxel_size_A: float
    model_voxel_size_A: float
    tiles: int
    seconds: float


def translate(
    tomogram: Given,
    model: AnyModel,
    direction: str,
    *,
    voxel_size_A: Optional[float] = None,
    output: Optional[PathLike] = None,
    contrast: str = "auto",
    units: str = "standardised",
    seed: int = 0,
    noise_from: Optional[Given] = None,
    noise_contrast: str = "auto",
    machine: Machine = THIS_MACHINE,
    progress: Optional[Callable[[int, int], None]] = None,
) -> Translated:
    """Translate between two domains of tomograms, as ``dual translate`` does (section 2.4).

    Parameters
    ----------
    tomogram : path of an MRC file, or ndarray ``(z, y, x)``.
    model : path or `DualModel` of a training with the task ``translate``.
    direction : ``to-clean`` (from the domain that was ``noisy`` in training) or ``to-noisy``.
    voxel_size_A : in angstrom; needed for an array, else instead of the header's.
    output : MRC file to write. Without it the result is in ``array``.
    contrast : ``auto``, ``dark`` or ``bright``: density in the tomogram.
    units : ``standardised`` (those of the other domain) or ``input``.
    seed : of the noise, for ``to-noisy``.
    noise_from, noise_contrast : a tomogram whose noise is imitated, for ``to-noisy``, as for
        `dual_core.simulate`.
    machine, progress : as for `dual_core.denoise`.

    Raises
    ------
    DualError
        As `dual_core.denoise`.
    """
    options = TranslateOptions(direction, contrast, units, voxel_size_A, seed)
    if noise_from is not None and direction == TO_CLEAN:
        raise DualError("noise_from is for the direction to-noisy; leave it out")
    with files_of(tomogram, voxel_size_A, output, "tomogram") as files:
        net = model_of(model)
        net.card.require_all_networks("translate")
        runner = make_translation_runner(
            net, direction, machine.device, machine.precision, machine.tile, machine.halo,
            machine.memory_GiB,
        )
        code, origin = None, ""
        if noise_from is not None:
            path = as_file(noise_from, voxel_size_A, files.scratch, "noise_from")
            code, origin = encode_tomogram(path, net, noise_contrast), str(path)
        found = translate_tomogram(
            files.source, files.target, net, runner, options, code, origin, progress
        )
        return Translated(
            files.array(), files.output, direction, found["contrast"], found["voxel_size_A"],
            found["model_voxel_size_A"], found["tiles"], found["seconds"],
        )
