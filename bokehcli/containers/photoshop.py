"""Photoshop image resources (APP13 in JPEG, tag 34377 in TIFF): the block that holds IPTC, and stale thumbnails."""

from collections.abc import Collection, Iterator

from bokehcli.containers.reading import Malformed, take, unsigned

IPTC = 0x0404
THUMBNAILS = (0x0409, 0x040C)
EXIF_AND_XMP = (0x0422, 0x0423, 0x0424)


def without_thumbnails(resources: bytes) -> bytes:
    """The resources, less the thumbnails of the old picture; as they came where they cannot be read."""
    try:
        return without(resources, THUMBNAILS)
    except Malformed:
        return resources


def without(resources: bytes, numbers: Collection[int]) -> bytes:
    """The resources, less those of such numbers. Raises Malformed."""
    return b"".join(resources[start:stop] for number, start, _, stop in _each(resources) if number not in numbers)


def iptc_in(resources: bytes) -> bytes | None:
    """The IPTC data among the resources; None where there is none or they cannot be read."""
    try:
        found = (resources[at : at + unsigned(resources, at - 4, 4, big=True)] for n, _, at, _ in _each(resources) if n == IPTC)
        return next(found, None)
    except Malformed:
        return None


def with_iptc(resources: bytes, iptc: bytes) -> bytes:
    """The resources, and such IPTC data as one more."""
    head = b"8BIM" + IPTC.to_bytes(2, "big") + b"\0\0" + len(iptc).to_bytes(4, "big")
    return resources + head + iptc + b"\0" * (len(iptc) % 2)


def _each(resources: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Of each resource its number, where it begins, where its data begin, and where it ends. Raises Malformed."""
    at = 0
    while resources[at:].strip(b"\0"):  # zeros behind the last one are padding
        start = at
        if take(resources, at, 4) not in (b"8BIM", b"8BPS", b"MeSa", b"PHUT", b"AgHg", b"DCSR"):
            raise Malformed("not an image resource")
        number = unsigned(resources, at + 4, 2, big=True)
        name = 1 + unsigned(resources, at + 6, 1, big=True)
        at += 6 + name + name % 2
        length = unsigned(resources, at, 4, big=True)
        take(resources, at + 4, length)
        at += 4 + length + length % 2
        yield number, start, at - length - length % 2, at
