"""Pixels -> bytes of a container, without metadata."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bokehcli import heic
from bokehcli.containers import Malformed, png, tiff
from bokehcli.errors import EncodeError, MissingDependency
from bokehcli.opencv import cv2
from bokehcli.photo import FLOAT_BITS, Container, Photo
from bokehcli.pixels import from_unit, gathered, to_8_bits

# Where the source does not tell. At 92 the loss of a second encoding is not seen; WebP reaches that at a lower number.
FULL_COLOUR_QUALITY = 90  # from here on an unknown source is given 4:4:4
DEFAULT_QUALITY = {Container.JPEG: 92, Container.AVIF: 90, Container.HEIC: 90}
WITH_OPACITY = (Container.PNG, Container.WEBP, Container.TIFF, Container.AVIF, Container.HEIC)
BITS = {Container.PNG: 16, Container.TIFF: FLOAT_BITS, Container.AVIF: 12, Container.HEIC: heic.WRITTEN_BITS}  # where above 8
# Older ones of OpenCV cannot be asked for such filters; there it is RGB with opacity.
GREY_WITH_OPACITY = (Container.PNG, Container.TIFF) if hasattr(cv2, "IMWRITE_PNG_FILTER_UP") else ()
ADOBE_DEFLATE = 8
AVIF_SPEED = 10  # of 0 to 10; 9, OpenCV's own choice, makes the same file in nearly twice the time
WEBP_EFFORT = 30  # of 100, for lossless: with less, files of two rendered photos are 12 and 15 % larger, with more no smaller
COLOUR = 3  # dimensions of a picture that is not grey


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """How a picture is written.

    quality: 1 to 100, of JPEG, WebP, AVIF and HEIC; None is DEFAULT_QUALITY, and lossless for WebP. grey: a single channel,
    the image's first, where the container has that; beside opacity where it has both. unspecified: as in Photo. subsampling:
    for JPEG and HEIC, as in Photo; None is 4:2:0, and for JPEG 4:4:4 from quality 90. progressive: a JPEG in scans of growing
    detail. optimised: a JPEG with Huffman codes made for it. bits: of a channel of a uint16 image, where the container has a
    choice.
    """

    container: Container
    quality: int | None = None
    grey: bool = False
    unspecified: bool = False
    subsampling: str | None = None
    progressive: bool = False
    optimised: bool = True
    bits: int = 16


def check_encoder(container: Container | None) -> None:
    """Raises MissingDependency where what writes such a container is not installed; None is each photo's own."""
    if container is Container.HEIC:
        heic.load()
    if container is Container.AVIF and not cv2.haveImageWriter(container.suffix):
        raise MissingDependency("the OpenCV that is installed writes no AVIF: pip install --upgrade opencv-python may help")


def encode_image(image: NDArray[Any], opacity: NDArray[Any] | None, encoding: Encoding, name: str) -> bytes:
    """Encode a picture; what a container cannot hold is reduced, and ``encoding_losses`` says so.

    image: (H, W, 3) uint8, uint16 or float32 (white at 1), RGB. opacity: (H, W) of the same type or None; JPEG and BMP drop
    it, and all but TIFF drop one that is unspecified. TIFF keeps floats and 16 bits, PNG 16, AVIF 10 or 12, HEIC 10, others
    get 8. Raises EncodeError.
    """
    container = encoding.container
    if container not in WITH_OPACITY or (encoding.unspecified and container is not Container.TIFF):
        opacity = None
    if container is not Container.TIFF:
        reduce: Callable[[NDArray[Any]], NDArray[Any]] = to_16_bits if container in BITS else to_8_bits
        image, opacity = reduce(image), None if opacity is None else reduce(opacity)
    if encoding.grey and opacity is not None and container in GREY_WITH_OPACITY:
        return _encode_grey(image[..., 0], opacity, encoding, name)
    pixels = np.ascontiguousarray(image[..., 0]) if encoding.grey and container is not Container.WEBP else image
    if opacity is not None:
        pixels = np.dstack((image, opacity))
    if container is Container.HEIC:
        return heic.encode(pixels, encoding.quality or DEFAULT_QUALITY[container], encoding.subsampling, name)
    if container is Container.WEBP and encoding.quality is None and (data := lossless_webp(pixels)) is not None:
        return data
    if pixels.ndim == COLOUR:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR if opacity is None else cv2.COLOR_RGBA2BGRA)
    parameters = _parameters(encoding)
    if container is Container.AVIF and pixels.dtype == np.uint16:
        bits = min(encoding.bits, BITS[container])
        pixels = gathered(pixels, bits)
        parameters += [cv2.IMWRITE_AVIF_DEPTH, bits]
    encoded = _encode(pixels, container, parameters, name)
    if opacity is not None and container is Container.TIFF:
        try:
            return tiff.with_extra(encoded, unspecified=encoding.unspecified)
        except Malformed as error:
            raise EncodeError(name, f"tiff: {error}") from error
    return encoded


