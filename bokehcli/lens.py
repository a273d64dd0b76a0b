"""Thin-lens rendering of a photo from what is in focus and how far out of focus the rest is.

A scatter as gather in layers: the light that is not in focus is premultiplied with its weight, blurred with aperture
kernels of radii in octaves, and divided by the blurred weight, so that neither side of an edge gets the other's colour.
Everything happens in linear light. Work goes block by block, so that memory does not grow with the photo; what is far out of
focus has no detail, and its blocks are made at half or at a quarter of the size, most of them up to the encoded background.
"""

import math
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bokehcli import optics
from bokehcli.composing import Backdrop, compose, is_steep
from bokehcli.grain import Grain, grain_of
from bokehcli.layers import layer_positions, map_at, neighbours_of, places_of, position_table, positions_at
from bokehcli.light import CODES, Patch, Scene, resized
from bokehcli.opencv import cv2, threads
from bokehcli.options import LensOptions
from bokehcli.pixels import round_up
from bokehcli.threadpool import ThreadPool
from bokehcli.tiling import Box, boxes_of, grow, parts_of, placed, shrink
from bokehcli.tone import SRGB, Curves

Image = NDArray[Any]
Float = NDArray[np.float32]

TILE_PX = 512
BLOCK_PX = 256  # a block's largest side, in the pixels of the size it is rendered at; threads wait for each other at 128
ROWS_PX = 128  # rows composed at a time
FOURIER_FROM_PX = 13  # a kernel of this side or more is cheaper through a Fourier transform
LEAST_SHARE = 1e-4  # of a layer that is rendered; by rounding, the largest blur falls short of its layer by less
CAT_EYE_CELLS = 8  # along the long side; the aperture's shape is interpolated between their corners
CAT_EYE_CUT = 1.0  # how far, in radii, the second disc has moved at the picture's corner with cat-eye 1


def render(
    image: Image,
    alpha: NDArray[np.uint8],
    defocus: Float,
    options: LensOptions,
    curves: Curves = SRGB,
    opacity: Image | None = None,
) -> Image:
    """Render everything that is not in focus.

    image: (H, W, 3) uint8, uint16 or float32 (white at 1, finite), RGB, encoded by `curves`. alpha: (H, W) uint8, share of
    the pixel that is in focus, 255 for all of it. defocus: (h, w) float32, [0, 1], of any size up to (H, W): circle of
    confusion of the rest relative to the largest one, brought to the photo's size bilinearly. opacity: (H, W) of the photo's
    type; what is transparent gives no light to the blur. Returns an image of the photo's shape and type. Where alpha is 255 its
    pixels are the photo's own. Energy is conserved: a flat picture stays flat. Runs on as many threads as OpenCV may use.
    """
    rendered = image.copy()
    if optics.radius_px(options.strength, (image.shape[0], image.shape[1])) <= 0.0:
        return rendered
    scene = Scene(image, alpha, optics.highlight_gain(options.highlights), curves, opacity)
    lens = Lens(scene, defocus, options)

    def render_tile(tile: Box) -> None:
        for block in lens.blocks_of(tile):
            paint(rendered, lens, block)

    with threads.lent() as pool:
        lens.prepare(pool)
        pool.for_each(render_tile, boxes_of(alpha.shape, lens.tile_px))
    return rendered


@dataclass(frozen=True)
class Block:
    """A part of the photo, the layers of radii that it needs (0 is sharp), and how many times smaller it is rendered."""

    box: Box
    layers: range
    reduction: int


