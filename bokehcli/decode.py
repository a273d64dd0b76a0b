"""Bytes -> Photo: upright RGB pixels, and the metadata blocks as the file held them."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bokehcli import bmp_samples, cmyk, containers, heic, tiff_samples
from bokehcli.complaints import overheard
from bokehcli.containers import CutShort, Malformed, heif, jpeg, png, tiff
from bokehcli.errors import DecodeError, MissingDependency, UnsupportedPhoto
from bokehcli.opencv import cv2
from bokehcli.options import DecodeOptions
from bokehcli.photo import FLOAT_BITS, Carried, Container, Photo
from bokehcli.pixels import spread
from bokehcli.regions import FIRST_SWAPPED

GREY_WITH_OPACITY = 2  # channels
COLOUR = 3  # dimensions

FLOATS_WEIGH, DEEP_WEIGHS = 4.5, 2.0  # of TIFF and PNG with more than 8 bits
WEIGHTS = {Container.WEBP: 2.0, Container.AVIF: 2.0, Container.HEIC: 2.0, Container.BMP: 1.5}

# Kinds of files that people have and that are not read, by what stands at byte 4 or at the start.
_NOT_READ = {
    b"ftyp": "a film, CR3 or JPEG XL is not read: save the photo as JPEG, PNG or TIFF first",
    b"GIF8": "GIF is not read: convert it to PNG first",
    b"II+\0": "BigTIFF is not read: save it as a classic TIFF",
    b"MM\0+": "BigTIFF is not read: save it as a classic TIFF",
}


def decode_photo(data: bytes, name: str, options: DecodeOptions) -> Photo:
    """Read a photo of any supported container, whatever its name ends in.

    The picture is held to the size limit before any pixel is decoded. Raises DecodeError where the bytes are damaged
    or no photo, UnsupportedPhoto where they are a photo that is not rendered.
    """
    if not data:
        raise DecodeError(name, "the file is empty")
    container = containers.sniff(data)
    if container is None:
        reason = _NOT_READ.get(data[4:8]) or _NOT_READ.get(data[:4])
        if reason:
            raise UnsupportedPhoto(name, reason)
        raise DecodeError(name, "not a JPEG, PNG, WebP, TIFF, BMP, AVIF or HEIC file")
    try:
        return _decode(data, name, container, options)
    except CutShort as error:
        raise DecodeError(name, str(error)) from error
    except Malformed as error:
        raise DecodeError(name, f"damaged {container.value.upper()}: {error}") from error


def weight_of(data: bytes) -> float:
    """How much memory a photo takes, by its header, in megapixels of a JPEG; 0 where it says nothing that is understood.

    The kinds' weights are peaks of the process at 24 and 48 megapixels, relative to a JPEG's.
    """
    container = containers.sniff(data)
    try:
        if container is None:
            return 0.0
        height, width = containers.declared_size(data, container)
        if container is Container.TIFF and tiff.bits(data) > 8:
            kind = FLOATS_WEIGH if tiff_samples.is_float(data) else DEEP_WEIGHS
        elif container is Container.PNG and png.bits(data) > 8:
            kind = DEEP_WEIGHS
        else:
            kind = WEIGHTS.get(container, 1.0)
    except (CutShort, Malformed):
        return 0.0
    return kind * height * width / 1e6


def _decode(data: bytes, name: str, container: Container, options: DecodeOptions) -> Photo:
    size = _checked_size(data, name, container, options)
    warnings: list[str] = []
    if container is Container.TIFF:
        warnings += _check_tiff(data, name)
    carried, lost = containers.get_carried(data, container)
    orientation = _orientation(data, container, carried)
    with overheard() as complaints:
        decoded, carried, told = _decode_pixels(data, name, container, carried)
    warnings += [f"its pixels are damaged, and what could be read of them was rendered: {each}" for each in complaints[:1]]
    if decoded.dtype == np.float32 and not np.isfinite(decoded).all():
        warnings.append(f"{np.count_nonzero(~np.isfinite(decoded))} values that are no finite numbers were taken for black")
        decoded = np.nan_to_num(decoded, nan=0.0, posinf=0.0, neginf=0.0)
    turned_already = container is Container.HEIC and orientation >= FIRST_SWAPPED
    if decoded.shape[:2] != (size[::-1] if turned_already else size):
        raise DecodeError(name, "the picture is not as large as its header declares")
    bits = _bits(data, container, decoded)
    if container is Container.AVIF and decoded.dtype == np.uint16:
        decoded = spread(decoded, bits)
    image, opacity = _split(decoded)
    left = 1 if container is Container.HEIC else orientation
    grey = decoded.ndim == 2 or decoded.shape[2] == GREY_WITH_OPACITY or (container is Container.PNG and png.is_grey(data))
    return Photo(
        name=name,
        container=container,
        image=upright(image, left),
        opacity=None if opacity is None else upright(opacity, left),
        unspecified=container is Container.TIFF and tiff.is_unspecified(data),
        grey=grey,
        orientation=orientation,
        quality=containers.estimated_quality(data, container),
        subsampling=containers.subsampling(data, container),
        progressive=container is Container.JPEG and jpeg.is_progressive(data),
        optimised=container is not Container.JPEG or not jpeg.has_usual_codes(data),
        bits=bits,
        carried=carried,
        warnings=(*warnings, *told, *lost),
    )


def _checked_size(data: bytes, name: str, container: Container, options: DecodeOptions) -> tuple[int, int]:
    """(height, width) in the file of a photo that can be rendered. Raises DecodeError, UnsupportedPhoto, Malformed."""
    size = containers.declared_size(data, container)
    if 0 in size:
        raise DecodeError(name, f"its header declares {size[1]} x {size[0]} pixels")
    if size[0] * size[1] > options.max_megapixels * 1e6:
        megapixels = f"{size[1]} x {size[0]} pixels, {size[0] * size[1] / 1e6:.1f} megapixels"
        raise UnsupportedPhoto(name, f"{megapixels}: above the limit of {options.max_megapixels:g} (max-megapixels)")
    if not containers.is_complete(data, container):
        raise CutShort
    if containers.is_animated(data, container):
        raise UnsupportedPhoto(name, "animated pictures are not rendered")
    reason = containers.refusal(data, container)
    if reason is not None:
        raise UnsupportedPhoto(name, reason)
    return size


def _orientation(data: bytes, container: Container, carried: Carried) -> int:
    """How the pixels are turned in the file. Raises Malformed."""
    if container in (Container.AVIF, Container.HEIC):
        return heif.orientation(data)
    return containers.read_orientation(carried.exif)


def _bits(data: bytes, container: Container, decoded: NDArray[Any]) -> int:
    """Of a channel in the file."""
    if decoded.dtype == np.uint8:
        return 8
    if decoded.dtype == np.float32:
        return FLOAT_BITS
    return heif.bits(data) if container in (Container.AVIF, Container.HEIC) else 16


def upright(image: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Undo an EXIF orientation (EXIF 2.32, 4.6.4 A). image: (H, W, ...). Orientations 5 to 8 swap height and width."""
    if orientation >= FIRST_SWAPPED:
        image = image.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    return np.ascontiguousarray(image)


