"""Tone curves of ICC profiles, held to Little CMS, and what cannot be used is sRGB."""

import io
import struct
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageCms

from bokehcli.lens import render
from bokehcli.light import CODES, encoding_table
from bokehcli.options import LensOptions
from bokehcli.tone import SRGB, Parametric, Sampled, as_seen, curves_of, encoded_table, floats_of, light_of, white_of

RAMP = np.arange(256, dtype=np.uint8)
D50, RED, GREEN, BLUE = (0.9642, 1.0, 0.8249), (0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141)


def fixed(*numbers: float) -> bytes:
    return struct.pack(f">{len(numbers)}i", *(round(number * 65536) for number in numbers))


def curv(*values: int) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(f">I{len(values)}H", len(values), *values)


def para(function: int, *numbers: float) -> bytes:
    return b"para\0\0\0\0" + struct.pack(">HH", function, 0) + fixed(*numbers)


def profile(curves: Sequence[bytes], space: bytes = b"RGB ", more: dict[bytes, bytes] | None = None) -> bytes:
    """A monitor's profile of version 4 with sRGB's primaries."""
    xyz = {b"wtpt": D50} | ({b"rXYZ": RED, b"gXYZ": GREEN, b"bXYZ": BLUE} if space == b"RGB " else {})
    names = (b"rTRC", b"gTRC", b"bTRC") if space == b"RGB " else (b"kTRC",)
    text = "a".encode("utf-16-be")
    words = b"mluc\0\0\0\0" + struct.pack(">II", 1, 12) + b"enUS" + struct.pack(">II", len(text), 28) + text
    tags = {b"desc": words, b"cprt": words}
    tags |= {name: b"XYZ \0\0\0\0" + fixed(*value) for name, value in xyz.items()}
    tags |= dict(zip(names, curves, strict=False)) | (more or {})
    table, body, at = b"", b"", 132 + 12 * len(tags)
    for name, data in tags.items():
        padded = data + bytes(-len(data) % 4)
        table += name + struct.pack(">II", at + len(body), len(data))
        body += padded
    rest = struct.pack(">I", len(tags)) + table + body
    header = struct.pack(">I4sI4s4s4s", 128 + len(rest), b"lcms", 0x04400000, b"mntr", space, b"XYZ ")
    header += bytes(12) + b"acsp" + bytes(28) + fixed(*D50) + bytes(48)
    assert len(header) == 128
    return header + rest


CURVES = {
    "linear": curv(),
    "Adobe RGB": curv(round(563 / 256 * 256)),
    "ProPhoto": curv(round(1.8 * 256)),
    "table": curv(*(round(65535 * (i / 1023) ** 2.4) for i in range(1024))),
    "para 0": para(0, 2.2),
    "para 1": para(1, 2.2, 0.9, 0.1),
    "para 2": para(2, 2.0, 0.8, 0.1, 0.05),
    "Display P3": para(3, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045),
    "para 4": para(4, 2.4, 0.92, 0.05, 0.08, 0.04, 0.02, 0.0),
}


def little_cms(icc: bytes) -> NDArray[np.uint8]:
    """Linear light of the ramp in each channel, (256, 3), rounded to 8 bits."""
    straight = ImageCms.ImageCmsProfile(io.BytesIO(profile([CURVES["linear"]] * 3)))
    image = Image.fromarray(np.repeat(RAMP[None, :, None], 3, axis=2))
    source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
    converted = ImageCms.profileToProfile(image, source, straight, renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC)
    assert converted is not None
    return np.asarray(converted)[0]


@pytest.mark.parametrize("name", CURVES)
def test_light_is_what_little_cms_makes_of_it(name: str) -> None:
    icc = profile([CURVES[name]] * 3)
    light = np.stack([curve.linear(RAMP / np.float32(255)) for curve in curves_of(icc)], axis=1)
    assert np.abs(light * 255 - little_cms(icc)).max() <= 0.6 + 1e-3


def test_each_channel_has_its_own_curve() -> None:
    icc = profile([CURVES["ProPhoto"], CURVES["Adobe RGB"], CURVES["linear"]])
    light = np.stack([curve.linear(RAMP / np.float32(255)) for curve in curves_of(icc)], axis=1)
    # grey of three curves is coloured, and Little CMS cuts off what its primaries give outside of the range
    assert np.abs(light * 255 - little_cms(icc)).max() <= 0.6 + 1e-3


def test_grey_has_one_curve() -> None:
    assert curves_of(profile([CURVES["ProPhoto"]], b"GRAY")) == (Parametric(round(1.8 * 256) / 256),) * 3


FALLING = curv(*range(60000, 0, -1000))
DARK = curv(0, 100)
INFINITE = para(3, 2.4, float(1 << 14), 0.0, 1.0, 0.04)


@pytest.mark.parametrize(
    "icc",
    [
        None,
        b"",
        profile([FALLING] * 3),
        profile([DARK] * 3),
        profile([CURVES["linear"]] * 2),
        profile([b"text" + bytes(20)] * 3),
        profile([para(9, 2.2)] * 3),
        profile([para(0, 0.0)] * 3),
        profile([para(1, 2.2, 0.0, 1.0)] * 3),
        profile([b"curv\0\0\0\0\xff\xff\xff\xff"] * 3),
        profile([CURVES["linear"]] * 3, more={b"A2B0": b"mft2" + bytes(60)}),
        profile([CURVES["linear"]] * 3, b"CMYK"),
        profile([CURVES["linear"]] * 3)[:200],
    ],
)
def test_what_cannot_be_used_is_srgb(icc: bytes | None) -> None:
    assert curves_of(icc) == SRGB


