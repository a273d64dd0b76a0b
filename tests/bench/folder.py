"""Whether time and memory stay flat over a folder of photos: `bokeh run` on copies of some photos, watched from outside.

    python -m tests.bench.folder PHOTO... [--count 100] [--megapixels 12]

Every photo is another crop, flip and size of one that was given, as JPEG. With --megapixels all have that size; without
it sizes are mixed, from 0.5 to 12 megapixels. Photos are done one at a time. Memory is read from
/proc, so this runs on Linux only.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tests.bench.machine import machine
from tests.bench.memory import PeakSampler

MIXED_MEGAPIXELS = (0.5, 1.0, 2.0, 4.0, 8.0, 12.0)
ENDS = 10  # photos at the beginning and at the end that are compared


@dataclass(frozen=True)
class Done:
    """A result that was written: when, and the largest resident memory until then, in MiB."""

    elapsed_s: float
    peak_mib: float


def varied(image: NDArray[np.uint8], megapixels: float, chance: random.Random) -> NDArray[np.uint8]:
    """Another crop of a photo, perhaps mirrored, enlarged or reduced to 4:3 or 3:4 of that size."""
    portrait = chance.random() < 0.5
    height, width = (4, 3) if portrait else (3, 4)
    unit = (megapixels * 1e6 / 12) ** 0.5
    scale = chance.uniform(0.8, 1.0) * min(image.shape[0] / height, image.shape[1] / width)
    side = max(1, int(height * scale)), max(1, int(width * scale))
    top, left = chance.randint(0, image.shape[0] - side[0]), chance.randint(0, image.shape[1] - side[1])
    piece = image[top : top + side[0], left : left + side[1]]
    piece = piece[:, ::-1] if chance.random() < 0.5 else piece
    return cv2.resize(piece, (round(width * unit), round(height * unit)), interpolation=cv2.INTER_CUBIC)


def make_photos(sources: list[Path], folder: Path, count: int, megapixels: float, seed: int) -> None:
    """Write `count` JPEGs of quality 90."""
    chance = random.Random(seed)
    images = [image for image in (cv2.imread(str(path)) for path in sources) if image is not None]
    for index in range(count):
        size = megapixels or chance.choice(MIXED_MEGAPIXELS)
        photo = varied(images[index % len(images)], size, chance)
        (folder / f"{index:04}.jpg").write_bytes(cv2.imencode(".jpg", photo, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes())


def watch(command: list[str]) -> list[Done]:
    """Run a command that prints a line for every photo; what was so when each line came."""
    started = time.perf_counter()
    done: list[Done] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        sampler = PeakSampler(process.pid)
        for _ in process.stdout:
            done.append(Done(time.perf_counter() - started, sampler.peak.rss_mib))
        status = process.wait()
        sampler.stop()
    if status != 0:
        raise SystemExit(f"bokeh run ended with status {status}")
    return done


def main() -> None:
    """Make the photos, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, nargs="+", metavar="PHOTO")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--megapixels", type=float, default=0.0, help="of every photo; 0 mixes 0.5 to 12")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--model", type=Path, default=None)
    parser.add_argument("--threads", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        source, out = Path(temporary, "in"), Path(temporary, "out")
        source.mkdir()
        make_photos(arguments.photos, source, arguments.count, arguments.megapixels, arguments.seed)
        options = ["--quiet", "--jobs", "1", "--threads", str(arguments.threads)]
        options += [] if arguments.model is None else ["--model", str(arguments.model)]
        done = watch([sys.executable, "-u", "-m", "bokehcli", "run", str(source), "--out", str(out), *options])
    each_s = np.diff([0.0, *(photo.elapsed_s for photo in done)])
    sizes = f"{arguments.megapixels:g} MP" if arguments.megapixels else f"{MIXED_MEGAPIXELS[0]} to {MIXED_MEGAPIXELS[-1]} MP"
    first, last = each_s[1 : ENDS + 1], each_s[-ENDS:]
    print(f"{len(done)} photos of {sizes}: {done[-1].elapsed_s / len(done):.3f} s a photo")
    print(f"start and first photo: {each_s[0]:.2f} s")
    if len(done) > ENDS:
        print(f"mean of the {len(first)} after it {first.mean():.3f} s, of the last {len(last)} {last.mean():.3f} s")
        print(f"peak memory after photo {ENDS}: {done[ENDS - 1].peak_mib:.0f} MiB")
    print(f"peak memory at the end: {done[-1].peak_mib:.0f} MiB")
    print(machine())
    print("repeat: python -m tests.bench.folder " + " ".join(sys.argv[1:]))


if __name__ == "__main__":
    main()
