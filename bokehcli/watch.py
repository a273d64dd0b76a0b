"""Photos as they arrive in folders (--watch), each once its writing has ended.

That it has ended shows in that its size and time of change stay as they are for a while, and, where the system tells (Linux, of
files that are one's own), in that nobody has it open for writing. watchfiles says that something has changed; what it was, a
look at the folders says, which comes every now and then anyway: on shares, changes made elsewhere are not told of.
"""

import errno
import os
import signal
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bokehcli.discover import Discovery, Job
from bokehcli.entries import signature_of
from bokehcli.errors import BokehError, MissingDependency, UsageError
from bokehcli.remote import Place, Signature, Url
from bokehcli.storage import exists

SETTLED_S = 2.0  # that a file must stay as it is
LOOK_S = 30.0  # between looks at the folders when nothing is told of them
LOOK_SHARE = 0.2  # of the time at most that goes into looks
EVENT_MS = 10  # to wait for something that is told


@dataclass
class Arrival:
    """A photo that is to be done once it stays as it is. since_s: when this was first seen of it (time.monotonic)."""

    job: Job
    signature: Signature
    since_s: float


class Watch:
    """What is in folders and what arrives there.

    find: looks for the photos, and is told which were taken up already. say: is told of what could not be read, or cannot be
    done, once of each. Raises MissingDependency and, when a source cannot be watched, UsageError.
    """

    def __init__(
        self,
        sources: Sequence[Path],
        out: Place,
        find: Callable[[Collection[Place]], Discovery],
        say: Callable[[BokehError], None],
    ) -> None:
        self.sources = sources
        self.find = find
        self._out = os.path.join(os.path.realpath(out), "")
        self._say = say
        self._said: set[str] = set()
        self._taken: dict[Place, tuple[Place, Signature]] = {}  # with the destination, which another photo may change
        self._arriving: dict[Place, Arrival] = {}
        self._watchfiles = load()
        if hasattr(signal, "SIGIO"):
            signal.signal(signal.SIGIO, signal.SIG_IGN)  # it ends a process whose lease is asked for, see _is_being_written

    def jobs(self) -> Iterator[Job | None]:
        """The photos that are there, then each that arrives or changes, without end; None where there is none just now."""
        told = self._watchfiles.watch(
            *self.sources,
            watch_filter=lambda _, path: not os.path.realpath(path).startswith(self._out),
            debounce=EVENT_MS,
            step=EVENT_MS,
            rust_timeout=EVENT_MS,
            yield_on_timeout=True,
            ignore_permission_denied=True,
        )
        changed, look_s, earliest_s = True, 0.0, 0.0  # the first look comes when the folders are watched already
        with closing(told):
            for events in _translated(told):
                changed = changed or bool(events)
                now_s = time.monotonic()
                if (changed and now_s >= earliest_s) or now_s >= look_s:
                    self._look()
                    ended_s = time.monotonic()
                    changed, look_s = False, ended_s + LOOK_S
                    earliest_s = ended_s + max(SETTLED_S / 2, (ended_s - now_s) * (1 / LOOK_SHARE - 1))
                yield from self._settled()
                yield None

    def _look(self) -> None:
        """Find what has arrived or changed since the last look."""
        try:
            found = self.find(self._taken.keys() | self._arriving.keys())
        except UsageError as error:  # a source that is gone for now
            self._say_once(error)
            return
        for unreadable in found.unreadable:
            self._say_once(unreadable)
        for refused in self._arriving.keys() - {job.source for job in found.jobs}:
            del self._arriving[refused]
        for job in found.jobs:
            signature = signature_of(job.source)
            if job.source in self._arriving:
                self._arriving[job.source].job = job
            elif signature is not None and not self._is_done(job, signature):
                age_s = min(max(0.0, time.time() - signature[1] / 1e9), SETTLED_S)
                self._arriving[job.source] = Arrival(job, signature, time.monotonic() - age_s)

    def _is_done(self, job: Job, signature: Signature) -> bool:
        """Whether a photo was taken up as it is, and has not lost its name to another since."""
        destination, before = self._taken.get(job.source, (None, None))
        return before == signature and (destination == job.destination or exists(job.destination))

    def _settled(self) -> Iterator[Job]:
        """Those of the arriving photos that stay as they are."""
        for source, arrival in list(self._arriving.items()):
            signature = signature_of(source)
            if signature is None:
                del self._arriving[source]
            elif signature != arrival.signature:
                arrival.signature, arrival.since_s = signature, time.monotonic()
            elif time.monotonic() - arrival.since_s >= SETTLED_S and not _is_being_written(source):
                del self._arriving[source]
                self._taken[source] = arrival.job.destination, signature
                yield arrival.job

    def _say_once(self, error: BokehError) -> None:
        if str(error) not in self._said:
            self._said.add(str(error))
            self._say(error)


def load() -> Any:
    """The module ``watchfiles``. Raises MissingDependency."""
    try:
        import watchfiles
    except ImportError as error:
        raise MissingDependency("--watch needs watchfiles: pip install 'bokehcli[watch]'") from error
    return watchfiles


def _translated(told: Iterator[Any]) -> Iterator[Any]:
    try:
        yield from told
    except OSError as error:  # such as a limit on how many folders may be watched
        raise UsageError(f"the folders cannot be watched: {error.strerror or error}") from error


def _is_being_written(path: Place) -> bool:
    """Whether somebody has a file open for writing: then Linux lends it to no reader (fcntl(2), F_SETLEASE).

    False where the system does not say.
    """
    if isinstance(path, Url):
        return False
    try:
        import fcntl

        set_lease, read, unlock = fcntl.F_SETLEASE, fcntl.F_RDLCK, fcntl.F_UNLCK
    except (ImportError, AttributeError):
        return False
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            fcntl.fcntl(descriptor, set_lease, read)
            fcntl.fcntl(descriptor, set_lease, unlock)
        except OSError as error:
            return error.errno == errno.EAGAIN
        finally:
            os.close(descriptor)
    return False
