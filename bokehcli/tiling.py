"""Boxes of a picture: plan tiles, grow them by a context. Pure."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

from numpy.typing import NDArray

from bokehcli.opencv import cv2


class Box(NamedTuple):
    """Rows top to bottom, columns left to right, the ends excluded, in pixels."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Index of an (H, W, ...) array."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    @property
    def height(self) -> int:
        """Rows."""
        return self.bottom - self.top

    @property
    def width(self) -> int:
        """Columns."""
        return self.right - self.left


def boxes_of(size: tuple[int, ...], tile_px: int, wide_px: int = 0) -> Iterator[Box]:
    """Tiles that cover (height, width) row by row without overlap; the last of a row or column may be smaller.

    wide_px: their width, where it is not tile_px.
    """
    height, width = size[:2]
    for top in range(0, height, tile_px):
        for left in range(0, width, wide_px or tile_px):
            yield Box(top, min(top + tile_px, height), left, min(left + (wide_px or tile_px), width))


def grow(box: Box, margin: int) -> Box:
    """The box with `margin` more pixels on every side; it may reach over the picture's border."""
    return Box(box.top - margin, box.bottom + margin, box.left - margin, box.right + margin)


def clip(box: Box, size: tuple[int, ...]) -> Box:
    """The part of a box that lies inside a picture of (height, width)."""
    return Box(max(box.top, 0), min(box.bottom, size[0]), max(box.left, 0), min(box.right, size[1]))


def common(box: Box, other: Box) -> Box | None:
    """What two boxes have in common; None if that is nothing."""
    both = Box(max(box.top, other.top), min(box.bottom, other.bottom), max(box.left, other.left), min(box.right, other.right))
    return both if both.height > 0 and both.width > 0 else None


def inside(box: Box, outer: Box) -> Box:
    """A box counted from the upper left corner of another one."""
    return Box(box.top - outer.top, box.bottom - outer.top, box.left - outer.left, box.right - outer.left)


def placed(box: Box, outer: Box) -> Box:
    """A box in an outer one's own pixels, in those of the picture; it undoes `inside`."""
    return Box(outer.top + box.top, outer.top + box.bottom, outer.left + box.left, outer.left + box.right)


def surrounded(image: NDArray[Any], tile_px: int, margin_px: int) -> Iterator[tuple[Box, NDArray[Any]]]:
    """Every tile of an image (H, W, C), and its pixels with a margin on every side, all of one size; beyond it is mirrored."""
    side_px = tile_px + 2 * margin_px
    bordered = cv2.copyMakeBorder(image, *(margin_px, margin_px + tile_px) * 2, cv2.BORDER_REFLECT)
    for box in boxes_of(image.shape, tile_px):
        yield box, bordered[box.top : box.top + side_px, box.left : box.left + side_px]


def parts_of(box: Box, side_px: int) -> Iterator[Box]:
    """`boxes_of` for a box."""
    for part in boxes_of((box.height, box.width), side_px):
        yield Box(box.top + part.top, box.top + part.bottom, box.left + part.left, box.left + part.right)


def shrink(box: Box, times: int) -> Box:
    """The pixels of a picture that is so many times smaller which cover the box."""
    return Box(box.top // times, -(-box.bottom // times), box.left // times, -(-box.right // times))


def bands_of(rows: range, count: int) -> list[range]:
    """The rows in as many parts, about as long as each other; fewer where there are fewer rows; there is one at least."""
    count = min(count, len(rows))
    edges = [len(rows) * part // count for part in range(count + 1)]
    return [rows[first:last] for first, last in pairwise(edges)]
