"""The folder that a model goes into, and what can go wrong there."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bokehcli.errors import UsageError, WriteError


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
def writing(path: Path, causes: tuple[type[Exception], ...] = (OSError,)) -> Iterator[None]:
    """A block in which a file, or the files of a folder, are written. Raises WriteError for what goes wrong with that."""
    try:
        yield
    except causes as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise WriteError(str(path), reason or str(error).splitlines()[0]) from error
