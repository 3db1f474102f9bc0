"""Pairs for the missing wedge: what is lost, what is to be learned, and that nothing else is."""

from __future__ import annotations

from typing import Tuple

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from dual_core.errors import DualError
from dual_core.training.pairs.turned import Directions, WedgePairs
from dual_core.volumes.geometry import wedge_mask
from dual_core.volumes.interface import ArrayVolume
from dual_core.volumes.patches import (
    FLIPS_ASYMMETRIC,
    FLIPS_SYMMETRIC,
    PatchSource,
    StandardisedVolume,
)
from dual_core.volumes.views import ExchangedVolume

SYMMETRIC = (-60.0, 60.0)
ASYMMETRIC = (-50.0, 70.0)


def tomogram(shape: Tuple[int, int, int], tilt_range: Tuple[float, float]) -> np.ndarray:
    """White noise and blobs that lack a wedge, deviation 1."""
    random = np.random.default_rng(3)
    volume = random.standard_normal(shape) + 30 * gaussian_filter(random.random(shape) > 0.999, 2)
    spectrum = np.fft.fftn(volume) * wedge_mask(shape, tilt_range)
    volume = np.fft.ifftn(spectrum).real
    return ((volume - volume.mean()) / volume.std()).astype(np.float32)


def pairs(shape: Tuple[int, int, int], tilt_range: Tuple[float, float]) -> WedgePairs:
    volume = ArrayVolume(tomogram(shape, tilt_range), 10.0)
    flips = FLIPS_SYMMETRIC if sum(tilt_range) == 0 else FLIPS_ASYMMETRIC
    source = PatchSource([StandardisedVolume(volume, 0.0, 1.0)], 16, flips=flips)
    return WedgePairs(source, tilt_range)


@pytest.mark.parametrize("tilt_range", (SYMMETRIC, ASYMMETRIC, (-40.0, 65.0)))
def test_directions_are_those_of_the_wedge_mask(tilt_range):
    side = 32
    found = Directions(side, tilt_range).measured()
    expected = wedge_mask((side,) * 3, tilt_range)
    # Both sides of the highest frequency, and what is within a voxel of the tilt axis, are a
    # matter of convention.
    inner = np.ones(side, bool)
    inner[[0, 1, -1, side // 2]] = False
    core = np.ix_(inner, np.ones(side, bool), inner)
    assert (found[core] == expected[core]).mean() > 0.99


@pytest.mark.parametrize("tilt_range", (SYMMETRIC, ASYMMETRIC))
def test_turned_blocks_have_measured_what_is_to_be_learned(tilt_range):
    """The wedge of a turned block is where `Directions` says; a wrong sign would swap both."""
    source = pairs((64, 48, 64), tilt_range)
    assert source.turns
    random = np.random.default_rng(0)
    window = np.hanning(source.side)
    window = window[:, None, None] * window[None, :, None] * window
    learned, lost = [], []
    for _ in range(12):
        pair = source.make(random)
        power = np.abs(np.fft.fftn(pair.turned * window)) ** 2
        frequency = np.fft.fftfreq(source.side)
        radius = np.sqrt(sum(axis**2 for axis in np.meshgrid(*[frequency] * 3, indexing="ij")))
        band = (radius > 0.15) & (radius < 0.4)
        original = Directions(source.side, tilt_range).measured()
        learned.append(power[pair.learn & band].mean() / power[band].mean())
        neither = ~pair.learn & ~original & band
        if neither.any():
            lost.append(power[neither].mean() / power[band].mean())
    assert np.mean(learned) > 0.9
    assert np.mean(lost) < 0.6


def test_the_input_has_nothing_in_the_wedge_and_what_both_have_measured_unchanged():
    source = pairs((36, 48, 48), SYMMETRIC)  # too thin for any turn but the exchange
    random = np.random.default_rng(1)
    original = Directions(source.side, SYMMETRIC).measured()
    exchanged = Directions(source.side, SYMMETRIC).measured(90.0)
    # The highest frequency stands for both signs and is not Hermitian by itself.
    inner = np.ones((source.side,) * 3, bool)
    for axis in range(3):
        np.moveaxis(inner, axis, 0)[source.side // 2] = False
    for _ in range(4):
        pair = source.make(random)
        given, turned = np.fft.fftn(pair.tomogram), np.fft.fftn(pair.turned)
        largest = np.abs(turned).max()
        np.testing.assert_array_equal(pair.learn, exchanged & ~original)
        assert np.abs(given[~original & inner]).max() < 1e-5 * largest
        both = original & exchanged & inner
        np.testing.assert_allclose(given[both], turned[both], atol=1e-5 * largest)


def test_thin_tomograms_are_exchanged_and_thinner_ones_refused():
    source = pairs((36, 60, 60), SYMMETRIC)
    assert not source.turns and source.side == 32
    pair = source.make(np.random.default_rng(0))
    assert pair.tomogram.shape == (32, 32, 32) and pair.tomogram.dtype == np.float32
    with pytest.raises(DualError, match="24 voxels thin"):
        pairs((24, 60, 60), SYMMETRIC)


def test_pool_goes_on_where_it_was():
    one, other = pairs((48, 48, 48), SYMMETRIC), pairs((48, 48, 48), SYMMETRIC)
    random = np.random.default_rng(5)
    for _ in range(3):
        one.draw(random)
    state = random.bit_generator.state
    other.restore(one.tensors(), one.state())
    again = np.random.default_rng()
    again.bit_generator.state = state
    for _ in range(4):
        for part, same in zip(one.draw(random), other.draw(again)):
            np.testing.assert_array_equal(part, same)


def test_linear_model_lacks_the_wedge_and_makes_up_for_the_other():
    model = pairs((48, 48, 48), SYMMETRIC).linear_model()
    side = model.transfer.shape[0]
    measured = Directions(side, SYMMETRIC).measured()[..., : side // 2 + 1]
    np.testing.assert_array_equal(model.transfer, measured)
    only_here = measured & ~np.swapaxes(Directions(side, SYMMETRIC).measured(), 0, 2)[
        ..., : side // 2 + 1
    ]
    assert model.noise_amplitude[only_here].mean() > 0.5
    assert model.noise_amplitude[~only_here].max() < 1e-5


@pytest.mark.parametrize("axes", ((0, 2), (1, 2)))
def test_exchanged_volume_reads_regions_of_the_exchanged_whole(axes):
    array = np.random.default_rng(0).random((7, 9, 11)).astype(np.float32)
    view = ExchangedVolume(ArrayVolume(array, 10.0), axes)
    whole = array.swapaxes(*axes)
    assert view.shape == whole.shape and view.voxel_size_A == 10.0
    np.testing.assert_array_equal(view.load(), whole)
    np.testing.assert_array_equal(view.read((1, 2, 3), (4, 5, 2)), whole[1:5, 2:7, 3:5])
