"""bokehcli.privacy: what is not to be given away is gone from the written file. exiftool is the independent reader."""

import io
import json
import re
import shutil
import struct
import subprocess
from pathlib import Path

import piexif
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bokehcli import containers
from bokehcli.containers import extended, ifd
from bokehcli.containers.jpeg import IRB
from bokehcli.metadata import attach_metadata
from bokehcli.options import MetadataOptions
from bokehcli.photo import Carried, Container
from bokehcli.privacy import exif_without_gps, without_gps, without_metadata
from tests.test_metadata import ICC, MAKER_NOTE, XMP, exif_block, photo_of
from tests.test_metadata import written as encoded

needs_exiftool = pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is not installed")
CONTAINERS = [Container.JPEG, Container.PNG, Container.WEBP, Container.TIFF]
PLACE = b"\0\0\0\x0a\0\0\0\x01\0\0\0\x14\0\0\0\x01\0\0\0\x1e\0\0\0\x01"  # 10, 20, 30, as rationals
GPS_XMP = XMP.replace(
    b'tiff:Orientation="6"', b'tiff:Orientation="6" exif:GPSLatitude="10,20.5N" exif:GPSMapDatum = \'WGS-84\''
).replace(
    b"<xmp:Rating>",
    b"<exif:GPSLongitude>7,1E</exif:GPSLongitude><exif:GPSAltitude/><exif:GPSTag rdf:parseType='Resource'><exif:a>1"
    b"</exif:a></exif:GPSTag><xmp:Rating>",
)


def stripped(container: Container, carried: Carried, options: MetadataOptions) -> tuple[bytes, tuple[str, ...]]:
    photo = photo_of(carried, container)
    bare, _ = encoded(photo_of(Carried(), container))
    return attach_metadata(bare, container, photo, options)


def tags_of(tmp_path: Path, data: bytes) -> dict[str, object]:
    path = tmp_path / "written"
    path.write_bytes(data)
    command = ["exiftool", "-j", "-G1", "-n", "-a", path]
    tags: dict[str, object] = json.loads(subprocess.run(command, capture_output=True, check=False).stdout)[0]
    return tags


@needs_exiftool
@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("order", ["MM", "II"])
def test_exiftool_finds_no_place_and_all_the_rest(tmp_path: Path, container: Container, order: str) -> None:
    carried = Carried(exif=exif_block(order), icc=ICC, xmp=GPS_XMP)
    before = tags_of(tmp_path, stripped(container, carried, MetadataOptions())[0])
    data, _ = stripped(container, carried, MetadataOptions(strip_gps=True))
    after = tags_of(tmp_path, data)
    assert len([tag for tag in before if "GPS" in tag]) >= 5
    assert [tag for tag in after if "GPS" in tag] == []
    told_by_the_file = re.compile(r"System|File|Composite|ExifTool|StripOffsets|StripByteCounts")
    assert {tag for tag in before if "GPS" not in tag and not told_by_the_file.search(tag)} <= set(after)


@pytest.mark.parametrize("order", ["MM", "II"])
def test_the_place_is_blanked_and_nothing_else_moves(order: str) -> None:
    exif = exif_block(order)
    kept = exif_without_gps(exif)
    assert kept is not None
    assert len(kept) == len(exif)
    place = PLACE if order == "MM" else struct.pack("<6I", *struct.unpack(">6I", PLACE))
    assert place in exif
    assert place not in kept
    assert kept.index(MAKER_NOTE) == exif.index(MAKER_NOTE)
    before, after = (piexif.load(b"Exif\0\0" + stream) for stream in (exif, kept))
    assert before["GPS"]
    assert not after["GPS"]
    before["0th"].pop(ifd.GPS_IFD)
    for name in ("0th", "Exif", "Interop", "1st", "thumbnail"):
        assert after[name] == before[name]


def test_of_exif_that_is_nothing_but_a_place_nothing_stays() -> None:
    place = ifd.Field(ifd.GPS_IFD, ifd.LONG, 1, b"", (ifd.Field(1, 2, 2, b"N\0"),))
    stream = b"II*\0\x08\0\0\0" + ifd.lay_out((place,), big=False, base=8)
    assert exif_without_gps(stream) is None


