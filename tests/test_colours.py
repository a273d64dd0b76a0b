"""Where the network is in doubt, the photo's colours decide with it; elsewhere, or where they tell nothing, nothing changes."""

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from bokehcli.colours import FEWEST, FOUND, LARGEST, REST, WEIGHT, with_colours

SIZE = 40, 60
SUBJECT, BACKGROUND = (200, 60, 40), (40, 90, 180)
DOUBTFUL = slice(15, 25)  # rows, of the map
REACH = 1  # pixels of the map beyond what is in doubt that the window's mean changes as well


def map_in_doubt(doubtful: float = 0.0) -> NDArray[np.float32]:
    """A logit that is sure of the left half and of the right one, but for a band across both."""
    logit = np.full(SIZE, -9.0, np.float32)
    logit[:, : SIZE[1] // 2] = 9.0
    logit[DOUBTFUL] = doubtful
    return logit


def photo_of(left: Any, right: Any, times: int = 4) -> NDArray[np.uint8]:
    """A photo whose halves have these colours, with some noise."""
    photo = np.empty((*SIZE, 3), np.float64)
    photo[:, : SIZE[1] // 2], photo[:, SIZE[1] // 2 :] = left, right
    large = np.repeat(np.repeat(photo, times, 0), times, 1)
    noise = np.random.default_rng(0).normal(0.0, 3.0, large.shape)
    return np.clip(np.rint(large + noise), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("doubtful", [-2.0, 0.0, 2.0])
def test_a_place_in_doubt_goes_with_what_is_of_its_colours(doubtful: float) -> None:
    changed = with_colours(map_in_doubt(doubtful), photo_of(SUBJECT, BACKGROUND))
    inner = slice(DOUBTFUL.start + 1, DOUBTFUL.stop - 1)
    assert changed[inner, : SIZE[1] // 2 - 2].min() > 0.0
    assert changed[inner, SIZE[1] // 2 + 2 :].max() < 0.0


def test_colours_say_no_more_than_their_largest_value() -> None:
    logit = map_in_doubt()
    changed = with_colours(logit, photo_of(SUBJECT, BACKGROUND))
    assert np.abs(changed - logit).max() == pytest.approx(WEIGHT * LARGEST)


def test_what_is_sure_stays_as_it_is() -> None:
    logit = map_in_doubt()
    changed = with_colours(logit, photo_of(SUBJECT, BACKGROUND))
    sure = (logit > FOUND) | (logit < REST)
    away = cv2.erode(sure.astype(np.uint8), np.ones((2 * REACH + 3,) * 2, np.uint8), borderValue=1) > 0
    np.testing.assert_array_equal(changed[away], logit[away])
    assert ((changed > 0.0) == (logit > 0.0))[sure].all()


def test_colours_that_both_have_tell_nothing() -> None:
    for colour in (BACKGROUND, (128, 128, 128)):
        np.testing.assert_allclose(
            with_colours(map_in_doubt(), photo_of(colour, colour, times=8)), map_in_doubt(), atol=0.6
        )


def test_a_subject_of_several_colours_keeps_them_all() -> None:
    photo = photo_of(SUBJECT, BACKGROUND)
    photo[::16, : photo.shape[1] // 2] = photo[1::16, : photo.shape[1] // 2] = 230  # stripes, in the doubtful band as well
    changed = with_colours(map_in_doubt(), photo)
    assert changed[DOUBTFUL.start + 1 : DOUBTFUL.stop - 1, : SIZE[1] // 2 - 2].min() > 0.0


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_too_little_to_tell_from_changes_nothing(sign: float) -> None:
    logit = np.full(SIZE, -9.0 * sign, np.float32)
    logit[:20] = 0.0
    logit[30, : FEWEST - 1] = 9.0 * sign
    assert with_colours(logit, photo_of(SUBJECT, BACKGROUND)) is logit
    logit[31, 0] = 9.0 * sign
    assert not np.array_equal(with_colours(logit, photo_of(SUBJECT, BACKGROUND)), logit)


def test_sixteen_bits_say_what_eight_do() -> None:
    photo = photo_of(SUBJECT, BACKGROUND)
    eight, sixteen = (with_colours(map_in_doubt(), each) for each in (photo, photo.astype(np.uint16) * 257))
    np.testing.assert_array_equal(eight, sixteen)


def test_a_photo_in_black_and_white_has_its_brightness() -> None:
    changed = with_colours(map_in_doubt(), photo_of((210,) * 3, (70,) * 3))
    inner = slice(DOUBTFUL.start + 1, DOUBTFUL.stop - 1)
    assert changed[inner, : SIZE[1] // 2 - 2].min() > 0.0 > changed[inner, SIZE[1] // 2 + 2 :].max()


def test_colours_alone_make_no_patch() -> None:
    logit = np.full(SIZE, -9.0, np.float32)
    logit[:, :20] = 9.0
    logit[10:20, 40:50] = -1.0
    photo = photo_of(BACKGROUND, BACKGROUND)
    photo[:, :80] = photo_of(SUBJECT, SUBJECT)[:, :80]
    photo[40:80, 160:200] = photo_of(SUBJECT, SUBJECT)[40:80, 160:200]
    np.testing.assert_array_equal(with_colours(logit, photo) > 0.0, logit > 0.0)
    logit[15, 45] = 0.5
    assert (with_colours(logit, photo) > 0.0)[11:19, 41:49].all()
