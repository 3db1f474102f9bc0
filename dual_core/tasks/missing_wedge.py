"""Filling the missing wedge of a tomogram with what a model predicts (section 2.5 of the paper).

Two kinds of model can do it:

* one of ``dual train --task missing-wedge``, which translates between tomograms as they are and
  tomograms with z and x swapped, so that its denoiser Dn predicts what a microscope would have
  measured with the beam along x;
* a denoising model whose grand models are complete: its Dn gives density without a wedge.

What was measured stays (`dual_core.tasks.wedge.merge`); only the wedge comes from the network, and
so everything in it is predicted and not measured.

The amplitude of what fills
---------------------------
The output of Dn is standardised. A missing-wedge model speaks the units of the standardised
tomogram, so it is multiplied by the tomogram's deviation (``model``). A denoising model gives
clean density of deviation 1, but the measured region is ``H v + n``: density behind the transfer
function of the microscope, and noise. Filled as it is, the wedge would outshine the rest at some
frequencies. So a gain is fitted in shells of the frequency where both are known (``shells``, see
`dual_core.tasks.wedge.gain`). ``single`` is one gain for all frequencies: the wedge then shows
density without the transfer function, beside a measured region that has it.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, Iterator, Optional, Tuple, Union

import numpy as np

from dual_core.errors import DualError
from dual_core.safety.leftovers import temporary_folder
from dual_core.tasks.denoise import DenoiseOptions, DenoiseReport, denoise_tomogram
from dual_core.tasks.wedge.gain import GainCurve, fit_gain
from dual_core.tasks.wedge.merge import SOFT_EDGE_DEG, merge_slabs, wedge_weight
from dual_core.tasks.wedge.tilt_range import resolve_tilt_range
from dual_core.tiles.runner import NetworkRunner
from dual_core.volumes.described.describe import SeenVolume, describe, keep_blank
from dual_core.volumes.geometry import TILT_AXIS
from dual_core.volumes.reading import (
    ReadableVolume,
    Triple,
    Volume,
    VolumeFacts,
    VolumeWriter,
    iterate_slabs,
    open_volume,
)
from dual_core.volumes.views import ExchangedVolume

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
Range = Tuple[float, float]

TASK = "missing-wedge"
AMPLITUDES = ("auto", "shells", "single", "model")


@dataclass(frozen=True)
class CompensateOptions:
    """What shapes the result of missing-wedge compensation.

    Attributes
    ----------
    tilt_range : (smallest, largest) angle in degrees, sign as in
        `dual_core.volumes.geometry`; by default
        the model's, where its card has one.
    tilt_axis : ``y`` or ``x``.
    soft_edge_deg : over which the wedge takes over, inside the wedge.
    amplitude : ``auto`` (``model`` for a missing-wedge model, else ``shells``), ``shells``,
        ``single`` or ``model``; see above.
    contrast : of the tomogram's density: ``auto``, ``dark`` or ``bright``.
    voxel_size_A : of the tomogram, instead of what its header says.
    """

    tilt_range: Optional[Range] = None
    tilt_axis: str = TILT_AXIS
    soft_edge_deg: float = SOFT_EDGE_DEG
    amplitude: str = "auto"
    contrast: str = "auto"
    voxel_size_A: Optional[float] = None

    def __post_init__(self) -> None:
        if self.tilt_axis not in ("y", "x"):
            raise DualError(f"tilt axis '{self.tilt_axis}': choose y or x (z is the beam)")
        if self.amplitude not in AMPLITUDES:
            raise DualError(
                f"amplitude '{self.amplitude}' is unknown; choose {', '.join(AMPLITUDES)}"
            )
        if self.tilt_range is not None:
            wedge_weight((8, 8), self.tilt_range, self.soft_edge_deg)

    def as_dict(self) -> Dict[str, Any]:
        """For records and comparison."""
        return asdict(self)


@dataclass(frozen=True)
class CompensateReport:
    """What was found and done; ``correlation`` is that of the tomogram and Dn of it."""

    contrast: str
    tilt_range: Range
    tilt_axis: str
    amplitude: str
    voxel_size_A: float
    tiles: int
    correlation: float
    seconds: float


def compensate_tomogram(
    source: Union[str, Path],
    output: Union[str, Path],
    card: Any,
    runner: NetworkRunner,
    options: Optional[CompensateOptions] = None,
    progress: Optional[Progress] = None,
    measured_from: Optional[Tuple[Any, NetworkRunner]] = None,
) -> CompensateReport:
    """Fill the missing wedge of an MRC file into a float32 MRC file.

    Memory does not grow with the volume. Voxel size, origin, contrast and intensities are
    those of the tomogram.

    Parameters
    ----------
    source, output : path
        The tomogram and the file to write. A folder with up to four temporary volumes of its
        size lies beside the output until this returns.
    card : ModelCard
        Of the model that fills.
    runner : NetworkRunner
        Its denoiser, from `dual_core.tasks.denoise.make_runner`.
    options : CompensateOptions, optional
    progress : callable, optional
        ``progress(done, total)`` in tiles of the network that fills.
    measured_from : (ModelCard, NetworkRunner), optional
        A denoising model; the measured coefficients are then those of the tomogram after it.

    Raises
    ------
    DualError
        The tilt range is not known or impossible; and whatever
        `dual_core.tasks.denoise.denoise_tomogram` raises.
    """
    started = time.monotonic()
    options = options or CompensateOptions()
    source, output = Path(source), Path(output)
    original = open_volume(source, voxel_size_A=options.voxel_size_A)
    described = describe(original)
    with _folder_beside(output) as folder:
        volume, blank = original, described.blank
        if options.tilt_axis == "x":
            write_turned(original, folder / source.name)
            volume = open_volume(folder / source.name)
            blank = blank and ExchangedVolume(blank, (1, 2))
        tilt_range = resolve_tilt_range(
            options.tilt_range, card.tilt_range_deg, volume, original.name
        )
        # Before the network runs, not after it.
        wedge_weight((8, 8), tilt_range, options.soft_edge_deg)
        wanted = _prediction_options(options, original.voxel_size_A)
        path = volume.facts.path
        found = denoise_tomogram(path, folder / "fill.part", card, runner, wanted, progress)
        fill = open_volume(folder / "fill.part")
        measured: ReadableVolume = volume
        if measured_from is not None:
            measured = _denoised(path, folder, measured_from, found)
        if blank is not None:
            # The step at a padding would be torn into streaks: half of it lies in the wedge.
            measured = SeenVolume(measured, described.statistics, blank, math.inf)
        amplitude = _amplitude_for(card, options)
        factor = described.statistics.std
        gain: Optional[GainCurve] = None
        if amplitude != "model":
            curve = fit_gain(measured, fill, tilt_range, fill_has_wedge=card.task == TASK)
            _check_gain(curve, original.name)
            factor, gain = curve.overall, curve if amplitude == "shells" else None
        slabs = merge_slabs(measured, fill, tilt_range, options.soft_edge_deg, factor, gain)
        facts = original.facts
        target = output if volume is original else folder / "merged.part"
        _write_filled(slabs, volume, blank, target, facts)
        if target != output:
            write_turned(open_volume(target), output, facts.origin_A, facts.start)
    return CompensateReport(
        contrast=found.contrast,
        tilt_range=tilt_range,
        tilt_axis=options.tilt_axis,
        amplitude=amplitude,
        voxel_size_A=original.voxel_size_A,
        tiles=found.tiles,
        correlation=found.correlation,
        seconds=time.monotonic() - started,
    )


def write_turned(
    volume: Volume,
    path: Path,
    origin_A: Tuple[float, float, float] = (0.0, 0.0, 0.0),
    first: Tuple[int, int, int] = (0, 0, 0),
) -> None:
    """Write a volume with y and x exchanged, slab by slab."""
    turned = ExchangedVolume(volume, (1, 2))
    with VolumeWriter(path, turned.shape, volume.voxel_size_A, origin_A, start=first) as writer:
        for start, size in iterate_slabs(turned.shape):
            writer.write(start, turned.read(start, size))


def _prediction_options(options: CompensateOptions, voxel_size_A: float) -> DenoiseOptions:
    """For what fills: in the network's own units, of a tomogram that was turned to tilt axis y."""
    return DenoiseOptions(
        contrast=options.contrast,
        units="standardised",
        voxel_size_A=voxel_size_A,
        tilt_axis="y",
    )


