"""What the judging of a model needs of its networks: standardised volumes in, volumes out.

Judging takes a dozen passes over a volume and Fourier transforms of the whole of it, so it
works in memory, on the middle of a large tomogram: `LARGEST_SIDE` voxels along each axis.
"""

from __future__ import annotations

import functools
import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Callable, Optional, Tuple, Union

import numpy as np

from dual_core.errors import DualError
from dual_core.noise_model.calibration import LinearModel
from dual_core.noise_model.explained import ExplainedVolume
from dual_core.noise_model.full_power.coloured_noise import (
    MARGIN,
    ColouredNoise,
    SeenStructure,
)
from dual_core.noise_model.full_power.noise_profile import profile_of
from dual_core.noise_model.linear_file import linear_of
from dual_core.noise_model.own_model import own_linear_model
from dual_core.tasks.denoise import make_runner
from dual_core.tasks.domain_check import warn_of_domain
from dual_core.tasks.given_volume import GivenTomogram, on_the_grid_of
from dual_core.tasks.keep_measured import is_wanted, kept_array
from dual_core.tasks.simulation.noise_codes import draw_noise
from dual_core.tiles.runner import NetworkRunner, is_out_of_memory
from dual_core.tiles.stream import run_tiled
from dual_core.volumes.byte_volumes import as_mask
from dual_core.volumes.interface import ArrayVolume
from dual_core.volumes.patches import StandardisedVolume
from dual_core.volumes.reading import Triple, open_volume

logger = logging.getLogger(__name__)

LARGEST_SIDE = 256

Function = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Networks:
    """The two U-Nets as functions of standardised volumes ``(z, y, x)``, float32.

    ``denoise`` is Dn, ``restore`` is Gs without noise: what the structure alone would look
    like in a tomogram, with missing wedge and contrast transfer. ``linear`` is the model's linear
    model, if it has one, and ``tilt_axis`` that of its tomograms. ``combined`` gives what
    `dual_core.tasks.denoise` makes of a tomogram by default, where that is not Dn's output alone.
    A model that only denoises has no Gs: `fitted_to` a tomogram, ``restore`` is that tomogram's own
    transfer, and ``fitted`` says so: how well it fits then tells nothing of the model.
    ``noisy`` makes a simulated tomogram of what ``restore`` gives; None without measured noise.
    """

    denoise: Function
    restore: Optional[Function]
    linear: Optional[LinearModel] = None
    tilt_axis: str = "y"
    combined: Optional[Function] = None
    fitted: bool = False
    noisy: Optional[Function] = None

    @property
    def result(self) -> Function:
        """What users get of a tomogram by default."""
        return self.combined or self.denoise

    def fitted_to(self, tomogram: np.ndarray, density: np.ndarray) -> Networks:
        """The same for one tomogram: with Gs, or what stands for it.

        Parameters
        ----------
        tomogram, density : ``(z, y, x)``, standardised, and what `denoise` makes of it.
        """
        if self.restore is not None:
            return self

        pair = (tomogram, density)
        if self.tilt_axis == "x":
            pair = (tomogram.swapaxes(1, 2), density.swapaxes(1, 2))
        linear = _own_model(*pair)

        def restore(volume: np.ndarray) -> np.ndarray:
            # Against itself: the scale is fitted where it is used, and must not be that of chance
            # where the volume has nothing to do with the tomogram.
            structure = ArrayVolume(volume, 1.0)
            return ExplainedVolume(structure, structure, linear, 1.0, self.tilt_axis).load()

        return replace(self, restore=restore, linear=linear, fitted=True)


@dataclass(frozen=True)
class OpenedTomogram:
    """The middle of a tomogram as the denoiser sees it; made by `open_tomogram`.

    Attributes
    ----------
    name : str
        Path, as given.
    voxels : ndarray, (z, y, x)
        On the model's voxel size, in the contrast of its clean domain, standardised by mean and
        deviation of the whole tomogram less padding and extreme values, where it is 0 and cut.
    voxel_size_A : float
    origin_A : tuple of float
        ``(x, y, z)`` of the middle part, so that a map of it lies on the tomogram.
    whole_shape : tuple of int
        Of the whole tomogram on the model's voxel size.
    """

    name: str
    voxels: np.ndarray
    voxel_size_A: float
    origin_A: Tuple[float, float, float]
    whole_shape: Triple

    @property
    def is_cropped(self) -> bool:
        """Whether there is more of the tomogram."""
        return tuple(self.voxels.shape) != tuple(self.whole_shape)


def open_tomogram(
    path: Union[str, Path],
    card: Any,
    contrast: str = "auto",
    voxel_size_A: Optional[float] = None,
    largest_side: int = LARGEST_SIDE,
) -> OpenedTomogram:
    """Read the middle of a tomogram, as `dual_core.tasks.denoise` would hand it to the denoiser.

    Parameters
    ----------
    path : path
    card : ModelCard
        Voxel size and contrast of the model.
    contrast : {"auto", "dark", "bright"}
        Of the tomogram's density.
    voxel_size_A : float, optional
        Instead of what the header says.
    largest_side : int
        Voxels along each axis that are read at most.

    Raises
    ------
    DualError
        A file that cannot be read, a constant volume, NaN.
    """
    volume = open_volume(path, voxel_size_A=voxel_size_A)
    given = GivenTomogram(volume, card, contrast)
    seen = given.entry.exchanged((1, 2)) if card.tilt_axis == "x" else given.entry
    warn_of_domain(volume.name, card, seen, volume.voxel_size_A)
    start, size = _middle(given.shape, largest_side)
    voxels = given.entry.read(start, size)
    x, y, z = volume.facts.origin_A
    step = given.voxel_size_A
    origin = (x + start[2] * step, y + start[1] * step, z + start[0] * step)
    return OpenedTomogram(str(path), voxels, step, origin, given.shape)


