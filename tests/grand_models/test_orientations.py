"""Orientations: Euler angles are RELION's, random ones uniform."""

from __future__ import annotations

import numpy as np
import pytest

from dual_core.grand_models.orientations import (
    euler_angles,
    orientation_along,
    orientation_from_euler,
    random_orientation,
)


def test_euler_angles_and_matrix_are_inverses():
    rng = np.random.default_rng(3)
    special = [orientation_from_euler(*angles)
               for angles in ((0, 0, 0), (30, 0, 40), (30, 180, 40), (-20, 90, 0))]
    for matrix in special + [random_orientation(rng) for _ in range(50)]:
        assert np.allclose(orientation_from_euler(*euler_angles(matrix)), matrix, atol=1e-9)
        assert np.linalg.det(matrix) == pytest.approx(1.0)


def test_the_convention_is_relions():
    """Elements of RELION's Euler_angles2matrix (euler.cpp), which maps reference to particle."""
    rot, tilt, psi = np.radians([20.0, 50.0, -75.0])
    matrix = orientation_from_euler(20.0, 50.0, -75.0)
    assert matrix[2] == pytest.approx(
        [np.sin(tilt) * np.cos(rot), np.sin(tilt) * np.sin(rot), np.cos(tilt)])
    assert matrix[:, 2] == pytest.approx(
        [-np.cos(psi) * np.sin(tilt), np.sin(psi) * np.sin(tilt), np.cos(tilt)])


def test_random_orientations_are_uniform():
    rng = np.random.default_rng(4)
    axes = np.array([random_orientation(rng)[:, 2] for _ in range(2000)])
    assert np.abs(axes.mean(axis=0)).max() < 0.05
    assert np.allclose(axes.T @ axes / 2000, np.eye(3) / 3, atol=0.03)


def test_an_orientation_along_a_normal_turns_z_onto_it():
    normal = np.array([0.3, -0.5, -0.8]) / np.linalg.norm([0.3, -0.5, -0.8])
    assert np.allclose(orientation_along(normal, 1.3) @ [0, 0, 1], normal)
