"""What denoising invented: random phases, structure made of noise, and flips."""

from __future__ import annotations

import numpy as np
import pytest
from noisy_cells import (
    OPTIONS,
    SHAPE,
    VOXEL_SIZE_A,
    cells,
    look,
    thresholded,
    tomogram,
    values,
    verdicts,
)

pytest.importorskip("torch")

from dual_core.evaluation.trust.examine import TrustOptions, count_picks, flip_deviation, strengths  # noqa: E402
from dual_core.evaluation.trust.findings import Finding, led_by_coherence  # noqa: E402
from dual_core.evaluation.trust.phase_random import randomise_phases  # noqa: E402

# --- phase randomisation ------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(12, 15, 16), (13, 16, 17), (8, 9, 1)])
def test_random_phases_keep_the_spectrum_and_are_real(shape):
    volume = np.random.default_rng(1).normal(2.0, 3.0, shape).astype(np.float32)
    copy = randomise_phases(volume, np.random.default_rng(0))
    assert copy.dtype == np.float32 and copy.shape == volume.shape
    # An irfftn would hide a spectrum without the symmetry; a full transform shows it.
    before, after = (np.abs(np.fft.fftn(v.astype(np.float64))) for v in (volume, copy))
    assert np.abs(after - before).max() < 1e-5 * before.max()
    assert copy.mean() == pytest.approx(volume.mean(), abs=1e-4)


def test_random_phases_leave_no_structure():
    cell = cells()
    copy = randomise_phases(cell, np.random.default_rng(0))
    assert abs(np.corrcoef(copy.ravel(), cell.ravel())[0, 1]) < 0.1
    skew = [float(np.mean((v / v.std()) ** 3)) for v in (cell, copy)]
    assert skew[0] > 2 and abs(skew[1]) < 0.3


def test_the_same_seed_gives_the_same_phases():
    cell = cells()
    one, again, other = (randomise_phases(cell, np.random.default_rng(s)) for s in (3, 3, 4))
    assert np.array_equal(one, again)
    assert not np.allclose(one, other, atol=0.1)


# --- inventions ---------------------------------------------------------------------------------


def test_a_sober_denoiser_is_green_on_hallucination():
    t, _ = tomogram()
    found = look(thresholded, t)
    assert values(found)["noise_picks"] < 0.1
    assert values(found)["noise_energy"] < 0.3
    assert {verdicts(found)[key] for key in ("noise_picks", "noise_energy")} == {"green"}


def test_a_denoiser_that_invents_is_red():
    t, _ = tomogram()

    def invents(v):
        # The same blobs as the true cell has, at places that the input's noise decides.
        return cells(seed=int(1000 * abs(float(v[0, 0, 0]))))

    found = look(invents, t)
    assert values(found)["noise_picks"] > 0.5
    assert values(found)["noise_energy"] > 0.8
    assert values(found)["explained"] < 0.05
    assert {verdicts(found)[key] for key in ("noise_picks", "noise_energy", "flips")} == {"red"}


def test_a_denoiser_that_does_nothing_is_red():
    t, _ = tomogram(noise=4.0)
    found = look(lambda v: v[:, ::-1] * 1.0, t)
    assert values(found)["noise_energy"] > 0.8
    assert values(found)["structure_left"] is None and verdicts(found)["structure_left"] == "amber"


def test_noise_explained_better_than_the_tomogram_is_red():
    t, _ = tomogram()
    copy = look(thresholded, t).volumes["same spectrum"]

    def loves_noise(v):
        return v if np.array_equal(v, copy) else v + np.random.default_rng(2).normal(
            0, 1.5, SHAPE
        ).astype(np.float32)

    assert verdicts(look(loves_noise, t))["same_spectrum"] == "red"


@pytest.mark.parametrize("coherence", ["green", "amber", "red", None])
def test_half_coherence_decides_whether_noise_was_learnt_only_where_it_is_green(coherence):
    same = Finding("same_spectrum", "", 1.0, "", "red", "Near 1.")
    other = Finding("noise_energy", "", 0.9, "", "red", "")
    first = [Finding("half_coherence", "", 1.1, "", coherence, "")] if coherence else []
    found = {one.key: one for one in led_by_coherence([*first, same, other])}
    assert found["noise_energy"] is other
    assert found["same_spectrum"].value == 1.0
    if coherence == "green":
        assert found["same_spectrum"].verdict == "green"
        assert found["same_spectrum"].sentence.startswith("Near 1. It decides nothing here")
    else:
        assert found["same_spectrum"] is same


def test_gold_does_not_hide_what_is_made_of_noise():
    """One bead a hundred times as strong as a protein must not make the rest look quiet."""
    rng = np.random.default_rng(0)
    real, noise = (rng.normal(size=SHAPE).astype(np.float32) for _ in range(2))
    real[5:9, 5:9, 5:9] = 300.0
    first, second = strengths([real, noise])
    assert second / first == pytest.approx(1.0, abs=0.1)
    blobs = cells()
    blobs[2:5, 2:5, 2:5] = 300.0
    counts = count_picks([blobs, cells(seed=1)], VOXEL_SIZE_A, 80.0)
    assert counts[0] >= 10 and counts[1] >= 10


def test_contrast_of_the_clean_domain_is_obeyed():
    dark = count_picks([-cells()], VOXEL_SIZE_A, 80.0, "dark")
    assert dark == count_picks([cells()], VOXEL_SIZE_A, 80.0)
    assert dark[0] > 10


# --- flips --------------------------------------------------------------------------------------


def test_flips_do_not_change_what_an_equivariant_denoiser_gives():
    t, _ = tomogram()
    for flips in (OPTIONS.flips, TrustOptions(tilt_range_deg=(-40.0, 60.0)).flips):
        deviation = flip_deviation(t, thresholded(t), thresholded, flips)
        assert deviation.max() < 1e-4


def test_flip_deviation_is_the_deviation_and_lies_in_place():
    volume = np.zeros((4, 5, 6), np.float32)
    volume[0, 1, 2] = 1.0
    weight = np.linspace(0, 1, 6, dtype=np.float32)
    denoise = lambda v: v * weight  # noqa: E731
    deviation = flip_deviation(volume, denoise(volume), denoise, ((0,), (2,)))
    expected = np.std([weight[2], weight[2], weight[3]])
    assert deviation[0, 1, 2] == pytest.approx(expected, abs=1e-6)
    assert np.count_nonzero(deviation) == 1
