"""Tone curves: which linear light a photo's encoded values stand for, as its ICC profile says, or sRGB's.

Values beyond 0 and 1, which floats may have, go on as a power of the curve's own slope at white, and below 0 as above it.

Only profiles of a matrix and curves say it in a form that can be undone (ICC.1:2022, 8.3.3 and 8.4.3; tags 9.2.44 and the
like, types 10.6 and 10.18). For all others, and where there is none, the curve is taken to be sRGB's.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bokehcli.containers.reading import Malformed, take, unsigned
from bokehcli.pixels import linear_to_srgb, srgb_to_linear

Image = NDArray[Any]
Float = NDArray[np.float32]

HEADER_BYTES = 128
MOST_TAGS = 1000
MOST_SAMPLES = 65_536
COLOUR_CURVES, GREY_CURVES = (b"rTRC", b"gTRC", b"bTRC"), (b"kTRC",) * 3
TABLES = (b"A2B0", b"A2B1", b"D2B0")  # what a program reads instead of the curves where they are there
PARAMETERS = (1, 3, 4, 5, 7)  # of the function types 0 to 4
FAR_FROM_SRGB = 0.1  # of the whole range; Adobe RGB is off by 0.004, ProPhoto by 0.07, linear light by 0.24
LARGEST_FLOAT = 1e6  # so that no power of it overflows
NEAR_WHITE = 0.98
PROBES = np.linspace(0.0, 1.0, 1025, dtype=np.float32)
LEAST_WHITE = 0.5  # of linear light, which a usable curve gives white


@dataclass(frozen=True)
class Sampled:
    """Linear light at evenly spaced encoded values, 0 to 65535, linear between them."""

    values: tuple[int, ...]

    def linear(self, encoded: Float) -> Float:
        """Linear light of encoded values, both [0, 1]."""
        at = np.linspace(0.0, 1.0, len(self.values))
        return np.interp(encoded, at, np.array(self.values) / 65535.0).astype(np.float32)

    def encoded(self, linear: Float) -> Float:
        """Values that `linear` gives that light."""
        light, first = np.unique(np.array(self.values) / 65535.0, return_index=True)
        return np.interp(linear, light, first / (len(self.values) - 1.0)).astype(np.float32)


@dataclass(frozen=True)
class Parametric:
    """(a x + b)^g + e where x is at least d, else c x + f: the general form of all the function types."""

    g: float
    a: float = 1.0
    b: float = 0.0
    c: float = 0.0
    d: float = 0.0
    e: float = 0.0
    f: float = 0.0

    def linear(self, encoded: Float) -> Float:
        """Linear light of encoded values, both [0, 1]."""
        x = encoded.astype(np.float64)
        power = np.maximum(self.a * x + self.b, 0.0) ** self.g + self.e
        return np.clip(np.where(x >= self.d, power, self.c * x + self.f), 0.0, 1.0).astype(np.float32)

    def encoded(self, linear: Float) -> Float:
        """Values that `linear` gives that light."""
        y = linear.astype(np.float64)
        of_power = (np.maximum(y - self.e, 0.0) ** (1.0 / self.g) - self.b) / self.a
        below = (y - self.f) / self.c if self.c else np.zeros_like(y)
        return np.clip(np.where(of_power >= self.d, of_power, below), 0.0, 1.0).astype(np.float32)


@dataclass(frozen=True)
class Srgb:
    """IEC 61966-2-1."""

    def linear(self, encoded: Float) -> Float:
        """Linear light of encoded values, both [0, 1]."""
        return srgb_to_linear(encoded)

    def encoded(self, linear: Float) -> Float:
        """Values that `linear` gives that light."""
        return linear_to_srgb(linear)


Curve = Sampled | Parametric | Srgb
Curves = tuple[Curve, Curve, Curve]  # of red, green and blue
SRGB: Curves = (Srgb(),) * 3


def curves_of(profile: bytes | None) -> Curves:
    """The tone curves of an ICC profile, of grey three times the one; SRGB where it has none that can be used.

    A curve can be used if light grows with the value and white is light.
    """
    if profile is None:
        return SRGB
    try:
        tags = tags_of(profile)
        names = GREY_CURVES if profile[16:20] == b"GRAY" else COLOUR_CURVES
        if profile[16:20] not in (b"GRAY", b"RGB ") or any(name in tags for name in TABLES):
            return SRGB
        red, green, blue = (curve_of(take(profile, *tags.get(name, (0, 0)))) for name in names)
    except Malformed:
        return SRGB
    return (red, green, blue) if all(usable(curve) for curve in {red, green, blue}) else SRGB


def tags_of(profile: bytes) -> dict[bytes, tuple[int, int]]:
    """Name -> (offset, length) of a profile's tags. Raises Malformed."""
    count = unsigned(profile, HEADER_BYTES, 4, big=True)
    if count > MOST_TAGS:
        raise Malformed(f"an ICC profile declares {count} tags")
    starts = range(HEADER_BYTES + 4, HEADER_BYTES + 4 + 12 * count, 12)
    return {
        take(profile, at, 4): (unsigned(profile, at + 4, 4, big=True), unsigned(profile, at + 8, 4, big=True))
        for at in starts
    }


