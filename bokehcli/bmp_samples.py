"""BMP pixels whose colours are told apart by bit masks, of which OpenCV knows only the commonest.

They are never compressed: a pixel is a whole number of 16 or 32 bits, and each mask says which of those are a channel's.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bokehcli.containers import bmp
from bokehcli.containers.reading import CutShort


def decode(data: bytes) -> NDArray[Any] | None:
    """(H, W, 3 or 4), BGR order and opacity, uint8, or uint16 where a channel has more bits; None where there are no masks.

    The masks are such as `bmp.refusal` lets pass. Raises Malformed.
    """
    masks = bmp.masks(data)
    if masks is None:
        return None
    red, green, blue, opacity = masks
    channels = (blue, green, red, opacity) if opacity else (blue, green, red)
    pixels = _whole_numbers(data)
    deep = max(mask.bit_count() for mask in channels) > 8
    picture = np.empty((*pixels.shape, len(channels)), np.uint16 if deep else np.uint8)
    white = int(np.iinfo(picture.dtype).max)
    for channel, mask in enumerate(channels):
        low, top = bmp.lowest_bit(mask), (1 << mask.bit_count()) - 1
        levels = ((np.arange(top + 1) * white + top // 2) // top).astype(picture.dtype)
        for row, line in zip(picture[..., channel], pixels, strict=True):  # all rows at once would take eight times the memory
            row[:] = levels[(line & mask) >> low]
    return picture


def _whole_numbers(data: bytes) -> NDArray[Any]:
    """(H, W), the top row first, uint16 or uint32. Raises Malformed."""
    (height, width), kind = bmp.size(data), np.dtype(f"<u{bmp.bits(data) // 8}")
    start, row = bmp.place(data)
    if start + height * row > len(data):
        raise CutShort
    pixels = np.frombuffer(data, kind, height * row // kind.itemsize, start).reshape(height, -1)[:, :width]
    return pixels if bmp.is_top_first(data) else pixels[::-1]
