"""Training by two processes that torchrun starts, on the CPU with gloo."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, List

import numpy as np
import pytest
import torch
from distributed_worker import (
    BROKEN,
    CONFIG,
    OPTIONS,
    backward,
    joint_batch,
    joint_steps,
    small_network,
    state_of,
)
from scipy.ndimage import gaussian_filter

from dual_core.errors import DualError
from dual_core.networks.card import read_card
from dual_core.networks.model import DualModel
from dual_core.training.loop import train
from dual_core.training.monitor import read_history
from dual_core.training.parallel.distributed import TorchRanks
from dual_core.training.parallel.launched import joined
from dual_core.training.parallel.ranks import ALONE
from dual_core.volumes.reading import write_volume

WORKER = Path(__file__).with_name("distributed_worker.py")
# By this the plugin finds the line. The engine's tests also run where Scipion is not (make floors).
MARK = "dual: error: "
PATIENCE_S = 300.0  # a hang is a failure; how fast it goes is not judged


def make_data(folder: Path) -> Path:
    """A tomogram of one small cell and the grand model of another."""
    random = np.random.default_rng(0)
    for name in ("tomogram", "grand_model"):
        seeds = np.zeros((32, 48, 48), dtype=np.float32)
        seeds[tuple(random.integers(0, side, 60) for side in seeds.shape)] = 1.0
        density = gaussian_filter(seeds, 1.5) * 30
        if name == "tomogram":
            density = -density + random.standard_normal(density.shape).astype(np.float32)
        write_volume(folder / f"{name}.mrc", density.astype(np.float32), 10.0)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_data(tmp_path_factory.mktemp("data"))


def launch(log: Path, *program: str) -> subprocess.Popen:
    """Start two processes; all that they and the launcher say goes to `log`."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    # The copy under test, wherever the tests are started.
    paths = [str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH", "")]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    with open(log, "w") as stream:
        return subprocess.Popen(
            [sys.executable, *launcher, *program],
            stdout=stream,
            stderr=stream,
            stdin=subprocess.DEVNULL,
            env=environ,
        )


def finished(log: Path, *program: str) -> int:
    return launch(log, *program).wait(timeout=PATIENCE_S)


def options(data: Path, run: Path, iterations: int, tomogram: str = "tomogram.mrc") -> List[str]:
    """A short ``dual train`` with a checkpoint after each iteration."""
    return [
        "train", "--noisy", str(data / tomogram), "--clean", str(data / "grand_model.mrc"),
        "--output", str(run), "--device", "cpu", "--patch", "24", "--batch", "1",
        "--contrast", "dark", "--clean-contrast", "bright",
        "--iterations", str(iterations), "--checkpoint-every", "1e-6", "--verbose",
    ]  # fmt: skip


def error_lines(log: Path) -> List[str]:
    return [line for line in log.read_text().splitlines() if "error: " in line and "dual" in line]


def weights(run: Path) -> Dict[str, torch.Tensor]:
    return DualModel.load(run / "model.safetensors").state_dict()


# What two processes do together -------------------------------------------------------------


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


# The command --------------------------------------------------------------------------------


def test_a_file_that_is_missing_is_one_line(data: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    program = options(data, tmp_path / "run", 2, tomogram="gone.mrc")
    assert finished(log, "-m", "dual_core", *program) != 0
    (line,) = error_lines(log)
    assert MARK in line and "gone.mrc: no such file" in line


@pytest.mark.parametrize(
    "how, message", [("broken", BROKEN), ("killed", "another process of the training has ended")]
)
def test_the_failure_of_one_process_ends_all_with_one_line(
    data: Path, tmp_path: Path, how: str, message: str
) -> None:
    log, run = tmp_path / "log", tmp_path / "run"
    assert finished(log, str(WORKER), how, str(tmp_path), *options(data, run, 50)) != 0
    (line,) = error_lines(log)
    assert MARK in line and message in line
    assert read_card(run / "model.safetensors").iterations == 1


def wait_for(what: Any, process: subprocess.Popen, log: Path) -> None:
    """Until it is so; fails if the process ends before, or never gets there."""
    end = time.monotonic() + PATIENCE_S
    while not what():
        assert process.poll() is None and time.monotonic() < end, log.read_text()
        time.sleep(0.1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_with_the_launcher_all_end_and_leave_a_checkpoint(
    data: Path, tmp_path: Path, number: signal.Signals
) -> None:
    log, run = tmp_path / "log", tmp_path / "run"
    launcher = launch(log, str(WORKER), "told", str(tmp_path), *options(data, run, 5000))
    wait_for((run / "checkpoint" / "state.json").exists, launcher, log)
    launcher.send_signal(number)
    assert launcher.wait(timeout=PATIENCE_S) != 0
    end = time.monotonic() + PATIENCE_S
    for rank in (0, 1):
        process = int((tmp_path / f"process{rank}").read_text())
        while is_running(process):
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.1)
    reason = {signal.SIGTERM: "SIGTERM", signal.SIGKILL: "SIGHUP"}[number]
    text = log.read_text()
    assert text.count("stopped at iteration") == 1, text
    assert f"({reason}); the model so far is" in text
    assert error_lines(log) == []
    done = read_card(run / "model.safetensors").iterations
    assert 0 < done < 5000
    if number == signal.SIGKILL:
        return
    # The command goes on from there, says all of it once, and all hold the same.
    assert finished(log, "-m", "dual_core", *options(data, run, done + 2), "--resume") == 0
    text = log.read_text()
    for line in ("2 processes, together 2 patches", f"at iteration {done}\n", "finished; the"):
        assert text.count(line) == 1, text
    assert "largest difference between the processes' weights: 0\n" in text
    assert read_card(run / "model.safetensors").iterations == done + 2


def is_running(process: int) -> bool:
    """Whether a process is there; one that has ended and waits to be asked for is not."""
    try:
        os.kill(process, 0)
        with open(f"/proc/{process}/stat") as stream:
            return stream.read().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


# One process, and which GPU -----------------------------------------------------------------


def test_one_process_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    with joined() as ranks:
        assert ranks is ALONE
    for name, value in (("RANK", "0"), ("LOCAL_RANK", "0"), ("WORLD_SIZE", "1")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MASTER_ADDR", "localhost")
    monkeypatch.setenv("MASTER_PORT", "1")
    with joined() as ranks:
        assert (ranks.first, ranks.count, ranks.orphaned) == (True, 1, False)


def test_alone_every_method_gives_back_what_it_got() -> None:
    values = {"a": 0.1}
    assert ALONE.mean(values) is values
    assert ALONE.largest(3) == 3
    assert ALONE.gather(values) == [values]
    network = small_network(seed=0)
    backward(network, joint_batch())
    before = network[0].weight.grad.clone(), state_of(network)
    ALONE.average_gradients(network.parameters())
    ALONE.average_buffers([network])
    ALONE.share_first(network)
    assert torch.equal(network[0].weight.grad, before[0])
    assert state_of(network) == before[1]


def test_each_process_takes_the_gpu_of_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: List[torch.device] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    monkeypatch.setattr("torch.distributed.is_nccl_available", lambda: False)
    monkeypatch.setattr(TorchRanks, "largest", lambda self, number: number)
    for local in (0, 1):
        ranks = TorchRanks(None, local, 2, local)
        for name, first in (("cuda", 0), ("auto", 0), ("cuda:2", 2)):
            assert ranks.device(name) == torch.device("cuda", first + local) == taken[-1]
        assert ranks.device("cpu") == torch.device("cpu")
    with pytest.raises(DualError, match="needs a GPU of its own.*sees 4"):
        TorchRanks(None, 1, 2, 1).device("cuda:3")
    with pytest.raises(DualError, match="unknown"):
        TorchRanks(None, 1, 2, 1).device("cuda:x")
