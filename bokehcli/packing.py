"""Tiles that have to be run, packed into blocks that together cost little.

A network sees a margin of context around whatever it is run over, and every run has a price of its own. So tiles beside each
other are run as one block, and what lies between them with them, as long as that costs less. Pure integers.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache, reduce
from operator import or_
from typing import NamedTuple

SQUARE = 8  # tiles on a side, at most, of what is packed together, and so of a block

Rows = tuple[int, ...]  # of a square's tiles: of each row the columns as bits, the first one lowest


class Block(NamedTuple):
    """Tiles that are run together: row and column of the first one, and how many there are down and across."""

    row: int
    column: int
    down: int = 1
    across: int = 1


class Grid(NamedTuple):
    """Tiles of `tile_px` on a side, which are run with `context_px` more on every side of a block.

    block_cost_px: what a block costs beside its pixels, in pixels.
    """

    tile_px: int
    context_px: int
    block_cost_px: int

    def sides_px(self, down: int, across: int) -> tuple[int, int]:
        """(height, width) of what is run for a block of so many tiles."""
        return down * self.tile_px + 2 * self.context_px, across * self.tile_px + 2 * self.context_px

    def cost_px(self, down: int, across: int) -> int:
        """What such a block costs."""
        height, width = self.sides_px(down, across)
        return height * width + self.block_cost_px


def packed(tiles: Iterable[tuple[int, int]], grid: Grid) -> list[Block]:
    """Blocks that hold all of the tiles, which are (row, column), and none twice; each lies within one SQUARE."""
    squares: dict[tuple[int, int], list[int]] = {}
    for row, column in tiles:
        rows = squares.setdefault((row // SQUARE, column // SQUARE), [0] * SQUARE)
        rows[row % SQUARE] |= 1 << column % SQUARE
    return [
        Block(SQUARE * down + block.row, SQUARE * across + block.column, block.down, block.across)
        for (down, across), rows in squares.items()
        for block in _blocks(tuple(rows), grid)
    ]


@lru_cache(maxsize=1 << 14)
def _blocks(rows: Rows, grid: Grid) -> tuple[Block, ...]:
    """One block around all tiles of a square, or, where two would cost less, what becomes of both sides of the best cut."""
    whole = _around(rows)
    parts: tuple[Rows, ...] = ()
    least = grid.cost_px(whole.down, whole.across)
    for cut in _cuts(rows, whole):
        cost = sum(grid.cost_px(*_around(part)[2:]) for part in cut)
        if cost < least:
            least, parts = cost, cut
    return tuple(block for part in parts for block in _blocks(part, grid)) if parts else (whole,)


def _cuts(rows: Rows, whole: Block) -> Iterator[tuple[Rows, Rows]]:
    """The two sides of every cut between two rows or two columns; both hold tiles."""
    for at in range(whole.row + 1, whole.row + whole.down):
        yield (*rows[:at], *[0] * (len(rows) - at)), (*[0] * at, *rows[at:])
    for at in range(whole.column + 1, whole.column + whole.across):
        before = (1 << at) - 1
        yield tuple(row & before for row in rows), tuple(row & ~before for row in rows)


@lru_cache(maxsize=1 << 14)
def _around(rows: Rows) -> Block:
    """The smallest block that holds all of the tiles."""
    top, down = _extent(sum(1 << number for number, row in enumerate(rows) if row))
    left, across = _extent(reduce(or_, rows))
    return Block(top, left, down, across)


def _extent(bits: int) -> tuple[int, int]:
    """The first of the bits that are set, and how many there are from it to the last one."""
    first = (bits & -bits).bit_length() - 1
    return first, bits.bit_length() - first
