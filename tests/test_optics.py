"""Apertures and radii, held to geometry."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bokehcli import optics

RADII_PX = st.floats(0.6, 33.0)
BLADES = st.sampled_from([0, *range(4, 17)])


def moments(kernel: np.ndarray) -> tuple[float, float]:
    """Variance across and down, in square pixels, around the middle of the kernel."""
    offset = np.arange(kernel.shape[0]) - kernel.shape[0] // 2
    return float(kernel.sum(0) @ offset**2), float(kernel.sum(1) @ offset**2)


@given(RADII_PX, BLADES)
def test_an_aperture_passes_all_light_and_none_is_negative(radius_px: float, blades: int) -> None:
    kernel = optics.aperture_kernel(radius_px, blades)
    assert kernel.shape[0] == kernel.shape[1]
    assert kernel.shape[0] % 2 == 1
    assert kernel.min() >= 0.0
    assert kernel.sum(dtype=np.float64) == pytest.approx(1.0, abs=1e-5)


@given(RADII_PX)
def test_a_round_aperture_is_the_same_from_every_side(radius_px: float) -> None:
    kernel = optics.aperture_kernel(radius_px)
    assert np.array_equal(kernel, kernel.T)
    assert np.array_equal(kernel, kernel[::-1])


@given(st.floats(1.5, 33.0), BLADES)
def test_an_aperture_has_the_area_of_a_disc_of_its_radius(radius_px: float, blades: int) -> None:
    kernel = optics.aperture_kernel(radius_px, blades)
    area = 1.0 / float(kernel.max())  # every pixel inside has the same share
    assert math.sqrt(area / math.pi) == pytest.approx(radius_px, abs=0.1)


@given(st.floats(1.5, 33.0))
def test_a_round_aperture_spreads_as_a_disc_does(radius_px: float) -> None:
    across, down = moments(optics.aperture_kernel(radius_px))
    assert 2.0 * math.sqrt(across) == pytest.approx(radius_px, abs=0.25)
    assert across == pytest.approx(down)


@pytest.mark.parametrize("blades", [4, 5, 6, 7, 8, 9, 12, 16])
def test_a_bladed_aperture_has_as_many_corners_as_blades(blades: int) -> None:
    kernel = optics.aperture_kernel(30.0, blades)
    middle = kernel.shape[0] // 2
    angles = np.arange(720) * math.tau / 720
    steps = np.arange(0.0, middle, 0.25)[:, None]
    rows = np.rint(middle + steps * np.sin(angles)).astype(int)
    columns = np.rint(middle + steps * np.cos(angles)).astype(int)
    outline = (kernel[rows, columns] > kernel.max() / 2).sum(0)  # how far the aperture reaches in each direction
    spectrum = np.abs(np.fft.rfft(outline))[1:24]
    assert 1 + int(spectrum.argmax()) == blades


@given(st.floats(2.0, 30.0), BLADES, st.floats(0.0, 1.0), st.floats(0.0, math.tau))
def test_a_cat_eye_is_symmetric_about_its_middle_when_round(radius_px: float, blades: int, length: float, angle: float) -> None:
    cut = (length * math.cos(angle), length * math.sin(angle))
    kernel = optics.aperture_kernel(radius_px, blades, cut)
    assert kernel.sum(dtype=np.float64) == pytest.approx(1.0, abs=1e-5)
    if blades == 0:
        assert np.abs(kernel - kernel[::-1, ::-1]).max() <= 0.05 * kernel.max()


def test_a_cat_eye_is_narrow_along_its_cut_and_keeps_its_length_across() -> None:
    whole, cat = optics.aperture_kernel(20.0), optics.aperture_kernel(20.0, 0, (1.0, 0.0))
    assert moments(cat)[0] < 0.5 * moments(whole)[0]
    assert np.count_nonzero(cat.sum(1)) == pytest.approx(20.0 * math.sqrt(3.0), abs=2)  # where two discs cross
    assert np.count_nonzero(cat.sum(0)) == pytest.approx(20.0, abs=2)


def test_a_kernel_that_is_shared_cannot_be_written_to() -> None:
    with pytest.raises(ValueError, match="read-only"):
        optics.aperture_kernel(3.0)[0, 0] = 1.0


@given(st.floats(0.01, 400.0))
def test_radii_are_an_octave_or_a_part_of_one_apart_up_to_the_last_but_one(largest_px: float) -> None:
    *others, last = optics.layer_radii_px(largest_px)
    part, first_px = 2.0 ** (1.0 / optics.LAYERS_AN_OCTAVE), optics.REDUCE_FROM_PX[2]
    assert last == largest_px
    for narrow, wide in itertools.pairwise(others):
        assert wide / narrow == pytest.approx(part if narrow >= first_px else 2.0)
    assert not others or optics.MIN_RADIUS_PX <= others[0] < 2.0 * optics.MIN_RADIUS_PX
    assert not others or optics.NEAREST < last / others[-1] <= (part if others[-1] >= first_px else 2.0) * optics.NEAREST


@pytest.mark.parametrize("largest_px", [8.0, 13.2, 20.0, 40.0, 100.0])
def test_one_of_the_radii_is_that_from_which_a_blur_is_rendered_at_half_the_size(largest_px: float) -> None:
    assert optics.REDUCE_FROM_PX[2] in optics.layer_radii_px(largest_px)


@pytest.mark.parametrize(
    ("radius_px", "largest_px", "reduction"), [(6.9, 60.0, 1), (13.9, 60.0, 2), (14.0, 60.0, 4), (14.0, 23.0, 2)]
)
def test_a_quarter_of_the_size_is_for_large_blurs_of_a_lens_that_has_larger_ones(
    radius_px: float, largest_px: float, reduction: int
) -> None:
    assert optics.reduction_of(radius_px, largest_px) == reduction


@given(st.floats(0.0, 1.0), st.integers(1, 9000), st.integers(1, 9000))
def test_the_blur_is_a_share_of_the_long_side_whichever_way_the_photo_is_held(strength: float, height: int, width: int) -> None:
    assert optics.radius_px(strength, (height, width)) == optics.radius_px(strength, (width, height))
    assert optics.radius_px(strength, (height, width)) == pytest.approx(strength * 0.03 * max(height, width))


def test_the_largest_blur_is_that_of_the_lens_it_is_derived_from() -> None:
    focal_mm, f_number, distance_mm, sensor_mm = 85.0, 1.2, 2900.0, 36.0
    diameter_mm = focal_mm**2 / (f_number * (distance_mm - focal_mm))
    assert diameter_mm / 2.0 / sensor_mm == pytest.approx(optics.MAX_RADIUS, rel=0.02)


def test_highlights_lift_white_from_one_to_the_range_of_the_curve() -> None:
    assert optics.highlight_gain(0.0) == 0.0
    for highlights in (0.25, 0.5, 1.0):
        gain = optics.highlight_gain(highlights)
        assert 0.0 < gain < 1.0
        assert 1.0 / (1.0 - gain) == pytest.approx(optics.HIGHLIGHT_RANGE**highlights)
