"""bokehcli.containers: parsers give back what they read, and fail with their own error only."""

import io
import struct
import time
from contextlib import suppress
from dataclasses import replace

import numpy as np
import piexif
import pytest
import tifffile
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, PngImagePlugin

from bokehcli import containers, tiff_samples
from bokehcli.containers import CutShort, Malformed, ifd, jpeg, photoshop, png, tiff, webp
from bokehcli.containers.stale import is_stale
from bokehcli.decode import decode_photo
from bokehcli.options import DecodeOptions
from bokehcli.photo import Carried, Container

H, W = 20, 31
ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<?xpacket begin=""?><x:xmpmeta xmlns:x="adobe:ns:meta/"></x:xmpmeta><?xpacket end="w"?>'
EXIF = piexif.dump({"0th": {piexif.ImageIFD.Make: b"Maker"}, "Exif": {piexif.ExifIFD.FNumber: (28, 10)}})[6:]
OF_SAMPLES = (tiff_samples.refusal, tiff_samples.warnings, tiff_samples.prepared)
FULL = Carried(exif=EXIF, icc=ICC, xmp=XMP)
IPTC = b"\x1c\2\x05\0\4Hare"
PIXELS = np.random.default_rng(0).integers(0, 255, (H, W, 3), dtype=np.uint8)


def saved(form, image=None, **options):
    out = io.BytesIO()
    (image or Image.fromarray(PIXELS)).save(out, form, **options)
    return out.getvalue()


def samples():
    text = PngImagePlugin.PngInfo()
    text.add_text("Title", "Hare")
    rgba = Image.fromarray(PIXELS).convert("RGBA")
    rgba.putalpha(Image.fromarray(PIXELS[..., 0]))
    return {
        "jpeg": saved("JPEG", exif=b"Exif\0\0" + EXIF, icc_profile=ICC, comment=b"hello", dpi=(300, 300)),
        "jpeg-progressive": saved("JPEG", progressive=True),
        "jpeg-restarts": saved("JPEG", restart_marker_blocks=1),
        "jpeg-grey": saved("JPEG", Image.fromarray(PIXELS[..., 0])),
        "png": saved("PNG", exif=EXIF, icc_profile=ICC, pnginfo=text, dpi=(300, 300)),
        "webp-lossy": saved("WEBP"),
        "webp-lossless": saved("WEBP", lossless=True),
        "webp-extended": saved("WEBP", rgba, exif=EXIF, icc_profile=ICC, xmp=XMP),
        "tiff": saved("TIFF", exif=EXIF, icc_profile=ICC),
        "bmp": saved("BMP"),
    }


SAMPLES = samples()
PARSERS = {Container.JPEG: jpeg, Container.PNG: png, Container.WEBP: webp}


def kind_of(name):
    return Container(name.split("-")[0])


@pytest.mark.parametrize("name", SAMPLES)
def test_sniffed_sized_and_complete(name):
    data, kind = SAMPLES[name], kind_of(name)
    assert containers.sniff(data) is kind
    assert containers.declared_size(data, kind) == (H, W)
    assert containers.is_complete(data, kind)
    assert not containers.is_animated(data, kind)


@pytest.mark.parametrize("name", [name for name in SAMPLES if kind_of(name) in PARSERS])
@pytest.mark.parametrize("trailer", [b"", b"something behind the end"])
def test_parse_then_serialise_is_identity(name, trailer):
    data = SAMPLES[name] + trailer
    parser = PARSERS[kind_of(name)]
    parsed = parser.parse(data)
    assert parser.serialise(parsed) == data
    assert parsed.trailer == trailer


@pytest.mark.parametrize("name", SAMPLES)
def test_no_shorter_file_is_complete(name):
    data, kind = SAMPLES[name], kind_of(name)
    # A TIFF's or BMP's last bytes may be padding or a table read elsewhere: cut into the pixels.
    cuts = range(1, len(data)) if kind in PARSERS else range(1, len(data) // 2)
    for cut in cuts:
        with suppress(Malformed):
            assert not containers.is_complete(data[:cut], kind), cut


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(list(Container)), st.binary(max_size=200))
@example(Container.JPEG, b"\xff\xd8\xff\xda\0\2" + b"\xff" * 100)
@example(Container.TIFF, b"II*\0\x08\0\0\0\1\0" + b"\xff" * 40)
def test_any_bytes_raise_malformed_only(container, data):
    for start in (b"", b"\xff\xd8\xff", png.SIGNATURE, b"RIFF\x80\0\0\0WEBP", b"II*\0\x08\0\0\0", b"MM\0*", b"BM"):
        check_only_malformed(start + data, container)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(SAMPLES)), st.data())
