"""A training without memory for its batch goes on with half of it, or ends in one line."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any, Dict, List

import pytest
import torch
from tiny_training import Interrupt, config, run, weights

from dual_core.errors import DualError
from dual_core.networks.devices import patches_that_fit
from dual_core.training import session
from dual_core.training.monitor import read_history
from dual_core.training.step import Trainer


def without_memory(monkeypatch: pytest.MonkeyPatch, most: int, first: int = 0) -> None:
    """From call `first` on there is no memory for batches of more than `most` patches."""
    generate = Trainer._generate
    calls = []

    def limited(self: Trainer, batch: Any) -> Any:
        calls.append(len(batch.tomogram))
        if len(calls) > first and len(batch.tomogram) > most:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return generate(self, batch)

    monkeypatch.setattr(Trainer, "_generate", limited)


def test_without_memory_half_the_batch_goes_on(
    data: Dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One line says so; the checkpoint keeps it, and a resumed run is that of an unbroken one."""
    settings = config(batch=4, settle_from=1.0)
    without_memory(monkeypatch, most=1, first=2)
    whole = run(data, tmp_path / "whole", settings)
    assert whole.finished
    lines = [one.message for one in caplog.records if "out of memory" in one.message]
    assert lines == [
        "out of memory on cpu with a batch of 4 at iteration 3; going on with 2",
        "out of memory on cpu with a batch of 2 at iteration 3; going on with 1",
    ]
    entries = read_history(tmp_path / "whole")
    assert [entry["iteration"] for entry in entries] == [1, 2, 3, 4, 5, 6]
    monkeypatch.undo()
    without_memory(monkeypatch, most=1, first=2)
    run(data, tmp_path / "halves", settings, progress=Interrupt(3, signal.SIGTERM))
    monkeypatch.undo()  # with memory enough for the whole batch again, which stays small
    assert run(data, tmp_path / "halves", settings, resume=True).finished
    for name, weight in weights(tmp_path / "whole").items():
        assert torch.equal(weight, weights(tmp_path / "halves")[name]), name


def test_a_gpu_with_little_memory_begins_with_a_smaller_batch(
    data: Dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    seen: List[int] = []
    generate = Trainer._generate

    def counted(self: Trainer, batch: Any) -> Any:
        seen.append(len(batch.tomogram))
        return generate(self, batch)

    monkeypatch.setattr(Trainer, "_generate", counted)
    monkeypatch.setattr(session, "patches_that_fit", lambda *given: 3)
    assert run(data, tmp_path, config(batch=4, iterations=2)).finished
    assert seen == [3, 3]
    assert "memory for a batch of 3, not 4" in caplog.text
    monkeypatch.setattr(session, "patches_that_fit", lambda *given: 99)
    assert run(data, tmp_path / "enough", config(batch=4, iterations=1)).finished
    assert seen == [3, 3, 4]


@pytest.mark.parametrize("free_gib", [0.1, 4.0, 80.0])
def test_the_patches_that_fit_follow_from_what_is_free(
    monkeypatch: pytest.MonkeyPatch, free_gib: float
) -> None:
    gpu = torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (int(free_gib * 2**30), 0))
    assert patches_that_fit(torch.device("cpu"), 64, 64, True) is None
    most = patches_that_fit(gpu, 64, 64, True)
    assert most is not None
    # As measured: 3.6 GiB for 8 patches of 64^3.
    assert most == pytest.approx(0.8 * free_gib * 8 / 3.61, abs=1.5)
    assert patches_that_fit(gpu, 64, 64, False) == pytest.approx(most / 2, abs=1)
    assert patches_that_fit(gpu, 24, 32, True) > 2 * most


def test_without_memory_for_one_patch_there_is_one_line(
    data: Dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_memory(monkeypatch, most=0)
    with pytest.raises(DualError, match="out of memory on cpu with a batch of 1; give"):
        run(data, tmp_path, config(batch=2))


def test_other_errors_of_torch_are_no_lack_of_memory(
    data: Dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("shape mismatch")

    monkeypatch.setattr(Trainer, "_generate", broken)
    with pytest.raises(RuntimeError, match="shape mismatch"):
        run(data, tmp_path)
