"""What the lens is, for whoever renders with it: radii, aperture shapes, the highlight curve. Pure numpy."""

import itertools
import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]

# Largest blur radius at strength 1, as a share of the photo's long side. A thin lens of focal length f and f-number N
# focused at distance d draws a point at infinity as a disc of diameter f^2 / (N (d - f)) on the sensor. 85 mm, f/1.2 and
# 2.9 m, a full-length portrait on 36 mm: 2.1 mm, radius 0.030 of the long side.
MAX_RADIUS = 0.03
MIN_RADIUS_PX = 0.6
# Above this encoded level a highlight is taken to have been clipped; 0.85 encoded is 0.69 in linear light.
HIGHLIGHT_KNEE = 0.6920
HIGHLIGHT_RANGE = 32.0
SUPERSAMPLING = 8
# Radii from which a blur is rendered at half and at a quarter of the size: the kernel then spans 7 reduced pixels at least.
# What is out of focus is 55 to 73 dB from a rendering at full size throughout, on five photos of 1.6 to 12 MP, four strengths;
# with a quarter from 24 px on it was 56 to 73 dB, and seven photos of 12 MP took up to 30 % more time on one thread.
REDUCE_FROM_PX = {2: 7.0, 4: 14.0}
QUARTER_FROM_LARGEST_PX = 24.0  # of the lens: where all blurs are smaller, too little is to be had from a quarter of the size
# Layers of blur in an octave of radii, from REDUCE_FROM_PX[2] on; below, one. What lies between two is a mixture of both, and a
# point of light in it a disc within a larger one: the nearer these are, the less that is seen.
LAYERS_AN_OCTAVE = 3
NEAREST = 1.1  # how much larger the largest radius is, at least, than the one before
LARGEST_REDUCTION = max(REDUCE_FROM_PX)
LONGEST_REACH = 1.26  # of an aperture's corner, in radii, at most: a square of the disc's area
# A pixel gives light to the blur by max(0, 1 - SOURCE_SLOPE x alpha). With the plain 1 - alpha the mixed pixels of an edge
# of one pixel's width give 1/6 pixel of the subject's own light away, with this 1/96.
SOURCE_SLOPE = 4.0
# Where less than this share of the light reaches a pixel that gives none itself, the background fades into the photo: deep
# inside a wide unsure region there is nothing to divide by, and without a fade its border would show.
FADE_WEIGHT = 0.1
MIN_WEIGHT = 1e-4
ALL_LOST_PX = 8.0  # radius from which hardly any noise is left: 0.5 % of its variance


def radius_px(strength: float, size: tuple[int, int]) -> float:
    """Radius of the largest blur on a picture of (height, width), in pixels."""
    return strength * MAX_RADIUS * max(size)


def layer_radii_px(largest_px: float) -> list[float]:
    """Blur radii, ascending, the last one `largest_px`; none below MIN_RADIUS_PX unless it is the only one.

    The others are an octave apart up to that from which a blur is rendered at half the size, so that what lies between it and
    the next is rendered so, and from there a part of one. The last one is up to as much, and a little, from the one before.
    """
    first_px = REDUCE_FROM_PX[2]
    small = (first_px / 2.0**number for number in range(int(math.log2(first_px / MIN_RADIUS_PX)), 0, -1))
    large = (first_px * 2.0 ** (number / LAYERS_AN_OCTAVE) for number in itertools.count())
    radii = itertools.takewhile(lambda radius: radius < largest_px / NEAREST, itertools.chain(small, large))
    return [*radii, largest_px]


def reduction_of(radius_px: float, largest_px: float) -> int:
    """How many times smaller the picture is on which a blur of that radius is rendered: 1, 2 or 4. largest_px: of the lens."""
    most = LARGEST_REDUCTION if largest_px >= QUARTER_FROM_LARGEST_PX else 2
    return min(most, max((reduction for reduction, from_px in REDUCE_FROM_PX.items() if radius_px >= from_px), default=1))


def reduced_radius_px(radius_px: float, reduction: int) -> float:
    """Radius, in reduced pixels, of the aperture that makes a blur of radius_px on a picture so many times smaller.

    Averaging over k = `reduction` pixels and enlarging bilinearly blur, too. Variances add up along each axis: of a disc
    r^2 / 4, of the average k^2 / 12, of the enlarging k^2 / 6. A disc of r^2 - k^2 would give the spread of the one that is
    asked for, one of r^2 its area at half height; half-way between, either is a little off.
    """
    if reduction == 1:
        return radius_px
    return math.sqrt((radius_px / reduction) ** 2 - 0.5)


@lru_cache(maxsize=1)
def lost_noise() -> Float:
    """(256,): deviation of what a blur takes of white noise, of the noise's own, for radii from 0 to ALL_LOST_PX.

    The mean over a disc leaves 1 / (pi r^2) of the variance, one below a pixel all of it; between, the two join smoothly.
    """
    area_px = np.pi * np.linspace(0.0, ALL_LOST_PX, 256) ** 2
    return np.sqrt(1.0 - (1.0 + area_px**1.5) ** (-2.0 / 3.0)).astype(np.float32)


def highlight_gain(highlights: float) -> float:
    """Slope constant c of the highlight curve, [0, 1), for a setting in [0, 1]; see `expand`.

    The curve is identity below the knee k and k + (1 - k) t / (1 - c t) above it, with t = (v - k) / (1 - k): white
    becomes k + (1 - k) HIGHLIGHT_RANGE^highlights. Its inverse is t / (1 + c t), so what is flat comes back unchanged.
    """
    return float(1.0 - HIGHLIGHT_RANGE ** (-highlights))


@lru_cache(maxsize=256)
def aperture_kernel(radius_px: float, blades: int = 0, cut: tuple[float, float] = (0.0, 0.0)) -> Float:
    """Picture of the aperture: (K, K) float32, K odd, sum 1, edges anti-aliased.

    blades: 0 for a disc, else the corners of a regular polygon of the same area. cut: the cat-eye, a vector in units of
    the radius: the aperture is what is left of it, moved by minus half that vector, under a disc moved by plus half of it.
    """
    reach = 1.0 if blades == 0 else math.sqrt(2.0 * math.pi / (blades * math.sin(2.0 * math.pi / blades)))
    half = max(1, math.ceil(radius_px * reach - 0.5))
    step = (np.arange((2 * half + 1) * SUPERSAMPLING) + 0.5) / SUPERSAMPLING - half - 0.5
    x, y = step[None, :] / radius_px + cut[0] / 2.0, step[:, None] / radius_px + cut[1] / 2.0
    if blades == 0:
        inside = x * x + y * y <= 1.0
    else:
        apothem = reach * math.cos(math.pi / blades)
        inside = np.ones((step.size, step.size), bool)
        for blade in range(blades):
            angle = 2.0 * math.pi * (blade + 0.5) / blades - math.pi / 2.0
            inside &= x * math.cos(angle) + y * math.sin(angle) <= apothem
    if cut != (0.0, 0.0):
        inside &= (x - cut[0]) ** 2 + (y - cut[1]) ** 2 <= 1.0
    side = 2 * half + 1
    covered = inside.reshape(side, SUPERSAMPLING, side, SUPERSAMPLING).mean((1, 3))
    if not covered.any():  # far below a pixel: no subsample lies inside, and nothing is blurred
        covered[half, half] = 1.0
    kernel: Float = (covered / covered.sum()).astype(np.float32)
    kernel.setflags(write=False)
    return kernel
