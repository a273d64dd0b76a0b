"""JPEGs end to end, each against OpenCV's own decoding and encoding of it, and where the time goes.

    python -m tests.bench.speed PHOTO... [--megapixels 12] [--repeat 5] [--model DIR] [--strength S]

Each photo is brought to the same size. One that has to be enlarged is smooth, which makes its JPEG quick to decode but not to
render, so that the ratio is worse than that of a camera's photo; it is said of which photos this is so. OpenCV encodes at
quality 90, this program at the photo's own, which is the same where the photo was brought to a size.
"""

import argparse
import shlex
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from bokehcli.decode import decode_photo
from bokehcli.encode import Encoding, encode_image
from bokehcli.infer import Network, open_network
from bokehcli.lens import render
from bokehcli.metadata import attach_metadata
from bokehcli.model import find_model
from bokehcli.options import DecodeOptions, InferOptions, LensOptions
from bokehcli.photo import Container
from bokehcli.resources import keep_freed_memory
from tests.bench.machine import machine
from tests.bench.product import lens_for
from tests.bench.sized import QUALITY, brought_to


def timed(times: dict[str, list[float]], stage: str, work: Callable[[], Any]) -> Any:
    """Do the work and note how long it took."""
    started = time.perf_counter()
    result = work()
    times.setdefault(stage, []).append(time.perf_counter() - started)
    return result


def measured(path: Path, arguments: argparse.Namespace, network: Network) -> float:
    """Print a photo's table (medians, the first round left out); how often its decoding and encoding the whole takes."""
    sized = brought_to(path, arguments.megapixels) if arguments.megapixels else None
    data, name = path.read_bytes() if sized is None else sized.data, str(path)
    options = LensOptions(strength=arguments.strength)
    times: dict[str, list[float]] = {}
    for _ in range(arguments.repeat + 1):
        plain = timed(times, "OpenCV decode", lambda: cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR))
        timed(times, "OpenCV encode", lambda plain=plain: cv2.imencode(".jpg", plain, [cv2.IMWRITE_JPEG_QUALITY, QUALITY]))
        photo = timed(times, "decode", lambda: decode_photo(data, name, DecodeOptions()))
        maps = timed(times, "predict", lambda photo=photo: network.predict(photo.image))
        lens = lens_for(maps.doubt, options)
        result = timed(times, "render", partial(render, photo.image, maps.alpha, maps.defocus, lens))
        encoding = Encoding(
            container=Container.JPEG, quality=photo.quality, subsampling=photo.subsampling, optimised=photo.optimised
        )
        encoded = timed(times, "encode", lambda result=result, how=encoding: encode_image(result, None, how, name))
        timed(times, "metadata", lambda photo=photo, encoded=encoded: attach_metadata(encoded, Container.JPEG, photo))
    middle = {stage: float(np.median(each[1:])) for stage, each in times.items()}
    plain_s = middle.pop("OpenCV decode") + middle.pop("OpenCV encode")
    whole_s = sum(middle.values())
    height, width = photo.image.shape[:2]
    enlarged = " (enlarged)" if sized is not None and sized.enlarged else ""
    size = f"{width} x {height}, {photo.megapixels:.1f} MP{enlarged}"
    print(f"{name}: {size}, {maps.subject_area:.0%} in focus, strength {lens.strength:.2g}")
    for stage, seconds in middle.items():
        print(f"{stage:10} {seconds:7.3f} s  {seconds / whole_s:4.0%}")
    print(f"{'all':10} {whole_s:7.3f} s  {photo.megapixels / whole_s:.1f} MP/s")
    print(f"OpenCV's decode + encode alone {plain_s:.3f} s: ratio {whole_s / plain_s:.1f}", flush=True)
    return whole_s / plain_s


def main() -> None:
    """Print the tables, and of several photos the ratios' median and ends."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, nargs="+", metavar="PHOTO")
    parser.add_argument("--megapixels", type=float, default=12.0, help="the photos are brought to; 0 leaves them")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--model", type=Path, default=None)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--strength", type=float, default=LensOptions.strength)
    arguments = parser.parse_args()
    keep_freed_memory()  # as a run does
    network = open_network(find_model(arguments.model), InferOptions(threads=arguments.threads))
    ratios = [measured(path, arguments, network) for path in arguments.photos]
    if len(ratios) > 1:
        print(f"{len(ratios)} photos: ratio {np.median(ratios):.1f} in the middle, {min(ratios):.1f} to {max(ratios):.1f}")
    print(machine())
    print("repeat: python -m tests.bench.speed " + shlex.join(sys.argv[1:]))


if __name__ == "__main__":
    main()
