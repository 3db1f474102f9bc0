"""The history of a run, and the warnings of the ways in which it can go wrong."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any, Dict, List

import pytest

from dual_core.errors import DualError
from dual_core.training.monitor import HISTORY, WINDOW, History, Watch, read_history

# History ------------------------------------------------------------------------------------


def entry(iteration: int) -> Dict[str, Any]:
    return {"iteration": iteration, "loss": 1.0 / iteration, "warnings": ["µ"]}


def filled(run: Path, count: int) -> None:
    history = History(run)
    for iteration in range(1, count + 1):
        history.add(entry(iteration))


def iterations(run: Path) -> List[int]:
    return [found["iteration"] for found in read_history(run)]


def test_entries_come_back_as_they_were(tmp_path):
    filled(tmp_path, 3)
    assert read_history(tmp_path) == [entry(1), entry(2), entry(3)]


def test_each_entry_is_a_line_at_once(tmp_path):
    """The file is watched while the run goes on."""
    history = History(tmp_path)
    for iteration in (1, 2):
        history.add(entry(iteration))
        lines = (tmp_path / HISTORY).read_text().splitlines()
        assert len(lines) == iteration
        assert json.loads(lines[-1]) == entry(iteration)


@pytest.mark.parametrize(
    "line",
    (
        '{"iteration": 1, "loss": NaN}', '{"iteration": 1, "loss": 1e999}', '{"loss": 1.0}',
        '{"iteration": -1}', '{"iteration": 1.5}', '{"iteration": true}', '{"iteration": "1"}',
        '{"iteration": 1, "loss": null}', '{"iteration": 1, "seconds": -3}', "[]", "null", "\0",
        '{"iteration": 1, "warnings": 3}', "[" * 10_000, '{"iteration": %s}' % ("9" * 5000),
    ),
    ids=lambda line: line[:30],
)
def test_a_line_that_is_no_entry_is_left_out_and_named(tmp_path, caplog, line):
    filled(tmp_path, 2)
    with open(tmp_path / "history.jsonl", "a", encoding="utf-8") as stream:
        stream.write(line + "\n")
    History(tmp_path, 2).add(entry(3))
    assert iterations(tmp_path) == [1, 2, 3]
    assert "line 3" in caplog.text
    assert len(caplog.text) < 500


def test_a_new_run_starts_a_new_history(tmp_path):
    filled(tmp_path, 3)
    History(tmp_path).add(entry(7))
    assert iterations(tmp_path) == [7]


@pytest.mark.parametrize(("resumed_at", "kept"), ((0, []), (2, [1, 2]), (5, [1, 2, 3, 4, 5])))
def test_resuming_drops_what_the_checkpoint_does_not_know(tmp_path, resumed_at, kept):
    filled(tmp_path, 5)
    history = History(tmp_path, resumed_at)
    assert iterations(tmp_path) == kept
    history.add(entry(resumed_at + 1))
    assert iterations(tmp_path) == [*kept, resumed_at + 1]
    assert read_history(tmp_path)[: len(kept)] == [entry(number) for number in kept]


def test_resuming_without_a_history_starts_one(tmp_path):
    History(tmp_path, 40).add(entry(41))
    assert iterations(tmp_path) == [41]


@pytest.mark.parametrize("left", (1, 12, 30))
def test_a_last_line_cut_short_is_left_out(tmp_path, left):
    filled(tmp_path, 2)
    with open(tmp_path / HISTORY, "a") as stream:
        stream.write(json.dumps(entry(3))[:left])
    assert iterations(tmp_path) == [1, 2]
    # The next line must not be glued to it.
    History(tmp_path, 2).add(entry(3))
    assert iterations(tmp_path) == [1, 2, 3]


def test_no_history_is_an_empty_one(tmp_path):
    assert read_history(tmp_path) == []


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    history = History(run)
    (run / HISTORY).unlink()
    run.rmdir()
    with pytest.raises(DualError, match="cannot be written.*--resume") as caught:
        history.add(entry(1))
    assert "\n" not in str(caught.value)


# Watch --------------------------------------------------------------------------------------

HEALTHY = {
    "loss_discriminators": 2.4,
    "deviation_denoised": 0.8,
    "cc_denoised": 0.4,
    "cc_tomogram": 0.4,
    "loss": -3.0,
}
COLLAPSES = {
    "discriminators always win": {"loss_discriminators": 0.01},
    "nearly constant": {"deviation_denoised": 0.001},
    "negative": {"cc_denoised": -0.3},
    "with their noise": {"cc_tomogram": 0.95},
}


def look(watch: Watch, count: int, **changes: float) -> List[str]:
    return [warning for _ in range(count) for warning in watch.look({**HEALTHY, **changes})]


def test_a_healthy_run_gets_no_warning():
    assert look(Watch(), 5 * WINDOW) == []


@pytest.mark.parametrize("words", sorted(COLLAPSES))
def test_each_collapse_is_named_once(words, caplog):
    watch = Watch()
    with caplog.at_level(logging.WARNING):
        assert look(watch, WINDOW - 1, **COLLAPSES[words]) == [], "not before it can be judged"
        (warning,) = look(watch, 3 * WINDOW, **COLLAPSES[words])
    assert words in warning
    assert ";" in warning, "what is wrong; what to do"
    assert "\n" not in warning
    assert [record.getMessage() for record in caplog.records] == [warning]
    # Not again, even when it had recovered meanwhile.
    assert look(watch, 2 * WINDOW) == []
    assert look(watch, 2 * WINDOW, **COLLAPSES[words]) == []


def test_a_collapse_that_comes_late_is_seen():
    watch = Watch()
    assert look(watch, 4 * WINDOW) == []
    assert len(look(watch, WINDOW, cc_denoised=-0.5)) == 1


def test_different_collapses_are_named_one_by_one():
    watch = Watch()
    together = {name: value for change in COLLAPSES.values() for name, value in change.items()}
    warnings = look(watch, 2 * WINDOW, **together)
    assert len(warnings) == len(set(warnings)) == len(COLLAPSES)


@pytest.mark.parametrize("words", sorted(COLLAPSES))
def test_a_few_odd_iterations_are_no_collapse(words):
    watch = Watch()
    assert look(watch, WINDOW) == []
    assert look(watch, WINDOW // 20, **COLLAPSES[words]) == []
    assert look(watch, WINDOW) == []
