"""Small pictures of a photo, for people to look at in a browser.

JPEG, and WebP where there is opacity: of two pictures of 640 pixels, WebP took 37 ms and JPEG 1.3 ms.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bokehcli.containers import Malformed, put_carried
from bokehcli.errors import EncodeError
from bokehcli.opencv import cv2
from bokehcli.photo import FLOAT_BITS, Carried, Container, Photo
from bokehcli.pixels import fit_within, resize, to_8_bits
from bokehcli.tone import as_seen, curves_of

QUALITY = 75
LARGEST_PROFILE_BYTES = 8192  # a matrix and curves; a printer's tables would be many times the picture


def reduced(photo: Photo, long_side_px: int) -> Photo:
    """The photo at a long side of so many pixels, or as it is where that is smaller, without a channel that is unspecified."""
    size = fit_within((photo.image.shape[0], photo.image.shape[1]), long_side_px)
    opacity = None if photo.transparency is None else resize(photo.transparency, size)
    return replace(photo, image=resize(photo.image, size), opacity=opacity)


def small_picture(photo: Photo) -> bytes:
    """A photo that is small already as a JPEG or WebP file, with its ICC profile where that is small too. Raises EncodeError.

    Where the profile is left out, the values are changed to what a screen would show (`as_seen`), and wide colours look paler
    than they are.
    """
    profile = photo.carried.icc
    kept = profile is not None and len(profile) <= LARGEST_PROFILE_BYTES and not photo.grey and photo.bits != FLOAT_BITS
    image = to_8_bits(photo.image if kept else as_seen(photo.image, curves_of(profile)))
    pixels = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    container = Container.JPEG if photo.opacity is None else Container.WEBP
    if photo.opacity is not None:
        pixels = np.dstack((pixels, to_8_bits(photo.opacity)))
    data = _encoded(pixels, container, photo.name)
    if not kept:
        return data
    try:
        return put_carried(data, container, Carried(icc=profile))[0]
    except Malformed:
        return data


def small_map(alpha: NDArray[np.uint8], size: tuple[int, int]) -> bytes:
    """A map (H, W) as a grey JPEG file of that (height, width). Raises EncodeError."""
    return _encoded(resize(alpha, size), Container.JPEG, "map")


def _encoded(pixels: NDArray[np.uint8], container: Container, name: str) -> bytes:
    setting = cv2.IMWRITE_JPEG_QUALITY if container is Container.JPEG else cv2.IMWRITE_WEBP_QUALITY
    try:
        done, encoded = cv2.imencode(container.suffix, pixels, [setting, QUALITY])
    except cv2.error as error:
        raise EncodeError(name, f"no small picture of it can be made: {' '.join(str(error).split())[:200]}") from error
    if not done:
        raise EncodeError(name, "no small picture of it can be made")
    data: bytes = encoded.tobytes()
    return data
