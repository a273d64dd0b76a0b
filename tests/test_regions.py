"""Places in metadata turn with the pixels: a block that is marked in the stored pixels is found where they say."""

import numpy as np
import piexif
import pytest
from numpy.typing import NDArray

from bokehcli.decode import DecodeOptions, decode_photo, upright
from bokehcli.metadata import correct_exif
from bokehcli.photo import Carried
from bokehcli.regions import turned as turned_point
from bokehcli.regions import turned_xmp
from tests.test_metadata import photo_of, written

HEIGHT, WIDTH = 80, 120  # as stored
TOP, LEFT, DOWN, ACROSS = 10, 30, 20, 40  # the marked block
MIDDLE = LEFT + ACROSS // 2, TOP + DOWN // 2
ORIENTATIONS = range(1, 9)
NAMESPACES = (
    b'xmlns:mwg-rs="http://www.metadataworkinggroup.com/schemas/regions/" xmlns:stArea="http://ns.adobe.com/xmp/sType/Area#" '
    b'xmlns:stDim="http://ns.adobe.com/xap/1.0/sType/Dimensions#"'
)
AS_ATTRIBUTES = (
    b'<mwg-rs:AppliedToDimensions stDim:w="%d" stDim:h="%d" stDim:unit="pixel"/><mwg-rs:RegionList><rdf:Bag>'
    b'<rdf:li><rdf:Description mwg-rs:Name="Bob" mwg-rs:Type="Face">'
    b'<mwg-rs:Area stArea:x="%.6g" stArea:y="%.6g" stArea:w="%.6g" stArea:h="%.6g" stArea:unit="normalized"/>'
    b"</rdf:Description></rdf:li></rdf:Bag></mwg-rs:RegionList>"
)
AS_ELEMENTS = (
    b'<mwg-rs:AppliedToDimensions rdf:parseType="Resource"><stDim:w>%d</stDim:w> <stDim:h>%d</stDim:h>'
    b'</mwg-rs:AppliedToDimensions><mwg-rs:RegionList><rdf:Bag><rdf:li rdf:parseType="Resource">'
    b'<mwg-rs:Area rdf:parseType="Resource"><stArea:x>%.6g</stArea:x><stArea:y>%.6g</stArea:y>\n'
    b"<stArea:w>%.6g</stArea:w><stArea:h>%.6g</stArea:h></mwg-rs:Area></rdf:li></rdf:Bag></mwg-rs:RegionList>"
)
SIDES = WIDTH, HEIGHT
AREA = MIDDLE[0] / WIDTH, MIDDLE[1] / HEIGHT, ACROSS / WIDTH, DOWN / HEIGHT


def packet(form: bytes, sides: tuple[int, int] = SIDES, area: tuple[float, ...] = AREA) -> bytes:
    """XMP with a region."""
    regions = b'<mwg-rs:Regions rdf:parseType="Resource">' + form % (*sides, *area) + b"</mwg-rs:Regions>"
    return (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        b'<rdf:Description rdf:about="" ' + NAMESPACES + b">" + regions + b"</rdf:Description></rdf:RDF></x:xmpmeta>"
    )


def marked(orientation: int) -> tuple[tuple[int, int], tuple[int, int, int, int]]:
    """The (height, width) of the upright picture, and the marked block's left, top, width and height in it."""
    stored: NDArray[np.uint8] = np.zeros((HEIGHT, WIDTH), np.uint8)
    stored[TOP : TOP + DOWN, LEFT : LEFT + ACROSS] = 255
    picture = upright(stored, orientation)
    rows, columns = np.nonzero(picture)
    place = int(columns.min()), int(rows.min()), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1
    return (picture.shape[0], picture.shape[1]), place


def exif_with(area: tuple[int, ...]) -> bytes:
    """EXIF with a subject's area, its location, and sensor pixels that are not square."""
    tags = {
        piexif.ExifIFD.SubjectArea: area,
        piexif.ExifIFD.SubjectLocation: MIDDLE,
        piexif.ExifIFD.FocalPlaneXResolution: (5, 1),
        piexif.ExifIFD.FocalPlaneYResolution: (7, 1),
    }
    return bytes(piexif.dump({"Exif": tags})[6:])


def exif_of(stream: bytes | None) -> dict[int, object]:
    """The tags of its EXIF directory."""
    assert stream is not None
    tags: dict[int, object] = piexif.load(b"Exif\0\0" + stream)["Exif"]
    return tags


