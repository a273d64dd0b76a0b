"""Samples as the networks take them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from bokehcli import optics
from bokehcli.trainer.data import Sample
from bokehcli.trainer.lens import render

STRENGTH = 1.0  # of the lens through which networks are trained


@dataclass(frozen=True)
class Batch:
    """photo (N, 3, S, S), hint, alpha, defocus (N, 1, S, S) float32 in [0, 1]; weight (N,); target as photo or None.

    As workers make it, pictures are uint8 and maps float16: a third of the bytes, which pass through shared memory and to a
    GPU. `to` makes them float32.
    """

    photo: Tensor
    hint: Tensor
    alpha: Tensor
    defocus: Tensor
    weight: Tensor
    target: Tensor | None = None

    def to(self, device: torch.device) -> "Batch":
        """The batch on a device, float32."""
        moved: dict[str, Any] = {
            name: None if x is None else unit(x.to(device, non_blocking=True)) for name, x in vars(self).items()
        }
        return Batch(**moved)

    def parts(self, number: int) -> Iterator["Batch"]:
        """The batch in so many parts, or as many as it has pictures, as even as can be."""
        tensors = {name: x for name, x in vars(self).items() if x is not None}
        for pieces in zip(*(x.tensor_split(min(number, len(x))) for x in tensors.values()), strict=True):
            yield Batch(**dict(zip(tensors, pieces, strict=True)))

    def pin_memory(self) -> "Batch":
        """The batch in memory from which a GPU copies by itself; the loader calls this."""
        pinned: dict[str, Any] = {name: None if x is None else x.pin_memory() for name, x in vars(self).items()}
        return Batch(**pinned)


def unit(x: Tensor) -> Tensor:
    """uint8 or floating point -> float32 in [0, 1]."""
    return x.float().div(255.0) if x.dtype == torch.uint8 else x.float()


def stacked(samples: list[Sample]) -> Batch:
    """Samples as they travel: pictures uint8, maps float16."""

    def stack(name: str) -> Tensor:
        return torch.stack([torch.from_numpy(getattr(sample, name)) for sample in samples])

    def picture(name: str) -> Tensor:
        return stack(name).permute(0, 3, 1, 2)

    hint, alpha, defocus = (stack(name)[:, None].half() for name in ("hint", "alpha", "defocus"))
    weight = torch.tensor([sample.weight for sample in samples])
    return Batch(picture("photo"), hint, alpha, defocus, weight, picture("target") if samples[0].target is not None else None)


def collate(samples: list[Sample]) -> Batch:
    """Samples as the networks take them, on the CPU."""
    return stacked(samples).to(torch.device("cpu"))


def layout_on(device: torch.device) -> torch.memory_format:
    """How pictures and kernels lie in memory there: channels last where that is faster and, batch norm included, right."""
    return torch.channels_last if device.type in ("cpu", "cuda") else torch.contiguous_format


def averaged(x: Tensor, size: tuple[int, int]) -> Tensor:
    """(N, C, H, W) as the means of areas, (N, C, *size).

    Apple's GPUs take sizes that divide H and W alone; other ones are computed on the CPU there, to the same result.
    """
    if x.device.type == "mps" and (x.shape[2] % size[0] or x.shape[3] % size[1]):
        return F.adaptive_avg_pool2d(x.cpu(), size).to(x.device)
    return F.adaptive_avg_pool2d(x, size)


def overview_of(batch: Batch, size: int) -> Tensor:
    """(N, 4, size, size): the batch's photos and hints as the global levels see them."""
    x = torch.cat((batch.photo, batch.hint), 1)
    if x.shape[2] > size:
        x = averaged(x, (size, size))
    elif x.shape[2] < size:
        x = F.interpolate(x, size=(size, size), mode="bilinear", align_corners=False)
    return x.contiguous(memory_format=layout_on(x.device))


def target_of(batch: Batch) -> Tensor:
    """(N, 3, S, S) in [0, 1]: the shallow photo of a pair, or what the lens makes of the photo with its true maps."""
    if batch.target is not None:
        return batch.target
    radius = optics.radius_px(STRENGTH, (batch.photo.shape[2], batch.photo.shape[3]))
    return render(batch.photo, batch.alpha, batch.defocus, radius)
