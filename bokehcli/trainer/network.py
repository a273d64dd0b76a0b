"""PyNET that predicts what is in focus and how far out of focus the rest is.

The inverted pyramid and its level-by-level training are those of Ignatov et al., "Rendering Natural Camera Bokeh
Effect with Deep Learning", CVPRW 2020 (arXiv 2006.05698), section 3. What deviates from the paper:

* a level predicts two maps (alpha, defocus) instead of RGB; a lens layer renders the picture from them;
* batch norm instead of instance norm, so that a tile's interior equals the whole picture's;
* the wide kernels (7 taps) are depthwise; widths are an eighth to a quarter of the paper's;
* what resembles the place the user points at, and what differs, is marked at some levels (`Pointing`), and so is what
  resembles what the level below has found, and what it has left out (`Likening`);
* levels 2 and 1 are one small net with the same weights, used again for every octave up to the native size; it works at
  half the size of what it makes (pixel-unshuffle of the photo), as the paper's network does.

State: (N, 2 + HIDDEN, h, w): logit of alpha, logit of defocus, hidden channels. It is all that passes from an octave
to the next one. Octaves refine alpha; defocus is smooth and stays as level 3 has it.
"""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bokehcli.subject import DECISION

STEM = 4  # pixel-unshuffle of the stem: level 3 runs at a quarter of the size
MULTIPLE = 64  # level 7 runs at 1/64
LONG_SIDE = 576  # the global levels see as many pixels of a photo as this squared
POINTED_SIDE = 512  # likewise, where somebody points
HIDDEN = 6
STATE = 2 + HIDDEN
LEVELS = (7, 6, 5, 4, 3)
POINTED_LEVELS = (6, 5, 4, 3)
LIKENED_LEVELS = (6, 5, 4, 3)  # of the network for what is pointed at
FIRST_POINTED_LEVELS = (6, 5, 4)  # of networks whose options do not say
POINTED = 16  # channels in which a place is likened to the one that is pointed at
LIKENED = 16  # channels in which a place is likened to what is found and what is left out
LEAST = 1e-3  # share of the picture below which nothing is found, or left out, that a place could be likened to
NO_HINT = 1e-5  # mean of the sharpened hint, 0.002 where there is one, from which it counts
# Alpha is sure below SURE and above 1 - SURE, and is stretched so that these become 0 and 1.
SURE = 0.1
# An octave changes the state where alpha, so stretched, varies by more than GATE_FROM within GATE_REACH_PX pixels of the
# state, and in full from GATE_FULL on: where there is an edge.
GATE_FROM, GATE_FULL = 0.1, 0.3
GATE_REACH_PX = 3
OCTAVE_DILATIONS = (1, 2, 1)  # of the octave net's 3x3 convolutions, before its head


@dataclass(frozen=True, kw_only=True)
class NetworkOptions:
    """widths: channels of levels 3 to 7. blocks: residual blocks of levels 3 to 7. octave: channels of the octave net.

    pointed_levels: those with a `Pointing`. likened_levels: those, of 6 to 3, with a `Likening`.
    """

    widths: tuple[int, ...] = (32, 56, 112, 192, 320)
    blocks: tuple[int, ...] = (1, 2, 3, 3, 3)
    octave: int = 16
    pointed_levels: tuple[int, ...] = POINTED_LEVELS
    likened_levels: tuple[int, ...] = ()

    @classmethod
    def restored(cls, written: dict[str, Any]) -> "NetworkOptions":
        """From what a checkpoint or a model card holds; lists become tuples again. Raises TypeError."""
        fields: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in written.items()}
        return cls(**{"pointed_levels": FIRST_POINTED_LEVELS, **fields})


