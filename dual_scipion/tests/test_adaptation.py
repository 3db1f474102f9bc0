"""Denoising with adaptation: once for the whole set, in a step that all others wait for.

`test_protocols` runs it with a set that grows and a run that is killed.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Dict, List
from unittest import mock

from dual_core.errors import DualError
from dual_scipion.protocols.protocol_denoise import ADAPTED
from dual_scipion.tests import test_protocols


class TestAdaptation(test_protocols.DualTest):
    """One model is adapted, and all runs of the engine denoise with it."""

    def adapting(self, tomograms: Any, **values: Any) -> Any:
        return self.denoise(tomograms, **{"adaptMinutes": test_protocols.ONE_STEP, **values})

    def prepared(self, count: int, **values: Any) -> Any:
        """A protocol that runs nothing, with its steps inserted."""
        items = [self.tomogram(f"p{number}") for number in range(count)]
        protocol = self.adapting(self.inputs.tomograms(items), **values)
        self.saveProtocol(protocol)
        protocol.makePathsAndClean()
        protocol._insertAllSteps()
        return protocol

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
