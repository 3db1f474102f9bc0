"""What was measured beyond its noise stays in the result: a Wiener filter of tomogram and density.

A network knows what its clean domain shows. What a tomogram shows beside it, it drops, and nothing
in the result tells. So density D and tomogram T are combined, shell by shell, as predicts best
what both are measurements of::

    (1 - share) D + share T / H

with H the transfer's sign and strength in the shell. The share is found on the tomogram itself,
without a truth and without halves: of some blocks two copies with independent noise are made
(`dual_core.training.pairs.recorruption`); D of one and the first copy are fitted to the second.
Where the network knows what the tomogram shows the share is near 0; where it knows nothing the
share is that of a plain Wiener filter, which is also the most it can be. So by half coherence the
result knows no less of the specimen than a filter, in no shell.

What a tomogram shows is not density alone: fringes, streaks of gold and its weighting by direction
come along. Where the clean domain holds what the tomograms show, density alone is better, and
nothing is given back unless asked for (`is_wanted`).

Only measured coefficients are combined; inside the missing wedge the density stays as it is. The
filters reach `REACH` voxels, so that a volume is treated part by part without seams.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any, Iterator, Sequence, Tuple

import numpy as np
import scipy.fft

from dual_core.noise_model.calibration import LinearModel
from dual_core.noise_model.tapered_power import half_grid_frequency
from dual_core.tasks.measured_shares import (
    Network,
    Read,
    Shares,
    brought_back,
    find_shares,
    measured_part,
)
from dual_core.tiles.plan import as_triple
from dual_core.volumes.interface import (
    ArrayVolume,
    ReadableVolume,
    Triple,
    read_with_margin,
)
from dual_core.volumes.writer import VolumeWriter

LIMIT = 8.0  # deviations beyond which the tomogram is cut: gold would come back with its fringes
REACH = 32  # of the filters, in voxels
CORE = 128  # side of the parts that a volume is filtered in

CHOICES = ("auto", "yes", "no")



def is_wanted(choice: str, card: Any) -> bool:
    """Whether a model's results are to be combined with their tomograms.

    Parameters
    ----------
    choice : one of `CHOICES`; ``auto`` is yes for a model whose clean domain was found to lack much
        of what its tomograms show.
    card : ModelCard
    """
    foreign = card.clean_domain_is_foreign or card.denoises_only
    return choice == "yes" or (choice == "auto" and foreign)


class KeptFilter:
    """Combines density and tomogram, region by region.

    Parameters
    ----------
    shares : from `find_shares`.
    model : the linear model.
    """

    def __init__(self, shares: Shares, model: LinearModel) -> None:
        side = 2 * REACH
        shape = (side,) * 3
        share = shares.at(half_grid_frequency(shape)) * measured_part(model, shape)
        self._kernels = [
            self._kernel(share * brought_back(model, shape)), self._kernel(-share)
        ]
        self._ready: Tuple[Triple, Sequence[np.ndarray]] = ((0, 0, 0), ())

    @staticmethod
    def _kernel(response: np.ndarray) -> np.ndarray:
        """The filter in space, ``(2 REACH - 1,) * 3`` about its middle, faded out to its ends."""
        side = 2 * REACH
        kernel = np.fft.fftshift(scipy.fft.irfftn(response, s=(side,) * 3))
        fade = np.cos(np.pi * (np.arange(side) - REACH) / side) ** 2
        kernel *= fade[:, None, None] * fade[:, None] * fade
        return kernel[1:, 1:, 1:].astype(np.float32)

    def __call__(self, tomogram: np.ndarray, density: np.ndarray) -> np.ndarray:
        """What is added to the density, for regions with a margin of `REACH` on every side."""
        margin = REACH - 1
        shape = as_triple([scipy.fft.next_fast_len(n, real=True) for n in tomogram.shape])
        if self._ready[0] != shape:
            self._ready = shape, [scipy.fft.rfftn(k, s=shape) for k in self._kernels]
        cut = np.clip(tomogram, -LIMIT, LIMIT)
        spectrum = scipy.fft.rfftn(cut, s=shape) * self._ready[1][0]
        spectrum += scipy.fft.rfftn(density, s=shape) * self._ready[1][1]
        result = scipy.fft.irfftn(spectrum, s=shape)
        # The kernel begins at its corner: its middle is `margin` voxels further.
        inside = tuple(
            slice(margin + REACH, margin + n - REACH) for n in tomogram.shape
        )
        return result[inside].astype(np.float32)


def write_kept(
    read: Read,
    denoised: ReadableVolume,
    kept: KeptFilter,
    path: Path,
) -> None:
    """Write the network's output combined with the tomogram.

    Parameters
    ----------
    read : of the standardised tomogram, of the shape of `denoised`.
    denoised : the network's output.
    kept : the filter.
    path : of the volume to write, beside the result.
    """
    with VolumeWriter(
        path, denoised.shape, denoised.voxel_size_A, scratch=True
    ) as writer:
        for start, block in _combined(read, denoised, kept):
            writer.write(start, block)


def kept_array(
    tomogram: np.ndarray, density: np.ndarray, network: Network, model: LinearModel, multiple: int
) -> np.ndarray:
    """The same for a tomogram in memory.

    Parameters
    ----------
    tomogram, density : ``(z, y, x)``, standardised, and the network's output of it; tilt axis y.
    network, model, multiple : as for `find_shares`.
    """
    volume, output = ArrayVolume(tomogram, 1.0), ArrayVolume(density, 1.0)
    shares = find_shares(volume.read, volume.shape, network, model, multiple)
    result = density.astype(np.float32)
    if shares.any:
        for start, block in _combined(volume.read, output, KeptFilter(shares, model)):
            result[tuple(slice(first, first + n) for first, n in zip(start, block.shape))] = block
    return result


def _combined(
    read: Read, denoised: ReadableVolume, kept: KeptFilter
) -> Iterator[Tuple[Triple, np.ndarray]]:
    """(start, block) of the network's output combined with the tomogram, part by part."""
    for start, size in _parts(denoised.shape):
        tomogram, density = (
            read_with_margin(source, denoised.shape, start, size, REACH)
            for source in (read, denoised.read)
        )
        inside = tuple(slice(REACH, REACH + n) for n in size)
        yield start, density[inside] + kept(tomogram, density)


def _parts(shape: Triple) -> Iterator[Tuple[Triple, Triple]]:
    """Regions of at most `CORE` voxels along each axis."""
    for z, y, x in itertools.product(*(range(0, length, CORE) for length in shape)):
        size = tuple(min(CORE, n - first) for n, first in zip(shape, (z, y, x)))
        yield (z, y, x), as_triple(size)
