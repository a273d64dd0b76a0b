"""bokehcli.metadata: carried blocks, corrected, in the written file. exiftool is the independent reader."""

import io
import json
import shutil
import struct
import subprocess

import numpy as np
import piexif
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps, PngImagePlugin

from bokehcli import containers
from bokehcli.containers import density, ifd
from bokehcli.decode import decode_photo
from bokehcli.encode import Encoding, encode_image
from bokehcli.errors import EncodeError
from bokehcli.metadata import attach_metadata, correct_exif
from bokehcli.options import DecodeOptions
from bokehcli.photo import Carried, Container, Photo
from bokehcli.xmp import correct_xmp

H, W = 20, 31
PIXELS = np.add.outer(np.arange(H) * 5, np.arange(W) * 3)[..., None].repeat(3, 2).astype(np.uint8)
ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
MAKER_NOTE = b"Maker\0" + bytes(range(200))
XMP = (
    b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
    b'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" xmlns:exif="http://ns.adobe.com/exif/1.0/" '
    b'xmlns:xmp="http://ns.adobe.com/xap/1.0/" tiff:Orientation="6" exif:PixelXDimension="9999">'
    b"<exif:PixelYDimension>8888</exif:PixelYDimension><xmp:Rating>4</xmp:Rating>"
    b"<xmp:Thumbnails><rdf:Alt><rdf:li>old</rdf:li></rdf:Alt></xmp:Thumbnails>"
    b"</rdf:Description></rdf:RDF></x:xmpmeta>" + b" " * 60 + b'<?xpacket end="w"?>'
)
needs_exiftool = pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is not installed")


def thumbnail():
    out = io.BytesIO()
    Image.new("RGB", (16, 12), (255, 0, 0)).save(out, "JPEG")
    return out.getvalue()[:2] + out.getvalue()[20:]  # piexif takes the JFIF block out


def exif_block(order="MM", orientation=6, maker_note=MAKER_NOTE):
    """EXIF with a thumbnail, GPS, a maker note and sizes, as a stream of that byte order."""
    block = piexif.dump({
        "0th": {0x010F: b"Maker", 0x0110: b"Camera", 0x0112: orientation, 0x0100: 999, 0x0101: 888, 0x013B: b"Artist",
                0x8298: b"Copyright", 0x0132: b"2020:01:02 03:04:05", 0x010E: b"A hare"},
        "Exif": {0xA002: 999, 0xA003: 888, 0x829D: (28, 10), 0x927C: maker_note, 0x9286: b"ASCII\0\0\0hello",
                 0x9204: (-1, 3)},
        "GPS": {1: b"N", 2: ((10, 1), (20, 1), (30, 1))},
        "Interop": {1: b"R98"},
        "1st": {0x0112: orientation}, "thumbnail": thumbnail(),
    })[6:]  # fmt: skip
    if order == "MM":
        return block
    # A little-endian twin: laid out anew, then its thumbnail directory hung behind it.
    main = b"II*\0\x08\0\0\0" + ifd.lay_out(ifd.read_fields(block, big=False), big=False, base=8)
    main += b"\0" * (len(main) % 2)
    entries = 0x0103, 3, 1, 6, 0x0201, 4, 1, len(main) + 42, 0x0202, 4, 1, len(thumbnail())
    table = struct.pack("<HHHIIHHIIHHIII", 3, *entries, 0)
    first = ifd.read_directory(main)
    return main[: first.next_at] + struct.pack("<I", len(main)) + main[first.next_at + 4 :] + table + thumbnail()


def photo_of(carried, container=Container.JPEG, image=PIXELS, **options):
    return Photo(name="photo", container=container, image=image, carried=carried, **options)


def written(photo, container=None, **options):
    """The photo encoded and with its metadata, and the warnings."""
    container = container or photo.container
    encoding = Encoding(container=container, **{"quality": 95, "grey": photo.grey, **options})
    data = encode_image(photo.image, photo.opacity, encoding, photo.name)
    return attach_metadata(data, container, photo)


@pytest.fixture
def exiftool(tmp_path):
    """Run exiftool on bytes (as a file: from a pipe it cannot follow a TIFF's offsets) and return its output."""

    def run(data, *arguments):
        path = tmp_path / "written"
        path.write_bytes(data)
        return subprocess.run(["exiftool", *arguments, path], capture_output=True, check=False).stdout.decode()

    return run


