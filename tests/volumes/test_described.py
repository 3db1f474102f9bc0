"""Padding, gold and hot voxels: found exactly, and without a say in scale, contrast and picks."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from scipy import ndimage

from dual_core.errors import DualError
from dual_core.noise_model import calibration
from dual_core.picking.pick import PickOptions, pick_particles
from dual_core.volumes.contrast import detect_contrast
from dual_core.volumes.described import finding
from dual_core.volumes.described.describe import SEEN, Described, describe
from dual_core.volumes.described.mask import BlankMask, NearestMask
from dual_core.volumes.interface import ArrayVolume
from dual_core.volumes.patches import MOST_BLANK, PatchSource, StandardisedVolume

SHAPE = (37, 90, 83)
FILLS = (0.0, 255.0, 128.0, -1e4, 77.25)


def specimen(seed: int = 0, shape=SHAPE) -> np.ndarray:
    """A byte tomogram with dark particles: mean 128, deviation about 24; float32."""
    random = np.random.default_rng(seed)
    points = np.ones(shape, bool)
    points[tuple(random.integers(0, length, 60) for length in shape)] = False
    particles = ndimage.distance_transform_edt(points) <= 3
    values = 128 - 40 * particles + 20 * random.normal(size=shape)
    return np.clip(np.rint(values), 1, 254).astype(np.float32)


def corners(shape=SHAPE, degrees: float = 17.0) -> np.ndarray:
    """What a turn about the beam leaves blank, bool."""
    angle = np.deg2rad(degrees)
    y, x = np.indices(shape[1:]) - (np.array(shape[1:])[:, None, None] - 1) / 2
    along, across = y * np.cos(angle) - x * np.sin(angle), y * np.sin(angle) + x * np.cos(angle)
    outside = (np.abs(along) > 0.43 * shape[1]) | (np.abs(across) > 0.43 * shape[2])
    return np.broadcast_to(outside, shape).copy()


def padded(fill: float, seed: int = 0) -> np.ndarray:
    return np.where(corners(), np.float32(fill), specimen(seed))


def described(array: np.ndarray, voxel_size_A: float = 10.0) -> Described:
    return describe(ArrayVolume(array.copy(), voxel_size_A, "test.mrc"))


def blank_of(found: Described) -> np.ndarray:
    if found.blank is None:
        return np.zeros(found.volume.shape, bool)
    return found.blank.load()


# Finding ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fill", FILLS)
def test_padding_of_any_value_is_found_to_the_voxel(fill):
    found, where = described(padded(fill)), corners()
    blank = blank_of(found)
    assert not (where & ~blank).any()
    # With a value that noise has too, a few voxels that touch the padding cannot be told from it.
    assert (blank & ~where).sum() <= 0.02 * where.sum() * (fill in (128.0,))
    assert found.share == pytest.approx(blank.mean())


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_few_planes_at_a_face_are_found_too(axis):
    array, where = specimen(), np.zeros(SHAPE, bool)
    np.moveaxis(where, axis, 0)[-2:] = True
    array[where] = 0
    np.testing.assert_array_equal(blank_of(described(array)), where)


def test_bricks_do_not_show(monkeypatch):
    array = padded(0.0)
    expected = described(array)
    monkeypatch.setattr(finding, "BRICK_VOXELS", 8 * 16 * SHAPE[2])
    monkeypatch.setattr(finding, "BRICK_DEPTH", 8)
    found = described(array)
    np.testing.assert_array_equal(blank_of(found), blank_of(expected))
    assert found.statistics.mean == pytest.approx(expected.statistics.mean, rel=1e-9)
    assert found.statistics.std == pytest.approx(expected.statistics.std, rel=1e-9)


def test_saturated_gold_is_not_padding():
    array = specimen()
    points = np.ones(SHAPE, bool)
    points[18, 20:80:20, 40] = False
    array[ndimage.distance_transform_edt(points) <= 5] = 0
    assert described(array).blank is None


@pytest.mark.parametrize("sign", [1, -1])
def test_the_background_of_a_density_map_is_content(sign):
    points = np.zeros(SHAPE)
    random = np.random.default_rng(3)
    points[tuple(random.integers(0, length, 40) for length in SHAPE)] = 1
    smooth = ndimage.gaussian_filter(points, 2) * 1e5
    for density in (np.rint(smooth), ndimage.gaussian_filter(points, 3, mode="wrap") > 1e-3):
        found = described((sign * density).astype(np.float32))
        assert found.blank is None
        contrast = found.contrast.contrast
        assert contrast == ("bright" if sign > 0 else "dark")


def test_the_log_says_how_much_is_blank(caplog):
    with caplog.at_level(logging.INFO):
        share = described(padded(0.0)).share
        described(specimen())
    said = [record.message for record in caplog.records if "blank" in record.message]
    assert len(said) == 1 and f"{100 * share:.1f} %" in said[0]


def test_unusable_volumes_are_refused():
    with pytest.raises(DualError, match="every voxel is 3"):
        described(np.full(SHAPE, 3, np.float32))
    array = padded(0.0)
    array[3, 4, 5] = np.nan
    with pytest.raises(DualError, match="z, y, x = 3, 4, 5"):
        described(array)


def test_a_mask_is_read_as_it_was_put():
    random = np.random.default_rng(0)
    shape = (19, 33, 16)
    whole = ndimage.zoom(random.random((3, 5, 2)), 8, order=0)[:19, :33, :16] > 0.5
    whole[8:16, :8, :8] = random.random((8, 8, 8)) > 0.5
    mask = BlankMask(shape, 10.0, "mask")
    for y in (0, 16, 32):
        part = whole[:, y : y + 16]
        mask.put((0, y, 0), part)
    np.testing.assert_array_equal(mask.load(), whole)
    assert mask.share == pytest.approx(whole.mean())
    for _ in range(50):
        start = [int(random.integers(0, n)) for n in shape]
        size = [int(random.integers(1, n - a + 1)) for n, a in zip(shape, start)]
        expected = whole[tuple(slice(a, a + n) for a, n in zip(start, size))]
        np.testing.assert_array_equal(mask.read(tuple(start), tuple(size)), expected)
    finer = NearestMask(mask, (38, 66, 32), 5.0)
    expected = whole.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    np.testing.assert_array_equal(finer.load(), expected)
    np.testing.assert_array_equal(finer.read((3, 9, 5), (7, 11, 13)), expected[3:10, 9:20, 5:18])


# Scale --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sigma", [0, 1.5])
def test_of_noise_the_plain_mean_and_deviation_are_kept(sigma):
    array = np.random.default_rng(1).normal(size=(64, 80, 72))
    array = (1000 + 3 * ndimage.gaussian_filter(array, sigma)).astype(np.float32)
    found = described(array).statistics
    assert found.mean == pytest.approx(array.mean(dtype=float), abs=5e-3 * array.std())
    assert found.std == pytest.approx(array.std(dtype=float), rel=5e-3)


@pytest.mark.parametrize("fill", FILLS)
def test_padding_does_not_set_the_scale(fill):
    inside = specimen()[~corners()]
    found = described(padded(fill)).statistics
    assert found.mean == pytest.approx(inside.mean(dtype=float), abs=0.1)
    assert found.std == pytest.approx(inside.std(dtype=float), rel=5e-3)


@pytest.mark.parametrize("value", [-1e5, 1e12, -3e9])
def test_a_hot_voxel_changes_itself_alone(value):
    array = specimen()
    before = described(array)
    array[10, 20, 30] = value
    after = described(array)
    assert after.statistics.mean == pytest.approx(before.statistics.mean, abs=1e-3)
    assert after.statistics.std == pytest.approx(before.statistics.std, rel=1e-4)
    one, other = before.standardised().read((0, 0, 0), SHAPE), after.standardised().read(
        (0, 0, 0), SHAPE
    )
    assert abs(other[10, 20, 30]) == SEEN
    one[10, 20, 30] = other[10, 20, 30]
    np.testing.assert_allclose(one, other, atol=1e-3)


def test_on_another_voxel_size_a_hot_voxel_stays_in_its_neighbourhood():
    array = specimen()
    before = described(array).on_grid(13.0)
    array[18, 40, 40] = -1e6
    after = described(array).on_grid(13.0)
    one = before.standardised().read((0, 0, 0), before.volume.shape)
    other = after.standardised().read((0, 0, 0), after.volume.shape)
    changed = np.argwhere(np.abs(one - other) > 0.02)
    assert len(changed) and np.abs(changed - np.array([18, 40, 40]) / 1.3).max() < 5
    assert np.abs(other).max() <= SEEN


def test_gold_does_not_set_the_scale():
    array = specimen()
    before = described(array).statistics
    points = np.ones(SHAPE, bool)
    points[18, 10:90:12, 40] = False
    gold = ndimage.distance_transform_edt(points) <= 4
    array[gold] = 128 - 25 * 24
    after = described(array).statistics
    assert array.std() > 1.3 * before.std
    assert after.std == pytest.approx(before.std, rel=0.01)


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("voxel_size_A", [10.0, 14.0])
def test_what_the_network_sees_does_not_depend_on_the_filling(fill, voxel_size_A):
    reference = described(padded(77.25)).on_grid(voxel_size_A)
    found = described(padded(fill)).on_grid(voxel_size_A)
    shape = found.volume.shape
    one = reference.standardised().read((0, 0, 0), shape)
    other = found.standardised().read((0, 0, 0), shape)
    assert not other[blank_of(found)].any()
    near = ndimage.binary_dilation(blank_of(found) ^ blank_of(reference), iterations=4)
    assert near.mean() < 0.1
    np.testing.assert_allclose(one[~near], other[~near], atol=0.03)


# Contrast -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("fill", FILLS)
def test_contrast_is_that_of_the_specimen_whatever_the_filling(fill):
    for array, contrast in ((padded(fill), "dark"), (255 - padded(255 - fill), "bright")):
        found = described(array)
        verdict = found.contrast
        assert (verdict.contrast, verdict.confident) == (contrast, True)


@pytest.mark.parametrize("value", [1e6, -1e6])
def test_a_hot_voxel_does_not_decide_the_contrast(value):
    array = specimen()
    array[18, 40, 40] = value
    assert described(array).contrast.contrast == "dark"


@pytest.mark.parametrize("fill", FILLS)
def test_contrast_of_mere_noise_is_never_certain_because_of_padding(fill):
    for seed in range(3):
        noise = 128 + 24 * np.random.default_rng(seed).normal(size=SHAPE)
        array = np.where(corners(), np.float32(fill), np.rint(noise).astype(np.float32))
        found = described(array)
        assert not found.contrast.confident


def test_contrast_with_hardly_anything_left_is_not_certain():
    array = ArrayVolume(specimen(), 10.0)
    mask = BlankMask(SHAPE, 10.0, "mask")
    mask.put((0, 0, 0), np.ones(SHAPE, bool))
    assert not detect_contrast(array, mask).confident


# Picks --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fill", FILLS)
def test_no_picks_in_padding_and_the_same_ones_elsewhere(fill):
    options = PickOptions(diameter_A=60, contrast="dark", number=40)
    found = pick_particles(ArrayVolume(padded(fill), 10.0), options, threads=1).positions
    assert not corners()[tuple(found.T)].any()
    expected = pick_particles(ArrayVolume(padded(77.25), 10.0), options, threads=1).positions
    same = set(map(tuple, found.tolist())) & set(map(tuple, expected.tolist()))
    assert len(same) >= 0.9 * len(expected)


# Patches ------------------------------------------------------------------------------------------


class Spy:
    """A volume whose voxels are 1 where blank, so that patches show how blank they are."""

    def __init__(self) -> None:
        self.blank = corners((40, 150, 150))
        self.mask = BlankMask(self.blank.shape, 10.0, "mask")
        self.mask.put((0, 0, 0), self.blank)
        volume = ArrayVolume(self.blank.astype(np.float32), 10.0)
        self.plain = StandardisedVolume(volume, 0.0, 1.0)
        # `mask` is turned into zeros when it is read; this one tells and does not change.
        self.entry = _Telling(volume, 0.0, 1.0, self.mask)


class _Telling(StandardisedVolume):
    def read(self, start, size):
        return self.volume.read(start, size)


@pytest.mark.parametrize("budget", [1 << 30, 0], ids=["in memory", "by blocks"])
def test_blank_patches_are_not_drawn(budget):
    spy = Spy()
    blank = {
        name: PatchSource([entry], 24, memory_budget=budget).draw(60, np.random.default_rng(0))
        for name, entry in (("plain", spy.plain), ("known", spy.entry))
    }
    shares = {name: patches.mean(axis=(1, 2, 3, 4)) for name, patches in blank.items()}
    assert (shares["plain"] > MOST_BLANK).mean() > 0.1, "otherwise nothing is tested"
    assert (shares["known"] <= MOST_BLANK + 1e-6).all()


def test_without_padding_the_same_patches_are_drawn_as_ever():
    volume = ArrayVolume(specimen(), 10.0)
    known = describe(volume).standardised()
    plain = StandardisedVolume(volume, known.mean, known.deviation)
    for budget in (1 << 30, 0):
        one, other = (
            PatchSource([entry], 16, memory_budget=budget).draw(8, np.random.default_rng(5))
            for entry in (known, plain)
        )
        np.testing.assert_array_equal(one, other)


def test_nothing_but_padding_still_gives_a_patch():
    spy = Spy()
    start = spy.entry.random_start((40, 150, 150), np.random.default_rng(0))
    assert start == (0, 0, 0)


def test_calibration_looks_at_blocks_that_are_not_blank():
    found = described(np.where(corners(), np.float32(0), specimen())).standardised()
    unpadded = described(specimen()).standardised()
    powers = [
        np.mean([
            np.mean(np.abs(spectrum) ** 2)
            for spectrum in calibration._block_spectra([entry], 16, np.random.default_rng(0))
        ])
        for entry in (found, unpadded)
    ]
    assert powers[0] == pytest.approx(powers[1], rel=0.05)


def test_blank_shares_of_regions_and_exchanged_axes():
    entry = described(padded(0.0)).standardised()
    where = corners()
    assert entry.blank((0, 0, 0), SHAPE) == pytest.approx(where.mean())
    assert entry.blank((3, 1, 2), (20, 9, 30)) == pytest.approx(where[3:23, 1:10, 2:32].mean())
    turned = entry.exchanged((0, 2))
    size = (SHAPE[2], SHAPE[1], SHAPE[0])
    np.testing.assert_array_equal(
        turned.read((0, 0, 0), size), entry.read((0, 0, 0), SHAPE).swapaxes(0, 2)
    )
    assert turned.blank((2, 1, 3), (30, 9, 20)) == entry.blank((3, 1, 2), (20, 9, 30))
