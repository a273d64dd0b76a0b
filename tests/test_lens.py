"""The lens, held to optics: light is kept, spots have the asked shape, and neither side of an edge gets the other's colour."""

import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bokehcli import composing, lens, light, optics
from bokehcli.lens import render
from bokehcli.options import LensOptions
from bokehcli.pixels import linear_to_srgb, resize, srgb_to_linear, to_unit
from bokehcli.tiling import Box, parts_of
from bokehcli.tone import Parametric

Image = NDArray[Any]
Float = NDArray[np.float32]
Alpha = NDArray[np.uint8]

STRENGTH_ONE_LONG_SIDE = 1.0 / optics.MAX_RADIUS  # pixels of long side for each pixel of radius
UNIT = st.floats(0.0, 1.0)
DTYPES = st.sampled_from([np.uint8, np.uint16])


def load(path: Path) -> NDArray[np.uint8]:
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


def load_matte(photos: Path, name: str) -> Alpha:
    return cv2.imread(str(photos / "mattes" / f"{name}.png"), cv2.IMREAD_GRAYSCALE)


def to_alpha(share: Float) -> Alpha:
    return np.rint(share * 255).astype(np.uint8)


def all_out(image: Image) -> Float:
    """The map of a picture that is as far out of focus as can be; a single pixel says so."""
    return np.ones((1, 1), np.float32)


def everything_out_of_focus(image: Image) -> tuple[Alpha, Float]:
    return np.zeros(image.shape[:2], np.uint8), all_out(image)


def random_map(rng: np.random.Generator, size: tuple[int, int], kind: str) -> Float:
    """In [0, 1]: all 0, all 1, each pixel its own, hard patches, or smooth hills."""
    if kind in ("zeros", "ones"):
        return np.full(size, float(kind == "ones"), np.float32)
    noise = rng.random(size).astype(np.float32)
    if kind == "noise":
        return noise
    smooth = cv2.GaussianBlur(noise, (0, 0), 3)
    if kind == "patches":
        return (smooth > 0.5).astype(np.float32)
    return np.clip((smooth - 0.5) * 8 + 0.5, 0, 1)


KINDS = st.sampled_from(["zeros", "ones", "noise", "patches", "hills"])


# --- a flat picture ---------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=150)
@given(
    size=st.tuples(st.integers(1, 60), st.integers(1, 240)),
    colour=st.tuples(UNIT, UNIT, UNIT),
    kinds=st.tuples(KINDS, KINDS),
    options=st.builds(
        LensOptions, strength=UNIT, blades=st.sampled_from([0, 0, 5, 8]), cat_eye=st.sampled_from([0, 0, 0.5, 1]),
        highlights=UNIT,
    ),
    dtype=DTYPES,
    seed=st.integers(0, 1000),
)  # fmt: skip
def test_a_flat_picture_stays_flat(
    size: tuple[int, int], colour: tuple[float, ...], kinds: tuple[str, str], options: LensOptions, dtype: Any, seed: int
) -> None:
    radius = optics.radius_px(options.strength, size)
    assume(radius == 0.0 or radius >= SMALLEST_SOUND_RADIUS_PX)
    top = np.iinfo(dtype).max
    image = np.broadcast_to(np.rint(np.array(colour) * top).astype(dtype), (*size, 3)).copy()
    rng = np.random.default_rng(seed)
    alpha, defocus = to_alpha(random_map(rng, size, kinds[0])), random_map(rng, size, kinds[1])
    result = render(image, alpha, defocus, options)
    assert (result.shape, result.dtype) == (image.shape, image.dtype)
    assert np.abs(result.astype(int) - image).max() <= top / 255


SMALLEST_SOUND_RADIUS_PX = 0.13  # see the next test


@pytest.mark.parametrize(("strength", "cat_eye"), [(0.01, 0.0), (0.05, 1.0)])
def test_a_blur_far_below_a_pixel_changes_nothing(strength: float, cat_eye: float) -> None:
    image = np.full((40, 80, 3), 40_000, np.uint16)
    options = LensOptions(strength=strength, cat_eye=cat_eye)
    assert np.array_equal(render(image, *everything_out_of_focus(image), options), image)


@pytest.mark.parametrize("highlights", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("strength", [0.3, 0.7, 1.0])
def test_every_grey_stays_as_it_is_where_the_picture_is_reduced(strength: float, highlights: float) -> None:
    for level in range(0, 256, 15):
        image = np.full((40, 1200, 3), level, np.uint8)
        result = render(image, *everything_out_of_focus(image), LensOptions(strength=strength, highlights=highlights))
        assert np.abs(result.astype(int) - level).max() <= 1


@pytest.mark.parametrize("near", [0.0, 0.01, 0.3])
def test_a_flat_picture_stays_flat_where_the_map_jumps_between_blocks(near: float) -> None:
    image = np.full((600, 1400, 3), 128, np.uint8)
    defocus = np.ones(image.shape[:2], np.float32)
    defocus[:, : lens.TILE_PX] = near
    alpha = np.zeros(image.shape[:2], np.uint8)
    result = render(image, alpha, defocus, LensOptions(strength=1.0))
    assert np.abs(result.astype(int) - 128).max() <= 1


def test_a_lens_without_normalisation_would_not_be_flat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lens, "colour_of", lambda carried: carried[:3])  # as if all the light were there
    image = np.full((40, 1200, 3), 128, np.uint8)
    blurred = render(image, *everything_out_of_focus(image), LensOptions(strength=1.0, highlights=0.0))
    assert np.abs(blurred.astype(int) - 128).max() > 20