def tags_of(exiftool, data):
    return json.loads(exiftool(data, "-j", "-G1", "-n", "-a", "-b"))[0]


def complaints_of(exiftool, data):
    """What breaks rules: not what EXIF asks for and the sample lacks, nor the odd offsets that piexif laid out."""
    lines = exiftool(data, "-validate", "-warning", "-error", "-a", "-s3").splitlines()
    return [line for line in lines if ("rror" in line or "offset" in line.lower()) and not line.startswith("[minor]")]


@pytest.mark.parametrize("order", ["MM", "II"])
def test_exif_is_corrected_in_place(order):
    exif = exif_block(order)
    corrected, warnings = correct_exif(exif, (H, W))
    assert warnings == ()
    assert len(corrected) == len(exif)
    assert corrected.index(MAKER_NOTE) == exif.index(MAKER_NOTE)
    assert thumbnail() in exif
    assert thumbnail() not in corrected
    assert containers.read_orientation(exif) == 6
    assert containers.read_orientation(corrected) == 1
    read = piexif.load(b"Exif\0\0" + corrected)
    assert (read["0th"][0x0100], read["0th"][0x0101]) == (W, H)
    assert (read["Exif"][0xA002], read["Exif"][0xA003]) == (W, H)
    assert read["1st"] == {}
    assert read["GPS"][2] == ((10, 1), (20, 1), (30, 1))
    assert read["Exif"][0x9204] == (-1, 3)
    start = exif.index(thumbnail())
    changed = [i for i, (a, b) in enumerate(zip(exif, corrected, strict=True)) if a != b]
    assert len([i for i in changed if not start <= i < start + len(thumbnail())]) <= 20


def test_exif_that_is_right_already_does_not_change():
    exif = b"II*\0\x08\0\0\0" + ifd.lay_out((ifd.Field(0x112, 3, 1, b"\1\0"),), big=False, base=8)
    assert correct_exif(exif, (H, W)) == (exif, ())


@pytest.mark.parametrize("container", [Container.JPEG, Container.PNG, Container.WEBP, Container.TIFF])
@pytest.mark.parametrize("order", ["MM", "II"])
@needs_exiftool
def test_exiftool_reads_what_was_carried(exiftool, container, order):
    photo = photo_of(Carried(exif=exif_block(order), icc=ICC, xmp=XMP), container)
    data, warnings = written(photo)
    assert [warning[:25] for warning in warnings] == ["the maker note was moved:"] * (container is Container.TIFF)
    tags = tags_of(exiftool, data)
    assert tags["IFD0:Make"] == "Maker"
    assert tags["IFD0:Artist"] == "Artist"
    assert tags["IFD0:ImageDescription"] == "A hare"
    assert tags.get("IFD0:Orientation", 1) == 1
    assert tags["ExifIFD:FNumber"] == 2.8
    assert tags["ExifIFD:UserComment"] == "hello"
    assert tags["InteropIFD:InteropIndex"] == "R98"
    assert (tags["ExifIFD:ExifImageWidth"], tags["ExifIFD:ExifImageHeight"]) == (W, H)
    assert tags["GPS:GPSLatitude"] == pytest.approx(10 + 20 / 60 + 30 / 3600)
    assert tags["ICC_Profile:ProfileDescription"] == "sRGB built-in"
    assert tags["XMP-xmp:Rating"] == 4
    assert tags["XMP-tiff:Orientation"] == 1
    assert (tags["XMP-exif:ExifImageWidth"], tags["XMP-exif:ExifImageHeight"]) == (W, H)
    assert not any("humbnail" in tag for tag in tags)
    assert complaints_of(exiftool, data) == []
    assert containers.get_carried(data, container)[0].icc == ICC
    assert np.asarray(Image.open(io.BytesIO(data))).shape == (H, W, 3)


