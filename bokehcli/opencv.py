"""OpenCV, imported in one place: with its limits raised and its log silent, or an error that says how to get it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

from bokehcli.errors import MissingDependency
from bokehcli.threadpool import ThreadPool

# Read once, when the library loads. Photos are held to DecodeOptions.max_megapixels, which may be above 2^30 pixels.
ENVIRONMENT = {
    "OPENCV_IO_MAX_IMAGE_PIXELS": str(1 << 40),
    "OPENCV_IO_MAX_IMAGE_WIDTH": str(1 << 24),
    "OPENCV_IO_MAX_IMAGE_HEIGHT": str(1 << 24),
    "OPENCV_LOG_LEVEL": "SILENT",
}


def load() -> Any:
    """The module ``cv2``. Raises MissingDependency."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        import cv2
    except ImportError as error:
        raise MissingDependency(
            f"OpenCV cannot be loaded ({error}): install libgl1 and libglib2.0-0 "
            "(Debian: apt-get install libgl1 libglib2.0-0), or use opencv-python-headless instead of opencv-python"
        ) from error
    return cv2


cv2: Any = load()


class Threads:
    """OpenCV's own threads, of which there is one set in a process."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._users = 0
        self._count = 1

    @contextmanager
    def lent(self) -> Iterator[ThreadPool]:
        """As many as OpenCV may use; until the end, the caller has them and each call of OpenCV runs on the one it comes from.

        Threads that call OpenCV beside each other are in the way of its own: a photo of 12 MP is rendered in 5 to 10 %
        less time so. Several may enter at a time; OpenCV has its threads back when the last one leaves.
        """
        with self._lock:
            if self._users == 0:
                self._count = max(1, cv2.getNumThreads())
                cv2.setNumThreads(1)
            self._users += 1
        try:
            with ThreadPool(self._count) as pool:
                yield pool
        finally:
            with self._lock:
                self._users -= 1
                if self._users == 0:
                    cv2.setNumThreads(self._count)


threads = Threads()