def test_damaged_files_raise_malformed_only(name, draw):
    data = bytearray(SAMPLES[name])
    for _ in range(draw.draw(st.integers(1, 5))):
        data[draw.draw(st.integers(0, min(len(data) - 1, 900)))] = draw.draw(st.integers(0, 255))
    check_only_malformed(bytes(data[: draw.draw(st.integers(0, len(data)))]), kind_of(name))


def check_only_malformed(data, container):
    checks = (containers.declared_size, containers.is_complete, containers.is_animated, containers.for_decoder,
              containers.get_carried, containers.estimated_quality,
              lambda d, c: containers.put_carried(d, c, FULL))  # fmt: skip
    for check in checks:
        with suppress(Malformed):
            check(data, container)
    if container is Container.JPEG:
        for read in (jpeg.subsampling, jpeg.components):
            with suppress(Malformed):
                read(data)
    if container is Container.TIFF:
        for read in (tiff.pages, tiff.is_raw, tiff.samples, ifd.read_orientation, *OF_SAMPLES):
            with suppress(Malformed):
                read(data)


@pytest.mark.parametrize("name", [name for name in SAMPLES if kind_of(name) is not Container.BMP])
def test_blocks_put_are_got_back(name):
    kind = kind_of(name)
    data, warnings = containers.put_carried(SAMPLES[name], kind, FULL)
    assert warnings == ()
    got, warnings = containers.get_carried(data, kind)
    assert warnings == ()
    assert (got.icc, got.xmp) == (ICC, XMP)
    if kind is not Container.TIFF:
        assert got.exif == EXIF
    image = Image.open(io.BytesIO(data))
    image.load()
    assert image.info["icc_profile"] == ICC
    assert image.getexif()[piexif.ImageIFD.Make].strip("\0") == "Maker"
    assert image.getexif().get_ifd(0x8769)[piexif.ExifIFD.FNumber] == 2.8
    assert np.array_equal(np.asarray(image), np.asarray(Image.open(io.BytesIO(SAMPLES[name]))))


def test_blocks_of_the_same_container_are_carried():
    segments = (("APP0", b"JFIF\0\1\1\1\1\x2c\1\x2c\0\0"), ("APP9", b"unknown"), ("COM", b"a comment"))
    data, _ = containers.put_carried(SAMPLES["jpeg-grey"], Container.JPEG, Carried(others=segments))
    assert containers.get_carried(data, Container.JPEG)[0].others == segments
    assert data.count(b"JFIF\0") == 1
    chunks = (("gAMA", b"\0\1\x86\xa0"), ("tEXt", b"Title\0Hare"), ("prVt", b"unknown, safe to copy"))
    data, _ = containers.put_carried(SAMPLES["png"], Container.PNG, Carried(others=chunks))
    assert containers.get_carried(data, Container.PNG)[0].others == chunks
    data, _ = containers.put_carried(SAMPLES["webp-lossy"], Container.WEBP, Carried(others=(("junk", b"odd"),)))
    assert containers.get_carried(data, Container.WEBP)[0].others == (("junk", b"odd"),)


@pytest.mark.parametrize(("name", "alpha"), [("webp-lossy", False), ("webp-lossless", False), ("webp-extended", True)])
def test_simple_webp_becomes_extended_with_the_right_flags(name, alpha):
    data, _ = containers.put_carried(SAMPLES[name], Container.WEBP, Carried(exif=EXIF))
    header = webp.parse(data).chunks[0]
    assert header.kind == b"VP8X"
    assert header.payload[0] == webp.EXIF_FLAG | webp.ALPHA_FLAG * alpha
    assert webp.size(data) == (H, W)
    assert Image.open(io.BytesIO(data)).mode == ("RGBA" if alpha else "RGB")


def test_an_opaque_picture_in_lossless_webp_with_opacity_has_the_alpha_flag():
    rgba = Image.fromarray(PIXELS).convert("RGBA")
    rgba.putalpha(Image.fromarray(PIXELS[..., 0]))
    data, _ = containers.put_carried(saved("WEBP", rgba, lossless=True), Container.WEBP, Carried(xmp=XMP))
    assert webp.parse(data).chunks[0].payload[0] == webp.XMP_FLAG | webp.ALPHA_FLAG


