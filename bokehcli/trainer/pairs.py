"""Samples from real pairs of a wide and a shallow photo.

Photos are read from disk as they are needed, so that memory does not depend on how many pairs there are.
"""

import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bokehcli.errors import UsageError
from bokehcli.opencv import cv2
from bokehcli.pairs import SHALLOW, WIDE, Pair, find_pairs, read_photo, sampled, sorted_out
from bokehcli.trainer.data import VALIDATION_SHARE, Sample

Image = NDArray[Any]

ZOOM = (0.6, 1.0)  # share of the short side that a square view covers
HELD_OUT_FROM = 5  # pairs from which on some are kept for validation
TRIES = 8  # pairs that are tried where one has become unreadable


class Pairs:
    """The pairs of a folder that can teach something; `sample` of them, chosen by `seed`, or all with 0.

    paths: those to train on. held: those for validation, which are the same whatever is chosen. left_out: a line for each
    photo or pair that is not used, and why. Raises UsageError if none is left.
    """

    def __init__(self, data: Path, sample: int = 0, seed: int = 0) -> None:
        found, alone = find_pairs(data)
        if not found:
            raise UsageError(f"{data}: no photo of {WIDE}/ has the same name as one of {SHALLOW}/")
        good, faults = sorted_out(found)
        self.left_out = alone + faults
        if not good:
            raise UsageError(f"{data}: none of {len(found)} pairs can be used; the first: {faults[0]}")
        number = max(1, round(VALIDATION_SHARE * len(good))) if len(good) >= HELD_OUT_FROM else 0
        by_hash = sorted(good, key=lambda pair: zlib.crc32(pair.wide.stem.encode("utf-8", sys.getfilesystemencodeerrors())))
        self.held = sorted(by_hash[:number], key=lambda pair: pair.wide.stem)
        paths = sorted(by_hash[number:], key=lambda pair: pair.wide.stem)
        self.paths = sampled(paths, sample, seed)

    def __len__(self) -> int:
        return len(self.paths)

    def make(self, seed: int, number: int, size: int, fine: bool = False) -> Sample:
        """Sample `number` of those to train on."""
        return make_pair(self.paths, seed, number, size, fine)

    def make_held(self, seed: int, number: int, size: int, fine: bool = False) -> Sample:
        """Sample `number` of those for validation, or of all where there are too few."""
        return make_pair(self.held or self.paths, seed, number, size, fine)


def cut(photo: Image, top: float, left: float, side: int) -> Image:
    """A square of a photo, from a place between pixels if need be; beyond the border it is repeated."""
    matrix = np.array([[1.0, 0.0, left], [0.0, 1.0, top]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    square: Image = cv2.warpAffine(photo, matrix, (side, side), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return square


def make_pair(pairs: list[Pair], seed: int, number: int, size: int, fine: bool) -> Sample:
    """A sample as a pure function: the same square view of both photos, (size, size); the shallow one may differ in size.

    Where a photo has become unreadable, the next pair is taken, with a line on stderr. Raises UsageError if none is left.
    """
    rng = np.random.default_rng((seed, number))
    first = int(rng.integers(len(pairs)))
    share = rng.uniform(*ZOOM) * (0.5 if fine else 1.0)
    at_y, at_x, mirrored = rng.random(), rng.random(), rng.random() < 0.5
    for index in range(first, first + min(TRIES, len(pairs))):
        pair = pairs[index % len(pairs)]
        try:
            photos = [read_photo(pair.wide), read_photo(pair.shallow)]
            break
        except UsageError as error:
            print(f"bokeh train: {error}", file=sys.stderr, flush=True)
    else:
        raise UsageError(f"{pairs[first].wide.parent.parent}: the photos cannot be read any more")
    views = []
    for photo, right, down in zip(photos, (0.0, pair.right), (0.0, pair.down), strict=True):
        height, width = photo.shape[:2]
        side = max(1, round(min(height, width) * share))
        top, left = at_y * (height - side) + down * height, at_x * (width - side) + right * width
        if not (right or down):
            top, left = round(top), round(left)
        crop = cut(photo, top, left, side)
        view = cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA if side > size else cv2.INTER_LINEAR)
        views.append(np.ascontiguousarray(view[:, ::-1] if mirrored else view))
    empty = np.zeros((size, size), np.float32)
    return Sample(views[0], empty, empty, empty, 0.0, views[1])
