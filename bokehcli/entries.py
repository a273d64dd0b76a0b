"""What is known of each photo of an output folder, and the SQLite files in the folder that hold it.

What is rendered into an object store has its ledgers on the machine that hands out the photos. A run over all photos has one,
a shard one of its own: SQLite's files are safe among the processes of one machine, and shards run on several. What the files
say of one photo is told apart by time.
"""

import hashlib
import json
import os
import sqlite3
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path, PurePath
from urllib.parse import quote

from bokehcli import remote
from bokehcli.errors import LedgerError
from bokehcli.remote import Place, Signature, Url, place_of
from bokehcli.shard import WHOLE, Shard

NAME = ".bokeh.sqlite3"
PARTS = ".bokeh-*-of-*.sqlite3"  # the pattern of shards' names
NAME_CHARACTERS = 100
FORMAT = 2
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
    times INTEGER NOT NULL DEFAULT 0,
    maps TEXT
) WITHOUT ROWID
"""
PUT = "REPLACE INTO photos VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


class State(StrEnum):
    """How far a photo has come. STARTED is what stays when the run is killed meanwhile; then a result may be there."""

    PLANNED = "planned"
    STARTED = "started"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One photo. destination: below the output folder. signature: of the photo. making: see `making_of`. result: signature of
    the last one, as it was written. changed_s: when it came to this state, in seconds of the epoch. times: it was taken up.
    maps: those that belong to it, below the output folder, each with its signature as it was written, or None if it was not;
    None where the ledger is of a format that did not tell.
    """

    destination: Path
    source: Place
    signature: Signature | None
    making: str
    state: State
    result: Signature | None = None
    error: str | None = None
    elapsed_s: float = 0.0
    changed_s: float = 0.0
    times: int = 0
    maps: Mapping[Path, Signature | None] | None = field(default_factory=dict)


def name_of(shard: Shard) -> str:
    """Of the file that the run of a shard writes."""
    return NAME if shard == WHOLE else f".bokeh-{shard.index}-of-{shard.count}.sqlite3"


def folder_of(out: Place) -> Path:
    """Where the ledgers of an output folder are: in it, or, for a URL, in a folder of the user's that is named after it."""
    if not isinstance(out, Url):
        return out
    name = quote(str(out), safe="")[:NAME_CHARACTERS]
    import typer  # the command line, which processes that render do without

    return Path(typer.get_app_dir("bokeh")) / "ledgers" / f"{name}-{hashlib.sha256(str(out).encode()).hexdigest()[:8]}"


def files_of(out: Place) -> list[Path]:
    """Every ledger of a folder; none where it cannot be read."""
    folder = folder_of(out)
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    return sorted(folder / name for name in names if is_ledger(name))


def is_ledger(name: str) -> bool:
    """Whether a file of that name is the ledger of the folder that it is in, or of a shard of it."""
    return name == NAME or fnmatchcase(name, PARTS)


def open_file(path: Path) -> tuple[sqlite3.Connection, list[Entry]]:
    """Open a ledger to write it, made when absent, and read it. Raises LedgerError."""
    with translated(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, timeout=WAIT_S, isolation_level=None)
    try:
        with translated(path):
            # A log beside the file is quick, but for one machine only; where a file system cannot, it stays as it was.
            connection.execute(f"PRAGMA journal_mode = {'WAL' if path.name == NAME else 'DELETE'}")
            connection.execute("PRAGMA synchronous = FULL")  # a power cut costs it no more than a photo's result
            _check_format(connection, path)
            _prepare(connection)
            return connection, list(_entries(connection))
    except BaseException:
        connection.close()
        raise


def read_file(path: Path) -> list[Entry]:
    """What a ledger says; nothing is written. Raises LedgerError."""
    # not mode=ro: such a connection leaves SQLite's auxiliary files behind. Where nothing may be written, and where no run
    # has a log open, the file is as it is at rest.
    at_rest = path.name == NAME and not os.path.exists(path.with_name(f"{NAME}-wal"))
    access = "immutable=1" if at_rest or not os.access(path.parent, os.W_OK) else "mode=rw"
    with translated(path), closing(sqlite3.connect(f"{uri_of(path.absolute())}?{access}", WAIT_S, uri=True)) as connection:
        return list(_entries(connection)) if _check_format(connection, path) else []


