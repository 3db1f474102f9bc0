"""Two lists of files that belong together one by one: their names tell where the order does not.

A shell sorts ``tomo_1.mrc`` before ``tomo_10.mrc``, and may sort ``tomo_10_picks.csv`` before
``tomo_1_picks.csv``: two patterns that look alike then give two orders.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import List, Optional, Sequence

from dual_core.safety.shown import printable

logger = logging.getLogger(__name__)


def in_order_of(first: Sequence[str], second: Sequence[str]) -> List[str]:
    """The second list in the order of the first, as far as their names tell.

    A file belongs to another whose name its own begins with, as ``tomo_1_denoised_picks.csv`` to
    ``tomo_1.mrc``. Where that gives each its own the order is changed, with a warning. Where only
    numbers in the names speak against the order there is a warning, and the order stays.

    Parameters
    ----------
    first, second : paths; lists of different lengths are not paired, and the second is returned.
    """
    if len(first) != len(second):
        return list(second)
    stems = [Path(path).stem for path in first]
    owners = [_owner(Path(path).stem, stems) for path in second]
    given = list(range(len(stems)))
    if sorted(-1 if owner is None else owner for owner in owners) == given:
        if owners != given:
            logger.warning(
                "the files are in two orders; each is taken with the one that its name begins "
                "with: %s with %s", printable(first[0]), printable(second[owners.index(0)]),
            )
        return [second[owners.index(place)] for place in given]
    numbers = [_numbers(path) for path in first], [_numbers(path) for path in second]
    if len(set(numbers[0])) == len(given) and sorted(numbers[0]) == sorted(numbers[1]):
        for path, other, one, two in zip(first, second, *numbers):
            if one != two:
                logger.warning(
                    "%s is taken with %s, by their places in both lists: give both in one order "
                    "if that is wrong", printable(path), printable(other),
                )
                break
    return list(second)


def _owner(name: str, stems: Sequence[str]) -> Optional[int]:
    """Place of the longest stem that a name begins with, as a whole word or number."""
    fitting = [
        place for place, stem in enumerate(stems)
        if name.startswith(stem) and not name[len(stem) : len(stem) + 1].isalnum()
    ]
    return max(fitting, key=lambda place: len(stems[place]), default=None)


def _numbers(path: str) -> str:
    """The numbers in a file's name, without leading zeros."""
    return " ".join(str(int(digits)) for digits in re.findall(r"[0-9]{1,18}", Path(path).stem))
