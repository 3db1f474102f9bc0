"""The configuration of a training run: one frozen dataclass, presets, YAML."""
from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, Mapping, Optional, Tuple

import yaml

from dual_core.errors import DualError
from dual_core.networks.generators import NetworkConfig
from dual_core.networks.model import write_atomically
from dual_core.safety.checks import checked
from dual_core.safety.documents import read_yaml

TASKS = ("denoise+simulate", "translate", "missing-wedge")
METHODS = ("stable", "paper")
PRESETS = ("quick", "standard", "thorough", "gpu")
ADVERSARIAL = ("cross-entropy", "least-squares")
TILT_AXES = ("y", "x")
RECORRUPTED_LOSSES = ("squared", "coherence")
CONTRASTS = ("auto", "dark", "bright")
SMALLEST_MAP = 3  # voxels a side of the coarsest feature map; see `Trainer` about smaller ones


@dataclass(frozen=True)
class TrainingConfig:
    """Everything that shapes a training run. Dumped as ``config.yaml`` beside the result.

    Attributes
    ----------
    preset, method : what the values below were taken from.
    task : ``denoise+simulate`` (tomograms and grand models), ``translate`` (two experimental
        domains, section 2.4) or ``missing-wedge`` (tomograms alone, section 2.5).
    iterations : length of the run; the learning rate's schedule hangs on it.
    patch : side of a training patch in voxels of the model's voxel size.
    batch : patches of each domain an iteration.
    learning_rate, betas, weight_decay : of AdamW, for all networks.
    decay_from : fraction of the run after which the learning rate falls linearly to 0.
    reconstruction_weight, adversarial_weight, noise_code_weight : lambda 1 to 3 of equation 3.
    adversarial : ``cross-entropy`` (equations 6 to 8) or ``least-squares``.
    density_weight : of equation 4 within the reconstruction.
    clean_cycle_share : how much of the gradient of equation 4 reaches Gs.
    noisy_cycle_share : how much of the gradient of equation 5 reaches Dn.
    clean_adversarial_share : how much of equation 8's term of Dv counts for Dn.
    calibration_weight : of the squared difference between Gs and the linear model.
    rehearsals : extra steps of Dn on pairs of the linear model, an iteration; for the missing
        wedge on a pair of blocks, see `WedgePairs`.
    generator_rehearsals : the same for Gs, on a whole block: coarse noise and the edge of the
        missing wedge need more room than a patch has.
    rehearsal_rate : their learning rate, in learning rates.
    settle_from : fraction of the run after which Gs takes rehearsals alone: patches have no room
        for coarse noise, and so all other losses make it weaker than it is.
    spectrum_weight : of the power spectrum in the rehearsals of Gs.
    beside_wedge_weight : of what is not in the missing wedge in the rehearsals for it.
    recorrupted : steps of Dn on two copies of a real block with independent noise, an iteration;
        see `dual_core.training.pairs.recorrupted`.
    recorrupted_from : fraction of the run after which they are taken.
    recorrupted_rate : their learning rate, in learning rates.
    recorrupted_loss : ``squared`` or ``coherence``.
    average_decay : of the exponential moving average of the generators' weights.
    code_pool : noise codes of recent iterations that equation 9 looks at too.
    measured_noise : whether the noise of simulated tomograms has the power that was measured on the
        real ones (`dual_core.noise_model.full_power`) and Gs makes the structure alone; by default
        with the method ``stable``.
    network : sizes of the six networks.
    contrast, clean_contrast : ``auto``, ``dark`` or ``bright`` density in the two domains.
    voxel_size_A : common voxel size; that of the clean domain by default.
    noisy_voxel_size_A, clean_voxel_size_A : instead of the headers'.
    tilt_range_deg : of the tomograms; only flips that keep the wedge are drawn.
    tilt_axis : of the tomograms, ``y`` or ``x``.
    start_from : a model whose weights the networks begin with, a file or ``general``; empty for
        random ones.
    seed : of everything random.
    """

    preset: str = "standard"
    method: str = "stable"
    task: str = "denoise+simulate"
    iterations: int = 800
    patch: int = 32
    batch: int = 4
    learning_rate: float = 3e-4
    betas: Tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 1e-6
    decay_from: float = 0.5
    reconstruction_weight: float = 1.0
    adversarial_weight: float = 1.0
    noise_code_weight: float = 0.1
    adversarial: str = "cross-entropy"
    density_weight: float = 1.0
    clean_cycle_share: float = 0.0
    noisy_cycle_share: float = 0.0
    calibration_weight: float = 5.0
    clean_adversarial_share: float = 0.2
    rehearsals: int = 2
    generator_rehearsals: int = 1
    rehearsal_rate: float = 3.0
    settle_from: float = 0.7
    spectrum_weight: float = 3.0
    beside_wedge_weight: float = 0.02
    recorrupted: int = 1
    recorrupted_from: float = 0.5
    recorrupted_rate: float = 1.0
    recorrupted_loss: str = "coherence"
    average_decay: float = 0.995
    code_pool: int = 128
    measured_noise: bool = False
    network: NetworkConfig = field(default_factory=lambda: NetworkConfig(output_filter=True))
    contrast: str = "auto"
    clean_contrast: str = "auto"
    voxel_size_A: Optional[float] = None
    noisy_voxel_size_A: Optional[float] = None
    clean_voxel_size_A: Optional[float] = None
    tilt_range_deg: Optional[Tuple[float, float]] = None
    tilt_axis: str = "y"
    start_from: str = ""
    seed: int = 0

    def __post_init__(self) -> None:
        smallest = SMALLEST_MAP * self.multiple
        if self.patch % self.multiple or self.patch < smallest:
            raise DualError(
                f"a patch of {self.patch} voxels does not fit the networks; choose a multiple of "
                f"{self.multiple} from {smallest} up"
            )
        if self.network.noise_side != self.patch:
            raise DualError(
                f"the noise decoder draws cubes of {self.network.noise_side} voxels and a patch "
                f"has {self.patch}; set network.noise_side to the patch's side"
            )
        for name in ("iterations", "batch", "learning_rate"):
            if getattr(self, name) <= 0:
                raise DualError(f"{name} must be more than 0, not {getattr(self, name)}")
        for name, choices in (
            ("method", METHODS), ("preset", PRESETS), ("adversarial", ADVERSARIAL),
            ("contrast", CONTRASTS), ("clean_contrast", CONTRASTS), ("task", TASKS),
            ("tilt_axis", TILT_AXES), ("recorrupted_loss", RECORRUPTED_LOSSES),
        ):
            if getattr(self, name) not in choices:
                raise DualError(
                    f"{name} {getattr(self, name)!r} is unknown; choose {', '.join(choices)}"
                )

    @property
    def multiple(self) -> int:
        """What the sides of the U-Nets' input must be multiples of."""
        return self.network.stem_stride * 2 ** (len(self.network.channels) - 1)

    @property
    def uses_linear_model(self) -> bool:
        """Whether a linear model of the noisy domain is fitted and trained with."""
        return max(
            self.calibration_weight, self.rehearsals, self.generator_rehearsals, self.recorrupted
        ) > 0

    @property
    def colours_noise(self) -> bool:
        """Whether simulated noise has measured power; grand models alone are without noise."""
        return self.measured_noise and self.uses_linear_model and self.task == TASKS[0]

    @property
    def loss_weights(self) -> Dict[str, float]:
        """The weight of each loss term: lambda 1 to 3 of equation 3, and the calibration's."""
        return {
            "loss_density": self.reconstruction_weight * self.density_weight,
            "loss_tomogram": self.reconstruction_weight,
            "loss_adversarial_t": self.adversarial_weight,
            "loss_adversarial_v": self.adversarial_weight * self.clean_adversarial_share,
            "loss_noise_code": self.noise_code_weight,
            "loss_calibration": self.calibration_weight,
        }

    def learning_rate_at(self, progress: float) -> float:
        """Constant, then falling linearly to 1 % at the end of the run."""
        if progress <= self.decay_from:
            return self.learning_rate
        remaining = (1.0 - progress) / (1.0 - self.decay_from)
        return self.learning_rate * max(remaining, 0.01)


