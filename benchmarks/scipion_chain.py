"""A Scipion project of its own, and protocols that are launched in it one after another."""

from __future__ import annotations

import os
import sys
import sysconfig
import time
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

PROJECT = "DUAL_demo"
Output = Tuple[Optional[Any], str]


class Row(NamedTuple):
    """What the table at the end tells of a protocol."""

    label: str
    status: str
    seconds: float
    outputs: str


def prepare_scipion(output: Path) -> None:
    """Let Scipion write below `output`; must be done before pyworkflow is imported."""
    hosts = Path(sysconfig.get_path("purelib"), "scipion", "templates", "hosts.template")
    os.environ["SCIPION_USER_DATA"] = str(output)
    for name, value in (
        ("SCIPION_HOME", output / "home"),
        ("SCIPION_DOMAIN", "pwem"),
        ("SCIPION_PYTHON", sys.executable),
        ("SCIPION_HOSTS", hosts),
        ("SCIPION_NOTIFY", "False"),
    ):
        os.environ.setdefault(name, str(value))


class Chain:
    """A project, and the protocols that were launched in it."""

    def __init__(self) -> None:
        from pyworkflow.project import Manager

        manager = Manager()
        if not manager.hasProject(PROJECT):
            manager.createProject(PROJECT)
        self.project = manager.loadProject(PROJECT)  # which also goes into its folder
        self.rows: List[Row] = []

    def run(
        self, label: str, kind: Any, inputs: Optional[Dict[str, Output]] = None, **values: Any
    ) -> Optional[Any]:
        """Launch a protocol and wait for it, unless it is done or lacks an input.

        Parameters
        ----------
        label : in the project.
        kind : class of the protocol.
        inputs : parameter to protocol and the name of its output; the protocol may be None, one
            that did not get so far.
        values : of the other parameters.

        Returns
        -------
        protocol, or None if it has not finished
        """
        inputs = inputs or {}
        protocol = self._finished(label)
        seconds = 0.0
        if protocol is None:
            if any(source is None for source, _ in inputs.values()):
                self.rows.append(Row(label, "not launched", 0.0, "an input is missing"))
                return None
            print(f"{label} ...", flush=True)
            protocol = self.project.newProtocol(kind, **values)
            protocol.setObjLabel(label)
            for name, (source, output) in inputs.items():
                pointer = getattr(protocol, name)
                pointer.set(source)
                pointer.setExtended(output)
            started = time.monotonic()
            self.project.launchProtocol(protocol, wait=True)
            seconds = time.monotonic() - started
        outputs = ", ".join(f"{name}: {value}" for name, value in protocol.iterOutputAttributes())
        self.rows.append(Row(label, protocol.getStatus(), seconds, outputs))
        if protocol.isFinished():
            return protocol
        self.rows[-1] = self.rows[-1]._replace(outputs=str(protocol.getErrorMessage()))
        return None

    def _finished(self, label: str) -> Optional[Any]:
        for protocol in self.project.getRuns():
            if protocol.getObjLabel() == label and protocol.isFinished():
                return protocol
        return None


def table(rows: List[Row]) -> str:
    """A line for each protocol."""
    width = max(len(row.label) for row in rows)
    return "\n".join(
        f"{row.label:{width}}  {row.status:12}  {row.seconds:6.0f} s  {row.outputs}" for row in rows
    )
