"""A training of tiny networks, its weights, and a signal that stops it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Dict, Optional

import torch

from dual_core.networks.generators import NetworkConfig
from dual_core.networks.model import DualModel
from dual_core.training.config import TrainingConfig
from dual_core.training.loop import RunOptions, TrainingResult, train

TINY = NetworkConfig(
    channels=(4, 6),
    noise_channels=(4, 4),
    code_size=5,
    noise_side=16,
    discriminator_channels=(4, 6),
)
OPTIONS = RunOptions(device="cpu", precision="float32", previews=0, log_every=1)


def config(**changes: Any) -> TrainingConfig:
    values: Dict[str, Any] = {
        "iterations": 6, "patch": 16, "batch": 2, "network": TINY, "contrast": "dark",
        "clean_contrast": "bright", "rehearsals": 1, "code_pool": 6,
    }
    return TrainingConfig(**{**values, **changes})


def run(
    data: Dict[str, Path],
    folder: Path,
    settings: Optional[TrainingConfig] = None,
    options: RunOptions = OPTIONS,
    **arguments: Any,
) -> TrainingResult:
    return train(
        [data["tomogram"]], [data["grand_model"]], folder, settings or config(), options,
        **arguments,
    )


def weights(folder: Path) -> Dict[str, torch.Tensor]:
    return DualModel.load(folder / "model.safetensors").state_dict()


class Interrupt:
    """Stops a run with a signal after some iterations."""

    def __init__(self, after: int, number: int) -> None:
        self.after, self.number = after, number

    def __call__(self, done: int, total: int, values: Dict[str, float]) -> None:
        if done == self.after:
            os.kill(os.getpid(), self.number)
