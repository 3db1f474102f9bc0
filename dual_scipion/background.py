"""Work beside a window, so that the window never waits for a file.

Tk may be called by one thread only. So a thread of its own reads and computes, and the window asks
now and then, by ``after``, what has been finished.
"""

from __future__ import annotations

import queue
import threading
from functools import partial
from typing import Any, Callable, Iterator, Optional, Tuple

Stale = Callable[[], bool]
# Given `Stale`, which says whether something newer is wanted by now; what it yields is delivered.
Job = Callable[[Stale], Iterator[Any]]

_LOOK_EVERY_MS = 10


class Latest:
    """Does the latest of what it is asked for, in one thread.

    A wish that has not begun is replaced by the next one: of the slices that a user scrolls
    through, those that can be read in time are shown, and always the last one.

    Parameters
    ----------
    widget : has ``after`` and ``after_cancel``, as every widget of Tk.
    failed : called with what a job raised.
    """

    def __init__(self, widget: Any, failed: Callable[[Exception], None]) -> None:
        self._widget, self._failed = widget, failed
        self._change = threading.Condition()
        self._wish: Optional[Tuple[Job, Callable[[Any], None]]] = None
        self._working = self._closed = False
        self._finished: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._timer: Optional[str] = None
        threading.Thread(target=self._work, daemon=True, name="dual-reader").start()

    def ask(self, job: Job, done: Callable[[Any], None]) -> None:
        """Ask for a job; ``done`` is called in the window's thread with each thing it yields."""
        with self._change:
            self._wish = job, done
            self._change.notify()
        if self._timer is None and not self._closed:
            self._timer = self._widget.after(_LOOK_EVERY_MS, self._look)

    def busy(self) -> bool:
        """Whether something is still wanted, or has not been delivered."""
        return self._timer is not None

    def close(self) -> None:
        """Deliver no more, and end the thread as soon as its job lets it."""
        with self._change:
            self._closed, self._wish = True, None
            self._change.notify()
        if self._timer is not None:
            self._widget.after_cancel(self._timer)
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        with self._change:
            idle = self._wish is None and not self._working
        # What is asked for here, by what is delivered, sets the timer again.
        while not self._closed:
            try:
                deliver = self._finished.get_nowait()
            except queue.Empty:
                break
            deliver()
        if not idle and self._timer is None and not self._closed:
            self._timer = self._widget.after(_LOOK_EVERY_MS, self._look)

    def _stale(self) -> bool:
        with self._change:
            return self._closed or self._wish is not None

    def _work(self) -> None:
        while True:
            with self._change:
                self._working = False
                self._change.wait_for(lambda: self._closed or self._wish is not None)
                if self._wish is None:
                    return
                (job, done), self._wish, self._working = self._wish, None, True
            try:
                for found in job(self._stale):
                    self._finished.put(partial(done, found))
            except Exception as error:  # told in the window; the thread lives on
                self._finished.put(partial(self._failed, error))
