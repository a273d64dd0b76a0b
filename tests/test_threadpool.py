"""Threads that share the parts of a photo: each part once, an error comes out, and nothing is begun after it."""

import _thread
import threading
import time
from collections import Counter

import pytest

from bokehcli.threadpool import ThreadPool

THREADS = pytest.mark.parametrize("count", [1, 2, 5])


@THREADS
@pytest.mark.parametrize("number", [0, 1, 3, 500])
def test_everything_is_done_once(count: int, number: int) -> None:
    done = Counter[int]()
    with ThreadPool(count) as pool:
        pool.for_each(lambda item: done.update([item]), (item for item in range(number)))
    assert done == Counter(range(number))


def test_the_parts_are_done_beside_each_other() -> None:
    meet = threading.Barrier(3, timeout=20.0)  # breaks unless three are there at a time
    with ThreadPool(3) as pool:
        pool.for_each(lambda _: meet.wait(), range(3))


@THREADS
@pytest.mark.parametrize("error", [IndexError, KeyboardInterrupt])
def test_an_error_comes_out_and_what_has_not_begun_is_left(count: int, error: type[BaseException]) -> None:
    begun: list[int] = []

    def fail(item: int) -> None:
        begun.append(item)
        raise error(item)

    with ThreadPool(count) as pool, pytest.raises(error):
        pool.for_each(fail, range(1000))
    assert 1 <= len(begun) <= count


def test_what_has_not_begun_is_left_when_the_caller_is_interrupted() -> None:
    begun: list[int] = []

    def interrupt(item: int) -> None:
        begun.append(item)
        if item == 0:
            _thread.interrupt_main()
        time.sleep(0.01)

    with ThreadPool(2) as pool, pytest.raises(KeyboardInterrupt):
        pool.for_each(interrupt, range(1000))
    assert len(begun) < 500
