"""Pairs in EBB! layout, rendered by the lens from photos with mattes; and the trainer's memory on few and on many.

    python -m tests.bench.pairs DATA OUT [--count 60] [--part val] [--long-side N] [--jpeg]

writes OUT/original/NAME.png (or .jpg) and OUT/bokeh/NAME.png, from DATA as the trainer reads it; photos are taken again,
mirrored and cropped, where there are fewer than asked for.

    python -m tests.bench.pairs OUT --memory [--network pynet2020] [--steps 30]

trains a tiny network on 30 of the pairs in OUT and on all of them and prints the largest memory of all its processes.
"""

import argparse
import functools
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

from bokehcli.lens import render
from bokehcli.options import LensOptions
from bokehcli.pixels import resize, to_unit
from bokehcli.trainer.data import Library, find_items
from bokehcli.trainer.scenes import layout
from tests.bench.machine import machine
from tests.bench.memory import PeakSampler

FEW = 30
LAYOUT_PX = 256
STRENGTH = LensOptions.strength


def write(data: Path, out: Path, count: int, part: str, long_side: int, suffix: str) -> int:
    """Write pairs; how many."""
    library = Library([item for item in find_items(data) if item.part == part], long_side, 0)
    usable = [index for index in range(len(library)) if (library[index][1] > 127).mean() > 0.02]
    for name in ("original", "bokeh"):
        (out / name).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        rng = np.random.default_rng(number)
        photo, matte = library[usable[number % len(usable)]]
        if number >= len(usable):
            top, left = (int(rng.integers(0, max(1, side // 8))) for side in matte.shape)
            photo, matte = (np.ascontiguousarray(image[top:, left:][:, ::-1]) for image in (photo, matte))
        defocus = layout(to_unit(resize(matte, (LAYOUT_PX, LAYOUT_PX))), rng)
        shallow = render(photo, matte, defocus, LensOptions(strength=STRENGTH, grain=0.0))
        cv2.imwrite(str(out / "original" / f"{number:05}{suffix}"), photo[:, :, ::-1])
        cv2.imwrite(str(out / "bokeh" / f"{number:05}{suffix}"), shallow[:, :, ::-1])
    return count


def peak_of(pairs: Path, network: str, steps: int, sample: int) -> float:
    """MiB that training on so many of the pairs takes at most, all processes together."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "bokehcli", "train", str(pairs), "--out", out, "--network", network]
        command += ["--preset", "tiny", "--steps", str(steps), "--sample", str(sample), "--threads", "1"]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as child:
            sampler = PeakSampler(child.pid)
            status = child.wait()
            peak = sampler.stop()
    assert status == 0, command
    return peak.pss_mib


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("folders", nargs="+", type=Path)
    add("--count", type=int, default=60)
    add("--part", default="val")
    add("--long-side", type=int, default=1280)
    add("--jpeg", action="store_true")
    add("--memory", action="store_true")
    add("--network", default="pynet2020")
    add("--steps", type=int, default=30)
    arguments = parser.parse_args()
    if not arguments.memory:
        suffix = ".jpg" if arguments.jpeg else ".png"
        print(write(*arguments.folders, arguments.count, arguments.part, arguments.long_side, suffix), "pairs")
        return
    (pairs,) = arguments.folders
    count = len(list((pairs / "original").iterdir()))
    measure = functools.partial(peak_of, pairs, arguments.network, arguments.steps)
    few, many = measure(FEW), measure(0)
    print(f"{arguments.network}, {arguments.steps} steps: {FEW} pairs {few:.0f} MiB, {count} pairs {many:.0f} MiB")
    print(machine())


if __name__ == "__main__":
    main()
