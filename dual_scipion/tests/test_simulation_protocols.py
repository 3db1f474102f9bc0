"""Grand models and simulation, launched for real on the CPU."""

from __future__ import annotations

import csv
import os
from typing import Any, Dict, List, Tuple

import mrcfile
import numpy as np
from pwem.objects import AtomStruct, SetOfVolumes, Volume
from pwem.protocols import ProtImportVolumes
from pyworkflow.project import Project
from pyworkflow.protocol.constants import MODE_RESUME
from tomo.constants import BOTTOM_LEFT_CORNER
from tomo.objects import TomoAcquisition

from dual_scipion import engine
from dual_scipion.protocols import ProtDualGrandModels, ProtDualSimulate
from dual_scipion.protocols.forms.grand_models import BY_NUMBER, FILES, PROJECT
from dual_scipion.protocols.parts.labelled_sets import automatic_box, generated_ts_id
from dual_scipion.tests import support, test_protocols

SIDES = (36, 34, 32)  # x, y, z
COPIES = 2
TILT_RANGE_OF_MODEL_DEG = (-60.0, 60.0)

PDB = """\
ATOM      1  CA  GLY A   1      10.000  10.000  10.000  1.00 10.00           C
ATOM      2  CA  GLY A   2      13.800  10.000  10.000  1.00 10.00           C
END
"""


def read(path: str) -> np.ndarray:
    """The voxels of an MRC file."""
    with mrcfile.open(path, permissive=True) as file:
        return np.array(file.data)


def listed(path: str, kinds: Tuple[str, ...] = ("molecule",)) -> List[Tuple[float, ...]]:
    """Position (x, y, z) and class of the particles in the engine's list."""
    with open(path, encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["kind"] in kinds]
    names = ("x_voxel", "y_voxel", "z_voxel", "class")
    return [tuple(float(row[name]) for name in names) for row in rows]


class SimulationTest(test_protocols.DualTest):
    """What the tests here share."""

    def prepared(self, kind: type, **values: Any) -> Any:
        """A protocol on the CPU; small tiles, since padding takes all the time."""
        given: Dict[str, Any] = {"useGpu": False, "numberOfThreads": 1, "binThreads": 1}
        given.update({"tile": 32, "halo": 4, **values})
        protocol = self.newProtocol(kind, **given)
        protocol.inputModel.set(self.model)
        protocol.inputModel.setExtended("Model")
        return protocol

    @staticmethod
    def point(pointer: Any, source: Any, output: str = "Tomograms") -> None:
        pointer.set(source)
        pointer.setExtended(output)

    def options(self, protocol: Any, name: str) -> Dict[str, Any]:
        """The options that the engine got."""
        return engine.read_options(protocol._getExtraPath("parameters", f"{name}.json"))

    def grandModels(self, **values: Any) -> Any:
        given: Dict[str, Any] = {"phantoms": "antibody_150", "amount": BY_NUMBER, "number": 3}
        given.update(dict(zip(("sizeX", "sizeY", "sizeZ"), SIDES)))
        given.update(dict.fromkeys(("sheets", "vesicles", "microtubules", "actin", "crowd"), 0))
        return self.newProtocol(ProtDualGrandModels, **{**given, "count": 2, **values})


