"""Projections of a volume: where a point falls, sums along the beam, and the way back."""

import math

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from simulated_phantom import SLAB

from dual_core.physics.config import tilt_angles
from dual_core.physics.projection import back_project, detector_position, detector_width, project


def blob(shape, centre, sigma=1.5):
    """A normalised Gaussian; its projections are known exactly."""
    grids = np.ogrid[tuple(slice(0, n) for n in shape)]
    squared = sum((g - c) ** 2 for g, c in zip(grids, centre))
    return np.exp(-squared / (2 * sigma**2)) / (2 * math.pi * sigma**2) ** 1.5


@pytest.mark.parametrize("angle", [-90.0, -60.0, -31.7, 0.0, 20.0, 45.0, 70.0])
@pytest.mark.parametrize("point", [(14.0, 7.0, 31.0), (5.0, 5.5, 8.25)])
def test_point_falls_where_geometry_says(point, angle):
    z, y, x = (c - (n - 1) / 2 for c, n in zip(point, SLAB))
    # geometry.py: x' = x cos + z sin, projected along z'.
    expected_u = x * math.cos(math.radians(angle)) + z * math.sin(math.radians(angle))
    image = project(blob(SLAB, point), [angle])[0]
    rows = np.arange(SLAB[1])[:, None] - (SLAB[1] - 1) / 2
    columns = np.arange(detector_width(SLAB))[None, :] - (detector_width(SLAB) - 1) / 2
    profile = np.exp(-((rows - y) ** 2 + (columns - expected_u) ** 2) / (2 * 1.5**2))
    np.testing.assert_allclose(image, profile / (2 * math.pi * 1.5**2), atol=2e-4)
    assert detector_position(point, SLAB, angle) == pytest.approx(
        expected_u + (detector_width(SLAB) - 1) / 2
    )


def test_positive_tilt_moves_the_upper_half_to_larger_columns():
    upper = (15, 7, 22)
    assert detector_position(upper, SLAB, 30.0) > detector_position(upper, SLAB, 0.0)
    assert detector_position(upper, SLAB, -30.0) < detector_position(upper, SLAB, 0.0)


@pytest.mark.parametrize("corner", [(0, 0, 0), (0, 13, 43), (19, 0, 0), (19, 13, 43)])
def test_no_corner_of_a_slab_leaves_the_detector(corner):
    volume = np.zeros(SLAB, np.float32)
    volume[corner] = 1.0
    for angle, image in zip((-75, -40, 0, 40, 75), project(volume, [-75, -40, 0, 40, 75])):
        assert image.sum() == pytest.approx(1.0, abs=1e-3)
        place = int(round(detector_position(corner, SLAB, angle)))
        assert np.unravel_index(np.argmax(image), image.shape) == pytest.approx(
            (corner[1], place), abs=1
        )


def test_untilted_projection_is_the_sum_along_the_beam():
    volume = np.random.default_rng(0).standard_normal((7, 5, 12))
    width = detector_width(volume.shape)
    volume[:, :, [0, -1]] = 0
    image = project(gaussian_filter(volume, (0, 0, 1)), [0.0])[0]
    # The centre of the detector lies between columns when the parities differ.
    if (width - 12) % 2 == 0:
        start = (width - 12) // 2
        expected = gaussian_filter(volume, (0, 0, 1)).sum(axis=0)
        np.testing.assert_allclose(image[:, start : start + 12], expected, atol=0.05)
    assert image.sum() == pytest.approx(volume.sum(), abs=0.05)


@pytest.mark.parametrize("shape", [(9, 4, 13), (16, 3, 8), (1, 2, 6)])
def test_back_projection_is_the_adjoint(shape):
    rng = np.random.default_rng(1)
    angles = [-61.0, -10.0, 0.0, 33.0, 90.0]
    volume = rng.standard_normal(shape)
    images = rng.standard_normal((5, shape[1], detector_width(shape)))
    forward = float((project(volume, angles) * images).sum())
    backward = float((back_project(images, angles, shape) * volume).sum())
    assert forward == pytest.approx(backward, rel=1e-4)


def test_blocks_of_rows_change_nothing(monkeypatch):
    volume = np.random.default_rng(2).standard_normal((6, 11, 10))
    images = project(volume, [-30.0, 50.0])
    smeared = back_project(images, [-30.0, 50.0], volume.shape)
    monkeypatch.setattr("dual_core.physics.projection._BLOCK_BYTES", 1)
    np.testing.assert_allclose(project(volume, [-30.0, 50.0]), images, atol=1e-5)
    np.testing.assert_allclose(
        back_project(images, [-30.0, 50.0], volume.shape), smeared, atol=1e-5
    )


def test_back_projection_refuses_images_of_another_size():
    with pytest.raises(ValueError, match="do not fit"):
        back_project(np.zeros((2, 5, 9)), [0.0, 10.0], (4, 5, 6))


@pytest.mark.parametrize("limits", [(-60, 60, 3), (-50, 70, 2), (-90, 90, 7), (0, 45, 45)])
def test_tilt_angles_end_where_asked(limits):
    angles = tilt_angles(*limits)
    assert (angles[0], angles[-1]) == limits[:2]
    steps = np.diff(angles)
    np.testing.assert_allclose(steps, steps[0])
    assert steps[0] == pytest.approx(limits[2], rel=0.05)
