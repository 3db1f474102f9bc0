"""Protocols in a queue, for real: as one job, and with each step as a job."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple
from unittest import mock

import pyworkflow as pw

from dual_scipion.constants import DUAL_ENV_ACTIVATION
from dual_scipion.tests import queue_support, test_protocols

GPUS_OF_THE_SCHEDULER = "7,9"  # by queue_support.NO_SCHEDULER


class TestQueue(test_protocols.DualTest):
    """Denoising through a queue that has no scheduler, with GPUs asked for."""

    @classmethod
    def setUpClass(cls) -> None:
        home = Path(tempfile.mkdtemp(prefix="dual-queue"))
        cls.addClassCleanup(shutil.rmtree, str(home), ignore_errors=True)
        hosts = home / "hosts.conf"
        queue_support.write_hosts(hosts, queue_support.NO_SCHEDULER)
        cls.engine = queue_support.StandIn(home / "environment")
        # For the project of this process and for the processes of its protocols.
        variables = {"SCIPION_HOSTS": str(hosts), DUAL_ENV_ACTIVATION: cls.engine.activation}
        for patch in (
            mock.patch.object(pw.Config, "SCIPION_HOSTS", str(hosts)),
            mock.patch.dict(os.environ, variables),
        ):
            patch.start()
            cls.addClassCleanup(patch.stop)
        super().setUpClass()

    def queued(self, names: Sequence[str], steps: bool, **values: Any) -> Any:
        """A protocol for new tomograms, with two GPUs and two tomograms at a time."""
        items = [self.tomogram(name) for name in names]
        given = {"useGpu": True, "gpuList": "1,4", "numberOfThreads": 3, **values}
        protocol = self.denoise(self.inputs.tomograms(items), **given)
        protocol._useQueue.set(True)
        protocol.setQueueParams(("default", {"QUEUE_FOR_JOBS": "Y" if steps else "N"}))
        return protocol

    def launch(self, protocol: Any, **variables: str) -> List[Dict[str, Any]]:
        """Launch and wait; what the engine was given, by job."""
        self.engine.notes()
        with mock.patch.dict(os.environ, variables):
            self.proj.launchProtocol(protocol, wait=False)
        self.assertTrue(protocol.isActive(), "it is queued, not run here and now")
        queue_support.finish(self.proj, protocol)
        return self.engine.notes()

    def jobs(self, protocol: Any) -> Dict[str, str]:
        """What the scripts of a protocol's jobs run, by the name of the script."""
        scripts = sorted(Path(protocol._getLogsPath()).glob("*.job"))
        return {path.stem: path.read_text(encoding="utf-8").splitlines()[2] for path in scripts}

    def log(self, protocol: Any) -> str:
        return Path(protocol.getStderrLog()).read_text(encoding="utf-8")

    def test_protocol_as_one_job(self) -> None:
        protocol = self.queued("ab", steps=False)
        notes = self.launch(protocol)
        self.assertTrue(protocol.isFinished(), protocol.getErrorMessage())
        self.assertEqual(sorted(protocol.Tomograms.getTSIds()), ["TS_a", "TS_b"])
        # One job with two GPUs, of which each of the two workers takes one.
        self.assertEqual({note["CUDA_VISIBLE_DEVICES"] for note in notes}, {GPUS_OF_THE_SCHEDULER})
        self.assertEqual(sorted(note["device"] for note in notes), ["cuda", "cuda:1"])
        ((name, command),) = self.jobs(protocol).items()
        self.assertEqual(name, protocol.strId())
        self.assertIn("pw_protocol_run.py", command)
        self.assertNotIn("CUDA_VISIBLE_DEVICES", command)
        self.assertNotIn("CUDA_VISIBLE_DEVICES", Path(protocol.getStdoutLog()).read_text())
        said = Path(protocol._getLogsPath(f"{name}.out")).read_text(encoding="utf-8")
        self.assertIn("GPUs 2, threads 2", said)

    def test_steps_as_jobs_and_one_that_fails(self) -> None:
        protocol = self.queued(["c", "bad"], steps=True)
        bad = self.folder / "bad.mrc"
        bad.write_bytes(bad.read_bytes()[:5000])
        notes = self.launch(protocol)
        self.assertTrue(protocol.isFinished(), protocol.getErrorMessage())
        self.assertEqual(protocol.Tomograms.getTSIds(), ["TS_c"])
        self.assertEqual(protocol.FailedTomograms.getTSIds(), ["TS_bad"])
        self.assertRegex(self.log(protocol), f"TS_bad: .*{bad}")
        # Two jobs, and each sees as its own what the scheduler gave to it.
        given = [(note["CUDA_VISIBLE_DEVICES"], note["device"]) for note in notes]
        self.assertEqual(given, [(GPUS_OF_THE_SCHEDULER, "cuda")] * 2)
        jobs = self.jobs(protocol)
        self.assertEqual(len(jobs), 2)
        parameters = protocol._getExtraPath("parameters")
        for name, command in jobs.items():
            self.assertRegex(name, rf"^{protocol.strId()}-\d+-1$")
            activation = re.escape(self.engine.activation)
            config = rf"{parameters}/TS_\w+\.json"
            wanted = rf"{activation} && python -m dual_core denoise --config ({config})"
            self.assertRegex(command, rf"^ *{wanted} --device cuda && touch \1\.\w+$")
            said = Path(protocol._getLogsPath(f"{name}.out")).read_text(encoding="utf-8")
            self.assertIn("GPUs 1, threads 1", said)
        left = [name for name in os.listdir(parameters) if not name.endswith(".json")]
        self.assertFalse(left, "the marks of the jobs are removed")

    def test_a_job_that_dies_fails_the_protocol_with_its_last_words(self) -> None:
        protocol = self.queued("e", steps=True, numberOfThreads=1)
        self.launch(protocol, DUAL_TEST_LAST_WORDS="killed: out of memory")
        self.assertTrue(protocol.isFailed())
        words = "the job of this step failed: the log of the job ends with: killed: out of memory"
        self.assertIn(words, protocol.getErrorMessage())

    def test_what_a_job_asks_the_scheduler_for(self) -> None:
        # GPUs and threads of the whole protocol as one job, then of each step as a job.
        cases: List[Tuple[Dict[str, Any], Tuple[int, int], Tuple[int, int]]] = [
            ({"gpuList": "1,4", "numberOfThreads": 3}, (2, 8), (1, 4)),
            ({"gpuList": "0", "numberOfThreads": 3}, (1, 4), (1, 4)),
            ({"gpuList": "0-2", "numberOfThreads": 3}, (3, 8), (2, 4)),
            ({"gpuList": "0,1", "numberOfThreads": 1}, (2, 4), (2, 4)),
            ({"useGpu": False, "numberOfThreads": 3}, (0, 8), (0, 4)),
        ]
        for values, whole, step in cases:
            for steps, (gpus, threads) in ((False, whole), (True, step)):
                protocol = self.queued([], steps, binThreads=4, **values)
                self.saveProtocol(protocol)
                submit = protocol.getSubmitDict()
                found = submit["GPU_COUNT"], submit["JOB_THREADS"], submit["JOB_CORES"]
                self.assertEqual(found, (gpus, threads, threads), (values, steps))
        protocol.setQueueParams(("default", {"GPU_COUNT": "5", "QUEUE_FOR_JOBS": "Y"}))
        self.assertEqual(protocol.getSubmitDict()["GPU_COUNT"], "5", "the user knows better")