def conv_bn(inputs: int, outputs: int, kernel: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """A convolution with batch norm (folded into it at export) and LeakyReLU 0.2, as in the paper."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, dilation * (kernel // 2), dilation, bias=False),
        nn.BatchNorm2d(outputs),
        nn.LeakyReLU(0.2, inplace=True),
    )


class MultiKernelBlock(nn.Module):
    """Residual block of two parallel kernel sizes, concatenated (paper: 3, 5, 7 and 9 taps, full width)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.narrow = conv_bn(width, width // 2, 3)
        self.wide = nn.Sequential(
            nn.Conv2d(width, width, 7, 1, 3, groups=width, bias=False), conv_bn(width, width - width // 2, 1)
        )
        self.join = nn.Sequential(nn.Conv2d(width, width, 1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(x + self.join(torch.cat((self.narrow(x), self.wide(x)), 1)), 0.2)


class Pointing(nn.Module):
    """Adds to the features what of them resembles the place that is pointed at, and what differs; nothing without a hint.

    A descriptor of every place is compared with that of the pointed place, which is the mean under the hint (masked average
    pooling, Zhang et al. 2020, arXiv 1810.09091): their product, and the square of their difference, by which two things
    that touch are told apart. The hint is sharpened to half its radius, so that a point near an edge takes little from
    beyond it. x (N, C, h, w), hint (N, 1, h, w).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.describe = nn.Sequential(nn.Conv2d(width, POINTED, 1, bias=False), nn.BatchNorm2d(POINTED))
        self.mark = nn.Conv2d(POINTED, width, 1, bias=False)
        self.differ = nn.Conv2d(POINTED, width, 1, bias=False)
        nn.init.zeros_(self.mark.weight)
        nn.init.zeros_(self.differ.weight)

    def forward(self, x: Tensor, hint: Tensor) -> Tensor:
        described: Tensor = self.describe(x)
        squared = hint * hint
        sharp = squared * squared
        total = F.adaptive_avg_pool2d(sharp, 1)
        pointed = F.adaptive_avg_pool2d(described * sharp, 1) / (total + NO_HINT)
        away = described - pointed
        differing = away * away * (total / (total + NO_HINT))
        marked: Tensor = self.mark(described * pointed) + self.differ(differing)
        return x + marked


class Likening(nn.Module):
    """Adds to the features what of them resembles what the level below found, and what resembles what it left out.

    A descriptor of every place is compared, by product and by square of the difference, with the mean descriptor of either
    (masked average pooling as in `Pointing`, with the network's own map in place of a given one): a large thing that is
    only half found goes on into the rest of itself, and what touches it but resembles the background is dropped. x (N, C,
    h, w), alpha (N, 1, h, w) in [0, 1].
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.describe = nn.Sequential(nn.Conv2d(width, LIKENED, 1, bias=False), nn.BatchNorm2d(LIKENED))
        self.mark = nn.Conv2d(4 * LIKENED, width, 1, bias=False)
        nn.init.zeros_(self.mark.weight)

    def forward(self, x: Tensor, alpha: Tensor) -> Tensor:
        described: Tensor = self.describe(x)
        compared = []
        for part in (alpha, 1.0 - alpha):
            mean = F.adaptive_avg_pool2d(described * part, 1) / (F.adaptive_avg_pool2d(part, 1) + LEAST)
            away = described - mean
            compared += [described * mean, away * away]
        marked: Tensor = self.mark(torch.cat(compared, 1))
        return x + marked


class Unshuffle(nn.Module):
    """(N, C, H, W) in [0, 1] -> (N, C factor^2, H/factor, W/factor) around 0: pixel-unshuffle.

    Exported as a convolution with a constant kernel, for which a runtime needs no transposition: of the octave net's last
    use that took a fifth of the time.
    """

    def __init__(self, channels: int, factor: int) -> None:
        super().__init__()
        self.factor = factor
        outputs = channels * factor * factor
        self.register_buffer("kernel", torch.eye(outputs).reshape(outputs, channels, factor, factor), persistent=False)
        self.register_buffer("shift", torch.full((outputs,), -0.5), persistent=False)

    def forward(self, photo: Tensor) -> Tensor:
        if torch.onnx.is_in_onnx_export():
            return F.conv2d(photo, self.kernel, self.shift, stride=self.factor)  # type: ignore[arg-type]
        return F.pixel_unshuffle(photo - 0.5, self.factor)


def upsample(x: Tensor) -> Tensor:
    """Twice the size, bilinear, pixel centres aligned (half-pixel convention, that of cv2.resize)."""
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


class GlobalNet(nn.Module):
    """Levels 7 to 3. (N, 4, H, W) RGB in [0, 1] and focus hint, sides multiples of 64 -> states of levels 7 up."""

    def __init__(self, options: NetworkOptions) -> None:
        super().__init__()
        widths = dict(zip((3, 4, 5, 6, 7), options.widths, strict=True))
        blocks = dict(zip((3, 4, 5, 6, 7), options.blocks, strict=True))
        self.unshuffle = Unshuffle(4, STEM)
        self.stem = conv_bn(4 * STEM * STEM, widths[3], 3)
        self.encode = nn.ModuleDict()
        self.decode = nn.ModuleDict()
        self.head = nn.ModuleDict()
        for level in (3, 4, 5, 6, 7):
            width = widths[level]
            down = nn.Identity() if level == 3 else conv_bn(widths[level - 1], width, 3, stride=2)
            self.encode[str(level)] = nn.Sequential(down, MultiKernelBlock(width))
            joined = [] if level == 7 else [conv_bn(width + widths[level + 1], width, 3)]
            self.decode[str(level)] = nn.Sequential(*joined, *(MultiKernelBlock(width) for _ in range(blocks[level])))
            self.head[str(level)] = nn.Conv2d(width, 2, 1)
        self.hidden = nn.Conv2d(widths[3], HIDDEN, 1)
        self.pointing = nn.ModuleDict({str(level): Pointing(widths[level]) for level in options.pointed_levels})
        self.likening = nn.ModuleDict({str(level): Likening(widths[level]) for level in options.likened_levels})

    def forward(self, x: Tensor, lowest: int = 3) -> list[Tensor]:
        """Logits of alpha and defocus of levels 7, 6 ... `lowest`, (N, 2, h, w)."""
        return self.pyramid(x, lowest)[0]

    def pyramid(self, x: Tensor, lowest: int = 3) -> tuple[list[Tensor], Tensor]:
        """`forward`, and the features of the lowest level, (N, C, h, w)."""
        hint = x[:, 3:]
        x = self.stem(self.unshuffle(x))
        encoded = {}
        for level in (3, 4, 5, 6, 7):
            x = encoded[level] = self.encode[str(level)](x)
        maps: list[Tensor] = []
        for level in LEVELS:
            if level < lowest:
                break
            if level != 7:
                x = torch.cat((encoded[level], upsample(x)), 1)
            decode = self.decode[str(level)]
            assert isinstance(decode, nn.Sequential)
            first, *others = decode
            x = first(x)
            if str(level) in self.pointing:
                x = self.pointing[str(level)](x, F.avg_pool2d(hint, 2 ** (level - 1)))
            if str(level) in self.likening:
                x = self.likening[str(level)](x, torch.sigmoid(upsample(maps[-1][:, :1].detach())))
            for block in others:
                x = block(x)
            logits = self.head[str(level)](x)
            maps.append(logits + upsample(maps[-1]) if maps else logits)
        return maps, x

    def state(self, maps: Tensor, features: Tensor) -> Tensor:
        """Level 3's state as the octaves take it, (N, STATE, h, w): the logit of alpha times DECISION."""
        return torch.cat((maps[:, :1] * DECISION, maps[:, 1:], self.hidden(features)), 1)


class OctaveNet(nn.Module):
    """One octave finer. photo (N, 3, 2h, 2w) in [0, 1], state (N, STATE, h, w) -> refined state (N, STATE, 2h, 2w)."""

    def __init__(self, options: NetworkOptions) -> None:
        super().__init__()
        width, inputs = options.octave, 3 * 4 + STATE
        self.unshuffle = Unshuffle(3, 2)
        widths = (inputs, *(width for _ in OCTAVE_DILATIONS))
        self.body = nn.Sequential(
            *(conv_bn(n, width, 3, dilation=d) for n, d in zip(widths, OCTAVE_DILATIONS, strict=False))
        )
        self.head = nn.Conv2d(width, 4 * STATE, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        assert self.head.bias is not None
        nn.init.zeros_(self.head.bias)

    def forward(self, photo: Tensor, state: Tensor) -> Tensor:
        known = torch.cat((self.unshuffle(photo), torch.tanh(0.5 * state[:, :2]), state[:, 2:]), 1)
        correction = F.pixel_shuffle(self.head(self.body(known)), 2)
        channels = self.head.out_channels // 4
        return upsample(state[:, :channels]) + upsample(gate_of(state)) * correction


def finest(octave: OctaveNet) -> OctaveNet:
    """The octave net with the logit of alpha, (N, 1, 2h, 2w), as its only output: what the last octave is asked for."""
    octave = copy.deepcopy(octave)
    head = nn.Conv2d(octave.head.in_channels, 4, 3, padding=1)
    with torch.no_grad():
        for mine, theirs in zip(head.parameters(), octave.head.parameters(), strict=True):
            mine.copy_(theirs[:4])
    octave.head = head
    return octave.train(octave.training)


def stretched(logit: Tensor) -> Tensor:
    """Alpha in [0, 1] from its logit; what is sure becomes exactly 0 or 1."""
    return ((torch.sigmoid(logit) - SURE) / (1.0 - 2.0 * SURE)).clamp(0.0, 1.0)


def gate_of(state: Tensor) -> Tensor:
    """(N, 1, h, w): how much an octave may change; exactly 0 where alpha is level all around: there a tile can be skipped."""
    alpha = stretched(state[:, :1])
    window = 2 * GATE_REACH_PX + 1
    highest, lowest = (F.max_pool2d(x, window, 1, GATE_REACH_PX) for x in (alpha, 1.0 - alpha))
    return ((highest + lowest - 1.0 - GATE_FROM) / (GATE_FULL - GATE_FROM)).clamp(0.0, 1.0)


class LensNet(nn.Module):
    """The whole network: `network` for levels 7 to 3, `octave` for every octave above."""

    def __init__(self, options: NetworkOptions | None = None) -> None:
        super().__init__()
        self.options = options or NetworkOptions()
        self.network = GlobalNet(self.options)
        self.octave = OctaveNet(self.options)
