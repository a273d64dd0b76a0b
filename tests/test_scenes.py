"""Cut-outs that training puts into pictures: what of a photo comes where."""

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("torch", reason="training is optional")

from bokehcli.opencv import cv2
from bokehcli.tiling import Box
from bokehcli.trainer.scenes import CutOut, paste, placed, rotation, shrunk, warp

SIZE = 96
Image = NDArray[np.uint8]


def subject(cut: bool = False) -> tuple[Image, Image, Box]:
    """A smooth photo of 90 by 120, an ellipse as its matte, which the lower border may cut, and the ellipse's box."""
    rng = np.random.default_rng(1)
    photo = cv2.GaussianBlur(rng.integers(0, 256, (90, 120, 3), dtype=np.uint8), (0, 0), 2.0)
    matte = np.zeros((90, 120), np.uint8)
    cv2.ellipse(matte, (60, 80 if cut else 45), (20, 30), 0.0, 0.0, 360.0, 255, -1)
    return photo, matte, Box(50, 90, 40, 81) if cut else Box(15, 76, 40, 81)


def mapped(image: Image, matrix: NDArray[np.float32], border: int) -> Image:
    """OpenCV's affine map of a whole image into the picture."""
    image, matrix = shrunk(image, matrix)
    return np.asarray(cv2.warpAffine(image, matrix, (SIZE, SIZE), flags=cv2.INTER_LINEAR, borderMode=border))


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("scale", [0.2, 0.5, 0.9, 2.5])
@pytest.mark.parametrize(("x", "y", "angle"), [(48.0, 48.0, 0.0), (10.0, 90.0, 25.0), (70.0, 3.0, -140.0)])
def test_a_cut_out_is_the_part_of_the_whole_photo_where_its_matte_is(
    cut: bool, scale: float, x: float, y: float, angle: float
) -> None:
    photo, matte, box = subject(cut)
    linear = rotation(angle) @ np.diag([-scale, scale])
    made = placed((photo, matte), box, linear, (x, y), SIZE)
    shift = np.array([x, y]) - linear @ np.array([(box.left + box.right) / 2, (box.top + box.bottom) / 2])
    matrix = np.hstack([linear, shift[:, None]]).astype(np.float32)
    alpha = mapped(matte, matrix, cv2.BORDER_CONSTANT).astype(np.float32) / 255.0
    assert alpha.max() > 0.9
    np.testing.assert_allclose(made.whole(SIZE), alpha, atol=1.01 / 255)
    inside = made.alpha > 0.0
    away = np.abs(made.pixels.astype(int) - mapped(photo, matrix, cv2.BORDER_REPLICATE)[made.box.slices])
    assert away[inside].max() <= 1
    assert made.box.height * made.box.width < 2.5 * max(60, np.count_nonzero(inside)) + 4 * (made.box.height + made.box.width)


def test_what_lies_outside_of_the_picture_is_not_to_be_seen() -> None:
    photo, matte, box = subject()
    made = placed((photo, matte), box, np.diag([1.0, 1.0]), (SIZE + 200.0, 40.0), SIZE)
    assert not made.whole(SIZE).any()
    picture = np.full((SIZE, SIZE, 3), 77, np.uint8)
    paste(picture, made)
    assert (picture == 77).all()


def test_a_cut_out_is_mixed_in_by_its_alpha_where_it_lies_alone() -> None:
    picture = np.full((SIZE, SIZE, 3), 100, np.uint8)
    alpha = np.array([[0.0, 0.5, 1.0]], np.float32)
    paste(picture, CutOut(Box(10, 11, 20, 23), np.full((1, 3, 3), 201, np.uint8), alpha))
    assert picture[10, 20:23, 0].tolist() == [100, 150, 201]
    assert np.count_nonzero(picture != 100) == 2 * 3


def test_a_photo_and_its_matte_are_mapped_alike() -> None:
    photo, matte, _ = subject()
    matrix = np.array([[-0.8, 0.1, 90.0], [0.05, 1.1, -4.0]], np.float32)
    pixels, alpha = warp(photo, matte, matrix, SIZE)
    np.testing.assert_array_equal(pixels, mapped(photo, matrix, cv2.BORDER_REFLECT_101))
    np.testing.assert_array_equal(alpha, mapped(matte, matrix, cv2.BORDER_REFLECT_101).astype(np.float32) / 255.0)
