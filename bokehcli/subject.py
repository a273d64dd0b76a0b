"""What of the places that the network takes for in focus makes a subject: those it is sure of, or the one pointed at."""

import numpy as np
from numpy.typing import NDArray

from bokehcli.opencv import cv2
from bokehcli.options import UNSURE_FROM, Unsure
from bokehcli.pixels import focus_hint, sigmoid
from bokehcli.tiling import Box

Float = NDArray[np.float32]

REACH = 0.3  # of the focus hint's height: 6 % of the long side
NOTHING = -8.0  # logit of alpha where nothing is in focus
# A global network's logit of alpha, trained to be a calibrated probability, is multiplied by this in its state: a lens wants a
# decision, and half in focus looks like a ghost. On 80 validation photos at 256 px the mean absolute error of alpha was 0.098
# with 1, 0.079 with 2, 0.075 with 3.
DECISION = 2.5
# Logit of alpha that a subject reaches somewhere, where min_clarity is 1. Of 5,001 photos of the hires and training parts in
# which a patch is clear enough 183 do not reach 0.8 of it. What was found in these has an IoU below 0.5 with the matte in 124,
# and one above 0.8 in 15 (`python -m tests.bench.doubt DATA`).
PEAK = 11.25
# Ambiguity from which a photo's mirror image is looked at as well: that of two in three of 308 photos of the hires and training
# parts. IoU of 160 validation photos is 0.890 if none is looked at twice, 0.9005 if those above are, 0.9009 if all are, and the
# error of the edge in the map 0.0633, 0.0603 and 0.0599.
AMBIGUOUS = 0.05
CANDIDATE = 0.25  # chance of being in focus from which what was not found may still be a part of the subject
# How much of its strength the blur has left at such doubts: all up to UNSURE_FROM, none where nearly all of it is wrong.
# Of the other 4,818 photos there 462 are above UNSURE_FROM, of which 9 are above 0.45. IoU is below 0.5 in 160 and in 8,
# and above 0.8 in 84 and in none. Of those up to UNSURE_FROM it is so in 114 and in 3,791.
DOUBTS = UNSURE_FROM, 0.24, 0.36, 0.45
SHARES = 1.0, 0.3, 0.3, 0.0
CERTAIN = 5.0  # highest logit of alpha from which a patch away from the point is a part of what is meant
# What is pointed at and what a network chose by itself are one thing from this IoU on. On 200 composites made of training
# photos and on 150 training photos' own subjects, IoU with what is pointed at is 0.769 and 0.781 with it, 0.768 and 0.761
# where nothing is added.
AGREED = 0.6
MOST_ADDED = 6.0
# Where somebody points, a window about the point of this share of the photo's sides is looked at as well, if no more than
# BEYOND of what was found lies outside. Of three windows and six such shares these are best on 400 composites made of
# training photos: IoU with what is pointed at 0.759 without a window, 0.771 with this one.
WINDOW = 0.75
BEYOND = 0.1


def without_doubtful(logit: Float, sure: float, min_clarity: float) -> Float:
    """The logit of alpha (h, w) without the patches in which alpha is in doubt.

    What `clear_patches` leaves, and nothing at all of a photo in which no logit reaches PEAK times min_clarity: there the
    network recognises nothing.
    """
    kept = clear_patches(logit, sure, min_clarity)
    if min_clarity > 0.0 and kept.max() < PEAK * min_clarity:
        kept = np.where(sigmoid(logit) > sure, np.minimum(logit, np.float32(NOTHING)), logit)
    return kept


def clear_patches(logit: Float, sure: float, min_clarity: float) -> Float:
    """The logit of alpha (h, w) without the patches that are not clear.

    A patch is a connected place where alpha is above `sure`, below which it counts as 0. Its clarity is the mean of alpha,
    0.5 to 1, over what of it is mostly in focus: a subject that the network recognises is near 1, a part of a landscape
    that just passes a half is not. Patches below min_clarity, and those nowhere mostly in focus, are out of focus.
    """
    alpha = sigmoid(logit)
    _, patches = cv2.connectedComponents((alpha > sure).astype(np.uint8), connectivity=8)
    most = alpha > 0.5
    counts = np.bincount(patches[most], minlength=int(patches.max()) + 1)
    sums = np.bincount(patches[most], alpha[most], minlength=len(counts))
    doubtful = sums < min_clarity * np.maximum(counts, 1)
    doubtful[0] = False
    kept: Float = np.where(doubtful[patches], np.minimum(logit, np.float32(NOTHING)), logit)
    return kept


def ambiguity(logit: Float) -> float:
    """How much is neither in focus nor out of it, by the logit of alpha (h, w): the sum of 4 alpha (1 - alpha) by the number of
    pixels in focus. An edge alone, which is so along a line, gives a little."""
    tanh = np.tanh(0.5 * logit)
    return float((1.0 - tanh * tanh).sum() / max(1, np.count_nonzero(logit > 0.0)))


