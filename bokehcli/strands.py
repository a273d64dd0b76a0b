"""What stands out from a smooth background beside a subject stays in focus: hair, whiskers, feathers, and its own rim.

The network's maps end in a smooth line, as the mattes did that it learned from. A lens that blurs all beyond that line cuts
hair off. Where the background near the edge is smooth, what is thin there and differs from it can be told without a network:
by how much a pixel is away from the mean of the background around it, measured by how much the background itself, farther
out, is away from its own. Such a pixel is shown as it is, which in front of a smooth background is never wrong by much; in
front of a busy one nothing is done.

That line also lies a little inside or is a slow ramp where a large photo has a sharp edge. There it need not be thin: all that
stands out within a few pixels of the line and looks like the subject nearby rather than the background is the subject.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bokehcli.light import enlarge, largest_channel
from bokehcli.opencv import cv2
from bokehcli.pixels import halved, to_8_bits
from bokehcli.tiling import Box, boxes_of, clip, grow, inside, shrink

Image = NDArray[Any]
Bytes = NDArray[np.uint8]
Float = NDArray[np.float32]

BACKGROUND_PX = 320  # long side, at most, of the picture in which the background is averaged
TILE_PX, TOGETHER_PX = 128, 768
# In shares of the photo's long side: how far from the edge strands are looked for, the whole of one counts up to half of that;
# what is as wide is no strand; and sigma of the means of the background, near the edge and beyond REACH.
REACH, WIDE, NEAR, BEYOND = 0.02, 0.005, 0.01, 0.03
# A pixel is a strand in part from so many times the background's own mean deviation on, and in full from twice that.
STANDS_OUT = 3.5
# How far beyond the line the rim reaches, in shares of the long side; the largest alpha of 255 so near from which it counts in
# part, and in full; the sigma, in reduced pixels, by which that is smoothed.
RIM, RIM_FROM, RIM_FULL, RIM_SIGMA_PX = 0.006, 96, 192, 0.7
# A pixel is rim in part from the limit of a strand on, and in full from as far beyond it as the limit itself, or as so much of
# what the subject nearby is off the background; and only where it is at most so many times as far from the subject's mean as
# from the background's. A shadow on a wall stands out as well, but not towards the subject.
RIM_CONTRAST, NEARER = 0.6, 0.7
SURE = 250  # alpha of 255, from which a reduced pixel is the subject
SMOOTHEST = 2.5  # levels of 255: the deviation of a background that is as smooth as can be, for that of noise and of rounding
BARE = 6  # alpha of 255, below which a reduced pixel is background
BESIDE = 0.2  # weight of what is within RIM of the edge, and may be the subject, in the mean of the background
TWICE = 2  # the means are taken anew without what stood out from the first ones
LEAST = 0.01  # share of a neighbourhood that must be background for its mean to count
FEW = np.float32(1e-3)  # weight of the whole picture's mean in each of its parts
BOX = 1.22  # half a side, in sigmas, of a box that is taken twice: a variance of side^2 / 12 each time


@dataclass(frozen=True)
class Background:
    """The background beside the edge, of a photo made `times` smaller, a power of two; sides are rounded up.

    All uint8. colour: (h, w, 3), its mean. limit: (h, w), the deviation from that from which something stands out. subject:
    (h, w, 3), the mean of what is surely in focus nearby. full: (h, w), how far beyond the limit something is rim in full.
    strands, rim: (h, w), how much of either counts there, 255 being all.
    """

    times: int
    colour: Bytes
    limit: Bytes
    subject: Bytes
    full: Bytes
    strands: Bytes
    rim: Bytes


def with_strands(pictures: Sequence[Image], alpha: Bytes) -> Bytes:
    """Alpha (H, W) with the rim of what is in focus and the strands beside it; it only grows.

    pictures: the photo (H, W, 3) uint8 or uint16, and before it the halves, ascending, see `bokehcli.infer.pyramid`. alpha:
    uint8, 255 in focus. One thread: without the rim two saved 3 of 27 ms for 12 megapixels.
    """
    background = background_of(pictures, alpha)
    if background is None:
        return alpha
    grown, wide = alpha.copy(), wide_px(alpha.shape)
    for tile in tiles_of(background, alpha.shape):
        own = clip(grow(tile, wide - 1), alpha.shape)
        image, solid = to_8_bits(pictures[-1][own.slices]), alpha[own.slices]
        found = standing_out(image, solid, background_at(background, own), wide)
        if found is not None:
            grown[tile.slices] = cv2.max(alpha[tile.slices], found[inside(tile, own).slices])
    return grown


def wide_px(size: Sequence[int]) -> int:
    """Pixels, odd: what is as wide, in a picture of (height, width), is no strand."""
    return max(3, 2 * round(WIDE * max(size) / 2) + 1)


def background_of(pictures: Sequence[Image], alpha: Bytes) -> Background | None:
    """The background beside the edge; None where there is no edge, or no background away from it."""
    number = next((n for n, picture in enumerate(reversed(pictures)) if max(picture.shape) <= BACKGROUND_PX), len(pictures) - 1)
    small, share = to_8_bits(pictures[-1 - number]).astype(np.float32), alpha
    for _ in range(number):
        share = halved(share)
    long_side, times = max(share.shape), 2**number
    outside = share <= 127
    if outside.all():
        return None
    bare = (share < BARE).astype(np.float32)
    distance = cv2.distanceTransform(outside.astype(np.uint8), cv2.DIST_L2, 5) / np.float32(long_side)
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
    counting = (cv2.convertScaleAbs(share_of, alpha=255.0) for share_of in (counts, rim_of(largest, share)))
    return Background(times, *map(cv2.convertScaleAbs, (colour, limit, subject, full)), *counting)


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
    whole = weighted.sum((0, 1)) / max(1.0, float(weight.sum()))
    sums, weights = around(weighted, sigma_px) + FEW * whole, around(weight, sigma_px) + FEW
    mean: Float = cv2.divide(sums, cv2.merge([weights] * 3))
    return mean


def around(picture: Float, sigma_px: float) -> Float:
    """The mean over a square about each pixel, and of these means once more: nearly a Gaussian's of that sigma."""
    side = 2 * round(sigma_px * BOX) + 1
    mean: Float = cv2.blur(cv2.blur(picture, (side, side)), (side, side))
    return mean


