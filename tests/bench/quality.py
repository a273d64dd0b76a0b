"""How good a model is, on the validation part of a data folder: subject, edge, halo, likeness, tiles, groups, focus
hint, photos without a clear subject.

    python -m tests.bench.quality DATA [--model DIR] [--write-card] [--json] [--limit N] [--worst OUT.jpg]

Photos are measured at their own size (long side up to 640) unless a section says otherwise, and rendered with the
default lens. Where each measure comes from stands in measures.py, what it is taken of in sections.py, and what the model
is held against in baselines.py. SSIM is that of scikit-image on luma, Gaussian window of sigma 1.5. Two cores take
about five minutes.
"""

import argparse
import csv
import dataclasses
import json
import sys
from collections.abc import Iterator, Sequence
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bokehcli.infer import Network, open_network
from bokehcli.model import ModelCard, find_model
from bokehcli.trainer.data import VALIDATION_PART, Item, Library, find_items
from tests.bench import sections
from tests.bench.baselines import enlarged_alpha, mean_ellipse
from tests.bench.measures import iou
from tests.bench.product import NATIVE_PX, Case, alpha_of
from tests.bench.sections import LENS, SIZE_PX, Pointed, Rows
from tests.bench.sheet import write_sheet
from tests.bench.table import Table, collected, printed, written
from tests.bench.worst import worst_rows

Float = NDArray[np.float32]

COMMAND = "python -m tests.bench.quality DATA --write-card"
COMPOSITES = 400  # of 100 the mean IoU had a standard error of 0.028
GATHERED = 250  # groups are tried; some have no second member that shows
TILED = 40  # photos, spread over the validation part


@dataclasses.dataclass(frozen=True)
class Measured:
    """What was measured on one photo: section -> row -> column -> value."""

    iou: float
    found: bool
    table: Table


def case_of(network: Network, library: Library, index: int) -> Case:
    """A validation photo and what the model makes of it."""
    photo, matte = library[index][0], unit_matte(library, index)
    maps = network.predict(photo)
    alpha = alpha_of(maps)
    name = library.items[index].name
    enlarged = enlarged_alpha(network, photo)
    return Case(name, photo, matte, alpha, enlarged, maps.defocus, maps.doubt, iou(alpha, matte))


def unit_matte(library: Library, index: int) -> Float:
    """(H, W) float32 in [0, 1]."""
    return library[index][1].astype(np.float32) / np.float32(255.0)


def measured(network: Network, case: Case, half: tuple[float, float]) -> Measured:
    """Everything that is measured on one photo. half: axes of the mean ellipse."""
    output = case.output(LENS)
    table = {
        "subject": sections.subject(network, case.photo, case.matte, half),
        "edge": sections.edge(case),
        "halo": sections.halo(case),
        "target": sections.target(case, output),
        "unsure": sections.unsure(case),
    }
    if case.found:
        table |= {"edge found": table["edge"], "kept": sections.kept(case, output)}
    return Measured(case.iou, case.found, table)


def composites(library: Library, number: int) -> Iterator[Pointed]:
    """The first `number` composites in which something is pointed at."""
    made = (sections.pointed(library, each) for each in count())
    return islice((composite for composite in made if composite is not None), number)


def assembled(
    photos: list[Measured], tiled: list[Rows], hinted: list[Rows], empty: list[Rows], grouped: list[Rows]
) -> tuple[Table, dict[str, int]]:
    """The whole table, and what its titles count."""
    each = {name: [photo.table[name] for photo in photos if name in photo.table] for name in sections.OF_A_PHOTO}
    each |= {"tiles": tiled, "no subject": empty, "group": grouped, "hint": hinted}
    table = {name: collected(name, rows) for name, rows in each.items() if rows}
    counts = {
        "photos": len(photos),
        "found": len([photo for photo in photos if photo.found]),
        "size_px": SIZE_PX,
        "tiled": len(tiled),
        "composites": len([rows for rows in hinted if "all" in rows]),
        "groups": len([rows for rows in grouped if rows]),
        "own": len([rows for rows in hinted if sections.OWN in rows]),
        "without": len([rows for rows in empty if sections.WITHOUT in rows]),
        "far": len([rows for rows in hinted if sections.FAR in rows]),
    }
    return table, counts


