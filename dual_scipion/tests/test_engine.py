"""Which interpreter, which device, which command line; nothing is run."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sqlite3
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any, Dict, List, Tuple
from unittest import mock

from pyworkflow.protocol.executor import (
    QueueStepExecutor,
    StepExecutor,
    StepThread,
    ThreadStepExecutor,
)
from pyworkflow.protocol.protocol import FunctionStep, anonimizeGPUs
from pyworkflow.tests import BaseTest, setupTestProject

from dual_core.errors import DualError
from dual_scipion import Plugin, engine
from dual_scipion.constants import DUAL_ENV_ACTIVATION, DUAL_HOME, ENGINE_INSTALLED
from dual_scipion.protocols import ProtDualDenoise, ProtDualTrain

PYTHON = shlex.quote(sys.executable)


class TestCommandLine(BaseTest):
    """The command that reaches the shell, through Scipion's own executors."""

    @classmethod
    def setUpClass(cls) -> None:
        setupTestProject(cls)

    def protocol(self, kind: type = ProtDualDenoise, **values: Any) -> Any:
        protocol = self.newProtocol(kind, **values)
        self.saveProtocol(protocol)
        protocol.makePathsAndClean()
        return protocol

    def commands(self, protocol: Any, executor: StepExecutor, workers: int = 1) -> List[str]:
        """What the workers of an executor run, one step each."""
        protocol.setStepsExecutor(executor)
        executor.setProtocol(protocol)
        ran: List[str] = []

        def step(number: int) -> None:
            protocol.runEngine("denoise", {}, [], f"T{number}")

        def submit(host: Any, values: Dict[str, Any], *rest: Any) -> Tuple[int, None]:
            ran.append(values["JOB_COMMAND"])
            return 1, None

        with mock.patch(
            "pyworkflow.utils.process.runCommand", lambda command, **_: ran.append(command)
        ), mock.patch("pyworkflow.protocol.executor._submit", submit), mock.patch(
            "pyworkflow.protocol.executor._checkJobStatus", lambda *_: None
        ):
            if isinstance(executor, ThreadStepExecutor):
                for number in range(1, workers + 1):
                    one = FunctionStep(step, "step", number, needsGPU=protocol.usesGpu())
                    one.setObjId(number)
                    thread = StepThread(one, threading.Lock())
                    thread.start()
                    thread.join()
                    self.assertFalse(one.isFailed(), one.getErrorMessage())
            else:
                step(1)
        return [command.strip() for command in ran]

    def expected(self, protocol: Any, device: str, number: int = 1, prefix: str = "") -> str:
        config = protocol._getExtraPath("parameters", f"T{number}.json")
        return f"{prefix}{PYTHON} -m dual_core denoise --config {config} --device {device}"

    def test_cpu(self) -> None:
        protocol = self.protocol(useGpu=False, gpuList="0 1")
        found = self.commands(protocol, StepExecutor(None, gpuList=[0, 1]))
        self.assertEqual(found, [self.expected(protocol, "cpu")])

    def test_one_gpu(self) -> None:
        protocol = self.protocol(gpuList="3")
        found = self.commands(protocol, StepExecutor(None, gpuList=protocol.getGpuList()))
        prefix = "CUDA_VISIBLE_DEVICES=3 "
        self.assertEqual(found, [self.expected(protocol, "cuda", prefix=prefix)])

    def test_two_gpus_and_one_worker(self) -> None:
        protocol = self.protocol(gpuList="1,4")
        found = self.commands(protocol, StepExecutor(None, gpuList=protocol.getGpuList()))
        prefix = "CUDA_VISIBLE_DEVICES=1,4 "
        self.assertEqual(found, [self.expected(protocol, "cuda", prefix=prefix)])

    def test_two_gpus_and_two_workers_have_one_each(self) -> None:
        protocol = self.protocol(gpuList="1,4", numberOfThreads=3)
        executor = ThreadStepExecutor(None, 2, gpuList=protocol.getGpuList())
        found = self.commands(protocol, executor, workers=2)
        wanted = [
            self.expected(protocol, "cuda", number, f"CUDA_VISIBLE_DEVICES={gpu} ")
            for number, gpu in ((1, 1), (2, 4))
        ]
        self.assertEqual(found, wanted)

    def test_queued_protocol_leaves_the_choice_of_gpus_to_the_scheduler(self) -> None:
        protocol = self.protocol(gpuList="1,4", numberOfThreads=3)
        protocol._useQueue.set(True)
        gpus = anonimizeGPUs(protocol.getGpuList())
        found = self.commands(protocol, StepExecutor(None, gpuList=list(gpus)))
        self.assertEqual(found, [self.expected(protocol, "cuda")])
        executor = ThreadStepExecutor(None, 2, gpuList=list(gpus))
        found = self.commands(protocol, executor, workers=2)
        # The second worker takes the second of the GPUs that the scheduler shows to the job.
        wanted = [self.expected(protocol, "cuda"), self.expected(protocol, "cuda:1", 2)]
        self.assertEqual(found, wanted)

    def test_three_gpus_of_a_queued_protocol_and_two_workers(self) -> None:
        protocol = self.protocol(gpuList="3-5", numberOfThreads=3)
        protocol._useQueue.set(True)
        gpus = anonimizeGPUs(protocol.getGpuList())
        found = self.commands(protocol, ThreadStepExecutor(None, 2, gpuList=gpus), workers=2)
        # The first worker has two, of which a tomogram uses the first.
        wanted = [self.expected(protocol, "cuda"), self.expected(protocol, "cuda:2", 2)]
        self.assertEqual(found, wanted)

    def test_steps_as_jobs_leave_the_choice_of_gpus_to_the_scheduler(self) -> None:
        for gpus, workers in (("1,4", 2), ("3", 1), ("1,4", 1), ("3-5", 2)):
            protocol = self.protocol(gpuList=gpus, numberOfThreads=workers + 1)
            found = self.steps_as_jobs(protocol, workers)
            wanted = [self.expected(protocol, "cuda", number + 1) for number in range(workers)]
            self.assertEqual(found, wanted)

    def test_cpu_in_a_queue(self) -> None:
        protocol = self.protocol(useGpu=False, gpuList="0 1")
        protocol._useQueue.set(True)
        found = self.commands(protocol, StepExecutor(None, gpuList=[0, 1]))
        self.assertEqual(found, [self.expected(protocol, "cpu")])
        self.assertEqual(self.steps_as_jobs(protocol, 1), [self.expected(protocol, "cpu")])

    def steps_as_jobs(self, protocol: Any, workers: int) -> List[str]:
        """The commands of jobs, one for each worker, without the mark that a job makes."""
        protocol._useQueue.set(True)
        protocol.setQueueParams(("default", {"QUEUE_FOR_JOBS": "Y"}))
        host = protocol.getHostConfig()
        submit = {**protocol.getSubmitDict(), "JOB_SCRIPT": "job"}
        gpus = anonimizeGPUs(protocol.getGpuList())
        executor = QueueStepExecutor(host, submit, workers, gpuList=gpus)

        def end_well(_: Any, mark: str, __: Any) -> None:
            self.assertTrue(mark.startswith(protocol._getExtraPath("parameters", "T")), mark)
            marks.append(f" && touch {mark}")

        marks: List[str] = []
        with mock.patch.object(ProtDualDenoise, "checkJob", end_well):
            found = self.commands(protocol, executor, workers)
        self.assertEqual(len(set(marks)), workers, "each job has a mark of its own")
        for command, mark in zip(found, marks):
            self.assertTrue(command.endswith(mark), command)
        return [command[: -len(mark)] for command, mark in zip(found, marks)]

    def test_a_job_without_its_mark_is_an_error_although_the_output_is_there(self) -> None:
        protocol = self.protocol(useGpu=False)
        protocol._useQueue.set(True)
        protocol.setQueueParams(("default", {"QUEUE_FOR_JOBS": "Y"}))
        protocol.setStepsExecutor(StepExecutor(None, gpuList=[]))
        with mock.patch("pyworkflow.utils.process.runCommand"), self.assertRaisesRegex(
            DualError, "the job of this step failed: its log tells nothing"
        ):
            protocol.runEngine("denoise", {}, [__file__])

        def run(command: str, **_: Any) -> None:
            Path(command.split()[-1]).touch()

        with mock.patch("pyworkflow.utils.process.runCommand", run):
            protocol.runEngine("denoise", {}, [__file__])

    def test_a_job_without_its_output_is_an_error(self) -> None:
        protocol = self.protocol(useGpu=False)
        protocol.setStepsExecutor(StepExecutor(None, gpuList=[]))
        protocol._stepsExecutor.setProtocol(protocol)
        with mock.patch("pyworkflow.utils.process.runCommand"), self.assertRaisesRegex(
            DualError, "did not write gone.mrc"
        ):
            protocol.runEngine("denoise", {}, ["gone.mrc"])

    def test_gpu_lists_are_checked(self) -> None:
        for gpus in ("0:1", "", "a"):
            self.assertTrue(self.protocol(gpuList=gpus)._validateGpus(), gpus)
            self.assertFalse(self.protocol(gpuList=gpus, useGpu=False)._validateGpus())
        for gpus in ("0", "0 1", "0,1", "0-3"):
            self.assertFalse(self.protocol(gpuList=gpus)._validateGpus(), gpus)

    def test_engine_has_the_threads_of_the_form_and_no_pythonpath(self) -> None:
        protocol = self.protocol(useGpu=False, binThreads=3)
        with mock.patch.dict(os.environ, {"PYTHONPATH": "somewhere"}):
            environ = protocol._engineEnviron()
        self.assertEqual(environ["OMP_NUM_THREADS"], "3")
        self.assertNotIn("PYTHONPATH", environ)


