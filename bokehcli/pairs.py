"""Real pairs of a wide and a shallow photo in EBB! layout: original/NAME.EXT beside bokeh/NAME.EXT.

Ignatov et al., CVPRW 2020, section 3.1. All pairs are looked at once, reduced, and those whose photos do not match are left
out.
"""

import math
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bokehcli.errors import UsageError
from bokehcli.opencv import cv2

Image = NDArray[Any]
Float = NDArray[np.float32]

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp")
WIDE, SHALLOW = "original", "bokeh"
LOOK_PX = 128  # long side at which two photos are compared
SAME_SHAPE = 0.02  # relative difference of the aspect ratios up to which two photos show the same
ALIKE = 0.6  # correlation of two photos, blurred, from which they show the same
BLUR_PX = 2.0  # for that comparison: background blur is then no difference
SHIFT = 0.03  # of the long side up to which one photo may lie beside the other
# How far is measured on fine detail, of which a blurred background has none: at a long side of MEASURED_PX, without what is
# coarser than DETAIL_PX. What is below LEAST_SHIFT_PX is no shift.
MEASURED_PX, DETAIL_PX, LEAST_SHIFT_PX = 1024, 3.0, 0.5
LEAST_PX = 16  # short side of the smaller pictures from which it is looked how far
LISTED = 20  # of what is left out, so many are named


@dataclass(frozen=True)
class Pair:
    """Two photos of the same scene. right, down: how far the shallow one's content lies beside, shares of width and height."""

    wide: Path
    shallow: Path
    right: float = 0.0
    down: float = 0.0


def is_pairs(data: Path) -> bool:
    """Whether a folder is laid out as pairs."""
    return (data / WIDE).is_dir() and (data / SHALLOW).is_dir()


def read_photo(path: Path, flag: int = cv2.IMREAD_COLOR) -> Image:
    """(H, W, 3) uint8 RGB. Raises UsageError if it cannot be decoded."""
    try:
        content = np.fromfile(path, np.uint8)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from error
    return decode(content, flag, str(path))[:, :, ::-1]


def decode(content: NDArray[np.uint8], flag: int, name: str) -> Image:
    """A picture as OpenCV gives it, of a file's bytes. Raises UsageError, with its name, if it cannot be decoded."""
    try:
        image: Image | None = cv2.imdecode(content, flag) if content.size else None
    except cv2.error as error:  # such as a picture that is too small to be reduced
        raise UsageError(f"{name}: cannot be decoded ({error.err})") from error
    if image is None:
        raise UsageError(f"{name}: cannot be decoded")
    return image


def find_pairs(data: Path) -> tuple[list[Pair], list[str]]:
    """The pairs of a folder by name, and a line for every photo without a partner. Raises UsageError."""
    try:
        wide, shallow = (
            {path.stem: path for path in sorted((data / name).iterdir()) if path.suffix.lower() in SUFFIXES}
            for name in (WIDE, SHALLOW)
        )
    except OSError as error:
        raise UsageError(f"{error.filename or data}: {error.strerror or error}") from error
    alone = [f"{wide[name]}: no partner in {SHALLOW}/" for name in sorted(wide.keys() - shallow.keys())]
    alone += [f"{shallow[name]}: no partner in {WIDE}/" for name in sorted(shallow.keys() - wide.keys())]
    return [Pair(wide[name], shallow[name]) for name in sorted(wide.keys() & shallow.keys())], alone


@dataclass(frozen=True)
class Look:
    """A photo at two sizes.

    aspect: width by height. coarse: (h, w) float32, 0 to 255, grey, its long side LOOK_PX, blurred. detail: (h', w') float32,
    grey, its long side MEASURED_PX at most, less what is coarser than DETAIL_PX; around 0.
    """

    aspect: float
    coarse: Float
    detail: Float


def look(path: Path) -> Look:
    """Look at a photo, of which as little is decoded as is needed. Raises UsageError."""
    small = image = read_photo(path, cv2.IMREAD_REDUCED_COLOR_4)
    if max(small.shape[:2]) < MEASURED_PX:
        larger = cv2.IMREAD_REDUCED_COLOR_2 if max(small.shape[:2]) * 2 >= MEASURED_PX else cv2.IMREAD_COLOR
        image = read_photo(path, larger)
    coarse = cv2.GaussianBlur(grey_at(small, LOOK_PX), (0, 0), BLUR_PX)
    fine = grey_at(image, min(MEASURED_PX, max(image.shape[:2])))
    return Look(small.shape[1] / small.shape[0], coarse, fine - cv2.GaussianBlur(fine, (0, 0), DETAIL_PX))


