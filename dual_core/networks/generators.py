"""The building blocks of the six networks of figure 1.

All tensors are ``(batch, 1, z, y, x)``. No layer normalises over a tile (instance or group
normalisation): its statistics would depend on where a tile border falls, and a tiled volume
would differ from a whole one.
"""
from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from typing import List, Optional, Sequence, Tuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from dual_core.networks.convolutions import Activation, Convolution, doubled
from dual_core.networks.refinement import SPREAD, Refinement
from dual_core.safety.checks import within_bounds
from dual_core.safety.limits import Bounds

SLOPE = 0.1
CHANNELS = Bounds(1, 4096)  # what a configuration from a file may ask for
MOST_LAYERS = 8


@dataclass(frozen=True)
class NetworkConfig:
    """Sizes of the six networks.

    Attributes
    ----------
    channels : feature channels of both U-Nets, one entry a level.
    stem_stride : 1, or 2 for U-Nets whose first level works at half the resolution.
    output_filter : whether the denoiser's output is filtered so that nothing is left at the highest
        frequency; with `stem_stride` 2, whose head would leave a grid of two voxels there.
    generator_refinement : channels of the layer at full resolution that ends Gs, or 0 for none.
    noise_channels : channels of the noise encoder's and decoder's convolutions.
    code_size : length K of the noise code z.
    standardised_codes : whether the noise encoder's codes have mean 0 and deviation 1 by design.
    noise_side : side of the cube that the noise decoder draws, the training patch's side.
    discriminator_channels : channels of a discriminator branch's layers.
    discriminator_scales : resolutions a spatial discriminator looks at; each further one is
        half as fine. Noise hides structure at full resolution and not at half of it.
    spectral_norm : whether the discriminators' layers are spectrally normalised.
    """

    channels: Tuple[int, ...] = field(default=(24, 48, 96), metadata=within_bounds(CHANNELS))
    stem_stride: int = field(default=2, metadata=within_bounds(Bounds(1, 2)))
    output_filter: bool = False
    generator_refinement: int = field(default=8, metadata=within_bounds(Bounds(0, CHANNELS.high)))
    noise_channels: Tuple[int, ...] = field(default=(8, 16, 32), metadata=within_bounds(CHANNELS))
    code_size: int = field(default=32, metadata=within_bounds(CHANNELS))
    standardised_codes: bool = True
    noise_side: int = field(default=32, metadata=within_bounds(Bounds(2, 1024)))
    discriminator_channels: Tuple[int, ...] = field(
        default=(16, 32, 64), metadata=within_bounds(CHANNELS)
    )
    discriminator_scales: int = field(default=2, metadata=within_bounds(Bounds(1, 6)))
    spectral_norm: bool = True

    def __post_init__(self) -> None:
        if len(self.channels) < 1 or min(self.channels) < 1:
            raise ValueError("channels needs at least one level of at least one channel")
        for name in ("channels", "noise_channels", "discriminator_channels"):
            if not 1 <= len(getattr(self, name)) <= MOST_LAYERS:
                raise ValueError(f"{name} needs 1 to {MOST_LAYERS} entries")
        if self.noise_side % 2 ** len(self.noise_channels):
            raise ValueError(
                f"noise_side must be a multiple of {2 ** len(self.noise_channels)}, "
                f"not {self.noise_side}"
            )


def initialise(module: nn.Module, gain: float = 1.0) -> None:
    """Orthogonal weights and zero biases, in place (paper, Implementation details)."""
    for layer in module.modules():
        if isinstance(layer, (nn.Conv3d, nn.Linear)):
            nn.init.orthogonal_(layer.weight, gain=gain)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def _double_convolution(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        Convolution(inputs, outputs, 3, padding=1),
        Activation(SLOPE),
        Convolution(outputs, outputs, 3, padding=1),
        Activation(SLOPE),
    )


