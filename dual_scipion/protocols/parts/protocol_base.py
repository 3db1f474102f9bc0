"""What all protocols of the plugin share: starting the engine, checks, citations."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import uuid
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

from pwem.protocols import EMProtocol
from pyworkflow.mapper.sqlite_db import SqliteDb
from pyworkflow.utils import Environ

from dual_core.errors import DualError
from dual_core.networks.card import OTHER_TILT_DEG
from dual_scipion import engine
from dual_scipion.constants import REFERENCE
from dual_scipion.protocols.forms.parts import FormParts
from dual_scipion.protocols.parts.input_warnings import (
    card_of,
    tilt_warnings,
    voxel_size_warnings,
)
from dual_scipion.protocols.parts.output_sets import OutputSets
from dual_scipion.protocols.parts.queue_jobs import QueueJobs

logger = logging.getLogger(__name__)


class ProtDualBase(FormParts, OutputSets, QueueJobs, EMProtocol):
    """Base of every protocol that runs the engine.

    A subclass defines ``_label``, ``_possibleOutputs`` (an Enum, name to class) and its form, of
    which `FormParts` has the common parts, calls `runEngine` in its steps, and fills sets with
    the help of `OutputSets` and the functions of `dual_scipion.convert`. For protocols that treat
    each tomogram of a set alike see `ProtDualTomograms`, which has steps, streaming, failed
    tomograms and registration.

    Rules that the base cannot enforce:

    * ``_insertFunctionStep(step, ..., needsGPU=self.usesGpu())`` where the step calls
      `runEngine`, ``needsGPU=False`` elsewhere: otherwise steps wait for a GPU, or get none.
    * ``_validate`` begins with ``errors = super()._validate()``; so do ``_warnings``.
    """

    _label: Optional[str] = None

    # --------------------------- values of forms ---------------------------
    def machineOptions(self) -> Dict[str, Any]:
        """The engine's options of `_addMachine`."""
        return {
            "tile": self.tile.get() or None,
            "halo": self.halo.get() or None,
            "precision": self.getEnumText("precision"),
        }

    def tiltAxisOfTomograms(self) -> str:
        """The tilt axis by the form, or else by the model; ``y`` where neither tells."""
        chosen = self.getEnumText("tiltAxis") if hasattr(self, "tiltAxis") else ""
        if chosen in ("y", "x"):
            return str(chosen)
        try:
            return str(self.inputModel.get().getCard().tilt_axis)
        except (AttributeError, DualError):  # no model, or its file is gone
            return "y"

    def numberOfWorkers(self) -> int:
        """How many steps run at a time; one of Scipion's threads is for the protocol itself."""
        return max(1, self.numberOfThreads.get() - 1) if self.modeParallel() else 1

    def gpuCount(self) -> int:
        """How many GPUs the form names; 0 on the CPU and for a list that cannot be read."""
        return len(self.getGpuList()) if self.usesGpu() and not self._validateGpus() else 0

    # --------------------------- running the engine ---------------------------
    def runEngine(
        self,
        command: str,
        options: Mapping[str, Any],
        outputs: Sequence[str],
        name: Optional[str] = None,
    ) -> None:
        """Run ``dual COMMAND`` with these options and see that it wrote what it should.

        Parameters
        ----------
        command : such as ``denoise``.
        options : of the command, by their long names with ``_`` (positional ones too, such as
            ``tomograms``); ``None`` leaves the choice to the engine. Device and GPUs are added.
        outputs : files that must be there afterwards.
        name : of the file of parameters, ``extra/parameters/<name>.json``; for steps that run at
            the same time it must differ.

        Raises
        ------
        DualError
            With the engine's own message where there is one.
        """
        config = self._parametersPath(name or command)
        engine.write_options(config, options)
        mark = f"{config}.{uuid.uuid4().hex}" if self.useQueueForSteps() else None
        program, arguments = engine.command_line(command, config, self._placement(), mark=mark)
        log = self.getStderrLog()
        sys.stderr.flush()
        start = os.path.getsize(log) if os.path.exists(log) else 0
        before = self.jobLogs()
        try:
            self.runJob(program, arguments, env=self._engineEnviron())
        except subprocess.CalledProcessError as error:
            said = engine.last_error(log, start)
            raise DualError(
                said or f"the engine ended with status {error.returncode}; see the log"
            ) from error
        if mark:
            self.checkJob(mark, before)
        missing = [path for path in outputs if not os.path.exists(path)]
        if missing:
            said = engine.last_error(log, start) or "see the log"
            raise DualError(f"the engine did not write {', '.join(missing)}: {said}")

    def _parametersPath(self, name: str) -> str:
        return str(self._getExtraPath("parameters", f"{name}.json"))

    def _placement(self) -> engine.Placement:
        if not self.usesGpu():
            return engine.Placement(use_gpu=False)
        queue = engine.NO_QUEUE
        if self.useQueueForSteps():
            queue = engine.QUEUED_STEPS
        elif self.useQueue():
            queue = engine.QUEUED_PROTOCOL
        gpus = list(self._stepsExecutor.getGpuList() or [])
        return engine.Placement(True, queue, int(gpus[0]) if gpus else 0, max(1, len(gpus)))

    def _engineEnviron(self) -> Environ:
        """The engine's environment; its CPU threads are those of the form."""
        environ = self._getEnviron()
        threads = self.getBinThreads()
        if threads and threads > 0:
            environ["OMP_NUM_THREADS"] = str(threads)
        return environ

    def loadSteps(self) -> List[Any]:
        """The steps of the run before; none where a kill cut their list short.

        Scipion clears that list and writes it anew, table by table, and a run that is killed in
        between could never be continued. All our steps see for themselves what is done.
        """
        try:
            return list(super().loadSteps())
        except Exception as error:  # sqlite's own, or one that pyworkflow wraps it in
            logger.warning("the list of steps is damaged (%s); it is made anew", error)
            steps = self.getStepsFile()
            SqliteDb.closeConnection(steps)
            os.remove(steps)
            return []

    def workFolder(self, name: str) -> str:
        """A new empty folder for one run of the engine, on the same disk as the results.

        Move what is wanted out of it by ``os.replace``, so that a result is whole or absent, and
        remove it with `cleanFolder`.
        """
        folder = str(self._getExtraPath("work", name))
        self.cleanFolder(folder)
        os.makedirs(folder)
        return folder

    @staticmethod
    def cleanFolder(folder: str) -> None:
        """Remove a folder and all in it."""
        shutil.rmtree(folder, ignore_errors=True)

    # --------------------------- information ---------------------------
    def _validate(self) -> List[str]:
        errors = self._validateGpus()
        problem = engine.check_engine()
        if problem:
            errors.append(problem)
        return errors

    def _validateGpus(self) -> List[str]:
        if not self.usesGpu():
            return []
        wrong = "GPU IDs must be numbers such as '0' or '0,1' or '0-3', or switch the GPU off."
        try:
            gpus = self.getGpuList()
        except (ValueError, AttributeError):
            return [wrong]
        return [] if gpus else [wrong]

    def _warnings(self) -> List[str]:
        return []

    def modelWarnings(self, model: Any, sets: Iterable[Any]) -> List[str]:
        """Whether the voxel size of a set is not one that a model was made for.

        Parameters
        ----------
        model : DualModel or None
        sets : with a sampling rate; None among them is passed over.
        """
        card = card_of(model)
        return [] if card is None else voxel_size_warnings(card, sets)

    def tiltWarnings(
        self,
        model: Any,
        ranges: Iterable[Optional[Tuple[float, float]]],
        apart_deg: float = OTHER_TILT_DEG,
    ) -> List[str]:
        """Whether tilt ranges, in degrees, are not those that a model was trained on."""
        card = card_of(model)
        return [] if card is None else tilt_warnings(card, ranges, apart_deg)

    def contrastWarnings(self, model: Any) -> List[str]:
        """Whether the contrast that was chosen is not that of the tomograms trained on."""
        if model is None:
            return []
        chosen = self.getEnumText("contrast")
        try:
            trained = model.getCard().noisy_contrast
        except DualError as error:
            return [str(error)]
        if chosen in ("auto", trained):
            return []
        return [
            f"You say that density is {chosen}; in the tomograms that the model was trained on it "
            f"was {trained}. The engine turns it, but check that this is what you want."
        ]

    def _citations(self) -> List[str]:
        return [REFERENCE]
