"""What is said of the volumes of a training before it starts."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, label

from dual_core.errors import DualError
from dual_core.training.config import TrainingConfig, preset_config
from dual_core.training.data import open_training_data
from dual_core.training.domains import looks_like_labels
from dual_core.volumes.reading import open_volume, write_volume

SHAPE = (32, 48, 40)


def density(seed: int = 0) -> np.ndarray:
    """Sparse blobs on zero, float32."""
    random = np.random.default_rng(seed)
    seeds = np.zeros(SHAPE, dtype=np.float32)
    seeds[tuple(random.integers(0, side, 40) for side in SHAPE)] = 1.0
    blobs = gaussian_filter(seeds, 1.5) * 6000
    return np.where(blobs > 20, blobs, 0).astype(np.float32)


def write(
    path: Path, array: np.ndarray, dtype: Any = np.float32, voxel_size_A: float = 10.0
) -> Path:
    write_volume(path, array, voxel_size_A, dtype=dtype)
    return path


def instances() -> np.ndarray:
    return np.asarray(label(density() > 20)[0])


@pytest.mark.parametrize(
    "array, dtype, is_mask",
    [
        (lambda: density() > 20, np.int8, True),
        (instances, np.uint16, True),
        (lambda: instances() % 5, np.int16, True),
        (density, np.int16, False),
        (density, np.float32, False),
        (lambda: density() - 20, np.int16, False),
        (lambda: (density() > 20) * 3.0, np.float32, False),
        (lambda: density() / 5, np.int8, False),
    ],
)
def test_masks_are_told_from_density(
    tmp_path: Path, array: Callable[[], np.ndarray], dtype: Any, is_mask: bool
) -> None:
    path = write(tmp_path / "v.mrc", np.asarray(array(), dtype=np.float32), dtype)
    assert looks_like_labels(open_volume(path)) is is_mask


def open_data(tmp_path: Path, *clean: Path) -> None:
    random = np.random.default_rng(1)
    noise = random.standard_normal(SHAPE).astype(np.float32) * 100
    noisy = write(tmp_path / "tomogram.mrc", noise - density(1))
    settings = TrainingConfig(
        contrast="dark", clean_contrast="bright", calibration_weight=0.0, rehearsals=0,
        generator_rehearsals=0,
    )
    open_training_data([noisy], clean, settings)


def test_a_mask_among_the_grand_models_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good = write(tmp_path / "grand_model_0.mrc", density())
    integers = write(tmp_path / "grand.mrc", density(), np.int16)
    by_name = write(tmp_path / "class_mask_0.mrc", density())
    by_values = write(tmp_path / "classes.mrc", density() > 20, np.int8)
    with caplog.at_level(logging.WARNING):
        open_data(tmp_path, good, integers, by_name, by_values)
    said = [record.getMessage() for record in caplog.records if "mask" in record.getMessage()]
    assert len(said) == 2 and all("leave it out" in line for line in said)
    assert str(by_name) in said[0] and str(by_values) in said[1]


@pytest.mark.parametrize("value, words", [(np.nan, "z, y, x = 3, 4, 5"), (7.0, "every voxel")])
@pytest.mark.parametrize("voxel_size_A", [10.0, 14.0])
def test_nothing_is_said_of_unusable_volumes_but_the_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, value: float, words: str, voxel_size_A: float
) -> None:
    bad = density()
    bad[(3, 4, 5) if np.isnan(value) else ...] = value
    clean = [
        write(tmp_path / "good.mrc", density()),
        write(tmp_path / "bad.mrc", bad, voxel_size_A=voxel_size_A) if value == 7.0
        else write_with_nan(tmp_path / "bad.mrc", bad, voxel_size_A),
    ]
    with caplog.at_level(logging.INFO), pytest.raises(DualError, match=f"bad.mrc.*{words}"):
        open_data(tmp_path, *clean)
    assert not caplog.records


def write_with_nan(path: Path, array: np.ndarray, voxel_size_A: float) -> Path:
    """Like `write`, for what the writer refuses."""
    import mrcfile

    with mrcfile.new(path) as file:
        file.set_data(array)
        file.voxel_size = voxel_size_A
    return path


def test_a_patch_longer_than_the_simulated_blocks_finds_room(tmp_path: Path) -> None:
    grand_model = np.tile(density(), (3, 2, 2))
    noise = np.random.default_rng(1).standard_normal(grand_model.shape).astype(np.float32)
    noisy = write(tmp_path / "noisy.mrc", noise * grand_model.std() - grand_model)
    clean = write(tmp_path / "clean.mrc", grand_model)
    data = open_training_data([noisy], [clean], preset_config("quick", patch=80))
    assert data.simulator is not None
    assert data.simulator.draw(2, np.random.default_rng(0)).tomogram.shape == (2, 1, 80, 80, 80)