def test_icc_of_many_segments_is_split_and_joined():
    icc = bytes(range(256)) * 700
    data, _ = containers.put_carried(SAMPLES["jpeg"], Container.JPEG, Carried(icc=icc))
    assert Image.open(io.BytesIO(data)).info["icc_profile"] == icc
    assert containers.get_carried(data, Container.JPEG)[0].icc == icc
    parsed = jpeg.parse(data)
    without = tuple(s for s in parsed.segments if s.payload[:13] != b"ICC_PROFILE\0\2")
    got, warnings = containers.get_carried(jpeg.serialise(jpeg.Jpeg(without)), Container.JPEG)
    assert got.icc is None
    assert "ICC" in warnings[0]
    turned = jpeg.Jpeg((parsed.segments[0], *reversed(parsed.segments[1:5]), *parsed.segments[5:]))
    assert containers.get_carried(jpeg.serialise(turned), Container.JPEG)[0].icc == icc


def test_extended_xmp_stays_beside_its_packet():
    extended = b"http://ns.adobe.com/xmp/extension/\0" + b"0" * 40 + b"<x/>"
    carried = Carried(xmp=XMP, others=(("APP1", extended),))
    data, _ = containers.put_carried(SAMPLES["jpeg-grey"], Container.JPEG, carried)
    got, warnings = containers.get_carried(data, Container.JPEG)
    assert warnings == ()
    assert got.xmp == XMP
    assert ("APP1", extended) in got.others


@pytest.mark.parametrize("block", [(0xE2, b"MPF\0II*\0"), (0xE2, b"urn:iso:std:iso:ts:21496:-1\0\0\0\0\0"),
                                   (0xE1, jpeg.XMP + b'<x xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/"/>'),
                                   (0xE1, jpeg.XMP + b'"http://ns.google.com/photos/1.0/container/"')])  # fmt: skip
def test_a_gain_map_is_dropped_with_a_warning(block):
    parsed = jpeg.parse(SAMPLES["jpeg"])
    segments = (parsed.segments[0], jpeg.Segment(*block), *parsed.segments[1:])
    data = jpeg.serialise(jpeg.Jpeg(segments, b"\xff\xd8 the map \xff\xd9"))
    got, warnings = containers.get_carried(data, Container.JPEG)
    assert not is_stale(got.xmp or b"")
    assert all(not payload.startswith((b"MPF", b"urn:")) for _, payload in got.others)
    assert len(warnings) == 1
    assert "gain map" in warnings[0]


def test_bytes_behind_the_end_are_named():
    for name in ("jpeg", "png", "webp-lossy"):
        _, warnings = containers.get_carried(SAMPLES[name] + b"0123456789", kind_of(name))
        assert "10 bytes behind" in warnings[0]


def test_xmp_that_is_too_long_for_jpeg_costs_only_itself():
    exif = b"II*\0" + bytes(range(1, 100))
    carried = Carried(exif=exif, icc=ICC, xmp=bytes(70000))
    data, warnings = containers.put_carried(SAMPLES["jpeg"], Container.JPEG, carried)
    assert "XMP" in warnings[0]
    assert "64 KB" in warnings[0]
    got, _ = containers.get_carried(data, Container.JPEG)
    assert (got.icc, got.exif) == (ICC, exif)


def test_exif_of_many_segments_is_split_and_joined():
    exif = b"II*\0" + bytes(range(1, 256)) * 600
    data, warnings = containers.put_carried(SAMPLES["jpeg"], Container.JPEG, Carried(exif=exif))
    assert warnings == ()
    got, warnings = containers.get_carried(data, Container.JPEG)
    assert (got.exif, warnings) == (exif, ())
    assert Image.open(io.BytesIO(data)).info["exif"] == b"Exif\0\0" + exif


@pytest.mark.parametrize(
    "others",
    [(jpeg.Segment(jpeg.APP1, jpeg.EXIF + b"MM\0*"),), (jpeg.Segment(jpeg.COM), jpeg.Segment(jpeg.APP1, jpeg.EXIF + b"x"))],
)
def test_exif_that_does_not_go_on_with_the_first_is_not_joined(others):
    start, *rest = jpeg.parse(SAMPLES["jpeg-grey"]).segments
    first = jpeg.Segment(jpeg.APP1, jpeg.EXIF + b"II*\0first")
    data = jpeg.serialise(jpeg.Jpeg((start, first, *others, *rest)))
    assert containers.get_carried(data, Container.JPEG)[0].exif == b"II*\0first"


