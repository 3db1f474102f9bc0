"""Reading beside a window: the window is never kept waiting, and the latest wish is fulfilled."""

from __future__ import annotations

import threading
import unittest
from typing import Any, Callable, Iterator, List, Optional

from dual_scipion.background import Latest, Stale

PATIENCE_S = 30.0


class FakeWidget:
    """Keeps what shall be called later, as Tk does."""

    def __init__(self) -> None:
        self.waiting: Optional[Callable[[], None]] = None

    def after(self, _milliseconds: int, action: Callable[[], None]) -> str:
        self.waiting = action
        return "timer"

    def after_cancel(self, _timer: str) -> None:
        self.waiting = None

    def turn(self) -> None:
        """One turn of Tk's loop."""
        action, self.waiting = self.waiting, None
        if action is not None:
            action()


class TestLatest(unittest.TestCase):
    """The thread behind a window."""

    def setUp(self) -> None:
        self.widget = FakeWidget()
        self.errors: List[str] = []
        self.seen: List[Any] = []
        self.latest = Latest(self.widget, lambda error: self.errors.append(str(error)))
        self.addCleanup(self.latest.close)
        self.begun, self.go_on = threading.Event(), threading.Event()

    def slow(self, name: str) -> Callable[[Stale], Iterator[str]]:
        """A job that gives a coarse answer, waits, and gives a fine one unless it is stale."""

        def job(stale: Stale) -> Iterator[str]:
            yield f"{name} coarse"
            self.begun.set()
            assert self.go_on.wait(PATIENCE_S)
            if not stale():
                yield f"{name} fine"

        return job

    def finish(self) -> None:
        """Turn the loop until nothing is wanted any more."""
        pause = threading.Event()
        while self.latest.busy():
            self.widget.turn()
            pause.wait(0.001)

    def test_what_is_yielded_is_delivered_by_the_loop_only(self) -> None:
        here = threading.get_ident()
        where: List[int] = []

        def job(_stale: Stale) -> Iterator[str]:
            where.append(threading.get_ident())
            yield "read"

        self.latest.ask(job, lambda found: self.seen.append((found, threading.get_ident())))
        self.assertEqual(self.seen, [])
        self.finish()
        self.assertEqual(self.seen, [("read", here)])
        self.assertNotEqual(where, [here])

    def test_the_window_lives_while_a_slice_is_read(self) -> None:
        self.latest.ask(self.slow("one"), self.seen.append)
        self.assertTrue(self.begun.wait(PATIENCE_S))
        for _ in range(5):
            self.widget.turn()
        self.assertEqual(self.seen, ["one coarse"])
        self.assertTrue(self.latest.busy())
        self.go_on.set()
        self.finish()
        self.assertEqual(self.seen, ["one coarse", "one fine"])

    def test_of_many_wishes_the_last_is_fulfilled_and_a_stale_one_broken_off(self) -> None:
        self.latest.ask(self.slow("first"), self.seen.append)
        self.assertTrue(self.begun.wait(PATIENCE_S))
        for number in range(20):
            self.latest.ask(self.slow(str(number)), self.seen.append)
        self.go_on.set()
        self.finish()
        self.assertEqual(self.seen, ["first coarse", "19 coarse", "19 fine"])

    def test_an_error_is_told_and_the_next_wish_is_fulfilled(self) -> None:
        def broken(_stale: Stale) -> Iterator[str]:
            yield "half"
            raise ValueError("no volume")

        self.latest.ask(broken, self.seen.append)
        self.finish()
        self.go_on.set()
        self.latest.ask(self.slow("next"), self.seen.append)
        self.finish()
        self.assertEqual(self.errors, ["no volume"])
        self.assertEqual(self.seen, ["half", "next coarse", "next fine"])

    def test_nothing_is_delivered_to_a_closed_window(self) -> None:
        self.latest.ask(self.slow("one"), self.seen.append)
        self.assertTrue(self.begun.wait(PATIENCE_S))
        self.latest.close()
        self.assertFalse(self.latest.busy())
        self.go_on.set()
        self.widget.turn()
        self.assertEqual(self.seen, [])
