"""File formats as bytes: which one it is, what its header says, and the metadata blocks beside the pixels.

Nothing here decodes pixels. Every function that takes a container raises Malformed where the bytes break its rules.
"""

from dataclasses import replace

from bokehcli.containers import bmp, heif, heif_put, jpeg, png, tiff, webp
from bokehcli.containers.ifd import read_orientation
from bokehcli.containers.reading import CutShort, Malformed
from bokehcli.containers.stale import cleaned, is_stale
from bokehcli.photo import Carried, Container

__all__ = [
    "CutShort",
    "Malformed",
    "declared_size",
    "estimated_quality",
    "for_decoder",
    "get_carried",
    "is_animated",
    "is_complete",
    "put_carried",
    "read_orientation",
    "refusal",
    "sniff",
    "subsampling",
]

STARTS = {
    Container.JPEG: (b"\xff\xd8\xff",),
    Container.PNG: (png.SIGNATURE,),
    Container.TIFF: (b"II*\0", b"MM\0*"),
}


def sniff(data: bytes) -> Container | None:
    """The container, by its first bytes; None for anything else."""
    for container, starts in STARTS.items():
        if data.startswith(starts):
            return container
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return Container.WEBP
    # Two letters are few: the reserved fields and the header's length must fit too.
    if data[:2] == b"BM" and data[14:18] in (b"\x0c\0\0\0", b"\x28\0\0\0", b"\x38\0\0\0", b"\x6c\0\0\0", b"\x7c\0\0\0"):
        return Container.BMP
    if heif.is_avif(data):
        return Container.AVIF
    return Container.HEIC if heif.brands(data) & heif.HEIC_BRANDS else None


def declared_size(data: bytes, container: Container) -> tuple[int, int]:
    """(height, width) that the header declares, before any orientation is undone."""
    sizes = {
        "jpeg": jpeg.size,
        "png": png.size,
        "webp": webp.size,
        "tiff": tiff.size,
        "bmp": bmp.size,
        "avif": heif.size,
        "heic": heif.size,
    }
    return sizes[container.value](data)


def is_complete(data: bytes, container: Container) -> bool:
    """Whether the file goes on to the end of its picture. Raises CutShort where it ends within a header or block."""
    checks = {
        "jpeg": jpeg.is_complete,
        "png": png.is_complete,
        "webp": webp.is_complete,
        "tiff": tiff.is_complete,
        "bmp": bmp.is_complete,
        "avif": heif.is_complete,
        "heic": heif.is_complete,
    }
    return checks[container.value](data)


def is_animated(data: bytes, container: Container) -> bool:
    """Whether the file is a sequence of frames."""
    checks = {"png": png.is_animated, "webp": webp.is_animated, "avif": heif.is_animated, "heic": heif.is_animated}
    return container.value in checks and checks[container.value](data)


def for_decoder(data: bytes, container: Container) -> bytes:
    """The same pixels, less what would turn, change or be complained about while decoding."""
    filters = {
        "jpeg": jpeg.for_decoder,
        "png": png.for_decoder,
        "webp": webp.for_decoder,
        "tiff": tiff.for_decoder,
        "avif": heif.for_decoder,
    }
    return filters[container.value](data) if container.value in filters else data


def get_carried(data: bytes, container: Container) -> tuple[Carried, tuple[str, ...]]:
    """The metadata blocks as they are, and a warning for each that is damaged or describes the old pixels."""
    getters = {
        "jpeg": jpeg.get,
        "png": png.get,
        "webp": webp.get,
        "tiff": tiff.get,
        "bmp": bmp.get,
        "avif": heif.get,
        "heic": heif.get,
    }
    carried, warnings = getters[container.value](data)
    if carried.xmp and is_stale(carried.xmp):  # a JPEG's is clean by now, for its other blocks depend on it
        xmp, warning = cleaned(carried.xmp)
        carried, warnings = replace(carried, xmp=xmp), (*warnings, warning)
    return carried, warnings


def put_carried(data: bytes, container: Container, carried: Carried) -> tuple[bytes, tuple[str, ...]]:
    """An encoded file with those blocks, and a warning for each that does not fit.

    ``carried.others`` must come from the same container. A BMP takes nothing else.
    """
    putters = {
        "jpeg": jpeg.put,
        "png": png.put,
        "webp": webp.put,
        "tiff": tiff.put,
        "bmp": bmp.put,
        "avif": heif_put.put,
        "heic": heif_put.put,
    }
    return putters[container.value](data, carried)


def estimated_quality(data: bytes, container: Container) -> int | None:
    """The quality, 1 to 100, that the file was encoded with, as its quantiser tells; None for lossless or unknown."""
    estimates = {"jpeg": jpeg.quality, "webp": webp.quality}
    return estimates[container.value](data) if container.value in estimates else None


def subsampling(data: bytes, container: Container) -> str | None:
    """How the colour channels are subsampled, such as "4:2:0"; None if that is unknown or could not be written so."""
    readers = {"jpeg": jpeg.subsampling, "heic": heif.subsampling}
    return readers[container.value](data) if container.value in readers else None


def refusal(data: bytes, container: Container) -> str | None:
    """Why the photo could not be read, or written as it was, if that is so."""
    reasons = {"bmp": bmp.refusal, "png": png.refusal, "avif": heif.refusal, "heic": heif.refusal}
    return reasons[container.value](data) if container.value in reasons else None
