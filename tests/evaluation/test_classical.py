"""The classical baselines and how they are tuned."""

from __future__ import annotations

import logging
import subprocess
import sys

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from dual_core.errors import DualError
from dual_core.evaluation.truth.classical import (
    METHODS,
    AnisotropicDiffusion,
    Gaussian,
    NonLocalMeans,
    topaz_denoise,
    tuned_baselines,
)
from dual_core.evaluation.truth.metrics import pearson, score_volume

SMALL_GRIDS = {
    Gaussian: {"sigma": (0.5, 1.5, 4.0)},
    AnisotropicDiffusion: {"conductance": (4.0,), "iterations": (2, 10)},
    NonLocalMeans: {"patch_size": (3,), "patch_distance": (2,), "h": (0.05, 1.0)},
}


def make_pair(seed, shape=(24, 28, 26)):
    rng = np.random.default_rng(seed)
    truth = (gaussian_filter(rng.normal(size=shape), 2.5) > 0.08).astype(np.float32)
    noisy = truth + rng.normal(size=shape) * truth.std() * 1.5
    return (20 * noisy - 40).astype(np.float32), truth


@pytest.mark.parametrize("method", METHODS)
def test_every_method_brings_a_noisy_volume_nearer_to_the_truth(method):
    if method is AnisotropicDiffusion:
        pytest.importorskip("SimpleITK", reason="the extra 'baselines' is not installed")
    noisy, truth = make_pair(0)
    best, trials = method.tune(noisy, truth, grid=SMALL_GRIDS[method])
    denoised = best(noisy)
    assert denoised.dtype == np.float32
    assert denoised.shape == noisy.shape
    assert pearson(denoised, truth) > pearson(noisy, truth) + 0.1
    assert len(trials) == np.prod([len(values) for values in SMALL_GRIDS[method].values()])
    # The best of the grid, and the scores told are those of the metrics.
    assert max(trial.psnr for trial in trials) == pytest.approx(
        score_volume(denoised, truth).psnr_db, abs=1e-3
    )


@pytest.mark.parametrize("method", [Gaussian, NonLocalMeans])
def test_result_follows_grey_scale_and_contrast_of_the_input(method):
    noisy, _ = make_pair(1, (12, 13, 14))
    denoiser = method()
    plain = denoiser(noisy)
    turned = denoiser(-3 * noisy + 100)
    np.testing.assert_allclose(turned, -3 * plain + 100, rtol=1e-3, atol=0.02)
    assert plain.mean() == pytest.approx(noisy.mean(), abs=1.5)


def test_tuning_takes_the_best_of_the_grid_for_either_criterion():
    noisy, truth = make_pair(2)
    for criterion in ("psnr", "ssim"):
        best, trials = Gaussian.tune(noisy, truth, criterion=criterion)
        values = [getattr(trial, criterion) for trial in trials]
        assert best == trials[int(np.argmax(values))].denoiser
    with pytest.raises(DualError, match="criterion"):
        Gaussian.tune(noisy, truth, criterion="looks")


def test_margin_keeps_the_border_out_of_the_tuning():
    noisy, truth = make_pair(3)
    noisy[:2] += 1e4
    _, with_border = Gaussian.tune(noisy, truth, grid={"sigma": (1.0,)})
    _, without = Gaussian.tune(noisy, truth, grid={"sigma": (1.0,)}, margin=8)
    assert without[0].psnr > with_border[0].psnr + 3


def test_optimum_on_the_edge_of_the_grid_is_told(caplog):
    noisy, truth = make_pair(4)
    with caplog.at_level(logging.WARNING, logger="dual_core"):
        Gaussian.tune(noisy, truth, grid={"sigma": (0.1, 0.2, 0.3)})
    assert "edge" in caplog.text


def test_progress_is_reported():
    noisy, truth = make_pair(5)
    seen = []
    Gaussian.tune(
        noisy, truth, grid={"sigma": (1.0, 2.0)}, report=lambda *counts: seen.append(counts)
    )
    assert seen == [(1, 2), (2, 2)]


def test_baselines_are_tuned_on_one_pair_and_applied_to_another():
    validation, (noisy, _) = make_pair(6), make_pair(7)
    rows = list(tuned_baselines(noisy, validation, methods=[Gaussian]))
    best, _ = Gaussian.tune(*validation)
    assert [(label, text) for label, text, _ in rows] == [("Gaussian", best.describe())]
    np.testing.assert_array_equal(rows[0][2], best(noisy))


def test_missing_simpleitk_is_said_with_the_mend(monkeypatch):
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    with pytest.raises(DualError, match=r"pip install 'scipion-em-dual\[baselines\]'"):
        AnisotropicDiffusion()(make_pair(8, (8, 8, 8))[0])


def test_parameters_are_told():
    assert NonLocalMeans(5, 3, 0.8).describe() == "patch_size 5, patch_distance 3, h 0.8"
    assert Gaussian(2.5).parameters == {"sigma": 2.5}


FAKE_TOPAZ = """
import argparse, os, shutil, sys
parser = argparse.ArgumentParser()
parser.add_argument("volumes", nargs="*")
parser.add_argument("--output")
parser.add_argument("--suffix")
parser.add_argument("--model")
parser.add_argument("--device")
{arch}
args = parser.parse_args()
if args.model == "broken":
    sys.exit("no such model")
if {check}:
    sys.exit("the network was not chosen by --arch")
shutil.copy(args.volumes[0], os.path.join(args.output, "tomogram" + args.suffix + ".mrc"))
"""


@pytest.mark.parametrize("new", [False, True])
def test_topaz_runs_as_a_program_on_standardised_data(tmp_path, new):
    program = tmp_path / "fake.py"
    arch = 'parser.add_argument("--arch")' if new else ""
    check = "args.arch != args.model" if new else "False"
    program.write_text(FAKE_TOPAZ.format(arch=arch, check=check))
    noisy, _ = make_pair(9, (8, 9, 10))
    command = f"'{sys.executable}' '{program}'"
    result = topaz_denoise(noisy, 10.0, command, arguments=["--device", "-1"])
    assert result.shape == noisy.shape
    assert result.std() == pytest.approx(1, abs=1e-4)
    assert pearson(result, noisy) == pytest.approx(1, abs=1e-5)
    with pytest.raises(DualError, match="no such model"):
        topaz_denoise(noisy, 10.0, command, model="broken")


def test_topaz_that_cannot_be_started_is_said():
    noisy, _ = make_pair(10, (8, 8, 8))
    with pytest.raises(DualError, match="cannot be started"):
        topaz_denoise(noisy, 10.0, "/nowhere/topaz")


def test_importing_the_baselines_costs_no_optional_package():
    code = (
        "import sys, dual_core.evaluation.truth.classical; "
        "sys.exit(bool({'SimpleITK', 'skimage', 'torch', 'matplotlib'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
