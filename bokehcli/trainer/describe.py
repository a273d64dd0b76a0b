"""What a network consists of: parameters and operations of its levels, counted rather than written down."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from bokehcli.trainer.networks import kind_of


@dataclass(frozen=True)
class Part:
    """A level: its parameters, and its multiplications with addition for one photo."""

    name: str
    parameters: int
    mac: int


def parts_of(options: Any, size: tuple[int, int]) -> list[Part]:
    """The levels of the network with these options, from 7 up; operations for one photo of (height, width) pixels.

    Convolutions and matrix products are counted (`torch.utils.flop_counter`), without computing anything.
    """
    kind = kind_of(options)
    with torch.device("meta"):
        network = kind.build(options).eval()
    parameters: dict[str, int] = defaultdict(int)
    for name, weight in network.named_parameters():
        parameters[kind.part_of(name)] += weight.numel()
    counter = FlopCounterMode(display=False)
    flops: dict[str, int] = defaultdict(int)

    def watch(part: str, module: nn.Module) -> None:
        module.register_forward_pre_hook(lambda *_: add(part, -1))
        module.register_forward_hook(lambda *_: add(part, 1))

    def add(part: str, sign: int) -> None:
        flops[part] += sign * counter.get_total_flops()

    for name, module in network.named_modules():
        if not list(module.children()):
            watch(kind.part_of(name), module)
    with torch.no_grad(), counter:
        kind.run_once(network, size)
    rest = counter.get_total_flops() - sum(flops.values())
    if rest:
        flops["elsewhere"] += rest
    names = {*parameters, *flops}
    levels = sorted((name for name in names if name.startswith("level")), reverse=True)
    return [Part(name, parameters[name], flops[name] // 2) for name in (*levels, *sorted(names.difference(levels)))]


def described(options: Any, size: tuple[int, int]) -> Iterator[str]:
    """`parts_of` as the lines of a table. size: (height, width)."""
    parts = parts_of(options, size)
    yield f"{'':12}{'parameters':>12}{'GMAC':>10}   at {size[1]}x{size[0]}"
    for part in (*parts, Part("all", sum(p.parameters for p in parts), sum(p.mac for p in parts))):
        yield f"{part.name:12}{part.parameters:>12,}{part.mac / 1e9:>10.2f}"
