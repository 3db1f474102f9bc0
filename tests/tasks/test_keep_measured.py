"""What the network leaves unexplained is given back where it is more than noise, without seams."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from dual_core.noise_model.calibration import LinearModel
from dual_core.noise_model.explained import ExplainedVolume
from dual_core.tasks.keep_measured import given_back
from dual_core.volumes.reading import ArrayVolume

SHAPE = (50, 70, 61)


def model(noise: float = 1.0, transfer: float = 1.0) -> LinearModel:
    grid = np.ones((32, 32, 17), dtype=np.float32)
    return LinearModel(transfer * grid, noise * grid, (), "file", grid)


def back(tomogram: np.ndarray, density: np.ndarray, linear: LinearModel) -> np.ndarray:
    slabs = list(
        given_back(ArrayVolume(tomogram, 10.0).read, ArrayVolume(density, 10.0), linear)
    )
    assert [first for first, _ in slabs] == list(range(0, len(tomogram), 16))
    return np.concatenate([slab for _, slab in slabs])


def blob(sigma: float = 4.0) -> np.ndarray:
    volume = np.zeros(SHAPE, dtype=np.float32)
    volume[25, 35, 30] = 1.0
    volume = gaussian_filter(volume, sigma)
    return 6.0 * volume / volume.max()


def noise(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(SHAPE).astype(np.float32)


def test_next_to_nothing_comes_back_of_noise() -> None:
    given = back(noise(), np.zeros(SHAPE, np.float32), model())
    assert given.shape == SHAPE
    assert given.std() < 0.1


def test_what_the_network_dropped_comes_back() -> None:
    given = back(noise() + blob(), np.zeros(SHAPE, np.float32), model())
    assert np.corrcoef(given.ravel(), blob().ravel())[0, 1] > 0.8
    assert given[25, 35, 30] > 3.0


def test_nothing_comes_back_of_what_the_density_explains() -> None:
    explained = back(noise() + 0.5 * blob(), blob(), model(transfer=0.5))
    assert explained.std() < 0.1


def test_windows_add_up_to_1_everywhere() -> None:
    """With hardly any noise all of a smooth tomogram comes back, at the faces too."""
    smooth = gaussian_filter(noise(), 2.5)
    smooth *= 0.02 / smooth.std()  # within the limit that is set for gold
    given = back(smooth, np.zeros(SHAPE, np.float32), model(noise=0.01))
    assert np.corrcoef(given.ravel(), smooth.ravel())[0, 1] > 0.97
    faces = ((given[0], smooth[0]), (given[-1], smooth[-1]), (given[:, 0], smooth[:, 0]))
    for face, wanted in faces:
        assert np.corrcoef(face.ravel(), wanted.ravel())[0, 1] > 0.95
        assert 0.8 < face.std() / wanted.std() < 1.1


@pytest.mark.parametrize("axis", ["y", "x"])
def test_explained_is_the_density_through_the_transfer(axis: str) -> None:
    density = blob(1.0)
    linear = model(transfer=0.5)
    linear.transfer[:, 8:25] = 0.0  # nothing fine along the tilt axis
    turned = density.swapaxes(1, 2) if axis == "x" else density
    volume = ArrayVolume(np.ascontiguousarray(turned), 10.0)
    tomogram = ArrayVolume(3.0 * volume.load() + 5.0, 10.0)
    found = ExplainedVolume(volume, tomogram, linear, 10.0, axis)
    whole = found.load()
    np.testing.assert_allclose(whole.mean(), tomogram.load().mean(), rtol=1e-3)
    part = found.read((10, 20, 15), (9, 20, 30))
    np.testing.assert_allclose(part, whole[10:19, 20:40, 15:45], atol=0.05 * whole.std())
    spectrum = np.abs(np.fft.fftn(whole - whole.mean()))
    fine_y = spectrum.take(20, axis=1 if axis == "y" else 2)
    fine_other = spectrum.take(20, axis=2 if axis == "y" else 1)
    assert fine_y.sum() < fine_other.sum()
