"""Axis order, missing wedge, z/x swap."""

from __future__ import annotations

import numpy as np
import pytest

from dual_core.errors import DualError
from dual_core.volumes.geometry import (
    axis_index,
    frequency_radius,
    half_overlapping,
    swap_beam_and_x,
    wedge_mask,
)

SHAPES = [(8, 8, 8), (9, 9, 9), (6, 10, 14), (7, 4, 12), (32, 5, 9), (1, 4, 6)]
RANGES = [(-60, 60), (-40, 65), (-65, 40), (10, 50), (-90, 90), (-90, 20), (-0.5, 90)]


def conjugate(mask):
    """The mask at -k."""
    index = np.ix_(*(-np.arange(length) % length for length in mask.shape))
    return mask[index]


@pytest.mark.parametrize("axis", ["x", "y"])
@pytest.mark.parametrize("tilt_range", RANGES)
@pytest.mark.parametrize("shape", SHAPES)
def test_mask_is_hermitian(shape, tilt_range, axis):
    mask = wedge_mask(shape, tilt_range, axis)
    assert mask.shape == shape
    assert mask.dtype == bool
    assert mask[0, 0, 0]
    np.testing.assert_array_equal(mask, conjugate(mask))
    noise = np.random.default_rng(0).normal(size=shape)
    filtered = np.fft.ifftn(np.fft.fftn(noise) * mask)
    assert np.abs(filtered.imag).max() < 1e-12


@pytest.mark.parametrize("shape", SHAPES)
def test_measured_fraction_grows_with_the_range_to_all(shape):
    small, large = wedge_mask(shape, (-30, 45)), wedge_mask(shape, (-31, 60))
    assert not (small & ~large).any()
    assert wedge_mask(shape, (-90, 90)).all()


def test_fraction_is_that_of_the_angles():
    shape = (129, 3, 129)
    inside = (frequency_radius(shape) < 0.5)[:, 0]
    for tilt_range in [(-60, 60), (-40, 65), (10, 50)]:
        fraction = wedge_mask(shape, tilt_range)[:, 0][inside].mean()
        assert fraction == pytest.approx((tilt_range[1] - tilt_range[0]) / 180, abs=0.01)


def test_angles_are_in_cycles_per_voxel_not_in_indices():
    # 20 steps of 1/80 along z are as far as 5 of 1/20 along x: 45 degrees.
    mask = wedge_mask((80, 4, 20), (-45, 45))
    assert mask[20, 0, 5]
    assert mask[19, 0, 5]
    assert not mask[21, 0, 5]


def test_tilt_axis_x_is_y_with_the_axes_exchanged():
    for tilt_range in RANGES:
        about_x = wedge_mask((6, 14, 10), tilt_range, "x")
        np.testing.assert_array_equal(
            about_x, wedge_mask((6, 10, 14), tilt_range, "y").swapaxes(1, 2)
        )


def test_mask_does_not_depend_on_the_tilt_axis_frequency():
    mask = wedge_mask((12, 9, 12), (-50, 30))
    assert (mask == mask[:, :1]).all()


@pytest.mark.parametrize("theta", [-50, -20, 0, 35])
def test_sign_agrees_with_a_projection(theta):
    """What a projection at theta holds, by its formula, is where the mask says measured."""
    random = np.random.default_rng(5)
    z0, x0 = random.uniform(-8, 8, (2, 6))
    k = np.arange(1, 25) / 50
    angle = np.radians(theta)
    seen_at = x0 * np.cos(angle) + z0 * np.sin(angle)
    projection = np.exp(-2j * np.pi * k[:, None] * seen_at).sum(axis=1)

    length = 400
    kz, kx = np.rint([k * np.sin(angle) * length, k * np.cos(angle) * length]).astype(int)
    specimen = np.exp(-2j * np.pi / length * (kz[:, None] * z0 + kx[:, None] * x0)).sum(axis=1)
    # The nearest coefficients of a fine grid hold what the projection holds ...
    assert np.abs(projection - specimen).max() < 0.05 * np.abs(projection).max() + 0.2
    # ... and are measured by a series about this angle and missed by one about the opposite.
    mask = wedge_mask((length, 1, length), (theta - 5, theta + 5))[:, 0]
    assert mask[kz, kx].all()
    assert mask[-kz, -kx].all()
    if theta:
        assert not mask[-kz, kx].any()


def test_frequency_radius():
    radius = frequency_radius((4, 6, 5))
    assert radius.dtype == np.float32
    assert radius[0, 0, 0] == 0
    assert radius[2, 0, 0] == 0.5
    assert radius[1, 2, 2] == pytest.approx(np.sqrt(1 / 16 + 1 / 9 + 4 / 25))
    # A plane wave of five cycles per 20 voxels is found at the radius 1/4, whatever the shape.
    wave = np.cos(2 * np.pi * np.arange(20) / 4)[None, None, :] * np.ones((6, 8, 1))
    power = np.abs(np.fft.fftn(wave))
    assert frequency_radius(wave.shape)[np.unravel_index(power.argmax(), wave.shape)] == 0.25


def test_swap_beam_and_x():
    volume = np.arange(24).reshape(2, 3, 4)
    swapped = swap_beam_and_x(volume)
    assert swapped.shape == (4, 3, 2)
    assert swapped[3, 1, 0] == volume[0, 1, 3]
    np.testing.assert_array_equal(swap_beam_and_x(swapped), volume)
    assert swap_beam_and_x(np.zeros((7, 1, 2, 3, 4))).shape == (7, 1, 4, 3, 2)


def test_swap_moves_the_missing_wedge_from_the_beam_to_x():
    mask = wedge_mask((16, 4, 16), (-60, 60))
    assert not mask[5, 0, 0]
    assert mask[0, 0, 5]
    swapped = swap_beam_and_x(mask)
    assert swapped[5, 0, 0]
    assert not swapped[0, 0, 5]


def test_swap_takes_tensors():
    torch = pytest.importorskip("torch")
    assert swap_beam_and_x(torch.zeros(2, 1, 3, 4, 5)).shape == (2, 1, 5, 4, 3)


@pytest.mark.parametrize("tilt_range", [(60, -60), (0, 0), (-100, 60), (-60, 91), (np.nan, 60)])
def test_impossible_ranges(tilt_range):
    with pytest.raises(DualError, match="tilt range"):
        wedge_mask((8, 8, 8), tilt_range)


def test_axis_names():
    assert [axis_index(axis) for axis in "zyx"] == [0, 1, 2]
    with pytest.raises(DualError, match="axis"):
        axis_index("w")
    with pytest.raises(DualError, match="tilt axis"):
        wedge_mask((8, 8, 8), tilt_axis="z")


@pytest.mark.parametrize("shape", [(8, 8, 8), (12, 21, 40), (11, 9, 16)])
def test_blocks_half_a_block_apart_reach_from_face_to_face(shape):
    block = (8, 6, 8)
    corners = half_overlapping(shape, block)
    assert corners == sorted(set(corners))
    for axis, (length, side) in enumerate(zip(shape, block)):
        starts = sorted({corner[axis] for corner in corners})
        room = length - side
        assert (starts[0], starts[-1]) == (0, room if room >= side / 2 else 0)
        assert all(side // 2 <= b - a < side for a, b in zip(starts, starts[1:]))