def read_like(
    path: Union[str, Path], opened: OpenedTomogram, largest_side: int = LARGEST_SIDE
) -> np.ndarray:
    """Read the same part of a mask on the same grid, ``(z, y, x)``.

    Raises
    ------
    DualError
        If it has another extent.
    """
    grid = on_the_grid_of(as_mask(open_volume(path)), opened.voxel_size_A)
    if tuple(grid.shape) != tuple(opened.whole_shape):
        raise DualError(
            f"{path} has {tuple(grid.shape)} voxels of {opened.voxel_size_A:g} A, {opened.name} "
            f"{tuple(opened.whole_shape)} (z, y, x); give a mask of the tomogram's shape"
        )
    return grid.read(*_middle(grid.shape, largest_side))


def networks_of(
    model: Any,
    device: str = "auto",
    precision: str = "auto",
    tile: Optional[int] = None,
    halo: Optional[int] = None,
    on_pass: Optional[Callable[[], None]] = None,
) -> Networks:
    """The U-Nets of a `DualModel` on a device; ``on_pass`` is called after each pass."""
    denoiser = make_runner(model, device, precision, tile, halo)
    turned = model.card.tilt_axis == "x"

    def along_y(function: Callable[..., np.ndarray], *volumes: np.ndarray) -> np.ndarray:
        # The networks know the tilt axis y alone.
        if not turned:
            return function(*volumes)
        return function(*(volume.swapaxes(1, 2) for volume in volumes)).swapaxes(1, 2)

    def run(runner: NetworkRunner, volume: np.ndarray) -> np.ndarray:
        return run_on_array(runner, volume, on_pass)

    linear = linear_of(model.linear)
    denoise = functools.partial(along_y, functools.partial(run, denoiser))
    profile = profile_of(model.linear)
    seen_structure = None if profile is None else SeenStructure(profile, denoised=True)

    def restore(volume: np.ndarray) -> np.ndarray:
        restorer = NetworkRunner(
            model.structural_generator, model.multiple, model.receptive_radius,
            device, precision, tile, halo,
        )
        if seen_structure is None:
            return run(restorer, volume)
        # With measured noise Gs sees h * v, as in a simulation.
        seen = seen_structure.structure_of(np.pad(volume, MARGIN, mode="symmetric"))
        return seen_structure.corrected(run(restorer, seen), seen)

    def kept(tomogram: np.ndarray, density: np.ndarray) -> np.ndarray:
        transfer = linear or _own_model(tomogram, density)
        return kept_array(tomogram, density, denoiser, transfer, model.multiple)

    def combined(volume: np.ndarray) -> np.ndarray:
        return along_y(kept, volume, denoise(volume))

    def noisy(structure: np.ndarray) -> np.ndarray:
        field = draw_noise(model.config.code_size, 0, 0, 1).field(model)
        assert isinstance(field, ColouredNoise)
        return field.added_to(np.ascontiguousarray(structure), (0, 0, 0))

    keep = is_wanted("auto", model.card)
    return Networks(
        denoise, None if model.card.denoises_only else functools.partial(along_y, restore),
        linear, model.card.tilt_axis,
        combined if keep else None,
        noisy=None if profile is None else functools.partial(along_y, noisy),
    )


def _own_model(tomogram: np.ndarray, density: np.ndarray) -> LinearModel:
    """The linear model of a tomogram in memory, tilt axis y."""
    entry = StandardisedVolume(ArrayVolume(tomogram, 1.0), 0.0, 1.0)
    read = ArrayVolume(density, 1.0).read
    return own_linear_model(entry, read, np.random.default_rng(0))


def run_on_array(
    runner: NetworkRunner, volume: np.ndarray, on_pass: Optional[Callable[[], None]] = None
) -> np.ndarray:
    """Run a network over a volume in memory, in tiles; smaller ones where memory runs out.

    Parameters
    ----------
    runner : NetworkRunner
    volume : ndarray, (z, y, x)
    on_pass : callable, optional
        Called at the end.

    Returns
    -------
    ndarray, (z, y, x), float32

    Raises
    ------
    DualError
        If the network gives values that are not finite, or there is too little memory.
    """
    result = np.empty(volume.shape, dtype=np.float32)

    def read(start: Triple, size: Triple) -> np.ndarray:
        # A copy, since tiles may be changed by whoever gets them.
        return volume[tuple(slice(a, a + n) for a, n in zip(start, size))].astype(np.float32)

    def write(start: Triple, block: np.ndarray) -> None:
        result[tuple(slice(a, a + n) for a, n in zip(start, block.shape))] = block

    while True:
        try:
            run_tiled(read, write, runner.plan(volume.shape), runner)
            break
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        # Outside the handler, so that the tensors which the exception holds are gone.
        runner.shrink()
    if not np.isfinite(result).all():
        raise DualError("the model gave values that are not finite; train it again")
    if on_pass is not None:
        on_pass()
    return result


def _middle(shape: Triple, largest_side: int) -> Tuple[Triple, Triple]:
    """Start and size of the middle part."""
    z, y, x = (min(length, largest_side) for length in shape)
    return ((shape[0] - z) // 2, (shape[1] - y) // 2, (shape[2] - x) // 2), (z, y, x)
