"""The lens, held to optics: light is kept, spots have the asked shape, and neither side of an edge gets the other's colour."""

import itertools
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bokehcli import lens, optics
from bokehcli.lens import render
from bokehcli.options import LensOptions
from bokehcli.pixels import linear_to_srgb, srgb_to_linear, to_unit

Image = NDArray[Any]
Float = NDArray[np.float32]

STRENGTH_ONE_LONG_SIDE = 1.0 / optics.MAX_RADIUS  # pixels of long side for each pixel of radius
UNIT = st.floats(0.0, 1.0)
DTYPES = st.sampled_from([np.uint8, np.uint16])


def load(path: Path) -> NDArray[np.uint8]:
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


def load_matte(photos: Path, name: str) -> Float:
    return cv2.imread(str(photos / "mattes" / f"{name}.png"), cv2.IMREAD_GRAYSCALE).astype(np.float32) / np.float32(255)


def everything_out_of_focus(image: Image) -> tuple[Float, Float]:
    return np.zeros(image.shape[:2], np.float32), np.ones(image.shape[:2], np.float32)


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
    result = render(image, random_map(rng, size, kinds[0]), random_map(rng, size, kinds[1]), options)
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


def test_a_lens_without_normalisation_would_not_be_flat(monkeypatch: pytest.MonkeyPatch) -> None:
    def unweighted(photo: Image, alpha: Float, light: Float, gain: float) -> Image:
        return compose(photo, alpha, np.dstack((light[:, :, :3], np.ones_like(alpha))), gain)

    compose = lens.compose
    monkeypatch.setattr(lens, "compose", unweighted)
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


RADII_PX = pytest.mark.parametrize("radius_px", [2.0, 5.0, 11.9, 12.1, 16.0, 20.0, 23.9, 24.1, 40.0, 70.0])
OFFSETS = pytest.mark.parametrize("at", [(0, 0), (1, 3), (2, 2)])


@RADII_PX
@OFFSETS
@pytest.mark.parametrize("blades", [0, 6])
def test_a_point_light_keeps_its_energy(radius_px: float, at: tuple[int, int], blades: int) -> None:
    assert Spot(radius_px, at=at, blades=blades).energy == pytest.approx(1.0, abs=0.01)  # measured: 0.0035


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
    reduction = 1 if radius_px < optics.REDUCE_FROM_PX else 2 if radius_px < 2 * optics.REDUCE_FROM_PX else 4
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
    lifted = level * lens.expansion(level, gain)
    assert (lifted >= level).all()
    back = lens.compress(np.repeat(lifted[None, :, None], 3, axis=2), gain)
    assert np.abs(back - level[None, :, None]).max() < 1e-4


# --- a subject in front of a background -------------------------------------------------------------------------------

COLOURS = [((0, 1, 0), (1, 0, 1)), ((1, 1, 1), (0, 0, 0.5)), ((0, 1, 0), (0, 0, 0)), ((1, 0, 0), (0, 0.2, 1))]


def disc_scene(subject: tuple[float, ...], background: tuple[float, ...]) -> tuple[Image, Float, Float]:
    """A disc with an edge of one pixel: photo (uint16), alpha, and the distance from the edge in pixels."""
    y, x = np.mgrid[:320, :900]
    outside_px = np.hypot(y - 159.5, x - 449.5) - 80.0
    alpha = np.clip(0.5 - outside_px, 0.0, 1.0).astype(np.float32)
    mixed = alpha[:, :, None] * np.array(subject) + (1 - alpha[:, :, None]) * np.array(background)
    return np.rint(mixed * 65_535).astype(np.uint16), alpha, outside_px.astype(np.float32)


def leak(subject: tuple[float, ...], background: tuple[float, ...], options: LensOptions) -> float:
    """Largest share of the subject's linear colour in a ring 3 to 30 px outside it."""
    image, alpha, outside_px = disc_scene(subject, background)
    result = render(image, alpha, np.ones_like(alpha), options)
    assert np.array_equal(result[alpha == 1.0], image[alpha == 1.0])
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
    result = render(image, alpha, np.ones_like(alpha), LensOptions(strength=1.0, highlights=1.0))
    assert np.array_equal(result[alpha == 1.0], image[alpha == 1.0])
    assert not np.array_equal(result[alpha == 0.0], image[alpha == 0.0])


