"""Lazy resampling: constants, smooth functions, positions, round trips, regions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from dual_core.errors import DualError
from dual_core.volumes.reading import ArrayVolume
from dual_core.volumes.resampling import ResampledVolume, interpolation_matrix, resampled_shape

VOXEL_SIZES = [4.0, 6.7, 9.0, 11.3, 13.48, 20.0, 31.0]
ODD_SHAPES = [(19, 37, 23), (1, 9, 40), (2, 3, 5), (16, 16, 16)]


def blob(shape, voxel_size_A, centre_A, sigma_A):
    """A Gaussian on a grid whose voxel i has its centre at (i + 1/2) voxel sizes."""
    axes = [
        (np.arange(length) + 0.5) * voxel_size_A - centre for length, centre in zip(shape, centre_A)
    ]
    z, y, x = np.meshgrid(*axes, indexing="ij", sparse=True)
    return np.exp(-(z**2 + y**2 + x**2) / (2 * sigma_A**2)).astype(np.float32)


def centre_of_mass_A(volume, voxel_size_A):
    return (np.array(ndimage.center_of_mass(volume.astype(np.float64))) + 0.5) * voxel_size_A


def noise(shape, sigma=0.0, seed=0):
    white = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    return ndimage.gaussian_filter(white, sigma) if sigma else white


@pytest.mark.parametrize("voxel_size", VOXEL_SIZES)
@pytest.mark.parametrize("shape", ODD_SHAPES)
def test_constant_stays_constant(shape, voxel_size):
    view = ResampledVolume(ArrayVolume(np.full(shape, 7.25), 10), voxel_size)
    np.testing.assert_allclose(view.load(), 7.25, rtol=1e-5)


@pytest.mark.parametrize("voxel_size", VOXEL_SIZES)
@pytest.mark.parametrize("shape", ODD_SHAPES)
def test_extent_is_kept(shape, voxel_size):
    view = ResampledVolume(ArrayVolume(noise(shape), 10), voxel_size)
    assert view.voxel_size_A == voxel_size
    assert view.load().shape == view.shape
    for length, new_length in zip(shape, view.shape):
        off = abs(new_length * voxel_size - length * 10)
        assert off <= voxel_size / 2 + 1e-9 or new_length == 1


def test_halves_round_up_whatever_their_parity():
    assert resampled_shape((5, 7, 9), 2.0) == (3, 4, 5)


@pytest.mark.parametrize("voxel_size", [4.0, 6.7, 9.0, 11.3, 13.48, 20.0])
def test_smooth_function_gets_its_analytic_values(voxel_size):
    shape, centre, sigma = (29, 40, 33), (151.0, 187.0, 160.0), 40.0
    view = ResampledVolume(ArrayVolume(blob(shape, 10, centre, sigma), 10), voxel_size)
    loaded = view.load()
    expected = blob(view.shape, voxel_size, centre, sigma)
    assert np.abs(loaded - expected).max() < 0.015
    np.testing.assert_allclose(
        centre_of_mass_A(loaded, voxel_size), centre_of_mass_A(expected, voxel_size), atol=0.2
    )


@pytest.mark.parametrize("voxel_size", VOXEL_SIZES)
def test_centre_of_mass_in_angstrom_is_kept(voxel_size):
    """A small off-centre particle far from the border does not move."""
    array = blob((40, 45, 50), 10, (170.0, 260.0, 215.0), 25.0)
    view = ResampledVolume(ArrayVolume(array, 10), voxel_size)
    moved = centre_of_mass_A(view.load(), voxel_size) - centre_of_mass_A(array, 10)
    assert np.abs(moved).max() < 0.5


@pytest.mark.parametrize("voxel_size", [4.0, 6.7, 9.0, 13.48])
@pytest.mark.parametrize("shape", [(19, 37, 23), (31, 16, 40)])
def test_round_trip_of_a_band_limited_volume(shape, voxel_size):
    array = noise(shape, sigma=2.0)
    there = ResampledVolume(ArrayVolume(array, 10), voxel_size)
    back = ResampledVolume(there, 10, shape=shape)
    assert back.shape == shape
    assert np.corrcoef(array.ravel(), back.load().ravel())[0, 1] > 0.99


def test_antialiasing_removes_what_the_coarse_grid_cannot_hold():
    """Detail above the new Nyquist frequency goes away; detail well below stays."""
    x = np.arange(120)
    fine = np.broadcast_to(np.cos(2 * np.pi * 0.42 * x), (4, 4, 120))
    coarse = np.broadcast_to(np.cos(2 * np.pi * 0.05 * x), (4, 4, 120))
    assert ResampledVolume(ArrayVolume(fine, 10), 25).load()[:, :, 5:-5].std() < 0.02
    kept = ResampledVolume(ArrayVolume(coarse, 10), 25).load()[:, :, 5:-5].std()
    assert kept == pytest.approx(np.sqrt(0.5), rel=0.05)


@pytest.mark.parametrize("voxel_size", VOXEL_SIZES)
@pytest.mark.parametrize("shape", ODD_SHAPES)
def test_region_is_bitwise_the_same_part_of_the_whole(shape, voxel_size):
    view = ResampledVolume(ArrayVolume(noise(shape), 10), voxel_size)
    whole = view.load()
    random = np.random.default_rng(1)
    for _ in range(15):
        start = tuple(int(random.integers(0, length)) for length in view.shape)
        size = tuple(
            int(random.integers(0, length - first + 1)) for first, length in zip(start, view.shape)
        )
        part = whole[tuple(slice(first, first + length) for first, length in zip(start, size))]
        np.testing.assert_array_equal(view.read(start, size), part)
    with pytest.raises(ValueError, match="not inside"):
        view.read((0, 0, 0), (view.shape[0] + 1, 1, 1))


def test_load_in_slabs_is_the_same(monkeypatch):
    view = ResampledVolume(ArrayVolume(noise((19, 37, 23)), 10), 6.7)
    whole = view.load()
    monkeypatch.setattr("dual_core.volumes.resampling._LOAD_VOXELS", 1)
    np.testing.assert_array_equal(view.load(), whole)


def test_only_the_needed_part_of_the_source_is_read():
    class Recording(ArrayVolume):
        largest = 0

        def read(self, start, size):
            self.largest = max(self.largest, int(np.prod(size)))
            return super().read(start, size)

    source = Recording(noise((40, 60, 80)), 10)
    ResampledVolume(source, 13.48).read((10, 10, 10), (4, 4, 4))
    reach = 4 * 1.348 + 2 * 3 * 1.348 + 2
    assert 0 < source.largest <= reach**3


@pytest.mark.parametrize("voxel_size", [10.0, 10.04, 9.96])
def test_nearly_the_same_voxel_size_passes_bits_through(voxel_size):
    array = noise((5, 6, 7)) * 1e-30
    view = ResampledVolume(ArrayVolume(array, 10), voxel_size)
    assert not view.is_resampled
    assert (view.shape, view.voxel_size_A) == ((5, 6, 7), voxel_size)
    np.testing.assert_array_equal(view.load(), array)
    np.testing.assert_array_equal(view.read((1, 2, 3), (2, 2, 2)), array[1:3, 2:4, 3:5])
    assert ResampledVolume(ArrayVolume(array, 10), 10.06).is_resampled


def test_border_is_reflected_not_darkened():
    """A ramp keeps its level at the border, where padding with zeros would pull it down."""
    ramp = np.broadcast_to(np.linspace(100, 101, 30), (8, 8, 30))
    loaded = ResampledVolume(ArrayVolume(ramp, 10), 17).load()
    assert loaded.min() > 99.9
    assert loaded.max() < 101.1


@pytest.mark.parametrize("length", [1, 2, 7, 30])
@pytest.mark.parametrize("ratio", [0.3, 0.99, 1.5, 9.0])
def test_matrix_rows_sum_to_one_and_mirror(length, ratio):
    new_length = resampled_shape((length,) * 3, ratio)[0]
    matrix = interpolation_matrix(length, new_length, ratio).toarray()
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-6)
    if new_length * ratio == pytest.approx(length):
        np.testing.assert_allclose(matrix, matrix[::-1, ::-1], atol=1e-6)


@pytest.mark.parametrize("voxel_size", [0.0, -1.0, np.nan, np.inf])
def test_nonsense_voxel_sizes(voxel_size):
    with pytest.raises(DualError, match="voxel size"):
        ResampledVolume(ArrayVolume(noise((4, 4, 4)), 10), voxel_size)
    with pytest.raises(DualError, match="voxel size"):
        ResampledVolume(ArrayVolume(noise((4, 4, 4)), voxel_size), 10)
