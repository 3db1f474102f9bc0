"""Set-up that must be in place before the first import of a test.

Scipion reads its variables once, when pyworkflow is imported, and pytest imports this file
before any test module.
"""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import tempfile
from pathlib import Path
from typing import Iterator

import pytest
from scipion_home import REPOSITORY, scipion_variables

# A check in one of these modules that fails shows the values, as one in a test does.
pytest.register_assert_rewrite("crafted_mrc", "report_page")

# The networks of the tests are tiny: threads would spend their time waiting for each other, and
# on a busy machine minutes of it. Must be set before torch is imported; subprocesses inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

_HOME = Path(tempfile.mkdtemp(prefix="dual-tests-scipion-"))
atexit.register(shutil.rmtree, str(_HOME), ignore_errors=True)
# Plain assignment: a Scipion of the user's must be neither used nor written to.
os.environ.update(scipion_variables(_HOME))


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """A command sets levels and handlers for the whole process; the next test must not see it."""
    root, ours = logging.getLogger(), logging.getLogger("dual_core")
    handlers, levels = root.handlers[:], (root.level, ours.level)
    yield
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])


@pytest.fixture
def scipion_environment(tmp_path: Path) -> dict:
    """Environment of a process that runs Scipion in a home of its own."""
    home = tmp_path / "scipion"
    home.mkdir()
    return {**os.environ, **scipion_variables(home)}


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the checkout."""
    return REPOSITORY
