"""Tiles: every pixel once, at any size."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bokehcli.tiling import Box, bands_of, boxes_of, clip, grow, parts_of, shrink

SIZES = st.tuples(st.integers(1, 90), st.integers(1, 90))
TILES = st.integers(1, 100)


@given(SIZES, TILES)
def test_tiles_cover_every_pixel_once(size: tuple[int, int], tile_px: int) -> None:
    covered = np.zeros(size, int)
    for box in boxes_of(size, tile_px):
        covered[box.slices] += 1
    assert (covered == 1).all()


@given(SIZES, TILES)
def test_only_the_last_of_a_row_or_column_is_smaller(size: tuple[int, int], tile_px: int) -> None:
    for box in boxes_of(size, tile_px):
        assert box.height == tile_px or (box.height < tile_px and box.bottom == size[0])
        assert box.width == tile_px or (box.width < tile_px and box.right == size[1])


@given(SIZES, TILES)
def test_stitching_the_tiles_gives_the_picture(size: tuple[int, int], tile_px: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    stitched = np.zeros_like(image)
    for box in boxes_of((*size, 3), tile_px):
        tile = image[box.slices]
        assert tile.shape == (box.height, box.width, 3)
        stitched[box.slices] = tile
    assert np.array_equal(stitched, image)


@given(SIZES, TILES, st.integers(0, 40))
def test_a_grown_and_clipped_tile_holds_the_tile_and_stays_inside(size: tuple[int, int], tile_px: int, margin: int) -> None:
    for box in boxes_of(size, tile_px):
        wide = grow(box, margin)
        assert (wide.height, wide.width) == (box.height + 2 * margin, box.width + 2 * margin)
        inside = clip(wide, size)
        assert 0 <= inside.top <= box.top < box.bottom <= inside.bottom <= size[0]
        assert 0 <= inside.left <= box.left < box.right <= inside.right <= size[1]


def test_growing_reaches_over_the_border() -> None:
    assert grow(Box(0, 4, 2, 6), 3) == Box(-3, 7, -1, 9)


@given(SIZES, st.integers(0, 50), st.integers(0, 50), TILES)
def test_the_parts_of_a_box_cover_it_once(size: tuple[int, int], top: int, left: int, side_px: int) -> None:
    covered = np.zeros((150, 150), int)
    for part in parts_of(Box(top, top + size[0], left, left + size[1]), side_px):
        covered[part.slices] += 1
    assert (covered[top : top + size[0], left : left + size[1]] == 1).all()
    assert covered.sum() == size[0] * size[1]


@given(SIZES, st.integers(0, 50), st.integers(0, 50), st.sampled_from([1, 2, 4]))
def test_a_shrunk_box_covers_the_box_and_no_pixel_more_than_it_must(
    size: tuple[int, int], top: int, left: int, times: int
) -> None:
    box = Box(top, top + size[0], left, left + size[1])
    small = shrink(box, times)
    assert 0 <= box.top - small.top * times < times
    assert 0 <= small.bottom * times - box.bottom < times
    assert 0 <= box.left - small.left * times < times
    assert 0 <= small.right * times - box.right < times


@given(st.integers(1, 40), st.integers(1, 9))
def test_bands_hold_every_row_once_and_are_about_as_long(rows: int, count: int) -> None:
    bands = bands_of(range(rows), count)
    assert [row for band in bands for row in band] == list(range(rows))
    assert len(bands) == min(rows, count)
    lengths = [len(band) for band in bands]
    assert max(lengths) - min(lengths) <= 1
