"""Average at picks: positions carried between binnings, the output, the verdict, its window."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any, List, Tuple
from unittest import TestCase

import mrcfile
import numpy as np
from matplotlib.figure import Figure
from tomo.constants import BOTTOM_LEFT_CORNER
from tomo.objects import AverageSubTomogram, Coordinate3D, SetOfCoordinates3D
from tomo.protocols import ProtImportTomograms

from dual_core.errors import DualError
from dual_scipion import convert
from dual_scipion.protocols import ProtDualAverage
from dual_scipion.protocols.protocol_average import verdict
from dual_scipion.tests import support, test_chaining
from dual_scipion.viewers.windows.average import draw_average, read_profile

BINNING = 4
FINE_A = support.VOXEL_SIZE_A / BINNING
BLOB = 5.0  # voxels of the fine volume
Place = Tuple[float, float, float]


def blob(shape: Tuple[int, int, int], centre: Place) -> np.ndarray:
    """A bright blob at ``(x, y, z)``, voxels, in a volume ``(z, y, x)``."""
    grid = np.indices(shape, dtype=np.float64)[::-1]
    distance = sum((axis - c) ** 2 for axis, c in zip(grid, centre))
    return np.exp(-distance / (2 * BLOB**2)).astype(np.float32)


def binned(volume: np.ndarray) -> np.ndarray:
    """Means over blocks, with what does not fill one cut off at both ends alike."""
    cut = [(side % BINNING) // 2 for side in volume.shape]
    sides = [side // BINNING for side in volume.shape]
    inside = tuple(slice(c, c + side * BINNING) for c, side in zip(cut, sides))
    blocks = volume[inside].reshape(
        sides[0], BINNING, sides[1], BINNING, sides[2], BINNING
    )
    mean: np.ndarray = blocks.mean(axis=(1, 3, 5))
    return mean


def centre_of(volume: np.ndarray) -> np.ndarray:
    """The centre of mass, voxels ``(x, y, z)``."""
    grid = np.indices(volume.shape, dtype=np.float64)[::-1]
    return np.array([(axis * volume).sum() / volume.sum() for axis in grid])


class TestAverage(test_chaining.PickingTest):
    """The protocol, from coordinates of any plugin to an average."""

    def coordinates(self, tomograms: Any, picks: Any) -> Any:
        """Coordinates as another plugin makes them, with fractions of voxels."""
        protocol = self.inputs._protocol(ProtImportTomograms)
        output = SetOfCoordinates3D.create(protocol._getPath(), prefix="coordinates")
        convert.prepare_coordinates(output, tomograms.Tomograms, 12)
        for tomogram in tomograms.Tomograms.iterItems():
            owner = tomogram.clone()
            for x, y, z in picks(owner.getTsId()):
                item = Coordinate3D()
                item.setVolume(owner)
                item.setPosition(x, y, z, BOTTOM_LEFT_CORNER)
                item.setTomoId(owner.getTsId())
                item.setGroupId(1)
                output.append(item)
        output.write()
        self.inputs._finish(protocol, Coordinates=output)
        output.close()
        return protocol

    def average(self, coordinates: Any, raw: Any, **values: Any) -> Any:
        protocol = self.newProtocol(ProtDualAverage, **{"numberOfThreads": 1, **values})
        protocol.inputCoordinates.set(coordinates)
        protocol.inputCoordinates.setExtended("Coordinates")
        protocol.inputTomograms.set(raw)
        protocol.inputTomograms.setExtended("Tomograms")
        return protocol

    def test_positions_are_right_to_a_tenth_of_a_voxel_whatever_binning_and_origin(self) -> None:
        origin, other = (-123.4, 56.7, 8.9), (17.3, -250.1, 0.4)
        for number, shape in enumerate(((64, 96, 80), (66, 98, 82))):
            truth = (33.3 + number, 50.6, 27.8)
            volume = blob(shape, truth)
            fine_path, coarse_path = (self.folder / f"{kind}{number}.mrc" for kind in "fc")
            support.write_volume(fine_path, volume, FINE_A)
            support.write_volume(coarse_path, binned(volume))
            fine = support.tomogram(str(fine_path), f"TS_{number}", origin=origin)
            coarse = support.tomogram(str(coarse_path), f"TS_{number}", origin=other)
            found = tuple(centre_of(binned(volume)))
            fine_set = self.inputs.tomograms([fine], voxel_size_A=FINE_A)
            coarse_set = self.inputs.tomograms([coarse])
            there = self.average(self.coordinates(coarse_set, lambda _, p=found: [p]), fine_set)
            (_, (pick,)) = there.picked()[0]
            self.assertLess(np.abs(np.array(pick[:3]) - truth).max(), 0.1, "to the unbinned one")
            back = self.average(self.coordinates(fine_set, lambda _, p=truth: [p]), coarse_set)
            (_, (pick,)) = back.picked()[0]
            self.assertLess(np.abs(np.array(pick[:3]) - found).max(), 0.1, "and back")

    def test_right_picks_give_a_ball_and_wrong_ones_none(self) -> None:
        origins = (test_chaining.ORIGIN, test_chaining.OTHER_ORIGIN)
        raw = self.inputs.tomograms([self.item("avg", n, at) for n, at in zip((1, 2), origins)])
        right = self.coordinates(raw, lambda name: test_chaining.balls(int(name[-1]))[1])
        values = {"boxSize": 15}
        protocol = self.average(right, raw, **values)
        self.assertEqual(protocol.particleDiameter(), test_chaining.DIAMETER_A, "by the box of 12")
        self.assertEqual((protocol.validate(), protocol.warnings()), ([], []))
        self.launchProtocol(protocol)
        result = protocol.Average
        self.assertIsInstance(result, AverageSubTomogram)
        self.assertEqual(result.getSamplingRate(), support.VOXEL_SIZE_A)
        with mrcfile.open(result.getFileName()) as file:
            self.assertEqual(file.data.shape, (15, 15, 15))
            self.assertAlmostEqual(float(file.voxel_size.x), support.VOXEL_SIZE_A, places=3)
            middle = file.data[6:9, 6:9, 6:9].mean()
            self.assertGreater(middle, file.data.mean() + 0.2, "bright, whatever the tomograms are")
        self.assertIn("A clear ball", protocol.summary()[0])
        self.assertIn("picks were checked", " ".join(protocol.methods()))
        self.assertEqual(len(self.proj.getSourceParents(result)), 2)

        radius, mean = read_profile(protocol.profilePath())
        self.assertGreater(mean[0], mean[-1])
        figure = Figure()
        draw_average(figure, protocol.averagePath(), (radius, mean), 10.0, 80.0)
        self.assertEqual(len(figure.axes), 4)
        with self.assertRaises(DualError):
            read_profile(protocol.averagePath())

        generator = np.random.default_rng(5)
        low, high = np.full(3, 8), np.array(test_chaining.SHAPE[::-1]) - 9
        places = generator.integers(low, high, (200, 3)).astype(float).tolist()
        wrong = self.average(self.coordinates(raw, lambda _: places), raw, **values)
        self.launchProtocol(wrong)
        self.assertLess(wrong.figures()["height"], 0.5 * protocol.figures()["height"])
        self.assertNotIn("clear ball", wrong.summary()[0])

    def test_which_tomograms_and_picks(self) -> None:
        raw = self.inputs.tomograms([self.item("few", 1)])
        both = self.inputs.tomograms([self.item("both", 1), self.item("both", 2)])
        picks: List[Place] = [(20.0, 20.0, 20.0)]
        protocol = self.average(self.coordinates(both, lambda _: picks), raw)
        self.assertEqual(protocol.validate(), [])
        self.assertIn("1 of 2 tomograms with picks", protocol.warnings()[0])
        (item, found), *others = protocol.picked()
        self.assertEqual((item.getTsId(), found[0][:3], others), ("TS_1", picks[0], []))
        protocol.group.set(2)
        with self.assertRaisesRegex(DualError, "no raw tomogram has picks"):
            protocol.picked()
        foreign = self.inputs.tomograms([self.item("foreign", 3)])
        protocol = self.average(self.coordinates(both, lambda _: picks), foreign)
        self.assertIn("No tomogram with picks", " ".join(protocol.validate()))

    def test_lists_tell_the_engine_voxels_of_the_raw_tomograms(self) -> None:
        raw = self.inputs.tomograms([self.item("list", 1)])
        protocol = self.average(self.coordinates(raw, lambda _: [(3.25, 4.5, 5.75)]), raw)
        self.saveProtocol(protocol)
        protocol.makePathsAndClean()
        seen: List[Any] = []

        def run(command: str, options: Any, outputs: List[str]) -> None:
            with open(options["picks"][0], encoding="utf-8", newline="") as file:
                seen.extend(csv.DictReader(file))
            for path in outputs:
                Path(path).parent.mkdir(exist_ok=True)
                support.write_volume(Path(path), support.density())

        protocol.runEngine = run
        protocol.averageStep()
        place = [float(seen[0][f"{axis}_voxel"]) for axis in "xyz"]
        self.assertEqual(place, [3.25, 4.5, 5.75])


class TestVerdict(TestCase):
    """Words for figures."""

    def test_size_and_clearness(self) -> None:
        for radius, explained, words in (
            (120.0, 0.6, "A clear ball"),
            (120.0, 0.15, "A faint ball"),
            (40.0, 0.6, "another size"),
            (120.0, 0.05, "No ball"),
        ):
            self.assertIn(words, verdict(radius, explained, 250.0))
