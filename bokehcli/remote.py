"""Photos in object stores and on other machines, by URL: whatever fsspec has a file system for (s3://, gs://, memory:// ...).

Objects are read and written whole, from and to memory. Listings are asked for anew each time, so that what is said of an object
is what the store says now. How to get in, fsspec finds where it always does: in the environment and in its own settings.
"""

import errno
import hashlib
import logging
import mimetypes
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from pathlib import Path, PurePath, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from bokehcli.errors import MissingDependency, UsageError

WINDOWS = os.name == "nt"  # where a backslash or a colon in a path is more than a character
URL = re.compile(r"([a-z][a-z0-9+.-]+)://", re.IGNORECASE)  # two letters at least: one is a drive of Windows'
LOCAL_SCHEMES = ("file", "local")
MEMORY = "memory"
HTTP_SCHEMES = ("http", "https")
NOT_FOUND = 404  # the status of an answer
# What stores call the version of an object, and the time of its last change.
VERSIONS = ("ETag", "etag", "generation", "md5Hash")
TIMES = ("LastModified", "last_modified", "updated", "mtime", "created")
ONE_PUT_BYTES = 5 << 30  # what S3 takes in one request, more than any photo has
FIRST_LINE_CHARACTERS = 200

Signature = tuple[int, int]  # of an object: size in bytes, and what stands for its version


class Url(PurePosixPath):
    """An object, or all whose names begin like that. Its parts are joined and taken apart like those of a path."""

    def __str__(self) -> str:
        scheme, _, rest = super().__str__().partition(":/")
        return f"{scheme}://{rest}"

    @property
    def scheme(self) -> str:
        """What is before the colon."""
        return self.parts[0].removesuffix(":").lower()

    @property
    def home(self) -> "Url":
        """The bucket, server or the like."""
        return Url(*self.parts[:2])

    def below(self, folder: PurePath) -> PurePosixPath:
        """The path from one of its parents. Raises ValueError if it is none."""
        return PurePosixPath(*PurePosixPath(*self.parts).relative_to(PurePosixPath(*folder.parts)).parts)


Place = Path | Url


def place_of(text: str) -> Place:
    """A URL, or a path of this machine's. Raises UsageError for a URL that names no bucket, server or the like, and for that of
    a file on another machine, unless it is a share of Windows'."""
    matched = URL.match(text)
    if matched is None:
        return Path(text)
    if matched.group(1).lower() in LOCAL_SCHEMES:
        return _file_of(text)
    url = Url(text)
    if len(url.parts) < 2:
        raise UsageError(f"{text}: the URL names nothing")
    return url


def _file_of(text: str) -> Path:
    from urllib.request import url2pathname  # which brings all of HTTP along

    parts = urlsplit(text)
    try:
        name = url2pathname(parts.path)
    except OSError as error:
        raise UsageError(f"{text}: the URL names no file") from error
    if parts.netloc.lower() in ("", "localhost"):
        return Path(name)
    if not WINDOWS:
        raise UsageError(f"{text}: the URL names a file of another machine, {parts.netloc}")
    return Path(f"//{parts.netloc}{name}")


def joined(folder: Place, relative: PurePath) -> Place:
    """What lies below a folder under that path."""
    return folder / relative.as_posix() if isinstance(folder, Url) else folder / relative


def leads_out(relative: PurePath, folder: Place) -> bool:
    """Whether a path made of an object's name may mean something elsewhere than below a folder, to its file system or store.

    To Windows a backslash begins a new part, a colon ends a drive, and a part of dots and spaces may be one of the two dots.
    """
    if WINDOWS and isinstance(folder, Path):
        return any("\\" in part or ":" in part or not part.strip(". ") for part in relative.parts)
    return ".." in relative.parts


def is_of_this_process(place: Place) -> bool:
    """Whether no other process can read or write there."""
    return isinstance(place, Url) and place.scheme == MEMORY


def read(url: Url) -> bytes:
    """The whole object. Raises OSError, MissingDependency."""
    store, path = _opened(url)
    with _as_os_error(url):
        data: bytes = store.cat_file(path)
        return data


def write(url: Url, data: bytes, *, exclusive: bool = False) -> None:
    """Put an object in one request, so that there is all of it or nothing. Raises OSError, MissingDependency.

    exclusive: FileExistsError where there is one already; S3 and Google's store look and put in one step.
    """
    store, path = _opened(url)
    kind = mimetypes.guess_type(url.name)[0] or "application/octet-stream"
    more: dict[str, Any] = {}
    if url.scheme in ("s3", "s3a"):
        more = {"chunksize": ONE_PUT_BYTES, "ContentType": kind}
    elif url.scheme in ("gs", "gcs"):
        more = {"chunksize": ONE_PUT_BYTES, "content_type": kind}
    with _as_os_error(url, absent="there is no such bucket or folder"):
        store.pipe_file(path, data, mode="create" if exclusive else "overwrite", **more)


