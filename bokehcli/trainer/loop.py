"""The training loop: yields a record after each step; logging and saving belong to the caller."""

import copy
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from bokehcli.trainer.data import Maker, Sample
from bokehcli.trainer.fine import octave_losses, pair_states
from bokehcli.trainer.loss import level_loss, pair_loss
from bokehcli.trainer.network import LensNet, NetworkOptions
from bokehcli.trainer.schedule import STAGES, Stage, learning_rate, stage_at

AVERAGE_DECAY = 0.999
CLIP_NORM = 1.0
WEIGHT_DECAY = 0.02
WORKER_NICE = 15  # added to the niceness of the processes that make samples


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """steps: of the whole schedule. rate: peak learning rate. workers: processes that make samples.

    pointed: the global network is one that is always pointed at something, and shares the octaves of another one: these
    stay as they are.
    """

    steps: int = 20_000
    rate: float = 1.5e-3
    seed: int = 0
    workers: int = 1
    threads: int = 0
    network: NetworkOptions = field(default_factory=NetworkOptions)
    stages: tuple[Stage, ...] = STAGES
    pointed: bool = False


@dataclass(frozen=True)
class Record:
    """What one step did."""

    step: int
    loss: float
    rate: float
    pictures: int
    stage: Stage


@dataclass(frozen=True)
class Batch:
    """photo (N, 3, S, S), hint, alpha, defocus (N, 1, S, S) float32 in [0, 1]; weight (N,); target as photo or None."""

    photo: Tensor
    hint: Tensor
    alpha: Tensor
    defocus: Tensor
    weight: Tensor
    target: Tensor | None = None