def test_a_place_that_cannot_be_found_takes_its_block_along() -> None:
    pointer = ifd.Field(ifd.GPS_IFD, ifd.LONG, 1, (9999).to_bytes(4, "little"))
    camera = ifd.Field(0x10F, 2, 4, b"abc\0")
    exif = b"II*\0\x08\0\0\0" + ifd.lay_out((camera, pointer), big=False, base=8)
    carried, warnings = without_gps(Carried(exif=exif, xmp="<x a:GPSx='1'/>".encode("utf-16-le"), icc=ICC))
    assert carried == Carried(icc=ICC)
    assert len(warnings) == 2


def test_extended_xmp_with_a_place_is_left_out() -> None:
    head = extended.SIGNATURE + bytes(36)
    first = ("APP1", head + bytes(4) + b"..exif:G")
    others = (first, ("APP1", head + b"\0\0\0\10amma"), ("COM", b"GPS"))
    assert without_gps(Carried(others=others)) == (Carried(others=others), ())
    for rest in (b"PSLatitude", b"psLongtitude"):
        others = (first, ("APP1", head + b"\0\0\0\10" + rest), ("COM", b"GPS"))
        carried, warnings = without_gps(Carried(others=others))
        assert (carried.others, len(warnings)) == ((("COM", b"GPS"),), 1)


def resource(number: int, data: bytes) -> bytes:
    """A Photoshop image resource."""
    return b"8BIM" + struct.pack(">HHI", number, 0, len(data)) + data + b"\0" * (len(data) % 2)


@pytest.mark.parametrize(("kind", "head"), [("APP13", IRB), ("IRB", b"")])
def test_photoshops_copies_of_exif_and_xmp_are_left_out(kind: str, head: bytes) -> None:
    caption, copies = resource(0x0404, b"\x1c\2\x78"), resource(0x0422, exif_block()) + resource(0x0424, GPS_XMP)
    others = ((kind, head + caption + copies[:500]), (kind, head + copies[500:])) if head else ((kind, caption + copies),)
    assert without_gps(Carried(others=others)) == (Carried(others=((kind, head + caption),)), ())
    assert without_gps(Carried(others=((kind, head + copies),))) == (Carried(), ())
    assert without_gps(Carried(others=((kind, head + caption + b"\0"),)))[1] == ()
    carried, warnings = without_gps(Carried(others=((kind, head + caption + b"no resource"), ("COM", b"x"))))
    assert (carried.others, len(warnings)) == ((("COM", b"x"),), 1)


def test_exif_in_a_form_of_its_own_is_left_out_with_the_place() -> None:
    others = (("APP1", b"Exif\0\xff" + exif_block()), ("COM", b"something else"))
    assert without_gps(Carried(others=others)) == (Carried(others=others[1:]), ())


@pytest.mark.parametrize(
    "block", [("APP1", b"FLIR\0\1\0"), ("APP6", b"GoPro\0"), ("APP1", b"XMP\0<x/>"), ("APP13", b"Adobe_CM")]
)
def test_what_nobody_knows_may_hold_the_place_and_is_left_out_with_a_warning(block: tuple[str, bytes]) -> None:
    known = (("APP0", b"JFIF\0\1\1\1\1\x2c\1\x2c\0\0"), ("COM", b"a comment"), ("APP13", IRB + resource(0x0404, b"")))
    carried, warnings = without_gps(Carried(others=(*known, block)))
    assert sorted(carried.others) == sorted(known)
    assert warnings == (f"{block[0]} of a kind that is not known may hold GPS: left out",)


def test_canons_block_with_the_owners_name_goes_with_the_metadata() -> None:
    jfif = ("APP0", b"JFIF\0\1\1\1\1\x2c\1\x2c\0\0")
    assert without_metadata(Carried(others=(("APP0", b"II\x1a\0\0\0HEAPJPGM"), jfif))) == Carried(others=(jfif,))


