"""Signals that end a long piece of work, remembered until it has come to a good place to stop."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from types import FrameType
from typing import Iterator, Optional

STOPPING = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)


class Stop:
    """Remembers the last of SIGHUP, SIGINT and SIGTERM: ``name``, empty where there was none."""

    def __init__(self) -> None:
        self.name = ""

    def __call__(self, number: int, frame: Optional[FrameType]) -> None:
        self.name = signal.Signals(number).name


@contextmanager
def remembered_signals() -> Iterator[Stop]:
    """Keep SIGHUP, SIGINT and SIGTERM from ending the process within this block.

    One that is ignored stays so: that is what nohup asks for.
    """
    stop = Stop()
    previous = {}
    try:
        for number in STOPPING:
            if signal.getsignal(number) == signal.SIG_IGN:
                continue
            previous[number] = signal.signal(number, stop)
    except ValueError:  # not the main thread: whoever owns the process handles its signals
        pass
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
