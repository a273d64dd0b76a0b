"""Items of the High Efficiency Image File Format (ISO/IEC 23008-12, 14496-12): the meta box of AVIF and HEIC, read."""

from dataclasses import dataclass, field

from bokehcli.containers.boxes import HEADER_BYTES, Box, found, number, one, parse, string
from bokehcli.containers.reading import Malformed, take

XMP_TYPE = b"application/rdf+xml"
IDAT = 1  # extents of an item that lie in the box of that name, not in the file


@dataclass(frozen=True)
class Item:
    """extents: (offset, length) in the file, or, `inside`, in the idat box. mime: the type of the content of a mime item."""

    number: int
    kind: bytes
    mime: bytes = b""
    inside: bool = False
    extents: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Meta:
    """The meta box. references: (kind, from, to). properties: all of them; associated: item -> their numbers from 1."""

    box: Box
    children: tuple[Box, ...]
    primary: int
    items: dict[int, Item] = field(default_factory=dict)
    references: tuple[tuple[bytes, int, tuple[int, ...]], ...] = ()
    properties: tuple[Box, ...] = ()
    associated: dict[int, tuple[int, ...]] = field(default_factory=dict)

    def of(self, item: int, kind: bytes) -> list[bytes]:
        """Payloads of the item's properties of that kind."""
        numbers = [n for n in self.associated.get(item, ()) if 0 < n <= len(self.properties)]
        return [self.properties[n - 1].payload for n in numbers if self.properties[n - 1].kind == kind]


def read_meta(data: bytes) -> Meta:
    """Raises Malformed; CutShort where the meta box is not all there."""
    box = meta_box(data)
    children = parse(box.payload, 4)
    pitm = one(children, b"pitm")
    primary = number(pitm.payload, 4, 4 if pitm.version else 2)
    iprp = parse(one(children, b"iprp").payload)
    items = read_items(one(children, b"iinf"), read_locations(one(children, b"iloc")))
    iref = found(children, b"iref")
    return Meta(
        box,
        children,
        primary,
        items,
        () if iref is None else read_references(iref),
        parse(one(iprp, b"ipco").payload),
        read_associations(tuple(b for b in iprp if b.kind == b"ipma")),
    )


def meta_box(data: bytes) -> Box:
    """The meta box; boxes after it may be cut short. Raises Malformed."""
    at = 0
    while at < len(data):
        size = number(data, at, 4)
        if data[at + 4 : at + 8] == b"meta":
            return Box(b"meta", take(data, at + 8, size - 8), at, take(data, at, 8))
        if size == 1:
            size = number(data, at + 8, 8)
        if size < HEADER_BYTES:
            break
        at += size
    raise Malformed("it has no meta box")


def read_items(iinf: Box, locations: dict[int, tuple[bool, tuple[tuple[int, int], ...]]]) -> dict[int, Item]:
    """All items by their numbers. Raises Malformed."""
    items = {}
    for entry in parse(iinf.payload, 8 if iinf.version else 6):
        if entry.kind != b"infe" or entry.version < 2:
            continue
        wide = 4 if entry.version > 2 else 2
        identity = number(entry.payload, 4, wide)
        kind = take(entry.payload, 6 + wide, 4)
        mime = b""
        if kind == b"mime":
            _, at = string(entry.payload, 10 + wide)
            mime = string(entry.payload, at)[0]
        items[identity] = Item(identity, kind, mime, *locations.get(identity, (False, ())))
    return items


def read_locations(iloc: Box) -> dict[int, tuple[bool, tuple[tuple[int, int], ...]]]:
    """Item -> (whether its extents are inside idat, (offset, length) of each). Raises Malformed."""
    data, version = iloc.payload, iloc.version
    sizes = number(data, 4, 2)
    offset_bytes, length_bytes, base_bytes, index_bytes = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15, sizes & 15
    wide = 4 if version == 2 else 2
    at = 6 + wide
    located = {}
    for _ in range(number(data, 6, wide)):
        identity = number(data, at, wide)
        at += wide
        method = 0
        if version:
            method, at = number(data, at, 2) & 15, at + 2
        base = number(data, at + 2, base_bytes)
        at += 2 + base_bytes
        count, at = number(data, at, 2), at + 2
        extents = []
        for _ in range(count):
            at += index_bytes if version else 0
            offset = base + number(data, at, offset_bytes)
            extents.append((offset, number(data, at + offset_bytes, length_bytes)))
            at += offset_bytes + length_bytes
        located[identity] = (method == IDAT, tuple(extents))
    return located


def read_references(iref: Box) -> tuple[tuple[bytes, int, tuple[int, ...]], ...]:
    """(kind, from, to) of each. Raises Malformed."""
    wide = 4 if iref.version else 2
    references = []
    for box in parse(iref.payload, 4):
        count = number(box.payload, wide, 2)
        to = tuple(number(box.payload, wide + 2 + i * wide, wide) for i in range(count))
        references.append((box.kind, number(box.payload, 0, wide), to))
    return tuple(references)


def read_associations(ipmas: tuple[Box, ...]) -> dict[int, tuple[int, ...]]:
    """Item -> numbers of its properties. Raises Malformed."""
    associated: dict[int, tuple[int, ...]] = {}
    for ipma in ipmas:
        data, wide, broad = ipma.payload, 4 if ipma.version else 2, ipma.flags & 1
        at = 8
        for _ in range(number(data, 4, 4)):
            identity, count = number(data, at, wide), number(data, at + wide, 1)
            at += wide + 1
            numbers = [number(data, at + i * (1 + broad), 1 + broad) & (0x7FFF if broad else 0x7F) for i in range(count)]
            at += count * (1 + broad)
            associated[identity] = (*associated.get(identity, ()), *numbers)
    return associated


def content_of(data: bytes, meta: Meta, item: Item) -> bytes:
    """An item's bytes. Raises CutShort."""
    source = data
    if item.inside:
        source = one(meta.children, b"idat").payload
    return b"".join(take(source, offset, length or len(source) - offset) for offset, length in item.extents)
