"""Simulated tomograms with masks and positions go into DeepFinder's training as they are.

The contract is tested on the code of scipion-em-deepfinder, which is among the requirements of the
tests: its training step and its step for targets of spheres run whole, and only the command that
would start DeepFinder itself is kept back. Its training finds the tomograms by the masks, and the
positions by the number of the mask; the classes are counted by those that have positions.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Any, Dict, List, Set, Tuple
from unittest import mock
from xml.etree import ElementTree

from pyworkflow import Config

from dual_scipion.protocols import ProtDualSimulate
from dual_scipion.tests.test_simulation_protocols import SimulationTest, listed, read

MOLECULES = "antibody_150, cube_480"
NUMBER = 2  # of each, in a grand model
GRAND_MODELS = 2
COPIES = 2
TOMOGRAMS = GRAND_MODELS * COPIES
SIDES = {"sizeX": 56, "sizeY": 52, "sizeZ": 48}
FRACTION = 0.3
FOR_VALIDATION = round(FRACTION * TOMOGRAMS)
PATCH = 40  # DeepFinder's smallest; the tomograms must hold it
Place = Tuple[int, int, int, int]  # x, y, z, class


class TestDeepFinder(SimulationTest):
    """From grand models to what DeepFinder would be started with."""

    def test_simulated_tomograms_go_into_deepfinder(self) -> None:
        # Gold must not disturb: it has a class in the engine's masks.
        values = {"phantoms": MOLECULES, "number": NUMBER, "count": GRAND_MODELS, **SIDES}
        grand = self.grandModels(gold=1, goldDiameter=5.0, **values)
        self.launchProtocol(grand)
        simulated = self.prepared(ProtDualSimulate, copies=COPIES)
        self.point(simulated.inputTomograms, grand)
        self.launchProtocol(simulated)
        self.assertEqual(simulated.Tomograms.getSize(), TOMOGRAMS)
        self.checkTraining(simulated)
        self.checkTargetsOfSpheres(simulated)

    def foreign(self, name: str, **values: Any) -> Any:
        """A protocol of DeepFinder's plugin."""
        kind = Config.getDomain().getProtocols().get(name)
        self.assertIsNotNone(kind, "scipion-em-deepfinder is not installed: it is needed here")
        return self.newProtocol(kind, **values)

    def started(self, protocol: Any, step: Any, *arguments: Any) -> List[ElementTree.Element]:
        """Run a step; the parameter files that DeepFinder would be started with."""
        # Not validate(), which also wants the programs to be there.
        self.assertEqual(protocol._validate(), [])
        self.saveProtocol(protocol)
        protocol.makePathsAndClean()
        with mock.patch.object(type(protocol), "runJob") as run_job:
            step(*arguments)
        found = []
        for call in run_job.call_args_list:
            option, path = shlex.split(call[0][1])
            self.assertEqual(option, "-p")
            found.append(ElementTree.parse(path).getroot())
        return found

    def truth(self, simulated: Any) -> Dict[str, Set[Place]]:
        """Where the engine put the molecules, by the file of the tomogram."""
        places: Dict[str, Set[Any]] = {}
        for grand in simulated.inputTomograms.get():
            source = grand.getFileName()
            path = source.replace("grand_model_", "particles_").replace(".mrc", ".csv")
            rounded = {tuple(map(round, one)) for one in listed(path)}
            self.assertEqual(len(rounded), 2 * NUMBER)
            for result in simulated.resultFiles(grand):
                places[os.path.abspath(result)] = rounded
        return places

    @staticmethod
    def value(given: ElementTree.Element, path: str, attribute: str) -> str:
        """An attribute in a parameter file of DeepFinder's."""
        element = given.find(path)
        assert element is not None, path
        return element.attrib[attribute]

    @staticmethod
    def objects(path: str) -> List[Tuple[int, Place]]:
        """Number of the tomogram and place of each object in a list of DeepFinder's."""
        found = []
        for one in ElementTree.parse(path).getroot():
            x, y, z = (float(one.attrib[axis]) for axis in "xyz")
            assert (x, y, z) == (round(x), round(y), round(z)), "whole voxels"
            place = (int(x), int(y), int(z), int(one.attrib["class_label"]))
            found.append((int(one.attrib["tomo_idx"]), place))
        return found

    def checkTraining(self, simulated: Any) -> None:
        """The training gets the right tomograms, masks and positions."""
        train = self.foreign("DeepFinderTrain", valDataFraction=FRACTION)
        self.point(train.tomoMasksTrain, simulated, "TomoMasks")
        self.point(train.coord, simulated, "Coordinates")
        (given,) = self.started(train, train.trainingStep)

        classes = int(self.value(given, "number_of_classes", "n"))
        self.assertEqual(classes, 3, "background and two molecules")
        self.assertEqual(self.value(given, "patch_size", "n"), str(PATCH))
        tomograms, targets = (
            [one.attrib["path"] for one in given.findall(f"{name}/*")]
            for name in ("path_tomo", "path_target")
        )
        truth = self.truth(simulated)
        self.assertEqual(sorted(tomograms), sorted(truth))
        lists = [self.value(given, f"path_objl_{name}", "path") for name in ("valid", "train")]
        placed = [self.objects(path) for path in lists]
        per_tomogram = 2 * NUMBER
        self.assertEqual(len(placed[0]), FOR_VALIDATION * per_tomogram)
        self.assertEqual({at for at, _ in placed[0]}, set(range(FOR_VALIDATION)))
        self.assertEqual(len(placed[0] + placed[1]), TOMOGRAMS * per_tomogram)
        for at, (tomogram, target) in enumerate(zip(tomograms, targets)):
            places = {place for index, place in placed[0] + placed[1] if index == at}
            self.assertEqual(places, truth[tomogram])
            volume, mask = read(tomogram), read(target)
            self.assertEqual(volume.shape, mask.shape)
            self.assertGreaterEqual(min(mask.shape), PATCH)
            self.assertLess(mask.max(), classes, "DeepFinder counts the classes by the positions")
            for x, y, z, label in places:
                # The centre of mass of an antibody lies between its arms.
                near = mask[max(0, z - 3) : z + 4, max(0, y - 3) : y + 4, max(0, x - 3) : x + 4]
                self.assertIn(label, near)

    def checkTargetsOfSpheres(self, simulated: Any) -> None:
        """DeepFinder's other way: it draws its own masks from the positions."""
        targets = self.foreign("DeepFinderGenerateTrainingTargetsSpheres", sphereRadii="3,4")
        self.point(targets.inputCoordinates, simulated, "Coordinates")
        expected = {Path(path).stem: places for path, places in self.truth(simulated).items()}
        for one in targets._initialize():
            (given,) = self.started(targets, targets.launchTargetGenerationStep, one)
            ts_id = one["tomo"].getTsId()
            sides = {size.tag: int(size.attrib["size"]) for size in given.findall("tomo_size/*")}
            self.assertEqual(sides, {axis: SIDES[f"size{axis}"] for axis in "XYZ"})
            path = self.value(given, "path_objl", "path")
            self.assertEqual({place for _, place in self.objects(path)}, expected.pop(ts_id))
        self.assertEqual(expected, {})