@given(st.binary(max_size=60), st.integers(0, 400))
def test_damage_never_raises(noise: bytes, at: int) -> None:
    icc = profile([CURVES["Display P3"]] * 3)
    assert len(curves_of(icc[:at] + noise + icc[at + len(noise) :])) == 3


@pytest.mark.parametrize("name", CURVES)
def test_the_code_of_a_code_s_light_is_that_code(name: str) -> None:
    curve = curves_of(profile([CURVES[name]] * 3))[0]
    codes = np.arange(0, CODES, 257)  # those of 8 bits
    light = curve.linear((codes / np.float32(CODES - 1)).astype(np.float32))
    alone = (np.diff(light, prepend=-1.0) > 1e-5) & (np.diff(light, append=2.0) > 1e-5)  # else the lowest of several
    assert np.abs(encoded_table(curve, light, CODES).astype(int) - codes)[alone].max() <= 4  # of 65535; light is float32
    back = encoding_table(curve)[np.rint(np.sqrt(light) * (CODES - 1)).astype(int)].astype(int)
    assert np.abs(back - codes)[alone].max() <= 257 / 2
    assert (back[0], back[-1]) == (0, CODES - 1)


def flat(dtype: type[np.unsignedinteger], level: float) -> NDArray[np.unsignedinteger]:
    return np.full((24, 40, 3), np.array([level, 0.5, 1.0 - level]) * np.iinfo(dtype).max).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("names", [["ProPhoto"] * 3, ["table"] * 3, ["Adobe RGB", "linear", "Display P3"]])
@pytest.mark.parametrize("level", [0.1, 0.6, 0.97])
def test_a_flat_picture_stays_flat(dtype: type[np.unsignedinteger], names: list[str], level: float) -> None:
    image = flat(dtype, level)
    curves = curves_of(profile([CURVES[name] for name in names]))
    options = LensOptions(strength=1.0, highlights=1.0)
    rendered = render(image, np.zeros(image.shape[:2], np.uint8), np.ones((1, 1), np.float32), options, curves)
    allowed = 0 if dtype is np.uint8 else 12
    assert np.abs(rendered.astype(int) - image).max() <= allowed


@pytest.mark.parametrize("gamma", [1.0, 1.8, 3.0])
def test_colours_mix_as_their_light_does(gamma: float) -> None:
    """The light on both sides of a border between black and grey is the half of the grey's."""
    image = np.zeros((64, 256, 3), np.uint16)
    image[:, 128:] = 50_000
    everywhere = np.zeros(image.shape[:2], np.uint8), np.ones((1, 1), np.float32)
    lens = LensOptions(strength=1.0, highlights=0.0)
    rendered = render(image, *everywhere, lens, (Parametric(gamma),) * 3)
    light = (rendered[32, 127:129, 0] / 65535.0) ** gamma
    assert light.mean() == pytest.approx((50_000 / 65535) ** gamma / 2, rel=0.002)


def test_sampled_goes_straight_between_its_values() -> None:
    curve = Sampled((0, 20000, 65535))
    assert curve.linear(np.array([0.25, 0.5, 1.0], np.float32)) == pytest.approx([10000 / 65535, 20000 / 65535, 1.0])


@pytest.mark.parametrize("name", CURVES)
def test_floats_come_back_from_their_light(name: str) -> None:
    curve = curves_of(profile([CURVES[name]] * 3))[0]
    values = np.linspace(-3.0, 3.0, 6001, dtype=np.float32)
    light = light_of(values, curve)
    assert np.isfinite(light).all()
    assert np.abs(light_of(floats_of(light, curve), curve) - light)[np.abs(values) <= 1.0].max() <= 2e-5
    rising = np.diff(light, prepend=-1e9) > 1e-4  # else a curve is flat there
    assert np.abs(floats_of(light, curve) - values)[rising].max() <= 1e-3
    assert light_of(np.array([1.0], np.float32), curve)[0] == pytest.approx(white_of(curve)[0])


def test_beyond_white_a_power_goes_on_as_it_was_and_srgb_nearly_so() -> None:
    beyond = np.array([1.5, 2.0, 4.0], np.float32)
    for gamma in (1.0, 1.8, 2.2):
        assert light_of(beyond, Parametric(gamma)) == pytest.approx(beyond**gamma, rel=1e-3)
    extended = ((beyond + 0.055) / 1.055) ** 2.4  # the formula itself
    assert light_of(beyond, SRGB[0]) == pytest.approx(extended, rel=0.1)
    assert light_of(-beyond, SRGB[0]) == pytest.approx(-light_of(beyond, SRGB[0]))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_photo_close_to_srgb_is_seen_as_it_is(dtype: type[np.unsignedinteger]) -> None:
    image = flat(dtype, 0.3)
    for name in ("Adobe RGB", "ProPhoto", "Display P3"):
        assert as_seen(image, curves_of(profile([CURVES[name]] * 3))) is image
    assert as_seen(image, SRGB) is image


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_linear_light_is_seen_as_bright_as_it_is(dtype: type[np.generic]) -> None:
    level = np.linspace(0.0, 1.0, 97, dtype=np.float32)
    top = 1.0 if dtype is np.float32 else np.iinfo(dtype).max
    linear = np.rint(level * top) / top if dtype is not np.float32 else level
    image = np.dstack([linear[None] * top] * 3).astype(dtype)
    shown = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 1e-9) ** (1 / 2.4) - 0.055)
    seen = as_seen(image, curves_of(profile([CURVES["linear"]] * 3)))
    assert seen.dtype == np.uint16
    assert np.abs(seen[0, :, 0] / 65535.0 - shown).max() < 1e-4


def test_floats_are_seen_up_to_white() -> None:
    image = np.array([[[-1.0, 0.5, 7.0]]], np.float32)
    assert as_seen(image, SRGB)[0, 0] == pytest.approx([0, 32768, 65535], abs=1)
