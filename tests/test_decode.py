"""bokehcli.decode: bytes -> Photo. Pillow and tifffile are the oracles."""

import io
import itertools
import struct
import sys
import zlib

import numpy as np
import pytest
import skimage
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps

from bokehcli.containers import tiff as tiff_files
from bokehcli.containers import webp
from bokehcli.containers.ifd import BYTE, LONG, ORIENTATION, SHORT, Field, lay_out, numbers
from bokehcli.decode import decode_photo, upright, weight_of
from bokehcli.errors import DecodeError, PhotoError, UnsupportedPhoto
from bokehcli.opencv import cv2
from bokehcli.options import DecodeOptions
from bokehcli.photo import Container

OPTIONS = DecodeOptions()
H, W = 20, 31


def noise(channels=3, dtype=np.uint8, seed=0):
    shape = (H, W) if channels == 1 else (H, W, channels)
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


def saved(image, form, **options):
    out = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(out, form, **options)
    return out.getvalue()


def tiff(array, **options):
    out = io.BytesIO()
    tifffile.imwrite(out, array, **options)
    return out.getvalue()


def decode(data, name="photo", options=OPTIONS):
    return decode_photo(data, name, options)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_every_orientation_is_undone_as_pillow_undoes_it(form, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 100, "subsampling": 0} if form == "JPEG" else {"lossless": True} if form == "WEBP" else {}
    data = saved(noise(), form, exif=exif, **options)
    photo = decode(data)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    assert photo.orientation == orientation
    assert photo.image.flags.c_contiguous
    assert photo.image.shape == expected.shape
    assert np.abs(photo.image.astype(int) - expected).max() <= (2 if form == "JPEG" else 0)


def test_orientation_of_16_bit_tiff_and_of_opacity_is_undone_too():
    pixels = noise(4, np.uint16)
    data = tiff(pixels, photometric="rgb", extrasamples=["unassalpha"], extratags=[(274, "H", 1, 6, False)])
    photo = decode(data)
    turned = np.rot90(pixels, -1)
    assert np.array_equal(photo.image, turned[..., :3])
    assert np.array_equal(photo.opacity, turned[..., 3])


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("kind", [BYTE, SHORT, LONG])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_orientation_and_extra_samples_may_be_of_any_whole_number_type(dtype, kind, byteorder):
    pixels = noise(4, dtype)
    data = tiff(pixels, photometric="rgb", extrasamples=["unassalpha"], byteorder=byteorder)
    said = {ORIENTATION: 6, tiff_files.EXTRA_SAMPLES: tiff_files.UNASSOCIATED}
    fields = tuple(numbers(tag, value, big=byteorder == ">", kind=kind) for tag, value in said.items())
    photo = decode(tiff_files.with_fields(data, fields))
    assert np.array_equal(photo.image, np.rot90(pixels, -1)[..., :3])
    assert np.array_equal(photo.opacity, np.rot90(pixels, -1)[..., 3])


LAYOUTS = [{}, {"compression": "zlib", "predictor": True}, {"tile": (32, 32)}, {"byteorder": ">"}, {"rowsperstrip": 3}]


@pytest.mark.parametrize("options", LAYOUTS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_tiff_samples_come_as_they_are(channels, dtype, options):
    pixels = noise(channels, dtype)
    extra = {"extrasamples": ["unassalpha"]} if channels == 4 else {}
    photo = decode(tiff(pixels, photometric="minisblack" if channels == 1 else "rgb", **extra, **options))
    colours = np.dstack([pixels] * 3) if channels == 1 else pixels[..., :3]
    assert photo.image.dtype == dtype
    assert np.array_equal(photo.image, colours)
    assert photo.grey == (channels == 1)
    assert (photo.opacity is None) == (channels < 4)
    assert channels < 4 or np.array_equal(photo.opacity, pixels[..., 3])


@pytest.mark.parametrize("number", [9, 34712, 50002])
def test_a_compression_that_nobody_reads_is_refused(number):
    data = tiff_files.with_fields(tiff(noise(), photometric="rgb"), (numbers(tiff_files.COMPRESSION, number, big=False),))
    with pytest.raises(UnsupportedPhoto, match=f"not read .number {number}.: save it with LZW"):
        decode(data)


def test_a_compression_that_opencv_was_built_without_is_named():
    data = tiff(noise(), photometric="rgb", compression="lzma")
    if cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) is not None:
        pytest.skip("this OpenCV was built with it")
    with pytest.raises(UnsupportedPhoto, match="LZMA"):
        decode(data)


@pytest.mark.parametrize(("channels", "kind"), [(5, "rgb"), (5, "separated"), (6, "minisblack")])
def test_more_than_four_channels_are_refused(channels, kind):
    extra = {"extrasamples": ["unspecified"] * (channels - {"rgb": 3, "separated": 4, "minisblack": 1}[kind])}
    with pytest.raises(UnsupportedPhoto, match=f"{channels} channels: save it with 4"):
        decode(tiff(noise(channels), photometric=kind, planarconfig="contig", **extra))


