"""PyNET as published in 2020, and how it is trained: a photo in, the shallow photo out, no map between.

Ignatov et al., "Rendering Natural Camera Bokeh Effect with Deep Learning", CVPRW 2020 (arXiv 2006.05698), section 3: seven
levels, each with blocks of parallel 3, 5, 7 and 9-tap convolutions; a level gets the features of the one below through two
transposed convolutions of their own, one joined at its start and one near its end; every level has a head that gives the
picture at its size. Levels are trained from 7 to 1, each with those below. Widths, kernels and joins are the paper's; how
many blocks a level has is chosen so that parameters (47.55 M) and operations (658 GMAC at 1536x1024) are those of the
published network. What deviates from the paper:

* the photo alone goes in, no depth map (three channels instead of four);
* levels 2 and 1 add to the enlarged picture of the level below (`residual`). Trained anew as published, their colours drift:
  instance norm forgets a picture's means, and the heads have to guess them; level 3, which has none, knows them.
"""

import math
from argparse import Namespace
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from bokehcli.model import Card, ModelCard
from bokehcli.trainer.batch import Batch, averaged, target_of
from bokehcli.trainer.kind import Kind, Preset
from bokehcli.trainer.loss import ssim
from bokehcli.trainer.network import Unshuffle
from bokehcli.trainer.schedule import Stage

FULL_LEVELS = (3, 4, 5, 6, 7)  # those with blocks
MULTIPLE = 64  # level 7 sees a picture of 1/64 of the sides
ENCODED, BELOW = "encoded", "below"  # what is joined: the encoder's features of the level; those of the level below
# Largest kernel of every block, from a level's start to its end.
BLOCKS: dict[int, tuple[int | str, ...]] = {
    7: (3, 3, 3),
    6: (3, 3, 3, 3, BELOW, 3),
    5: (5, 5, 5, BELOW, 5),
    4: (5, 5, 7, 7, 7, 7, BELOW, 5, 3),
    3: (5, ENCODED, 7, 9, 9, 9, 9, 7, BELOW, 5, 3),
}
NORM_EPS = 1e-3
SLOPE = 0.2
RANGE, MIDDLE = 0.58, 0.5  # of the heads' tanh: a little beyond [0, 1], so that black and white are reached
DRIFT = 2.0 / 255.0  # difference of a picture's mean colours from which they have drifted


@dataclass(frozen=True, kw_only=True)
class Pynet2020Options:
    """width: channels of level 3, which double with every level down. residual: levels 2, 1 add to what the one below gives."""

    width: int = 32
    residual: bool = True


class Norm(nn.InstanceNorm2d):
    """Affine instance norm that an exporter can trace: without the module's checks of the input's shape."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, NORM_EPS, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        return torch.instance_norm(x, self.weight, self.bias, None, None, True, 0.0, self.eps, True)


def convolution(inputs: int, outputs: int, kernel: int, norm: bool) -> list[nn.Module]:
    """A convolution, instance norm, LeakyReLU."""
    normed: list[nn.Module] = [Norm(outputs)] if norm else []
    return [nn.Conv2d(inputs, outputs, kernel, 1, kernel // 2), *normed, nn.LeakyReLU(SLOPE, inplace=True)]


def enlarging(inputs: int, outputs: int) -> nn.Sequential:
    """Twice the size, by a transposed convolution."""
    return nn.Sequential(
        nn.ConvTranspose2d(inputs, outputs, 3, 2, 1, 1),
        Norm(outputs),
        nn.LeakyReLU(SLOPE, inplace=True),
    )


class MultiBlock(nn.Module):
    """Two convolutions for each of the kernels 3, 5 ... `largest`, beside each other; added to the input where they fit."""

    def __init__(self, inputs: int, width: int, largest: int, norm: bool) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(*convolution(inputs, width, kernel, norm), *convolution(width, width, kernel, norm))
            for kernel in range(3, largest + 1, 2)
        )
        self.outputs = width * len(self.branches)
        self.adds = inputs == self.outputs

    def forward(self, x: Tensor) -> Tensor:
        found = torch.cat([branch(x) for branch in self.branches], 1)
        return x + found if self.adds else found


class Level(nn.Module):
    """One of levels 7 to 3. encoded, first, second (N, C, h, w): the encoder's features, and twice those of the level below."""

    def __init__(self, level: int, width: int) -> None:
        super().__init__()
        norm = level != 3
        channels = width if level == FULL_LEVELS[-1] else 2 * width
        self.steps = BLOCKS[level]
        self.blocks = nn.ModuleList()
        for step in self.steps:
            if isinstance(step, int):
                block = MultiBlock(channels, width, step, norm)
                self.blocks.append(block)
                channels = block.outputs
            else:
                channels += width
        self.outputs = channels

    def forward(self, encoded: Tensor, first: Tensor | None, second: Tensor | None) -> Tensor:
        x = encoded if first is None else torch.cat((encoded, first), 1)
        blocks = iter(self.blocks)
        for step in self.steps:
            if step == ENCODED:
                x = torch.cat((x, encoded), 1)
            elif step == BELOW:
                assert second is not None
                x = torch.cat((x, second), 1)
            else:
                x = next(blocks)(x)
        return x


