"""PyNET as published in 2020 against our whole run of the same photo, on the same threads.

    python -m tests.bench.published PHOTO [--width 1536] [--height 1024] [--threads N] [--repeat 3] [--model DIR]

The published graph is built and exported here, with random weights: its time counts, its picture does not. It is given the
photo decoded and at its size, and only its own run is timed; of ours everything is, from the JPEG's bytes to the JPEG's
bytes. Each has a process to itself, so that the memory is its own.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime as ort

from bokehcli.model import PICTURE, find_model
from bokehcli.options import InferOptions, RunOptions
from bokehcli.pipeline import Findings, open_renderer
from bokehcli.resources import peak_mib
from tests.bench.machine import machine

QUALITY = 90


def photo_of(path: Path, width: int, height: int) -> Any:
    """(height, width, 3) uint8 BGR."""
    image = cv2.imread(str(path))
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def export(folder: Path) -> dict[str, Any]:
    """Write the published network with random weights into a folder; what it consists of."""
    import torch

    from bokehcli.trainer.describe import parts_of
    from bokehcli.trainer.export import export_picture
    from bokehcli.trainer.pynet2020 import MULTIPLE, PAPER_PX, Pynet2020, Pynet2020Options, Shown

    torch.manual_seed(0)
    options = Pynet2020Options()
    parts = parts_of(options, (1024, 1536))
    card, _ = export_picture(
        Shown(Pynet2020(options).eval(), 1), folder, {}, torch.rand(1, 3, 128, 192), 3 * PAPER_PX // 2, MULTIPLE
    )
    return {"parameters": sum(part.parameters for part in parts), "bytes": card.path(PICTURE).stat().st_size}


def run_published(folder: Path, image: Any, threads: int, repeat: int) -> list[float]:
    """Seconds of each run of the graph alone."""
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = threads
    session = ort.InferenceSession(str(folder / f"{PICTURE}.onnx"), settings, providers=["CPUExecutionProvider"])
    photo = np.ascontiguousarray(image[:, :, ::-1].astype(np.float32).transpose(2, 0, 1)[None] / 255)
    times = []
    for _ in range(repeat):
        began = time.perf_counter()
        session.run(None, {"photo": photo})
        times.append(time.perf_counter() - began)
    return times


def run_ours(model: Path | None, image: Any, threads: int, repeat: int) -> list[float]:
    """Seconds of each whole run, decode to encode."""
    renderer = open_renderer(RunOptions(infer=InferOptions(model=model, threads=threads)))
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
    times = []
    for _ in range(repeat + 1):
        began = time.perf_counter()
        renderer.render(data, "photo.jpg", Findings())
        times.append(time.perf_counter() - began)
    return times[1:]  # the first one opens and plans


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("photo", type=Path)
    add("--width", type=int, default=1536)
    add("--height", type=int, default=1024)
    add("--threads", type=int, default=0)
    add("--repeat", type=int, default=3)
    add("--model", type=Path)
    add("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    image = photo_of(arguments.photo, arguments.width, arguments.height)
    if arguments.one is not None:
        run, source = (run_ours, arguments.model) if arguments.one == "ours" else (run_published, Path(arguments.one))
        print(json.dumps({"times": run(source, image, arguments.threads, arguments.repeat), "mib": peak_mib()}))
        return
    card = find_model(arguments.model)
    with tempfile.TemporaryDirectory() as folder:
        published = export(Path(folder))
        found = {}
        for one in ("ours", folder):
            command = [sys.executable, "-m", "tests.bench.published", *sys.argv[1:], "--one", one]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found["ours" if one == "ours" else "published"] = json.loads(done.stdout)
    import onnx

    from bokehcli.trainer.weights import weights_of

    ours_bytes = sum(card.path(role).stat().st_size for role in card.files)
    models = [onnx.load(str(card.path(role))) for role in card.files]
    parameters = sum(weight.size for model in models for weight in weights_of(model).values())
    times = {name: statistics.median(each["times"]) for name, each in found.items()}
    print(f"{arguments.width}x{arguments.height}, medians of {arguments.repeat}")
    print(
        f"published, its graph alone  {times['published']:7.2f} s  {published['parameters'] / 1e6:6.2f} M parameters  "
        f"{published['bytes'] / 1e6:6.2f} MB  peak {found['published']['mib']:.0f} MiB"
    )
    print(
        f"ours, decode to encode      {times['ours']:7.2f} s  {parameters / 1e6:6.2f} M parameters  "
        f"{ours_bytes / 1e6:6.2f} MB  peak {found['ours']['mib']:.0f} MiB"
    )
    print(f"ratio {times['published'] / times['ours']:.1f}")
    print(machine())


if __name__ == "__main__":
    main()
