"""What the viewer of a training reads: history, warnings, previews, also while they are written."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any, Dict, List
from unittest import TestCase

import numpy as np

from dual_scipion.tests import support
from dual_scipion.viewers import history


class TestHistory(TestCase):
    """What a training wrote."""

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="dual"))
        self.addCleanup(shutil.rmtree, str(self.folder), ignore_errors=True)

    def write_history(self, lines: List[Dict[str, Any]], end: str = "") -> None:
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (self.folder / "history.jsonl").write_text(text + end, encoding="utf-8")

    def test_nothing_yet_is_no_error(self) -> None:
        nowhere = str(self.folder / "nowhere")
        training = history.read_training(nowhere)
        self.assertEqual((training.history, training.warnings, training.total), ([], [], None))
        self.assertEqual((training.iterations, training.finished), (0, False))
        self.assertFalse(any(training.previews.values()))
        self.assertEqual(history.fingerprint(nowhere), history.fingerprint(nowhere))

    def test_a_line_that_is_being_written_is_left_out(self) -> None:
        lines = [{"iteration": at, "loss": 1.0 / at, "seconds": 2.0 * at} for at in (10, 20)]
        self.write_history(lines)
        before = history.fingerprint(str(self.folder))
        whole = json.dumps({"iteration": 30, "loss": 0.1})
        for length in range(1, len(whole)):
            self.write_history(lines, whole[:length])
            found = history.read_training(str(self.folder)).history
            self.assertEqual(found, lines, whole[:length])
        self.assertNotEqual(history.fingerprint(str(self.folder)), before)
        self.write_history(lines, whole)
        self.assertEqual(history.read_training(str(self.folder)).iterations, 30)

    def test_curves_leave_out_what_cannot_be_drawn(self) -> None:
        self.write_history(
            [{"iteration": 1, "loss": 1.0}, {"iteration": 2, "loss": float("nan")}],
            '[1]\n"text"\nnull\n{"loss": 3}\n{"iteration": 4, "loss": "x"}\n{"iteration": 5}\n',
        )
        lines = history.read_training(str(self.folder)).history
        at, values = history.curve(lines, "loss")
        np.testing.assert_array_equal(at, [1])
        np.testing.assert_array_equal(values, [1.0])
        self.assertEqual(history.curve(lines, "nothing")[1].size, 0)

    def test_smoothing_keeps_a_constant_and_calms_noise(self) -> None:
        np.testing.assert_allclose(history.smooth(np.full(40, 3.0)), 3.0)
        self.assertEqual(history.smooth(np.array([2.0])), [2.0])
        noise = np.random.default_rng(0).normal(size=400)
        self.assertLess(history.smooth(noise).std(), 0.4)

    def test_warnings_progress_and_previews(self) -> None:
        lines: List[Dict[str, Any]] = [
            {"iteration": 10 * at, "loss": 1.0, "seconds": 60.0 * at} for at in range(1, 9)
        ]
        lines[2]["warnings"] = ["the denoiser's output is nearly constant"]
        self.write_history(lines)
        (self.folder / "config.yaml").write_text("task: x\niterations: 100\n", encoding="utf-8")
        pictures = self.folder / "previews"
        pictures.mkdir()
        for name in ("slices_0000050", "slices_0000009", "spectra_0000050", ".slices_0000060.tmp"):
            (pictures / f"{name}.png").touch()
        training = history.read_training(str(self.folder))
        self.assertEqual(training.warnings, [(30, "the denoiser's output is nearly constant")])
        self.assertEqual([at for at, _ in training.previews["slices"]], [9, 50])
        self.assertEqual([at for at, _ in training.previews["spectra"]], [50])
        text = history.progress_text(training)
        self.assertEqual(text, "80 of 100 iterations in 8 min, about 2 min left while it runs.")
        self.write_history([*lines, {"iteration": 100, "seconds": 60.0}])  # continued: a new clock
        done = history.read_training(str(self.folder))
        self.assertEqual(
            history.progress_text(done),
            "100 of 100 iterations in 9 min. The training is finished.",
        )

    def test_the_curves_are_those_that_the_engine_writes(self) -> None:
        run = Path(support.tiny_model()).parent
        training = history.read_training(str(run))
        self.assertTrue(training.finished)
        wanted = {name for panel in history.PANELS for name, _ in panel.curves}
        self.assertEqual(wanted - set(training.history[-1]), set())
