"""The lens of `bokehcli.lens` as a differentiable torch layer: the same maths, over the whole picture at once."""


import itertools
import math

import torch
from torch import Tensor
from torch.nn import functional as F

from bokehcli import optics


def srgb_to_linear(image: Tensor) -> Tensor:
    """sRGB-encoded [0, 1] -> linear light [0, 1]."""
    return torch.where(image <= 0.04045, image / 12.92, ((image.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(image: Tensor) -> Tensor:
    """Linear light [0, 1] -> sRGB-encoded [0, 1]."""
    return torch.where(image <= 0.0031308, image * 12.92, 1.055 * image.clamp(min=0.0031308) ** (1 / 2.4) - 0.055)


def scaled(image: Tensor, c: float, knee: float = optics.HIGHLIGHT_KNEE) -> Tensor:
    """Apply t -> t / (1 - c t) above the knee to the largest channel, the others in proportion; -c inverts c."""
    top = image.amax(1, keepdim=True)
    t = ((top - knee) / (1.0 - knee)).clamp(min=0.0)
    return image * torch.where(top > knee, (knee + (1.0 - knee) * t / (1.0 - c * t)) / top.clamp(min=knee), 1.0)


def layer_weights(circle_px: Tensor, radii: list[float]) -> list[Tensor]:
    """Weight of the sharp picture and of each radius: the two around the circle of confusion, linear in log2 radius."""
    octaves = torch.log2(circle_px.clamp(min=radii[0]))
    steps = [(math.log2(narrow), math.log2(wide)) for narrow, wide in itertools.pairwise(radii)]
    above = [((octaves - narrow) / (wide - narrow)).clamp(0.0, 1.0) for narrow, wide in steps]
    position = sum(above, (circle_px / radii[0]).clamp(max=1.0))
    return [(1.0 - (position - layer).abs()).clamp(min=0.0) for layer in range(len(radii) + 1)]


def blurred(light: Tensor, radius_px: float, largest_px: float) -> Tensor:
    """(N, 4, H, W) seen through a round aperture; large ones at half or quarter size, what lies beyond the border is 0.

    largest_px: radius of the lens's largest blur.
    """
    reduction = optics.reduction_of(radius_px, largest_px)
    kernel = torch.from_numpy(optics.aperture_kernel(optics.reduced_radius_px(radius_px, reduction)).copy()).to(light)
    # one reduced pixel more on each side, for the interpolation between reduced pixels
    reach, margin = kernel.shape[0] // 2, min(reduction - 1, 1)
    height, width = light.shape[2:]
    if reduction > 1:
        light = F.avg_pool2d(F.pad(light, (0, -width % reduction, 0, -height % reduction)), reduction)
    light = F.conv2d(light, kernel.expand(4, 1, -1, -1), padding=reach + margin, groups=4)
    if reduction > 1:
        light = F.interpolate(light, scale_factor=float(reduction), mode="bilinear", align_corners=False)
    first = margin * reduction
    return light[:, :, first : first + height, first : first + width]


def render(photo: Tensor, alpha: Tensor, defocus: Tensor, radius_px: float, highlights: float = 0.5) -> Tensor:
    """Render everything that is not in focus.

    photo: (N, 3, H, W) sRGB-encoded, [0, 1]. alpha, defocus: (N, 1, H, W), [0, 1]. radius_px: of the largest blur.
    Returns (N, 3, H, W) sRGB-encoded, [0, 1]. See `bokehcli.lens.render`; round aperture only.
    """
    if radius_px <= 0.0:
        return photo
    radii = optics.layer_radii_px(radius_px)
    gain = optics.highlight_gain(highlights)
    light = scaled(srgb_to_linear(photo), gain)
    source = (1.0 - optics.SOURCE_SLOPE * alpha).clamp(min=0.0)
    carried = torch.cat((light * source, source), 1)
    sharp, *weights = layer_weights(defocus * radius_px, radii)
    mixed = carried * sharp
    for radius, share in zip(radii, weights, strict=True):
        mixed = mixed + share * blurred(carried, radius, radius_px)
    reached = mixed[:, 3:]
    background = mixed[:, :3] / reached.clamp(min=optics.MIN_WEIGHT)
    background = linear_to_srgb(scaled(background, -gain).clamp(0.0, 1.0))
    known = torch.maximum(reached / optics.FADE_WEIGHT, source).clamp(max=1.0)
    return photo + (background - photo) * (1.0 - alpha) * known
