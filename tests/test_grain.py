"""Grain is measured where a photo is flat, and is given to what is blurred as the photo had it."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from bokehcli import optics
from bokehcli.grain import BLOCK_PX, REPEATED_PX, TEXTURE_PX, Grain, grain_of
from bokehcli.lens import render
from bokehcli.options import LensOptions

Image = NDArray[Any]
Float = NDArray[np.float32]

SIZE = 480, 640
LUMA = np.array([0.299, 0.587, 0.114])


def shaded(low: float = 70.0, high: float = 180.0, size: tuple[int, int] = SIZE) -> Float:
    """(h, w, 3): a slow gradient, in levels of 255."""
    across = np.linspace(low, high, size[1], dtype=np.float32)
    return np.ascontiguousarray(np.broadcast_to(across[None, :, None], (*size, 3)))


def noise_of(deviation: float, size: tuple[int, int] = SIZE, spread_px: float = 0.0, grey: bool = True) -> Float:
    """(h, w, 3) of that deviation, smoothed by a Gaussian; the same in all channels, or not."""
    noise = np.random.default_rng(5).standard_normal((*size, 1 if grey else 3)).astype(np.float32)
    if spread_px:
        noise = cv2.GaussianBlur(noise, (0, 0), spread_px).reshape(noise.shape)
    return np.broadcast_to(noise / max(noise.std(), 1e-6) * np.float32(deviation), (*size, 3))


def as_photo(levels: Float, dtype: type = np.uint8) -> Image:
    full = np.iinfo(dtype).max
    return np.rint(np.clip(levels * (full / 255.0), 0, full)).astype(dtype)


def grain_in(levels: Float) -> Grain:
    grain = grain_of(as_photo(levels))
    assert grain is not None
    return grain


def fine_deviation(image: Image, channel: int = 1) -> float:
    """Deviation of a channel from its smooth part, in its own units."""
    plane = image[:, :, channel].astype(np.float32)
    return float((plane - cv2.GaussianBlur(plane, (0, 0), 6.0))[20:-20, 20:-20].std())


def blurred(image: Image, grain: float = 1.0, strength: float = 1.0) -> Image:
    """The photo with nothing in focus."""
    alpha, defocus = np.zeros(image.shape[:2], np.uint8), np.ones((8, 8), np.float32)
    return render(image, alpha, defocus, LensOptions(strength=strength, grain=grain, highlights=0.0))


# --- measured ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("deviation", [1.0, 2.5, 6.0])
def test_the_deviation_is_that_of_the_photos_noise(deviation: float, dtype: type) -> None:
    grain = grain_of(as_photo(shaded() + noise_of(deviation), dtype))
    assert grain is not None
    assert grain.deviation[128] * 255.0 == pytest.approx(deviation, rel=0.12)


def test_noise_that_is_stronger_in_the_dark_is_so_in_the_grain() -> None:
    levels = shaded(30.0, 220.0)
    grain = grain_in(levels + noise_of(1.0) * np.where(levels < 125.0, np.float32(4.0), np.float32(2.0)))
    assert 1.5 < grain.deviation[60] / grain.deviation[190] < 2.5


@pytest.mark.parametrize("spread_px", [0.0, 0.7, 1.2])
def test_the_grain_is_as_coarse_as_the_noise(spread_px: float) -> None:
    noise = noise_of(3.0, spread_px=spread_px)
    texture = grain_in(shaded() + noise).texture[:TEXTURE_PX, :TEXTURE_PX]

    def likeness(plane: Float) -> float:
        return float(np.corrcoef(plane[:, 1:].ravel(), plane[:, :-1].ravel())[0, 1])

    assert likeness(texture[:, :, 1]) == pytest.approx(likeness(noise[:, :, 1]), abs=0.07)


def test_noise_in_colours_gives_grain_in_colours_and_grey_noise_grey_grain() -> None:
    coloured = grain_in(shaded() + noise_of(3.0, grey=False)).texture
    # independent channels: luma has sqrt(0.299^2 + 0.587^2 + 0.114^2) = 0.67 of the deviation of each
    assert coloured.std((0, 1)) == pytest.approx(np.full(3, 1.0 / 0.668), rel=0.1)
    grey = grain_in(shaded() + noise_of(3.0)).texture
    assert np.array_equal(grey[:, :, 0], grey[:, :, 1])
    assert np.array_equal(grey[:, :, 0], grey[:, :, 2])
    assert (coloured @ LUMA).std() == pytest.approx(1.0, abs=0.05)


def test_a_texture_can_be_repeated_without_a_seam() -> None:
    plane = grain_in(shaded() + noise_of(3.0, spread_px=1.2)).texture[:, :, 1]
    inside = np.abs(plane[:, 101] - plane[:, 100]).mean()
    assert np.abs(plane[:, TEXTURE_PX] - plane[:, TEXTURE_PX - 1]).mean() < 1.3 * inside
    assert plane.shape == REPEATED_PX


# --- not measured -----------------------------------------------------------------------------------------------------


def test_a_photo_without_noise_has_no_grain() -> None:
    assert grain_of(as_photo(shaded())) is None
    assert grain_of(np.full((*SIZE, 3), 90, np.uint8)) is None


def test_what_is_texture_everywhere_is_not_taken_for_grain() -> None:
    rng = np.random.default_rng(3)
    texture = rng.uniform(0.0, 255.0, (*SIZE, 3)).astype(np.float32)
    assert grain_of(as_photo(texture)) is None
    leaves = cv2.GaussianBlur(texture, (0, 0), 4.0)
    leaves = (leaves - leaves.mean()) * np.float32(12.0) + np.float32(127.0)
    assert grain_of(as_photo(leaves)) is None


def test_what_is_clipped_does_not_hide_the_noise_of_the_rest() -> None:
    levels = shaded() + noise_of(2.5)
    levels[:, :200], levels[:, 200:240] = 0.0, 255.0
    assert grain_in(levels).deviation[128] * 255.0 == pytest.approx(2.5, rel=0.15)
    assert grain_of(np.zeros((*SIZE, 3), np.uint8)) is None


@pytest.mark.parametrize("size", [(1, 1), (BLOCK_PX - 1, 900), (5 * BLOCK_PX, 7 * BLOCK_PX)])
def test_a_small_photo_does_not_tell(size: tuple[int, int]) -> None:
    assert grain_of(as_photo(shaded(size=size) + noise_of(3.0, size))) is None


# --- given back -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("strength", [0.2, 1.0])
def test_what_is_blurred_has_the_photos_noise_again(dtype: type, strength: float) -> None:
    image = as_photo(shaded() + noise_of(3.0, spread_px=0.6), dtype)
    own = fine_deviation(image)
    assert fine_deviation(blurred(image, grain=0.0)) < 0.2 * own
    assert fine_deviation(blurred(image, strength=strength)) == pytest.approx(own, rel=0.12)
    assert fine_deviation(blurred(image, grain=2.0)) == pytest.approx(2.0 * own, rel=0.12)


def test_grain_changes_neither_what_is_in_focus_nor_the_brightness() -> None:
    image = as_photo(shaded(20.0, 200.0) + noise_of(3.0))
    alpha = np.zeros(SIZE, np.uint8)
    alpha[:, :200] = 255
    result = render(image, alpha, np.ones((8, 8), np.float32), LensOptions(strength=0.5))
    smooth = render(image, alpha, np.ones((8, 8), np.float32), LensOptions(strength=0.5, grain=0.0))
    assert np.array_equal(result[:, :200], image[:, :200])
    assert not np.array_equal(result, smooth)
    assert np.abs(result[:, 200:].mean((0, 1)) - smooth[:, 200:].mean((0, 1))).max() < 0.1


def test_grain_in_the_black_does_not_fold_over() -> None:
    image = as_photo(shaded(4.0, 40.0) + noise_of(3.0))
    result = blurred(image)
    smooth = blurred(image, grain=0.0)
    assert result[:, :40].mean() == pytest.approx(smooth[:, :40].mean(), abs=0.5)


def test_a_grey_photo_stays_grey() -> None:
    result = blurred(as_photo(shaded() + noise_of(4.0)))
    assert np.array_equal(result[:, :, 0], result[:, :, 1])
    assert np.array_equal(result[:, :, 0], result[:, :, 2])


def test_two_runs_give_the_same() -> None:
    image = as_photo(shaded() + noise_of(3.0, grey=False))
    assert np.array_equal(blurred(image), blurred(image))


def test_floats_are_left_without() -> None:
    image = (shaded() + noise_of(3.0)).astype(np.float32) / np.float32(255.0)
    assert np.array_equal(blurred(image), blurred(image, grain=0.0))


def test_a_real_photo_gets_no_more_than_its_flat_parts_have(photos: Path) -> None:
    grain = grain_of(cv2.cvtColor(cv2.imread(str(photos / "rocket.jpg")), cv2.COLOR_BGR2RGB))
    assert grain is None or 255.0 * grain.deviation.max() < 3.0


@pytest.mark.parametrize("radius_px", [0.6, 1.0, 2.0, 4.5])
def test_what_a_blur_takes_of_noise_is_what_its_kernel_takes(radius_px: float) -> None:
    left = float((optics.aperture_kernel(radius_px) ** 2).sum())
    lost = optics.lost_noise()
    assert lost[round(radius_px / optics.ALL_LOST_PX * 255)] == pytest.approx(np.sqrt(1.0 - left), abs=0.1)
    assert lost[0] == 0.0
    assert lost[255] > 0.99


def test_grain_is_there_where_the_focus_changes() -> None:
    size = 900, 1200
    image = as_photo(shaded(size=size) + noise_of(4.0, size))
    defocus = np.zeros((36, 48), np.float32)
    defocus[:, 24:] = 1.0
    result = render(image, np.zeros(size, np.uint8), defocus, LensOptions(strength=0.7, highlights=0.0))
    left = [fine_deviation(result[:, at - 24 : at + 24]) for at in range(500, 700, 8)]
    assert min(left) > 0.7 * fine_deviation(image)


def test_what_is_black_or_white_stays_so_in_every_channel() -> None:
    levels = shaded(size=(600, 800)) + noise_of(4.0, (600, 800), grey=False)
    levels[:, :200], levels[:, 200:400] = 0.0, 255.0
    levels[400:, 400:, 2] = 255.0
    image = as_photo(levels)
    result = blurred(image, strength=0.2)
    assert (result[20:380, 20:180] == 0).all()
    assert (result[20:380, 220:380] == 255).all()
    assert (result[420:, 420:, 2] == 255).all()
    assert result[420:580, 420:780, 1].std() > 2.0


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("tint", [(1.0, 0.0, 0.0), (1.0, 0.9, 0.7), (0.3, 0.5, 1.0)])
def test_noise_of_one_colour_gives_grain_of_that_colour(tint: tuple[float, float, float], dtype: type) -> None:
    grain = grain_of(as_photo(shaded() + noise_of(3.0) * np.array(tint, np.float32), dtype))
    assert grain is not None
    of_channels = grain.texture.std((0, 1))
    assert of_channels / of_channels.max() == pytest.approx(np.array(tint), abs=0.1)


def test_a_pattern_is_not_taken_for_grain() -> None:
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    for pattern in (np.sin(2.0 * np.pi * x / 3.0), np.sin(x * 1.2) * np.sin(y * 1.2), (y % 7 == 0) * 2.0):
        assert grain_of(as_photo(shaded() + np.float32(6.0) * pattern.astype(np.float32)[:, :, None])) is None
    red = noise_of(1.0) + 20.0 * noise_of(1.0, grey=False) * np.array([1.0, -0.509, 0.0], np.float32)
    assert grain_of(as_photo(shaded() + red)) is None or grain_in(shaded() + red).texture.std((0, 1)).max() < 4.0


@pytest.mark.parametrize("width", [4500, 9000])
def test_large_photos_with_cat_eyes_are_done(width: int) -> None:
    size = 700, width
    image = as_photo(shaded(size=size) + noise_of(3.0, size))
    lens = LensOptions(strength=1.0, cat_eye=1.0, highlights=0.0)
    result = render(image, np.zeros(size, np.uint8), np.full((8, 8), 0.5, np.float32), lens)
    assert fine_deviation(result) == pytest.approx(fine_deviation(image), rel=0.15)
