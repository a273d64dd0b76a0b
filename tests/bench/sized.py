"""Photos brought to a size, for the benchmarks."""

from dataclasses import dataclass
from pathlib import Path

import cv2

QUALITY = 90  # of their JPEGs


@dataclass(frozen=True)
class Sized:
    """A photo as JPEG of QUALITY, its true megapixels (1e6 pixels), and whether it was enlarged to have them."""

    data: bytes
    megapixels: float
    enlarged: bool


def brought_to(photo: Path, megapixels: float) -> Sized:
    """The photo at about that size: enlarged with bicubic interpolation or shrunk by area. Raises SystemExit if unreadable."""
    image = cv2.imread(str(photo))
    if image is None:
        raise SystemExit(f"{photo}: not a photo that OpenCV reads")
    scale = (megapixels * 1e6 / (image.shape[0] * image.shape[1])) ** 0.5
    how = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
    image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=how)
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
    return Sized(data, image.shape[0] * image.shape[1] / 1e6, scale > 1)
