"""Octaves of a photo: sizes that double exactly up to the native one, and states that are held only where they were refined.

A state is (C, h, w) float32: logits of alpha and defocus, hidden channels. Level 0 is the base, dense; every level above is
twice as large, less a row or column where the native size is odd. Pure arrays; the networks are `bokehcli.infer`'s.
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bokehcli.opencv import cv2
from bokehcli.pixels import sampled
from bokehcli.tiling import Box, common, inside

Image = NDArray[Any]
Float = NDArray[np.float32]
Tile = tuple[int, int]  # its row and column

# The base's long side is at least this share of the global state's, and less than twice that.
BASE_SHARE = 0.75
LARGEST_CELL_PX = 8  # side of the cells of which the extremes of tiles are made


def octave_count(native: tuple[int, int], state_px: int) -> int:
    """How many octaves lie between a base that fits a global state of that long side and the native (height, width)."""
    count = 0
    while max(native) / 2 ** (count + 1) >= BASE_SHARE * state_px:
        count += 1
    return count


def level_sizes(native: tuple[int, int], octaves: int) -> list[tuple[int, int]]:
    """(height, width) of the base and of every octave, ascending: each the half of the next one, rounded up."""
    sizes = [native]
    for _ in range(octaves):
        sizes.append((-(-sizes[-1][0] // 2), -(-sizes[-1][1] // 2)))
    return sizes[::-1]


def base_state(state: Float, native: tuple[int, int], octaves: int) -> Float:
    """The global state (C, h, w), which covers the whole photo, at the base's size; a base pixel is 2^octaves native ones."""
    size = level_sizes(native, octaves)[0]
    scale = 2**octaves
    return sampled(state, size, (native[0] / scale, native[1] / scale))


def doubled(state: Float) -> Float:
    """(C, h, w) -> (C, 2h, 2w), bilinear, pixel centres aligned, the border repeated."""
    channels, height, width = state.shape
    result = np.empty((channels, 2 * height, 2 * width), np.float32)
    for channel, twice in zip(state, result, strict=True):
        cv2.resize(channel, (2 * width, 2 * height), dst=twice, interpolation=cv2.INTER_LINEAR)
    return result


class Piece(NamedTuple):
    """A refined part of a level's state: where it lies, and (C, h, w)."""

    box: Box
    state: Float


