"""The training run: from two lists of files to ``model.safetensors``, resumable at any time."""
from __future__ import annotations

import logging
import shutil
import time
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Callable, Container, Dict, Optional, Sequence, Tuple

from dual_core.errors import DualError
from dual_core.networks.card import MODEL_FILE
from dual_core.networks.devices import describe_device, use_bfloat16
from dual_core.safety.locks import folder_lock
from dual_core.safety.signals import remembered_signals
from dual_core.training.checkpoint import NEW, remove_training, require_checkpoint
from dual_core.training.coherence import NAME as COHERENCE
from dual_core.training.coherence import TIMES, CoherenceCheck, told_at_the_end
from dual_core.training.config import (
    TrainingConfig,
    load_config,
    preset_config,
    save_config,
)
from dual_core.training.data import open_training_data
from dual_core.training.monitor import History, Watch, all_finite
from dual_core.training.parallel.ranks import ALONE, Ranks
from dual_core.training.previews import draw_previews
from dual_core.training.session import Session
from dual_core.volumes.patches import MEMORY_BUDGET

logger = logging.getLogger(__name__)

CONFIG = "config.yaml"
# What a preset and a method set, and versions change.
OF_VERSION = ("iterations", "rehearsals", "recorrupted", "measured_noise")
# Why a run ends; of what several processes have, the last in this list counts.
REASONS = ("finished", "time limit", "SIGHUP", "SIGINT", "SIGTERM")

Progress = Callable[[int, int, Dict[str, float]], None]


@dataclass(frozen=True)
class RunOptions:
    """How to run, as opposed to what to train: none of it changes the result.

    Attributes
    ----------
    device, precision : see `dual_core.networks.devices`.
    time_limit_min : stop after so many minutes with a checkpoint; the schedule is not shortened.
    checkpoint_every_min : minutes between checkpoints.
    log_every : iterations between two lines of the history.
    previews : how many times over the run preview pictures are drawn.
    snapshots : how many times over the run the model is kept in ``snapshots/``.
    memory_budget : bytes of voxels a domain may keep in memory.
    """

    device: str = "auto"
    precision: str = "auto"
    time_limit_min: Optional[float] = None
    checkpoint_every_min: float = 5.0
    log_every: int = 10
    previews: int = 8
    snapshots: int = 0
    memory_budget: int = MEMORY_BUDGET


@dataclass(frozen=True)
class TrainingResult:
    """How a run ended.

    Attributes
    ----------
    model : path of the model file.
    iterations : done so far.
    finished : whether that is the whole run.
    reason : ``finished``, ``time limit``, or the signal's name; ``SIGHUP`` also if the launcher
        of several processes has gone.
    """

    model: Path
    iterations: int
    finished: bool
    reason: str


def as_begun(
    config: TrainingConfig, run: Path, given: Container[str] = ()
) -> TrainingConfig:
    """The configuration to go on with in `run`: what is the preset's there, as it was then.

    A run that another version of DUAL began keeps the length and schedule that its preset had, and
    its kind of noise; what is `given` by the user, names of settings, counts as it is.
    """
    try:
        begun = load_config(run / CONFIG)
    except DualError:  # missing or damaged: the checkpoint alone decides
        return config
    kinds = ("preset", "method", "task")
    if any(getattr(config, name) != getattr(begun, name) for name in kinds):
        return config
    usual = preset_config(config.preset, config.method, task=config.task)
    kept = {
        name: getattr(begun, name)
        for name in OF_VERSION
        if name not in given and getattr(config, name) == getattr(usual, name)
    }
    return replace(config, **kept)


def train(
    noisy: Sequence[Path],
    clean: Sequence[Path],
    run: Path,
    config: TrainingConfig,
    options: Optional[RunOptions] = None,
    resume: bool = False,
    progress: Optional[Progress] = None,
    ranks: Ranks = ALONE,
    halves: Sequence[Tuple[Path, Path]] = (),
) -> TrainingResult:
    """Train a model without labels or pairs.

    Parameters
    ----------
    noisy, clean : files of the tomograms and of the grand models.
    run : training directory; made if absent.
    config : what to train.
    options : how to run.
    resume : go on from the checkpoint in `run`; without it one that is there is removed.
    progress : called after each iteration with (done, total, loss terms).
    ranks : the processes that train together, from `launched.joined`; all make this call, and the
        first writes.
    halves : (even, odd) files of some of the tomograms, which tell the power of the noise.

    Raises
    ------
    DualError
        For unusable input, a non-finite loss (the last good checkpoint stays), a full disk, and
        where another process trains into `run`.
    """
    made = not run.exists()
    run.mkdir(parents=True, exist_ok=True)
    try:
        with folder_lock(run, "a training") if ranks.first else nullcontext():
            shutil.rmtree(run / NEW, ignore_errors=True)
            return _train(
                noisy, clean, run, config, options or RunOptions(), resume, progress, ranks,
                halves,
            )
    finally:
        if made:
            with suppress(OSError):  # not empty: there is something of use in it
                run.rmdir()


