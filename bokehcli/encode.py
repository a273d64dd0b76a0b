"""Pixels -> bytes of a container, without metadata."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bokehcli.containers import Malformed, tiff
from bokehcli.containers.ifd import SHORT, Field
from bokehcli.containers.reading import byte_order
from bokehcli.errors import EncodeError
from bokehcli.opencv import cv2
from bokehcli.photo import Container, Photo

# Where the source does not tell. At 92 the loss of a second encoding is not seen; WebP reaches that at a lower number.
DEFAULT_JPEG_QUALITY = 92
FULL_COLOUR_QUALITY = 90  # from here on an unknown source is given 4:4:4
WITH_OPACITY = (Container.PNG, Container.WEBP, Container.TIFF)
WITH_16_BITS = (Container.PNG, Container.TIFF)
ADOBE_DEFLATE = 8


def encode_image(
    image: NDArray[Any],
    opacity: NDArray[Any] | None,
    container: Container,
    *,
    quality: int | None,
    grey: bool,
    name: str,
    subsampling: str | None = None,
    progressive: bool = False,
) -> bytes:
    """Encode a picture; what a container cannot hold is reduced, and ``encoding_losses`` says so.

    image: (H, W, 3) uint8 or uint16, RGB. opacity: (H, W) of the same type or None; JPEG and BMP drop it. grey: write a
    single channel, the image's first, where the container has that and there is no opacity to write. quality: 1 to 100
    for JPEG and WebP; None is DEFAULT_JPEG_QUALITY for JPEG and lossless for WebP. subsampling: for JPEG, as in
    Photo; None is 4:4:4 from quality 90 and 4:2:0 below. progressive: a JPEG in scans of growing detail. PNG and TIFF
    keep 16 bits, others get 8. Raises EncodeError.
    """
    if container not in WITH_16_BITS:
        image = to_8_bits(image)
        opacity = None if opacity is None else to_8_bits(opacity)
    if container not in WITH_OPACITY:
        opacity = None
    if opacity is not None:
        pixels = np.dstack((image[..., ::-1], opacity))
    elif grey and container is not Container.WEBP:
        pixels = np.ascontiguousarray(image[..., 0])
    else:
        pixels = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    data = _encode(pixels, container, _parameters(container, quality, subsampling, progressive), name)
    if opacity is not None and container is Container.TIFF:
        return _declare_straight_opacity(data, name)
    return data


def encode_map(values: NDArray[np.uint8]) -> bytes:
    """Encode a map (H, W) as a grey PNG. Raises EncodeError."""
    return _encode(values, Container.PNG, [], "map")


def encoding_losses(photo: Photo, container: Container) -> tuple[str, ...]:
    """A warning for each thing about the photo's pixels that the container cannot hold."""
    losses: list[str] = []
    kind = container.value.upper()
    if photo.opacity is not None and container not in WITH_OPACITY:
        losses.append(f"{kind} holds no opacity: left out")
    if photo.image.dtype == np.uint16 and container not in WITH_16_BITS:
        losses.append(f"{kind} holds 8 bits a channel: rounded from 16")
    return tuple(losses)


def to_8_bits(samples: NDArray[Any]) -> NDArray[np.uint8]:
    """Samples as uint8: uint16 [0, 65535] to the nearest of [0, 255], uint8 as it is."""
    if samples.dtype == np.uint8:
        return samples
    return ((samples.astype(np.uint32) + 128) // 257).astype(np.uint8)  # 65535 / 255 = 257


def _parameters(
    container: Container, quality: int | None, subsampling: str | None, progressive: bool
) -> list[int]:
    if container is Container.JPEG:
        quality = quality or DEFAULT_JPEG_QUALITY
        subsampling = subsampling or ("4:4:4" if quality >= FULL_COLOUR_QUALITY else "4:2:0")
        factor = getattr(cv2, f"IMWRITE_JPEG_SAMPLING_FACTOR_{subsampling.replace(':', '')}")
        return [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor,
                cv2.IMWRITE_JPEG_OPTIMIZE, 1, cv2.IMWRITE_JPEG_PROGRESSIVE, int(progressive)]  # fmt: skip
    if container is Container.WEBP and quality is None:
        # Above 100 is lossless; colours under full transparency are kept too where OpenCV can (from 5.0).
        keep = getattr(cv2, "IMWRITE_WEBP_LOSSLESS_PRESERVE_COLOR", None)
        extra = [] if keep is None else [cv2.IMWRITE_WEBP_LOSSLESS_MODE, keep]
        return [cv2.IMWRITE_WEBP_QUALITY, 101, *extra]
    if container is Container.WEBP and quality is not None:
        return [cv2.IMWRITE_WEBP_QUALITY, quality]
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


def _declare_straight_opacity(data: bytes, name: str) -> bytes:
    """OpenCV writes a fourth TIFF channel without saying what it is."""
    try:
        value = tiff.UNASSOCIATED.to_bytes(2, byte_order(big=data[:2] == b"MM"))
        return tiff.with_fields(data, (Field(tiff.EXTRA_SAMPLES, SHORT, 1, value),))
    except Malformed as error:
        raise EncodeError(name, f"tiff: {error}") from error