class TestContinue(BaseTest):
    """What a kill may leave."""

    @classmethod
    def setUpClass(cls) -> None:
        setupTestProject(cls)

    def test_damaged_list_of_steps_is_made_anew(self) -> None:
        protocol = self.newProtocol(ProtDualTrain)
        self.saveProtocol(protocol)
        protocol.makePathsAndClean()
        self.assertEqual(protocol.loadSteps(), [])
        for tables in (["Properties"], ["Properties", "Classes"]):
            with sqlite3.connect(protocol.getStepsFile()) as database:
                for table in tables:
                    database.execute(f"CREATE TABLE {table} (id, label_property, column_name)")
            database.close()
            self.assertEqual(protocol.loadSteps(), [])
            protocol._steps = []
            protocol._insertAllSteps()
            protocol._storeSteps()
            protocol._stepsSet.close()
            self.assertEqual(len(protocol.loadSteps()), 2)
            os.remove(protocol.getStepsFile())


class TestInterpreter(BaseTest):
    """The order of interpreters, and what is said when there is none."""

    def setUp(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="dual home"))
        self.addCleanup(shutil.rmtree, str(self.home), ignore_errors=True)
        engine._checked.clear()

    def test_order(self) -> None:
        variables = {DUAL_ENV_ACTIVATION: ". env/bin/activate;", DUAL_HOME: str(self.home)}
        self.assertEqual(
            engine.find_interpreter(variables).shell(), ". env/bin/activate && python"
        )
        variables[DUAL_ENV_ACTIVATION] = ""
        self.assertEqual(engine.find_interpreter(variables).python, sys.executable)
        (self.home / ENGINE_INSTALLED).touch()
        self.assertEqual(
            engine.find_interpreter(variables).shell(), f"'{self.home}/bin/python'"
        )

    def test_conda_is_hooked_first(self) -> None:
        variables = {
            DUAL_ENV_ACTIVATION: "conda activate dual",
            "CONDA_ACTIVATION_CMD": 'eval "$(conda shell.bash hook)"&&',
        }
        self.assertEqual(
            engine.find_interpreter(variables).shell(),
            'eval "$(conda shell.bash hook)" && conda activate dual && python',
        )

    def test_no_engine_is_an_error_with_the_command(self) -> None:
        with mock.patch("importlib.util.find_spec", lambda name: None), mock.patch.object(
            engine, "_variables", dict
        ):
            self.assertIn("scipion3 installb dual-", engine.check_engine())

    def test_a_broken_activation_is_told_before_the_run(self) -> None:
        with mock.patch.object(
            Plugin, "getVar", lambda name: "no_such_command" if "ACTIV" in name else ""
        ):
            problem = engine.check_engine()
        self.assertIn("does not lead to a working Python", problem)
        self.assertIn("scipion3 installb dual-", problem)

    def test_percent_signs_survive_scipion(self) -> None:
        interpreter = engine.Interpreter("py%thon", ". e%nv/bin/activate")
        program, arguments = engine.command_line(
            "denoise", "100%/c.json", engine.Placement(True), interpreter
        )
        self.assertEqual(
            program % {"GPU": "0"},
            ". e%nv/bin/activate && CUDA_VISIBLE_DEVICES=0 py%thon -m dual_core",
        )
        self.assertEqual(arguments % {"GPU": "0"}, "denoise --config 100%/c.json --device cuda")

    def test_options_are_a_file_that_the_engine_reads(self) -> None:
        path = str(self.home / "sub" / "options.json")
        engine.write_options(path, {"tomograms": ["a b.mrc"], "tile": None, "resume": True})
        self.assertEqual(
            json.loads(Path(path).read_text()), {"tomograms": ["a b.mrc"], "resume": True}
        )
        self.assertEqual(engine.read_options(path)["tomograms"], ["a b.mrc"])
        with self.assertRaises(DualError):
            engine.read_options(str(self.home / "none.json"))

    def test_the_engines_message_is_found_in_the_log(self) -> None:
        log = self.home / "log"
        log.write_text("dual: error: old\n")
        start = log.stat().st_size
        log.write_text(log.read_text() + "info\ndual: error: no GPU; choose cpu\nbye\n")
        self.assertEqual(engine.last_error(str(log), start), "no GPU; choose cpu")
        self.assertEqual(engine.last_error(str(log), log.stat().st_size), "")
