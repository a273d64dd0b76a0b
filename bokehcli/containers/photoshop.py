"""Photoshop image resources (APP13 in JPEG, tag 34377 in TIFF): the block that holds IPTC, and stale thumbnails."""

from collections.abc import Collection

from bokehcli.containers.reading import Malformed, take, unsigned

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
    kept: list[bytes] = []
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
        if number not in numbers:
            kept.append(resources[start:at])
    return b"".join(kept)
