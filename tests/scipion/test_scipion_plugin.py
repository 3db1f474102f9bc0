"""The plugin's own tests, run by Scipion's runner as a user or a packager would run them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Sequence

import pytest


def run_scipion_tests(
    words: Sequence[str], environment: dict, folder: Path
) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "scipion", "tests", *words],
        cwd=str(folder),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=1200,
        check=False,
    )


TESTS = Path(__file__).resolve().parents[2] / "dual_scipion" / "tests"
MODULES = sorted(path.stem for path in TESTS.glob("test_*.py"))


# One module at a time, so that two processes of pytest can share the work.
@pytest.mark.parametrize("module", MODULES)
def test_scipion_finds_and_passes_the_tests_of_the_plugin(module, scipion_environment, tmp_path):
    done = run_scipion_tests([f"dual_scipion.tests.{module}"], scipion_environment, tmp_path)
    assert done.returncode == 0, done.stdout
    # Scipion's runner closes with "[==========] run 6 tests" and "[  PASSED  ] 6 tests", coloured.
    output = re.sub(r"\x1b\[\d*m", "", done.stdout)
    (run,) = re.findall(r"^\[=+\] run (\d+) tests", output, re.MULTILINE)
    (passed,) = re.findall(r"^\[  PASSED  \] (\d+) tests", output, re.MULTILINE)
    assert int(run) == int(passed) > 0, output
    assert "does not import properly" not in output


def test_scipion_lists_every_module_of_the_plugin(scipion_environment, tmp_path):
    words = ["--show", "--grep", "dual_scipion", "--mode", "modules"]
    done = run_scipion_tests(words, scipion_environment, tmp_path)
    assert done.returncode == 0, done.stdout
    assert not [module for module in MODULES if module not in done.stdout], done.stdout


def test_an_exit_status_of_zero_means_something(scipion_environment, tmp_path):
    done = run_scipion_tests(["dual_scipion.no_such_tests"], scipion_environment, tmp_path)
    assert done.returncode != 0, done.stdout
