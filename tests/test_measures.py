"""The measures of the quality benchmark: known answers, and that each can fail."""

import math

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from bokehcli import similarity
from bokehcli.comparison import mask_and_gaussian
from bokehcli.options import LensOptions
from tests.bench import measures
from tests.bench.baselines import guided
from tests.bench.doubt import Found, area_under_roc, lines
from tests.bench.product import rendered

Float = NDArray[np.float32]
SIDE_PX = 200


def disc(radius_px: float, soft_px: float = 0.0) -> Float:
    """A disc in the middle of a square; its edge is a ramp of `soft_px`."""
    y, x = np.mgrid[:SIDE_PX, :SIDE_PX] - (SIDE_PX - 1) / 2
    inside: Float = np.clip((radius_px - np.hypot(y, x)) / max(soft_px, 1e-6) + 0.5, 0.0, 1.0).astype(np.float32)
    return inside


def noise(seed: int = 0) -> Float:
    return np.random.default_rng(seed).random((SIDE_PX, SIDE_PX), np.float32)


def test_iou_is_the_share_of_both_areas_that_is_common() -> None:
    left, top = np.zeros((2, 100, 100), np.float32)
    left[:, :50], top[:50] = 1.0, 1.0
    assert measures.iou(left, left) == 1.0
    assert measures.iou(left, top) == pytest.approx(1 / 3)
    assert math.isnan(measures.iou(left, np.zeros_like(left)))
    assert type(measures.iou(left, top)) is float  # numpy's own scalars cannot be written as JSON


def test_boundaries_agree_with_themselves_and_within_the_tolerance_only() -> None:
    matte = disc(60.0)
    tolerance_px = math.ceil(measures.F_TOLERANCE * math.hypot(*matte.shape))
    assert measures.boundary_f(matte, matte) == 1.0
    assert measures.boundary_f(disc(60.0 - (tolerance_px - 1)), matte) == 1.0
    assert measures.boundary_f(disc(60.0 - (tolerance_px + 2)), matte) == 0.0
    assert measures.boundary_f(np.roll(matte, 8 * tolerance_px, 1), matte) < 0.3
    assert measures.boundary_f(np.zeros_like(matte), matte) == 0.0
    assert math.isnan(measures.boundary_f(matte, np.zeros_like(matte)))


def test_a_boundary_that_is_half_missing_has_full_precision_and_half_the_recall() -> None:
    matte = np.zeros((200, 200), np.float32)
    matte[20:60], matte[140:180] = 1.0, 1.0
    half = matte.copy()
    half[100:] = 0.0
    assert measures.boundary_f(half, matte) == pytest.approx(2 * 0.5 / 1.5)


def test_the_band_lies_around_the_edge_and_an_exact_matte_has_no_error_there() -> None:
    matte = disc(60.0, soft_px=4.0)
    band = measures.band(matte, 20.0)
    distance = np.abs(np.hypot(*(np.mgrid[:SIDE_PX, :SIDE_PX] - (SIDE_PX - 1) / 2)) - 60.0)
    assert band[distance < 18.0].all()
    assert not band[distance > 22.0].any()
    assert measures.mean_error(matte, matte, band) == 0.0
    assert measures.mean_error(1.0 - matte, matte, band) > 0.8
    assert not measures.band(np.zeros_like(matte)).any()
    assert math.isnan(measures.mean_error(matte, matte, np.zeros_like(band)))


def test_erosion_takes_the_edge_and_not_the_border() -> None:
    mask = np.zeros((50, 50), bool)
    mask[:, :30] = True
    assert np.array_equal(measures.eroded(mask, 5), np.arange(50)[None, :].repeat(50, 0) < 25)
    assert measures.eroded(np.ones_like(mask), 5).all()


def test_psnr_of_one_level_is_48_db_and_of_identical_pixels_the_stated_figure() -> None:
    grey = np.full((20, 20, 3), 100, np.uint8)
    where = np.zeros((20, 20), bool)
    assert similarity.psnr_db(grey + 1, grey) == pytest.approx(48.13, abs=0.01)
    assert similarity.psnr_db(grey, grey) == similarity.IDENTICAL_DB
    assert math.isnan(similarity.psnr_db(grey, grey, where))
    where[0, 0] = True
    other = grey.copy()
    other[0, 0, 2] += 1
    assert (measures.identical(other, grey, where), measures.identical(other, grey, ~where)) == (0.0, 1.0)