class Lens:
    """One photo seen out of focus, a block at a time. defocus: see `render`."""

    def __init__(self, scene: Scene, defocus: Float, options: LensOptions) -> None:
        self.options = options
        self.alpha = scene.alpha
        self.defocus = defocus
        self.scene = scene
        self.largest_px = optics.radius_px(options.strength, self.scene.size)
        self.radii_px = optics.layer_radii_px(self.largest_px)
        self.positions = position_table(self.largest_px, self.radii_px)
        self.measuring: Future[Grain | None] | None = None
        cell_px = round_up(-(-max(scene.size) // CAT_EYE_CELLS), 8)
        self.tile_px = cell_px if options.cat_eye > 0.0 else TILE_PX

    def prepare(self, pool: ThreadPool) -> None:
        """Begin to measure the grain, on one thread beside what comes next, and make the light that many blocks share."""
        self.measuring = pool.submit(self.measured_grain)
        if self.reduction_of(self.layers_of(self.defocus)[-1]) == optics.LARGEST_REDUCTION:
            self.scene.reduce_whole(pool)

    def measured_grain(self) -> Grain | None:
        """What grain the photo has, so that what is blurred gets it back; a photo of floats stays without."""
        image = self.scene.image
        return grain_of(image, self.options.grain) if self.options.grain > 0.0 and image.dtype != np.float32 else None

    @property
    def grain(self) -> Grain | None:
        """The photo's grain, when it is measured."""
        return None if self.measuring is None else self.measuring.result()

    def blocks_of(self, tile: Box) -> Iterator[Block]:
        """The parts of a tile that hold something out of focus."""
        # of most tiles the first pixel tells that not all is in focus
        if self.alpha[tile.top, tile.left] == 255 and self.alpha[tile.slices].min() == 255:
            return
        (above, below, _), (before, after, _) = neighbours_of(self.defocus, self.scene.size, tile, 1)
        layers = self.layers_of(self.defocus[above[0] : below[-1] + 1, before[0] : after[-1] + 1])
        reduction = self.reduction_of(layers[0])
        side_px = max(tile.height, tile.width)
        if layers[-1] == 0:
            return
        if side_px <= BLOCK_PX * reduction:
            yield Block(tile, layers, reduction)
            return
        for part in parts_of(tile, round_up(-(-side_px // 2), optics.LARGEST_REDUCTION)):
            yield from self.blocks_of(part)

    def layers_of(self, defocus: Float) -> range:
        """The layers that circles of confusion between the smallest and the largest need."""
        circles_px = np.array([defocus.min(), defocus.max()], np.float32) * np.float32(self.largest_px)
        low, high = layer_positions(circles_px, self.radii_px)
        return range(int(np.floor(low + LEAST_SHARE)), int(np.ceil(high - LEAST_SHARE)) + 1)

    def reduction_of(self, layer: int) -> int:
        """How many times smaller a layer is rendered."""
        return optics.reduction_of(self.radii_px[layer - 1], self.largest_px) if layer else 1

    def background_of(self, block: Block, inner: Box) -> Float:
        """(4, h, w): blurred light of a box in the block's reduced pixels, and its weight; without it where it is 1."""
        patch, planes = self.patch_of(block, inner), 3 if self.is_bare(block, inner) else 4
        if len(block.layers) == 1:
            return self.blurred(block, inner, block.layers[0], patch, planes)
        position = positions_at(map_at(self.defocus, self.scene.size, inner, block.reduction), self.positions)
        # beyond the block, where the margin lies, the map may go on to layers that the block does not have
        position = np.clip(position, block.layers[0], block.layers[-1])
        mixed = np.zeros((planes, *position.shape), np.float32)
        for layer, (rows, columns) in places_of(position, block.layers):
            share = position[rows, columns] - np.float32(layer)
            np.abs(share, out=share)
            np.subtract(np.float32(1.0), share, out=share)
            np.clip(share, np.float32(0.0), np.float32(1.0), out=share)  # in half the time of np.maximum
            part = Box(inner.top + rows.start, inner.top + rows.stop, inner.left + columns.start, inner.left + columns.stop)
            blurred = self.blurred(block, part, layer, patch, planes)
            for plane, sum_of_layers in zip(blurred, mixed[:, rows, columns], strict=True):
                cv2.accumulateProduct(plane, share, sum_of_layers)
        return mixed

    def backdrop_of(self, block: Block) -> Backdrop:
        """What is seen out of focus at a block."""
        inner = shrink(block.box, block.reduction)
        # one pixel more on each side, for the interpolation between reduced pixels
        outer = inner if block.reduction == 1 else grow(inner, 1)
        light, times = self.background_of(block, outer), block.reduction
        colour = colour_of(light)
        if times > 1 and is_steep(colour):
            light, times = enlarged(light, times, outer, block.box), 1
            colour = colour_of(light)
        background = self.scene.developed(colour)
        known, strength, white = None, None, self.scene.white
        if len(light) == 4 and light[3].min() < optics.FADE_WEIGHT:
            known = light[3] * np.float32(1.0 / optics.FADE_WEIGHT)
        if (grain := self.grain) is not None:
            strength = grain.strength_of(background, white)
        scale = 1.0 if self.scene.is_float else white / (CODES - 1)
        return Backdrop(np.multiply(background, np.float32(scale), dtype=np.float32), known, strength, times)

    def is_bare(self, block: Block, inner: Box) -> bool:
        """Whether a box's layers see nothing that is in focus, and no border."""
        reach_px = math.ceil(self.radii_px[block.layers[-1] - 1] * optics.LONGEST_REACH) + 4 * optics.LARGEST_REDUCTION
        return self.scene.is_bare(grow(inner, -(-reach_px // block.reduction)), block.reduction)

    def patch_of(self, block: Block, inner: Box) -> Patch:
        """The light that the layers of a block need, but for what the scene holds already."""
        coarsest, reach = block.reduction, 0
        for layer in block.layers:
            reduction = self.reduction_of(layer)
            if layer and not self.scene.holds(reduction):
                half = math.ceil(self.radii_px[layer - 1] / reduction * optics.LONGEST_REACH) + 1
                coarsest, reach = max(coarsest, reduction), max(reach, half * reduction // block.reduction)
        step = coarsest // block.reduction
        return Patch(self.scene, Box(*(edge * step for edge in shrink(grow(inner, reach), step))), block.reduction)

    def blurred(self, block: Block, inner: Box, layer: int, patch: Patch, planes: int) -> Float:
        """(planes, h, w): the light of a box in the block's reduced pixels, seen through the aperture of a layer."""
        if layer == 0:
            return patch.crop(inner, 1)[:planes]
        reduction = self.reduction_of(layer)
        times = reduction // block.reduction
        # one pixel more on each side, for the interpolation between reduced pixels
        outer = inner if times == 1 else grow(shrink(inner, times), 1)
        blurred: Float | None = None
        for kernel, share in self.kernels(block, inner, optics.reduced_radius_px(self.radii_px[layer - 1], reduction)):
            through = convolved(patch.crop(grow(outer, kernel.shape[0] // 2), reduction)[:planes], kernel)
            if times > 1:
                through = enlarged(through, times, outer, inner)
            through = through if share is None else through * share
            blurred = through if blurred is None else blurred + through
        assert blurred is not None
        return blurred

    def kernels(self, block: Block, inner: Box, radius_px: float) -> Iterator[tuple[Float, Float | None]]:
        """Aperture kernels for a box in the block's reduced pixels, each with its share (h, w); one with None if all is equal.

        With a cat-eye the aperture changes across the picture: the tile's corners have their own, interpolated between.
        """
        if self.options.cat_eye == 0.0:
            yield optics.aperture_kernel(radius_px, self.options.blades), None
            return
        top, left = (edge // self.tile_px * self.tile_px for edge in (block.box.top, block.box.left))
        down = self.share_of(inner.top, inner.bottom, block.reduction, top)[:, None]
        across = self.share_of(inner.left, inner.right, block.reduction, left)[None, :]
        for bottom, share_y in ((0, 1.0 - down), (1, down)):
            for right, share_x in ((0, 1.0 - across), (1, across)):
                cut = self.cut_at(top + bottom * self.tile_px, left + right * self.tile_px)
                yield optics.aperture_kernel(radius_px, self.options.blades, cut), share_y * share_x

    def noise_at(self, block: Block, part: Box, behind: Backdrop) -> Float | None:
        """(h, w, 3): the grain that a part of a block, in its own pixels, has lost, in units of the photo's values, or None.

        behind: what is seen there, not reduced. Where the blur is small the photo's own grain is left in part.
        """
        grain = self.grain
        if grain is None or behind.strength is None:
            return None
        box, strength = placed(part, block.box), behind.strength
        if block.reduction == 1:
            defocus = map_at(self.defocus, self.scene.size, box, 1)
            radii = cv2.convertScaleAbs(defocus, alpha=self.largest_px * 255.0 / optics.ALL_LOST_PX)
            strength = cv2.multiply(strength, cv2.merge([cv2.LUT(radii, optics.lost_noise())] * 3))
        return grain.at(box, strength)

    def share_of(self, first: int, last: int, reduction: int, edge_px: int) -> Float:
        """How far across its tile, which begins at edge_px, each of the reduced pixels from first to last lies: 0 to 1."""
        middle_px = (np.arange(first, last, dtype=np.float32) + np.float32(0.5)) * np.float32(reduction)
        share: Float = np.clip((middle_px - np.float32(edge_px)) / np.float32(self.tile_px), 0.0, 1.0)
        return share

    def cut_at(self, y: int, x: int) -> tuple[float, float]:
        """The cat-eye's cut at a pixel: away from the centre, growing with the distance, in units of the radius."""
        height, width = self.scene.size
        scale = self.options.cat_eye * CAT_EYE_CUT / (0.5 * float(np.hypot(height, width)))
        return round((x - width / 2) * scale, 3), round((y - height / 2) * scale, 3)


def paint(rendered: Image, lens: Lens, block: Block) -> None:
    """Put a block's background around what is in focus."""
    backdrop = lens.backdrop_of(block)
    photo, alpha = rendered[block.box.slices], lens.scene.alpha[block.box.slices]
    for part in boxes_of(alpha.shape, ROWS_PX, TILE_PX):
        behind = backdrop.at(part)
        noise = lens.noise_at(block, part, behind)
        compose(photo[part.slices], alpha[part.slices], behind, noise, lens.scene.opaque(placed(part, block.box)))


def colour_of(light: Float) -> Float:
    """(3 or 4, h, w) light, without its weight where that is 1 -> (3, h, w)."""
    return light if len(light) == 3 else light[:3] / np.maximum(light[3], optics.MIN_WEIGHT)


def convolved(light: Float, kernel: Float) -> Float:
    """(3 or 4, h, w) light through an aperture, without the border of half a kernel."""
    side = kernel.shape[0]
    height, width = light.shape[1] - side + 1, light.shape[2] - side + 1
    # where nothing in focus and no border is near, the weight is all that there can be
    planes = 3 if len(light) == 3 or light[3].min() == 1.0 else 4
    if side < FOURIER_FROM_PX:
        # planes below each other: what one gives the next lies in the border
        tall, filtered = np.ascontiguousarray(light[:planes]), np.empty(light.shape, np.float32)
        filtered[planes:] = 1.0
        flat = filtered[:planes].reshape(-1, light.shape[2])
        cv2.filter2D(tall.reshape(flat.shape), -1, kernel, dst=flat, borderType=cv2.BORDER_CONSTANT)
        return filtered[:, side // 2 : side // 2 + height, side // 2 : side // 2 + width]
    through = np.empty((len(light), height, width), np.float32)
    through[planes:] = 1.0
    # of even length, for odd ones take up to twice the time
    padded = np.zeros([2 * cv2.getOptimalDFTSize(-(-length // 2)) for length in light.shape[1:]], np.float32)
    padded[:side, :side] = kernel
    spectrum = cv2.dft(padded)
    for plane, blurred in zip(light[:planes], through, strict=False):
        padded[: light.shape[1], : light.shape[2]] = plane
        product = cv2.mulSpectrums(cv2.dft(padded), spectrum, 0, conjB=True)
        blurred[:] = cv2.idft(product, flags=cv2.DFT_SCALE)[:height, :width]
    return through


def enlarged(light: Float, times: int, whole: Box, part: Box) -> Float:
    """`enlarge` for planes (3 or 4, h, w) of light; `part` leaves out the outermost of the reduced pixels, see `resized`."""
    top, left = part.top - whole.top * times, part.left - whole.left * times
    return resized(light, times)[:, top : top + part.height, left : left + part.width]
