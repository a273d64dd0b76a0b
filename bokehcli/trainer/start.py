"""Where training begins: from a checkpoint, from an exported model, or from nothing."""

import argparse
import dataclasses
from collections.abc import Iterator
from typing import Any

import torch

from bokehcli.errors import DeviceError, UsageError
from bokehcli.model import POINTED, ModelCard, find_lens_model
from bokehcli.trainer.checkpoint import CHECKPOINT, load_checkpoint
from bokehcli.trainer.command import preset_name
from bokehcli.trainer.data import Maker
from bokehcli.trainer.features import digest_of
from bokehcli.trainer.kind import Preset
from bokehcli.trainer.loop import State, TrainOptions
from bokehcli.trainer.network import LIKENED_LEVELS, POINTED_LEVELS, NetworkOptions
from bokehcli.trainer.networks import KINDS, name_of
from bokehcli.trainer.pynet2020 import Pynet2020Options
from bokehcli.trainer.report import say
from bokehcli.trainer.schedule import WARM_STAGES


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


def given_options(arguments: argparse.Namespace, steps: int) -> dict[str, Any]:
    """The options that the command line gives, and that may change while a run goes on. steps: of the preset, for --scale."""
    given = {name: getattr(arguments, name) for name in ("steps", "rate", "seed", "workers", "threads", "times", "split")}
    if arguments.steps is None and arguments.scale is not None:
        given["steps"] = max(1, round(steps * arguments.scale))
    given["device"] = device_of(arguments.device)
    if arguments.perceptual is not None:
        given["perceptual"] = digest_of(arguments.perceptual)
    return {name: value for name, value in given.items() if value is not None}


def resumed_state(arguments: argparse.Namespace, preset: Preset, base: ModelCard | None) -> State | None:
    """From the last checkpoint, if there is one to go on from. Raises UsageError where that is of another training."""
    checkpoint = arguments.out / CHECKPOINT
    if arguments.fresh or not checkpoint.exists():
        return None

    def changed(held: TrainOptions) -> TrainOptions:
        for option in contradicted(arguments, preset, base, held):
            raise UsageError(f"{checkpoint} was made with another {option}; leave it out to go on, or begin anew with --fresh")
        if held.perceptual and arguments.perceptual is None:
            raise UsageError(f"{checkpoint} was made with --perceptual; give the file again, or begin anew with --fresh")
        planned = KINDS[name_of(held.network)].presets.get(held.preset or "", preset)
        return dataclasses.replace(held, **given_options(arguments, planned.steps))

    state = load_checkpoint(checkpoint, changed)
    say(f"going on from step {state.step} of {checkpoint}")
    return state


def contradicted(arguments: argparse.Namespace, preset: Preset, base: ModelCard | None, held: TrainOptions) -> Iterator[str]:
    """The options of the command line that say something else than the checkpoint with the options `held`."""
    if arguments.network is not None and arguments.network != name_of(held.network):
        yield "--network"
    named = arguments.preset is not None
    if named and (preset.mix != held.mix or held.preset not in (None, arguments.preset)):
        yield "--preset"
    replaced = base is not None and arguments.out.exists() and base.folder.samefile(arguments.out)  # by what was made of it
    if base is not None and not replaced and held.base not in (None, base.digest()):
        yield "--from"
    if arguments.blocks is not None and arguments.blocks != getattr(held.network, "blocks", None):
        yield "--blocks"
    if arguments.sample is not None and held.sample not in (None, arguments.sample):
        yield "--sample"
    if arguments.seed not in (None, held.seed) and held.sample:  # it chose the pairs
        yield "--seed"
    if held.perceptual and arguments.perceptual is not None and digest_of(arguments.perceptual) != held.perceptual:
        yield "--perceptual"
    if arguments.as_published and getattr(held.network, "residual", True):
        yield "--as-published"


def new_state(arguments: argparse.Namespace, preset: Preset, base: ModelCard | None, make: Maker) -> State:
    """From an exported model, else from nothing."""
    about = {"preset": preset_name(arguments), "base": "" if base is None else base.digest(), "sample": arguments.sample or 0}
    about |= {"steps": preset.steps, "rate": preset.rate, "perceptual": ""}
    given = {**about, **given_options(arguments, preset.steps)}
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
