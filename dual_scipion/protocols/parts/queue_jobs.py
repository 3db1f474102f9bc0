"""What a protocol tells the scheduler of a cluster, and what became of its jobs."""

from __future__ import annotations

import math
import os
import threading
from pathlib import Path
from typing import Any, Dict, Mapping, Sequence

from pyworkflow.constants import QUEUE_FOR_JOBS

from dual_core.errors import DualError
from dual_scipion import engine


class QueueJobs:
    """Mixin of `ProtDualBase`."""

    def getSubmitDict(self) -> Dict[str, Any]:
        """The variables of hosts.conf; GPUs and CPU threads are those that the engine will use.

        Scipion by itself counts the GPUs of the form even if they are switched off, asks for all
        of them for every step, and as threads counts its own. What is entered in the dialog of
        the queue goes before all that.
        """
        protocol: Any = self
        submit = dict(super().getSubmitDict())  # type: ignore[misc]
        gpus, workers = protocol.gpuCount(), protocol.numberOfWorkers()
        if gpus:  # a step waits until a GPU is free
            workers = min(workers, gpus)
        threads = max(1, protocol.getBinThreads() or 1)
        if submit[QUEUE_FOR_JOBS] == "Y":
            gpus = math.ceil(gpus / workers)
        else:
            threads *= workers
        counted = {"GPU_COUNT": gpus, "JOB_THREADS": threads, "JOB_CORES": threads}
        entered = protocol.getQueueParams()[1]
        submit.update({name: n for name, n in counted.items() if name not in entered})
        return submit

    def jobLogs(self) -> Dict[str, int]:
        """The logs of this step's jobs and when they were written; empty where steps are no jobs.

        They are where ``%_(JOB_LOGS)s`` of hosts.conf puts them, ``.err`` first.
        """
        protocol: Any = self
        step = getattr(threading.current_thread(), "thId", None)
        if step is None or not protocol.useQueueForSteps():
            return {}
        folder, name = protocol._getLogsPath(), f"{self.getSubmitDict()['JOB_NAME']}-{step}-"
        found = [file for file in os.listdir(folder) if file.startswith(name)]
        found.sort(key=lambda file: (not file.endswith(".err"), file))
        paths = [os.path.join(folder, file) for file in found if not file.endswith(".job")]
        return {path: os.stat(path).st_mtime_ns for path in paths}

    def checkJob(self, mark: str, before: Mapping[str, int]) -> None:
        """See that the job of this step ended well, which Scipion does not.

        The outputs do not tell: a training that fails when continued has a model already.

        Parameters
        ----------
        mark : file that the job makes at its end. Each job has a new name for it: on a network
            disk a file that was missed before may be seen only after a while.
        before : what `jobLogs` found before the job.

        Raises
        ------
        DualError
            With the reason, if a log of the job tells one.
        """
        try:
            os.remove(mark)
        except FileNotFoundError:
            logs = [path for path, time in self.jobLogs().items() if before.get(path) != time]
            said = last_words(logs) or "its log tells nothing; ask the queue why"
            raise DualError(f"the job of this step failed: {said}") from None


def last_words(logs: Sequence[str]) -> str:
    """What the logs of a job tell of its end: the engine's error, else their last line.

    The last line is often the scheduler's own, for example that the memory did not suffice.
    """
    for log in logs:
        said = engine.last_error(log)
        if said:
            return said
    for log in logs:
        try:
            text = Path(log).read_text(encoding="utf-8", errors="replace").rstrip()
        except OSError:
            continue
        if text:
            return f"the log of the job ends with: {text.splitlines()[-1].strip()}"
    return ""
