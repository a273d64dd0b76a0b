"""Real pairs of a wide and a shallow photo in EBB! layout: original/NAME.EXT beside bokeh/NAME.EXT.

Ignatov et al., CVPRW 2020, section 3.1. Photos are read from disk as they are needed.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bokehcli.errors import UsageError
from bokehcli.opencv import cv2
from bokehcli.trainer.data import SUFFIXES, Sample

WIDE, SHALLOW = "original", "bokeh"
ZOOM = (0.6, 1.0)  # share of the short side that a square view covers


def is_pairs(data: Path) -> bool:
    """Whether a folder is laid out as pairs."""
    return (data / WIDE).is_dir() and (data / SHALLOW).is_dir()


def read_photo(path: Path) -> NDArray[Any]:
    """(H, W, 3) uint8 RGB. Raises UsageError if it cannot be decoded."""
    image = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise UsageError(f"{path}: cannot be decoded")
    rgb: NDArray[Any] = image[:, :, ::-1]
    return rgb


class Pairs:
    """The pairs of a folder; `sample` of them, chosen by `seed`, or all with 0."""

    def __init__(self, data: Path, sample: int = 0, seed: int = 0) -> None:
        wide = {path.stem: path for path in (data / WIDE).iterdir() if path.suffix.lower() in SUFFIXES}
        shallow = {path.stem: path for path in (data / SHALLOW).iterdir() if path.suffix.lower() in SUFFIXES}
        names = sorted(wide.keys() & shallow.keys())
        if not names:
            raise UsageError(f"{data}: no photo of {WIDE}/ has the same name as one of {SHALLOW}/")
        if sample:
            chosen = np.random.default_rng(seed).permutation(len(names))[:sample]
            names = [names[i] for i in sorted(chosen)]
        self.paths = [(wide[name], shallow[name]) for name in names]

    def __len__(self) -> int:
        return len(self.paths)

    def make(self, seed: int, number: int, size: int, fine: bool = False) -> Sample:
        """Sample `number`: the same square view of both photos, (size, size); the shallow one may differ in size."""
        rng = np.random.default_rng((seed, number))
        photos = [read_photo(path) for path in self.paths[int(rng.integers(len(self.paths)))]]
        share = rng.uniform(*ZOOM) * (0.5 if fine else 1.0)
        at_y, at_x, mirrored = rng.random(), rng.random(), rng.random() < 0.5
        views = []
        for photo in photos:
            side = max(1, round(min(photo.shape[:2]) * share))
            top, left = round(at_y * (photo.shape[0] - side)), round(at_x * (photo.shape[1] - side))
            crop = photo[top : top + side, left : left + side]
            view = cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA if side > size else cv2.INTER_LINEAR)
            views.append(np.ascontiguousarray(view[:, ::-1] if mirrored else view))
        empty = np.zeros((size, size), np.float32)
        return Sample(views[0], empty, empty, empty, 0.0, views[1])
