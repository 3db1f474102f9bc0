"""From files to the two domains of a task, and the linear model or the pairs that help it."""
from __future__ import annotations

import datetime
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Sequence, Tuple

import numpy as np

from dual_core import __version__
from dual_core.errors import DualError
from dual_core.networks.card import ModelCard
from dual_core.networks.model import plain_config
from dual_core.noise_model.calibration import LinearModel, fit_linear_model
from dual_core.noise_model.full_power.fitting import measure_noise_profile
from dual_core.noise_model.full_power.noise_profile import NoiseProfile
from dual_core.noise_model.linear_simulator import LinearSimulator
from dual_core.noise_model.noise_floor import noise_from_halves
from dual_core.training.config import TrainingConfig
from dual_core.training.domains import (
    Domain,
    OpenedFiles,
    allowed_flips,
    common_contrast,
    limits_of,
    open_files,
    open_volumes,
    warn_of_labels,
)
from dual_core.training.pairs.halves import open_halves
from dual_core.training.pairs.recorrupted import RecorruptedPairs
from dual_core.training.pairs.turned import WedgePairs
from dual_core.volumes.patches import MEMORY_BUDGET, PatchSource, StandardisedVolume

logger = logging.getLogger(__name__)

BLOCK_SIDE = 64  # voxels of the blocks that the linear model simulates, or
BLOCK_PATCHES = 1.5  # times the side of a patch where that is longer
FAINTEST = 0.02  # signal-to-noise ratio in the best band below which something is wrong


@dataclass(frozen=True)
class TrainingData:
    """Both domains, the voxel size that they are brought to, and what the networks rehearse on.

    ``simulator`` draws from a linear model of the noisy domain and is None where the method does
    without; ``wedge_pairs`` are there for the missing-wedge task; ``recorrupted`` draws copies of
    real blocks with independent noise; ``linear`` is the linear model, where it was measured, and
    ``profile`` the tomograms' noise as finely as their thickness resolves it.
    """

    noisy: Domain
    clean: Domain
    voxel_size_A: float
    simulator: Optional[LinearSimulator]
    wedge_pairs: Optional[WedgePairs] = None
    recorrupted: Optional[RecorruptedPairs] = None
    linear: Optional[LinearModel] = None
    profile: Optional[NoiseProfile] = None


def open_training_data(
    noisy: Sequence[Path],
    clean: Sequence[Path],
    config: TrainingConfig,
    memory_budget: int = MEMORY_BUDGET,
    halves: Sequence[Tuple[Path, Path]] = (),
) -> TrainingData:
    """Open both domains, bring them to one voxel size and one contrast, standardise them.

    Tomograms are standardised one by one, since each has its own gain; grand models all alike,
    since a particle has one density in all of them. The second domain of the missing-wedge task
    is the first with z and x exchanged. `halves`, an even and an odd one of some tomograms, tell
    the power of the noise; without any it is measured on the blocks of the tomograms.

    Raises
    ------
    DualError
        For a file that cannot be used, for a contrast that cannot be told, or for volumes that
        are smaller than a patch.
    """
    if config.task == "missing-wedge":
        if clean:
            raise DualError("the missing-wedge task trains on tomograms alone; leave out --clean")
        return _missing_wedge(noisy, config, memory_budget)
    if not clean:
        raise DualError(f"the task {config.task} needs a clean domain; give --clean")
    noisy_volumes = open_volumes(noisy, config.noisy_voxel_size_A)
    clean_volumes = open_volumes(clean, config.clean_voxel_size_A)
    voxel_size_A = config.voxel_size_A or clean_volumes[0].voxel_size_A
    # Before anything is said of the volumes: an unusable one ends it with one line.
    noisy_files = open_files(noisy_volumes, voxel_size_A, config.tilt_axis)
    experimental = config.task == "translate"
    clean_axis = config.tilt_axis if experimental else "y"
    clean_files = open_files(clean_volumes, voxel_size_A, clean_axis, tomograms=experimental)
    if not experimental:
        for volume in clean_volumes:
            warn_of_labels(volume)
    noisy_contrast = common_contrast(
        noisy_files.originals, config.contrast, "tomograms", "--contrast"
    )
    clean_contrast = common_contrast(
        clean_files.originals, config.clean_contrast, "clean domain", "--clean-contrast"
    )
    sign = 1.0 if noisy_contrast == clean_contrast else -1.0
    if sign < 0:
        logger.info("tomograms are multiplied by -1, so that density has one sign everywhere")
    noisy_domain = _domain(noisy_files, noisy_contrast, config, memory_budget, sign=sign)
    clean_domain = _domain(
        clean_files, clean_contrast, config, memory_budget, tomograms=experimental
    )
    if not config.uses_linear_model:
        return TrainingData(noisy_domain, clean_domain, voxel_size_A, None)
    generator = np.random.default_rng(config.seed)
    floor = None
    if halves:
        pairs = open_halves(halves, config, voxel_size_A, sign)
        floor = noise_from_halves(pairs, generator)
    linear = fit_linear_model(noisy_domain.volumes, clean_domain.volumes, generator, floor)
    _tell(linear, voxel_size_A)
    limits = limits_of(noisy_files.statistics, noisy_domain.volumes)
    volumes = noisy_domain.volumes, clean_domain.volumes
    measure = measure_noise_profile if config.colours_noise else None
    profile = measure and measure(*volumes, linear, limits, generator)
    simulator = _simulator(linear, clean_domain.patches, config, limits, profile)
    recorrupted = None
    if config.recorrupted:
        blocks = _blocks(noisy_domain.patches, config)
        recorrupted = RecorruptedPairs(linear, blocks)
    return TrainingData(
        noisy_domain, clean_domain, voxel_size_A, simulator, None, recorrupted, linear, profile
    )


