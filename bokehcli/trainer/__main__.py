"""`python -m bokehcli.trainer DATA --out DIR`: train, show how it goes, save, export."""

import argparse
import dataclasses
import functools
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import nn

from bokehcli.errors import BokehError, DeviceError, MissingDependency, UsageError
from bokehcli.model import POINTED, ModelCard, find_lens_model
from bokehcli.opencv import cv2
from bokehcli.pairs import is_pairs, told
from bokehcli.trainer.batch import Batch
from bokehcli.trainer.checkpoint import load_checkpoint, save_checkpoint
from bokehcli.trainer.command import check, command_of, parser, preset_of
from bokehcli.trainer.data import VALIDATION_PART, Library, Maker, find_items
from bokehcli.trainer.describe import described
from bokehcli.trainer.features import load_features
from bokehcli.trainer.kind import Preset
from bokehcli.trainer.loop import Record, State, TrainOptions, has_bfloat16, train
from bokehcli.trainer.network import LIKENED_LEVELS, POINTED_LEVELS, NetworkOptions
from bokehcli.trainer.pairs import Pairs
from bokehcli.trainer.preview import preview_batch, write_preview
from bokehcli.trainer.pynet2020 import Pynet2020Options
from bokehcli.trainer.samples import MIXED, make_sample
from bokehcli.trainer.schedule import WARM_STAGES

CHECKPOINT = "last.ckpt"
ALL_DONE, MISUSE, INTERRUPTED = 0, 2, 130
DECODE_LONG_SIDE = 1280
GIB = 1 << 30


def open_data(arguments: argparse.Namespace, mix: str) -> tuple[Maker, Maker]:
    """What makes samples from DATA, to train on and to look at: pairs where it holds pairs, else photos with mattes."""
    data: Path = arguments.data
    if data.is_dir() and is_pairs(data):
        if mix != MIXED:
            raise UsageError(f"{data}: --preset {mix} needs photos with mattes, not pairs")
        say("looking at the pairs")
        pairs = Pairs(data, arguments.sample, arguments.seed or 0)
        for line in told(pairs.left_out):
            say(line)
        say(f"{len(pairs)} pairs, {len(pairs.held)} others for validation")
        return pairs.make, pairs.make_held
    if arguments.sample:
        raise UsageError(f"{data}: --sample is for pairs (original/ and bokeh/)")
    items = [item for item in find_items(data) if item.part != VALIDATION_PART]
    if not items:
        raise UsageError(f"{data}: all photos are held out for validation; there is nothing to train on")
    library = Library(items, DECODE_LONG_SIDE, int(arguments.cache * GIB))
    library.fill()
    say(f"{len(library)} photos with mattes")
    make = functools.partial(make_sample, library, mix=mix)
    return make, make


def device_of(name: str) -> str:
    """The device that is asked for, if it is there; auto is the fastest one. Raises DeviceError."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return next(device for device, found in there.items() if found)
    if name not in there:
        raise UsageError(f"--device {name}: auto, cpu, cuda or mps")
    if not there[name]:
        found = ", ".join(device for device, yes in there.items() if yes)
        raise DeviceError(f"--device {name}: this PyTorch ({torch.__version__}) finds only {found}")
    return name


def given_options(arguments: argparse.Namespace, preset: Preset) -> dict[str, Any]:
    """The options that the command line gives, and that may change while a run goes on."""
    given = {name: getattr(arguments, name) for name in ("steps", "rate", "seed", "workers", "threads", "times")}
    if arguments.steps is None and arguments.scale is not None:
        given["steps"] = max(1, round(preset.steps * arguments.scale))
    given["device"] = device_of(arguments.device)
    return {name: value for name, value in given.items() if value is not None}


def resumed_state(arguments: argparse.Namespace, preset: Preset) -> State | None:
    """From the last checkpoint, if there is one to go on from."""
    checkpoint = arguments.out / CHECKPOINT
    if arguments.fresh or not checkpoint.exists():
        return None
    state = load_checkpoint(checkpoint, **given_options(arguments, preset))
    say(f"going on from step {state.step} of {checkpoint}")
    return state


def new_state(arguments: argparse.Namespace, preset: Preset, base: ModelCard | None, make: Maker) -> State:
    """From an exported model, else from nothing."""
    given = {"steps": preset.steps, "rate": preset.rate, **given_options(arguments, preset)}
    if base is None:
        if arguments.blend is not None:
            raise UsageError("--blend: needs --from, the model to take the mean with")
        return State(TrainOptions(network=network_of(arguments, preset), stages=preset.stages, **given))
    from bokehcli.trainer.warm import load_exported, network_options

    pointed = preset.mix == POINTED
    network = with_blocks(network_options(base, pointed), arguments.blocks)
    if pointed:
        network = dataclasses.replace(network, pointed_levels=POINTED_LEVELS, likened_levels=LIKENED_LEVELS)
    stages = WARM_STAGES if arguments.preset in (None, "full") else preset.stages
    state = State(TrainOptions(network=network, stages=stages, mix=preset.mix, **given))
    blend = None if arguments.blend is None else (find_lens_model(arguments.blend), arguments.share)
    loaded = load_exported(base, make, state.options.seed, network, blend, pointed).state_dict()
    state.network.load_state_dict(loaded)
    state.average.load_state_dict(loaded)
    say(f"going on from the weights of {base.folder}")
    return state


def network_of(arguments: argparse.Namespace, preset: Preset) -> Any:
    """The network's options, with what the command line says of them. Raises UsageError."""
    network = preset.network
    if isinstance(network, Pynet2020Options):
        return dataclasses.replace(network, residual=not arguments.as_published)
    return with_blocks(network, arguments.blocks)


