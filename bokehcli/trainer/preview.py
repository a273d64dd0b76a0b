"""What the network does by now, as a picture: photo | target | result."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bokehcli.errors import WriteError
from bokehcli.opencv import cv2
from bokehcli.trainer.batch import Batch, collate
from bokehcli.trainer.data import Image, Maker
from bokehcli.trainer.folder import writing

ROWS = 6
SEED_OFFSET = 1 << 20  # previews show samples that training does not


def preview_batch(make: Maker, seed: int, size_px: int) -> Batch:
    """The samples that all previews of a run show."""
    return collate([make(seed + SEED_OFFSET, number, size_px, False) for number in range(ROWS)])


def write_preview(columns: list[Tensor], path: Path) -> None:
    """Write a JPEG of the columns that a kind of network shows, (N, 3, H, W) each in [0, 1]; a row for each sample.

    Raises WriteError.
    """
    sheet = torch.cat([torch.cat(list(column.float().cpu()), 1) for column in columns], 2)
    ok, encoded = cv2.imencode(".jpg", to_bgr(sheet), [cv2.IMWRITE_JPEG_QUALITY, 90])
    if not ok:
        raise WriteError(str(path), "the preview cannot be encoded")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded.tobytes())


def to_bgr(image: Tensor) -> Image:
    """(3, H, W) in [0, 1] RGB -> (H, W, 3) uint8 BGR."""
    return np.ascontiguousarray(image.clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).numpy()[:, :, ::-1])