def test_similarity_falls_with_blur() -> None:
    image = np.rint(noise()[:, :, None].repeat(3, 2) * 255).astype(np.uint8)
    assert measures.ssim(image, image) == pytest.approx(1.0)
    assert measures.ssim(cv2.GaussianBlur(image, (0, 0), 3.0), image) < 0.5


def test_a_guided_filter_with_a_flat_guide_is_a_mean_filter_twice() -> None:
    source, flat = noise(), np.full((SIDE_PX, SIDE_PX), 0.5, np.float32)
    once = cv2.boxFilter(source, -1, (9, 9), borderType=cv2.BORDER_REFLECT)
    wanted = cv2.boxFilter(once, -1, (9, 9), borderType=cv2.BORDER_REFLECT)
    assert np.allclose(guided(flat, source, 4, 1e-3), wanted, atol=1e-5)


def test_a_guided_filter_keeps_what_is_its_own_guide_and_follows_its_edge() -> None:
    edge = disc(60.0)
    assert np.allclose(guided(edge, edge, 4, 1e-6), edge, atol=1e-3)
    blurred = np.asarray(cv2.GaussianBlur(edge, (0, 0), 4.0), np.float32)
    assert np.square(guided(edge, blurred, 8, 1e-6) - edge).mean() < 0.5 * np.square(blurred - edge).mean()


@pytest.mark.parametrize("soft_px", [0.0, 3.0])
def test_an_unblurred_painting_has_no_halo_and_a_plain_blur_has_one(soft_px: float) -> None:
    matte = disc(60.0, soft_px)
    painted = measures.painted(matte)
    assert measures.halo(painted, matte) == pytest.approx((0.0, 0.0), abs=1e-4)
    assert min(measures.halo(cv2.GaussianBlur(painted, (0, 0), 10.0), matte, measures.NEAR_RING_PX)) > 0.1


def test_a_mask_over_a_gaussian_has_a_halo_outside_only() -> None:
    matte = disc(60.0)
    outside, inside = measures.halo(mask_and_gaussian(measures.painted(matte), matte, 1.0), matte)
    assert outside > 0.001
    assert inside == 0.0


def test_the_lens_leaves_no_halo() -> None:
    matte = disc(60.0, soft_px=2.0)
    painted = measures.painted(matte)
    picture = rendered(painted, matte, np.ones_like(matte), LensOptions(strength=1.0))
    assert max(measures.halo(picture, matte)) < 0.0005


def test_red_is_read_off_in_linear_light_whatever_the_brightness() -> None:
    matte = np.linspace(0.0, 1.0, 101, dtype=np.float32)[None].repeat(4, 0)
    assert np.allclose(measures.red_share(measures.painted(matte)), matte, atol=1e-3)
    assert np.allclose(measures.red_share(np.full((2, 2, 3), 40, np.uint8)), 0.5)


def test_a_doubt_that_is_higher_where_photos_are_wrong_has_an_area_of_1_and_one_that_knows_nothing_of_a_half() -> None:
    photos = [Found(iou=1.0 - number / 10, peak=9.0, doubt=number / 20, ambiguity=0.1) for number in range(10)]
    assert area_under_roc(photos, lambda photo: photo.doubt) == 1.0
    assert area_under_roc(photos, lambda photo: -photo.doubt) == 0.0
    assert area_under_roc(photos, lambda photo: photo.ambiguity) == 0.5
    assert math.isnan(area_under_roc(photos[:2], lambda photo: photo.doubt))
    _, *rows = lines(photos, "doubt", (-1.0, 0.1, 0.4, 2.0), lambda photo: photo.doubt)
    assert [row.split()[3:] for row in rows] == [["3", "0.900", "0", "2"], ["6", "0.450", "3", "0"], ["1", "0.100", "1", "0"]]