def test_other_inks_than_cmyk_are_refused():
    with pytest.raises(UnsupportedPhoto, match="inks"):
        decode(packed_tiff(noise(3), 8, tiff_files.CMYK))


def test_deep_colours_that_are_not_rgb_are_refused():
    with pytest.raises(UnsupportedPhoto, match="neither grey nor RGB"):
        decode(tiff(noise(4, np.uint16), photometric="separated"))


@pytest.mark.parametrize("kind", ["cielab", "icclab", "itulab"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_lab_colours_are_refused(kind, dtype):
    with pytest.raises(UnsupportedPhoto, match="L\\*a\\*b"):
        decode(tiff(noise(3, dtype), photometric=kind))


def samples(dtype, channels):
    """Noise of a type; of floats also beyond black and white."""
    if np.dtype(dtype).kind == "u":
        return noise(channels, dtype)
    return (np.random.default_rng(3).random((H, W, channels)) * 4.0 - 1.0).astype(dtype)


@pytest.mark.parametrize("options", LAYOUTS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32])
def test_grey_tiff_keeps_its_opacity(dtype, options):
    if np.dtype(dtype).kind == "f" and "predictor" in options:
        pytest.skip("tifffile cannot write it")
    pixels = samples(dtype, 2)
    photo = decode(tiff(pixels, photometric="minisblack", planarconfig="contig", extrasamples=["unassalpha"], **options))
    assert photo.grey
    assert not photo.warnings
    assert np.array_equal(photo.image, np.dstack([pixels[..., 0]] * 3))
    assert np.array_equal(photo.opacity, pixels[..., 1])


def test_grey_tiff_with_opacity_may_have_white_at_0_or_be_premultiplied():
    grey, opacity = noise(1), np.maximum(noise(1, seed=4), 128)
    pixels = np.dstack((255 - grey, opacity))
    options = {"planarconfig": "contig", "extrasamples": ["unassalpha"]}
    photo = decode(tiff(pixels, photometric="miniswhite", **options))
    assert np.array_equal(photo.image[..., 0], grey)
    assert np.array_equal(photo.opacity, opacity)
    pixels = np.dstack((np.rint(grey * (opacity / 255.0)).astype(np.uint8), opacity))
    photo = decode(tiff(pixels, photometric="minisblack", planarconfig="contig", extrasamples=["assocalpha"]))
    assert np.abs(photo.image[..., 0].astype(int) - grey).max() <= 1


@pytest.mark.parametrize("channels", [2, 4])
def test_a_channel_is_unspecified_where_the_tiff_says_so(channels):
    form = {"photometric": "minisblack" if channels == 2 else "rgb", "planarconfig": "contig"}
    pixels = noise(channels)
    photo = decode(tiff(pixels, extrasamples=["unspecified"], **form))
    assert photo.unspecified
    assert np.array_equal(photo.opacity, pixels[..., -1])
    assert not decode(tiff(pixels, extrasamples=["unassalpha"], **form)).unspecified


def test_a_tile_wider_than_can_be_said_twice_is_damage():
    whole = tiff(noise(2), photometric="minisblack", planarconfig="contig", extrasamples=["unassalpha"], tile=(16, 16))
    for width in (1 << 31, (1 << 32) - 1):
        wide = tiff_files.with_fields(whole, (Field(tiff_files.TILE_WIDTH, LONG, 1, width.to_bytes(4, "little")),))
        with pytest.raises(DecodeError, match="damaged TIFF"):
            decode(wide)


@pytest.mark.parametrize("options", LAYOUTS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32])
@pytest.mark.parametrize("channels", [2, 3, 4])
def test_channels_that_lie_apart_are_read_as_they_are(channels, dtype, options):
    if np.dtype(dtype).kind == "f" and "predictor" in options:
        pytest.skip("tifffile cannot write it")
    pixels = samples(dtype, channels)
    extra = {} if channels == 3 else {"extrasamples": ["unassalpha"]}
    kind = "minisblack" if channels == 2 else "rgb"
    planes = np.ascontiguousarray(np.moveaxis(pixels, 2, 0))
    photo = decode(tiff(planes, photometric=kind, planarconfig="separate", **extra, **options))
    assert not photo.warnings
    assert np.array_equal(photo.image, np.dstack([pixels[..., 0]] * 3) if channels == 2 else pixels[..., :3])
    assert channels == 3 or np.array_equal(photo.opacity, pixels[..., -1])