class Head(nn.Module):
    """The picture of a level, (N, 3, h, w) around [0, 1]. adds: to a picture, at first nothing."""

    def __init__(self, channels: int, adds: bool = False) -> None:
        super().__init__()
        self.colours = nn.Conv2d(channels, 3, 3, 1, 1)
        if adds:
            nn.init.zeros_(self.colours.weight)
            assert self.colours.bias is not None
            nn.init.zeros_(self.colours.bias)

    def forward(self, x: Tensor, below: Tensor | None = None) -> Tensor:
        colours = RANGE * torch.tanh(self.colours(x))
        return colours + (MIDDLE if below is None else below)


class Pynet2020(nn.Module):
    """Photo (N, 3, H, W) in [0, 1], sides multiples of 64 -> the shallow photo at the size of a level."""

    def __init__(self, options: Pynet2020Options) -> None:
        super().__init__()
        self.options = options
        widths = {level: options.width << (level - 3) for level in FULL_LEVELS}
        self.unshuffle = Unshuffle(3, 2)
        self.encode, self.level, self.head = nn.ModuleDict(), nn.ModuleDict(), nn.ModuleDict()
        self.first, self.second = nn.ModuleDict(), nn.ModuleDict()
        inputs = 4 * 3
        for level in FULL_LEVELS:
            self.encode[str(level)] = MultiBlock(inputs, widths[level], 3, level != 3)
            inputs = widths[level]
        for level in reversed(FULL_LEVELS):
            here = Level(level, widths[level])
            self.level[str(level)] = here
            self.head[str(level)] = Head(here.outputs)
            if level - 1 in widths:
                self.first[str(level)] = enlarging(here.outputs, widths[level - 1])
                self.second[str(level)] = enlarging(here.outputs, widths[level - 1])
        inputs = widths[3]
        for level, width in ((2, options.width // 2), (1, options.width // 4)):
            self.level[str(level)] = enlarging(inputs, width)
            self.head[str(level)] = Head(width, options.residual)
            inputs = width

    def forward(self, photo: Tensor, lowest: int = 1) -> Tensor:
        """The picture of level `lowest`, (N, 3, H / 2^(lowest - 1), W / 2^(lowest - 1)), by the levels from 7 to that one."""
        x = self.unshuffle(F.avg_pool2d(photo, 2))
        encoded = {}
        for level in FULL_LEVELS:
            x = encoded[level] = self.encode[str(level)](x if level == FULL_LEVELS[0] else F.max_pool2d(x, 2))
        first = second = None
        for level in range(7, max(lowest, 3) - 1, -1):
            x = self.level[str(level)](encoded[level], first, second)
            if level > max(lowest, 3):
                first, second = self.first[str(level)](x), self.second[str(level)](x)
        picture: Tensor = self.head[str(max(lowest, 3))](x)
        for level in range(2, lowest - 1, -1):
            x = self.level[str(level)](x)
            below = F.interpolate(picture, scale_factor=2.0, mode="bilinear", align_corners=False)
            picture = self.head[str(level)](x, below if self.options.residual else None)
        return picture


class Shown(nn.Module):
    """A trained network that gives the picture of its highest-resolution trained level at the photo's size."""

    def __init__(self, network: Pynet2020, lowest: int) -> None:
        super().__init__()
        self.network = network
        self.lowest = lowest

    def forward(self, photo: Tensor) -> Tensor:
        picture: Tensor = self.network(photo, self.lowest)
        scale = float(2 ** (self.lowest - 1))
        if scale > 1.0:
            picture = F.interpolate(picture, scale_factor=scale, mode="bilinear", align_corners=False)
        return picture.clamp(0.0, 1.0)


# Section 3.2 and the authors' account of the training: level, iterations, batch size.
PAPER = ((7, 5_000, 50), (6, 5_000, 50), (5, 20_000, 40), (4, 20_000, 14), (3, 30_000, 9), (2, 80_000, 9), (1, 100_000, 5))
PAPER_PX = 1024
PARITY_PHOTOS = 2  # on which ONNX Runtime and torch are compared: at that size each takes seconds
PAPER_RATE = 5e-5
TINY_SHARES = ((7, 0.05), (6, 0.10), (5, 0.16), (4, 0.24), (3, 0.64), (2, 0.80), (1, 1.00))
TINY_PX = 128


def paper_stages() -> tuple[Stage, ...]:
    """Level by level, at a constant rate. Every level sees the whole view; its target is 16, 32 ... 1024 pixels large."""
    steps = sum(iterations for _, iterations, _ in PAPER)
    done, stages = 0, []
    for level, iterations, batch in PAPER:
        done += iterations
        stages.append(Stage(until=done / steps, lowest=level, size=PAPER_PX, batch=batch, constant=True))
    return tuple(stages)


class Pynet2020Kind(Kind):
    """The published network with the paper's losses and schedule."""

    presets = {  # noqa: RUF012 (never changed)
        "paper": Preset(
            network=Pynet2020Options(), stages=paper_stages(), steps=sum(n for _, n, _ in PAPER), rate=PAPER_RATE
        ),
        "tiny": Preset(
            network=Pynet2020Options(width=4),
            stages=tuple(
                Stage(until=until, lowest=level, size=TINY_PX, batch=4, constant=True) for level, until in TINY_SHARES
            ),
            steps=1_000,
            rate=2e-3,
        ),
    }
    default = "paper"
    weight_decay = 0.0

    @override
    def restored(self, written: dict[str, Any]) -> Pynet2020Options:
        """See `Kind.restored`."""
        return Pynet2020Options(**written)

    @override
    def build(self, options: Pynet2020Options) -> Pynet2020:
        """See `Kind.build`."""
        return Pynet2020(options)

    @override
    def prepare(self, network: nn.Module, mix: str, pictures: int) -> None:
        """See `Kind.prepare`. All levels that a stage runs learn."""

    @override
    def losses(self, network: nn.Module, batch: Batch, stage: Stage, features: nn.Module | None = None) -> list[Tensor]:
        """See `Kind.losses`. L1 x 100; of level 1, 10 L1 + 10 (1 - SSIM) + 0.1 of the perceptual loss."""
        found = network(batch.photo, stage.lowest)
        with torch.autocast(found.device.type, enabled=False):
            found = found.float()
            target = averaged(target_of(batch), (found.shape[2], found.shape[3]))
            difference = (found - target).abs().mean()
            if stage.lowest > 1:
                return [100.0 * difference]
            loss = 10.0 * difference + 10.0 * (1.0 - ssim(found, target))
            if features is not None:
                loss = loss + 0.1 * F.mse_loss(features(found), features(target))
            return [loss]

    @override
    def preview_px(self, stages: tuple[Stage, ...]) -> int:
        """See `Kind.preview_px`. Instance norm makes a picture's look depend on its size: that of the training."""
        return max(stage.size for stage in stages)

    @override
    @torch.no_grad()
    def columns(self, network: nn.Module, batch: Batch, stage: Stage) -> list[Tensor]:
        """See `Kind.columns`."""
        assert isinstance(network, Pynet2020)
        return [batch.photo, target_of(batch), Shown(network, stage.lowest)(batch.photo)]

    @override
    def complaints(self, columns: list[Tensor]) -> list[str]:
        """See `Kind.complaints`: colours that drift."""
        _, target, shown = columns
        drift = (shown.mean((2, 3)) - target.mean((2, 3))).mean(0)
        if float(drift.abs().max()) <= DRIFT:
            return []
        shown_as = ", ".join(f"{name} {255.0 * float(x):+.1f}" for name, x in zip("RGB", drift, strict=True))
        return [f"colours drift: on photos that are not trained on the mean is off by {shown_as} of 255"]

    @override
    def export(
        self, network: nn.Module, about: dict[str, Any], samples: Batch, stage: Stage, asked: Namespace, base: ModelCard | None
    ) -> tuple[Card, float]:
        """See `Kind.export`."""
        from bokehcli.trainer.export import export_picture

        assert isinstance(network, Pynet2020)
        # views are squares as high as a photo, which is half as wide again
        about = {**about, "network": asdict(network.options), "level": stage.lowest}
        shown, photo = Shown(network, stage.lowest), samples.photo[:PARITY_PHOTOS]
        return export_picture(shown, asked.out, about, photo, 3 * stage.size // 2, MULTIPLE)

    @override
    def part_of(self, name: str) -> str:
        """See `Kind.part_of`. What enlarges a level's features counts as its own."""
        return f"level {next((part for part in name.split('.') if part.isdigit()), '3')}"

    @override
    def run_once(self, network: nn.Module, size: tuple[int, int]) -> None:
        """See `Kind.run_once`."""
        height, width = (math.ceil(side / MULTIPLE) * MULTIPLE for side in size)
        network(torch.empty(1, 3, height, width, device=next(network.parameters()).device))
