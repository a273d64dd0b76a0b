"""How long one process takes to make a training sample, by mix and size.

    python -m tests.bench.samples DATA [--sizes 256,384,512] [--number 200] [--every 6]

The photos are decoded before, as in training, and OpenCV takes one thread, as there.
"""

import argparse
import time
from pathlib import Path

from bokehcli.opencv import cv2
from bokehcli.resources import keep_freed_memory
from bokehcli.trainer.data import VALIDATION_PART, Library, find_items
from bokehcli.trainer.samples import MIXES, make_sample
from bokehcli.trainer.training import DECODE_LONG_SIDE
from tests.bench.machine import machine

SEED = 5


def main() -> None:
    """Print milliseconds a sample."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--sizes", default="256,384,512", help="sides in pixels, by comma")
    parser.add_argument("--number", type=int, default=200, help="of samples, of each mix and size")
    parser.add_argument("--every", type=int, default=6, help="take one photo in so many")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    keep_freed_memory()
    items = [item for item in find_items(arguments.data) if item.part != VALIDATION_PART]
    library = Library(items[:: arguments.every], DECODE_LONG_SIDE)
    library.fill()
    for mix in MIXES:
        for size in map(int, arguments.sizes.split(",")):
            started = time.perf_counter()
            for number in range(arguments.number):
                make_sample(library, SEED, number, size, mix=mix)
            each_ms = 1000 * (time.perf_counter() - started) / arguments.number
            print(f"{mix:10} {size:5} px  {each_ms:6.1f} ms")
    print(machine())


if __name__ == "__main__":
    main()
