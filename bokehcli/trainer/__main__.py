"""`python -m bokehcli.trainer DATA --out DIR`: train, show how it goes, save, export."""

import argparse
import dataclasses
import functools
import shlex
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

from bokehcli.errors import BokehError, MissingDependency, UsageError
from bokehcli.model import POINTED, ModelCard, find_model
from bokehcli.opencv import cv2
from bokehcli.trainer.checkpoint import load_checkpoint, save_checkpoint
from bokehcli.trainer.data import VALIDATION_PART, Library, Maker, find_items
from bokehcli.trainer.loop import Record, State, TrainOptions, train
from bokehcli.trainer.network import LIKENED_LEVELS, POINTED_LEVELS, NetworkOptions
from bokehcli.trainer.pairs import Pairs, is_pairs
from bokehcli.trainer.preview import preview_batch, write_preview
from bokehcli.trainer.scenes import make_sample
from bokehcli.trainer.schedule import OCTAVES, POINTED_STAGES, STAGES, TINY_STAGES, WARM_STAGES

CHECKPOINT = "last.ckpt"
POINTED_PRESET = "pointed"
PRESETS = {
    "full": (NetworkOptions(), STAGES),
    "octaves": (NetworkOptions(), (OCTAVES,)),
    POINTED_PRESET: (NetworkOptions(), POINTED_STAGES),
    "tiny": (NetworkOptions(widths=(8, 12, 16, 24, 32), blocks=(1, 1, 1, 1, 1), octave=8), TINY_STAGES),
}
ALL_DONE, MISUSE, INTERRUPTED = 0, 2, 130
DECODE_LONG_SIDE = 1280
GIB = 1 << 30


def parser() -> argparse.ArgumentParser:
    """The command line."""
    defaults = TrainOptions()
    result = argparse.ArgumentParser(
        prog="bokeh train",
        description="Train a model. Started again with the same DIR it goes on from the last checkpoint.",
        epilog="DATA: a folder of tar shards or of photos with mattes (NAME.photo.EXT beside NAME.matte.EXT, or "
        "photos/NAME.EXT and mattes/NAME.EXT), or of pairs (original/NAME.EXT and bokeh/NAME.EXT).",
    )
    add = result.add_argument
    add("data", metavar="DATA", type=Path)
    add("--out", metavar="DIR", type=Path, required=True, help="checkpoint, previews and the exported model")
    add("--steps", type=int, default=defaults.steps, help="of the whole schedule (%(default)s)")
    alone = "sizes; octaves: these alone; pointed: the network that bokeh run --focus asks (%(default)s)"
    add("--preset", choices=sorted(PRESETS), default="full", help=alone)
    add("--rate", type=float, default=defaults.rate, help="peak learning rate (%(default)s)")
    add("--seed", type=int, default=defaults.seed, help="of weights and samples (%(default)s)")
    add("--workers", type=int, default=defaults.workers, help="processes that make samples (%(default)s)")
    add("--threads", type=int, default=defaults.threads, help="of the arithmetic; 0 is one a core")
    add("--minutes", type=float, default=0.0, help="stop with a checkpoint after that long; 0 is never")
    add("--sample", type=int, default=0, help="train on that many pairs, chosen by the seed; 0 is all")
    add("--from", dest="model", metavar="DIR", type=Path, help="go on from the weights of an exported model")
    add("--blend", dest="blend", metavar="DIR", type=Path, help="with --from: begin with the mean of its weights and these")
    add("--share", type=share, default=0.5, help="of the --blend model in that mean, 0 to 1 (%(default)s)")
    add("--blocks", type=counts, metavar="N,N,N,N,N", help="residual blocks of levels 3 to 7; with --from as many or more")
    add("--fresh", action="store_true", help="begin anew even if DIR holds a checkpoint")
    add("--long-side", type=int, default=0, help="of the picture the exported global network sees; 0 is the default")
    add("--note", default="", help="what the model card is to say of the training data and its licence")
    add("--cache", type=float, default=4.0, help="GiB of decoded photos to keep in memory (%(default)s)")
    add("--save-every", type=float, default=3.0, help="minutes between checkpoints (%(default)s)")
    add("--preview-every", type=float, default=10.0, help="minutes between previews (%(default)s)")
    return result


def counts(text: str) -> tuple[int, ...]:
    """'1,2,3' as numbers. Raises ValueError, which argparse reports."""
    return tuple(int(part) for part in text.split(","))


def share(text: str) -> float:
    """A number from 0 to 1. Raises ValueError, which argparse reports."""
    value = float(text)
    if not 0.0 <= value <= 1.0:
        raise ValueError
    return value


def open_data(arguments: argparse.Namespace, pointed: bool) -> Maker:
    """What makes samples from DATA: pairs where it holds pairs, else photos with mattes."""
    data: Path = arguments.data
    if data.is_dir() and is_pairs(data):
        if pointed:
            raise UsageError(f"{data}: nobody points in pairs; --preset {POINTED_PRESET} needs photos with mattes")
        pairs = Pairs(data, arguments.sample, arguments.seed)
        say(f"{len(pairs)} pairs")
        return pairs.make
    if arguments.sample:
        raise UsageError(f"{data}: --sample is for pairs (original/ and bokeh/)")
    items = [item for item in find_items(data) if item.part != VALIDATION_PART]
    if not items:
        raise UsageError(f"{data}: all photos are held out for validation; there is nothing to train on")
    library = Library(items, DECODE_LONG_SIDE, int(arguments.cache * GIB))
    library.fill()
    say(f"{len(library)} photos with mattes")
    return functools.partial(make_sample, library, pointed=pointed)


