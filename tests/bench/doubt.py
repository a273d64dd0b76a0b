"""How well a network's doubt tells where what it found is wrong, on photos with mattes.

    python -m tests.bench.doubt DATA [--model DIR] [--parts train,hires] [--every N]

What is found in a photo, patches that are not clear left out, is held against its matte, at the size of the global state and
with what the photo's colours say; where the folder's index says that there is no clear subject, its IoU is 0. Printed are, by
the highest logit of alpha (`bokehcli.subject.PEAK`) and by the doubt (`bokehcli.subject.DOUBTS`), how many photos there are
and what was found in them; and the area under the ROC curve of the doubt, and of the ambiguity, as measures that tell photos
with an IoU below 0.6 from others. Two cores take seven minutes over all parts.
"""

import argparse
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from scipy.stats import mannwhitneyu

from bokehcli.colours import with_colours
from bokehcli.infer import Network, open_network
from bokehcli.model import find_lens_model
from bokehcli.options import UNSURE_FROM, InferOptions, RunOptions
from bokehcli.pixels import resize, sigmoid
from bokehcli.resources import usable_cores
from bokehcli.subject import DOUBTS, PEAK, ambiguity, clear_patches, doubt
from bokehcli.trainer.data import Library, find_items
from tests.bench.measures import iou
from tests.bench.product import NATIVE_PX
from tests.bench.quality import unit_matte, without_subject

CLARITY = InferOptions.min_clarity
PEAKS = 0.0, 6.0, 7.0, 8.0, PEAK * CLARITY, 10.0, 12.0, 15.0, math.inf
EDGES = 0.0, 0.05, 0.1, 0.14, UNSURE_FROM, 0.21, *DOUBTS[1:], 1.0
WRONG, MOSTLY_WRONG, RIGHT = 0.5, 0.6, 0.8  # IoU


@dataclass(frozen=True)
class Found:
    """What was found in a photo: its IoU with the matte, its highest logit of alpha, and how unsure the network is of it."""

    iou: float
    peak: float
    doubt: float
    ambiguity: float


def found_in(network: Network, library: Library, index: int, no_subject: bool) -> Found | None:
    """None where too little is found. network: with a min_clarity of 0, so that it leaves nothing out."""
    photo = library[index][0]
    logit = clear_patches(network.global_state(photo, None)[0], network.card.sure, CLARITY)
    alpha = sigmoid(with_colours(logit, photo))
    if np.count_nonzero(alpha > 0.5) < RunOptions.min_subject * alpha.size:
        return None
    right = iou(alpha, resize(unit_matte(library, index), (alpha.shape[0], alpha.shape[1])))
    return Found(0.0 if no_subject or math.isnan(right) else right, float(logit.max()), doubt(logit), ambiguity(logit))


def all_found(network: Network, library: Library, no_subject: set[str]) -> list[Found]:
    """What was found in each photo of a library in which there is something, several at a time."""

    def look(index: int) -> Found | None:
        return found_in(network, library, index, library.items[index].name in no_subject)

    with ThreadPoolExecutor(usable_cores()) as pool:
        return [each for each in pool.map(look, range(len(library))) if each is not None]


def lines(photos: Sequence[Found], name: str, edges: Sequence[float], value: Callable[[Found], float]) -> Iterator[str]:
    """A table of the photos by a value."""
    yield f"{name:>18}  photos  mean IoU  below {WRONG}  above {RIGHT}"
    for low, high in pairwise(edges):
        ious = np.array([photo.iou for photo in photos if low < value(photo) <= high])
        if ious.size:
            wrong, right = np.count_nonzero(ious < WRONG), np.count_nonzero(ious > RIGHT)
            yield f"{f'{low:.4g} to {high:.4g}':>18}  {ious.size:6}  {ious.mean():8.3f}  {wrong:9}  {right:9}"


def area_under_roc(photos: Sequence[Found], value: Callable[[Found], float]) -> float:
    """The chance that of a photo found wrongly and another one the first has the higher value: Mann and Whitney's U, scaled."""
    wrong = [value(photo) for photo in photos if photo.iou < MOSTLY_WRONG]
    others = [value(photo) for photo in photos if photo.iou >= MOSTLY_WRONG]
    return float(mannwhitneyu(wrong, others).statistic / (len(wrong) * len(others))) if wrong and others else math.nan


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", type=Path, default=None)
    parser.add_argument("--parts", default="train,hires", help="of the folder, by comma")
    parser.add_argument("--every", type=int, default=1, help="take every Nth photo")
    arguments = parser.parse_args()
    every = find_items(arguments.data)
    items = [item for item in every if item.part in arguments.parts.split(",")][:: arguments.every]
    network = open_network(find_lens_model(arguments.model), InferOptions(threads=1, min_clarity=0.0))
    no_subject = {item.name for item in without_subject(arguments.data, items)}
    photos = all_found(network, Library(items, NATIVE_PX, cache_bytes=0), no_subject)
    clear = [photo for photo in photos if photo.peak >= PEAK * CLARITY]
    print(f"something is found in {len(photos)} of {len(items)} photos, and with a peak in {len(clear)}")
    print(*lines(photos, "peak", PEAKS, lambda photo: photo.peak), sep="\n")
    print(*lines(clear, "doubt", EDGES, lambda photo: photo.doubt), sep="\n")
    for name, some in (("all", photos), ("with a peak", clear)):
        areas = [area_under_roc(some, value) for value in (lambda photo: photo.doubt, lambda photo: photo.ambiguity)]
        print("area under the ROC curve, {}: doubt {:.3f}, ambiguity {:.3f}".format(name, *areas))


if __name__ == "__main__":
    main()