def lossless_webp(pixels: NDArray[np.uint8]) -> bytes | None:
    """Lossless WebP of (H, W, 3 or 4) RGB, by Pillow; None where that is not installed or cannot do it.

    OpenCV lets nobody choose the effort, and takes twice as long for the same size.
    """
    try:
        from PIL import Image

        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "WEBP", lossless=True, quality=WEBP_EFFORT, method=4, exact=True)
    except (ImportError, KeyError, OSError, ValueError):  # Pillow may also be built without WebP, or the picture too large
        return None
    return file.getvalue()


def encode_map(values: NDArray[np.uint8]) -> bytes:
    """Encode a map (H, W) as a grey PNG. Raises EncodeError."""
    return _encode(values, Container.PNG, [], "map")


def encoding_losses(photo: Photo, container: Container) -> tuple[str, ...]:
    """A warning for each thing about the photo's pixels that the container cannot hold."""
    losses: list[str] = []
    kind = container.value.upper()
    if photo.opacity is not None and photo.unspecified and container is not Container.TIFF:
        losses.append("the TIFF has a channel of which it does not say what it is: left out")
    elif photo.opacity is not None and container not in WITH_OPACITY:
        losses.append(f"{kind} holds no opacity: left out")
    if photo.bits == FLOAT_BITS and BITS.get(container) != FLOAT_BITS:
        bits = 16 if container is Container.PNG else BITS.get(container, 8)
        losses.append(f"{kind} holds no floats: rounded to {bits} bits, and cut off at black and white")
    elif photo.bits > BITS.get(container, 8):
        losses.append(f"{kind} holds {BITS.get(container, 8)} bits a channel: rounded from {photo.bits}")
    return tuple(losses)


def to_16_bits(samples: NDArray[Any]) -> NDArray[Any]:
    """Floats [0, 1] to the nearest of uint16, whole numbers as they are."""
    return from_unit(samples, np.uint16) if samples.dtype == np.float32 else samples


def _parameters(encoding: Encoding) -> list[int]:
    container, quality = encoding.container, encoding.quality
    if container is Container.JPEG:
        quality = quality or DEFAULT_QUALITY[container]
        subsampling = encoding.subsampling or ("4:4:4" if quality >= FULL_COLOUR_QUALITY else "4:2:0")
        factor = getattr(cv2, f"IMWRITE_JPEG_SAMPLING_FACTOR_{subsampling.replace(':', '')}")
        parameters = {
            cv2.IMWRITE_JPEG_QUALITY: quality,
            cv2.IMWRITE_JPEG_SAMPLING_FACTOR: factor,
            cv2.IMWRITE_JPEG_OPTIMIZE: int(encoding.optimised),
            cv2.IMWRITE_JPEG_PROGRESSIVE: int(encoding.progressive),
        }
        return [number for pair in parameters.items() for number in pair]
    if container is Container.WEBP and quality is None:
        # Above 100 is lossless; colours under full transparency are kept too where OpenCV can (from 5.0).
        keep = getattr(cv2, "IMWRITE_WEBP_LOSSLESS_PRESERVE_COLOR", None)
        extra = [] if keep is None else [cv2.IMWRITE_WEBP_LOSSLESS_MODE, keep]
        return [cv2.IMWRITE_WEBP_QUALITY, 101, *extra]
    if container is Container.WEBP and quality is not None:
        return [cv2.IMWRITE_WEBP_QUALITY, quality]
    if container is Container.AVIF:
        return [cv2.IMWRITE_AVIF_QUALITY, quality or DEFAULT_QUALITY[container], cv2.IMWRITE_AVIF_SPEED, AVIF_SPEED]
    if container is Container.TIFF:
        return [cv2.IMWRITE_TIFF_COMPRESSION, ADOBE_DEFLATE]
    return []


def _encode(pixels: NDArray[Any], container: Container, parameters: list[int], name: str) -> bytes:
    try:
        done, encoded = cv2.imencode(container.suffix, pixels, parameters)
    except (cv2.error, MemoryError) as error:
        raise EncodeError(name, f"{container.value}: {' '.join(str(error).split())[:200]}") from error
    if not done:
        height, width = pixels.shape[:2]
        raise EncodeError(name, f"a picture of {width} x {height} pixels cannot be encoded as {container.value}")
    data: bytes = encoded.tobytes()
    return data


def _encode_grey(grey: NDArray[Any], opacity: NDArray[Any], encoding: Encoding, name: str) -> bytes:
    """Grey and opacity, (H, W) each, which OpenCV does not write: as a grey row of both in turn, then declared as what it is.

    Only with filters that do not reach from one sample to the next is that the same.
    """
    container = encoding.container
    row = np.dstack((grey, opacity)).reshape(grey.shape[0], -1)
    try:
        if container is Container.PNG:
            return png.with_opacity(_encode(row, container, [cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP], name))
        unpredicted = [cv2.IMWRITE_TIFF_PREDICTOR, cv2.IMWRITE_TIFF_PREDICTOR_NONE]
        encoded = _encode(row, container, [cv2.IMWRITE_TIFF_COMPRESSION, ADOBE_DEFLATE, *unpredicted], name)
        return tiff.with_extra(tiff.in_pairs(encoded), unspecified=encoding.unspecified)
    except Malformed as error:
        raise EncodeError(name, f"{container.value}: {error}") from error
