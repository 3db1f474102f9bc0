"""Scipion's graphical interface with the plugin, on a virtual screen.

The windows are opened once, by `gui_visit` in another process: Tk shares neither its process nor
its display with what else is tested. The tests are about what that visit has seen. Pictures are
kept in the folder ``DUAL_SCREENSHOTS`` where that variable is set.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Dict

from pyworkflow.tests import BaseTest, setupTestProject
from tomo.constants import NAPARI_ENV_ACTIVATION

from dual_scipion.protocols import (
    ProtDualAverage,
    ProtDualDenoise,
    ProtDualPickDog,
    ProtDualTrain,
)
from dual_scipion.tests import support
from dual_scipion.tests.napari_stub import NapariStub
from dual_scipion.tests.screen import virtual_screen
from dual_scipion.tests.test_forms import own_params, own_protocols

PATIENCE_S = 300
ROOM_IN_TREE = 222  # pixels for a text in a group, at the tree's default width


class TestGui(BaseTest):
    """What a user sees: the tree of protocols, forms, a run from a form, viewers, wizards."""

    seen: Dict[str, Any]
    napari: NapariStub

    @classmethod
    def setUpClass(cls) -> None:
        cls.folder = Path(tempfile.mkdtemp(prefix="dual"))
        cls.addClassCleanup(shutil.rmtree, str(cls.folder), ignore_errors=True)
        cls.pictures = Path(os.environ.get("DUAL_SCREENSHOTS") or cls.folder / "pictures")
        cls.napari = NapariStub(cls.folder / "napari")
        with virtual_screen() as display:
            setupTestProject(cls)
            model = cls.make_runs()
            cls.seen = cls.visit(display, model)

    @classmethod
    def make_runs(cls) -> str:
        """Train, denoise and pick, each tiny, for the viewers; return the file of the model."""
        inputs = support.Inputs(cls.proj)
        items = [
            support.tomogram(support.write_tomogram(cls.folder / f"{name}.mrc", seed=seed), name)
            for seed, name in enumerate(("TS_one", "TS_two"))
        ]
        noisy = inputs.tomograms(items)
        clean = support.write_volume(cls.folder / "clean.mrc", support.density())
        cells = inputs.tomograms([support.tomogram(clean, "cell")])
        # One thread: four that wait for each other on two busy cores take ten times as long.
        tiny = {"iterations": 3, "patchSize": 24, "batchSize": 1}
        train = cls.newProtocol(ProtDualTrain, useGpu=False, numberOfThreads=1, **tiny)
        cls.run_on(train, inputTomograms=(noisy, "Tomograms"), inputClean=(cells, "Tomograms"))
        denoise = cls.newProtocol(
            ProtDualDenoise, useGpu=False, numberOfThreads=1, binThreads=1, tile=32, halo=4
        )
        cls.run_on(denoise, inputTomograms=(noisy, "Tomograms"), inputModel=(train, "Model"))
        pick = cls.newProtocol(
            ProtDualPickDog, numberOfThreads=1, binThreads=1, diameter=60.0, pickBy=1, number=5
        )
        cls.run_on(pick, inputTomograms=(denoise, "Tomograms"))
        average = cls.newProtocol(ProtDualAverage, boxSize=9, numberOfThreads=1)
        cls.run_on(
            average, inputCoordinates=(pick, "Coordinates"), inputTomograms=(noisy, "Tomograms")
        )
        return os.path.abspath(train.Model.getFileName())

    @classmethod
    def run_on(cls, protocol: Any, **inputs: Any) -> None:
        """Launch a protocol on outputs of others."""
        for name, (source, output) in inputs.items():
            pointer = getattr(protocol, name)
            pointer.set(source)
            pointer.setExtended(output)
        cls.proj.launchProtocol(protocol, wait=True)
        if not protocol.isFinished():
            log = Path(protocol.getStderrLog()).read_text(encoding="utf-8")
            raise RuntimeError(f"{protocol.getClassName()} failed: {log[-2000:]}")

    @classmethod
    def visit(cls, display: str, model: str) -> Dict[str, Any]:
        """What the visit has seen."""
        result = cls.folder / "seen.json"
        command = [sys.executable, "-m", "dual_scipion.tests.gui_visit", cls.proj.getPath()]
        command += [model, str(cls.pictures), str(result)]
        done = subprocess.run(
            command,
            env={**os.environ, "DISPLAY": display, NAPARI_ENV_ACTIVATION: cls.napari.activation},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        if done.returncode != 0 or not result.exists():
            raise RuntimeError(f"the visit broke off:\n{done.stdout[-3000:]}")
        seen: Dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
        return seen

    def test_the_tree_shows_every_protocol_by_its_label(self) -> None:
        for name, kind in own_protocols().items():
            self.assertIn(name, self.seen["tree"])
            shown = self.seen["tree"][name]
            self.assertTrue(shown.startswith("DUAL - "), shown)
            words = shown.split(" - ")[1].split()
            self.assertLessEqual(set(words), set(kind._label.split()), "no other words")
            self.assertLessEqual(self.seen["widths"][name], ROOM_IN_TREE, "it would be cut")

    def test_every_form_opens_with_its_title(self) -> None:
        self.assertEqual(set(self.seen["forms"]), set(own_protocols()))
        for name, kind in own_protocols().items():
            shown = self.seen["forms"][name]["texts"]
            self.assertTrue(any(kind._label in text for text in shown), name)

    def test_each_parameter_can_be_reached_and_explains_itself(self) -> None:
        """By some switch or choice in the form; what no choice shows nobody could ever set."""
        for name, kind in own_protocols().items():
            shown = self.seen["forms"][name]["parameters"]
            hidden = {param for param, _ in own_params(kind())} - set(shown)
            self.assertEqual(hidden, set(), f"{name} never shows these")
            for param, what in shown.items():
                self.assertTrue(what["label"].strip(), f"{name}.{param} has no label")
                self.assertGreater(what["help"], 20, f"{name}.{param} has no help")

    def test_a_protocol_runs_from_its_form(self) -> None:
        executed = self.seen["executed"]
        self.assertEqual(executed["status"], "finished")
        self.assertTrue(executed["formIsClosed"])
        self.assertTrue(any("Voxel size" in line for line in executed["summary"]))

    def viewer(self, name: str) -> Dict[str, Any]:
        """Tabs, texts and buttons of the one window that *Analyze Results* opens."""
        (window,) = self.seen["viewers"][name]
        return {**window, "text": "\n".join(window["texts"])}

    def test_the_viewer_of_a_training_has_its_pictures(self) -> None:
        shown = self.viewer("ProtDualTrain")
        self.assertEqual(len(shown["tabs"]), 3, "curves, slices, spectra")
        self.assertIn("3 of 3 iterations", shown["text"])

    def test_the_viewer_of_a_result_counts_the_tomograms(self) -> None:
        shown = self.viewer("ProtDualDenoise")
        self.assertEqual(len(shown["tabs"]), 2, "slices, spectra")
        self.assertIn("2 of 2 tomograms denoised", shown["text"])

    def test_the_viewer_of_picks_counts_them(self) -> None:
        self.assertIn("5 of 5 picks", self.viewer("ProtDualPickDog")["text"])

    def test_the_viewer_of_a_model_shows_its_card(self) -> None:
        text = self.viewer("ProtDualImportModel")["text"]
        self.assertIn("10.00", text)
        self.assertIn("clean.mrc", text)

    def test_the_wands_open_windows_whose_answer_goes_into_the_form(self) -> None:
        wizards = self.seen["wizards"]
        values = {name: what["value"] for name, what in wizards.items()}
        self.assertEqual(float(values["diameter"]), 75.0)
        self.assertEqual(values["contrast"], "0")
        # Of an empty field the answer "all" is an empty field again.
        self.assertEqual(values["tsIds"], "")
        self.assertEqual(values["patchSize"], "24", "the only side that fits into the tomograms")
        for name, what in wizards.items():
            self.assertIn("OK", what["texts"], name)
            self.assertGreater(len(what["texts"]), 4, name)

    def test_the_report_of_a_training_opens_from_its_window(self) -> None:
        (said,) = self.viewer("ProtDualTrain")["buttons"]
        self.assertIn("The report is open", said)
        (page,) = self.seen["pages"]
        self.assertTrue(page.startswith("file:///") and page.endswith("/report.html"), page)

    def test_results_and_picks_open_in_napari(self) -> None:
        for name in ("ProtDualDenoise", "ProtDualPickDog"):
            self.assertEqual(self.viewer(name)["buttons"], ["Napari is open."])
        titles = {"TS_one"} & {viewer["title"] for viewer in self.napari.opened()}
        self.assertTrue(titles)
        names = {layer["name"] for viewer in self.napari.opened() for layer in viewer["layers"]}
        self.assertLessEqual({"raw", "denoised", "picks", "picked on"}, names)

    def test_nothing_went_wrong_behind_the_windows(self) -> None:
        self.assertEqual(self.seen["errors"], [])
        self.assertEqual(self.seen["dialogs"], [])

    def test_pictures_were_taken(self) -> None:
        names = {path.stem for path in self.pictures.glob("*.png")}
        wanted = {"project", "viewer_ProtDualPickDog", "viewer_ProtDualTrain_curves"}
        wanted |= {f"form_{name}" for name in own_protocols()} | {"wizard_diameter"}
        self.assertLessEqual(wanted, names)
