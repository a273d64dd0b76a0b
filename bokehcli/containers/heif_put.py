"""Metadata into an AVIF or HEIC that was encoded without: its meta box made anew, with items for EXIF and XMP."""

from bokehcli.containers.boxes import HEADER_BYTES, Box, found, made, number, parse
from bokehcli.containers.items import IDAT, XMP_TYPE, Meta, read_associations, read_meta
from bokehcli.containers.reading import Malformed
from bokehcli.photo import Carried


def put(data: bytes, carried: Carried) -> tuple[bytes, tuple[str, ...]]:
    """An encoded file with those blocks. Raises Malformed.

    EXIF and XMP become items in an mdat box of their own right behind meta: OpenCV takes no AVIF for one whose items lie
    far behind a short meta box. The ICC profile becomes a property of the picture.
    """
    meta = read_meta(data)
    blocks = [(b"Exif", b"", b"\0\0\0\0" + carried.exif)] if carried.exif else []
    blocks += [(b"mime", XMP_TYPE, carried.xmp)] if carried.xmp else []
    if not blocks and not carried.icc:
        return data, ()
    first = max(meta.items, default=0) + 1
    added = {first + i: block for i, block in enumerate(blocks)}
    if max((*meta.items, *added)) >> 16:
        raise Malformed("it has too many items")
    length = len(rebuilt(meta, added, carried.icc, 0, 0))  # the same wherever things lie
    contents = b"".join(content for _, _, content in blocks)
    beside = made(b"mdat", contents) if contents else b""
    shift = length + len(beside) - (meta.box.end - meta.box.at)
    grown = rebuilt(meta, added, carried.icc, meta.box.at + length + HEADER_BYTES, shift)
    return data[: meta.box.at] + grown + beside + data[meta.box.end :], ()


def rebuilt(meta: Meta, added: dict[int, tuple[bytes, bytes, bytes]], icc: bytes | None, start: int, shift: int) -> bytes:
    """The meta box with further items, whose contents lie one after the other from `start` on, and an ICC profile.

    What lies in the file behind the box is taken to move by `shift`.
    """
    parts = []
    for child in meta.children:
        if child.kind == b"iinf":
            parts.append(with_items(child, added))
        elif child.kind == b"iloc":
            parts.append(locations(meta, added, start, shift))
        elif child.kind == b"iprp" and icc:
            parts.append(with_profile(meta, child, icc))
        elif child.kind != b"iref":
            parts.append(child.header + child.payload)
    parts.append(references(meta, added))
    return made(b"meta", meta.box.payload[:4] + b"".join(parts))


def with_items(iinf: Box, added: dict[int, tuple[bytes, bytes, bytes]]) -> bytes:
    """The iinf box with entries for those items."""
    wide = 4 if iinf.version else 2
    count = number(iinf.payload, 4, wide) + len(added)
    entries = [
        made(b"infe", b"\2\0\0\0" + identity.to_bytes(2, "big") + b"\0\0" + kind + b"\0" + (mime + b"\0" if mime else b""))
        for identity, (kind, mime, _) in added.items()
    ]
    return made(b"iinf", iinf.payload[:4] + count.to_bytes(wide, "big") + iinf.payload[4 + wide :] + b"".join(entries))


def locations(meta: Meta, added: dict[int, tuple[bytes, bytes, bytes]], start: int, shift: int) -> bytes:
    """An iloc box, version 1 with four bytes each for offset and length, for the items that were there and the new ones."""
    entries = []
    for item in meta.items.values():
        moved = [(at + (0 if item.inside or at < meta.box.at else shift), length) for at, length in item.extents]
        entries.append((item.number, IDAT if item.inside else 0, moved))
    for identity, (_, _, content) in added.items():
        entries.append((identity, 0, [(start, len(content))]))
        start += len(content)
    body = b"\1\0\0\0\x44\0" + len(entries).to_bytes(2, "big")
    for identity, method, extents in entries:
        body += identity.to_bytes(2, "big") + method.to_bytes(2, "big") + b"\0\0" + len(extents).to_bytes(2, "big")
        if any(part >> 32 for extent in extents for part in extent):
            raise Malformed("the file is too large")
        body += b"".join(part.to_bytes(4, "big") for extent in extents for part in extent)
    return made(b"iloc", body)


def references(meta: Meta, added: dict[int, tuple[bytes, bytes, bytes]]) -> bytes:
    """The iref box, saying of the new items that they describe the photo; empty if there is nothing to say."""
    old = found(meta.children, b"iref")
    wide = 4 if old is not None and old.version else 2
    one_each = b"\0\1" + meta.primary.to_bytes(wide, "big")
    body = b"".join(made(b"cdsc", identity.to_bytes(wide, "big") + one_each) for identity in added)
    start = b"\0\0\0\0" if old is None else old.payload
    return made(b"iref", start + body) if body or old is not None else b""


def with_profile(meta: Meta, iprp: Box, icc: bytes) -> bytes:
    """The iprp box with that ICC profile as a property of the primary item."""
    parts = []
    pending = True
    for box in parse(iprp.payload):
        if box.kind == b"ipco":
            parts.append(made(b"ipco", box.payload + made(b"colr", b"prof" + icc)))
        elif box.kind == b"ipma" and pending and meta.primary in read_associations((box,)):
            parts.append(with_property(box, meta.primary, len(meta.properties) + 1))
            pending = False
        else:
            parts.append(box.header + box.payload)
    return made(b"iprp", b"".join(parts))


def with_property(ipma: Box, item: int, added: int) -> bytes:
    """The ipma box with one more property of an item that it has. Raises Malformed."""
    data, wide, each = ipma.payload, 4 if ipma.version else 2, 1 + (ipma.flags & 1)
    if added >> (8 * each - 1):
        raise Malformed("it has too many properties")
    at = 8
    while number(data, at, wide) != item:
        at += wide + 1 + number(data, at + wide, 1) * each
    count = number(data, at + wide, 1)
    end = at + wide + 1 + count * each
    kept = data[at + wide + 1 : end]
    entry = data[at : at + wide] + (count + 1).to_bytes(1, "big") + kept + added.to_bytes(each, "big")
    return made(b"ipma", data[:at] + entry + data[end:])
