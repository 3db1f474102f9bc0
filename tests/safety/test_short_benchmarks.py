"""Short versions of benchmarks/fuzz.py, faults.py and shards.py, with seeds that stay."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from unittest import mock

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def benchmark(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", BENCHMARKS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    with mock.patch.object(sys, "path", [str(BENCHMARKS), *sys.path]):
        spec.loader.exec_module(module)
    return module


fuzz = benchmark("fuzz")


@pytest.fixture(scope="module")
def seeds(tmp_path_factory) -> Path:
    pytest.importorskip("gemmi")
    folder = tmp_path_factory.mktemp("seeds")
    fuzz.make_seeds(folder)
    return folder


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("family", list(fuzz.FAMILIES))
def test_malformed_inputs_end_well_or_in_one_line(family, seeds):
    inputs = 5 if family == "training directory" else 12  # each resumes or reports a training
    counts, failures = fuzz.fuzz([family], inputs, seed=20, seeds=seeds)
    assert sum(counts[family].values()) == inputs
    assert not failures, [(name, words, found.kind, found.told) for name, words, found in failures]


def test_a_failure_would_be_seen(tmp_path):
    judged = fuzz._judged
    (tmp_path / ".dual-x").write_text("")
    assert judged(0, "", tmp_path) == "temporary file left"
    (tmp_path / ".dual-x").unlink()
    assert judged(1, "dual: error: unexpected KeyError: x; run again with --debug", tmp_path) == (
        "unexpected error"
    )
    assert judged(2, "", tmp_path).startswith("status 2")
    assert judged(0, "x.py:3: RuntimeWarning: overflow", tmp_path) == "warning of a library"
    assert judged(2, "dual: error: " + "x" * 5000, tmp_path).startswith("message too long")
    assert judged(2, "dual: error: no; do", tmp_path) == "refused"


def test_killed_runs_lose_nothing_and_leave_nothing(monkeypatch):
    pytest.importorskip("torch")
    from dual_core.training import config, loop

    # The benchmark makes all networks small, in its own process as it thinks: put back afterwards.
    monkeypatch.setattr(loop, "RunOptions", loop.RunOptions)
    for method in config.METHODS:
        monkeypatch.setitem(config._METHODS, method, dict(config._METHODS[method]))
    faults = benchmark("faults")
    counts, failures = faults.try_all(["pick"], 2, seed=3, say=lambda line: None)
    assert not failures
    assert all(found["SIGKILL"] == 1 and found["full disk"] for found in counts.values())


def test_a_shard_that_is_killed_and_run_again_gives_the_files_of_one_run(tmp_path):
    pytest.importorskip("torch")
    shards = benchmark("shards")
    found = shards.try_shards(tmp_path, 4, shards=2, kills=1, seed=4, shape=(40, 96, 96))
    assert list(found["killed"].values()) == [1]  # after the first of its two files
    assert found["killed_in_time"] == 1 and found["missing_before"] == 1
    assert found["files"] == found["equal"] == found["expected"] == 4
    assert found["other_ends"] == found["ends_again"] == [0]
    assert found["told"] == {"done": 4, "failed": 0, "missing": 0}
    assert found["left_over"] == []