# How long to train. Of the first three the networks are the same, so that a model of any of them
# denoises equally fast. The denoiser learns most from pairs of the linear model, and a step on them
# costs a twentieth of an iteration: with more of them fewer iterations do (docs/training.md). Steps
# on real blocks go along, so that what the tomograms teach is not outweighed.
# On a GPU those networks and batches leave most of it idle: there wider ones cost little, with the
# same receptive field and so the same tiles.
_PRESETS: Dict[str, Dict[str, Any]] = {
    "quick": {"iterations": 75, "rehearsals": 12, "recorrupted": 4},
    "standard": {"iterations": 500, "rehearsals": 8, "recorrupted": 2},
    "thorough": {"iterations": 2500, "rehearsals": 8, "recorrupted": 2},
    "gpu": {
        "iterations": 3000,
        "patch": 64,
        "batch": 8,
        "network": NetworkConfig(
            channels=(64, 128, 256),
            output_filter=True,
            generator_refinement=16,
            noise_channels=(16, 32, 64),
            discriminator_channels=(32, 64, 128),
        ),
    },
}

# Where there are no such pairs of a density alone: other tasks, and the paper's method.
_WITHOUT_PAIRS: Dict[str, Dict[str, Any]] = {
    "quick": {"iterations": 250, "rehearsals": 2, "recorrupted": 1},
    "standard": {"iterations": 800, "rehearsals": 2, "recorrupted": 1},
    "thorough": {"iterations": 4000, "rehearsals": 2, "recorrupted": 1},
}

