"""`bokeh train export --int8`: a model whose convolutions compute in eight bits, for phones.

Static quantisation (ONNX Runtime's): what the activations' ranges are is measured on photos that the user names, as the
networks see them in a run. Weights are quantised per output channel. The heads, which give logits, stay as they are.
"""

import argparse
import dataclasses
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from bokehcli.errors import BokehError, UsageError
from bokehcli.model import PICTURE, POINTED, Card, ModelCard, find_model
from bokehcli.pairs import SUFFIXES, read_photo
from bokehcli.pixels import fit_multiples, fit_within, focus_hint, padded, resize, to_unit
from bokehcli.trainer.weights import expanded, is_compact

Image = NDArray[Any]
Feed = dict[str, NDArray[np.float32]]

MOST_PHOTOS = 64
HEADS = ("head", "hidden", "colours")  # parts of the names of convolutions that are left as they are
FOCUS = (0.5, 0.5)  # where somebody points while the pointed network's ranges are measured
OCTAVES = 2  # of which inputs are collected


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(prog="bokeh train export", description="Write a model in another form.")
    result.add_argument("photos", metavar="PHOTOS", type=Path, help="a folder of photos like those it is for, some dozens")
    result.add_argument("--int8", action="store_true", required=True, help="compute in eight bits")
    result.add_argument("--model", metavar="DIR", type=Path, help="the model; without it the bundled one")
    result.add_argument("--out", metavar="DIR", type=Path, required=True, help="where the new one goes")
    return result


def main(words: Sequence[str]) -> int:
    """Exit status 0 or 2."""
    arguments = parser().parse_args(words)
    try:
        card = find_model(arguments.model)
        photos = photos_of(arguments.photos)
        made = quantised(card, photos, arguments.out)
    except BokehError as error:
        print(f"bokeh train export: {error}", file=sys.stderr, flush=True)
        return 2
    before, after = (sum(c.path(role).stat().st_size for role in c.files) / 1e6 for c in (card, made))
    print(f"calibrated on {len(photos)} photos; {before:.2f} MB before, {after:.2f} MB after", file=sys.stderr, flush=True)
    print(made.folder, flush=True)
    return 0


def photos_of(folder: Path) -> list[Image]:
    """Up to MOST_PHOTOS photos of a folder, (H, W, 3) uint8 RGB, in the order of their names. Raises UsageError."""
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    photos = []
    for path in paths[:: max(1, len(paths) // MOST_PHOTOS)][:MOST_PHOTOS]:
        try:
            photos.append(read_photo(path))
        except UsageError as error:
            print(f"bokeh train export: {error}", file=sys.stderr, flush=True)
    if not photos:
        raise UsageError(f"{folder}: no photos to calibrate on")
    return photos


def quantised(card: Card, photos: Sequence[Image], folder: Path) -> Card:
    """Write the model in eight bits into a folder; its card as it was read back. Raises UsageError."""
    folder.mkdir(parents=True, exist_ok=True)
    if folder.resolve() == card.folder.resolve():
        raise UsageError(f"{folder}: the model itself lies there")
    feeds = lens_feeds(card, photos) if isinstance(card, ModelCard) else picture_feeds(card, photos)
    for role, name in card.files.items():
        write_quantised(card.path(role), feeds[role], folder / name)
    sizes = {role: (folder / name).stat().st_size for role, name in card.files.items()}
    about = {**card.about, "bytes": sizes, "quantised": f"static int8, calibrated on {len(photos)} photos"}
    dataclasses.replace(card, folder=folder, about=about).save()
    return find_model(folder)


def picture_feeds(card: Card, photos: Sequence[Image]) -> dict[str, list[Feed]]:
    """What the network of a model of kind rgb sees of the photos."""
    feeds = []
    for photo in photos:
        small = resize(photo, fit_within((photo.shape[0], photo.shape[1]), card.long_side))
        feeds.append({"photo": batch_of(padded(small, card.multiple))})
    return {PICTURE: feeds}


def lens_feeds(card: ModelCard, photos: Sequence[Image]) -> dict[str, list[Feed]]:
    """What each network of a lens model sees of the photos: all of them whole, and OCTAVES octaves of each."""
    import onnxruntime

    sessions = {
        role: onnxruntime.InferenceSession(str(card.path(role)), providers=["CPUExecutionProvider"])
        for role in ("global", "octave")
    }
    feeds: dict[str, list[Feed]] = {role: [] for role in card.files}
    for photo in photos:
        shape = photo.shape[0], photo.shape[1]
        for role, point in (("global", None), (POINTED, FOCUS)):
            size = fit_multiples(shape, card.side(role), card.multiple)
            whole = batch_of(resize(photo, size))
            hint = focus_hint(size, point)[None, None]
            feeds.setdefault(role, []).append({"photo": np.concatenate((whole, hint), 1)})
        state = sessions["global"].run(None, feeds["global"][-1])[0]
        for _ in range(OCTAVES):
            finer = batch_of(resize(photo, (2 * state.shape[2], 2 * state.shape[3])))
            for role in ("octave", "finest"):
                feeds[role].append({"photo": finer, "state": state})
            state = sessions["octave"].run(None, feeds["octave"][-1])[0]
    return feeds


def batch_of(image: Image) -> NDArray[np.float32]:
    """(H, W, 3) uint8 as (1, 3, H, W) in [0, 1]."""
    return np.ascontiguousarray(to_unit(image).transpose(2, 0, 1)[None])


class Feeds:
    """What a calibration of ONNX Runtime reads."""

    def __init__(self, feeds: Sequence[Feed]) -> None:
        self.left: Iterator[Feed] = iter(feeds)

    def get_next(self) -> Feed | None:
        """The next feed, None at the end."""
        return next(self.left, None)


def write_quantised(source: Path, feeds: Sequence[Feed], target: Path) -> None:
    """One network in eight bits."""
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    model = onnx.load(str(source))
    model = expanded(model) if is_compact(model) else model
    with tempfile.TemporaryDirectory() as name:
        whole, prepared = Path(name) / "whole.onnx", Path(name) / "prepared.onnx"
        onnx.save(model, str(whole))
        quant_pre_process(str(whole), str(prepared), skip_symbolic_shape=True)
        nodes = onnx.load(str(prepared)).graph.node
        heads = [node.name for node in nodes if any(part in node.name for part in HEADS)]
        quantize_static(
            str(prepared),
            str(Path(name) / "int8.onnx"),
            Feeds(feeds),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv", "ConvTranspose"],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=heads,
        )
        shutil.copyfile(Path(name) / "int8.onnx", target)
