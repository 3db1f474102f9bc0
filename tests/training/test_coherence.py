"""Half coherence while training: a filter has 1, what knows more has more; a fall is told."""

from __future__ import annotations

import logging
from typing import Any, Dict

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from dual_core.noise_model.calibration import LinearModel
from dual_core.training.coherence import NAME, CoherenceCheck, told_at_the_end
from dual_core.volumes.patches import PatchSource, StandardisedVolume
from dual_core.volumes.reading import ArrayVolume

SIDE = 32


def structure() -> np.ndarray:
    white = np.random.default_rng(3).standard_normal((SIDE,) * 3)
    volume = gaussian_filter(white, 1.2, mode="wrap")
    return (volume / volume.std()).astype(np.float32)


@pytest.fixture
def check() -> CoherenceCheck:
    """On one block: the volume is no larger."""
    grid = np.ones((SIDE, SIDE, SIDE // 2 + 1), dtype=np.float32)
    model = LinearModel(grid, grid.copy(), (), "halves", grid.copy())
    noise = np.random.default_rng(4).standard_normal((SIDE,) * 3).astype(np.float32)
    volume = StandardisedVolume(ArrayVolume(structure() + noise, 10.0), 0.0, 1.0)
    return CoherenceCheck(model, PatchSource((volume,), SIDE, flips=()), seed=0)


def test_a_filter_has_the_ratio_1(check: CoherenceCheck) -> None:
    assert check.ratio(lambda block: block) == pytest.approx(1.0, abs=1e-6)
    smooth = check.ratio(lambda block: gaussian_filter(block, (0, 0, 1, 1, 1), mode="wrap"))
    assert smooth == pytest.approx(1.0, abs=0.05)


def test_what_knows_the_specimen_is_above_1(check: CoherenceCheck) -> None:
    found = check.ratio(lambda block: structure()[np.newaxis, np.newaxis])
    assert found is not None and found > 1.15


def test_what_invents_is_below_1(check: CoherenceCheck) -> None:
    other = np.roll(structure(), (11, 7, 5), axis=(0, 1, 2))
    found = check.ratio(lambda block: other[np.newaxis, np.newaxis])
    assert found is not None and found < 0.5


def test_the_noise_of_the_block_itself_does_not_count(check: CoherenceCheck) -> None:
    """What lets the noise through is no better than a filter, though it is like the block."""
    found = check.ratio(lambda block: block - 0.9 * structure())
    assert found is not None and found < 0.9


def entry(ratio: float, loss: float) -> Dict[str, float]:
    return {NAME: ratio, "loss_rehearsal": loss}


def test_a_fall_while_the_losses_improve_is_told_once(
    check: CoherenceCheck, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert check.look(entry(1.0, 0.5)) == []
        assert check.look(entry(1.1, 0.4)) == []
        assert check.look(entry(1.08, 0.3)) == []  # a little
        assert check.look(entry(0.9, 0.6)) == []  # the losses do not improve
        (message,) = check.look(entry(0.9, 0.2))
        assert check.look(entry(0.8, 0.1)) == []
    assert "1.10 to 0.90" in message
    assert [record.message for record in caplog.records] == [message]


@pytest.mark.parametrize(
    "ratio, word", [(1.2, "more than a filter"), (0.97, "about what"), (0.7, "less than a filter")]
)
def test_the_verdict_at_the_end(ratio: float, word: str) -> None:
    assert word in told_at_the_end(ratio)
    assert f"{ratio:.2f}" in told_at_the_end(ratio)


def test_no_pairs_no_check() -> None:
    nothing: Any = None
    assert CoherenceCheck.beside(nothing, 0) is None
