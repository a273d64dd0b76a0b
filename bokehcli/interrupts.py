"""Ctrl-C during a batch, or being told to end: what is in hand is finished, unless a second Ctrl-C says otherwise."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType

# Ctrl-C; what kill, timeout and system managers send; what comes when the terminal is closed; Ctrl-Break, which Windows alone
# has, for that also.
NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
SIGNALS = tuple(getattr(signal, name) for name in NAMES if hasattr(signal, name))

INTERRUPTED = 128 + signal.SIGINT  # the exit status after Ctrl-C
PARENT = "BOKEH_TRAIN_PARENT"  # in a trainer's environment: the process that started it and waits for it


class Interrupted(KeyboardInterrupt):
    """An interrupt, by the signal of that number."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def status_of(interrupt: KeyboardInterrupt) -> int:
    """The exit status after an interrupt, as a shell gives it for what a signal ended."""
    return 128 + getattr(interrupt, "number", signal.SIGINT)


class Interrupts:
    """A context manager within which the first signal is `heard`, its number, and ends a wait by `wake`.

    A SIGINT after another signal raises Interrupted; the others may come several times for one reason, as `timeout` sends them
    to the process and to its group. Where a signal is ignored, as nohup and & have it, it stays so.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self.heard = 0
        self._wake = wake
        self._earlier = {number: signal.getsignal(number) for number in SIGNALS}

    def __enter__(self) -> "Interrupts":
        for number, earlier in self._earlier.items():
            if earlier is not signal.SIG_IGN:
                signal.signal(number, self._hear)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, earlier in self._earlier.items():
            signal.signal(number, earlier)

    def _hear(self, number: int, _: object) -> None:
        if not self.heard:
            self.heard = number
            self._wake()
        elif number == signal.SIGINT:
            raise Interrupted(number)


@contextmanager
def born_deaf() -> Iterator[None]:
    """Block these signals in a process that is started within: they would end it before it can ignore them.

    In this process they are held back for as long. multiprocessing's resource tracker unblocks them when that starts; so
    that comes first. Windows has no such mask.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()
    earlier = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, earlier)
