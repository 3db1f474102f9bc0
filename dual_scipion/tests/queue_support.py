"""A cluster without a cluster: a host with a queue, and an engine that runs without its GPU.

Used by the tests of the queue and by ``benchmarks/slurm.sh``.
"""

from __future__ import annotations

import json
import shlex
import sys
import time
from pathlib import Path
from typing import Any, Dict, List

from pyworkflow.protocol.constants import ACTIVE_STATUS

PATIENCE_S = 300.0

# What the job itself finds is printed, so that its log tells whether it was asked for.
SUBMIT_TEMPLATE = """#!/bin/bash
echo GPUs %_(GPU_COUNT)s, threads %_(JOB_THREADS)s
%_(JOB_COMMAND)s"""

# A queue that starts everything at once. Its "scheduler" gives each job the GPUs 7 and 9. The
# state is read from /proc: "ps" is not everywhere, and a dead process may wait for its parent.
NO_SCHEDULER = {
    "NAME": "none",
    "SUBMIT_COMMAND": "CUDA_VISIBLE_DEVICES=7,9 setsid bash %_(JOB_SCRIPT)s "
    "> %_(JOB_LOGS)s.out 2> %_(JOB_LOGS)s.err & echo job $!",
    "CHECK_COMMAND": "grep -s '^State:[[:space:]]*[^XZ]' /proc/%_(JOB_ID)s/status || true",
    "CANCEL_COMMAND": "kill -- -%_(JOB_ID)s",
    "SUBMIT_TEMPLATE": SUBMIT_TEMPLATE,
    "QUEUES": '{"default": {}}',
}

# The stand-in notes what it was given, waits until as many others run as DUAL_TEST_TOGETHER says
# (or a minute), and becomes the engine, on the CPU. DUAL_TEST_LAST_WORDS makes it fail instead.
STAND_IN = """
import json, os, sys, time
records, arguments = sys.argv[1], sys.argv[2:]
if "--device" in arguments:
    place = arguments.index("--device") + 1
    names = ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "SLURM_JOB_ID", "SLURM_CPUS_ON_NODE")
    note = {name: os.environ.get(name) for name in names}
    note.update(device=arguments[place], start=time.time())
    temporary = os.path.join(records, "." + str(os.getpid()))
    with open(temporary, "w") as stream:
        json.dump(note, stream)
    os.replace(temporary, os.path.join(records, str(os.getpid()) + ".json"))
    together, until = int(os.environ.get("DUAL_TEST_TOGETHER", "1")), time.time() + 60
    while len(os.listdir(records)) < together and time.time() < until:
        time.sleep(0.1)
    if "DUAL_TEST_LAST_WORDS" in os.environ:
        sys.exit(os.environ["DUAL_TEST_LAST_WORDS"])
    arguments[place] = "cpu"
os.execv(sys.executable, [sys.executable, *arguments])
"""


def write_hosts(path: Path, host: Dict[str, str]) -> None:
    """Write a hosts.conf with one host."""
    lines = ["[localhost]", "PARALLEL_COMMAND = mpirun -np %_(JOB_NODES)d %_(COMMAND)s"]
    for name, value in host.items():
        lines.append(f"{name} = " + value.replace("\n", "\n    "))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


class StandIn:
    """An environment whose ``python`` is `STAND_IN`; for ``DUAL_ENV_ACTIVATION``.

    Parameters
    ----------
    folder : new folder for it.
    """

    def __init__(self, folder: Path) -> None:
        self.records = folder / "records"
        for path in (self.records, folder / "bin"):
            path.mkdir(parents=True)
        (folder / "stand_in.py").write_text(STAND_IN, encoding="utf-8")
        python = folder / "bin" / "python"
        words = (sys.executable, str(folder / "stand_in.py"), str(self.records))
        python.write_text('#!/bin/sh\nexec {} {} {} "$@"\n'.format(*map(shlex.quote, words)))
        python.chmod(0o755)
        (folder / "activate").write_text(f'PATH={shlex.quote(str(folder / "bin"))}:"$PATH"\n')
        self.activation = f". {shlex.quote(str(folder / 'activate'))}"

    def notes(self) -> List[Dict[str, Any]]:
        """What was noted since the last call, in the order of the starts."""
        found = []
        for path in self.records.glob("*.json"):
            found.append(json.loads(path.read_text(encoding="utf-8")))
            path.unlink()
        return sorted(found, key=lambda note: note["start"])


def finish(project: Any, protocol: Any) -> None:
    """Wait until a protocol is neither waiting nor running.

    A job that ends while Scipion looks at it seems dead at first; the next look is right.

    Raises
    ------
    TimeoutError
        After five minutes.
    """
    until = time.monotonic() + PATIENCE_S
    over = 0
    while over < 2:
        if time.monotonic() > until:
            raise TimeoutError(f"{protocol.getRunName()} is still {protocol.getStatus()}")
        time.sleep(0.5)
        project._updateProtocol(protocol)
        over = 0 if protocol.getStatus() in ACTIVE_STATUS else over + 1
