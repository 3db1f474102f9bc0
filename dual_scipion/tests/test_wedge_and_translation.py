"""Wedge compensation and translation, launched for real on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any, List

import numpy as np
from tomo.objects import TomoAcquisition

from dual_scipion.protocols import ProtDualCompensateWedge, ProtDualTranslate
from dual_scipion.protocols.protocol_compensate_wedge import BY_HAND, FROM_MODEL
from dual_scipion.protocols.protocol_translate import TO_NOISY
from dual_scipion.tests import support, test_simulation_protocols

ORIGIN = (-90.0, -50.0, 20.0)


class TestOnTomograms(test_simulation_protocols.SimulationTest):
    """Missing wedge and translation."""

    def run_on(self, protocol: Any, items: List[Any]) -> Any:
        self.point(protocol.inputTomograms, self.inputs.tomograms(items))
        self.launchProtocol(protocol)
        low, high = support.TILTS_DEG
        self.checkTomograms(
            protocol.Tomograms,
            expectedSetSize=len(items),
            expectedSRate=support.VOXEL_SIZE_A,
            expectedDimensions=[30, 34, 26],
            expectedOriginShifts=list(ORIGIN),
            testAcqObj=TomoAcquisition(angleMin=low, angleMax=high, step=2),
            hasHalves=False,
            checkHeaderApix=True,
        )
        self.assertEqual(sorted(protocol.Tomograms.getTSIds()), sorted(i.getTsId() for i in items))
        self.check_inherited(protocol)
        return protocol

    def halved(self, name: str) -> Any:
        halves = [support.write_tomogram(self.folder / f"{name}{i}.mrc", seed=i) for i in (1, 2)]
        return self.tomogram(name, origin=ORIGIN, halves=halves)

    def test_wedge_of_the_acquisition_is_filled(self) -> None:
        protocol = self.run_on(self.prepared(ProtDualCompensateWedge), [self.halved("w")])
        options = self.options(protocol, "TS_w")
        self.assertEqual(tuple(options["tilt_range"]), support.TILTS_DEG)
        raw = test_simulation_protocols.read(str(self.folder / "w.mrc"))
        filled = test_simulation_protocols.read(protocol._getExtraPath("TS_w.mrc"))
        difference = np.abs(np.fft.fftn(filled - raw)[:, 0, :])
        angle = np.degrees(
            np.arctan2(np.fft.fftfreq(26)[:, None], np.fft.fftfreq(30)[None, :] + 1e-9)
        )
        angle = (angle + 90) % 180 - 90
        inside = np.abs(angle) > 68  # of both signs: either way it is in the wedge
        measured = np.abs(angle) < 42
        self.assertGreater(difference[inside].mean(), 20 * difference[measured].mean())
        summary = " ".join(protocol.summary())
        self.assertIn("-60..50 (1)", summary)
        self.assertIn("do not average", summary)
        self.assertIn("missing wedge of 1 tomograms", protocol.methods()[0])

    def test_where_the_tilt_range_comes_from(self) -> None:
        bare = self.tomogram("bare", acquisition=False)
        protocol = self.prepared(ProtDualCompensateWedge)
        self.point(protocol.inputTomograms, self.inputs.tomograms([bare]))
        self.assertIn("acquisition of TS_bare", " ".join(protocol.validate()))
        protocol.tiltSource.set(FROM_MODEL)
        self.assertEqual(protocol.validate(), [])
        self.assertEqual(protocol.engineOptions(bare)["tilt_range"], [-60.0, 60.0])
        protocol.tiltSource.set(BY_HAND)
        protocol.tiltMin.set(-40.0)
        self.assertEqual(protocol.validate(), [])
        self.assertEqual(protocol.engineOptions(bare)["tilt_range"], [-40.0, 60.0])
        warnings = " ".join(protocol.warnings())
        self.assertIn("-40..60 degrees", warnings)
        self.assertIn("'missing wedge'", warnings.replace("missing-wedge", "missing wedge"))
        protocol.tiltMax.set(-50.0)
        self.assertIn("the lower one first", " ".join(protocol.validate()))

    def test_translation_both_ways(self) -> None:
        clean = self.run_on(self.prepared(ProtDualTranslate), [self.halved("c")])
        options = self.options(clean, "TS_c")
        self.assertEqual(options["direction"], "to-clean")
        self.assertNotIn("seed", options)
        self.assertIn("'denoise tomograms' is meant", " ".join(clean.warnings()))
        self.assertIn("To the clean domain", " ".join(clean.summary()))

        noise = [self.tomogram(f"from{at}", seed=at) for at in range(2)]
        noisy = self.prepared(ProtDualTranslate, direction=TO_NOISY, seed=3)
        self.point(noisy.inputNoise, self.inputs.tomograms(noise))
        self.run_on(noisy, [self.halved("x"), self.halved("y")])
        given = [self.options(noisy, f"TS_{name}")["noise_from"] for name in "xy"]
        self.assertEqual([Path(path).name for path in given], ["from0.mrc", "from1.mrc"])
        self.assertIn("To the noisy domain", " ".join(noisy.summary()))
        self.assertIn("noisy domain of a DUAL model", noisy.methods()[0])
