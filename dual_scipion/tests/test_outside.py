"""Other programs that windows start: the page on a training, and layers in Napari."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
import pwem
import tomo
from pyworkflow.tests import BaseTest
from tomo.constants import NAPARI_ACTIVATION_CMD, NAPARI_DEF_VER

from dual_core.errors import DualError
from dual_scipion import beside
from dual_scipion.slices import place_of
from dual_scipion.tests import support
from dual_scipion.tests.napari_stub import NapariStub
from dual_scipion.viewers.layers import layers_of
from dual_scipion.viewers.napari_process.show_layers import Volume, mapped
from dual_scipion.viewers.picked import Picks
from dual_scipion.viewers.scene import Scene
from dual_scipion.viewers.shown import Difference, Shown


class OutsideTest(BaseTest):
    """A folder of its own."""

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="dual"))
        self.addCleanup(shutil.rmtree, str(self.folder), ignore_errors=True)


class TestReport(OutsideTest):
    """The page on a training."""

    def test_it_is_written_and_errors_are_the_engines(self) -> None:
        run = self.folder / "run 100%"
        shutil.copytree(os.path.dirname(support.tiny_model()), str(run))
        page = beside.write_report(str(run))
        self.assertEqual(page, str(run / "report.html"))
        self.assertIn("<html", Path(page).read_text(encoding="utf-8")[:200].lower())
        with self.assertRaisesRegex(DualError, "cannot be written: .*nowhere"):
            beside.write_report(str(self.folder / "nowhere"))


class TestNapari(OutsideTest):
    """Where Napari is, and what it is given."""

    def activation(self, given: str) -> object:
        with mock.patch.object(tomo.Plugin, "getVar", return_value=given), mock.patch.object(
            tomo.Plugin, "getCondaActivationCmd", return_value="hook &&"
        ), mock.patch.object(pwem.Config, "EM_ROOT", str(self.folder)):
            return beside.napari_activation()

    def test_it_is_found_where_scipion_or_the_user_has_it(self) -> None:
        self.assertIsNone(self.activation(""))
        self.assertIsNone(self.activation(NAPARI_ACTIVATION_CMD), "it was never installed")
        installed = self.folder / f"napari-{NAPARI_DEF_VER}"
        installed.mkdir()
        (installed / f"napari_{NAPARI_DEF_VER}_installed").touch()
        found = self.activation(NAPARI_ACTIVATION_CMD)
        self.assertEqual(found, f"hook && {NAPARI_ACTIVATION_CMD}")
        self.assertEqual(self.activation(". /mine/activate;"), ". /mine/activate")

    def scene(self) -> Scene:
        generator = np.random.default_rng(0)
        self.raw, denoised, explained = generator.normal(size=(3, *support.SHAPE)).astype("f4")
        self.removed = self.raw - explained
        self.mask = (denoised > 0).astype("i1")
        paths = {}
        for name, volume in (
            ("raw", self.raw), ("denoised", denoised), ("explained", explained), ("mask", self.mask)
        ):
            paths[name] = support.write_volume(self.folder / f"{name}.mrc", volume)
        difference = Difference("removed", 0, 1, path=paths["explained"])
        volumes = (("raw", paths["raw"]), ("denoised", paths["denoised"]))
        shown = Shown("TS", 10.0, volumes, difference, paths["mask"], {1: "one"}, True)
        return Scene(shown)

    def test_layers_are_the_volumes_what_was_removed_classes_and_picks(self) -> None:
        picks = Picks("TS", 80.0, np.array([[35.0, 45.0, 55.0]]), np.array([1.0]), [])
        stub = NapariStub(self.folder / "napari")
        process = beside.show_in_napari(layers_of(self.scene(), picks), stub.activation)
        self.assertEqual(process.wait(60), 0)
        (viewer,) = stub.opened()
        self.assertEqual(viewer["title"], "TS")
        raw, denoised, removed, classes, points = viewer["layers"]
        self.assertEqual([raw["name"], denoised["name"], removed["name"]],
                         ["raw", "denoised", "removed"])
        self.assertEqual([raw["visible"], denoised["visible"]], [False, True])
        middle = support.SHAPE[0] // 2
        np.testing.assert_allclose(raw["middle"], self.raw[middle], rtol=1e-6)
        np.testing.assert_allclose(removed["middle"], self.removed[middle], atol=1e-6)
        self.assertEqual((classes["kind"], classes["sum"]), ("labels", float(self.mask.sum())))
        self.assertEqual((points["middle"], points["size"]), ([5.0, 4.0, 3.0], 8.0))
        self.assertEqual({tuple(layer["scale"]) for layer in viewer["layers"]}, {(10.0,) * 3})
        self.assertEqual({tuple(layer["translate"]) for layer in viewer["layers"]}, {(5.0,) * 3})

    def test_a_napari_that_does_not_start_is_told(self) -> None:
        with self.assertRaisesRegex(DualError, "Napari did not start .*no such environment"):
            beside.show_in_napari(
                layers_of(self.scene()), "echo no such environment >&2 && false"
            )

    def test_volumes_are_read_where_they_are_looked_at(self) -> None:
        """Of any mode and order of axes, as the windows read them."""
        volume = np.arange(24, dtype="i1").reshape(2, 3, 4)
        path = support.write_volume(self.folder / "small.mrc", volume)
        place = place_of(path)._asdict()
        np.testing.assert_array_equal(mapped(place), volume)
        lazy = Volume(place, {"place": place, "slope": 0.5, "offset": 1.0})
        self.assertEqual((lazy.shape, lazy.ndim, len(lazy)), ((2, 3, 4), 3, 2))
        np.testing.assert_allclose(lazy[1], volume[1] * 0.5 - 1)
        np.testing.assert_allclose(np.asarray(lazy), volume * 0.5 - 1)