@pytest.mark.parametrize("target", [Container.JPEG, Container.PNG, Container.WEBP, Container.TIFF])
@pytest.mark.parametrize("source", [Container.JPEG, Container.PNG, Container.WEBP, Container.TIFF])
def test_exif_icc_and_xmp_follow_into_another_container(source, target):
    exif = exif_block(maker_note=b"")
    data, _ = written(photo_of(Carried(exif=exif, icc=ICC, xmp=XMP), source), quality=None)
    photo = decode_photo(data, "photo", DecodeOptions())
    data, warnings = written(photo, target)
    assert warnings == ()
    again = decode_photo(data, "photo", DecodeOptions())
    assert (again.container, again.orientation, again.carried.icc) == (target, 1, ICC)
    assert again.carried.xmp == photo.carried.xmp
    assert ImageOps.exif_transpose(Image.open(io.BytesIO(data))).size == (W, H)
    assert Image.open(io.BytesIO(data)).getexif()[0x010F].strip("\0") == "Maker"


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", [3, 6])
def test_a_turned_photo_is_seen_the_same_after_the_round_trip(form, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    out = io.BytesIO()
    Image.fromarray(PIXELS).save(out, form, exif=exif, **({"lossless": True} if form == "WEBP" else {}))
    seen = ImageOps.exif_transpose(Image.open(out))
    data, _ = written(decode_photo(out.getvalue(), "photo", DecodeOptions()))
    again = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert again.size == seen.size
    assert np.abs(np.asarray(again).astype(int) - np.asarray(seen)).max() <= 12


@needs_exiftool
def test_exif_that_is_too_long_for_one_segment_of_a_jpeg_is_read_from_many(exiftool):
    carried = Carried(exif=exif_block(maker_note=b"Maker\0" + bytes(range(256)) * 500), icc=ICC, xmp=XMP)
    data, warnings = written(photo_of(carried))
    assert warnings == ()
    got = containers.get_carried(data, Container.JPEG)[0]
    assert (got.exif, got.icc, got.xmp) == (correct_exif(carried.exif, (H, W))[0], ICC, correct_xmp(XMP, (H, W)))
    tags = tags_of(exiftool, data)
    assert tags["InteropIFD:InteropIndex"] == "R98"
    assert tags["GPS:GPSLatitude"] == pytest.approx(10 + 20 / 60 + 30 / 3600)
    assert complaints_of(exiftool, data) == []


@pytest.mark.parametrize("exif", [b"junk", b"II*\0", b"II*\0\xff\xff\xff\xff", b"II*\0\x08\0\0\0\xff\xff",
                                  b"II*\0\x08\0\0\0\0\0"])  # fmt: skip
@pytest.mark.parametrize("container", list(Container))
def test_exif_that_cannot_be_read_is_left_out_with_a_warning(exif, container):
    data, warnings = written(photo_of(Carried(exif=exif, icc=ICC), container))
    assert warnings
    got = containers.get_carried(data, container)[0]
    assert got.exif is None
    assert got.icc == (None if container is Container.BMP else ICC)


def cyclic(order="<"):
    """A directory whose EXIF pointer and successor are itself."""
    table = struct.pack(order + "HHHIIHHIHHI", 2, 0x0112, 3, 1, 6 if order == "<" else 6 << 16, 0x8769, 4, 1, 8, 0, 8)
    return (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8) + table


@pytest.mark.parametrize("order", ["<", ">"])
def test_cycles_end(order):
    corrected, _ = correct_exif(cyclic(order), (H, W))
    assert containers.read_orientation(corrected) == 1


def test_a_thumbnail_that_claims_the_other_tags_does_not_blank_them():
    fields = (ifd.Field(0x010F, 2, 6, b"Maker\0"),)
    main = bytearray(b"II*\0\x08\0\0\0" + ifd.lay_out(fields, big=False, base=8))
    main[22:26] = struct.pack("<I", len(main))
    main += struct.pack("<HHHIIHHIII", 2, 0x0201, 4, 1, main.index(b"Maker"), 0x0202, 4, 1, 5000, 0)
    corrected, _ = correct_exif(bytes(main), (H, W))
    assert ifd.read_directory(corrected).find(0x010F).value == b"Maker\0"
    assert corrected[:2] == b"II"


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_hostile_exif_never_raises(draw):
    exif = bytearray(draw.draw(st.sampled_from([exif_block(), exif_block("II"), cyclic()])))
    for _ in range(draw.draw(st.integers(0, 6))):
        exif[draw.draw(st.integers(0, min(len(exif) - 1, 400)))] = draw.draw(st.sampled_from([0, 1, 8, 127, 255]))
    exif = bytes(exif[: draw.draw(st.integers(0, len(exif)))])
    corrected, warnings = correct_exif(exif, (H, W))
    assert (corrected is None) <= bool(warnings)
    if corrected is not None:
        assert len(corrected) == len(exif)
        assert containers.read_orientation(corrected) == 1
    for container in Container:
        attach_metadata(ENCODED[container], container, photo_of(Carried(exif=exif), container))


ENCODED = {kind: encode_image(PIXELS, None, Encoding(container=kind, quality=90), "p") for kind in Container}


def test_blocks_of_another_container_are_named_when_left_out():
    carried = Carried(others=(("tEXt", b"Title\0Hare"), ("pHYs", b"\0\0\0\1\0\0\0\1\1")))
    _, warnings = written(photo_of(carried, Container.PNG), Container.JPEG)
    assert warnings == ("jpeg cannot carry tEXt of png: left out",)
    _, warnings = written(photo_of(Carried(others=(("APP0", b"JFIF\0"),))), Container.PNG)
    assert warnings == ()


def test_bmp_warns_only_when_there_was_something():
    assert written(photo_of(Carried()), Container.BMP)[1] == ()
    assert "no metadata" in written(photo_of(Carried(icc=ICC)), Container.BMP)[1][0]


def test_a_grey_profile_does_not_describe_colour_channels():
    grey_icc = ICC[:16] + b"GRAY" + ICC[20:]
    photo = photo_of(Carried(icc=grey_icc), Container.PNG, grey=True)
    data, warnings = written(photo)
    assert containers.get_carried(data, Container.PNG)[0].icc == grey_icc
    assert warnings == ()
    data, warnings = written(photo, Container.WEBP)
    assert containers.get_carried(data, Container.WEBP)[0].icc is None
    assert "profile" in warnings[0]


@needs_exiftool
def test_density_comment_iptc_and_text_survive(exiftool):
    iptc = b"8BIM\x04\x04\0\0\0\0\0\x09\x1c\2\x05\0\4Hare\0"
    others = (("APP0", b"JFIF\0\1\1\1\1\x2c\1\x2c\0\0"), ("APP13", b"Photoshop 3.0\0" + iptc), ("COM", b"a comment"))
    tags = tags_of(exiftool, written(photo_of(Carried(others=others)))[0])
    assert (tags["JFIF:XResolution"], tags["File:Comment"], tags["IPTC:ObjectName"]) == (300, "a comment", "Hare")
    others = (("tEXt", b"Title\0Hare"), ("gAMA", b"\0\0\xb1\x8f"))
    tags = tags_of(exiftool, written(photo_of(Carried(others=others), Container.PNG))[0])
    assert (tags["PNG:Title"], tags["PNG:Gamma"]) == ("Hare", pytest.approx(2.2, abs=0.01))
    others = (("IPTC", b"\x1c\2\x05\0\4Hare"),)
    tags = tags_of(exiftool, written(photo_of(Carried(others=others), Container.TIFF))[0])
    assert tags["IPTC:ObjectName"] == "Hare"


DENSITIES = {
    Container.JPEG: ("APP0", b"JFIF\0\1\1\2\0\x64\0\x64\0\0"),  # 100 to a centimetre
    Container.PNG: ("pHYs", b"\0\0\x27\x10\0\0\x27\x10\1"),
    Container.BMP: ("density", b"\x10\x27\0\0\x10\x27\0\0"),
}


@pytest.mark.parametrize("target", [Container.JPEG, Container.PNG, Container.BMP, Container.TIFF, Container.WEBP])
@pytest.mark.parametrize("source", [*DENSITIES, Container.WEBP])
def test_the_density_follows_into_another_container(source, target):
    exif = None if source in DENSITIES else density.as_exif((10_000.0, 10_000.0))
    photo = photo_of(Carried(exif=exif, others=(DENSITIES[source],) if source in DENSITIES else ()), source)
    data, warnings = written(photo, target)
    assert warnings == () or (target, exif is not None) == (Container.BMP, True)
    opened = Image.open(io.BytesIO(data))
    said = opened.info.get("dpi") or (opened.getexif()[282], opened.getexif()[283])
    assert [round(float(each)) for each in said] == [254, 254]
    again = written(decode_photo(data, "photo", DecodeOptions()), source)[0]
    carried = decode_photo(again, "photo", DecodeOptions()).carried
    assert density.told(carried.others, carried.exif) == pytest.approx((10_000.0, 10_000.0), rel=1e-4)


@pytest.mark.parametrize("target", [Container.JPEG, Container.PNG, Container.BMP, Container.TIFF, Container.WEBP])
def test_a_density_beyond_what_a_container_can_hold_costs_nothing_else(target):
    photo = photo_of(Carried(others=(("pHYs", b"\x7f\xff\xff\xff\x7f\xff\xff\xff\1"),)), Container.PNG)
    assert decode_photo(written(photo, target)[0], "photo", DecodeOptions()).image.shape == PIXELS.shape


def test_a_whole_density_stays_one():
    three_hundred = (("pHYs", b"\0\0\x2e\x23\0\0\x2e\x23\1"),)  # 11811 to a metre
    data, _ = written(photo_of(Carried(others=three_hundred), Container.PNG), Container.TIFF)
    assert Image.open(io.BytesIO(data)).info["dpi"] == (300, 300)


@pytest.mark.parametrize(
    "others", [(), (("APP0", b"JFIF\0\1\1\0\0\1\0\1\0\0"),), (("APP0", b"JFIF\0\1\1\1\0\0\0\0\0\0"),)]
)
def test_no_density_follows_where_none_is_said(others):
    data, _ = written(photo_of(Carried(others=others)), Container.PNG)
    assert "dpi" not in Image.open(io.BytesIO(data)).info


def test_tiff_resolution_and_description_survive():
    out = io.BytesIO()
    Image.fromarray(PIXELS).save(out, "TIFF", dpi=(300, 300), description="A hare", compression="tiff_lzw")
    data, warnings = written(decode_photo(out.getvalue(), "photo", DecodeOptions()))
    assert warnings == ()
    image = Image.open(io.BytesIO(data))
    assert image.info["dpi"] == (300, 300)
    assert image.tag_v2[270] == "A hare"
    assert np.array_equal(np.asarray(image), PIXELS)


def test_png_text_survives_a_real_file():
    text = PngImagePlugin.PngInfo()
    text.add_text("Title", "Hare")
    out = io.BytesIO()
    Image.fromarray(PIXELS).save(out, "PNG", pnginfo=text, dpi=(300, 300), icc_profile=ICC)
    image = Image.open(io.BytesIO(written(decode_photo(out.getvalue(), "photo", DecodeOptions()))[0]))
    image.load()
    assert image.info["Title"] == "Hare"
    assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)
    assert image.info["icc_profile"] == ICC


