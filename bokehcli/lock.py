"""One run at a time: a lock that ends with the process that holds it, however that ends."""

import os
import sys
from contextlib import suppress
from pathlib import Path

from bokehcli.errors import LedgerError
from bokehcli.remote import Place


class Lock:
    """Held from construction to `release`, in a file of that name.

    Where the file cannot be made, and where the file system has no such locks (some shares), it holds nothing off. Raises
    LedgerError when another process holds it, which names out, what is written to.
    """

    def __init__(self, path: Path, out: Place) -> None:
        self.path = path
        self.out = out
        self._descriptor: int | None = None
        with suppress(ImportError, OSError):
            while self._descriptor is None:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._try()

    def _try(self) -> None:
        """Take the lock, or leave things as they are where the file is that of a run which has just removed it."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(descriptor)
            # Windows removes no file that is open.
            if sys.platform == "win32" or os.path.samestat(os.stat(self.path), os.fstat(descriptor)):
                self._descriptor = descriptor
        except BlockingIOError as error:
            raise self._held() from error
        except FileNotFoundError:
            pass
        finally:
            if self._descriptor is None:
                os.close(descriptor)

    def refuse(self, path: Path) -> None:
        """Raise LedgerError when a process holds the lock of another file, which stays as it is."""
        with suppress(ImportError, OSError):
            descriptor = os.open(path, os.O_RDONLY)
            try:
                _lock(descriptor, shared=True)  # others may be asking, too
            except BlockingIOError as error:
                raise self._held() from error
            finally:
                os.close(descriptor)

    def release(self) -> None:
        """Let others in; the file goes."""
        if self._descriptor is not None:
            if sys.platform == "win32":  # see _try
                os.close(self._descriptor)
            with suppress(OSError):
                self.path.unlink()
            if sys.platform != "win32":
                os.close(self._descriptor)
            self._descriptor = None

    def _held(self) -> LedgerError:
        return LedgerError(f"{self.out}: another run is writing into this folder")


def _lock(descriptor: int, *, shared: bool = False) -> None:
    """Lock an open file until it is closed. Raises BlockingIOError where another process has it.

    Windows has no shared locks of this kind: two that ask at the same moment may each take the other for a run.
    """
    if sys.platform == "win32":
        import msvcrt

        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError as error:
            raise BlockingIOError(error.errno, error.strerror) from error
    else:
        import fcntl

        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