def doubt(logit: Float) -> float:
    """How unsure a network is of what it found, 0 to 1, by its logit of alpha (h, w): 1 less the IoU to be expected.

    Were each pixel in focus with the chance that the network gives it, and the subject among the CANDIDATE ones, what was found
    would have that IoU with it. By the Dice coefficient instead this is the soft Dice confidence (Borges et al. 2024, arXiv
    2402.10665), which orders photos alike. True IoUs are lower, at a doubt of 0.1, 0.2 and 0.3 about 0.8, 0.65 and 0.45.
    """
    chance, found = sigmoid(logit / DECISION), logit > 0.0
    missed = chance[~found & (chance > CANDIDATE)].sum()
    return float(1.0 - chance[found].sum() / max(1.0, np.count_nonzero(found) + missed))


def share_of_strength(doubt: float, unsure: Unsure) -> float:
    """How much of the lens's strength a photo of such a `doubt` is blurred with, 0 to 1.

    A part of a subject that is blurred, or a thing that stays sharp for no reason, spoils a photo by as much as the blur is
    strong. So it falls from UNSURE_FROM on, without a step, to nothing, where `unsure` is gentle; where it is none there is
    nothing from there on.
    """
    if unsure is Unsure.NONE:
        return float(doubt <= UNSURE_FROM)
    if unsure is Unsure.FULL:
        return 1.0
    return float(np.interp(doubt, DOUBTS, SHARES))


def patches_of(logit: Float) -> NDArray[np.int32]:
    """(h, w) numbers from 1 of the connected places that are mostly in focus by their logit of alpha; 0 elsewhere."""
    patches: NDArray[np.int32] = cv2.connectedComponents((logit > 0.0).astype(np.uint8), connectivity=4)[1]
    return patches


def pixel_at(point: tuple[float, float], shape: tuple[int, ...]) -> tuple[int, int]:
    """Row and column of a point (x, y), shares of the sides, in a map of that shape."""
    height, width = shape
    return min(int(point[1] * height), height - 1), min(int(point[0] * width), width - 1)


def confirmed(logit: Float, chosen: Float, point: tuple[float, float]) -> Float:
    """The logit of alpha (h, w) of what is pointed at, with that of a network that chose by itself.

    That one knows single subjects better. Where its patch at the point and what is pointed at are AGREED to be one thing,
    their logits are added; else only the first counts.
    """
    patches, found = patches_of(chosen), pointed_at(logit, point) > 0.0
    number = patches[pixel_at(point, chosen.shape)]
    same = patches == number
    if number == 0 or np.count_nonzero(same & found) < AGREED * np.count_nonzero(same | found):
        return logit
    added = np.where(same | (patches == 0), chosen, np.float32(-MOST_ADDED))
    both: Float = logit + np.clip(added, -MOST_ADDED, MOST_ADDED)
    return both


def pointed_at(logit: Float, point: tuple[float, float]) -> Float:
    """The logit of alpha (h, w) without the patches that are not at the point (x, y), shares of the sides.

    The network marks what resembles the pointed place, and other things that stand out may remain. Here a patch is a
    connected place that is mostly in focus. Without one at the point those within REACH are meant; without any, everything.
    Of the others those stay of which the network is CERTAIN: parts of the same thing, which something in front divides, or
    several of a kind. What is nearer to a patch that goes than to one that stays goes with it.
    """
    patches, (row, column) = patches_of(logit), pixel_at(point, logit.shape)
    near = focus_hint(logit.shape, point) > REACH if patches[row, column] == 0 else np.zeros(logit.shape, np.bool_)
    near[row, column] = True
    meant = np.setdiff1d(patches[near], 0)
    if not meant.size:
        return logit
    stays = np.isin(patches, np.union1d(meant, np.setdiff1d(patches[logit > CERTAIN], 0)))
    goes = (patches > 0) & ~stays
    if not goes.any():
        return logit
    to_kept, to_others = (cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5) for mask in (stays, goes))
    kept: Float = np.where(to_others < to_kept, np.minimum(logit, np.float32(NOTHING)), logit)
    return kept


def window_about(
    point: tuple[float, float], state: tuple[int, int], photo: tuple[int, int]
) -> tuple[Box, Box, tuple[float, float]]:
    """The window about a point (x, y), shares of the sides: in the photo (height, width) and in the state, and the point in it.

    It is WINDOW of the sides, about the point as far as the picture reaches.
    """
    ends = []
    for share, length in zip(point[::-1], state, strict=True):
        side = round(WINDOW * length)
        first = min(max(round(share * length - side / 2), 0), length - side)
        ends.append((first, first + side, (share * length - first) / side))
    (top, bottom, y), (left, right, x) = ends
    place = Box(top, bottom, left, right)
    edges = [round(edge * photo[axis] / state[axis]) for axis, edge in zip((0, 0, 1, 1), place, strict=True)]
    return Box(*edges), place, (x, y)


def is_held(found: NDArray[np.bool_], place: Box) -> bool:
    """Whether no more than BEYOND of the pixels that were found lie outside a box."""
    inside, everywhere = np.count_nonzero(found[place.slices]), np.count_nonzero(found)
    return bool(everywhere - inside <= BEYOND * everywhere)
