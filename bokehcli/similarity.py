"""How alike two pictures are: PSNR, SSIM, and learned measures where the user has them. (H, W, 3) uint8 RGB each."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bokehcli.errors import MissingDependency, UsageError

Image = NDArray[np.uint8]
Measure = Callable[[Image, Image], float]

IDENTICAL_DB = 100.0  # stands for the infinite PSNR of identical pictures; one level in a million pixels is 108 dB
# Wang et al. 2004, section III C: a Gaussian window, and variances of the population.
SSIM_SETTINGS = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
SSIM_STATED = "scikit-image, Gaussian window of 1.5 px, RGB"
LEAST_PX = 11  # side of that window


def psnr_db(image: Image, reference: Image, where: NDArray[np.bool_] | None = None) -> float:
    """Peak signal-to-noise ratio over all pixels, or those of (H, W) `where`, and channels; NaN of nothing."""
    difference = image.astype(np.float32) - reference.astype(np.float32)
    squares = np.square(difference if where is None else difference[where])
    if not squares.size:
        return math.nan
    error = float(squares.mean())
    return min(IDENTICAL_DB, 10.0 * math.log10(255.0**2 / error)) if error > 0.0 else IDENTICAL_DB


def ssim(first: Image, second: Image) -> float:
    """Structural similarity, mean over the channels (SSIM_SETTINGS). Raises MissingDependency."""
    try:
        from skimage.metrics import structural_similarity
    except ImportError as error:
        raise MissingDependency("comparing needs the package scikit-image: pip install 'bokehcli[eval]'") from error
    return float(structural_similarity(first, second, channel_axis=2, **SSIM_SETTINGS))  # type: ignore[no-untyped-call]


def lpips() -> Measure:
    """LPIPS (Zhang et al. 2018, arXiv 1801.03924), AlexNet, of the package lpips. Raises MissingDependency."""
    try:
        import lpips as package
    except ImportError as error:
        raise MissingDependency("--lpips needs the package lpips and its weights: pip install lpips") from error
    return learned(package.LPIPS(net="alex", verbose=False).eval(), -1.0)


def dists() -> Measure:
    """DISTS (Ding et al. 2020, arXiv 2004.07728), of the package dists-pytorch. Raises MissingDependency."""
    try:
        import DISTS_pytorch as package
    except ImportError as error:
        raise MissingDependency("--dists needs the package dists-pytorch and its weights: pip install dists-pytorch") from error
    return learned(package.DISTS().eval(), 0.0)


def learned(network: Any, black: float) -> Measure:
    """A network's distance of two pictures, which it takes as (1, 3, H, W) from `black` to 1."""
    network.requires_grad_(False)
    weight = next(network.parameters())

    def tensor(image: Image) -> Any:
        unit = image.astype(np.float32).transpose(2, 0, 1)[None] / np.float32(255.0)
        return weight.new_tensor(black + (1.0 - black) * unit)

    return lambda first, second: float(network(tensor(first), tensor(second)))


def cropped(image: Image, border_px: int) -> Image:
    """The picture without its border. Raises UsageError if too little is left."""
    inner = image[border_px : image.shape[0] - border_px, border_px : image.shape[1] - border_px]
    if border_px < 0 or min(inner.shape[:2]) < LEAST_PX:
        raise UsageError(f"{image.shape[1]}x{image.shape[0]} is too small for a border of {border_px} pixels")
    return inner
