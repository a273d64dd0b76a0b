"""`bokeh train export`: a model whose networks compute in eight bits, or one that computes in float32 again.

Static quantisation (ONNX Runtime's): what the activations' ranges are is measured on photos that the user names, as the
networks see them in a run. Weights are quantised per output channel. The heads, which give logits, stay as they are, and so
do the layers of the global networks that see the photo first: they made half of the difference to float32, and take 4 of 31
ms. The octaves do, too: in eight bits they took 12 to 16 % longer, on a CPU with VNNI and without. Of the network for what is
pointed at, what compares places does; what it found in 100 photos has an IoU of 0.973 with what it found in float32, so, and
of 0.955 with all these, and sums, in eight bits.

A range is the mean over the photos of each one's extremes. With the extremes of all of them alpha differed from that of
float32 by 0.0095 in the mean of 309 photos, so by 0.0068. A weight has seven bits, for without VNNI the products are added
up in 16 bits, which overflow with eight: IoU on 160 validation photos was 0.878 there instead of 0.902.
"""

import argparse
import dataclasses
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from bokehcli.errors import BokehError, ModelError, UsageError
from bokehcli.model import PICTURE, POINTED, Card, ModelCard, PictureCard, find_model
from bokehcli.options import InferOptions
from bokehcli.pairs import SUFFIXES, read_photo
from bokehcli.pixels import fit_multiples, fit_within, focus_hint, padded, resize, to_unit
from bokehcli.session import open_session
from bokehcli.tiling import surrounded
from bokehcli.trainer.export import described
from bokehcli.trainer.folder import make_folder, writing
from bokehcli.trainer.weights import compact, expanded, in_float, is_quantised

Image = NDArray[Any]
Feed = dict[str, NDArray[np.float32]]

MOST_PHOTOS = 64
QUANTISED = ["Conv", "ConvTranspose", "LeakyRelu", "Concat"]
# Parts of the names of nodes that stay in float32, and of those that do in the network for what is pointed at, too.
EXCLUDED = "head", "hidden", "colours", "unshuffle", "stem", "encode.3"
COMPARING = "pointing", "likening"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(prog="bokeh train export", description="Write a model in another form.")
    form = result.add_mutually_exclusive_group(required=True)
    form.add_argument("--int8", metavar="PHOTOS", type=Path, help="in eight bits; a folder of some dozens of photos like yours")
    form.add_argument("--float32", action="store_true", help="in float32, with the weights that the model has")
    result.add_argument("--model", metavar="DIR", type=Path, help="the model; without it the bundled one")
    result.add_argument("--out", metavar="DIR", type=Path, required=True, help="where the new one goes")
    return result


def main(words: Sequence[str]) -> int:
    """Exit status 0 or 2."""
    arguments = parser().parse_args(words)
    try:
        card = find_model(arguments.model)
        if arguments.out.resolve() == card.folder.resolve():
            raise UsageError(f"{arguments.out}: the model itself lies there")
        make_folder(arguments.out)
        photos = [] if arguments.float32 else photos_of(arguments.int8)
        how = "float32" if arguments.float32 else f"calibrated on {len(photos)} photos"
        with writing(arguments.out):
            made = quantised(card, photos, arguments.out) if photos else written(card, arguments.out, {})
    except BokehError as error:
        print(f"bokeh train export: {error}", file=sys.stderr, flush=True)
        return 2
    before, after = (sum(c.path(role).stat().st_size for role in c.files) / 1e6 for c in (card, made))
    print(f"{how}; {before:.2f} MB before, {after:.2f} MB after", file=sys.stderr, flush=True)
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
    """Write the model in eight bits into another folder than its own; its card as it was read back."""
    if isinstance(card, PictureCard):
        feeds = picture_feeds(card, photos)
    else:
        assert isinstance(card, ModelCard)
        feeds = lens_feeds(card, photos)
    return written(card, folder, feeds, f"static int8, calibrated on {len(photos)} photos")


