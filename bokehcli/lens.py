"""Thin-lens rendering of a photo from what is in focus and how far out of focus the rest is.

A scatter as gather in layers: the light that is not in focus is premultiplied with its weight, blurred with aperture
kernels of radii in octaves, and divided by the blurred weight, so that neither side of an edge gets the other's colour.
Everything happens in linear light. Work goes tile by tile, so that memory does not grow with the photo; a tile's
result does not depend on the tiles.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bokehcli import optics
from bokehcli.opencv import cv2
from bokehcli.options import LensOptions
from bokehcli.pixels import linear_to_srgb, round_up, srgb_to_linear
from bokehcli.tiling import Box, boxes_of, grow

Image = NDArray[Any]
Float = NDArray[np.float32]

TILE_PX = 512
CAT_EYE_CELLS = 8  # along the long side; the aperture's shape is interpolated between their corners
CAT_EYE_CUT = 1.0  # how far, in radii, the second disc has moved at the picture's corner with cat-eye 1
LEVELS_8BIT = 4096  # entries of the encoding table for 8-bit results, on a square-root scale


def render(image: Image, alpha: Float, defocus: Float, options: LensOptions) -> Image:
    """Render everything that is not in focus.

    image: (H, W, 3) uint8 or uint16, sRGB-encoded RGB. alpha, defocus: (H, W) float32, [0, 1]: share of the pixel that is
    in focus, circle of confusion of the rest relative to the largest one. Returns an image of the same shape and type.
    Where alpha is 1 its pixels are the photo's own. Energy is conserved: a flat picture stays flat.
    """
    largest_px = optics.radius_px(options.strength, (image.shape[0], image.shape[1]))
    rendered = image.copy()
    if largest_px <= 0.0:
        return rendered
    scene = Scene(image, alpha, options)
    radii = optics.octave_radii_px(largest_px)
    for tile in boxes_of(alpha.shape, scene.tile_px):
        in_focus = alpha[tile.slices]
        if in_focus.min() >= 1.0:
            continue
        circle_px = defocus[tile.slices] * np.float32(largest_px)
        light = background_of(scene, tile, circle_px, radii)
        if light is not None:
            rendered[tile.slices] = compose(image[tile.slices], in_focus, light, scene.gain)
    return rendered


def background_of(scene: "Scene", tile: Box, circle_px: Float, radii: list[float]) -> Float | None:
    """(h, w, 4) float32: blurred premultiplied light of a tile and its weight. None if nothing in it is out of focus."""
    low, high = layer_position(float(circle_px.min()), radii), layer_position(float(circle_px.max()), radii)
    if high <= 0.0:
        return None
    position = layer_positions(circle_px, radii) if high > low else None
    mixed: Float | None = None
    for layer, radius in enumerate([0.0, *radii]):
        if not low - 1.0 < layer < high + 1.0:
            continue
        blurred = scene.blurred(tile, radius) if radius else scene.crop(tile, 1)
        share = np.float32(1.0 - abs(low - layer)) if position is None else weight_of(position, layer)
        blurred = blurred * share
        mixed = blurred if mixed is None else mixed + blurred
    return mixed


def layer_position(circle_px: float, radii: list[float]) -> float:
    """Where a circle of confusion lies among the layers: 0 is sharp, n is radii[n - 1], linear in log2 radius between."""
    return float(layer_positions(np.full((1, 1), circle_px, np.float32), radii)[0, 0])


def layer_positions(circle_px: Float, radii: list[float]) -> Float:
    """`layer_position` of every pixel."""
    relative = circle_px * np.float32(1.0 / radii[0])
    return np.where(relative <= 1.0, relative, 1.0 + np.log2(np.maximum(relative, 1.0))).astype(np.float32, copy=False)


def weight_of(position: Float, layer: int) -> Float:
    """(h, w, 1): how much of a layer each pixel takes; the weights of all layers sum to 1."""
    weight: Float = np.maximum(np.float32(0.0), np.float32(1.0) - np.abs(position - np.float32(layer)))
    return weight[:, :, None]


def compose(photo: Image, alpha: Float, light: Float, gain: float) -> Image:
    """photo (h, w, 3) over the background; light (h, w, 4) premultiplied linear. Returns the photo's type."""
    top = np.iinfo(photo.dtype).max
    reached = light[:, :, 3:]
    background: Float = np.divide(light[:, :, :3], np.maximum(reached, optics.MIN_WEIGHT), dtype=np.float32)
    encoded = encode_light(compress(background, gain), photo.dtype)
    own = photo.astype(np.float32)
    known = np.maximum(reached * np.float32(1.0 / optics.FADE_WEIGHT), source_weight(alpha)[:, :, None])
    share = (1.0 - alpha[:, :, None]) * np.minimum(known, np.float32(1.0))
    mixed: Image = np.clip(np.rint(own + (encoded - own) * share), 0, top).astype(photo.dtype)
    return mixed


