"""Read whole files, and write them so that a reader sees the old file, the new one, or none, never half of one.

A place may be a path of this machine's or a URL, for which see `bokehcli.remote`.
"""

import errno
import os
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bokehcli import remote
from bokehcli.errors import ReadError, WriteError
from bokehcli.remote import Place, Url

# Offsets in TIFF, BMP and RIFF (WebP) are 32 bits wide, so no photo that is read here can be larger.
MAX_FILE_BYTES = 2**32

DESCRIPTORS = Path("/proc/self/fd")  # Linux's names for open files

ALL_MAY = 0o666  # the mode of a file that is open to all whom the umask lets

ALREADY_EXISTS = "already exists; use --overwrite or --skip-existing"

# What file systems answer that cannot link (FAT, exFAT, some network shares), or will not for this user.
_NO_HARD_LINKS = {errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL}

# What file systems answer that have no files without a name, or cannot give them one; the last is an old kernel's answer.
_NO_NAMELESS = {*_NO_HARD_LINKS, errno.EISDIR}


def read_bytes(path: Place) -> bytes:
    """The whole file. Raises ReadError, also for what is no regular file: reading a pipe could wait for ever."""
    try:
        if isinstance(path, Url):
            return remote.read(path)
        _refuse_irregular(path, path.stat())
        # Not blocking: the name may have become a pipe since.
        with open(os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)), "rb") as file:
            _refuse_irregular(path, os.fstat(file.fileno()))
            return file.read()
    except OSError as error:
        raise ReadError(str(path), _reason(error)) from error


def exists(path: Place) -> bool:
    """Whether something has that name, also a link to nowhere: to write there would replace it. Raises WriteError."""
    try:
        return remote.signature_of(path) is not None if isinstance(path, Url) else os.path.lexists(path)
    except OSError as error:
        raise WriteError(str(path), _reason(error)) from error


def times_of(path: Place) -> tuple[int, int]:
    """When the file was last read and changed, in nanoseconds of the epoch; an object, changed. Raises ReadError."""
    try:
        if isinstance(path, Url):
            return (remote.changed_ns(path),) * 2
        status = path.stat()
    except OSError as error:
        raise ReadError(str(path), _reason(error)) from error
    return status.st_atime_ns, status.st_mtime_ns


def mode_of_result(source: Place) -> int:
    """The most that a result may be open to others: only who may read the photo may read it, or write it. Raises ReadError."""
    if isinstance(source, Url):
        return ALL_MAY
    try:
        readable = source.stat().st_mode & 0o444
    except OSError as error:
        raise ReadError(str(source), _reason(error)) from error
    return 0o600 | readable | readable >> 1  # w lies beside r


def write_atomic(
    path: Place,
    data: bytes | Iterable[bytes],
    *,
    exclusive: bool = False,
    times_ns: tuple[int, int] | None = None,
    mode: int = ALL_MAY,
) -> None:
    """Write a file whole or not at all, and make its folders. The umask takes from the mode.

    data: all of it, or its pieces in what gives them anew each time that it is iterated over.

    exclusive: refuse when something is there by the time of the rename, whoever put it there. times_ns: see times_of; None is
    now; objects have times of their own. A link at path is replaced, not followed. Raises WriteError; whatever is raised,
    no temporary file stays and an old file is whole. That holds too when the process is killed, where the system knows
    files without a name (Linux, on most file systems); elsewhere a hidden file may stay.
    """
    try:
        if isinstance(path, Url):
            remote.write(path, data if isinstance(data, bytes) else b"".join(data), exclusive=exclusive)
            return
        _make_folder(path.parent)
        try:
            _write_nameless(path, data, exclusive, times_ns, mode)
        except OSError as error:
            if error.errno not in _NO_NAMELESS:
                raise
            _write_hidden(path, data, exclusive, times_ns, mode)
        _sync_folder(path.parent)
    except FileExistsError as error:
        raise WriteError(str(path), ALREADY_EXISTS) from error
    except OSError as error:
        raise WriteError(str(path), _reason(error)) from error


