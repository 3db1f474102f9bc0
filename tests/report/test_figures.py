"""Figures: files that hold what they must, without pyplot."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import numpy as np
import pytest

from dual_core.errors import DualError
from dual_core.figures import (
    central_slice,
    contrast_limits,
    curves_figure,
    log_power,
    radial_mean,
    scale_bar_nm,
    slices_figure,
    spectra_figure,
)
from dual_core.volumes.geometry import wedge_mask


def read_png(path):
    from matplotlib.image import imread

    return imread(str(path))


@pytest.fixture
def volumes():
    rng = np.random.default_rng(0)
    return {"Tomogram": rng.normal(size=(12, 20, 16)), "Denoised": rng.normal(size=(12, 20, 16))}


def test_central_slices_have_the_axes_they_say():
    z, y, x = np.meshgrid(np.arange(4), np.arange(6), np.arange(8), indexing="ij")
    volume = 100 * z + 10 * y + x
    assert central_slice(volume, "xy")[1, 2] == 212
    assert central_slice(volume, "xz")[1, 2] == 132
    assert central_slice(volume, "yz")[1, 2] == 124
    assert central_slice(volume, "xy", index=0)[1, 2] == 12
    with pytest.raises(DualError, match="plane"):
        central_slice(volume, "zz")


def test_a_hot_voxel_does_not_take_the_grey_scale():
    values = np.random.default_rng(1).normal(size=(100, 100))
    values[3, 4], values[5, 6] = 1e6, np.nan
    low, high = contrast_limits(values)
    assert -4 < low < -2
    assert 2 < high < 4


def test_limits_of_a_constant_slice_are_usable():
    low, high = contrast_limits(np.full((5, 5), 3.0))
    assert low < 3 < high
    assert contrast_limits(np.full((5, 5), np.nan)) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("extent", "expected"), [(192, 50), (90, 20), (29.9, 5), (3, 1), (1000, 200), (0.7, 0.2)]
)
def test_scale_bar_is_round_and_fits(extent, expected):
    assert scale_bar_nm(extent) == pytest.approx(expected)


@pytest.mark.parametrize("planes", [("xy",), ("xy", "xz"), ("xy", "xz", "yz")])
def test_slices_are_drawn_for_every_plane(tmp_path, volumes, planes):
    path = slices_figure(volumes, tmp_path / "new" / "slices.png", 10.0, planes=planes, title="A")
    picture = read_png(path)
    assert picture[..., :3].std() > 0.1
    assert picture.shape[0] > 200 * len(planes)
    assert [p.name for p in path.parent.iterdir()] == ["slices.png"]


def test_invert_turns_the_grey_scale(tmp_path):
    ramp = {"a": np.broadcast_to(np.linspace(0, 1, 32), (8, 32, 32))}
    centre = []
    for invert in (False, True):
        path = slices_figure(ramp, tmp_path / "a.png", 10.0, planes=("xy",), invert=invert)
        row = read_png(path)[..., 0]
        row = row[row.shape[0] // 2]
        centre.append(row[3 * row.size // 4] - row[row.size // 4])
    assert centre[0] > 0.3
    assert centre[1] < -0.3


def test_log_power_shows_the_missing_wedge():
    shape = (48, 48, 48)
    noise = np.random.default_rng(2).normal(size=shape)
    mask = wedge_mask(shape, (-60, 60))
    cut = np.fft.ifftn(np.fft.fftn(noise) * mask).real
    plane = central_slice(log_power(cut), "xz")
    centred = central_slice(np.fft.fftshift(mask), "xz")
    assert plane[centred].mean() > plane[~centred].mean() + 1


def test_radial_mean_of_a_radial_spectrum_is_itself():
    axes = [np.fft.fftshift(np.fft.fftfreq(side)) for side in (20, 24, 22)]
    radius = np.sqrt(sum(axis**2 for axis in np.meshgrid(*axes, indexing="ij")))
    frequency, mean = radial_mean(radius)
    np.testing.assert_allclose(mean[1:], frequency[1:], atol=0.01)
    assert frequency[-1] == 0.5


def test_spectra_are_drawn_for_volumes_of_any_shape(tmp_path, volumes):
    volumes["Empty"] = np.zeros((9, 9, 9))
    picture = read_png(spectra_figure(volumes, tmp_path / "spectra.png", 10.0, title="Spectra"))
    assert picture[..., :3].std() > 0.1


def test_curves_survive_missing_and_infinite_values(tmp_path):
    history = [{"iteration": i, "loss": 1 / (i + 1), "note": "text"} for i in range(30)]
    history[5]["loss"] = float("nan")
    history[9] = {"iteration": 9, "kl": 3.0}
    picture = read_png(curves_figure(history, tmp_path / "curves.png"))
    assert picture[..., :3].std() > 0.05


def test_groups_put_curves_together(tmp_path):
    history = [{"iteration": i, "a": i, "b": -i, "c": 1.0} for i in range(10)]
    every = read_png(curves_figure(history, tmp_path / "every.png"))
    groups = {"Both": ["a", "b", "absent"], "None": ["absent"]}
    grouped = read_png(curves_figure(history, tmp_path / "grouped.png", groups=groups))
    assert every.shape[1] == 3 * grouped.shape[1]


@pytest.mark.parametrize("history", [[], [{"iteration": 1}], [{"loss": 1.0}]])
def test_history_without_numbers_is_refused(tmp_path, history):
    with pytest.raises(DualError, match="history"):
        curves_figure(history, tmp_path / "curves.png")


def test_nothing_to_draw_is_refused(tmp_path):
    for draw in (slices_figure, spectra_figure):
        with pytest.raises(DualError, match="no volume"):
            draw({}, tmp_path / "a.png", 10.0)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_an_error_with_the_path(tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(DualError, match="a.png.*No space left"):
        slices_figure({"a": np.eye(8)[None] * np.ones((8, 1, 1))}, tmp_path / "a.png", 10.0)
    assert not list(tmp_path.iterdir())


def test_pyplot_is_never_imported(tmp_path):
    code = (
        "import sys, numpy; from dual_core.figures import slices_figure; "
        "slices_figure({'a': numpy.random.rand(8, 8, 8)}, sys.argv[1], 10.0); "
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    call = [sys.executable, "-c", code, str(tmp_path / "a.png")]
    assert subprocess.run(call, check=False).returncode == 0
