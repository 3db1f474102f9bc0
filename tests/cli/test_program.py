"""The program around a command: how it starts, what it logs, how it shows progress."""

import os
import subprocess
import sys

import pytest
from probe_command import make_command

from dual_core import __version__
from dual_core.cli import common
from dual_core.cli import main as cli


def test_module_entry_point_and_version():
    done = subprocess.run(
        [sys.executable, "-m", "dual_core", "--version"], capture_output=True, text=True
    )
    assert done.returncode == 0 and done.stdout.strip() == f"dual {__version__}"


@pytest.mark.parametrize(
    "name, own", [("THP_MEM_ALLOC_ENABLE", "1"), ("GOMP_SPINCOUNT", "10000")]
)
def test_what_torch_reads_is_set_before_it_is_loaded_unless_the_user_has(monkeypatch, name, own):
    seen = []
    monkeypatch.setattr(cli, "_run", lambda argv: seen.append(os.environ[name]) or 0)
    monkeypatch.setenv(name, "x")  # so that what main sets goes with this test
    monkeypatch.delenv(name)
    assert cli.main([]) == 0
    monkeypatch.setenv(name, "other")
    assert cli.main([]) == 0
    assert seen == [own, "other"]


def test_a_command_that_is_not_there_does_not_break_the_others(monkeypatch, capsys):
    monkeypatch.setitem(cli.COMMANDS, "absent", ("dual_core.cli.absent", "not written"))
    assert cli.main(["--help"]) == 0
    assert cli.main(["absent"]) == 2
    assert "absent" in capsys.readouterr().err


def test_quiet_and_verbose(monkeypatch, capsys):
    def speak(args):
        import logging

        logger = logging.getLogger("dual_core.somewhere")
        logger.debug("detail")
        logger.info("fact")
        logger.warning("careful")
        return 0

    make_command(monkeypatch, speak)
    said = {}
    for flag in ("", "--quiet", "--verbose"):
        cli.main(["probe", "a", "--name", "n"] + ([flag] if flag else []))
        said[flag] = capsys.readouterr().err.splitlines()
    assert said[""] == ["fact", "warning: careful"]
    assert said["--quiet"] == ["warning: careful"]
    assert said["--verbose"] == ["detail", "fact", "warning: careful"]


def test_progress_without_a_terminal_logs_lines(monkeypatch, caplog):
    clock = iter(range(0, 10_000, 20))
    monkeypatch.setattr(common.time, "monotonic", lambda: next(clock))
    with caplog.at_level("INFO"), common.progress_bar("t.mrc") as report:
        for done in range(1, 11):
            report(done, 10)
    lines = [r.getMessage() for r in caplog.records]
    assert len(lines) == 4 and lines[0] == "t.mrc: 2 of 10 tiles, 160 s left"


def test_progress_on_a_terminal_is_a_bar(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    common.logging.getLogger("dual_core").setLevel("INFO")
    with common.progress_bar("t.mrc") as report:
        report(5, 10)
        report(1, 20)
        report(20, 20)
    error = capsys.readouterr().err
    assert "t.mrc" in error and "20/20" in error
