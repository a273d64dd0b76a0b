"""PyNET that predicts what is in focus and how far out of focus the rest is.

The inverted pyramid and its level-by-level training are those of Ignatov et al., "Rendering Natural Camera Bokeh
Effect with Deep Learning", CVPRW 2020 (arXiv 2006.05698), section 3. What deviates from the paper:

* a level predicts two maps (alpha, defocus) instead of RGB; a lens layer renders the picture from them;
* batch norm instead of instance norm, so that a tile's interior equals the whole picture's;
* the wide kernels (7 taps) are depthwise; widths are an eighth to a quarter of the paper's;
* levels 2 and 1 are one small net with the same weights, used again for every octave up to the native size.

State: (N, 2 + HIDDEN, h, w): logit of alpha, logit of defocus, hidden channels. It is all that passes from an octave
to the next one.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STEM = 4  # pixel-unshuffle of the stem: level 3 runs at a quarter of the size
MULTIPLE = 64  # level 7 runs at 1/64
HIDDEN = 6
STATE = 2 + HIDDEN
LEVELS = (7, 6, 5, 4, 3)
# Level 3's logit of alpha, trained to be a calibrated probability, is multiplied by this before it goes to the octaves: a
# lens wants a decision, and half in focus looks like a ghost. On 80 validation photos at 256 px the mean absolute error
# of alpha was 0.098 with 1, 0.079 with 2, 0.075 with 3.
DECISION = 2.5
# Alpha is sure below SURE and above 1 - SURE; only where 4 a (1 - a) is above that does an octave change the state.
SURE = 0.1
GATE_FROM = 4.0 * SURE * (1.0 - SURE)
GATE_FULL = 0.5 * (1.0 + GATE_FROM)
GATE_REACH_PX = 4


@dataclass(frozen=True, kw_only=True)
class NetworkOptions:
    """widths: channels of levels 3 to 7. blocks: residual blocks of levels 3 to 7. octave: channels of the octave net."""

    widths: tuple[int, ...] = (32, 56, 112, 192, 320)
    blocks: tuple[int, ...] = (1, 2, 3, 3, 3)
    octave: int = 24

    @classmethod
    def restored(cls, written: dict[str, Any]) -> "NetworkOptions":
        """From what a checkpoint or a model card holds; lists become tuples again. Raises TypeError."""
        fields: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in written.items()}
        return cls(**fields)


def conv_bn(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """A convolution with batch norm (folded into it at export) and LeakyReLU 0.2, as in the paper."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
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


def upsample(x: Tensor) -> Tensor:
    """Twice the size, bilinear, pixel centres aligned (half-pixel convention, that of cv2.resize)."""
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


class GlobalNet(nn.Module):
    """Levels 7 to 3. (N, 4, H, W) RGB in [0, 1] and focus hint, sides multiples of 64 -> states of levels 7 up."""

    def __init__(self, options: NetworkOptions) -> None:
        super().__init__()
        widths = dict(zip((3, 4, 5, 6, 7), options.widths, strict=True))
        blocks = dict(zip((3, 4, 5, 6, 7), options.blocks, strict=True))
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
            self.head[str(level)] = nn.Conv2d(width, STATE if level == 3 else 2, 1)

    def forward(self, x: Tensor, lowest: int = 3) -> list[Tensor]:
        """Logits of levels 7, 6 ... `lowest`; level 3's carries the hidden channels too."""
        x = self.stem(F.pixel_unshuffle(x - 0.5, STEM))
        encoded = {}
        for level in (3, 4, 5, 6, 7):
            x = encoded[level] = self.encode[str(level)](x)
        maps: list[Tensor] = []
        for level in LEVELS:
            if level < lowest:
                break
            if level != 7:
                x = torch.cat((encoded[level], upsample(x)), 1)
            x = self.decode[str(level)](x)
            logits = self.head[str(level)](x)
            if maps:
                below = upsample(maps[-1])
                logits = torch.cat((logits[:, :2] + below, logits[:, 2:]), 1)
            maps.append(logits)
        return maps


def decided(state: Tensor) -> Tensor:
    """Level 3's state, (N, STATE, h, w), as the octaves take it: the logit of alpha times DECISION."""
    return torch.cat((state[:, :1] * DECISION, state[:, 1:]), 1)


class OctaveNet(nn.Module):
    """One octave finer. photo (N, 3, h, w) in [0, 1], state (N, STATE, h, w) upsampled -> refined state."""

    def __init__(self, options: NetworkOptions) -> None:
        super().__init__()
        width = options.octave
        self.body = nn.Sequential(conv_bn(3 + STATE, width, 3), conv_bn(width, width, 3), conv_bn(width, width, 3))
        self.head = nn.Conv2d(width, STATE, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        assert self.head.bias is not None
        nn.init.zeros_(self.head.bias)

    def forward(self, photo: Tensor, state: Tensor) -> Tensor:
        correction: Tensor = self.head(self.body(torch.cat((photo - 0.5, state), 1)))
        return state + gate_of(state) * correction


def gate_of(state: Tensor) -> Tensor:
    """(N, 1, h, w): 1 near unsure alpha, exactly 0 where alpha is sure all around, so that there a tile can be skipped."""
    alpha = torch.sigmoid(state[:, :1])
    unsure = (4.0 * alpha * (1.0 - alpha) - GATE_FROM).div(GATE_FULL - GATE_FROM).clamp(0.0, 1.0)
    return F.max_pool2d(unsure, 2 * GATE_REACH_PX + 1, 1, GATE_REACH_PX)


class LensNet(nn.Module):
    """The whole network: `network` for levels 7 to 3, `octave` for every octave above."""

    def __init__(self, options: NetworkOptions | None = None) -> None:
        super().__init__()
        self.options = options or NetworkOptions()
        self.network = GlobalNet(self.options)
        self.octave = OctaveNet(self.options)
