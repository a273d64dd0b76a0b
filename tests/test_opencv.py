"""OpenCV's threads: lent to whoever calls it from threads of its own, and given back."""

from collections.abc import Iterator

import pytest

from bokehcli.opencv import Threads, cv2


@pytest.fixture
def three() -> Iterator[None]:
    """OpenCV may use three threads, whatever the machine has."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(3)
    yield
    cv2.setNumThreads(before)


@pytest.mark.usefixtures("three")
def test_threads_are_lent_and_given_back() -> None:
    with Threads().lent() as pool:
        assert pool.count == 3
        assert cv2.getNumThreads() == 1
    assert cv2.getNumThreads() == 3


@pytest.mark.usefixtures("three")
def test_threads_are_given_back_when_the_last_one_leaves() -> None:
    threads = Threads()
    first, second = threads.lent(), threads.lent()
    assert first.__enter__().count == 3
    assert second.__enter__().count == 3  # not the one that is left
    first.__exit__(None, None, None)
    assert cv2.getNumThreads() == 1
    second.__exit__(None, None, None)
    assert cv2.getNumThreads() == 3


@pytest.mark.usefixtures("three")
def test_threads_are_given_back_after_an_error() -> None:
    with pytest.raises(ValueError, match="in vain"), Threads().lent():
        raise ValueError("in vain")
    assert cv2.getNumThreads() == 3
