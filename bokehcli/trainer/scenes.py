"""Photos, and composites of one or two cut-outs, with the two maps that they should give."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bokehcli.opencv import cv2
from bokehcli.pixels import focus_hint
from bokehcli.tiling import Box, common
from bokehcli.trainer.data import EMPTY, Library, Sample

Image = NDArray[Any]
Float = NDArray[np.float32]

NEIGHBOURING = (0.4, 1.0)  # distance of the boxes' centres of two objects; 1 where the boxes just touch
TURN_DEG = 12.0  # standard deviation
STRETCH = 0.22  # standard deviation of the logarithm of width by height


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pairing:
    """How two objects are put together, as chances; the defaults are those by which models are compared.

    focus_far: the far one is the subject, and is pointed at. near_hinted: of the rest, somebody points at the near one.
    touching: the near one lies beside the far one or over a part of it; else each is anywhere. own: the far one is the
    photo's own subject in its place. turned: a cut-out is tilted, unless it is cut by the lower border. varied: a cut-out is
    stretched and changes its hues, so that a network which has seen it often does not know it by its looks. blurred: what
    cut-outs alone stand before is out of focus already, for it may have a subject of its own.
    """

    focus_far: float = 0.45
    near_hinted: float = 0.5
    touching: float = 0.0
    own: float = 0.0
    turned: float = 0.0
    varied: float = 0.0
    blurred: float = 0.5


COMPARED = Pairing()


class CutOut(NamedTuple):
    """A subject in a picture: the box in which it lies, its pixels (h, w, 3) uint8 and its alpha (h, w) in [0, 1] there."""

    box: Box
    pixels: Image
    alpha: Float

    def whole(self, size: int) -> Float:
        """Its alpha in the picture, (S, S)."""
        alpha = np.zeros((size, size), np.float32)
        alpha[self.box.slices] = self.alpha
        return alpha


def nothing() -> CutOut:
    """A cut-out of which nothing is to be seen."""
    return CutOut(Box(0, 1, 0, 1), np.zeros((1, 1, 3), np.uint8), np.zeros((1, 1), np.float32))


def shrunk(image: Image, matrix: Float) -> tuple[Image, Float]:
    """An image (H, W, ...) uint8 and an affine matrix (2, 3), in pixels, as they are to be warped.

    What would be reduced is by area first, and the matrix's scale by as much less, so that nothing aliases.
    """
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    if scale < 0.6:
        height, width = image.shape[:2]
        thin = min(height, width) * scale <= 0.5  # which would leave no row, or no column, of it
        least = (max(1, round(width * scale)), max(1, round(height * scale))) if thin else None
        image = cv2.resize(image, least, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        matrix = matrix.copy()
        matrix[:, :2] /= scale
    return image, matrix


def warp(photo: Image, matte: Image, matrix: Float, size: int) -> tuple[Image, Float]:
    """A photo (H, W, 3) and its matte (H, W), uint8, by an affine matrix (2, 3) of pixels, mirrored at their borders.

    Returns (S, S, 3) uint8 and alpha (S, S) in [0, 1]. As one picture: OpenCV warps four channels in half the time of three.
    """
    both, matrix = shrunk(cv2.merge([photo, matte]), matrix)
    return parted(cv2.warpAffine(both, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101))


def parted(both: Image) -> tuple[Image, Float]:
    """(H, W, 4) uint8 of a photo and its matte -> (H, W, 3) uint8 and alpha (H, W) in [0, 1]."""
    alpha = np.divide(cv2.extractChannel(both, 3), np.float32(255.0), dtype=np.float32)
    return cv2.cvtColor(both, cv2.COLOR_RGBA2RGB), alpha


def rotation(angle_deg: float) -> Float:
    """(2, 2) matrix of a turn."""
    cosine, sine = np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))
    return np.array([[cosine, -sine], [sine, cosine]])


def view(rng: np.random.Generator, shape: tuple[int, ...], size: int, zoom: tuple[float, float]) -> Float:
    """Affine matrix of a random view: crop of a share in `zoom`, mirrored, tilted by a few degrees, to a square."""
    height, width = shape[:2]
    share = rng.uniform(*zoom)
    aspect = np.exp(rng.normal(0.0, 0.12))
    crop_h, crop_w = height * share, width * share
    left, top = rng.uniform(0, width - crop_w), rng.uniform(0, height - crop_h)
    angle = rng.normal(0.0, 5.0) if rng.random() < 0.4 else 0.0
    flip = -1.0 if rng.random() < 0.5 else 1.0
    to_square = np.diag([flip * size / crop_w * aspect**0.5, size / crop_h / aspect**0.5])
    linear = rotation(angle) @ to_square
    centre = np.array([left + crop_w / 2, top + crop_h / 2])
    return np.hstack([linear, (size / 2 - linear @ centre)[:, None]]).astype(np.float32)


def recolour(rng: np.random.Generator, image: Image) -> Image:
    """Exposure, contrast, white balance, saturation of another camera; sometimes grey."""
    ramp = np.arange(256, dtype=np.float32) / 255.0
    gamma = np.exp(rng.normal(0.0, 0.25))
    gains = np.exp(rng.normal(0.0, 0.12) + rng.normal(0.0, 0.07, 3))
    lut = np.clip(255.0 * gains[None, :] * (ramp[:, None] ** gamma), 0, 255).astype(np.uint8)
    image = cv2.LUT(image, lut.reshape(1, 256, 3))
    chance = rng.random()
    if chance < 0.06:
        return np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[:, :, None], 3, axis=2)
    if chance < 0.4:
        grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        saturation = rng.uniform(0.3, 1.6)
        image = cv2.addWeighted(image, saturation, grey, 1.0 - saturation, 0.0)
    return image


def rehue(rng: np.random.Generator, image: Image) -> Image:
    """Other hues at the same brightness, (H, W, 3) uint8 RGB: the colour channels turned about grey by a random angle."""
    angle = rng.uniform(0.0, 2.0 * np.pi)
    grey = np.full((3, 3), 1.0 / 3.0)
    across = np.array([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]) / np.sqrt(3.0)
    turn = grey + np.cos(angle) * (np.eye(3) - grey) + np.sin(angle) * across
    turned: Image = cv2.transform(image, turn)
    return turned


def degrade(rng: np.random.Generator, image: Image) -> Image:
    """What a camera and a web site do to a photo: a little blur, noise, JPEG."""
    chance = rng.random(3)
    if chance[0] < 0.15:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.2))
    if chance[1] < 0.15:
        noise = rng.standard_normal(image.shape[:2], dtype=np.float32)[:, :, None] * rng.uniform(2.0, 12.0)
        image = np.clip(image + noise, 0, 255).astype(np.uint8)
    if chance[2] < 0.15:
        encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 85))])[1]
        image = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    return image


def blurred(rng: np.random.Generator, photo: Image) -> Image:
    """A square photo (S, S, 3) uint8 out of focus, by a little or by much."""
    result: Image = cv2.GaussianBlur(photo, (0, 0), len(photo) / 256 * rng.uniform(0.5, 4.0))
    return result


def layout(alpha: Float, rng: np.random.Generator, slanted: bool = False) -> Float:
    """Defocus of what is behind or around one subject, (S, S).

    Flat and far; or, when the subject stands in the picture (its foot well above the lower border and not near the upper
    one), a ground plane. On a plane under the camera the circle of confusion is linear in the row: with horizon h and foot
    f, |1 - z_s / z| = |y - f| / (f - h). The horizon is at a standing person's eyes, and above what is smaller than a
    person. `slanted` gives a plane across the picture instead.
    """
    size = alpha.shape[0]
    if slanted:
        angle = rng.uniform(0, 2 * np.pi)
        ramp = np.linspace(-1, 1, size, dtype=np.float32)
        plane = 0.75 + 0.25 * (np.cos(angle) * ramp[None, :] + np.sin(angle) * ramp[:, None])
        clipped: Float = np.clip(plane, 0.0, 1.0).astype(np.float32)
        return clipped
    rows = np.flatnonzero((alpha > 0.5).any(axis=1))
    defocus = np.ones_like(alpha)
    foot, top = (float(rows[-1]), float(rows[0])) if rows.size else (0.0, 0.0)
    if 0.4 * size < foot < 0.97 * size and foot - top > 0.12 * size:
        horizon = min(top + 0.15 * (foot - top), foot - 0.15 * size, 0.35 * size)
        y = np.arange(size, dtype=np.float32)
        column = np.clip(np.abs(y - foot) / (foot - horizon), 0.0, 1.0)
        defocus *= column[:, None]
    return defocus


def subject_point(rng: np.random.Generator, alpha: Float) -> tuple[float, float] | None:
    """A random point on the subject as shares of width and height, or None if there is none."""
    flat = np.flatnonzero(alpha > 0.9)
    if flat.size == 0:
        return None
    y, x = divmod(int(flat[rng.integers(flat.size)]), alpha.shape[1])
    return (x + 0.5) / alpha.shape[1], (y + 0.5) / alpha.shape[0]


def neighbouring(rng: np.random.Generator, alpha: Float, half_w: float, half_h: float) -> tuple[float, float]:
    """Centre (x, y) in pixels, in the picture, for a box of these half sides that touches the object in alpha (S, S)."""
    size = alpha.shape[0]
    rows, columns = np.flatnonzero((alpha > 0.5).any(1)), np.flatnonzero((alpha > 0.5).any(0))
    if rows.size == 0:
        return size / 2, size / 2
    angle, share = rng.uniform(0, 2 * np.pi), rng.uniform(*NEIGHBOURING)
    reach = share / max(abs(np.cos(angle)), abs(np.sin(angle)))  # boxes with share 1 touch
    x = (columns[0] + columns[-1] + 1) / 2 + reach * np.cos(angle) * (half_w + (columns[-1] + 1 - columns[0]) / 2)
    y = (rows[0] + rows[-1] + 1) / 2 + reach * np.sin(angle) * (half_h + (rows[-1] + 1 - rows[0]) / 2)
    return float(np.clip(x, 0.0, size)), float(np.clip(y, 0.0, size))


def box_of(matte: Image) -> Box | None:
    """The box of the subject in a matte (H, W) uint8; None if it is too small or most of the photo."""
    rows, columns = np.flatnonzero((matte > 127).any(1)), np.flatnonzero((matte > 127).any(0))
    if rows.size < 8 or columns.size < 8 or np.count_nonzero(matte > 127) > 0.6 * matte.size:
        return None
    return Box(int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1)


def placed(pair: tuple[Image, Image], box: Box, linear: Float, centre: tuple[float, float], size: int) -> CutOut:
    """A photo's subject, turned and scaled by `linear` (2, 2) so that the box's centre comes to `centre` (x, y).

    pair: photo (H, W, 3) and matte (H, W), uint8. Beyond the photo's border its pixels go on, and its alpha ends: by a frame of
    one pixel without any.
    """
    shift = np.array(centre) - linear @ np.array([(box.left + box.right) / 2, (box.top + box.bottom) / 2])
    both, matrix = shrunk(cv2.merge(pair), np.hstack([linear, shift[:, None]]).astype(np.float32))
    both = cv2.copyMakeBorder(both, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    both[[0, -1], :, 3] = both[:, [0, -1], 3] = 0
    matrix[:, 2] -= matrix[:, :2].sum(1)
    seen = common(image_of(cv2.boundingRect(cv2.extractChannel(both, 3)), matrix), Box(0, size, 0, size))
    if seen is None:
        return nothing()
    matrix[:, 2] -= seen.left, seen.top
    flags, border = cv2.INTER_LINEAR, cv2.BORDER_REPLICATE
    return CutOut(seen, *parted(cv2.warpAffine(both, matrix, (seen.width, seen.height), flags=flags, borderMode=border)))


def image_of(rectangle: Sequence[int], matrix: Float) -> Box:
    """A box that holds what an affine map makes of a rectangle (left, top, width, height) and the pixels around it."""
    left, top, width, height = rectangle
    corners = np.array([(x, y, 1) for x in (left - 1, left + width) for y in (top - 1, top + height)]) @ matrix.T
    (first_x, first_y), (last_x, last_y) = np.floor(corners.min(0)).astype(int), np.ceil(corners.max(0)).astype(int)
    return Box(int(first_y), int(last_y) + 1, int(first_x), int(last_x) + 1)


def cut_out(
    rng: np.random.Generator,
    library: Library,
    pool: Sequence[int],
    size: int,
    scale: tuple[float, float],
    beside: Float | None = None,
    pairing: Pairing = COMPARED,
) -> CutOut:
    """A subject of one of the photos in `pool` moved and scaled to a random place of a picture (S, S).

    beside: alpha (S, S) of another one; the place is then such that their boxes just touch or overlap.
    """
    for _ in range(8):
        photo, matte = library[pool[int(rng.integers(len(pool)))]]
        box = box_of(matte)
        if box is None:
            continue
        factor = size * rng.uniform(*scale) / max(box.height, box.width)
        varied = bool(pairing.varied) and rng.random() < pairing.varied
        stretch = np.exp(rng.normal(0.0, STRETCH) / 2) if varied else 1.0
        half_w, half_h = factor * stretch * box.width / 2, factor / stretch * box.height / 2
        cut_below = box.bottom > 0.97 * matte.shape[0]
        centre_x = rng.uniform(min(half_w, size / 2), max(size - half_w, size / 2))
        centre_y = size - half_h + 1 if cut_below else rng.uniform(min(half_h, size / 2), max(size - half_h, size / 2))
        if beside is not None:
            centre_x, centre_y = neighbouring(rng, beside, half_w, half_h)
        flip = -1.0 if rng.random() < 0.5 else 1.0
        linear = np.diag([flip * factor * stretch, factor / stretch])
        if pairing.turned and not cut_below and rng.random() < pairing.turned:
            linear = rotation(rng.normal(0.0, TURN_DEG)) @ linear
        cut = placed((photo, matte), box, linear, (centre_x, centre_y), size)
        pixels = recolour(rng, cut.pixels)
        return cut._replace(pixels=rehue(rng, pixels) if varied else pixels)
    return nothing()


def paste(picture: Image, cut: CutOut) -> None:
    """Put a cut-out over a picture (S, S, 3) uint8, in place, mixed by its alpha."""
    over = picture[cut.box.slices]
    mixed: Float = over + (cut.pixels.astype(np.float32) - over) * cut.alpha[:, :, None]
    over[:] = np.rint(mixed)


def composite(
    rng: np.random.Generator, library: Library, pool: Sequence[int], size: int, objects: int, pairing: Pairing = COMPARED
) -> Sample:
    """One or two cut-outs over a photo. Of two, the one that is pointed at is in focus; unpointed, the near one."""
    photo, matte = library[pool[int(rng.integers(len(pool)))]]
    matrix = view(rng, photo.shape, size, (0.5, 1.0))
    photo, own_alpha = warp(photo, matte, matrix, size)
    photo = recolour(rng, photo)
    own = objects == 2 and pairing.own and rng.random() < pairing.own
    if not own and rng.random() < pairing.blurred:
        photo = blurred(rng, photo)
    slanted = rng.random() < 0.3
    defocus = layout(np.zeros((size, size), np.float32), rng, slanted)
    if objects == 1:
        cut = cut_out(rng, library, pool, size, (0.35, 1.0))
        paste(photo, cut)
        alpha = cut.whole(size)
        point = subject_point(rng, alpha) if rng.random() < pairing.near_hinted else None
        return Sample(photo, focus_hint((size, size), point), alpha, defocus if slanted else layout(alpha, rng), 1.0)
    if own:
        far_alpha = own_alpha
    else:
        far = cut_out(rng, library, pool, size, (0.25, 0.6), None, pairing)
        paste(photo, far)
        far_alpha = far.whole(size)
    beside = far_alpha if pairing.touching and rng.random() < pairing.touching else None
    near = cut_out(rng, library, pool, size, (0.4, 0.9), beside, pairing)
    paste(photo, near)
    near_alpha = near.whole(size)
    far_alpha = far_alpha * (1.0 - near_alpha)
    distance = np.float32(rng.uniform(0.4, 1.0))
    focus_far = rng.random() < pairing.focus_far and float((far_alpha > 0.9).mean()) > 0.01
    alpha, other = (far_alpha, near_alpha) if focus_far else (near_alpha, far_alpha)
    defocus = defocus if slanted else layout(alpha, rng)
    defocus = defocus + (distance - defocus) * other
    point = subject_point(rng, alpha) if focus_far or rng.random() < pairing.near_hinted else None
    return Sample(photo, focus_hint((size, size), point), alpha, defocus, 1.0)


def plain(
    rng: np.random.Generator, library: Library, index: int, size: int, zoom: tuple[float, float], hinted: float
) -> Sample:
    """A photo as it is, with its matte. hinted: how often somebody points at the subject."""
    photo, matte = library[index]
    matrix = view(rng, photo.shape, size, zoom)
    photo, alpha = warp(photo, matte, matrix, size)
    photo = recolour(rng, photo)
    point = subject_point(rng, alpha) if rng.random() < hinted else None
    weight = float((alpha > 0.5).mean() > EMPTY)
    return Sample(photo, focus_hint((size, size), point), alpha, layout(alpha, rng), weight)