@needs_exiftool
def test_a_place_below_exifs_own_directory_goes(tmp_path: Path) -> None:
    place = (ifd.Field(1, 2, 2, b"N\0"), ifd.Field(2, 5, 3, (48).to_bytes(4, "little") + b"\1\0\0\0" + b"\7\0\0\0\1\0\0\0" * 2))
    below = (ifd.Field(0x829A, 5, 1, b"\1\0\0\0\x64\0\0\0"), ifd.Field(ifd.GPS_IFD, ifd.LONG, 1, b"", place))
    fields = (ifd.Field(0x10F, 2, 4, b"abc\0"), ifd.Field(ifd.EXIF_IFD, ifd.LONG, 1, b"", below))
    exif = b"II*\0\x08\0\0\0" + ifd.lay_out(fields, big=False, base=8)
    found = []
    for stream in (exif, exif_without_gps(exif)):
        bare = io.BytesIO()
        Image.new("RGB", (16, 16)).save(bare, "JPEG", exif=b"Exif\0\0" + (stream or b""))
        (tmp_path / "a.jpg").write_bytes(bare.getvalue())
        asked = ["-Make", "-ExposureTime", "-GPS:all"]
        found.append(subprocess.check_output(["exiftool", "-s", *asked, tmp_path / "a.jpg"], text=True))
    assert "GPSLatitude" in found[0]
    assert "GPS" not in found[1]
    assert "ExposureTime" in found[1]
    assert "Make" in found[1]


def test_exif_and_xmp_where_only_some_readers_look_are_left_out() -> None:
    keys = (b"XML:com.adobe.xmp\0", b"Raw profile type exif\0", b"Raw profile type APP1\0", b"Raw profile type xmp\0")
    hidden = (*(("tEXt", key + b"x") for key in keys), ("iTXt", b"Raw profile type exif\0\0\0"), ("zxIf", b"MM\0*"))
    kept = (("tEXt", b"Raw profile type iptc\0x"), ("zTXt", b"Title\0\0x"))
    assert without_gps(Carried(others=hidden + kept)) == (Carried(others=kept), ())
    carried, warnings = without_gps(Carried(others=(("zTXt", b"Raw profile type 8bim\0\0x"), *kept)))
    assert (carried.others, len(warnings)) == (kept, 1)


def test_xmp_and_photoshops_resources_within_exif_are_taken_out() -> None:
    fields = [ifd.Field(0x10F, 2, 6, b"Maker\0"), ifd.Field(700, 1, len(GPS_XMP), GPS_XMP), ifd.Field(34377, 7, 8, b"8BIMxxxx")]
    kept = exif_without_gps(b"II*\0\x08\0\0\0" + ifd.lay_out(fields, big=False, base=8))
    assert kept is not None
    assert [entry.tag for entry in ifd.read_directory(kept).entries] == [0x10F]
    assert b"GPS" not in kept
    assert b"8BIM" not in kept


def test_words_that_are_no_properties_keep_their_packet() -> None:
    xmp = XMP.replace(b"<xmp:Rating>", b"<dc:title>Note:GPS was off, tech:GPSLatitude too</dc:title><xmp:Rating>")
    assert without_gps(Carried(xmp=xmp)) == (Carried(xmp=xmp), ())


def test_a_place_in_wide_letters_or_without_a_prefix_takes_its_packet_along() -> None:
    for xmp in (b'<x geo:lat="47.1"/>'.decode().encode("utf-16-le"), b'<x><GPSLatitude xmlns="u">47</GPSLatitude></x>'):
        assert without_gps(Carried(xmp=xmp))[0] == Carried()


def test_where_a_geotiff_lies_is_taken_out() -> None:
    fields = [ifd.Field(0x10F, 2, 6, b"Maker\0"), *(ifd.Field(tag, 12, 2, b"12345678" * 2) for tag in (33550, 33922))]
    stream = b"II*\0\x08\0\0\0" + ifd.lay_out(fields, big=False, base=8)
    kept = exif_without_gps(stream)
    assert kept is not None
    assert [(entry.tag, entry.value) for entry in ifd.read_directory(kept).entries] == [(0x10F, b"Maker\0")]
    assert b"12345678" not in kept


