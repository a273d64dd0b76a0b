"""Takes out of what a photo carries what its owner does not want to give away."""

import re
from dataclasses import replace

from bokehcli.containers import Malformed, density, ifd
from bokehcli.containers.jpeg import EXTENDED_XMP
from bokehcli.containers.reading import byte_order, unsigned
from bokehcli.photo import Carried, Container

# PNG chunks that say what the colours are and how large a pixel is; a JFIF block and a BMP's header likewise.
OF_THE_PIXELS = ("APP0", "cHRM", "gAMA", "sRGB", "cICP", "mDCV", "mDCv", "cLLI", "cLLi", "pHYs", "density")
ENTRY_BYTES = 12
EXTENDED_HEAD = 32 + 4 + 4  # bytes of a piece of extended XMP before its text: digest, whole length, offset
# Properties such as exif:GPSLatitude, geo:lat, or drone-dji:GpsLongtitude and LRFTargetLat, as such drones spell them, whatever
# the prefix, as an attribute, an element, or an empty element.
NAMED = rb"(?:GPS|LRFTarget|(?=[\w.-]*?(?:Latitude|Longt?itude|Altitude)))[\w.-]*+"
PLACE = rb"(?:%b|(?:lat|long?)(?![\w.-]))" % NAMED
GPS_IN_XMP = (
    re.compile(rb"(?<!\s)\s++(?!xmlns:)[\w.-]+:%b\s*=\s*(\"[^\"]*\"|'[^']*')" % PLACE, re.IGNORECASE),
    re.compile(rb"<([\w.-]+:%b)(\s[^<>]*)?(?<!/)>.*?</\1\s*>" % PLACE, re.IGNORECASE | re.DOTALL),
    re.compile(rb"<[\w.-]+:%b(\s[^<>]*)?/>" % PLACE, re.IGNORECASE),
)
LEFT_IN_XMP = re.compile(rb"(?<!xmlns):" + NAMED, re.IGNORECASE)  # of a packet without the zeros of UTF-16
PLACE_IN_KEY = re.compile(rb"(?:[^\0]*:)?" + PLACE + rb"\0", re.IGNORECASE)  # of a text chunk of PNG, such as exif:GPSLatitude
TEXT_CHUNKS = ("tEXt", "zTXt", "iTXt")


def without_metadata(carried: Carried) -> Carried:
    """Nothing but what says how the pixels are to be seen: the ICC profile and its like, and the density, EXIF's too."""
    kept = ((kind, payload) for kind, payload in carried.others if kind in OF_THE_PIXELS)
    return Carried(exif=density.alone(carried.exif), icc=carried.icc, others=tuple(kept))


def with_density_once(carried: Carried, container: Container) -> Carried:
    """What is `without_metadata`, for a container: EXIF stays only where nothing else says the density, in a JPEG as JFIF."""
    said = any(kind == "pHYs" or (kind == "APP0" and density.is_in_jfif(payload)) for kind, payload in carried.others)
    if said or carried.exif is None or container is Container.BMP:
        return replace(carried, exif=None)
    if container is not Container.JPEG:
        return carried
    jfif = density.as_jfif(carried.exif)
    return replace(carried, exif=None, others=(*carried.others, *([("APP0", jfif)] if jfif else [])))


def without_gps(carried: Carried) -> tuple[Carried, tuple[str, ...]]:
    """Without the place where the photo was taken, as EXIF and XMP have it, and a warning for each block that had to go.

    Texts of a PNG whose key names it go too. Maker notes, and names of places such as IPTC's city, stay.
    """
    warnings: list[str] = []
    exif, xmp, others = carried.exif, carried.xmp, carried.others
    if exif:
        try:
            exif = exif_without_gps(exif)
        except Malformed as error:
            exif = None
            warnings.append(f"GPS cannot be taken out of EXIF ({error}): all of it left out")
    if xmp:
        for form in GPS_IN_XMP:
            xmp = form.sub(b"", xmp)
        if LEFT_IN_XMP.search(xmp.replace(b"\0", b"")):
            xmp = None
            warnings.append("GPS cannot be taken out of XMP: all of it left out")
    pieces = (payload[len(EXTENDED_XMP) + EXTENDED_HEAD :] for _, payload in others if payload.startswith(EXTENDED_XMP))
    extended = b"".join(pieces)
    if LEFT_IN_XMP.search(extended.replace(b"\0", b"")):
        others = tuple(block for block in others if not block[1].startswith(EXTENDED_XMP))
        warnings.append("the extended XMP holds GPS: left out")
    others = tuple((kind, payload) for kind, payload in others if kind not in TEXT_CHUNKS or not PLACE_IN_KEY.match(payload))
    return replace(carried, exif=exif, xmp=xmp, others=others), tuple(warnings)


def exif_without_gps(exif: bytes) -> bytes | None:
    """The stream with its GPS directory blanked and the entry that points at it taken out; no other value moves.

    None where nothing else is in it. Raises Malformed where a directory cannot be read.
    """
    big = ifd.is_big(exif)
    first = ifd.read_directory(exif)
    pointers = [entry for entry in first.entries if entry.tag == ifd.GPS_IFD]
    patched = bytearray(exif)
    kept = [entry for entry in first.entries if entry.tag != ifd.GPS_IFD]
    if not kept:
        return None
    others = [(first.offset, first.next_at + 4), *((entry.value_at, entry.value_at + entry.length) for entry in kept)]
    for pointer in pointers:
        for offset in ifd.integers(pointer, big=big, most=1):
            ifd.blank(patched, ifd.read_directory(exif, offset).spans(), others)
    _take_out(patched, first, big=big)
    return bytes(patched)


def _take_out(stream: bytearray, directory: ifd.Directory, *, big: bool) -> None:
    """Take the GPS entries out of a table; those behind them, and the offset of the next table, move up."""
    start, stop = directory.offset + 2, directory.next_at
    rows = [bytes(stream[at : at + ENTRY_BYTES]) for at in range(start, stop, ENTRY_BYTES)]
    kept = [row for row in rows if unsigned(row, 0, 2, big=big) != ifd.GPS_IFD]
    table = b"".join(kept) + bytes(stream[stop : stop + 4])
    stream[directory.offset : start] = len(kept).to_bytes(2, byte_order(big=big))
    stream[start : stop + 4] = table.ljust(stop + 4 - start, b"\0")[: len(stream) - start]
