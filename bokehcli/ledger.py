"""What an output folder knows of its photos: which were done, from what and how, which failed and why.

A SQLite file in the folder. Only the process that hands out the work writes it, before a photo is taken up and after it is
done, so that a run which is killed at any moment can be gone on with: what was in hand then is done again, nothing else is.
Results are written whole or not at all; a result whose photo was taken up is this program's own, and may be replaced.
"""

import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from types import TracebackType

from bokehcli.discover import Job
from bokehcli.errors import LedgerError
from bokehcli.options import Existing, RunOptions
from bokehcli.outcome import Outcome, Status

NAME = ".bokeh.sqlite3"
FORMAT = 1
WAIT_S = 30.0  # for another process that is writing
TABLE = """
CREATE TABLE IF NOT EXISTS photos (
    destination BLOB PRIMARY KEY,
    source BLOB NOT NULL,
    size INTEGER,
    mtime_ns INTEGER,
    making TEXT NOT NULL,
    state TEXT NOT NULL,
    result_size INTEGER,
    result_mtime_ns INTEGER,
    error TEXT,
    elapsed_s REAL,
    finished_s REAL,
    times INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID
"""
PUT = "REPLACE INTO photos VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


class State(StrEnum):
    """How far a photo has come. STARTED is what stays when the run is killed meanwhile; then a result may be there."""

    PLANNED = "planned"
    STARTED = "started"
    DONE = "done"
    FAILED = "failed"


Signature = tuple[int, int]  # of a file: size in bytes, time of its last change in ns


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One photo. destination: below the output folder. signature: of the photo. making: see `making_of`. result: the last
    one, as it was written. times: it was taken up.
    """

    destination: Path
    source: Path
    signature: Signature | None
    making: str
    state: State
    result: Signature | None = None
    error: str | None = None
    elapsed_s: float = 0.0
    finished_s: float = 0.0
    times: int = 0


@dataclass(frozen=True)
class Verdict:
    """What is to become of a photo: settled already, or to be done, and then whether what is there may be replaced."""

    outcome: Outcome | None = None
    replaces: bool = False


def making_of(options: RunOptions, model: str) -> str:
    """A hash of all that a result depends on beside its photo: the options that change it, and the model's own hash."""
    parts = {
        "lens": asdict(options.lens),
        "encode": asdict(options.encode),
        "metadata": asdict(options.metadata),
        "focus": options.focus,
        "min_subject": options.min_subject,
        "min_clarity": options.infer.min_clarity,
        "save_maps": options.save_maps,
        "strict": options.strict,
        "model": model,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


class Ledger:
    """The ledger of one output folder; use as a context manager. Raises LedgerError where there is one that cannot be read.

    When it cannot be written, as in a folder that may not be changed or on a full disk, `warn` is told so once, and photos are
    done without. It is written from the first photo that is to be done on; till then a folder without one stays so. making: see
    `making_of`. retry_failed: what failed is tried again.
    """

    def __init__(self, out: Path, making: str, warn: Callable[[str], None], retry_failed: bool = False) -> None:
        self.out = out
        self.making = making
        self.retry_failed = retry_failed
        self.path = out / NAME
        self.entries: dict[Path, Entry] = {}
        self._warn = warn
        self._usable = True
        self._connection: sqlite3.Connection | None = None
        if self.path.exists():
            self._open()

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._connection is not None:
            self._connection.close()

    def _open(self) -> sqlite3.Connection:
        if self._connection is not None:
            return self._connection
        with _translated(self.path):
            self.out.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self.path, timeout=WAIT_S, isolation_level=None)
        try:
            with _translated(self.path):
                connection.execute("PRAGMA journal_mode = WAL")  # where a file system cannot, it stays as it was
                connection.execute("PRAGMA synchronous = NORMAL")  # safe when a process dies, whole after a power cut
                (version,) = connection.execute("PRAGMA user_version").fetchone()
                if version not in (0, FORMAT):
                    raise LedgerError(f"{self.path}: written by another version of this program")
                connection.execute(TABLE)
                connection.execute(f"PRAGMA user_version = {FORMAT}")
                self.entries = {entry.destination: entry for entry in _entries(connection)}
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return connection

    def plan(self, jobs: Iterable[Job]) -> None:
        """Enter the photos that are not yet known, so that what is missing can be told."""
        self._write([self._entry_of(job, State.PLANNED) for job in jobs if self._key(job) not in self.entries])

    def judge(self, job: Job, existing: Existing) -> Verdict:
        """What is to become of a photo, by what is known of it."""
        wanted = self._entry_of(job, State.PLANNED)
        known = self.entries.get(wanted.destination)
        if known is None or existing is Existing.OVERWRITE:
            return Verdict()
        there = os.path.lexists(job.destination)
        unchanged = known.signature is not None and known.signature == wanted.signature
        if not unchanged and known.source != wanted.source:
            return Verdict()  # another photo of the same name: what is there is that one's
        alike = unchanged and known.making == wanted.making
        ours = there and signature_of(job.destination) == known.result
        if known.state is State.FAILED and alike and (ours or not there) and not self.retry_failed:
            again = f"{job.source}: {known.error} (so it was before; --retry-failed tries again)"
            return Verdict(_outcome(job, Status.FAILED, again))
        if existing is Existing.SKIP:
            return Verdict()
        if known.state is State.DONE and ours and alike:
            return Verdict(_outcome(job, Status.SKIPPED))
        return Verdict(replaces=ours or known.state is State.STARTED)

    def started(self, job: Job) -> None:
        """Enter that a photo is taken up."""
        before = self.entries.get(self._key(job))
        entry = self._entry_of(job, State.STARTED)
        if before is not None:
            entry = replace(entry, times=before.times, result=before.result)
        self._write([replace(entry, times=entry.times + 1)])

    def finished(self, outcome: Outcome) -> None:
        """Enter what became of a photo that was taken up. What may pass, such as a full disk, leaves it to be done."""
        if outcome.destination is None or outcome.status is Status.SKIPPED:
            return
        before = self.entries.get(self._key(outcome))
        if before is None or before.state is not State.STARTED:
            return
        if outcome.status is Status.DONE:
            state, result = State.DONE, signature_of(outcome.destination)
        else:
            # no longer STARTED: nothing was written, and what lies there, if anything, is the earlier result or not ours
            state, result = (State.FAILED if outcome.lasting else State.PLANNED), before.result
        entry = replace(before, state=state, result=result, error=outcome.reason)
        self._write([replace(entry, elapsed_s=outcome.elapsed_s, finished_s=time.time())])

    def _key(self, job: Job | Outcome) -> Path:
        assert job.destination is not None
        return Path(os.path.relpath(job.destination, self.out))

    def _entry_of(self, job: Job, state: State) -> Entry:
        source = Path(os.path.abspath(job.source))
        signature = signature_of(job.source)
        return Entry(destination=self._key(job), source=source, signature=signature, making=self.making, state=state)

    def _write(self, entries: Sequence[Entry]) -> None:
        """Enter all or none; when that cannot be, the rest of the run goes without."""
        if self._usable and entries:
            try:
                with _translated(self.path):
                    connection = self._open()
                    connection.execute("BEGIN IMMEDIATE")
                    connection.executemany(PUT, map(_row, entries))
                    connection.execute("COMMIT")
            except LedgerError as error:
                self._usable = False
                self._warn(f"{error}: a later run will not know what this one does from here on")
        self.entries.update((entry.destination, entry) for entry in entries)


