"""How many pixels go to an inch or a centimetre, as EXIF and JFIF say it."""

from bokehcli.containers.ifd import SHORT, lay_out, read_fields
from bokehcli.containers.reading import Malformed, unsigned

RATIONAL = 5
ACROSS, DOWN, UNIT = 282, 283, 296
FIELDS = {(ACROSS, RATIONAL, 1), (DOWN, RATIONAL, 1), (UNIT, SHORT, 1)}
JFIF = b"JFIF\0"
MOST_IN_JFIF = 65_535


def alone(exif: bytes | None) -> bytes | None:
    """An EXIF stream of nothing but the density; None where it says none or its first directory cannot be read."""
    try:
        fields = read_fields(exif or b"", big=True)
    except Malformed:
        return None
    kept = [each for each in fields if (each.tag, each.kind, each.count) in FIELDS]
    whole = {ACROSS, DOWN} <= {each.tag for each in kept}
    return b"MM\0*\0\0\0\x08" + lay_out(kept, big=True, base=8) if whole else None


def is_in_jfif(payload: bytes) -> bool:
    """Whether a block is JFIF and says it."""
    return payload.startswith(JFIF) and payload[7:8] in (b"\1", b"\2")


def as_jfif(exif: bytes) -> bytes | None:
    """A JFIF block, its first version's, of what is `alone`; None where it holds no such numbers. Raises Malformed."""
    values = {each.tag: each.value for each in read_fields(exif, big=True)}
    unit = unsigned(values.get(UNIT, b"\0\2"), 0, 2, big=True) - 1  # EXIF's are 1 none, 2 inch, 3 cm
    across, down = (
        round(unsigned(values[tag], 0, 4, big=True) / max(unsigned(values[tag], 4, 4, big=True), 1)) for tag in (ACROSS, DOWN)
    )
    if unit not in (0, 1, 2) or not 0 < min(across, down) <= max(across, down) <= MOST_IN_JFIF:
        return None
    return JFIF + bytes((1, 1, unit)) + across.to_bytes(2, "big") + down.to_bytes(2, "big") + b"\0\0"
