"""What stands out from a smooth background beside a subject stays in focus: hair, whiskers, feathers, and its own rim.

The network's maps end in a smooth line, as the mattes did that it learned from. A lens that blurs all beyond that line cuts
hair off. Where the background near the edge is smooth, what is thin there and differs from it can be told without a network:
by how much a pixel is away from the mean of the background around it, measured by how much the background itself, farther
out, is away from its own (`bokehcli.background`). Such a pixel is shown as it is, which in front of a smooth background is
never wrong by much; in front of a busy one nothing is done. Strands that lead farther away are `bokehcli.tracing`'s.

That line also lies a little inside or is a slow ramp where a large photo has a sharp edge. There it need not be thin: all that
stands out within a few pixels of the line and looks like the subject nearby rather than the background is the subject, and so
is what such rim encloses: in a large photo pale feathers before a pale sky stand out only here and there.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bokehcli.background import Background, Rim, background_at, background_of, distance_from, share_of
from bokehcli.light import largest_channel
from bokehcli.opencv import cv2, threads
from bokehcli.pixels import to_8_bits
from bokehcli.tiling import Box, clip, grow, inside
from bokehcli.tracing import TILE_PX, Tile, box_of, is_leading, is_seen, tiles_in, traced

Image = NDArray[Any]
Bytes = NDArray[np.uint8]

TOGETHER_PX = 768  # width, at most, of tiles that are looked at together
WIDE = 0.005  # of the photo's long side: what is as wide is no strand
# Rim is at most so many times as far from the mean of the subject as from that of the background. A shadow on a wall stands
# out as well, but not towards the subject.
NEARER = 0.7
GAPS = 0.6  # what lies between rim and rim, or rim and subject, is rim up to this share of the width of what is no strand


@dataclass(frozen=True)
class Found:
    """What stands out in a box of a photo, (h, w), 255 for all of a pixel.

    thin: strands, wherever they are. counts: how much they do there. rim: as it counts; None where there is none.
    """

    thin: Bytes
    counts: Bytes
    rim: Bytes | None


def with_strands(pictures: Sequence[Image], alpha: Bytes) -> Bytes:
    """Alpha (H, W) with the rim of what is in focus, the strands beside it and those that lead away; it only grows.

    pictures: the photo (H, W, 3) uint8 or uint16, and before it the halves, ascending, see `bokehcli.infer.pyramid`. alpha:
    uint8, 255 in focus. Runs on as many threads as OpenCV may use.
    """
    share = share_of(pictures, alpha)
    distance = distance_from(share)
    background = background_of(pictures, share, distance)
    if background is None:
        return alpha
    grown, known, starts = alpha.copy(), dict[Tile, Bytes](), list[Tile]()

    def found_in(box: Box) -> Found | None:
        return standing_out(pictures[-1], alpha, background, box)

    def grow_in(box: Box) -> None:
        """Let what stands out in a box grow, and note the tiles with strands that can be followed, and that have to be."""
        found = found_in(box)
        if found is None:
            return
        near = cv2.multiply(found.thin, found.counts, scale=1.0 / 255.0)
        grown[box.slices] = cv2.max(alpha[box.slices], near if found.rim is None else cv2.max(near, found.rim))
        for tile, columns in tiles_in(box):
            thin, counts = found.thin[:, columns], found.counts[:, columns]
            if is_seen(thin):
                known[tile] = thin.copy()
                if is_leading(thin, counts):
                    starts.append(tile)

    with threads.lent() as pool:
        pool.for_each(grow_in, boxes_beside(background, alpha.shape))
    starts.sort()

    def thin_in(tile: Tile, box: Box) -> Bytes | None:
        found = None if tile in known else found_in(box)
        return known.get(tile) if found is None else found.thin

    for box, strands in traced(thin_in, starts, pictures, distance, wide_px(alpha.shape)):
        grown[box.slices] = cv2.max(grown[box.slices], strands)
    return grown


def wide_px(size: Sequence[int]) -> int:
    """Pixels, odd: what is as wide, in a picture of (height, width), is no strand."""
    return max(3, 2 * round(WIDE * max(size) / 2) + 1)


def boxes_beside(background: Background, size: tuple[int, ...]) -> Iterator[Box]:
    """The tiles of a photo of (height, width) in which a strand may lie; such as lie side by side are one, up to a few."""
    last: Box | None = None
    for tile in tiles_beside(background, size):
        if last is not None and last.top == tile.top and last.right == tile.left and last.width < TOGETHER_PX:
            last = last._replace(right=tile.right)
            continue
        if last is not None:
            yield last
        last = tile
    if last is not None:
        yield last


def tiles_beside(background: Background, size: tuple[int, ...]) -> Iterator[Box]:
    """The tiles of a photo of (height, width) in which strands count, row by row."""
    times, counts = background.times, background.counts
    # from one reduced pixel before each tile to one after it; a tile may be smaller than such a pixel
    around = np.ones((max(1, TILE_PX // times) + 2,) * 2, np.uint8)
    rows, columns = (np.arange(0, side, TILE_PX) // times for side in size)
    largest = cv2.dilate(counts, around, anchor=(1, 1))[rows][:, columns]
    for row, column in np.argwhere(largest).tolist():
        yield box_of((row, column), size)


def standing_out(image: Image, alpha: Bytes, background: Background, box: Box) -> Found | None:
    """What stands out in a box of a photo (H, W, 3), of which alpha (H, W) is in focus; None where nothing does."""
    wide = wide_px(alpha.shape)
    own = clip(grow(box, wide - 1), alpha.shape)
    part, there, inner = to_8_bits(image[own.slices]), background_at(background, own), inside(box, own).slices
    deviation = largest_channel(cv2.absdiff(part, there.colour))
    if not (deviation > there.limit).any():
        return None
    thin = strands_in(deviation, alpha[own.slices], there.limit, wide)
    if there.rim is None:
        return Found(thin[inner], there.counts[inner], None)
    rim = without_gaps(rim_in(part, deviation, there.limit, there.rim), alpha[own.slices], there.rim.counts, wide)
    return Found(thin[inner], there.counts[inner], rim[inner])


def strands_in(deviation: Bytes, alpha: Bytes, limit: Bytes, wide: int) -> Bytes:
    """(h, w): how much of each pixel is a strand.

    The white top-hat (Meyer 1979; what an opening takes away) of how far the photo is from its background, above the limit.
    wide: pixels; what is as wide along both axes is none, nor is what belongs to something so wide, alpha included.
    """
    opened = cv2.morphologyEx(cv2.max(deviation, alpha), cv2.MORPH_OPEN, np.ones((wide, wide), np.uint8))
    strands: Bytes = cv2.divide(cv2.subtract(cv2.subtract(deviation, opened), limit), limit, scale=255.0)  # ends at 255
    return strands


def rim_in(image: Bytes, deviation: Bytes, limit: Bytes, rim: Rim) -> Bytes:
    """(h, w): how much of each pixel is the subject's rim. deviation: (h, w), how far the photo is from its background."""
    beyond = cv2.subtract(deviation, limit)
    nearer = cv2.subtract(cv2.convertScaleAbs(deviation, alpha=NEARER), largest_channel(cv2.absdiff(image, rim.subject)))
    share = cv2.divide(cv2.min(beyond, cv2.add(nearer, nearer)), rim.full, scale=255.0)
    # a single pixel that stands out from a busy background is not the subject
    counted: Bytes = cv2.medianBlur(cv2.multiply(share, rim.counts, scale=1.0 / 255.0), 3)
    return counted


def without_gaps(rim: Bytes, alpha: Bytes, counts: Bytes, wide: int) -> Bytes:
    """(h, w): the rim with what it encloses, as far as rim counts; by a closing (Matheron 1975) of it and alpha.

    rim, alpha, counts: (h, w), 255 for all of a pixel, see `Rim`. wide: pixels, see `wide_px`; the result is right but for
    fewer pixels than that at the border.
    """
    side = int(GAPS * wide) // 2 * 2 + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    whole = cv2.morphologyEx(cv2.max(rim, alpha), cv2.MORPH_CLOSE, disc)
    filled: Bytes = cv2.max(rim, cv2.min(whole, counts))
    return filled
