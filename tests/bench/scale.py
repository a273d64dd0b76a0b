"""From one process to a cluster: photos per second of each way to share out a folder, and what handing out one costs.

    python -m tests.bench.scale PHOTO... [--count 40] [--megapixels 2,6] [--rounds 3] [--ways N]

Each way runs over all photos and over two small ones; the difference is what the photos take, without the start of
processes. The rounds take turns, and the median counts. What handing out costs is measured on small photos at strength 0, which
take hardly any time by themselves.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bokehcli.resources import usable_cores
from tests.bench.jobs import make_photos
from tests.bench.machine import machine

SMALL_MEGAPIXELS = 0.02
SMALL_COUNT = 400


@dataclass(frozen=True)
class Way:
    """How a folder is shared out: one or several command lines at once."""

    name: str
    commands: tuple[tuple[str, ...], ...]


def ways(processes: int) -> list[Way]:
    """One process, and so many of them in three ways."""
    single = ("--jobs", "1", "--threads", "1")
    shards = tuple(("--shard", f"{index + 1}/{processes}", *single) for index in range(processes))
    return [
        Way("one process", (single,)),
        Way(f"--jobs {processes}", (("--jobs", str(processes), "--threads", "1"),)),
        Way(f"{processes} shards", shards),
        Way(f"--scheduler local:{processes}", (("--scheduler", f"local:{processes}"),)),
    ]


def seconds(way: Way, source: Path, more: tuple[str, ...]) -> float:
    """Render the folder."""
    with tempfile.TemporaryDirectory() as out:
        began_s = time.perf_counter()
        base = [sys.executable, "-m", "bokehcli", "run", str(source), "--out", out, "--quiet", *more]
        runs = [subprocess.Popen([*base, *command], stdout=subprocess.DEVNULL) for command in way.commands]
        statuses = [run.wait() for run in runs]
    if any(statuses):
        raise SystemExit(f"{way.name}: bokeh run ended with status {statuses}")
    return time.perf_counter() - began_s


def measure(tried: list[Way], photos: list[Path], count: int, sizes: list[float], rounds: int, *more: str) -> dict[str, tuple]:
    """By name: seconds a photo, and those of the start."""
    with tempfile.TemporaryDirectory() as folder:
        few, many = Path(folder, "few"), Path(folder, "many")
        for place, number, megapixels in ((few, 2, [SMALL_MEGAPIXELS]), (many, count, sizes)):
            place.mkdir()
            make_photos(photos, place, number, megapixels, seed=1)
        taken: dict[str, list[tuple[float, float]]] = {}
        for _ in range(rounds):
            for way in tried:
                taken.setdefault(way.name, []).append((seconds(way, few, more), seconds(way, many, more)))
    found = {}
    for name, pairs in taken.items():
        start_s, whole_s = (statistics.median(side) for side in zip(*pairs, strict=True))
        found[name] = ((whole_s - start_s) / count, start_s)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, nargs="+", metavar="PHOTO")
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--megapixels", default="2,6", help="sizes to mix, by comma")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ways", type=int, default=usable_cores(), metavar="N", help="processes of the ways with several")
    asked = parser.parse_args()
    tried = ways(asked.ways)
    found = measure(tried, asked.photos, asked.count, [float(size) for size in asked.megapixels.split(",")], asked.rounds)
    first_s = found[tried[0].name][0]
    for name, (photo_s, start_s) in found.items():
        print(f"{name:24}{1 / photo_s:6.2f} photos/s, {first_s / photo_s:.2f} times one process; to start, {start_s:.1f} s")
    small = measure([tried[1], tried[3]], asked.photos, SMALL_COUNT, [SMALL_MEGAPIXELS], asked.rounds, "--strength", "0")
    costs = {name: 1e3 * photo_s for name, (photo_s, _) in small.items()}
    for name, cost_ms in costs.items():
        print(f"{name:24}{cost_ms:6.2f} ms for each small photo that stays as it is")
    print(f"Dask's overhead: {costs[tried[3].name] - costs[tried[1].name]:.2f} ms a photo")
    print(machine())


if __name__ == "__main__":
    main()
