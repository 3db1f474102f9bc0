"""Denoising one tomogram with a model: contrast, voxel size, tiles, and how much to denoise.

`dual_core.tasks.strength` says how much is removed, and why so.
"""

from __future__ import annotations

import logging
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Callable, Dict, Optional, Tuple, Union

import numpy as np

from dual_core.errors import DualError
from dual_core.noise_model.calibration import LinearModel
from dual_core.noise_model.own_model import own_linear_model
from dual_core.tasks.denoising.network_output import run_network
from dual_core.tasks.domain_check import warn_of_domain
from dual_core.tasks.explained_part import write_explained
from dual_core.tasks.given_volume import GivenTomogram, check_choice, temporary_beside
from dual_core.tasks.keep_measured import CHOICES, KeptFilter, is_wanted, write_kept
from dual_core.tasks.measured_shares import find_shares
from dual_core.tasks.strength import write_blend
from dual_core.tiles.runner import NetworkRunner
from dual_core.volumes.reading import (
    ReadableVolume,
    VolumeWriter,
    iterate_slabs,
    open_volume,
)

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]


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
        `dual_core.tasks.keep_measured`.
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
        The model's, for ``keep_measured`` and `explained`; without it that of the tomogram
        itself is found, see `dual_core.noise_model.own_model`.
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
    if options.strength == 0 and options.units == "input" and explained is None:
        _write_undenoised(given, output, options)
        return _report(given, card, started)

    warn_of_domain(volume.name, card, given.entry, volume.voxel_size_A)
    with temporary_beside(output) as temporary, temporary_beside(output) as kept:
        fit, tiles = run_network(given, temporary, runner, progress)
        scale, offset, correlation = fit.solve(volume.name)
        logger.debug("a %.4g, b %.4g, correlation %.3f", scale, offset, correlation)
        denoised: ReadableVolume = open_volume(temporary, voxel_size_A=given.voxel_size_A)
        keep = is_wanted(options.keep_measured, card)
        if linear is None and (keep or explained is not None):
            linear = own_linear_model(given.entry, denoised.read, np.random.default_rng(0))
        if linear is not None and keep:
            denoised = _keep_measured(given, denoised, runner, linear, kept)
        denoised = given.back(denoised)
        if linear is not None and explained is not None:
            write_explained(
                denoised, volume, linear, given.voxel_size_A, tilt_axis, explained,
                given.described.blank,
            )
        _write_denoised(given, denoised, scale, offset, output, options)
    return _report(given, card, started, tiles, (scale, offset, correlation))


def _write_undenoised(given: GivenTomogram, output: Path, options: DenoiseOptions) -> None:
    """The tomogram itself, which is all of the result where nothing is to be removed."""
    volume, sign = given.volume, _output_sign(given, options)
    with VolumeWriter(
        output, volume.shape, volume.voxel_size_A, volume.facts.origin_A,
        start=volume.facts.start,
    ) as writer:
        for start, size in iterate_slabs(volume.shape):
            block = volume.read(start, size)
            writer.write(start, block if sign > 0 else -block)


def _keep_measured(
    given: GivenTomogram,
    denoised: ReadableVolume,
    runner: NetworkRunner,
    linear: LinearModel,
    path: Path,
) -> ReadableVolume:
    """The network's output combined with the tomogram, in a file where that changes anything."""
    shares = find_shares(given.entry.read, given.shape, runner, linear, runner.multiple)
    if not shares.any:
        return denoised
    logger.info(
        "%s: share of the tomogram itself in the result, by detail: %s",
        given.volume.name, shares.describe(given.voxel_size_A),
    )
    write_kept(given.entry.read, denoised, KeptFilter(shares, linear), path)
    return open_volume(path, voxel_size_A=given.voxel_size_A)


def _write_denoised(
    given: GivenTomogram,
    denoised: ReadableVolume,
    scale: float,
    offset: float,
    output: Path,
    options: DenoiseOptions,
) -> None:
    """The blend of tomogram and network's output, in the units and contrast that are wanted."""
    sign = _output_sign(given, options)
    # Back to the tomogram's intensities: full = factor * d + shift.
    mean, deviation = given.entry.mean, given.entry.deviation
    factor, shift = deviation * scale, mean + deviation * offset
    final = (float(sign), 0.0)
    if options.units == "standardised":
        final = (sign / abs(factor), -sign * shift / abs(factor))
    # Blank stays as it is, or is 0 in the units of the clean domain.
    blank_as = sign if options.units == "input" else 0
    write_blend(
        given.volume, denoised, output, options.strength, (factor, shift), final,
        given.described.blank, blank_as,
    )


def _output_sign(given: GivenTomogram, options: DenoiseOptions) -> int:
    """1 where the result has the contrast of the tomogram, else -1."""
    return given.sign if options.output_contrast == "as-model" else 1


def _report(
    given: GivenTomogram,
    card: Any,
    started: float,
    tiles: int = 0,
    fit: Tuple[float, float, float] = (math.nan, math.nan, math.nan),
) -> DenoiseReport:
    """With the least-squares fit (a, b, correlation) and the tiles of the network, if it ran."""
    scale, offset, correlation = fit
    return DenoiseReport(
        contrast=given.contrast,
        voxel_size_A=given.volume.voxel_size_A,
        model_voxel_size_A=card.working_voxel_size_A(given.volume.voxel_size_A),
        resampled=tiles > 0 and given.resampled,
        tiles=tiles,
        scale=scale,
        offset=offset,
        correlation=correlation,
        seconds=time.monotonic() - started,
        blank_share=given.described.share,
    )
