"""Base of the protocols that treat every tomogram of a set alike."""

from __future__ import annotations

import logging
import math
import time
from datetime import datetime
from typing import Any, Callable, Dict, Iterator, List, Optional
from typing import Set as SetOf

from pyworkflow.object import Set
from pyworkflow.protocol import ProtStreamingBase
from pyworkflow.utils import cyanStr
from pyworkflow.utils.retry_streaming import retry_on_sqlite_lock
from tomo.objects import SetOfTomograms

from dual_core.errors import DualError
from dual_scipion import convert
from dual_scipion.constants import FAILED_TOMOGRAMS
from dual_scipion.protocols.parts.input_warnings import geometry_warnings
from dual_scipion.protocols.parts.protocol_base import ProtDualBase
from dual_scipion.protocols.parts.tomogram_runs import TomogramRuns

logger = logging.getLogger(__name__)

STREAMING_THREADS = 3  # one for the protocol, one follows the input, one or more do the work
MINIMAL_SLEEP_S = 1  # between two looks at an open set, whatever the form says


class ProtDualTomograms(TomogramRuns, ProtDualBase, ProtStreamingBase):
    """Some tomograms a step: run the engine on them, register each; if one fails the others go on.

    A protocol has, in its own file and in this order, `_defineParams`, `_insertAllSteps`, which
    names its step and the last one, the step itself, which calls `runTomograms`, the engine's
    options for a tomogram, and `engineFiles`: what the engine writes and where it is kept.
    `ProtDualDenoise` is the example. `registerTomogram` makes a ``SetOfTomograms``; protocols with
    other outputs bring their own. It is called with the lock held, tried again when sqlite is busy,
    and never twice for a tomogram that is in the output already.

    What the base sees to:

    * A failure is logged; the tomogram goes into the output ``FailedTomograms``. If all fail, so
      does the protocol, with the first message.
    * Continue does what is not done: tomograms whose files are there are only registered, and
      those that are registered are left alone. Failed ones are tried again.
    * An open input set is followed until it closes (at least three Scipion threads).
    """

    _label: Optional[str] = None

    EMPTY = "the input set is empty"  # why nothing may come out although nothing failed

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._tomograms: Dict[str, Any] = {}
        self._insertedTsIds: SetOf[str] = set()
        self._registered: SetOf[str] = set()  # what is in the output, as far as this run knows
        self._tried: SetOf[str] = set()
        self._stepOfTomograms: Callable[[List[str], str], None]
        self._lastStep: Callable[[str], None]
        self._firstStep: Optional[Callable[[str], None]] = None
        self._firstSteps: List[int] = []  # its number, once it is inserted
        self.failedItems: Dict[str, str] = {}  # tsId to message

    # --------------------------- steps ---------------------------
    def insertTomogramSteps(
        self,
        step: Callable[[List[str], str], None],
        last: Callable[[str], None],
        first: Optional[Callable[[str], None]] = None,
    ) -> None:
        """Insert a step for every few tomograms, also for those still to come, and the last step.

        Parameters
        ----------
        step : takes tsIds and a time. The time only makes it another step on Continue, for Scipion
            leaves out a step that has finished with the same arguments at the same place.
        last : takes a time; waits for all others.
        first : takes a time; all others wait for it. Left out if there is nothing to do.
        """
        self._stepOfTomograms, self._lastStep, self._firstStep = step, last, first
        is_open = self._readInput()
        self._registered = self.registeredTsIds()
        self.takeLeftovers(
            [one for ts_id, one in self._tomograms.items() if ts_id not in self._registered]
        )
        if is_open:
            ProtStreamingBase._insertAllSteps(self)  # a step that follows the open set
        else:
            steps = self._insertNewTomograms()
            self._insertLastStep(steps)

    def stepsGeneratorStep(self) -> None:
        """Insert the steps of new tomograms until the input set closes."""
        steps: List[int] = []
        while True:
            is_open = self._readInput()
            with self._lock:
                steps += self._insertNewTomograms()
            if self.isFailed():  # a step that the others wait for
                return
            if not is_open:
                break
            time.sleep(max(MINIMAL_SLEEP_S, self._getStreamingSleepOnWait()))
        with self._lock:
            self._insertLastStep(steps)

    def _insertLastStep(self, steps: List[int]) -> None:
        now = str(datetime.now())
        self._insertFunctionStep(self._lastStep, now, prerequisites=steps, needsGPU=False)

    def _readInput(self) -> bool:
        """Learn of all tomograms that there are by now; return whether more will come.

        The state is read before the items, so that none is missed; the set is closed afterwards,
        since an open reader blocks its writer.
        """
        with self._lock:
            tomograms = self.inputTomograms.get()
            tomograms.close()
            tomograms.loadAllProperties()
            is_open = bool(tomograms.isStreamOpen())
            for item in tomograms.iterItems():
                name = convert.ts_id(item)
                if name not in self._tomograms:
                    self._tomograms[name] = item.clone()
            tomograms.close()
        return is_open

    def _insertNewTomograms(self) -> List[int]:
        """Steps for the tomograms that have none yet and are not in the output."""
        new = [ts_id for ts_id in self._tomograms if ts_id not in self._insertedTsIds]
        self._insertedTsIds.update(new)
        waiting = [ts_id for ts_id in new if ts_id not in self._registered]
        if len(waiting) < len(new):
            logger.info(cyanStr(f"{len(new) - len(waiting)} tomograms were done before"))
        gpu = self.usesGpu()
        if waiting and self._firstStep is not None and not self._firstSteps:
            now = str(datetime.now())
            self._firstSteps.append(
                self._insertFunctionStep(self._firstStep, now, prerequisites=[], needsGPU=gpu)
            )
        size = self.batchSize(len(waiting))
        return [
            self._insertFunctionStep(
                self._stepOfTomograms,
                waiting[first : first + size],
                str(datetime.now()),
                prerequisites=list(self._firstSteps),
                needsGPU=gpu,
            )
            for first in range(0, len(waiting), size)
        ]

    def batchSize(self, count: int) -> int:
        """How many of so many tomograms one run of the engine takes: all workers have some."""
        return max(1, min(self.engineBatch.get(), math.ceil(count / self.numberOfWorkers())))

    def closeOutputsStep(self, begun: str) -> None:
        """Register what failed and close the outputs; with nothing made the protocol fails."""
        self._registerFailed()
        self._closeOutputSet()
        output = getattr(self, self._outputName(), None)
        if output is None or output.getSize() == 0:
            if not self.failedItems:
                raise DualError(f"There is no result: {self.EMPTY}.")
            first = next(iter(self.failedItems.values()))
            raise DualError(f"No tomogram could be processed. The first error: {first}")

    # --------------------------- outputs ---------------------------
    def registerTomogram(self, tomogram: Any) -> None:
        """Append the result of one tomogram to the output set."""
        name = self._outputName()
        output = self.getOutputSet(name, SetOfTomograms, [self.inputTomograms], self.copyInputInfo)
        path = self.resultFiles(tomogram)[0]
        item = convert.derived_tomogram(tomogram, path, self.resultHalves(tomogram))
        self.appendItem(name, output, item)

    def resultHalves(self, tomogram: Any) -> List[str]:
        """The files that are the half maps of a result, two or none."""
        return []

    def copyInputInfo(self, output: Any) -> None:
        """Give a new output set the properties of the input set."""
        output.copyInfo(self.inputTomograms.get())

    @retry_on_sqlite_lock(log=logger)
    def _register(self, tomogram: Any) -> None:
        with self._lock:
            name = convert.ts_id(tomogram)
            if name in self._tried:  # it may have come half way: ask the output, which takes longer
                self._registered |= self.registeredTsIds()
            self._tried.add(name)
            if name not in self._registered:
                self.registerTomogram(tomogram)
                self._registered.add(name)

    @retry_on_sqlite_lock(log=logger)
    def _registerFailed(self) -> None:
        with self._lock:
            previous = getattr(self, FAILED_TOMOGRAMS, None)
            if previous is not None:
                previous.close()  # and written anew, if need be empty: Scipion forgets no output
            elif not self.failedItems:
                return
            failed = SetOfTomograms.create(self._getPath(), prefix=FAILED_TOMOGRAMS)
            failed.copyInfo(self.inputTomograms.get())
            for ts_id in self.failedItems:
                source = self._tomograms[ts_id]
                item = convert.derived_tomogram(
                    source, source.getFileName(), convert.half_paths(source)
                )
                Set.append(failed, item)  # that of tomograms reads the file, which may be broken
            failed.write()
            self._defineOutputs(**{FAILED_TOMOGRAMS: failed})
            if previous is None:
                self._defineSourceRelation(self.inputTomograms, failed)
            failed.close()

    # --------------------------- information ---------------------------
    def iterInput(self) -> Iterator[Any]:
        """The input tomograms, for checks; the set is closed afterwards."""
        tomograms = self.inputTomograms.get()
        if tomograms is None:
            return
        items = [item.clone() for item in tomograms.iterItems()]
        tomograms.close()
        yield from items

    def _validate(self) -> List[str]:
        errors = super()._validate()
        tomograms = self.inputTomograms.get()
        if tomograms is None:
            return errors
        if tomograms.isStreamOpen() and self.numberOfThreads.get() < STREAMING_THREADS:
            errors.append(
                f"The input set is still open: set Scipion threads to {STREAMING_THREADS} or more."
            )
        names = [convert.ts_id(item) for item in self.iterInput()]
        if len(set(names)) < len(names):
            errors.append("Some tomograms have the same tsId; import them under different names.")
        return errors

    def _warnings(self) -> List[str]:
        warnings = super()._warnings() + geometry_warnings(self.inputTomograms.get())
        gpus = self.gpuCount()
        if gpus > self.numberOfWorkers():
            warnings.append(
                f"{gpus} GPUs are given, but a tomogram uses one and only "
                f"{self.numberOfWorkers()} is done at a time. Set Scipion threads to {gpus + 1} "
                "to use them all."
            )
        return warnings

    def _summary(self) -> List[str]:
        tomograms = self.inputTomograms.get()
        total = tomograms.getSize() if tomograms is not None else 0
        summary = [f"{self.doneCount()} of {total} tomograms done."]
        failed = self.doneCount(FAILED_TOMOGRAMS)
        if failed:
            summary.append(f"*{failed} failed*; the log says why.")
        return summary
