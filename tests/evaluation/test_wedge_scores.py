"""Scores of a filled wedge: with a truth, and by cutting a second wedge."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from dual_core.errors import DualError
from dual_core.evaluation.truth.wedge import (
    COMPENSATED,
    NO_COMPENSATION,
    NOISE,
    double_wedge,
    noise_like,
    score_against_truth,
    wedge_power,
    wedges_overlap,
)
from dual_core.tasks.wedge.merge import merge_wedge
from dual_core.tasks.wedge.planes import wedge_content
from dual_core.volumes.geometry import swap_beam_and_x

TILTS = (-60.0, 60.0)


@pytest.fixture(scope="module")
def cell():
    """Truth, and what was measured of it, in noise."""
    random = np.random.default_rng(1)
    field = gaussian_filter(random.normal(size=(36, 30, 40)), 1.5)
    truth = (field > 1.5 * field.std()).astype(np.float32)
    noisy = truth + 0.3 * random.normal(size=truth.shape).astype(np.float32)
    return truth, noisy - wedge_content(noisy, TILTS)


def test_filling_with_the_truth_fills_the_wedge_and_keeps_the_rest(cell):
    truth, raw = cell
    filled = merge_wedge(raw, truth, TILTS)
    before = score_against_truth(raw, truth, raw, TILTS)
    after = score_against_truth(filled, truth, raw, TILTS)
    assert after["cc_wedge"] > 0.9 > 0.3 > before["cc_wedge"]
    assert after["cc"] > before["cc"]
    assert after["kept"] > 0.99999
    assert after["cc_measured"] == pytest.approx(before["cc_measured"], abs=1e-4)
    assert before["wedge_power"] < 1e-6 < after["wedge_power"]


def test_a_changed_measured_region_is_seen(cell):
    truth, raw = cell
    changed = score_against_truth(raw + truth, truth, raw, TILTS)
    assert changed["kept"] < 0.96


def test_power_of_white_noise_is_the_same_in_the_wedge():
    noise = np.random.default_rng(2).standard_normal((40, 20, 44), dtype=np.float32)
    assert wedge_power(noise, (-50, 70)) == pytest.approx(1, abs=0.05)


def test_an_oracle_wins_the_double_wedge_test_and_noise_loses_it(cell):
    truth, raw = cell

    def oracle(volume):
        # Called for the tomogram first and then for the turned one.
        like = truth if volume.shape == truth.shape else swap_beam_and_x(truth)
        return merge_wedge(volume, np.ascontiguousarray(like), TILTS)

    found = double_wedge(oracle, raw, TILTS, np.random.default_rng(0))
    scores = found.scores
    assert scores[COMPENSATED]["psnr_db"] > scores[NO_COMPENSATION]["psnr_db"]
    assert scores[NO_COMPENSATION]["psnr_db"] > scores[NOISE]["psnr_db"] + 2
    assert scores[COMPENSATED]["cc_band"] > 0.8
    assert scores[COMPENSATED]["cc"] > 0.5 > 0.1 > abs(scores[NOISE]["cc"])
    assert scores[COMPENSATED]["ssim"] > scores[NOISE]["ssim"]
    assert scores[NO_COMPENSATION]["cc"] is None
    assert all(volume.shape == truth.shape for volume in found.volumes.values())
    cut = np.ascontiguousarray(swap_beam_and_x(found.volumes["cut"]))
    assert wedge_power(cut, TILTS) < 1e-6


def test_doing_nothing_scores_as_no_compensation(cell):
    _, raw = cell
    found = double_wedge(lambda volume: volume, raw, TILTS, np.random.default_rng(0))
    assert found.scores[COMPENSATED]["psnr_db"] == pytest.approx(
        found.scores[NO_COMPENSATION]["psnr_db"], abs=1e-3
    )


def test_noise_has_the_power_of_what_it_stands_for_and_is_in_the_wedge(cell):
    truth, _ = cell
    content = wedge_content(truth, TILTS)
    noise = noise_like(content, TILTS, np.random.default_rng(5))
    assert np.std(noise) == pytest.approx(np.std(content), rel=0.02)
    assert abs(noise.mean()) < 1e-6
    assert np.abs(noise - wedge_content(noise, TILTS)).max() < 1e-5


@pytest.mark.parametrize(
    "tilts, overlap", [(TILTS, False), ((-50, 70), False), ((-40, 40), True), ((-40, 70), True)]
)
def test_wedges_that_overlap_are_refused(tilts, overlap):
    assert wedges_overlap(tilts) == overlap
    if overlap:
        with pytest.raises(DualError, match="overlap"):
            double_wedge(lambda v: v, np.zeros((8, 8, 8)), tilts, np.random.default_rng(0))
