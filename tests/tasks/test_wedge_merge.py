"""Filling the wedge: what was measured stays, what was not is filled, whatever the slabs."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.fft
from scipy.ndimage import gaussian_filter

from dual_core.errors import DualError
from dual_core.tasks.wedge import merge as wedge_merge
from dual_core.tasks.wedge.gain import GainCurve, fit_gain
from dual_core.tasks.wedge.merge import merge_wedge, wedge_weight
from dual_core.tasks.wedge.planes import wedge_content
from dual_core.volumes.geometry import swap_beam_and_x, wedge_mask
from dual_core.volumes.reading import ArrayVolume

RANGES = [(-60.0, 60.0), (-50.0, 70.0), (-70.0, 40.0)]
SHAPES = [(20, 9, 32), (17, 6, 29), (33, 5, 16)]


def pair(shape, seed=0):
    random = np.random.default_rng(seed)
    return (random.standard_normal(shape, dtype=np.float32) for _ in range(2))


def spectra(*volumes):
    return [scipy.fft.fftn(volume.astype(np.float64)) for volume in volumes]


@pytest.mark.parametrize("tilt_range", RANGES)
@pytest.mark.parametrize("shape", SHAPES)
def test_measured_coefficients_stay_and_all_others_change(shape, tilt_range):
    measured, fill = pair(shape)
    merged = merge_wedge(measured, fill, tilt_range, soft_edge_deg=3.0)
    before, after = spectra(measured, merged)
    mask = wedge_mask(shape, tilt_range)
    typical = np.sqrt(np.mean(np.abs(before) ** 2))
    assert np.abs(after - before)[mask].max() < 1e-5 * typical
    changed = np.abs(after - before)[~mask] / typical
    # The innermost edge may keep a coefficient almost as it is; by chance others hardly change.
    assert np.mean(changed > 0.01) > 0.9
    assert np.sum(changed**2) > 0.5 * np.sum(~mask)


@pytest.mark.parametrize("tilt_range", RANGES)
def test_without_padding_a_hard_edge_takes_the_very_coefficients(tilt_range, monkeypatch):
    monkeypatch.setattr(wedge_merge, "PADDING", 0)
    shape = (20, 5, 32)  # good lengths for the transform, so that nothing is padded at all
    measured, fill = pair(shape)
    merged = merge_wedge(measured, fill, tilt_range, soft_edge_deg=0.0)
    # Both volumes lose the means of their planes, which are measured ones.
    mask = wedge_mask(shape, tilt_range)
    before, other = spectra(measured, fill)
    expected = scipy.fft.ifftn(np.where(mask, before, other)).real
    assert np.abs(merged - expected).max() < 1e-5


@pytest.mark.parametrize("soft", [0.0, 2.0, 10.0])
@pytest.mark.parametrize("tilt_range", RANGES)
@pytest.mark.parametrize("shape", [(20, 32), (17, 29), (40, 21)])
def test_weight_is_zero_where_measured_and_one_beyond_the_edge(shape, tilt_range, soft):
    weight = wedge_weight(shape, tilt_range, soft)
    half = shape[1] // 2 + 1
    flat = (shape[0], 1, shape[1])
    measured = wedge_mask(flat, tilt_range)[:, 0, :half]
    assert (weight[measured] == 0).all()
    assert weight.min() >= 0 and weight.max() <= 1
    wider = (max(tilt_range[0] - soft, -90), min(tilt_range[1] + soft, 90))
    beyond = ~wedge_mask(flat, wider)[:, 0, :half]
    assert (weight[beyond] > 0.999).all() and beyond.any()
    if soft == 0:
        assert (weight[~measured] == 1).all()


def test_weight_rises_with_the_angle_into_the_wedge():
    weight = wedge_weight((401, 401), (-60, 60), 10.0)
    column = [weight[round(100 * np.tan(np.radians(a))), 100] for a in (59, 61, 62.5)]
    assert column[0] == 0 < column[1] < column[2] < 1


@pytest.mark.parametrize("tilt_range", RANGES)
def test_hermitian_weight_even_at_the_highest_frequency(tilt_range):
    weight = wedge_weight((20, 32), tilt_range, 5.0)
    for column in (0, 16):
        assert np.array_equal(weight[1:, column], weight[:0:-1, column])


@pytest.mark.parametrize("gain", [None, GainCurve(np.array([0.0, 0.5]), np.array([2.0, 0.5]))])
def test_slabs_do_not_show(gain, monkeypatch):
    shape = (18, 60, 21)
    measured, fill = pair(shape)
    whole = merge_wedge(measured, fill, (-60, 60), gain=gain)
    monkeypatch.setattr(wedge_merge, "PADDING", 48)
    plane = 60 * 64
    slabs = merge_wedge(
        measured, fill, (-60, 60), gain=gain, slab_voxels=plane * (48 + 7 if gain else 7)
    )
    assert np.abs(whole - slabs).max() < (1e-5 if gain is None else 5e-3)


def test_a_slab_of_one_plane_is_always_possible():
    measured, fill = pair((12, 4, 15))
    one = merge_wedge(measured, fill, (-60, 60), slab_voxels=1)
    assert np.abs(one - merge_wedge(measured, fill, (-60, 60))).max() < 1e-5


def blob(shape, centre):
    z, y, x = np.indices(shape)
    squared = (z - centre[0]) ** 2 + (x - centre[1]) ** 2 + 0 * y
    return np.exp(-squared / 12.0).astype(np.float32)


def test_a_blob_at_one_face_does_not_bleed_to_the_opposite_one(monkeypatch):
    shape = (60, 2, 64)
    empty = np.zeros(shape, np.float32)
    bright = blob(shape, (3, 32))
    merged = merge_wedge(empty, bright, (-60, 60))
    monkeypatch.setattr(wedge_merge, "PADDING", 0)
    wrapped = merge_wedge(empty, bright, (-60, 60))
    far = slice(-6, None)
    assert np.abs(wrapped[far]).max() > 0.15, "the test would see nothing"
    assert np.abs(merged[far]).max() < 0.3 * np.abs(wrapped[far]).max()


def test_means_and_offsets_of_the_filling_do_not_matter():
    measured, fill = pair((20, 4, 24))
    one = merge_wedge(measured + 100, fill + 37, (-60, 60))
    assert np.abs(one - 100 - merge_wedge(measured, fill, (-60, 60))).max() < 1e-4


def test_wedge_content_is_what_the_mask_says():
    volume, _ = pair((17, 5, 20))
    content = wedge_content(volume, (-50, 70))
    expected = scipy.fft.ifftn(
        np.where(wedge_mask(volume.shape, (-50, 70)), 0, scipy.fft.fftn(volume))
    ).real
    assert np.abs(content - expected).max() < 1e-5
    assert np.abs(wedge_content(volume - content, (-50, 70))).max() < 1e-5


def test_gain_finds_a_transfer_function_in_noise():
    random = np.random.default_rng(3)
    shape = (40, 72, 64)
    clean = random.standard_normal(shape, dtype=np.float32)
    blurred = gaussian_filter(clean, 1.0, mode="wrap")
    mask = wedge_mask(shape, (-60, 60))
    noise = 0.1 * random.standard_normal(shape, dtype=np.float32)
    seen = scipy.fft.ifftn(scipy.fft.fftn(3 * blurred + noise) * mask).real.astype(np.float32)
    curve = fit_gain(ArrayVolume(seen, 1.0), ArrayVolume(clean, 1.0), (-60, 60))
    for frequency in (0.05, 0.1, 0.2):
        expected = 3 * np.exp(-2 * (np.pi * frequency) ** 2)
        assert float(curve(np.array(frequency))) == pytest.approx(expected, rel=0.12, abs=0.02)
    other, _ = pair(shape, seed=9)
    none = fit_gain(ArrayVolume(seen, 1.0), ArrayVolume(other, 1.0), (-60, 60))
    assert np.mean(none.gain == 0) > 0.8


def test_gain_leaves_out_the_wedge_of_what_fills():
    density, junk = pair((48, 48, 48), seed=4)
    tilts = (-60, 60)
    seen = density - wedge_content(density, tilts)
    turned = np.ascontiguousarray(swap_beam_and_x(density))
    turned += wedge_content(3 * junk, tilts) - wedge_content(turned, tilts)
    fill = np.ascontiguousarray(swap_beam_and_x(turned)) / 2
    volumes = ArrayVolume(seen, 1.0), ArrayVolume(fill, 1.0)
    careful = fit_gain(*volumes, tilts, fill_has_wedge=True)
    careless = fit_gain(*volumes, tilts)
    assert careful.gain == pytest.approx(np.full(33, 2.0), rel=0.01)
    assert careful.overall == pytest.approx(2, rel=0.01)
    assert careless.gain[4:24].mean() < 1.4


@pytest.mark.parametrize(
    "tilt_range, soft", [((60, -60), 3), ((-95, 60), 3), ((-90, 90), 3), ((-60, 60), 31)]
)
def test_impossible_wedges_are_refused(tilt_range, soft):
    with pytest.raises(DualError, match="degrees|angle|nothing"):
        wedge_weight((16, 16), tilt_range, soft)
