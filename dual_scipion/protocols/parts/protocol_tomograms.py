"""Base of the protocols that treat every tomogram of a set alike, one by one."""

from __future__ import annotations

import logging
import os
import time
import traceback
from datetime import datetime
from typing import Any, Dict, Iterator, List, Optional
from typing import Set as SetOf

from pyworkflow.object import Set
from pyworkflow.protocol import ProtStreamingBase
from pyworkflow.utils import createAbsLink, cyanStr, redStr
from pyworkflow.utils.retry_streaming import retry_on_sqlite_lock
from tomo.objects import SetOfTomograms

from dual_core.errors import DualError
from dual_scipion import convert
from dual_scipion.constants import FAILED_TOMOGRAMS
from dual_scipion.protocols.parts.protocol_base import ProtDualBase

logger = logging.getLogger(__name__)

STREAMING_THREADS = 3  # one for the protocol, one follows the input, one or more do the work
MINIMAL_SLEEP_S = 1  # between two looks at an open set, whatever the form says


class ProtDualTomograms(ProtDualBase, ProtStreamingBase):
    """One step a tomogram: run the engine, register the result; the others go on if one fails.

    For a protocol from tomograms to tomograms it is enough to define ``_label``,
    ``_possibleOutputs`` (with a ``SetOfTomograms`` first), ``COMMAND``, ``SUFFIX``, the form
    (with `_addInputTomograms`) and `engineOptions`. `ProtDualDenoise` is the example.

    For other outputs (coordinates, masks) override

    * `registerTomogram`: appends to the output sets (`getOutputSet`); called with the lock held,
      tried again when sqlite is busy, never twice for a tomogram that is in the output already.
      With tables instead of volumes also set ``EXTENSION = ".csv"``: ``extra/<tsId>.csv`` is then
      what `resultFiles` names;
    * if that is not enough, `resultFiles` (the files that are there when a tomogram is done) and
      `processTomogram` (makes them; by default it runs the engine on the tomogram).

    What the base sees to:

    * An exception in a step is logged with its traceback; the tomogram goes into the output
      ``FailedTomograms``. If all fail, so does the protocol, with the first message.
    * Continue does what is not done: tomograms whose files are there are only registered, and
      those that are registered are left alone. Failed ones are tried again.
    * An open input set is followed until it closes (at least three Scipion threads).
    """

    _label: Optional[str] = None

    COMMAND = ""  # of the engine
    SUFFIX = ""  # what the engine appends to the names of its outputs
    EXTENSION = ".mrc"  # of its outputs
    EMPTY = "the input set is empty"  # why nothing may come out although nothing failed
    INPUT_NAME = "tomograms"  # the command's positional argument

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._tomograms: Dict[str, Any] = {}
        self._insertedTsIds: SetOf[str] = set()
        self.failedItems: Dict[str, str] = {}  # tsId to message

    # --------------------------- what subclasses define ---------------------------
    def engineOptions(self, tomogram: Any) -> Dict[str, Any]:
        """The engine's options for one tomogram, without input and output."""
        raise NotImplementedError

    def halfMaps(self, tomogram: Any) -> List[str]:
        """Half maps that are to be treated too, two files or none."""
        return []

    def resultFiles(self, tomogram: Any) -> List[str]:
        """The files that are there when a tomogram is done, the main one first."""
        names = self._inputsOf(tomogram)
        return [self._getExtraPath(f"{name}{self.EXTENSION}") for name in names]

    def processTomogram(self, tomogram: Any) -> None:
        """Make the `resultFiles` of one tomogram."""
        inputs = self._inputsOf(tomogram)
        name = next(iter(inputs))
        folder = self.workFolder(name)
        links = [os.path.join(folder, "in", f"{stem}.mrc") for stem in inputs]
        os.makedirs(os.path.join(folder, "in"))
        for link, path in zip(links, inputs.values()):
            createAbsLink(os.path.abspath(path), link)
        output = os.path.join(folder, "out")
        made = [os.path.join(output, f"{stem}{self.SUFFIX}{self.EXTENSION}") for stem in inputs]
        options = dict(self.engineOptions(tomogram))
        options.update({self.INPUT_NAME: links, "output": output})
        try:
            self.runEngine(self.COMMAND, options, made, name)
        except DualError as error:
            message = str(error)
            for link, path in zip(links, inputs.values()):
                message = message.replace(link, path)
            raise DualError(message) from error
        self.keepResults(tomogram, output)
        # The main file last: it is the sign that all is there.
        for path, result in reversed(list(zip(made, self.resultFiles(tomogram)))):
            if self.EXTENSION == ".mrc":
                convert.set_header_voxel_size(path, tomogram.getSamplingRate())
            os.replace(path, result)
        self.cleanFolder(folder)

    def keepResults(self, tomogram: Any, folder: str) -> None:
        """Take what else is wanted out of the engine's output folder before it is removed."""

    def registerTomogram(self, tomogram: Any) -> None:
        """Append the result of one tomogram to the output sets."""
        name = self._outputName()
        output = self.getOutputSet(name, SetOfTomograms, [self.inputTomograms], self.copyInputInfo)
        path, *halves = self.resultFiles(tomogram)
        self.appendItem(name, output, convert.derived_tomogram(tomogram, path, halves))

    def _addStreaming(self, form: Any) -> None:
        """Section with what concerns open input sets."""
        # Of pyworkflow: that of pwem, which comes first, has a size of batches that is not used.
        ProtStreamingBase._defineStreamingParams(self, form)

    def copyInputInfo(self, output: Any) -> None:
        """Give a new output set the properties of the input set."""
        output.copyInfo(self.inputTomograms.get())

    # --------------------------- steps ---------------------------
    def _insertAllSteps(self) -> None:
        if self._readInput():
            super()._insertAllSteps()  # a step that follows the open set
        else:
            self._insertFunctionStep(
                self.closeOutputsStep, prerequisites=self._insertTomogramSteps(), needsGPU=False
            )

    def stepsGeneratorStep(self) -> None:
        """Insert the steps of new tomograms until the input set closes."""
        steps: List[int] = []
        while True:
            is_open = self._readInput()
            with self._lock:
                steps += self._insertTomogramSteps()
            if not is_open:
                break
            time.sleep(max(MINIMAL_SLEEP_S, self._getStreamingSleepOnWait()))
        with self._lock:
            self._insertFunctionStep(self.closeOutputsStep, prerequisites=steps, needsGPU=False)

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
                self._tomograms.setdefault(convert.ts_id(item), item.clone())
            tomograms.close()
        return is_open

    def _insertTomogramSteps(self) -> List[int]:
        """Steps for the tomograms that have none yet and are not in the output."""
        done = self.registeredTsIds()
        steps = []
        # With the time the step is a new one on Continue, and so a failed one is tried again.
        now = str(datetime.now())
        for ts_id in self._tomograms:
            if ts_id in self._insertedTsIds:
                continue
            self._insertedTsIds.add(ts_id)
            if ts_id in done:
                logger.info(cyanStr(f"{ts_id}: done before"))
                continue
            steps.append(
                self._insertFunctionStep(
                    self.tomogramStep, ts_id, now, prerequisites=[], needsGPU=self.usesGpu()
                )
            )
        return steps

    def tomogramStep(self, ts_id: str, now: str) -> None:
        """Process and register one tomogram; a failure is noted and does not stop the others."""
        tomogram = self._tomograms[ts_id]
        try:
            convert.volume_path(tomogram)
            if all(os.path.exists(path) for path in self.resultFiles(tomogram)):
                logger.info(cyanStr(f"{ts_id}: the result is there, it is only registered"))
            else:
                self.processTomogram(tomogram)
            self._register(tomogram)
        except Exception as error:  # whatever it is, the others still have their chance
            self.failedItems[ts_id] = str(error) or type(error).__name__
            logger.error(redStr(f"{ts_id}: {error}"))
            logger.error(traceback.format_exc())

    @retry_on_sqlite_lock(log=logger)
    def _register(self, tomogram: Any) -> None:
        with self._lock:
            if convert.ts_id(tomogram) not in self.registeredTsIds():
                self.registerTomogram(tomogram)

    def closeOutputsStep(self) -> None:
        """Register what failed and close the outputs; with nothing made the protocol fails."""
        self._registerFailed()
        self._closeOutputSet()
        output = getattr(self, self._outputName(), None)
        if output is None or output.getSize() == 0:
            if not self.failedItems:
                raise DualError(f"There is no result: {self.EMPTY}.")
            first = next(iter(self.failedItems.values()))
            raise DualError(f"No tomogram could be processed. The first error: {first}")

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
    def _inputsOf(self, tomogram: Any) -> Dict[str, str]:
        """Name of the result to file that it is made from: the tomogram, then its halves."""
        name = convert.safe_name(convert.ts_id(tomogram))
        inputs = {name: convert.volume_path(tomogram, must_exist=False)}
        for number, path in enumerate(self.halfMaps(tomogram), start=1):
            inputs[f"{name}_half{number}"] = path
        return inputs

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
        warnings = super()._warnings()
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
