"""Strands that lead away from the subject: antennae, whiskers, a beak, the spire of a tower.

Near the edge all that is thin is a strand (`bokehcli.strands`). What is still one farther out is followed here, by tiles, as
the second threshold of Canny (1986) follows edges: all of it that hangs together and begins at the subject, if it ends before
FAR. A wire or a branch behind the subject does not end, or comes out again on its other side.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bokehcli.opencv import cv2
from bokehcli.pixels import to_8_bits
from bokehcli.tiling import Box, clip, grow, shrink

Image = NDArray[Any]
Bytes = NDArray[np.uint8]
Float = NDArray[np.float32]
Tile = tuple[int, int]  # its row and column

TILE_PX = 128
# Distances from the edge, in shares of the photo's long side: where a strand must have ended, how near it must begin, and a
# little more, so that one which reaches FAR is seen to.
FAR, BEGINS, BEYOND = 0.2, 0.008, 0.01
STRAND = 32  # of 255: how much of a pixel is a strand where one is followed
# Whether strands hang together is told by cells, a power of two of pixels: about so many are as wide as no strand is.
CELLS_A_WIDTH, SMALLEST_CELL_PX = 4, 2
# In cells: the fewest of a strand that has a direction, how far it may be off a line in the mean, and within what width and for
# what length, most of it, it goes on on the other side of the subject.
FEWEST, STRAIGHT, ASIDE, GOES_ON, MOSTLY = 12, 0.8, 3, 20, 0.75
# Within what width, in cells, the colours on both sides of a strand are looked at, how wide it may be itself, and from what
# difference on, of 255 and of how far it stands out from them, it parts two surfaces: the foot of a wall, a sill, a frame.
WITHIN, APART, OTHER, OTHER_SHARE = 9, 5, 20.0, 0.25
WAYS = np.array([[[1], [1]], [[1], [-1]]], np.float32)
TOUCH_PX = 2  # how near to a tile's edge a strand is followed into the next one
# Tiles that may be looked at, and the share of a photo's tiles that may be besides; what spreads farther is a pattern.
MOST_TILES, MOST_OF_ALL = 64, 0.15


def traced(
    look: Callable[[Tile, Box], Bytes | None], starts: Iterable[Tile], pictures: Sequence[Image], distance: Float, wide_px: int
) -> Iterator[tuple[Box, Bytes]]:
    """Tiles with the strands in them that begin at the subject and end: a box of the photo and (h, w), 255 for all of a pixel.

    look: how much of each pixel of a tile, of which it gets the box, is a strand, (h, w), None where nothing is. starts: tiles
    in which there are strands to follow. pictures: the photo (H, W, 3), and before it halves of it, ascending. distance: (h, w)
    of any size, covers the photo: distance from the subject in shares of the photo's long side, 0 in it. wide_px: what is as
    wide is no strand.
    """
    size = pictures[-1].shape[0], pictures[-1].shape[1]
    found = followed(look, starts, distance, size)
    if not found:
        return
    cell_px = max(SMALLEST_CELL_PX, 1 << int(math.log2(wide_px / CELLS_A_WIDTH)))
    cells = cells_of(found, size, cell_px)
    apart = cv2.resize(distance, cells.shape[::-1], interpolation=cv2.INTER_LINEAR)
    small = next((picture for picture in pictures if picture.shape[:2] == cells.shape), None)
    if small is None:
        small = cv2.resize(pictures[-1], cells.shape[::-1], interpolation=cv2.INTER_AREA)
    kept = cv2.dilate(ending(cells, apart, to_8_bits(small)), np.ones((3, 3), np.uint8))  # their soft margins, too
    for box, strands in found:
        part = kept[box.top // cell_px : -(-box.bottom // cell_px), box.left // cell_px : -(-box.right // cell_px)]
        if part.any():
            mask = part.repeat(cell_px, 0).repeat(cell_px, 1)[: box.height, : box.width]
            yield box, cv2.copyTo(strands, mask)


def box_of(tile: Tile, size: tuple[int, ...]) -> Box:
    """The box of a tile in a photo of (height, width), in pixels; the last of a row or column may be smaller."""
    row, column = tile
    return clip(Box(row * TILE_PX, (row + 1) * TILE_PX, column * TILE_PX, (column + 1) * TILE_PX), size)


def tiles_in(box: Box) -> Iterator[tuple[Tile, slice]]:
    """The tiles in a box of the photo that is one row of them, each with its columns of the box."""
    for left in range(0, box.width, TILE_PX):
        yield (box.top // TILE_PX, (box.left + left) // TILE_PX), slice(left, left + TILE_PX)


def is_seen(strands: Bytes) -> bool:
    """Whether there is a strand that can be followed."""
    return bool(strands.max() >= STRAND)


def is_leading(strands: Bytes, counts: Bytes) -> bool:
    """Whether there is one where strands begin to fade, by how much they count there, 255 for all."""
    fading = cv2.inRange(counts, 1, 254)
    return bool(cv2.bitwise_and(cv2.compare(strands, STRAND, cv2.CMP_GE), fading).any())


def followed(
    look: Callable[[Tile, Box], Bytes | None], starts: Iterable[Tile], distance: Float, size: tuple[int, int]
) -> list[tuple[Box, Bytes]]:
    """The tiles up to FAR in which there are strands that hang together with those in the starts; see `traced`.

    Nothing where they are too many.
    """
    most = MOST_TILES + MOST_OF_ALL * size[0] * size[1] / TILE_PX**2
    waiting = list(starts)
    known, found = set(waiting), list[tuple[Box, Bytes]]()
    while waiting:
        if len(found) > most:
            return []
        row, column = waiting.pop()
        box = box_of((row, column), size)
        strands = look((row, column), box) if nearest(distance, box, size) < FAR + BEYOND else None
        if strands is None:
            continue
        seen = strands >= STRAND
        found.append((box, strands))
        edges = ((-1, 0, seen[:TOUCH_PX]), (1, 0, seen[-TOUCH_PX:]), (0, -1, seen[:, :TOUCH_PX]), (0, 1, seen[:, -TOUCH_PX:]))
        for down, across, edge in edges:
            tile = row + down, column + across
            if tile not in known and edge.any() and holds(size, tile):
                known.add(tile)
                waiting.append(tile)
    return found


def holds(size: tuple[int, int], tile: Tile) -> bool:
    """Whether a tile lies in a photo of (height, width)."""
    return all(index >= 0 and index * TILE_PX < side for index, side in zip(tile, size, strict=True))


def nearest(distance: Float, box: Box, size: tuple[int, int]) -> float:
    """The smallest distance, (h', w') of the whole photo of `size`, in a box of the photo."""
    (top, bottom), (left, right) = (
        (first * length // side, -(-last * length // side))
        for first, last, length, side in zip(box[::2], box[1::2], distance.shape, size, strict=True)
    )
    return float(distance[top:bottom, left:right].min())


def cells_of(found: list[tuple[Box, Bytes]], size: tuple[int, int], cell_px: int) -> Bytes:
    """(h, w): 1 in the cells of a photo of `size` in which there is a strand."""
    cells = np.zeros([-(-side // cell_px) for side in size], np.uint8)
    window = np.ones((cell_px, cell_px), np.uint8)
    for box, strands in found:
        largest = cv2.dilate(strands, window, anchor=(0, 0))[::cell_px, ::cell_px]
        cells[shrink(box, cell_px).slices] = largest >= STRAND
    return cells


def ending(cells: Bytes, distance: Float, image: Bytes) -> Bytes:
    """(h, w): 1 in those of the cells that belong to strands which begin at the subject and end before FAR and the border.

    One that comes out again on the other side of the subject does not begin there, and one that parts two surfaces is none.
    cells: (h, w), 1 where there is a strand. distance: (h, w), see `traced`. image: (h, w, 3), the photo.
    """
    count, strands = cv2.connectedComponents(cells, connectivity=8)
    rows, columns = places = np.nonzero(cells.view(np.bool_))
    numbers, apart = strands[places], distance[places]
    kept = np.zeros(count, np.uint8)
    kept[numbers[apart < BEGINS]] = 1
    kept[numbers[apart > FAR]] = 0
    for border in (strands[0], strands[-1], strands[:, 0], strands[:, -1]):
        kept[border] = 0
    kept[0] = 0  # what is no strand
    near, nearly = (cv2.dilate(cells, np.ones((side, side), np.uint8)) for side in (ASIDE, APART))
    free = (nearly == 0) & (distance >= BEGINS)
    for number in np.flatnonzero(kept & (np.bincount(numbers, minlength=count) >= FEWEST)):
        own = numbers == number
        (top, bottom), (left, right) = ((int(its[own].min()), int(its[own].max()) + 1) for its in (rows, columns))
        box = clip(grow(Box(top, bottom, left, right), WITHIN // 2), cells.shape)
        strand = (strands[box.slices] == number).astype(np.uint8)
        line, off = line_through(strand)
        if parts(strand, line, free[box.slices], image[box.slices]):
            kept[number] = 0
        elif off <= STRAIGHT:
            line[0] += box.left, box.top
            kept[number] = not any(goes_on(line * way, near, distance) for way in WAYS)
    ended = np.zeros_like(cells)
    ended[places] = kept[numbers]
    return ended


def line_through(strand: Bytes) -> tuple[Float, float]:
    """A line (2, 2) along the pixels of a strand (h, w), and how far they are off it in the mean.

    The middle, (x, y), and the direction, of length 1. How thick the strand is does not count.
    """
    points = np.argwhere(strand)[:, ::-1].astype(np.float32)
    middle = points.mean(0)
    _, lengths, directions = np.linalg.svd(points - middle, full_matrices=False)
    thick = len(points) / (np.ptp((points - middle) @ directions[0]) + 1.0)
    off = lengths[1] ** 2 / len(points) - (thick * thick - 1.0) / 12.0
    return np.stack((middle, directions[0])), math.sqrt(max(float(off), 0.0))


def parts(strand: Bytes, line: Float, free: NDArray[np.bool_], image: Bytes) -> bool:
    """Whether a strand (h, w) along a line has one colour on its one side and another one on the other.

    free: (h, w), what is neither a strand, nor beside one, nor the subject. image: (h, w, 3).
    """
    beside = (cv2.dilate(strand, np.ones((WITHIN, WITHIN), np.uint8)) > 0) & free
    (x, y), (across, down) = line
    rows, columns = np.nonzero(beside)
    side = (rows - y) * across - (columns - x) * down
    colours = image[beside].astype(np.float32)
    left, right = colours[side > 1.0], colours[side < -1.0]
    if min(len(left), len(right)) < FEWEST:
        return False
    difference = np.abs(left.mean(0) - right.mean(0)).max()
    stands_out = np.abs(image[strand > 0] - colours.mean(0)).max(1).mean()
    return bool(difference > max(OTHER, OTHER_SHARE * stands_out))


def goes_on(line: Float, near: Bytes, distance: Float) -> bool:
    """Whether a line that leads into the subject from its first point leads to a strand where it comes out of it.

    near: (h, w), above 0 in and beside the cells with strands. distance: (h, w), see `traced`.
    """
    height, width = near.shape
    steps = np.arange(height + width, dtype=np.float32)
    columns, rows = np.rint(line[0][:, None] + line[1][:, None] * steps).astype(np.int32)
    inside = (columns >= 0) & (rows >= 0) & (columns < width) & (rows < height)
    columns, rows = columns[inside], rows[inside]
    subject = distance[rows, columns] < BEGINS
    if not subject.any():
        return False
    first = int(subject.argmax())
    beyond = np.flatnonzero(~subject[first:])
    if not beyond.size:
        return False
    start = first + int(beyond[0])
    behind = near[rows, columns][start : start + GOES_ON]
    return bool(len(behind) == GOES_ON and np.count_nonzero(behind) >= MOSTLY * GOES_ON)
