"""The protocols, launched for real on the CPU with tiny volumes and a network of two iterations."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Sequence

from pyworkflow.protocol.constants import MODE_RESUME
from pyworkflow.tests import setupTestProject
from tomo.objects import TomoAcquisition
from tomo.tests.test_base_centralized_layer import TestBaseCentralizedLayer

from dual_scipion import convert
from dual_scipion.protocols import ProtDualDenoise
from dual_scipion.tests import support

ORIGIN = (-100.0, -50.0, 20.0)
PATIENCE_S = 300.0
TO_ADAPT = (32, 36, 34)  # a tomogram that a model can be adapted to has 32 voxels along each axis
ONE_STEP = 0.001  # minutes


class DualTest(TestBaseCentralizedLayer):
    """A project, a folder for data outside of it, one tiny model for all tests of a class."""

    @classmethod
    def setUpClass(cls) -> None:
        setupTestProject(cls)
        cls.folder = Path(tempfile.mkdtemp(prefix="dual"))
        cls.inputs = support.Inputs(cls.proj)
        cls.modelFile = support.tiny_model()
        cls.model = cls.inputs.model(cls.modelFile)

    @classmethod
    def tearDownClass(cls) -> None:
        shutil.rmtree(str(cls.folder), ignore_errors=True)

    def tomogram(self, name: str, **options: Any) -> Any:
        """A tomogram of a file of its own; ``shape``, ``dtype`` and ``seed`` are the file's."""
        kind = {key: options.pop(key) for key in ("shape", "dtype", "seed") if key in options}
        return support.tomogram(
            support.write_tomogram(self.folder / f"{name}.mrc", **kind), f"TS_{name}", **options
        )

    def denoise(self, tomograms: Any, **values: Any) -> Any:
        """A protocol that denoises an input set; small tiles, since padding takes all the time."""
        given: Dict[str, Any] = {"useGpu": False, "numberOfThreads": 1, "binThreads": 1}
        given.update({"tile": 32, "halo": 4, **values})
        protocol = self.newProtocol(ProtDualDenoise, **given)
        protocol.inputTomograms.set(tomograms)
        protocol.inputTomograms.setExtended("Tomograms")
        protocol.inputModel.set(self.model)
        protocol.inputModel.setExtended("Model")
        return protocol

    def check_inherited(self, protocol: Any) -> None:
        """Every output tomogram, and their set, has all attributes of the input."""
        source, result = protocol.inputTomograms.get(), protocol.Tomograms
        self.assertEqual(support.inherited(result), support.inherited(source))
        given = {item.getTsId(): item.clone() for item in source}
        for item in result:
            raw = given[item.getTsId()]
            self.assertEqual(support.inherited(item), support.inherited(raw))
            found, wanted = (support.start_voxels(one.getFileName()) for one in (item, raw))
            self.assertEqual(found, wanted)

    def wait(self, what: Callable[[], bool], protocol: Any) -> None:
        """Until something holds; fails when the protocol does or patience ends."""
        deadline = time.monotonic() + PATIENCE_S
        while not what():
            self.assertLess(time.monotonic(), deadline, "it takes too long")
            if protocol.isFailed():
                self.fail(Path(protocol.getStderrLog()).read_text(encoding="utf-8")[-3000:])
            time.sleep(0.5)
            self.proj._updateProtocol(protocol)

    @staticmethod
    def times(protocol: Any, names: Sequence[str]) -> List[int]:
        """When the results of tomograms were written."""
        return [os.stat(protocol._getExtraPath(f"TS_{n}.mrc")).st_mtime_ns for n in names]


