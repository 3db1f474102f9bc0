"""Whether torchrun started this process with others, and what becomes of an error in one of them.

Standard library only until it did: one process alone needs no torch to say what is wrong.
"""
from __future__ import annotations

import os
from contextlib import contextmanager
from typing import Iterator

from dual_core.training.parallel.ranks import ALONE, Ranks

# What torchrun tells each process; several of them are set by clusters too.
_LAUNCHED = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_FAILED = 2  # exit status of a process whose error another one has told


@contextmanager
def joined() -> Iterator[Ranks]:
    """The processes that torchrun started, connected; this one alone where it did not.

    An error is told by one process, the first that has one: the others end without a word, be it
    that they have the same, or that they lost the one that failed.

    Raises
    ------
    DualError
        If the processes cannot connect.
    """
    if not several_were_started():
        yield ALONE
        return
    from dual_core.training.parallel.distributed import connect

    ranks = connect()
    try:
        yield ranks
        ranks.leave()
    except SystemExit:  # a signal before the first iteration
        raise
    except BaseException as error:
        if ranks.tells_the_error():
            raise
        raise SystemExit(_FAILED) from error


def several_were_started() -> bool:
    """Whether this is one of several processes of torchrun's."""
    given = [os.environ.get(name, "") for name in _LAUNCHED]
    return all(given) and os.environ["WORLD_SIZE"] != "1"