def _check_tiff(data: bytes, name: str) -> tuple[str, ...]:
    """Warnings of a TIFF that can be rendered. Raises UnsupportedPhoto for others, Malformed."""
    reason = tiff_samples.refusal(data)
    if reason is not None:
        raise UnsupportedPhoto(name, reason)
    return tiff_samples.warnings(data)


def _is_cmyk(data: bytes, container: Container) -> bool:
    if container is Container.TIFF:
        return tiff.photometric(data) == tiff.CMYK
    return container is Container.JPEG and jpeg.components(data) == 4


def _decode_pixels(
    data: bytes, name: str, container: Container, carried: Carried
) -> tuple[NDArray[Any], Carried, tuple[str, ...]]:
    """(H, W), (H, W, 2 to 4), BGR order, uint8, uint16 or float32, not turned, but for HEIC; blocks and warnings.

    Of 10 and 12 bits in an AVIF the range is that of so many. CMYK becomes sRGB, and a profile for it goes.
    """
    warnings: tuple[str, ...] = ()
    if _is_cmyk(data, container):
        decoded, warning = _decode_cmyk(containers.for_decoder(data, container), name, carried.icc)
        carried, warnings = replace(carried, icc=None), (warning,)
        if decoded is not None:
            return decoded, carried, warnings
    elif (carried.icc or b"")[16:20] == b"CMYK":
        carried = replace(carried, icc=None)
        warnings = ("the ICC profile is for CMYK, the picture is not: profile left out",)
    if container is Container.BMP and (masked := bmp_samples.decode(data)) is not None:
        return masked, carried, warnings
    if container is not Container.HEIC:
        return _decode_by_opencv(data, name, container), carried, warnings
    swapped = heic.decode(data, name)
    order = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}
    return swapped if swapped.ndim == 2 else cv2.cvtColor(swapped, order[swapped.shape[2]]), carried, warnings


