"""Training and importing models, launched for real on the CPU with tiny volumes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Dict, List
from unittest import mock

from dual_core.errors import DualError
from dual_core.networks.card import GENERAL, read_card
from dual_scipion import engine
from dual_scipion.protocols import ProtDualDenoise, ProtDualImportModel, ProtDualTrain
from dual_scipion.protocols.forms.train import MODE_CONTINUE, TASKS
from dual_scipion.protocols.protocol_import_model import BUILT_IN
from dual_scipion.tests import support, test_protocols


class TestModels(test_protocols.DualTest):
    """Training and importing."""

    def train(self, **values: Any) -> Any:
        given: Dict[str, Any] = {"useGpu": False, "numberOfThreads": 1, "iterations": 2}
        given.update({"patchSize": 24, "batchSize": 1, **values})
        return self.newProtocol(ProtDualTrain, **given)

    def domains(self, protocol: Any) -> Any:
        noisy = self.inputs.tomograms([self.tomogram("t0"), self.tomogram("t1")])
        path = support.write_volume(self.folder / "grand.mrc", support.density())
        clean = self.inputs.tomograms([support.tomogram(path, "G", acquisition=False)])
        for pointer, source in ((protocol.inputTomograms, noisy), (protocol.inputClean, clean)):
            pointer.set(source)
            pointer.setExtended("Tomograms")
        return protocol

    def test_train_then_train_further(self) -> None:
        protocol = self.domains(self.train(tsIds="TS_t1", preset=0))
        self.assertEqual((protocol.validate(), protocol.warnings()), ([], []))
        self.launchProtocol(protocol)
        model = protocol.Model
        self.assertEqual(
            str(model), "DualModel (10.00 A/px, 2 iterations, t1, -60..50)", protocol.summary()
        )
        self.assertTrue(os.path.exists(model.getFileName()))
        self.assertFalse(os.path.isabs(model.getFileName()), "the project may move")
        self.assertTrue(any("2 iterations on 1 tomograms" in one for one in protocol.methods()))

        further = self.train(trainingMode=MODE_CONTINUE, moreIterations=1)
        further.inputModel.set(protocol)
        further.inputModel.setExtended("Model")
        self.assertEqual(further.validate(), [])
        self.launchProtocol(further)
        self.assertEqual(further.Model.getIterations(), 3)
        self.assertEqual(protocol.Model.getCard().iterations, 2, "the first model stays")

    def test_interrupted_training_goes_on_from_its_checkpoint(self) -> None:
        protocol = self.domains(self.train())
        self.saveProtocol(protocol)
        protocol.makePathsAndClean()
        calls: List[Dict[str, Any]] = []

        def run(command: str, options: Dict[str, Any], *_: Any) -> None:
            calls.append(options)
            os.makedirs(protocol.runFolder("checkpoint"))
            Path(protocol.runFolder("history.jsonl")).touch()

        with mock.patch.object(protocol, "runEngine", run):
            protocol.trainStep()
            with self.assertRaises(FileExistsError):
                protocol.trainStep()
        self.assertEqual([options["resume"] for options in calls], [False, True])
        self.assertTrue(os.path.exists(protocol.runFolder("history.jsonl")))

    def test_what_the_form_checks(self) -> None:
        protocol = self.domains(self.train(tsIds="TS_t1 nobody", task=TASKS.index("missing-wedge")))
        self.assertIn("no tomogram nobody", " ".join(protocol.validate()))
        protocol.tsIds.set("")
        self.assertEqual(protocol.validate(), [])
        options = protocol.engineOptions()
        self.assertEqual(options["task"], "missing-wedge")
        self.assertNotIn("clean", options)
        protocol.inputClean.set(None)
        self.assertEqual(protocol.validate(), [])
        self.assertEqual(tuple(options["tilt_range"]), support.TILTS_DEG)
        protocol.tiltMin.set(30)
        self.assertIn("tilt range", " ".join(protocol.validate()))
        imported = self.train(trainingMode=MODE_CONTINUE)
        imported.inputModel.set(self.model)
        imported.inputModel.setExtended("Model")
        self.assertIn("checkpoint", " ".join(imported.validate()))

    def test_halves_tell_the_noise_where_all_tomograms_have_them(self) -> None:
        halves = [support.write_tomogram(self.folder / f"n{i}.mrc", seed=i) for i in (1, 2)]
        with_halves = self.tomogram("e0", halves=halves), self.tomogram("e1", halves=halves)
        protocol = self.domains(self.train())
        protocol.inputTomograms.set(self.inputs.tomograms(list(with_halves)))
        protocol.inputTomograms.setExtended("Tomograms")
        options = protocol.engineOptions()
        self.assertEqual((options["even"], options["odd"]), ([halves[0]] * 2, [halves[1]] * 2))
        self.assertIn("measured on the half maps", " ".join(protocol.summary()))
        protocol.useHalves.set(False)
        self.assertNotIn("even", protocol.engineOptions())

        mixed = self.inputs.tomograms([self.tomogram("e2", halves=halves), self.tomogram("e3")])
        protocol = self.domains(self.train())
        protocol.inputTomograms.set(mixed)
        protocol.inputTomograms.setExtended("Tomograms")
        self.assertNotIn("even", protocol.engineOptions())
        self.assertIn("1 of 2 tomograms have half maps", " ".join(protocol.summary()))

    def test_three_fields_are_enough(self) -> None:
        protocol = self.domains(self.newProtocol(ProtDualTrain, preset=0, useGpu=False))
        options = {k: v for k, v in protocol.engineOptions().items() if v is not None}
        self.assertEqual(protocol.validate(), [])
        engine.write_options(str(self.folder / "train.json"), options)
        self.assertEqual(options["preset"], "quick")
        self.assertEqual(len(options["noisy"]), 2)

    def test_import_copies_the_file_into_the_project(self) -> None:
        protocol = self.newProtocol(ProtDualImportModel, modelFile=self.modelFile)
        self.assertEqual(protocol.validate(), [])
        self.launchProtocol(protocol)
        self.assertTrue(protocol.Model.getFileName().startswith("Runs/"))
        self.assertEqual(
            read_card(protocol.Model.getFileName()), read_card(self.modelFile)
        )
        self.assertIn("10.00 A", " ".join(protocol.summary()))
        other = support.write_tomogram(self.folder / "no_model.mrc")
        wrong = self.newProtocol(ProtDualImportModel, modelFile=other)
        self.assertIn("not a DUAL model", " ".join(wrong.validate()))
        with self.assertRaises(DualError):
            read_card(other)

    def test_the_general_model_denoises_without_any_training(self) -> None:
        protocol = self.newProtocol(ProtDualImportModel, modelSource=BUILT_IN)
        self.assertEqual(protocol.validate(), [])
        self.launchProtocol(protocol)
        self.assertTrue(protocol.Model.getFileName().startswith("Runs/"))
        self.assertEqual(protocol.Model.getCard(), read_card(GENERAL))
        denoise = self.newProtocol(
            ProtDualDenoise, useGpu=False, numberOfThreads=1, binThreads=1
        )
        for pointer, source, output in (
            (denoise.inputTomograms, self.inputs.tomograms([self.tomogram("first")]), "Tomograms"),
            (denoise.inputModel, protocol, "Model"),
        ):
            pointer.set(source)
            pointer.setExtended(output)
        self.assertEqual(denoise.validate(), [])
        self.launchProtocol(denoise)
        self.assertEqual(denoise.Tomograms.getSize(), 1)