# --- a point light ----------------------------------------------------------------------------------------------------


class Spot:
    """What becomes of one white pixel on black; `light` is linear, that of the pixel being 1."""

    def __init__(self, radius_px: float, *, at: tuple[int, int] = (0, 0), **options: Any) -> None:
        """at: offset (down, across) of the light from the picture's middle, so that reduced pixels fall otherwise."""
        self.radius_px = radius_px
        long_side = math.ceil(radius_px * STRENGTH_ONE_LONG_SIDE)
        height = round(4 * radius_px) + 24  # what the border takes is outside
        image = np.zeros((height, long_side, 3), np.uint16)
        self.source = height // 2 + at[0], long_side // 2 + at[1]
        image[self.source] = 65_535
        strength = radius_px / (optics.MAX_RADIUS * long_side)
        chosen = LensOptions(strength=min(strength, 1.0), highlights=0.0, **options)
        light = srgb_to_linear(to_unit(render(image, *everything_out_of_focus(image), chosen)))[:, :, 0]
        self.light = light.astype(np.float64)
        self.energy = self.light.sum()
        share = self.light / self.energy
        y, x = np.mgrid[: light.shape[0], : light.shape[1]]
        self.centre = (share * y).sum(), (share * x).sum()
        self.spread = np.array([(share * (y - self.centre[0]) ** 2).sum(), (share * (x - self.centre[1]) ** 2).sum()])
        self.plateau = self.light[self.source]
        lit = self.light > self.plateau / 2
        self.extent = np.count_nonzero(lit.any(1)), np.count_nonzero(lit.any(0))


RADII_PX = pytest.mark.parametrize("radius_px", [2.0, 5.0, 6.9, 7.1, 12.0, 16.0, 20.0, 23.9, 24.1, 40.0, 70.0])
OFFSETS = pytest.mark.parametrize("at", [(0, 0), (1, 3), (2, 2)])


@RADII_PX
@OFFSETS
@pytest.mark.parametrize("blades", [0, 6])
def test_a_point_light_keeps_its_energy(radius_px: float, at: tuple[int, int], blades: int) -> None:
    assert Spot(radius_px, at=at, blades=blades).energy == pytest.approx(1.0, abs=0.01)  # measured: 0.0035


def energy_of_a_bright_spot(radius_px: float) -> float:
    """Of the light of a white square of 9 px, far out of focus in a large photo, the share that is there afterwards."""
    image = np.zeros((400, 3500, 3), np.uint16)
    image[200:209, 1750:1759] = 65_535
    defocus = np.full((1, 1), radius_px / optics.radius_px(0.5, (400, 3500)), np.float32)
    result = render(image, np.zeros((400, 3500), np.uint8), defocus, LensOptions(strength=0.5, highlights=0.0))
    return float(srgb_to_linear(to_unit(result))[:, :, 0].sum() / 81.0)


@pytest.mark.parametrize("radius_px", [8.0, 14.5, 20.0, 28.5, 45.0])
def test_a_bright_spot_keeps_its_light(radius_px: float) -> None:
    assert energy_of_a_bright_spot(radius_px) == pytest.approx(1.0, abs=0.005)  # measured: 0.002