def _decode_cmyk(data: bytes, name: str, icc: bytes | None) -> tuple[NDArray[np.uint8] | None, str]:
    """The picture converted to sRGB by its profile, None where that cannot be; and a warning of what became of it."""
    if icc is None:
        return None, "CMYK colours without an ICC profile were converted to sRGB by a simple formula"
    try:
        return cmyk.to_srgb(data, icc, name), "CMYK colours were converted to sRGB by their ICC profile, which was left out"
    except MissingDependency as error:
        reason = f"to use the profile: {error}"
    except cmyk.BadProfile as error:
        reason = f"the profile cannot be used: {error}"
    return None, f"CMYK colours were converted to sRGB by a simple formula, without their ICC profile ({reason})"


def _decode_by_opencv(data: bytes, name: str, container: Container) -> NDArray[Any]:
    """(H, W), (H, W, 2), grey and opacity, (H, W, 3) or (H, W, 4), BGR order; uint8, uint16 or float32.

    Raises DecodeError, UnsupportedPhoto.
    """
    readable = containers.for_decoder(data, container)
    if container is not Container.TIFF:
        decoded = _read(readable, name, container)
        if container is Container.PNG and (key := png.transparent_grey(data)) is not None:  # OpenCV knows those of colours
            return np.dstack((decoded, (decoded != key) * decoded.dtype.type(np.iinfo(decoded.dtype).max)))
        return decoded
    if tiff_samples.lies_apart(data):
        channels = [_read(plane, name, container) for plane in tiff_samples.planes(readable)]
        return tiff_samples.restored(data, tiff_samples.joined(channels))
    return tiff_samples.restored(data, _read(tiff_samples.prepared(readable), name, container))


def _read(readable: bytes, name: str, container: Container) -> NDArray[Any]:
    """What OpenCV makes of it. Raises DecodeError, UnsupportedPhoto."""
    try:
        decoded = cv2.imdecode(np.frombuffer(readable, np.uint8), cv2.IMREAD_UNCHANGED)
    except (cv2.error, MemoryError) as error:
        raise DecodeError(name, f"the picture cannot be decoded: {' '.join(str(error).split())[:200]}") from error
    if decoded is None:
        if (reason := _unread(readable, container)) is not None:
            raise UnsupportedPhoto(name, reason)
        raise DecodeError(name, "the picture is damaged or encoded in a way that is not read")
    if decoded.dtype not in (np.uint8, np.uint16, np.float32) or decoded.shape[2:] not in ((), (3,), (4,)):
        raise UnsupportedPhoto(name, f"samples of type {decoded.dtype}, {decoded.shape[2:]} channels are not rendered")
    pixels: NDArray[Any] = decoded
    return pixels


def _unread(readable: bytes, container: Container) -> str | None:
    """What OpenCV did not know in a photo of which it made nothing, if that can be told. Raises Malformed."""
    if container is Container.TIFF:
        return tiff_samples.unread(readable)
    if container is not Container.AVIF:
        return None
    if not cv2.haveImageWriter(".avif"):
        return "the OpenCV that is installed reads no AVIF"
    return "a grey AVIF with opacity is not read: save it in colour" if heif.is_grey_with_opacity(readable) else None


def _split(decoded: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """(H, W, 3) RGB, and opacity (H, W) or None."""
    if decoded.ndim == COLOUR and decoded.shape[2] == GREY_WITH_OPACITY:
        return cv2.cvtColor(np.ascontiguousarray(decoded[..., 0]), cv2.COLOR_GRAY2RGB), decoded[..., 1]
    if decoded.ndim == 2:
        return cv2.cvtColor(decoded, cv2.COLOR_GRAY2RGB), None
    if decoded.shape[2] == 4:
        return cv2.cvtColor(decoded, cv2.COLOR_BGRA2RGB), decoded[..., 3]
    return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), None