class UNet(nn.Module):
    """U-Net (Ronneberger 2015) in 3D: the denoiser Dn and the structural generator Gs.

    Average pooling down, trilinear up, concatenation, a 1 x 1 x 1 head. With ``stem_stride`` 2
    the first level works at half the resolution: a strided convolution takes 4 x 4 x 4 voxels in,
    and the head puts out the 2 x 2 x 2 voxels of each feature. Convolutions at full resolution
    are what a U-Net spends its time on, and few channels there use a processor badly.

    Parameters
    ----------
    channels : features of each level.
    stem_stride : 1 or 2.
    refinement : where more than 0, output and input go through three more convolutions at full
        resolution with so many channels between, and the result is added. The noise of a
        tomogram is as fine as its voxels, and a head of half the resolution leaves a grid in it.
    input_gain : where given, the output is the head's plus this factor times the input, a trained
        scalar that starts here, and the head starts at zero. It fixes the sign of the contrast.
    output_filter : see `OutputFilter`; for a ``stem_stride`` of 2 alone.
    """

    def __init__(
        self,
        channels: Sequence[int],
        stem_stride: int = 1,
        refinement: int = 0,
        input_gain: Optional[float] = None,
        output_filter: bool = False,
    ) -> None:
        super().__init__()
        self.stem_stride = stem_stride
        self.output_filter = OutputFilter() if output_filter and stem_stride == 2 else None
        self.multiple = stem_stride * 2 ** (len(channels) - 1)
        self.stem: nn.Module = nn.Identity()
        previous = 1
        if stem_stride > 1:
            previous = channels[0]
            self.stem = nn.Conv3d(1, previous, 2 * stem_stride, stem_stride, stem_stride // 2)
        down: List[nn.Module] = []
        for width in channels:
            down.append(_double_convolution(previous, width))
            previous = width
        up: List[nn.Module] = []
        for width in reversed(channels[:-1]):
            up.append(_double_convolution(previous + width, width))
            previous = width
        self.down = nn.ModuleList(down)
        self.up = nn.ModuleList(up)
        self.head = nn.Conv3d(previous, stem_stride**3, 1)
        self.refinement = Refinement(refinement, SLOPE) if refinement else None
        initialise(self)
        if self.refinement is not None:
            self.refinement.begin_small()
        self.input_gain: Optional[nn.Parameter] = None
        if input_gain is not None:
            self.input_gain = nn.Parameter(torch.tensor(input_gain))
            nn.init.zeros_(self.head.weight)

    @property
    def receptive_radius(self) -> int:
        """Distance in voxels beyond which the input cannot change an output voxel."""
        radius = 0
        levels = len(self.down)
        for level in range(levels):
            convolutions = 2 if level == levels - 1 else 4
            radius += convolutions * 2**level
        # Pooling mixes 2**level voxels, trilinear interpolation reaches one coarse voxel further.
        radius += sum(2 ** (level + 1) + 2**level for level in range(levels - 1))
        if self.stem_stride > 1:
            radius = self.stem_stride * (radius + 1) + 1
        if self.output_filter is not None:
            radius += OutputFilter.RADIUS
        return radius if self.refinement is None else radius + 2 + SPREAD

    def forward(self, volume: Tensor) -> Tensor:
        """``(b, 1, z, y, x)`` -> ``(b, 1, z, y, x)``."""
        skips: List[Tensor] = []
        features = self.stem(volume)
        for level, block in enumerate(self.down):
            if level:
                features = functional.avg_pool3d(features, 2)
            features = block(features)
            skips.append(features)
        skips.pop()
        for block in self.up:
            features = block(torch.cat([doubled(features), skips.pop()], dim=1))
        features = self.head(features)
        if self.output_filter is not None:
            features = self.output_filter(features)
        result = _depth_to_space(features, self.stem_stride)
        if self.input_gain is not None:
            result = result + self.input_gain * volume
        if self.refinement is not None:
            result = result + self.refinement(torch.cat([result, volume], dim=1))
        return result


def _depth_to_space(features: Tensor, stride: int) -> Tensor:
    """``(b, stride**3, z, y, x)`` -> ``(b, 1, stride z, stride y, stride x)``."""
    if stride == 1:
        return features
    batch, _, depth, rows, columns = features.shape
    blocks = features.view(batch, stride, stride, stride, depth, rows, columns)
    blocks = blocks.permute(0, 4, 1, 5, 2, 6, 3)
    return blocks.reshape(batch, 1, stride * depth, stride * rows, stride * columns)


class OutputFilter(nn.Module):
    """Takes the highest frequency out of a volume that is put out in cells of 2 x 2 x 2 voxels.

    Each voxel of a cell has weights of its own in the head, and what they do not share is a grid of
    two voxels: power in the planes of the spectrum at half a cycle per voxel. The filter's response
    along each axis is 1 - sin^8(pi f): 0 there, 0.94 at a quarter. It works on the cells' features,
    before they become voxels, where it is a small convolution.
    """

    RADIUS = 4  # voxels
    CELLS = RADIUS // 2

    kernels: Tensor

    def __init__(self) -> None:
        super().__init__()
        taps = torch.tensor([-math.comb(8, k) * (-1.0) ** k / 256 for k in range(9)])
        taps[self.RADIUS] += 1.0
        kernels = torch.zeros(3, 8, 8, 2 * self.CELLS + 1)
        for axis in range(3):
            for target, source in itertools.product(range(8), range(8)):
                shifts = [(source >> (2 - other) & 1) - (target >> (2 - other) & 1)
                          for other in range(3)]
                if any(shift for other, shift in enumerate(shifts) if other != axis):
                    continue
                for cell in range(-self.CELLS, self.CELLS + 1):
                    tap = 2 * cell + shifts[axis]
                    if abs(tap) <= self.RADIUS:
                        kernels[axis, target, source, cell + self.CELLS] = taps[tap + self.RADIUS]
        # Flat: a change of memory format would take it for a stack of images.
        self.register_buffer("kernels", kernels.view(3, -1), persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """``(b, 8, z, y, x)`` cells -> the same, float32."""
        with torch.autocast(features.device.type, enabled=False):
            features = features.float().contiguous(memory_format=torch.channels_last_3d)
            batch, _, depth, rows, columns = features.shape
            # As images, which are filtered several times as fast as volumes: those of rows and
            # columns, and one of planes and all that is in them. With the channels innermost both
            # are views.
            images = features.transpose(1, 2).flatten(0, 1)
            images = self._along(images, 1, 0)
            images = self._along(images, 2, 1)
            planes = images.unflatten(0, (batch, depth)).transpose(1, 2).flatten(3)
            planes = self._along(planes, 0, 0)
            return planes.unflatten(3, (rows, columns))

    def _along(self, images: Tensor, axis: int, side: int) -> Tensor:
        """Images ``(n, 8, a, b)`` filtered with the kernel of a volume's axis along a or b."""
        margins, size = [0] * 4, [1, 1]
        margins[2 - 2 * side] = margins[3 - 2 * side] = self.CELLS
        size[side] = 2 * self.CELLS + 1
        padded = functional.pad(images, margins, mode="replicate")
        return functional.conv2d(padded, self.kernels[axis].view(8, 8, *size))