def test_grey_that_lies_apart_from_its_opacity_may_have_white_at_0_or_be_premultiplied():
    for dtype in (np.uint8, np.uint16):
        top = np.iinfo(dtype).max
        grey, opacity = noise(1, dtype), np.maximum(noise(1, dtype, seed=4), top // 2)
        inverted = np.stack((top - grey, opacity))
        form = {"planarconfig": "separate", "extrasamples": ["unassalpha"]}
        photo = decode(tiff(inverted, photometric="miniswhite", **form))
        assert np.array_equal(photo.image[..., 0], grey)
        assert np.array_equal(photo.opacity, opacity)
        premultiplied = np.stack((np.rint(grey * (opacity / top)).astype(dtype), opacity))
        form["extrasamples"] = ["assocalpha"]
        photo = decode(tiff(premultiplied, photometric="minisblack", **form))
        assert np.abs(photo.image[..., 0].astype(int) - grey).max() <= 1


def test_channels_in_unequal_pieces_are_damage():
    planes = np.ascontiguousarray(np.moveaxis(noise(3, np.uint16), 2, 0))
    whole = tiff(planes, photometric="rgb", planarconfig="separate", rowsperstrip=8)
    offsets = tiff_files.all_numbers(whole, tiff_files.STRIP_OFFSETS)
    spoilt = tiff_files.with_fields(whole, (numbers(tiff_files.STRIP_OFFSETS, *offsets[:-1], big=False, kind=LONG),))
    with pytest.raises(DecodeError, match="pieces"):
        decode(spoilt)


@pytest.mark.parametrize("options", [layout for layout in LAYOUTS if "predictor" not in layout])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_floats_of_a_tiff_come_as_they_are(channels, dtype, options):
    pixels = samples(dtype, channels)
    extra = {"extrasamples": ["unassalpha"]} if channels == 4 else {}
    kind = "minisblack" if channels == 1 else "rgb"
    photo = decode(tiff(pixels[..., 0] if channels == 1 else pixels, photometric=kind, **extra, **options))
    assert photo.image.dtype == np.float32
    assert photo.bits == 32
    assert np.array_equal(photo.image, np.dstack([pixels[..., 0]] * 3) if channels == 1 else pixels[..., :3])
    assert channels < 4 or np.array_equal(photo.opacity, pixels[..., 3])


def test_floats_that_are_no_numbers_are_black_and_said():
    pixels = samples(np.float32, 3)
    pixels[0, 0], pixels[1, 1, 0] = np.nan, np.inf
    photo = decode(tiff(pixels, photometric="rgb"))
    assert np.array_equal(photo.image, np.where(np.isfinite(pixels), pixels, 0.0))
    assert photo.warnings == ("4 values that are no finite numbers were taken for black",)


def test_short_floats_with_a_predictor_are_refused():
    unpredicted = tiff(samples(np.float16, 3), photometric="rgb", compression="zlib")
    said = tiff_files.with_fields(unpredicted, (Field(tiff_files.PREDICTOR, SHORT, 1, b"\3\0"),))
    with pytest.raises(UnsupportedPhoto, match="predictor"):
        decode(said)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_tiff_whose_white_is_0_is_turned_round(dtype):
    pixels = noise(3, dtype)
    inverted = decode(tiff(pixels[..., 0], photometric="miniswhite")).image[..., 0]
    assert np.array_equal(inverted, np.iinfo(dtype).max - pixels[..., 0])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_premultiplied_tiff_colours_become_straight(dtype):
    top = np.iinfo(dtype).max
    straight, opacity = noise(3, dtype), np.maximum(noise(1, dtype, 1), top // 2)
    multiplied = np.rint(straight * (opacity / top)[..., None]).astype(dtype)
    photo = decode(tiff(np.dstack((multiplied, opacity)), photometric="rgb", extrasamples=["assocalpha"]))
    assert np.array_equal(photo.opacity, opacity)
    assert np.abs(photo.image.astype(int) - straight).max() <= 1


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P", "1"])
def test_png_modes(mode):
    image = Image.fromarray(noise(3 if mode == "P" else 4)).convert(mode)
    photo = decode(saved(image, "PNG"))
    assert np.array_equal(photo.image, np.asarray(image.convert("RGB")))
    assert photo.grey == (mode in ("L", "LA", "1"))
    assert (photo.opacity is not None) == (mode in ("LA", "RGBA"))
    assert photo.opacity is None or np.array_equal(photo.opacity, np.asarray(image.getchannel("A")))


def test_16_bit_png_keeps_its_bits():
    pixels = noise(1, np.uint16)
    photo = decode(saved(pixels, "PNG"))
    assert photo.image.dtype == np.uint16
    assert photo.grey
    assert np.array_equal(photo.image[..., 1], pixels)


def test_png_transparent_colour_becomes_opacity():
    image = Image.fromarray(noise(3)).quantize(8)
    photo = decode(saved(image, "PNG", transparency=3))
    assert np.array_equal(photo.opacity, np.where(np.asarray(image) == 3, 0, 255))


def packed_rows(samples, bits):
    """(H, ...) samples of so many bits one after another, each row filled up to whole bytes."""
    rows = ("".join(f"{sample:0{bits}b}" for sample in row.ravel()) for row in samples)
    return [int(row.ljust(-(-len(row) // 8) * 8, "0"), 2).to_bytes(-(-len(row) // 8), "big") for row in rows]


def packed_tiff(samples, bits, photometric, *fields):
    """A TIFF of (H, W[, C]) samples of any number of bits, with further fields."""
    height, width, channels = (*samples.shape, 1)[:3]
    pixels = b"".join(packed_rows(samples, bits))
    said = {256: width, 257: height, 259: 1, 262: photometric, 273: 8, 277: channels, 278: height}
    own = [numbers(tag, value, big=False) for tag, value in said.items()]
    own += [numbers(258, *(bits,) * channels, big=False), numbers(279, len(pixels), big=False, kind=LONG)]
    start = 8 + len(pixels) + len(pixels) % 2
    return (b"II*\0" + struct.pack("<I", start) + pixels).ljust(start, b"\0") + lay_out([*own, *fields], big=False, base=start)


@pytest.mark.parametrize("bits", [10, 12, 14])
@pytest.mark.parametrize("photometric", [0, 1, 2])
def test_tiff_of_10_12_and_14_bits_goes_up_to_white(photometric, bits):
    pixels, top = noise(3 if photometric == 2 else 1, np.uint16) >> (16 - bits), (1 << bits) - 1
    pixels[0, 0], pixels[0, 1] = top, 0
    expected = np.rint(np.float64(top - pixels if photometric == 0 else pixels) * 65535 / top)
    image = decode(packed_tiff(pixels, bits, photometric)).image
    assert np.array_equal(image if photometric == 2 else image[..., 0], expected)


UNPREDICTED = (numbers(tiff_files.SAMPLE_FORMAT, 1, big=False), numbers(tiff_files.PREDICTOR, 1, big=False))


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 6, 7])
@pytest.mark.parametrize(("photometric", "channels"), [(0, 1), (1, 1), (0, 2), (1, 2), (2, 3), (2, 4)])
def test_tiff_of_less_than_8_bits_is_read_as_it_is(photometric, channels, bits):
    pixels, top = noise(channels) >> (8 - bits), (1 << bits) - 1
    extra = () if channels in (1, 3) else (numbers(tiff_files.EXTRA_SAMPLES, 2, big=False),)
    expected = np.rint(np.atleast_3d(pixels) * 255.0 / top)
    if photometric == 0:
        expected[..., 0] = 255 - expected[..., 0]
    photo = decode(packed_tiff(pixels, bits, photometric, *extra, *UNPREDICTED))
    assert photo.warnings == ()
    assert photo.grey is (channels < 3)
    assert np.array_equal(photo.image, expected[..., [0, 0, 0] if channels < 3 else slice(3)])
    assert (photo.opacity is None) is (extra == ())
    assert photo.opacity is None or np.array_equal(photo.opacity, expected[..., -1])


def test_tiles_of_4_bits_are_read_as_they_are():
    pixels = np.random.default_rng(2).integers(0, 16, (128, 128), np.uint8)
    tiles = [b"".join(packed_rows(pixels[y : y + 64, x : x + 64], 4)) for y in (0, 64) for x in (0, 64)]
    data = packed_tiff(pixels[:100, :99], 4, 1)
    at = len(data) + len(data) % 2
    length = len(tiles[0])
    places = {tiff_files.TILE_OFFSETS: range(at, at + 4 * length, length), tiff_files.TILE_LENGTHS: (length,) * 4}
    fields = [numbers(tag, *values, big=False, kind=LONG) for tag, values in places.items()]
    fields += [numbers(tag, 64, big=False) for tag in (tiff_files.TILE_WIDTH, 323)]
    gone = (tiff_files.STRIP_OFFSETS, tiff_files.STRIP_LENGTHS, 278)
    tiled = tiff_files.with_fields(data.ljust(at, b"\0") + b"".join(tiles), tuple(fields), without=gone)
    assert np.array_equal(decode(tiled).image[..., 1], pixels[:100, :99] * 17)


@pytest.mark.parametrize("deep", [257, 1])
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_palette_of_a_tiff_gives_its_colours(bits, deep):
    palette = np.random.default_rng(1).integers(0, 256, (3, 1 << bits)).astype(np.uint16)
    indices = noise(1) >> (8 - bits)
    table = numbers(tiff_files.COLOUR_MAP, *map(int, (palette * deep).ravel()), big=False)
    photo = decode(packed_tiff(indices, bits, 3, table))
    assert photo.warnings == ()
    assert np.array_equal(photo.image, palette.T[indices])


def test_opacity_beside_a_palette_is_left_out_with_a_warning():
    table = numbers(tiff_files.COLOUR_MAP, *(257 * (n % 256) for n in range(768)), big=False)
    photo = decode(packed_tiff(noise(2), 8, 3, table, numbers(tiff_files.EXTRA_SAMPLES, 2, big=False)))
    assert np.array_equal(photo.image, np.dstack([noise(2)[..., 0]] * 3))
    assert photo.warnings == ("the opacity of a TIFF whose colours stand in a table was left out",)


def test_a_palette_that_is_too_short_or_of_other_bits_is_an_error():
    with pytest.raises(DecodeError, match="too few colours"):
        decode(packed_tiff(noise(1) >> 6, 2, 3, numbers(tiff_files.COLOUR_MAP, 1, 2, 3, big=False)))
    with pytest.raises(UnsupportedPhoto, match="table"):
        decode(packed_tiff(noise(1, np.uint16), 16, 3, numbers(tiff_files.COLOUR_MAP, 1, 2, 3, big=False)))


def grey_png(samples, bits, key):
    """A grey PNG of (H, W) samples of 1 to 16 bits, in which those that equal the key are transparent."""
    packed = (b"\0" + row for row in packed_rows(samples, bits))
    header = struct.pack(">IIBBBBB", samples.shape[1], samples.shape[0], bits, 0, 0, 0, 0)
    chunks = {b"IHDR": header, b"tRNS": struct.pack(">H", key), b"IDAT": zlib.compress(b"".join(packed)), b"IEND": b""}
    pieces = (struct.pack(">I", len(of)) + kind + of + struct.pack(">I", zlib.crc32(kind + of)) for kind, of in chunks.items())
    return b"\x89PNG\r\n\x1a\n" + b"".join(pieces)


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_transparent_grey_of_a_png_becomes_opacity(bits):
    samples = noise(1, np.uint16) >> (16 - bits)
    dtype, key = np.uint16 if bits == 16 else np.uint8, int(samples[3, 4])
    photo = decode(grey_png(samples, bits, key))
    top = np.iinfo(dtype).max
    assert photo.grey
    assert np.array_equal(photo.image[..., 1], samples * (top // ((1 << bits) - 1)))
    assert photo.opacity.dtype == dtype
    assert np.array_equal(photo.opacity, np.where(samples == key, 0, top))


@pytest.mark.parametrize("mode", ["L", "RGB", "P"])
def test_bmp(mode):
    image = Image.fromarray(noise(3)).convert(mode)
    assert np.array_equal(decode(saved(image, "BMP")).image, np.asarray(image.convert("RGB")))


def masked_bmp(pixels, masks, header=40, top_first=False):
    """A BMP of (H, W) whole numbers of 16 or 32 bits, with masks for red, green, blue, and opacity in headers from 56 bytes."""
    height, width = pixels.shape
    bits, rows = 8 * pixels.itemsize, pixels if top_first else pixels[::-1]
    body = b"".join(row.tobytes().ljust(-(-row.nbytes // 4) * 4, b"\0") for row in rows)
    kind = 0 if not masks else 6 if header == 40 and len(masks) == 4 else 3
    sizes = (header, width, -height if top_first else height, 1, bits, kind, len(body), 0, 0, 0, 0)
    head = struct.pack("<IiiHHIIiiII", *sizes) + struct.pack(f"<{len(masks)}I", *masks)
    head = head.ljust(header, b"\0")
    return b"BM" + struct.pack("<IHHI", 14 + len(head + body), 0, 0, 14 + len(head)) + head + body


@pytest.mark.parametrize("header", [40, 108])
@pytest.mark.parametrize("masks", [(), (0x7C00, 0x3E0, 0x1F), (0xF800, 0x7E0, 0x1F)])
def test_a_bmp_of_16_bits_a_pixel_goes_up_to_white(masks, header):
    data = masked_bmp(np.arange(1 << 16, dtype="<u2").reshape(256, 256), masks, header)
    image, expected = decode(data).image, np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert np.abs(image.astype(int) - expected).max() <= 1  # Pillow rounds down
    for whole in (0, 255):
        assert np.array_equal(image == whole, expected == whole)


MASKS = [
    (0xF00, 0xF0, 0xF),
    (0x1F, 0x3E0, 0x7C00),
    (0x7C00, 0x3E0, 0x1F, 0x8000),
    (0xFF, 0xFF00, 0xFF0000),
    (0xFF000000, 0xFF0000, 0xFF00, 0xFF),
    (0xFF0000, 0xFF00, 0xFF, 0xFF000000),
    (0x3FF00000, 0xFFC00, 0x3FF),
    (0x3FF00000, 0xFFC00, 0x3FF, 0xC0000000),
]


@pytest.mark.parametrize("top_first", [False, True])
@pytest.mark.parametrize("header", [40, 56, 108, 124])
@pytest.mark.parametrize("masks", MASKS, ids=lambda masks: "-".join(f"{mask:x}" for mask in masks))
def test_the_masks_of_a_bmp_say_where_its_colours_are(masks, header, top_first):
    pixels = np.random.default_rng(5).integers(0, 1 << 32, (H, W), np.uint32)
    data = masked_bmp(pixels.astype("<u2" if max(masks) < 1 << 16 else "<u4"), masks, header, top_first)
    photo = decode(data)
    top = np.iinfo(photo.image.dtype).max
    assert top == (65535 if 0x3FF in masks else 255)
    values = [(pixels & mask) // (mask & -mask) / (mask // (mask & -mask)) for mask in masks]
    assert np.abs(photo.image - np.dstack(values[:3]) * top).max() <= 0.5
    assert (photo.opacity is None) is (len(masks) == 3)
    assert photo.opacity is None or np.abs(photo.opacity - values[3] * top).max() <= 0.5
    assert photo.warnings == ()


@pytest.mark.parametrize(
    ("kind", "masks"),
    [("<u4", (0, 0, 0)), ("<u4", (0xF0F, 0xF0, 0xF000)), ("<u4", (0xFFFF8000, 0x7F00, 255)), ("<u2", (0xFF0000, 0xFF00, 255))],
)
def test_masks_of_a_bmp_that_are_no_colours_are_refused(kind, masks):
    with pytest.raises(UnsupportedPhoto, match="bit masks"):
        decode(masked_bmp(np.zeros((H, W), kind), masks))


@pytest.mark.parametrize(("at", "value", "reason"), [(28, 2, "2 bits"), (30, 4, "JPEG or PNG"), (30, 5, "JPEG or PNG")])
def test_kinds_of_bmp_that_are_not_read_are_named(at, value, reason):
    data = bytearray(saved(noise(), "BMP"))
    data[at] = value
    with pytest.raises(UnsupportedPhoto, match=reason):
        decode(bytes(data))


def test_webp_opacity_and_lossless_have_no_quality():
    photo = decode(saved(noise(4), "WEBP", lossless=True, exact=True))
    assert np.array_equal(np.dstack((photo.image, photo.opacity)), noise(4))
    assert photo.quality is None


@pytest.mark.parametrize("lossless", [True, False])
def test_webp_opacity_that_the_extended_header_keeps_quiet_about_is_read(lossless):
    whole = saved(noise(4), "WEBP", lossless=lossless, exact=True)
    pixels = [chunk for chunk in webp.parse(whole).chunks if chunk.kind != b"VP8X"]
    size = struct.pack("<I", W - 1)[:3] + struct.pack("<I", H - 1)[:3]
    data = webp.serialise(webp.WebP((webp.Chunk(b"VP8X", bytes(4) + size), *pixels)))
    assert np.array_equal(decode(data).opacity, noise(4)[..., 3])
    assert np.array_equal(decode(data).image, decode(whole).image)


@pytest.mark.parametrize(("subsampling", "name"), [(0, "4:4:4"), (1, "4:2:2"), (2, "4:2:0")])
def test_jpeg_quality_and_subsampling_are_known(subsampling, name):
    photo = decode(saved(noise(), "JPEG", quality=83, subsampling=subsampling), "wrong-extension.png")
    assert (photo.container, photo.quality, photo.subsampling) == (Container.JPEG, 83, name)
    assert photo.carried.others[0][0] == "APP0"


def test_grey_jpeg_is_grey():
    photo = decode(saved(noise(1), "JPEG"))
    assert photo.grey
    assert photo.subsampling is None
    assert np.array_equal(photo.image[..., 0], photo.image[..., 2])


# What each of the sixteen full mixes of ink looks like under the profile below, (C, M, Y, K) -> Lab: like no formula's.
LAB = {
    inks: (max(0, 100 - 20 * sum(inks[:3]) - 60 * inks[3]), 30 * inks[1] - 25 * inks[0], 50 * inks[2] - 20 * inks[0])
    for inks in itertools.product((0, 1), repeat=4)
}
SRGB_FOR_D50 = np.array([(0.4361, 0.3851, 0.1431), (0.2225, 0.7169, 0.0606), (0.0139, 0.0971, 0.7141)])  # to XYZ


def cmyk_profile():
    """A printer's profile: an lut8 (ICC.1:2010, 10.9) with two grid points for each ink."""
    grid = b"".join(
        bytes((round(255 * lab[0] / 100), round(lab[1] + 128), round(lab[2] + 128))) for _, lab in sorted(LAB.items())
    )
    ramp = bytes(range(256))
    matrix = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    table = b"mft1\0\0\0\0\4\3\2\0" + matrix + ramp * 4 + grid + ramp * 3
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061)
    tags = {b"A2B0": table, b"A2B1": table, b"wtpt": white, b"desc": b"desc\0\0\0\0\0\0\0\2a\0" + bytes(80)}
    entries, body, at = b"", b"", 132 + 12 * len(tags)
    for tag, value in tags.items():
        entries += tag + struct.pack(">II", at + len(body), len(value))
        body += value + bytes(-len(value) % 4)
    rest = struct.pack(">I", len(tags)) + entries + body
    header = struct.pack(">I4sI4s4s4s", 128 + len(rest), b"lcms", 0x02400000, b"prtr", b"CMYK", b"Lab ")
    return header + bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061) + bytes(48) + rest


def inked(inks):
    return Image.new("CMYK", (W, H), tuple(255 * ink for ink in inks))


@pytest.mark.parametrize("form", ["JPEG", "TIFF"])
@pytest.mark.parametrize("inks", [(0, 0, 0, 0), (1, 0, 0, 0), (0, 1, 0, 0), (0, 1, 1, 0), (0, 0, 1, 0)])
def test_cmyk_becomes_what_its_profile_says(form, inks):
    options = {"quality": 100} if form == "JPEG" else {}
    photo = decode(saved(inked(inks), form, icc_profile=cmyk_profile(), **options))
    linear = np.linalg.solve(SRGB_FOR_D50, skimage.color.lab2xyz(np.array(LAB[inks], float), "D50"))
    expected = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 0.0) ** (1 / 2.4) - 0.055)
    assert np.abs(photo.image[5, 5] - 255 * expected).max() < 4
    assert photo.carried.icc is None
    assert photo.warnings == ("CMYK colours were converted to sRGB by their ICC profile, which was left out",)


@pytest.mark.parametrize("form", ["JPEG", "TIFF"])
def test_cmyk_is_converted_as_pillow_converts_it(form):
    image = Image.frombytes("CMYK", (W, H), noise(4).tobytes())
    data = saved(image, form, icc_profile=cmyk_profile())
    profile = ImageCms.ImageCmsProfile(io.BytesIO(cmyk_profile()))
    intent, flags = ImageCms.Intent.RELATIVE_COLORIMETRIC, ImageCms.Flags.BLACKPOINTCOMPENSATION
    source = Image.open(io.BytesIO(data))
    seen = ImageCms.profileToProfile(source, profile, ImageCms.createProfile("sRGB"), intent, "RGB", flags=flags)
    assert np.array_equal(decode(data).image, np.asarray(seen))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "TIFF"])
def test_cmyk_is_turned_once(form, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.frombytes("CMYK", (W, H), noise(4).tobytes())
    as_it_lies = decode(saved(image, form, icc_profile=cmyk_profile())).image
    photo = decode(saved(image, form, icc_profile=cmyk_profile(), exif=exif))
    assert photo.orientation == orientation
    assert np.array_equal(photo.image, upright(as_it_lies, orientation))


@pytest.mark.parametrize("extra", ["unspecified", "unassalpha"])
def test_channels_beside_the_four_inks_are_left_out_with_a_warning(extra):
    profile = [(34675, 7, len(cmyk_profile()), cmyk_profile(), False)]
    inks, beside = (tiff(noise(5)[..., :n], photometric="separated", extratags=profile, **options)
                    for n, options in ((4, {}), (5, {"extrasamples": [extra]})))  # fmt: skip
    photo = decode(beside)
    assert np.array_equal(photo.image, decode(inks).image)
    assert photo.warnings[0] == "channels beside its four inks were left out"


@pytest.mark.parametrize("form", ["JPEG", "TIFF"])
@pytest.mark.parametrize("icc", [None, b"\0" * 16 + b"CMYK" + b"\0" * 200])
def test_cmyk_without_a_usable_profile_becomes_rgb_by_a_formula(form, icc):
    image = Image.frombytes("CMYK", (W, H), noise(4).tobytes())
    photo = decode(saved(image, form, icc_profile=icc))
    assert photo.image.shape == (H, W, 3)
    assert photo.opacity is None
    assert photo.carried.icc is None
    assert len(photo.warnings) == 1
    assert "simple formula" in photo.warnings[0]
    assert ("cannot be used" in photo.warnings[0]) is (icc is not None)


def test_cmyk_without_pillow_says_how_to_get_it(monkeypatch):
    data = saved(inked((0, 1, 1, 0)), "JPEG", icc_profile=cmyk_profile())
    monkeypatch.setitem(sys.modules, "PIL", None)
    photo = decode(data)
    assert "bokehcli[cmyk]" in photo.warnings[0]
    assert photo.image.shape == (H, W, 3)


def test_a_cmyk_profile_on_rgb_pixels_is_left_out():
    photo = decode(saved(noise(), "JPEG", icc_profile=cmyk_profile()))
    assert photo.carried.icc is None
    assert photo.warnings == ("the ICC profile is for CMYK, the picture is not: profile left out",)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "BMP"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_truncated_file_is_refused_as_cut_short(form, share):
    data = saved(np.kron(noise(), np.ones((8, 8, 1), np.uint8)), form)
    if form == "TIFF" and data[4:8] != b"\x08\0\0\0":
        share = 0.999  # the directory is at the end
    with pytest.raises(PhotoError, match="cut short"):
        decode(data[: int(len(data) * share)])


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_animations_are_refused(form):
    frames = [Image.new("RGB", (9, 9), (i * 40, 0, 0)) for i in range(3)]
    with pytest.raises(UnsupportedPhoto, match="animated"):
        decode(saved(frames[0], form, save_all=True, append_images=frames[1:]))


def test_the_first_page_of_a_tiff_is_taken_with_a_warning():
    frames = [Image.new("RGB", (9, 9), (i * 40, 0, 0)) for i in range(3)]
    photo = decode(saved(frames[0], "TIFF", save_all=True, append_images=frames[1:]))
    assert not photo.image.any()
    assert "3 pages" in photo.warnings[0]


def test_layers_of_a_tiff_are_left_out_with_a_warning():
    photo = decode(tiff(noise(), photometric="rgb", extratags=[(37724, 7, 6, b"Adobe\0", False)]))
    assert photo.warnings == ("its layers (Photoshop's) were left out, and the picture that they make was rendered",)


@pytest.mark.parametrize("kind", [0, 1])
def test_pictures_below_a_page_are_left_out_with_a_warning_unless_they_are_reduced_ones(kind):
    out = io.BytesIO()
    with tifffile.TiffWriter(out) as file:
        file.write(noise(), photometric="rgb", subifds=1)
        file.write(noise()[::2, ::2], photometric="rgb", subfiletype=kind)
    warnings = ("pictures below its first page (SubIFDs) were left out",)
    assert decode(out.getvalue()).warnings == (() if kind else warnings)


def test_a_reduced_second_page_is_no_page():
    out = io.BytesIO()
    with tifffile.TiffWriter(out) as writer:
        writer.write(noise(), photometric="rgb")
        writer.write(noise()[::2, ::2], photometric="rgb", subfiletype=1)
    assert decode(out.getvalue()).warnings == ()


@pytest.mark.parametrize("dtype", [np.float64, np.int16, np.uint32])
def test_other_samples_are_refused(dtype):
    with pytest.raises(UnsupportedPhoto, match="save it with"):
        decode(tiff(np.ones((H, W, 3), dtype), photometric="rgb"))


def test_raw_files_are_refused():
    tag = (50706, "B", 4, bytes((1, 4, 0, 0)), False)  # DNG version
    with pytest.raises(UnsupportedPhoto, match="raw file"):
        decode(tiff(noise(), photometric="rgb", extratags=[tag]))


@pytest.mark.parametrize("data", [b"", b"\0", b"\0" * 64, b"garbage" * 9, b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n",
                                  b"II*\0", b"RIFF\4\0\0\0WEBP", b"BM" + b"\0" * 12 + b"\x28\0\0\0"])  # fmt: skip
def test_what_is_no_photo_is_a_decode_error(data):
    with pytest.raises(DecodeError, match="holiday"):
        decode(data, "holiday.jpg")


@pytest.mark.parametrize("start", [b"\0\0\0\x18ftypcrx ", b"GIF89a", b"II+\0", b"MM\0+"])
def test_known_kinds_that_are_not_read_are_named(start):
    with pytest.raises(UnsupportedPhoto, match="not read"):
        decode(start + b"\0" * 50)


def huge_png(width, height):
    def chunk(kind, payload):
        return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_what_takes_more_memory_weighs_more():
    """Relative to a JPEG of the same size, whatever the files' length."""
    colour, deep = noise(), noise(dtype=np.uint16)
    jpeg = weight_of(saved(colour, "JPEG"))
    assert jpeg == H * W / 1e6
    assert weight_of(saved(colour, "PNG")) == weight_of(tiff(colour, photometric="rgb")) == jpeg
    assert weight_of(saved(colour, "WEBP")) == weight_of(tiff(deep, photometric="rgb", compression="zlib")) == 2 * jpeg
    assert weight_of(saved(noise(1, np.uint16), "PNG")) == 2 * jpeg
    assert weight_of(tiff(colour.astype(np.float32), photometric="rgb")) == 4.5 * jpeg
    assert weight_of(b"") == weight_of(b"no photo") == weight_of(b"\xff\xd8\xff\xe0") == 0.0


def test_a_size_above_the_limit_is_refused_before_decoding():
    with pytest.raises(UnsupportedPhoto, match="above the limit"):
        decode(huge_png(1 << 30, 1 << 30))
    with pytest.raises(UnsupportedPhoto, match="above the limit"):
        decode(saved(noise(), "JPEG"), options=DecodeOptions(max_megapixels=0.0001))
    with pytest.raises(DecodeError, match="0 x 5 pixels"):
        decode(huge_png(0, 5))


def test_a_wrong_checksum_in_the_pixels_is_damage():
    data = bytearray(saved(noise(), "PNG"))
    data[data.index(b"IDAT") + 20] ^= 1
    with pytest.raises(DecodeError, match="checksum"):
        decode(bytes(data))


SEEDS = [saved(noise()[:9, :9], form) for form in ("JPEG", "PNG", "WEBP", "TIFF", "BMP")]
SEEDS += [masked_bmp(np.arange(81, dtype="<u4").reshape(9, 9), masks, 108) for masks in MASKS[-2:]]
SEEDS += [packed_tiff(noise(4)[:9, :9] >> (8 - bits), bits, 2) for bits in (2, 4)]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(SEEDS), st.data())
def test_damaged_files_give_a_photo_or_a_photo_error(seed, draw):
    data = bytearray(seed)
    for _ in range(draw.draw(st.integers(1, 4))):
        data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    try:
        photo = decode(bytes(data), options=DecodeOptions(max_megapixels=1))
    except PhotoError:
        return
    assert photo.image.ndim == 3
    assert photo.image.dtype in (np.uint8, np.uint16)