def make_ready(path: Place) -> None:
    """Make the folder of a file that is to be written later. Raises WriteError where it is plain that it cannot be."""
    if isinstance(path, Url):
        return
    try:
        if path.exists() and not path.is_file():
            raise WriteError(str(path), "a folder or a device, not a file")
        _make_folder(path.parent)
        if not os.access(path.parent, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise WriteError(str(path), _reason(error)) from error


def _refuse_irregular(path: Path, status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise ReadError(str(path), "a folder, not a photo")
    if not stat.S_ISREG(status.st_mode):
        raise ReadError(str(path), "a pipe, socket or device, not a regular file")
    if status.st_size > MAX_FILE_BYTES:
        raise ReadError(str(path), f"{status.st_size / 2**30:.1f} GiB; larger than any photo of these formats can be")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise NotADirectoryError(errno.ENOTDIR, f"{folder} is a file, not a folder") from error


@contextmanager
def _hidden_name(folder: Path) -> Iterator[Path]:
    """A free name, which nothing has any more when the block is left by an exception.

    Short, so that a photo's may have 255 bytes; hidden, so that no later run takes it for a photo.
    """
    temporary = folder / f".bokeh-{secrets.token_hex(6)}.tmp"
    try:
        yield temporary
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def _fill(descriptor: int, data: bytes | Iterable[bytes]) -> None:
    """Write to an open file, and through to the disk. The descriptor stays open."""
    with open(descriptor, "wb", closefd=False) as file:
        file.writelines((data,) if isinstance(data, bytes) else data)
    os.fsync(descriptor)


def _write_nameless(
    path: Path, data: bytes | Iterable[bytes], exclusive: bool, times_ns: tuple[int, int] | None, mode: int
) -> None:
    """Write to a file without a name in the folder, which goes with the process, and give it its name when it is whole.

    See open(2), O_TMPFILE. Raises OSError, of _NO_NAMELESS where the system or the file system has no such files.
    """
    kind = getattr(os, "O_TMPFILE", None)
    if kind is None or not DESCRIPTORS.is_dir():
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
    descriptor = os.open(path.parent, kind | os.O_WRONLY, mode)
    try:
        _fill(descriptor, data)
        if times_ns is not None:
            os.utime(descriptor, ns=times_ns)
        if exclusive:
            _name(descriptor, path)
            return
        with _hidden_name(path.parent) as temporary:
            _name(descriptor, temporary)
            os.replace(temporary, path)
    finally:
        os.close(descriptor)


def _name(descriptor: int, path: Path) -> None:
    """Give a nameless file a name that is free: by a link to Linux's name for its descriptor, which is itself a link."""
    # Only with a folder's descriptor does Python call linkat, which can follow that one; an absolute path ignores it.
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.link(DESCRIPTORS / str(descriptor), path, src_dir_fd=folder, follow_symlinks=True)
    finally:
        os.close(folder)


def _write_hidden(
    path: Path, data: bytes | Iterable[bytes], exclusive: bool, times_ns: tuple[int, int] | None, mode: int
) -> None:
    """Write to a file with a hidden name, and rename it when it is whole."""
    with _hidden_name(path.parent) as temporary:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), mode)
        try:
            _fill(descriptor, data)
        finally:
            os.close(descriptor)
        if times_ns is not None:
            os.utime(temporary, ns=times_ns)
        if exclusive:
            _rename_new(temporary, path)
        else:
            os.replace(temporary, path)


def _rename_new(temporary: Path, path: Path) -> None:
    """Rename unless something is there. Where links are not to be had, a look before the rename has to do."""
    if os.name == "nt":
        os.rename(temporary, path)  # on Windows this refuses by itself
        return
    try:
        os.link(temporary, path)
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from error
        os.replace(temporary, path)
    else:
        temporary.unlink()


def _sync_folder(folder: Path) -> None:
    """Make the rename last through a power cut, where folders can be opened and synced at all."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return  # Windows, or a folder that may be written but not listed
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(descriptor)


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
