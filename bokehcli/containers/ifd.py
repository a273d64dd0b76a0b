"""Image file directories: the structure that TIFF files and EXIF streams share (TIFF 6.0, section 2).

A directory is a table of entries, each a tag, a type, a count, and a value of up to four bytes or the offset of a
longer one. Offsets count from the start of the stream, so nothing may move unless everything that points at it is
written again.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

from bokehcli.containers.reading import Malformed, byte_order, unsigned

BYTE, SHORT, LONG, UNDEFINED = 1, 3, 4, 7
# Type -> (bytes of one value, bytes of the number that byte order turns: a rational is two numbers). 129 is UTF-8 (EXIF 3.0).
TYPES = {1: (1, 1), 2: (1, 1), 3: (2, 2), 4: (4, 4), 5: (8, 4), 6: (1, 1), 7: (1, 1), 8: (2, 2), 9: (4, 4),
         10: (8, 4), 11: (4, 4), 12: (8, 8), 13: (4, 4), 129: (1, 1)}  # fmt: skip
INTEGERS = (1, 3, 4, 6, 8, 9, 13)

ORIENTATION, EXIF_IFD, GPS_IFD, INTEROP_IFD, MAKER_NOTE = 0x0112, 0x8769, 0x8825, 0xA005, 0x927C
SUB_DIRECTORIES = (EXIF_IFD, GPS_IFD, INTEROP_IFD)
DEEPEST = 2  # below the first directory: those for interoperability


@dataclass(frozen=True)
class Entry:
    """One entry as it lies in the stream: ``length`` bytes at ``value_at``, all of them inside."""

    tag: int
    kind: int
    count: int
    value_at: int
    length: int
    stream: bytes = field(repr=False)

    @property
    def value(self) -> bytes:
        """In the stream's byte order. Copied only now: a hostile file may have many values in one place."""
        return self.stream[self.value_at : self.value_at + self.length]


@dataclass(frozen=True)
class Directory:
    """A table at ``offset``. damaged: entries that were passed over, their value outside or their type unknown.

    One without a value is passed over, too, and is no damage.
    """

    offset: int
    entries: tuple[Entry, ...]
    next_at: int
    next: int
    damaged: int = 0

    def find(self, tag: int) -> Entry | None:
        return next((entry for entry in self.entries if entry.tag == tag), None)

    def spans(self) -> list[tuple[int, int]]:
        """(start, stop) of everything that this directory occupies."""
        values = [(entry.value_at, entry.value_at + entry.length) for entry in self.entries]
        return [(self.offset, self.next_at + 4), *values]


@dataclass(frozen=True)
class Field:
    """One entry to be laid out: ``value`` in the target's byte order, or ``below``, a directory of its own."""

    tag: int
    kind: int
    count: int
    value: bytes
    below: tuple["Field", ...] = ()


def numbers(tag: int, *values: int, big: bool, kind: int = SHORT) -> Field:
    """A field of whole numbers, of type BYTE, SHORT or LONG, in the byte order asked for."""
    size = TYPES[kind][0]
    return Field(tag, kind, len(values), b"".join(value.to_bytes(size, byte_order(big=big)) for value in values))


def is_big(stream: bytes) -> bool:
    """Whether the stream is big-endian. Raises Malformed where it does not start as a classic TIFF does."""
    if stream[:4] not in (b"II*\0", b"MM\0*"):
        raise Malformed("it does not start as a TIFF stream")
    return stream[:2] == b"MM"


def read_directory(stream: bytes, offset: int | None = None) -> Directory:
    """The directory at ``offset``, or the first. Raises Malformed where the table does not lie in the stream."""
    big = is_big(stream)
    offset = unsigned(stream, 4, 4, big=big) if offset is None else offset
    count = unsigned(stream, offset, 2, big=big)
    if offset < 8 or not count:
        raise Malformed("a directory is empty or lies in the header")
    next_at = offset + 2 + 12 * count
    following = unsigned(stream, next_at, 4, big=big) if next_at + 4 <= len(stream) else 0
    entries: list[Entry] = []
    damaged = 0
    for at in range(offset + 2, next_at, 12):
        tag, kind = unsigned(stream, at, 2, big=big), unsigned(stream, at + 2, 2, big=big)
        number = unsigned(stream, at + 4, 4, big=big)
        length = number * TYPES.get(kind, (0, 0))[0]
        value_at = at + 8 if length <= 4 else unsigned(stream, at + 8, 4, big=big)
        if 0 < length <= len(stream) - value_at:
            entries.append(Entry(tag, kind, number, value_at, length, stream))
        elif number or kind not in TYPES:
            damaged += 1
    return Directory(offset, tuple(entries), next_at, following, damaged)


def chain(stream: bytes) -> Iterator[Directory]:
    """The directories in a row, until one comes again or they overlap. Raises Malformed."""
    seen: set[int] = set()
    offset: int | None = None
    room = len(stream)
    while offset != 0 and offset not in seen and room > 0:
        directory = read_directory(stream, offset)
        seen.add(directory.offset)
        room -= directory.next_at - directory.offset
        yield directory
        offset = directory.next


