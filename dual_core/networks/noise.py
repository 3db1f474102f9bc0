"""The noise encoder E and the noise decoder Gn of figure 1.

All tensors are ``(batch, 1, z, y, x)``, codes ``(batch, K)``.
"""
from __future__ import annotations

from typing import Callable, List, Optional, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from dual_core.networks.convolutions import Convolution
from dual_core.networks.generators import SLOPE, initialise

# Deviation of the noise masks beside density of deviation 1, and the factor that a code may change
# it by. The generator tells noise from structure best there: with weaker noise it cannot make the
# coarse part of a tomogram's noise, with stronger noise it loses fine structure. Squared error
# against the linear model after 300 iterations: 0.13, 0.090, 0.084, 0.12 at 0.5, 1, 2, 4.
NOISE_SCALE = 1.5
# Tomograms are standardised and mostly noise, so that its strength hardly differs between them; a
# decoder that may vary it more draws codes whose noise is far too loud or too faint.
NOISE_SCALE_RANGE = 1.1
POOLED_SIDE = 4  # side of the feature map before the noise encoder's linear layer


class RunningStandardisation(nn.Module):
    """Brings codes to mean 0 and deviation 1 with moments that follow them slowly.

    The moments are those of many batches and have no gradient, so that a batch of one works and
    a code does not depend on what else is in its batch once training is over. ``across`` brings
    the moments of a batch to their mean over all processes that train together.
    """

    MOMENTUM = 0.05

    mean: Tensor
    square: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("square", torch.ones(size))
        self.across: Optional[Callable[[Tensor], Tensor]] = None

    def forward(self, codes: Tensor) -> Tensor:
        """``(b, K)`` -> ``(b, K)``."""
        if self.training:
            with torch.no_grad():
                moments = torch.stack([codes.mean(dim=0), codes.square().mean(dim=0)])
                if self.across is not None:
                    moments = self.across(moments)
                self.mean.lerp_(moments[0], self.MOMENTUM)
                self.square.lerp_(moments[1], self.MOMENTUM)
        variance = (self.square - self.mean.square()).clamp(min=1e-4)
        return (codes - self.mean.clone()) / torch.sqrt(variance)


class NoiseEncoder(nn.Module):
    """Noise encoder E: a tomogram's patch -> its noise code z, ``(b, K)``.

    With ``standardised`` the codes are brought to mean 0 and deviation 1, which equation 9 asks
    for and equation 5 pulls away from: a code of little noise makes reconstruction easy.
    """

    def __init__(self, channels: Sequence[int], code_size: int, standardised: bool) -> None:
        super().__init__()
        layers: List[nn.Module] = []
        previous = 1
        for width in channels:
            layers += [nn.Conv3d(previous, width, 4, stride=2, padding=1), nn.LeakyReLU(SLOPE)]
            previous = width
        self.standardise: nn.Module = nn.Identity()
        if standardised:
            self.standardise = RunningStandardisation(code_size)
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(previous * POOLED_SIDE**3, code_size)
        initialise(self)

    def forward(self, tomogram: Tensor) -> Tensor:
        """``(b, 1, z, y, x)`` -> ``(b, K)``; any size that the strides leave a voxel of."""
        features = functional.adaptive_avg_pool3d(self.features(tomogram), POOLED_SIDE)
        return self.standardise(self.head(features.flatten(1)))


class NoiseDecoder(nn.Module):
    """Noise decoder Gn: a noise code -> a mask of non-structural noise, a cube.

    Interpolation and convolution instead of transposed convolutions, which leave marks in the
    spectrum (Durall 2020). The mask is brought to mean 0 and deviation 1 and then scaled by a
    positive number that is read from the code, within limits: a decoder whose output is constant
    would turn the simulation into a deterministic map, and this one cannot.
    """

    def __init__(self, channels: Sequence[int], code_size: int, side: int) -> None:
        super().__init__()
        widths = list(reversed(channels))
        self.base_side = side // 2 ** len(widths)
        self.widths = widths
        self.stem = nn.Linear(code_size, widths[0] * self.base_side**3)
        self.scale = nn.Linear(code_size, 1)
        blocks: List[nn.Module] = []
        for width, following in zip(widths, widths[1:] + [widths[-1]]):
            blocks.append(Convolution(width, following, 3, padding=1))
        self.blocks = nn.ModuleList(blocks)
        self.head = Convolution(widths[-1], 1, 3, padding=1)
        initialise(self)

    def forward(self, code: Tensor) -> Tensor:
        """``(b, K)`` -> ``(b, 1, side, side, side)``."""
        features = self.stem(code).view(-1, self.widths[0], *[self.base_side] * 3)
        for block in self.blocks:
            features = functional.leaky_relu(block(features), SLOPE)
            features = functional.interpolate(features, scale_factor=2, mode="nearest")
        mask = self.head(features).float()
        # Values come in pairs of both signs: noise of a code's own skewness would show.
        mask = mask - mask.flip((2, 3, 4))
        # The epsilon stands under the root: the root's gradient at 0 is infinite.
        deviation = torch.sqrt(mask.square().mean(dim=(1, 2, 3, 4), keepdim=True) + 1e-6)
        scale = NOISE_SCALE * NOISE_SCALE_RANGE ** torch.tanh(self.scale(code).float())
        return mask / deviation * scale.view(-1, 1, 1, 1, 1)
