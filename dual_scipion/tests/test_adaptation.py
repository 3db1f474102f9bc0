"""Denoising with adaptation: once for the whole set, whatever runs, streams or is continued."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Dict, List
from unittest import mock

from pyworkflow.protocol.constants import MODE_RESUME

from dual_core.errors import DualError
from dual_scipion.protocols.protocol_denoise import ADAPTED
from dual_scipion.tests import test_protocols

SHAPE = (32, 36, 34)  # the smallest that a model can be adapted to has 32
MINUTES = 0.001  # a step or two


class TestAdaptation(test_protocols.DualTest):
    """One model is adapted, and all runs of the engine denoise with it."""

    def adapting(self, tomograms: Any, **values: Any) -> Any:
        return self.denoise(tomograms, **{"adaptMinutes": MINUTES, **values})

    def prepared(self, count: int, **values: Any) -> Any:
        """A protocol that runs nothing, with its steps inserted."""
        items = [self.tomogram(f"p{number}", shape=SHAPE) for number in range(count)]
        protocol = self.adapting(self.inputs.tomograms(items), **values)
        self.saveProtocol(protocol)
        protocol.makePathsAndClean()
        protocol._insertAllSteps()
        return protocol

    def given(self, protocol: Any) -> Dict[str, Any]:
        """The options of each run of the engine, by their name."""
        paths = Path(protocol._getExtraPath("parameters")).glob("*.json")
        return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in paths}

    def test_a_growing_set_and_continue(self) -> None:
        source = self.inputs.tomograms([self.tomogram("a", shape=SHAPE)], is_open=True)
        protocol = self.adapting(source, numberOfThreads=3, streamingSleepOnWait=1)
        self.assertIn("adapted to the 1 tomograms", " ".join(protocol.warnings()))
        self.proj.launchProtocol(protocol, wait=False)
        self.wait(lambda: os.path.exists(protocol.adaptedPath()), protocol)
        adapted = os.stat(protocol.adaptedPath()).st_mtime_ns
        broken = self.tomogram("bad", shape=SHAPE)
        good = Path(broken.getFileName()).read_bytes()
        Path(broken.getFileName()).write_bytes(good[:5000])
        self.inputs.append(source, broken, close=True)
        self.wait(protocol.isFinished, protocol)
        self.assertEqual(protocol.Tomograms.getTSIds(), ["TS_a"])
        self.assertEqual(protocol.FailedTomograms.getTSIds(), ["TS_bad"])
        runs = self.given(protocol)
        self.assertEqual(sorted(runs), ["TS_a", "TS_bad", "adapt"])
        self.assertEqual(runs.pop("adapt")["model"], self.modelFile)
        for options in runs.values():
            self.assertEqual(options["model"], protocol.adaptedPath())
            self.assertNotIn("adapt", options)
        self.assertEqual(protocol.AdaptedModel.getFileName(), protocol.adaptedPath())
        self.assertTrue(protocol.AdaptedModel.getCard().denoises_only)
        self.assertIn("adapted once to these tomograms", " ".join(protocol.summary()))

        Path(broken.getFileName()).write_bytes(good)
        protocol.runMode.set(MODE_RESUME)
        self.launchProtocol(protocol)
        self.assertEqual(sorted(protocol.Tomograms.getTSIds()), ["TS_a", "TS_bad"])
        self.assertEqual(os.stat(protocol.adaptedPath()).st_mtime_ns, adapted, "not once more")

    def test_where_nothing_can_be_adapted_to_the_protocol_fails_at_once(self) -> None:
        source = self.inputs.tomograms([self.tomogram("thin", shape=(20, 36, 34))], is_open=True)
        protocol = self.adapting(source, numberOfThreads=3, streamingSleepOnWait=1)
        with self.assertRaisesRegex(Exception, "failed"):
            self.launchProtocol(protocol)  # it ends although the set is never closed
        self.assertIn("thin.mrc is too thin to adapt to", protocol.getErrorMessage())
        self.assertEqual(protocol.doneCount(), 0)

    def test_the_others_wait_for_one_step(self) -> None:
        protocol = self.prepared(4, engineBatch=2, numberOfThreads=3)
        first, *others, last = protocol._steps
        self.assertEqual(first.funcName.get(), "adaptStep")
        self.assertEqual([step.funcName.get() for step in others], ["denoiseStep"] * 2)
        for step in others:
            self.assertEqual(list(step._prerequisites), [first._index])
        protocol = self.prepared(2, adaptMinutes=0.0)
        self.assertEqual(
            [step.funcName.get() for step in protocol._steps], ["denoiseStep", "closeOutputsStep"]
        )

    def test_a_killed_adaptation_goes_on_and_a_complete_one_is_left_alone(self) -> None:
        protocol = self.prepared(15)
        given: List[Dict[str, Any]] = []

        def killed(command: str, options: Dict[str, Any], *_: Any) -> None:
            given.append(options)
            Path(options["output"]).mkdir(parents=True, exist_ok=True)
            (Path(options["output"]) / ADAPTED).write_bytes(b"half of the time")
            raise DualError(f"{options['tomograms'][3]}: killed")

        def complete(command: str, options: Dict[str, Any], *_: Any) -> None:
            given.append(options)
            found = Path(options["output"]) / ADAPTED
            self.assertEqual(found.read_bytes(), b"half of the time", "the engine goes on with it")
            found.write_bytes(Path(self.modelFile).read_bytes())

        said = self.assertRaisesRegex(DualError, "adapting the model: .*/p3.mrc: killed")
        with mock.patch.object(protocol, "runEngine", killed), said:
            protocol.adaptStep("before")
        self.assertFalse(os.path.exists(protocol.adaptedPath()))
        protocol.takeLeftovers(list(protocol._tomograms.values()))  # as on Continue
        with mock.patch.object(protocol, "runEngine", complete):
            protocol.adaptStep("now")
            protocol.adaptStep("and again")
        self.assertEqual(len(given), 2)
        self.assertEqual(given[0], given[1], "of other tomograms the engine would begin anew")
        # All are given, in the order of the set: the engine takes some of them, evenly spread.
        self.assertEqual(len(given[0]["tomograms"]), 15)
        self.assertTrue(given[0]["resume"] and given[0]["adapt_only"])
        self.assertEqual(protocol.AdaptedModel.getIterations(), 2)
