"""The background beside a subject: what it looks like there without the subject and without what stands out from it.

Means over a neighbourhood of a small copy of the photo, of what is surely background. How far the background itself, farther
out, is away from its own mean tells from where on something stands out (`bokehcli.strands`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bokehcli.light import enlarge, largest_channel
from bokehcli.opencv import cv2
from bokehcli.pixels import halved, to_8_bits
from bokehcli.tiling import Box, clip, grow, shrink

Image = NDArray[Any]
Bytes = NDArray[np.uint8]
Float = NDArray[np.float32]

BACKGROUND_PX = 320  # long side, at most, of the picture in which the background is averaged
# In shares of the photo's long side: how far from the edge strands are looked for, the whole of one counts up to half of that;
# and sigma of the means of the background, near the edge and beyond REACH.
REACH, NEAR, BEYOND = 0.02, 0.01, 0.03
# A pixel is a strand in part from so many times the background's own mean deviation on, and in full from twice that.
STANDS_OUT = 3.5
# How far beyond the line the rim reaches, in shares of the long side; the largest alpha of 255 so near from which it counts in
# part, and in full; the sigma, in reduced pixels, by which that is smoothed.
RIM, RIM_FROM, RIM_FULL, RIM_SIGMA_PX = 0.006, 96, 192, 0.7
# A pixel is rim in full from as far beyond the limit of a strand as that limit itself, or as so much of what the subject nearby
# is off the background.
RIM_CONTRAST = 0.6
SURE = 250  # alpha of 255, from which a reduced pixel is the subject
SMOOTHEST = 2.5  # levels of 255: the deviation of a background that is as smooth as can be, for that of noise and of rounding
BARE = 6  # alpha of 255, below which a reduced pixel is background
BESIDE = 0.2  # weight of what is within RIM of the edge, and may be the subject, in the mean of the background
TWICE = 2  # the means are taken anew without what stood out from the first ones
LEAST = 0.01  # share of a neighbourhood that must be background for its mean to count
FEW = np.float32(1e-3)  # weight of the whole picture's mean in each of its parts
BOX = 1.22  # half a side, in sigmas, of a box that is taken twice: a variance of side^2 / 12 each time


@dataclass(frozen=True)
class Rim:
    """What tells the subject's rim from the background, all uint8.

    subject: (h, w, 3), the mean of what is surely in focus nearby. full: (h, w), how far beyond the limit something is rim in
    full. counts: (h, w), how much it does there, 255 for all of it.
    """

    subject: Bytes
    full: Bytes
    counts: Bytes


@dataclass(frozen=True)
class Background:
    """The background beside the edge, of a photo made `times` smaller, a power of two; sides are rounded up.

    All uint8. colour: (h, w, 3), its mean. limit: (h, w), the deviation from that from which something stands out. counts:
    (h, w), how much a strand does there, 255 for all of it. rim: None where there is none.
    """

    times: int
    colour: Bytes
    limit: Bytes
    counts: Bytes
    rim: Rim | None


def share_of(pictures: Sequence[Image], alpha: Bytes) -> Bytes:
    """Alpha (H, W) as small as that of the pictures, ascending halves of the photo, in which the background is averaged."""
    share = alpha
    for picture in pictures[:0:-1]:
        if max(picture.shape) <= BACKGROUND_PX:
            break
        share = halved(share)
    return share


def distance_from(share: Bytes) -> Float:
    """(h, w), in shares of the long side: how far each pixel is from what is mostly in focus, by its share (h, w) of 255.

    2 where nothing is.
    """
    outside = (share <= 127).astype(np.uint8)
    distance: Float = np.minimum(cv2.distanceTransform(outside, cv2.DIST_L2, 5), np.float32(2 * max(share.shape)))
    return distance / np.float32(max(share.shape))


def background_of(pictures: Sequence[Image], share: Bytes, distance: Float) -> Background | None:
    """The background beside the edge; None where there is no edge, or no background away from it.

    share: (h, w), see `share_of`. distance: (h, w), see `distance_from`.
    """
    number = next(n for n, picture in enumerate(reversed(pictures)) if picture.shape[:2] == share.shape)
    small, times = to_8_bits(pictures[-1 - number]).astype(np.float32), 2**number
    long_side, bare = max(share.shape), (share < BARE).astype(np.float32)
    counts = np.clip(np.float32(2.0) - distance * np.float32(2.0 / REACH), 0.0, 1.0)
    counts[share == 255] = 0.0
    away = bare * (distance > REACH)
    if not away.any() or not counts.any():
        return None
    single = to_8_bits(pictures[-1][::times, ::times]).astype(np.float32)
    largest = largest_near(share)
    trusted = bare * np.where(largest < BARE, np.float32(1.0), np.float32(BESIDE))
    known, weight = np.maximum(around(away, BEYOND * long_side), np.float32(LEAST)), trusted
    for _ in range(TWICE):
        colour = mean_around(small, weight, NEAR * long_side)
        deviation = largest_channel(cv2.absdiff(single, colour)) * away
        local = around(deviation, BEYOND * long_side) / known
        usual = np.where(known > LEAST, local, np.float32(deviation.sum() / away.sum()))
        limit = np.float32(STANDS_OUT) * np.maximum(usual, np.float32(SMOOTHEST))
        weight = trusted * (largest_channel(cv2.absdiff(small, colour)) < limit)
    subject = mean_around(small, (share > SURE).astype(np.float32), NEAR * long_side)
    full = np.maximum(limit, np.float32(RIM_CONTRAST) * largest_channel(cv2.absdiff(subject, colour)))
    of_rim, of_strands = (cv2.convertScaleAbs(share_of, alpha=255.0) for share_of in (rim_of(largest, share), counts))
    rim = Rim(cv2.convertScaleAbs(subject), cv2.convertScaleAbs(full), of_rim)
    return Background(times, cv2.convertScaleAbs(colour), cv2.convertScaleAbs(limit), of_strands, rim)


def largest_near(share: Bytes) -> Bytes:
    """(h, w): the largest value within RIM."""
    reach_px = RIM * max(share.shape)
    places = np.arange(-math.ceil(reach_px), math.ceil(reach_px) + 1)
    disc = np.hypot(places[:, None], places[None, :]) <= reach_px
    largest: Bytes = cv2.dilate(share, disc.astype(np.uint8))
    return largest


def rim_of(largest: Bytes, share: Bytes) -> Float:
    """(h, w), 0 to 1: how much of what stands out is the subject's rim. share: of 255, of each pixel in focus."""
    smooth = cv2.GaussianBlur(largest.astype(np.float32), (0, 0), RIM_SIGMA_PX)
    rim: Float = np.clip((smooth - np.float32(RIM_FROM)) / np.float32(RIM_FULL - RIM_FROM), 0.0, 1.0)
    rim[share == 255] = 0.0
    return rim


