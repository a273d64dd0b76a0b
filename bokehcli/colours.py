"""What a photo's own colours say of its subject, where the network is in doubt.

A network knows what it saw in other photos; what is peculiar to one is which colours its subject has and its background has
not. They are counted where the network is sure, and where it is not the logarithm of the ratio of a colour's shares in both is
added to its logit: the terms for a single pixel of interactive graph cuts (Boykov & Jolly 2001), without the cuts.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bokehcli.opencv import cv2
from bokehcli.pixels import resize, to_8_bits
from bokehcli.subject import patches_of

Image = NDArray[Any]
Float = NDArray[np.float32]

# Logits of alpha from which a place is surely in focus, and below which it surely is not: chances of 0.83 and 0.23, see
# `bokehcli.subject.DECISION`. Only what lies between is changed.
FOUND, REST = 4.0, -3.0
FEWEST = 50  # pixels of the map of either kind; fewer have no colours to speak of
TIMES = 2  # the photo is looked at in so many times the size of the map
BINS = 48  # along each axis of CIELAB in 8 bits
LEAST = 2e-6  # share that every colour has
WEIGHT, LARGEST = 1.3, 4.0  # of the logarithm, and its largest value
WINDOW = (3, 3)  # pixels of the map over which it is averaged


def with_colours(logit: Float, image: Image) -> Float:
    """The logit of alpha (h, w), changed where it is in doubt by what the colours say.

    image: the photo (H, W, 3), uint8 or uint16, of any size, RGB. What was found grows or shrinks; colours alone make no patch.
    Nothing changes where little is surely in focus, or surely not.
    """
    if min(np.count_nonzero(logit > FOUND), np.count_nonzero(logit < REST)) < FEWEST:
        return logit
    height, width = logit.shape
    colours = colours_of(to_8_bits(resize(image, (TIMES * height, TIMES * width))))
    finer = resize(logit, colours.shape)
    found, rest = finer > FOUND, finer < REST
    doubtful = ~(found | rest)
    log_ratio = np.zeros(finer.shape, np.float32)
    subject, background = (histogram(colours[seen])[colours[doubtful]] for seen in (found, rest))
    log_ratio[doubtful] = np.clip(np.log(subject / background), -LARGEST, LARGEST)
    changed: Float = logit + np.float32(WEIGHT) * cv2.blur(resize(log_ratio, (height, width)), WINDOW)
    patches = patches_of(changed)
    of_colours = (patches > 0) & ~np.isin(patches, patches[logit > 0.0])
    changed[of_colours] = logit[of_colours]
    return changed


def colours_of(picture: NDArray[np.uint8]) -> NDArray[np.int32]:
    """(h, w, 3) uint8 RGB -> (h, w), the number of the bin of each pixel's colour."""
    lightness, green_red, blue_yellow = cv2.split(cv2.cvtColor(picture, cv2.COLOR_RGB2LAB).astype(np.int32) * BINS // 256)
    numbers: NDArray[np.int32] = (lightness * BINS + green_red) * BINS + blue_yellow
    return numbers


def histogram(colours: NDArray[np.int32]) -> NDArray[np.float64]:
    """(BINS^3), normalised: the share that each bin has of some pixels (n), given by the numbers of their bins, and LEAST."""
    return np.bincount(colours, minlength=BINS**3) / max(1, colours.size) + LEAST