def given_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """The options that may change while a run goes on."""
    return {name: getattr(arguments, name) for name in ("steps", "rate", "seed", "workers", "threads")}


def resumed_state(arguments: argparse.Namespace) -> State | None:
    """From the last checkpoint, if there is one to go on from."""
    checkpoint = arguments.out / CHECKPOINT
    if arguments.fresh or not checkpoint.exists():
        return None
    state = load_checkpoint(checkpoint, **given_options(arguments))
    say(f"going on from step {state.step} of {checkpoint}")
    return state


def new_state(arguments: argparse.Namespace, base: ModelCard | None, make: Maker) -> State:
    """From an exported model, else from nothing."""
    network, stages = PRESETS[arguments.preset]
    given = given_options(arguments)
    if base is None:
        if arguments.blend is not None:
            raise UsageError("--blend: needs --from, the model to take the mean with")
        return State(TrainOptions(network=with_blocks(network, arguments.blocks), stages=stages, **given))
    from bokehcli.trainer.warm import load_exported, network_options

    pointed = arguments.preset == POINTED_PRESET
    network = with_blocks(network_options(base, pointed), arguments.blocks)
    if pointed:
        network = dataclasses.replace(network, pointed_levels=POINTED_LEVELS, likened_levels=LIKENED_LEVELS)
    stages = WARM_STAGES if arguments.preset == "full" else stages
    state = State(TrainOptions(network=network, stages=stages, pointed=pointed, **given))
    blend = None if arguments.blend is None else (find_model(arguments.blend), arguments.share)
    loaded = load_exported(base, make, arguments.seed, network, blend, pointed).state_dict()
    state.network.load_state_dict(loaded)
    state.average.load_state_dict(loaded)
    say(f"going on from the weights of {base.folder}")
    return state


def with_blocks(network: NetworkOptions, blocks: tuple[int, ...] | None) -> NetworkOptions:
    """The options with other counts of blocks, if any are given. Raises UsageError."""
    if blocks is None:
        return network
    if len(blocks) != len(network.blocks) or min(blocks) < 1:
        raise UsageError(f"--blocks: {len(network.blocks)} counts of at least 1 are needed")
    return dataclasses.replace(network, blocks=blocks)


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


def command_of(arguments: argparse.Namespace) -> str:
    """The command line for the model card, without paths, which mean nothing elsewhere, and without the note."""
    given = vars(arguments)
    parts = ["bokeh", "train", "DATA", "--out", "DIR"]
    for action in parser()._actions:
        value = given.get(action.dest)
        if action.option_strings and action.dest not in ("out", "note", "help") and value != action.default:
            text = ",".join(map(str, value)) if isinstance(value, tuple) else "DIR" if isinstance(value, Path) else str(value)
            shown = [] if value is True else [text]
            parts += [action.option_strings[0], *shown]
    return shlex.join(parts)


def run(arguments: argparse.Namespace) -> int:
    """Train until the schedule, the minutes or the user end it; save and export. Returns the exit status."""
    try:
        from bokehcli.trainer.export import LONG_SIDE, export_model, export_pointed, parity
    except ImportError as error:
        raise MissingDependency("exporting needs the package onnx: pip install 'bokehcli[train]'") from error
    cv2.setNumThreads(1)  # workers are forked: a thread pool would not survive that, and the cores belong to torch
    state = resumed_state(arguments)
    pointed = arguments.preset == POINTED_PRESET if state is None else state.options.pointed
    base = None if arguments.model is None else find_model(arguments.model)
    if pointed and base is None:
        raise UsageError(f"--preset {POINTED_PRESET}: needs --from, the model that the network is to be a part of")
    make = open_data(arguments, pointed)
    state = state or new_state(arguments, base, make)
    arguments.out.mkdir(parents=True, exist_ok=True)
    stop = Stop()
    report = Report(state.options.steps)
    began = saved = previewed = time.monotonic()
    samples = preview_batch(make, state.options.seed)
    for record in train(state, make):
        report.add(record)
        now = time.monotonic()
        ends = stop.asked or (arguments.minutes and now - began > 60 * arguments.minutes)
        if ends:
            break
        if now - saved > 60 * arguments.save_every:
            save_checkpoint(state, arguments.out / CHECKPOINT)
            saved = now
        if now - previewed > 60 * arguments.preview_every:
            write_preview(state.average, samples, arguments.out / "previews" / f"step-{record.step:07d}.jpg")
            previewed = now
    save_checkpoint(state, arguments.out / CHECKPOINT)
    write_preview(state.average, samples, arguments.out / "previews" / f"step-{state.step:07d}.jpg")
    about = {
        "network": dataclasses.asdict(state.options.network),
        "trained": {"steps": state.step, "of": state.options.steps, "seed": state.options.seed},
        "data": arguments.note or "not stated",
        "command": command_of(arguments),
    }
    if pointed and base is not None:
        card = export_pointed(state.average, arguments.out, about, base)
    else:
        card = export_model(state.average, arguments.out, about, arguments.long_side or LONG_SIDE, base)
    difference = parity(state.average, card, samples.photo, samples.hint, POINTED if pointed else "global")
    say(f"step {state.step} of {state.options.steps}; model written to {card.folder}")
    say(f"on {len(samples.photo)} samples ONNX Runtime and torch differ by at most {difference:.1e}")
    print(card.folder, flush=True)
    return INTERRUPTED if stop.asked else ALL_DONE


def main() -> int:
    """Exit status 0: done. 2: misuse. 130: interrupted, with a checkpoint."""
    try:
        return run(parser().parse_args())
    except BokehError as error:
        say(f"bokeh train: {error}")
        return MISUSE
    except KeyboardInterrupt:
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
