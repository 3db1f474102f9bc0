"""Training by two processes that torchrun starts, on the CPU with gloo."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, List

import numpy as np
import pytest
import torch
from distributed_worker import (
    CONFIG,
    OPTIONS,
    backward,
    joint_batch,
    joint_steps,
    small_network,
    state_of,
)
from two_processes import WORKER, finished

from dual_core.networks.card import read_card
from dual_core.networks.model import DualModel
from dual_core.training.loop import train
from dual_core.training.monitor import read_history
from dual_core.training.parallel.ranks import ALONE


def weights(run: Path) -> Dict[str, torch.Tensor]:
    return DualModel.load(run / "model.safetensors").state_dict()


@pytest.fixture(scope="module")
def together(data: Path, tmp_path_factory: pytest.TempPathFactory) -> List[Dict[str, Any]]:
    """What each of two processes found; their trainings lie in the folder of the data."""
    alone = replace(CONFIG, iterations=2)
    train([data / "tomogram.mrc"], [data / "grand_model.mrc"], data / "alone", alone, OPTIONS)
    log = tmp_path_factory.mktemp("log") / "log"
    assert finished(log, str(WORKER), "together", str(data)) == 0, log.read_text()
    return [json.loads((data / f"found{rank}.json").read_text()) for rank in (0, 1)]


def test_averaged_gradients_are_those_of_the_joint_batch(together: List[Dict[str, Any]]) -> None:
    network = small_network(seed=0)
    backward(network, joint_batch())
    expected = [
        entry.grad.flatten().tolist() for entry in network.parameters() if entry.grad is not None
    ]
    assert together[0]["own"] != together[1]["own"]
    for found in together:
        assert found["count"] == 2
        assert found["unused"]
        assert len(found["averaged"]) == len(expected)
        for one, other in zip(found["averaged"], expected):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)


def test_two_processes_take_the_steps_of_one_with_the_joint_batch(
    data: Path, together: List[Dict[str, Any]]
) -> None:
    """All nine equations, the codes of equation 9 from both, the weights and their averages."""
    expected, tensors = joint_steps(ALONE)
    assert len(tensors[-1]) == CONFIG.batch * 5  # the pool of codes is the same too
    for rank, found in enumerate(together):
        for one, other in zip(found["joint"], expected):
            assert one.keys() == other.keys()
            for name, value in other.items():
                if not name.startswith("deviation"):  # of a batch, which is no mean over patches
                    assert one[name] == pytest.approx(value, rel=1e-4, abs=1e-6), name
        pairs = zip(torch.load(data / f"joint{rank}.pt"), tensors)
        difference = torch.cat([(one - other).abs().flatten() for one, other in pairs])
        # Adam makes a step of rounding where a gradient is next to nothing: in a few of them.
        assert difference.max() < CONFIG.learning_rate
        assert difference.mean() < 0.01 * CONFIG.learning_rate


def test_all_begin_with_the_weights_of_the_first(together: List[Dict[str, Any]]) -> None:
    expected = state_of(small_network(seed=0))
    for found in together:
        assert found["state"][0] == expected[0]
        assert found["state"][-1] == expected[-1]
        assert [0.5, 0.5, 0.5] in found["state"]  # a buffer that was 0 here and 1 there
        assert found["differences"][0] > 0.1
        assert found["differences"][1] == 0.0


def test_numbers_are_agreed_on(together: List[Dict[str, Any]]) -> None:
    for found in together:
        assert found["mean"]["a"] == 0.5
        assert np.isnan(found["mean"]["b"])
        assert found["largest"] == 10
    assert [found["gathered"] for found in together] == [[0, 1], []]


def test_weights_stay_equal_and_draws_differ(together: List[Dict[str, Any]]) -> None:
    first, second = (found["trainings"] for found in together)
    for name in ("whole", "halves", "alone"):
        for one, other in zip(first[name], second[name]):
            assert one[:3] == other[:3], name  # iterations, reason, digests of all weights
            assert one[3] != other[3], name


def test_a_stop_of_one_stops_all_and_the_resumed_run_is_exact(
    data: Path, together: List[Dict[str, Any]]
) -> None:
    for found in together:
        stopped, resumed = found["trainings"]["halves"]
        assert stopped[:2] == [3, "SIGTERM"]
        assert resumed[:2] == [6, "finished"]
        assert resumed[3] == found["trainings"]["whole"][0][3]
    whole, halves = weights(data / "whole"), weights(data / "halves")
    for name in whole:
        assert torch.equal(whole[name], halves[name]), name
    histories = [read_history(data / name) for name in ("whole", "halves")]
    for entry in (*histories[0], *histories[1]):
        entry.pop("seconds")
    assert histories[0] == histories[1]
    assert [entry["iteration"] for entry in histories[0]] == [1, 2, 3, 4, 5, 6]


def test_two_processes_train_another_model_than_one(
    data: Path, together: List[Dict[str, Any]], tmp_path: Path
) -> None:
    train([data / "tomogram.mrc"], [data / "grand_model.mrc"], tmp_path, CONFIG, OPTIONS)
    one, two = weights(tmp_path), weights(data / "whole")
    assert any(not torch.equal(one[name], two[name]) for name in one)
    first, joint = read_history(tmp_path)[0], read_history(data / "whole")[0]
    assert first["loss_tomogram"] != joint["loss_tomogram"]
    runs = tmp_path, data / "whole"
    names = [{str(path.relative_to(run)) for path in run.rglob("*")} for run in runs]
    # No file more: a second writer would leave its own, or what it was about to rename.
    assert names[1] - names[0] <= {"checkpoint.previous"}


def test_a_run_goes_on_with_another_number_of_processes(
    data: Path, together: List[Dict[str, Any]]
) -> None:
    for found in together:
        assert found["trainings"]["alone"][0][:2] == [4, "finished"]
    before = weights(data / "alone")
    noisy, clean = [data / "tomogram.mrc"], [data / "grand_model.mrc"]
    assert train(noisy, clean, data / "alone", CONFIG, OPTIONS, resume=True).finished
    assert read_card(data / "alone" / "model.safetensors").iterations == 6
    after = weights(data / "alone")
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_a_number_that_is_not_finite_stops_all(together: List[Dict[str, Any]]) -> None:
    for found in together:
        assert "not finite at iteration 3" in found["trainings"]["poisoned"]


def test_processes_that_came_apart_are_an_error(together: List[Dict[str, Any]]) -> None:
    for found in together:
        assert "weights of the processes differ" in found["trainings"]["apart"]
