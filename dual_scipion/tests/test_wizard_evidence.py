"""What the contrast wizard tells: the engine's own measurement, beside a window."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import TestCase
from unittest.mock import patch

import numpy as np
from pyworkflow.tests import BaseTest

from dual_core.errors import DualError
from dual_scipion import engine
from dual_scipion.tests.support import density, write_volume
from dual_scipion.wizards import contrast_evidence


class TestEvidence(BaseTest):
    """The engine at work on small volumes."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def measure(self, path: str) -> Any:
        measurement = contrast_evidence.Measurement(path, 10.0)
        self.addCleanup(measurement.stop)
        while measurement.result() is None:
            time.sleep(0.05)
        return measurement.result()

    def test_the_engine_tells_dark_and_bright(self) -> None:
        found = {}
        for contrast, sign in (("dark", -1), ("bright", 1)):
            path = write_volume(self.folder / f"{contrast} 1.mrc", sign * density((40, 60, 60)))
            found[contrast] = evidence = self.measure(path)
            self.assertEqual((evidence.contrast, evidence.sure), (contrast, True))
            self.assertIn(contrast.upper(), contrast_evidence.sentence(evidence))
        self.assertAlmostEqual(found["dark"].skewness, -found["bright"].skewness, 4)

    def test_the_engine_is_in_doubt_about_mere_noise(self) -> None:
        noise = np.random.default_rng(0).normal(size=(30, 60, 60)).astype(np.float32)
        evidence = self.measure(write_volume(self.folder / "noise.mrc", noise))
        self.assertFalse(evidence.sure)
        self.assertIn("in doubt", contrast_evidence.sentence(evidence))

    def test_what_the_engine_refuses_is_its_own_line(self) -> None:
        path = self.folder / "text.mrc"
        path.write_text("no volume" * 1000)
        with self.assertRaises(DualError) as caught:
            self.measure(str(path))
        self.assertIn("not an MRC file", str(caught.exception))
        self.assertNotIn("\n", str(caught.exception))

    def test_a_measurement_can_be_stopped_at_any_time(self) -> None:
        path = write_volume(self.folder / "stop.mrc", density())
        measurement = contrast_evidence.Measurement(path, 10.0)
        measurement.stop()
        self.assertIsNotNone(measurement._process.returncode)
        measurement.stop()

    def test_without_an_engine_it_says_how_to_install_it(self) -> None:
        missing = DualError(engine.INSTALL_COMMAND)
        without = patch.object(engine, "find_interpreter", side_effect=missing)
        with without, self.assertRaisesRegex(DualError, "installb"):
            contrast_evidence.Measurement("volume.mrc", 10.0)


class TestEvidenceText(TestCase):
    """Answers of an engine of another version."""

    def test_what_is_missing_is_told(self) -> None:
        whole = "contrast: dark\ncontrast_confident: true\nskewness: -0.5\n"
        self.assertEqual(contrast_evidence.parse_evidence(whole), ("dark", -0.5, True))
        for line in whole.splitlines():
            with self.assertRaises(DualError):
                contrast_evidence.parse_evidence(whole.replace(line, ""))
