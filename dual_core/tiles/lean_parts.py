"""Parts of a U-Net as a processor does them fast: one volume, channels last.

Convolutions of torch (oneDNN) are fast on a CPU where channels lie innermost and there are 16 or a
multiple of them. Nearly all else that a U-Net does is moving memory, and so each part here is
there to move less of it. Each part works in the arithmetic of its weights, float32 or bfloat16, and
its features are to be in it too. All tensors are ``(1, channels, z, y, x)`` with channels innermost
in memory, except where it says otherwise. Results are those of the plain layers to rounding.
"""

from __future__ import annotations

import functools
import logging
from typing import Any, Optional, Sequence, Tuple

import torch
from torch import Tensor, nn
from torch.nn import functional

logger = logging.getLogger(__name__)

Triple = Tuple[int, int, int]

# Planes of the coarser grid at once while features rise to the finer one: some MB of a processor's
# cache, and next to nothing of the memory.
RISING_PLANES = 8

# How a row of the finer grid is interpolated from rows k - 1, k and k + 1 of the coarser one; the
# rows are 2k - 1 to 2k + 2 (trilinear, corners not aligned).
_INTERPOLATED = ((0.75, 0.25, 0.0), (0.25, 0.75, 0.0), (0.0, 0.75, 0.25), (0.0, 0.25, 0.75))


def channels_innermost(shape: Sequence[int], kind: torch.dtype = torch.float32) -> Tensor:
    """An empty ``(1, channels, z, y, x)`` of the shape ``(z, y, x, channels)`` in memory."""
    return torch.empty(tuple(shape), dtype=kind).permute(3, 0, 1, 2)[None]


def in_layout(weight: Tensor) -> Tensor:
    """A kernel ``(outputs, inputs, z, y, x)`` as the convolutions want it."""
    return weight.detach().contiguous(memory_format=torch.channels_last_3d)


def convolve(
    features: Tensor,
    weight: Tensor,
    bias: Optional[Tensor] = None,
    stride: Sequence[int] = (1, 1, 1),
    padding: Sequence[int] = (0, 0, 0),
    dilation: Sequence[int] = (1, 1, 1),
    groups: int = 1,
    slope: Optional[float] = None,
) -> Tensor:
    """A convolution, with a LeakyReLU of this slope where one is given, by oneDNN.

    `torch.nn.functional.conv3d` takes another way for tensors that it thinks small, which is four
    times as slow for a few planes of a volume.
    """
    if has_operators(weight.dtype):
        told = ("none", []) if slope is None else ("leaky_relu", [slope])
        result: Tensor = _operators()._convolution_pointwise(
            features, weight, bias, padding, stride, dilation, groups, *told, ""
        )
        return result
    plain = functional.conv3d if features.dim() == 5 else functional.conv2d
    result = plain(features, weight, bias, tuple(stride), tuple(padding), tuple(dilation), groups)
    return result if slope is None else functional.leaky_relu_(result, slope)


class Convolution:
    """A convolution that keeps the shape, and a LeakyReLU, in one pass over the memory.

    Parameters
    ----------
    weight, bias : Tensor
        ``(outputs, inputs, 3, 3, 3)`` and ``(outputs,)``.
    slope : float, optional
        Of the LeakyReLU; without it there is none.
    dilation : int
    """

    def __init__(
        self, weight: Tensor, bias: Tensor, slope: Optional[float] = None, dilation: int = 1
    ) -> None:
        self.weight, self.bias, self.slope = in_layout(weight), bias.detach(), slope
        self.spread = [dilation] * 3

    def __call__(self, features: Tensor) -> Tensor:
        """``(1, inputs, z, y, x)`` -> ``(1, outputs, z, y, x)``."""
        return convolve(
            features, self.weight, self.bias, padding=self.spread, dilation=self.spread,
            slope=self.slope,
        )

    def add_to(self, target: Tensor, features: Tensor) -> Tensor:
        """Add the convolution to ``target``, which is overwritten, and then the LeakyReLU."""
        # Sides of 1 leave the layout open, and the sum might go to another place.
        if has_operators(self.weight.dtype) and min(target.shape[2:]) > 1:
            _operators()._convolution_pointwise_(
                target, features, self.weight, self.bias, self.spread, [1, 1, 1], self.spread, 1,
                "add", 1.0, None, [], "",
            )
        else:
            target += convolve(
                features, self.weight, self.bias, padding=self.spread, dilation=self.spread
            )
        return target if self.slope is None else functional.leaky_relu_(target, self.slope)


