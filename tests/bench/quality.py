"""How well a model finds the subject: mean IoU and alpha error on the validation part of a data folder.

    python -m tests.bench.quality DATA [--model DIR] [--long-side 512]

Beside the model stand two baselines: nothing in focus, and one centred ellipse of the mattes' mean area and shape.
"""

import argparse
import dataclasses
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bokehcli.infer import open_network
from bokehcli.model import find_model
from bokehcli.trainer.data import Library, find_items

COMMAND = "python -m tests.bench.quality DATA --write-card"
SIZE_PX = 512  # long side at which alpha is compared
EMPTY = 0.005  # mattes below this share of the picture have no subject: no IoU is taken


def scores(alpha: NDArray[np.float32], matte: NDArray[np.float32]) -> tuple[float, float]:
    """IoU of alpha > 0.5 (NaN where the matte is empty) and mean absolute error."""
    found, true = alpha > 0.5, matte > 0.5
    either = np.count_nonzero(found | true)
    iou = np.count_nonzero(found & true) / either if true.mean() > EMPTY else float("nan")
    return iou, float(np.abs(alpha - matte).mean())


def mean_ellipse(mattes: list[NDArray[np.float32]]) -> tuple[float, float]:
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


def ellipse(shape: tuple[int, ...], half: tuple[float, float]) -> NDArray[np.float32]:
    """A centred ellipse as a mask."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    inside = ((y + 0.5) / shape[0] - 0.5) ** 2 / half[0] ** 2 + ((x + 0.5) / shape[1] - 0.5) ** 2 / half[1] ** 2 <= 1
    return inside.astype(np.float32)


def main() -> None:
    """Print the table, and as JSON with --json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", type=Path, default=None)
    parser.add_argument("--long-side", type=int, default=0, help="of the global network's picture; 0 is the card's")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write-card", action="store_true", help="put the table into the model's card")
    arguments = parser.parse_args()
    card = find_model(arguments.model)
    if arguments.long_side:
        card = dataclasses.replace(card, long_side=arguments.long_side)
    network = open_network(card)
    library = Library([item for item in find_items(arguments.data) if item.part == "val"], SIZE_PX)
    pairs = [library[i] for i in range(len(library))]
    mattes = [matte.astype(np.float32) / 255.0 for _, matte in pairs]
    half = mean_ellipse(mattes)
    alphas = {
        "model": [network.predict(photo).alpha for photo, _ in pairs],
        "centred ellipse": [ellipse(m.shape, half) for m in mattes],
        "nothing in focus": [np.zeros_like(m) for m in mattes],
    }
    table = {}
    for name, predicted in alphas.items():
        each = [scores(alpha, matte) for alpha, matte in zip(predicted, mattes, strict=True)]
        table[name] = {"iou": float(np.nanmean([e[0] for e in each])), "mae": float(np.mean([e[1] for e in each]))}
    if arguments.write_card:
        about = card.about | {"quality": {"photos": len(pairs), "size_px": SIZE_PX, "scores": table, "command": COMMAND}}
        dataclasses.replace(card, about=about).save()
    if arguments.json:
        print(json.dumps({"photos": len(pairs), "size_px": SIZE_PX, "scores": table}))
        return
    print(f"{len(pairs)} photos, {SIZE_PX} px, global network at {card.long_side} px")
    for name, row in table.items():
        print(f"{name:18} IoU {row['iou']:.3f}  MAE {row['mae']:.3f}")


if __name__ == "__main__":
    main()
