"""Two lists of files that belong together one by one: their names tell where the order does not.

A shell sorts ``tomo_1.mrc`` before ``tomo_10.mrc``, and may sort ``tomo_10_picks.csv`` before
``tomo_1_picks.csv``: two patterns that look alike then give two orders.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import List, Optional, Sequence, Set

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
    known = set(stems)
    by_owner = {_owner(Path(path).stem, known): path for path in second}
    if len(known) == len(first) and by_owner.keys() == known:
        found = [by_owner[stem] for stem in stems]
        if found != list(second):
            logger.warning(
                "the files are in two orders; each is taken with the one that its name begins "
                "with: %s with %s", printable(first[0]), printable(found[0]),
            )
        return found
    numbers = [_numbers(path) for path in first], [_numbers(path) for path in second]
    if len(set(numbers[0])) == len(first) and sorted(numbers[0]) == sorted(numbers[1]):
        for path, other, one, two in zip(first, second, *numbers):
            if one != two:
                logger.warning(
                    "%s is taken with %s, by their places in both lists: give both in one order "
                    "if that is wrong", printable(path), printable(other),
                )
                break
    return list(second)


def _owner(name: str, stems: Set[str]) -> Optional[str]:
    """The longest stem that a name begins with, as a whole word or number."""
    for end in range(len(name), 0, -1):
        if name[:end] in stems and not name[end : end + 1].isalnum():
            return name[:end]
    return None


def _numbers(path: str) -> str:
    """The numbers in a file's name, without leading zeros."""
    return " ".join(str(int(digits)) for digits in re.findall(r"[0-9]{1,18}", Path(path).stem))