def test_a_bright_spot_that_is_enlarged_as_encoded_loses_light(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(composing, "STEEP", math.inf)
    assert energy_of_a_bright_spot(14.5) < 0.98


@RADII_PX
@OFFSETS
def test_a_point_light_becomes_a_round_spot_of_the_asked_radius(radius_px: float, at: tuple[int, int]) -> None:
    spot = Spot(radius_px, at=at)
    assert 2.0 * np.sqrt(spot.spread) == pytest.approx(radius_px, abs=0.5)  # a disc's variance is a quarter of r squared
    assert spot.spread[0] == pytest.approx(spot.spread[1], rel=0.01)
    assert math.sqrt(spot.energy / spot.plateau / math.pi) == pytest.approx(radius_px, abs=0.5)
    assert np.array(spot.extent) / 2 == pytest.approx(radius_px, abs=1.0)


@RADII_PX
@OFFSETS
def test_a_spot_stays_where_its_light_was(radius_px: float, at: tuple[int, int]) -> None:
    spot = Spot(radius_px, at=at)
    reduction = optics.reduction_of(radius_px, radius_px)
    # A light belongs to its reduced pixel, whose middle is (reduction - 1) / 2 away at most.
    assert np.abs(np.array(spot.centre) - spot.source).max() <= (reduction - 1) / 2 + 0.02


@pytest.mark.parametrize("radius_px", [12.0, 20.0, 40.0])
@pytest.mark.parametrize("blades", [4, 6, 8])
def test_blades_make_a_polygon_of_the_discs_area(radius_px: float, blades: int) -> None:
    spot = Spot(radius_px, blades=blades)
    assert math.sqrt(spot.energy / spot.plateau / math.pi) == pytest.approx(radius_px, abs=0.5)
    # the corners point up and down; the flat sides, at the distance of the apothem, lie between
    corner_px = radius_px * math.sqrt(2 * math.pi / (blades * math.sin(2 * math.pi / blades)))
    assert spot.extent[0] / 2 == pytest.approx(corner_px, abs=1.6)
    flat = blades % 4  # with 4 or 8 blades there is a corner left and right too
    across_px = corner_px if flat == 0 else corner_px * math.cos(math.pi / blades)
    assert spot.extent[1] / 2 == pytest.approx(across_px, abs=1.6)


def test_half_the_radius_would_be_seen() -> None:
    assert 2.0 * np.sqrt(Spot(20.0).spread) != pytest.approx(21.0, abs=0.5)


def test_highlights_glow_brighter_the_higher_they_are_set() -> None:
    image = np.zeros((100, 400, 3), np.uint8)
    image[45:55, 195:205] = 255
    sums = [
        int(render(image, *everything_out_of_focus(image), LensOptions(strength=1, highlights=h)).astype(int).sum())
        for h in (0.0, 0.25, 0.5, 0.75, 1.0)
    ]
    assert sums == sorted(set(sums))


@given(st.lists(UNIT, min_size=1, max_size=20), UNIT)
def test_the_highlight_curve_is_undone_exactly(levels: list[float], highlights: float) -> None:
    gain = optics.highlight_gain(highlights)
    level = np.array(levels, np.float32)
    lifted = level * light.expansion(level, gain)
    assert (lifted >= level).all()
    back = light.compress(np.repeat(lifted[None, None, :], 3, axis=0), gain)
    assert np.abs(back - level).max() < 1e-4


# --- a subject in front of a background -------------------------------------------------------------------------------

COLOURS = [((0, 1, 0), (1, 0, 1)), ((1, 1, 1), (0, 0, 0.5)), ((0, 1, 0), (0, 0, 0)), ((1, 0, 0), (0, 0.2, 1))]


def disc_scene(subject: tuple[float, ...], background: tuple[float, ...]) -> tuple[Image, Alpha, Float]:
    """A disc with an edge of one pixel: photo (uint16), alpha, and the distance from the edge in pixels."""
    y, x = np.mgrid[:320, :900]
    outside_px = np.hypot(y - 159.5, x - 449.5) - 80.0
    alpha = np.clip(0.5 - outside_px, 0.0, 1.0).astype(np.float32)
    mixed = alpha[:, :, None] * np.array(subject) + (1 - alpha[:, :, None]) * np.array(background)
    return np.rint(mixed * 65_535).astype(np.uint16), to_alpha(alpha), outside_px.astype(np.float32)


def leak(subject: tuple[float, ...], background: tuple[float, ...], options: LensOptions) -> float:
    """Largest share of the subject's linear colour in a ring 3 to 30 px outside it."""
    image, alpha, outside_px = disc_scene(subject, background)
    result = render(image, alpha, all_out(image), options)
    assert np.array_equal(result[alpha == 255], image[alpha == 255])
    changed = (srgb_to_linear(to_unit(result)) - srgb_to_linear(to_unit(image)))[(outside_px > 3) & (outside_px < 30)]
    way = srgb_to_linear(np.array(subject, np.float32)) - srgb_to_linear(np.array(background, np.float32))
    return float((changed @ way / (way @ way)).max())


@pytest.mark.parametrize(("subject", "background"), COLOURS)
@pytest.mark.parametrize("highlights", [0.0, 1.0])
@pytest.mark.parametrize("strength", [0.2, 0.6, 1.0])
def test_a_subject_gives_no_colour_and_takes_none(
    subject: tuple[float, ...], background: tuple[float, ...], highlights: float, strength: float
) -> None:
    assert leak(subject, background, LensOptions(strength=strength, highlights=highlights)) < 0.01


def test_a_lens_that_blurred_the_subject_too_would_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optics, "SOURCE_SLOPE", 0.0)
    assert leak(*COLOURS[0], LensOptions(strength=0.6)) > 0.2


@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee"])
def test_the_subject_of_a_real_photo_keeps_its_pixels(photos: Path, name: str) -> None:
    image, alpha = load(photos / f"{name}.jpg"), load_matte(photos, name)
    result = render(image, alpha, all_out(image), LensOptions(strength=1.0, highlights=1.0))
    assert np.array_equal(result[alpha == 255], image[alpha == 255])
    assert not np.array_equal(result[alpha == 0], image[alpha == 0])


def test_highlights_of_floats_are_lifted_the_less_the_farther_they_go_beyond_white() -> None:
    image = np.full((200, 1000, 3), 0.02, np.float32)
    image[98:102, 498:502] = 1.0
    peaks, options = [], LensOptions(strength=0.5, highlights=1.0)
    for beyond in (1.0, 1.04, 1.2, 1.6, 3.0):  # far away, such as what sharpening leaves
        image[0, 0] = beyond
        peaks.append(float(render(image, *everything_out_of_focus(image), options)[100, 500].max()))
    assert peaks[0] == pytest.approx(peaks[1])
    assert peaks[1] > peaks[2] > peaks[3] == pytest.approx(peaks[4])