@pytest.mark.parametrize(
    "xmp",
    [
        b"<a:GPSLatitude >" * 100_000,
        b'<x xmlns:a="u"><![CDATA[' + b"<a:GPSLatitude >" * 100_000 + b"]]></x>",
        b'<x xmlns:a="u"><!--' + b"<a:GPSLatitude >" * 100_000 + b"--></x>",
    ],
)
def test_xmp_made_to_take_long_goes_at_once(xmp: bytes) -> None:
    """Patterns alone took hours for it."""
    carried, warnings = without_gps(Carried(xmp=xmp))
    assert (carried, len(warnings)) == (Carried(), 1)


DJI_XMP = XMP.replace(
    b'tiff:Orientation="6"',
    b'tiff:Orientation="6" drone-dji:GpsLatitude="+47.1" drone-dji:GpsLongtitude=\'+8.5\' drone-dji:AbsoluteAltitude="+431.2"',
).replace(
    b"<xmp:Rating>",
    b"<drone-dji:GpsLongitude>+8.5</drone-dji:GpsLongitude><drone-dji:RelativeAltitude/>"
    b"<camera:Latitude>47.1</camera:Latitude><geo:lat>47.1</geo:lat><geo:long>8.5</geo:long><drone-dji:LRFTargetLon/><xmp:Rating>",
)


def test_a_drones_place_in_xmp_is_taken_out_whatever_its_letters() -> None:
    assert without_gps(Carried(xmp=DJI_XMP)) == (Carried(xmp=XMP), ())
    for encoding in ("utf-16-le", "utf-16-be"):
        carried, warnings = without_gps(Carried(xmp=DJI_XMP.decode().encode(encoding)))
        assert (carried.xmp, len(warnings)) == (None, 1)


def test_padding_of_megabytes_is_no_trouble() -> None:
    padding = b" " * (2 << 20)
    assert without_gps(Carried(xmp=XMP.replace(b"<xmp:Rating>", padding + b"<xmp:Rating>")))[0].xmp is not None
    xmp = b"<rdf:Description" + padding + b'geo:lat="47.1"/>'
    assert without_gps(Carried(xmp=xmp)) == (Carried(xmp=b"<rdf:Description/>"), ())


def test_a_prefix_or_a_word_that_looks_like_a_place_is_none() -> None:
    xmp = XMP.replace(b"xmlns:xmp=", b'xmlns:gps="http://ns.example/" xmlns:xmp=')
    xmp = xmp.replace(b"<xmp:Rating>", b"<dc:title><rdf:Alt><rdf:li>Late:long</rdf:li></rdf:Alt></dc:title><xmp:Rating>")
    assert without_gps(Carried(xmp=xmp)) == (Carried(xmp=xmp), ())


def test_texts_of_a_png_that_name_a_place_are_left_out() -> None:
    kept = (("tEXt", b"Title\0GPSLatitude"), ("zTXt", b"exif:Make\0\0x"), ("COM", b"exif:GPSLatitude\0"))
    places = (("tEXt", b"exif:GPSLatitude\0N"), ("iTXt", b"drone-dji:GpsLongtitude\0\0\0\0\0E"), ("zTXt", b"longitude\0\0x"))
    places += (("tEXt", b"GPS Latitude\0N"),)
    assert without_gps(Carried(others=kept + places)) == (Carried(others=kept), ())


def test_xmp_without_a_place_stays_as_it_is() -> None:
    assert without_gps(Carried(xmp=XMP)) == (Carried(xmp=XMP), ())
    carried, warnings = without_gps(Carried(xmp=GPS_XMP))
    assert carried.xmp is not None
    assert warnings == ()
    assert carried.xmp == XMP


@given(st.integers(0, 600), st.binary(min_size=1, max_size=12))
def test_damaged_exif_never_raises(at: int, noise: bytes) -> None:
    exif = exif_block()
    without_gps(Carried(exif=exif[:at] + noise + exif[at + len(noise) :]))
    without_gps(Carried(exif=exif[:at]))


