"""The layers of Gs at full resolution, of few channels, in forms that a CPU computes well.

Convolutions of 2 to 8 and of 8 to 1 channels leave most of a processor's vectors empty. As
convolutions of images whose channels hold the neighbouring planes too, or whose results are those
of three planes, they take a third of the steps: half the time, forward and backward. In bfloat16
that goes for the spread layer between them too. On a GPU the layers are computed as they stand.
"""
from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from dual_core.networks.convolutions import Activation, Convolution, autocast_on_cpu

# Dilation of the middle layer, so that fine noise can be filtered by direction: the wedge's edge.
SPREAD = 3
SIDE = 3  # of every kernel
FIRST_GAIN = 0.1  # of the last layer's first weights


class Refinement(nn.Sequential):
    """Three convolutions at full resolution: ``(b, 2, z, y, x)`` -> ``(b, 1, z, y, x)``.

    Parameters
    ----------
    channels : between the convolutions.
    slope : of the activations.
    """

    def __init__(self, channels: int, slope: float) -> None:
        super().__init__(
            Convolution(2, channels, SIDE, padding=1),
            Activation(slope),
            Convolution(channels, channels, SIDE, padding=SPREAD, dilation=SPREAD),
            Activation(slope),
            Convolution(channels, 1, SIDE, padding=1),
        )

    def begin_small(self) -> None:
        """Let the last layer begin with small weights: at first hardly anything is added."""
        last = self[-1]
        assert isinstance(last, nn.Conv3d)
        nn.init.orthogonal_(last.weight, gain=FIRST_GAIN)

    def forward(self, pair: Tensor) -> Tensor:
        """What is added to the first of a pair of volumes."""
        pair = pair.contiguous(memory_format=torch.channels_last_3d)
        if pair.device.type != "cpu":
            return super().forward(pair)
        first, activation, spread, again, last = self
        features = activation(_planes_in(first, pair))
        bfloat16 = autocast_on_cpu()
        features = again(_planes_in(spread, features) if bfloat16 else spread(features))
        return _planes_out(last, features)


def _planes_in(layer: nn.Module, volume: Tensor) -> Tensor:
    """The convolution, of images whose channels are those of each plane and its two neighbours."""
    assert isinstance(layer, nn.Conv3d)
    batch, _, depth = volume.shape[:3]
    step = int(layer.dilation[0])
    padded = functional.pad(volume, (0, 0, 0, 0, step, step))
    planes = [padded[:, :, shift * step : shift * step + depth] for shift in range(SIDE)]
    images = torch.cat(planes, dim=1).transpose(1, 2).flatten(0, 1)
    weight = layer.weight.transpose(1, 2).flatten(1, 2)
    found = functional.conv2d(_last(images), _last(weight), layer.bias, 1, step, step)
    return found.unflatten(0, (batch, depth)).transpose(1, 2)


def _planes_out(layer: nn.Module, volume: Tensor) -> Tensor:
    """The convolution to one channel, of images; the results of three planes are added."""
    assert isinstance(layer, nn.Conv3d) and layer.bias is not None
    batch, _, depth = volume.shape[:3]
    images = volume.transpose(1, 2).flatten(0, 1)
    weight = layer.weight[0].transpose(0, 1)
    planes = functional.conv2d(images, _last(weight), None, 1, 1).unflatten(0, (batch, depth))
    planes = functional.pad(planes, (0, 0, 0, 0, 0, 0, 1, 1))
    parts = [planes[:, shift : shift + depth, shift] for shift in range(SIDE)]
    return (parts[0] + parts[1] + parts[2] + layer.bias)[:, None]


def _last(images: Tensor) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last)
