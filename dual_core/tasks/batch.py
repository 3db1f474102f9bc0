"""The same task on several files: names, skipping what is done, and going on after a failure."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence, Union

from dual_core.errors import DualError
from dual_core.safety.documents import parse_json
from dual_core.safety.shown import printable
from dual_core.safety.signals import asked_to_end

logger = logging.getLogger(__name__)

PathLike = Union[str, Path]

LONGEST_NAME = 255  # bytes, of Linux's file systems


@dataclass(frozen=True)
class Job:
    """One file to make from one other; ``beside`` is what is made along with it."""

    source: Path
    output: Path
    beside: Optional[Path] = None


@dataclass
class BatchSummary:
    """What became of the jobs; ``failed`` maps a source to its message."""

    done: List[Path] = field(default_factory=list)
    skipped: List[Path] = field(default_factory=list)
    failed: Dict[Path, str] = field(default_factory=dict)

    @property
    def status(self) -> int:
        """Exit status: 0 all well, 1 some failed, 2 all failed."""
        if not self.failed:
            return 0
        return 1 if self.done or self.skipped else 2


def plan_jobs(sources: Sequence[PathLike], folder: PathLike, suffix: str) -> List[Job]:
    """Name the output of each source: ``folder/<stem><suffix>.mrc``.

    Raises
    ------
    DualError
        If two outputs would have one name or an output would replace a source.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise DualError(f"{folder}: not a folder; give a folder for the output")
    jobs = [Job(Path(s), folder / f"{Path(s).stem}{suffix}.mrc") for s in sources]
    for job in jobs:
        if len(os.fsencode(job.output.name)) > LONGEST_NAME:
            raise DualError(
                f"{job.source}: the name of its result would be longer than the {LONGEST_NAME} "
                "bytes of a file's name; rename the tomogram"
            )
    counts = Counter(job.output for job in jobs)
    for output, count in counts.items():
        if count > 1:
            clash = ", ".join(str(job.source) for job in jobs if job.output == output)
            raise DualError(f"{clash}: would all become {output}; give them to separate folders")
    # By name and by identity, once for each file: lists have thousands.
    named = {key: job for job in jobs for key in _identities(job.source)}
    for job in jobs:
        for key in _identities(job.output):
            if key in named:
                raise DualError(
                    f"{named[key].source}: would be overwritten by the result of {job.source}; "
                    "choose another --output folder"
                )
    return jobs


def file_hash(path: PathLike) -> str:
    """SHA-256 of a file as hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for chunk in iter(lambda: file.read(1 << 20), b""):
            digest.update(chunk)
    return digest.hexdigest()


class BatchRecord:
    """A line of JSON for each finished output, so that a later run can skip it.

    An output counts as finished when it exists with the recorded size and its last record names
    the same source (path, size, time of change) and the same ``settings`` (model, options).
    The records of the command's other shards in the folder are read too, but never written.
    """

    def __init__(self, path: PathLike, settings: Dict[str, Any]) -> None:
        self.path = Path(path)
        self.settings = json.loads(json.dumps(settings))
        self._last: Dict[str, Dict[str, Any]] = {}
        for entry in read_entries(self.path.parent, self.path.name.split(".")[0]):
            self._last[str(entry.get("output"))] = entry

    def is_finished(self, job: Job) -> bool:
        """Whether the output of a job is there and would come out the same again."""
        entry = self._last.get(job.output.name)
        if entry is None or not job.output.is_file() or not job.source.is_file():
            return False
        if job.beside is not None and not job.beside.is_file():
            return False
        return (
            entry.get("output_bytes") == job.output.stat().st_size
            and entry.get("source") == _fingerprint(job.source)
            and entry.get("settings") == self.settings
        )

    def add(self, job: Job, results: Dict[str, Any]) -> None:
        """Record a finished job, with any numbers worth keeping."""
        entry = {
            "output": job.output.name,
            "output_bytes": job.output.stat().st_size,
            "source": _fingerprint(job.source),
            "settings": self.settings,
            "time": time.time(),
            "results": results,
        }
        self._last[job.output.name] = entry
        with open(self.path, "a+b") as file:
            # A line cut short by a crash must not swallow this one.
            if file.tell() > 0:
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    file.write(b"\n")
            file.write(json.dumps(entry).encode() + b"\n")


def read_entries(folder: PathLike, command: str) -> List[Dict[str, Any]]:
    """The entries of a command's records in a folder, of all shards, the latest last."""
    folder = Path(folder)
    paths = [folder / f"{command}.jsonl", *sorted(folder.glob(f"{command}.*of*.jsonl"))]
    entries = [entry for path in paths for entry in _entries_of(path)]
    return sorted(entries, key=lambda entry: float(entry.get("time", 0.0)))


def _entries_of(path: Path) -> List[Dict[str, Any]]:
    try:
        if not path.is_file():
            return []
        lines = path.read_bytes().decode("utf-8", "replace").split("\n")
    except FileNotFoundError:
        return []
    entries = []
    for line in lines:
        try:
            entry = parse_json(line, undefined=True)
        except ValueError:
            continue
        if isinstance(entry, dict) and isinstance(entry.get("output"), str):
            entries.append(entry)
    return entries


def run_jobs(
    jobs: Sequence[Job],
    work: Callable[[Job], Dict[str, Any]],
    record: BatchRecord,
    resume: bool = False,
    on_failure: Optional[Callable[[BatchSummary], None]] = None,
) -> BatchSummary:
    """Do every job; a failure is logged and the others go on.

    Parameters
    ----------
    jobs : sequence of Job
    work : callable
        Makes the output of a job and returns numbers for the record.
    record : BatchRecord
        Finished jobs are added to it.
    resume : bool
        Skip the jobs that the record calls finished.
    on_failure : callable, optional
        Called with the summary so far after each failure.
    """
    summary = BatchSummary()
    for number, job in enumerate(jobs, 1):
        if asked_to_end():  # though the exception of the signal was lost in a library
            raise SystemExit(128 + asked_to_end())
        if resume and record.is_finished(job):
            logger.info("%s: finished before, skipped", job.output)
            summary.skipped.append(job.source)
            continue
        try:
            record.add(job, work(job))
        except Exception as error:  # whatever it is, the other files still have their chance
            if asked_to_end():
                raise
            message = _message(error, job.source)
            logger.error("%s", message)
            logger.debug("traceback", exc_info=True)
            summary.failed[job.source] = message
            if on_failure is not None:
                on_failure(summary)
            continue
        logger.info("%s: written (%d of %d)", job.output, number, len(jobs))
        summary.done.append(job.source)
    return summary


def _message(error: Exception, source: Path) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, DualError):
        return text if str(source) in text else f"{source}: {text}"
    if isinstance(error, OSError) and error.strerror:
        where = f" ({printable(error.filename)})" if error.filename else ""
        return f"{source}: {error.strerror}{where}; check path, rights and space"
    return f"{source}: {type(error).__name__}: {text}"


def _fingerprint(path: Path) -> Dict[str, Any]:
    facts = path.stat()
    return {"path": os.path.realpath(path), "bytes": facts.st_size, "mtime_ns": facts.st_mtime_ns}


def _identities(path: Path) -> List[object]:
    """What tells one file from another: where it is, and its inode if it exists."""
    found: List[object] = [os.path.realpath(path)]
    try:
        facts = path.stat()
    except OSError:
        return found
    return [*found, (facts.st_dev, facts.st_ino)]
