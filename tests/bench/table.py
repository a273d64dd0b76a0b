"""The quality table: many photos' values into one, what it must hold, and how it is printed and written."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from tests.bench.sections import GAUSSIAN, GROUPS, OWN, SURE, UNSURE, WITH, WITHOUT, Rows

Table = dict[str, Rows]  # section -> row -> column -> value
Figure = Callable[[list[float]], float]

# The figures of a column that is not given by its mean alone: name -> how it is taken from the photos' values.
FIGURES: dict[tuple[str, str], dict[str, Figure]] = {
    ("kept", "PSNR dB"): {"median": np.median, "worst": np.min},
    ("halo", "outside"): {"mean": np.mean, "max": np.max},
    ("halo", "inside"): {"mean": np.mean, "max": np.max},
    ("tiles", "levels"): {"max": np.max},
    ("no subject", "in focus"): {"median": np.median},
}
TITLES = {
    "subject": "subject found: {photos} photos, long side {size_px}",
    "edge": "edge, own size, {photos} photos: band of 20 px around it; F at 0.008 of the diagonal and at 2 px",
    "edge found": "edge, the {found} photos with IoU > 0.8",
    "kept": "subject kept, the {found} photos with IoU > 0.8: output against photo, 100 dB stands for bit-equal",
    "halo": "halo, {photos} photos, strength 1: share of the other's light 3-30 px outside and inside of the edge",
    "target": "against the photo rendered with its matte and the trainer's layout of defocus, {photos} photos",
    "unsure": "how sure the network is of the subject, {photos} photos, own size",
    "tiles": "tiles, {tiled} photos brought to 3 MP: largest difference to an untiled run",
    "no subject": "no clear subject: {without} training photos of that kind, the only ones there are; share left as it is",
    "group": "groups: {groups} composites of two to five cut-outs side by side",
    "hint": "focus hint, {composites} composites of two ({far} point at the far one) and {own} photos: IoU with what is meant",
}
DIGITS = 4
OURS = "model"


def collected(section: str, each: Sequence[Rows]) -> Rows:
    """One section's rows from those of many photos: means, or FIGURES. NaN is left out, and nothing gives NaN."""
    gathered: dict[str, dict[str, list[float]]] = {}
    for rows in each:
        for row, columns in rows.items():
            for column, value in columns.items():
                values = gathered.setdefault(row, {}).setdefault(column, [])
                values += [] if math.isnan(value) else [value]
    return {row: figures_of(section, columns) for row, columns in gathered.items()}


def figures_of(section: str, columns: dict[str, list[float]]) -> dict[str, float]:
    """Column and figure -> value, from column -> values of the photos."""
    return {
        f"{column} {name}".strip(): float(figure(values)) if values else math.nan
        for column, values in columns.items()
        for name, figure in FIGURES.get((section, column), {"": np.mean}).items()
    }


def better(rows: Rows, column: str, sign: int) -> bool:
    """Whether the model is ahead of every other row. sign: 1 where more is better, -1 where less is."""
    return all(sign * rows[OURS][column] > sign * columns[column] for row, columns in rows.items() if row != OURS)


def ahead_at_edge(rows: Rows) -> bool:
    """Whether the model's edge is ahead in every column."""
    return better(rows, "MAE", -1) and better(rows, "F", 1) and better(rows, "F 2 px", 1)


# Section -> what is asked for, in words and as a check of the section's rows.
MUSTS: dict[str, tuple[str, Callable[[Rows], bool]]] = {
    "subject": (
        "IoU at least 0.75, MAE at most 0.07",
        lambda rows: rows[OURS]["IoU"] >= 0.75 and rows[OURS]["MAE"] <= 0.07,
    ),
    "edge": ("model ahead of both in every column", ahead_at_edge),
    "edge found": ("model ahead of both in every column", ahead_at_edge),
    "kept": (
        "median at least 40 dB, all bit-equal where alpha is 1",
        lambda rows: rows["matte - 5 px"]["PSNR dB median"] >= 40.0 and rows["and alpha = 1"]["bit-equal"] == 1.0,
    ),
    "halo": (
        "mean below 0.02 outside, matte given and model",
        lambda rows: all(rows[row]["outside mean"] < 0.02 for row in rows if GAUSSIAN not in row),
    ),
    "target": (
        "model ahead of both in both columns",
        lambda rows: better(rows, "PSNR dB", 1) and better(rows, "SSIM", 1),
    ),
    "unsure": ("IoU of the sure ones above that of the unsure ones", lambda rows: rows[SURE]["IoU"] > rows[UNSURE]["IoU"]),
    "tiles": ("1 level at most", lambda rows: all(columns["levels max"] <= 1.0 for columns in rows.values())),
    "no subject": (
        "at least 0.8 of them left alone, at most 0.02 of those with a subject",
        lambda rows: rows[WITHOUT]["left alone"] >= 0.8 and rows[WITH]["left alone"] <= 0.02,
    ),
    "group": (
        "IoU at least 0.75, at least half of 0.9 of the members",
        lambda rows: rows[GROUPS]["IoU"] >= 0.75 and rows[GROUPS]["members found"] >= 0.9,
    ),
    "hint": (
        "0.75 with the point, on composites and on photos",
        lambda rows: all(rows[row]["pointed"] >= 0.75 for row in ("all", OWN) if row in rows),
    ),
}


def printed(table: Table, counts: dict[str, int]) -> str:
    """The table as aligned text, each section with what it must hold and whether it does."""
    lines = []
    for section, rows in table.items():
        columns = list(dict.fromkeys(column for cells in rows.values() for column in cells))
        widths = [max(len(column), 7) for column in columns]
        must, met = MUSTS[section]
        lines += ["", TITLES[section].format(**counts)]
        lines.append(" " * 32 + "  ".join(f"{column:>{width}}" for column, width in zip(columns, widths, strict=True)))
        for row, cells in rows.items():
            values = (f"{cells[column]:{width}.4f}" for column, width in zip(columns, widths, strict=True))
            lines.append(f"  {row:30}" + "  ".join(values))
        lines.append(f"  must: {must}: {'met' if met(rows) else 'NOT MET'}")
    return "\n".join(lines[1:])


def written(table: Table) -> dict[str, dict[str, dict[str, float | None]]]:
    """The table for JSON, rounded; what could not be measured is null."""
    return {
        section: {row: {column: rounded(value) for column, value in cells.items()} for row, cells in rows.items()}
        for section, rows in table.items()
    }


def rounded(value: float) -> float | None:
    """To DIGITS digits after the point."""
    return round(value, DIGITS) if math.isfinite(value) else None
