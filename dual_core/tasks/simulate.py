"""Simulation: a density map and noise to a tomogram, t = Gs(v + P(Gn(z))) (equation 1)."""

from __future__ import annotations

import contextlib
import logging
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Callable, Dict, Optional, Tuple, Union

import numpy as np

from dual_core.errors import DualError
from dual_core.tasks.given_volume import check_choice, temporary_beside
from dual_core.tasks.simulation.density_map import DensityMap, open_density
from dual_core.tasks.simulation.noise_codes import Noise
from dual_core.tasks.simulation.noisy_tiles import SimulationRunner
from dual_core.tiles.plan import as_triple
from dual_core.tiles.runner import is_out_of_memory
from dual_core.volumes.described.describe import keep_blank
from dual_core.volumes.reading import Triple, VolumeWriter, iterate_slabs, open_volume
from dual_core.volumes.resampling import ResampledVolume
from dual_core.volumes.views import exchanged

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]

# What density is in tomograms as microscopes and reconstruction programs leave them.
USUAL_CONTRAST = "dark"


@dataclass(frozen=True)
class SimulateOptions:
    """What shapes the result of simulation.

    Attributes
    ----------
    contrast : str
        Of the density map: ``auto``, ``dark`` or ``bright``.
    output_contrast : str
        ``auto`` (that of the tomograms the model was trained on, dark where the model does not
        say), ``dark``, ``bright`` or ``as-model`` (that of the clean domain).
    standardise : str
        ``model``: by the mean and deviation of the model's clean domain; ``own``: by the volume's.
    units : str
        ``standardised`` (the generator's output) or ``input`` (the volume's mean and deviation).
    voxel_size_A : float, optional
        Of the density map, instead of what its header says.
    """

    contrast: str = "auto"
    output_contrast: str = "auto"
    standardise: str = "model"
    units: str = "standardised"
    voxel_size_A: Optional[float] = None

    def __post_init__(self) -> None:
        check_choice("contrast", self.contrast, ("auto", "dark", "bright"))
        output_contrasts = ("auto", "dark", "bright", "as-model")
        check_choice("output contrast", self.output_contrast, output_contrasts)
        check_choice("standardisation", self.standardise, ("model", "own"))
        check_choice("units", self.units, ("standardised", "input"))

    def as_dict(self) -> Dict[str, Any]:
        """For records and comparison."""
        return asdict(self)


@dataclass(frozen=True)
class SimulateReport:
    """What was found and done."""

    contrast: str
    output_contrast: str
    voxel_size_A: float
    model_voxel_size_A: float
    resampled: bool
    tiles: int
    code_from: str
    seconds: float


def open_for_simulation(
    source: Union[str, Path], card: Any, options: SimulateOptions
) -> DensityMap:
    """`open_density` with the options of simulation."""
    return open_density(
        source, card, options.contrast, options.standardise, options.voxel_size_A
    )


def output_contrast(card: Any, wanted: str = "auto") -> str:
    """The contrast of simulated tomograms: ``dark`` or ``bright``."""
    if wanted == "as-model":
        return str(card.contrast)
    if wanted == "auto":
        return getattr(card, "noisy_contrast", None) or USUAL_CONTRAST
    return wanted


