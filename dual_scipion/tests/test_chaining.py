"""Picking and what follows it: other plugins take the coordinates, and they sit on particles.

The contract with another plugin is tested on its own code: *subtomograms extraction* of
scipion-em-emantomo, which is among the requirements of the tests, writes the coordinates for EMAN2
(EMAN2 itself is not needed). It uses ``getSamplingRate``, ``getPrecedents``, ``getTSIds`` and
``iterCoordinates(volume=)`` of the set, and ``getPosition`` from the bottom left corner.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Dict, List, Optional, Set, Tuple

import numpy as np
from pyworkflow import Config
from pyworkflow.protocol.constants import MODE_RESUME
from pyworkflow.tests import setupTestProject
from tomo.constants import BOTTOM_LEFT_CORNER
from tomo.objects import SetOfTomoMasks, TomoMask
from tomo.protocols import ProtImportTomograms
from tomo.tests.test_base_centralized_layer import TestBaseCentralizedLayer

from dual_core.errors import DualError
from dual_scipion import Plugin, convert
from dual_scipion.convert import Pick
from dual_scipion.coordinates import picks_of, scale_between, transferred, write_picks
from dual_scipion.protocols import ProtDualPickDog
from dual_scipion.protocols.forms.pick import BY_NUMBER
from dual_scipion.tests import support

RADIUS = 4  # voxels
DIAMETER_A = 2 * RADIUS * support.VOXEL_SIZE_A
SHAPE = (36, 48, 44)  # (z, y, x)
NUMBER = 7
ORIGIN = (-130.0, -50.0, 20.0)
OTHER_ORIGIN = (10.0, 40.0, -80.0)
PATIENCE_S = 300.0
Place = Tuple[float, float, float]


def balls(seed: int, shape: Tuple[int, int, int] = SHAPE) -> Tuple[np.ndarray, Set[Place]]:
    """Bright balls, like ribosomes seen at low resolution, and their centres ``(x, y, z)``."""
    generator = np.random.default_rng(seed)
    centres: List[np.ndarray] = []
    while len(centres) < NUMBER:
        centre = generator.integers(2 * RADIUS, np.array(shape) - 2 * RADIUS)
        if all(np.linalg.norm(centre - other) > 2.6 * RADIUS for other in centres):
            centres.append(centre)
    grid = np.indices(shape)
    volume = np.zeros(shape, np.float32)
    for centre in centres:
        distance = sum((axis - c) ** 2 for axis, c in zip(grid, centre))
        volume[distance <= (RADIUS + 0.2) ** 2] = 1
    return volume, {(float(c[2]), float(c[1]), float(c[0])) for c in centres}


def dark(volume: np.ndarray, noise: float, seed: int = 0) -> np.ndarray:
    """The volume with dark density and noise."""
    generator = np.random.default_rng(seed)
    noisy: np.ndarray = noise * generator.standard_normal(volume.shape) - volume
    return noisy.astype(np.float32)


class PickingTest(TestBaseCentralizedLayer):
    """A project, and tomograms of balls: raw ones in much noise, denoised ones in little."""

    @classmethod
    def setUpClass(cls) -> None:
        setupTestProject(cls)
        cls.folder = Path(tempfile.mkdtemp(prefix="dual"))
        cls.inputs = support.Inputs(cls.proj)

    @classmethod
    def tearDownClass(cls) -> None:
        shutil.rmtree(str(cls.folder), ignore_errors=True)

    def item(self, kind: str, seed: int, origin: Optional[Place] = None, noise: float = 1.0) -> Any:
        path = self.folder / f"{kind}_{seed}.mrc"
        support.write_volume(path, dark(balls(seed)[0], noise, seed))
        return support.tomogram(str(path), f"TS_{seed}", origin=origin)

    def picking(self, tomograms: Any, raw: Any = None, **values: Any) -> Any:
        given: Dict[str, Any] = {"diameter": DIAMETER_A, "numberOfThreads": 1, "binThreads": 1}
        given.update({"pickBy": BY_NUMBER, "number": NUMBER, **values})
        protocol = self.newProtocol(ProtDualPickDog, **given)
        for pointer, source in ((protocol.inputTomograms, tomograms), (protocol.inputExtract, raw)):
            if source is not None:
                pointer.set(source)
                pointer.setExtended("Tomograms")
        return protocol

    def positions(self, coordinates: Any) -> Dict[str, List[Place]]:
        found: Dict[str, List[Place]] = {}
        for item in coordinates.iterCoordinates():
            found.setdefault(item.getTomoId(), []).append(item.getPosition(BOTTOM_LEFT_CORNER))
        coordinates.close()
        return found


class TestChain(PickingTest):
    """Picks on denoised tomograms go to the raw ones, to emantomo, and into an average."""

    def test_picks_on_denoised_are_extracted_from_raw(self) -> None:
        broken = self.item("denoised", 2, noise=0.1)
        good = Path(broken.getFileName()).read_bytes()
        Path(broken.getFileName()).write_bytes(good[:5000])
        # The raw ones have origins of their own, are in another order and more.
        denoised = self.inputs.tomograms([self.item("denoised", 1, noise=0.1), broken])
        places = ((2, OTHER_ORIGIN), (1, ORIGIN), (3, OTHER_ORIGIN))
        raw = self.inputs.tomograms([self.item("raw", seed, place) for seed, place in places])
        protocol = self.picking(denoised, raw)
        self.assertEqual((protocol.validate(), protocol.warnings()), ([], []))
        self.launchProtocol(protocol)
        self.assertEqual(protocol.FailedTomograms.getTSIds(), ["TS_2"])
        self.check(protocol, {"TS_1"}, raw)

        Path(broken.getFileName()).write_bytes(good)
        protocol.runMode.set(MODE_RESUME)
        self.launchProtocol(protocol)
        self.check(protocol, {"TS_1", "TS_2"}, raw)
        summary = " ".join(protocol.summary())
        self.assertIn(f"*{2 * NUMBER} particles*, {NUMBER} to {NUMBER} in a tomogram", summary)
        self.assertIn("2 of 2 tomograms", summary)
        self.assertNotIn("failed", summary)
        self.assertIn(f"{2 * NUMBER} particles were picked in 2", " ".join(protocol.methods()))
        self.assertTrue(os.path.exists(protocol._getExtraPath("TS_1.star")))

        for source in (None, denoised):
            self.emantomo_extracts(protocol, source)
        self.average_shows_a_ball(protocol)

    def check(self, protocol: Any, ts_ids: Set[str], raw: Any) -> None:
        coordinates = protocol.Coordinates
        self.checkCoordinates(
            coordinates,
            expectedSetSize=NUMBER * len(ts_ids),
            expectedBoxSize=12,
            expectedSRate=support.VOXEL_SIZE_A,
        )
        self.assertEqual(coordinates.getPrecedents().getObjId(), raw.Tomograms.getObjId())
        self.assertEqual({str(ts_id) for ts_id in coordinates.getTSIds()}, ts_ids)
        for ts_id, found in self.positions(coordinates).items():
            truth = np.array(sorted(balls(int(ts_id[-1]))[1]))
            apart = np.abs(np.array(sorted(found)) - truth).max()
            self.assertLessEqual(apart, 1, "the picks are where the balls are")
            self.assertTrue((np.array(found) % 1 == 0).all(), "whole voxels")
        scores = [item.getScore() for item in coordinates.iterItems(where='_tomoId="TS_1"')]
        self.assertEqual(scores, sorted(scores, reverse=True))
        self.assertGreater(scores[-1], 3)
        parents = self.proj.getSourceParents(protocol.Coordinates)
        self.assertEqual(len(parents), 2, "the tree shows both inputs")

    def emantomo_extracts(self, picking: Any, source: Any) -> None:
        """The positions that emantomo would give to EMAN2 are those that were picked."""
        kind = Config.getDomain().getProtocols().get("EmanProtTomoExtraction")
        self.assertIsNotNone(
            kind, "emantomo is not installed: pip install scipion-em-eman2 scipion-em-emantomo"
        )
        extraction = self.newProtocol(kind, boxSize=12)
        extraction.inputCoordinates.set(picking)
        extraction.inputCoordinates.setExtended("Coordinates")
        if source is not None:
            extraction.tomoSource.set(1)
            extraction.inputTomograms.set(source)
            extraction.inputTomograms.setExtended("Tomograms")
        self.assertEqual(extraction._validate(), [])
        self.saveProtocol(extraction)
        extraction.makePathsAndClean()
        extraction._initialize()
        self.assertEqual(set(extraction.tomosDict), {"TS_1", "TS_2"})
        picked = self.positions(picking.Coordinates)
        for ts_id in extraction.tomosDict:
            extraction.writeSetOfCoordinates3D(ts_id)
            written = np.loadtxt(extraction._getExtraPath(f"{ts_id}.coords"))
            self.assertEqual(sorted(map(tuple, written)), sorted(picked[ts_id]))
            if source is None:
                tomogram = extraction.tomosDict[ts_id]
                self.assertIn("raw", tomogram.getFileName(), "extraction is from the raw ones")

    def average_shows_a_ball(self, picking: Any) -> None:
        """The average at the picks, from the raw tomograms, is a ball of the particle's size."""
        coordinates = picking.Coordinates
        options: List[str] = []
        lists: List[str] = []
        for tomogram in coordinates.getPrecedents().iterItems():
            if tomogram.getTsId() not in ("TS_1", "TS_2"):
                continue
            path = self.folder / f"{tomogram.getTsId()}.csv"
            write_picks(str(path), picks_of(coordinates, tomogram), coordinates.getSamplingRate())
            options.append(tomogram.getFileName())
            lists.append(str(path))
        output = self.folder / "average"
        command = [sys.executable, "-m", "dual_core", "average", *options, "--picks", *lists]
        command += ["--box", "15", "--contrast", "dark", "--output", str(output), "--quiet"]
        subprocess.run(command, env=Plugin.getEnviron(), check=True, stdout=subprocess.DEVNULL)
        told = json.loads((output / "average.json").read_text(encoding="utf-8"))
        self.assertGreaterEqual(told["particles"], 2 * NUMBER - 2)
        self.assertAlmostEqual(told["radius_A"], DIAMETER_A / 2, delta=0.15 * DIAMETER_A)
        self.assertGreater(told["height"], 2 * told["noise"], "it stands out of the noise")


