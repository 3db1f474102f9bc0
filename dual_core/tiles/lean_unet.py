"""A U-Net on a CPU, without the waste of its plain layers: the same weights and the same result.

Of a plain pass in float32 a third is spent on other things than convolutions (torch.profiler, the
standard denoiser): activations 14 %, concatenation 11 %, copies, pooling and interpolation 9 %; and
convolutions of one, two or eight channels leave most of the processor idle. So

* activations are applied by the convolutions themselves, as they write;
* a convolution of concatenated features is the sum of two, and nothing is concatenated;
* interpolation and the convolution after it are one (`RisingConvolution`);
* every tensor is given back as soon as nothing needs it any more.

The result differs from the plain one by rounding. Only for inference, a volume at a time. In
bfloat16 the levels of the U-Net are computed and the refinement's inner layer, where nearly all
operations are; what leaves the network is filtered and summed in float32.
"""

from __future__ import annotations

from typing import List

import torch
from torch import Tensor, nn
from torch.nn import functional

from dual_core.networks.generators import SLOPE, OutputFilter, UNet
from dual_core.networks.refinement import SPREAD
from dual_core.tiles.lean_parts import (
    Convolution,
    LastConvolution,
    Pooling,
    RisingConvolution,
    Stem,
    channels_innermost,
    has_operators,
    to_voxels,
)

# Planes of the refinement at once. Whole, its layers would be the largest tensors, as they have
# full resolution; ten planes are computed twice for it.
REFINED_PLANES = 40
# Of channels, in bfloat16. With 4, 5 or 7 oneDNN read memory that was never written (torch 2.13, on
# a processor with AMX).
GROUP = 8


class LeanUNet:
    """Evaluates a `UNet` on a CPU; may be called by several threads.

    Parameters
    ----------
    network : UNet
        Its weights are taken as they are now.
    kind : torch.dtype
        float32 or bfloat16.
    """

    def __init__(self, network: UNet, kind: torch.dtype = torch.float32) -> None:
        self.kind = kind
        self.stem_stride = network.stem_stride
        self.multiple = network.multiple
        self.stem = Stem(network.stem, kind) if isinstance(network.stem, nn.Conv3d) else None
        self.down = [(_layer(block, 0, kind), _layer(block, 2, kind)) for block in network.down]
        self.pooling = [
            Pooling(_convolution(block, 0).in_channels, kind) for block in list(network.down)[1:]
        ]
        self.up = [_Rise(block, kind) for block in network.up]
        head = network.head
        self.head = head.weight.detach().flatten(1).t().to(kind).contiguous(), _bias(head, kind)
        self.output_filter = network.output_filter and _Filter(network.output_filter)
        gain = network.input_gain
        self.input_gain = None if gain is None else float(gain.detach())
        self.refinement = network.refinement and _Refinement(network.refinement, kind)

    @torch.inference_mode()
    def __call__(self, volume: Tensor) -> Tensor:
        """``(z, y, x)``, multiples of ``multiple`` -> the same shape."""
        features = self._features(volume)
        weight, bias = self.head
        flat = features[0].permute(1, 2, 3, 0).reshape(-1, weight.shape[0])
        cells = torch.addmm(bias, flat, weight).float().view(*features.shape[2:], -1)
        del features, flat
        cells = cells.permute(3, 0, 1, 2)[None]
        if self.output_filter is not None:
            cells = self.output_filter(cells)
        result = to_voxels(cells)
        del cells
        if self.input_gain is not None:
            result.add_(volume, alpha=self.input_gain)
        if self.refinement is not None:
            result = self.refinement(result, volume)
        return result

    def _features(self, volume: Tensor) -> Tensor:
        """What goes into the head."""
        skips: List[Tensor] = []
        if self.stem is None:
            features = volume.to(self.kind)[None, None]
        else:
            features = self.stem(volume)
        for level, (first, second) in enumerate(self.down):
            if level:
                features = self.pooling[level - 1](features)
            features = first(features)
            features = second(features)
            skips.append(features)
        skips.pop()
        for rise in self.up:
            features = rise.both(features, skips)
        return features


def right_in_bfloat16(network: UNet) -> bool:
    """Whether this torch's operators are right for all layers of a network in bfloat16."""
    blocks = [*network.down, *([network.refinement] if network.refinement else [])]
    widths = [_convolution(block, 0).out_channels for block in blocks]
    return has_operators(torch.bfloat16) and not any(width % GROUP for width in widths)