@pytest.mark.parametrize("form", [AS_ATTRIBUTES, AS_ELEMENTS])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_faces_turn_with_the_pixels(form: bytes, orientation: int) -> None:
    size, (left, top, across, down) = marked(orientation)
    area = (left + across / 2) / size[1], (top + down / 2) / size[0], across / size[1], down / size[0]
    assert turned_xmp(packet(form), orientation, size) == packet(form, size[::-1], area)


MICROSOFT = b'<rdf:li MPReg:PersonDisplayName="Anna" MPReg:Rectangle="%b"/><MPReg:Rectangle>%b</MPReg:Rectangle>'
IPTC = (
    b'<I:RegionBoundary rdf:parseType="Resource"><I:rbShape>rectangle</I:rbShape><I:rbUnit>%b</I:rbUnit><I:rbX>%.6g</I:rbX>'
    b'<I:rbY>%.6g</I:rbY><I:rbW>%.6g</I:rbW><I:rbH>%.6g</I:rbH></I:RegionBoundary>'
)


def as_shares(place: tuple[int, int, int, int], size: tuple[int, int]) -> tuple[float, float, float, float]:
    """Left, top, width and height in pixels of a picture of (height, width) as shares of its sides."""
    left, top, across, down = place
    return left / size[1], top / size[0], across / size[1], down / size[0]


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_faces_as_microsoft_and_iptc_name_them_turn_with_the_pixels(orientation: int) -> None:
    size, place = marked(orientation)
    before = (LEFT, TOP, ACROSS, DOWN), (HEIGHT, WIDTH)
    text, upright_text = (
        b", ".join(b"%.6g" % share for share in as_shares(*each)) for each in (before, (place, size))
    )
    assert turned_xmp(MICROSOFT % (text, text), orientation, size) == MICROSOFT % (upright_text, upright_text)
    relative = turned_xmp(IPTC % (b"relative", *as_shares(*before)), orientation, size)
    assert relative == IPTC % (b"relative", *as_shares(place, size))
    assert turned_xmp(IPTC % (b"pixel", *before[0]), orientation, size) == IPTC % (b"pixel", *place)
    odd = IPTC.replace(b"</I:RegionBoundary>", b"<I:rbRx>0.1</I:rbRx></I:RegionBoundary>")
    odd, turned_odd = (odd % (b"relative", *as_shares(*each)) for each in (before, (place, size)))
    assert turned_xmp(odd, orientation, size) == turned_odd


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_circle_and_corners_turn_with_the_pixels(orientation: int) -> None:
    size, _ = marked(orientation)
    x, y = turned_point(0.25, 0.125, orientation)
    circle = b'<I:RegionBoundary I:rbShape="circle" I:rbUnit="relative" I:rbX="%.6g" I:rbY="%.6g" I:rbRx="%.6g"/>'
    assert turned_xmp(circle % (0.25, 0.125, 12 / WIDTH), orientation, size) == circle % (x, y, 12 / size[1])
    corners = (
        b'<I:RegionBoundary><I:rbUnit>relative</I:rbUnit><I:rbVertices><rdf:Seq><rdf:li I:rbX="%.6g" I:rbY="%.6g"/>'
        b'<rdf:li I:rbX="%.6g" I:rbY="%.6g"/></rdf:Seq></I:rbVertices></I:RegionBoundary>'
    )
    other = turned_point(0.5, 0.75, orientation)
    assert turned_xmp(corners % (0.25, 0.125, 0.5, 0.75), orientation, size) == corners % (x, y, *other)


@pytest.mark.parametrize(
    "xmp",
    [
        MICROSOFT % (b"0.1, 0.2, 0.3", b"a, b, c, d"),
        IPTC.replace(b"%.6g", b"?") % b"pixel",
        b"<I:RegionBoundary I:rbX='1'/>",
        b"<I:RegionBoundary I:rbX='1' I:rbY='1' I:rbW='1'/>",
        b"<I:RegionBoundary I:rbX='1' I:rbY='1' I:rbW='1' I:rbW='1' I:rbH='1'/>",
    ],
)
def test_faces_that_cannot_be_read_stay(xmp: bytes) -> None:
    assert turned_xmp(xmp, 6, (WIDTH, HEIGHT)) == xmp