def signature_of(url: Url) -> Signature | None:
    """Of an object as it is now; None where there is none. Raises OSError, MissingDependency."""
    store, path = _opened(url)
    try:
        with _as_os_error(url):
            info = store.info(path)
    except FileNotFoundError:
        return None
    return None if info["type"] == "directory" else _signature(info)


def changed_ns(url: Url) -> int:
    """When an object was last changed, in nanoseconds of the epoch. Raises OSError, MissingDependency."""
    store, path = _opened(url)
    with _as_os_error(url):
        info = store.info(path)
    value = next((info[name] for name in TIMES if info.get(name)), None)
    if value is None:
        raise OSError(errno.ENODATA, "the store does not say when it was changed", str(url))
    return _moment_ns(value)


def is_folder(url: Url) -> bool:
    """Whether a URL is no object, but others' names begin with it. Raises OSError, MissingDependency."""
    store, path = _opened(url)
    with _as_os_error(url):
        return bool(store.info(path)["type"] == "directory")


def objects_in(url: Url) -> tuple[dict[Url, Signature], list[Url], list[str]]:
    """What is right below a URL, by name: objects, folders, and objects whose names no path can have. Raises OSError.

    None of all three where there is nothing. Raises MissingDependency.
    """
    store, path = _opened(url)
    try:
        with _as_os_error(url):
            listed = store.ls(path, detail=True)
    except FileNotFoundError:
        return {}, [], []
    found: dict[Url, Signature] = {}
    folders, odd = [], []
    for info in sorted(listed, key=lambda info: str(info["name"])):
        name = str(info["name"])
        rest = name.removeprefix(path).removeprefix("/").removesuffix("/" if info["type"] == "directory" else "")
        if not rest and info["type"] != "directory":
            continue  # an empty object that stands for the folder itself
        if not rest or rest in (".", "..") or "/" in rest:
            odd.append(f"{url}/{rest}")
        elif info["type"] == "directory":
            folders.append(url / rest)
        else:
            found[url / rest] = _signature(info)
    return found, folders, odd


def _signature(info: dict[str, Any]) -> Signature:
    version = next((str(info[name]) for name in VERSIONS if info.get(name)), None)
    if version is None:
        version = next((str(_moment_ns(info[name])) for name in TIMES if info.get(name)), "")
    return int(info.get("size") or 0), int.from_bytes(hashlib.sha256(version.encode()).digest()[:7])


def _moment_ns(value: datetime | str | float) -> int:
    """A time as one or another store gives it, in nanoseconds of the epoch."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    return round((value.timestamp() if isinstance(value, datetime) else value) * 1e9)


def _opened(url: Url) -> tuple[Any, str]:
    """The file system of a URL, and what it calls the object."""
    store = _store(str(url.home), os.getpid())
    # What the object is called is left to the file system: of a whole URL, fsspec takes `::` for a chain of several.
    return store, store._strip_protocol(str(url))


@lru_cache(maxsize=64)
def _store(home: str, _process: int) -> Any:
    try:
        import fsspec
    except ImportError as error:
        raise MissingDependency("URLs need fsspec: pip install 'bokehcli[cloud]'") from error
    # What clients of stores log would be on stderr where nobody handles it, with tracebacks; what goes wrong is raised as well.
    logging.getLogger().addHandler(logging.NullHandler())
    try:
        store, _ = fsspec.url_to_fs(home, use_listings_cache=False)
    except ImportError as error:
        raise MissingDependency(f"{home}: {_first_line(error)} (pip install 'bokehcli[cloud]')") from error
    except ValueError as error:  # fsspec knows no such scheme
        raise UsageError(f"{home}: {_first_line(error)}") from error
    return store


@contextmanager
def _as_os_error(url: Url, absent: str = "there is no such object") -> Iterator[None]:
    """Whatever a store's client raises as OSError, with a reason of one line."""
    try:
        yield
    except FileNotFoundError as error:
        cause = error.__cause__  # of fsspec's HTTP client, which says so of whatever goes wrong
        if url.scheme in HTTP_SCHEMES and cause is not None and getattr(cause, "status", None) != NOT_FOUND:
            raise OSError(errno.EIO, _reason(cause), str(url)) from error
        raise FileNotFoundError(errno.ENOENT, absent, str(url)) from error
    except FileExistsError as error:
        raise FileExistsError(errno.EEXIST, "there is an object already", str(url)) from error
    except PermissionError as error:
        raise PermissionError(errno.EACCES, f"access denied ({_first_line(error)})", str(url)) from error
    except Exception as error:
        raise OSError(errno.EIO, _reason(error), str(url)) from error


def _reason(error: BaseException) -> str:
    """What a client says, in one line; where it has it, what the server answered, or the system."""
    if hasattr(error, "status") and hasattr(error, "message"):
        return f"the server answers {error.status} {error.message}"
    number = getattr(error, "errno", None) or 0
    return f"{type(error).__name__}: {os.strerror(number) if number > 0 else _first_line(error)}"


def _first_line(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error).strip() or type(error).__name__
    return str(text).splitlines()[0][:FIRST_LINE_CHARACTERS]