def _missing_wedge(
    noisy: Sequence[Path], config: TrainingConfig, memory_budget: int
) -> TrainingData:
    """Both domains of the missing-wedge task from the tomograms (section 2.5)."""
    if config.tilt_range_deg is None:
        raise DualError(
            "the missing-wedge task needs the tilt range; give --tilt-range MIN MAX in degrees"
        )
    volumes = open_volumes(noisy, config.noisy_voxel_size_A)
    voxel_size_A = config.voxel_size_A or volumes[0].voxel_size_A
    files = open_files(volumes, voxel_size_A, config.tilt_axis)
    contrast = common_contrast(files.originals, config.contrast, "tomograms", "--contrast")
    # The networks see bright density, as they do in the other tasks.
    sign = 1.0 if contrast == "bright" else -1.0
    domain = _domain(files, contrast, config, memory_budget, sign=sign)
    exchanged = tuple(entry.exchanged((0, 2)) for entry in domain.volumes)
    flips = allowed_flips(config.tilt_range_deg)
    patches = PatchSource(exchanged, config.patch, flips=flips, memory_budget=memory_budget)
    # What counts as clean has mean 0 and deviation 1: a result is in the tomogram's own units.
    second = Domain(patches, exchanged, (), "bright", 0.0, 1.0)
    simulator, pairs = None, None
    if config.uses_linear_model:
        pairs = WedgePairs(domain.patches, config.tilt_range_deg)
        limits = limits_of(files.statistics, domain.volumes)
        simulator = _simulator(pairs.linear_model(), patches, config, limits)
    return TrainingData(domain, second, voxel_size_A, simulator, pairs)


def _domain(
    files: OpenedFiles,
    contrast: str,
    config: TrainingConfig,
    memory_budget: int,
    sign: float = 1.0,
    tomograms: bool = True,
) -> Domain:
    """A domain of tomograms, or of grand models, which may be turned freely."""
    volumes: Sequence[StandardisedVolume] = files.standardised(each=tomograms, sign=sign)
    if tomograms:
        flips = allowed_flips(config.tilt_range_deg)
        patches = PatchSource(volumes, config.patch, flips=flips, memory_budget=memory_budget)
    else:
        patches = PatchSource(
            volumes, config.patch, turns=True, skip_empty=True, memory_budget=memory_budget
        )
    mean, deviation = files.pooled
    return Domain(patches, tuple(volumes), files.facts, contrast, mean, deviation)


def _simulator(
    linear: LinearModel,
    clean: PatchSource,
    config: TrainingConfig,
    limits: Tuple[float, float],
    profile: Optional[NoiseProfile] = None,
) -> LinearSimulator:
    flips = allowed_flips(config.tilt_range_deg)
    return LinearSimulator(linear, _blocks(clean, config), config.patch, flips, limits, profile)


def _blocks(patches: PatchSource, config: TrainingConfig) -> PatchSource:
    """A domain in blocks: larger than a patch where the volumes are thick enough."""
    side = max(BLOCK_SIDE, int(BLOCK_PATCHES * config.patch))
    side = min(side, patches.smallest_side)
    return patches.with_side(max(side - side % config.multiple, config.patch))


def _tell(linear: LinearModel, voxel_size_A: float) -> None:
    """Log where the structure ends in the noise."""
    ratios = ", ".join(
        f"{voxel_size_A / frequency:.0f} A: {ratio:.2f}" for frequency, _, ratio in linear.bands
    )
    logger.info(
        "noise measured on %s; power of the structure over that of the noise, by detail: %s",
        "the difference of the halves" if linear.source == "halves" else "the tomograms' blocks",
        ratios,
    )
    if max(ratio for _, _, ratio in linear.bands) < FAINTEST:
        logger.warning(
            "hardly any structure that the clean domain shows was found in the tomograms; check "
            "contrast and voxel sizes, and whether both domains show the same kind of sample"
        )


def make_card(data: TrainingData, config: TrainingConfig, iterations: int) -> ModelCard:
    """The card of the model that this training makes."""
    return ModelCard(
        voxel_size_A=data.voxel_size_A,
        contrast=data.clean.contrast,
        noisy_contrast=data.noisy.contrast,
        network=plain_config(config.network),
        task=config.task,
        method=config.method,
        iterations=iterations,
        seed=config.seed,
        clean_mean=data.clean.mean,
        clean_deviation=data.clean.deviation,
        noisy_domain=list(data.noisy.facts),
        clean_domain=list(data.clean.facts),
        tilt_range_deg=config.tilt_range_deg,
        tilt_axis=config.tilt_axis,
        likeness=None if data.linear is None else data.linear.likeness,
        trained_on=data.noisy.known_range,
        software_version=__version__,
        date=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    )
