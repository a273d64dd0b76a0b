"""What the network does by now, as a picture: photo | target | rendered."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bokehcli import optics
from bokehcli.errors import WriteError
from bokehcli.opencv import cv2
from bokehcli.trainer.data import Image, Maker
from bokehcli.trainer.lens import render
from bokehcli.trainer.loop import Batch, collate, overview_of
from bokehcli.trainer.loss import STRENGTH
from bokehcli.trainer.network import LensNet, stretched

ROWS = 6
SIZE_PX = 256
SEED_OFFSET = 1 << 20  # previews show samples that training does not


def preview_batch(make: Maker, seed: int) -> Batch:
    """The samples that all previews of a run show."""
    return collate([make(seed + SEED_OFFSET, number, SIZE_PX, False) for number in range(ROWS)])


@torch.no_grad()
def write_preview(network: LensNet, batch: Batch, path: Path) -> None:
    """Write a JPEG of the batch: photo | target | rendered | alpha, a row each. `network` must be in eval mode."""
    size = batch.photo.shape[2:]
    maps, features = network.network.pyramid(overview_of(batch, SIZE_PX))
    state = torch.nn.functional.interpolate(network.network.state(maps[-1], features)[:, :2], size=size, mode="bilinear")
    alpha, defocus = stretched(state[:, :1]), torch.sigmoid(state[:, 1:])
    radius = optics.radius_px(STRENGTH, (size[0], size[1]))
    target = batch.target
    if target is None:
        target = render(batch.photo, batch.alpha, batch.defocus, radius)
    rendered = render(batch.photo, alpha, defocus, radius)
    columns = [batch.photo, target, rendered, alpha.expand(-1, 3, -1, -1)]
    sheet = torch.cat([torch.cat(list(column), 1) for column in columns], 2)
    ok, encoded = cv2.imencode(".jpg", to_bgr(sheet), [cv2.IMWRITE_JPEG_QUALITY, 90])
    if not ok:
        raise WriteError(str(path), "the preview cannot be encoded")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded.tobytes())


def to_bgr(image: Tensor) -> Image:
    """(3, H, W) in [0, 1] RGB -> (H, W, 3) uint8 BGR."""
    return np.ascontiguousarray(image.clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).numpy()[:, :, ::-1])