def source_weight(alpha: Float) -> Float:
    """How much of its light a pixel gives to the blur, [0, 1]; see optics.SOURCE_SLOPE."""
    weight: Float = np.maximum(np.float32(0.0), np.float32(1.0) - np.float32(optics.SOURCE_SLOPE) * alpha)
    return weight


def encode_light(linear: Float, dtype: Any) -> Float:
    """Linear light -> sRGB-encoded, float32, in units of `dtype`'s steps."""
    if dtype == np.uint8:
        index = np.sqrt(np.clip(linear, 0.0, 1.0)) * np.float32(LEVELS_8BIT - 1)
        return encoding_table()[np.rint(index).astype(np.uint16)]
    return linear_to_srgb(np.clip(linear, 0.0, 1.0)) * np.float32(np.iinfo(dtype).max)


@lru_cache(maxsize=1)
def encoding_table() -> Float:
    """sRGB-encoded [0, 255] of (i / (LEVELS_8BIT - 1))^2; neighbours are at most 0.09 apart."""
    roots = np.linspace(0.0, 1.0, LEVELS_8BIT, dtype=np.float32)
    return linear_to_srgb(roots * roots) * np.float32(255.0)


def expansion(level: Float, gain: float) -> Float:
    """Factor by which the highlight curve lifts light whose largest channel is `level`; see optics.highlight_gain."""
    knee = optics.HIGHLIGHT_KNEE
    over = np.maximum(level - knee, 0.0) / (1.0 - knee)
    lifted = knee + (1.0 - knee) * over / (1.0 - gain * over)
    return np.where(level > knee, lifted / np.maximum(level, knee), 1.0).astype(np.float32)


def compress(light: Float, gain: float) -> Float:
    """Undo the highlight curve: (h, w, 3) linear light, in place where nothing has to change."""
    level = largest_channel(light)
    if gain == 0.0 or level.max() <= optics.HIGHLIGHT_KNEE:
        return light
    return light * expansion(level, -gain)[:, :, None]


def largest_channel(image: Image) -> Image:
    """(H, W, 3) -> (H, W); ten times faster than a reduction over the last axis."""
    return np.maximum(np.maximum(image[:, :, 0], image[:, :, 1]), image[:, :, 2])


@lru_cache(maxsize=4)
def linear_table(dtype: str) -> Float:
    """Linear light of every value of an integer type."""
    top = np.iinfo(dtype).max
    return srgb_to_linear(np.arange(top + 1, dtype=np.float32) / np.float32(top))


@lru_cache(maxsize=8)
def expansion_table(dtype: str, gain: float) -> Float:
    """`expansion` of every value of an integer type."""
    return expansion(linear_table(dtype), gain)