@dataclass
class Level:
    """One level's state. dense: (C, h, w), or None where only pieces of it are held.

    pieces: by row and column of the square of `square_px` that each lies in; they do not overlap.
    """

    size: tuple[int, int]
    below: "Level | None" = None
    dense: Float | None = None
    pieces: dict[tuple[int, int], list[Piece]] = field(default_factory=dict)
    square_px: int = 0

    def state(self, box: Box, channels: int) -> Float:
        """(channels, h, w) of a box inside the level, the first of its channels; may be a view."""
        if self.dense is not None:
            return self.dense[:channels, *box.slices]
        state = np.empty((channels, box.height, box.width), np.float32)
        self.fill(state, box)
        return state

    def fill(self, state: Float, box: Box) -> None:
        """Set (C, h, w) to the state of a box: refined pieces where there are any, else the level below, enlarged."""
        channels = len(state)
        if self.dense is not None:
            state[:] = self.dense[:channels, *box.slices]
            return
        down, across = (
            range(first // self.square_px, -(-last // self.square_px)) for first, last in (box[:2], box[2:])
        )
        near = [piece for square in itertools.product(down, across) for piece in self.pieces.get(square, ())]
        shared = [(piece, both) for piece in near if (both := common(piece.box, box)) is not None]
        if sum(both.height * both.width for _, both in shared) < box.height * box.width:
            state[:] = self.enlarged(box, channels)
        for piece, both in shared:
            state[:, *inside(both, box).slices] = piece.state[:channels, *inside(both, piece.box).slices]

    def hold(self, box: Box, state: Float) -> None:
        """Keep the refined state (C, h, w) of a box that lies within one square."""
        square = box.top // self.square_px, box.left // self.square_px
        self.pieces.setdefault(square, []).append(Piece(box, state.copy()))

    def enlarged(self, box: Box, channels: int) -> Float:
        """(channels, h, w) of a box from the level below."""
        assert self.below is not None
        rows, columns = self.below.size
        first_row, first_column = max(0, (box.top - 1) // 2), max(0, (box.left - 1) // 2)
        under = Box(first_row, min(rows, box.bottom // 2 + 1), first_column, min(columns, box.right // 2 + 1))
        top, left = box.top - 2 * under.top, box.left - 2 * under.left
        return doubled(self.below.state(under, channels))[:, top : top + box.height, left : left + box.width]


def uneven_tiles(alpha: Image, tile_px: int, reach_px: int, least: int) -> list[Tile]:
    """Row and column of the tiles in which, `reach_px` more on each side, alpha (h, w) varies by more than `least`."""
    spread = cv2.subtract(_around(alpha, tile_px, reach_px, cv2.dilate), _around(alpha, tile_px, reach_px, cv2.erode))
    return _places(spread > least)


def open_tiles(alpha: Image, tile_px: int, reach_px: int, least: int) -> list[Tile]:
    """Row and column of the tiles in which an octave may change something: where its gate opens (`trainer.network.gate_of`).

    That is where alpha (h, w) uint16 varies by more than `least` within a window of half a side of `reach_px`: the gate's own,
    and one pixel more for its enlarging.
    """
    window = np.ones((2 * reach_px + 1,) * 2, np.uint8)
    spread = cv2.subtract(cv2.dilate(alpha, window), cv2.erode(alpha, window))
    return _places(_around(spread, tile_px, 0, cv2.dilate) > least)


def varied_tiles(
    rows: range, alpha: Image, tile_px: int, reach_px: int, least: tuple[int, int]
) -> tuple[list[Tile], list[Tile]]:
    """`uneven_tiles` and `open_tiles` in some rows of tiles, each with its `least`, of which the first is the smaller one.

    Beside those rows some may be missing, and none is wrong, so that the union over all rows is complete. reach_px: a tile's
    side at most.
    """
    first = max(0, rows.start - 1)
    band = alpha[first * tile_px : (rows.stop + 1) * tile_px]
    uneven = uneven_tiles(band, tile_px, reach_px, least[0])
    if not uneven:
        return [], []
    columns = [column for _, column in uneven]  # what is open is uneven, too
    left, right = max(0, min(columns) - 1), max(columns) + 2
    opened = open_tiles(band[:, left * tile_px : right * tile_px], tile_px, reach_px, least[1])
    return [(row + first, column) for row, column in uneven], [(row + first, column + left) for row, column in opened]


def _places(found: NDArray[np.bool_]) -> list[Tile]:
    """Row and column of what is true, ascending."""
    rows, columns = np.nonzero(found)
    return list(zip(rows.tolist(), columns.tolist(), strict=True))


def _around(alpha: Image, tile_px: int, reach_px: int, extreme: Callable[..., Image]) -> Image:
    """(rows, columns) of tiles: cv2.dilate's or cv2.erode's extreme of alpha (h, w) over each, `reach_px` more on each side.

    First of cells that tiles are made of, for a window costs by its side.
    """
    cell_px = math.gcd(tile_px, reach_px, LARGEST_CELL_PX)
    cells, tile, reach = _extreme_every(alpha, cell_px, 0, extreme), tile_px // cell_px, reach_px // cell_px
    return _extreme_every(cells, tile, reach, extreme)


def _extreme_every(alpha: Image, step: int, reach: int, extreme: Callable[..., Image]) -> Image:
    """The extreme over each square of `step`, `reach` more on each side; what lies beyond the border counts nothing."""
    side = step + 2 * reach
    return extreme(alpha, np.ones((side, side), np.uint8), anchor=(reach, reach))[::step, ::step]


def inner_box(tile: Box, context_px: int, sides_px: tuple[int, int], size: tuple[int, ...]) -> Box:
    """The box of `sides_px` that holds a tile with `context_px` on every side, or the whole length where that is smaller.

    At the picture's border it moves inwards, so that the borders coincide and the convolutions pad the same way in both.
    """
    edges = []
    for start, side_px, length in zip((tile.top, tile.left), sides_px, size, strict=True):
        first = max(0, min(start - context_px, length - side_px))
        edges += [first, min(length, first + side_px)]
    return Box(*edges)
