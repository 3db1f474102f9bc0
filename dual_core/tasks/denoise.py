"""Denoising one tomogram with a model: contrast, voxel size, tiles, and how much to denoise.

`dual_core.tasks.strength` says how much is removed, and why so.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Callable, Dict, Optional, Tuple, Union

import numpy as np

from dual_core.errors import DualError
from dual_core.noise_model.calibration import LinearModel
from dual_core.overlap import Behind
from dual_core.tasks.explained_part import write_explained
from dual_core.tasks.given_volume import GivenTomogram, check_choice, temporary_beside
from dual_core.tasks.keep_measured import CHOICES, KeptFilter, is_wanted, write_kept
from dual_core.tasks.measured_shares import find_shares
from dual_core.tasks.strength import LeastSquares, write_blend
from dual_core.tiles.plan import TilePlan
from dual_core.tiles.runner import NetworkRunner, is_out_of_memory
from dual_core.tiles.stream import stream_tiled
from dual_core.volumes.reading import (
    ReadableVolume,
    VolumeWriter,
    iterate_slabs,
    open_volume,
)
from dual_core.volumes.resampling import ResampledVolume
from dual_core.volumes.views import ExchangedVolume

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
Triple = Tuple[int, int, int]


@dataclass(frozen=True)
class DenoiseOptions:
    """What shapes the result of denoising.

    Attributes
    ----------
    strength : float
        S in 0..1; see `dual_core.tasks.strength`.
    contrast : str
        Of the tomogram's density: ``auto``, ``dark`` or ``bright``.
    output_contrast : str
        ``as-input`` or ``as-model`` (that of the model's clean domain).
    units : str
        ``input`` (the tomogram's intensities) or ``standardised`` (those of the clean domain).
    voxel_size_A : float, optional
        Of the tomogram, instead of what its header says.
    keep_measured : str
        ``auto``, ``yes`` or ``no``: whether the network's output is combined with the tomogram; see
        `dual_core.tasks.keep_measured`. Models without a linear model cannot.
    tilt_axis : str, optional
        ``y`` or ``x``; by default that of the tomograms that the model was trained on.
    """

    strength: float = 1.0
    contrast: str = "auto"
    output_contrast: str = "as-input"
    units: str = "input"
    voxel_size_A: Optional[float] = None
    keep_measured: str = "auto"
    tilt_axis: Optional[str] = None

    def __post_init__(self) -> None:
        if not 0.0 <= self.strength <= 1.0:
            raise DualError(f"strength {self.strength} is out of range; choose 0 to 1")
        check_choice("contrast", self.contrast, ("auto", "dark", "bright"))
        check_choice("output contrast", self.output_contrast, ("as-input", "as-model"))
        check_choice("keep measured", self.keep_measured, CHOICES)
        check_choice("tilt axis", self.tilt_axis or "y", ("y", "x"))
        check_choice("units", self.units, ("input", "standardised"))

    def as_dict(self) -> Dict[str, Any]:
        """For records and comparison."""
        return asdict(self)


@dataclass(frozen=True)
class DenoiseReport:
    """What was found and done.

    ``scale`` and ``offset`` are a and b of `dual_core.tasks.strength`, ``correlation`` that of
    t and d; all NaN where the network was not needed (strength 0). ``blank_share`` is the part of
    the tomogram that is padding.
    """

    contrast: str
    voxel_size_A: float
    model_voxel_size_A: float
    resampled: bool
    tiles: int
    scale: float
    offset: float
    correlation: float
    seconds: float
    blank_share: float = 0.0


def make_runner(
    model: Any,
    device: str = "auto",
    precision: str = "auto",
    tile: Optional[int] = None,
    halo: Optional[int] = None,
    memory: Optional[float] = None,
) -> NetworkRunner:
    """The denoiser of a `DualModel`, ready to run; see `NetworkRunner`."""
    # The denoiser learned what the face of a patch is. A mirror beyond the face of a volume
    # would double whatever noise lies there, and the denoiser would take that for a particle.
    return NetworkRunner(
        model.denoiser, model.multiple, model.receptive_radius,
        device, precision, tile, halo, inside=True, memory=memory,
    )


def denoise_tomogram(
    source: Union[str, Path],
    output: Union[str, Path],
    card: Any,
    runner: NetworkRunner,
    options: Optional[DenoiseOptions] = None,
    progress: Optional[Progress] = None,
    linear: Optional[LinearModel] = None,
    explained: Optional[Path] = None,
) -> DenoiseReport:
    """Denoise an MRC file into a float32 MRC file; memory does not grow with the volume.

    Parameters
    ----------
    source, output : path
        The tomogram and the file to write. A temporary file of the size of the volume (on the
        model's voxel size) lies beside the output until this returns.
    card : ModelCard
        ``voxel_size_A`` and ``contrast`` of the model's clean domain.
    runner : NetworkRunner
        The model's denoiser, from `make_runner`.
    options : DenoiseOptions, optional
    progress : callable, optional
        ``progress(done, total)`` in tiles.
    linear : LinearModel, optional
        The model's, for ``keep_measured`` and `explained`.
    explained : path, optional
        The part of the tomogram that the result explains is written to it; see
        `dual_core.tasks.explained_part`.

    Returns
    -------
    DenoiseReport

    Raises
    ------
    DualError
        For a file that cannot be read or written, a constant volume, values that are not
        finite, or too little memory even for small tiles.
    """
    started = time.monotonic()
    options = options or DenoiseOptions()
    output = Path(output)
    volume = open_volume(source, voxel_size_A=options.voxel_size_A)
    tilt_axis = options.tilt_axis or card.tilt_axis
    given = GivenTomogram(volume, card, options.contrast, tilt_axis)
    contrast, sign = given.contrast, given.sign
    output_sign = sign if options.output_contrast == "as-model" else 1
    if options.strength == 0 and options.units == "input" and explained is None:
        with VolumeWriter(
            output, volume.shape, volume.voxel_size_A, volume.facts.origin_A,
            start=volume.facts.start,
        ) as writer:
            for start, size in iterate_slabs(volume.shape):
                block = volume.read(start, size)
                writer.write(start, block if output_sign > 0 else -block)
        seconds = time.monotonic() - started
        return DenoiseReport(
            contrast=contrast,
            voxel_size_A=volume.voxel_size_A,
            model_voxel_size_A=card.voxel_size_A,
            resampled=False,
            tiles=0,
            scale=math.nan,
            offset=math.nan,
            correlation=math.nan,
            seconds=seconds,
            blank_share=given.described.share,
        )

    with temporary_beside(output) as temporary, temporary_beside(output) as kept:
        fit, tiles = _run_network(
            given.entry.read, given, temporary, runner, progress, volume.name
        )
        scale, offset, correlation = fit.solve(volume.name)
        logger.debug("a %.4g, b %.4g, correlation %.3f", scale, offset, correlation)
        denoised: ReadableVolume = open_volume(temporary, voxel_size_A=given.voxel_size_A)
        if linear is not None and is_wanted(options.keep_measured, card):
            denoised = _kept(given, denoised, runner, linear, kept, volume.name)
        if tilt_axis == "x":
            denoised = ExchangedVolume(denoised, (1, 2))
        if given.resampled:
            denoised = ResampledVolume(denoised, volume.voxel_size_A, volume.shape)
        if explained is not None and linear is not None:
            write_explained(
                denoised, volume, linear, card.voxel_size_A, tilt_axis, explained,
                given.described.blank,
            )
        # Back to the tomogram's intensities: full = factor * d + shift.
        mean, deviation = given.entry.mean, given.entry.deviation
        factor, shift = deviation * scale, mean + deviation * offset
        final = (float(output_sign), 0.0)
        if options.units == "standardised":
            final = (output_sign / abs(factor), -output_sign * shift / abs(factor))
        # Blank stays as it is, or is 0 in the units of the clean domain.
        blank_as = output_sign if options.units == "input" else 0
        write_blend(
            volume, denoised, output, options.strength, (factor, shift), final,
            given.described.blank, blank_as,
        )
    return DenoiseReport(
        contrast,
        volume.voxel_size_A,
        card.voxel_size_A,
        given.resampled,
        tiles,
        scale,
        offset,
        correlation,
        time.monotonic() - started,
        given.described.share,
    )


def _kept(
    given: GivenTomogram,
    denoised: ReadableVolume,
    runner: NetworkRunner,
    linear: LinearModel,
    path: Path,
    name: str,
) -> ReadableVolume:
    """The network's output combined with the tomogram, in a file where that changes anything."""
    shares = find_shares(given.entry.read, given.shape, runner, linear, runner.multiple)
    if not shares.any:
        return denoised
    logger.info(
        "%s: share of the tomogram itself in the result, by detail: %s",
        name, shares.describe(given.voxel_size_A),
    )
    write_kept(given.entry.read, denoised, KeptFilter(shares, linear), path)
    return open_volume(path, voxel_size_A=given.voxel_size_A)


def _run_network(
    read: Callable[[Triple, Triple], np.ndarray],
    grid: GivenTomogram,
    temporary: Path,
    runner: NetworkRunner,
    progress: Optional[Progress],
    name: str,
) -> Tuple[LeastSquares, int]:
    """Write the denoiser's output to a temporary volume; smaller tiles when memory runs out."""
    while True:
        plan = runner.plan(grid.shape)
        logger.info(
            "%s: %d %s of %s voxels, halo %d",
            name,
            len(plan),
            "tile" if len(plan) == 1 else "tiles",
            " x ".join(map(str, plan.input_shape)),
            max(plan.halo),
        )
        try:
            with VolumeWriter(temporary, grid.shape, grid.voxel_size_A, scratch=True) as writer:
                fit = _run_tiles(read, grid, writer, runner, plan, progress, name)
            return fit, len(plan)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        # Outside the handler, so that the exception and the tensors it holds are gone.
        runner.shrink()


def _run_tiles(
    read: Callable[[Triple, Triple], np.ndarray],
    grid: GivenTomogram,
    writer: VolumeWriter,
    runner: NetworkRunner,
    plan: TilePlan,
    progress: Optional[Progress],
    name: str,
) -> LeastSquares:
    """Write the denoiser's output; reading, fitting and writing go on beside the network."""
    fit = LeastSquares()
    done = 0

    def keep(start: Triple, t_block: np.ndarray, d_block: np.ndarray) -> None:
        fit.add(*grid.content(start, t_block, d_block))
        if not np.isfinite(fit.sums).all():
            fit.solve(name)
        writer.write(start, d_block)

    with Behind(keep) as behind, contextlib.closing(stream_tiled(read, plan, runner)) as rows:
        for start, t_block, d_block, tiles in rows:
            behind(start, t_block, d_block)
            del t_block, d_block
            done += tiles
            if progress is not None:
                progress(done, len(plan))
    return fit
