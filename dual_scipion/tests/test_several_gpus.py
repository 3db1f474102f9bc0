"""Training on the GPUs of the list: which command lines reach the shell or the scheduler."""

from __future__ import annotations

import shlex
import sys
import threading
from typing import Any, Dict, List, Tuple
from unittest import mock

from pyworkflow.protocol.executor import QueueStepExecutor, StepExecutor, StepThread
from pyworkflow.protocol.protocol import FunctionStep, anonimizeGPUs
from pyworkflow.tests import BaseTest, setupTestProject

from dual_scipion import engine
from dual_scipion.protocols import ProtDualDenoise, ProtDualTrain

PYTHON = shlex.quote(sys.executable)
TWO = "-m torch.distributed.run --standalone --nproc_per_node 2 "


class TestSeveralGpus(BaseTest):
    """One process for each GPU, and the engine's ordinary command line for one."""

    @classmethod
    def setUpClass(cls) -> None:
        setupTestProject(cls)

    def protocol(self, kind: type = ProtDualTrain, **values: Any) -> Any:
        protocol = self.newProtocol(kind, **values)
        self.saveProtocol(protocol)
        protocol.makePathsAndClean()
        return protocol

    def found(self, protocol: Any, executor: StepExecutor) -> str:
        """What an executor runs for the step that trains."""
        protocol.setStepsExecutor(executor)
        executor.setProtocol(protocol)
        ran: List[str] = []
        with mock.patch(
            "pyworkflow.utils.process.runCommand", lambda command, **_: ran.append(command)
        ):
            protocol.runEngine("train", {}, [])
        self.assertEqual(len(ran), 1)
        return ran[0].strip()

    def expected(self, protocol: Any, before: str, launcher: str, device: str = "cuda") -> str:
        config = protocol._getExtraPath("parameters", "train.json")
        program = f"{before}{PYTHON} {launcher}-m dual_core"
        return f"{program} train --config {config} --device {device}"

    def test_two_gpus(self) -> None:
        protocol = self.protocol(gpuList="1,4")
        found = self.found(protocol, StepExecutor(None, gpuList=protocol.getGpuList()))
        self.assertEqual(found, self.expected(protocol, "CUDA_VISIBLE_DEVICES=1,4 ", TWO))

    def test_one_gpu_and_none(self) -> None:
        protocol = self.protocol(gpuList="4")
        found = self.found(protocol, StepExecutor(None, gpuList=protocol.getGpuList()))
        self.assertEqual(found, self.expected(protocol, "CUDA_VISIBLE_DEVICES=4 ", ""))
        protocol = self.protocol(gpuList="1,4", useGpu=False)
        found = self.found(protocol, StepExecutor(None, gpuList=[1, 4]))
        self.assertEqual(found, self.expected(protocol, "", "", "cpu"))

    def test_queued_protocol_has_as_many_processes_as_its_job_has_gpus(self) -> None:
        for gpus, launcher in (("1,4", TWO), ("4", "")):
            protocol = self.protocol(gpuList=gpus)
            protocol._useQueue.set(True)
            given = list(anonimizeGPUs(protocol.getGpuList()))
            found = self.found(protocol, StepExecutor(None, gpuList=given))
            self.assertEqual(found, self.expected(protocol, "", launcher))

    def test_queued_step_has_as_many_processes_as_its_job_has_gpus(self) -> None:
        protocol = self.protocol(gpuList="1,4")
        protocol._useQueue.set(True)
        protocol.setQueueParams(("default", {"QUEUE_FOR_JOBS": "Y"}))
        submit = {**protocol.getSubmitDict(), "JOB_SCRIPT": "job"}
        executor = QueueStepExecutor(
            protocol.getHostConfig(), submit, 1, gpuList=anonimizeGPUs(protocol.getGpuList())
        )
        protocol.setStepsExecutor(executor)
        executor.setProtocol(protocol)
        ran: List[str] = []

        def submitted(host: Any, values: Dict[str, Any], *rest: Any) -> Tuple[int, None]:
            ran.append(values["JOB_COMMAND"])
            return 1, None

        def step(number: int) -> None:
            with mock.patch.object(protocol, "checkJob"):
                protocol.runEngine("train", {}, [])

        with mock.patch("pyworkflow.protocol.executor._submit", submitted), mock.patch(
            "pyworkflow.protocol.executor._checkJobStatus", lambda *_: None
        ):
            one = FunctionStep(step, "step", 1, needsGPU=True)
            one.setObjId(1)
            thread = StepThread(one, threading.Lock())
            thread.start()
            thread.join()
        self.assertFalse(one.isFailed(), one.getErrorMessage())
        self.assertEqual(len(ran), 1)
        command = ran[0].strip().partition(" && touch ")[0]
        self.assertEqual(command, self.expected(protocol, "", TWO))

    def test_only_the_training_is_distributed(self) -> None:
        protocol = self.protocol(ProtDualDenoise, gpuList="1,4")
        protocol.setStepsExecutor(StepExecutor(None, gpuList=protocol.getGpuList()))
        placement = protocol._placement()
        self.assertEqual(placement.gpus, 2)
        for command in ("denoise", "simulate", "translate", "compensate", "evaluate realism"):
            program, _ = engine.command_line(command, "c", placement)
            self.assertNotIn("torch.distributed", program)

    def test_the_form_says_what_several_gpus_do(self) -> None:
        protocol = self.protocol(gpuList="0,1")
        self.assertEqual(protocol._warnings(), [])
        self.assertTrue(any("2 times the patches" in line for line in protocol._summary()))
        self.assertIn("all of them at once", protocol.getParam("gpuList").help.get())
        one = self.protocol(gpuList="0")
        self.assertFalse(any("times the patches" in line for line in one._summary()))

    def test_processes_share_the_threads_of_the_form(self) -> None:
        for gpus, threads, each in (("0", 6, "6"), ("0,1", 6, "3"), ("0-3", 2, "1")):
            protocol = self.protocol(gpuList=gpus)
            with mock.patch.object(protocol, "getBinThreads", lambda given=threads: given):
                self.assertEqual(protocol._engineEnviron()["OMP_NUM_THREADS"], each)
