"""Arithmetic on blocks of voxels: numpy and scipy on the host, or torch on a GPU.

What training draws is filtered noise and filtered structure. Beside a network on a CPU a thread
makes it with numpy; a GPU would wait for that thread, so it makes its own. Both have the same
functions; blocks are arrays of the one or tensors of the other, ``(..., z, y, x)``, float32, and
indexing, sums and products are theirs.

Random numbers of a device begin anew from the host's generator with every block. So the host's
random state is all that a checkpoint needs.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Sequence, Tuple

import numpy as np
import scipy.fft
from scipy.ndimage import gaussian_filter1d

if TYPE_CHECKING:
    import torch

AXES = (-3, -2, -1)
LARGEST_SEED = 2**63 - 1


class HostArithmetic:
    """On the host."""

    def given(self, array: np.ndarray) -> Any:
        """A host's array where this computes."""
        return array

    def white_noise(self, shape: Sequence[int], generator: np.random.Generator) -> Any:
        """Independent values of deviation 1."""
        return generator.standard_normal(tuple(shape), dtype=np.float32)

    def spectrum(self, block: Any) -> Any:
        """The half grid of the last three axes."""
        return scipy.fft.rfftn(block, axes=AXES)

    def block(self, spectrum: Any, shape: Sequence[int]) -> Any:
        """The block of a spectrum; the last three of ``shape`` count."""
        return scipy.fft.irfftn(spectrum, s=tuple(shape)[-3:], axes=AXES)

    def padded(self, block: Any, margin: int) -> Any:
        """A block ``(z, y, x)``, mirrored beyond its faces."""
        return np.pad(block, margin, mode="reflect")

    def blurred(self, block: Any, sigma: float) -> Any:
        """Filtered by a Gaussian of ``sigma`` voxels, mirrored beyond the faces."""
        for axis in AXES:
            matrix = self.given(_gaussian(block.shape[axis], sigma))
            block = (matrix @ block.swapaxes(axis, -2)).swapaxes(axis, -2)
        return block

    def clipped(self, block: Any, limits: Tuple[float, float]) -> Any:
        """Cut at a lowest and a highest value."""
        return np.clip(block, np.float32(limits[0]), np.float32(limits[1]))

    def flipped(self, block: Any, axes: Sequence[int]) -> Any:
        """In the other direction along some axes."""
        return np.flip(block, axes)

    def copied(self, block: Any) -> Any:
        """In memory of its own, in order."""
        return np.array(block, dtype=np.float32, order="C")

    def stacked(self, blocks: Sequence[Any]) -> Any:
        """``(b, 1, z, y, x)`` of blocks ``(z, y, x)``."""
        return np.stack(blocks)[:, np.newaxis]

    def root(self, block: Any) -> Any:
        """The square root."""
        return np.sqrt(block)


class DeviceArithmetic(HostArithmetic):
    """On a device of torch."""

    def __init__(self, device: torch.device) -> None:
        import torch

        self._torch = torch
        self._device = device

    def given(self, array: np.ndarray) -> Any:
        return self._torch.as_tensor(array).to(self._device)

    def white_noise(self, shape: Sequence[int], generator: np.random.Generator) -> Any:
        own = self._torch.Generator(self._device)
        own.manual_seed(int(generator.integers(LARGEST_SEED)))
        return self._torch.randn(tuple(shape), generator=own, device=self._device)

    def spectrum(self, block: Any) -> Any:
        return self._torch.fft.rfftn(block, dim=AXES)

    def block(self, spectrum: Any, shape: Sequence[int]) -> Any:
        return self._torch.fft.irfftn(spectrum, s=tuple(shape)[-3:], dim=AXES)

    def padded(self, block: Any, margin: int) -> Any:
        pad = self._torch.nn.functional.pad
        return pad(block[None, None], (margin,) * 6, mode="reflect")[0, 0]

    def clipped(self, block: Any, limits: Tuple[float, float]) -> Any:
        return block.clamp(*limits)

    def flipped(self, block: Any, axes: Sequence[int]) -> Any:
        return block.flip(tuple(axes))

    def copied(self, block: Any) -> Any:
        return block.float().clone(memory_format=self._torch.contiguous_format)

    def stacked(self, blocks: Sequence[Any]) -> Any:
        return self._torch.stack(tuple(blocks))[:, None]

    def root(self, block: Any) -> Any:
        return block.sqrt()


HOST = HostArithmetic()


def arithmetic_on(device: torch.device) -> HostArithmetic:
    """What is drawn on: a GPU by itself, all else by the host."""
    return HOST if device.type == "cpu" else DeviceArithmetic(device)


@functools.lru_cache(maxsize=16)
def _gaussian(length: int, sigma: float) -> np.ndarray:
    """A Gaussian filter along an axis as a matrix, mirrored beyond the ends."""
    filtered = gaussian_filter1d(np.eye(length), sigma, axis=0, mode="reflect")
    return np.ascontiguousarray(filtered, dtype=np.float32)