def _train(
    noisy: Sequence[Path],
    clean: Sequence[Path],
    run: Path,
    config: TrainingConfig,
    options: RunOptions,
    resume: bool,
    progress: Optional[Progress],
    ranks: Ranks,
    halves: Sequence[Tuple[Path, Path]],
) -> TrainingResult:
    """`train` in a folder that is held for it."""
    if resume:
        require_checkpoint(run)
    started = time.monotonic()
    session = _open_session(noisy, clean, config, options, ranks, halves)
    if resume:
        session.restore(run)
        logger.info("resuming %s at iteration %d", run, session.iteration)
    if ranks.first:
        if not resume:  # now that there is something to take its place
            remove_training(run)
        save_config(config, run / CONFIG)
    logbook = _Logbook(session, run, options, started, resume)
    due = _Schedule(options, started)
    reason = "finished"
    with remembered_signals() as stop, session.drawing_ahead():
        while session.iteration < config.iterations:
            values = session.iterate()
            _check_finite(values, session.iteration, run)
            entry = logbook.look(values)
            if progress is not None:
                progress(session.iteration, config.iterations, values)
            hung_up = "SIGHUP" if ranks.orphaned else ""
            reason = stop.name or hung_up or ("time limit" if due.time_is_up() else reason)
            reason = REASONS[ranks.largest(REASONS.index(reason))]
            logbook.write(entry, session.iteration == config.iterations or reason != "finished")
            if reason != "finished":
                break
            if ranks.largest(int(ranks.first and due.checkpoint())):
                session.save(run)
    session.save(run)
    logbook.tell_at_the_end()
    ranks.wait()  # for the first one's files
    return TrainingResult(
        run / MODEL_FILE, session.iteration, session.iteration >= config.iterations, reason
    )


def _open_session(
    noisy: Sequence[Path],
    clean: Sequence[Path],
    config: TrainingConfig,
    options: RunOptions,
    ranks: Ranks,
    halves: Sequence[Tuple[Path, Path]],
) -> Session:
    """The data and the networks on their device, before the first iteration."""
    device = ranks.device(options.device)
    bfloat16 = use_bfloat16(device, options.precision)
    logger.info("device %s, %s", describe_device(device), "bfloat16" if bfloat16 else "float32")
    if ranks.count > 1:
        patches = ranks.count * config.batch
        logger.info("%d processes, together %d patches an iteration", ranks.count, patches)
    data = open_training_data(noisy, clean, config, options.memory_budget, halves)
    return Session(data, config, device, bfloat16, ranks)


class _Logbook:
    """What is looked at and kept on the way; of several processes only the first one's is kept."""

    def __init__(
        self, session: Session, run: Path, options: RunOptions, started: float, resume: bool
    ) -> None:
        self._session, self._run, self._options = session, run, options
        self._started = started
        self._watch = Watch()
        self._history: Optional[History] = None
        self._check: Optional[CoherenceCheck] = None
        if session.ranks.first:
            self._history = History(run, session.iteration if resume else None)
            self._check = CoherenceCheck.beside(session.data.recorrupted, session.config.seed)

    def _is_due(self, times: int) -> bool:
        return is_due(self._session.iteration, self._session.config.iterations, times)

    def look(self, values: Dict[str, float]) -> Dict[str, Any]:
        """The entry of the present iteration: its values, and warnings where there are any."""
        entry: Dict[str, Any] = {"iteration": self._session.iteration, **values}
        warnings = self._watch.look(values)
        if self._check and self._is_due(TIMES):
            found, more = self._check.of_model(self._session.trainer.averaged_model(), values)
            entry.update(found)
            warnings = warnings + more
        if warnings:
            entry["warnings"] = warnings
        return entry

    def write(self, entry: Dict[str, Any], last: bool) -> None:
        """Keep the entry, pictures and a snapshot where they are due."""
        if self._history is None:
            return
        session, options = self._session, self._options
        told = "warnings" in entry or COHERENCE in entry
        if session.iteration % options.log_every == 0 or told or last:
            entry["seconds"] = round(time.monotonic() - self._started, 2)
            self._history.add(entry)
        if self._is_due(options.previews):
            draw_previews(
                session.trainer.averaged_model(), session.data, self._run, session.iteration
            )
        if self._is_due(options.snapshots):
            session.save_snapshot(self._run)

    def tell_at_the_end(self) -> None:
        """Say what the last look at the coherence found."""
        if self._check and self._check.last is not None:
            logger.info("%s", told_at_the_end(self._check.last))


class _Schedule:
    """When the next checkpoint is due and when the time is up."""

    def __init__(self, options: RunOptions, started: float) -> None:
        self._interval = 60 * options.checkpoint_every_min
        self._limit = options.time_limit_min
        self._started = started
        self._last = time.monotonic()

    def checkpoint(self) -> bool:
        if time.monotonic() - self._last < self._interval:
            return False
        self._last = time.monotonic()
        return True

    def time_is_up(self) -> bool:
        return self._limit is not None and time.monotonic() - self._started > 60 * self._limit


def is_due(iteration: int, total: int, times: int) -> bool:
    """Whether something that happens `times` times over a run, last at its end, is due."""
    return times > 0 and (iteration % max(1, total // times) == 0 or iteration == total)


def _check_finite(values: Dict[str, float], iteration: int, run: Path) -> None:
    if not all_finite(values):
        raise DualError(
            f"a loss is not finite at iteration {iteration}; the last good checkpoint is in {run}: "
            "try --resume, with a lower --learning-rate or --precision float32 if it happens again"
        )
