"""Several tomograms in one run of the engine: what is finished, what failed, what is left."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, Dict, List
from unittest import TestCase, mock

from dual_core.errors import DualError
from dual_scipion.protocols.parts.engine_batch import EngineBatch, Member
from dual_scipion.tests import support, test_protocols


def write_record(folder: Path, names: List[str], half: str = "") -> None:
    """Outputs and the engine's record of them; ``half`` is the beginning of a further line."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "denoise.jsonl", "a", encoding="utf-8") as stream:
        for name in names:
            support.write_volume(folder / name, support.density())
            stream.write(json.dumps({"output": name, "results": {"correlation": 0.5}}) + "\n")
        stream.write(half)


def write_status(folder: Path, failed: Dict[str, str]) -> None:
    """What the engine says of failures; it is there when the engine begins with the first file."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "denoise.status.json").write_text(json.dumps({"planned": [], "failed": failed}))


class TestEngineBatch(TestCase):
    """The record as it grows."""

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="dual"))
        self.addCleanup(shutil.rmtree, str(self.folder), ignore_errors=True)
        self.members = {
            "a": Member({"a": "/raw/1.mrc"}, {"a_denoised.mrc": "x/a.mrc"}),
            "b": Member(
                {"b": "/raw/2.mrc", "b_half1": "/raw/h.mrc"},
                {"b_denoised.mrc": "x/b.mrc", "b_half1_denoised.mrc": "x/b_half1.mrc"},
            ),
        }
        self.batch = EngineBatch(str(self.folder), self.members)

    def test_one_is_finished_when_all_its_files_are_recorded(self) -> None:
        out = self.folder / "out"
        self.assertEqual(list(self.batch.finished()), [])
        write_record(out, ["b_denoised.mrc"], half='{"output": "a_den')
        self.assertEqual(list(self.batch.finished()), [], "a half of b is missing")
        with open(out / "denoise.jsonl", "a", encoding="utf-8") as stream:
            stream.write('oised.mrc"}\n')
        self.assertEqual(list(self.batch.finished()), [], "recorded, but the file is not there")
        support.write_volume(out / "a_denoised.mrc", support.density())
        self.assertEqual(list(self.batch.finished()), ["a"])
        write_record(out, ["b_half1_denoised.mrc"])
        self.assertEqual(list(self.batch.finished()), ["a", "b"])
        lines = [json.loads(line)["output"] for line in self.batch.lines("b").splitlines()]
        self.assertEqual(lines, ["b_denoised.mrc", "b_half1_denoised.mrc"])

    def test_messages_name_the_files_of_the_user(self) -> None:
        links = self.batch.link()
        self.assertEqual([os.readlink(link) for link in links][0], "/raw/1.mrc")
        self.assertFalse(self.batch.begun())
        write_status(self.folder / "out", {"b_half1_denoised.mrc": f"{links[2]}: broken"})
        self.assertTrue(self.batch.begun())
        self.assertEqual(self.batch.failures(), {"b": "/raw/h.mrc: broken"})


class TestRuns(test_protocols.DualTest):
    """What the protocol makes of engines that die, and of what a killed run left."""

    def protocol(self, names: str, **values: Any) -> Any:
        items = [self.tomogram(name) for name in names]
        protocol = self.denoise(self.inputs.tomograms(items), **values)
        self.saveProtocol(protocol)
        protocol.makePathsAndClean()
        protocol._readInput()
        return protocol

    def run_with(self, protocol: Any, engine: Any) -> List[List[str]]:
        """Run the step with a stand-in for the engine; which tomograms it was given, by run."""
        given: List[List[str]] = []

        def run(command: str, options: Dict[str, Any], *_: Any) -> None:
            names = [Path(path).stem for path in options["tomograms"]]
            given.append(names)
            engine(names, Path(options["output"]))

        with mock.patch.object(protocol, "runEngine", run):
            protocol.denoiseStep(list(protocol._tomograms), "now")
        return given

    def test_one_that_kills_the_engine_is_the_only_one_that_fails(self) -> None:
        protocol = self.protocol("abcd")

        def engine(names: List[str], out: Path) -> None:
            write_status(out, {})
            for name in names:
                if name == "TS_b":
                    raise DualError("the engine ended with status -9; see the log")
                write_record(out, [f"{name}_denoised.mrc"])

        given = self.run_with(protocol, engine)
        self.assertEqual(given, [["TS_a", "TS_b", "TS_c", "TS_d"], ["TS_c", "TS_d"]])
        self.assertEqual(sorted(protocol.Tomograms.getTSIds()), ["TS_a", "TS_c", "TS_d"])
        self.assertEqual(list(protocol.failedItems), ["TS_b"])

    def test_an_engine_that_does_not_start_is_started_once(self) -> None:
        protocol = self.protocol("abc")

        def engine(names: List[str], out: Path) -> None:
            raise DualError("there is no GPU")

        self.assertEqual(len(self.run_with(protocol, engine)), 1)
        self.assertEqual(set(protocol.failedItems.values()), {"there is no GPU"})
        self.assertEqual(len(protocol.failedItems), 3)

    def test_what_a_killed_run_finished_is_not_done_again(self) -> None:
        protocol = self.protocol("abc")
        out = Path(protocol._getExtraPath("work", "TS_a", "out"))
        write_record(out, ["TS_a_denoised.mrc", "TS_b_denoised.mrc"], half='{"output": "TS_c')
        support.write_volume(out / "TS_c_denoised.mrc", support.density())
        protocol._insertAllSteps()
        self.assertFalse(os.path.exists(protocol._getExtraPath("work", "TS_a")))

        def engine(names: List[str], out: Path) -> None:
            write_status(out, {})
            write_record(out, [f"{name}_denoised.mrc" for name in names])

        self.assertEqual(self.run_with(protocol, engine), [["TS_c"]])
        self.assertEqual(protocol.Tomograms.getSize(), 3)
        self.assertIn("0.50 on average", " ".join(protocol.summary()))

    def test_every_worker_has_some_and_one_a_step_is_possible(self) -> None:
        for count, values, size in (
            (300, {}, 25),
            (20, {"numberOfThreads": 5}, 5),
            (3, {"numberOfThreads": 9}, 1),
            (300, {"engineBatch": 1}, 1),
            (1, {}, 1),
        ):
            protocol = self.protocol("a", **values)
            self.assertEqual(protocol.batchSize(count), size, (count, values))
        protocol = self.protocol("abcde", engineBatch=2)
        protocol._insertAllSteps()
        self.assertEqual([len(step._args[0]) for step in protocol._steps[:-1]], [2, 2, 1])