class TestDenoise(DualTest):
    """Denoising: metadata, failures, Continue, streaming."""

    def test_metadata_and_one_failure_then_continue(self) -> None:
        halves = [support.write_tomogram(self.folder / f"h{i}.mrc", seed=i) for i in (1, 2)]
        broken = self.tomogram("broken", origin=ORIGIN, halves=halves)
        good = Path(broken.getFileName()).read_bytes()
        Path(broken.getFileName()).write_bytes(good[:5000])
        items = [
            self.tomogram("a", origin=ORIGIN, dtype="int8", halves=halves),
            self.tomogram("b", origin=ORIGIN, shape=(20, 34, 30), dtype="float16", halves=halves),
            broken,
        ]
        protocol = self.denoise(self.inputs.tomograms(items), strength=0.8)
        self.launchProtocol(protocol)
        shapes = {"TS_a": [30, 34, 26], "TS_b": [30, 34, 20], "TS_broken": [30, 34, 26]}
        self.check(protocol, 2, shapes)
        self.assertEqual(protocol.FailedTomograms.getTSIds(), ["TS_broken"])
        self.assertTrue(any("1 failed" in line for line in protocol.summary()))
        log = Path(protocol.getStderrLog()).read_text(encoding="utf-8")
        self.assertRegex(log, f"TS_broken: .*{broken.getFileName()}")

        before = self.times(protocol, "ab")
        Path(broken.getFileName()).write_bytes(good)
        protocol.runMode.set(MODE_RESUME)
        self.launchProtocol(protocol)
        self.check(protocol, 3, shapes)
        self.assertEqual(self.times(protocol, "ab"), before, "what is done is not done again")
        self.assertEqual(protocol.FailedTomograms.getSize(), 0)
        self.assertFalse(any("failed" in line for line in protocol.summary()))
        self.assertTrue(any("3 tomograms were denoised" in line for line in protocol.methods()))
        self.assertFalse(os.listdir(protocol._getExtraPath("work")), "work folders are removed")

    def check(self, protocol: Any, size: int, shapes: Dict[str, List[int]]) -> None:
        acquisition = TomoAcquisition(
            angleMin=support.TILTS_DEG[0], angleMax=support.TILTS_DEG[1], step=2
        )
        self.checkTomograms(
            protocol.Tomograms,
            expectedSetSize=size,
            expectedSRate=support.VOXEL_SIZE_A,
            expectedDimensions=shapes,
            expectedOriginShifts=list(ORIGIN),
            isHeterogeneousSet=True,
            testAcqObj=acquisition,
            hasHalves=False,
            checkHeaderApix=True,
        )
        for tomogram in protocol.Tomograms:
            self.assertFalse(tomogram.hasHalfMaps(), "the halves of the raw one are not its own")

    def test_halves_are_denoised_on_demand_without_acquisition(self) -> None:
        halves = [support.write_tomogram(self.folder / f"o{i}.mrc", seed=i) for i in (1, 2)]
        source = self.inputs.tomograms([self.tomogram("h", acquisition=False, halves=halves)])
        protocol = self.denoise(source, denoiseHalves=True)
        self.launchProtocol(protocol)
        self.checkTomograms(
            protocol.Tomograms,
            expectedSetSize=1,
            expectedSRate=support.VOXEL_SIZE_A,
            expectedDimensions=[30, 34, 26],
            hasOddEven=True,
            hasHalves=True,
        )
        made = protocol.Tomograms.getFirstItem().getHalfMaps().split(",")
        self.assertEqual(len({Path(path).read_bytes() for path in made}), 2)
        self.assertFalse(set(made) & set(halves))
        explained = [p.name for p in Path(protocol._getExtraPath()).glob("*_explained.mrc")]
        self.assertEqual(explained, ["TS_h_explained.mrc"], "of the tomogram, not of its halves")

    def test_everything_known_of_a_tomogram_is_kept(self) -> None:
        halves = [support.write_tomogram(self.folder / f"r{i}.mrc", seed=i) for i in (1, 2)]
        items = []
        for name in ("r3", "r4"):
            path = support.write_tomogram(self.folder / f"{name}.mrc")
            items.append(support.rich_tomogram(path, f"TS_{name}", halves=halves))
        source = self.inputs.tomograms(items)
        source.Tomograms.setAcquisition(items[0].getAcquisition().clone())
        source.Tomograms.setCtfCorrected(True)
        source.Tomograms.write()
        self.proj._storeProtocol(source)
        source.Tomograms.close()
        protocol = self.denoise(source)
        self.launchProtocol(protocol)
        self.assertEqual(protocol.Tomograms.getSize(), 2)
        self.assertTrue(protocol.Tomograms.ctfCorrected())
        for item, raw in zip(protocol.Tomograms, items):
            explained = protocol.explainedPath(item)
            self.assertEqual(convert.shape_of(explained), convert.shape_of(item.getFileName()))
            found, wanted = (support.start_voxels(p) for p in (explained, raw.getFileName()))
            self.assertEqual(found, wanted)
        self.check_inherited(protocol)

    def test_all_broken_fails_with_the_first_reason(self) -> None:
        broken = self.tomogram("bad")
        os.remove(broken.getFileName())
        protocol = self.denoise(self.inputs.tomograms([broken]))
        with self.assertRaisesRegex(Exception, "failed"):
            self.launchProtocol(protocol)
        self.assertIn("No tomogram could be processed", protocol.getErrorMessage())
        self.assertIn("does not exist", protocol.getErrorMessage())
        self.assertEqual(protocol.FailedTomograms.getSize(), 1)

    def test_open_set_is_followed_and_a_killed_run_goes_on_with_one_adapted_model(self) -> None:
        source = self.inputs.tomograms([self.tomogram("s0", shape=TO_ADAPT)], is_open=True)
        values = {"numberOfThreads": 3, "streamingSleepOnWait": 1, "adaptMinutes": ONE_STEP}
        protocol = self.denoise(source, **values)
        self.assertIn("adapted to the 1 tomograms", " ".join(protocol.warnings()))
        self.proj.launchProtocol(protocol, wait=False)
        self.wait(lambda: protocol.doneCount() == 1, protocol)
        self.proj.stopProtocol(protocol)
        before = self.times(protocol, ["s0"])
        adapted = os.stat(protocol.adaptedPath()).st_mtime_ns

        self.inputs.append(source, self.tomogram("s1", shape=TO_ADAPT), close=False)
        protocol.runMode.set(MODE_RESUME)
        self.proj.launchProtocol(protocol, wait=False)
        self.wait(lambda: protocol.doneCount() == 2, protocol)
        self.assertTrue(protocol.Tomograms.isStreamOpen())
        self.inputs.append(source, self.tomogram("s2", shape=TO_ADAPT), close=True)
        self.wait(protocol.isFinished, protocol)
        self.assertEqual(sorted(protocol.Tomograms.getTSIds()), ["TS_s0", "TS_s1", "TS_s2"])
        self.assertEqual(protocol.Tomograms.getSize(), 3)
        self.assertFalse(protocol.Tomograms.isStreamOpen())
        self.assertEqual(self.times(protocol, ["s0"]), before, "what is done is not done again")
        self.check_adapted(protocol, adapted, ["TS_s0", "TS_s1", "TS_s2"])

    def check_adapted(self, protocol: Any, made: int, names: List[str]) -> None:
        """All were denoised with the model that was made then, and no other was."""
        self.assertEqual(os.stat(protocol.adaptedPath()).st_mtime_ns, made)
        paths = Path(protocol._getExtraPath("parameters")).glob("*.json")
        runs = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in paths}
        self.assertEqual(sorted(runs), [*names, "adapt"])
        self.assertEqual(runs.pop("adapt")["model"], self.modelFile)
        for options in runs.values():
            self.assertEqual(options["model"], protocol.adaptedPath())
            self.assertNotIn("adapt", options)
        self.assertEqual(protocol.AdaptedModel.getFileName(), protocol.adaptedPath())
        self.assertTrue(protocol.AdaptedModel.getCard().denoises_only)
        self.assertIn("adapted once to these tomograms", " ".join(protocol.summary()))

    def test_what_the_form_checks(self) -> None:
        item = self.tomogram("v")
        is_open = self.denoise(self.inputs.tomograms([item], is_open=True))
        self.assertTrue(any("still open" in error for error in is_open.validate()))
        twice = self.denoise(self.inputs.tomograms([item, item]))
        self.assertTrue(any("the same tsId" in error for error in twice.validate()))
        fine = self.denoise(self.inputs.tomograms([item]))
        self.assertEqual((fine.validate(), fine.warnings()), ([], []))
        self.assertIsNone(fine.engineOptions(item)["tilt_axis"], "that of the model")
        fine.tiltAxis.set(2)
        self.assertEqual(fine.engineOptions(item)["tilt_axis"], "x")
        self.assertEqual(fine.tiltAxisOfTomograms(), "x")
        fine.strength.set(1.5)
        self.assertTrue(any("from 0 to 1" in error for error in fine.validate()))
        foreign = self.denoise(self.inputs.tomograms([item], voxel_size_A=13.0), denoiseHalves=True)
        warnings = " ".join(foreign.warnings())
        self.assertIn("13.00 A", warnings)
        self.assertIn("have none", warnings)
        lost = self.tomogram("lost", halves=[item.getFileName(), str(self.folder / "gone.mrc")])
        both = self.tomogram("found", halves=[item.getFileName()] * 2)
        for halves, words in ((True, "1 tomograms (TS_lost)"), (False, "")):
            lone = self.denoise(self.inputs.tomograms([lost, both]), denoiseHalves=halves)
            self.assertEqual(bool(words), bool(lone.warnings()))
            self.assertIn(words, " ".join(lone.warnings()))
        near = self.denoise(self.inputs.tomograms([item], voxel_size_A=11.0))
        self.assertEqual(near.warnings(), [])
        gpus = self.denoise(self.inputs.tomograms([item]), useGpu=True, gpuList="0,1")
        self.assertIn("Set Scipion threads to 3", " ".join(gpus.warnings()))