def with_blocks(network: NetworkOptions, blocks: tuple[int, ...] | None) -> NetworkOptions:
    """The options with other counts of blocks, if any are given. Raises UsageError."""
    if blocks is None:
        return network
    if len(blocks) != len(network.blocks) or min(blocks) < 1:
        raise UsageError(f"--blocks: {len(network.blocks)} counts of at least 1 are needed")
    return dataclasses.replace(network, blocks=blocks)


def make_folder(folder: Path) -> None:
    """Make a folder unless it is there. Raises UsageError where that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder}: no folder can be made there ({error.strerror or error})") from error


class Stop:
    """Set by Ctrl-C or SIGTERM; the loop looks at it between steps."""

    def __init__(self) -> None:
        self.asked = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self.ask)

    def ask(self, _number: int, _frame: FrameType | None) -> None:
        """Ask for a stop; a second time is once too often for a checkpoint."""
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


class Report:
    """A line on stderr every few seconds: step, level, loss, learning rate, pictures a second, time left."""

    EVERY_S = 5.0

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.losses: list[float] = []
        self.pictures = 0
        self.since = time.monotonic()

    def add(self, record: Record) -> None:
        """Take in one step."""
        self.losses.append(record.loss)
        self.pictures += record.pictures
        elapsed_s = time.monotonic() - self.since
        if elapsed_s < self.EVERY_S and record.step < self.steps:
            return
        stage = record.stage
        level = f"{stage.octaves} octaves" if stage.octaves else f"level {stage.lowest}"
        left_min = (self.steps - record.step) * elapsed_s / len(self.losses) / 60
        say(
            f"step {record.step}/{self.steps}  {level} at {stage.size} px  loss {sum(self.losses) / len(self.losses):.4f}  "
            f"rate {record.rate:.2e}  {self.pictures / elapsed_s:.1f} pictures/s  {left_min:.0f} min left"
        )
        self.losses, self.pictures, self.since = [], 0, time.monotonic()


def say(text: str) -> None:
    """One line for people."""
    print(text, file=sys.stderr, flush=True)


def look(state: State, samples: Batch, folder: Path) -> None:
    """Write a preview, and say what is wrong with it."""
    columns = state.kind.columns(state.average, samples.to(state.device), state.stage)
    write_preview(columns, folder / "previews" / f"step-{state.step:07d}.jpg")
    for line in state.kind.complaints(columns):
        say(f"step {state.step}: {line}")


def run(arguments: argparse.Namespace) -> int:
    """Train until the schedule, the minutes or the user end it; save and export. Returns the exit status."""
    check(arguments)
    preset = preset_of(arguments)
    if arguments.describe is not None:
        for line in described(network_of(arguments, preset), arguments.describe[::-1]):
            print(line, flush=True)
        return ALL_DONE
    try:
        import onnx  # noqa: F401 (that it is there is known before hours of training, not after)
    except ImportError as error:
        raise MissingDependency("exporting needs the package onnx: pip install 'bokehcli[train]'") from error
    cv2.setNumThreads(1)  # workers are forked: a thread pool would not survive that, and the cores belong to torch
    state = resumed_state(arguments, preset)
    mix = preset.mix if state is None else state.options.mix
    base = None if arguments.model is None else find_lens_model(arguments.model)
    if mix != MIXED and base is None:
        raise UsageError(f"--preset {mix}: needs --from, the model that the network is to be a part of")
    features: nn.Module | None = None
    if arguments.perceptual is not None:
        features = load_features(arguments.perceptual, torch.device(device_of(arguments.device)))
    make, make_seen = open_data(arguments, mix)
    state = state or new_state(arguments, preset, base, make)
    precision = "bfloat16" if has_bfloat16(state.device) else "float32"
    say(f"{state.options.steps} steps on {state.device} in {precision}")
    make_folder(arguments.out)
    stop = Stop()
    report = Report(state.options.steps)
    began = saved = previewed = time.monotonic()
    samples = preview_batch(make_seen, state.options.seed, state.kind.preview_px(state.options.stages))
    for record in train(state, make, features):
        report.add(record)
        now = time.monotonic()
        ends = stop.asked or (arguments.minutes and now - began > 60 * arguments.minutes)
        if ends:
            break
        if now - saved > 60 * arguments.save_every:
            save_checkpoint(state, arguments.out / CHECKPOINT)
            saved = now
        if now - previewed > 60 * arguments.preview_every:
            look(state, samples, arguments.out)
            previewed = now
    save_checkpoint(state, arguments.out / CHECKPOINT)
    look(state, samples, arguments.out)
    about = {
        "network": dataclasses.asdict(state.options.network),
        "trained": {"steps": state.step, "of": state.options.steps, "seed": state.options.seed},
        "data": arguments.note or "not stated",
        "command": command_of(arguments),
    }
    asked = argparse.Namespace(**vars(arguments), mix=mix)
    card, difference = state.kind.export(state.average.cpu(), about, samples, state.stage, asked, base)
    say(f"step {state.step} of {state.options.steps}; model written to {card.folder}")
    say(f"on {len(samples.photo)} samples ONNX Runtime and torch differ by at most {difference:.1e}")
    print(card.folder, flush=True)
    return INTERRUPTED if stop.asked else ALL_DONE


def main() -> int:
    """Exit status 0: done. 2: misuse. 130: interrupted, with a checkpoint."""
    try:
        if sys.argv[1:2] == ["export"]:
            from bokehcli.trainer.quantise import main as export

            return export(sys.argv[2:])
        return run(parser().parse_args())
    except BokehError as error:
        say(f"bokeh train: {error}")
        return MISUSE
    except KeyboardInterrupt:
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