class TestPickDog(PickingTest):
    """What the protocol does with its inputs."""

    def test_open_set_is_followed(self) -> None:
        source = self.inputs.tomograms([self.item("stream", 4, ORIGIN, 0.1)], is_open=True)
        protocol = self.picking(source, numberOfThreads=3, streamingSleepOnWait=1, boxSize=20)
        self.assertEqual(protocol.validate(), [])
        self.proj.launchProtocol(protocol, wait=False)
        deadline = time.monotonic() + PATIENCE_S
        while not protocol.isFinished():
            self.assertLess(time.monotonic(), deadline, "it takes too long")
            self.assertFalse(protocol.isFailed(), protocol.getErrorMessage())
            time.sleep(0.5)
            self.proj._updateProtocol(protocol)
            if protocol.doneCount() == NUMBER and source.Tomograms.getSize() == 1:
                self.assertTrue(protocol.Coordinates.isStreamOpen())
                self.inputs.append(source, self.item("stream", 5, ORIGIN, 0.1), close=True)
        self.assertEqual(protocol.Coordinates.getSize(), 2 * NUMBER)
        self.assertEqual(protocol.Coordinates.getBoxSize(), 20)
        self.assertFalse(protocol.Coordinates.isStreamOpen())
        found = self.positions(protocol.Coordinates)
        self.assertEqual({k: len(v) for k, v in found.items()}, {"TS_4": NUMBER, "TS_5": NUMBER})

    def masks(self, items: List[Any]) -> Any:
        protocol = self.inputs._protocol(ProtImportTomograms)
        masks = SetOfTomoMasks.create(protocol._getPath(), prefix="masks")
        masks.setSamplingRate(support.VOXEL_SIZE_A)
        for item in items:
            masks.append(convert.derived_mask(item, item.getFileName()))
        masks.write()
        self.inputs._finish(protocol, Masks=masks)
        self.assertIsInstance(masks.getFirstItem(), TomoMask)
        return protocol

    def test_masks_and_options(self) -> None:
        items = [self.item("mask", 6), self.item("mask", 7)]
        protocol = self.picking(self.inputs.tomograms(items), border=30, minDistance=50)
        protocol.inputMasks.set(self.masks(items[:1]))
        protocol.inputMasks.setExtended("Masks")
        self.assertEqual(protocol.validate(), [])
        self.assertIn("1 of 2 tomograms have no counterpart in the masks", protocol.warnings()[0])
        options = protocol.engineOptions(items[0])
        self.assertEqual(options["mask"], items[0].getFileName())
        self.assertEqual((options["number"], options["threshold"]), (NUMBER, None))
        self.assertEqual((options["border"], options["min_distance"]), (30, 50))
        with self.assertRaisesRegex(DualError, "no mask with the tsId TS_7"):
            protocol.engineOptions(items[1])
        protocol.inputMasks.set(self.masks([self.item("mask", 8)]))
        protocol.inputMasks.setExtended("Masks")
        self.assertIn("No tsId of the tomograms", " ".join(protocol.validate()))

    def test_a_form_with_mistakes(self) -> None:
        protocol = self.picking(self.inputs.tomograms([self.item("form", 1)]), diameter=15.0)
        self.assertIn("only 1.5 voxels", " ".join(protocol.validate()))
        protocol.diameter.set(-1)
        self.assertIn("more than 0", " ".join(protocol.validate()))

    def test_nothing_found_is_an_error_that_says_what_to_do(self) -> None:
        protocol = self.picking(self.inputs.tomograms([self.item("none", 1)]))
        self.saveProtocol(protocol)
        protocol.makePathsAndClean()
        with self.assertRaisesRegex(DualError, "Lower the score threshold"):
            protocol.closeOutputsStep("now")

    def test_raw_tomograms_may_be_binned_less_but_not_be_others(self) -> None:
        picked = self.item("binned", 1)
        path = support.write_volume(self.folder / "fine.mrc", np.zeros((73, 97, 88), np.float32))
        fine = support.tomogram(path, "TS_1")
        fine.setSamplingRate(support.VOXEL_SIZE_A / 2)
        self.assertEqual(scale_between(picked, fine), 2)
        # (1 + 0.5) * 2 - 0.5, and half a voxel where one more was cut off by binning.
        found = transferred([Pick(1, 2, 3, 0.5, 1)], picked, fine)
        self.assertEqual(found, [Pick(2.5, 5.0, 7.0, 0.5, 1)])
        fine.setSamplingRate(support.VOXEL_SIZE_A)
        with self.assertRaisesRegex(DualError, "do not show the same region"):
            scale_between(picked, fine)