def written(card: Card, folder: Path, feeds: Mapping[str, Sequence[Feed]], how: str | None = None) -> Card:
    """Write the model into another folder, in eight bits the files of which there are feeds, in float32 the others.

    feeds: by role, inputs to measure ranges on. how: for the card, None if nothing is quantised. Returns the card as it was
    read back.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for role, name in card.files.items():
        if role in feeds:
            excluded = (*EXCLUDED, *COMPARING) if role == POINTED else EXCLUDED
            try:
                write_quantised(card.path(role), feeds[role], folder / name, excluded)
            except OSError:
                raise
            except Exception as error:  # of the quantiser or the runtime, each with classes of its own
                raise ModelError(f"{card.path(role)}: cannot be quantised ({str(error).splitlines()[0]})") from error
        else:
            model = onnx.load(str(card.path(role)))
            onnx.save(compact(in_float(model)) if is_quantised(model) else model, str(folder / name))
    about = {key: value for key, value in card.about.items() if key != "quantised"}
    described(dataclasses.replace(card, folder=folder, about=about | ({"quantised": how} if how else {}))).save()
    return find_model(folder)


def picture_feeds(card: PictureCard, photos: Sequence[Image]) -> dict[str, list[Feed]]:
    """What the network of a model of kind rgb sees of the photos: each as a whole, or in tiles."""
    seen: list[NDArray[np.float32]] = []
    for photo in photos:
        small = to_unit(resize(photo, fit_within((photo.shape[0], photo.shape[1]), card.long_side)))
        if card.tile_px:
            seen += [around.copy() for _, around in surrounded(small, card.tile_px, card.context_px)]
        else:
            seen.append(padded(small, card.multiple))
    return {PICTURE: [{"photo": batch_of(unit)} for unit in seen]}


def lens_feeds(card: ModelCard, photos: Sequence[Image]) -> dict[str, list[Feed]]:
    """What the global networks of a lens model see of the photos; somebody points at what is found most surely in each."""
    session = open_session(card, "global", InferOptions())
    feeds: dict[str, list[Feed]] = {role: [] for role in ("global", POINTED) if role in card.files}
    for photo in photos:
        feeds["global"].append(overview_of(card, photo, None))
        if POINTED in feeds:
            logit = session.run(None, feeds["global"][-1])[0][0, 0]
            row, column = np.unravel_index(logit.argmax(), logit.shape)
            point = (float(column) + 0.5) / logit.shape[1], (float(row) + 0.5) / logit.shape[0]
            feeds[POINTED].append(overview_of(card, photo, point))
    return feeds


def overview_of(card: ModelCard, photo: Image, focus: tuple[float, float] | None) -> Feed:
    """What a global network is given of a photo. focus: (x, y) as shares of width and height, where somebody points."""
    side = card.side("global" if focus is None else POINTED)
    size = fit_multiples((photo.shape[0], photo.shape[1]), side, card.multiple)
    hint = focus_hint(size, focus)[None, None]
    return {"photo": np.concatenate((batch_of(resize(to_unit(photo), size)), hint), 1)}


def batch_of(unit: NDArray[np.float32]) -> NDArray[np.float32]:
    """(H, W, 3) as (1, 3, H, W)."""
    return np.ascontiguousarray(unit.transpose(2, 0, 1)[None])


class Feeds:
    """What a calibration of ONNX Runtime reads."""

    def __init__(self, feeds: Sequence[Feed]) -> None:
        self.left: Iterator[Feed] = iter(feeds)

    def get_next(self) -> Feed | None:
        """The next feed, None at the end."""
        return next(self.left, None)


def write_quantised(source: Path, feeds: Sequence[Feed], target: Path, excluded: Sequence[str]) -> None:
    """One network in eight bits (Jacob et al. 2018, arXiv 1712.05877). excluded: parts of the names of nodes left in float32.

    feeds: inputs by name, float32, as in a run; the ranges of the activations are measured on them.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as name:
        whole, prepared, made = (Path(name) / f"{step}.onnx" for step in ("whole", "prepared", "int8"))
        onnx.save(expanded(onnx.load(str(source))), str(whole))
        quant_pre_process(str(whole), str(prepared), skip_symbolic_shape=True)
        graph = onnx.load(str(prepared)).graph
        results = {output.name for output in graph.output}
        kept = [node.name for node in graph.node if any(part in node.name for part in excluded) or results & {*node.output}]
        quantize_static(
            str(prepared),
            str(made),
            Feeds(feeds),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=QUANTISED,
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=kept,
            extra_options={"CalibMovingAverage": True},
        )
        model = onnx.load(str(made))
        used = [opset for opset in model.opset_import if opset.domain in {node.domain for node in model.graph.node}]
        del model.opset_import[:]
        model.opset_import.extend(used)
        onnx.save(model, str(target))
