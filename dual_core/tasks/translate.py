"""Translation between two experimental domains (paper, section 2.4).

The "clean" domain of such a model is tomograms of better signal, not grand models. To the clean
domain a tomogram goes through the denoiser; to the noisy one it goes through the structural
generator with noise, standardised by itself, since every tomogram has a gain of its own.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Callable, Dict, Optional, Union

from dual_core.errors import DualError
from dual_core.tasks.denoise import DenoiseOptions, denoise_tomogram, make_runner
from dual_core.tasks.given_volume import check_choice
from dual_core.tasks.simulate import SimulateOptions, open_for_simulation, simulate_tomogram
from dual_core.tasks.simulation.noise_codes import Noise, draw_noise
from dual_core.tasks.simulation.noisy_tiles import SimulationRunner
from dual_core.tiles.runner import NetworkRunner

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]

TO_CLEAN = "to-clean"
TO_NOISY = "to-noisy"
DIRECTIONS = (TO_CLEAN, TO_NOISY)
TASK = "translate"


@dataclass(frozen=True)
class TranslateOptions:
    """What shapes the result of translation.

    Attributes
    ----------
    direction : str
        ``to-clean`` or ``to-noisy``.
    contrast : str
        Of the tomogram's density: ``auto``, ``dark`` or ``bright``. The result has the contrast
        of the domain that it is translated to.
    units : str
        ``standardised`` (of the domain that it is translated to) or ``input`` (intensities of
        the tomogram).
    voxel_size_A : float, optional
        Of the tomogram, instead of what its header says.
    seed : int
        Of the noise, for ``to-noisy``.
    """

    direction: str
    contrast: str = "auto"
    units: str = "standardised"
    voxel_size_A: Optional[float] = None
    seed: int = 0

    def __post_init__(self) -> None:
        check_choice("direction", self.direction, DIRECTIONS)
        check_choice("contrast", self.contrast, ("auto", "dark", "bright"))
        check_choice("units", self.units, ("standardised", "input"))

    def as_dict(self) -> Dict[str, Any]:
        """For records and comparison."""
        return asdict(self)


def make_translation_runner(
    model: Any,
    direction: str,
    device: str = "auto",
    precision: str = "auto",
    tile: Optional[int] = None,
    halo: Optional[int] = None,
    memory: Optional[float] = None,
) -> NetworkRunner:
    """The network of a direction, ready to run; see `NetworkRunner` and `SimulationRunner`."""
    check_choice("direction", direction, DIRECTIONS)
    if direction == TO_CLEAN:
        return make_runner(model, device, precision, tile, halo, memory)
    return SimulationRunner(model, device, precision, tile, halo, memory)


def warn_of_other_task(card: Any, direction: str) -> None:
    """Say so where a model was not trained to translate between tomograms."""
    if card.task == TASK:
        return
    better = "denoise" if direction == TO_CLEAN else "simulate"
    logger.warning(
        "this model is for '%s', its clean domain are grand models and not tomograms; "
        "'dual %s' is meant for it",
        card.task,
        better,
    )


def translate_tomogram(
    source: Union[str, Path],
    output: Union[str, Path],
    model: Any,
    runner: NetworkRunner,
    options: TranslateOptions,
    code: Optional[Any] = None,
    code_from: str = "",
    progress: Optional[Progress] = None,
) -> Dict[str, Any]:
    """Translate a tomogram of one domain to the other into a float32 MRC file.

    Parameters
    ----------
    source, output : path
    model : DualModel
    runner : NetworkRunner
        From `make_translation_runner`, of the same direction.
    options : TranslateOptions
    code : numpy.ndarray, optional
        Noise code ``(K,)`` for ``to-noisy``; by default one is drawn.
    code_from : str
        Where a given code is from, for the record.
    progress : callable, optional
        ``progress(done, total)`` in tiles.

    Returns
    -------
    dict
        What was found and done: `DenoiseReport` or `SimulateReport`.

    Raises
    ------
    DualError
        As `denoise_tomogram` and `simulate_tomogram`.
    """
    if options.direction == TO_CLEAN:
        wanted = DenoiseOptions(
            contrast=options.contrast,
            output_contrast="as-model",
            units=options.units,
            voxel_size_A=options.voxel_size_A,
        )
        return asdict(denoise_tomogram(source, output, model.card, runner, wanted, progress))
    if not isinstance(runner, SimulationRunner):
        raise DualError("to translate to the noisy domain a runner of that direction is needed")
    given = SimulateOptions(
        contrast=options.contrast,
        standardise="own",
        units=options.units,
        voxel_size_A=options.voxel_size_A,
    )
    density = open_for_simulation(source, model.card, given)
    noise = draw_noise(model.config.code_size, options.seed, density.content, 1)
    if code is not None:
        noise = Noise(code, noise.seed, code_from)
    report = simulate_tomogram(density, output, model, runner, noise, given, progress)
    return asdict(report)
