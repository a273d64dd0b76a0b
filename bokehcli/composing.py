"""What is seen out of focus, put around what is in focus: brought to the photo's size, with its grain, by alpha."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bokehcli.light import behind_table, enlarge, source_table
from bokehcli.opencv import cv2
from bokehcli.tiling import Box, grow, inside, shrink

Image = NDArray[Any]
Float = NDArray[np.float32]

STEEP = 0.04  # between neighbours' roots of light, which are nearly as they are encoded
DEPTHS = {"uint8": cv2.CV_8U, "uint16": cv2.CV_16U, "float32": cv2.CV_32F}


@dataclass(frozen=True)
class Backdrop:
    """What is seen out of focus at a block of a photo, so many `times` smaller, with a pixel more on every side if it is so.

    colour: (h, w, 3) float32, in units of the photo's values. known: (h, w) float32, how much of the light reaches each pixel,
    1 or more being enough; None where it is everywhere. strength: (h, w, 3), of the grain, see `bokehcli.grain`; None without.
    """

    colour: Float
    known: Float | None = None
    strength: Float | None = None
    times: int = 1

    def at(self, part: Box) -> "Backdrop":
        """A part of the block, in the photo's pixels, at their size; for the sake of the caches it is enlarged bit by bit."""
        whole = part if self.times == 1 else grow(shrink(part, self.times), 1)
        place = part if self.times == 1 else inside(whole, Box(-1, -1, -1, -1))  # a plane begins a pixel before its block

        def at_part(plane: Float) -> Float:
            seen = plane[place.slices]
            return seen if self.times == 1 else enlarge(seen, self.times, whole, part)

        known, strength = (None if plane is None else at_part(plane) for plane in (self.known, self.strength))
        return Backdrop(at_part(self.colour), known, strength)


def is_steep(colour: Float) -> bool:
    """Whether what is seen out of focus, (3, h, w) light, has to be enlarged as such, not as encoded values.

    Half-way between two of these there is not half of the light: a small bright spot would lose up to 3 % of it. Where
    neighbours differ by less than STEEP, what is seen differs little: on eight photos, one of 1.6 and seven of 12 MP, by 1 of
    255 at most but for 143, 40 and 3 values of three of them.
    """
    roots = cv2.sqrt(cv2.max(colour.reshape(-1, colour.shape[2]), 0.0))  # of planes below each other
    if cv2.norm(roots[:, 1:], roots[:, :-1], cv2.NORM_INF) > STEEP:
        return True
    return any(cv2.norm(plane[1:], plane[:-1], cv2.NORM_INF) > STEEP for plane in roots.reshape(colour.shape))


def compose(
    photo: Image, alpha: NDArray[np.uint8], behind: Backdrop, noise: Float | None = None, opaque: Float | None = None
) -> None:
    """Put what is behind around what is in focus in the photo, in place.

    photo: (h, w, 3) uint8, uint16 or float32. alpha: (h, w) uint8, 255 in focus. behind: at the photo's size; may be written
    to. noise: (h, w, 3) float32 that is added to what is behind, in units of the photo's values. opaque: (h, w), None for 1:
    what is transparent and gets no light from around stays as it is.
    """
    least, most, _, _ = cv2.minMaxLoc(alpha)
    if least == 255:
        return
    composed, known, depth = behind.colour, behind.known, DEPTHS[photo.dtype.name]
    if known is None and most == 0:
        photo[:] = rounded(composed, depth) if noise is None else cv2.add(composed, noise, dtype=depth)
        return
    if noise is not None:
        composed = cv2.max(cv2.add(composed, noise), 0.0)
    share = cv2.LUT(alpha, behind_table())
    if known is not None:
        source = cv2.LUT(alpha, source_table())
        source = source if opaque is None else source * opaque
        share *= np.minimum(np.maximum(known, source), np.float32(1.0))
    kept = photo.astype(np.float32)
    composed -= kept
    cv2.multiply(composed, cv2.merge([share] * 3), dst=composed)
    composed += kept
    photo[:] = rounded(composed, depth)


def rounded(values: Float, depth: int) -> Image:
    """Values (h, w, 3) in units of a photo's, none below 0, as of its OpenCV `depth`: integers are rounded and end at white."""
    if depth == cv2.CV_8U:  # the same for them, in less than half the time
        eight_bits: Image = cv2.convertScaleAbs(values)
        return eight_bits
    whole: Image = cv2.addWeighted(values, 1.0, values, 0.0, 0.0, dtype=depth)
    return whole
