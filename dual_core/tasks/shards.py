"""A fixed share of a list of files for each job of an array, and what all of them have done.

Shard I of N takes every N-th file from the I-th on, by position in the list, so that jobs need
nobody to share the work out. Each writes a batch record of its own, ``denoise.1of8.jsonl``, and
``denoise.1of8.status.json`` beside it, which says what it has to do and what failed.
"""

from __future__ import annotations

import json
import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Set, TypeVar, Union

from dual_core.errors import DualError
from dual_core.particles import write_text
from dual_core.tasks.batch import BatchRecord, BatchSummary, Job, read_entries

logger = logging.getLogger(__name__)

Item = TypeVar("Item")
PathLike = Union[str, Path]
_COMMANDS = "denoise|simulate|translate|compensate|pick"
_RECORD = re.compile(rf"(?P<command>{_COMMANDS})(?:\.\d+of\d+)?\.jsonl")
_STATUS = re.compile(rf"(?P<command>{_COMMANDS})\.(?P<shard>\d+)of(?P<count>\d+)\.status\.json")


@dataclass(frozen=True)
class Shard:
    """Shard ``index`` of ``count``, counted from 1."""

    index: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: Optional[str]) -> Shard:
        """From ``I/N``; the whole list for None.

        Raises
        ------
        DualError
            For anything else.
        """
        if text is None:
            return cls()
        found = re.fullmatch(r"(\d+)/(\d+)", text.strip())
        if found is None or not 1 <= int(found[1]) <= int(found[2]):
            raise DualError(f"--shard {text}: give I/N with I from 1 to N, such as 1/8")
        return cls(int(found[1]), int(found[2]))

    def of(self, items: Sequence[Item]) -> List[Item]:
        """This shard's share of a list; all shards together have every item once."""
        return list(items[self.index - 1 :: self.count])

    def name(self, name: str) -> str:
        """The name of a file that belongs to this shard alone; the name itself for the whole."""
        if self.count == 1:
            return name
        stem, _, suffix = name.partition(".")
        return f"{stem}.{self.index}of{self.count}.{suffix}"


class ShardStatus:
    """Says in a file of its own what a shard, or the whole list, has to do and what failed."""

    def __init__(self, record: BatchRecord, shard: Shard, jobs: Sequence[Job]) -> None:
        self._path = record.path.with_suffix(".status.json")
        self._planned = [job.output.name for job in jobs]
        self._outputs = {job.source: job.output.name for job in jobs}
        self.write(None)

    def write(self, summary: Optional[BatchSummary]) -> None:
        """Write the file, with the failures so far."""
        failed = {} if summary is None else summary.failed
        content = {
            "planned": self._planned,
            "failed": {self._outputs[source]: message for source, message in failed.items()},
        }
        write_text(self._path, json.dumps(content, indent=1))


def batches_in(folder: PathLike) -> List[str]:
    """The commands that have left a batch record or a status in a folder."""
    names = [path.name for path in Path(folder).iterdir()]
    matches = [pattern.fullmatch(name) for name in names for pattern in (_RECORD, _STATUS)]
    return sorted({found["command"] for found in matches if found is not None})


def sum_up(folder: PathLike, command: str) -> Dict[str, Any]:
    """What a command has done in a folder, over all its shards.

    Returns
    -------
    dict
        ``done``: outputs that are there with the recorded size. ``failed``: message by output,
        of those that are not done. ``missing``: planned outputs that are neither. ``shards``:
        how many have begun, and of how many; ``not_begun``: the others, whose share is not known.
    """
    folder = Path(folder)
    done: Set[str] = set()
    for entry in read_entries(folder, command):
        name = str(entry.get("output"))
        done.discard(name)
        path = folder / name
        if path.is_file() and path.stat().st_size == entry.get("output_bytes"):
            done.add(name)
    planned: Set[str] = set()
    failed: Dict[str, str] = {}
    begun: Dict[int, Set[int]] = {}
    for path in sorted(folder.glob(f"{command}.*of*.status.json")):
        found = _STATUS.fullmatch(path.name)
        content = _read_status(path)
        if found is None or content is None:
            continue
        planned.update(content["planned"])
        failed.update(content["failed"])
        begun.setdefault(int(found["count"]), set()).add(int(found["shard"]))
    failed = {name: message for name, message in sorted(failed.items()) if name not in done}
    result: Dict[str, Any] = {
        "command": command,
        "done": len(done),
        "failed": len(failed),
        "missing": len(planned - done - set(failed)),
    }
    for count, indices in sorted(begun.items()):
        rest = [f"{i}/{count}" for i in range(1, count + 1) if i not in indices]
        result.setdefault("shards", []).append(f"{len(indices)} of {count} begun")
        if rest:
            result.setdefault("not_begun", []).extend(rest)
    if failed:
        result["failures"] = failed
    if planned - done - set(failed):
        result["missing_outputs"] = sorted(planned - done - set(failed))
    return result


def _read_status(path: Path) -> Optional[Dict[str, Any]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {"planned": list(content["planned"]), "failed": dict(content["failed"])}
    except (OSError, ValueError, KeyError, TypeError):
        logger.warning("%s: cannot be read, left out", path)
        return None
