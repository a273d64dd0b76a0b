"""The light of a photo that is out of focus: linear, highlights lifted, times its weight; at full, half and quarter size.

Light is planar, (4, h, w) float32: red, green, blue and the weight. What lies beyond the border has no weight.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bokehcli import optics
from bokehcli.opencv import cv2
from bokehcli.pixels import channels_of, linear_to_srgb
from bokehcli.threadpool import ThreadPool
from bokehcli.tiling import Box, boxes_of, clip, shrink
from bokehcli.tone import SRGB, Curve, Curves, Srgb, encoded_table, floats_of, light_of

Image = NDArray[Any]
Float = NDArray[np.float32]

STRIP_PX = 256  # side of what is brought to linear light at a time: three float32 planes of it stay in a core's cache
# In a photo of floats, 1 being white: the arithmetic of 32 bits loses the dark beside light that is brighter still.
LARGEST_LIGHT = 1000.0
# The brightest of its values up to which that is what sharpening leaves, and from which on its highlights are there.
OVERSHOOT, HIGHLIGHTS_FROM = 1.05, 1.5
CODES = 65_536  # of the encoded background, whatever the photo's type


class Scene:
    """The light of one photo. alpha: (H, W) uint8, 255 in focus. gain: see optics.highlight_gain. curves: of its values.

    opacity: (H, W) of the photo's type; a pixel weighs as much as it is opaque, for the colour of what is transparent is
    nowhere seen. A photo of floats that go beyond white has its highlights: the farther, the less are they lifted.
    """

    def __init__(self, image: Image, alpha: Image, gain: float, curves: Curves = SRGB, opacity: Image | None = None) -> None:
        self.image = image
        self.alpha = alpha
        self.opacity = opacity
        self.curves = curves
        self.is_float = image.dtype == np.float32
        beyond = float(image.max()) if self.is_float else 0.0
        self.gain = gain * float(np.clip((HIGHLIGHTS_FROM - beyond) / (HIGHLIGHTS_FROM - OVERSHOOT), 0.0, 1.0))
        self.smallest: Float | None = None
        if self.is_float:
            return
        different = curves if len(set(curves)) > 1 else curves[:1]  # one for all channels, or one for each
        self.linear = [linear_table(image.dtype.name, curve) for curve in different]
        self.codes = [encoding_table(curve) for curve in different]
        self.lift = expansion_table(image.dtype.name, gain, curves[0]) if len(self.linear) == 1 else None
        self.knee = min(int(np.searchsorted(table, optics.HIGHLIGHT_KNEE, side="right")) for table in self.linear)

    @property
    def white(self) -> float:
        """The photo's value of white: 1 in a photo of floats."""
        return 1.0 if self.is_float else float(np.iinfo(self.image.dtype).max)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the photo."""
        return self.alpha.shape[0], self.alpha.shape[1]

    def reduce_whole(self, pool: ThreadPool) -> None:
        """Make the light at the smallest size once; it is asked for often, from far around."""
        reduction = optics.LARGEST_REDUCTION
        whole = np.empty((4, *(-(-side // reduction) for side in self.size)), np.float32)

        def fill(box: Box) -> None:
            place = Box(*(-(-edge // reduction) for edge in box))
            whole[:, *place.slices] = self.reduced(box, reduction)

        pool.for_each(fill, boxes_of(self.size, STRIP_PX))
        self.smallest = whole

    def holds(self, reduction: int) -> bool:
        """Whether the light of that size is there already."""
        return reduction == optics.LARGEST_REDUCTION and self.smallest is not None

    def crop(self, box: Box, reduction: int) -> Float:
        """(4, h, w) light of a box in reduced pixels; zero where it reaches over the border."""
        inside = clip(box, tuple(-(-side // reduction) for side in self.size))
        if self.holds(reduction):
            assert self.smallest is not None
            light = self.smallest[:, *inside.slices]
        else:
            light = self.reduced(clip(Box(*(edge * reduction for edge in inside)), self.size), reduction)
        if inside == box:
            return light
        margins = (inside.top - box.top, box.bottom - inside.bottom), (inside.left - box.left, box.right - inside.right)
        return np.pad(light, ((0, 0), *margins))

    def is_bare(self, box: Box, reduction: int) -> bool:
        """Whether a box in reduced pixels lies within the photo and holds nothing in focus or transparent, not even in part."""
        place = Box(*(edge * reduction for edge in box))
        if clip(place, self.size) != place or self.alpha[place.slices].max() > 0:
            return False
        return self.opacity is None or self.opacity[place.slices].min() >= self.white

    def reduced(self, box: Box, reduction: int) -> Float:
        """(4, h, w) of a box of the photo at 1/reduction, area-averaged."""
        size = 4, -(-box.height // reduction), -(-box.width // reduction)
        light, weight = self.carried(box)
        if light is None:
            return np.zeros(size, np.float32)
        below, right = -box.height % reduction, -box.width % reduction
        if below or right:
            weight = np.ones((box.height, box.width), np.float32) if weight is None else weight
            light, weight = np.pad(light, ((0, below), (0, right), (0, 0))), np.pad(weight, ((0, below), (0, right)))
        planes = np.empty(size, np.float32)
        cv2.split(averaged(light, reduction), [planes[0], planes[1], planes[2]])
        planes[3] = 1.0 if weight is None else averaged(weight, reduction)
        return planes

    def carried(self, box: Box) -> tuple[Float | None, Float | None]:
        """(h, w, 3) light of a box inside the photo, times its weight, and the weight (h, w).

        No light where all of the box is in focus or transparent; no weight where nothing is, and all weigh 1.
        """
        alpha = self.alpha[box.slices]
        weight: Float | None = cv2.LUT(alpha, source_table()) if alpha.any() else None
        if (opaque := self.opaque(box)) is not None:
            weight = opaque if weight is None else weight * opaque
        if weight is not None and not weight.any():
            return None, weight
        image = self.image[box.slices]
        factor = weight
        light = self.light_of_floats(image) if self.is_float else looked_up(image, *self.linear)
        if self.gain > 0.0 and (self.is_float or image.max() >= self.knee):
            if self.is_float or self.lift is None:
                lift = expansion(largest_channel(light), self.gain)
            else:
                lift = looked_up(largest_channel(image), self.lift)
            factor = lift if factor is None else factor * lift
        if factor is not None:
            cv2.multiply(light, cv2.merge([factor] * 3), dst=light)
        return light, weight

    def opaque(self, box: Box) -> Float | None:
        """(h, w): how opaque the pixels of a box inside the photo are, 0 to 1; None where all are."""
        if self.opacity is None or (part := self.opacity[box.slices]).min() >= self.white:
            return None
        opaque: Float = np.clip(part.astype(np.float32) / np.float32(self.white), 0.0, 1.0)
        return opaque

    def light_of_floats(self, image: Float) -> Float:
        """(h, w, 3) linear light of floats, held to LARGEST_LIGHT."""
        channels = [light_of(channel, curve) for channel, curve in zip(cv2.split(image), self.curves, strict=True)]
        light: Float = np.clip(cv2.merge(channels), -LARGEST_LIGHT, LARGEST_LIGHT)
        return light

    def developed(self, colour: Float) -> Image:
        """(3, h, w) blurred light, highlights lifted -> (h, w, 3) encoded: 0 to CODES - 1, or floats as the photo's."""
        colour = compress(colour, self.gain)
        if not self.is_float:
            return encode_light(colour, self.codes)
        encoded: Float = cv2.merge([floats_of(channel, curve) for channel, curve in zip(colour, self.curves, strict=True)])
        return encoded