def integers(entry: Entry | None, *, big: bool, most: int = 1 << 20) -> tuple[int, ...]:
    """Up to ``most`` values of an entry of a whole-number type, read as unsigned; () for other types and for None."""
    if entry is None or entry.kind not in INTEGERS:
        return ()
    step = TYPES[entry.kind][0]
    stop = entry.value_at + min(entry.length, step * most)
    return tuple(unsigned(entry.stream, at, step, big=big) for at in range(entry.value_at, stop, step))


def blank(stream: bytearray, spans: Iterable[tuple[int, int]], kept: Iterable[tuple[int, int]]) -> None:
    """Zero each span (start, stop) of a stream, unless it meets one that is kept, or the header."""
    taken = [(0, 8), *kept]
    for start, end in spans:
        stop = min(end, len(stream))
        if start < stop and all(stop <= low or high <= start for low, high in taken):
            stream[start:stop] = bytes(stop - start)


def read_orientation(stream: bytes | None) -> int:
    """The orientation of an EXIF or TIFF stream, 1 to 8; 1 where it is absent or unreadable."""
    try:
        found = integers(read_directory(stream or b"").find(ORIENTATION), big=is_big(stream or b""), most=1)
    except Malformed:
        return 1
    return found[0] if found and 1 <= found[0] <= 8 else 1


def is_damaged(stream: bytes, offset: int | None = None, depth: int = 0) -> bool:
    """Whether an entry of a directory or of those below it, see `read_fields`, is passed over.

    Raises Malformed for the top one.
    """
    directory = read_directory(stream, offset)
    if directory.damaged:
        return True
    below = [entry for tag in SUB_DIRECTORIES if depth < DEEPEST and (entry := directory.find(tag))]
    try:
        return any(is_damaged(stream, at, depth + 1) for entry in below for at in integers(entry, big=is_big(stream), most=1))
    except Malformed:
        return True


def read_fields(stream: bytes, *, big: bool, offset: int | None = None, depth: int = 0) -> tuple[Field, ...]:
    """A directory and those below it (EXIF, GPS, interoperability), ready to be laid out elsewhere.

    big: the byte order wanted. Directories below that cannot be read are left out. Raises Malformed for the top one.
    """
    from_big = is_big(stream)
    fields: dict[int, Field] = {}
    room = len(stream)
    for entry in read_directory(stream, offset).entries:
        room -= entry.length
        if entry.tag in fields or room < 0:  # values that overlap are no honest file's
            continue
        if entry.tag not in SUB_DIRECTORIES:
            value = entry.value if big == from_big else _turned(entry.value, TYPES[entry.kind][1])
            fields[entry.tag] = Field(entry.tag, entry.kind, entry.count, value)
        elif depth < DEEPEST:
            at = integers(entry, big=from_big, most=1)
            try:
                below = read_fields(stream, big=big, offset=at[0], depth=depth + 1) if at else ()
            except Malformed:
                below = ()
            if below:
                fields[entry.tag] = Field(entry.tag, LONG, 1, b"", below)
    return tuple(fields.values())


def lay_out(fields: Iterable[Field], *, big: bool, base: int) -> bytes:
    """A directory with all its values, to be placed at the even offset ``base`` of a stream; nothing follows it."""
    ordered = sorted(fields, key=lambda each: each.tag)
    order = byte_order(big=big)
    table = bytearray(len(ordered).to_bytes(2, order))
    heap = bytearray()
    heap_at = base + 2 + 12 * len(ordered) + 4
    for each in ordered:
        value = lay_out(each.below, big=big, base=heap_at + len(heap)) if each.below else each.value
        cell = value.ljust(4, b"\0")
        if each.below or len(value) > 4:
            cell = (heap_at + len(heap)).to_bytes(4, order)
            heap += value + b"\0" * (len(value) % 2)
        table += each.tag.to_bytes(2, order) + each.kind.to_bytes(2, order) + each.count.to_bytes(4, order) + cell
    return bytes(table + b"\0\0\0\0" + heap)


def with_first(stream: bytes, fields: Collection[Field], *, following: int = 0) -> bytes:
    """The stream with a new first directory at its end, of those fields; nothing in it moves. Raises Malformed.

    following: offset of the directory that comes next, 0 for none.
    """
    big, at = is_big(stream), len(stream) + len(stream) % 2
    table = bytearray(lay_out(fields, big=big, base=at))
    next_at = 2 + 12 * len(fields)
    table[next_at : next_at + 4] = following.to_bytes(4, byte_order(big=big))
    return stream[:4] + at.to_bytes(4, byte_order(big=big)) + stream[8:].ljust(at - 8, b"\0") + bytes(table)


def _turned(value: bytes, width: int) -> bytes:
    """Every number of ``width`` bytes in the other byte order."""
    return value if width == 1 else b"".join(value[i : i + width][::-1] for i in range(0, len(value), width))
