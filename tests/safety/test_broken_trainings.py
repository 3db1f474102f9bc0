"""Trainings with a broken checkpoint, a closed terminal, a second run or unreadable input."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Dict, List

import numpy as np
import pytest
from other_process import ENVIRONMENT

from dual_core.errors import DualError
from dual_core.networks.generators import NetworkConfig
from dual_core.training.checkpoint import FOLDER, PREVIOUS, TENSORS, VALUES
from dual_core.training.config import TrainingConfig
from dual_core.training.loop import RunOptions, train
from dual_core.volumes.reading import write_volume

OPTIONS = RunOptions(device="cpu", precision="float32", previews=0)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Dict[str, Path]:
    folder = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)
    paths = {name: folder / f"{name}.mrc" for name in ("noisy", "clean")}
    clean = (random.random((24, 32, 32)) > 0.98).astype(np.float32) * 9
    write_volume(paths["clean"], clean, 10.0)
    noise = random.standard_normal(clean.shape).astype(np.float32)
    write_volume(paths["noisy"], noise - clean, 10.0)
    return paths


def small(**changes) -> TrainingConfig:
    network = NetworkConfig(
        channels=(4, 6), noise_channels=(4, 4), code_size=5, noise_side=16,
        discriminator_channels=(4, 6),
    )
    return TrainingConfig(**{
        "iterations": 4, "patch": 16, "batch": 1, "network": network, "contrast": "dark",
        "clean_contrast": "bright", "rehearsals": 1, "code_pool": 4, "calibration_weight": 1.0,
        **changes,
    })


def run(data: Dict[str, Path], folder: Path, resume: bool = False, **changes):
    options = RunOptions(device="cpu", precision="float32", previews=0,
                         checkpoint_every_min=1e-9)
    return train([data["noisy"]], [data["clean"]], folder, small(**changes), options, resume)


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "run"
    run(data, folder)
    return folder


def spoil(folder: Path, what: str) -> None:
    """Make a checkpoint wrong in a way that only its use shows."""
    import json

    from safetensors.torch import load_file, save_file

    if what == "other networks":
        tensors = load_file(str(folder / TENSORS))
        name = next(name for name in tensors if name.startswith("model."))
        save_file({**tensors, name: tensors[name][:1].clone()}, str(folder / TENSORS))
        return
    values = json.loads((folder / VALUES).read_text())
    if what == "null":
        (folder / VALUES).write_text(what)
        return
    changes = {
        "no place": {"noisy": None, "generator": {"bit_generator": "PCG64"}},
        "text": {"iteration": "many"},
        "a card of another kind": {"card": "{}"},
    }
    (folder / VALUES).write_text(json.dumps({**values, **changes[what]}))


@pytest.mark.parametrize(
    "what", ["null", "other networks", "no place", "text", "a card of another kind"]
)
def test_a_broken_checkpoint_falls_back_to_the_one_before_and_says_so(
    data, trained, tmp_path, caplog, what
):
    tmp_path = tmp_path / "run"
    shutil.copytree(trained, tmp_path)
    spoil(tmp_path / FOLDER, what)
    result = run(data, tmp_path, resume=True)
    assert result.finished
    assert FOLDER in caplog.text and "cannot be used" in caplog.text
    assert len([r for r in caplog.records if "cannot be used" in r.getMessage()]) == 1
    spoil(tmp_path / FOLDER, what)
    spoil(tmp_path / PREVIOUS, what)
    with pytest.raises(DualError, match="damaged"):
        run(data, tmp_path, resume=True)


def command(data: Dict[str, Path], folder: Path, *more: str) -> List[str]:
    return [
        sys.executable, "-m", "dual_core", "train", "--noisy", str(data["noisy"]), "--clean",
        str(data["clean"]), "--output", str(folder), "--device", "cpu", "--patch", "24",
        "--contrast", "dark", "--clean-contrast", "bright", *more,
    ]


def wait_for(path: Path, process: subprocess.Popen) -> None:
    end = time.monotonic() + 60
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_closed_terminal_ends_a_training_with_a_checkpoint(data, tmp_path):
    output = tmp_path / "run"
    first = subprocess.Popen(
        command(data, output, "--checkpoint-every", "0.001"), env=ENVIRONMENT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )
    wait_for(output / FOLDER, first)
    second = subprocess.run(command(data, output, "--resume"), env=ENVIRONMENT, text=True,
                            capture_output=True, timeout=60)
    assert second.returncode == 2
    assert f"process {first.pid} " in second.stderr
    # Whoever reads what it says has gone as well.
    assert first.stderr is not None and first.stdout is not None
    first.stderr.close()
    first.stdout.close()
    first.send_signal(signal.SIGHUP)
    assert first.wait(timeout=60) == 129
    assert (output / "model.safetensors").exists()
    assert not [name for name in os.listdir(output) if name.startswith(".")]
    (output / "model.safetensors").unlink()
    again = subprocess.run(command(data, output), env=ENVIRONMENT, text=True,
                           capture_output=True, timeout=60)
    assert again.returncode == 2
    assert "--overwrite" in again.stderr and again.stderr.count("\n") == 1


def test_an_unreadable_input_costs_no_training(data, tmp_path):
    run(data, tmp_path)
    (tmp_path / "none.mrc").write_text("x")
    with pytest.raises(DualError):
        train([tmp_path / "none.mrc"], [data["clean"]], tmp_path, small(), OPTIONS)
    assert (tmp_path / "model.safetensors").exists() and (tmp_path / FOLDER).exists()
