"""Discriminators Dt and Dv: real or made, judged in space and in the power spectrum."""
from __future__ import annotations

from typing import List, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from dual_core.networks.generators import SLOPE, initialise


def log_power_spectrum(volume: Tensor) -> Tensor:
    """log(|FFT|^2 + 0.01) of each patch, zero frequency in the middle; float32, same shape.

    The transform is orthonormal, so that white noise of variance 1 has power 1 everywhere.
    """
    spectrum = torch.fft.fftn(volume.float(), dim=(-3, -2, -1), norm="ortho")
    power = spectrum.real.square() + spectrum.imag.square()
    return torch.fft.fftshift(torch.log(power + 0.01), dim=(-3, -2, -1))


class _Branch(nn.Module):
    """A patch-wise discriminator: strided convolutions to a map of logits."""

    def __init__(self, channels: Sequence[int], normalised: bool) -> None:
        super().__init__()
        layers: List[nn.Module] = []
        previous = 1
        for width in channels:
            layers += [nn.Conv3d(previous, width, 4, stride=2, padding=1), nn.LeakyReLU(SLOPE)]
            previous = width
        layers.append(nn.Conv3d(previous, 1, 3, padding=1))
        self.layers = nn.Sequential(*layers)
        initialise(self)
        if normalised:
            for layer in self.layers:
                if isinstance(layer, nn.Conv3d):
                    spectral_norm(layer)

    def forward(self, volume: Tensor) -> Tensor:
        return self.layers(volume)


class Discriminator(nn.Module):
    """Discriminator Dt or Dv in the spatial and in the spectral domain.

    Returns one map of logits for each branch: positive means "real".
    """

    def __init__(self, channels: Sequence[int], scales: int = 1, normalised: bool = False) -> None:
        super().__init__()
        self.spatial = nn.ModuleList([_Branch(channels, normalised) for _ in range(scales)])
        self.spectral = _Branch(channels, normalised)

    def forward(self, volume: Tensor) -> List[Tensor]:
        """``(b, 1, z, y, x)`` -> logits, a tensor ``(b, 1, z', y', x')`` for each branch."""
        logits: List[Tensor] = [self.spectral(log_power_spectrum(volume))]
        scaled = volume
        for index, branch in enumerate(self.spatial):
            if index:
                scaled = functional.avg_pool3d(scaled, 2) * 2.0
            logits.append(branch(scaled))
        return logits
