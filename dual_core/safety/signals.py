"""Signals that end a run: remembered until work can stop, or unwinding the stack at once.

The exception of a signal need not arrive where it is waited for. C code of a library that calls
Python back may put an error of its own in its place: torch then says that it "could not determine
the shape" of a storage. So whoever catches errors of any kind asks `asked_to_end` first.
"""

from __future__ import annotations

import signal
from contextlib import contextmanager
from types import FrameType
from typing import Any, Dict, Iterator, Optional

STOPPING = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
_asked = [0]  # the last signal that began to unwind the stack


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


def asked_to_end() -> int:
    """The signal that is ending the run, or 0: then an error is what it says that it is."""
    return _asked[0]


@contextmanager
def unwinding_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP raise SystemExit within this block, so that temporary files go.

    SIGINT raises KeyboardInterrupt, as ever, and is remembered too. A signal that is ignored stays
    so: that is what nohup asks for.
    """
    previous: Dict[int, Any] = {}

    def end(number: int, frame: Optional[FrameType]) -> None:
        _asked[0] = number
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        for other in previous:  # a second one would end the clean-up
            if other != signal.SIGINT:
                signal.signal(other, signal.SIG_IGN)
        raise SystemExit(128 + number)

    _asked[0] = 0
    try:
        for number in STOPPING:
            handler = signal.getsignal(number)
            own = number == signal.SIGINT and handler != signal.default_int_handler
            if handler != signal.SIG_IGN and not own:
                previous[number] = signal.signal(number, end)
    except ValueError:  # not the main thread: whoever owns the process handles its signals
        pass
    try:
        yield
    finally:
        for ended, handler in previous.items():
            signal.signal(ended, handler)
        _asked[0] = 0
