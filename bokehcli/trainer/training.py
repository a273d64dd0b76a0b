"""`bokeh train DATA --out DIR`: train, show how it goes, save, export."""

import argparse
import dataclasses
import functools
import sys
import time
from contextlib import suppress
from pathlib import Path

import torch
from torch import nn

from bokehcli.errors import BokehError, DivergenceError, MissingDependency, TrainingError, UsageError, WriteError
from bokehcli.interrupts import INTERRUPTED
from bokehcli.model import find_lens_model
from bokehcli.opencv import cv2
from bokehcli.pairs import is_pairs, told
from bokehcli.trainer.batch import Batch
from bokehcli.trainer.checkpoint import CHECKPOINT, save_checkpoint
from bokehcli.trainer.command import check, command_of, parser, preset_name, preset_of
from bokehcli.trainer.data import VALIDATION_PART, Library, Maker, find_items
from bokehcli.trainer.describe import described
from bokehcli.trainer.features import load_features, try_out
from bokehcli.trainer.folder import claimed, writing
from bokehcli.trainer.kind import Preset
from bokehcli.trainer.loop import State, TrainOptions, cause_of, has_bfloat16, train
from bokehcli.trainer.pairs import Pairs
from bokehcli.trainer.preview import preview_batch, write_preview
from bokehcli.trainer.report import Report, Stop, say
from bokehcli.trainer.samples import MIXED, make_sample
from bokehcli.trainer.start import device_of, network_of, new_state, resumed_state

ALL_DONE, FAILED, MISUSE = 0, 1, 2
DECODE_LONG_SIDE = 1280
GIB = 1 << 30


def open_data(arguments: argparse.Namespace, mix: str, held: TrainOptions | None) -> tuple[Maker, Maker]:
    """What makes samples from DATA, to train on and to look at: pairs where it holds pairs, else photos with mattes.

    held: the options of what is gone on with, which say what pairs were chosen.
    """
    data: Path = arguments.data
    if data.is_dir() and is_pairs(data):
        if mix != MIXED:
            raise UsageError(f"{data}: --preset {mix} needs photos with mattes, not pairs")
        say("looking at the pairs")
        number = arguments.sample if held is None or held.sample is None else held.sample
        pairs = Pairs(data, number or 0, (arguments.seed or 0) if held is None else held.seed)
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
    for line in told([line for _, line in sorted(library.faults.items())]):
        say(line)
    say(f"{len(library) - len(library.faults)} photos with mattes")
    make = functools.partial(make_sample, library, mix=mix)
    return make, make


def look(state: State, samples: Batch, folder: Path) -> None:
    """Write a preview, and say what is wrong with it."""
    columns = state.kind.columns(state.average, samples.to(state.device), state.stage)
    write_preview(columns, folder / "previews" / f"step-{state.step:07d}.jpg")
    for line in state.kind.complaints(columns):
        say(f"step {state.step}: {line}")


def learn(
    state: State, make: Maker, arguments: argparse.Namespace, samples: Batch, stop: Stop, features: nn.Module | None = None
) -> None:
    """Train until the schedule, the minutes or the user end it, with a checkpoint at the end.

    samples: to look at. Raises TrainingError, or another BokehError, after a checkpoint if the state is good for one.
    """
    checkpoint, report = arguments.out / CHECKPOINT, Report(state.options.steps)
    began = saved = previewed = time.monotonic()
    try:
        for record in train(state, make, features):
            report.add(record)
            now = time.monotonic()
            if stop.wanted or (arguments.minutes and now - began > 60 * arguments.minutes):
                break
            if now - saved > 60 * arguments.save_every:
                save_checkpoint(state, checkpoint)
                saved = now
            if now - previewed > 60 * arguments.preview_every:
                look(state, samples, arguments.out)
                previewed = now
    except DivergenceError:
        raise
    except Exception as error:  # whatever it is, what was done until then is kept
        with suppress(BokehError):  # it may be that nothing can be written
            save_checkpoint(state, checkpoint)
            say(f"step {state.step} is in {checkpoint}")
        if isinstance(error, BokehError):
            raise
        raise TrainingError(f"after step {state.step}: {type(error).__name__}: {cause_of(error)}") from error
    save_checkpoint(state, checkpoint)


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
    with claimed(arguments.out):
        return train_in(arguments, preset)


def train_in(arguments: argparse.Namespace, preset: Preset) -> int:
    """`run` in a folder that no other training has."""
    cv2.setNumThreads(1)  # workers are forked: a thread pool would not survive that, and the cores belong to torch
    base = None if arguments.model is None else find_lens_model(arguments.model)
    state = resumed_state(arguments, preset, base)
    mix = preset.mix if state is None else state.options.mix
    octaves_alone = state is None and all(stage.octaves for stage in preset.stages)
    if base is None and (mix != MIXED or octaves_alone):
        name = preset_name(arguments) if octaves_alone else mix
        raise UsageError(f"--preset {name}: needs --from, the model that the network is to be a part of")
    features: nn.Module | None = None
    if arguments.perceptual is not None:
        features = load_features(arguments.perceptual, torch.device(device_of(arguments.device)))
    make, make_seen = open_data(arguments, mix, None if state is None else state.options)
    state = state or new_state(arguments, preset, base, make)
    if features is not None:
        last = state.options.stages[-1]
        together = state.options.at_once(last.batch * state.options.times)
        try_out(features, arguments.perceptual, together, last.size, state.device)
    precision = "bfloat16" if has_bfloat16(state.device) else "float32"
    say(f"{state.options.steps} steps on {state.device} in {precision}")
    stop = Stop()
    samples = preview_batch(make_seen, state.options.seed, state.kind.preview_px(state.options.stages))
    learn(state, make, arguments, samples, stop, features)
    if stop.alone:
        return INTERRUPTED
    look(state, samples, arguments.out)
    about = {
        "network": dataclasses.asdict(state.options.network),
        "trained": {"steps": state.step, "of": state.options.steps, "seed": state.options.seed},
        "data": arguments.note or "not stated",
        "command": command_of(arguments),
    }
    asked = argparse.Namespace(**vars(arguments), mix=mix)
    with writing(arguments.out):
        card, difference = state.kind.export(state.average.cpu(), about, samples, state.stage, asked, base)
    say(f"step {state.step} of {state.options.steps}; model written to {card.folder}")
    say(f"on {len(samples.photo)} samples ONNX Runtime and torch differ by at most {difference:.1e}")
    print(card.folder, flush=True)
    return INTERRUPTED if stop.asked else ALL_DONE


def main() -> int:
    """Exit status 0: done. 1: training could not go on, or nothing be written. 2: misuse. 130: interrupted, with a checkpoint.

    Raises KeyboardInterrupt where there was no time for one.
    """
    try:
        if sys.argv[1:2] == ["export"]:
            from bokehcli.trainer.quantise import main as export

            return export(sys.argv[2:])
        return run(parser().parse_args())
    except BokehError as error:
        say(f"bokeh train: {error}")
        return FAILED if isinstance(error, TrainingError | WriteError) else MISUSE
