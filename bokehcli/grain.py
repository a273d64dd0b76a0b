"""The photo's own grain, for what a lens makes of it.

A blur takes the noise of a photo with its detail, and beside a subject that has it what is out of focus looks like plastic.
As in film grain synthesis for video (Norkin & Birkbeck, "Film Grain Synthesis for AV1 Video Codec", DCC 2018) the noise is
measured in the flattest blocks of the photo, its strength by brightness, and noise like it is made anew. Deviation: of that
noise the spectrum is kept, where the codec has an autoregressive model of 25 numbers.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bokehcli.light import CODES
from bokehcli.opencv import cv2
from bokehcli.tiling import Box

Image = NDArray[Any]
Float = NDArray[np.float32]

BLOCK_PX = 32
MOST_BLOCKS, FEWEST_BLOCKS = 400, 40  # that are looked at; fewer do not tell
MOST_FLAT = 64  # blocks whose spectra are taken
FLATTEST = 0.03  # the share of the blocks of which the deviation of the last one is what a flat block has
ALIKE = 1.35  # blocks of up to so many times that deviation are flat
# Share of the blocks that have to be flat, and what is added to it for every level of 255 of their deviation: strong noise is
# everywhere alike, texture is not.
LEAST_SHARE, LEAST_SHARE_A_LEVEL = 0.08, 0.04
# Deviation of the deviations of a block's sixteen parts, by their mean: half of the flat blocks have to be as even as that.
PARTS, UNEVEN = 4, 0.36
COARSE_PX, COARSEST = 2, 0.5  # correlation of luma with that so far off: what is more alike there is no noise
CLIPPED = 2.5 / 255.0  # of full scale: what comes as near to black or white has lost its noise
LEAST, MOST = 0.5 / 255.0, 8.0 / 255.0  # deviations of luma: less is not seen, and more is taken to be texture
BANDS = 6  # of brightness
FEWEST_IN_BAND = 20  # blocks
# A band with more than so many times the deviation of all has texture, unless so many of its blocks are flat and so even.
STRONGER, CLEAR_SHARE, CLEARLY_EVEN = 2.0, 0.4, 0.3
CUT_OFF = 2.0  # deviations from black and from white within which noise is cut off, the more the nearer
COLOURFUL = 4.0  # deviations of luma; a channel that has more of its own is a pattern
FAR_PX = range(5, 12)  # what is like itself so far away is a pattern
TEXTURE_PX, REPEATED_PX = 256, (384, 768)  # of a texture, and of it repeated, so that whatever is asked for lies in one piece
# Of red, green and blue to luma and the differences of blue and red (ITU-R BT.601), and back.
OPPONENT = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32)
COLOURS = np.array([[1.0, 0.0, 1.402], [1.0, -0.344136, -0.714136], [1.0, 1.772, 0.0]], np.float32)
ROUNDING = 1e-8
COLOURLESS = 1e-3  # share of luma's deviation that is due to rounding in a difference: grey grain stays grey


@dataclass(frozen=True)
class Grain:
    """Noise like that of a photo.

    texture: (*REPEATED_PX, 3), its luma of deviation 1. deviation: (256,), by brightness, of full scale.
    """

    texture: Float
    deviation: Float

    def strength_of(self, picture: Image, full: float) -> Float:
        """(h, w, 3) float32: how strong the noise of a picture is, in units of which white is `full`.

        picture: (h, w, 3) uint16, encoded in CODES steps; each channel's noise goes by its own brightness.
        """
        brightness = cv2.convertScaleAbs(picture, alpha=255.0 / (CODES - 1))
        strength: Float = cv2.LUT(brightness, self.deviation * np.float32(full))
        return strength

    def at(self, box: Box, strength: Float) -> Float:
        """(h, w, 3) float32: the noise at a box of the photo, of a strength (h, w, 3), in its units.

        The box is at most as large as REPEATED_PX less TEXTURE_PX.
        """
        top, left = box.top % TEXTURE_PX, box.left % TEXTURE_PX
        noise: Float = cv2.multiply(self.texture[top : top + box.height, left : left + box.width], strength)
        return noise


def grain_of(image: Image, amount: float = 1.0) -> Grain | None:
    """The grain of a photo; None where it has none that is seen, or none that is told from texture.

    image: (H, W, 3) uint8 or uint16, encoded. amount: how much of its grain, 1 being all.
    """
    blocks = blocks_of(image)
    if len(blocks) < FEWEST_BLOCKS:
        return None
    luma = cv2.transform(blocks.reshape(-1, BLOCK_PX, 3), OPPONENT[:1]).reshape(len(blocks), BLOCK_PX, BLOCK_PX)
    residual = without_shading(luma)
    squares = residual * residual  # of what has no mean
    deviations = np.sqrt(squares.mean((1, 2)))
    part_px = BLOCK_PX // PARTS
    parts = np.sqrt(squares.reshape(-1, PARTS, part_px, PARTS, part_px).mean((2, 4)).reshape(len(blocks), -1))
    uneven = parts.std(1) / np.maximum(parts.mean(1), np.float32(1e-6))
    flat = flat_ones(deviations)
    deviation = float(deviations[flat].mean())
    if not LEAST <= deviation <= MOST or flat.mean() < LEAST_SHARE + LEAST_SHARE_A_LEVEL * 255.0 * deviation:
        return None
    if np.median(uneven[flat]) > UNEVEN or is_pattern(residual[flat]):
        return None
    by_brightness = curve_of(luma.mean((1, 2)), deviations, uneven, deviation)
    flattest = np.argsort(deviations)[: min(MOST_FLAT, np.count_nonzero(flat))]
    texture = texture_like(blocks[flattest])
    if texture.std((0, 1)).max() > COLOURFUL:
        return None
    down, across = (-(-side // TEXTURE_PX) for side in REPEATED_PX)
    repeated = np.tile(texture, (down, across, 1))[: REPEATED_PX[0], : REPEATED_PX[1]]
    return Grain(np.ascontiguousarray(repeated), by_brightness * np.float32(amount))


def flat_ones(deviations: Float) -> NDArray[np.bool_]:
    """(N,): which of some blocks are flat."""
    flat: NDArray[np.bool_] = deviations <= ALIKE * np.quantile(deviations, FLATTEST)
    return flat


def blocks_of(image: Image) -> Float:
    """(N, BLOCK_PX, BLOCK_PX, 3) in [0, 1]: blocks spread over a photo, without those that are clipped somewhere."""
    down, across = (side // BLOCK_PX for side in image.shape[:2])
    step = max(1, math.ceil(math.sqrt(down * across / MOST_BLOCKS)))
    grid = image[: down * BLOCK_PX, : across * BLOCK_PX].reshape(down, BLOCK_PX, across, BLOCK_PX, 3)
    blocks = grid[step // 2 :: step, :, step // 2 :: step].swapaxes(1, 2).reshape(-1, BLOCK_PX, BLOCK_PX, 3)
    full = np.iinfo(image.dtype).max
    low, high = math.ceil(CLIPPED * full), math.floor((1.0 - CLIPPED) * full)
    values = blocks.reshape(len(blocks), BLOCK_PX * BLOCK_PX * 3)
    usable: Float = blocks[(values.min(1) >= low) & (values.max(1) <= high)] * np.float32(1.0 / full)
    return usable


def without_shading(planes: Float) -> Float:
    """Planes (..., BLOCK_PX, BLOCK_PX) less the quadratic surface that is nearest to each.

    Its terms are orthogonal, so that each is a mean by itself; a product of matrices would wake threads for nothing.
    """
    place = np.linspace(-1.0, 1.0, BLOCK_PX, dtype=np.float32)
    square = place * place - np.mean(place * place)
    twisted = np.einsum("...yx,y->...x", planes, place)  # without BLAS
    surface = (twisted * place).sum(-1)[..., None, None] * np.multiply.outer(place, place) / np.sum(place * place) ** 2
    down, across = planes.mean(-1), planes.mean(-2)
    surface -= down.mean(-1)[..., None, None]  # for it is in both of what follows
    for means, axis in ((down, -1), (across, -2)):
        fitted = means.mean(-1, keepdims=True)
        for term in (place, square):
            fitted = fitted + (means * term).sum(-1, keepdims=True) / np.sum(term * term) * term
        surface += np.expand_dims(fitted, axis)
    residual: Float = planes - surface
    return residual


def likeness(planes: Float, apart_px: int) -> float:
    """Correlation of planes (N, h, w) with themselves so many pixels to the right and below, the mean of both."""
    right = np.mean(planes[:, :, apart_px:] * planes[:, :, :-apart_px])
    below = np.mean(planes[:, apart_px:] * planes[:, :-apart_px])
    return float((right + below) / (2.0 * np.mean(planes * planes)))


def is_pattern(planes: Float) -> bool:
    """Whether planes (N, h, w) are too like themselves a little way off to be noise."""
    far = max(abs(likeness(planes, apart_px)) for apart_px in FAR_PX)
    return far > COARSEST or likeness(planes, COARSE_PX) > COARSEST


def curve_of(brightness: Float, deviations: Float, uneven: Float, whole: float) -> Float:
    """(256,) float32: the deviation that flat blocks have by brightness, of full scale both, and none at black and white.

    whole: that of all flat ones. brightness, deviations, uneven: (N,), of all blocks.
    """
    middles, levels = [], []
    for band in range(BANDS):
        own = np.minimum(brightness * BANDS, BANDS - 1).astype(int) == band
        if np.count_nonzero(own) < FEWEST_IN_BAND:
            continue
        flat = flat_ones(deviations[own])
        level = float(deviations[own][flat].mean())
        clear = flat.mean() >= CLEAR_SHARE and np.median(uneven[own][flat]) <= CLEARLY_EVEN
        if level <= STRONGER * whole or (clear and level <= MOST):
            middles.append((band + 0.5) / BANDS)
            levels.append(level)
    if not middles:
        middles, levels = [0.5], [whole]
    places = np.arange(256) / 255.0
    to_the_ends = np.minimum(places, 1.0 - places) / (CUT_OFF * whole)
    return (np.interp(places, middles, levels) * np.minimum(to_the_ends, 1.0)).astype(np.float32)


@lru_cache(maxsize=1)
def white_noise() -> NDArray[Any]:
    """(3, TEXTURE_PX, TEXTURE_PX // 2 + 1): the spectra of three pictures of white noise, the same ones always."""
    return np.fft.rfft2(np.random.default_rng(0).standard_normal((3, TEXTURE_PX, TEXTURE_PX), np.float32))


def texture_like(blocks: Float) -> Float:
    """(TEXTURE_PX, TEXTURE_PX, 3): noise with spectrum and colours of flat blocks (N, h, w, 3), its luma of deviation 1."""
    opponent = cv2.transform(blocks.reshape(-1, BLOCK_PX, 3), OPPONENT).reshape(blocks.shape)
    planes = without_shading(np.ascontiguousarray(opponent.transpose(3, 0, 1, 2)))
    covariance = np.einsum("knhw,lnhw->kl", planes, planes, dtype=np.float64)
    covariance /= max(covariance[0, 0], 1e-12)
    # of one colour alone it has no root, but for rounding
    mix = np.linalg.cholesky(covariance + ROUNDING * np.trace(covariance) * np.eye(3))
    mix[np.abs(mix) < COLOURLESS] = 0.0
    # how a pixel is like those around it; what is so far away that it is taken from the block's other side counts less
    power = np.mean(np.abs(np.fft.rfft2(planes)) ** 2, axis=1)
    alike = np.fft.fftshift(np.fft.irfft2(power, s=(BLOCK_PX, BLOCK_PX)), axes=(1, 2))
    apart = np.abs(np.arange(BLOCK_PX) - BLOCK_PX // 2) / BLOCK_PX
    fade = (0.5 + 0.5 * np.cos(2.0 * np.pi * apart)) / (1.0 - apart)
    spectrum = np.abs(np.fft.rfft2(alike * (fade[:, None] * fade[None, :]), s=(TEXTURE_PX, TEXTURE_PX)))
    noise = np.fft.irfft2(white_noise() * np.sqrt(spectrum).astype(np.float32), s=(TEXTURE_PX, TEXTURE_PX))
    noise /= np.maximum(noise.std((1, 2)), np.float32(1e-12))[:, None, None]
    colours = (COLOURS @ mix).astype(np.float32)
    texture: Float = cv2.transform(np.ascontiguousarray(noise.transpose(1, 2, 0), np.float32), colours)
    return texture