def mean_around(picture: Float, weight: Float, sigma_px: float) -> Float:
    """(h, w, 3): the weighted mean about each pixel; where nothing near has a weight, that of the whole picture."""
    weighted = cv2.multiply(picture, cv2.merge([weight] * 3))
    whole = np.array(cv2.sumElems(weighted)[:3], np.float32) / np.float32(max(1.0, cv2.sumElems(weight)[0]))
    sums = cv2.add(around(weighted, sigma_px), (*(FEW * whole).tolist(), 0.0))  # four, as OpenCV's scalars have
    weights = around(weight, sigma_px) + FEW
    mean: Float = cv2.divide(sums, cv2.merge([weights] * 3))
    return mean


def around(picture: Float, sigma_px: float) -> Float:
    """The mean over a square about each pixel, and of these means once more: nearly a Gaussian's of that sigma."""
    side = 2 * round(sigma_px * BOX) + 1
    mean: Float = cv2.blur(cv2.blur(picture, (side, side)), (side, side))
    return mean


def background_at(background: Background, box: Box) -> Background:
    """The background at a box of the photo: bilinear, pixel centres aligned."""
    times, rim = background.times, background.rim
    outer = clip(grow(shrink(box, times), 1), background.limit.shape)

    def at_box(values: Bytes) -> Bytes:
        if times == 1:
            return values[box.slices]
        enlarged: Bytes = enlarge(values[outer.slices], times, outer, box)
        return enlarged

    if rim is not None:
        rim = Rim(at_box(rim.subject), at_box(rim.full), at_box(rim.counts)) if rim.counts[outer.slices].any() else None
    return Background(1, at_box(background.colour), at_box(background.limit), at_box(background.counts), rim)
