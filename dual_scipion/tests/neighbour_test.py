"""What DUAL made, on its way to other plugins, and theirs on its way to DUAL; for their tests."""

from __future__ import annotations

import os
import shutil
from typing import Any, Dict, List

import numpy as np
from tomo.constants import BOTTOM_LEFT_CORNER
from tomo.objects import TomoAcquisition

from dual_scipion import convert
from dual_scipion.coordinates import items_by_ts_id
from dual_scipion.protocols import ProtDualPickDog, ProtDualTrain
from dual_scipion.tests import support, test_protocols
from dual_scipion.tests.neighbours import kind_of, tilt_series

ORIGIN = (-130.0, -200.0, -100.0)
NAMES = ["TS_1", "TS_2"]


class NeighbourTest(test_protocols.DualTest):
    """Two tomograms with origins, acquisition and half maps; denoised, picked, averaged by DUAL."""

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        items = []
        for seed, name in enumerate(NAMES):
            halves = [
                support.write_tomogram(cls.folder / f"{name}_{half}.mrc", seed=seed)
                for half in ("EVN", "ODD")
            ]
            path = support.write_tomogram(cls.folder / f"{name}.mrc", seed=seed)
            items.append(support.tomogram(path, name, origin=ORIGIN, halves=halves))
        cls.raw = cls.inputs.tomograms(items)
        low, high = support.TILTS_DEG
        microscope: Dict[str, Any] = {"voltage": 300, "sphericalAberration": 2.7}
        acquisition = TomoAcquisition(angleMin=low, angleMax=high, step=2, **microscope)
        cls.raw.Tomograms.setAcquisition(acquisition)
        cls.raw.Tomograms.write()
        cls.proj._storeProtocol(cls.raw)
        cls.raw.Tomograms.close()
        cls.denoised = cls.made(
            cls.denoise(cls, cls.raw, denoiseHalves=True, writeExplained=False)  # type: ignore
        )
        pick = cls.newProtocol(
            ProtDualPickDog, numberOfThreads=1, binThreads=1, diameter=60.0, pickBy=1, number=4
        )
        cls.point(pick, inputTomograms=(cls.denoised, "Tomograms"))
        cls.point(pick, inputExtract=(cls.raw, "Tomograms"))
        cls.picks = cls.made(pick)

    @classmethod
    def made(cls, protocol: Any) -> Any:
        """The protocol after it was run."""
        cls.launchProtocol(protocol)
        return protocol

    @staticmethod
    def point(protocol: Any, **inputs: Any) -> None:
        """Fill in pointers."""
        for name, (source, output) in inputs.items():
            getattr(protocol, name).set(source)
            getattr(protocol, name).setExtended(output)

    def other(self, kind: str, inputs: Dict[str, Any], **values: Any) -> Any:
        """A protocol of another plugin with inputs, each of a class that its form takes; saved."""
        protocol = self.newProtocol(kind_of(kind), **values)
        self.point(protocol, **inputs)
        for name in inputs:
            wanted = str(protocol.getParam(name).pointerClass.get()).replace(" ", "").split(",")
            classes = {one.__name__ for one in type(getattr(protocol, name).get()).__mro__}
            self.assertTrue(classes & set(wanted), f"{kind}.{name} takes {wanted}")
        self.saveProtocol(protocol)
        return protocol

    def goes_into_dual(
        self, protocol: Any, output: str, origin: Any = ORIGIN, halves: str = "none"
    ) -> None:
        """Tomograms of another plugin are trained on and denoised, with what is known of them.

        ``halves`` that they carry: "none", "own", or "foreign" ones, those of what it was given.
        """
        protocol._closeOutputSet()
        given = getattr(protocol, output)
        given.close()
        denoise = self.denoise(protocol)
        denoise.inputTomograms.setExtended(output)
        train = self.newProtocol(ProtDualTrain, useGpu=False, preset=0, numberOfThreads=1)
        self.point(train, inputTomograms=(protocol, output), inputClean=(self.raw, "Tomograms"))
        for ours in (denoise, train):
            self.assertEqual(ours.validate(), [])
        self.assertEqual(denoise.warnings(), [])
        told = " ".join(train.warnings())
        self.assertEqual("made by another run" in told, halves == "foreign", told)
        self.assertEqual(bool(told), halves == "foreign", told)
        options = train.engineOptions()
        self.assertEqual(len(options["noisy"]), len(NAMES))
        self.assertEqual(options["noisy_voxel_size"], support.VOXEL_SIZE_A)
        self.assertEqual(tuple(options["tilt_range"]), support.TILTS_DEG)
        self.assertEqual("even" in options, halves != "none")
        items = items_by_ts_id(given)
        self.assertEqual(sorted(items), NAMES)
        for item in items.values():
            found = convert.derived_tomogram(item, item.getFileName())
            np.testing.assert_allclose(found.getOrigin().getShifts(), origin)
            self.assertEqual(denoise.engineOptions(item)["voxel_size"], support.VOXEL_SIZE_A)

    def centred(self) -> Any:
        """The origin that a program gives which does not know another one: the centre."""
        return tuple(-0.5 * side * support.VOXEL_SIZE_A for side in reversed(support.SHAPE))

    def positions(self) -> Dict[str, List[Any]]:
        """What was picked: voxels of the raw tomograms by tsId."""
        coordinates = self.picks.Coordinates
        found: Dict[str, List[Any]] = {}
        for item in coordinates.iterCoordinates():
            found.setdefault(item.getTomoId(), []).append(item.getPosition(BOTTOM_LEFT_CORNER))
        coordinates.close()
        self.assertEqual(sorted(found), NAMES)
        return found

    def reconstructed(self, kind: str, pointer: str, **values: Any) -> Any:
        """A protocol that reconstructs two tilt series, about to register its tomograms."""
        series = tilt_series(self.inputs, self.folder, NAMES)
        protocol = self.other(kind, {pointer: (series, "TiltSeries")}, **values)
        protocol.makePathsAndClean()
        return protocol, [one.clone(ignoreAttrs=[]) for one in series.TiltSeries]

    def write(self, path: str) -> None:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        shutil.copy(str(self.folder / "TS_1.mrc"), path)

    def picks_within(self, protocol: Any, output: str) -> None:
        """A segmentation of denoised tomograms says where to pick."""
        getattr(protocol, output).close()
        pick = self.newProtocol(ProtDualPickDog, numberOfThreads=1, diameter=60.0)
        self.point(
            pick, inputTomograms=(self.denoised, "Tomograms"), inputMasks=(protocol, output)
        )
        self.assertEqual((pick.validate(), pick.warnings()), ([], []))
        for item in items_by_ts_id(self.denoised.Tomograms).values():
            self.assertTrue(os.path.exists(pick.engineOptions(item)["mask"]))