# The paper's equations as printed, made safe; see docs/training.md for what "stable" changes.
_METHODS: Dict[str, Dict[str, Any]] = {
    "stable": {"measured_noise": True},
    "paper": {
        "learning_rate": 1e-4,
        "decay_from": 1.0,
        "clean_cycle_share": 1.0,
        "noisy_cycle_share": 1.0,
        "clean_adversarial_share": 1.0,
        "calibration_weight": 0.0,
        "rehearsals": 0,
        "generator_rehearsals": 0,
        "recorrupted": 0,
        "settle_from": 1.0,
        "average_decay": 0.0,
        "network": NetworkConfig(
            channels=(16, 32, 64),
            stem_stride=1,
            generator_refinement=0,
            discriminator_scales=1,
            spectral_norm=False,
            standardised_codes=False,
        ),
    },
}


# For the missing wedge the denoiser learns from pairs of turned tomograms alone: equation 4 and the
# adversarial term ask for a wedge along x too, and it fills the other one worse with them.
_TASKS: Dict[Tuple[str, str], Dict[str, Any]] = {
    ("missing-wedge", "stable"): {
        "density_weight": 0.0, "clean_adversarial_share": 0.0, "recorrupted": 0,
    },
    # Two experimental domains: the second is no density that a linear model turns into the first.
    ("translate", "stable"): {"recorrupted": 0},
}


def preset_config(preset: str, method: str = "stable", **changes: Any) -> TrainingConfig:
    """The configuration of a preset, a method and a task, with some values changed.

    Parameters
    ----------
    preset : how long to train: ``quick``, ``standard`` or ``thorough``; or ``gpu``, wider networks
        on
        larger patches and batches.
    method : ``stable`` (what measures best) or ``paper`` (the equations as printed, made safe).
    changes : any attribute of `TrainingConfig`.

    Raises
    ------
    DualError
        For unknown names and for values that do not fit together.
    """
    values: Dict[str, Any] = {"preset": preset, "method": method}
    values.update(_PRESETS.get(preset, {}))
    if method != "stable" or changes.get("task", TASKS[0]) != TASKS[0]:
        values.update(_WITHOUT_PAIRS.get(preset, {}))
    values.update(_METHODS.get(method, {}))
    values.update(_TASKS.get((changes.get("task", ""), method), {}))
    values.update(changes)
    unknown = set(values) - {entry.name for entry in dataclasses.fields(TrainingConfig)}
    if unknown:
        raise DualError(f"unknown setting {', '.join(sorted(unknown))}; see config.yaml of a run")
    network = values.setdefault("network", NetworkConfig(output_filter=True))
    patch = values.get("patch", TrainingConfig.patch)
    try:
        values["network"] = dataclasses.replace(network, noise_side=patch)
    except ValueError as error:
        raise DualError(
            f"a patch of {patch} voxels does not fit the networks; choose a multiple of "
            f"{2 ** len(network.noise_channels)}"
        ) from error
    return TrainingConfig(**values)


def save_config(config: TrainingConfig, path: Path) -> None:
    """Write the configuration as YAML."""
    values = _plain(dataclasses.asdict(config))
    write_atomically(path, yaml.safe_dump(values, sort_keys=False).encode())


def load_config(path: Path) -> TrainingConfig:
    """The configuration that `save_config` wrote.

    Raises
    ------
    DualError
        For a file that is missing, no YAML, or holds unknown settings or settings of a wrong type;
        the message names the setting.
    """
    mend = "check the folder, or take the config.yaml of another run"
    return checked(TrainingConfig, read_yaml(path), str(path), mend, refuse_unknown=True)


def _plain(value: Any) -> Any:
    """Tuples as lists, which is all that safe YAML knows."""
    if isinstance(value, Mapping):
        return {name: _plain(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return value
