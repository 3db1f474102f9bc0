"""What DUAL makes goes into other plugins, and what they make goes into DUAL.

The steps of their own code are run, those that are installed beside this one; only the programs
behind them are replaced (see `neighbours`). docs/scipion.md has a table of what was found.
Extraction with emantomo and training with deepfinder are in `test_chaining` and
`test_chaining_deepfinder`.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
from importlib import metadata
from pathlib import Path
from typing import Any, Dict, List

import numpy as np
from pyworkflow import Config
from pyworkflow.tests import BaseTest

from dual_scipion.constants import DISTRIBUTION
from dual_scipion.coordinates import items_by_ts_id
from dual_scipion.protocols import ProtDualAverage
from dual_scipion.tests.neighbour_test import NAMES, NeighbourTest
from dual_scipion.tests.neighbours import (
    Recorder,
    ctf_series,
    needs,
    run_steps,
    tilt_series,
)


class TestNeighbours(NeighbourTest):
    """Programs that take what DUAL makes, and those whose results DUAL takes."""

    # --------------------------- tomograms ---------------------------
    @needs("ProtTomo3dProtDenoiseTomogram")
    def test_tomo3d_denoises(self) -> None:
        inputs = {"inputSetTomograms": (self.denoised, "Tomograms")}
        protocol = self.other("ProtTomo3dProtDenoiseTomogram", inputs)
        lines = run_steps(protocol)
        self.assertEqual(len(lines), 2)
        # It centres the origin, whatever the tomogram had, and keeps the half maps of its input.
        self.goes_into_dual(protocol, "tomograms", self.centred(), "foreign")

    @needs("ProtImodTomoNormalization")
    def test_imod_preprocesses_tomograms_and_halves(self) -> None:
        inputs = {"inputSetOfTomograms": (self.denoised, "Tomograms")}
        protocol = self.other(
            "ProtImodTomoNormalization", inputs, floatDensities=2, processOddEven=True
        )
        self.assertEqual(protocol._validate(), [])
        lines = run_steps(protocol)
        self.assertEqual(len(lines), 6, "each tomogram and its halves")
        self.goes_into_dual(protocol, "Tomograms", halves="own")

    @needs("ProtImodTomoReconstruction")
    def test_imod_reconstructs_tomograms_and_halves(self) -> None:
        protocol, series = self.reconstructed("ProtImodTomoReconstruction", "inputSetOfTiltSeries")
        protocol.doOddEven = True
        for one in series:
            for suffix in (None, "odd", "even"):
                self.write(protocol.getExtraOutFile(one.getTsId(), suffix=suffix, ext="mrc"))
            protocol.createOutputStep(one)
        self.goes_into_dual(protocol, "Tomograms", self.centred(), "own")

    @needs("ProtTomo3dReconstrucTomo")
    def test_tomo3d_reconstructs_tomograms_and_halves(self) -> None:
        protocol, series = self.reconstructed(
            "ProtTomo3dReconstrucTomo", "inputSetOfTiltSeries", doEvenOdd=True
        )
        for one in series:
            for suffix in ("", "even", "odd"):
                self.write(protocol._getOutTomoFile(one.getTsId(), suffix=suffix))
            protocol.createOutStep(one)
        self.goes_into_dual(protocol, "tomograms", self.centred(), "own")

    @needs("ProtNovaCtf")
    def test_novactf_reconstructs(self) -> None:
        protocol, series = self.reconstructed("ProtNovaCtf", "inputSetOfTiltSeries")
        protocol.tsDict = {one.getTsId(): one for one in series}
        for name in protocol.tsDict:
            self.write(protocol._getFinalRecTomoFn(name))
            protocol.createOutputStep(name)
        self.goes_into_dual(protocol, "Tomograms", self.centred())

    @needs("ProtCryoCARETraining")
    def test_cryocare_trains_on_denoised_halves_and_predicts(self) -> None:
        inputs = {"tomos": (self.denoised, "Tomograms")}
        train = self.other("ProtCryoCARETraining", inputs, patch_shape=8)
        self.assertEqual(train._validate(), [])
        run_steps(train)
        told = json.loads(Path(train._configFile).read_text(encoding="utf-8"))
        for side in ("even", "odd"):
            self.assertEqual(len(told[side]), len(NAMES))
            self.assertTrue(all(map(os.path.exists, told[side])), told)
        self.assertFalse(set(told["even"]) & set(told["odd"]))

        predict = self.other(
            "ProtCryoCAREPrediction", {**inputs, "model": (train, "model")}
        )

        def job(_program: str, arguments: str) -> None:
            config = json.loads(Path(arguments.split()[-1]).read_text(encoding="utf-8"))
            os.makedirs(config["output"])
            shutil.copy(config["even"], config["output"])

        run_steps(predict, job)
        # The prediction keeps the half maps of its input.
        self.goes_into_dual(predict, "tomograms", halves="foreign")

    @needs("DynamoBinTomograms")
    def test_dynamo_bins(self) -> None:
        protocol = self.other(
            "DynamoBinTomograms", {"inputTomos": (self.denoised, "Tomograms")}, binning=1
        )
        self.assertEqual(protocol._validate(), [])

        def job(_program: str, arguments: str) -> None:
            code = Path(arguments.strip()).read_text(encoding="utf-8")
            shutil.copy(*re.findall(r"'(/[^']+[.]mrc)'", code))

        run_steps(protocol, job)
        # It keeps the half maps of its input, as they were before binning.
        self.goes_into_dual(protocol, protocol._possibleOutputs.tomograms.name, halves="foreign")


    @needs("ProtWarpDeconvTomo")
    def test_warp_deconvolves_for_real(self) -> None:
        """Its filter is in Python: nothing is replaced here."""
        series = tilt_series(self.inputs, self.folder, NAMES)
        inputs = {
            "inputTomograms": (self.denoised, "Tomograms"),
            "inputCTFs": (ctf_series(self.inputs, series), "CTFTomoSeries"),
        }
        protocol = self.other("ProtWarpDeconvTomo", inputs, numberOfThreads=1, useGpu=False)
        self.assertEqual(protocol._validate(), [])
        self.assertEqual(run_steps(protocol), [])
        self.goes_into_dual(protocol, "Tomograms", halves="foreign")

    # --------------------------- masks ---------------------------
    @needs("ProtMemBrainSeg")
    def test_membrain_segments(self) -> None:
        protocol = self.other("ProtMemBrainSeg", {"inTomograms": (self.denoised, "Tomograms")})
        self.assertEqual(protocol._validate(), [])

        def job(_program: str, arguments: str) -> None:
            words = shlex.split(arguments)
            path = words[words.index("--tomogram-path") + 1]
            shutil.copy(path, protocol._getOutFileNameMembrain(path))

        run_steps(protocol, job)
        self.picks_within(protocol, next(iter(protocol._possibleOutputs)))

    @needs("ProtTomoSegmenTV")
    def test_tomosegmemtv_segments(self) -> None:
        protocol = self.other(
            "ProtTomoSegmenTV", {"inTomos": (self.denoised, "Tomograms")}, keepAllFiles=True
        )
        lines = run_steps(protocol)
        self.assertEqual(len(lines), 5 * len(NAMES))
        self.picks_within(protocol, "tomoMasks")

    # --------------------------- coordinates ---------------------------
    @needs("DynamoExtraction")
    def test_dynamo_extracts_where_was_picked(self) -> None:
        protocol = self.other(
            "DynamoExtraction", {"inputCoords": (self.picks, "Coordinates")}, boxSize=8
        )
        protocol.makePathsAndClean()
        protocol._initialize()
        for name, picked in self.positions().items():
            protocol.writeSetOfCoordinates3D(name)
            self.assertEqual(protocol.failedItems, [])
            written = np.loadtxt(protocol._getCoordsFileName(name))[:, :3]
            np.testing.assert_allclose(written, picked)
            volume = Path(protocol._getVllFileName(name)).read_text(encoding="utf-8").strip()
            self.assertEqual(volume, str(self.folder / f"{name}.mrc"), "from the raw one")

    @needs("ProtRelion5ExtractSubtomos")
    def test_relion_gets_the_picks_in_voxels_of_the_tilt_series(self) -> None:
        from emtable import Table
        from reliontomo.convert import convert50_tomo

        coordinates = self.picks.Coordinates
        tomograms = items_by_ts_id(coordinates.getPrecedents())
        writer = convert50_tomo.Writer()
        writer.coords2Star(coordinates, tomograms, str(self.folder), coordsScale=4.0)
        coordinates.close()
        (path,) = self.folder.glob("*articles.star")
        written: Dict[str, List[Any]] = {}
        for row in Table.iterRows(f"particles@{path}"):
            place = (row.rlnCoordinateX, row.rlnCoordinateY, row.rlnCoordinateZ)
            written.setdefault(row.rlnTomoName, []).append(place)
        for name, picked in self.positions().items():
            np.testing.assert_allclose(written[name], 4 * np.array(picked))

    @needs("ProtTomoTwinRefPicking")
    def test_tomotwin_takes_the_average_and_its_picks_are_averaged(self) -> None:
        average = self.newProtocol(ProtDualAverage, boxSize=9)
        self.point(
            average,
            inputCoordinates=(self.picks, "Coordinates"),
            inputTomograms=(self.raw, "Tomograms"),
        )
        self.launchProtocol(average)
        inputs = {"inputTomos": (self.denoised, "Tomograms"), "inputRefs": (average, "Average")}
        protocol = self.other("ProtTomoTwinRefPicking", inputs)
        self.assertEqual(protocol._validate(), [])
        protocol.makePathsAndClean()
        protocol.runJob = Recorder()
        protocol.convertInputStep()
        links = sorted(path.name for path in Path(protocol._getTmpPath()).glob("*.mrc"))
        self.assertEqual(links, [f"{name}.mrc" for name in NAMES])
        for name in NAMES:
            folder = Path(protocol._getExtraPath(name))
            folder.mkdir()
            (folder / "x_relion3.star").write_text(
                "data_\n\nloop_\n_rlnCoordinateX #1\n_rlnCoordinateY #2\n_rlnCoordinateZ #3\n"
                "10.5 12.0 13.0\n20.0 14.0 11.0\n",
                encoding="utf-8",
            )
        protocol.createOutputStep()
        (name,) = [name for name, _ in protocol.iterOutputAttributes()]
        ours = self.newProtocol(ProtDualAverage, boxSize=9)
        self.point(ours, inputCoordinates=(protocol, name), inputTomograms=(self.raw, "Tomograms"))
        self.assertEqual((ours.validate(), ours.warnings()), ([], []))
        for tomogram, picks in ours.picked():
            found = [(pick.x, pick.y, pick.z) for pick in picks]
            self.assertEqual(found, [(10.5, 12.0, 13.0), (20.0, 14.0, 11.0)], tomogram)


class TestInstalled(BaseTest):
    """A plugin that is required for the tests and is not there would silently have no tests."""

    def test_plugins_that_the_tests_require_are_there(self) -> None:
        required = {
            requirement.partition(">")[0].partition(";")[0].strip()
            for requirement in metadata.requires(DISTRIBUTION) or []
            if requirement.startswith("scipion-em-") and "extra == " in requirement
        }
        self.assertIn("scipion-em-emantomo", required)
        plugins = Config.getDomain().getPlugins()
        missing = {name for name in required if name.rpartition("-")[2] not in plugins}
        self.assertEqual(missing, set())
