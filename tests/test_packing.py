"""Tiles packed into blocks: all of them, none twice, and cheaply."""

from hypothesis import given
from hypothesis import strategies as st

from bokehcli.packing import SQUARE, Block, Grid, packed

GRID = Grid(tile_px=16, context_px=5, block_cost_px=1000)
TILES = st.sets(st.tuples(st.integers(0, 2 * SQUARE), st.integers(0, 2 * SQUARE)))


def held(block: Block) -> set[tuple[int, int]]:
    return {(block.row + i, block.column + j) for i in range(block.down) for j in range(block.across)}


def cost(blocks: list[Block]) -> int:
    return sum(GRID.cost_px(block.down, block.across) for block in blocks)


@given(TILES)
def test_blocks_hold_every_tile_and_none_twice(tiles: set[tuple[int, int]]) -> None:
    blocks = packed(sorted(tiles), GRID)
    places = [place for block in blocks for place in held(block)]
    assert tiles <= set(places)
    assert len(places) == len(set(places))
    for block in blocks:
        assert held(block) & tiles
        assert block.row // SQUARE == (block.row + block.down - 1) // SQUARE
        assert block.column // SQUARE == (block.column + block.across - 1) // SQUARE


@given(TILES)
def test_blocks_cost_no_more_than_tiles_alone_or_whole_squares(tiles: set[tuple[int, int]]) -> None:
    spent = cost(packed(tiles, GRID))
    assert spent <= cost([Block(*tile) for tile in tiles])
    squares = {(row // SQUARE, column // SQUARE) for row, column in tiles}
    assert spent <= cost([Block(row, column, SQUARE, SQUARE) for row, column in squares])


def test_the_order_of_tiles_does_not_matter_within_a_square() -> None:
    tiles = [(0, 0), (3, 3), (3, 4), (7, 1)]
    assert packed(tiles, GRID) == packed(tiles[::-1], GRID)


def test_an_edge_becomes_long_blocks_and_what_is_far_from_it_its_own() -> None:
    upright = {(row, 3) for row in range(SQUARE)}
    assert packed(upright, GRID) == [Block(0, 3, SQUARE, 1)]
    assert packed(upright | {(0, 4)}, GRID) == [Block(0, 3, 1, 2), Block(1, 3, SQUARE - 1, 1)]
    assert packed({(0, 0), (7, 7)}, GRID) == [Block(0, 0), Block(7, 7)]
    assert packed({(0, 0), (0, 2)}, GRID) == [Block(0, 0, 1, 3)]  # the tile between costs less than a block of its own
    assert packed(set(), GRID) == []


def test_a_cross_is_cut() -> None:
    cross = {(3, column) for column in range(SQUARE)} | {(row, 3) for row in range(SQUARE)}
    blocks = packed(cross, GRID)
    assert len(blocks) > 1
    assert cost(blocks) < 0.8 * GRID.cost_px(SQUARE, SQUARE)