def curve_of(tag: bytes) -> Curve:
    """The curve of a tag of type curv or para. Raises Malformed."""
    kind = take(tag, 0, 4)
    if kind == b"curv":
        count = unsigned(tag, 8, 4, big=True)
        if count > MOST_SAMPLES:
            raise Malformed(f"a tone curve of {count} values")
        values = np.frombuffer(take(tag, 12, 2 * count), ">u2")
        if count <= 1:
            return Parametric(float(values[0]) / 256.0 if count else 1.0)
        return Sampled(tuple(values.tolist()))
    if kind != b"para":
        raise Malformed("a tone curve of an unknown type")
    function = unsigned(tag, 8, 2, big=True)
    if function >= len(PARAMETERS):
        raise Malformed("a tone curve of an unknown function")
    numbers = np.frombuffer(take(tag, 12, 4 * PARAMETERS[function]), ">i4") / 65536.0
    return parametric(function, *numbers.tolist())


def parametric(function: int, g: float, a: float = 1.0, b: float = 0.0, c: float = 0.0, *rest: float) -> Parametric:
    """A function type (ICC.1:2022, table 68) in the general form. Raises Malformed."""
    if not 0.0 < g < 100.0 or (function in (1, 2) and a == 0.0):
        raise Malformed("a tone curve that is none")
    if function == 0:
        return Parametric(g)
    if function in (1, 2):  # c is added to both parts, and there is no slope
        return Parametric(g, a, b, 0.0, -b / a, c, c)
    d, e, f = (*rest, 0.0, 0.0)[:3]
    return Parametric(g, a, b, c, d, e, f)


def usable(curve: Curve) -> bool:
    """Whether the curve can be undone: it never falls, and white is light."""
    light = curve.linear(PROBES)
    return bool(np.isfinite(light).all()) and bool((np.diff(light) >= 0.0).all()) and float(light[-1]) >= LEAST_WHITE


def encoded_table(curve: Curve, linear: Float, codes: int) -> NDArray[np.uint16]:
    """The code, 0 to codes - 1, to which the curve gives the linear light nearest to each of `linear`.

    Of several codes with the same light the lowest is taken, but for white: black stays black, and white white.
    """
    light, first = np.unique(curve.linear(np.arange(codes, dtype=np.float32) / np.float32(codes - 1)), return_index=True)
    first[-1] = codes - 1
    return np.rint(np.interp(linear, light, first)).astype(np.uint16)


@lru_cache(maxsize=8)
def white_of(curve: Curve) -> tuple[float, float]:
    """The curve at white: its light, and the power by which it grows there."""
    near, white = (float(light) for light in curve.linear(np.array([NEAR_WHITE, 1.0], np.float32)))
    return white, max(1.0, float(np.log(white / max(near, 1e-6)) / -np.log(NEAR_WHITE)))


def light_of(encoded: Float, curve: Curve) -> Float:
    """Linear light of floats of any range, any shape."""
    size: Float = np.minimum(np.abs(encoded), np.float32(LARGEST_FLOAT))
    white, power = white_of(curve)
    light = np.where(size > 1.0, white * np.maximum(size, 1.0) ** np.float32(power), curve.linear(np.minimum(size, 1.0)))
    return np.copysign(light, encoded).astype(np.float32, copy=False)


def floats_of(light: Float, curve: Curve) -> Float:
    """The inverse of `light_of`."""
    size: Float = np.abs(light)
    white, power = white_of(curve)
    beyond = np.maximum(size / np.float32(white), 1.0) ** np.float32(1.0 / power)
    return np.copysign(np.where(size > white, beyond, curve.encoded(np.minimum(size, white))), light).astype(np.float32)


def as_seen(image: Image, curves: Curves) -> Image:
    """A photo (H, W, 3) as a screen would show it, for eyes that know no profile: floats, or values not close to sRGB's.

    Floats become uint16, encoded as sRGB, what is beyond white cut off; others change their curve where middle grey would
    be off by more than FAR_FROM_SRGB, as with a linear profile.
    """
    floating = image.dtype == np.float32
    off = max(abs(float(linear_to_srgb(curve.linear(np.array([0.5], np.float32)))[0]) - 0.5) for curve in curves)
    if not floating and off <= FAR_FROM_SRGB:
        return image
    seen = np.empty(image.shape, np.uint16)
    for channel, curve in enumerate(curves):
        if floating:
            light = np.clip(light_of(image[..., channel], curve), 0.0, 1.0)
            seen[..., channel] = np.rint(linear_to_srgb(light) * np.float32(65535))
        else:
            top = np.iinfo(image.dtype).max
            table = linear_to_srgb(curve.linear(np.arange(top + 1, dtype=np.float32) / np.float32(top)))
            seen[..., channel] = np.rint(table * np.float32(65535)).astype(np.uint16)[image[..., channel]]
    return seen
