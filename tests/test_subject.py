"""Patches that the network doubts are no subject, nor are those beside the one that is pointed at."""

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bokehcli.options import UNSURE_FROM, Unsure
from bokehcli.subject import (
    AGREED,
    BEYOND,
    CANDIDATE,
    CERTAIN,
    DECISION,
    DOUBTS,
    MOST_ADDED,
    PEAK,
    SHARES,
    WINDOW,
    ambiguity,
    confirmed,
    doubt,
    is_held,
    pointed_at,
    share_of_strength,
    window_about,
    without_doubtful,
)
from bokehcli.tiling import Box

SURE = 0.1
LARGE, SMALL = (slice(5, 30), slice(5, 25)), (slice(10, 20), slice(40, 50))  # of two_patches, with their rims


def alpha_of(logit: NDArray[np.float32]) -> NDArray[np.float32]:
    return 1.0 / (1.0 + np.exp(-logit))


def logit_of(chance: float | NDArray[Any]) -> NDArray[np.float32]:
    """The logit of alpha, as a state has it, where the network gives such a chance of being in focus."""
    bounded = np.clip(chance, 1e-6, 1.0 - 1e-6)
    return (DECISION * np.log(bounded / (1.0 - bounded))).astype(np.float32)


def two_patches(doubtful: float) -> NDArray[np.float32]:
    """A patch of logit 5 with a soft rim, and a smaller one of logit `doubtful` with one as well."""
    logit = np.full((40, 60), -6.0, np.float32)
    logit[LARGE], logit[7:28, 7:23] = -1.0, 5.0
    logit[SMALL], logit[12:18, 42:48] = -1.0, doubtful
    return logit


def recognised(doubtful: float) -> NDArray[np.float32]:
    """Two patches, the larger one of which is surely a subject."""
    logit = two_patches(doubtful)
    logit[7:28, 7:23] = PEAK
    return logit


def test_a_doubtful_patch_goes_with_its_rim_and_a_sure_one_stays_as_it_is() -> None:
    logit = recognised(0.5)
    kept = without_doubtful(logit, SURE, 0.8)
    np.testing.assert_array_equal(kept[:, :30], logit[:, :30])
    assert alpha_of(kept[:, 30:]).max() < 0.01
    np.testing.assert_array_equal(without_doubtful(recognised(3.0), SURE, 0.8), recognised(3.0))


def test_a_patch_that_is_nowhere_mostly_in_focus_goes() -> None:
    kept = without_doubtful(recognised(-0.5), SURE, 0.5)
    assert alpha_of(kept[:, 30:]).max() < 0.01


def test_where_nothing_is_surely_a_subject_all_patches_go() -> None:
    unsure = np.minimum(two_patches(4.0), 0.79 * PEAK).astype(np.float32)  # clear all over
    assert alpha_of(without_doubtful(unsure, SURE, 0.8)).max() < 0.01
    sure = unsure.copy()
    sure[15, 15] = 0.81 * PEAK
    np.testing.assert_array_equal(without_doubtful(sure, SURE, 0.8), sure)
    np.testing.assert_array_equal(without_doubtful(unsure, SURE, 0.3), unsure)
    # a peak in a patch that is in doubt all the same counts for nothing
    sure = recognised(0.5)
    sure[7:28, 7:23], sure[15, 45] = 0.79 * PEAK, 0.81 * PEAK
    assert alpha_of(without_doubtful(sure, SURE, 0.8)).max() < 0.01


def test_at_0_all_stays() -> None:
    np.testing.assert_array_equal(without_doubtful(two_patches(-0.5), SURE, 0.0), two_patches(-0.5))


@given(st.integers(0, 1000), st.floats(0.0, 1.0))
def test_patches_stay_whole_or_go_whole(seed: int, min_clarity: float) -> None:
    noise = np.random.default_rng(seed).normal(0.0, 6.0, (24, 32)).astype(np.float32)
    logit = cv2.GaussianBlur(noise, (0, 0), 1.5)
    kept = without_doubtful(logit, SURE, min_clarity)
    in_focus = alpha_of(logit) > SURE
    went = kept != logit
    assert not went[~in_focus].any()
    count, patches = cv2.connectedComponents(in_focus.astype(np.uint8), connectivity=8)
    for patch in range(1, count):
        assert len(np.unique(went[patches == patch])) == 1


