"""The configuration of a training run: one frozen dataclass, presets, YAML."""
from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, Mapping, Optional, Tuple

from ..errors import DualError
from ..networks import NetworkConfig

METHODS = ("stable", "paper")
PRESETS = ("quick", "standard", "thorough")
SMALLEST_MAP = 3  # voxels a side of the coarsest feature map; see `Trainer` about smaller ones


@dataclass(frozen=True)
class TrainingConfig:
    """Everything that shapes a training run. Dumped as ``config.yaml`` beside the result.

    Attributes
    ----------
    preset, method : what the values below were taken from.
    iterations : length of the run; the learning rate's schedule hangs on it.
    patch : side of a training patch in voxels of the model's voxel size.
    batch : patches of each domain an iteration.
    learning_rate, betas, weight_decay : of AdamW, for all networks.
    decay_from : fraction of the run after which the learning rate falls linearly to 0.
    reconstruction_weight, adversarial_weight, noise_code_weight : lambda 1 to 3 of equation 3.
    adversarial : ``cross-entropy`` (equations 6 to 8) or ``least-squares``.
    clean_cycle_share : how much of the gradient of equation 4 reaches Gs.
    noisy_cycle_share : how much of the gradient of equation 5 reaches Dn.
    average_decay : of the exponential moving average of the generators' weights.
    code_pool : noise codes of recent iterations that equation 9 looks at too.
    network : sizes of the six networks.
    contrast, clean_contrast : ``auto``, ``dark`` or ``bright`` density in the two domains.
    voxel_size_A : common voxel size; that of the clean domain by default.
    noisy_voxel_size_A, clean_voxel_size_A : instead of the headers'.
    tilt_range_deg : of the tomograms; only flips that keep the wedge are drawn.
    seed : of everything random.
    """

    preset: str = "standard"
    method: str = "stable"
    iterations: int = 2000
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
    clean_cycle_share: float = 0.0
    noisy_cycle_share: float = 0.0
    calibration_weight: float = 5.0
    clean_adversarial_share: float = 1.0
    rehearsals: int = 2
    rehearse_generated: bool = True
    average_decay: float = 0.995
    code_pool: int = 128
    network: NetworkConfig = field(default_factory=NetworkConfig)
    contrast: str = "auto"
    clean_contrast: str = "auto"
    voxel_size_A: Optional[float] = None
    noisy_voxel_size_A: Optional[float] = None
    clean_voxel_size_A: Optional[float] = None
    tilt_range_deg: Optional[Tuple[float, float]] = None
    seed: int = 0

    def weights_at(self, progress: float) -> Dict[str, float]:
        """The weight of each loss term: lambda 1 to 3 of equation 3, and the calibration's."""
        return {
            "loss_density": self.reconstruction_weight,
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