def uri_of(path: PurePath) -> str:
    """An absolute path as SQLite takes it: the server of a share of Windows' stays in the path, for it takes no authority."""
    name = path.as_posix()
    return f"file://{'' if name.startswith('/') else '/'}{quote(os.fsencode(name), safe='/:')}"


def newest(entries: Iterable[Entry]) -> dict[Path, Entry]:
    """By destination, what is known of it last; of two from the same time, the later one of those given."""
    known: dict[Path, Entry] = {}
    for entry in entries:
        before = known.get(entry.destination)
        if before is None or before.changed_s <= entry.changed_s:
            known[entry.destination] = entry
    return known


def read(out: Place) -> list[Entry]:
    """Everything that the ledgers of a folder know, by destination; nothing is written. Raises LedgerError if there is none."""
    files = files_of(out)
    if not files:
        raise LedgerError(f"{out}: no ledger there; nothing was rendered into this folder, or with --no-ledger")
    known = newest(entry for file in files for entry in read_file(file))
    return sorted(known.values(), key=lambda entry: entry.destination)


def put(connection: sqlite3.Connection, entries: Sequence[Entry]) -> None:
    """Enter all or none."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.executemany(PUT, map(_row, entries))
        connection.execute("COMMIT")
    except sqlite3.Error:
        if connection.in_transaction:  # some errors end it
            connection.execute("ROLLBACK")
        raise


def signature_of(path: Place) -> Signature | None:
    """Size in bytes and time of the last change in ns, for objects what stands for it; None where nothing can be seen."""
    try:
        if isinstance(path, Url):
            return remote.signature_of(path)
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _check_format(connection: sqlite3.Connection, path: Path) -> int:
    """The format of a ledger, 0 where the run that made it was killed before it had one. Raises LedgerError."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > FORMAT:
        raise LedgerError(f"{path}: written by another version of this program")
    return int(version)


def _prepare(connection: sqlite3.Connection) -> None:
    """Make the table, or give one of format 1 what it lacks."""
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(TABLE)
    if "maps" not in {name for _, name, *_ in connection.execute("PRAGMA table_info(photos)")}:
        connection.execute("ALTER TABLE photos ADD COLUMN maps TEXT")
    connection.execute(f"PRAGMA user_version = {FORMAT}")
    connection.execute("COMMIT")


def _row(entry: Entry) -> tuple[object, ...]:
    return (
        os.fsencode(entry.destination.as_posix()),  # Windows reads it as well as its own, which older ledgers may have
        os.fsencode(entry.source),
        *(entry.signature or (None, None)),
        entry.making,
        entry.state.value,
        *(entry.result or (None, None)),
        None if entry.error is None else entry.error.encode("utf-8", sys.getfilesystemencodeerrors()),
        entry.elapsed_s,
        entry.changed_s,
        entry.times,
        None if entry.maps is None else json.dumps([(path.as_posix(), signature) for path, signature in entry.maps.items()]),
    )


def _entries(connection: sqlite3.Connection) -> Iterator[Entry]:
    for row in connection.execute("SELECT * FROM photos"):
        destination, source, size, mtime_ns, making, state, result_size, result_ns, *others = row
        error, elapsed_s, changed_s, times, maps = (*others, None)[:5]  # format 1 did not know of maps
        yield Entry(
            destination=Path(os.fsdecode(destination)),
            source=place_of(os.fsdecode(source)),
            signature=None if size is None else (size, mtime_ns),
            making=making,
            state=State(state),
            result=None if result_size is None else (result_size, result_ns),
            error=None if error is None else error.decode("utf-8", sys.getfilesystemencodeerrors()),
            elapsed_s=elapsed_s,
            changed_s=changed_s,
            times=times,
            maps=None if maps is None else {Path(name): each and (each[0], each[1]) for name, each in json.loads(maps)},
        )


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Errors of SQLite, and of a file of its, as LedgerError."""
    try:
        yield
    except (sqlite3.Error, OSError, ValueError, TypeError) as error:
        raise LedgerError(f"{path}: the ledger cannot be used ({getattr(error, 'strerror', None) or error})") from error
