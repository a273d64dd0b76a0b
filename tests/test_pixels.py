"""Pixel maths: what comes back unchanged, and where an independent formula agrees."""

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from skimage.color import rgb2xyz

from bokehcli import pixels

DTYPES = pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
SIDES = st.integers(1, 70)
SIZES = st.tuples(SIDES, SIDES)


def every_value(dtype: Any) -> NDArray[Any]:
    return np.arange(np.iinfo(dtype).max + 1).astype(dtype)


@DTYPES
def test_every_integer_value_survives_the_way_to_unit_range_and_back(dtype: Any) -> None:
    values = every_value(dtype)
    unit = pixels.to_unit(values)
    assert (unit.dtype, unit.min(), unit.max()) == (np.float32, 0.0, 1.0)
    assert np.array_equal(pixels.from_unit(unit, dtype), values)


@DTYPES
def test_what_lies_outside_the_unit_range_is_clipped(dtype: Any) -> None:
    outside = np.array([-0.5, -1e-6, 1.0 + 1e-6, 7.0], np.float32)
    assert pixels.from_unit(outside, dtype).tolist() == [0, 0, np.iinfo(dtype).max, np.iinfo(dtype).max]


@DTYPES
def test_every_value_survives_linear_light_and_back(dtype: Any) -> None:
    values = every_value(dtype)
    there_and_back = pixels.linear_to_srgb(pixels.srgb_to_linear(pixels.to_unit(values)))
    assert np.array_equal(pixels.from_unit(there_and_back, dtype), values)


def test_linear_light_is_that_of_scikit_image() -> None:
    grey = np.linspace(0.0, 1.0, 1001)
    luminance = rgb2xyz(np.repeat(grey[:, None], 3, axis=1))[:, 1]  # of a grey that is its linear light
    assert np.abs(pixels.srgb_to_linear(grey.astype(np.float32)) - luminance).max() < 1e-6


@pytest.mark.parametrize("shape", [(1,), (3, 5), (2, 3, 4)])
def test_linear_light_keeps_shape_and_type(shape: tuple[int, ...]) -> None:
    for convert in (pixels.srgb_to_linear, pixels.linear_to_srgb):
        converted = convert(np.full(shape, 0.5, np.float32))
        assert (converted.shape, converted.dtype) == (shape, np.float32)


@given(SIZES, SIZES, st.sampled_from([(), (1,), (3,), (4,)]), st.floats(0.0, 1.0, width=32))
def test_a_flat_picture_stays_flat_at_any_size(
    size: tuple[int, int], target: tuple[int, int], channels: tuple[int, ...], level: float
) -> None:
    resized = pixels.resize(np.full((*size, *channels), level, np.float32), target)
    assert resized.shape == (*target, *channels)
    # each of the terms that are added along either side is rounded to float32
    assert np.abs(resized - level).max() <= max(1e-6, sum(size) * np.finfo(np.float32).eps / 2)


def test_a_state_of_eight_channels_can_be_shrunk_by_any_factor() -> None:
    resized = pixels.resize(np.full((128, 128, 8), 0.25, np.float32), (100, 90))
    assert resized.shape == (100, 90, 8)
    assert np.abs(resized - 0.25).max() <= 1e-6


def turned_difference(image: NDArray[np.float32], target: tuple[int, int]) -> float:
    """How much resizing a picture that stands on its head differs; a half-pixel offset would be of the order of 1."""
    turned = pixels.resize(np.ascontiguousarray(image[::-1, ::-1]), target)[::-1, ::-1]
    return float(np.abs(turned - pixels.resize(image, target)).max())


@given(arrays.arrays(np.float32, st.tuples(SIDES, SIDES), elements=st.floats(0, 1, width=32)), SIZES)
def test_resizing_knows_no_left_and_right(image: NDArray[np.float32], target: tuple[int, int]) -> None:
    assume((target[0] < image.shape[0]) == (target[1] < image.shape[1]))
    assert turned_difference(image, target) < 1e-4


def test_resizing_knows_no_left_and_right_where_one_side_grows_and_one_shrinks() -> None:
    image = np.random.default_rng(2).random((20, 1000), np.float32)
    assert turned_difference(image, (64, 512)) < 1e-4


@given(st.integers(1, 20), st.integers(1, 20), st.integers(2, 5))
def test_shrinking_by_a_whole_factor_takes_the_mean_of_each_block(rows: int, columns: int, factor: int) -> None:
    image = np.random.default_rng(rows * 100 + columns).random((rows * factor, columns * factor), np.float32)
    means = image.reshape(rows, factor, columns, factor).mean((1, 3))
    assert np.abs(pixels.resize(image, (rows, columns)) - means).max() < 1e-5


