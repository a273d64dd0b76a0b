"""Pure measures of mattes and of what was rendered with them; each names its source.

Everywhere: alpha and matte (H, W) float32 in [0, 1], images (H, W, 3) RGB, sRGB-encoded. A measure that has nothing to
measure on, for want of a subject or of an edge, is NaN.
"""

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

from bokehcli.pixels import from_unit, linear_to_srgb, srgb_to_linear, to_unit
from bokehcli.similarity import SSIM_SETTINGS

Image = NDArray[Any]
Float = NDArray[np.float32]
Mask = NDArray[np.bool_]

EMPTY = 0.005  # mattes below this share of the picture have no subject: no IoU is taken
BAND_PX = 20.0
F_TOLERANCE = 0.008  # of the diagonal: `bound_th` in the DAVIS benchmark's own code (Perazzi et al., CVPR 2016)
RING_PX, NEAR_RING_PX = (3.0, 30.0), (3.0, 10.0)
# Encoded, below the knee of the highlight curve (0.85): what is read off is the lens' geometry, not its highlights.
PAINT = 0.8


def iou(alpha: Float, matte: Float) -> float:
    """Intersection over union of what is mostly in focus (Jaccard, as J in Perazzi et al., CVPR 2016); NaN without subject."""
    found, true = alpha > 0.5, matte > 0.5
    if true.mean() <= EMPTY:
        return math.nan
    return float(np.count_nonzero(found & true) / np.count_nonzero(found | true))


def mean_error(alpha: Float, matte: Float, where: Mask | None = None) -> float:
    """Mean absolute error over the picture, or over a part of it."""
    errors = np.abs(alpha - matte)
    return average(errors if where is None else errors[where])


def average(values: NDArray[Any]) -> float:
    """Mean, NaN of nothing."""
    return float(values.mean()) if values.size else math.nan


def boundary(mask: Mask) -> Mask:
    """The mask's pixels that touch what is outside of it; the picture's border is no edge."""
    inner = cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    return mask & ~inner


def distance_px(mask: Mask) -> Float:
    """Distance of every pixel to the nearest one of the mask, in pixels; infinite where there is none."""
    if not mask.any():
        return np.full(mask.shape, np.inf, np.float32)
    distance = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(distance, np.float32)


def band(matte: Float, width_px: float = BAND_PX) -> Mask:
    """The pixels within `width_px` of the matte's edge."""
    return distance_px(boundary(matte > 0.5)) <= width_px


def boundary_f(alpha: Float, matte: Float, tolerance_px: float | None = None) -> float:
    """F-score of the boundaries of alpha > 0.5 and matte > 0.5 (Perazzi et al., CVPR 2016, section 4; Martin et al., 2004).

    tolerance_px: a boundary pixel is right if one of the other boundary lies that near; None is F_TOLERANCE of the diagonal,
    rounded up. Deviation: by distances where the benchmark's code dilates by a disc, which is the same but for rounding.
    """
    if tolerance_px is None:
        tolerance_px = math.ceil(F_TOLERANCE * math.hypot(*matte.shape))
    found, true = boundary(alpha > 0.5), boundary(matte > 0.5)
    if not true.any():
        return math.nan
    if not found.any():
        return 0.0
    precision = average(distance_px(true)[found] <= tolerance_px)
    recall = average(distance_px(found)[true] <= tolerance_px)
    return 2.0 * precision * recall / (precision + recall) if precision + recall > 0.0 else 0.0


def eroded(mask: Mask, by_px: int) -> Mask:
    """The mask without what is within `by_px` of its outside; the picture's border is no outside."""
    return mask & (distance_px(~mask) > by_px)


def identical(image: Image, reference: Image, where: Mask) -> float:
    """1 if the pixels of a part are the same, 0 if not, NaN if the part is empty."""
    return float(np.array_equal(image[where], reference[where])) if where.any() else math.nan


def ssim(image: Image, reference: Image) -> float:
    """Structural similarity of two uint8 images' luma (Wang et al., IEEE TIP 2004: window of sigma 1.5, K 0.01 and 0.03)."""
    luma = (cv2.cvtColor(each, cv2.COLOR_RGB2GRAY).astype(np.float32) for each in (image, reference))
    return float(structural_similarity(*luma, **SSIM_SETTINGS))  # type: ignore[no-untyped-call]


def painted(matte: Float) -> Image:
    """(H, W, 3) uint16: a red subject on blue ground of the same light, mixed by the matte in linear light."""
    light = np.stack((matte, np.zeros_like(matte), 1.0 - matte), axis=2) * srgb_to_linear(np.full(1, PAINT, np.float32))
    return from_unit(linear_to_srgb(light), np.uint16)


def red_share(image: Image) -> Float:
    """(H, W): how much of a pixel's red and blue light is red, [0, 1]; does not depend on how bright the pixel is."""
    light = srgb_to_linear(to_unit(image))
    share: Float = light[:, :, 0] / np.maximum(light[:, :, 0] + light[:, :, 2], np.float32(1e-6))
    return share


def rings(matte: Float, ring_px: tuple[float, float] = RING_PX) -> tuple[Mask, Mask]:
    """So far from the matte's edge: outside where the matte is 0, and inside where it is 1, so that no pixel is mixed."""
    subject = matte > 0.5
    outside, inside = distance_px(subject), distance_px(~subject)
    near, far = ring_px
    return (near <= outside) & (outside <= far) & (matte <= 0.0), (near <= inside) & (inside <= far) & (matte >= 1.0)


def halo(rendered: Image, matte: Float, ring_px: tuple[float, float] = RING_PX) -> tuple[float, float]:
    """What was rendered from `painted(matte)`: mean share of the subject's light in the ring outside, of the ground's in the
    ring inside. 0 is ideal."""
    share = red_share(rendered)
    outside, inside = rings(matte, ring_px)
    return average(share[outside]), average(1.0 - share[inside])


def largest_step(first: Image, second: Image) -> int:
    """Largest difference of two uint8 images, in levels."""
    return int(np.abs(first.astype(np.int16) - second.astype(np.int16)).max())
