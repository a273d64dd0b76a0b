"""Which samples a network is trained on: photos as they are, composites of one or two cut-outs, groups.

A sample is a pure function of (library, seed, number, size, fine, mix), so that a run that is resumed sees what an
undisturbed one would have seen, whatever the number of worker processes.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from bokehcli.model import POINTED
from bokehcli.trainer.data import Library, Sample
from bokehcli.trainer.groups import group_sample, is_unsure
from bokehcli.trainer.scenes import Pairing, composite, degrade, plain

FINE_FROM_PX = 512  # samples for the octaves above this size are made from the photos with the finest edges alone


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mix:
    """Shares of composites of two and of one object, and of groups; the rest are photos as they are.

    empty: share of photos without a clear subject, beside those that come by chance. hinted: how often somebody points at
    the subject of a photo as it is. sure: how often another photo is taken for one whose matte is in doubt.
    """

    pairing: Pairing
    two: float
    one: float = 0.0
    group: float = 0.0
    empty: float = 0.0
    sure: float = 0.0
    hinted: float


MIXED, UNPOINTED = "mixed", "unpointed"  # the third is POINTED
MIXES = {
    MIXED: Mix(pairing=Pairing(near_hinted=0.8, touching=0.5), two=0.50, one=0.04, empty=0.03, hinted=0.25),
    POINTED: Mix(
        pairing=Pairing(focus_far=0.55, near_hinted=1.0, touching=0.6, own=0.25, turned=0.4, varied=0.4), two=0.75, hinted=1.0
    ),
    UNPOINTED: Mix(
        pairing=Pairing(focus_far=0.0, near_hinted=0.0, touching=0.5, turned=0.3, varied=0.2, blurred=0.85),
        two=0.08,
        one=0.08,
        group=0.12,
        empty=0.04,
        sure=0.7,
        hinted=0.0,
    ),
}


def make_sample(library: Library, seed: int, number: int, size: int, fine: bool = False, mix: str = MIXED) -> Sample:
    """Sample `number` of a run with `seed`, at (size, size).

    fine: for the octaves; large ones from the sharpest photos. mix: a name in MIXES.
    """
    rng = np.random.default_rng((seed, number))
    pool: Sequence[int] = library.fine if fine and size > FINE_FROM_PX and library.fine else range(len(library))
    chance, shares = rng.random(), MIXES[mix]
    sample: Sample | None = None
    if chance < shares.two:
        sample = composite(rng, library, pool, size, 2, shares.pairing)
    elif chance < shares.two + shares.one:
        sample = composite(rng, library, pool, size, 1, shares.pairing)
    elif chance < shares.two + shares.one + shares.group:
        sample = group_sample(rng, library, pool, size)
    if sample is None:
        zoom = (0.6, 1.0) if rng.random() < (0.3 if fine else 0.6) else (0.97, 1.0)
        if not fine and library.empty and chance > 1.0 - shares.empty:
            pool = library.empty
        index = pool[int(rng.integers(len(pool)))]
        if shares.sure and pool is not library.empty and is_unsure(library[index][1]) and rng.random() < shares.sure:
            index = pool[int(rng.integers(len(pool)))]
        sample = plain(rng, library, index, size, zoom, shares.hinted)
    return dataclasses.replace(sample, photo=degrade(rng, sample.photo))
