"""Threads that read ahead, write behind and work side by side: in order, bounded, ended."""

import threading
import time

import pytest

from dual_core import overlap
from dual_core.overlap import Behind, ahead, in_order


@pytest.fixture(autouse=True)
def _no_thread_is_left():
    before = threading.active_count()
    yield
    assert threading.active_count() == before


def test_ahead_gives_the_same_items_and_is_one_ahead():
    made, taken = [], []

    def items():
        for number in range(20):
            made.append(number)
            yield number

    for number in ahead(items()):
        taken.append(number)
        time.sleep(0.002)
        assert len(made) <= len(taken) + 1
    assert taken == list(range(20))


def test_ahead_works_while_the_item_before_is_used():
    begun = threading.Event()

    def items():
        yield 0
        begun.set()
        yield 1

    for number in ahead(items()):
        if number == 0:
            assert begun.wait(5)


def test_error_of_the_reader_comes_after_what_was_read():
    def items():
        yield 1
        raise MemoryError("no more")

    taken = []
    with pytest.raises(MemoryError, match="no more"):
        for item in ahead(items()):
            taken.append(item)
    assert taken == [1]


def test_reader_ends_with_an_interrupt_of_the_one_who_reads():
    with pytest.raises(KeyboardInterrupt):
        for item in ahead(iter(range(1000))):
            if item == 3:
                raise KeyboardInterrupt


def test_behind_is_in_order_and_done_at_the_end():
    done = []

    def slow(item, factor):
        time.sleep(0.002)
        done.append(item * factor)

    with Behind(slow) as behind:
        for item in range(10):
            behind(item, 2)
            # One is worked on, one waits.
            assert item + 1 - len(done) <= 3
    assert done == [2 * item for item in range(10)]


@pytest.mark.parametrize("last", [0, 5])
def test_error_of_the_writer_is_raised_and_nothing_is_done_after_it(last):
    done = []

    def work(item):
        if item == last:
            raise OSError("full")
        done.append(item)

    with pytest.raises(OSError, match="full"), Behind(work) as behind:
        for item in range(last + 1):
            behind(item)
        time.sleep(0.05)
        behind(last + 1)
        behind(last + 2)
    assert done == list(range(last))


def test_block_that_fails_leaves_the_rest_undone():
    done, gate = [], threading.Event()

    def work(item):
        gate.wait(5)
        done.append(item)

    with pytest.raises(ValueError, match="stop"), Behind(work) as behind:
        behind(0)
        behind(1)
        threading.Timer(0.05, gate.set).start()
        raise ValueError("stop")
    assert done == [0]


@pytest.mark.parametrize("workers", [1, 3])
def test_side_by_side_in_order_and_no_further_ahead_than_there_are_workers(workers):
    begun, taken = [], 0

    def work(item):
        begun.append(item)
        time.sleep(0.001 * (item % 3))
        return item * item

    for result in in_order(work, range(20), workers):
        assert result == taken * taken
        taken += 1
        assert len(begun) <= taken + workers
    assert taken == 20


def test_error_side_by_side_is_raised_in_its_place():
    def work(item):
        if item == 3:
            raise RuntimeError("three")
        return item

    taken = []
    with pytest.raises(RuntimeError, match="three"):
        for item in in_order(work, range(10), 2):
            taken.append(item)
    assert taken == [0, 1, 2]


def test_threads_are_as_many_as_allowed(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert overlap.threads() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    assert overlap.threads() >= 1