def test_what_is_made_to_take_long_is_looked_through_at_once() -> None:
    xmp = b"a" * 2_000_000 + b" " * 2_000_000
    assert turned_xmp(xmp, 6, (WIDTH, HEIGHT)) == xmp


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("sides", [(), (ACROSS,), (ACROSS, DOWN)])
def test_the_subject_in_exif_turns_with_the_pixels(orientation: int, sides: tuple[int, ...]) -> None:
    size, (left, top, across, down) = marked(orientation)
    middle = left + across // 2, top + down // 2
    tags = exif_of(correct_exif(exif_with((*MIDDLE, *sides)), size, orientation)[0])
    expected = {0: (), 1: sides, 2: (across, down)}[len(sides)]
    assert tags[piexif.ExifIFD.SubjectArea] == (*middle, *expected)
    assert tags[piexif.ExifIFD.SubjectLocation] == middle
    resolutions = tags[piexif.ExifIFD.FocalPlaneXResolution], tags[piexif.ExifIFD.FocalPlaneYResolution]
    assert resolutions == (((7, 1), (5, 1)) if orientation >= 5 else ((5, 1), (7, 1)))


def test_what_is_written_has_them_turned() -> None:
    size, (left, top, across, down) = marked(6)
    carried = Carried(exif=exif_with(MIDDLE), xmp=packet(AS_ATTRIBUTES))
    photo = photo_of(carried, image=np.zeros((*size, 3), np.uint8), orientation=6)
    again = decode_photo(written(photo)[0], "photo", DecodeOptions()).carried
    assert exif_of(again.exif)[piexif.ExifIFD.SubjectArea] == (left + across // 2, top + down // 2)
    assert again.xmp is not None
    assert b'stDim:w="80" stDim:h="120"' in again.xmp


def test_regions_that_were_upright_before_stay() -> None:
    """Some programs give them so for photos that are stored lying on their side."""
    xmp = packet(AS_ATTRIBUTES, (HEIGHT, WIDTH)) + MICROSOFT % (b"0.25, 0.125, 0.5, 0.25", b"")
    assert turned_xmp(xmp, 6, (WIDTH, HEIGHT)) == xmp


@pytest.mark.parametrize(
    "xmp",
    [
        b"",
        b"<mwg-rs:AppliedToDimensions",
        b'<mwg-rs:AppliedToDimensions stDim:w="120"/><mwg-rs:Area stArea:x="0.5" stArea:y="0.5"/>',
        b'<mwg-rs:AppliedToDimensions stDim:w="many" stDim:h="80"/><mwg-rs:Area stArea:x="0.5" stArea:y="0.5"/>',
        b'<mwg-rs:AppliedToDimensions stDim:w="120" stDim:h="80" ' * 3000,
        b"<mwg-rs:AppliedToDimensions>" * 3000,
    ],
)
def test_what_cannot_be_read_stays(xmp: bytes) -> None:
    assert turned_xmp(xmp, 6, (WIDTH, HEIGHT)) == xmp


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_regions_of_a_square_picture_turn(orientation: int) -> None:
    x, y = 0.25, 0.75
    turned = turned_xmp(packet(AS_ATTRIBUTES, (90, 90), (x, y, 0.1, 0.1)), orientation, (90, 90))
    assert turned == packet(AS_ATTRIBUTES, (90, 90), (*turned_point(x, y, orientation), 0.1, 0.1))


def test_numbers_are_written_as_xmp_has_them() -> None:
    xmp = packet(AS_ATTRIBUTES, SIDES, (0.99995, 0.5, 0.1, 0.2)).replace(b'"0.5"', b'"+5e-1"')
    assert b'stArea:x="0.00005" stArea:y="0.5"' in turned_xmp(xmp, 3, (HEIGHT, WIDTH))


def test_a_subject_beyond_what_exif_can_hold_stays() -> None:
    exif = exif_with((10, 20))
    assert exif_of(correct_exif(exif, (100, 70_000), 3)[0])[piexif.ExifIFD.SubjectArea] == (10, 20)


def test_a_subject_outside_of_the_picture_stays() -> None:
    """EXIF of a larger picture, from which this one was cut or made smaller."""
    exif = exif_with((5000, 10))
    assert exif_of(correct_exif(exif, (WIDTH, HEIGHT), 6)[0])[piexif.ExifIFD.SubjectArea] == (5000, 10)
