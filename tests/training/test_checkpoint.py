"""Checkpoints: exact, whole or absent, and one is always there."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any, Callable, Dict, List

import numpy as np
import pytest
import torch
from torch import nn

from dual_core.errors import DualError
from dual_core.training import checkpoint
from dual_core.training.checkpoint import (
    FOLDER,
    PREVIOUS,
    TENSORS,
    VALUES,
    load_checkpoint,
    optimiser_tensors,
    restore_optimiser,
    save_checkpoint,
)
from dual_core.volumes.patches import generator_state, restored_generator


def tensors_of(number: int) -> Dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(number)
    return {"weight": torch.randn(3, 4, generator=generator), "count": torch.tensor(float(number))}


def save(run: Path, number: int) -> None:
    save_checkpoint(run, tensors_of(number), {"iteration": number})


def assert_holds(run: Path, number: int) -> None:
    tensors, values = load_checkpoint(run)
    assert values == {"iteration": number}
    assert tensors.keys() == tensors_of(number).keys()
    for name, expected in tensors_of(number).items():
        assert torch.equal(tensors[name], expected)


# Round trip ---------------------------------------------------------------------------------


def test_tensors_come_back_as_they_were(tmp_path):
    torch.manual_seed(0)
    wide = torch.randn(6, 8)
    tensors = {
        "float32": torch.randn(2, 3),
        "float64": torch.randn(3, dtype=torch.float64),
        "bfloat16": torch.randn(5).bfloat16(),
        "int64": torch.arange(4),
        "bytes": torch.arange(7, dtype=torch.uint8),
        "scalar": torch.tensor(3.5),
        "empty": torch.zeros(0, 4),
        "part of a larger one": wide[2:4],
        "turned": torch.randn(4, 5).T,
        "channels last": torch.randn(2, 3, 4, 4, 4).to(memory_format=torch.channels_last_3d),
        "with gradient": torch.randn(3, requires_grad=True),
        "not finite": torch.tensor([np.nan, np.inf, -0.0]),
    }
    save_checkpoint(tmp_path, tensors, {})
    found, _ = load_checkpoint(tmp_path)
    assert found.keys() == tensors.keys()
    for name, expected in tensors.items():
        assert found[name].dtype == expected.dtype
        assert found[name].shape == expected.shape
        # Bit by bit, so that not-a-number counts as well.
        values = [tensor.detach().double().numpy() for tensor in (found[name], expected)]
        assert values[0].tobytes() == values[1].tobytes(), name


def test_values_come_back_as_they_were(tmp_path):
    generator = np.random.default_rng(3)
    generator.standard_normal(10)
    values = {
        "iteration": 7,
        "share": 0.1 + 0.2,
        "nothing": None,
        "name": "µ",
        "pool": [[0, [1, 2, 3], 27]],
        "generator": generator_state(generator),
    }
    save_checkpoint(tmp_path, tensors_of(1), values)
    _, found = load_checkpoint(tmp_path)
    assert found == values
    again = restored_generator(found["generator"])
    assert np.array_equal(again.standard_normal(5), generator.standard_normal(5))


def test_no_pickle_is_written(tmp_path):
    save(tmp_path, 1)
    assert sorted(os.listdir(tmp_path / FOLDER)) == sorted([TENSORS, VALUES])
    json.loads((tmp_path / FOLDER / VALUES).read_text())
    # A safetensors file: the length of a JSON header, then the header.
    content = (tmp_path / FOLDER / TENSORS).read_bytes()
    json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])


# Optimisers ---------------------------------------------------------------------------------


class Training:
    """A small net that is trained with AdamW on numbers that depend on the iteration alone."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
        self.optimiser = torch.optim.AdamW(
            self.net.parameters(), lr=1e-2, betas=(0.9, 0.99), weight_decay=1e-2
        )

    def train(self, first: int, last: int) -> None:
        for iteration in range(first, last):
            for group in self.optimiser.param_groups:
                group["lr"] = 1e-2 / (1 + iteration)
            inputs = torch.randn(16, 4, generator=torch.Generator().manual_seed(iteration))
            self.optimiser.zero_grad()
            (self.net(inputs) - inputs.sum(dim=1, keepdim=True)).square().mean().backward()
            self.optimiser.step()

    def tensors(self) -> Dict[str, torch.Tensor]:
        found = {f"net.{name}": value for name, value in self.net.state_dict().items()}
        found.update(optimiser_tensors(self.optimiser, "adam"))
        return found

    def restore(self, tensors: Dict[str, torch.Tensor]) -> None:
        weights = {n[len("net.") :]: v for n, v in tensors.items() if n.startswith("net.")}
        self.net.load_state_dict(weights)
        restore_optimiser(self.optimiser, tensors, "adam")


def test_an_optimiser_goes_on_exactly(tmp_path):
    whole = Training()
    whole.train(0, 20)

    first = Training()
    first.train(0, 11)
    save_checkpoint(tmp_path, first.tensors(), {})
    second = Training()
    second.train(0, 3)  # what it did before is forgotten
    second.restore(load_checkpoint(tmp_path)[0])
    second.train(11, 20)

    expected, found = whole.tensors(), second.tensors()
    assert expected.keys() == found.keys()
    assert {name.rsplit(".", 1)[1] for name in expected if name.startswith("adam")} == {
        "step",
        "exp_avg",
        "exp_avg_sq",
    }
    for name, value in expected.items():
        assert torch.equal(value, found[name]), name