class State:
    """All that a checkpoint restores: the network, its running average, the optimiser, the step."""

    def __init__(self, options: TrainOptions) -> None:
        torch.manual_seed(options.seed)
        self.options = options
        self.network = LensNet(options.network)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.network).requires_grad_(False).eval()
        self.network.octave.requires_grad_(not options.pointed)
        # batch norm's scales and all biases are not decayed
        decayed = [p for p in self.network.parameters() if p.ndim > 1]
        others = [p for p in self.network.parameters() if p.ndim <= 1]
        groups: list[dict[str, Any]] = [{"params": decayed}, {"params": others, "weight_decay": 0.0}]
        self.optimiser = torch.optim.AdamW(groups, lr=options.rate, weight_decay=WEIGHT_DECAY)
        self.step = 0

    def update_average(self) -> None:
        """Move the average towards the network; faster at first."""
        decay = min(AVERAGE_DECAY, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for ours, theirs in zip(self.average.state_dict().values(), self.network.state_dict().values(), strict=True):
                if ours.dtype.is_floating_point:
                    ours.lerp_(theirs, 1.0 - decay)
                else:
                    ours.copy_(theirs)


class Samples(Dataset[Sample]):
    """Samples by (number, size, fine)."""

    def __init__(self, make: Maker, seed: int) -> None:
        self.make = make
        self.seed = seed

    def __getitem__(self, key: tuple[int, int, bool]) -> Sample:
        return self.make(self.seed, *key)


class Numbers:
    """Batch sampler: for every step from `first` on, the keys of its samples. Numbers never repeat within a run."""

    def __init__(self, options: TrainOptions, first: int) -> None:
        self.options = options
        self.first = first

    def __iter__(self) -> Iterator[list[tuple[int, int, bool]]]:
        most = max(stage.batch for stage in self.options.stages)
        for step in range(self.first, self.options.steps):
            stage = stage_at(step, self.options.steps, self.options.stages)
            yield [(step * most + i, stage.size, stage.octaves > 0) for i in range(stage.batch)]

    def __len__(self) -> int:
        return max(0, self.options.steps - self.first)


def collate(samples: list[Sample]) -> Batch:
    """Stack samples; photos become float32 in [0, 1]."""

    def stack(name: str) -> Tensor:
        return torch.stack([torch.from_numpy(getattr(sample, name)) for sample in samples])

    def picture(name: str) -> Tensor:
        return stack(name).permute(0, 3, 1, 2).float().div(255.0)

    hint, alpha, defocus = (stack(name)[:, None] for name in ("hint", "alpha", "defocus"))
    weight = torch.tensor([sample.weight for sample in samples])
    return Batch(picture("photo"), hint, alpha, defocus, weight, picture("target") if samples[0].target is not None else None)


def overview_of(batch: Batch, size: int) -> Tensor:
    """(N, 4, size, size): the batch's photos and hints as the global levels see them."""
    x = torch.cat((batch.photo, batch.hint), 1)
    if x.shape[2] > size:
        x = F.adaptive_avg_pool2d(x, size)
    elif x.shape[2] < size:
        x = F.interpolate(x, size=(size, size), mode="bilinear", align_corners=False)
    return x.contiguous(memory_format=torch.channels_last)


def states_of(network: LensNet, batch: Batch, stage: Stage) -> Tensor:
    """Level 3's states of the batch, (N, STATE, h, w); of the global levels only the hidden channels learn."""
    network.network.eval()
    with torch.no_grad():
        maps, features = network.network.pyramid(overview_of(batch, stage.overview))
    return network.network.state(maps[-1], features)


def losses_of(network: LensNet, batch: Batch, stage: Stage) -> list[Tensor]:
    """Loss of each of the stage's active levels or octaves."""
    if stage.octaves:
        state = states_of(network, batch, stage)
        if batch.target is None:
            return octave_losses(network.octave, state, batch.photo, batch.alpha, stage.octaves)
        states = pair_states(network.octave, state, batch.photo, stage.octaves)
    else:
        states = network.network(overview_of(batch, stage.size), stage.lowest)
    with torch.autocast("cpu", enabled=False):  # linear light needs more than bfloat16's eight bits
        if batch.target is not None:
            return [pair_loss(x, batch.photo, batch.target) for x in states]
        pointed = (batch.hint.amax((1, 2, 3)) > 0.0).float()
        return [level_loss(x, batch.photo, batch.alpha, batch.defocus, batch.weight, pointed) for x in states]


def loss_of(network: LensNet, batch: Batch, stage: Stage) -> Tensor:
    """Mean loss of the stage's active levels or octaves."""
    return torch.stack(losses_of(network, batch, stage)).mean()


def hold_statistics(network: LensNet) -> None:
    """Keep batch norm to the statistics that it has: for going on from a trained network, in batches that are small."""
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()


def start_worker(_: int) -> None:
    """A worker leaves Ctrl-C to the process that writes the checkpoint, and the cores to that process's arithmetic.

    All threads of a layer wait for the slowest, so that a worker which takes one of two cores for a while stops both:
    with one that stands back, two cores trained on 22 instead of 17 pictures a second.
    """
    if hasattr(os, "nice"):
        os.nice(WORKER_NICE)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def train(state: State, make: Maker) -> Iterator[Record]:
    """Train from `state.step` to the end of the schedule, a record a step; `state` is up to date at every record."""
    options = state.options
    if options.threads:
        torch.set_num_threads(options.threads)
    loader: DataLoader[Any] = DataLoader(
        Samples(make, options.seed),
        batch_sampler=Numbers(options, state.step),
        collate_fn=collate,
        num_workers=options.workers,
        worker_init_fn=start_worker,
        prefetch_factor=3 if options.workers else None,
    )
    for batch in loader:
        stage = stage_at(state.step, options.steps, options.stages)
        rate = learning_rate(state.step, options.steps, options.rate, options.stages)
        for group in state.optimiser.param_groups:
            group["lr"] = rate
        state.network.train()
        state.network.octave.train(not options.pointed)
        if options.pointed:
            hold_statistics(state.network)
        with torch.autocast("cpu", torch.bfloat16):
            loss = loss_of(state.network, batch, stage)
        state.optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(state.network.parameters(), CLIP_NORM)
        state.optimiser.step()
        state.step += 1
        state.update_average()
        yield Record(state.step, float(loss.detach()), rate, stage.batch, stage)