def _denoised(
    path: Path, folder: Path, model: Tuple[Any, NetworkRunner], found: DenoiseReport
) -> Volume:
    """The tomogram after a denoising model, in its own intensities."""
    card, runner = model
    if card.task == TASK:
        raise DualError(
            "--measured-from needs a denoising model, and this one was trained for the missing "
            "wedge; give the model of a 'dual train' with grand models"
        )
    options = DenoiseOptions(
        contrast=found.contrast, voxel_size_A=found.voxel_size_A, tilt_axis="y"
    )
    denoise_tomogram(path, folder / "measured.part", card, runner, options)
    return open_volume(folder / "measured.part")


def _amplitude_for(card: Any, options: CompensateOptions) -> str:
    if options.amplitude != "auto":
        return options.amplitude
    return "model" if card.task == TASK else "shells"


def _write_filled(
    slabs: Iterable[Tuple[Triple, np.ndarray]],
    volume: Volume,
    blank: Optional[ReadableVolume],
    path: Path,
    facts: VolumeFacts,
) -> None:
    """Write the slabs, with the volume itself where it is blank, under the header of `facts`."""
    with VolumeWriter(
        path, volume.shape, facts.voxel_size_A, facts.origin_A, start=facts.start
    ) as writer:
        for start, block in slabs:
            if blank is not None:
                keep_blank(block, start, volume, blank)
            writer.write(start, block)


def _check_gain(gain: GainCurve, name: str) -> None:
    if not gain.gain.any():
        logger.warning(
            "%s: what the model predicts does not correlate with the tomogram at any frequency; "
            "the wedge is left empty. Check --contrast and the model",
            name,
        )
    told = ", ".join(f"{f:.3f}: {g:.3g}" for f, g in zip(gain.frequency, gain.gain))
    logger.debug("gain over cycles per voxel: %s", told)


@contextlib.contextmanager
def _folder_beside(path: Path) -> Iterator[Path]:
    if not path.parent.is_dir():
        raise DualError(f"{path}: the folder {path.parent} does not exist; create it first")
    with temporary_folder(path) as folder:
        yield folder
