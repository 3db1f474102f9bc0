"""What the engine measures about dark and bright density in a volume. No window.

The plugin does not measure itself: what it shows is what the engine will find with *auto*.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
from typing import NamedTuple, Optional

from dual_core.errors import DualError
from dual_scipion import engine


class Evidence(NamedTuple):
    """``contrast`` is dark or bright, ``skewness`` negative for dark; ``sure`` as the engine is."""

    contrast: str
    skewness: float
    sure: bool


class Measurement:
    """The engine at work on one volume (``dual info``), beside a window that must not wait.

    Parameters
    ----------
    path : of the volume.
    voxel_size_A : instead of that in the header.

    Raises
    ------
    DualError
        If the engine is not installed.
    """

    def __init__(self, path: str, voxel_size_A: float) -> None:
        from dual_scipion import Plugin

        command = f"{engine.find_interpreter().shell()} -m dual_core info {shlex.quote(path)}"
        self._output: Optional[str] = None
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", f"{command} --voxel-size {voxel_size_A:g} --quiet"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=Plugin.getEnviron(),
            text=True,
            start_new_session=True,  # a group of its own: shell and engine are stopped together
        )

    def result(self) -> Optional[Evidence]:
        """What was found; ``None`` while the engine is still at work.

        Raises
        ------
        DualError
            If the engine could not tell, with its own words.
        """
        if self._process.poll() is None:
            return None
        if self._output is None:
            self._output = self._process.communicate()[0]
        output = self._output
        if self._process.returncode:
            lines = output.strip().splitlines() or ["it said nothing"]
            said = next((line for line in reversed(lines) if engine.ERROR_MARK in line), lines[-1])
            raise DualError(said.replace(engine.ERROR_MARK, "").strip())
        return parse_evidence(output)

    def stop(self) -> None:
        """End the engine if it is still at work; may be called again and afterwards."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGTERM)
        if self._output is None:
            self._output = self._process.communicate()[0]


def parse_evidence(output: str) -> Evidence:
    """The evidence in the output of ``dual info`` (YAML, a value a line).

    Raises
    ------
    DualError
        If it is not there.
    """
    found = {
        name: re.search(rf"^{name}: (\S+)$", output, re.MULTILINE)
        for name in ("contrast", "contrast_confident", "skewness")
    }
    try:
        contrast, sure, skewness = (match.group(1) for match in found.values() if match)
        return Evidence(contrast, float(skewness), sure == "true")
    except ValueError as error:
        raise DualError("The engine did not say what it measures; is its version right?") from error


def sentence(evidence: Evidence) -> str:
    """The evidence in words."""
    skewness = f"skewness of the values {evidence.skewness:+.2f}"
    side = "low" if evidence.skewness < 0 else "high"
    if evidence.sure:
        return (
            f"The engine measures: density is {evidence.contrast.upper()}, without doubt "
            f"({skewness}: the rare extreme values are {side} ones). 'auto' will do."
        )
    return (
        f"The engine is in doubt, and would rather say {evidence.contrast.upper()} ({skewness}). "
        "Do not leave it at 'auto'; choose by the pictures."
    )
