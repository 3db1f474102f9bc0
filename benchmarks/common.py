"""What the benchmarks share: running the commands, and what they ran on."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Dict, Sequence

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"


def dual(arguments: Sequence[object], threads: int) -> float:
    """Run ``dual`` as a user would; the seconds it took, start of the interpreter included."""
    command = [sys.executable, "-m", "dual_core", *map(str, arguments)]
    print("$ dual " + " ".join(command[3:]), flush=True)
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    started = time.monotonic()
    done = subprocess.run(command, env=environment, cwd=ROOT)
    if done.returncode:
        raise SystemExit(f"dual {arguments[0]} failed with status {done.returncode}")
    return time.monotonic() - started


def processor() -> str:
    """The name of the CPU."""
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def circumstances(threads: int) -> str:
    """One line for a table's foot: date, versions, processor, threads."""
    import numpy
    import torch

    from dual_core import __version__

    versions: Dict[str, str] = {
        "dual": __version__,
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "python": platform.python_version(),
    }
    told = ", ".join(f"{name} {version}" for name, version in versions.items())
    return f"{datetime.date.today().isoformat()}; {told}; {processor()}, {threads} threads"