@pytest.mark.parametrize(("name", "start"), [("EXIF block", jpeg.EXIF + b"II*\0"), ("XMP packet", jpeg.XMP)])
def test_a_second_block_is_left_out_with_a_warning_unless_it_is_the_same(name, start):
    first, *rest = jpeg.parse(SAMPLES["jpeg-grey"]).segments
    for others, expected in ((b"two", b"three"), (f"a second {name} was left out",)), ((b"one", b"one"), ()):
        blocks = [jpeg.Segment(jpeg.APP1, start + text) for text in (b"one", *others)]
        got, warnings = containers.get_carried(jpeg.serialise(jpeg.Jpeg((first, *blocks, *rest))), Container.JPEG)
        assert (got.exif or got.xmp).endswith(b"one")
        assert warnings == expected


def test_photoshop_thumbnails_are_removed_and_iptc_is_kept():
    iptc = b"8BIM\x04\x04\0\0\0\0\0\5\x1c\2\0\0\0\0"
    thumbnail = b"8BIM\x04\x0c\0\0\0\0\0\3abc\0"
    assert photoshop.without_thumbnails(thumbnail + iptc + thumbnail) == iptc
    assert photoshop.without_thumbnails(b"no resources") == b"no resources"
    carried = Carried(others=(("APP13", jpeg.IRB + iptc + thumbnail),))
    data, _ = containers.put_carried(SAMPLES["jpeg-grey"], Container.JPEG, carried)
    assert ("APP13", jpeg.IRB + iptc) in containers.get_carried(data, Container.JPEG)[0].others


def raw_profile(text, name, block):
    text.add_text(f"Raw profile type {name}", f"\n{name}\n{len(block):8}\n{block.hex()}\n", zip=True)


def test_exif_in_imagemagick_text_is_found():
    text = PngImagePlugin.PngInfo()
    raw_profile(text, "exif", b"Exif\0\0" + EXIF)
    got, warnings = containers.get_carried(saved("PNG", pnginfo=text), Container.PNG)
    assert got.exif == EXIF
    assert got.others == ()
    assert warnings == ()


@pytest.mark.parametrize("form", ["eXIf", "iCCP", "XMP"])
def test_the_chunk_proper_counts_more_than_imagemagick_text_before_it(form):
    text = PngImagePlugin.PngInfo()
    for name, block in (("exif", b"II*\0old"), ("icc", b"old"), ("xmp", b"<old/>")):
        raw_profile(text, name, block)
    header, *rest = png.parse(saved("PNG", pnginfo=text)).chunks
    pieces = {"eXIf": {"exif": EXIF}, "iCCP": {"icc": ICC}, "XMP": {"xmp": XMP}}[form]
    proper = png.parse(png.put(SAMPLES["png"], Carried(**pieces))[0]).chunks[1]
    got, warnings = containers.get_carried(png.serialise(png.Png((header, *rest[:-2], proper, *rest[-2:]))), Container.PNG)
    expected = {"exif": b"II*\0old", "icc": b"old", "xmp": b"<old/>"} | pieces
    assert (got, warnings) == (Carried(**expected), ())


def test_compressed_metadata_that_inflates_without_end_is_refused(monkeypatch):
    monkeypatch.setattr(png, "LONGEST_INFLATED", 1000)
    data, _ = containers.put_carried(SAMPLES["png"], Container.PNG, Carried(icc=bytes(100000)))
    got, warnings = containers.get_carried(data, Container.PNG)
    assert got.icc is None
    assert "iCCP" in warnings[0]


def with_wrong_checksum(data, kind):
    """A PNG whose first chunk of that kind does not have the checksum that it names."""
    start = data.index(kind)
    at = start + 4 + int.from_bytes(data[start - 4 : start], "big")
    return data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :]


def test_damaged_text_of_a_png_is_passed_over():
    got, warnings = containers.get_carried(with_wrong_checksum(SAMPLES["png"], b"tEXt"), Container.PNG)
    assert "tEXt" not in dict(got.others)
    assert got.icc == ICC
    assert warnings == ("its tEXt chunk is damaged: left out",)