def without_subject(data: Path, items: list[Item]) -> list[Item]:
    """The items of which the folder's index says that they have no clear subject."""
    index = data / "index.csv"
    if not index.exists():
        return []
    with index.open(newline="") as file:
        names = {row["name"] for row in csv.DictReader(file) if row["kind"] == "none"}
    return [item for item in items if item.name in names]


def alone(network: Network, library: Library, chosen: Sequence[int], row: str) -> list[Rows]:
    """The rows of `sections.alone` of some photos."""
    return [sections.alone(network, library[index][0], row) for index in chosen]


def shown(what: str, number: int, of: int) -> None:
    """Progress, on one line of the error stream where that is a terminal."""
    if sys.stderr.isatty():
        print(f"\r{what} {number}/{of}  ", end="\n" if number == of else "", file=sys.stderr, flush=True)


def write_card(card: ModelCard, quality: dict[str, Any]) -> None:
    """Put what was measured into the model's card."""
    dataclasses.replace(card, about=card.about | {"quality": quality}).save()


def main() -> None:
    """Print the table, or write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", type=Path, default=None)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write-card", action="store_true", help="put the table into the model's card")
    parser.add_argument("--limit", type=int, default=0, help="measure at most so many photos and composites; 0 is all")
    parser.add_argument("--worst", type=Path, metavar="OUT.jpg", help="contact sheet of the twenty photos of lowest IoU")
    arguments = parser.parse_args()
    card = find_model(arguments.model)
    network = open_network(card)
    every = find_items(arguments.data)
    items = [item for item in every if item.part == VALIDATION_PART]
    if not items:
        parser.error(f"{arguments.data} has no validation part")
    library = Library(items, NATIVE_PX)
    half = mean_ellipse([unit_matte(library, index) for index in range(len(library))])
    chosen = range(0, len(library), -(-len(library) // arguments.limit) if arguments.limit else 1)
    photos, hinted = [], []
    for number, index in enumerate(chosen, 1):
        case = case_of(network, library, index)
        photos.append(measured(network, case, half))
        hinted.append(sections.own_hint(network, case, index))
        shown("photo", number, len(chosen))
    tiled = [sections.tiles(network, library[index][0]) for index in chosen[:: -(-len(chosen) // TILED)]]
    for number, composite in enumerate(composites(library, arguments.limit or COMPOSITES), 1):
        hinted.append(sections.hint(network, composite))
        shown("composite", number, arguments.limit or COMPOSITES)
    grouped = []
    for number in range(1, (arguments.limit or GATHERED) + 1):
        grouped.append(sections.group(network, library, number))
        shown("group", number, arguments.limit or GATHERED)
    empty = Library(without_subject(arguments.data, every)[: arguments.limit or None], NATIVE_PX)
    unclear = alone(network, empty, range(len(empty)), sections.WITHOUT)
    unclear += alone(network, library, chosen, sections.WITH) if unclear else []
    table, counts = assembled(photos, tiled, hinted, unclear, grouped)
    command = COMMAND + (f" --limit {arguments.limit}" if arguments.limit else "")
    quality = {"counts": counts, "table": written(table), "command": command}
    if arguments.write_card:
        write_card(card, quality)
    if arguments.worst:
        order = sorted(range(len(photos)), key=lambda number: photos[number].iou)
        write_sheet(arguments.worst, worst_rows(case_of(network, library, chosen[number]) for number in order[:20]))
    print(json.dumps(quality) if arguments.json else printed(table, counts))


if __name__ == "__main__":
    main()
