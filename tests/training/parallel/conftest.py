"""The data that the tests of training by several processes share."""

from __future__ import annotations

from pathlib import Path

import pytest
from two_processes import make_data


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_data(tmp_path_factory.mktemp("data"))
