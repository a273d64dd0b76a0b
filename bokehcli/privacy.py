"""Takes out of what a photo carries what its owner does not want to give away."""

import re
from contextlib import suppress
from dataclasses import replace

from bokehcli.containers import Malformed, density, extended, ifd, photoshop, stale
from bokehcli.containers.jpeg import IRB
from bokehcli.containers.reading import byte_order, unsigned
from bokehcli.photo import Carried, Container

# PNG chunks that say what the colours are and how large a pixel is; a JFIF block and a BMP's header likewise.
OF_THE_PIXELS = ("APP0", "cHRM", "gAMA", "sRGB", "cICP", "mDCV", "mDCv", "cLLI", "cLLi", "pHYs", "density")
ENTRY_BYTES = 12
Blocks = tuple[tuple[str, bytes], ...]  # see `Carried.others`
# Properties such as exif:GPSLatitude, geo:lat, or drone-dji:GpsLongtitude and LRFTargetLat, as such drones spell them, whatever
# the prefix, as an attribute, an element, or an empty element.
NAMED = rb"(?:GPS|LRFTarget|(?=[\w.-]*?(?:Latitude|Longt?itude|Altitude)))[\w.-]*+"
PLACE = rb"(?:%b|(?:lat|long?)(?![\w.-]))" % NAMED
GPS_IN_XMP = (
    re.compile(rb"(?<!\s)\s++(?!xmlns:)[\w.-]+:%b\s*=\s*(\"[^\"]*\"|'[^']*')" % PLACE, re.IGNORECASE),
    re.compile(rb"<([\w.-]+:%b)(\s[^<>]*)?(?<!/)>.*?</\1\s*>" % PLACE, re.IGNORECASE | re.DOTALL),
    re.compile(rb"<[\w.-]+:%b(\s[^<>]*)?/>" % PLACE, re.IGNORECASE),
)
PLACE_IN_XMP = re.compile(rb"(?<!xmlns):" + PLACE, re.IGNORECASE)
# Of a packet without the zeros of UTF-16.
LEFT_IN_XMP = re.compile(rb"<(?:[\w.-]+:)?%b[\s/>]|(?<!\s)\s++(?!xmlns:)[\w.-]+:%b\s*=" % (PLACE, PLACE), re.IGNORECASE)
# Of a text chunk of PNG, such as exif:GPSLatitude and GPS Latitude.
PLACE_IN_KEY = re.compile(rb"(?:[^\0]*:)?(?:(?:GPS|Latitude|Longitude|Altitude)[^\0]*+|%b)\0" % PLACE, re.IGNORECASE)
ODD_EXIF = b"Exif\0"
BLOCKS_AS_TEXT = (b"xml:com.adobe.xmp\0", *(b"raw profile type " + name for name in (b"exif", b"app1", b"xmp", b"8bim")))
# In an image file directory: EXIF's own, where a GeoTIFF lies, and XMP and Photoshop's resources, which EXIF has no need of.
PLACES_IN_IFD = (ifd.GPS_IFD, 33550, 33922, 34264, 700, 34377)
TEXT_CHUNKS = ("tEXt", "zTXt", "iTXt")


def without_metadata(carried: Carried) -> Carried:
    """Nothing but what says how the pixels are to be seen: the ICC profile and its like, and the density, EXIF's too."""
    wanted = (block for block in carried.others if block[0] in OF_THE_PIXELS)
    # Canon's has the owner's name
    kept = (block for block in wanted if block[0] != "APP0" or block[1].startswith(density.JFIF))
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

    Texts of a PNG whose key names it go too, and Photoshop's copies of EXIF and XMP. Maker notes, and names of places such as
    IPTC's city, stay.
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
        xmp = xmp_without_gps(xmp)
        if xmp is None:
            warnings.append("GPS cannot be taken out of XMP: all of it left out")
    longer = extended.text_of(payload for _, payload in others)
    if PLACE_IN_XMP.search(longer.replace(b"\0", b"")):
        others = tuple(block for block in others if not extended.is_piece(block[1]))
        warnings.append("the extended XMP holds GPS: left out")
    if any(payload.lower().startswith(BLOCKS_AS_TEXT[-1]) for _, payload in others):
        warnings.append("Photoshop's resources as a text may hold GPS: left out")
    others = tuple(block for block in others if not names_place(*block))
    unknown = sorted({kind for kind, payload in others if is_unknown(kind, payload)})
    if unknown:
        others = tuple(block for block in others if not is_unknown(*block))
        warnings.append(f"{', '.join(unknown)} of a kind that is not known may hold GPS: left out")
    for kind, head in (("APP13", IRB), ("IRB", b"")):
        others, lost = resources_without_gps(others, kind, head)
        warnings += lost
    return replace(carried, exif=exif, xmp=xmp, others=others), tuple(warnings)