def _outcome(job: Job, status: Status, error: str | None = None) -> Outcome:
    return Outcome(source=job.source, destination=job.destination, status=status, error=error)


def signature_of(path: Path) -> Signature | None:
    """Of what a name leads to; None where nothing can be seen."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def read(out: Path) -> list[Entry]:
    """Everything that the ledger of a folder knows, by destination; nothing is written. Raises LedgerError if there is none."""
    path = out / NAME
    if not path.is_file():
        raise LedgerError(f"{out}: no ledger there; nothing was rendered into this folder, or with --no-ledger")
    # not mode=ro: such a connection leaves SQLite's auxiliary files behind; where nothing may be written, the file is as it
    # is at rest
    access = "mode=rw" if os.access(out, os.W_OK) else "immutable=1"
    with _translated(path), closing(sqlite3.connect(f"{path.absolute().as_uri()}?{access}", WAIT_S, uri=True)) as connection:
        return sorted(_entries(connection), key=lambda entry: entry.destination)


def _row(entry: Entry) -> tuple[object, ...]:
    return (
        os.fsencode(entry.destination),
        os.fsencode(entry.source),
        *(entry.signature or (None, None)),
        entry.making,
        entry.state.value,
        *(entry.result or (None, None)),
        None if entry.error is None else entry.error.encode("utf-8", "surrogateescape"),
        entry.elapsed_s,
        entry.finished_s,
        entry.times,
    )


def _entries(connection: sqlite3.Connection) -> Iterator[Entry]:
    for row in connection.execute("SELECT * FROM photos"):
        destination, source, size, mtime_ns, making, state, result_size, result_ns, error, elapsed_s, finished_s, times = row
        yield Entry(
            destination=Path(os.fsdecode(destination)),
            source=Path(os.fsdecode(source)),
            signature=None if size is None else (size, mtime_ns),
            making=making,
            state=State(state),
            result=None if result_size is None else (result_size, result_ns),
            error=None if error is None else error.decode("utf-8", "surrogateescape"),
            elapsed_s=elapsed_s,
            finished_s=finished_s,
            times=times,
        )


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError, ValueError, TypeError) as error:
        raise LedgerError(f"{path}: the ledger cannot be used ({getattr(error, 'strerror', None) or error})") from error
