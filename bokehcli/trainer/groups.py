"""Groups: several cut-outs side by side, all of them in focus.

Mattes of real groups are few and the worst there are, so that a network which has seen no others loses one of four people.
"""

from collections.abc import Sequence

import numpy as np

from bokehcli.pixels import focus_hint
from bokehcli.trainer.data import Library, Sample
from bokehcli.trainer.scenes import Float, Image, blurred, box_of, layout, paste, placed, recolour, view, warp

MEMBERS = (2, 5)  # at least, at most
ON_OWN = 0.5  # share of groups that stand beside the photo's own subject; the others are put before the photo
KIN = 25  # members are looked for so many photos before and after the first: photos of one source are alike
HEIGHT = (0.35, 0.85)  # of a group, of the picture's height
BELOW = 0.35  # how much of it the lower border may cut off
TALL = (0.65, 1.1)  # a member's height, relative to the group's
OVERLAP = (-0.1, 0.35)  # of a member with the one beside it, of its width; negative with a gap between
WIDEST = 0.6  # a member's width, of the picture's
UNEVEN = 0.03  # standard deviation of the members' feet, of the group's height
UNSURE = 0.2  # of a member's matte, half in focus: what has more is no clear thing
TRIES = 20


def is_unsure(matte: Image) -> bool:
    """Whether much of a matte (H, W) uint8 is neither subject nor background."""
    return bool(np.count_nonzero((matte > 64) & (matte < 192)) > UNSURE * np.count_nonzero(matte > 127))


class Group:
    """A picture (S, S, 3) uint8 that members are added to, their common alpha (S, S), and where they are.

    members: alpha (S, S) of what is to be seen of each. feet: row of the line on which they stand; height: of the group;
    left, right: columns; all in pixels, outside of the picture too.
    """

    def __init__(self, picture: Image, alpha: Float, feet: float, height: float, columns: tuple[float, float]) -> None:
        self.picture = picture
        self.alpha = alpha
        self.members = [alpha.copy()] if alpha.any() else []
        self.feet = feet
        self.height = height
        self.left, self.right = columns

    def add(self, rng: np.random.Generator, pair: tuple[Image, Image]) -> bool:
        """Put a photo's subject at one end of the group, before or behind it. False, and nothing, where it does not fit."""
        size = len(self.alpha)
        box = box_of(pair[1])
        if box is None or is_unsure(pair[1]):
            return False
        feet = self.feet + rng.normal(0.0, UNEVEN) * self.height
        if box.bottom > 0.97 * len(pair[1]) and feet < size:  # what a border cuts, a border has to cut
            return False
        factor = self.height * rng.uniform(*TALL) / box.height
        half_w, half_h = factor * box.width / 2, factor * box.height / 2
        if 2 * half_w > WIDEST * size:
            return False
        inwards = 2 * half_w * rng.uniform(*OVERLAP)
        on_left = rng.random() < 0.5
        x = self.left + inwards - half_w if on_left else self.right - inwards + half_w
        if not 0 <= x <= size:
            return False
        flip = -1.0 if rng.random() < 0.5 else 1.0
        cut = placed(pair, box, np.diag([flip * factor, factor]), (x, feet - half_h), size)
        there = self.alpha[cut.box.slices]
        if rng.random() < 0.5:
            seen = cut._replace(alpha=cut.alpha * (1.0 - there))
        else:
            seen = cut
            for member in self.members:
                member[cut.box.slices] *= 1.0 - cut.alpha
        self.members.append(seen.whole(size))
        paste(self.picture, seen)
        there += cut.alpha * (1.0 - there)
        self.left, self.right = min(self.left, x - half_w), max(self.right, x + half_w)
        return True


def standing(rng: np.random.Generator, picture: Image, alpha: Float) -> Group | None:
    """The group of one that a photo's own subject is; None if there is none, or no room beside it."""
    size = len(alpha)
    box = box_of(np.rint(255 * alpha).astype(np.uint8))
    if box is None or box.height < HEIGHT[0] * size or box.width > WIDEST * size:
        return None
    cut = rng.uniform(0.0, BELOW) * box.height if box.bottom > 0.97 * size else 0.0
    return Group(picture, alpha, box.bottom + cut, box.height + cut, (box.left, box.right))


def nobody(rng: np.random.Generator, picture: Image) -> Group:
    """The place for a group before a photo."""
    size = len(picture)
    height = size * rng.uniform(*HEIGHT)
    feet = rng.uniform(height, size + BELOW * height)
    middle = size * rng.uniform(0.3, 0.7)
    return Group(picture, np.zeros((size, size), np.float32), feet, height, (middle, middle))


def group_of(rng: np.random.Generator, library: Library, pool: Sequence[int], size: int) -> Group:
    """A group at (size, size), beside the photo's own subject or of cut-outs alone; without members where nothing fits."""
    first = int(rng.integers(len(pool)))
    photo, matte = library[pool[first]]
    matrix = view(rng, photo.shape, size, (0.7, 1.0))
    photo, alpha = warp(photo, matte, matrix, size)
    own = standing(rng, photo, alpha) if rng.random() < ON_OWN else None
    if own is None:
        photo, matte = library[pool[int(rng.integers(len(pool)))]]
        photo, _ = warp(photo, matte, view(rng, photo.shape, size, (0.5, 1.0)), size)
        photo = blurred(rng, photo)  # it may have a subject of its own
    group = own or nobody(rng, photo)
    missing = int(rng.integers(MEMBERS[0], MEMBERS[1] + 1)) - (own is not None)
    for _ in range(TRIES):
        kin = (first + int(rng.integers(-KIN, KIN + 1))) % len(pool)
        missing -= group.add(rng, library[pool[kin]])
        if not missing:
            break
    group.picture = recolour(rng, group.picture)
    return group


def group_sample(rng: np.random.Generator, library: Library, pool: Sequence[int], size: int) -> Sample | None:
    """A group with all of its members in focus, at (size, size); None if there are none. Nobody points."""
    group = group_of(rng, library, pool, size)
    if not group.members:
        return None
    return Sample(group.picture, focus_hint((size, size), None), group.alpha, layout(group.alpha, rng), 1.0)