def test_the_same_size_is_the_same_picture() -> None:
    image = np.zeros((4, 6, 3), np.uint8)
    assert pixels.resize(image, (4, 6)) is image


@given(st.tuples(st.integers(1, 20_000), st.integers(1, 20_000)), st.integers(1, 4096))
def test_the_long_side_becomes_what_was_asked_for(size: tuple[int, int], long_side: int) -> None:
    height, width = pixels.fit_long_side(size, long_side)
    assert max(height, width) == long_side
    assert min(height, width) >= 1
    assert abs(height - size[0] * long_side / max(size)) <= 1
    assert abs(width - size[1] * long_side / max(size)) <= 1


@given(st.integers(1, 8000), st.integers(1, 8000), st.integers(2, 20))
def test_a_network_sees_as_many_pixels_of_any_photo_half_way_to_a_square(height: int, width: int, side: int) -> None:
    least = 8
    seen = pixels.fit_multiples((height, width), side * least, least)
    exact = [side * least * (each / other) ** 0.25 for each, other in ((height, width), (width, height))]
    for found, wanted in zip(seen, exact, strict=True):
        assert found % least == 0
        assert abs(found - max(wanted, least)) <= least / 2 + 1e-6


@given(st.integers(0, 10_000), st.integers(1, 300))
def test_rounding_up_gives_the_next_multiple(value: int, multiple: int) -> None:
    rounded = pixels.round_up(value, multiple)
    assert rounded % multiple == 0
    assert value <= rounded < value + multiple


@given(SIZES)
def test_no_focus_point_gives_an_empty_hint(size: tuple[int, int]) -> None:
    hint = pixels.focus_hint(size, None)
    assert (hint.shape, hint.dtype, hint.any()) == (size, np.float32, False)


@given(st.tuples(st.integers(1, 200), st.integers(1, 200)), st.floats(0, 1), st.floats(0, 1))
def test_the_hint_peaks_at_the_pixel_of_the_focus_point(size: tuple[int, int], x: float, y: float) -> None:
    hint = pixels.focus_hint(size, (x, y))
    row, column = np.unravel_index(hint.argmax(), size)
    assert abs(row + 0.5 - y * size[0]) <= 0.5 + 1e-5
    assert abs(column + 0.5 - x * size[1]) <= 0.5 + 1e-5
    assert 0.0 <= hint.min() <= hint.max() <= 1.0


def test_the_hint_is_as_large_as_its_share_of_the_long_side() -> None:
    hint = pixels.focus_hint((101, 401), (0.5, 0.5))
    one_sigma = round(0.04 * 401)
    assert hint[50, 200] == pytest.approx(1.0)
    for value in (hint[50, 200 + one_sigma], hint[50 - one_sigma, 200]):
        assert value == pytest.approx(np.exp(-0.5), abs=0.01)


@given(size=st.tuples(st.integers(1, 40), st.integers(1, 40)), growth=st.tuples(st.integers(0, 40), st.integers(0, 40)))
def test_sampling_over_the_whole_extent_is_resizing(size: tuple[int, int], growth: tuple[int, int]) -> None:
    image = np.random.default_rng(0).normal(size=(*size, 3)).astype(np.float32)
    enlarged = size[0] + growth[0], size[1] + growth[1]
    sampled = pixels.sampled(image.transpose(2, 0, 1), enlarged, enlarged)
    np.testing.assert_allclose(sampled.transpose(1, 2, 0), pixels.resize(image, enlarged), atol=2e-5)


def test_what_lies_beyond_the_extent_repeats_the_border() -> None:
    ramp = np.arange(8, dtype=np.float32)[None, None, :].repeat(8, axis=1)
    sampled = pixels.sampled(ramp, (8, 12), (8.0, 8.0))
    np.testing.assert_array_equal(sampled[0, 0], [*range(8), 7, 7, 7, 7])


@given(size=st.tuples(st.integers(1, 33), st.integers(1, 33)))
def test_a_halved_picture_is_the_mean_of_pairs(size: tuple[int, int]) -> None:
    image = np.random.default_rng(1).integers(0, 65536, (*size, 3)).astype(np.uint16)
    padded = np.pad(image, ((0, size[0] % 2), (0, size[1] % 2), (0, 0)), mode="edge").astype(float)
    rows, columns = padded.shape[0] // 2, padded.shape[1] // 2
    expected = padded.reshape(rows, 2, columns, 2, 3).mean((1, 3))
    assert np.abs(pixels.halved(image) - expected).max() <= 0.5
