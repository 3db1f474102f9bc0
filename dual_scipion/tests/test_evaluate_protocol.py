"""The protocol that evaluates: a page, and numbers that are right."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, List, Sequence
from unittest import mock

import numpy as np
from pyworkflow.protocol.executor import StepExecutor
from pyworkflow.tests import BaseTest, setupTestProject
from tomo.objects import SetOfCoordinates3D

from dual_core.errors import DualError
from dual_scipion import convert
from dual_scipion.convert import Pick
from dual_scipion.protocols import ProtDualEvaluate, ProtDualPickDog
from dual_scipion.protocols.parts.evaluation_numbers import told, trust_numbers
from dual_scipion.tests import support

NAMES = ("TS_0", "TS_1")
SHAPE = (20, 24, 24)  # one tile


class TestEvaluate(BaseTest):
    """Two tomograms, denoised ones that are better, their truth, particles and picks."""

    @classmethod
    def setUpClass(cls) -> None:
        setupTestProject(cls)
        cls.folder = Path(tempfile.mkdtemp(prefix="dual"))
        cls.inputs = support.Inputs(cls.proj)
        cls.raw = cls.inputs.tomograms(cls.items("raw", noise=1.0))
        # In another order, to be matched by tsId.
        cls.denoised = cls.inputs.tomograms(cls.items("denoised", noise=0.2)[::-1])
        cls.truth = cls.inputs.tomograms(cls.items("truth", noise=0.0, sign=1))

    @classmethod
    def tearDownClass(cls) -> None:
        shutil.rmtree(str(cls.folder), ignore_errors=True)

    @classmethod
    def items(cls, kind: str, noise: float, sign: int = -1, names: Sequence[str] = NAMES) -> Any:
        generator = np.random.default_rng(len(kind))
        found = []
        for seed, name in enumerate(names):
            volume = sign * support.density(SHAPE, seed)
            volume = volume + generator.normal(0, noise, volume.shape)
            path = cls.folder / f"{kind}_{name}.mrc"
            support.write_volume(path, volume.astype(np.float32))
            found.append(support.tomogram(str(path), name))
        return found

    def coordinates(self, picks: Sequence[Sequence[Pick]]) -> Any:
        """The protocol whose output are these particles of the raw tomograms."""
        protocol = self.inputs._protocol(ProtDualPickDog)
        output = SetOfCoordinates3D.create(protocol._getPath(), prefix="Coordinates")
        tomograms = self.raw.Tomograms
        convert.prepare_coordinates(output, tomograms, 8)
        items = [item.clone() for item in tomograms.iterItems()]
        for tomogram, some in zip(items, picks):
            convert.append_picks(output, tomogram, some)
        tomograms.close()
        output.write()
        self.inputs._finish(protocol, Coordinates=output)
        output.close()
        return protocol

    def evaluation(self, **values: Any) -> Any:
        given = {"useGpu": False, "numberOfThreads": 1, "tile": 32, "halo": 4, "diameter": 60.0}
        pointers = {name: values.pop(name) for name in list(values) if name.startswith("input")}
        protocol = self.newProtocol(ProtDualEvaluate, **{**given, **values})
        pointers = {"inputTomograms": self.raw, "inputDenoised": self.denoised, **pointers}
        for name, source in pointers.items():
            extended = {"inputModel": "Model"}.get(
                name, "Coordinates" if name.endswith("Picks") else "Tomograms"
            )
            getattr(protocol, name).set(source)
            getattr(protocol, name).setExtended(extended)
        return protocol

    def test_truth_and_particles_without_a_model(self) -> None:
        known = [[Pick(8, 8, 8, 1, 1), Pick(20, 8, 8, 1, 1), Pick(8, 20, 15, 1, 2)]] * 2
        # One right, one too far away; in the second tomogram nothing was picked.
        picked: List[List[Pick]] = [[Pick(9, 9, 8, 5, 1), Pick(14, 8, 8, 4, 1)], []]
        protocol = self.evaluation(
            inputTruth=self.truth,
            inputTruePicks=self.coordinates(known),
            inputPicks=self.coordinates(picked),
            onlyClass=1,
        )
        self.assertEqual((protocol.validate(), protocol.warnings()), ([], []))
        self.launchProtocol(protocol)
        page = Path(protocol.Report.getFileName())
        self.assertEqual(page, Path(protocol.reportPath()))
        self.assertFalse(page.is_absolute(), "the project may move")
        text = page.read_text(encoding="utf-8")
        for name in NAMES:
            self.assertIn(name, text)
        self.assertIn("Against the truth", text)
        self.assertNotIn("model yet", text)
        self.assertNotIn("0 iterations", text)

        numbers = json.loads(Path(protocol._getExtraPath("numbers.json")).read_text())
        self.assertEqual(numbers["tomograms"], list(NAMES))
        for key in ("cc", "psnr_db", "ssim"):
            mean = numbers["truth"]["means"][key]
            self.assertGreater(mean["denoised"], mean["raw"], key)
        self.assertGreater(numbers["truth"]["means"]["cc"]["denoised"], 0.5)
        picks = numbers["picks"]
        self.assertEqual((picks["particles"], picks["picks"], picks["found"]), (4, 2, 1))
        self.assertAlmostEqual(picks["precision"], 0.25)
        self.assertAlmostEqual(picks["recall"], 0.25)
        self.assertEqual(picks["tolerance_A"], 30)
        summary = " ".join(protocol.summary())
        self.assertIn("precision 0.250", summary)
        self.assertIn("1 of 4 particles found by 2 picks within 30 A", summary)
        self.assertIn("*Against the truth* (tomograms: 2): correlation", summary)
        self.assertIn("evaluated on 2 tomograms with DUAL", protocol.methods()[0])
        self.assertFalse(os.listdir(protocol._getExtraPath("work")), "work folders are removed")
        self.assertEqual(len(self.proj.getSourceParents(protocol.Report)), 5)

    def test_a_model_is_judged(self) -> None:
        model = self.inputs.model(support.tiny_model())
        protocol = self.evaluation(inputModel=model, tsIds="TS_1", tiltAxis=2)
        self.assertEqual(protocol.validate(), [])
        self.launchProtocol(protocol)
        numbers = json.loads(Path(protocol._getExtraPath("numbers.json")).read_text())
        self.assertEqual(numbers["tomograms"], ["TS_1"])
        self.assertEqual(sum(numbers["trust"]["counts"].values()), 9)
        verdict = numbers["trust"]["verdict"]
        self.assertIn(f"*Trust*: {verdict} (", " ".join(protocol.summary()))
        text = Path(protocol.Report.getFileName()).read_text(encoding="utf-8")
        self.assertIn("TS_1", text)
        self.assertNotIn(str(self.folder), text, "a page that is sent on tells no folders")
        self.assertIn("training", text.lower())
        self.assertIn("yz plane: y frequency", text, "across the tilt axis x")
        self.assertEqual(len(self.proj.getSourceParents(protocol.Report)), 3)

    def with_halves(self, seed: int) -> Any:
        """A tomogram and its halves, which have the noise each for itself."""
        generator = np.random.default_rng(seed)
        shape = (24, 32, 32)
        density = -support.density(shape, seed)
        halves = [density + generator.normal(0, 0.3, shape) for _ in range(2)]
        volumes = [sum(halves) / 2, *halves]
        paths = [
            support.write_volume(self.folder / f"half_{seed}_{at}.mrc", one.astype(np.float32))
            for at, one in enumerate(volumes)
        ]
        return support.tomogram(paths[0], f"TS_{seed}", halves=paths[1:])

    def test_half_maps_tell_whether_the_result_knows_more_than_a_filter(self) -> None:
        items = [self.with_halves(4), self.with_halves(5)]
        items.append(self.items("alone", 1.0, names=("TS_6",))[0])
        raw = self.inputs.tomograms(items)
        model = self.inputs.model(support.tiny_model())
        protocol = self.evaluation(inputTomograms=raw, inputDenoised=raw, inputModel=model)
        pairs = [[items[at].getHalfMaps(asList=True)[n] for n in (0, 1)] for at in (0, 1)]
        self.assertEqual(protocol.halved(), pairs)
        protocol.setObjId(None)
        self.saveProtocol(protocol)
        protocol.makePathsAndClean()
        protocol.setStepsExecutor(StepExecutor(None, gpuList=[]))
        protocol._stepsExecutor.setProtocol(protocol)
        protocol.halvesStep()
        protocol.createOutputStep()
        numbers = json.loads(Path(protocol._getExtraPath("numbers.json")).read_text())["halves"]
        self.assertEqual(numbers["tomograms"], 2)
        self.assertIn(numbers["finding"]["verdict"], ("green", "amber", "red"))
        told = " ".join(protocol.summary())
        self.assertIn("*Half maps* (tomograms: 2): ", told)
        self.assertIn(numbers["finding"]["sentence"], told)
        self.assertIn("(limit ", told)
        options = json.loads(Path(protocol._getExtraPath("parameters/halves.json")).read_text())
        self.assertEqual(len(options["pair"]), 1)
        self.assertEqual(tuple(options["tilt_range"]), support.TILTS_DEG)
        self.assertNotIn("tilt_axis", options, "that of the model")

        os.unlink(pairs[0][0])
        self.assertEqual(protocol.halved(), pairs[1:])
        with mock.patch.object(protocol, "runEngine", side_effect=DualError("it is constant")):
            protocol.halvesStep()
        protocol.createOutputStep()
        self.assertIn("could not be compared: it is constant", " ".join(protocol.summary()))

    def test_the_tilt_axis_is_said_where_it_is_set(self) -> None:
        model = self.inputs.model(support.tiny_model())
        one = self.items("turned", 1.0, names=("TS_7",))
        halves = [one[0].getFileName()] * 2
        raw = self.inputs.tomograms([support.tomogram(halves[0], "TS_7", halves=halves)])
        inputs = {"inputTomograms": raw, "inputDenoised": raw, "inputTruth": raw}
        for values, engine, truth in (
            ({}, [None, None], "y"),
            ({"tiltAxis": 2}, ["x", "x"], "x"),
            ({"tiltAxis": 1}, ["y", "y"], "y"),
        ):
            protocol = self.evaluation(inputModel=model, **inputs, **values)
            self.saveProtocol(protocol)
            protocol.makePathsAndClean()
            with mock.patch.object(protocol, "runEngine") as run:
                protocol.reportStep()
                protocol.halvesStep()
                protocol.truthStep()
            found = [call[0][1]["tilt_axis"] for call in run.call_args_list]
            self.assertEqual(found, [*engine, truth])

    def test_what_the_form_checks(self) -> None:
        nothing = self.evaluation()
        self.assertIn("nothing to measure", " ".join(nothing.validate()))
        particles = self.coordinates([[Pick(8, 8, 8, 1, 1)], []])
        half = self.evaluation(inputPicks=particles)
        self.assertIn("or neither", " ".join(half.validate()))
        unknown = self.evaluation(inputTruth=self.truth, tsIds="TS_1 nobody")
        self.assertIn("no tomogram nobody", " ".join(unknown.validate()))
        foreign = self.inputs.tomograms(self.items("foreign", 1.0, names=("TS_8",)))
        self.assertIn(
            "no raw tomogram has the tsId",
            " ".join(self.evaluation(inputDenoised=foreign, inputTruth=self.truth).validate()),
        )
        self.assertIn(
            "cannot be matched", " ".join(self.evaluation(inputTruth=foreign).validate())
        )

    def test_truth_by_order_and_a_choice_of_tomograms(self) -> None:
        others = self.inputs.tomograms(self.items("grand", 0.0, 1, names=("G_5", "G_6")))
        protocol = self.evaluation(inputTruth=others, howMany=1)
        self.assertEqual([one.name for one in protocol.examined()], ["TS_0"])
        protocol.howMany.set(0)
        pairs = [(one.name, convert.ts_id(one.truth)) for one in protocol.examined()]
        self.assertEqual(pairs, [("TS_0", "G_5"), ("TS_1", "G_6")])
        for one in protocol.examined():
            self.assertIn(f"denoised_{one.name}", one.denoised.getFileName())

    def test_lines_of_a_trust_report(self) -> None:
        def finding(title: str, verdict: str) -> Any:
            return {"title": title, "verdict": verdict}

        findings = [finding("A", "green"), finding("B", "amber"), finding("C", "red")]
        path = self.folder / "trust.json"
        tomograms = [{"findings": findings}, {"findings": findings[1:]}]
        path.write_text(json.dumps({"verdict": "red", "tomograms": tomograms}))
        lines = told({"trust": trust_numbers(str(path))})
        self.assertEqual(
            lines, ["*Trust*: red (1 green, 2 amber, 2 red).", "Look at: C; B."]
        )
        self.assertEqual(trust_numbers(str(self.folder / "none.json")), {})
