"""Trainings that end early: stopped, resumed exactly, refused, and drawing ahead."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict

import numpy as np
import pytest
import torch
from tiny_training import OPTIONS, Interrupt, config, run, weights

from dual_core.errors import DualError
from dual_core.networks.card import read_card
from dual_core.training.data import open_training_data
from dual_core.training.monitor import read_history
from dual_core.training.pairs import draws
from dual_core.training.session import Session
from dual_core.training.step import Trainer
from dual_core.volumes.arithmetic import DeviceArithmetic


@pytest.mark.parametrize("method", ["stable", "paper"])
@pytest.mark.parametrize("memory_budget", [2 << 30, 1000])
def test_resumed_run_gives_identical_weights(
    data: Dict[str, Path], tmp_path: Path, method: str, memory_budget: int
) -> None:
    settings = config(method=method)
    if method == "paper":
        settings = config(
            method=method, calibration_weight=0.0, rehearsals=0, generator_rehearsals=0,
            clean_cycle_share=1.0, noisy_cycle_share=1.0, clean_adversarial_share=1.0,
        )
    options = replace(OPTIONS, memory_budget=memory_budget)
    run(data, tmp_path / "whole", settings, options)
    first = run(
        data, tmp_path / "halves", settings, options, progress=Interrupt(3, signal.SIGTERM)
    )
    assert (first.iterations, first.finished, first.reason) == (3, False, "SIGTERM")
    second = run(data, tmp_path / "halves", settings, options, resume=True)
    assert second.finished
    one, two = weights(tmp_path / "whole"), weights(tmp_path / "halves")
    assert one.keys() == two.keys()
    for name in one:
        assert torch.equal(one[name], two[name]), name
    histories = [read_history(tmp_path / name) for name in ("whole", "halves")]
    for entry in (*histories[0], *histories[1]):
        entry.pop("seconds")
    assert histories[0] == histories[1]


def test_another_seed_gives_other_weights(data: Dict[str, Path], tmp_path: Path) -> None:
    run(data, tmp_path / "a", config(iterations=2))
    run(data, tmp_path / "b", config(iterations=2, seed=1))
    one, two = weights(tmp_path / "a"), weights(tmp_path / "b")
    assert any(not torch.equal(one[name], two[name]) for name in one)


def test_sigint_keeps_a_model_and_says_how_to_go_on(data: Dict[str, Path], tmp_path: Path) -> None:
    result = run(data, tmp_path, progress=Interrupt(2, signal.SIGINT))
    assert (result.iterations, result.reason) == (2, "SIGINT")
    assert read_card(tmp_path / "model.safetensors").iterations == 2
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_runs_outside_the_main_thread(data: Dict[str, Path], tmp_path: Path) -> None:
    results = []
    thread = threading.Thread(
        target=lambda: results.append(run(data, tmp_path, config(iterations=1)))
    )
    thread.start()
    thread.join()
    assert results[0].finished


def test_time_limit_leaves_a_model_to_go_on_from(data: Dict[str, Path], tmp_path: Path) -> None:
    result = run(data, tmp_path, options=replace(OPTIONS, time_limit_min=1e-6))
    assert result.reason == "time limit"
    assert 0 < result.iterations < 6
    assert run(data, tmp_path, resume=True).finished


def test_non_finite_loss_stops_and_keeps_the_last_checkpoint(
    data: Dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(data, tmp_path, progress=Interrupt(3, signal.SIGTERM))
    before = weights(tmp_path)
    step = Trainer.step

    def broken(self: Trainer, *arguments: Any) -> Dict[str, float]:
        return {**step(self, *arguments), "loss": float("nan")}

    monkeypatch.setattr(Trainer, "step", broken)
    with pytest.raises(DualError, match="not finite at iteration 4.*--resume"):
        run(data, tmp_path, resume=True)
    monkeypatch.undo()
    for name, weight in weights(tmp_path).items():
        assert torch.equal(weight, before[name])
    assert run(data, tmp_path, resume=True).finished


def test_a_batch_that_is_not_finite_changes_no_weight(data: Dict[str, Path]) -> None:
    settings = config()
    found = open_training_data([data["tomogram"]], [data["grand_model"]], settings)
    session = Session(found, settings, torch.device("cpu"), False)
    before = {name: value.clone() for name, value in session.trainer.model.state_dict().items()}
    batch = session.draws.next().batch
    values = session.trainer.step(batch._replace(density=batch.density * float("inf")), 0.0)
    assert not np.isfinite(list(values.values())).all()
    for name, value in session.trainer.model.state_dict().items():
        if "standardise" not in name and "_u" not in name and "_v" not in name:
            assert torch.equal(value, before[name]), name


def test_resuming_is_exact_where_the_device_draws(
    data: Dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU, with torch: pools of tensors go into the checkpoint and come back."""
    monkeypatch.setattr(draws, "arithmetic_on", DeviceArithmetic)
    settings = config(generator_rehearsals=1, recorrupted=1, recorrupted_from=0.0)
    run(data, tmp_path / "whole", settings)
    run(data, tmp_path / "halves", settings, progress=Interrupt(3, signal.SIGTERM))
    assert run(data, tmp_path / "halves", settings, resume=True).finished
    monkeypatch.undo()
    run(data, tmp_path / "host", settings)
    one, two, host = (weights(tmp_path / name) for name in ("whole", "halves", "host"))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not all(torch.equal(one[name], host[name]) for name in one)


def test_resume_refuses_another_training(data: Dict[str, Path], tmp_path: Path) -> None:
    run(data, tmp_path, config(iterations=2))
    with pytest.raises(DualError, match="another seed"):
        run(data, tmp_path, config(iterations=2, seed=7), resume=True)
    with pytest.raises(DualError, match="no checkpoint"):
        run(data, tmp_path / "elsewhere", resume=True)


def test_drawing_ahead_changes_nothing(data: Dict[str, Path]) -> None:
    """Neither the weights nor where the draws stand, though the thread is one iteration ahead."""
    found = []
    for beside in (False, True):
        settings = config(recorrupted_from=0.0)
        opened = open_training_data([data["tomogram"]], [data["grand_model"]], settings)
        session = Session(opened, settings, torch.device("cpu"), False)
        with session.drawing_ahead() if beside else contextlib.nullcontext():
            for _ in range(3):
                session.iterate()
            if beside:
                wait_for_draws(session, 4)
            tensors, values = session._draws()
        found.append((session.trainer.weights(), tensors, values))
    assert session.draws.generator.bit_generator.state != found[1][2]["generator"]
    assert found[0][2] == found[1][2]
    assert found[0][1].keys() == found[1][1].keys()
    for name, tensor in found[0][1].items():
        assert torch.equal(tensor, found[1][1][name]), name
    for one, other in zip(found[0][0], found[1][0]):
        assert torch.equal(one, other)


def wait_for_draws(session: Session, iteration: int) -> None:
    end = time.monotonic() + 60.0
    while session.draws.iteration < iteration:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_moments_from_a_checkpoint_lie_as_the_weights_do(
    data: Dict[str, Path], tmp_path: Path
) -> None:
    """A fused step goes through them in the order of the memory."""
    run(data, tmp_path, config(iterations=1))
    opened = open_training_data([data["tomogram"]], [data["grand_model"]], config())
    session = Session(opened, config(), torch.device("cpu"), False)
    session.restore(tmp_path)
    moments = session.trainer.generator_optimiser.state
    assert any(not weight.is_contiguous() for weight in moments)
    for weight, entry in moments.items():
        assert entry["exp_avg"].stride() == entry["exp_avg_sq"].stride() == weight.stride()
