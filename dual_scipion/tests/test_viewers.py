"""The viewers without their windows: how they are found, and what they show of a protocol."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, List

import numpy as np
from pwem.objects import EMFile, Volume
from pyworkflow import Config
from pyworkflow.tests import BaseTest, setupTestProject
from pyworkflow.viewer import DESKTOP_TKINTER
from tomo.objects import SetOfCoordinates3D, SetOfTomograms, SetOfTomoMasks, Tomogram
from tomo.protocols import ProtImportTomograms

import dual_scipion
from dual_core.errors import DualError
from dual_scipion import viewers
from dual_scipion.objects import DualModel
from dual_scipion.protocols import (
    ProtDualAverage,
    ProtDualCompensateWedge,
    ProtDualDenoise,
    ProtDualEvaluate,
    ProtDualGrandModels,
    ProtDualImportModel,
    ProtDualPickDog,
    ProtDualSimulate,
    ProtDualTrain,
    ProtDualTranslate,
)
from dual_scipion.protocols.protocol_translate import TO_NOISY
from dual_scipion.tests import support
from dual_scipion.viewers.card_text import model_lines
from dual_scipion.viewers.picked import picked_names, read_picks_of
from dual_scipion.viewers.scene import Scene
from dual_scipion.viewers.scipion_viewers import PageView, WindowView
from dual_scipion.viewers.shown import shown_by

VIEWER_OF = {
    ProtDualAverage: viewers.DualAverageViewer,
    ProtDualTrain: viewers.DualTrainingViewer,
    ProtDualDenoise: viewers.DualResultViewer,
    ProtDualCompensateWedge: viewers.DualResultViewer,
    ProtDualTranslate: viewers.DualResultViewer,
    ProtDualSimulate: viewers.DualResultViewer,
    ProtDualGrandModels: viewers.DualResultViewer,
    ProtDualPickDog: viewers.DualPicksViewer,
    ProtDualEvaluate: viewers.DualReportViewer,
    ProtDualImportModel: viewers.DualModelViewer,
    DualModel: viewers.DualModelViewer,
}


class TestDiscovery(BaseTest):
    """Which viewer Scipion finds for what."""

    def test_each_of_our_protocols_has_its_viewer(self) -> None:
        domain = Config.getDomain()
        for target, viewer in VIEWER_OF.items():
            found = domain.findViewers(target(), DESKTOP_TKINTER)
            self.assertEqual(found[:1], [viewer], target.__name__)
        ours = {
            kind
            for kind in domain.getProtocols().values()
            if kind.__module__.startswith(f"{dual_scipion.__name__}.") and kind._label
        }
        self.assertTrue(ours)
        self.assertEqual(ours - set(VIEWER_OF), set(), "a protocol without a viewer")

    def test_nothing_else_is_shown_with_our_viewers(self) -> None:
        domain = Config.getDomain()
        ours = set(viewers.__all__)
        for name in ours:
            self.assertIn(name, domain.getViewers())
        foreign = (
            SetOfTomograms, SetOfTomoMasks, SetOfCoordinates3D, Tomogram, Volume, EMFile,
            ProtImportTomograms,
        )
        for kind in foreign:
            found = domain.findViewers(kind(), DESKTOP_TKINTER)
            self.assertEqual({viewer.__name__ for viewer in found} & ours, set(), kind.__name__)


class TestProtocols(BaseTest):
    """What is shown of protocols that have made nothing, something, everything."""

    @classmethod
    def setUpClass(cls) -> None:
        setupTestProject(cls)
        cls.folder = Path(tempfile.mkdtemp(prefix="dual"))
        cls.inputs = support.Inputs(cls.proj)
        paths = [support.write_tomogram(cls.folder / f"{at}.mrc", seed=at) for at in range(2)]
        cls.paths = paths
        items = [support.tomogram(path, f"TS_{at}") for at, path in enumerate(paths)]
        cls.tomograms = cls.inputs.tomograms(items)

    @classmethod
    def tearDownClass(cls) -> None:
        shutil.rmtree(str(cls.folder), ignore_errors=True)

    def prepared(self, kind: type, **values: Any) -> Any:
        """A protocol with the tomograms as input, saved and never run."""
        protocol = self.proj.newProtocol(kind, **values)
        if hasattr(protocol, "inputTomograms"):
            protocol.inputTomograms.set(self.tomograms)
            protocol.inputTomograms.setExtended("Tomograms")
        self.proj.saveProtocol(protocol)
        protocol.makePathsAndClean()
        return protocol

    def items(self) -> List[Any]:
        """The input tomograms."""
        return [item.clone() for item in self.tomograms.Tomograms]

    def view(self, protocol: Any) -> Any:
        """The only view that the viewer of an object opens."""
        (viewer,) = Config.getDomain().findViewers(protocol, DESKTOP_TKINTER)
        (view,) = viewer(project=self.proj, protocol=protocol)._visualize(protocol)
        return view

    def test_results_appear_while_a_protocol_runs(self) -> None:
        for kind in (ProtDualDenoise, ProtDualCompensateWedge, ProtDualTranslate):
            protocol = self.prepared(kind)
            found = shown_by(protocol)
            self.assertEqual((found.items, found.total), ([], 2))
            path = protocol._getExtraPath("TS_1.mrc")
            shutil.copy(self.paths[0], path)
            (shown,) = shown_by(protocol).items
            self.assertEqual((shown.name, shown.voxel_size_A), ("TS_1", support.VOXEL_SIZE_A))
            self.assertEqual([one for _, one in shown.volumes], [self.paths[1], path])
            assert shown.difference is not None
            self.assertEqual(shown.difference.fitted, kind is ProtDualTranslate)
            self.assertEqual(shown.same_units, kind is not ProtDualTranslate)
            self.assertFalse(any(picture.problem for picture in Scene(shown).pictures("xz", 4)))
            self.assertIsInstance(self.view(protocol), WindowView)

    def test_removed_is_what_is_not_explained_where_that_is_known(self) -> None:
        protocol = self.prepared(ProtDualDenoise)
        item = self.items()[1]
        shutil.copy(self.paths[0], protocol.resultFiles(item)[0])
        for title, explained in (("raw − denoised", None), ("removed (raw − explained)", "x")):
            if explained:
                shutil.copy(self.paths[0], protocol.explainedPath(item))
            (shown,) = shown_by(protocol).items
            assert shown.difference is not None
            self.assertIn(title, shown.difference.title)
            self.assertEqual(len(shown.volumes), 2)
            self.assertFalse(any(picture.problem for picture in Scene(shown).pictures("xy", 4)))

    def test_a_registered_result_whose_file_is_gone_is_shown_as_such(self) -> None:
        protocol = self.prepared(ProtDualDenoise)
        path = protocol._getExtraPath("TS_0.mrc")
        shutil.copy(self.paths[0], path)
        protocol.registerTomogram(self.items()[0])
        os.unlink(path)
        (shown,) = shown_by(protocol).items
        self.assertIn("is gone", Scene(shown).pictures("xy", 1)[1].problem)

    def test_what_is_added_is_shown_for_a_translation_to_the_noisy_domain(self) -> None:
        protocol = self.prepared(ProtDualTranslate, direction=TO_NOISY)
        shutil.copy(self.paths[0], protocol._getExtraPath("TS_0.mrc"))
        (shown,) = shown_by(protocol).items
        assert shown.difference is not None
        self.assertEqual(shown.difference[1:4], (1, 0, True))

    def test_simulated_tomograms_with_grand_model_and_classes(self) -> None:
        protocol = self.prepared(ProtDualSimulate, copies=2)
        self.assertEqual(shown_by(protocol).total, 4)
        grand = self.items()[0]
        first = protocol.resultFiles(grand)[0]
        shutil.copy(self.paths[1], first)
        support.write_volume(
            Path(protocol.labelPath(grand, "class_mask")), np.ones(support.SHAPE, np.int8)
        )
        Path(protocol.labelPath(grand, "particles")).write_text("class,name\n1,virus\n")
        (shown,) = shown_by(protocol).items
        self.assertEqual(shown.name, protocol.simulatedNames(grand)[0])
        self.assertEqual([path for _, path in shown.volumes], [first, self.paths[0]])
        scene = Scene(shown)
        self.assertEqual([scene.class_name(number) for number in scene.classes], ["1 virus"])
        self.assertEqual(scene.count, 3)

    def test_grand_models_with_their_classes(self) -> None:
        protocol = self.prepared(ProtDualGrandModels, count=2, voxelSize=12.0)
        self.assertEqual(shown_by(protocol), ([], 2))
        path = protocol._getExtraPath("grand_model_1.mrc")
        support.write_volume(Path(path), support.density())
        (bare,) = shown_by(protocol).items
        self.assertIsNone(bare.classes)
        mask = protocol._getExtraPath("class_mask_1.mrc")
        support.write_volume(Path(mask), np.ones(support.SHAPE, np.int8))
        (shown,) = shown_by(protocol).items
        self.assertEqual((shown.voxel_size_A, shown.classes), (12.0, mask))
        self.assertTrue(shown.name.endswith("_1"))

    def test_an_input_that_is_gone_is_told(self) -> None:
        protocol = self.prepared(ProtDualDenoise)
        protocol.inputTomograms.set(None)
        with self.assertRaisesRegex(DualError, "input of this protocol is gone"):
            shown_by(protocol)

    def test_picks_lie_where_they_were_found(self) -> None:
        binned = [
            support.tomogram(support.write_tomogram(self.folder / f"b{at}.mrc"), f"TS_{at}")
            for at in range(2)
        ]
        extract = self.inputs.tomograms(binned, voxel_size_A=5.0)
        protocol = self.prepared(ProtDualPickDog, diameter=80.0)
        self.assertEqual(picked_names(protocol), ([], 2))
        first, second = self.items()
        for item, rows in ((first, "3,4,5,6.5\n13,14,15,4.5\n"), (second, "")):
            Path(protocol.resultFiles(item)[0]).write_text(
                "x_voxel,y_voxel,z_voxel,score_sigmas\n" + rows
            )
        self.assertEqual(picked_names(protocol), (["TS_0", "TS_1"], 2))
        # First from the file, as long as the output lags behind, then from the output.
        for registered in (False, True):
            if registered:
                protocol.registerTomogram(first)
            picks = read_picks_of(protocol, "TS_0")
            (ground,) = picks.backgrounds
            np.testing.assert_allclose(picks.positions(ground), [(3, 4, 5), (13, 14, 15)])
            np.testing.assert_allclose(picks.scores, [6.5, 4.5])
            self.assertEqual(picks.diameter_A, 80.0)
        self.assertEqual(read_picks_of(protocol, "TS_1").scores.size, 0)

        other = self.prepared(ProtDualPickDog, diameter=80.0)
        other.inputExtract.set(extract)
        other.inputExtract.setExtended("Tomograms")
        shutil.copy(protocol.resultFiles(first)[0], other.resultFiles(first)[0])
        on, raw = read_picks_of(other, "TS_0").backgrounds
        self.assertEqual((on.path, raw.path), (self.paths[0], binned[0].getFileName()))
        picks = read_picks_of(other, "TS_0")
        np.testing.assert_allclose(picks.positions(on)[0], (3, 4, 5))
        np.testing.assert_allclose(picks.positions(raw)[0], (6.5, 8.5, 10.5))

    def test_the_report_is_opened_when_it_is_there(self) -> None:
        protocol = self.prepared(ProtDualEvaluate)
        self.assertIsInstance(self.view(protocol), WindowView, "a window that says so")
        Path(protocol.reportPath()).write_text("<html></html>", encoding="utf-8")
        view = self.view(protocol)
        self.assertIsInstance(view, PageView)
        self.assertTrue(view.url.startswith("file:///"))
        self.assertTrue(view.url.endswith("/report.html"))

    def test_trainings_and_picks_open_before_there_is_anything(self) -> None:
        for kind in (ProtDualTrain, ProtDualPickDog, ProtDualImportModel):
            self.assertIsInstance(self.view(self.prepared(kind)), WindowView)

    def test_the_card_of_a_model_as_text(self) -> None:
        model = DualModel.fromFile(support.tiny_model())
        lines = dict(model_lines(model))
        self.assertEqual(lines["Voxel size"], "10.00 Å")
        self.assertEqual(lines["Iterations"], "2")
        self.assertEqual(lines["Tilt range"], "+-60 degrees")
        self.assertIn("30 x 34 x 26 voxels (x, y, z)", lines["Tomograms"])
        self.assertEqual(lines["File"], support.tiny_model())
        self.assertIsInstance(self.view(model), WindowView)
        gone = DualModel("nowhere.safetensors")
        with self.assertRaises(DualError):
            model_lines(gone)
