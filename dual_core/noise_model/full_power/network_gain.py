"""What Gs does to structure in a linear way, and should not: it makes it fainter.

Gs is trained on denoised tomograms, which are not quite what was there, and against a
discriminator; both draw it towards less structure than it was given (by 5 to 12 % of the
amplitude on `shrec_like`). What a filter does is the linear model's, so the linear part of Gs is
measured, shell by shell, and taken out when simulating. What is left is what no filter does.
"""

from __future__ import annotations

from typing import List, Sequence, Tuple

import numpy as np
import scipy.fft
import torch

from dual_core.networks.generators import UNet
from dual_core.noise_model.full_power.coloured_noise import MARGIN, SeenStructure
from dual_core.noise_model.full_power.noise_profile import SHELLS, NoiseProfile, shells_of
from dual_core.noise_model.tapered_power import on_grid, taper
from dual_core.tiles.plan import as_triple
from dual_core.volumes.patches import StandardisedVolume

SIDE = 48  # voxels of a block
BLOCKS = 16
SMALLEST, LARGEST = 0.5, 1.5
FAINT = 1e-6  # of the power of a block: nothing to measure a gain on


def network_gain(
    network: UNet,
    clean: Sequence[StandardisedVolume],
    profile: NoiseProfile,
    seed: int,
) -> np.ndarray:
    """The linear part of Gs on ``h * v``, ``(SHELLS,)`` float32; 1 where there is nothing to see.

    The median over blocks of the regression of Gs(h * v) on h * v: gold, which Gs saturates, is in
    few of them.

    Parameters
    ----------
    network : Gs, ``(1, 1, z, y, x)`` to the same, on any device.
    clean : the grand models, standardised.
    profile : of the tomograms.
    seed : of the blocks that are drawn.
    """
    generator = np.random.default_rng(seed)
    side = min(SIDE, *(n for entry in clean for n in entry.volume.shape))
    side -= side % network.multiple
    size = as_triple((side,) * 3)
    shells = shells_of(size)
    if profile.measured is not None:
        shells = np.where(on_grid(profile.measured, size) > 0.5, shells, SHELLS)
    seen_by = SeenStructure(profile)
    gains: List[np.ndarray] = []
    for _ in range(BLOCKS):
        entry = clean[int(generator.integers(len(clean)))]
        block = entry.read(entry.random_start(size, generator), size)
        seen = seen_by.structure_of(np.pad(block, MARGIN, mode="symmetric"))
        both, own = _products(_made_by(network, seen), seen, shells)
        found = own > FAINT * max(float(own.sum()), FAINT)
        gains.append(np.where(found, both / np.where(found, own, 1.0), np.nan))
    columns = [column[np.isfinite(column)] for column in np.transpose(gains)]
    medians = [float(np.median(column)) if column.size else 1.0 for column in columns]
    return np.clip(medians, SMALLEST, LARGEST).astype(np.float32)


def _made_by(network: UNet, seen: np.ndarray) -> np.ndarray:
    device = next(network.parameters()).device
    with torch.no_grad():
        made = network(torch.from_numpy(seen)[None, None].to(device))
    result: np.ndarray = made[0, 0].float().cpu().numpy()
    return result


def _products(
    made: np.ndarray, seen: np.ndarray, shells: np.ndarray
) -> Tuple[np.ndarray, np.ndarray]:
    """Sums over shells of made times seen and of seen squared, tapered."""
    window = taper(seen.shape[0])
    spectra = [scipy.fft.rfftn(volume * window) for volume in (made, seen)]
    products = ((spectra[0] * spectra[1].conj()).real, np.abs(spectra[1]) ** 2)
    both, own = (
        np.bincount(shells.ravel(), product.ravel(), SHELLS + 1)[:SHELLS] for product in products
    )
    return both, own
