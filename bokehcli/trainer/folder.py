"""The folder that a model goes into, and what can go wrong there."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bokehcli.errors import LedgerError, UsageError, WriteError
from bokehcli.lock import Lock

ENDING_S = 10.0  # for which the processes of a training that was killed may outlive it


def make_folder(folder: Path) -> None:
    """Make a folder unless it is there, and try to write into it. Raises UsageError where that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder}: no folder can be made there ({error.strerror or error})") from error
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"probe")
    except OSError as error:
        raise UsageError(f"{folder}: nothing can be written there ({error.strerror or error})") from error


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Make a folder and keep other trainings from it; one that is just ending is waited for. Raises UsageError, LedgerError."""
    make_folder(folder)
    until_s = time.monotonic() + ENDING_S
    while True:
        try:
            lock = Lock(folder / ".training-lock", folder)
            break
        except LedgerError:
            if time.monotonic() > until_s:
                raise
            time.sleep(0.1)
    try:
        yield
    finally:
        lock.release()


@contextmanager
def writing(path: Path, causes: tuple[type[Exception], ...] = (OSError,)) -> Iterator[None]:
    """A block in which a file, or the files of a folder, are written. Raises WriteError for what goes wrong with that."""
    try:
        yield
    except causes as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise WriteError(str(path), reason or str(error).splitlines()[0]) from error
