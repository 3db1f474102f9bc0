"""Another process that runs a piece of code, and its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
PROLOGUE = "import sys, os, time; from pathlib import Path\n"


def python(code: str, *arguments: str) -> subprocess.Popen:
    """Another process that runs ``code``; it prints a line when it is where it should be."""
    return subprocess.Popen(
        [sys.executable, "-c", PROLOGUE + code, *arguments], env=ENVIRONMENT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )


def kill(process: subprocess.Popen, number: int = signal.SIGKILL) -> int:
    process.send_signal(number)
    process.communicate(timeout=30)
    return process.returncode
