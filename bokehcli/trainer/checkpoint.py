"""Checkpoints: weights, average, optimiser, step, options and random state in one file, written atomically."""

import dataclasses
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from bokehcli.errors import DivergenceError, ModelError
from bokehcli.model import POINTED
from bokehcli.trainer.folder import writing
from bokehcli.trainer.loop import CURE, State, TrainOptions
from bokehcli.trainer.networks import KINDS, LENS, name_of
from bokehcli.trainer.schedule import stage_from

CHECKPOINT = "last.ckpt"  # in the output folder
FORMAT = 1
COLAB = "COLAB_RELEASE_TAG"  # in the environment there


def save_checkpoint(state: State, path: Path) -> None:
    """Write all of `state` to `path`; a reader sees the old file or the new one, never a part.

    In Colab the old file is emptied first. It may lie on a mounted drive, which is said to keep what goes in its bin, where it
    still counts (googlecolab/colabtools, issue 1269): half a gigabyte every three minutes. Killed in between,
    `load_checkpoint` finds the new one. Raises DivergenceError, and leaves what is there, for a state that is not finite,
    and WriteError.
    """
    if not state.is_finite():
        raise DivergenceError(f"{path}: not replaced, for after step {state.step} the weights are not finite; {CURE}")
    held = {
        "format": FORMAT,
        "network": state.network.state_dict(),
        "average": state.average.state_dict(),
        "optimiser": state.optimiser.state_dict(),
        "step": state.step,
        "kind": name_of(state.options.network),
        "options": dataclasses.asdict(state.options),
        "random": torch.get_rng_state(),
    }
    partial = partial_of(path)
    with writing(path, (OSError, RuntimeError)):  # the latter is PyTorch's
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                torch.save(held, file)
                file.flush()
                os.fsync(file.fileno())
        except (OSError, RuntimeError):
            partial.unlink(missing_ok=True)
            raise
        if COLAB in os.environ:
            path.open("wb").close()
        partial.replace(path)


def partial_of(path: Path) -> Path:
    """Where a checkpoint is written before it takes its place."""
    return path.with_name(path.name + ".part")


def options_of(held: dict[str, Any]) -> TrainOptions:
    """The options a checkpoint was made with."""
    options = dict(held["options"])
    options["network"] = KINDS[held.get("kind", LENS)].restored(options["network"])
    if options.pop("pointed", False):  # as it was written before there were more mixes than two
        options["mix"] = POINTED
    options["stages"] = tuple(stage_from(stage) for stage in options["stages"])
    return TrainOptions(**options)


def load_checkpoint(path: Path, changed: Callable[[TrainOptions], TrainOptions] = lambda held: held) -> State:
    """The state that was saved. changed: gives other options that do not change the network (steps, rate, workers ...).

    Raises ModelError if the file is not a checkpoint of this program, and what `changed` raises.
    """
    try:
        if not path.stat().st_size and partial_of(path).exists():  # killed between emptying the old one and replacing it
            partial_of(path).replace(path)
        held = torch.load(path, map_location="cpu", weights_only=True)
        if held["format"] != FORMAT:
            raise ModelError(f"{path}: checkpoint format {held['format']}, this version reads {FORMAT}")
        state = State(changed(options_of(held)))
        state.network.load_state_dict(held["network"])
        state.average.load_state_dict(held["average"])
        state.optimiser.load_state_dict(held["optimiser"])
        state.step = held["step"]
        torch.set_rng_state(held["random"])
    except (OSError, EOFError, pickle.UnpicklingError, RuntimeError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: not a checkpoint of this program ({str(error).splitlines()[0]})") from error
    return state