class RisingConvolution:
    """A 3 x 3 x 3 convolution of features that are interpolated to twice the resolution first.

    Interpolation is linear, so the two are one convolution of the coarse features, with a kernel
    of its own for each of the 2 x 2 x 2 places within a coarse voxel. The fine features, the
    largest of all tensors of a U-Net, are never made, and eight times as many outputs suit the
    processor better. Only beyond a face it differs: there the interpolated features are repeated
    here, where the convolution of the network sees zeros. That is put right face by face.

    Parameters
    ----------
    weight : Tensor
        ``(outputs, inputs, 3, 3, 3)``.
    """

    def __init__(self, weight: Tensor) -> None:
        self.weight = weight.detach()
        rows = torch.tensor(_INTERPOLATED, dtype=torch.float64)
        # Place in the voxel, tap of the kernel, row of the coarse grid.
        taps = torch.stack([rows[0:3], rows[1:4]])
        joined = torch.einsum(
            "oituv,pta,qub,rvc->pqroiabc", self.weight.double(), taps, taps, taps
        )
        self.joined = in_layout(joined.reshape(-1, *self.weight.shape[1:]).to(self.weight.dtype))

    def __call__(self, coarse: Tensor) -> Tensor:
        """``(1, inputs, z, y, x)`` -> ``(1, outputs, 2 z, 2 y, 2 x)``."""
        outputs = self.weight.shape[0]
        depth, rows, columns = coarse.shape[2:]
        fine = channels_innermost((2 * depth, 2 * rows, 2 * columns, outputs), coarse.dtype)
        cells = fine[0].permute(1, 2, 3, 0).view(depth, 2, rows, 2, columns, 2, outputs)
        padded = functional.pad(coarse, (1,) * 6, mode="replicate")
        for first in range(0, depth, RISING_PLANES):
            last = min(first + RISING_PLANES, depth)
            packed = convolve(padded[:, :, first : last + 2], self.joined)
            packed = packed[0].permute(1, 2, 3, 0)
            packed = packed.reshape(last - first, rows, columns, 2, 2, 2, outputs)
            cells[first:last].copy_(packed.permute(0, 3, 1, 4, 2, 5, 6))
        self._take_off_faces(fine, coarse)
        return fine

    def _take_off_faces(self, fine: Tensor, coarse: Tensor) -> None:
        """Subtract what the kernel has seen beyond the faces, axis by axis.

        Once an axis is done its outside is zero for the axes that follow; for those before it was
        still repeated.
        """
        for axis in range(3):
            for end in (0, -1):
                face = functional.interpolate(
                    coarse.select(2 + axis, end), scale_factor=2, mode="bilinear",
                    align_corners=False,
                )
                first_done, second_done = ((False, False), (True, False), (True, True))[axis]
                for done, margins in ((first_done, (0, 0, 1, 1)), (second_done, (1, 1, 0, 0))):
                    face = functional.pad(face, margins, mode="constant" if done else "replicate")
                kernel = self.weight.select(2 + axis, end)
                fine.select(2 + axis, end).sub_(functional.conv2d(face, kernel))


class LastConvolution:
    """A 3 x 3 x 3 convolution to one channel, with a block of voxels for its outputs.

    One output fills a sixteenth of a vector register. A block of 2 x 2 x 4 voxels fills it, at
    3.6 times the multiplications.

    Parameters
    ----------
    weight, bias : Tensor
        ``(1, inputs, 3, 3, 3)`` and ``(1,)``.
    """

    BLOCKS = ((2, 2, 4), (2, 2, 2), (1, 1, 1))

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self.weight, self.bias = weight.detach(), bias.detach()

    def add_to(self, volume: Tensor, features: Tensor) -> None:
        """Add to ``(z, y, x)`` the convolution of ``(1, inputs, z + 2, y, x)``.

        The features have their neighbours along z; beyond y and x they are 0.
        """
        block = next(
            each for each in self.BLOCKS if not any(n % k for n, k in zip(volume.shape, each))
        )
        places = block[0] * block[1] * block[2]
        result = convolve(
            features, self._kernel(block), self.bias.repeat(places), block, (0, 1, 1)
        )
        z, y, x = result.shape[2:]
        cells = volume.view(z, block[0], y, block[1], x, block[2])
        cells += result[0].permute(1, 2, 3, 0).reshape(z, y, x, *block).permute(0, 3, 1, 4, 2, 5)

    @functools.lru_cache(maxsize=None)  # noqa: B019 - at most one for each block
    def _kernel(self, block: Triple) -> Tensor:
        """The kernel at each place of the block, ``(places, inputs, z, y, x)``."""
        sides = (n + 2 for n in block)
        kernel = self.weight.new_zeros(*block, self.weight.shape[1], *sides)
        for z in range(block[0]):
            for y in range(block[1]):
                for x in range(block[2]):
                    kernel[z, y, x, :, z : z + 3, y : y + 3, x : x + 3] = self.weight[0]
        return in_layout(kernel.flatten(0, 2))


