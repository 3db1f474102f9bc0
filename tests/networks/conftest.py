"""The same random numbers for each test of a file that asks for it."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture
def _seed() -> None:
    torch.manual_seed(0)