@dataclass
class Scene:
    """The premultiplied light of a photo at full, half and quarter size, made when it is asked for."""

    image: Image
    alpha: Float
    options: LensOptions

    def __post_init__(self) -> None:
        self.gain = optics.highlight_gain(self.options.highlights)
        self.reduced: dict[int, Float] = {}
        long_side = max(self.alpha.shape)
        cell_px = round_up(-(-long_side // CAT_EYE_CELLS), 8)
        self.tile_px = cell_px if self.options.cat_eye > 0.0 else TILE_PX

    def carried(self, box: Box) -> Float:
        """(h, w, 4) of a box inside the picture: linear light with highlights lifted, times its weight, and the weight."""
        image = self.image[box.slices]
        source = source_weight(self.alpha[box.slices])
        factor = source
        if self.gain > 0.0:
            factor = source * expansion_table(image.dtype.name, self.gain)[largest_channel(image)]
        carried = np.empty((*source.shape, 4), np.float32)
        table = linear_table(image.dtype.name)
        light = cv2.LUT(image, table) if image.dtype == np.uint8 else table[image]
        np.multiply(light, factor[:, :, None], out=carried[:, :, :3])
        carried[:, :, 3] = source
        return carried

    def quarter_or_half(self, reduction: int) -> Float:
        """The whole picture's light at 1/reduction, area-averaged; what lies beyond the border has no weight."""
        if reduction not in self.reduced:
            height, width = self.alpha.shape
            rows, columns = round_up(height, reduction) // reduction, round_up(width, reduction) // reduction
            whole = np.empty((rows, columns, 4), np.float32)
            for top in range(0, height, TILE_PX):
                bottom = min(top + TILE_PX, height)
                strip = self.carried(Box(top, bottom, 0, width))
                below, right = -(bottom - top) % reduction, -width % reduction
                if below or right:
                    strip = np.pad(strip, ((0, below), (0, right), (0, 0)))
                size = (columns, strip.shape[0] // reduction)
                first = top // reduction
                whole[first : first + size[1]] = cv2.resize(strip, size, interpolation=cv2.INTER_AREA)
            self.reduced[reduction] = whole
        return self.reduced[reduction]

    def crop(self, box: Box, reduction: int) -> Float:
        """(h, w, 4) light of a box in reduced pixels; zero where it reaches over the border."""
        rows, columns = (-(-side // reduction) for side in self.alpha.shape)
        inside = Box(max(box.top, 0), min(box.bottom, rows), max(box.left, 0), min(box.right, columns))
        light = self.carried(inside) if reduction == 1 else self.quarter_or_half(reduction)[inside.slices]
        if inside == box:
            return light
        margins = (inside.top - box.top, box.bottom - inside.bottom), (inside.left - box.left, box.right - inside.right)
        return np.pad(light, (*margins, (0, 0)))

    def blurred(self, tile: Box, radius_px: float) -> Float:
        """(h, w, 4): the light of a tile seen through an aperture of that radius."""
        reduction = optics.reduction_of(radius_px)
        # one reduced pixel more on each side, for the interpolation between reduced pixels
        margin = 0 if reduction == 1 else 1
        inner = grow(Box(*(-(-edge // reduction) for edge in tile)), margin)
        blurred: Float | None = None
        for kernel, share in self.kernels(tile, radius_px / reduction):
            reach = kernel.shape[0] // 2
            light = self.crop(grow(inner, reach), reduction)
            through = cv2.filter2D(light, -1, kernel, borderType=cv2.BORDER_CONSTANT)[reach:-reach, reach:-reach]
            if reduction > 1:
                size = (through.shape[1] * reduction, through.shape[0] * reduction)
                through = cv2.resize(through, size, interpolation=cv2.INTER_LINEAR)
                margin_px = margin * reduction
                through = through[margin_px : margin_px + tile.height, margin_px : margin_px + tile.width]
            through = through if share is None else through * share
            blurred = through if blurred is None else blurred + through
        assert blurred is not None
        return blurred

    def kernels(self, tile: Box, radius_px: float) -> Iterator[tuple[Float, Float | None]]:
        """Aperture kernels for a tile with the share (h, w, 1) each has; one kernel with share None where all is equal.

        With a cat-eye the aperture changes across the picture: the tile's corners have their own, interpolated between.
        """
        if self.options.cat_eye == 0.0:
            yield optics.aperture_kernel(radius_px, self.options.blades), None
            return
        down: Float = ((np.arange(tile.height, dtype=np.float32) + 0.5) / self.tile_px)[:, None, None].astype(np.float32)
        across: Float = ((np.arange(tile.width, dtype=np.float32) + 0.5) / self.tile_px)[None, :, None].astype(np.float32)
        for bottom, share_y in ((0, 1.0 - down), (1, down)):
            for right, share_x in ((0, 1.0 - across), (1, across)):
                cut = self.cut_at(tile.top + bottom * self.tile_px, tile.left + right * self.tile_px)
                yield optics.aperture_kernel(radius_px, self.options.blades, cut), share_y * share_x

    def cut_at(self, y: int, x: int) -> tuple[float, float]:
        """The cat-eye's cut at a pixel: away from the centre, growing with the distance, in units of the radius."""
        height, width = self.alpha.shape
        scale = self.options.cat_eye * CAT_EYE_CUT / (0.5 * float(np.hypot(height, width)))
        return round((x - width / 2) * scale, 3), round((y - height / 2) * scale, 3)
