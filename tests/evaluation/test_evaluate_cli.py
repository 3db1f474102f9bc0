"""The command ``dual evaluate``, through the entry point."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from dual_core.cli.evaluations.against_truth import COLUMNS
from dual_core.cli.evaluations.table import format_table
from dual_core.cli.main import main
from dual_core.evaluation.truth import classical
from dual_core.evaluation.truth.metrics import score_volume
from dual_core.volumes.reading import write_volume


@pytest.fixture
def cells(tmp_path):
    """Two pairs as MRC files: bright truths, dark tomograms."""
    files = SimpleNamespace(folder=tmp_path)
    for number in (8, 9):
        rng = np.random.default_rng(number)
        truth = (gaussian_filter(rng.normal(size=(24, 28, 26)), 2.5) > 0.02).astype(np.float32)
        noisy = (-5 * (truth + rng.normal(size=truth.shape) * 0.7)).astype(np.float32)
        for name, array in (("truth", truth), ("noisy", noisy)):
            path = tmp_path / f"{name}_{number}.mrc"
            write_volume(path, array, 10.0)
            setattr(files, f"{name}_{number}", str(path))
            setattr(files, f"{name}_{number}_array", array)
    return files


def test_volumes_are_scored_and_written(cells, capsys):
    output = cells.folder / "out"
    status = main(
        ["evaluate", "volumes", "--truth", cells.truth_9, cells.noisy_9, cells.truth_9]
        + ["--margin", "2", "--output", str(output)]
    )
    assert status == 0
    expected = score_volume(-cells.noisy_9_array, cells.truth_9_array, 10.0, margin=2).as_dict()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[1].split()[:3] == [cells.noisy_9, "dark", f"{expected['psnr_db']:.2f}"]
    assert lines[2].split()[:3] == [cells.truth_9, "bright", "-"]

    content = json.loads((output / "scores.json").read_text())
    assert {k: content["scores"][0][k] for k in expected} == pytest.approx(expected)
    with open(output / "scores.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert float(rows[0]["ssim"]) == pytest.approx(expected["ssim"])
    assert rows[1]["psnr_db"] == ""
    with open(output / "fsc.csv", newline="") as file:
        curve = list(csv.reader(file))
    assert curve[0] == ["frequency_per_A", cells.noisy_9, cells.truth_9]
    assert float(curve[-1][0]) == pytest.approx(0.05)
    names = {path.name for path in output.iterdir()}
    files = {"scores.csv", "scores.json", "fsc.csv", "slices.png", "spectra.png", "evaluate.yaml"}
    assert names == files


def test_dumped_options_run_again(cells, capsys):
    output = cells.folder / "out"
    arguments = ["volumes", "--truth", cells.truth_9, cells.noisy_9, "--tilt-range", "-50", "60"]
    assert main(["evaluate", *arguments, "--output", str(output)]) == 0
    table = capsys.readouterr().out
    (output / "scores.csv").unlink()
    config = str(output / "evaluate.yaml")
    assert main(["evaluate", "volumes", "--config", config]) == 0
    assert capsys.readouterr().out == table
    assert (output / "scores.csv").exists()


def test_contrast_that_is_given_is_obeyed(cells, capsys):
    def correlation(*options):
        assert main(["evaluate", "volumes", "--truth", cells.truth_9, cells.noisy_9, *options]) == 0
        header, line = capsys.readouterr().out.splitlines()
        return float(line.split()[4])

    assert correlation() == correlation("--contrast", "dark") > 0.1
    assert correlation("--contrast", "bright") == -correlation()


def test_mask_and_data_range_reach_the_scores(cells, capsys):
    mask = np.zeros((24, 28, 26), np.float32)
    mask[6:18, 6:22, 6:20] = 1
    write_volume(cells.folder / "mask.mrc", mask, 10.0)
    status = main(
        ["evaluate", "volumes", "--truth", cells.truth_9, cells.noisy_9, "--data-range", "4"]
        + ["--mask", str(cells.folder / "mask.mrc"), "--tilt-range", "-40", "40"]
    )
    assert status == 0
    expected = score_volume(
        -cells.noisy_9_array,
        cells.truth_9_array,
        10.0,
        data_range=4.0,
        mask=mask,
        tilt_range=(-40, 40),
    )
    line = capsys.readouterr().out.splitlines()[1].split()
    values = (expected.psnr_db, expected.ssim, expected.cc, expected.cc_measured, expected.cc_wedge)
    for text, value in zip(line[2:7], values):
        assert float(text) == pytest.approx(value, abs=0.006)


@pytest.fixture
def small_grids(monkeypatch):
    monkeypatch.setattr(classical, "METHODS", (classical.Gaussian, classical.NonLocalMeans))
    monkeypatch.setattr(classical.Gaussian, "GRID", {"sigma": (0.5, 1.5, 4.0)})
    grid = {"patch_size": (3,), "patch_distance": (2,), "h": (1.0,)}
    monkeypatch.setattr(classical.NonLocalMeans, "GRID", grid)
    monkeypatch.setattr(classical.tuned_baselines, "__defaults__", ("psnr", 0, classical.METHODS))


def test_baselines_are_tuned_and_told(cells, capsys, small_grids):
    output = cells.folder / "out"
    status = main(
        ["evaluate", "baselines", "--noisy", cells.noisy_9, "--truth", cells.truth_9]
        + ["--validation-noisy", cells.noisy_8, "--validation-truth", cells.truth_8]
        + ["--output", str(output)]
    )
    assert status == 0
    best, _ = classical.Gaussian.tune(-cells.noisy_8_array, cells.truth_8_array)
    expected = score_volume(best(-cells.noisy_9_array), cells.truth_9_array, 10.0)
    rows = {row["name"]: row for row in json.loads((output / "scores.json").read_text())["scores"]}
    assert list(rows) == ["no denoising", "Gaussian", "NLM"]
    assert rows["Gaussian"]["parameters"] == best.describe()
    assert rows["Gaussian"]["cc"] == pytest.approx(expected.cc)
    assert rows["Gaussian"]["cc"] > rows["no denoising"]["cc"] + 0.05
    assert best.describe() in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"truth": "nowhere.mrc"}, "nowhere.mrc"),
        ({"truth": "other_shape"}, "shape"),
        ({"truth": "other_voxels"}, "--voxel-size"),
        ({"margin": "12"}, "margin"),
        ({"margin": "-1"}, "--margin"),
        ({"tilt": ("60", "-60")}, "--tilt-range"),
    ],
)
def test_mistakes_are_one_line_that_says_what_to_do(cells, capsys, change, message):
    write_volume(cells.folder / "other_shape", cells.truth_9_array[1:], 10.0)
    write_volume(cells.folder / "other_voxels", cells.truth_9_array, 12.0)
    truth = cells.folder / change["truth"] if "truth" in change else cells.truth_9
    status = main(
        ["evaluate", "volumes", "--truth", str(truth), cells.noisy_9]
        + ["--margin", change.get("margin", "0")]
        + ["--tilt-range", *change.get("tilt", ("-60", "60"))]
    )
    captured = capsys.readouterr()
    assert status == 2
    assert captured.out == ""
    lines = [line for line in captured.err.splitlines() if line.startswith("dual: error:")]
    assert len(lines) == 1
    assert message in lines[0]


def test_help_leads_to_the_nested_help_and_names_real_files(capsys):
    with pytest.raises(SystemExit):
        main(["evaluate", "--help"])
    text = capsys.readouterr().out
    assert "dual evaluate WHAT --help" in text and "tomo_9_denoised.mrc" in text


def test_table_is_aligned():
    row = {"name": "a", "psnr_db": 3.0, "ssim": None}
    lines = format_table([row, {**row, "name": "longer", "psnr_db": 123.456}], COLUMNS).splitlines()
    assert lines == [
        "name    PSNR (dB)  SSIM",
        "a            3.00     -",
        "longer     123.46     -",
    ]


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from dual_core.cli.main import main\n"
        "try: main(['evaluate', 'volumes', '--help'])\n"
        "except SystemExit: pass\n"
        "sys.exit(bool({'numpy', 'torch', 'matplotlib', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)
    assert done.returncode == 0
