"""Contact sheet of the photos on which a model does worst: a row each of photo | matte | predicted alpha | rendered."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.bench.product import Case
from tests.bench.sections import LENS
from tests.bench.sheet import fitted, labelled


def worst_rows(cases: Iterable[Case]) -> list[NDArray[Any]]:
    """A labelled row for each photo."""
    return [row_of(case) for case in cases]


def row_of(case: Case) -> NDArray[np.uint8]:
    """One photo's row, with its name and IoU."""
    cells = [fitted(picture) for picture in (case.photo, case.matte, case.alpha, case.output(LENS))]
    return labelled(cells, f"{case.name}  IoU {case.iou:.3f}  doubt {case.doubt:.2f}")