def test_of_two_patches_the_one_pointed_at_stays_with_its_rim() -> None:
    logit = two_patches(4.0)
    kept = pointed_at(logit, (44.5 / 60, 14.5 / 40))
    np.testing.assert_array_equal(kept[SMALL], logit[SMALL])
    assert alpha_of(kept[:, :30]).max() < 0.01
    kept = pointed_at(logit, (10.5 / 60, 14.5 / 40))
    np.testing.assert_array_equal(kept[LARGE], logit[LARGE])
    assert alpha_of(kept[:, 35:]).max() < 0.01


def test_a_patch_that_the_network_is_certain_of_stays_wherever_one_points() -> None:
    logit = two_patches(CERTAIN - 1.0)
    logit[LARGE] += 0.1  # 5, and so just above
    np.testing.assert_array_equal(pointed_at(logit, (44.5 / 60, 14.5 / 40)), logit)
    kept = pointed_at(logit, (10.5 / 60, 14.5 / 40))
    np.testing.assert_array_equal(kept[LARGE], logit[LARGE])
    assert alpha_of(kept[:, 35:]).max() < 0.01


def test_a_point_beside_a_patch_means_it_and_one_far_from_all_means_all() -> None:
    logit = two_patches(4.0)
    beside = pointed_at(logit, (50.0 / 60, 15.0 / 40))
    np.testing.assert_array_equal(beside[SMALL], logit[SMALL])
    assert alpha_of(beside[:, :30]).max() < 0.01
    np.testing.assert_array_equal(pointed_at(logit, (0.99, 0.99)), logit)


def test_ambiguity_is_none_where_all_is_decided_and_grows_with_what_is_not() -> None:
    logit = np.full((40, 60), -20.0, np.float32)
    assert ambiguity(logit) < 1e-3
    logit[10:30, 10:30] = 20.0
    assert ambiguity(logit) < 1e-6
    logit[10:20, 10:30] = 0.0  # where alpha is a half; of what is in focus a half is left
    assert ambiguity(logit) == pytest.approx(1.0)


def test_doubt_is_what_the_iou_is_expected_to_lack() -> None:
    logit = logit_of(np.full((40, 60), 0.0))
    assert doubt(logit) == 1.0  # nothing was found
    logit[10:30, 10:30] = logit_of(1.0)
    assert doubt(logit) == pytest.approx(0.0, abs=1e-6)
    logit[10:20, 10:30] = logit_of(0.8)  # of half of it a fifth is probably wrong
    assert doubt(logit) == pytest.approx(0.1, abs=1e-6)
    logit[30:35, 10:30] = logit_of(0.4)  # of a quarter beside it two fifths are probably missed
    assert doubt(logit) == pytest.approx(1.0 - 0.9 / 1.1, abs=1e-6)
    logit[:10] = logit_of(0.9 * CANDIDATE)  # and that is the background
    assert doubt(logit) == pytest.approx(1.0 - 0.9 / 1.1, abs=1e-6)