def light_beyond(radius_px: float, share: float) -> float:
    """Of a point of light that a lens of 60 px draws as a disc of that radius, what lies beyond its radius by that share."""
    image = np.zeros((400, 2000, 3), np.uint8)
    image[198:202, 998:1002] = 255
    alpha, defocus = np.zeros(image.shape[:2], np.uint8), np.full((4, 4), radius_px / 60.0, np.float32)
    rendered = render(image, alpha, defocus, LensOptions(strength=1.0, highlights=1.0, grain=0.0))
    light = srgb_to_linear(to_unit(rendered))[:, :, 0]
    y, x = np.mgrid[:400, :2000]
    return float(light[np.hypot(y - 199.5, x - 999.5) > radius_px * (1.0 + share) + 4.0].sum() / light.sum())


@pytest.mark.parametrize("radius_px", [10.0, 16.0, 20.0, 24.0, 33.0, 40.0, 42.0, 50.0])
def test_a_point_of_light_is_one_disc_at_every_blur(radius_px: float) -> None:
    assert light_beyond(radius_px, 0.12) < 0.05


def test_layers_an_octave_apart_would_show_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optics, "LAYERS_AN_OCTAVE", 1)
    assert light_beyond(40.0, 0.12) > 0.1


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("strength", [0.2, 1.0])
@pytest.mark.parametrize("columns", [300, 1400])
def test_what_is_hidden_under_transparency_is_nowhere_seen(photos: Path, dtype: str, strength: float, columns: int) -> None:
    top = 1.0 if dtype == "float32" else float(np.iinfo(dtype).max)
    photo = cv2.resize(load(photos / "coffee.jpg"), (columns, 300)).astype(np.float32) / 255.0 * top
    opacity = np.full(photo.shape[:2], top, np.float32)
    opacity[40:90, columns // 3 : columns // 2], opacity[200:, 5:60], opacity[120:150] = 0.0, 0.0, top / 2
    hidden = np.where(opacity[:, :, None] > 0, photo, np.array((top, 0.0, top), np.float32))
    alpha = np.zeros(opacity.shape, np.uint8)
    alpha[100:200, columns // 4 : columns // 2] = 255
    options, opacity = LensOptions(strength=strength, grain=0.0), opacity.astype(dtype)
    results = [render(image.astype(dtype), alpha, all_out(image), options, opacity=opacity) for image in (photo, hidden)]
    seen = opacity > 0
    assert np.array_equal(results[0][seen], results[1][seen])
    opaque = render(hidden.astype(dtype), alpha, all_out(photo), options)
    assert np.abs(opaque[seen].astype(np.float32) - results[1][seen].astype(np.float32)).max() > 0.05 * top


def test_what_is_transparent_and_gets_no_light_from_around_stays_as_it_is() -> None:
    image = np.full((200, 1000, 3), 200, np.uint8)
    image[:, :500] = 255, 0, 255
    opacity = np.repeat([[0, 255]], 500, axis=1).astype(np.uint8).repeat(200, axis=0)
    result = render(image, np.zeros(opacity.shape, np.uint8), all_out(image), LensOptions(strength=1.0), opacity=opacity)
    assert np.array_equal(result[:, :400], image[:, :400])
    assert np.abs(result[:, 500:].astype(int) - 200).max() <= 1


def test_opacity_without_transparency_changes_nothing(photos: Path) -> None:
    image, alpha = load(photos / "astronaut.jpg"), load_matte(photos, "astronaut")
    opaque = np.full(alpha.shape, 255, np.uint8)
    results = [render(image, alpha, all_out(image), LensOptions(strength=1.0), opacity=each) for each in (None, opaque)]
    assert np.array_equal(*results)


def test_a_wide_unsure_region_has_no_hard_contour() -> None:
    image = np.zeros((240, 600, 3), np.uint8)
    image[:, :300, 0], image[:, 300:, 2] = 200, 200
    alpha = np.full(image.shape[:2], 128, np.uint8)  # gives no light, and takes half of what reaches it
    alpha[:, :300] = 0
    result = render(image, alpha, all_out(image), LensOptions(strength=1.0, highlights=0.0))
    steps = np.abs(np.diff(result[120, 303:].astype(int), axis=0))
    assert steps.max() <= 30  # a fade over the radius of 18 px has steps of about 6; measured: 92


# --- strength ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_strength_0_returns_the_photo_bit_equal(dtype: Any) -> None:
    image = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (50, 70, 3), dtype, endpoint=True)
    options = LensOptions(strength=0.0, highlights=1.0, blades=5, cat_eye=1.0)
    result = render(image, *everything_out_of_focus(image), options)
    assert np.array_equal(result, image)
    assert not np.shares_memory(result, image)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_defocus_0_returns_the_photo(dtype: Any) -> None:
    image = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (50, 70, 3), dtype, endpoint=True)
    alpha, defocus = np.zeros(image.shape[:2], np.uint8), np.zeros((3, 4), np.float32)
    assert np.array_equal(render(image, alpha, defocus, LensOptions(strength=1.0)), image)


@pytest.mark.parametrize("name", ["astronaut", "coffee", "rocket"])
def test_blur_grows_with_strength(photos: Path, name: str) -> None:
    image = load(photos / f"{name}.jpg")
    energies = []
    for strength in (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0):
        options = LensOptions(strength=strength, highlights=0.0)
        light = srgb_to_linear(to_unit(render(image, *everything_out_of_focus(image), options)))
        energies.append(float(np.square(np.diff(light, axis=0)).sum() + np.square(np.diff(light, axis=1)).sum()))
    assert all(more_blur < less_blur for less_blur, more_blur in itertools.pairwise(energies))


