"""The data that the tests of trainings share."""

from __future__ import annotations

from pathlib import Path
from typing import Dict

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from dual_core.volumes.reading import write_volume


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dict[str, Path]:
    """A tomogram of one small cell and the grand model of another."""
    folder = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)
    paths = {}
    for name in ("tomogram", "grand_model"):
        seeds = np.zeros((32, 48, 48), dtype=np.float32)
        seeds[tuple(random.integers(0, side, 60) for side in seeds.shape)] = 1.0
        density = gaussian_filter(seeds, 1.5) * 30
        if name == "tomogram":
            density = -density + random.standard_normal(density.shape).astype(np.float32)
        paths[name] = folder / f"{name}.mrc"
        write_volume(paths[name], density.astype(np.float32), 10.0)
    return paths
