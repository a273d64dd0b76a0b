"""One JPEG from file to file: this program in one process against mask and blur, as background-blur tools do it.

    python -m tests.bench.peer PHOTO [--peer FILE.onnx] [--megapixels 12] [--repeat 3] [--threads N] [--model DIR]

Mask and blur: decode, a segmentation network at 1024 x 1024, its mask enlarged, a Gaussian blur of the whole photo in sRGB
with the standard deviation of our largest disc (half its radius), both mixed by the mask, encode. --peer names the
network: one float32 input 1x3x1024x1024 that takes (RGB - 128) / 256, the first output the mask in [0, 1]. Without it a
stand-in with ISNet's architecture and random weights runs, see tests/bench/isnet.py: its times count, its pictures do not.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import onnxruntime as ort

from bokehcli.discover import Job
from bokehcli.optics import radius_px
from bokehcli.options import Existing, InferOptions, LensOptions, RunOptions
from bokehcli.pipeline import open_renderer
from bokehcli.storage import write_atomic
from tests.bench.isnet import SIDE_PX, build
from tests.bench.machine import machine
from tests.bench.sized import QUALITY, brought_to

STAGES = ("decode", "predict", "blur", "mix", "encode")


def open_peer(path: Path | None, threads: int) -> tuple[ort.InferenceSession, str]:
    """The peer's network, and what it is in words."""
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.log_severity_level = 3
    if path is not None:
        return ort.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"]), path.name
    made, macs, parameters = build()
    session = ort.InferenceSession(made, settings, providers=["CPUExecutionProvider"])
    return (
        session,
        f"stand-in of ISNet's architecture, {macs / 1e9:.0f} GMAC, {parameters / 1e6:.1f} M parameters (counted as built)",
    )


def mask_and_blur(session: ort.InferenceSession, source: Path, out: Path, strength: float) -> list[float]:
    """Do one photo; seconds of STAGES, reading with the first and writing with the last."""
    marks = [time.perf_counter()]
    image = cv2.imdecode(np.frombuffer(source.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    marks.append(time.perf_counter())
    height, width = image.shape[:2]
    small = cv2.cvtColor(cv2.resize(image, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB)
    planes = np.ascontiguousarray(((small.astype(np.float32) - 128.0) / 256.0).transpose(2, 0, 1)[None])
    mask = session.run(None, {session.get_inputs()[0].name: planes})[0][0, 0]
    mask = cv2.resize(np.clip(mask, 0.0, 1.0), (width, height), interpolation=cv2.INTER_LINEAR)
    marks.append(time.perf_counter())
    # A disc of radius R has the standard deviation R / 2 along each axis.
    blurred = cv2.GaussianBlur(image, (0, 0), radius_px(strength, (height, width)) / 2)
    marks.append(time.perf_counter())
    mixed = cv2.blendLinear(image, blurred, mask, 1.0 - mask)
    marks.append(time.perf_counter())
    write_atomic(out, cv2.imencode(".jpg", mixed, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes())
    marks.append(time.perf_counter())
    return [after - before for before, after in pairwise(marks)]


def timed(work: Callable[[], object]) -> float:
    """Seconds that the work takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> None:
    """Render by turns, print medians; the first round is left out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo", type=Path)
    parser.add_argument("--peer", type=Path, default=None)
    parser.add_argument("--megapixels", type=float, default=12.0)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0, help="of both; 0 is one a core")
    parser.add_argument("--strength", type=float, default=LensOptions.strength)
    parser.add_argument("--model", type=Path, default=None)
    arguments = parser.parse_args()
    options = RunOptions(
        infer=InferOptions(model=arguments.model, threads=arguments.threads),
        lens=LensOptions(strength=arguments.strength),
        existing=Existing.OVERWRITE,
    )
    session, words = open_peer(arguments.peer, arguments.threads)
    renderer = open_renderer(options)
    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as temporary:
        source, out = Path(temporary, "in.jpg"), Path(temporary, "out.jpg")
        sized = brought_to(arguments.photo, arguments.megapixels)
        source.write_bytes(sized.data)
        job = Job(source=source, destination=out)
        for _ in range(arguments.repeat + 1):
            ours.append(timed(lambda: renderer.render_photo(job)))
            theirs.append(mask_and_blur(session, source, out, arguments.strength))
        if (error := renderer.render_photo(job).error) is not None:
            raise SystemExit(error)
    ours_s, stages_s = float(np.median(ours[1:])), np.median(theirs[1:], axis=0)
    theirs_s = float(np.median(np.sum(theirs[1:], axis=1)))
    print(f"{sized.megapixels:.1f} MP, strength {arguments.strength:g}, from file to file")
    print(f"this program    {ours_s:7.3f} s")
    parts = ", ".join(f"{stage} {seconds:.3f}" for stage, seconds in zip(STAGES, stages_s, strict=True))
    print(f"mask and blur   {theirs_s:7.3f} s ({parts})")
    print(f"mask and blur / this program: {theirs_s / ours_s:.2f}")
    print(f"the peer's network: {words}")
    print(machine())
    print("repeat: python -m tests.bench.peer " + " ".join(sys.argv[1:]))


if __name__ == "__main__":
    main()
