"""Training the octave net, on crops around the edges that the global net has found roughly.

The global net sees the whole photo; the octaves only what lies around an edge, at every size up to the sample's own. Where
the global net is wrong altogether no octave can mend it, so such places teach little.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from bokehcli.trainer.batch import layout_on
from bokehcli.trainer.loss import edge_loss
from bokehcli.trainer.network import OctaveNet, stretched

CROPS = 12  # of each photo, shared among the octaves: a further one costs most
CROP_PX = 40  # of the state under the first octave
EDGE_PX = 3  # an edge is where alpha varies within so many pixels of that state
AGREEMENT_PX = 9
LEAST_AGREEMENT = 0.05
ELSEWHERE = 0.1  # chance of a place where the net sees an edge, against one where there is one
RENDER_UP_TO_PX = 512  # pairs teach by what the lens renders, and that takes long
BORDER = 8  # the outermost eighth of a crop sees its border, and does not count


def octave_states(octave: OctaveNet, state: Tensor, pictures: list[Tensor]) -> list[Tensor]:
    """States above `state`, (N, STATE, h, w), one for each of the pictures (N, 3, 2h, 2w), (N, 3, 4h, 4w) ..."""
    states = []
    for picture in pictures:
        state = octave(picture.contiguous(memory_format=layout_on(picture.device)), state)
        states.append(state)
    return states


def halved(picture: Tensor, octaves: int) -> list[Tensor]:
    """The picture at the size of every octave and at half the first one's, ascending; sides must be divisible."""
    pictures = [picture]
    for _ in range(octaves):
        pictures.append(F.avg_pool2d(pictures[-1], 2))
    return pictures[::-1]


def spread(x: Tensor, window: int) -> Tensor:
    """Largest minus smallest value within an odd window, of (N, 1, h, w)."""
    return F.max_pool2d(x, window, 1, window // 2) + F.max_pool2d(-x, window, 1, window // 2)


def agreement(found: Tensor, alpha: Tensor) -> Tensor:
    """How far alpha as found (N, 1, h, w) may be trusted there: 1 where it is right on average, 0 where it is half wrong."""
    wrong = F.avg_pool2d((found - alpha).abs(), AGREEMENT_PX, 1, AGREEMENT_PX // 2, count_include_pad=False)
    return (1.0 - 2.0 * wrong).clamp(min=LEAST_AGREEMENT)


def crop_corners(found: Tensor, alpha: Tensor, trust: Tensor, count: int) -> list[tuple[int, int, int]]:
    """`count` crops a picture as (picture, top, left), in pixels of the maps (N, 1, h, w), around edges worth learning from."""
    weight = spread(alpha, EDGE_PX) * trust.square() + ELSEWHERE * spread(found, EDGE_PX) + 1e-6
    height, width = weight.shape[2:]
    corners = []
    # chance on the CPU, whose random state a checkpoint holds
    for index, places in enumerate(torch.multinomial(weight.flatten(1).cpu(), count).tolist()):
        for place in places:
            y, x = divmod(place, width)
            top, left = (min(max(0, at - CROP_PX // 2), side - CROP_PX) for at, side in ((y, height), (x, width)))
            corners.append((index, max(0, top), max(0, left)))
    return corners


def cropped(maps: Tensor, corners: list[tuple[int, int, int]], scale: int) -> Tensor:
    """The crops of (N, C, scale h, scale w)."""
    side = CROP_PX * scale
    return torch.stack([maps[i, :, y * scale : y * scale + side, x * scale : x * scale + side] for i, y, x in corners])


def pair_states(octave: OctaveNet, state: Tensor, photo: Tensor, octaves: int) -> list[Tensor]:
    """Maps (N, 2, h, w), logits, of the octaves up to RENDER_UP_TO_PX over the whole photo; defocus is level 3's, enlarged."""
    photos = halved(photo, octaves)
    state = F.interpolate(state, size=photos[0].shape[2:], mode="bilinear", align_corners=False)
    pictures = [picture for picture in photos[1:] if picture.shape[2] <= RENDER_UP_TO_PX]
    return [
        torch.cat((x[:, :1], F.interpolate(state[:, 1:2], size=x.shape[2:], mode="bilinear", align_corners=False)), 1)
        for x in octave_states(octave, state, pictures)
    ]


def octave_losses(octave: OctaveNet, state: Tensor, photo: Tensor, alpha: Tensor, octaves: int) -> list[Tensor]:
    """Loss of every octave. state (N, STATE, h, w) of level 3; photo (N, 3, S, S), alpha (N, 1, S, S)."""
    photos, alphas = halved(photo, octaves), halved(alpha, octaves)
    state = F.interpolate(state, size=photos[0].shape[2:], mode="bilinear", align_corners=False)
    with torch.no_grad():
        found = stretched(state[:, :1].float())
        trust = agreement(found, alphas[0])
        corners = crop_corners(found, alphas[0], trust, CROPS // octaves)
        trust = cropped(trust, corners, 1)
    pieces = [cropped(photos[n], corners, 2**n) for n in range(1, octaves + 1)]
    losses = []
    for n, refined in enumerate(octave_states(octave, cropped(state, corners, 1), pieces), start=1):
        wanted = cropped(alphas[n], corners, 2**n)
        weight = F.interpolate(trust, size=wanted.shape[2:], mode="bilinear", align_corners=False)
        border = wanted.shape[2] // BORDER
        inner = slice(border, -border)
        with torch.autocast(photo.device.type, enabled=False):
            logit = refined[:, :1, inner, inner].float()
            losses.append(edge_loss(logit, wanted[:, :, inner, inner], weight[:, :, inner, inner]))
    return losses
