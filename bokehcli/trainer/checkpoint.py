"""Checkpoints: weights, average, optimiser, step, options and random state in one file, written atomically."""

import dataclasses
import os
import pickle
from pathlib import Path
from typing import Any

import torch

from bokehcli.errors import ModelError
from bokehcli.model import POINTED
from bokehcli.trainer.loop import State, TrainOptions
from bokehcli.trainer.networks import KINDS, LENS, name_of
from bokehcli.trainer.schedule import stage_from

FORMAT = 1


def save_checkpoint(state: State, path: Path) -> None:
    """Write all of `state` to `path`; a reader sees the old file or the new one, never a part."""
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
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")
    with partial.open("wb") as file:
        torch.save(held, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def options_of(held: dict[str, Any]) -> TrainOptions:
    """The options a checkpoint was made with."""
    options = dict(held["options"])
    options["network"] = KINDS[held.get("kind", LENS)].restored(options["network"])
    if options.pop("pointed", False):  # as it was written before there were more mixes than two
        options["mix"] = POINTED
    options["stages"] = tuple(stage_from(stage) for stage in options["stages"])
    return TrainOptions(**options)


def load_checkpoint(path: Path, **changed: Any) -> State:
    """The state that was saved. `changed` replaces options that do not change the network (steps, rate, workers ...).

    Raises ModelError if the file is not a checkpoint of this program.
    """
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
        if held["format"] != FORMAT:
            raise ModelError(f"{path}: checkpoint format {held['format']}, this version reads {FORMAT}")
        options = options_of(held)
        state = State(dataclasses.replace(options, **changed))
        state.network.load_state_dict(held["network"])
        state.average.load_state_dict(held["average"])
        state.optimiser.load_state_dict(held["optimiser"])
        state.step = held["step"]
        torch.set_rng_state(held["random"])
    except (OSError, EOFError, pickle.UnpicklingError, RuntimeError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: not a checkpoint of this program ({str(error).splitlines()[0]})") from error
    return state