class Patch:
    """The light around one block, brought to linear light once for all layers; box: in the block's reduced pixels."""

    def __init__(self, scene: Scene, box: Box, reduction: int) -> None:
        self.scene = scene
        self.box = box
        self.reduction = reduction
        self._light: dict[int, Float] = {}

    def crop(self, box: Box, reduction: int) -> Float:
        """(4, h, w), as Scene.crop gives it, out of the patch where that holds it."""
        if self.scene.holds(reduction):
            return self.scene.crop(box, reduction)
        own = shrink(self.box, reduction // self.reduction)
        if box.top < own.top or box.bottom > own.bottom or box.left < own.left or box.right > own.right:
            return self.scene.crop(box, reduction)
        rows, columns = slice(box.top - own.top, box.bottom - own.top), slice(box.left - own.left, box.right - own.left)
        return self._at(reduction)[:, rows, columns]

    def _at(self, reduction: int) -> Float:
        if reduction not in self._light:
            if reduction == self.reduction:
                self._light[reduction] = self.scene.crop(self.box, reduction)
            else:
                self._light[reduction] = resized(self._at(reduction // 2), 0.5)
        return self._light[reduction]


def resized(planes: Float, times: float) -> Float:
    """(4, h, w) -> so many times the size, bilinear; a plane's outermost pixels may take from its neighbour when it grows.

    Half the size, of even sides, is the average of two by two pixels.
    """
    height, width = round(planes.shape[1] * times), round(planes.shape[2] * times)
    tall = np.ascontiguousarray(planes).reshape(-1, planes.shape[2])
    enlarged: Float = cv2.resize(tall, (width, planes.shape[0] * height), interpolation=cv2.INTER_LINEAR)
    return enlarged.reshape(-1, height, width)


def enlarge(picture: Image, times: int, whole: Box, part: Box) -> Image:
    """Bilinear. picture: (h, w[, 3]), `whole` in reduced pixels. part: what to return of it, in enlarged pixels."""
    size = whole.width * times, whole.height * times
    top, left = part.top - whole.top * times, part.left - whole.left * times
    enlarged: Image = cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR)
    return enlarged[top : top + part.height, left : left + part.width]


def averaged(picture: Float, reduction: int) -> Float:
    """A picture (h, w[, 3]) at 1/reduction, area-averaged; its sides are multiples of the reduction, a power of two."""
    while reduction > 1:
        # between the middles of two by two pixels: their average, in half the time of INTER_AREA
        picture = cv2.resize(picture, (picture.shape[1] // 2, picture.shape[0] // 2), interpolation=cv2.INTER_LINEAR)
        reduction //= 2
    return picture


def looked_up(image: Image, table: Image, *others: Image) -> Image:
    """The table's entry of every value of an integer picture; of several tables, each channel's own."""
    if others:
        channels = [looked_up(channel, own) for channel, own in zip(cv2.split(image), (table, *others), strict=True)]
        merged: Image = cv2.merge(channels)
        return merged
    values: Image = cv2.LUT(image, table) if image.dtype == np.uint8 or looks_up_16_bits() else table[image]
    return values


@lru_cache(maxsize=1)
def looks_up_16_bits() -> bool:
    """Whether OpenCV looks up values of 16 bits, in a third of numpy's time; from 4.13 on it does."""
    try:
        cv2.LUT(np.zeros((1, 1), np.uint16), np.zeros(1 << 16, np.uint16))
    except cv2.error:
        return False
    return True


def largest_channel(image: Image) -> Image:
    """(h, w, 3) -> (h, w)."""
    red, green, blue = channels_of(image)
    largest: Image = cv2.max(cv2.max(red, green), blue)
    return largest


def source_table() -> Float:
    """How much of its light a pixel gives to the blur, for every value of alpha; see optics.SOURCE_SLOPE."""
    alpha = np.arange(256, dtype=np.float32) / np.float32(255)
    source: Float = np.maximum(np.float32(0.0), np.float32(1.0) - np.float32(optics.SOURCE_SLOPE) * alpha)
    return source


@lru_cache(maxsize=1)
def behind_table() -> Float:
    """1 - alpha for every value of alpha."""
    return (np.arange(255, -1, -1, dtype=np.float32) / np.float32(255)).astype(np.float32)


@lru_cache(maxsize=8)
def linear_table(dtype: str, curve: Curve) -> Float:
    """Linear light of every value of an integer type."""
    top = np.iinfo(dtype).max
    return curve.linear(np.arange(top + 1, dtype=np.float32) / np.float32(top))


@lru_cache(maxsize=8)
def expansion_table(dtype: str, gain: float, curve: Curve) -> Float:
    """`expansion` of every value of an integer type."""
    return expansion(linear_table(dtype, curve), gain)


@lru_cache(maxsize=8)
def encoding_table(curve: Curve) -> NDArray[np.uint16]:
    """Code of the linear light (i / (CODES - 1))^2, both of CODES steps; sRGB's neighbours are 1.5 codes apart at most."""
    roots = np.linspace(0.0, 1.0, CODES, dtype=np.float32)
    if isinstance(curve, Srgb):
        codes: NDArray[np.uint16] = np.rint(linear_to_srgb(roots * roots) * np.float32(CODES - 1)).astype(np.uint16)
        return codes
    return encoded_table(curve, roots * roots, CODES)


def expansion(level: Float, gain: float) -> Float:
    """Factor by which the highlight curve lifts light whose largest channel is `level`; see optics.highlight_gain.

    1 exactly up to the knee. level: float32 of any shape. With -gain it undoes the curve.
    """
    knee, slope = np.float32(optics.HIGHLIGHT_KNEE), np.float32(gain / (1.0 - optics.HIGHLIGHT_KNEE))
    held = np.clip(level, knee, np.float32(np.inf))  # in half the time of np.maximum
    factor = held - knee
    factor /= np.float32(1.0) - slope * factor
    factor += knee
    factor /= held
    return factor


def compress(colour: Float, gain: float) -> Float:
    """Undo the highlight curve: (3, h, w) linear light, as it is where nothing has to change."""
    level = cv2.max(cv2.max(colour[0], colour[1]), colour[2])
    if gain == 0.0 or level.max() <= optics.HIGHLIGHT_KNEE:
        return colour
    compressed: Float = colour * expansion(level, -gain)
    return compressed


def encode_light(colour: Float, codes: Sequence[NDArray[np.uint16]]) -> NDArray[np.uint16]:
    """(3, h, w) linear light -> (h, w, 3) encoded, 0 to CODES - 1. codes: `encoding_table` of all channels or of each."""
    tall = colour.reshape(-1, colour.shape[2])
    roots = cv2.max(tall, 0.0)
    cv2.sqrt(roots, dst=roots)
    steps = cv2.addWeighted(roots, CODES - 1, roots, 0.0, 0.0, dtype=cv2.CV_16U)  # rounds, and ends at the top
    encoded: NDArray[np.uint16] = looked_up(cv2.merge(list(steps.reshape(colour.shape))), *codes)
    return encoded
