"""Models that give the rendered picture itself: a photo through one, at the photo's own size.

Such a network sees a small picture; what it leaves sharp there gets the photo's own detail, and what it blurs has none.
"""

from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from bokehcli.errors import ModelError
from bokehcli.model import PICTURE, PictureCard
from bokehcli.opencv import cv2
from bokehcli.options import InferOptions
from bokehcli.pixels import fit_within, from_unit, padded, resize, srgb_to_linear, to_unit
from bokehcli.session import open_session
from bokehcli.tiling import surrounded
from bokehcli.tone import SRGB, Curves, as_seen, floats_of

Image = NDArray[Any]
Float = NDArray[np.float32]

DETAIL_PX, AROUND_PX = 1.5, 3.0  # standard deviations, pixels of the small picture: below which detail is; of its mean
# Share of the photo's detail that is left in the picture: up to the first it is blurred, from the second on it is sharp.
BLURRED, SHARP = 0.4, 0.85
NOISE = 0.5 / 255.0  # detail that counts as none: there the picture is as sharp as the photo
ROWS = 256  # composed at a time


class PictureNetwork:
    """The network of a model of kind `rgb`."""

    def __init__(self, card: PictureCard, session: ort.InferenceSession) -> None:
        self.card = card
        self.session = session

    def predict(self, small: Image) -> Float:
        """The rendered picture of a small one, (h, w, 3) uint8 or uint16 sRGB-encoded RGB -> float32 in [0, 1]."""
        photo = to_unit(small)
        if not self.card.tile_px:
            return np.ascontiguousarray(self.run(padded(photo, self.card.multiple))[: photo.shape[0], : photo.shape[1]])
        picture, margin = np.empty_like(photo), self.card.context_px
        for box, around in surrounded(photo, self.card.tile_px, margin):
            picture[box.slices] = self.run(around)[margin : margin + box.height, margin : margin + box.width]
        return picture

    def run(self, photo: Float) -> Float:
        """One run of the network: (h, w, 3) in [0, 1], sides multiples of the card's, to the same. Raises ModelError."""
        planes = np.ascontiguousarray(photo.transpose(2, 0, 1)[None])
        given = self.session.run(None, {"photo": planes})[0]
        if given.shape != planes.shape:
            raise ModelError(f"{self.card.path(PICTURE)}: gives {given.shape} for {planes.shape}, not a picture of that size")
        picture: Float = given[0].transpose(1, 2, 0)
        if not np.isfinite(picture).all():
            raise ModelError(f"{self.card.path(PICTURE)}: gives a picture with values that are not finite")
        return np.clip(picture, 0.0, 1.0)

    def render(self, image: Image, curves: Curves = SRGB) -> Image:
        """A photo as the network renders it.

        image: (H, W, 3) uint8, uint16 or float32 (white at 1), RGB, encoded by `curves`. Returns the photo's shape and
        type. The network sees the photo at the card's size, or at its own if that is smaller. Raises ModelError.
        """
        small = resize(image, fit_within((image.shape[0], image.shape[1]), self.card.long_side))
        seen = as_seen(small, curves)
        seen = seen if seen.dtype != np.float32 else from_unit(seen, np.uint16)
        picture = self.predict(seen)
        kept = sharpness(to_unit(seen), picture)
        if curves != SRGB:
            light = srgb_to_linear(picture)
            picture = np.stack([floats_of(light[:, :, i], curve) for i, curve in enumerate(curves)], 2)
        return composed(image, small, picture, kept)


def open_picture_network(card: PictureCard, options: InferOptions | None = None) -> PictureNetwork:
    """The network of a card, ready to run. Raises ModelError, DeviceError."""
    return PictureNetwork(card, open_session(card, PICTURE, options or InferOptions()))


def detail(image: Float) -> Float:
    """How much there is around every pixel of what a small blur takes away, (h, w), of (h, w, 3) in [0, 1]."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    fine = np.abs(grey - cv2.GaussianBlur(grey, (0, 0), DETAIL_PX))
    around: Float = cv2.GaussianBlur(fine, (0, 0), AROUND_PX)
    return around


def sharpness(photo: Float, picture: Float) -> Float:
    """Where the picture is as sharp as the photo: (h, w) from 0, blurred, to 1; both (h, w, 3) in [0, 1]."""
    left = (detail(picture) + NOISE) / (detail(photo) + NOISE)
    share = np.clip((left - BLURRED) / (SHARP - BLURRED), 0.0, 1.0)
    smooth: Float = (share * share * (3.0 - 2.0 * share)).astype(np.float32)
    return smooth


def composed(image: Image, small: Image, picture: Float, kept: Float) -> Image:
    """The picture at the photo's size, with the photo's own detail where it is kept.

    image (H, W, 3), small (h, w, 3) the same smaller, of one type; picture (h, w, 3) float32 with white at 1; kept (h, w).
    """
    whole = image.dtype == np.float32
    unit = small if whole else to_unit(small)
    result = np.empty_like(image)
    # the detail is what the small photo lacks, so that with all of it kept the change alone is added to the photo
    change, base = picture - kept[:, :, None] * unit, kept
    for top in range(0, image.shape[0], ROWS):
        rows = slice(top, min(top + ROWS, image.shape[0]))
        below, share = (enlarged_rows(x, image.shape[:2], rows) for x in (change, base))
        part = image[rows] if whole else to_unit(image[rows])
        mixed = below + share[:, :, None] * part
        result[rows] = mixed if whole else from_unit(mixed, image.dtype)
    return result


def enlarged_rows(small: Float, size: tuple[int, ...], rows: slice) -> Float:
    """Some rows of a small picture (h, w[, 3]) enlarged to `size`, (H, W), bilinearly, pixel centres aligned."""
    height, width = size[:2]
    scale_y, scale_x = small.shape[0] / height, small.shape[1] / width
    matrix = np.array([[scale_x, 0.0, 0.5 * scale_x - 0.5], [0.0, scale_y, (rows.start + 0.5) * scale_y - 0.5]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    shape = width, rows.stop - rows.start
    enlarged: Float = cv2.warpAffine(small, matrix, shape, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return enlarged
