"""Bounds-checked reads, and the one error that every container's parser raises."""

from typing import Literal, TypeVar

Bytes = TypeVar("Bytes", bytes, memoryview)


class Malformed(ValueError):
    """The bytes break the rules of their container; the message is the cause, in one line."""


class CutShort(Malformed):
    """The bytes end before the container says that they do."""

    def __init__(self) -> None:
        super().__init__("the file is cut short")


def take(data: Bytes, offset: int, count: int) -> Bytes:
    """Exactly ``count`` bytes from ``offset``. Raises CutShort where they are not all there."""
    if offset < 0 or count < 0 or offset + count > len(data):
        raise CutShort
    return data[offset : offset + count]


def unsigned(data: bytes, offset: int, count: int, *, big: bool) -> int:
    """Unsigned number of ``count`` bytes at ``offset``. Raises CutShort."""
    return int.from_bytes(take(data, offset, count), byte_order(big=big))


def byte_order(*, big: bool) -> Literal["big", "little"]:
    """The name that ``int`` has for it."""
    return "big" if big else "little"


def tiff_stream(block: bytes | None) -> bytes | None:
    """An EXIF block without the prefix that belongs to JPEG, which some writers put elsewhere too; None if empty."""
    return (block or b"").removeprefix(b"Exif\0\0") or None
