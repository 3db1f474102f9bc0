"""Patches of random numbers to put into the equations."""

from __future__ import annotations

import torch

SHAPE = (3, 1, 6, 7, 8)


def ordinary_pair() -> tuple:
    real = torch.randn(SHAPE)
    return real, 0.6 * real + 0.5 * torch.randn(SHAPE) + 0.2


def noise(seed: int = 0) -> torch.Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))
