"""Ctrl-C during a batch: the first one lets what is in hand be finished, the second one does not."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType


class Interrupts:
    """A context manager within which the first SIGINT is `heard`, and ends a wait by `wake`.

    The second one raises KeyboardInterrupt. Where interrupts are ignored, as nohup and & have it, they stay so.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self.heard = False
        self._wake = wake
        self._earlier = signal.getsignal(signal.SIGINT)

    def __enter__(self) -> "Interrupts":
        if self._earlier is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, self._hear)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        signal.signal(signal.SIGINT, self._earlier)

    def _hear(self, *_: object) -> None:
        if self.heard:
            raise KeyboardInterrupt
        self.heard = True
        self._wake()


@contextmanager
def born_deaf() -> Iterator[None]:
    """Block SIGINT in a process that is started within: it would end it before it can ignore it.

    In this process it is held back for as long. multiprocessing's resource tracker unblocks it when that starts; so
    that comes first. Windows has no such mask.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()
    earlier = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, earlier)