def test_without_its_state_the_optimiser_would_go_elsewhere(tmp_path):
    whole, forgetful = Training(), Training()
    whole.train(0, 12)
    first = Training()
    first.train(0, 11)
    forgetful.net.load_state_dict(first.net.state_dict())
    forgetful.train(11, 12)
    assert not torch.equal(whole.net[0].weight, forgetful.net[0].weight)


def test_an_optimiser_that_has_not_begun_has_no_tensors():
    training = Training()
    assert optimiser_tensors(training.optimiser, "adam") == {}
    restore_optimiser(training.optimiser, {"adamant.0.step": torch.tensor(1.0)}, "adam")
    assert optimiser_tensors(training.optimiser, "adam") == {}


# One is always there ------------------------------------------------------------------------


def test_the_checkpoint_before_is_kept(tmp_path):
    for number in (1, 2, 3):
        save(tmp_path, number)
    assert sorted(os.listdir(tmp_path)) == [FOLDER, PREVIOUS]
    assert_holds(tmp_path, 3)
    kept = json.loads((tmp_path / PREVIOUS / VALUES).read_text())
    assert kept == {"iteration": 2}


def cut(name: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])

    return damage


def remove(name: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / name).unlink()

    return damage


def fill(name: str, content: bytes) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / name).write_bytes(content)

    return damage


DAMAGES: List[Any] = [
    pytest.param(cut(TENSORS), id="cut tensors"),
    pytest.param(cut(VALUES), id="cut values"),
    pytest.param(remove(TENSORS), id="no tensors"),
    pytest.param(remove(VALUES), id="no values"),
    pytest.param(fill(TENSORS, b""), id="empty tensors"),
    pytest.param(fill(VALUES, b""), id="empty values"),
    pytest.param(fill(TENSORS, b"\x80\x04\x95" * 99), id="pickle"),
    pytest.param(fill(VALUES, b"\xff\xfe\xfd"), id="no text"),
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path, damage):
    save(tmp_path, 1)
    save(tmp_path, 2)
    damage(tmp_path / FOLDER)
    assert_holds(tmp_path, 1)


@pytest.mark.parametrize("damage", DAMAGES)
def test_only_damaged_checkpoints_are_said_to_be_so(tmp_path, damage):
    save(tmp_path, 1)
    save(tmp_path, 2)
    for folder in (FOLDER, PREVIOUS):
        damage(tmp_path / folder)
    with pytest.raises(DualError, match="--resume") as caught:
        load_checkpoint(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("folder", (".", "nowhere"))
def test_a_run_without_checkpoints_is_told(tmp_path, folder):
    with pytest.raises(DualError, match="holds no checkpoint"):
        load_checkpoint(tmp_path / folder)


class Failing:
    """A function that fails at one of its calls, as on a full disk or when the run is killed."""

    def __init__(self, function: Callable[..., Any], at: int, error: BaseException) -> None:
        self._function = function
        self._left = at
        self._error = error

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        if self._left == 0:
            raise self._error
        self._left -= 1
        return self._function(*arguments, **options)


STEPS = [("save_file", 0), ("fsync", 0), ("fsync", 1), ("replace", 0), ("replace", 1)]


def fail_at(monkeypatch: Any, step: str, at: int, error: BaseException) -> None:
    owner = checkpoint if step == "save_file" else os
    monkeypatch.setattr(owner, step, Failing(getattr(owner, step), at, error))


@pytest.mark.parametrize("before", (1, 2))
@pytest.mark.parametrize(("step", "at"), STEPS)
def test_a_full_disk_leaves_the_last_checkpoint(tmp_path, monkeypatch, step, at, before):
    for number in range(1, before + 1):
        save(tmp_path, number)
    with monkeypatch.context() as patch:
        fail_at(patch, step, at, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
        with pytest.raises(DualError, match="No space left.*--resume") as caught:
            save(tmp_path, 9)
    assert "\n" not in str(caught.value)
    assert_holds(tmp_path, before)
    assert set(os.listdir(tmp_path)) <= {FOLDER, PREVIOUS}
    # With space again the run goes on.
    save(tmp_path, 10)
    assert_holds(tmp_path, 10)


@pytest.mark.parametrize(("step", "at"), STEPS)
def test_a_killed_run_leaves_the_last_checkpoint(tmp_path, monkeypatch, step, at):
    save(tmp_path, 1)
    save(tmp_path, 2)
    with monkeypatch.context() as patch:
        fail_at(patch, step, at, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            save(tmp_path, 9)
    assert_holds(tmp_path, 2)
    save(tmp_path, 3)
    assert_holds(tmp_path, 3)
    assert sorted(os.listdir(tmp_path)) == [FOLDER, PREVIOUS]


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(DualError, match="cannot be written"):
        save(tmp_path / "nowhere", 1)
