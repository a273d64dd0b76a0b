"""Lists of photos, as find and its like print them (--files-from)."""

import codecs
import os
import sys
from pathlib import Path

from bokehcli.errors import UsageError
from bokehcli.remote import Place, place_of

STDIN = Path("-")


def read_stdin(most_bytes: int = -1) -> bytes:
    """All of stdin, or what it begins with. Raises OSError, and AttributeError without a stdin, when sys.stdin is None."""
    if os.name == "posix":  # whoever opened it may not want to wait for it, and a read would give what has come so far
        os.set_blocking(sys.stdin.fileno(), True)
    return sys.stdin.buffer.read(most_bytes)


def read_list(file: Path, *, null: bool = False) -> list[Place]:
    """The paths and URLs that a file names, in its order; file `-` is stdin.

    null: each ends with a NUL byte, as find -print0 writes them, and is taken as it is. Otherwise each is a line, which may
    end as on Windows, also in UTF-16 behind its mark, as the PowerShell of Windows writes. What is empty names nothing.

    Raises UsageError when the file cannot be read, when lines hold NUL bytes, and where they are no names in UTF-8 and the
    system's have to be.
    """
    name = "stdin" if file == STDIN else str(file)
    try:
        listed = read_stdin() if file == STDIN else file.read_bytes()
    except (OSError, AttributeError) as error:
        raise UsageError(f"{name}: {getattr(error, 'strerror', None) or 'cannot be read'}") from error
    try:
        if not null and listed.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            listed = os.fsencode(listed.decode("utf-16"))
        if null:
            entries = listed.split(b"\0")
        elif b"\0" in listed:
            raise UsageError(f"{name}: the list has NUL bytes; give --null if they end its names")
        else:
            entries = [line.removesuffix(b"\r") for line in listed.removeprefix(codecs.BOM_UTF8).split(b"\n")]
        return [place_of(os.fsdecode(entry)) for entry in entries if entry]
    except UnicodeDecodeError as error:
        raise UsageError(f"{name}: the list is not in {error.encoding.upper()}") from error
