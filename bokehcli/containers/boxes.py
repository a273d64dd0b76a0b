"""Boxes of the ISO base media file format (ISO/IEC 14496-12), of which AVIF and HEIC files are made.

Box: four bytes of size, four of kind, payload; size 1 stands for one of eight bytes after the kind, 0 for all that is left.
A "full" box's payload begins with a version and three bytes of flags.
"""

from dataclasses import dataclass

from bokehcli.containers.reading import CutShort, Malformed, take, unsigned

HEADER_BYTES = 8
MOST = 100_000  # boxes in one row; more is no photo


@dataclass(frozen=True)
class Box:
    """at: where in the file or the outer box it begins. header: its size and kind, as they were."""

    kind: bytes
    payload: bytes
    at: int
    header: bytes

    @property
    def end(self) -> int:
        """Where the next one begins."""
        return self.at + len(self.header) + len(self.payload)

    @property
    def version(self) -> int:
        """Of a full box. Raises CutShort."""
        return number(self.payload, 0, 1)

    @property
    def flags(self) -> int:
        """Of a full box. Raises CutShort."""
        return number(self.payload, 1, 3)


def number(data: bytes, at: int, count: int) -> int:
    """Unsigned number of `count` bytes, the most significant first. Raises CutShort."""
    return unsigned(data, at, count, big=True)


def parse(data: bytes, start: int = 0) -> tuple[Box, ...]:
    """The boxes that fill `data` from `start`. Raises CutShort where the last one is not all there, Malformed."""
    boxes: list[Box] = []
    at = start
    while at < len(data):
        size, kind, header = number(data, at, 4), take(data, at + 4, 4), HEADER_BYTES
        if size == 1:
            size, header = number(data, at + 8, 8), 16
        elif size == 0:
            size = len(data) - at
        if size < header:
            raise Malformed("a box is smaller than its header")
        if len(boxes) == MOST:
            raise Malformed("it has too many boxes")
        boxes.append(Box(kind, take(data, at + header, size - header), at, take(data, at, header)))
        at += size
    return tuple(boxes)


def serialise(boxes: tuple[Box, ...]) -> bytes:
    """The bytes that `parse` read."""
    return b"".join(part for box in boxes for part in (box.header, box.payload))


def made(kind: bytes, payload: bytes) -> bytes:
    """A box as bytes. Raises Malformed where it is too large for four bytes of size."""
    size = HEADER_BYTES + len(payload)
    if size >> 32:
        raise Malformed("a block is too large")
    return size.to_bytes(4, "big") + kind + payload


def one(boxes: tuple[Box, ...], kind: bytes) -> Box:
    """The first of that kind. Raises Malformed."""
    box = found(boxes, kind)
    if box is None:
        raise Malformed(f"it has no {kind.decode('ascii', 'replace')} box")
    return box


def found(boxes: tuple[Box, ...], kind: bytes) -> Box | None:
    """The first of that kind, if there is one."""
    return next((box for box in boxes if box.kind == kind), None)


def string(data: bytes, at: int) -> tuple[bytes, int]:
    """A string that ends with a zero, and where the next thing begins. Raises CutShort."""
    end = data.find(b"\0", at)
    if end < 0:
        raise CutShort
    return data[at:end], end + 1
