"""Convolution, activation and interpolation as torch's own, without what a CPU wastes in them.

For one small volume at a time torch takes a way of its own that unfolds the input: 3 to 10 times
as slow for the layers of a U-Net on 64 x 64 x 64 voxels, and on one thread alone (`use_mkldnn` in
``aten/src/ATen/native/Convolution.cpp``, torch 2.13 and all before it). It does not for two
volumes. So a single volume is given as its two halves, each with the planes of the other that it
needs.

A gradient that lies in memory in another order than what it is the gradient of makes an
activation's backward pass 8 times as slow: it is brought into the same order first.
"""
from __future__ import annotations

from typing import Any, Tuple

import torch
from torch import Tensor, nn
from torch.nn import functional

SMALL = 20480  # channels times planes times rows of a single volume: torch's limit
PARTS = 2


class Convolution(nn.Conv3d):
    """`torch.nn.Conv3d`, equal to rounding; weights and their names are the same."""

    def forward(self, features: Tensor) -> Tensor:
        """``(b, channels, z, y, x)`` -> the convolution."""
        if not self._is_slow(features):
            return super().forward(features)
        margin = int(self.padding[0])
        half = features.shape[2] // PARTS
        planes = functional.pad(features, (0, 0, 0, 0, margin, margin))
        parts = torch.cat([planes[:, :, : half + 2 * margin], planes[:, :, half:]])
        found = functional.conv3d(
            parts, self.weight, self.bias, padding=(0, *map(int, self.padding[1:])),
            dilation=self.dilation,
        )
        return torch.cat(found.split(1), dim=2)

    def _is_slow(self, features: Tensor) -> bool:
        """Whether torch would leave oneDNN, and the input can be halved."""
        if features.shape[0] != 1 or features.device.type != "cpu":
            return False
        if features.dtype != torch.float32 or autocast_on_cpu():
            return False  # the limit is that of float32
        same = tuple(2 * int(pad) for pad in self.padding) == tuple(
            step * (side - 1) for side, step in zip(self.kernel_size, self.dilation)
        )
        if not same or max(self.stride) > 1 or self.groups > 1 or max(self.kernel_size) == 1:
            return False
        return features[0, :, :, :, 0].numel() <= SMALL and features.shape[2] % PARTS == 0


def autocast_on_cpu() -> bool:
    """Whether torch computes in fewer bits on CPUs at this moment."""
    try:
        return torch.is_autocast_enabled("cpu")
    except TypeError:  # before torch 2.4 it takes no device
        return torch.is_autocast_cpu_enabled()


class Activation(nn.Module):
    """Leaky ReLU, in place: a convolution's gradient does not need what it put out."""

    def __init__(self, slope: float) -> None:
        super().__init__()
        self.slope = slope

    def forward(self, features: Tensor) -> Tensor:
        """The same tensor."""
        if features.device.type == "cpu" and features.requires_grad:
            found: Tensor = _Activated.apply(features, self.slope)
            return found
        return functional.leaky_relu_(features, self.slope)


class _Activated(torch.autograd.Function):
    """Leaky ReLU whose gradient is computed in the features' order in memory."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, slope: float) -> Tensor:
        ctx.mark_dirty(features)
        ctx.slope = slope
        functional.leaky_relu_(features, slope)
        ctx.save_for_backward(features)
        return features

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tuple[Tensor, None]:
        (features,) = ctx.saved_tensors
        if features.is_contiguous(memory_format=torch.channels_last_3d):
            gradient = gradient.contiguous(memory_format=torch.channels_last_3d)
        found = torch.ops.aten.leaky_relu_backward(gradient, features, ctx.slope, True)
        return found, None


def doubled(features: Tensor) -> Tensor:
    """``(b, channels, z, y, x)`` trilinear at twice the sampling, ends not aligned."""
    if features.requires_grad:
        found: Tensor = _Doubled.apply(features)
        return found
    return _interpolated(features)


def _interpolated(features: Tensor) -> Tensor:
    if features.device.type != "cpu":
        return by_axes(features)
    return functional.interpolate(features, scale_factor=2, mode="trilinear", align_corners=False)


class _Doubled(torch.autograd.Function):
    """Interpolation whose gradient is taken axis by axis, in a seventh of torch's time on a CPU."""

    @staticmethod
    def forward(ctx: Any, features: Tensor) -> Tensor:
        return _interpolated(features)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        kind = gradient.dtype
        gradient = gradient.float()
        for axis in (2, 3, 4):
            gradient = _halved(gradient, axis)
        return gradient.to(kind)


def by_axes(features: Tensor) -> Tensor:
    """What `doubled` gives, axis by axis, without a gradient.

    On a GPU torch's own kernel took a fifth of a training iteration, the gradient not counted
    (H200, torch 2.11, channels last).
    """
    for axis in (2, 3, 4):
        features = _doubled_along(features, axis)
    return features


def _doubled_along(features: Tensor, axis: int) -> Tensor:
    """Linear interpolation along an axis; the outermost values are the ends' own."""
    length = features.shape[axis]
    shape = list(features.shape)
    shape[axis] *= 2
    last = features.is_contiguous(memory_format=torch.channels_last_3d)
    layout = torch.channels_last_3d if last else torch.contiguous_format
    found = torch.empty(
        shape, dtype=features.dtype, device=features.device, memory_format=layout
    )
    low, high = found.unflatten(axis, (length, 2)).unbind(axis + 1)
    inner, outer = (features.narrow(axis, first, length - 1) for first in (1, 0))
    torch.lerp(inner, outer, 0.25, out=low.narrow(axis, 1, length - 1))
    torch.lerp(outer, inner, 0.25, out=high.narrow(axis, 0, length - 1))
    low.narrow(axis, 0, 1).copy_(features.narrow(axis, 0, 1))
    high.narrow(axis, length - 1, 1).copy_(features.narrow(axis, length - 1, 1))
    return found


def _halved(gradient: Tensor, axis: int) -> Tensor:
    """The gradient before linear interpolation along an axis.

    A value gives three quarters to the two places in it and a quarter to the one beyond on either
    side, of which the outermost is its own.
    """
    length = gradient.shape[axis] // 2
    low, high = gradient.unflatten(axis, (length, 2)).unbind(axis + 1)
    found = (low + high).mul_(0.75)
    found.narrow(axis, 0, length - 1).add_(low.narrow(axis, 1, length - 1), alpha=0.25)
    found.narrow(axis, 1, length - 1).add_(high.narrow(axis, 0, length - 1), alpha=0.25)
    found.narrow(axis, 0, 1).add_(low.narrow(axis, 0, 1), alpha=0.25)
    found.narrow(axis, length - 1, 1).add_(high.narrow(axis, length - 1, 1), alpha=0.25)
    return found
