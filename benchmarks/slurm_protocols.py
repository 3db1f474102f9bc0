"""Queued DUAL protocols in the Slurm of ``slurm.sh``; prints what each job was given.

    slurm_protocols.py FOLDER      (called by slurm.sh, which has set the variables of Scipion)

The host is the example of ``docs/cluster.md``, so that what is documented is what is proven.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

from common import ROOT, circumstances

DOCUMENT = ROOT / "docs" / "cluster.md"
PATIENCE_S = 120
# The devices of the two jobs shall differ because both run, not because of who came first.
TOGETHER = {"DUAL_TEST_TOGETHER": "2"}


def main(folder: Path) -> None:
    """Run everything, in a folder of its own."""
    from dual_scipion.constants import DUAL_ENV_ACTIVATION
    from dual_scipion.tests.queue_support import StandIn

    (host,) = re.findall(r"^```ini\n(.*?)^```", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE)
    Path(os.environ["SCIPION_HOSTS"]).write_text(host)
    stand_in = StandIn(folder / "environment")
    os.environ[DUAL_ENV_ACTIVATION] = stand_in.activation
    runs = Runs(folder, stand_in)
    print("\n| what | job | CUDA_VISIBLE_DEVICES | --device | CPUs | threads |")
    print("|---" * 6 + "|")
    runs.two_protocols()
    runs.one_protocol_with_two_gpus()
    runs.steps_as_jobs()
    runs.on_the_cpu()
    print()
    runs.failing_job()
    runs.stopped_protocols()
    version = subprocess.run(["sbatch", "--version"], stdout=subprocess.PIPE, text=True, check=True)
    print(f"\n{version.stdout.strip()}; {circumstances(threads=1)}")


def demand(condition: bool, what: str) -> None:
    """Stop with what was to be shown if it was not so."""
    if not condition:
        raise SystemExit(f"NOT SHOWN: {what}")


class Runs:
    """A Scipion project and what is run in it.

    Parameters
    ----------
    folder : for the tomograms.
    stand_in : the engine's environment.
    """

    def __init__(self, folder: Path, stand_in: Any) -> None:
        from pyworkflow.project import Manager

        from dual_scipion.tests import queue_support, support

        self.finish, self.support = queue_support.finish, support
        self.folder, self.stand_in = folder, stand_in
        self.project = Manager().createProject("slurm")
        os.chdir(self.project.path)  # Scipion's paths are relative to it
        self.inputs = support.Inputs(self.project)
        self.model = self.inputs.model(support.tiny_model())

    def protocol(self, names: Sequence[str], steps: bool = False, **values: Any) -> Any:
        """A protocol that denoises new tomograms, in the queue."""
        from dual_scipion.protocols import ProtDualDenoise

        items = []
        for name in names:
            path = self.support.write_tomogram(self.folder / f"{name}.mrc")
            items.append(self.support.tomogram(path, f"TS_{name}"))
        given = {"useGpu": True, "gpuList": "0", "numberOfThreads": 2, "binThreads": 1}
        given.update({"tile": 32, "halo": 4, **values})
        protocol = self.project.newProtocol(ProtDualDenoise, **given)
        protocol.inputTomograms.set(self.inputs.tomograms(items))
        protocol.inputTomograms.setExtended("Tomograms")
        protocol.inputModel.set(self.model)
        protocol.inputModel.setExtended("Model")
        protocol._useQueue.set(True)
        protocol.setQueueParams(("gpu", {"QUEUE_FOR_JOBS": "Y" if steps else "N"}))
        return protocol

    def launch(self, what: str, protocols: Sequence[Any], **variables: str) -> List[Dict[str, Any]]:
        """Launch protocols at once, wait, print a line for each run of the engine."""
        os.environ.update(variables)
        for protocol in protocols:
            self.project.launchProtocol(protocol, wait=False)
        for protocol in protocols:
            self.finish(self.project, protocol)
        for name in variables:
            del os.environ[name]
        notes: List[Dict[str, Any]] = self.stand_in.notes()
        names = ("SLURM_JOB_ID", "CUDA_VISIBLE_DEVICES", "device")
        names += ("SLURM_CPUS_ON_NODE", "OMP_NUM_THREADS")
        for note in notes:
            print("| " + " | ".join([what, *(str(note[name]) for name in names)]) + " |")
        sys.stdout.flush()
        return notes

    def check_outputs(self, protocol: Any, count: int) -> None:
        demand(protocol.isFinished(), f"the protocol finishes ({protocol.getErrorMessage()})")
        demand(protocol.Tomograms.getSize() == count, f"{count} tomograms are registered")

    def two_protocols(self) -> None:
        protocols = [self.protocol(["a"]), self.protocol(["b"])]
        notes = self.launch("two protocols, a job each", protocols, **TOGETHER)
        self.check_devices(notes)
        for protocol in protocols:
            self.check_outputs(protocol, 1)

    def one_protocol_with_two_gpus(self) -> None:
        protocol = self.protocol(["c", "d"], gpuList="0,1", numberOfThreads=3, binThreads=2)
        notes = self.launch("one protocol, two GPUs", [protocol], **TOGETHER)
        self.check_outputs(protocol, 2)
        given = sorted((note["CUDA_VISIBLE_DEVICES"], note["device"]) for note in notes)
        demand(given == [("0,1", "cuda"), ("0,1", "cuda:1")], "each worker takes another GPU")

    def steps_as_jobs(self) -> None:
        protocol = self.protocol(["e", "f"], steps=True, gpuList="0,1", numberOfThreads=3)
        notes = self.launch("steps as jobs", [protocol], **TOGETHER)
        self.check_outputs(protocol, 2)
        self.check_devices(notes)

    def on_the_cpu(self) -> None:
        protocol = self.protocol(["g"], steps=True, useGpu=False, binThreads=2)
        (note,) = self.launch("a step as a job, GPU off", [protocol])
        self.check_outputs(protocol, 1)
        demand(note["CUDA_VISIBLE_DEVICES"] is None, "a job on the CPU takes no GPU")

    def check_devices(self, notes: List[Dict[str, Any]]) -> None:
        demand(len({note["SLURM_JOB_ID"] for note in notes}) == 2, "there are two jobs")
        devices = sorted(str(note["CUDA_VISIBLE_DEVICES"]) for note in notes)
        demand(devices == ["0", "1"], f"two jobs have two devices ({devices})")
        demand({note["device"] for note in notes} == {"cuda"}, "each takes the one it sees")

    def failing_job(self) -> None:
        protocol = self.protocol(["h"], steps=True)
        self.project.launchProtocol(protocol, wait=False)
        (job,) = self.jobs(1)
        # As at the end of its time: Slurm kills it and writes so into its log.
        until = time.monotonic() + PATIENCE_S
        while not list(self.stand_in.records.glob("*.json")) and time.monotonic() < until:
            time.sleep(0.2)
        subprocess.run(["scancel", job], check=True)
        self.finish(self.project, protocol)
        self.stand_in.notes()
        demand(protocol.isFailed(), "a protocol fails whose only job is killed")
        said = re.sub(r"\x1b\[\d*m", "", protocol.getErrorMessage())
        print(f"A job was killed; the protocol says:\n  {said}")

    def stopped_protocols(self) -> None:
        os.environ["DUAL_TEST_TOGETHER"] = "9"  # so they wait for others, and can be stopped
        for steps in (False, True):
            protocol = self.protocol(["i"], steps=steps)
            self.project.launchProtocol(protocol, wait=False)
            self.jobs(1)
            time.sleep(5)
            self.project.stopProtocol(protocol)
            self.jobs(0)
            self.stand_in.notes()
        print("Both kinds of protocols were stopped from Scipion: no job is left.")

    def jobs(self, count: int) -> Tuple[str, ...]:
        """The jobs in the queue, as soon as there are so many."""
        until = time.monotonic() + PATIENCE_S
        while True:
            command = ["squeue", "-h", "-o", "%i"]
            found = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            jobs = tuple(found.stdout.split())
            if len(jobs) == count:
                return jobs
            demand(time.monotonic() < until, f"{count} jobs in the queue (there are {jobs})")
            time.sleep(0.5)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
