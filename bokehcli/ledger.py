"""What an output folder knows of its photos: which were done, from what and how, which failed and why.

Only the process that hands out the work writes the ledger, a file in the folder: before a photo is taken up and after it is
done, so that a run which is killed at any moment can be gone on with: what was in hand then is done again, nothing else is.
Results are written whole or not at all. Where a photo was taken up and nobody heard of its end, what lies in its result's place
is this program's own if the photo comes to the same again; else somebody put it there.
"""

import fnmatch
import hashlib
import json
import math
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType

from bokehcli.discover import Job
from bokehcli.entries import (
    NAME,
    PARTS,
    Entry,
    State,
    files_of,
    folder_of,
    name_of,
    newest,
    open_file,
    put,
    read_file,
    signature_of,
    translated,
)
from bokehcli.errors import LedgerError
from bokehcli.lock import Lock
from bokehcli.options import Existing, RunOptions
from bokehcli.outcome import Outcome, Status
from bokehcli.places import absolute
from bokehcli.remote import Place, Signature, Url
from bokehcli.shard import WHOLE, Shard
from bokehcli.storage import exists

AGAIN_S = 5.0  # after which a ledger that could not be written is tried again


@dataclass(frozen=True)
class Verdict:
    """What is to become of a photo: settled already, or to be done, and then which of its targets may be replaced, and which of
    those by the same only."""

    outcome: Outcome | None = None
    replaces: tuple[Place, ...] = ()
    doubtful: tuple[Place, ...] = ()


def signature_in(job: Job, place: Place) -> Signature | None:
    """Of one of a job's files: as a listing had it, else as it is now."""
    return job.listed.get(place) if job.listed is not None and _is_listed(job, place) else signature_of(place)


def is_there(job: Job, place: Place) -> bool:
    """Whether one of a job's files is there, by a listing or by a look. Raises WriteError."""
    return place in job.listed if job.listed is not None and _is_listed(job, place) else exists(place)


def _is_listed(job: Job, place: Place) -> bool:
    """Whether a job's listing is about such a place: all of its targets that are objects, and its source if that is in it."""
    return isinstance(place, Url) and (place != job.source or (job.listed is not None and place in job.listed))


