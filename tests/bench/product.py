"""The product as the benchmarks run it: one place for what its maps look like, and one photo with all that is measured."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bokehcli.infer import Maps
from bokehcli.lens import render
from bokehcli.options import LensOptions, RunOptions
from bokehcli.pixels import from_unit
from bokehcli.subject import share_of_strength

Image = NDArray[Any]
Float = NDArray[np.float32]

FOUND = 0.8  # IoU above which a subject counts as found
NATIVE_PX = 640  # the largest long side of the validation photos


def alpha_of(maps: Maps) -> Float:
    """(H, W) float32 in [0, 1]."""
    return maps.alpha.astype(np.float32) / np.float32(255.0)


def lens_for(doubt: float, options: LensOptions) -> LensOptions:
    """The lens for a photo of such a doubt, as a run has it by default."""
    return options.gentler(share_of_strength(doubt, RunOptions.unsure))


def rendered(image: Image, alpha: Float, defocus: Float, options: LensOptions) -> Image:
    """`lens.render` of an alpha (H, W) float32 in [0, 1]."""
    return render(image, from_unit(alpha, np.uint8), defocus, options)


@dataclass(frozen=True)
class Case:
    """One validation photo at its own size with what the model made of it.

    photo: (H, W, 3) uint8. matte, alpha, enlarged: (H, W) float32, [0, 1]; alpha is the model's, enlarged that of its
    global network alone. defocus, doubt: as the model gives them, see `bokehcli.infer.Maps`. iou: of alpha with the matte.
    """

    name: str
    photo: Image
    matte: Float
    alpha: Float
    enlarged: Float
    defocus: Float
    doubt: float
    iou: float

    @property
    def found(self) -> bool:
        """Whether the subject was found; not a number is not."""
        return self.iou > FOUND

    def output(self, options: LensOptions) -> Image:
        """The photo as a run with such a lens renders it."""
        return rendered(self.photo, self.alpha, self.defocus, lens_for(self.doubt, options))
