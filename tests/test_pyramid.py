"""Octaves: sizes that double, states that are the same whether all of them is held or only tiles."""

import itertools

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from bokehcli.pyramid import (
    Level,
    base_state,
    doubled,
    inner_box,
    level_sizes,
    octave_count,
    open_tiles,
    uneven_tiles,
    varied_tiles,
)
from bokehcli.tiling import Box, boxes_of, parts_of


def random_state(height: int, width: int, channels: int = 3) -> NDArray[np.float32]:
    return np.random.default_rng(height * 1000 + width).normal(size=(channels, height, width)).astype(np.float32)


@given(st.integers(1, 20000), st.integers(1, 20000))
def test_the_base_is_about_as_large_as_the_global_state_and_every_octave_twice_the_one_below(height: int, width: int) -> None:
    octaves = octave_count((height, width), 128)
    sizes = level_sizes((height, width), octaves)
    assert sizes[-1] == (height, width)
    assert len(sizes) == octaves + 1
    for small, large in itertools.pairwise(sizes):
        assert all(2 * s - 1 <= n <= 2 * s for s, n in zip(small, large, strict=True))
    assert max(sizes[0]) <= 192
    assert octaves == 0 or max(sizes[0]) >= 96


@given(st.integers(1, 40), st.integers(1, 40))
def test_doubling_is_bilinear(height: int, width: int) -> None:
    state = random_state(height, width)
    expected = cv2.resize(state.transpose(1, 2, 0), (2 * width, 2 * height), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(doubled(state), expected.transpose(2, 0, 1), atol=1e-5)


@pytest.mark.parametrize("native", [(1000, 1504), (997, 1501), (1024, 769)])
def test_a_base_pixel_lies_where_its_native_ones_do(native: tuple[int, int]) -> None:
    rows, columns = 96, 128
    ramp = np.stack(
        (
            np.repeat(((np.arange(rows) + 0.5) / rows)[:, None], columns, axis=1),
            np.repeat(((np.arange(columns) + 0.5) / columns)[None], rows, axis=0),
        )
    ).astype(np.float32)
    octaves = octave_count(native, 128)
    base = base_state(ramp, native, octaves)
    for axis, (side, length) in enumerate(zip(native, base.shape[1:], strict=True)):
        centres = (np.arange(length) + 0.5) * 2**octaves / side
        inner = slice(2, length - 2)
        np.testing.assert_allclose(np.moveaxis(base[axis], axis, 0)[inner, 5], centres[inner], atol=1e-5)


@given(st.integers(5, 40), st.integers(5, 40), st.data())
def test_a_level_of_tiles_gives_any_box_as_the_whole_would(height: int, width: int, data: st.DataObject) -> None:
    below = Level((height, width), dense=random_state(height, width))
    odd_rows, odd_columns = data.draw(st.booleans()), data.draw(st.booleans())
    size = 2 * height - odd_rows, 2 * width - odd_columns
    assert below.dense is not None
    whole = doubled(below.dense)[:, : size[0], : size[1]].copy()
    level = Level(size, below, square_px=8)
    for square in boxes_of(size, 8):
        for piece in parts_of(square, data.draw(st.sampled_from((3, 4, 8)))):
            if data.draw(st.booleans()):
                refined = random_state(piece.height, piece.width)
                whole[:, *piece.slices] = refined
                level.hold(piece, refined)
    top, left = data.draw(st.integers(0, size[0] - 1)), data.draw(st.integers(0, size[1] - 1))
    box = Box(top, data.draw(st.integers(top + 1, size[0])), left, data.draw(st.integers(left + 1, size[1])))
    np.testing.assert_allclose(level.state(box, len(whole)), whole[:, *box.slices], atol=1e-5)


def test_tiles_are_uneven_where_alpha_varies_within_their_reach() -> None:
    alpha = np.zeros((40, 60), np.uint16)
    alpha[:, 30:] = 1000
    assert uneven_tiles(alpha, 10, 0, 100) == []  # the step lies between two columns of tiles
    assert uneven_tiles(alpha, 10, 1, 100) == [(row, column) for row in range(4) for column in (2, 3)]
    assert uneven_tiles(alpha, 10, 1, 1000) == []


@given(st.integers(1, 50), st.integers(1, 50), st.integers(1, 12), st.integers(0, 15), st.integers(0, 250), st.integers(0, 99))
def test_uneven_tiles_are_those_one_finds_one_by_one(
    height: int, width: int, tile_px: int, reach_px: int, least: int, seed: int
) -> None:
    alpha = np.random.default_rng(seed).integers(0, 256, (height, width)).astype(np.uint16)
    found = []
    for box in boxes_of((height, width), tile_px):
        top, left = max(0, box.top - reach_px), max(0, box.left - reach_px)
        around = alpha[top : box.top + tile_px + reach_px, left : box.left + tile_px + reach_px]
        if int(around.max()) - int(around.min()) > least:
            found.append((box.top // tile_px, box.left // tile_px))
    assert uneven_tiles(alpha, tile_px, reach_px, least) == found


@given(st.integers(1, 50), st.integers(1, 50), st.integers(1, 12), st.integers(0, 6), st.integers(0, 250), st.integers(0, 99))
def test_open_tiles_are_those_that_a_varied_window_touches(
    height: int, width: int, tile_px: int, reach_px: int, least: int, seed: int
) -> None:
    alpha = np.random.default_rng(seed).integers(0, 256, (height, width)).astype(np.uint16)
    found = set()
    for y, x in np.ndindex(height, width):
        window = alpha[max(0, y - reach_px) : y + reach_px + 1, max(0, x - reach_px) : x + reach_px + 1]
        if int(window.max()) - int(window.min()) > least:
            found.add((y // tile_px, x // tile_px))
    assert open_tiles(alpha, tile_px, reach_px, least) == sorted(found)


@given(st.integers(1, 60), st.integers(1, 60), st.integers(4, 12), st.integers(0, 4), st.integers(0, 9), st.integers(0, 99))
def test_varied_tiles_are_those_of_all_rows_together(
    height: int, width: int, tile_px: int, reach_px: int, first: int, seed: int
) -> None:
    alpha = np.zeros((height, width), np.uint16)
    random = np.random.default_rng(seed)
    for _ in range(3):  # a few spots, so that some rows and columns of tiles have none
        alpha[random.integers(height), random.integers(width)] = random.integers(256)
    rows = -(-height // tile_px)
    first = min(first, rows)
    parts = [varied_tiles(part, alpha, tile_px, reach_px, (20, 100)) for part in (range(first), range(first, rows)) if part]
    uneven, opened = ({tile for tiles in each for tile in tiles} for each in zip(*parts, strict=True))
    assert uneven == set(uneven_tiles(alpha, tile_px, reach_px, 20))
    assert opened == set(open_tiles(alpha, tile_px, reach_px, 100))


@given(st.integers(1, 700), st.integers(1, 700), st.integers(0, 30), st.integers(16, 256), st.integers(0, 10), st.booleans())
def test_a_tile_has_its_context_or_ends_where_the_picture_ends(
    height: int, width: int, context_px: int, tile_px: int, pick: int, last: bool
) -> None:
    tiles = list(boxes_of((height, width), tile_px))
    tile = tiles[-1 if last else pick % len(tiles)]
    tile = tile._replace(right=min(width, tile.left + 2 * tile_px))
    sides = tile_px + 2 * context_px, 2 * tile_px + 2 * context_px
    box = inner_box(tile, context_px, sides, (height, width))
    assert (box.height, box.width) == (min(sides[0], height), min(sides[1], width))
    assert 0 <= box.top <= max(0, tile.top - context_px)
    assert min(height, tile.bottom + context_px) <= box.bottom <= height
    assert 0 <= box.left <= max(0, tile.left - context_px)
    assert min(width, tile.right + context_px) <= box.right <= width
