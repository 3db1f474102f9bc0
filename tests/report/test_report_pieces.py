"""Pieces of the report: elements, pictures, views of a volume, the training's command."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from report_page import HOSTILE

from dual_core.report import pictures
from dual_core.report.page import views
from dual_core.report.page.markup import Markup, element, table
from dual_core.report.process import training_command
from dual_core.report.run_folder import open_run
from dual_core.training.monitor import read_history
from dual_core.volumes.reading import ArrayVolume


def test_elements_escape_text_and_keep_markup():
    inner = element("b", HOSTILE, title=HOSTILE)
    assert inner.count("<") == 2
    assert inner in element("p", inner, None, [inner, "a"], 3, class_="x", hidden=True, id=None)
    assert element("div", data_start=0) == '<div data-start="0"></div>'
    assert isinstance(table(["a"], [["<"]]), Markup)
    assert "<th scope=\"row\">&lt;" in table(["a"], [["<"]])


def test_large_slices_become_small_pictures():
    cut = np.random.default_rng(0).normal(size=(900, 1500)).astype(np.float32)
    picture = pictures.grey_picture(cut)
    assert (picture.width, picture.height) == (448, round(448 * 0.6))
    # Spread out over the grey scale although averaging has taken most of the deviation.
    grey = np.asarray(Image.open(io.BytesIO(picture.png)))
    assert grey.std() > 30
    assert pictures.grey_picture(np.zeros((4, 5), np.float32)).width == 5


def test_thin_curves_keep_their_colours(tmp_path):
    """A palette is chosen by area, and a curve has next to none."""
    array = np.random.default_rng(0).integers(0, 255, (300, 400, 3), dtype=np.uint8)
    array[:, 200:] = 255
    wanted = [(0, 114, 178), (213, 94, 0), (0, 158, 115)]
    for row, colour in enumerate(wanted):
        array[20 * row + 10, 210:390] = colour
    Image.fromarray(array).save(tmp_path / "figure.png")
    picture = pictures.file_picture(tmp_path / "figure.png")
    with Image.open(io.BytesIO(picture.png)) as image:
        found = np.asarray(image.convert("RGB")).astype(int)
    for row, colour in enumerate(wanted):
        assert abs(found[20 * row + 10, 300] - colour).max() < 25


def test_first_row_is_at_the_bottom():
    grey = np.asarray(Image.open(io.BytesIO(pictures.grey_picture(np.eye(9)[:4]).png)))
    assert grey[-1, 0] > grey[0, 0]


class Counting(ArrayVolume):
    """Remembers the largest region that was read."""

    largest = 0

    def read(self, start, size):
        self.largest = max(self.largest, int(np.prod(size)))
        return super().read(start, size)


def test_of_a_large_volume_only_slices_and_the_middle_are_read(monkeypatch, tmp_path):
    monkeypatch.setattr(views, "SPECTRUM_CROP", 8)
    random = np.random.default_rng(0)
    array = random.normal(size=(20, 40, 30)).astype(np.float32)
    volume, denoised = Counting(array, 10.0), Counting(array / 2, 10.0)
    given = views.Input(Path("t.mrc"), volume, None)
    view = views.view_tomogram(given, denoised, ((-60, 60), "y"))
    assert max(volume.largest, denoised.largest) == 40 * 30
    assert view.crop == (8, 8, 8)
    assert view.removed_share == pytest.approx(0.75, abs=1e-5)
    assert [cut.index for cut in view.depths] == [5, 7, 10, 12, 15]
    assert 0.1 < view.depths[0].bar_share < 0.34
    np.testing.assert_array_equal(views.read_slice(volume, "yz", 3), array[:, :, 3])


def test_the_scored_middle_is_bounded(monkeypatch):
    monkeypatch.setattr(views, "SCORED_VOXELS", 50_000)
    shape = views.scored_shape((20, 100, 120))
    assert shape[0] == 20
    assert 40_000 < np.prod(shape) <= 50_000
    assert views.scored_shape((10, 10, 10)) == (10, 10, 10)


def test_time_is_counted_over_resumed_runs(copy):
    lines = [{"iteration": n, "seconds": s} for n, s in enumerate((60, 120, 30, 90))]
    (copy / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert open_run(copy).minutes == pytest.approx(3.5)


def test_the_training_command_can_be_given_to_the_program(copy):
    options = {
        "noisy": ["/far/away/a 1.mrc", "b.mrc"], "clean": ["/far/c.mrc"], "output": "/far/x",
        "preset": "quick", "iterations": None, "seed": 3, "tilt_range": [-50.0, 60.0],
        "contrast": "auto", "device": "cuda", "resume": True,
    }
    (copy / "train.yaml").write_text(json.dumps(options))
    assert training_command(open_run(copy)) == (
        "dual train --noisy 'a 1.mrc' b.mrc --clean c.mrc --preset quick --seed 3 "
        "--tilt-range -50.0 60.0 --output 'run <b>'"
    )
    (copy / "train.yaml").unlink()
    command = training_command(open_run(copy))
    assert command.startswith("dual train --noisy tomo.mrc --clean grand.mrc")
    assert read_history(copy)
