"""Places in the picture that metadata name, such as the faces of people: turned upright along with the pixels.

EXIF (2.32, 4.6.5) and the regions of the Metadata Working Group (Guidelines for Handling Image Metadata 2.0, 5.9) count from
the upper left corner of the pixels as they are stored, before an orientation is undone. Those of Microsoft (People Tagging,
MPReg:Rectangle) and of IPTC (Photo Metadata Standard, Image Region) do not say; programs that write several kinds write the
same places in each.
"""

import re

from piexif import ExifIFD

from bokehcli.containers import ifd
from bokehcli.containers.reading import byte_order

FIRST_SWAPPED = 5  # of the orientations, from which on height and width are swapped
MOST_BYTES = 4000  # of an element of XMP that is looked through: longer ones are none of these
# An element with what is in it, or one that is empty.
ELEMENT = rb"<([\w.-]+:%b)\b(?:[^<>]{0,1000}/>|[^<>]{0,1000}(?<!/)>.{0,%d}?</\1\s*>)"
AREA, APPLIED_TO, BOUNDARY = (
    re.compile(ELEMENT % (name, MOST_BYTES), re.DOTALL) for name in (b"Area", b"AppliedToDimensions", b"RegionBoundary")
)
# A property of it by its name, as an attribute or an element, up to its value, and that.
NAMED = rb"(?P<head>[\w.-]+:(?P<attribute>%b)\s*=\s*[\"']|<[\w.-]+:(?P<element>%b)\s*>)(?P<value>[^\"'<>]*)"
PROPERTY, OF_BOUNDARY = (re.compile(NAMED % (names, names)) for names in (b"[xywh]", b"rb[XYWH]|rbRx"))
# Left, top, width and height.
RECTANGLE = re.compile(rb"([\s<][\w.-]++:Rectangle\s*(?:=\s*[\"']|>))([^\"'<>]{1,100})")
OF_RECTANGLE, OF_CIRCLE = (b"rbX", b"rbY", b"rbW", b"rbH"), (b"rbRx",)
IN_PIXELS = re.compile(rb"rbUnit\s*(=\s*[\"']|>)\s*pixel")
NUMBER = re.compile(rb"\s*[+-]?(\d{1,9}(\.\d*)?|\.\d+)([eE][+-]?\d{1,2})?\s*")
DIGITS = 6  # behind the point
MOST_SHORT = 65_535
MOST_NUMBERS = 4  # of a subject's area: its middle, and a diameter or width and height
SUBJECT = ExifIFD.SubjectLocation, ExifIFD.SubjectArea
FOCAL_PLANE = ExifIFD.FocalPlaneXResolution, ExifIFD.FocalPlaneYResolution


def turned(x: float, y: float, orientation: int, width: float = 1.0, height: float = 1.0) -> tuple[float, float]:
    """Where a point of a picture of that size is once its EXIF orientation is undone, see `bokehcli.decode.upright`."""
    if orientation >= FIRST_SWAPPED:
        x, y, width, height = y, x, height, width
    if orientation in (3, 4, 7, 8):
        y = height - y
    if orientation in (2, 3, 6, 7):
        x = width - x
    return x, y


def turned_xmp(xmp: bytes, orientation: int, size: tuple[int, int]) -> bytes:
    """A packet whose regions are those of upright pixels of ``size`` (height, width), of which the orientation was undone.

    Regions of dimensions that lie as the upright pixels do, not as those that were stored, were upright before and stay, and
    so do all the others of such a packet; and those that cannot be read.
    """
    if orientation == 1:
        return xmp
    found = APPLIED_TO.search(xmp)
    applied = numbers_in(found[0]) if found else {}
    if {b"w", b"h"} <= applied.keys():
        if orientation >= FIRST_SWAPPED:
            if applied[b"w"] != applied[b"h"] and (applied[b"w"] < applied[b"h"]) == (size[1] < size[0]):
                return xmp
            xmp = APPLIED_TO.sub(lambda found: with_numbers(found[0], swapped(numbers_in(found[0]))), xmp)
        xmp = AREA.sub(lambda found: with_numbers(found[0], turned_area(numbers_in(found[0]), orientation)), xmp)
    xmp = RECTANGLE.sub(lambda found: found[1] + turned_rectangle(found[2], orientation), xmp)
    return BOUNDARY.sub(lambda found: turned_boundary(found[0], orientation, size), xmp)


def turned_rectangle(text: bytes, orientation: int) -> bytes:
    """Left, top, width and height, shares of the picture's sides, upright; as it is where it is not four numbers."""
    parts = text.split(b",")
    if len(parts) != 4 or not all(map(NUMBER.fullmatch, parts)):
        return text
    left, top, width, height = map(float, parts)
    return b", ".join(map(in_full, turned_corner(left, top, width, height, orientation)))


