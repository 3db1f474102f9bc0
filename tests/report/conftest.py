"""The run that the tests of the report share, and copies of it."""

from __future__ import annotations

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from dual_core.networks.generators import NetworkConfig
from dual_core.training.config import TrainingConfig
from dual_core.training.loop import RunOptions, train
from dual_core.training.monitor import read_history
from dual_core.volumes.reading import write_volume


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """A tiny trained run, a tomogram, its truth."""
    folder = tmp_path_factory.mktemp("report")
    random = np.random.default_rng(0)
    seeds = np.zeros((24, 40, 32), dtype=np.float32)
    seeds[tuple(random.integers(0, side, 40) for side in seeds.shape)] = 1.0
    truth = gaussian_filter(seeds, 1.5) * 30
    noisy = random.standard_normal(truth.shape).astype(np.float32) - truth
    files = SimpleNamespace(
        folder=folder, run=folder / "run <b>", tomogram=folder / "tomo.mrc",
        truth=folder / "grand.mrc", noisy_array=noisy, truth_array=truth,
    )
    write_volume(files.tomogram, noisy, 10.0)
    write_volume(files.truth, truth, 10.0)
    network = NetworkConfig(
        channels=(4, 6), noise_channels=(4, 4), code_size=5, noise_side=16,
        discriminator_channels=(4, 6),
    )
    config = TrainingConfig(
        iterations=4, patch=16, batch=2, network=network, contrast="dark",
        clean_contrast="bright", rehearsals=1, code_pool=6,
    )
    options = RunOptions(device="cpu", precision="float32", previews=2, log_every=1)
    train([files.tomogram], [files.truth], files.run, config, options)
    return files


@pytest.fixture
def copy(made, tmp_path):
    """A copy of the run that a test may change, with less to draw."""
    target = tmp_path / made.run.name
    shutil.copytree(made.run, target, ignore=shutil.ignore_patterns("spectra_*", "checkpoint*"))
    kept = [{n: line[n] for n in ("iteration", "cc_density")} for line in read_history(made.run)]
    (target / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in kept))
    return target