@pytest.mark.parametrize(("kind", "lost"), [(b"eXIf", "exif"), (b"iCCP", "icc")])
def test_a_chunk_of_a_png_with_a_wrong_checksum_costs_only_itself_and_is_named(kind, lost):
    whole, _ = containers.get_carried(SAMPLES["png"], Container.PNG)
    got, warnings = containers.get_carried(with_wrong_checksum(SAMPLES["png"], kind), Container.PNG)
    assert warnings == (f"its {kind.decode()} chunk is damaged: left out",)
    assert got == replace(whole, **{lost: None})


def test_opacity_of_a_png_with_a_wrong_checksum_is_lost_with_a_warning():
    data = with_wrong_checksum(saved("PNG", transparency=(1, 2, 3)), b"tRNS")
    assert containers.get_carried(data, Container.PNG)[1] == ("its tRNS chunk is damaged: opacity left out",)


def test_a_damaged_chunk_of_a_png_that_is_not_kept_when_whole_is_not_missed():
    header, *rest = png.parse(SAMPLES["png"]).chunks
    data = png.serialise(png.Png((header, png.Chunk(b"sBIT", b"\x08\x08\x08"), *rest)))
    assert containers.get_carried(with_wrong_checksum(data, b"sBIT"), Container.PNG)[1] == ()


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("exif_order", ["II", "MM"])
def test_exif_is_laid_out_in_the_byte_order_of_the_tiff(byteorder, exif_order):
    out = io.BytesIO()
    tifffile.imwrite(out, PIXELS, photometric="rgb", byteorder=byteorder)
    little = b"II*\0\x08\0\0\0" + ifd.lay_out(ifd.read_fields(EXIF, big=False), big=False, base=8)
    carried = Carried(exif=EXIF if exif_order == "MM" else little, icc=ICC, xmp=XMP, others=(("IPTC", IPTC),))
    data, _ = containers.put_carried(out.getvalue(), Container.TIFF, carried)
    page = tifffile.TiffFile(io.BytesIO(data)).pages[0]
    assert np.array_equal(page.asarray(), PIXELS)
    assert page.tags["Make"].value == "Maker"
    assert page.tags[34665].value["FNumber"] == (28, 10)
    assert page.tags[34675].value == ICC
    assert page.tags[33723].value == IPTC
    assert [tag.code for tag in page.tags] == sorted(tag.code for tag in page.tags)


@pytest.mark.parametrize("quality", [5, 20, 35, 50, 75, 88, 92, 95, 100])
def test_jpeg_quality_is_read_from_the_table(quality):
    assert jpeg.quality(saved("JPEG", quality=quality)) == quality


@pytest.mark.parametrize("quality", [20, 50, 75, 90, 95, 100])
def test_webp_quality_is_near(quality):
    smooth = np.add.outer(np.arange(200), np.arange(300))[..., None] // np.array([2, 3, 4]) + PIXELS[:1, :1] // 9
    noise = np.random.default_rng(0).normal(0, 6, smooth.shape)
    image = Image.fromarray(np.clip(smooth + noise, 0, 255).astype(np.uint8))
    assert abs(webp.quality(saved("WEBP", image, quality=quality)) - quality) <= 15


def test_hostile_sizes_and_cycles_take_no_time():
    cycle = b"II*\0\x08\0\0\0" + b"\1\0" + b"\0\1\4\0\1\0\0\0\5\0\0\0" + b"\x08\0\0\0"
    # Every entry of a full table claims the same megabyte.
    entry = b"\x0f\1\7\0" + (1 << 20).to_bytes(4, "little") + (1 << 19).to_bytes(4, "little")
    overlap = b"II*\0\x08\0\0\0" + b"\xff\xff" + entry * 65535 + b"\0" * 4 + bytes(1 << 20)
    stuffed = b"\xff\xd8\xff\xda\0\2" + b"\xff" * (1 << 21) + b"\0"
    started = time.monotonic()
    assert tiff.pages(cycle) == 1
    assert ifd.read_fields(overlap, big=True)
    assert not jpeg.is_complete(stuffed)
    assert time.monotonic() - started < 30  # quadratic behaviour would take hours


def test_cut_short_is_malformed_and_a_value_error():
    assert issubclass(CutShort, Malformed)
    assert issubclass(Malformed, ValueError)


