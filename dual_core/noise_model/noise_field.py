"""The noise of equation 1, P(Gn(z)), over a whole volume of any shape.

Gn turns a noise code into a mask of one patch's size, and the permutation P puts the mask's values
at random places: what is left of the mask is which values there are and how often. Training
permutes the values of a patch among its voxels; over a larger volume each voxel draws one of
them, evenly and independently of the others. The distribution is the same, apart from training
never drawing a value twice within a patch.

The draw is a function of a seed and of the voxel's position alone (a counter-based generator), so
that a region has the same bytes whenever, wherever and however large it is read.
"""
from __future__ import annotations

import contextlib
import copy
from typing import TYPE_CHECKING, Iterator, Tuple

import numpy as np

if TYPE_CHECKING:
    import torch
    from torch import nn

Triple = Tuple[int, int, int]

# SplitMix64 (Steele, Lea and Flood, OOPSLA 2014, with Stafford's mixing constants, "variant 13"):
# number n of seed s is mix(s + n * INCREMENT), which can be had for any n alone.
_INCREMENT = np.uint64(0x9E3779B97F4A7C15)
_FIRST_FACTOR = np.uint64(0xBF58476D1CE4E5B9)
_SECOND_FACTOR = np.uint64(0x94D049BB133111EB)
_SHIFTS = tuple(np.uint64(bits) for bits in (30, 27, 31))
_HALF = np.uint64(32)
# A position takes 21 bits along each axis, from -2^20 on: volumes have a border around them.
_AXIS_BITS = 21
_LOWEST = -(1 << (_AXIS_BITS - 1))
_HIGHEST = (1 << (_AXIS_BITS - 1)) - 1
# As many voxels at once as stay in a processor's cache.
_CHUNK_VOXELS = 1 << 15


class NoiseField:
    """Noise values at every voxel of space, positive and negative coordinates alike.

    Parameters
    ----------
    values : numpy.ndarray
        What is drawn from, any shape: the values of a noise mask, see `mask_values`.
    seed : int
        0 to 2^64 - 1. Every seed is another permutation.
    """

    def __init__(self, values: np.ndarray, seed: int) -> None:
        self.values = np.ascontiguousarray(values, dtype=np.float32).ravel()
        if not 0 < self.values.size < 1 << 32:
            raise ValueError(f"{self.values.size} values cannot be drawn from")
        self.seed = np.uint64(seed)

    def read(self, start: Triple, size: Triple) -> np.ndarray:
        """The noise of a region.

        Parameters
        ----------
        start, size : tuple of int
            First voxel and extent, ``(z, y, x)``; the start may be negative.

        Returns
        -------
        numpy.ndarray
            ``size``, float32; the same as this part of any other region has.

        Raises
        ------
        ValueError
            For positions beyond a million voxels from the origin.
        """
        if min(start) < _LOWEST or max(a + n for a, n in zip(start, size)) > _HIGHEST + 1:
            raise ValueError(f"region {tuple(start)} + {tuple(size)} is too far out")
        z, y, x = (
            (np.arange(first, first + length) - _LOWEST).astype(np.uint64)
            for first, length in zip(start, size)
        )
        rows = (z[:, None] << np.uint64(2 * _AXIS_BITS)) | (y[None, :] << np.uint64(_AXIS_BITS))
        rows = rows.reshape(-1, 1)
        result = np.empty((rows.shape[0], x.size), dtype=np.float32)
        at_once = max(1, _CHUNK_VOXELS // max(1, x.size))
        for first in range(0, rows.shape[0], at_once):
            chosen = slice(first, first + at_once)
            np.take(self.values, self._draw(rows[chosen] | x), out=result[chosen], mode="clip")
        return result.reshape(size)

    def _draw(self, positions: np.ndarray) -> np.ndarray:
        """A number below ``len(values)`` for each position, which is overwritten."""
        state = positions
        # Counting modulo 2^64 is what is wanted here.
        with np.errstate(over="ignore"):
            state *= _INCREMENT
            state += self.seed
            scratch = state >> _SHIFTS[0]
            state ^= scratch
            state *= _FIRST_FACTOR
            np.right_shift(state, _SHIFTS[1], out=scratch)
            state ^= scratch
            state *= _SECOND_FACTOR
            np.right_shift(state, _SHIFTS[2], out=scratch)
            state ^= scratch
            # The upper half times the number of values, shifted down: even to within 1e-5.
            state >>= _HALF
            state *= np.uint64(self.values.size)
            state >>= _HALF
        return state.astype(np.intp)


def mask_values(decoder: nn.Module, code: np.ndarray) -> np.ndarray:
    """The values of the noise mask Gn(z), as bytes that do not depend on device or threads.

    Parameters
    ----------
    decoder : torch.nn.Module
        The noise decoder Gn; run on the CPU, in float32, by one thread. It is small.
    code : numpy.ndarray
        The noise code z, ``(K,)``.

    Returns
    -------
    numpy.ndarray
        ``(side, side, side)``, float32.
    """
    import torch

    decoder = copy.deepcopy(decoder).cpu().float().eval()
    codes = torch.from_numpy(np.ascontiguousarray(code, dtype=np.float32))[None]
    with one_torch_thread(), torch.inference_mode():
        mask: torch.Tensor = decoder(codes)
    return mask[0, 0].numpy()


@contextlib.contextmanager
def one_torch_thread() -> Iterator[int]:
    """Let torch compute with one thread, as threads started within do; yields how many it had.

    Sums may be taken in another order by another number of threads, and rounded otherwise.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield before
    finally:
        torch.set_num_threads(before)