def test_blur_grows_with_defocus(photos: Path) -> None:
    image = load(photos / "astronaut.jpg")
    alpha = np.zeros(image.shape[:2], np.uint8)
    energies = []
    for level in np.linspace(0.0, 1.0, 12, dtype=np.float32):
        defocus = np.full((5, 5), level, np.float32)
        light = srgb_to_linear(to_unit(render(image, alpha, defocus, LensOptions(highlights=0.0))))
        energies.append(float(np.square(np.diff(light, axis=0)).sum() + np.square(np.diff(light, axis=1)).sum()))
    assert all(more_blur < less_blur for less_blur, more_blur in itertools.pairwise(energies))


# --- tiles ------------------------------------------------------------------------------------------------------------


def maps_of(size: tuple[int, int], seed: int = 1) -> tuple[Alpha, Float]:
    """Smooth hills for alpha, a slanted plane for defocus."""
    noise = np.random.default_rng(seed).random(size).astype(np.float32)
    alpha = np.clip(cv2.GaussianBlur(noise, (0, 0), 12) * 16 - 7.5, 0, 1)
    down, across = (np.linspace(0, 1, side, dtype=np.float32) for side in size)
    return to_alpha(alpha), np.clip(down[:, None] * 0.7 + across[None, :] * 0.5, 0, 1)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("strength", [0.2, 1.0])
