"""Scores against scikit-image and against plain full-transform formulas."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dual_core.errors import DualError
from dual_core.evaluation.truth.metrics import (
    FscCurve,
    fourier_scores,
    pearson,
    psnr,
    score_volume,
    ssim,
    standardise,
)
from dual_core.volumes.geometry import frequency_radius, wedge_mask


def pair(shape=(19, 37, 24), noise=1.0, seed=0):
    """A smooth truth with positive density and a noisy copy on another grey scale."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    truth = np.maximum(gaussian_filter(rng.normal(size=shape), 1.5), 0)
    truth /= truth.std()
    noisy = 7 + 3 * (truth + noise * rng.normal(size=shape))
    return noisy.astype(np.float32), truth.astype(np.float32)


def correlation(a, b, where):
    a, b = a[where], b[where]
    return (a * b.conj()).real.sum() / np.sqrt((abs(a) ** 2).sum() * (abs(b) ** 2).sum())


@pytest.mark.parametrize("shape", [(19, 37, 24), (7, 8, 9), (40, 12, 11)])
def test_ssim_and_psnr_equal_scikit_image(shape):
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    noisy, truth = (standardise(v) for v in pair(shape))
    data_range = float(truth.max() - truth.min())
    a, b = noisy.astype(np.float64), truth.astype(np.float64)
    expected = structural_similarity(b, a, data_range=data_range, win_size=7)
    for slab in (1, 5, 16, 1000):
        assert ssim(noisy, truth, data_range, slab=slab) == pytest.approx(expected, abs=1e-6)
    expected = peak_signal_noise_ratio(b, a, data_range=data_range)
    assert psnr(noisy, truth, data_range) == pytest.approx(expected, abs=1e-5)


def test_score_volume_equals_scikit_image_inside_a_margin():
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    noisy, truth = pair()
    scores = score_volume(noisy, truth, margin=3)
    a = standardise(noisy[3:-3, 3:-3, 3:-3]).astype(np.float64)
    b = standardise(truth[3:-3, 3:-3, 3:-3]).astype(np.float64)
    data_range = b.max() - b.min()
    assert scores.data_range == pytest.approx(data_range)
    expected = structural_similarity(b, a, data_range=data_range, win_size=7)
    assert scores.ssim == pytest.approx(expected, abs=1e-6)
    expected = peak_signal_noise_ratio(b, a, data_range=data_range)
    assert scores.psnr_db == pytest.approx(expected, abs=1e-4)
    assert scores.cc == pytest.approx(np.corrcoef(a.ravel(), b.ravel())[0, 1], abs=1e-6)


def test_scores_do_not_depend_on_the_grey_scale():
    noisy, truth = pair()
    one = score_volume(noisy, truth).as_dict()
    other = score_volume(noisy * 12 - 500, truth * 0.01 + 3).as_dict()
    assert one == pytest.approx(other, rel=1e-4)


def test_psnr_of_standardised_volumes_is_the_correlation():
    noisy, truth = pair()
    scores = score_volume(noisy, truth)
    expected = 10 * np.log10(scores.data_range**2 / (2 * (1 - scores.cc)))
    assert scores.psnr_db == pytest.approx(expected, abs=1e-3)


def test_explicit_data_range_shifts_the_psnr():
    noisy, truth = pair()
    ten = score_volume(noisy, truth, data_range=10.0)
    hundred = score_volume(noisy, truth, data_range=100.0)
    assert hundred.psnr_db - ten.psnr_db == pytest.approx(20, abs=1e-6)
    assert hundred.ssim > ten.ssim


