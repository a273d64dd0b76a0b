"""What a model is held against: simple ways to the same maps and the same look.

    python -m tests.bench.baselines DATA [--model DIR] [--count 40]

tries the guided filter's settings on training photos and prints the edge's error for each.
"""

import argparse
import random
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from bokehcli.colours import with_colours
from bokehcli.infer import Network, open_network
from bokehcli.model import find_model
from bokehcli.pyramid import base_state
from bokehcli.trainer.data import Library, find_items
from tests.bench.measures import band, iou, mean_error
from tests.bench.product import FOUND, NATIVE_PX

Image = NDArray[Any]
Float = NDArray[np.float32]

# The best of the settings below on 25 training photos whose subject is found; larger windows are worse than none.
GUIDED_RADIUS = 0.0016  # half the window's side as a share of the long side: one pixel at 640
GUIDED_EPS = 1e-3  # of guides in [0, 1]
RADII = 0.0016, 0.0032, 0.0064, 0.0128
EPSILONS = 1e-5, 1e-4, 1e-3, 1e-2


def mean_ellipse(mattes: list[Float]) -> tuple[float, float]:
    """Half axes (vertical, horizontal), as shares of the sides, of an ellipse of the mattes' mean area and shape."""
    area = np.mean([m.mean() for m in mattes])
    spread = []
    for m in mattes:
        rows, columns = m.sum(1), m.sum(0)
        if rows.sum() > 0:
            spread.append([np.sqrt(np.cov(np.arange(len(s)) / len(s), aweights=s)) for s in (rows, columns)])
    down, across = np.mean(spread, axis=0)
    scale = np.sqrt(area / (np.pi * down * across))
    return down * scale, across * scale


def ellipse(shape: tuple[int, ...], half: tuple[float, float]) -> Float:
    """A centred ellipse as a mask."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    inside = ((y + 0.5) / shape[0] - 0.5) ** 2 / half[0] ** 2 + ((x + 0.5) / shape[1] - 0.5) ** 2 / half[1] ** 2 <= 1
    mask: Float = inside.astype(np.float32)
    return mask


def enlarged_alpha(network: Network, image: Image) -> Float:
    """Alpha of the global network alone, its logits enlarged bilinearly to the photo's size: no octave."""
    logit = with_colours(network.global_state(image, None)[0], image)
    state = base_state(logit[None], (image.shape[0], image.shape[1]), octaves=0)
    return (network.alpha_of(state, 255) / np.float32(255.0)).astype(np.float32)


def guided(guide: Float, source: Float, radius_px: int, eps: float) -> Float:
    """Guided filter (He et al., Guided Image Filtering, TPAMI 2013, algorithm 1); guide and source (H, W) float32.

    Deviation: windows that reach over the picture's border are filled by reflection, not cut off.
    """
    window = 2 * radius_px + 1, 2 * radius_px + 1

    def mean(values: Float) -> Float:
        return np.asarray(cv2.boxFilter(values, cv2.CV_32F, window, borderType=cv2.BORDER_REFLECT), np.float32)

    mean_guide, mean_source = mean(guide), mean(source)
    covariance = mean(guide * source) - mean_guide * mean_source
    variance = mean(guide * guide) - mean_guide * mean_guide
    slope: Float = np.divide(covariance, variance + np.float32(eps), dtype=np.float32)
    offset = mean_source - slope * mean_guide
    return mean(slope) * guide + mean(offset)


def guided_alpha(image: Image, alpha: Float, radius: float = GUIDED_RADIUS, eps: float = GUIDED_EPS) -> Float:
    """An alpha refined along the photo's grey edges. radius: share of the long side."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32) / np.float32(255.0)
    filtered = guided(grey, alpha, max(1, round(radius * max(alpha.shape))), eps)
    return np.clip(filtered, np.float32(0.0), np.float32(1.0))


def main() -> None:
    """Print the error in the band for every setting, on training photos whose subject is found, at validation's size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", type=Path, default=None)
    parser.add_argument("--count", type=int, default=40, help="photos of each part, chosen by chance")
    arguments = parser.parse_args()
    network = open_network(find_model(arguments.model))
    for part in ("train", "hires"):
        items = [item for item in find_items(arguments.data) if item.part == part]
        random.Random(0).shuffle(items)
        library = Library(items[: arguments.count], NATIVE_PX)
        found = []
        for index in range(len(library)):
            photo, matte = library[index][0], library[index][1].astype(np.float32) / 255.0
            alpha = enlarged_alpha(network, photo)
            if iou(alpha, matte) > FOUND:
                found.append((photo, matte, alpha, band(matte)))
        print(f"{part}: {len(found)} photos found; enlarged {np.mean([mean_error(a, m, b) for _, m, a, b in found]):.4f}")
        for radius in RADII:
            errors = [np.mean([mean_error(guided_alpha(p, a, radius, eps), m, b) for p, m, a, b in found]) for eps in EPSILONS]
            print(f"radius {radius:g}:", "  ".join(f"eps {e:g} {error:.4f}" for e, error in zip(EPSILONS, errors, strict=True)))


if __name__ == "__main__":
    main()
