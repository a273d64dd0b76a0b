"""Read whole files, and write them so that a reader sees the old file, the new one, or none, never half of one."""

import errno
import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from bokehcli.errors import ReadError, WriteError

# Offsets in TIFF, BMP and RIFF (WebP) are 32 bits wide, so no photo that is read here can be larger.
MAX_FILE_BYTES = 2**32

ALREADY_EXISTS = "already exists; use --overwrite or --skip-existing"

# What file systems answer that cannot link (FAT, exFAT, some network shares), or will not for this user.
_NO_HARD_LINKS = {errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL}


def read_bytes(path: Path) -> bytes:
    """The whole file. Raises ReadError, also for what is no regular file: reading a pipe could wait for ever."""
    try:
        _refuse_irregular(path, path.stat())
        # Not blocking: the name may have become a pipe since.
        with open(os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)), "rb") as file:
            _refuse_irregular(path, os.fstat(file.fileno()))
            return file.read()
    except OSError as error:
        raise ReadError(str(path), _reason(error)) from error


def times_of(path: Path) -> tuple[int, int]:
    """When the file was last read and changed, in nanoseconds of the epoch. Raises ReadError."""
    try:
        status = path.stat()
    except OSError as error:
        raise ReadError(str(path), _reason(error)) from error
    return status.st_atime_ns, status.st_mtime_ns


def write_atomic(
    path: Path, data: bytes, *, exclusive: bool = False, times_ns: tuple[int, int] | None = None
) -> None:
    """Write a file whole or not at all, and make its folders. The mode is what the umask leaves of rw-rw-rw-.

    exclusive: refuse when something is there by the time of the rename, whoever put it there. times_ns: see times_of; None
    is now. A link at path is
    replaced, not followed. Raises WriteError; whatever is raised, no temporary file stays and an old file is whole.
    """
    # Short, so that a name of 255 bytes, the usual limit, can be written too; hidden, so that no later run takes it
    # for a photo should the process be killed.
    temporary = path.with_name(f".bokeh-{secrets.token_hex(6)}.tmp")
    try:
        _make_folder(path.parent)
        try:
            _write_through(temporary, data)
            if times_ns is not None:
                os.utime(temporary, ns=times_ns)
            if exclusive:
                _rename_new(temporary, path)
            else:
                os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
        _sync_folder(path.parent)
    except FileExistsError as error:
        raise WriteError(str(path), ALREADY_EXISTS) from error
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


def _write_through(path: Path, data: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    with open(os.open(path, flags, 0o666), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


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
