"""For the tests of patches: blocks of so few voxels that a small volume has many."""

from __future__ import annotations

import pytest

from dual_core.volumes import patches


@pytest.fixture
def small_pool(monkeypatch) -> None:
    monkeypatch.setattr(patches, "POOL_BLOCKS", 4)
    monkeypatch.setattr(patches, "BLOCK_SIDE", 12)
