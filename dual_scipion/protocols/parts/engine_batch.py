"""The files of one run of the engine on several tomograms, also of one that was killed."""

from __future__ import annotations

import glob
import json
import os
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional

from pyworkflow.utils import createAbsLink

LINK_END = ".mrc"


class Member(NamedTuple):
    """A tomogram in a batch.

    Attributes
    ----------
    inputs : name of a link, without its end, to the file that is treated; the tomogram first.
    files : name of what the engine writes to where it is kept; the main file first.
    """

    inputs: Mapping[str, str]
    files: Mapping[str, str]


class EngineBatch:
    """``folder/in`` has a link to each file, ``folder/out`` is the engine's output folder.

    The links have the names of the tsIds, which need not be those of the files.

    Parameters
    ----------
    folder : of this run alone.
    members : by tsId, in the order in which they are treated.
    """

    def __init__(self, folder: str, members: Mapping[str, Member]) -> None:
        self.output = os.path.join(folder, "out")
        self._in = os.path.join(folder, "in")
        self._members = dict(members)
        self._owner = {name: ts_id for ts_id, one in members.items() for name in one.files}
        self._lines: Dict[str, Dict[str, str]] = {ts_id: {} for ts_id in members}
        self._read = 0  # bytes of the record, so that it is read only once however often one looks

    def link(self) -> List[str]:
        """Make the links; their paths, in order."""
        os.makedirs(self._in)
        links = []
        for member in self._members.values():
            for name, path in member.inputs.items():
                links.append(os.path.join(self._in, name + LINK_END))
                createAbsLink(os.path.abspath(path), links[-1])
        return links

    def begun(self) -> bool:
        """Whether the engine came as far as the tomograms, with its model and device in order."""
        return self._find("*.status.json") is not None

    def finished(self) -> Iterator[str]:
        """The tsIds of those that are completely done by now."""
        self._read_record()
        for ts_id, member in self._members.items():
            if len(self._lines[ts_id]) >= len(member.inputs) and all(
                os.path.exists(self.path(name)) for name in member.files
            ):
                yield ts_id

    def path(self, name: str) -> str:
        """Where the engine writes a file."""
        return os.path.join(self.output, name)

    def lines(self, ts_id: str) -> str:
        """What the engine's record says of a tomogram: a line of JSON for each of its inputs."""
        found = self._lines[ts_id]
        return "".join(found[name] + "\n" for name in self._members[ts_id].files if name in found)

    def failures(self) -> Dict[str, str]:
        """The engine's messages on those that failed, with the names of the files themselves."""
        path = self._find("*.status.json")
        found: Dict[str, str] = {}
        for name, message in (_read_json(path) if path else {}).get("failed", {}).items():
            ts_id = self._owner.get(name)
            if ts_id is not None:
                found.setdefault(ts_id, self.named(message))
        return found

    def named(self, message: str) -> str:
        """A message with the paths of the files in the place of those of the links."""
        for member in self._members.values():
            for name, path in member.inputs.items():
                message = message.replace(os.path.join(self._in, name + LINK_END), path)
        return message

    def _find(self, pattern: str) -> Optional[str]:
        found = glob.glob(os.path.join(glob.escape(self.output), pattern))
        return found[0] if found else None

    def _read_record(self) -> None:
        path = self._find("*.jsonl")
        if path is None:
            return
        with open(path, "rb") as stream:
            stream.seek(self._read)
            new = stream.read()
        whole = new[: new.rfind(b"\n") + 1]  # a line may be half written
        self._read += len(whole)
        for line in whole.decode("utf-8", errors="replace").splitlines():
            try:
                name = str(json.loads(line)["output"])
            except (ValueError, KeyError, TypeError):
                continue
            if name in self._owner:
                self._lines[self._owner[name]][name] = line


def _read_json(path: str) -> Dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as stream:
            found = json.load(stream)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