def resources_without_gps(others: Blocks, kind: str, head: bytes) -> tuple[Blocks, tuple[str, ...]]:
    """The blocks without the EXIF and XMP among Photoshop's resources; a warning where these cannot be read and go as a whole.

    kind, head: of the blocks that hold the resources, which go on from one to the next, and how each of them begins.
    """
    resources = b"".join(payload[len(head) :] for each, payload in others if each == kind and payload.startswith(head))
    if not resources:
        return others, ()
    rest = tuple((each, payload) for each, payload in others if each != kind or not payload.startswith(head))
    try:
        left = photoshop.without(resources, photoshop.EXIF_AND_XMP)
    except Malformed as error:
        return rest, (f"Photoshop's resources cannot be read ({error}): left out, for they may hold GPS",)
    return (*rest, *(((kind, head + left),) if left else ())), ()


def names_place(kind: str, payload: bytes) -> bool:
    """Whether a block is a text of a PNG whose key names a place, or EXIF or XMP where only some readers look for it."""
    if kind in TEXT_CHUNKS:
        return PLACE_IN_KEY.match(payload) is not None or payload.lower().startswith(BLOCKS_AS_TEXT)
    return kind == "zxIf" or (kind == "APP1" and payload.startswith(ODD_EXIF))


def is_unknown(kind: str, payload: bytes) -> bool:
    """Whether a segment of a JPEG is of some application of which nobody knows what it says, such as FLIR's and GoPro's."""
    known = kind == "APP0" or extended.is_piece(payload) or (kind == "APP13" and payload.startswith(IRB))
    return kind.startswith("APP") and not known


def xmp_without_gps(xmp: bytes) -> bytes | None:
    """The packet without its GPS properties; None where they cannot be taken out cleanly."""
    if PLACE_IN_XMP.search(xmp) and not stale.is_plain(xmp):
        return None
    for form in GPS_IN_XMP:
        xmp = form.sub(b"", xmp)
    return None if LEFT_IN_XMP.search(xmp.replace(b"\0", b"")) else xmp


def exif_without_gps(exif: bytes) -> bytes | None:
    """The stream with its GPS directory and a GeoTIFF's places blanked and their entries taken out; no other value moves.

    The GPS directory may also lie below EXIF's. None where nothing else is in the stream. Raises Malformed where a directory
    cannot be read.
    """
    big = ifd.is_big(exif)
    directories = [ifd.read_directory(exif)]
    if all(entry.tag in PLACES_IN_IFD for entry in directories[0].entries):
        return None
    for offset in ifd.integers(directories[0].find(ifd.EXIF_IFD), big=big, most=1):
        with suppress(Malformed):
            directories.append(ifd.read_directory(exif, offset))
    patched = bytearray(exif)
    entries = [entry for directory in directories for entry in directory.entries]
    tables = [(directory.offset, directory.next_at + 4) for directory in directories]
    values = ((entry.value_at, entry.value_at + entry.length) for entry in entries if entry.tag not in PLACES_IN_IFD)
    others = [*tables, *values]
    for place in (entry for entry in entries if entry.tag in PLACES_IN_IFD):
        ifd.blank(patched, [(place.value_at, place.value_at + place.length)], others)
        for offset in ifd.integers(place, big=big, most=1) if place.tag == ifd.GPS_IFD else ():
            ifd.blank(patched, ifd.read_directory(exif, offset).spans(), others)
    for directory in directories:
        _take_out(patched, directory, big=big)
    return bytes(patched)


def _take_out(stream: bytearray, directory: ifd.Directory, *, big: bool) -> None:
    """Take the entries of places out of a table; those behind them, and the offset of the next table, move up."""
    start, stop = directory.offset + 2, directory.next_at
    rows = [bytes(stream[at : at + ENTRY_BYTES]) for at in range(start, stop, ENTRY_BYTES)]
    kept = [row for row in rows if unsigned(row, 0, 2, big=big) not in PLACES_IN_IFD]
    table = b"".join(kept) + bytes(stream[stop : stop + 4])
    stream[directory.offset : start] = len(kept).to_bytes(2, byte_order(big=big))
    stream[start : stop + 4] = table.ljust(stop + 4 - start, b"\0")[: len(stream) - start]