class Pooling:
    """Means of 2 x 2 x 2 voxels, as a convolution of each channel by itself."""

    def __init__(self, channels: int, kind: torch.dtype = torch.float32) -> None:
        self._weight = torch.full((channels, 1, 2, 2, 2), 0.125, dtype=kind)

    def __call__(self, features: Tensor) -> Tensor:
        """``(1, channels, z, y, x)`` -> ``(1, channels, z / 2, y / 2, x / 2)``."""
        return convolve(
            features, self._weight, stride=(2, 2, 2), groups=features.shape[1]
        )


class Stem:
    """The strided convolution that a U-Net of ``stem_stride`` 2 begins with.

    Kernel 4, stride 2, padding 1, of one channel: the same as kernel 2, stride 1 of eight channels,
    the voxels of a cell of 2 x 2 x 2.
    """

    def __init__(self, layer: nn.Conv3d, kind: torch.dtype = torch.float32) -> None:
        outputs = layer.weight.shape[0]
        cells = layer.weight.detach().view(outputs, 2, 2, 2, 2, 2, 2)
        cells = cells.permute(0, 2, 4, 6, 1, 3, 5).reshape(outputs, 8, 2, 2, 2)
        self.weight = in_layout(cells).to(kind)
        assert layer.bias is not None
        self.bias = layer.bias.detach().to(kind)

    def __call__(self, volume: Tensor) -> Tensor:
        """``(z, y, x)`` -> ``(1, outputs, z / 2, y / 2, x / 2)``."""
        depth, rows, columns = (n // 2 + 1 for n in volume.shape)
        # Two voxels along x are moved at once, as the two parts of a complex number.
        pairs = functional.pad(volume, (1,) * 6).view(torch.complex64)
        cells = torch.empty(depth, rows, columns, 4, dtype=torch.complex64)
        for place in range(4):
            cells[..., place] = pairs[place // 2 :: 2, place % 2 :: 2]
        features = cells.view(torch.float32).to(self.weight.dtype).permute(3, 0, 1, 2)[None]
        return convolve(features, self.weight, self.bias)


def to_voxels(features: Tensor) -> Tensor:
    """``(1, 1 or 8, z, y, x)`` -> ``(z, y, x)`` or the voxels of each cell, ``(2z, 2y, 2x)``."""
    if features.shape[1] == 1:
        return features[0, 0]
    depth, rows, columns = features.shape[2:]
    cells = features[0].permute(1, 2, 3, 0).reshape(depth, rows, columns, 2, 2, 2)
    return cells.permute(0, 3, 1, 4, 2, 5).reshape(2 * depth, 2 * rows, 2 * columns)


def _operators() -> Any:
    """The operators of torch that its own compiler uses on CPUs."""
    return torch.ops.mkldnn


@functools.lru_cache(maxsize=None)
def has_operators(kind: torch.dtype = torch.float32) -> bool:
    """Whether this torch has oneDNN's convolutions with what follows them, and they are right."""
    allowed = 1e-4 if kind == torch.float32 else 5e-2
    try:
        features = torch.linspace(-1, 1, 8 * 64, dtype=kind).view(1, 4, 4, 4, 8)
        features = features.permute(0, 4, 1, 2, 3)
        weight = in_layout(torch.linspace(-1, 1, 8 * 8 * 27, dtype=kind).view(8, 8, 3, 3, 3))
        bias, one = torch.linspace(-1, 1, 8, dtype=kind), [1, 1, 1]
        plain = functional.conv3d(features.float(), weight.float(), bias.float(), padding=1)
        fused = _operators()._convolution_pointwise(
            features, weight, bias, one, one, one, 1, "leaky_relu", [0.1], ""
        )
        total = features.clone()
        _operators()._convolution_pointwise_(
            total, features, weight, bias, one, one, one, 1, "add", 1.0, None, [], ""
        )
        # bfloat16 has 8 bits: of the largest value that is what may be off.
        near = functools.partial(torch.allclose, atol=allowed * max(1.0, float(plain.abs().max())))
        return near(fused.float(), functional.leaky_relu(plain, 0.1)) and near(
            total.float(), features.float() + plain
        )
    except (AttributeError, RuntimeError, TypeError) as error:
        logger.debug("convolutions and activations are separate here: %s", error)
        return False
