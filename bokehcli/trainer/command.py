"""The command line of `bokeh train`, and how it is written into a model card."""

import argparse
import math
import shlex
from pathlib import Path

from bokehcli.errors import UsageError
from bokehcli.trainer.kind import Kind, Preset
from bokehcli.trainer.loop import TrainOptions
from bokehcli.trainer.network import MULTIPLE
from bokehcli.trainer.networks import KINDS, LENS

FULL_SIZE = (1536, 1024)  # of `--describe` where no size is given
NOT_IN_CARD = ("out", "note", "help", "describe")


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
    add("data", metavar="DATA", type=Path, nargs="?")
    add("--out", metavar="DIR", type=Path, help="checkpoint, previews and the exported model")
    add("--network", choices=sorted(KINDS), help=f"ours, or PyNET as published in 2020 ({LENS})")
    add(
        "--describe",
        metavar="WxH",
        type=size,
        nargs="?",
        const=FULL_SIZE,
        help="print levels, parameters and operations for a photo of that size (1536x1024), and stop",
    )
    add("--preset", metavar="NAME", help="what is trained when: " + "; ".join(map(presets_of, KINDS)))
    add("--scale", type=positive, help="of the preset's number of steps (1.0)")
    add("--steps", type=at_least_1, help="of the whole schedule, instead of the preset's")
    add("--times", type=at_least_1, help="pictures a step, as a multiple of the preset's, where a GPU has room for more (1)")
    add("--split", type=at_least_1, help="go through a step's pictures in that many parts, where memory is short (1)")
    add("--rate", type=positive, help="peak learning rate, instead of the preset's")
    add("--device", default="auto", help="auto, cpu, cuda or mps: where the arithmetic runs (%(default)s)")
    add("--seed", type=seed, help=f"of weights and samples ({defaults.seed})")
    add("--workers", type=at_least_0, default=defaults.workers, help="processes that make samples (%(default)s)")
    add("--threads", type=at_least_0, default=defaults.threads, help="of the arithmetic; 0 is one a core")
    add("--minutes", type=not_negative, default=0.0, help="stop with a checkpoint after that long; 0 is never")
    add("--sample", type=at_least_0, help="train on that many pairs, chosen by the seed; 0 is all (0)")
    add("--perceptual", metavar="FILE", type=Path, help="pynet2020: feature network for level 1's loss (ONNX, .pt2, .pt)")
    add("--as-published", action="store_true", help="pynet2020: levels 2 and 1 without the guard against drifting colours")
    add("--from", dest="model", metavar="DIR", type=Path, help="lens: go on from the weights of an exported model")
    add("--blend", dest="blend", metavar="DIR", type=Path, help="with --from: begin with the mean of its weights and these")
    add("--share", type=share, default=0.5, help="of the --blend model in that mean, 0 to 1 (%(default)s)")
    add("--blocks", type=counts, metavar="N,N,N,N,N", help="lens: blocks of levels 3 to 7; with --from as many or more")
    add("--fresh", action="store_true", help="begin anew even if DIR holds a checkpoint")
    add("--long-side", type=side, default=0, help="lens: of the picture the exported global network sees; 0: the default")
    add("--note", default="", help="what the model card is to say of the training data and its licence")
    add("--cache", type=not_negative, default=4.0, help="GiB of decoded photos to keep in memory (%(default)s)")
    add("--save-every", type=not_negative, default=3.0, help="minutes between checkpoints (%(default)s)")
    add("--preview-every", type=not_negative, default=10.0, help="minutes between previews (%(default)s)")
    return result


# Options that mean something to one kind of network alone, by their names in the parsed command line.
ONLY = {LENS: ("model", "blend", "blocks", "long_side"), "pynet2020": ("perceptual", "as_published")}


def check(arguments: argparse.Namespace) -> None:
    """Raise UsageError for what does not go together."""
    if arguments.describe is None and (arguments.data is None or arguments.out is None):
        raise UsageError("DATA and --out DIR are needed; --help says what they are")
    words = {action.dest: action.option_strings[0] for action in parser()._actions if action.option_strings}
    for network, names in ONLY.items():
        for name in names:
            if getattr(arguments, name) and network != network_name(arguments):
                raise UsageError(f"{words[name]}: for --network {network} alone")


def presets_of(name: str) -> str:
    """The presets of a kind of network, for the help."""
    kind = KINDS[name]
    return f"{name}: {', '.join(n + (' (default)' if n == kind.default else '') for n in kind.presets)}"


def preset_of(arguments: argparse.Namespace) -> Preset:
    """The preset that the command line names, with its steps and rate. Raises UsageError."""
    kind: Kind = KINDS[network_name(arguments)]
    name = preset_name(arguments)
    if name not in kind.presets:
        raise UsageError(f"--preset {name}: network {network_name(arguments)} has {', '.join(kind.presets)}")
    return kind.presets[name]


def preset_name(arguments: argparse.Namespace) -> str:
    """The preset's name, the network's default where none is given."""
    return arguments.preset or KINDS[network_name(arguments)].default


def network_name(arguments: argparse.Namespace) -> str:
    """The name of the kind of network, ours where none is given."""
    return arguments.network or LENS


def counts(text: str) -> tuple[int, ...]:
    """'1,2,3' as numbers. Raises ValueError, which argparse reports."""
    return tuple(int(part) for part in text.split(","))


def size(text: str) -> tuple[int, int]:
    """'1536x1024' as (width, height). Raises ValueError, which argparse reports."""
    width, height = (int(part) for part in text.lower().split("x"))
    if min(width, height) < 1:
        raise ValueError
    return width, height


def side(text: str) -> int:
    """0, or pixels of which the global network can see something. Raises ValueError, which argparse reports."""
    value = int(text)
    if value and value < MULTIPLE:
        raise ValueError
    return value


def at_least_0(text: str) -> int:
    """A whole number from 0 on. Raises ValueError, which argparse reports."""
    value = int(text)
    if value < 0:
        raise ValueError
    return value


def at_least_1(text: str) -> int:
    """A whole number from 1 on. Raises ValueError, which argparse reports."""
    value = at_least_0(text)
    if value < 1:
        raise ValueError
    return value


def share(text: str) -> float:
    """A number from 0 to 1. Raises ValueError, which argparse reports."""
    value = float(text)
    if not 0.0 <= value <= 1.0:
        raise ValueError
    return value


def seed(text: str) -> int:
    """A whole number from 0 on that PyTorch takes for a seed. Raises ValueError, which argparse reports."""
    value = at_least_0(text)
    if value >= 1 << 63:
        raise ValueError
    return value


def positive(text: str) -> float:
    """A finite number above 0. Raises ValueError, which argparse reports."""
    value = not_negative(text)
    if value == 0.0:
        raise ValueError
    return value


def not_negative(text: str) -> float:
    """A finite number from 0 on. Raises ValueError, which argparse reports."""
    value = float(text)
    if not 0.0 <= value < math.inf:
        raise ValueError
    return value


def command_of(arguments: argparse.Namespace) -> str:
    """The command line for the model card, without paths, which mean nothing elsewhere, and without the note."""
    given = vars(arguments)
    parts = ["bokeh", "train", "DATA", "--out", "DIR"]
    for action in parser()._actions:
        value = given.get(action.dest)
        if action.option_strings and action.dest not in NOT_IN_CARD and value != action.default:
            text = ",".join(map(str, value)) if isinstance(value, tuple) else "DIR" if isinstance(value, Path) else str(value)
            shown = [] if value is True else [text]
            parts += [action.option_strings[0], *shown]
    return shlex.join(parts)
