"""Runs of the engine on several tomograms: each is registered as it is finished."""

from __future__ import annotations

import glob
import json
import logging
import os
import threading
import traceback
from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator, List, Sequence

from pyworkflow.utils import cyanStr, redStr

from dual_core.errors import DualError
from dual_scipion import convert
from dual_scipion.protocols.parts.engine_batch import EngineBatch, Member

logger = logging.getLogger(__name__)

LOOK_S = 1.0  # between two looks at what the engine has finished


class TomogramRuns:
    """Mixin of `ProtDualTomograms`, whose ``_tomograms`` and ``_register`` it uses."""

    failedItems: Dict[str, str]

    # --------------------------- what a tomogram is made of ---------------------------
    def inputFiles(self, tomogram: Any) -> Dict[str, str]:
        """The files that the engine treats: a name to each, the tomogram itself first."""
        name = convert.safe_name(convert.ts_id(tomogram))
        return {name: convert.volume_path(tomogram, must_exist=False)}

    def engineFiles(self, tomogram: Any) -> Dict[str, str]:
        """Name of what the engine writes to where it is kept; the main file first.

        Nothing for a protocol whose step puts the files into their places itself.
        """
        return {}

    def extraFiles(self, tomogram: Any) -> Dict[str, str]:
        """As `engineFiles`, of what the engine may write besides and is not waited for."""
        return {}

    def resultFiles(self, tomogram: Any) -> List[str]:
        """The files that are there when a tomogram is done, the main one first."""
        return list(self.engineFiles(tomogram).values())

    def figuresPath(self, ts_id: str) -> str:
        """Where the engine's figures of a tomogram are kept: a line of JSON for each input."""
        protocol: Any = self
        return str(protocol._getExtraPath(f"{convert.safe_name(ts_id)}.jsonl"))

    # --------------------------- running ---------------------------
    def runTomograms(
        self, command: str, ts_ids: Sequence[str], options: Callable[[Any], Dict[str, Any]]
    ) -> None:
        """Run ``dual COMMAND`` on tomograms, and register each as soon as it is finished.

        What is there already is only registered. A failure is noted and does not stop the others,
        a crash of the engine neither.

        Parameters
        ----------
        options : gives the engine's options for a tomogram, without input and output; those with
            the same are done in one run.
        """
        groups: Dict[str, List[Any]] = {}
        for tomogram in self.waiting(ts_ids):
            with self.oneMayFail(tomogram):
                alike = json.dumps(options(tomogram), sort_keys=True)
                groups.setdefault(alike, []).append(tomogram)
        for given, tomograms in groups.items():
            left = {convert.ts_id(one): one for one in tomograms}
            try:
                while left:
                    self._runOnce(command, left, json.loads(given))
            except Exception as error:  # of our own: a full disk, for example
                for tomogram in left.values():
                    self._noteFailure(tomogram, str(error), traceback.format_exc())

    def waiting(self, ts_ids: Sequence[str]) -> Iterator[Any]:
        """The tomograms of these names that must be treated; the others are registered."""
        for ts_id in ts_ids:
            tomogram = self._tomograms[ts_id]  # type: ignore[attr-defined]
            missing = False
            with self.oneMayFail(tomogram):
                convert.volume_path(tomogram)
                missing = not self.isMade(tomogram)
                if not missing:
                    logger.info(cyanStr(f"{ts_id}: the result is there, it is only registered"))
                    self._register(tomogram)  # type: ignore[attr-defined]
            if missing:
                yield tomogram

    def isMade(self, tomogram: Any) -> bool:
        """Whether all files of a tomogram are in their places."""
        return all(os.path.exists(path) for path in self.resultFiles(tomogram))

    def _runOnce(self, command: str, left: Dict[str, Any], options: Dict[str, Any]) -> None:
        """One run on what is left; takes away from it what is done or has failed."""
        protocol: Any = self
        name = convert.safe_name(next(iter(left)))
        folder = protocol.workFolder(name)
        batch = EngineBatch(folder, {ts_id: self._member(one) for ts_id, one in left.items()})
        options = {**options, "tomograms": batch.link(), "output": batch.output}
        said = "the engine did not write what it should; see the log"
        watcher = _Watcher(lambda: self._collect(batch, left))
        watcher.start()
        try:
            protocol.runEngine(command, options, [], name)
        except DualError as error:
            said = batch.named(str(error))
        finally:
            watcher.end()
        self._collect(batch, left)
        for ts_id, message in batch.failures().items():
            if ts_id in left:
                self._noteFailure(left.pop(ts_id), message)
        # What is left now is so because the engine died. If it was at work, then on the first of
        # these, and the others get another run; else it is the matter of none of them.
        for ts_id in list(left)[: 1 if batch.begun() else None]:
            self._noteFailure(left.pop(ts_id), said)
        protocol.cleanFolder(folder)

    def _member(self, tomogram: Any) -> Member:
        return Member(self.inputFiles(tomogram), self.engineFiles(tomogram))

    def _collect(self, batch: EngineBatch, left: Dict[str, Any]) -> None:
        for ts_id in [one for one in batch.finished() if one in left]:
            with self.oneMayFail(left.pop(ts_id)) as tomogram:
                self._take(batch, tomogram)
                self._register(tomogram)  # type: ignore[attr-defined]

    def _take(self, batch: EngineBatch, tomogram: Any) -> None:
        """Put the files of a tomogram into their places."""
        ts_id = convert.ts_id(tomogram)
        figures = self.figuresPath(ts_id)
        with open(f"{figures}.{os.getpid()}.tmp", "w", encoding="utf-8") as stream:
            stream.write(batch.lines(ts_id))
        os.replace(stream.name, figures)
        extra = {
            name: place
            for name, place in self.extraFiles(tomogram).items()
            if os.path.exists(batch.path(name))
        }
        # The main file last: it is the sign that all is there.
        for name, result in reversed([*self.engineFiles(tomogram).items(), *extra.items()]):
            if name.endswith(".mrc"):
                convert.set_header_voxel_size(batch.path(name), tomogram.getSamplingRate())
            os.replace(batch.path(name), result)

    def takeLeftovers(self, tomograms: Sequence[Any]) -> None:
        """Take what a killed run of the protocol finished and could not put into its place."""
        protocol: Any = self
        missing = {convert.ts_id(one): one for one in tomograms if not self.isMade(one)}
        for folder in glob.glob(os.path.join(glob.escape(protocol._getExtraPath("work")), "*")):
            members = {ts_id: self._member(one) for ts_id, one in missing.items()}
            batch = EngineBatch(folder, members)
            for ts_id in list(batch.finished()):
                with self.oneMayFail(missing.pop(ts_id)) as tomogram:
                    self._take(batch, tomogram)
            protocol.cleanFolder(folder)

    # --------------------------- failures ---------------------------
    @contextmanager
    def oneMayFail(self, tomogram: Any) -> Iterator[Any]:
        """What goes wrong inside is noted as the failure of this tomogram; the others go on."""
        try:
            yield tomogram
        except Exception as error:  # whatever it is, the others still have their chance
            self._noteFailure(tomogram, str(error) or type(error).__name__, traceback.format_exc())

    def _noteFailure(self, tomogram: Any, message: str, trace: str = "") -> None:
        ts_id = convert.ts_id(tomogram)
        self.failedItems[ts_id] = message
        logger.error(redStr(f"{ts_id}: {message}"))
        if trace:
            logger.error(trace)


class _Watcher(threading.Thread):
    """Does something again and again until it is told to end."""

    def __init__(self, act: Callable[[], None]) -> None:
        super().__init__(daemon=True)
        self._act = act
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.wait(LOOK_S):
            try:
                self._act()
            except OSError as error:  # the disk; it is done once more at the end
                logger.warning("what is finished cannot be collected yet: %s", error)

    def end(self) -> None:
        """Let it finish what it is doing."""
        self._over.set()
        self.join()