def test_the_result_does_not_depend_on_the_tiles(
    photos: Path, dtype: Any, strength: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = load(photos / "rocket.jpg")[:331, :637]
    image = image.astype(dtype) * (np.iinfo(dtype).max // 255)
    maps = maps_of(image.shape[:2])
    results = []
    for tile_px in (64, 100, 160, 512, 4096):
        monkeypatch.setattr(lens, "TILE_PX", tile_px)
        results.append(render(image, *maps, LensOptions(strength=strength)))
    # Which blocks are rendered at half size depends on the tiles. Measured: 0.07 / 255 in 16 bits, and so at most a rounding.
    unit = np.iinfo(dtype).max // 255
    differences = [np.abs(result.astype(int) - results[0]) / unit for result in results]
    assert all(difference.max() <= (1.0 if dtype == np.uint8 else 0.2) for difference in differences)
    assert all(difference.mean() <= 0.0005 for difference in differences)


def at_native_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Render every block at the photo's own size, as if nothing could be reduced but the largest blurs."""

    def blocks_of(self: lens.Lens, tile: Box) -> Iterator[lens.Block]:
        for part in parts_of(tile, lens.BLOCK_PX):
            for block in usual(self, part):
                yield lens.Block(block.box, block.layers, 1)

    usual = lens.Lens.blocks_of
    monkeypatch.setattr(lens.Lens, "blocks_of", blocks_of)


def from_native(monkeypatch: pytest.MonkeyPatch, image: Image, alpha: Alpha, defocus: Float, options: LensOptions) -> Float:
    """Difference between the blocks as they are and at native size, in 1/255."""
    result = render(image, alpha, defocus, options)
    with monkeypatch.context() as patch:
        at_native_size(patch)
        native = render(image, alpha, defocus, options)
    return np.abs(result.astype(np.float32) - native) * np.float32(255 / np.iinfo(image.dtype).max)


SLOPE = np.linspace(0, 1, 40, dtype=np.float32)[None, :]  # everything from sharp to far out of focus, left to right


def picture(kind: str) -> Image:
    """(480, 1400, 3) uint16: a smooth gradient, noise, or point lights."""
    y, x = np.mgrid[:480, :1400]
    if kind == "noise":
        return np.random.default_rng(0).integers(0, 65_536, (480, 1400, 3), np.uint16)
    image = np.zeros((480, 1400, 3), np.uint16)
    if kind == "lights":
        image[50::100, 50::97] = 65_535
    else:
        grey = np.rint((x / 1400 * 0.6 + y / 480 * 0.4) * 65_535).astype(np.uint16)
        image[:] = np.dstack((grey, grey // 2, 65_535 - grey))
    return image


# Measured: 0.03, 0.3 and 0.2 at most.
@pytest.mark.parametrize(("kind", "limit"), [("gradient", 0.06), ("noise", 0.6), ("lights", 0.6)])
@pytest.mark.parametrize("strength", [0.5, 1.0])
@pytest.mark.parametrize("defocus", [SLOPE, np.ones((1, 1), np.float32)], ids=["slope", "far"])
def test_a_reduced_block_does_not_differ_from_a_native_one(
    kind: str, limit: float, strength: float, defocus: Float, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = picture(kind)
    alpha = np.zeros(image.shape[:2], np.uint8)
    assert from_native(monkeypatch, image, alpha, defocus, LensOptions(strength=strength)).max() <= limit


# Measured in 16 bits: 0.86 at the rim of a white patch, with the highlights set highest 1.47 in 40 pixels.
@pytest.mark.parametrize(("highlights", "limit"), [(0.5, 1.0), (1.0, 2.0)])
@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee"])
def test_no_seam_shows_on_a_real_photo(
    photos: Path, name: str, highlights: float, limit: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = load(photos / f"{name}.jpg"), load_matte(photos, name)
    image, alpha = (cv2.resize(each, (1500, 1100), interpolation=cv2.INTER_CUBIC) for each in pair)
    difference = from_native(monkeypatch, image, alpha, SLOPE, LensOptions(strength=1.0, highlights=highlights))
    assert difference.max() <= limit
    assert difference.mean() <= 0.01  # measured: 0.0044
    assert np.count_nonzero(difference) > 0  # some blocks are reduced at all


@pytest.mark.parametrize(("module", "how", "steep"), [(lens, "enlarged", -1.0), (composing, "enlarge", math.inf)])
@pytest.mark.parametrize("strength", [0.5, 1.0])  # half and quarter size
def test_blocks_enlarged_from_the_wrong_place_would_show(
    module: ModuleType, how: str, steep: float, strength: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shifted(image: Image, times: int, whole: Box, part: Box) -> Image:
        return np.roll(right(image, times, whole, part), 1, axis=1)

    right = getattr(module, how)
    monkeypatch.setattr(module, how, shifted)
    monkeypatch.setattr(composing, "STEEP", steep)
    image = picture("noise")
    alpha = np.zeros(image.shape[:2], np.uint8)
    native = from_native(monkeypatch, image, alpha, np.ones((1, 1), np.float32), LensOptions(strength=strength))
    assert native.max() > 1.0


# --- maps, depths and threads -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("times", [4, 7, 16])
@pytest.mark.parametrize("strength", [0.3, 1.0])
def test_a_small_map_does_what_it_does_enlarged(photos: Path, times: int, strength: float) -> None:
    image = cv2.resize(load(photos / "coffee.jpg"), (1303, 901))  # sides that nothing divides
    alpha, plane = maps_of(image.shape[:2])
    hills = cv2.GaussianBlur(np.random.default_rng(2).random(plane.shape, np.float32), (0, 0), 60) * 30 - 14.5
    small = cv2.resize(np.clip(plane + hills, 0, 1), (1303 // times, 901 // times), interpolation=cv2.INTER_AREA)
    enlarged = resize(small, image.shape[:2])
    results = [render(image, alpha, defocus, LensOptions(strength=strength)).astype(int) for defocus in (small, enlarged)]
    difference = np.abs(results[0] - results[1])
    assert difference.max() <= 1
    assert difference.mean() <= 0.01
    elsewhere = render(image, alpha, np.roll(enlarged, times, axis=0), LensOptions(strength=strength))
    assert np.abs(elsewhere.astype(int) - results[0]).max() > 1


@pytest.mark.parametrize("options", [LensOptions(), LensOptions(strength=1.0, highlights=1.0), LensOptions(cat_eye=1.0)])
def test_8_and_16_bits_give_the_same_picture(photos: Path, options: LensOptions) -> None:
    image, alpha = load(photos / "coffee.jpg"), load_matte(photos, "coffee")
    fine = render(image.astype(np.uint16) * 257, alpha, SLOPE, options)
    coarse = render(image, alpha, SLOPE, options)
    assert np.abs(fine / 257 - coarse).max() <= 0.51  # half a step of 8 bits is its rounding


@pytest.mark.parametrize("strength", [0.2, 0.6, 1.0])
def test_a_smooth_16_bit_gradient_stays_smooth(strength: float) -> None:
    grey = np.linspace(20_000, 21_500, 1400, dtype=np.uint16)  # a step of 8 bits is as wide as 240 pixels
    image = np.broadcast_to(grey[None, :, None], (300, 1400, 3)).copy()
    result = render(image, *everything_out_of_focus(image), LensOptions(strength=strength))
    assert np.abs(np.diff(result[150, 100:-100, 0].astype(int))).max() <= 4
    assert np.abs(result[150, 100:-100].astype(int) - image[150, 100:-100]).max() <= 8


@pytest.mark.parametrize("options", [LensOptions(), LensOptions(strength=1.0), LensOptions(cat_eye=1.0, blades=6)])
def test_threads_do_not_change_the_picture(photos: Path, options: LensOptions) -> None:
    image, alpha = (cv2.resize(each, (1400, 1000)) for each in (load(photos / "coffee.jpg"), load_matte(photos, "coffee")))
    usual = cv2.getNumThreads()
    results = []
    try:
        for threads in (1, 2, 5):
            cv2.setNumThreads(threads)
            results.append(render(image, alpha, SLOPE, options))
    finally:
        cv2.setNumThreads(usual)
    assert all(np.array_equal(result, results[0]) for result in results)


# --- the lens of the trainer ------------------------------------------------------------------------------------------


def difference_from_torch(image: Image, alpha: Alpha, defocus: Float, options: LensOptions) -> Float:
    """(H, W) largest difference of a pixel from the trainer's lens, in 1/255."""
    torch = pytest.importorskip("torch")
    from bokehcli.trainer import lens as torch_lens

    torch.set_num_threads(1)
    photo = torch.from_numpy(to_unit(image).transpose(2, 0, 1)[None].copy())
    maps = (torch.from_numpy(np.ascontiguousarray(values))[None, None] for values in (to_unit(alpha), defocus))
    radius_px = optics.radius_px(options.strength, (image.shape[0], image.shape[1]))
    with torch.no_grad():
        rendered = torch_lens.render(photo, *maps, radius_px, options.highlights)[0].numpy().transpose(1, 2, 0)
    return np.abs(rendered * 255.0 - render(image, alpha, defocus, options)).max(2)


@pytest.mark.parametrize("kind", ["hard", "matte", "smooth"])
@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee"])
@pytest.mark.parametrize("strength", [0.1, 0.5])
def test_the_trainers_lens_agrees(photos: Path, name: str, kind: str, strength: float) -> None:
    image = load(photos / f"{name}.jpg")
    matte = load_matte(photos, name)
    smooth, slanted = maps_of(image.shape[:2])
    alpha = {"hard": to_alpha(matte > 127), "matte": matte, "smooth": smooth}[kind]
    defocus = np.where(np.arange(image.shape[1]) < 200, np.float32(1), slanted) if kind == "hard" else slanted
    for highlights in (0.0, 1.0):
        options = LensOptions(strength=strength, highlights=highlights, grain=0.0)
        difference = difference_from_torch(image, alpha, defocus, options)
        assert difference.max() <= 2.0  # measured: 0.55, half of it from rounding


@pytest.mark.parametrize("name", ["rocket", "coffee"])
@pytest.mark.parametrize(("strength", "highlights"), [(0.5, 0.5), (1.0, 1.0)])
def test_the_trainers_lens_agrees_where_both_reduce_the_picture(
    photos: Path, name: str, strength: float, highlights: float
) -> None:
    image = cv2.resize(load(photos / f"{name}.jpg"), (1301, 901))  # sides that no reduction divides
    radius_px = optics.radius_px(strength, image.shape[:2])
    assert optics.reduction_of(radius_px, radius_px) == (2 if strength == 0.5 else 4)
    alpha, defocus = maps_of(image.shape[:2])
    options = LensOptions(strength=strength, highlights=highlights, grain=0.0)
    assert difference_from_torch(image, alpha, defocus, options).max() <= 2.0  # measured: 0.54


# --- the cat-eye ------------------------------------------------------------------------------------------------------


def cat_eye_spot(down: float, across: float) -> tuple[float, float]:
    """Radial and tangential radius of the spot of a light at those shares of height and width, cat-eye 1."""
    image = np.zeros((400, 600, 3), np.uint16)
    y, x = round(down * 400), round(across * 600)
    image[y, x] = 65_535
    options = LensOptions(strength=0.8, cat_eye=1.0, highlights=0.0)
    light = srgb_to_linear(to_unit(render(image, *everything_out_of_focus(image), options)))[:, :, 0].astype(float)
    rows, columns = np.mgrid[:400, :600]
    away = np.array([y - 200.0, x - 300.0]) if (y, x) != (200, 300) else np.array([1.0, 0.0])
    away /= np.hypot(*away)
    radial = (rows - y) * away[0] + (columns - x) * away[1]
    tangential = (rows - y) * away[1] - (columns - x) * away[0]
    share = light / light.sum()
    return 2 * math.sqrt((share * radial**2).sum()), 2 * math.sqrt((share * tangential**2).sum())


def test_a_cat_eye_spot_is_round_in_the_middle() -> None:
    radial, tangential = cat_eye_spot(0.5, 0.5)
    assert radial == pytest.approx(tangential, rel=0.02)
    assert radial == pytest.approx(14.4, rel=0.06)


@pytest.mark.parametrize("at", [(0.15, 0.15), (0.85, 0.85), (0.15, 0.85), (0.5, 0.9)])
def test_a_cat_eye_spot_is_narrow_towards_the_corner(at: tuple[float, float]) -> None:
    radial, tangential = cat_eye_spot(*at)
    assert radial < 0.8 * tangential
    assert tangential == pytest.approx(14.4, rel=0.15)


def seam(monkeypatch: pytest.MonkeyPatch, interpolated: bool) -> float:
    """Steepest change of slope at the borders of the cat-eye's cells relative to elsewhere, on smooth waves."""
    y, x = np.mgrid[:400, :600]
    waves = 0.5 + 0.4 * np.sin(x / 9.0) * np.cos(y / 11.0)
    image = np.rint(linear_to_srgb(waves.astype(np.float32))[:, :, None].repeat(3, 2) * 65_535).astype(np.uint16)
    options = LensOptions(strength=0.6, cat_eye=1.0, highlights=0.0)
    alpha, defocus = everything_out_of_focus(image)
    tile_px = lens.Lens(light.Scene(image, alpha, 0.0), defocus, options).tile_px
    if not interpolated:
        kernel_of_corner = lambda self, block, inner, radius: iter(  # noqa: E731
            [(optics.aperture_kernel(radius, 0, self.cut_at(block.box.top, block.box.left)), None)]
        )
        monkeypatch.setattr(lens.Lens, "kernels", kernel_of_corner)
    result = render(image, *everything_out_of_focus(image), options)[..., 0].astype(int)
    bend = np.abs(np.diff(result, 2, axis=1)).max(0)
    at_seam = np.zeros(bend.size, bool)
    for border in range(tile_px, 600, tile_px):
        at_seam[border - 2 : border] = True
    return float(bend[at_seam].max() / bend[~at_seam].max())


def test_no_seam_shows_between_the_cells_of_the_cat_eye(monkeypatch: pytest.MonkeyPatch) -> None:
    assert seam(monkeypatch, interpolated=True) <= 1.0


def test_cells_that_were_not_interpolated_would_show(monkeypatch: pytest.MonkeyPatch) -> None:
    assert seam(monkeypatch, interpolated=False) > 2.0


# floats


@pytest.mark.parametrize("options", [LensOptions(), LensOptions(strength=1.0, cat_eye=0.5, highlights=1.0)])
def test_floats_give_the_picture_that_16_bits_give(photos: Path, options: LensOptions) -> None:
    deep = load(photos / "chelsea.jpg").astype(np.uint16) * 257
    alpha = load_matte(photos, "chelsea")
    rendered = render(to_unit(deep), alpha, all_out(deep), options)
    assert rendered.dtype == np.float32
    assert np.abs(rendered - to_unit(render(deep, alpha, all_out(deep), options))).max() < 2e-4
    assert np.array_equal(rendered[alpha == 255], to_unit(deep)[alpha == 255])


@pytest.mark.parametrize("level", [-0.2, 0.0, 0.3, 1.0, 5.0])
def test_a_flat_picture_of_floats_stays_flat(level: float) -> None:
    image = np.full((70, 300, 3), level, np.float32)
    rendered = render(image, *everything_out_of_focus(image), LensOptions(strength=1.0))
    assert np.abs(rendered - level).max() < 2e-3 * max(1.0, level)


def test_light_beyond_white_is_spread_and_kept() -> None:
    image = np.zeros((200, 400, 3), np.float32)
    image[100, 200] = 50.0
    linear = (Parametric(1.0),) * 3
    rendered = render(image, *everything_out_of_focus(image), LensOptions(strength=1.0, highlights=1.0), linear)
    assert rendered.sum() == pytest.approx(150.0, rel=0.01)
    assert rendered.max() < 5.0


def test_light_beyond_all_measure_stays_where_it_is_and_spoils_nothing() -> None:
    image = np.full((200, 400, 3), 0.25, np.float32)
    image[100, 200] = 3e38
    alpha, defocus = everything_out_of_focus(image)
    alpha[100, 200] = 255
    rendered = render(image, alpha, defocus, LensOptions(strength=1.0))
    assert rendered[100, 200, 0] == np.float32(3e38)
    rendered[100, 200] = 0.25
    assert np.abs(rendered - 0.25).max() < 0.01
    alpha[100, 200] = 0
    assert np.isfinite(render(image, alpha, defocus, LensOptions(strength=1.0))).all()


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 3), st.integers(0, 6), st.integers(0, 99))
def test_a_layer_is_made_where_it_has_a_share(height: int, width: int, first: int, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    layers = range(first, first + count + 1)
    anywhere = rng.normal(first + count / 2, rng.uniform(0, 3), (height, width))
    position = np.clip(anywhere, layers[0], layers[-1]).astype(np.float32)
    places = dict(lens.places_of(position, layers))
    for layer in layers:
        share = np.abs(position - layer) < 1.0
        outside = share.copy()
        if layer in places:
            rows, columns = places[layer]
            outside[rows, columns] = False
        assert not outside.any()


def test_layers_that_are_made_in_part_give_what_whole_ones_give(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    image = rng.integers(0, 256, (300, 400, 3), dtype=np.uint8)
    alpha = np.where(rng.random((300, 400)) < 0.001, 255, 0).astype(np.uint8)
    defocus = np.linspace(0.0, 1.0, 75, dtype=np.float32)[:, None] * np.linspace(1.0, 0.5, 100, dtype=np.float32)
    options = LensOptions(strength=1.0)
    in_part = render(image, alpha, defocus, options)

    def everywhere(position: NDArray[np.float32], layers: range) -> list[tuple[int, tuple[slice, slice]]]:
        height, width = position.shape
        return [(layer, (slice(0, height), slice(0, width))) for layer in layers]

    monkeypatch.setattr(lens, "places_of", everywhere)
    whole = render(image, alpha, defocus, options)
    assert np.abs(in_part.astype(int) - whole).max() <= 1


@pytest.mark.parametrize("strength", [0.3, 1.0])
def test_bare_places_are_rendered_as_others_are(strength: float, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = resize(load(photos / "coffee.jpg"), (1000, 1500))
    alpha = np.zeros(image.shape[:2], np.uint8)
    alpha[150:200, 250:300] = 255
    bare: list[bool] = []

    def noted(self: lens.Lens, block: lens.Block, inner: Box) -> bool:
        bare.append(is_bare(self, block, inner))
        return bare[-1]

    is_bare = lens.Lens.is_bare
    options = LensOptions(strength=strength)
    monkeypatch.setattr(lens.Lens, "is_bare", noted)
    some = render(image, alpha, SLOPE, options)
    assert True in bare
    assert False in bare
    monkeypatch.setattr(lens.Lens, "is_bare", lambda *_: False)
    np.testing.assert_array_equal(some, render(image, alpha, SLOPE, options))


def test_numpy_looks_up_what_an_older_opencv_does_not(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = load(photos / "coffee.jpg").astype(np.uint16) * 257
    alpha = np.zeros(image.shape[:2], np.uint8)
    pictures = []
    for supported in (light.looks_up_16_bits(), False):
        monkeypatch.setattr(light, "looks_up_16_bits", lambda supported=supported: supported)
        pictures.append(render(image, alpha, SLOPE, LensOptions()))
    np.testing.assert_array_equal(*pictures)
