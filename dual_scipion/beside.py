"""Programs that a window starts: the engine for a page on a training, and Napari."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, Dict, Optional

import pwem
import tomo
from tomo.constants import NAPARI_ACTIVATION_CMD, NAPARI_DEF_VER, NAPARI_ENV_ACTIVATION

from dual_core.errors import DualError
from dual_scipion import Plugin, engine

REPORT = "report.html"
STARTING_S = 20.0  # a Napari that lives so long has opened its window
_SCRIPT = Path(__file__).resolve().parent / "viewers" / "napari_process" / "show_layers.py"


def write_report(run: str) -> str:
    """Let the engine write the page on a training, finished or not; return the path of the page.

    It takes some seconds and no GPU: curves, warnings, previews and settings, no tomogram.

    Parameters
    ----------
    run : the training directory of the engine.

    Raises
    ------
    DualError
        With the engine's own message.
    """
    page = os.path.join(run, REPORT)
    with tempfile.TemporaryDirectory(prefix="dual") as folder:
        config = os.path.join(folder, "report.json")
        engine.write_options(config, {"run": run, "output": page, "no_trust": True})
        program, arguments = engine.command_line("report", config, engine.Placement(use_gpu=False))
        log = os.path.join(folder, "report.log")
        with open(log, "wb") as stream:
            done = subprocess.run(
                ["/bin/sh", "-c", f"{program} {arguments}"],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                env=Plugin.getEnviron(),
                check=False,
            )
        if done.returncode or not os.path.exists(page):
            said = engine.last_error(log) or f"the engine ended with status {done.returncode}"
            raise DualError(f"the report cannot be written: {said}")
    return page


def napari_activation() -> Optional[str]:
    """The shell command that activates the Napari of the user's Scipion; None without one.

    It is that of scipion-em-tomo (``NAPARI_ENV_ACTIVATION``). Its default counts only if Scipion
    has installed that environment.
    """
    given = engine.without_end(str(tomo.Plugin.getVar(NAPARI_ENV_ACTIVATION) or ""))
    if given == NAPARI_ACTIVATION_CMD:
        folder = os.path.join(pwem.Config.EM_ROOT, f"napari-{NAPARI_DEF_VER}")
        if not os.path.exists(os.path.join(folder, f"napari_{NAPARI_DEF_VER}_installed")):
            return None
    if not given:
        return None
    return engine.with_conda(given, tomo.Plugin.getCondaActivationCmd() or "")


def show_in_napari(
    layers: Dict[str, Any], activation: str, stale: Callable[[], bool] = lambda: False
) -> subprocess.Popen[bytes]:
    """Start Napari with layers, in a process that lives on by itself.

    Parameters
    ----------
    layers : as `dual_scipion.viewers.layers` makes them.
    activation : see `napari_activation`.
    stale : asked while Napari starts; waiting ends when it says so.

    Raises
    ------
    DualError
        If it ends at once, with the last line that it said.
    """
    handle, path = tempfile.mkstemp(prefix="dual", suffix=".json")
    with open(handle, "w", encoding="utf-8") as stream:
        json.dump(layers, stream)
    command = f"{activation} && exec python {shlex.quote(str(_SCRIPT))} {path}"
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            ["/bin/sh", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=Plugin.getEnviron(),
            start_new_session=True,
        )
        end = time.monotonic() + STARTING_S
        while process.poll() is None and time.monotonic() < end and not stale():
            time.sleep(0.1)
        if process.returncode:
            if os.path.exists(path):
                os.remove(path)
            log.seek(0)
            lines = log.read().decode("utf-8", errors="replace").strip().splitlines()
            raise DualError(
                f"Napari did not start ({NAPARI_ENV_ACTIVATION} is '{activation}'): "
                f"{lines[-1] if lines else f'status {process.returncode}'}"
            )
    return process
