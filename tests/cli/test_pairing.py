"""Two lists of files belong together by their names, whatever the order of the shell."""

from __future__ import annotations

import random

import pytest

from dual_core.cli.pairing import in_order_of

NAMES = [f"raw/tomo_{number}.mrc" for number in (1, 10, 100, 2, 21)]


@pytest.mark.parametrize("suffix", ["_picks.csv", "_denoised_picks.star", ".mrc", ".rec.csv"])
@pytest.mark.parametrize("seed", range(4))
def test_names_decide_whatever_the_order(caplog, suffix, seed):
    right = [f"picks/{name[4:-4]}{suffix}" for name in NAMES]
    assert in_order_of(NAMES, right) == right and not caplog.records
    mixed = random.Random(seed).sample(right, len(right))
    assert in_order_of(NAMES, mixed) == right
    assert [r.levelname for r in caplog.records] == (["WARNING"] if mixed != right else [])


@pytest.mark.parametrize(
    "others",
    [
        ["a.csv", "b.csv", "c.csv", "d.csv", "e.csv"],
        ["tomo_1.csv", "tomo_1_b.csv", "tomo_100.csv", "tomo_2.csv", "tomo_21.csv"],
        ["tomo_1.csv"],
        [],
        ["tomo_10.csv", "tomo_1.csv", "tomo_100.csv", "tomo_2.csv", "tomo_21.csv", "x.csv"],
    ],
)
def test_where_names_do_not_tell_the_order_stays(caplog, others):
    assert in_order_of(NAMES, others) == others
    assert not caplog.records


def test_numbers_alone_are_a_warning(caplog):
    truths = ["particles_1.csv", "particles_10.csv"]
    same = ["p/tomo_01_picks.csv", "p/tomo_10_picks.csv"]
    assert in_order_of(truths, same) == same
    assert not caplog.records
    picks = ["p/tomo_10_picks.csv", "p/tomo_1_picks.csv"]
    assert in_order_of(truths, picks) == picks
    assert "particles_1.csv is taken with p/tomo_10_picks.csv" in caplog.text