def tiles_of(background: Background, size: tuple[int, ...]) -> Iterator[Box]:
    """The tiles of a photo of (height, width) in which a strand may lie; such as lie side by side are one, up to a few."""
    last: Box | None = None
    for tile in boxes_of(size, TILE_PX):
        if not background.strands[clip(grow(shrink(tile, background.times), 1), background.strands.shape).slices].any():
            continue
        if last is not None and last.top == tile.top and last.right == tile.left and last.width < TOGETHER_PX:
            last = last._replace(right=tile.right)
            continue
        if last is not None:
            yield last
        last = tile
    if last is not None:
        yield last


def background_at(background: Background, box: Box) -> Background:
    """The background at a box of the photo: bilinear, pixel centres aligned."""
    times = background.times
    maps = background.colour, background.limit, background.subject, background.full, background.strands, background.rim
    if times == 1:
        return Background(1, *(values[box.slices] for values in maps))
    outer = clip(grow(shrink(box, times), 1), background.limit.shape)
    return Background(1, *(enlarge(values[outer.slices], times, outer, box) for values in maps))


def standing_out(image: Bytes, alpha: Bytes, background: Background, wide: int) -> Bytes | None:
    """(h, w): how much of each pixel is a strand or the subject's rim, 255 for all of it; None where nothing is.

    image (h, w, 3), alpha (h, w), and the background there. wide: pixels; what is as wide is no strand.
    """
    deviation = largest_channel(cv2.absdiff(image, background.colour))
    if not (deviation > background.limit).any():
        return None
    found = strands_in(deviation, alpha, background, wide)
    return cv2.max(found, rim_in(image, deviation, background)) if background.rim.any() else found


def strands_in(deviation: Bytes, alpha: Bytes, background: Background, wide: int) -> Bytes:
    """(h, w): how much of each pixel is a strand.

    The white top-hat (Meyer 1979; what an opening takes away) of how far the photo is from its background, above the limit.
    wide: pixels; what is as wide along both axes is none, nor is what belongs to something so wide, alpha included.
    """
    opened = cv2.morphologyEx(cv2.max(deviation, alpha), cv2.MORPH_OPEN, np.ones((wide, wide), np.uint8))
    above = cv2.subtract(cv2.subtract(deviation, opened), background.limit)
    share = cv2.divide(above, background.limit, scale=255.0)  # ends at 255
    strands: Bytes = cv2.multiply(share, background.strands, scale=1.0 / 255.0)
    return strands


def rim_in(image: Bytes, deviation: Bytes, background: Background) -> Bytes:
    """(h, w): how much of each pixel is the subject's rim. deviation: (h, w), how far the photo is from its background."""
    beyond = cv2.subtract(deviation, background.limit)
    nearer = cv2.subtract(cv2.convertScaleAbs(deviation, alpha=NEARER), largest_channel(cv2.absdiff(image, background.subject)))
    share = cv2.divide(cv2.min(beyond, cv2.add(nearer, nearer)), background.full, scale=255.0)
    # a single pixel that stands out from a busy background is not the subject
    rim: Bytes = cv2.medianBlur(cv2.multiply(share, background.rim, scale=1.0 / 255.0), 3)
    return rim
