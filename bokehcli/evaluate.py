"""The eval command: models beside each other on pairs of a wide and a shallow photo."""

import csv as csv_format
import io
import json as json_format
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bokehcli import flags
from bokehcli.arguments import ALL_DONE, FAILED
from bokehcli.errors import UsageError
from bokehcli.options import Device, InferOptions, LensOptions, RunOptions, Unsure, strength_of_f_number

if TYPE_CHECKING:
    from bokehcli.comparison import Comparison, Score
    from bokehcli.pairs import Pair

BORDER_PX = 32  # the paper's


def evaluate(
    models: Annotated[
        list[Path] | None, typer.Argument(metavar="MODEL", help="Folders of models, or: bundled. Without any, that one.")
    ] = None,
    *,
    folder: Annotated[Path, typer.Argument(metavar="PAIRS", help="A folder with original/ and bokeh/ in it.")],
    strength: flags.Strength = None,
    f_number: flags.FNumber = None,
    sample: Annotated[int, typer.Option("--sample", metavar="N", help="That many pairs, chosen by the seed; 0 is all.")] = 0,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Of the choice.")] = 0,
    border: Annotated[int, typer.Option("--border", metavar="N", help="Pixels at the border that do not count.")] = BORDER_PX,
    lpips: Annotated[bool, typer.Option("--lpips", help="LPIPS as well, by the package of that name.")] = False,
    dists: Annotated[bool, typer.Option("--dists", help="DISTS as well, by the package dists-pytorch.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print a line for each pair and model as CSV instead.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False,
    sheet: Annotated[Path | None, typer.Option("--sheet", metavar="FILE", help="Best and worst pairs as a picture.")] = None,
    threads: flags.Threads = InferOptions.threads,
    device: flags.DeviceOption = InferOptions.device,
) -> None:
    """Compare models on pairs: PSNR and SSIM to the shallow photo, seconds and memory for each, beside simple ways.

    The shallow photo is brought to the size of the wide one where they differ. Every photo is blurred with the full strength,
    also where a network is unsure of the subject, and without grain, for another photo never has the same. Exit status: 0 all
    pairs compared, 1 some left out, 2 misuse.
    """
    from bokehcli import comparison as compare
    from bokehcli import similarity
    from bokehcli.pairs import told
    from bokehcli.progress import say
    from bokehcli.workers import share_out

    if csv and json:
        raise UsageError("--csv and --json exclude each other")
    for name, number in (("sample", sample), ("seed", seed), ("border", border)):
        if number < 0:
            raise UsageError(f"{name} must be 0 or more, not {number}")
    if strength is not None and f_number is not None:
        raise UsageError("--strength and --f-number cannot be used together")
    if f_number is not None:
        strength = strength_of_f_number(f_number)
    if sheet is not None:
        check_sheet(sheet, folder)
    options = RunOptions(
        lens=LensOptions(strength=LensOptions.strength if strength is None else strength, grain=0.0),
        infer=InferOptions(device=device, threads=threads),
        unsure=Unsure.FULL,
    )
    options = share_out(options, photos=1)  # at a time
    names = [str(model) for model in models or []] or [compare.BUNDLED]
    contestants = [compare.contestant_of(name, options) for name in names] + compare.baselines(names, options)
    comparison = compare.Comparison(compare.unique(contestants), border)
    if lpips:
        comparison.measures["LPIPS"] = similarity.lpips()
    if dists:
        comparison.measures["DISTS"] = similarity.dists()
    pairs, left_out = chosen_pairs(folder, sample, seed)
    scores = compare.of_all(list(watched(comparison, pairs)), comparison.contestants)
    if not scores:
        raise UsageError(f"{folder}: no pair could be compared; the first: {comparison.failed[0]}")
    for line in rows_of(scores, csv=csv, json=json) if csv or json else table_of(scores, comparison, device):
        typer.echo(line)
    if sheet is not None:
        write_sheet(sheet, comparison, pairs, scores)
    for line in told(left_out + comparison.failed):
        say(line)
    raise typer.Exit(FAILED if left_out or comparison.failed else ALL_DONE)


def chosen_pairs(folder: Path, sample: int, seed: int) -> "tuple[list[Pair], list[str]]":
    """Some pairs of a folder that show the same, or all with 0, and a line for every other one. Raises UsageError."""
    from bokehcli.pairs import find_pairs, is_pairs, sampled, sorted_out

    if not folder.is_dir() or not is_pairs(folder):
        raise UsageError(f"{folder}: no folder with original/ and bokeh/ in it")
    found, alone = find_pairs(folder)
    pairs, faults = sorted_out(found)
    if not pairs:
        raise UsageError(f"{folder}: no pairs; {(alone + faults or ['both folders are empty'])[0]}")
    return sampled(pairs, sample, seed), alone + faults


def watched(comparison: "Comparison", pairs: "Sequence[Pair]") -> "Iterator[Score]":
    """The scores, with a bar on stderr where that is a terminal."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    total = len(pairs) * len(comparison.contestants)
    yield from track(
        comparison.scores(pairs), "Comparing", total, console=console, transient=True, disable=not console.is_terminal
    )


def means_of(scores: "Sequence[Score]") -> dict[str, dict[str, float]]:
    """Contestant -> column -> mean over the pairs; of memory, the largest."""
    means: dict[str, dict[str, float]] = {}
    for name in dict.fromkeys(score.contestant for score in scores):
        own = [score for score in scores if score.contestant == name]
        means[name] = {key: sum(score.values[key] for score in own) / len(own) for key in own[0].values}
        means[name]["s"] = sum(score.elapsed_s for score in own) / len(own)
        peaks = [score.peak_mib for score in own if score.peak_mib is not None]
        if peaks:
            means[name]["MiB"] = max(peaks)
    return means


def table_of(scores: "Sequence[Score]", comparison: "Comparison", device: Device) -> Iterator[str]:
    """The means as a table, and how they were taken."""
    from bokehcli.similarity import SSIM_STATED

    means = means_of(scores)
    columns = list(next(iter(means.values())))
    width = max(len(name) for name in means) + 2
    digits = {"PSNR": 2, "s": 2, "MiB": 0}
    yield " " * width + "".join(f"{column:>9}" for column in columns)
    for name, row in means.items():
        yield f"{name:{width}}" + "".join(f"{row[column]:>9.{digits.get(column, 4)}f}" for column in columns)
    count = len({score.pair for score in scores})
    yield (
        f"means over {count} pairs, {comparison.border_px} px at the border left out; SSIM: {SSIM_STATED}; s: decoding and "
        f"rendering on {device.value}; MiB: largest of the process"
    )


def rows_of(scores: "Sequence[Score]", *, csv: bool, json: bool) -> Iterator[str]:
    """A line for each pair and contestant as CSV, or all as one JSON object with the means."""
    rows = [
        {"pair": s.pair, "model": s.contestant, **s.values, "seconds": s.elapsed_s, "peak_mib": s.peak_mib} for s in scores
    ]
    if json:
        yield json_format.dumps({"pairs": rows, "means": means_of(scores)})
    elif csv:
        text = io.StringIO()
        writer = csv_format.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        yield text.getvalue().rstrip("\n")


def check_sheet(path: Path, folder: Path) -> None:
    """Look whether a contact sheet can be written there. Raises WriteError, and UsageError also where it would replace a photo.

    folder: of the pairs.
    """
    from bokehcli.storage import exists, make_ready

    if path.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp"):
        raise UsageError(f"{path}: a contact sheet is a .png, .jpg or .webp file")
    if exists(path) and path.resolve().is_relative_to(folder.resolve()):
        raise UsageError(f"{path}: lies among the pairs and would be replaced; give another name")
    make_ready(path)


def write_sheet(path: Path, comparison: "Comparison", pairs: "Sequence[Pair]", scores: "Sequence[Score]") -> None:
    """Write the contact sheet, whole or not at all. Raises WriteError."""
    from bokehcli.comparison import sheet
    from bokehcli.opencv import cv2
    from bokehcli.storage import write_atomic

    encoded = cv2.imencode(path.suffix.lower(), sheet(comparison, pairs, scores)[:, :, ::-1])[1]
    write_atomic(path, encoded.tobytes(), exclusive=False)