class TestLabelled(SimulationTest):
    """From molecules to labelled tomograms."""

    def checkPositions(self, coordinates: Any, tomogram: Any, expected: List[Any]) -> None:
        found = [
            (*item.getPosition(BOTTOM_LEFT_CORNER), item.getGroupId())
            for item in coordinates.iterCoordinates(volume=tomogram)
        ]
        self.assertEqual(len(found), len(expected))
        self.assertTrue(found)
        np.testing.assert_array_less(np.abs(np.array(found) - np.array(expected)), 0.51)

    def test_grand_models_then_labelled_tomograms(self) -> None:
        grand = self.grandModels(gold=1, goldDiameter=5.0, everything=True)
        self.assertEqual((grand.validate(), grand.warnings()), ([], []))
        self.launchProtocol(grand)
        self.checkGrandModels(grand)

        noise = self.inputs.tomograms([self.tomogram(f"n{at}", seed=at) for at in range(3)])
        protocol = self.prepared(ProtDualSimulate, copies=COPIES, seed=5)
        self.point(protocol.inputTomograms, grand)
        self.point(protocol.inputNoise, noise)
        self.assertEqual((protocol.validate(), protocol.warnings()), ([], []))
        second = grand._getExtraPath("grand_model_1.mrc")
        os.rename(second, f"{second}.away")
        self.launchProtocol(protocol)
        self.assertEqual(protocol.FailedTomograms.getTSIds(), self.grandIds(grand)[1:])
        self.assertIn("1 failed", " ".join(protocol.summary()))
        first = [protocol._getExtraPath(f"{ts_id}.mrc") for ts_id in protocol.Tomograms.getTSIds()]
        before = [os.stat(path).st_mtime_ns for path in first]
        self.assertEqual(len(first), COPIES)

        os.rename(f"{second}.away", second)
        protocol.runMode.set(MODE_RESUME)
        self.launchProtocol(protocol)
        self.checkSimulated(protocol)
        self.assertEqual([os.stat(path).st_mtime_ns for path in first], before, "not done again")
        # Of three tomograms the first grand model takes 1 and 2, the second one 3 and 1.
        given = [self.options(protocol, ts_id)["noise_from"] for ts_id in self.grandIds(grand)]
        names = [[os.path.basename(path) for path in paths] for paths in given]
        self.assertEqual(names, [["n0.mrc", "n1.mrc"], ["n2.mrc", "n0.mrc"]])

        # As if the run had been killed between one set and the next.
        for item in [item.clone() for item in grand.Tomograms]:
            protocol.registerTomogram(item)
        protocol._closeOutputSet()
        self.checkSimulated(protocol)

        reloaded = Project(self.proj.getDomain(), self.proj.path)
        reloaded.load()
        again = reloaded.getProtocol(protocol.getObjId()).Coordinates
        expected = sorted(protocol.Tomograms.getTSIds())
        self.assertEqual(sorted(again.getPrecedents().getTSIds()), expected)

    @staticmethod
    def grandIds(grand: Any) -> List[str]:
        return [f"grand{grand.getObjId()}_{at}" for at in range(2)]

    def checkGrandModels(self, grand: Any) -> None:
        self.checkTomograms(
            grand.Tomograms,
            expectedSetSize=2,
            expectedSRate=10.0,
            expectedDimensions=list(SIDES),
            testAcqObj=TomoAcquisition(),
            checkHeaderApix=True,
        )
        self.assertEqual(grand.Tomograms.getTSIds(), self.grandIds(grand))
        self.assertEqual(grand.TomoMasks.getTSIds(), self.grandIds(grand))
        for at, item in enumerate(grand.Tomograms.iterItems()):
            path = grand._getExtraPath(f"particles_{at}.csv")
            expected = listed(path, kinds=("molecule", "gold"))
            self.assertEqual((len(expected), len(listed(path))), (4, 3))
            self.checkPositions(grand.Coordinates, item, expected)
        masks = [read(item.getFileName()) for item in grand.TomoMasks]
        self.assertEqual(set(np.unique(masks[0])), {0, 1, 3}, "molecules and gold")
        self.assertFalse(np.array_equal(masks[0], masks[1]))
        self.assertEqual(grand.Coordinates.getBoxSize(), automatic_box(150.0, 10.0))
        self.assertFalse(os.path.exists(grand._getExtraPath("work", "pack")))
        summary = " ".join(grand.summary())
        self.assertIn("2 grand models of 36 x 34 x 32 voxels of 10 A", summary)
        self.assertIn("8 objects: gold 2, antibody_150 6", summary)
        self.assertIn("The classes with positions are 1, 3", summary)
        self.assertIn("8 objects of 2 kinds, with 3 copies", grand.methods()[0])

    def checkSimulated(self, protocol: Any) -> None:
        grand = protocol.inputTomograms.get()
        expected = [name for item in grand for name in protocol.simulatedNames(item)]
        self.assertEqual(len(expected), 2 * COPIES)
        for output in (protocol.Tomograms, protocol.TomoMasks, protocol.Coordinates):
            self.assertEqual(sorted(output.getTSIds()), sorted(expected))
        low, high = TILT_RANGE_OF_MODEL_DEG
        for output in (protocol.Tomograms, protocol.TomoMasks):
            self.checkTomograms(
                output,
                expectedSetSize=2 * COPIES,
                expectedSRate=10.0,
                expectedDimensions=list(SIDES),
                testAcqObj=TomoAcquisition(angleMin=low, angleMax=high),
                checkHeaderApix=True,
            )
        self.assertEqual(protocol.Coordinates.getSize(), 3 * 2 * COPIES)
        density = {
            name: item.getFileName() for item in grand for name in protocol.simulatedNames(item)
        }
        masks = {item.getTsId(): item.clone() for item in protocol.TomoMasks}
        volumes = []
        for item in protocol.Tomograms.iterItems():
            source = density[item.getTsId()]
            particles = source.replace("grand_model_", "particles_").replace(".mrc", ".csv")
            self.checkPositions(protocol.Coordinates, item, listed(particles))
            mask = masks[item.getTsId()]
            self.assertEqual(mask.getVolName(), item.getFileName())
            self.assertEqual(mask.getObjId(), item.getObjId())
            given = read(source.replace("grand_model_", "class_mask_"))
            self.assertIn(3, given)
            molecules = np.where(given == 1, given, 0)
            np.testing.assert_array_equal(read(mask.getFileName()), molecules)
            volumes.append(read(item.getFileName()))
        self.assertEqual(len({volume.tobytes() for volume in volumes}), 2 * COPIES)
        summary = " ".join(protocol.summary())
        self.assertIn("4 of 4 tomograms simulated, 2 from each of 2 grand models", summary)
        self.assertIn("Noise like that of 3 tomograms", summary)
        self.assertIn("12 particle positions", summary)
        self.assertIn("with 12 labelled particles", protocol.methods()[0])

    def test_other_volumes_give_tomograms_only(self) -> None:
        path = support.write_volume(self.folder / "plain.v1.mrc", support.density())
        volumes = self.inputs._protocol(ProtImportVolumes)
        output = SetOfVolumes.create(volumes._getPath())
        output.setSamplingRate(support.VOXEL_SIZE_A)
        item = Volume(location=path)
        item.setSamplingRate(support.VOXEL_SIZE_A)
        output.append(item)
        self.inputs._finish(volumes, Volumes=output)
        output.write()
        output.close()
        protocol = self.prepared(ProtDualSimulate)
        self.point(protocol.inputTomograms, volumes, "Volumes")
        self.assertIn("tomograms only", " ".join(protocol.warnings()))
        self.launchProtocol(protocol)
        outputs = [name for name, _ in protocol.iterOutputAttributes()]
        self.assertEqual(outputs, ["Tomograms"])
        (ts_id,) = protocol.Tomograms.getTSIds()
        self.assertEqual(ts_id, f"sim{protocol.getObjId()}_plain_v1_01")
        self.assertIsInstance(protocol.Tomograms.getAcquisition(), TomoAcquisition)

    def test_molecules_of_the_project_and_of_files(self) -> None:
        grid = np.indices((20, 20, 20)) - 9.5
        ball = np.where((grid**2).sum(axis=0) < 30, 1.0, 0.0).astype(np.float32)
        path = support.write_volume(self.folder / "ball.mrc", ball, voxel_size_A=1.0)
        source = self.inputs._protocol(ProtImportVolumes)
        item = Volume(location=path)
        item.setSamplingRate(12.0)  # what Scipion says counts, not the header
        self.inputs._finish(source, Volume=item)
        structure = self.folder / "ball.pdb"
        structure.write_text(PDB, encoding="utf-8")

        protocol = self.grandModels(source=PROJECT, count=1, number=2, everything=True, boxSize=14)
        self.assertIn("at least one map", " ".join(protocol.validate()))
        protocol.inputMolecules.append(source)
        protocol.inputMolecules[0].setExtended("Volume")
        self.assertEqual(protocol.validate(), [])
        self.launchProtocol(protocol)
        self.assertEqual(protocol.Coordinates.getSize(), 2)
        self.assertEqual(protocol.Coordinates.getBoxSize(), 14)
        volume_A3 = np.count_nonzero(read(protocol._getExtraPath("class_mask_0.mrc"))) * 1e3
        expected_A3 = 2 * ball.sum() * 12.0**3
        self.assertLess(abs(volume_A3 / expected_A3 - 1), 0.4, "the voxel size is Scipion's")

        protocol.inputMolecules.append(AtomStruct(str(structure)))
        names = [(one["name"], one.get("voxel_size_A")) for one in protocol.moleculeList()]
        self.assertEqual(names, [("ball", 12.0), ("ball_2", None)])

        files = self.grandModels(source=FILES, filesPath=str(self.folder / "ball.*"))
        self.assertEqual(files.molecules(), [path, str(structure)])
        files.filesPath.set(str(self.folder / "nothing*"))
        self.assertIn("There is no file", " ".join(files.validate()))

    def test_what_the_form_of_grand_models_checks(self) -> None:
        wrong = self.grandModels(
            phantoms="nobody", resolution=15.0, thickness=99.0, radiusMin=30.0, radiusMax=20.0
        )
        errors = " ".join(wrong.validate())
        for text in ("nobody; there are dimer_100", "20 A at best", "(32 nm)", "smallest"):
            self.assertIn(text, errors)
        self.assertIsNone(self.grandModels(phantoms="").engineOptions()["molecules"])
        cell = self.newProtocol(ProtDualGrandModels)
        self.assertEqual(cell.validate(), [])
        for name in ("sheets", "vesicles", "microtubules", "actin", "crowd", "vesicle_radius"):
            self.assertIsNone(cell.engineOptions()[name], "empty is what a cell has")
        given = self.grandModels(actin=3, crowd="12.5", radiusMin=14.0, radiusMax=22.0)
        options = given.engineOptions()
        self.assertEqual([options[name] for name in ("sheets", "actin", "crowd", "vesicle_radius")],
                         [0, 3, 12.5, [14.0, 22.0]])
        self.assertEqual((options["variation"], options["solvent"]), (1.0, 0.0))
        options = self.grandModels(variation=0.5, solvent=0.02).engineOptions()
        self.assertEqual((options["variation"], options["solvent"]), (0.5, 0.02))
        self.assertIn("0 to 0.5", " ".join(self.grandModels(solvent=0.9).validate()))
        for value in ("two", "-1", "2.5"):
            self.assertIn("Vesicles: give", self.grandModels(vesicles=value).validate()[0])
        self.assertIn("Crowd (mg/ml): give", self.grandModels(crowd="500").validate()[0])
        large = self.grandModels(count=100, sizeX=1000, sizeY=1000, sizeZ=300)
        self.assertIn("GiB", " ".join(large.warnings()))

    def test_generated_names_suit_the_databases(self) -> None:
        self.assertEqual(generated_ts_id("sim12", "a.b-c d", "01"), "sim12_a_b_c_d_01")
