"""Reading, computing and writing at the same time: threads that stay in order and end together.

numpy, scipy and torch let other threads run while they work, so that two cores can be busy. What
comes out does not depend on how many threads there are: items come in the order in which they went
in. Errors of a thread are raised where its results are asked for, and no thread outlives the block
of code that started it, whatever ends that.
"""

from __future__ import annotations

import itertools
import os
import queue
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import (
    Any,
    Callable,
    Deque,
    Generator,
    Generic,
    Iterable,
    Optional,
    Tuple,
    Type,
    TypeVar,
)

Item = TypeVar("Item")
Result = TypeVar("Result")


def prepare_torch() -> None:
    """Set what torch and OpenMP read when they are loaded, unless the user has set it."""
    # Large tensors in pages of 2 MiB. With those of 4 KiB a tenth of a U-Net's time goes into
    # having memory from the system.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    # A thread that waits for the others soon sleeps. Otherwise it spins for milliseconds, and where
    # other programs run it takes the processor from the very thread that it waits for: training
    # beside three busy programs on two processors took 21 to 27 s an iteration instead of 5.
    # Without any spinning it takes a fifth more on a quiet machine.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")


def threads() -> int:
    """Threads to work with: what the user allows torch and numpy, or else all cores."""
    allowed = os.environ.get("OMP_NUM_THREADS", "")
    if allowed.isdigit() and int(allowed) > 0:
        return int(allowed)
    try:
        return len(os.sched_getaffinity(0))
    except (AttributeError, OSError):
        return os.cpu_count() or 1


def ahead(items: Iterable[Item]) -> Generator[Item, None, None]:
    """The same items, each made by a thread while the one before it is used.

    No more than one item is made that nobody has taken yet.
    """
    made: queue.SimpleQueue[Tuple[str, Any]] = queue.SimpleQueue()
    room, stopped = threading.Semaphore(1), threading.Event()

    def make() -> None:
        try:
            iterator = iter(items)
            while True:
                room.acquire()
                if stopped.is_set():
                    return
                try:
                    item = next(iterator)
                except StopIteration:
                    made.put(("end", None))
                    return
                made.put(("item", item))
                del item  # it may be large, and belongs to the other thread now
        except BaseException as error:
            made.put(("error", error))

    thread = threading.Thread(target=make, daemon=True)
    thread.start()
    try:
        while True:
            kind, item = made.get()
            room.release()
            if kind == "error":
                raise item
            if kind == "end":
                return
            yield item
            del item
    finally:
        stopped.set()
        room.release()
        thread.join()


class Behind(Generic[Result]):
    """Calls a function in a thread, in order, no more than one call behind.

    A context manager. To call it is to ask for a call; it waits while the one before it is still
    waiting to begin. An error of the function is raised by the next call or at the end of the
    block; what was asked for after it is not done, nor what is left when the block fails.
    """

    def __init__(self, function: Callable[..., Result]) -> None:
        self._function = function
        self._asked: queue.SimpleQueue[Optional[Tuple[Any, ...]]] = queue.SimpleQueue()
        self._room = threading.Semaphore(1)
        self._failed: Optional[BaseException] = None
        self._dropped = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> Behind[Result]:
        self._thread.start()
        return self

    def __call__(self, *arguments: Any) -> None:
        """Ask for a call with these arguments."""
        self._room.acquire()
        if self._failed is not None:
            raise self._failed
        self._asked.put(arguments)

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        if kind is not None:
            self._dropped.set()
        self._asked.put(None)
        self._thread.join()
        if kind is None and self._failed is not None:
            raise self._failed

    def _work(self) -> None:
        while True:
            arguments = self._asked.get()
            if arguments is None:
                return
            self._room.release()
            if self._failed is not None or self._dropped.is_set():
                continue
            try:
                self._function(*arguments)
            except BaseException as error:
                self._failed = error
            del arguments


def in_order(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int,
    begin: Optional[Callable[[], Any]] = None,
) -> Generator[Result, None, None]:
    """``map`` by several threads that runs ahead by no more items than there are threads.

    ``begin`` is called by each thread first.
    """
    iterator = iter(items)
    waiting: Deque[Future[Result]] = deque()
    with ThreadPoolExecutor(workers, initializer=begin) as pool:
        try:
            for item in itertools.islice(iterator, workers):
                waiting.append(pool.submit(function, item))
            while waiting:
                result = waiting.popleft().result()
                for item in itertools.islice(iterator, 1):
                    waiting.append(pool.submit(function, item))
                yield result
                del result
        finally:
            for future in waiting:
                future.cancel()