class _Rise:
    """A level on the way up: interpolation, what was kept of the level, two convolutions."""

    def __init__(self, block: nn.Module, kind: torch.dtype) -> None:
        joined = _convolution(block, 0)
        weight = joined.weight.detach().to(kind)
        kept = joined.out_channels  # a level has as many channels on the way down and up
        self.rising = RisingConvolution(weight[:, :-kept])
        self.kept = Convolution(weight[:, -kept:], _bias(joined, kind), SLOPE)
        self.second = _layer(block, 2, kind)

    def both(self, coarse: Tensor, skips: List[Tensor]) -> Tensor:
        """The features of this level; its skip connection is taken from the end of the list."""
        features = self.rising(coarse)
        # Nothing else holds it, so that its memory is free for the second convolution.
        features = self.kept.add_to(features, skips.pop())
        return self.second(features)


class _Filter:
    """`OutputFilter`, with its faces repeated once for all three axes."""

    def __init__(self, layer: OutputFilter) -> None:
        self.kernels = layer.kernels.detach().view(3, 8, 8, 2 * layer.CELLS + 1)
        self.margin = layer.CELLS

    def __call__(self, cells: Tensor) -> Tensor:
        """``(1, 8, z, y, x)`` -> the same."""
        cells = functional.pad(cells, (self.margin,) * 6, mode="replicate")
        # As images of rows and columns, which torch filters ten times as fast as volumes.
        images = cells[0].permute(1, 0, 2, 3)
        for axis, side in ((1, (-1, 1)), (2, (1, -1))):
            kernel = self.kernels[axis].reshape(8, 8, *side)
            images = functional.conv2d(images, _last(kernel))
        depth, _, rows, columns = images.shape
        planes = images.permute(0, 2, 3, 1).reshape(depth, rows * columns, 8).permute(2, 0, 1)
        planes = functional.conv2d(planes[None], _last(self.kernels[0].reshape(8, 8, -1, 1)))
        return planes.view(1, 8, depth - 2 * self.margin, rows, columns)


class _Refinement:
    """The convolutions at full resolution that end Gs, some planes at a time."""

    def __init__(self, layers: nn.Sequential, kind: torch.dtype) -> None:
        self.kind = kind
        self.first = _layer(layers, 0)
        spread, last = _convolution(layers, 2), _convolution(layers, 4)
        self.spread = Convolution(spread.weight.to(kind), _bias(spread, kind), SLOPE, SPREAD)
        self.last = LastConvolution(last.weight, _bias(last))

    def __call__(self, result: Tensor, volume: Tensor) -> Tensor:
        """Both ``(z, y, x)`` -> the first with its refinement added."""
        depth = result.shape[0]
        refined = result.clone()
        for start in range(0, depth, REFINED_PLANES):
            stop = min(start + REFINED_PLANES, depth)
            # The last convolution sees a plane on either side, and those before it more.
            low, high = max(start - 1, 0), min(stop + 1, depth)
            first, last = max(low - SPREAD, 0), min(high + SPREAD, depth)
            lowest, highest = max(first - 1, 0), min(last + 1, depth)
            pair = channels_innermost((highest - lowest, *result.shape[1:], 2))
            pair[0, 0].copy_(result[lowest:highest])
            pair[0, 1].copy_(volume[lowest:highest])
            features = self.first(pair)[:, :, first - lowest : last - lowest]
            features = self.spread(features.to(self.kind))
            features = features[:, :, low - first : high - first].float()
            beyond = (start - 1 < 0, stop + 1 > depth)
            if any(beyond):
                features = functional.pad(features, (0, 0, 0, 0, int(beyond[0]), int(beyond[1])))
            self.last.add_to(refined[start:stop], features)
        return refined


def _convolution(block: nn.Module, index: int) -> nn.Conv3d:
    """One of the convolutions of a block."""
    assert isinstance(block, nn.Sequential)
    layer = block[index]
    assert isinstance(layer, nn.Conv3d)
    return layer


def _layer(block: nn.Module, index: int, kind: torch.dtype = torch.float32) -> Convolution:
    """The same, with the activation behind it."""
    layer = _convolution(block, index)
    return Convolution(layer.weight.to(kind), _bias(layer, kind), SLOPE)


def _bias(layer: nn.Conv3d, kind: torch.dtype = torch.float32) -> Tensor:
    assert layer.bias is not None
    return layer.bias.detach().to(kind)


def _last(kernel: Tensor) -> Tensor:
    return kernel.contiguous(memory_format=torch.channels_last)
