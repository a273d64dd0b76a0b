"""What more cores bring: `bokeh run` on one folder with one core, with one process on all cores, with a process a core.

    python -m tests.bench.jobs PHOTO... [--count 60] [--megapixels 2,6,12,24] [--jobs N] [--rounds 2] [--available GIB]

`--jobs 1 --threads 1` is one core for everything. Every photo is another crop, flip and size of one that was given,
landscape or portrait; most are JPEG, one in six PNG, one in six WebP. The rounds take turns, and the medians count. Memory is
that of the whole process tree, from /proc, so this runs on Linux only; it is watched in a run of its own, for to watch several
processes takes of the time that they have. --available has the runs take that much memory for all there is.
"""

import argparse
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import cv2

from bokehcli.resources import usable_cores
from tests.bench.folder import varied
from tests.bench.machine import machine
from tests.bench.memory import Memory, PeakSampler

# In place of the command: as if the system had said that there is so much memory.
PRETENDING = "import sys; from bokehcli import cli, workers; workers.available_bytes = lambda: {}; sys.exit(cli.main())"
# As photos are: OpenCV's own choice is WebP without loss, which takes several times as long as rendering.
PARAMETERS = {".webp": [cv2.IMWRITE_WEBP_QUALITY, 90]}
SUFFIXES = (".jpg", ".jpg", ".png", ".jpg", ".webp", ".jpg")  # in turn


@dataclass(frozen=True)
class Run:
    """One pass over the folder. Start and end of the processes are within elapsed_s. peak: None where nobody watched."""

    elapsed_s: float
    peak: Memory | None


def make_photos(sources: list[Path], folder: Path, count: int, sizes: list[float], seed: int) -> float:
    """Write the photos, every size equally often; returns their megapixels together."""
    chance = random.Random(seed)
    images = [image for image in (cv2.imread(str(path)) for path in sources) if image is not None]
    order = [sizes[index % len(sizes)] for index in range(count)]
    chance.shuffle(order)
    total = 0.0
    for index, megapixels in enumerate(order):
        photo = varied(images[index % len(images)], megapixels, chance)
        suffix = SUFFIXES[index % len(SUFFIXES)]
        cv2.imwrite(str(folder / f"{index:04}{suffix}"), photo, PARAMETERS.get(suffix, []))
        total += photo.shape[0] * photo.shape[1] / 1e6
    return total


def run(source: Path, out: Path, count: int, more: list[str], available_gib: float | None, watched: bool) -> Run:
    """Render the folder, and watch its memory if asked."""
    program = ["-m", "bokehcli"] if available_gib is None else ["-c", PRETENDING.format(int(available_gib * 2**30))]
    command = [sys.executable, *program, "run", str(source), "--out", str(out), "--quiet"]
    started = time.perf_counter()
    with subprocess.Popen([*command, *more], stdout=subprocess.PIPE, text=True) as process:
        sampler = PeakSampler(process.pid) if watched else None
        assert process.stdout is not None
        done = sum(1 for _ in process.stdout)
        status = process.wait()
    elapsed_s = time.perf_counter() - started
    if status != 0 or done != count:
        raise SystemExit(f"bokeh run ended with status {status} and {done} of {count} photos")
    return Run(elapsed_s, sampler.stop() if sampler is not None else None)


def main() -> None:
    """Make the photos, run three times, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, nargs="+", metavar="PHOTO")
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--megapixels", default="2,6,12,24", help="sizes to mix, by comma")
    parser.add_argument("--jobs", type=int, default=usable_cores(), help="of the last run")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--available", type=float, metavar="GIB")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--model", type=Path, default=None)
    arguments = parser.parse_args()
    sizes = [float(size) for size in arguments.megapixels.split(",")]
    more = [] if arguments.model is None else ["--model", str(arguments.model)]
    ways = ("--jobs 1 --threads 1", "--jobs 1", f"--jobs {arguments.jobs}")
    elapsed_s: dict[str, list[float]] = {way: [] for way in ways}
    peaks: dict[str, Memory | None] = {}
    with tempfile.TemporaryDirectory() as temporary:
        source = Path(temporary, "in")
        source.mkdir()
        total = make_photos(arguments.photos, source, arguments.count, sizes, arguments.seed)
        for number in range(arguments.rounds + 1):
            for way in ways:
                out = Path(temporary, f"out {number} {way}")
                each = run(source, out, arguments.count, [*way.split(), *more], arguments.available, number == arguments.rounds)
                shutil.rmtree(out)
                if each.peak is None:
                    elapsed_s[way].append(each.elapsed_s)
                peaks[way] = each.peak
    print(f"{arguments.count} photos of {arguments.megapixels} MP, {total:.0f} MP together")
    middle_s = {way: statistics.median(times) for way, times in elapsed_s.items()}
    for way, taken_s in middle_s.items():
        peak = peaks[way]
        assert peak is not None
        print(
            f"{way}: {taken_s:.1f} s, {arguments.count / taken_s:.2f} photos/s, {total / taken_s:.1f} MP/s; "
            f"peak memory {peak.pss_mib:.0f} MiB (PSS), {peak.rss_mib:.0f} (RSS); "
            f"{taken_s / middle_s[ways[-1]]:.2f} times the last one's time"
        )
    print(machine())
    print("repeat: python -m tests.bench.jobs " + " ".join(sys.argv[1:]))


if __name__ == "__main__":
    main()
