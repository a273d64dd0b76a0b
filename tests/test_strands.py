"""Hair beside a subject stays, in front of what is smooth; nothing else does."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from bokehcli import strands, tracing
from bokehcli.background import REACH, RIM, Background, background_at, background_of, distance_from
from bokehcli.infer import pyramid
from bokehcli.strands import strands_in, wide_px, with_strands
from bokehcli.tiling import Box, boxes_of, clip, grow, shrink

Image = NDArray[np.uint8]
SIZE = 400, 600  # height, width; hair reaches up to 12 px, what is 3 px wide is none
DISC = 300, 200, 100  # centre and radius of what is in focus
GREEN, WHITE = (40, 90, 40), (230, 230, 220)


def scene(length_px: int, width_px: int, colour: tuple[int, int, int] = WHITE, noise: float = 0.0) -> tuple[Image, Image]:
    """A photo of a disc with strands all around, none opposite to another, before a gradient, and alpha of the disc alone."""
    image = np.tile(np.linspace(0.8, 1.2, SIZE[1])[None, :, None], (SIZE[0], 1, 3)) * np.array(GREEN)
    image += np.random.default_rng(0).normal(0.0, 1.0 + noise, image.shape)
    image = np.clip(image, 0, 255).astype(np.uint8)
    x, y, radius = DISC
    for angle in np.linspace(0.0, 2.0 * np.pi, 23, endpoint=False):
        ends = [(round(x + r * np.cos(angle)), round(y + r * np.sin(angle))) for r in (radius - 5, radius + length_px)]
        cv2.line(image, *ends, colour, width_px)
    cv2.circle(image, (x, y), radius, (150, 90, 60), -1)
    alpha = np.zeros(SIZE, np.uint8)
    cv2.circle(alpha, (x, y), radius, 255, -1, cv2.LINE_AA)
    return image, alpha


def hairs(image: Image, alpha: Image) -> NDArray[np.bool_]:
    """Where the strands of a white scene show, away from the disc."""
    found: NDArray[np.bool_] = (image.min(axis=2) > 200) & (alpha == 0)
    return found


def all_sizes(image: NDArray[np.uint8] | NDArray[np.uint16]) -> list[NDArray[np.uint8]]:
    """As a network has them."""
    return pyramid(image, 2)


def test_hair_before_a_smooth_background_stays_and_the_background_does_not() -> None:
    image, alpha = scene(length_px=6, width_px=1)
    grown = with_strands(all_sizes(image), alpha)
    assert (grown >= alpha).all()
    assert grown[hairs(image, alpha)].mean() > 250
    smooth = cv2.dilate((alpha > 0).astype(np.uint8) | hairs(image, alpha), np.ones((3, 3), np.uint8)) == 0
    assert grown[smooth].max() == 0


def test_dark_hair_stays_as_well_as_light_hair() -> None:
    image, alpha = scene(length_px=6, width_px=1, colour=(5, 10, 5))
    dark = (image.max(axis=2) < 12) & (alpha == 0)
    assert with_strands(all_sizes(image), alpha)[dark].mean() > 200


def test_of_strands_that_do_not_end_the_less_counts_the_farther_from_the_edge_it_is() -> None:
    image, alpha = scene(length_px=400, width_px=1)
    grown, shown, reach_px = with_strands(all_sizes(image), alpha), hairs(image, alpha), REACH * SIZE[1]
    distance = cv2.distanceTransform((alpha == 0).astype(np.uint8), cv2.DIST_L2, 5)
    near, middle, far = (
        grown[shown & (distance > low * reach_px) & (distance < high * reach_px)].mean()
        for low, high in ((0.1, 0.3), (0.6, 0.9), (1.4, 9.0))
    )
    assert near > 240
    assert near > middle > 20
    assert far == 0


def test_a_strand_that_ends_stays_to_its_tip() -> None:
    image, alpha = scene(length_px=60, width_px=1)
    grown, shown = with_strands(all_sizes(image), alpha), hairs(image, alpha)
    assert grown[shown].mean() > 250
    assert grown[~cv2.dilate(shown.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(np.bool_) & (alpha == 0)].max() == 0


def test_a_line_that_begins_away_from_the_subject_stays_no_farther_than_before() -> None:
    image, alpha = scene(length_px=0, width_px=1)
    x, y, radius = DISC
    cv2.line(image, (x + radius + 8, y), (x + radius + 60, y), WHITE, 1)
    grown, reach_px = with_strands(all_sizes(image), alpha), REACH * SIZE[1]
    assert grown[y, x + radius + 8] > 0
    assert grown[:, round(x + radius + 1.4 * reach_px) :].max() == 0


def test_strands_that_hang_together_with_what_does_not_end_stay_no_farther_than_before() -> None:
    image, alpha = scene(length_px=60, width_px=1)
    cv2.line(image, (455, 0), (455, SIZE[0]), WHITE, 1)
    cv2.line(image, (390, 200), (460, 200), WHITE, 1)
    grown, shown = with_strands(all_sizes(image), alpha), hairs(image, alpha)
    assert grown[195:206, 416:].max() == 0
    assert grown[shown & (np.arange(SIZE[1]) < 300)[None, :]].mean() > 250


@pytest.mark.parametrize("times", [1, 2, 3, 4])
@pytest.mark.parametrize(("both", "share"), [(False, 1.0), (True, 0.0)])
def test_a_line_that_comes_out_on_the_other_side_too_lies_behind_the_subject(both: bool, share: float, times: int) -> None:
    image, alpha = scene(length_px=0, width_px=1)
    x, y, radius = DISC
    first = x - radius - 60 if both else x
    cv2.line(image, (first, y - 31), (x + radius + 70, y + 20), WHITE, 1)
    image[alpha > 0] = (150, 90, 60)
    image, alpha = (each.repeat(times, 0).repeat(times, 1) for each in (image, alpha))
    grown = with_strands(pyramid(image, 3), alpha)
    far = hairs(image, alpha) & (np.arange(times * SIZE[1]) > times * (x + radius + 1.4 * REACH * SIZE[1]))[None, :]
    assert grown[far].mean() / 255.0 == pytest.approx(share, abs=0.02)


@pytest.mark.parametrize(("below", "share"), [(0, 1.0), (45, 0.0)])
def test_a_line_that_parts_two_surfaces_is_no_strand_of_the_subject(below: int, share: float) -> None:
    image, alpha = scene(length_px=0, width_px=1)
    x, y, radius = DISC
    image[y + 40 :] += np.uint8(below)
    cv2.line(image, (x, y + 40), (x + radius + 60, y + 40), WHITE, 1)
    image[alpha > 0] = (150, 90, 60)
    grown = with_strands(all_sizes(image), alpha)
    far = hairs(image, alpha) & (np.arange(SIZE[1]) > x + radius + 2 * REACH * SIZE[1])[None, :]
    assert far.any()
    assert grown[far].mean() / 255.0 == pytest.approx(share, abs=0.02)


def test_what_spreads_too_far_is_a_pattern(monkeypatch: pytest.MonkeyPatch) -> None:
    image, alpha = scene(length_px=60, width_px=1)
    whole = with_strands(all_sizes(image), alpha)
    monkeypatch.setattr(tracing, "MOST_TILES", 1)
    monkeypatch.setattr(tracing, "MOST_OF_ALL", 0.0)
    assert with_strands(all_sizes(image), alpha)[hairs(image, alpha)].mean() < 0.5 * whole[hairs(image, alpha)].mean()


def test_what_is_wide_is_no_strand() -> None:
    image, alpha = scene(length_px=40, width_px=4 * wide_px(SIZE))
    wide = cv2.erode(hairs(image, alpha).astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    assert wide.any()
    assert with_strands(all_sizes(image), alpha)[wide].max() == 0


def test_before_a_busy_background_nothing_is_done() -> None:
    image, alpha = scene(length_px=6, width_px=1, noise=40.0)
    assert np.count_nonzero(with_strands(all_sizes(image), alpha) != alpha) < 20


@pytest.mark.parametrize("value", [0, 255])
def test_without_an_edge_alpha_stays_as_it_is(value: int) -> None:
    image, _ = scene(length_px=6, width_px=1)
    alpha = np.full(SIZE, value, np.uint8)
    assert with_strands(all_sizes(image), alpha) is alpha


def test_without_a_background_away_from_the_edge_there_is_nothing_to_measure_by() -> None:
    image, alpha = scene(length_px=6, width_px=1)
    box = slice(95, 305), slice(195, 405)  # 5 px beside the disc
    assert with_strands(all_sizes(image[box]), alpha[box].copy()).max() == 255
    filled = np.where(alpha[box] > 0, 255, 128).astype(np.uint8)
    assert with_strands(all_sizes(image[box]), filled) is filled


def test_16_bits_give_what_8_do() -> None:
    image, alpha = scene(length_px=6, width_px=1)
    wide = image.astype(np.uint16) * np.uint16(257)
    difference = cv2.absdiff(with_strands(all_sizes(image), alpha), with_strands(all_sizes(wide), alpha))
    assert difference.max() <= 30  # the halves are rounded otherwise


@pytest.mark.parametrize("tile_px", [32, 1024])
def test_tiles_do_not_show(monkeypatch: pytest.MonkeyPatch, tile_px: int) -> None:
    image, alpha = (cv2.resize(x, (1201, 803)) for x in scene(length_px=9, width_px=1))
    whole = with_strands(pyramid(image, 3), alpha)
    assert (whole != alpha).any()
    monkeypatch.setattr(strands, "TILE_PX", tile_px)
    monkeypatch.setattr(tracing, "TILE_PX", tile_px)
    np.testing.assert_array_equal(with_strands(pyramid(image, 3), alpha), whole)


@given(st.integers(1, 90), st.integers(1, 90), st.integers(0, 3), st.integers(0, 1000))
def test_of_any_picture_alpha_only_grows_and_only_near_the_edge(height: int, width: int, octaves: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, 3), np.uint8)
    alpha = cv2.resize(rng.choice([0, 255], (3, 3)).astype(np.uint8), (width, height), interpolation=cv2.INTER_LINEAR)
    grown = with_strands(pyramid(image, octaves) or [image], alpha)
    assert grown.shape == alpha.shape
    assert (grown >= alpha).all()


def test_a_line_inside_of_the_subject_moves_out_to_its_rim() -> None:
    image, alpha = scene(length_px=0, width_px=1)
    x, y, radius = DISC
    lacking = np.zeros_like(alpha)
    cv2.circle(lacking, (x, y), radius - round(0.5 * RIM * SIZE[1]), 255, -1, cv2.LINE_AA)
    lacking = cv2.GaussianBlur(lacking, (0, 0), 2.0)
    grown = with_strands(all_sizes(image), lacking)
    assert np.abs(lacking.astype(float) - alpha).sum() / 255.0 > 1200.0
    assert np.abs(grown.astype(float) - alpha).sum() / 255.0 < 450.0
    outside = cv2.dilate(alpha, np.ones((3, 3), np.uint8)) == 0
    assert (grown[outside] <= lacking[outside]).all()


def test_a_soft_rim_stays_soft() -> None:
    image, _ = scene(length_px=0, width_px=1)
    x, y, radius = DISC
    lacking = np.zeros(SIZE, np.uint8)
    cv2.circle(lacking, (x, y), radius - 2, 255, -1, cv2.LINE_AA)

    def steps(photo: Image) -> NDArray[np.int_]:
        return np.diff(with_strands(all_sizes(photo), lacking)[y, x + radius - 4 : x + radius + 9].astype(int))

    soft = steps(cv2.GaussianBlur(image, (0, 0), 3.0))
    assert soft.max() <= 3
    assert np.count_nonzero(soft < -20) >= 2


def test_the_shadow_that_a_subject_throws_on_a_wall_is_no_rim(monkeypatch: pytest.MonkeyPatch) -> None:
    _, alpha = scene(length_px=0, width_px=1)
    x, y, radius = DISC
    wall = np.full((*SIZE, 3), 200.0)
    cv2.circle(wall, (x + 10, y + 6), radius, (120, 120, 120), -1)
    cv2.circle(wall, (x, y), radius, (60, 90, 160), -1)
    image = np.clip(wall + np.random.default_rng(0).normal(0.0, 1.5, wall.shape), 0, 255).astype(np.uint8)
    outside = cv2.dilate(alpha, np.ones((3, 3), np.uint8)) == 0

    def sharp() -> int:
        return int(np.count_nonzero(with_strands(all_sizes(image), alpha)[outside] > 64))

    assert sharp() < 10
    monkeypatch.setattr(strands, "NEARER", 1.3)
    assert sharp() > 100


def test_what_the_network_half_believes_away_from_the_subject_is_not_made_whole() -> None:
    image, alpha = scene(length_px=0, width_px=1)
    half = alpha.copy()
    cv2.circle(image, (520, 60), 40, (150, 90, 60), -1)
    cv2.circle(half, (520, 60), 40, 70, -1)
    grown = with_strands(all_sizes(image), half)
    assert grown[20:100, 480:560].max() <= 70


def test_what_belongs_to_the_subject_is_no_strand() -> None:
    image, alpha = scene(length_px=0, width_px=1)
    background = background_of(all_sizes(image), alpha, distance_from(alpha))
    assert background is not None
    here = background_at(background, Box(0, SIZE[0], 0, SIZE[1]))
    deviation = cv2.absdiff(image, here.colour).max(axis=2)
    assert deviation.max() > 90
    assert strands_in(deviation, alpha, here.limit, wide_px(SIZE))[alpha == 255].max() == 0


@pytest.mark.parametrize("times", [1, 2, 16, 128, 256, 512])
def test_a_tile_is_looked_at_where_strands_count_in_it_or_beside_it(times: int) -> None:
    rng, size = np.random.default_rng(times), (max(700, 3 * times + 5), max(900, 5 * times + 77))
    for share in (0.0, 1e-4, 0.03):
        counts = np.where(rng.random([-(-side // times) for side in size]) < share, 7, 0).astype(np.uint8)
        counts[-1, -1] = 255  # in the last tile, which is smaller
        background = Background(times, counts[..., None], counts, counts, None)
        wanted = []
        for box in boxes_of(size, strands.TILE_PX):
            near = clip(grow(shrink(box, times), 1), counts.shape)
            if counts[near.slices].any():
                wanted.append(box)
        assert list(strands.tiles_beside(background, size)) == wanted


def test_strands_are_the_same_on_one_thread_and_on_several() -> None:
    image, alpha = scene(length_px=30, width_px=1, noise=3.0)
    image, alpha = (cv2.resize(each, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC) for each in (image, alpha))
    had, grown = cv2.getNumThreads(), []
    try:
        for count in (1, 4):
            cv2.setNumThreads(count)
            grown.append(with_strands(pyramid(image, 4), alpha))
    finally:
        cv2.setNumThreads(had)
    assert (grown[0] != alpha).any()
    np.testing.assert_array_equal(grown[0], grown[1])


def test_what_rim_and_subject_enclose_is_rim_as_far_as_rim_counts() -> None:
    alpha, rim = np.zeros((80, 90), np.uint8), np.zeros((80, 90), np.uint8)
    alpha[:, :30] = 255
    rim[::4, 36:39] = 255  # islands beside the subject, six pixels away, as many dots as dark feathers in pale ones
    rim[40, 70] = 255  # one that is too far away from all others
    counts = np.where(np.arange(90)[None] < 60, 255, 100).astype(np.uint8).repeat(80, 0)
    filled = strands.without_gaps(rim, alpha, counts, wide=21)
    assert (filled >= rim).all()
    assert filled[10:-10, 30:36].min() == 255
    assert filled[10:-10, 40:68].max() == 0
    assert filled[30:50, 62:].max() == filled[40, 70] == 255  # as it was
    assert np.count_nonzero(filled[30:50, 62:]) == 1
    half = strands.without_gaps(rim, alpha, counts // 2, wide=21)
    assert half[20, 33] == 127
    np.testing.assert_array_equal(strands.without_gaps(rim, alpha, counts, wide=1), cv2.max(rim, cv2.min(alpha, counts)))