@pytest.mark.parametrize(("kind", "parser"), [("jpeg", jpeg), ("png", png)])
def test_a_file_is_looked_through_once_and_its_pixels_are_not_copied(kind, parser):
    noise = np.random.default_rng(0).integers(0, 255, (90, 70, 3), dtype=np.uint8)
    data = saved(kind.upper(), Image.fromarray(noise))
    parser.parse.cache_clear()
    decode_photo(data, f"photo.{kind}", DecodeOptions())
    counted = parser.parse.cache_info()
    assert counted.misses == 1
    assert counted.hits >= 4
    parts = parser.parse(data)
    views = [part.scan for part in parts.segments] if kind == "jpeg" else [part.pixels for part in parts.chunks]
    assert sum(len(view) for view in views) > len(data) // 2
    assert all(view.obj is data for view in views if len(view))
    assert parser.serialise(parts) == data


@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG"), (13, None)])
def test_a_png_of_high_dynamic_range_is_refused(transfer, name):
    carried = Carried(others=(("cICP", bytes((9, transfer, 0, 1))),))
    reason = containers.refusal(containers.put_carried(saved("PNG"), Container.PNG, carried)[0], Container.PNG)
    assert (reason is None) == (name is None)
    assert name is None or f"({name})" in reason


def utf8_exif(*, big=False):
    """An EXIF stream with a text of EXIF 3.0's type and an entry without a value."""
    below = (ifd.Field(0xA430, 129, 5, "Zoë\0".encode()), ifd.Field(0xA431, 2, 0, b""))
    fields = (ifd.Field(ifd.EXIF_IFD, ifd.LONG, 1, b"", below), ifd.Field(0x10F, 2, 3, b"Me\0"))
    head = b"MM\0*\0\0\0\x08" if big else b"II*\0\x08\0\0\0"
    return head + ifd.lay_out(fields, big=big, base=8)


@pytest.mark.parametrize("big", [False, True])
def test_texts_in_utf8_and_entries_without_a_value_are_no_damage(big):
    stream = utf8_exif(big=big)
    assert not ifd.is_damaged(stream)
    data, warnings = containers.put_carried(saved("TIFF"), Container.TIFF, Carried(exif=stream))
    assert warnings == ()
    carried, warnings = containers.get_carried(data, Container.TIFF)
    assert warnings == ()
    assert "Zoë".encode() in carried.exif


@pytest.mark.parametrize("kind", [77, 4], ids=["a type that is none", "a value outside"])
def test_a_tag_that_is_lost_below_the_first_directory_of_a_tiff_is_told(kind):
    stream = utf8_exif().replace(b"\x30\xa4\x81\0\5", b"\x30\xa4" + bytes((kind, 0)) + b"\xff")
    assert stream != utf8_exif()
    assert ifd.is_damaged(stream)
    _, warnings = containers.put_carried(saved("TIFF"), Container.TIFF, Carried(exif=stream))
    assert warnings == ("some tags of EXIF are damaged: left out",)


def test_a_tiff_below_whose_first_directory_a_tag_is_damaged_is_told():
    data, _ = containers.put_carried(saved("TIFF"), Container.TIFF, Carried(exif=utf8_exif()))
    spoilt = data.replace(b"\x30\xa4\x81\0", b"\x30\xa4\x4d\0")
    assert spoilt != data
    assert containers.get_carried(spoilt, Container.TIFF)[1] == ("some of its tags are damaged: left out",)


def test_a_tiff_keeps_what_dng_calls_the_camera_and_not_what_it_says_of_raw_samples():
    fields = (ifd.Field(50708, 2, 5, b"D850\0"), ifd.Field(50827, 2, 6, b"1.NEF\0"), ifd.Field(50714, 3, 1, b"\0\2"))
    exif = b"II*\0\x08\0\0\0" + ifd.lay_out(fields, big=False, base=8)
    data, _ = containers.put_carried(saved("TIFF"), Container.TIFF, Carried(exif=exif))
    tags = {entry.tag for entry in ifd.read_directory(data).entries}
    assert {50708, 50827} <= tags
    assert 50714 not in tags


def test_a_table_full_of_directories_below_is_looked_through_at_once():
    table = b"".join(struct.pack("<HHLL", ifd.EXIF_IFD, 4, 1, 8) for _ in range(20_000))
    assert not ifd.is_damaged(b"II*\0\x08\0\0\0" + struct.pack("<H", 20_000) + table + bytes(4))