def grey_at(image: Image, long_side: int) -> Float:
    """(H, W, 3) -> (h, w) float32 with that long side."""
    height, width = image.shape[:2]
    scale = long_side / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    grey: Float = cv2.cvtColor(cv2.resize(image, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY).astype(np.float32)
    return grey


def correlation(first: Float, second: Float) -> float:
    """Of two pictures of one size, -1 to 1; 1 where one of them is flat."""
    spread = float(first.std() * second.std())
    return float(((first - first.mean()) * (second - second.mean())).mean()) / spread if spread > 1.0 else 1.0


def compared(pair: Pair) -> Pair | str:
    """The pair with how far one photo lies beside the other, or in a line why it cannot teach anything."""
    try:
        wide, shallow = look(pair.wide), look(pair.shallow)
    except UsageError as error:
        return str(error)
    height, width = wide.coarse.shape
    coarse = cv2.resize(shallow.coarse, (width, height))
    alike = correlation(wide.coarse, coarse)
    if abs(wide.aspect / shallow.aspect - 1.0) > SAME_SHAPE:
        return f"{pair.shallow}: another shape than {pair.wide}"
    if alike < ALIKE:
        return f"{pair.shallow}: shows something else than {pair.wide} (correlation {alike:.2f})"
    far = 0.0 if min(height, width) < LEAST_PX else max(map(abs, shift_of(wide.coarse, coarse)))
    if far > SHIFT * LOOK_PX:
        return f"{pair.shallow}: lies {100 * far / LOOK_PX:.0f} % beside {pair.wide}"
    height, width = wide.detail.shape
    if min(height, width) < LEAST_PX:
        return pair
    detail = cv2.resize(shallow.detail, (width, height), interpolation=cv2.INTER_AREA)
    right, down = shift_of(wide.detail, detail)
    most = max(abs(right), abs(down))
    moved = LEAST_SHIFT_PX <= most <= SHIFT * max(height, width) and helps(wide.detail, detail, right, down)
    return replace(pair, right=right / width, down=down / height) if moved else pair


def shift_of(first: Float, second: Float) -> tuple[float, float]:
    """How far right and down the second picture's content lies, in pixels, by phase correlation (Kuglin and Hines 1975)."""
    window = cv2.createHanningWindow(first.shape[::-1], cv2.CV_32F)
    (right, down), _ = cv2.phaseCorrelate(first, second, window)
    return float(right), float(down)


def helps(first: Float, second: Float, right: float, down: float) -> bool:
    """Whether the second picture is more like the first once it is moved back by so many pixels."""
    height, width = first.shape
    back = np.array([[1.0, 0.0, right], [0.0, 1.0, down]])
    moved = cv2.warpAffine(second, back, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    edge = math.ceil(SHIFT * max(height, width))
    inner = slice(edge, height - edge), slice(edge, width - edge)
    return correlation(first[inner], moved[inner]) > correlation(first[inner], second[inner])


def sorted_out(pairs: list[Pair]) -> tuple[list[Pair], list[str]]:
    """The pairs that can teach something, and a line for every other one."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(compared, pairs))
    return [pair for pair in found if isinstance(pair, Pair)], [line for line in found if isinstance(line, str)]


def sampled(pairs: list[Pair], number: int, seed: int) -> list[Pair]:
    """That many of the pairs, chosen by the seed, in their order; all of them with 0."""
    if not number:
        return pairs
    return [pairs[i] for i in sorted(np.random.default_rng(seed).permutation(len(pairs))[:number])]


def told(lines: list[str]) -> Iterator[str]:
    """The lines, shortened where they are many, and how many there are."""
    yield from lines[:LISTED]
    if len(lines) > LISTED:
        yield f"... and {len(lines) - LISTED} more"
    if lines:
        yield f"{len(lines)} left out"
