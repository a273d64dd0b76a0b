"""When two names are one file, or could be; and what is hidden, or lies elsewhere."""

import os
import stat
import unicodedata
from functools import lru_cache
from pathlib import Path

from bokehcli.remote import WINDOWS, Place, Url

JUNCTION = 0xA0000003  # IO_REPARSE_TAG_MOUNT_POINT of Windows' winnt.h


def absolute(place: Place) -> Place:
    """The place wherever the process is, links and all; that of an object as it is."""
    return place if isinstance(place, Url) else Path(os.path.abspath(place))


def unlinked(path: Place) -> str:
    """Where a name is: its folder without links, and the name itself (a link is a photo of its own)."""
    if isinstance(path, Url):
        return str(path)
    return os.path.join(_without_links(path.parent), path.name)


@lru_cache(maxsize=1024)
def _without_links(folder: Path) -> str:
    return os.path.realpath(folder)


def forget_links() -> None:
    """Look at the file system anew, which may have changed."""
    _without_links.cache_clear()


def folded(path: Place) -> str:
    """The place as a file system sees it that ignores case and normalisation (macOS, Windows, memory cards).

    No object store does.
    """
    if isinstance(path, Url):
        return str(path)
    return _folded(unlinked(path))


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def identity(path: Place) -> tuple[int, int] | None:
    """What the file system knows it by, links followed; None when nothing is there, and for objects."""
    if isinstance(path, Url):
        return None
    try:
        status = path.stat()
    except (OSError, ValueError):  # a name with a NUL byte
        return None
    return status.st_dev, status.st_ino


def is_hidden(path: Path) -> bool:
    """Whether people are not to see it: by its name, or on Windows by an attribute, as the bin and the system's folder have."""
    return path.name.startswith(".") or bool(_of_windows(path, "st_file_attributes") & stat.FILE_ATTRIBUTE_HIDDEN)


def is_link(folder: Path) -> bool:
    """Whether a folder lies elsewhere: by a link, or on Windows a junction, which no privilege is needed to make."""
    return os.path.islink(folder) or _of_windows(folder, "st_reparse_tag") == JUNCTION


def _of_windows(path: Path, name: str) -> int:
    """What Windows alone tells of a file, 0 elsewhere."""
    try:
        return int(getattr(os.lstat(path), name)) if WINDOWS else 0
    except OSError:  # it is gone, or nobody may look
        return 0


def is_within(path: Path, folder: Place) -> bool:
    """Whether path is folder, or lies anywhere in it."""
    if isinstance(folder, Url):
        return False
    place, whole = Path(unlinked(Path(os.path.abspath(path)))), Path(os.path.realpath(folder))
    return place == whole or whole in place.parents


def told_apart(one: Place, other: Place, out: Place) -> bool:
    """Whether the output's file system is known to tell apart two names that differ in case or normalisation alone.

    It is when both sources lie in one folder, or in two of it whose names differ so (there they are two), on the file system
    that out will be on. Object stores do tell.
    """
    if isinstance(out, Url):
        return True
    if isinstance(one, Url) or isinstance(other, Url):
        return False
    while not os.path.exists(out) and out != out.parent:
        out = out.parent
    folder = _told_apart_in(Path(unlinked(one)), Path(unlinked(other)))
    here, there = identity(folder) if folder else None, identity(out)
    return here is not None and there is not None and here[0] == there[0]


def _told_apart_in(one: Path, other: Path) -> Path | None:
    """The folder in which the ways to two files part by names that its file system tells apart; None where none is known."""
    if one.parent == other.parent:
        return one.parent
    ways = list(zip((*reversed(one.parents), one), (*reversed(other.parents), other), strict=False))
    first, second = next((pair for pair in ways if pair[0] != pair[1]), (one, other))
    if _folded(first.name) != _folded(second.name):
        return None
    here, there = identity(first), identity(second)
    return first.parent if here is not None and there is not None and here != there else None