def making_of(options: RunOptions, model: str) -> str:
    """A hash of all that a result depends on beside its photo: the options that change it, and the model's own hash."""
    parts = {
        "lens": asdict(options.lens),
        "encode": asdict(options.encode),
        "metadata": asdict(options.metadata),
        "focus": options.focus,
        "min_subject": options.min_subject,
        "min_clarity": options.infer.min_clarity,
        "unsure": options.unsure,
        "save_maps": options.save_maps,
        "strict": options.strict,
        "model": model,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def limits_of(options: RunOptions) -> str:
    """What a failure depends on beside `making_of`: a photo that was beyond a limit is not beyond every one."""
    return f"{options.decode.max_megapixels!r} megapixels, {options.time_limit_s!r} s"


class Ledger:
    """The ledger of one output folder; use as a context manager. Raises LedgerError where there is one that cannot be read.

    Each shard writes one of its own, and goes by them all; of one of the others that cannot be read, `warn` is told.

    When it cannot be written, as in a folder that may not be changed or on a full disk, `warn` is told so once, photos are done
    all the same, and what is owed is entered once that can be. It is written from the first photo that is to be done on; till
    then a folder stays as it is. making, limits: see `making_of` and `limits_of`. retry_failed: what failed is tried again.
    """

    def __init__(
        self,
        out: Place,
        making: str,
        warn: Callable[[str], None],
        retry_failed: bool = False,
        shard: Shard = WHOLE,
        limits: str = "",
    ) -> None:
        self.out = out
        self.making = making
        self.failing = f"{making} within {limits}"  # that of what failed
        self.retry_failed = retry_failed
        self.path = folder_of(out) / name_of(shard)
        self.entries: dict[Path, Entry] = {}
        self._warn = warn
        self._owed: dict[Path, Entry] = {}
        self._again_s = -math.inf  # on the monotonic clock: when to try to write again
        self._warned = False
        self._lock: Lock | None = None
        self._connection: sqlite3.Connection | None = None
        for file in files_of(out):
            if file != self.path:
                self._read(file)
        if os.path.exists(self.path):
            self.entries = newest([*self.entries.values(), *read_file(self.path)])

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._again_s = -math.inf
        self._write(())
        if self._connection is not None:
            self._connection.close()
        if self._lock is not None:
            self._lock.release()

    def claim(self) -> None:
        """Keep other runs from this ledger until the end. Raises LedgerError when another run has it, also over the whole where
        this one is over a part, or the other way round; two parts may run at once."""
        folder = self.path.parent
        self._lock = Lock(folder / f"{self.path.name}-lock", self.out)
        others: list[str] = []
        with suppress(OSError):  # a folder that cannot be is refused when something is to be written to it
            others = fnmatch.filter(os.listdir(folder), f"{PARTS if self.path.name == NAME else NAME}-lock")
        for other in others:
            self._lock.refuse(folder / other)

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection, entries = open_file(self.path)
            self.entries = newest([*self.entries.values(), *entries])
        return self._connection

    def _read(self, file: Path) -> None:
        try:
            self.entries = newest([*self.entries.values(), *read_file(file)])
        except LedgerError as error:
            self._warn(f"{error}: what it knows is not taken into account")

    def plan(self, jobs: Iterable[Job]) -> None:
        """Enter the photos that are not yet known, so that what is missing can be told."""
        planned = []
        for job in jobs:
            known = self.entries.get(self._key(job))
            if known is None:
                planned.append(self._entry_of(job, State.PLANNED))
            elif _is_ousted(known, job):
                planned.append(replace(self._entry_of(job, State.PLANNED), result=known.result, maps=known.maps))
        self._write(planned)

    def judge(self, job: Job, existing: Existing) -> Verdict:
        """What is to become of a photo, by what is known of it."""
        wanted = self._entry_of(job, State.PLANNED)
        known = self.entries.get(wanted.destination)
        if known is None or existing is Existing.OVERWRITE:
            return Verdict()
        there = is_there(job, job.destination)
        ousted = _is_ousted(known, job)
        unchanged = known.signature is not None and known.signature == wanted.signature and not ousted
        if not unchanged and not ousted and known.source != wanted.source:
            return Verdict()  # another photo of the same name: what is there is that one's
        alike = unchanged and known.making == (self.failing if known.state is State.FAILED else self.making)
        ours = tuple(place for place in job.targets if self._is_ours(job, place, known))
        if known.state is State.FAILED and alike and (job.destination in ours or not there) and not self.retry_failed:
            again = f"{job.source}: {known.error} (so it was before; --retry-failed tries again)"
            return Verdict(_outcome(job, Status.FAILED, again))
        anothers = ousted or (bool(job.ousts) and known.state is not State.DONE)  # it may show another photo yet
        if existing is Existing.SKIP and not anothers:
            return Verdict()
        complete = job.destination in ours and all(is_there(job, place) for place in job.targets)
        if known.state is State.DONE and complete and alike:
            return Verdict(_outcome(job, Status.SKIPPED))
        doubtful = tuple(place for place in job.targets if place not in ours and self._is_doubtful(place, known))
        return Verdict(replaces=(*ours, *doubtful), doubtful=doubtful)

    def _is_ours(self, job: Job, place: Place, known: Entry) -> bool:
        """Whether what is at one of a job's targets was written for the photo that is known, and not changed.

        Maps of which the ledger does not know go with their photo.
        """
        name, there = self._below(place), signature_in(job, place)
        if there is None:
            return False
        if name == known.destination:
            return known.result == there
        if known.maps is None:
            return self._is_ours(job, job.destination, known)
        return any((entry.maps or {}).get(name) == there for entry in (known, *self.entries.values()))

    def _is_doubtful(self, place: Place, known: Entry) -> bool:
        """Whether a target may have been written, and nobody have heard of it: of a photo that was taken up, one without a
        signature."""
        name = self._below(place)
        unheard = name == known.destination or known.maps is None or (name in known.maps and known.maps[name] is None)
        return known.state is State.STARTED and unheard

    def started(self, job: Job) -> None:
        """Enter that a photo is taken up, and which maps it may write."""
        before = self.entries.get(self._key(job))
        entry = self._entry_of(job, State.STARTED)
        written = (place for place in job.targets if place in job.replaces or not is_there(job, place))
        maps: dict[Path, Signature | None] = {self._below(place): None for place in written if place != job.destination}
        entry = replace(entry, times=entry.times + 1, maps=maps)
        if before is not None:
            known = before.maps if not maps else {**(before.maps or {}), **maps}
            entry = replace(entry, times=before.times + 1, result=before.result, maps=known)
        self._write([entry])

    def finished(self, outcome: Outcome) -> None:
        """Enter what became of a photo that was taken up. What may pass, such as a full disk, leaves it to be done."""
        if outcome.destination is None or outcome.status is Status.SKIPPED:
            return
        before = self.entries.get(self._key(outcome))
        if before is None or before.state is not State.STARTED or before.source != absolute(outcome.source):
            return
        if outcome.undecided:  # still whoever's it is; the options that it may have been made with would tell
            return
        # no longer STARTED: if nothing was written, what lies there, if anything, is the earlier result or not ours
        state, making, result = State.PLANNED, self.making, before.result
        if outcome.status is Status.DONE:
            state, result = State.DONE, _as_written(outcome, outcome.destination)
        elif outcome.lasting:
            state, making = State.FAILED, self.failing
        written = {self._below(place): _as_written(outcome, place) for place in outcome.written if place != outcome.destination}
        maps = {**(before.maps or {}), **written} if written else before.maps
        entry = replace(before, state=state, making=making, result=result, maps=maps, error=outcome.reason)
        self._write([replace(entry, elapsed_s=outcome.elapsed_s, changed_s=time.time())])

    def _key(self, job: Job | Outcome) -> Path:
        assert job.destination is not None
        return self._below(job.destination)

    def _below(self, place: Place) -> Path:
        """The path of a target below the output folder."""
        if isinstance(place, Url):
            return Path(place.below(self.out).as_posix())
        return Path(os.path.relpath(place, self.out))

    def _entry_of(self, job: Job, state: State) -> Entry:
        return Entry(
            destination=self._key(job),
            source=absolute(job.source),
            signature=signature_in(job, job.source),
            making=self.making,
            state=state,
            changed_s=time.time(),
        )

    def _write(self, entries: Sequence[Entry]) -> None:
        """Enter all or none, with all that is owed; when that cannot be, it is owed, and tried again after AGAIN_S."""
        given = {entry.destination: entry for entry in entries}
        self.entries.update(given)
        owed = {**self._owed, **given}
        if owed and time.monotonic() >= self._again_s:
            try:
                with translated(self.path):
                    put(self._open(), list(owed.values()))
                owed = {}
            except LedgerError as error:
                self._again_s = time.monotonic() + AGAIN_S
                if not self._warned:
                    self._warn(f"{error}: until that has passed, a later run would not know what this one does")
                self._warned = True
        self._owed = owed


def _is_ousted(known: Entry, job: Job) -> bool:
    """Whether what is known is of a photo that has another destination now, because of this one."""
    return known.source in map(absolute, job.ousts)


def _as_written(outcome: Outcome, place: Place) -> Signature | None:
    return outcome.stored.get(place) or signature_of(place)


def _outcome(job: Job, status: Status, error: str | None = None) -> Outcome:
    return Outcome(source=job.source, destination=job.destination, status=status, error=error)