def simulate_tomogram(
    density: Union[str, Path, DensityMap],
    output: Union[str, Path],
    model: Any,
    runner: SimulationRunner,
    noise: Noise,
    options: Optional[SimulateOptions] = None,
    progress: Optional[Progress] = None,
) -> SimulateReport:
    """Simulate a tomogram into a float32 MRC file; memory does not grow with the volume.

    Parameters
    ----------
    density : path or DensityMap
        The grand model. For several copies open it once with `open_for_simulation`.
    output : path
        The file to write. Where the voxel size is not the model's, a temporary file lies beside it.
    model : DualModel
    runner : SimulationRunner
        Of the same model.
    noise : Noise
        From `dual_core.tasks.simulation.noise_codes`. One code holds for the whole tomogram.
    options : SimulateOptions, optional
    progress : callable, optional
        ``progress(done, total)`` in tiles.

    Returns
    -------
    SimulateReport

    Raises
    ------
    DualError
        For a file that cannot be read or written, a constant volume, values that are not
        finite, or too little memory even for small tiles.
    """
    started = time.monotonic()
    options = options or SimulateOptions()
    output = Path(output)
    if not isinstance(density, DensityMap):
        density = open_for_simulation(density, model.card, options)
    volume, grid = density.volume, density.grid
    contrast = output_contrast(model.card, options.output_contrast)
    factor, shift = (1.0 if contrast == model.card.contrast else -1.0), 0.0
    if options.units == "input":
        factor, shift = factor * density.statistics.std, density.statistics.mean
    field = noise.field(model)
    turned = model.card.tilt_axis == "x"
    if grid is volume:
        tiles = _run(density, field, output, runner, (factor, shift), turned, progress)
    else:
        with temporary_beside(output) as temporary:
            tiles = _run(density, field, temporary, runner, (factor, shift), turned, progress)
            simulated = open_volume(temporary, voxel_size_A=grid.voxel_size_A)
            back = ResampledVolume(simulated, volume.voxel_size_A, volume.shape)
            with VolumeWriter(
                output, volume.shape, volume.voxel_size_A, volume.facts.origin_A,
                start=volume.facts.start,
            ) as writer:
                for start, size in iterate_slabs(volume.shape):
                    block = back.read(start, size)
                    if density.tomogram is not None and density.tomogram.described.blank:
                        block[density.tomogram.described.blank.read(start, size)] = shift
                    writer.write(start, block)
    return SimulateReport(
        contrast=density.contrast,
        output_contrast=contrast,
        voxel_size_A=volume.voxel_size_A,
        model_voxel_size_A=model.card.voxel_size_A,
        resampled=grid is not volume,
        tiles=tiles,
        code_from=noise.code_from,
        seconds=time.monotonic() - started,
    )


def warn_of_other_task(card: Any) -> None:
    """Say so where a model was not trained on grand models."""
    if "simulate" in card.task:
        return
    logger.warning(
        "this model is for '%s' and was not trained to simulate from grand models%s",
        card.task,
        "; 'dual translate' is meant for it" if card.task == "translate" else "",
    )


def _run(
    density: DensityMap,
    field: Any,
    path: Path,
    runner: SimulationRunner,
    scaling: Tuple[float, float],
    turned: bool,
    progress: Optional[Progress],
) -> int:
    """Write the generator's output, scaled, on the model's grid; the number of tiles.

    The networks see the tilt axis along y; ``turned``: in the files it is x.
    """
    grid = density.grid
    factor, shift = np.float32(scaling[0]), np.float32(scaling[1])

    def turn(values: Triple) -> Triple:
        return exchanged(values, (1, 2)) if turned else values

    def read(start: Triple, size: Triple) -> np.ndarray:
        block = density.read(turn(start), turn(size))
        return np.ascontiguousarray(block.swapaxes(1, 2)) if turned else block

    while True:
        plan = runner.plan(turn(as_triple(grid.shape)))
        logger.info(
            "%s: %d %s of %s voxels, halo %d",
            grid.name,
            len(plan),
            "tile" if len(plan) == 1 else "tiles",
            " x ".join(map(str, plan.input_shape)),
            max(plan.halo),
        )
        try:
            facts = density.volume.facts
            # Closed at once after an error, so that torch has its threads back.
            with VolumeWriter(
                path, grid.shape, grid.voxel_size_A, facts.origin_A, start=facts.start
            ) as writer, contextlib.closing(runner.stream(read, field, plan)) as cores:
                for done, (start, core) in enumerate(cores, 1):
                    if not np.isfinite(core).all():
                        raise DualError(
                            f"{grid.name}: the model's output is not finite; try --precision "
                            "float32, and if that does not help train the model again"
                        )
                    core *= factor
                    if turned:
                        start, core = turn(start), np.ascontiguousarray(core.swapaxes(1, 2))
                    if density.blank is not None:
                        keep_blank(core, start, grid, density.blank, by=0)
                    core += shift
                    writer.write(start, core)
                    if progress is not None:
                        progress(done, len(plan))
            return len(plan)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        # Outside the handler, so that the exception and the tensors it holds are gone.
        runner.shrink()
