"""The product as the benchmarks run it: one place for what its maps look like, and one photo with all that is measured."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bokehcli.infer import Maps
from bokehcli.lens import render
from bokehcli.options import LensOptions
from bokehcli.pixels import from_unit

Image = NDArray[Any]
Float = NDArray[np.float32]

FOUND = 0.8  # IoU above which a subject counts as found
NATIVE_PX = 640  # the largest long side of the validation photos


def alpha_of(maps: Maps) -> Float:
    """(H, W) float32 in [0, 1]."""
    return maps.alpha.astype(np.float32) / np.float32(255.0)


def rendered(image: Image, alpha: Float, defocus: Float, options: LensOptions) -> Image:
    """`lens.render` of an alpha (H, W) float32 in [0, 1]."""
    return render(image, from_unit(alpha, np.uint8), defocus, options)


@dataclass(frozen=True)
class Case:
    """One validation photo at its own size with what the model made of it.

    photo: (H, W, 3) uint8. matte, alpha, enlarged: (H, W) float32, [0, 1]; alpha is the model's, enlarged that of its
    global network alone. defocus: float32, [0, 1], as the model gives it. iou: of alpha with the matte.
    """

    name: str
    photo: Image
    matte: Float
    alpha: Float
    enlarged: Float
    defocus: Float
    iou: float

    @property
    def found(self) -> bool:
        """Whether the subject was found; not a number is not."""
        return self.iou > FOUND