def turned_corner(
    left: float, top: float, across: float, down: float, orientation: int, width: float = 1.0, height: float = 1.0
) -> tuple[float, float, float, float]:
    """A rectangle by its left and top, width and height, upright; of a picture of that size as it was stored."""
    x, y = turned(left + across / 2.0, top + down / 2.0, orientation, width, height)
    across, down = (down, across) if orientation >= FIRST_SWAPPED else (across, down)
    return x - across / 2.0, y - down / 2.0, across, down


def turned_boundary(element: bytes, orientation: int, size: tuple[int, int]) -> bytes:
    """A region's boundary as IPTC has it, a rectangle, a circle or corners, for upright pixels of ``size`` (height, width)."""
    stored = size if orientation >= FIRST_SWAPPED else size[::-1]
    whole = stored if IN_PIXELS.search(element) else (1.0, 1.0)
    found = [(match["attribute"] or match["element"], match["value"]) for match in OF_BOUNDARY.finditer(element)]
    if not all(NUMBER.fullmatch(value) for _, value in found):
        return element
    values = {name: [float(value) for each, value in found if each == name] for name in OF_RECTANGLE + OF_CIRCLE}
    xs, ys, widths, heights = (values[name] for name in OF_RECTANGLE)
    if len(xs) == len(ys) == len(widths) == len(heights) == 1:
        corner = turned_corner(xs[0], ys[0], widths[0], heights[0], orientation, *whole)
        values |= {name: [value] for name, value in zip(OF_RECTANGLE, corner, strict=True)}
    elif len(xs) == len(ys) and not widths and not heights:
        corners = [turned(x, y, orientation, *whole) for x, y in zip(xs, ys, strict=True)]
        values |= {b"rbX": [x for x, _ in corners], b"rbY": [y for _, y in corners]}
        if whole == (1.0, 1.0):  # a radius is a share of the width
            values[b"rbRx"] = [radius * stored[0] / size[1] for radius in values[b"rbRx"]]
    else:
        return element
    following = {name: iter(map(in_full, numbers)) for name, numbers in values.items()}
    return OF_BOUNDARY.sub(lambda match: match["head"] + next(following[match["attribute"] or match["element"]]), element)


def swapped(sides: dict[bytes, float]) -> dict[bytes, float]:
    """With width for height."""
    return {**sides, b"w": sides[b"h"], b"h": sides[b"w"]} if {b"w", b"h"} <= sides.keys() else sides


def turned_area(area: dict[bytes, float], orientation: int) -> dict[bytes, float]:
    """An area by its middle x and y, width and height, shares of the picture's sides, upright; one without a middle stays."""
    if not {b"x", b"y"} <= area.keys():
        return area
    x, y = turned(area[b"x"], area[b"y"], orientation)
    return {**(swapped(area) if orientation >= FIRST_SWAPPED else area), b"x": x, b"y": y}


def numbers_in(element: bytes) -> dict[bytes, float]:
    """The numbers x, y, w and h of an element of XMP, those that it has."""
    found = ((match["attribute"] or match["element"], match["value"]) for match in PROPERTY.finditer(element))
    return {name: float(value) for name, value in found if NUMBER.fullmatch(value)}


def with_numbers(element: bytes, numbers: dict[bytes, float]) -> bytes:
    """The element with other numbers in the same places."""

    def written(found: re.Match[bytes]) -> bytes:
        name = found["attribute"] or found["element"]
        return found["head"] + in_full(numbers[name]) if name in numbers else found[0]

    return PROPERTY.sub(written, element)


def in_full(number: float) -> bytes:
    """A number without an exponent, which XMP has none of."""
    return (f"{number:.{DIGITS}f}".rstrip("0").rstrip(".") or "0").encode()


def turn_exif(stream: bytearray, directory: ifd.Directory, orientation: int, size: tuple[int, int], *, big: bool) -> None:
    """Turn what an EXIF directory of the stream says of places, in place, for upright pixels of ``size`` (height, width).

    A subject's location or area whose middle is not in the picture stays. No byte moves.
    """
    width, height = size if orientation >= FIRST_SWAPPED else size[::-1]
    for entry in directory.entries:
        if entry.tag not in SUBJECT or entry.kind != ifd.SHORT or not 2 <= entry.count <= MOST_NUMBERS:
            continue
        x, y, *sides = ifd.integers(entry, big=big)
        if x <= width and y <= height:
            middle = map(int, turned(x, y, orientation, width, height))
            values = *middle, *(sides[::-1] if orientation >= FIRST_SWAPPED else sides)
            if max(values) <= MOST_SHORT:
                packed = b"".join(value.to_bytes(2, byte_order(big=big)) for value in values)
                stream[entry.value_at : entry.value_at + entry.length] = packed
    across, down = (directory.find(tag) for tag in FOCAL_PLANE)
    if orientation >= FIRST_SWAPPED and across and down and (across.kind, across.length) == (down.kind, down.length):
        for entry, other in ((across, down), (down, across)):
            stream[entry.value_at : entry.value_at + entry.length] = other.value