def test_pixels_that_are_no_file_are_an_encode_error():
    with pytest.raises(EncodeError, match="photo"):
        attach_metadata(b"nothing", Container.JPEG, photo_of(Carried(icc=ICC)))


@pytest.mark.parametrize("container", [Container.TIFF, Container.WEBP])
def test_the_density_joins_exif_that_says_none(container):
    exif = piexif.dump({"0th": {piexif.ImageIFD.Make: b"Maker"}, "Exif": {piexif.ExifIFD.FNumber: (28, 10)}})[6:]
    carried = Carried(exif=exif, others=(("pHYs", (11811).to_bytes(4, "big") * 2 + b"\1"),))
    data, _ = written(photo_of(carried, container=Container.PNG), container)
    again = containers.get_carried(data, container)[0].exif
    first = ifd.read_directory(again)
    assert {0x10F, 282, 283, 296} <= {entry.tag for entry in first.entries}
    assert int.from_bytes(first.find(282).value[:4], "big" if ifd.is_big(again) else "little") == 300_000
    assert piexif.load(b"Exif\0\0" + again)["Exif"][piexif.ExifIFD.FNumber] == (28, 10)


def test_the_density_joins_exif_with_a_thumbnail_that_is_blanked_all_the_same():
    carried = Carried(exif=exif_block(), others=(("pHYs", (11811).to_bytes(4, "big") * 2 + b"\1"),))
    data, _ = written(photo_of(carried, container=Container.PNG), Container.WEBP)
    again = containers.get_carried(data, Container.WEBP)[0].exif
    assert thumbnail() not in again
    assert MAKER_NOTE in again
    assert piexif.load(b"Exif\0\0" + again)["0th"][282] == (300_000, 1000)
