"""The training loop: yields a record after each step; logging and saving belong to the caller."""

import copy
import math
import multiprocessing
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from bokehcli.errors import DivergenceError, TrainingError
from bokehcli.opencv import cv2
from bokehcli.resources import keep_freed_memory
from bokehcli.trainer.batch import Batch, layout_on, stacked
from bokehcli.trainer.data import Maker, Sample
from bokehcli.trainer.network import NetworkOptions
from bokehcli.trainer.networks import kind_of
from bokehcli.trainer.samples import MIXED
from bokehcli.trainer.schedule import STAGES, Stage, learning_rate, stage_at

AVERAGE_DECAY = 0.999
CLIP_NORM = 1.0
CURE = "a lower --rate may help"
WORKER_NICE = 15  # added to the niceness of the processes that make samples


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """steps: of the whole schedule. rate: peak learning rate. workers: processes that make samples.

    network: options of a kind of network (`bokehcli.trainer.networks`). mix: of the samples (`bokehcli.trainer.samples`).
    device: where the arithmetic runs. times: pictures a step, as a multiple of what the stages say. split: in how many parts,
    one after the other, they are learned from. preset: whose stages these are. base: digest of the model that training began
    with, empty if with none. sample: how many pairs, 0 for all. perceptual: digest of the feature network's file, empty if with
    none. Older checkpoints know none of these.
    """

    steps: int = 20_000
    rate: float = 1.5e-3
    seed: int = 0
    workers: int = 1
    threads: int = 0
    network: Any = field(default_factory=NetworkOptions)
    stages: tuple[Stage, ...] = STAGES
    mix: str = MIXED
    device: str = "cpu"
    times: int = 1
    split: int = 1
    preset: str | None = None
    base: str | None = None
    sample: int | None = None
    perceptual: str | None = None

    def at_once(self, pictures: int) -> int:
        """How many of a step's pictures are learned from together."""
        return -(-pictures // self.split)


@dataclass(frozen=True)
class Record:
    """What one step did."""

    step: int
    loss: float
    rate: float
    pictures: int
    stage: Stage


class State:
    """All that a checkpoint restores: the network, its running average, the optimiser, the step."""

    def __init__(self, options: TrainOptions) -> None:
        torch.manual_seed(options.seed)
        self.options = options
        self.kind = kind_of(options.network)
        self.device = torch.device(options.device)
        self.network: Any = self.kind.build(options.network)
        self.network.to(self.device)
        self.network.to(memory_format=layout_on(self.device))  # type: ignore[call-overload]
        self.average: Any = copy.deepcopy(self.network).requires_grad_(False).eval()
        self.kind.prepare(self.network, options.mix, options.at_once(options.stages[0].batch * options.times))
        # batch norm's scales and all biases are not decayed
        decayed = [p for p in self.network.parameters() if p.ndim > 1]
        others = [p for p in self.network.parameters() if p.ndim <= 1]
        groups: list[dict[str, Any]] = [{"params": decayed}, {"params": others, "weight_decay": 0.0}]
        self.optimiser = torch.optim.AdamW(groups, lr=options.rate, weight_decay=self.kind.weight_decay)
        self.step = 0

    @property
    def stage(self) -> Stage:
        """The stage of the last step."""
        return stage_at(max(0, self.step - 1), self.options.steps, self.options.stages)

    def is_finite(self) -> bool:
        """Whether all of the network's and the average's numbers are."""
        tensors = [*self.network.state_dict().values(), *self.average.state_dict().values()]
        return all(bool(x.isfinite().all()) for x in tensors)

    def update_average(self) -> None:
        """Move the average towards the network; faster at first."""
        decay = min(AVERAGE_DECAY, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            pairs = list(zip(self.average.state_dict().values(), self.network.state_dict().values(), strict=True))
            floating = [pair for pair in pairs if pair[0].dtype.is_floating_point]
            torch._foreach_lerp_([ours for ours, _ in floating], [theirs for _, theirs in floating], 1.0 - decay)
            for ours, theirs in pairs:
                if not ours.dtype.is_floating_point:
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
        most = max(stage.batch for stage in self.options.stages) * self.options.times
        for step in range(self.first, self.options.steps):
            stage = stage_at(step, self.options.steps, self.options.stages)
            yield [(step * most + i, stage.size, stage.octaves > 0) for i in range(stage.batch * self.options.times)]

    def __len__(self) -> int:
        return max(0, self.options.steps - self.first)


def start_worker(_: int) -> None:
    """A worker leaves Ctrl-C and SIGTERM to the process that writes the checkpoint, and the cores to that one's arithmetic.

    That process tells it when to end, and a worker whose process is gone ends by itself.

    All threads of a layer wait for the slowest, so that a worker which takes one of two cores for a while stops both:
    with one that stands back, two cores trained on 22 instead of 17 pictures a second. It keeps what memory it frees: page
    faults took a quarter of the time of a sample.
    """
    keep_freed_memory()
    if hasattr(os, "nice"):
        os.nice(WORKER_NICE)
    if multiprocessing.get_start_method() != "fork":
        cv2.setNumThreads(1)  # as in the process that forks, whose threads one that is forked must not touch
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def has_bfloat16(device: torch.device) -> bool:
    """Whether arithmetic in bfloat16 is faster there than in float32.

    A CPU without AVX-512 takes 16 times as long. GPUs of before 2020 (T4, V100) emulate it, and what Apple's do depends on
    the system's release: they compute in float32.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and torch.backends.cpu.get_cpu_capability().startswith("AVX512")


def arriving(loader: DataLoader[Any]) -> Iterator[Batch]:
    """What the loader gives, until a signal ends the wait for it. Raises TrainingError where a process that makes samples
    fails or dies.

    Its processes are told to end here, not when the loader is forgotten: they are deaf to SIGTERM, and Python waits for them.
    """
    batches = iter(loader)
    try:
        yield from batches
    except InterruptedError:  # on Windows Ctrl-C ends a wait although its handler returned, which has asked for a stop
        return
    except Exception as error:  # whatever it was there, with that process's traceback in its message
        raise TrainingError(f"no more samples: {cause_of(error)}") from error
    finally:
        if loader.num_workers:
            batches._shutdown_workers()  # type: ignore[attr-defined]  # PyTorch has no public way


def cause_of(error: Exception) -> str:
    """What happened, in one line; of a message that holds a traceback, the last one."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[-1] if any(line.startswith("Traceback") or "Original Traceback" in line for line in lines) else lines[0]


def train(state: State, make: Maker, features: nn.Module | None = None) -> Iterator[Record]:
    """Train from `state.step` to the end of the schedule, a record a step; `state` is up to date at every record.

    features: what a perceptual loss compares, on the state's device, for kinds of network that have such a loss. Raises
    DivergenceError before a loss or gradients that are not finite reach the weights, and TrainingError where there are no
    samples to be had.
    """
    options, kind, network = state.options, state.kind, state.network
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.backends.cudnn.benchmark = True  # a stage's pictures are all of one size
    loader: DataLoader[Any] = DataLoader(
        Samples(make, options.seed),
        batch_sampler=Numbers(options, state.step),
        collate_fn=stacked,
        num_workers=options.workers,
        worker_init_fn=start_worker,
        prefetch_factor=3 if options.workers else None,
        pin_memory=state.device.type == "cuda",
        generator=torch.Generator(),  # not the global one, which a checkpoint restores, and from which octaves draw
    )
    for samples in arriving(loader):
        stage = stage_at(state.step, options.steps, options.stages)
        rate = learning_rate(state.step, options.steps, options.rate, options.stages)
        for group in state.optimiser.param_groups:
            group["lr"] = rate
        network.train()
        kind.prepare(network, options.mix, options.at_once(len(samples.photo)))
        state.optimiser.zero_grad(set_to_none=True)
        losses = list[Tensor]()
        for part in samples.parts(options.split):
            share = len(part.photo) / len(samples.photo)
            with torch.autocast(state.device.type, torch.bfloat16, enabled=has_bfloat16(state.device)):
                loss = torch.stack(kind.losses(network, part.to(state.device), stage, features)).mean() * share
            torch.autograd.backward(loss)  # slopes of the parts add up
            losses.append(loss.detach())
        steepness = torch.nn.utils.clip_grad_norm_(network.parameters(), CLIP_NORM)
        loss_now = float(sum(losses))
        if not (math.isfinite(loss_now) and bool(steepness.isfinite())):
            raise DivergenceError(f"step {state.step + 1}: the loss is {loss_now:g}, its slope {float(steepness):g}; {CURE}")
        state.optimiser.step()
        state.step += 1
        state.update_average()
        yield Record(state.step, loss_now, rate, len(samples.photo), stage)
