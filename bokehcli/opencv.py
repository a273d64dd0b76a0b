"""OpenCV, imported in one place: with its limits raised and its log silent, or an error that says how to get it."""

import os
from typing import Any

from bokehcli.errors import MissingDependency

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