@pytest.mark.parametrize("shape", [(16, 21, 18), (15, 12, 13)])
@pytest.mark.parametrize("tilt_axis", ["y", "x"])
def test_fourier_scores_equal_the_full_transform(shape, tilt_axis):
    noisy, truth = (standardise(v) for v in pair(shape))
    tilts = (-60.0, 40.0)
    fsc, measured, wedge = fourier_scores(noisy, truth, 5.0, tilts, tilt_axis)

    a, b = np.fft.fftn(noisy.astype(np.float64)), np.fft.fftn(truth.astype(np.float64))
    radius = frequency_radius(shape).astype(np.float64)
    band = (radius >= 1 / 100) & (radius <= 1 / 4)
    inside = wedge_mask(shape, tilts, tilt_axis)
    assert measured == pytest.approx(correlation(a, b, band & inside), abs=1e-5)
    assert wedge == pytest.approx(correlation(a, b, band & ~inside), abs=1e-5)
    shell = np.rint(radius * min(shape))
    expected = [correlation(a, b, shell == k) for k in range(1, min(shape) // 2 + 1)]
    np.testing.assert_allclose(fsc.correlation, expected, atol=1e-5)
    np.testing.assert_allclose(
        fsc.frequency_per_A, np.arange(1, min(shape) // 2 + 1) / (min(shape) * 5.0)
    )


def test_what_the_wedge_removes_is_missed_in_the_wedge_alone():
    _, truth = pair((24, 24, 24))
    cut = np.fft.ifftn(np.fft.fftn(truth) * wedge_mask(truth.shape, (-60, 60))).real
    noise = np.random.default_rng(1).normal(size=cut.shape) * 1e-3
    scores = score_volume((cut + noise).astype(np.float32), truth)
    assert scores.cc_measured > 0.999
    assert abs(scores.cc_wedge) < 0.3


def test_full_tilt_range_has_no_wedge():
    noisy, truth = pair()
    scores = score_volume(noisy, truth, tilt_range=(-90, 90))
    assert np.isnan(scores.cc_wedge)
    assert scores.as_dict()["cc_wedge"] is None


def test_equal_volumes_have_perfect_scores():
    _, truth = pair()
    scores = score_volume(truth, truth, voxel_size_A=4.0)
    assert scores.psnr_db == np.inf
    assert scores.as_dict()["psnr_db"] is None
    assert scores.ssim == pytest.approx(1)
    assert scores.cc == pytest.approx(1, abs=1e-6)
    assert scores.fsc.resolution_A(0.5) == pytest.approx(
        2 * 4.0, rel=0.06
    )  # odd side: near Nyquist


def test_crossing_is_linear_between_shells():
    curve = FscCurve(np.array([0.01, 0.02, 0.03, 0.04]), np.array([0.9, 0.7, 0.3, 0.1]))
    assert curve.crossing(0.5) == pytest.approx(0.025)
    assert curve.resolution_A(0.5) == pytest.approx(40)
    assert curve.crossing(0.143) == pytest.approx(0.03 + 0.01 * (0.3 - 0.143) / 0.2)


def test_crossing_at_the_ends():
    frequency = np.array([0.01, 0.02, 0.03])
    assert FscCurve(frequency, np.array([0.4, 0.3, 0.1])).crossing(0.5) is None
    assert FscCurve(frequency, np.array([0.4, 0.3, 0.1])).resolution_A(0.5) is None
    assert FscCurve(frequency, np.array([0.9, 0.8, 0.7])).crossing(0.5) == 0.03
    late = FscCurve(frequency, np.array([0.1, 0.9, 0.1])).crossing(0.5)
    assert late == pytest.approx(0.025)


def test_mask_leaves_out_what_lies_outside():
    noisy, truth = pair((24, 24, 24), noise=0.3)
    spoilt = noisy.copy()
    spoilt[:, :, :8] = np.random.default_rng(2).normal(size=(24, 24, 8)) * 100
    mask = np.zeros(truth.shape, np.float32)
    mask[:, :, 12:] = 1
    clean, dirty = (score_volume(v, truth, mask=mask) for v in (noisy, spoilt))
    assert dirty.as_dict() == pytest.approx(clean.as_dict(), rel=1e-3)
    assert score_volume(spoilt, truth).cc < 0.5 < dirty.cc
    where = mask > 0.5
    assert dirty.cc == pytest.approx(pearson(noisy[where], truth[where]), abs=1e-5)


def test_masked_ssim_is_the_mean_of_the_map():
    from skimage.metrics import structural_similarity

    noisy, truth = (standardise(v).astype(np.float64) for v in pair())
    mask = np.random.default_rng(3).random(truth.shape) > 0.7
    _, similarity = structural_similarity(truth, noisy, data_range=9.0, win_size=7, full=True)
    inner = (slice(3, -3),) * 3
    expected = similarity[inner][mask[inner]].mean()
    assert ssim(noisy, truth, 9.0, mask, slab=4) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"volume": np.zeros((19, 37, 24), np.float32)}, "constant"),
        ({"volume": np.full((19, 37, 24), np.nan, np.float32)}, "NaN"),
        ({"volume": np.zeros((19, 37, 25), np.float32)}, "shape"),
        ({"mask": np.zeros((19, 37, 24), np.float32)}, "mask"),
        ({"margin": 10}, "margin"),
        ({"margin": -1}, "margin"),
        ({"margin": 7}, "SSIM"),
    ],
)
def test_impossible_requests_are_refused(change, message):
    noisy, truth = pair()
    with pytest.raises(DualError, match=message):
        score_volume(**{"volume": noisy, "truth": truth, **change})


def test_figures_of_the_shared_cell():
    """The published figures of the synthetic test cell, where it is at hand."""
    folder = Path(__file__).resolve().parents[3] / "shared" / "data" / "shrec_like"
    if not (folder / "tomo_9.mrc").exists():
        pytest.skip("the synthetic cells are not beside the repository")
    from dual_core.volumes.reading import open_volume

    tomogram = -open_volume(folder / "tomo_9.mrc").load()
    truth = open_volume(folder / "grand_9.mrc")
    scores = score_volume(tomogram, truth.load(), truth.voxel_size_A)
    assert scores.psnr_db == pytest.approx(29.93, abs=0.005)
    assert scores.ssim == pytest.approx(0.442, abs=0.0005)
    assert scores.cc == pytest.approx(0.216, abs=0.0005)
    assert scores.cc_measured == pytest.approx(0.53, abs=0.005)
    assert scores.cc_wedge == pytest.approx(0.09, abs=0.005)