@given(st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_doubt_is_the_iou_with_what_is_drawn_by_the_chances_of_the_network(seed: int) -> None:
    rng = np.random.default_rng(seed)
    chance = np.clip(cv2.GaussianBlur(rng.normal(0.5, 3.0, (64, 96)).astype(np.float32), (0, 0), 6.0), 0.0, 1.0)
    chance[chance <= CANDIDATE], chance[:9, :9] = 0.0, 0.9
    chance = np.tile(chance, (8, 8))  # so many pixels that chance hardly counts
    drawn, found = rng.random(chance.shape) < chance, chance > 0.5
    iou = np.count_nonzero(drawn & found) / np.count_nonzero(drawn | found)
    assert doubt(logit_of(chance)) == pytest.approx(1.0 - iou, abs=0.02)


def test_where_two_networks_find_one_thing_their_logits_are_added() -> None:
    logit, chosen = np.full((40, 60), -5.0, np.float32), np.full((40, 60), -9.0, np.float32)
    logit[10:30, 10:30] = 1.0
    chosen[10:30, 12:30] = 2.0  # nine tenths of it
    chosen[:5, 50:] = 3.0  # another thing
    inside = 20.5 / 60, 20.5 / 40
    added = confirmed(logit, chosen, inside)
    np.testing.assert_allclose(added[10:30, 12:30], 3.0)
    np.testing.assert_allclose(added[10:30, 10:12], 1.0 - MOST_ADDED)
    np.testing.assert_allclose(added[:5, 50:], -5.0 - MOST_ADDED)


@pytest.mark.parametrize("columns", [slice(10, 10 + round(20 * AGREED) - 1), slice(40, 60)])
def test_where_they_find_different_things_the_first_alone_counts(columns: slice) -> None:
    logit, chosen = np.full((40, 60), -5.0, np.float32), np.full((40, 60), -5.0, np.float32)
    logit[10:30, 10:30] = 1.0
    chosen[10:30, columns] = 2.0
    np.testing.assert_array_equal(confirmed(logit, chosen, (12.5 / 60, 20.5 / 40)), logit)


@given(st.integers(0, 1000), st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_pointing_takes_away_and_never_what_is_pointed_at(seed: int, x: float, y: float) -> None:
    logit = cv2.GaussianBlur(np.random.default_rng(seed).normal(0.0, 6.0, (24, 32)).astype(np.float32), (0, 0), 1.5)
    kept = pointed_at(logit, (x, y))
    assert (kept <= logit).all()
    _, patches = cv2.connectedComponents((logit > 0).astype(np.uint8), connectivity=4)
    at = patches[min(int(y * 24), 23), min(int(x * 32), 31)]
    if at:
        stays = np.isin(patches, np.append(np.setdiff1d(patches[logit > CERTAIN], 0), at))
        np.testing.assert_array_equal(kept > 0, stays)


SHARE = st.floats(0.0, 1.0, exclude_max=True)


@given(SHARE, SHARE, st.integers(16, 128), st.integers(16, 128), st.integers(1, 900), st.integers(1, 900))
def test_a_window_lies_in_the_picture_about_the_point(
    x: float, y: float, rows: int, columns: int, height: int, width: int
) -> None:
    window, place, (inner_x, inner_y) = window_about((x, y), (rows, columns), (height, width))
    assert (place.height, place.width) == (round(WINDOW * rows), round(WINDOW * columns))
    for box, (down, across) in ((window, (height, width)), (place, (rows, columns))):
        assert 0 <= box.top < box.bottom <= down
        assert 0 <= box.left < box.right <= across
    # the same point, in the window and in the picture
    assert abs(place.left + inner_x * place.width - x * columns) < 1e-6
    assert abs(place.top + inner_y * place.height - y * rows) < 1e-6
    # in the middle, unless the border is nearer
    if WINDOW / 2 < x < 1.0 - WINDOW / 2:
        assert abs(inner_x - 0.5) <= 0.5 / place.width + 1e-6
    assert abs(window.left / width - place.left / columns) <= 0.5 / width + 1e-9


def test_a_window_holds_what_hardly_reaches_out_of_it() -> None:
    found = np.zeros((100, 100), np.bool_)
    found[10:20, :100] = True
    assert is_held(found, Box(0, 50, 0, 100 - round(100 * BEYOND)))
    assert not is_held(found, Box(0, 50, 0, 99 - round(100 * BEYOND)))
    assert is_held(np.zeros((4, 4), np.bool_), Box(0, 2, 0, 2))


@given(st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_the_more_doubt_the_gentler_the_blur_and_without_a_step(doubt: float, other: float) -> None:
    low, high = sorted((doubt, other))
    more, less = (share_of_strength(each, Unsure.GENTLE) for each in (low, high))
    assert 0.0 <= less <= more <= 1.0
    assert more - less <= (high - low) * (SHARES[0] - SHARES[1]) / (DOUBTS[1] - DOUBTS[0]) + 1e-9  # where it is steepest
    assert (more == 1.0) is (low <= UNSURE_FROM)
    assert (less == 0.0) is (high >= DOUBTS[-1])
    assert share_of_strength(low, Unsure.FULL) == 1.0
    assert share_of_strength(low, Unsure.NONE) == float(low <= UNSURE_FROM)
