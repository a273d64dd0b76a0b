"""How many pixels go to an inch, a centimetre or a metre, as EXIF, JFIF, PNG and BMP say it."""

from collections.abc import Iterable
from typing import Literal

from bokehcli.containers.ifd import SHORT, Field, is_big, lay_out, numbers, read_directory, read_fields, with_first
from bokehcli.containers.reading import Malformed, unsigned

RATIONAL = 5
ACROSS, DOWN, UNIT = 282, 283, 296
FIELDS = {(ACROSS, RATIONAL, 1), (DOWN, RATIONAL, 1), (UNIT, SHORT, 1)}
JFIF = b"JFIF\0"
MOST_IN_JFIF = 65_535
INCH, CENTIMETRE = 0.0254, 0.01  # in metres
EXIF_HEAD = b"MM\0*\0\0\0\x08"
NEARLY = 0.02  # how far pixels an inch or centimetre are from a whole number at most, to be meant as one
THOUSANDTHS = 1000
Block = tuple[str, bytes]
Density = tuple[float, float]  # pixels a metre, across and down


def alone(exif: bytes | None) -> bytes | None:
    """An EXIF stream of nothing but the density; None where it says none or its first directory cannot be read."""
    try:
        fields = read_fields(exif or b"", big=True)
    except Malformed:
        return None
    kept = [each for each in fields if (each.tag, each.kind, each.count) in FIELDS]
    whole = {ACROSS, DOWN} <= {each.tag for each in kept}
    return EXIF_HEAD + lay_out(kept, big=True, base=8) if whole else None


def is_in_jfif(payload: bytes) -> bool:
    """Whether a block is JFIF and says it."""
    return payload.startswith(JFIF) and payload[7:8] in (b"\1", b"\2")


def as_jfif(exif: bytes) -> bytes | None:
    """A JFIF block, its first version's, of what is `alone`; None where it holds no such numbers. Raises Malformed."""
    across, down, unit = _in_exif(exif)
    return _jfif(round(across), round(down), unit - 1)


def _in_exif(exif: bytes) -> tuple[float, float, int]:
    """Pixels across and down of what is `alone`, and of which unit: 1 is none, 2 an inch, 3 a centimetre. Raises Malformed."""
    values = {each.tag: each.value for each in read_fields(exif, big=True)}
    across, down = (
        unsigned(values[tag], 0, 4, big=True) / max(unsigned(values[tag], 4, 4, big=True), 1) for tag in (ACROSS, DOWN)
    )
    return across, down, unsigned(values.get(UNIT, b"\0\2"), 0, 2, big=True)


def _jfif(across: int, down: int, unit: int) -> bytes | None:
    """A JFIF block without a thumbnail, of unit 0 (none), 1 (inch) or 2 (centimetre); None for others and what is too large."""
    if unit not in (0, 1, 2) or not 0 < min(across, down) <= max(across, down) <= MOST_IN_JFIF:
        return None
    return JFIF + bytes((1, 1, unit)) + across.to_bytes(2, "big") + down.to_bytes(2, "big") + b"\0\0"


def told(others: Iterable[Block], exif: bytes | None) -> Density | None:
    """What a photo's blocks say of its density, JFIF's, PNG's or BMP's, and else its EXIF; None where none does."""
    for kind, payload in others:
        if kind == "APP0" and is_in_jfif(payload) and len(payload) >= 12:
            unit = INCH if payload[7] == 1 else CENTIMETRE
            found = [int.from_bytes(payload[at : at + 2], "big") / unit for at in (8, 10)]
        elif kind == "pHYs" and payload[8:] == b"\1":
            found = [float(int.from_bytes(payload[at : at + 4], "big")) for at in (0, 4)]
        elif kind == "density":
            found = [float(int.from_bytes(payload[at : at + 4], "little", signed=True)) for at in (0, 4)]
        else:
            continue
        if min(found) > 0:
            return found[0], found[1]
    only = alone(exif)
    if only is None:
        return None
    across, down, number = _in_exif(only)
    metres = {2: INCH, 3: CENTIMETRE}.get(number)
    return (across / metres, down / metres) if metres and min(across, down) > 0 else None


def as_block(kind: str, density: Density) -> Block | None:
    """A block of that kind, "APP0" (JFIF), "pHYs" or "density"; None where it cannot hold so much."""
    if kind == "APP0":
        across, down, unit = _whole(density)
        block = _jfif(across, down, 1 if unit == INCH else 2)
        return None if block is None else (kind, block)
    if not 0 < round(min(density)) <= round(max(density)) < 1 << 31:
        return None
    order: Literal["big", "little"] = "big" if kind == "pHYs" else "little"
    return kind, b"".join(round(each).to_bytes(4, order) for each in density) + (b"\1" if kind == "pHYs" else b"")


def with_density(exif: bytes | None, density: Density) -> bytes | None:
    """An EXIF stream with the density in its first directory, unless that says one; as it was where it cannot hold so much."""
    added = as_exif(density)
    if exif is None or added is None or alone(exif):
        return exif or added
    try:
        first, fields = read_directory(exif), read_fields(added, big=is_big(exif))
    except Malformed:
        return exif
    # not by `read_fields`: what the entries point at, a maker note among it, stays where it is
    kept = {entry.tag: Field(entry.tag, entry.kind, entry.count, entry.value) for entry in first.entries}
    return with_first(exif, (kept | {each.tag: each for each in fields}).values(), following=first.next)


def as_exif(density: Density) -> bytes | None:
    """An EXIF stream of nothing else; None where it cannot hold so much."""
    *whole, unit = _whole(density)
    exact = [each * unit for each in density]
    meant = (number if abs(each - number) <= NEARLY else each for each, number in zip(exact, whole, strict=True))
    thousands = [round(each * THOUSANDTHS) for each in meant]
    if not 0 < min(thousands) <= max(thousands) < 1 << 32:
        return None
    rationals = (
        Field(tag, RATIONAL, 1, number.to_bytes(4, "big") + THOUSANDTHS.to_bytes(4, "big"))
        for tag, number in zip((ACROSS, DOWN), thousands, strict=True)
    )
    return EXIF_HEAD + lay_out((*rationals, numbers(UNIT, 2 if unit == INCH else 3, big=True)), big=True, base=8)


def _whole(density: Density) -> tuple[int, int, float]:
    """Whole pixels an inch, or a centimetre where these are nearer to whole ones, and which."""
    across, down = density

    def off(unit: float) -> float:
        return max(abs(each * unit - round(each * unit)) for each in density)

    unit = CENTIMETRE if off(INCH) > NEARLY and off(CENTIMETRE) < off(INCH) else INCH
    return round(across * unit), round(down * unit), unit
