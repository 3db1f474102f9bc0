"""Dark or bright: right and confident with structure, not confident without."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from dual_core.errors import DualError
from dual_core.volumes.contrast import _blocks, detect_contrast
from dual_core.volumes.reading import ArrayVolume

SHAPE = (40, 72, 72)


def noise(shape=SHAPE, sigma=0.0, seed=0, mode="wrap"):
    """White or smooth Gaussian noise of deviation one."""
    values = np.random.default_rng(seed).normal(size=shape)
    if sigma:
        values = ndimage.gaussian_filter(values, sigma, mode=mode)
    return (values / values.std()).astype(np.float32)


def particles(radius, number, seed=1, shape=SHAPE):
    """Bright balls of height one, some of them touching the border."""
    points = np.zeros(shape, bool)
    random = np.random.default_rng(seed)
    points[tuple(random.integers(0, length, number) for length in shape)] = True
    return (ndimage.distance_transform_edt(~points) <= radius).astype(np.float32)


def verdict(array):
    return detect_contrast(ArrayVolume(array, 10))


@pytest.mark.parametrize(
    ("radius", "number", "strength"),
    [(2, 60, 3.0), (4, 25, 1.5), (6, 12, 1.2), (1, 5, 40.0)],
    ids=["small", "medium", "large and faint", "gold"],
)
def test_sparse_density_is_found_and_its_negative_too(radius, number, strength):
    density = strength * particles(radius, number) + noise(sigma=0.7)
    bright, dark = verdict(density), verdict(-density)
    assert (bright.contrast, bright.confident) == ("bright", True)
    assert (dark.contrast, dark.confident) == ("dark", True)
    assert bright.skewness > 0
    assert dark.skewness == pytest.approx(-bright.skewness, rel=1e-3)


@pytest.mark.parametrize(("sign", "contrast"), [(1, "bright"), (-1, "dark")])
def test_noise_free_density(sign, contrast):
    found = verdict(sign * particles(3, 20))
    assert (found.contrast, found.confident) == (contrast, True)


@pytest.mark.parametrize("sigma", [0, 1, 3, 8])
@pytest.mark.parametrize("mode", ["wrap", "reflect"])
@pytest.mark.parametrize("shape", [(24, 40, 40), (10, 60, 30)])
def test_not_confident_on_noise_whatever_its_colour(shape, mode, sigma):
    confident = [verdict(noise(shape, sigma, seed, mode)).confident for seed in range(6)]
    assert not any(confident)


def test_scale_and_offset_do_not_matter():
    density = particles(4, 20) - 0.5 * noise()
    plain, changed = verdict(density), verdict(1e-3 * density + 5)
    assert changed.skewness == pytest.approx(plain.skewness, rel=1e-2)
    assert changed.contrast == plain.contrast


def test_a_gradient_does_not_turn_the_verdict():
    """A thickness gradient much larger than the density, with a skewness of the other sign."""
    gradient = 10 * np.linspace(0, 1, SHAPE[2])[None, None, :] ** 2 + np.zeros(SHAPE)
    array = gradient - 1.5 * particles(4, 20) + noise(sigma=0.7)
    assert ((array - array.mean()) ** 3).mean() > 0
    found = verdict(array)
    assert (found.contrast, found.confident) == ("dark", True)


@pytest.mark.parametrize("shape", [(3, 40, 40), (1, 1, 9), (9, 8, 7), (48, 97, 5)])
def test_thin_and_small_volumes(shape):
    assert not verdict(noise(shape)).confident


def test_constant_volume_is_not_judged():
    found = verdict(np.full((16, 16, 16), 5.0))
    assert (found.skewness, found.confident) == (0.0, False)


def test_non_finite_values_are_an_error():
    array = noise((16, 16, 16))
    array[3, 4, 5] = np.nan
    with pytest.raises(DualError, match="NaN"):
        verdict(array)


def test_what_is_read_does_not_grow_with_the_volume(monkeypatch):
    monkeypatch.setattr("dual_core.volumes.contrast._BLOCK", (12, 16, 16))

    class Huge:
        name, shape, voxel_size_A = "huge", (500, 4000, 3000), 10.0
        reads = []

        def read(self, start, size):
            self.reads.append((start, size))
            return particles(2, 4, seed=len(self.reads), shape=size)

    found = detect_contrast(Huge())
    assert (found.contrast, found.confident) == ("bright", True)
    assert len(Huge.reads) == 4
    assert {size for _, size in Huge.reads} == {(12, 16, 16)}
    # In the middle along the beam, spread across it.
    centres = np.array([start for start, _ in Huge.reads]) + np.array((12, 16, 16)) / 2
    np.testing.assert_allclose(centres[:, 0], 250, atol=1)
    assert {tuple(centre) for centre in centres[:, 1:]} == {
        (y, x) for y in (1000, 3000) for x in (750, 2250)
    }


@pytest.mark.parametrize("shape", [(1, 1, 1), (36, 206, 94), (100, 192, 192), (500, 959, 287)])
def test_blocks_are_inside_and_do_not_overlap(shape):
    count = np.zeros(shape, np.int8)
    for start, size in _blocks(shape):
        region = tuple(slice(first, first + side) for first, side in zip(start, size))
        assert count[region].shape == size
        count[region] += 1
    assert count.max() == 1
