"""Noise codes: drawn from a seed, or read from a tomogram by the noise encoder E.

Whatever is drawn depends on the seed, on the voxels of the volume that is turned into a tomogram
and on the number of the copy, and on nothing else: not on names, on the order of the files or on
what is made beside it.
"""

from __future__ import annotations

import copy
import hashlib
import itertools
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, List, Optional, Tuple, Union

import numpy as np

from dual_core.noise_model.full_power.coloured_noise import ColouredNoise
from dual_core.noise_model.full_power.noise_profile import NoiseProfile, profile_of
from dual_core.noise_model.noise_field import NoiseField, mask_values, one_torch_thread
from dual_core.tasks.domain_check import warn_of_domain
from dual_core.tasks.given_volume import GivenTomogram
from dual_core.volumes.patches import MOST_BLANK, StandardisedVolume
from dual_core.volumes.reading import ReadableVolume, Triple, iterate_slabs, open_volume

logger = logging.getLogger(__name__)

RANDOM = "random"
# Patches along an axis whose codes are averaged: 64 in all.
PATCHES_PER_AXIS = 4


@dataclass(frozen=True)
class Noise:
    """What makes one tomogram different from the next.

    Attributes
    ----------
    code : numpy.ndarray
        The noise code z, ``(K,)``, float32.
    seed : int
        Of the permutation P.
    code_from : str
        ``random`` or the path of the tomogram that the code was read from.
    profile : NoiseProfile, optional
        Of that tomogram; by default that of the model, if it has one.
    """

    code: np.ndarray
    seed: int
    code_from: str = RANDOM
    profile: Optional[NoiseProfile] = None

    def field(self, model: Any) -> Union[NoiseField, ColouredNoise]:
        """P(Gn(z)) of a `DualModel`, or c * P(Gn(z)) where the model has measured noise."""
        white = NoiseField(mask_values(model.noise_decoder, self.code), self.seed)
        profile = self.profile or profile_of(model.linear)
        return white if profile is None else ColouredNoise(white, profile)


def content_hash(volume: ReadableVolume) -> int:
    """A 256-bit number that is that of the voxel values (SHA-256 as float32), header left out."""
    digest = hashlib.sha256(repr(tuple(volume.shape)).encode())
    for start, size in iterate_slabs(volume.shape):
        digest.update(np.ascontiguousarray(volume.read(start, size), dtype="<f4").data)
    return int.from_bytes(digest.digest(), "little")


def draw_noise(code_size: int, seed: int, content: int, number: int) -> Noise:
    """A random code and a random permutation.

    Parameters
    ----------
    code_size : int
        K.
    seed : int
        The user's.
    content : int
        `content_hash` of the volume that becomes a tomogram.
    number : int
        Which copy, from 1.

    Returns
    -------
    Noise
        Codes are standard normal, which is what training draws (equation 1). `RandomState` is
        the generator whose numbers no version of numpy will change.
    """
    entropy = [seed, content, number]
    bits = np.random.MT19937(np.random.SeedSequence(entropy, spawn_key=(0,)))
    code = np.random.RandomState(bits).standard_normal(code_size).astype(np.float32)
    (key,) = np.random.SeedSequence(entropy, spawn_key=(1,)).generate_state(1, np.uint64)
    return Noise(code, int(key))


def encode_tomogram(path: Union[str, Path], model: Any, contrast: str = "auto") -> np.ndarray:
    """The noise code of a tomogram: the mean of E over a regular grid of 64 of its patches.

    The tomogram is brought to the model's voxel size, standardised by its own mean and deviation
    and turned to the model's contrast, as in training. The codes of its patches scatter with what
    is in each; their mean is what they have in common, and so what is the tomogram's own.

    Parameters
    ----------
    path : path
        MRC file.
    model : DualModel
    contrast : str
        Of its density: ``auto``, ``dark`` or ``bright``.

    Returns
    -------
    numpy.ndarray
        ``(K,)``, float32.

    Raises
    ------
    DualError
        For a file that cannot be used.
    """
    import torch

    volume = open_volume(path)
    given = GivenTomogram(volume, model.card, contrast, model.card.tilt_axis)
    warn_of_domain(volume.name, model.card, given.entry, volume.voxel_size_A)
    side = model.config.noise_side
    z, y, x = (min(side, length) for length in given.shape)
    size: Triple = (z, y, x)
    encoder = copy.deepcopy(model.noise_encoder).cpu().eval()
    codes = []
    with one_torch_thread(), torch.inference_mode():
        for start in _grid_of_patches(given.entry, size):
            patch = given.entry.read(start, size)
            codes.append(encoder(torch.from_numpy(_at_least(patch, side))[None, None])[0].numpy())
    code: np.ndarray = np.mean(codes, axis=0, dtype=np.float64).astype(np.float32)
    spread = float(np.std(codes, axis=0).mean())
    logger.info(
        "%s: noise code from %d patches (length %.2f, scatter of a patch %.2f)",
        volume.name,
        len(codes),
        float(np.linalg.norm(code)) / max(1, code.size) ** 0.5,
        spread,
    )
    return code


def profile_of_tomogram(
    path: Union[str, Path], model: Any, contrast: str = "auto"
) -> Optional[NoiseProfile]:
    """The noise profile of a tomogram, brought to the model's scale as in `encode_tomogram`.

    None where the model has no measured noise, which noise of a tomogram could be compared with.

    Raises
    ------
    DualError
        For a file that cannot be used.
    """
    profile = profile_of(model.linear)
    if profile is None:
        return None
    given = GivenTomogram(open_volume(path), model.card, contrast, model.card.tilt_axis)
    own = profile.of_tomogram(given.entry)
    logger.info(
        "%s: noise of deviation %.2f (the model's: %.2f)",
        given.entry.volume.name, own.variance**0.5, profile.variance**0.5,
    )
    return own


def _grid_of_patches(entry: StandardisedVolume, size: Triple) -> List[Triple]:
    """Where the patches start: evenly from border to border, none twice, the least blank ones."""
    axes: List[Tuple[int, ...]] = []
    for length, side in zip(entry.volume.shape, size):
        places = np.linspace(0, length - side, PATCHES_PER_AXIS).round().astype(int)
        axes.append(tuple(sorted(set(map(int, places)))))
    starts = [(z, y, x) for z, y, x in itertools.product(*axes)]
    blank = [entry.blank(start, size) for start in starts]
    most = max(MOST_BLANK, min(blank))
    return [start for start, share in zip(starts, blank) if share <= most]


def _at_least(patch: np.ndarray, side: int) -> np.ndarray:
    """The patch, mirrored where an axis of the volume is shorter than a patch."""
    for axis, length in enumerate(patch.shape):
        if length < side:
            width = [(0, 0)] * 3
            width[axis] = (0, side - length)
            patch = np.pad(patch, width, mode="symmetric")
    return np.ascontiguousarray(patch, dtype=np.float32)