def test_a_wide_unsure_region_has_no_hard_contour() -> None:
    image = np.zeros((240, 600, 3), np.uint8)
    image[:, :300, 0], image[:, 300:, 2] = 200, 200
    alpha = np.full(image.shape[:2], 0.5, np.float32)  # gives no light, and takes half of what reaches it
    alpha[:, :300] = 0.0
    result = render(image, alpha, np.ones_like(alpha), LensOptions(strength=1.0, highlights=0.0))
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
    nothing = np.zeros(image.shape[:2], np.float32)
    assert np.array_equal(render(image, nothing, nothing, LensOptions(strength=1.0)), image)


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
    alpha = np.zeros(image.shape[:2], np.float32)
    energies = []
    for defocus in np.linspace(0.0, 1.0, 12, dtype=np.float32):
        light = srgb_to_linear(to_unit(render(image, alpha, np.full_like(alpha, defocus), LensOptions(highlights=0.0))))
        energies.append(float(np.square(np.diff(light, axis=0)).sum() + np.square(np.diff(light, axis=1)).sum()))
    assert all(more_blur < less_blur for less_blur, more_blur in itertools.pairwise(energies))


# --- tiles ------------------------------------------------------------------------------------------------------------


def maps_of(size: tuple[int, int], seed: int = 1) -> tuple[Float, Float]:
    """Smooth hills for alpha, a slanted plane for defocus."""
    noise = np.random.default_rng(seed).random(size).astype(np.float32)
    alpha = np.clip(cv2.GaussianBlur(noise, (0, 0), 12) * 16 - 7.5, 0, 1)
    down, across = (np.linspace(0, 1, side, dtype=np.float32) for side in size)
    return alpha, np.clip(down[:, None] * 0.7 + across[None, :] * 0.5, 0, 1)


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
    # Measured: no difference, though large kernels go through a Fourier transform.
    assert all(np.abs(result.astype(int) - results[0]).max() <= (dtype == np.uint16) for result in results)


# --- the lens of the trainer ------------------------------------------------------------------------------------------


def difference_from_torch(image: Image, alpha: Float, defocus: Float, options: LensOptions) -> Float:
    """(H, W) largest difference of a pixel from the trainer's lens, in 1/255."""
    torch = pytest.importorskip("torch")
    from bokehcli.trainer import lens as torch_lens

    torch.set_num_threads(1)
    photo = torch.from_numpy(to_unit(image).transpose(2, 0, 1)[None].copy())
    maps = (torch.from_numpy(np.ascontiguousarray(values))[None, None] for values in (alpha, defocus))
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
    alpha = {"hard": (matte > 0.5).astype(np.float32), "matte": matte, "smooth": smooth}[kind]
    defocus = np.where(np.arange(image.shape[1]) < 200, np.float32(1), slanted) if kind == "hard" else slanted
    for highlights in (0.0, 1.0):
        difference = difference_from_torch(image, alpha, defocus, LensOptions(strength=strength, highlights=highlights))
        assert difference.max() <= 2.0  # measured: 0.55, half of it from rounding


@pytest.mark.parametrize("name", ["rocket", "coffee"])
@pytest.mark.parametrize(("strength", "highlights"), [(0.5, 0.5), (1.0, 1.0)])
def test_the_trainers_lens_agrees_where_both_reduce_the_picture(
    photos: Path, name: str, strength: float, highlights: float
) -> None:
    image = cv2.resize(load(photos / f"{name}.jpg"), (1301, 901))  # sides that no reduction divides
    radius_px = optics.radius_px(strength, image.shape[:2])
    assert optics.reduction_of(radius_px) == (2 if strength == 0.5 else 4)
    alpha, defocus = maps_of(image.shape[:2])
    options = LensOptions(strength=strength, highlights=highlights)
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
    scene = lens.Scene(image, np.zeros((400, 600), np.float32), options)
    if not interpolated:
        kernel_of_corner = lambda self, tile, radius: iter(  # noqa: E731
            [(optics.aperture_kernel(radius, 0, self.cut_at(tile.top, tile.left)), None)]
        )
        monkeypatch.setattr(lens.Scene, "kernels", kernel_of_corner)
    result = render(image, *everything_out_of_focus(image), options)[..., 0].astype(int)
    bend = np.abs(np.diff(result, 2, axis=1)).max(0)
    at_seam = np.zeros(bend.size, bool)
    for border in range(scene.tile_px, 600, scene.tile_px):
        at_seam[border - 2 : border] = True
    return float(bend[at_seam].max() / bend[~at_seam].max())


def test_no_seam_shows_between_the_cells_of_the_cat_eye(monkeypatch: pytest.MonkeyPatch) -> None:
    assert seam(monkeypatch, interpolated=True) <= 1.0


def test_cells_that_were_not_interpolated_would_show(monkeypatch: pytest.MonkeyPatch) -> None:
    assert seam(monkeypatch, interpolated=False) > 2.0