@pytest.mark.parametrize("container", CONTAINERS)
def test_of_all_metadata_the_profile_stays(container: Container) -> None:
    carried = Carried(exif=exif_block(), icc=ICC, xmp=XMP)
    data, warnings = stripped(container, carried, MetadataOptions(strip=True))
    got = containers.get_carried(data, container)[0]
    assert (got.icc, got.xmp, warnings) == (ICC, None, ())
    for text in (b"Maker", b"Artist", b"rdf:"):
        assert text not in data


def dense_exif(unit: int = 2) -> bytes:
    """EXIF that says 300 by 240 pixels to a unit, and who made the photo."""
    return piexif.dump({"0th": {0x10F: b"Maker", 0x11A: (600, 2), 0x11B: (240, 1), 0x128: unit}})[6:]


@needs_exiftool
@pytest.mark.parametrize("container", CONTAINERS)
def test_of_all_metadata_the_density_stays(tmp_path: Path, container: Container) -> None:
    data, warnings = stripped(container, Carried(exif=dense_exif(3), xmp=XMP), MetadataOptions(strip=True))
    assert warnings == ()
    tags = {tag.split(":")[1]: value for tag, value in tags_of(tmp_path, data).items() if ":" in tag}
    assert (tags["XResolution"], tags["YResolution"], "Make" in tags) == (300, 240, False)
    assert tags["ResolutionUnit"] == (2 if container is Container.JPEG else 3)
    assert container is not Container.JPEG or b"Exif" not in data


def test_a_density_is_said_once() -> None:
    said = Carried(exif=dense_exif(), others=(("APP0", b"JFIF\0\1\1\1\1\x2c\1\x2c\0\0"),))
    ratio = Carried(exif=dense_exif(), others=(("APP0", b"JFIF\0\1\1\0\0\1\0\1\0\0"),))
    data = stripped(Container.JPEG, said, MetadataOptions(strip=True))[0]
    assert (data.count(b"\1\x2c\1\x2c"), b"Exif" in data) == (1, False)
    assert b"JFIF\0\1\1\1\1\x2c\0\xf0" in stripped(Container.JPEG, ratio, MetadataOptions(strip=True))[0]
    said = Carried(exif=dense_exif(), others=(("pHYs", bytes(9)),))
    assert b"eXIf" not in stripped(Container.PNG, said, MetadataOptions(strip=True))[0]


@pytest.mark.parametrize("options", [MetadataOptions(), MetadataOptions(strip=True), MetadataOptions(strip_gps=True)])
def test_a_bmp_keeps_its_density(options: MetadataOptions) -> None:
    out = io.BytesIO()
    Image.new("RGB", (5, 4)).save(out, "BMP", dpi=(300, 240))
    carried, _ = containers.get_carried(out.getvalue(), Container.BMP)
    data, warnings = stripped(Container.BMP, carried, options)
    assert warnings == ()
    assert Image.open(io.BytesIO(data)).info["dpi"] == pytest.approx((300, 240), abs=0.1)
    assert stripped(Container.BMP, Carried(exif=dense_exif()), options)[0] == encoded(photo_of(Carried(), Container.BMP))[0]


@pytest.mark.parametrize("across", [(0, 1), (1, 0), (70000, 1)])
def test_a_density_that_is_none_leaves_nothing_in_a_jpeg(across: tuple[int, int]) -> None:
    exif = piexif.dump({"0th": {0x11A: across, 0x11B: (0, 0), 0x128: 2}})[6:]
    bare = stripped(Container.JPEG, Carried(), MetadataOptions(strip=True))
    assert stripped(Container.JPEG, Carried(exif=exif), MetadataOptions(strip=True)) == bare


def test_what_says_how_pixels_look_stays() -> None:
    others = (("gAMA", b"\0\0\xb1\x8f"), ("pHYs", bytes(9)), ("tEXt", b"Author\0me"), ("tIME", bytes(7)))
    assert without_metadata(Carried(exif=b"II", icc=ICC, xmp=XMP, others=others)) == Carried(icc=ICC, others=others[:2])
