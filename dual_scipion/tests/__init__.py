"""Tests of the plugin as Scipion runs them: ``scipion3 tests dual_scipion.tests``."""

from __future__ import annotations

import unittest
from pathlib import Path
from typing import Optional

HERE = Path(__file__).resolve().parent


def load_tests(
    loader: unittest.TestLoader, tests: unittest.TestSuite, pattern: Optional[str]
) -> unittest.TestSuite:
    """Collect every test module here: Scipion's runner itself does not look into a package."""
    return loader.discover(
        start_dir=str(HERE), pattern=pattern or "test*.py", top_level_dir=str(HERE.parents[1])
    )
