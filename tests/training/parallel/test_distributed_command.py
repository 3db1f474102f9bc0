"""``dual train`` under torchrun: one line for a failure, all end, a checkpoint stays."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, List

import pytest
from distributed_worker import BROKEN
from two_processes import PATIENCE_S, WORKER, finished, launch

from dual_core.networks.card import read_card

# By this the plugin finds the line. The engine's tests also run where Scipion is not (make floors).
MARK = "dual: error: "


def options(data: Path, run: Path, iterations: int, tomogram: str = "tomogram.mrc") -> List[str]:
    """A short ``dual train`` with a checkpoint after each iteration."""
    return [
        "train", "--noisy", str(data / tomogram), "--clean", str(data / "grand_model.mrc"),
        "--output", str(run), "--device", "cpu", "--patch", "24", "--batch", "1",
        "--contrast", "dark", "--clean-contrast", "bright",
        "--iterations", str(iterations), "--checkpoint-every", "1e-6", "--verbose",
    ]  # fmt: skip


def error_lines(log: Path) -> List[str]:
    return [line for line in log.read_text().splitlines() if "error: " in line and "dual" in line]


def test_a_file_that_is_missing_is_one_line(data: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    program = options(data, tmp_path / "run", 2, tomogram="gone.mrc")
    assert finished(log, "-m", "dual_core", *program) != 0
    (line,) = error_lines(log)
    assert MARK in line and "gone.mrc: no such file" in line


@pytest.mark.parametrize(
    "how, message", [("broken", BROKEN), ("killed", "another process of the training has ended")]
)
def test_the_failure_of_one_process_ends_all_with_one_line(
    data: Path, tmp_path: Path, how: str, message: str
) -> None:
    log, run = tmp_path / "log", tmp_path / "run"
    assert finished(log, str(WORKER), how, str(tmp_path), *options(data, run, 50)) != 0
    (line,) = error_lines(log)
    assert MARK in line and message in line
    assert read_card(run / "model.safetensors").iterations == 1


def wait_for(what: Any, process: subprocess.Popen, log: Path) -> None:
    """Until it is so; fails if the process ends before, or never gets there."""
    end = time.monotonic() + PATIENCE_S
    while not what():
        assert process.poll() is None and time.monotonic() < end, log.read_text()
        time.sleep(0.1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_with_the_launcher_all_end_and_leave_a_checkpoint(
    data: Path, tmp_path: Path, number: signal.Signals
) -> None:
    log, run = tmp_path / "log", tmp_path / "run"
    launcher = launch(log, str(WORKER), "told", str(tmp_path), *options(data, run, 5000))
    wait_for((run / "checkpoint" / "state.json").exists, launcher, log)
    launcher.send_signal(number)
    assert launcher.wait(timeout=PATIENCE_S) != 0
    end = time.monotonic() + PATIENCE_S
    for rank in (0, 1):
        process = int((tmp_path / f"process{rank}").read_text())
        while is_running(process):
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.1)
    reason = {signal.SIGTERM: "SIGTERM", signal.SIGKILL: "SIGHUP"}[number]
    text = log.read_text()
    assert text.count("stopped at iteration") == 1, text
    assert f"({reason}); the model so far is" in text
    assert error_lines(log) == []
    done = read_card(run / "model.safetensors").iterations
    assert 0 < done < 5000
    if number == signal.SIGKILL:
        return
    # The command goes on from there, says all of it once, and all hold the same.
    assert finished(log, "-m", "dual_core", *options(data, run, done + 2), "--resume") == 0
    text = log.read_text()
    for line in ("2 processes, together 2 patches", f"at iteration {done}\n", "finished; the"):
        assert text.count(line) == 1, text
    assert "largest difference between the processes' weights: 0\n" in text
    assert read_card(run / "model.safetensors").iterations == done + 2


def is_running(process: int) -> bool:
    """Whether a process is there; one that has ended and waits to be asked for is not."""
    try:
        os.kill(process, 0)
        with open(f"/proc/{process}/stat") as stream:
            return stream.read().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
