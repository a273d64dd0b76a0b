"""The losses, per level, on maps of that level's size."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from bokehcli import optics
from bokehcli.trainer.batch import STRENGTH, averaged
from bokehcli.trainer.lens import render
from bokehcli.trainer.network import stretched

IOU, POINTED_IOU = 0.5, 1.5  # weights
SSIM_WINDOW = 7
SSIM_C1, SSIM_C2 = 0.01**2, 0.03**2
FIT_PX = 8  # side at which two photos' colours are compared: blur and small shifts are no difference there
MOST_GAIN = 2.0
OUTLIER = 0.25  # difference of two photos, of full scale, from which more of it hardly counts
SSIM_FROM_PX = 24  # below this side a picture has no structure to compare


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Mean structural similarity of (N, C, H, W) pictures in [0, 1], uniform window (Wang et al. 2004)."""

    def mean(x: Tensor) -> Tensor:
        return F.avg_pool2d(x, SSIM_WINDOW, 1)

    mean_a, mean_b = mean(a), mean(b)
    var_a, var_b = mean(a * a) - mean_a**2, mean(b * b) - mean_b**2
    covariance = mean(a * b) - mean_a * mean_b
    numerator = (2 * mean_a * mean_b + SSIM_C1) * (2 * covariance + SSIM_C2)
    return (numerator / ((mean_a**2 + mean_b**2 + SSIM_C1) * (var_a + var_b + SSIM_C2))).mean()


def alpha_loss(logit: Tensor, alpha: Tensor, pointed: Tensor) -> Tensor:
    """BCE + L1 + soft IoU of (N, 1, h, w); the IoU only where there is a subject.

    pointed: (N,) 1 where somebody points at the subject. Such subjects are small, so that the sums over pixels hardly tell
    whether they alone are in focus; the IoU counts three times there.
    """
    predicted = torch.sigmoid(logit)
    both = torch.minimum(predicted, alpha).sum((1, 2, 3))
    either = torch.maximum(predicted, alpha).sum((1, 2, 3))
    present = alpha.amax((1, 2, 3)) > 0.5
    iou = torch.where(present, 1.0 - both / either.clamp(min=1e-3), 0.0)
    weighted = (iou * (IOU + (POINTED_IOU - IOU) * pointed)).mean()
    return F.binary_cross_entropy_with_logits(logit, alpha) + (predicted - alpha).abs().mean() + weighted


def edge_loss(logit: Tensor, alpha: Tensor, weight: Tensor) -> Tensor:
    """BCE, L1 and L1 of the slopes (as in Xu et al. 2017, Hou and Liu 2019), weighted; all (N, 1, h, w), finest maps."""
    found = stretched(logit)
    loss = weight * (0.5 * F.binary_cross_entropy_with_logits(logit, alpha, reduction="none") + (found - alpha).abs())
    down = (found.diff(dim=2) - alpha.diff(dim=2)).abs() * weight[:, :, 1:]
    across = (found.diff(dim=3) - alpha.diff(dim=3)).abs() * weight[:, :, :, 1:]
    return (loss.sum() + down.sum() + across.sum()) / weight.sum()


def defocus_loss(logit: Tensor, defocus: Tensor, alpha: Tensor, weight: Tensor) -> Tensor:
    """L1 where the photo is not in focus, of (N, 1, h, w); weight (N,)."""
    counts = (1.0 - alpha) * weight[:, None, None, None]
    return ((torch.sigmoid(logit) - defocus).abs() * counts).sum() / counts.sum().clamp(min=1.0)


def picture_loss(rendered: Tensor, target: Tensor, distance: Callable[[Tensor, Tensor], Tensor] = F.l1_loss) -> Tensor:
    """Distance + 0.5 (1 - SSIM) of (N, 3, h, w) pictures; the distance alone where they are too small to have structure."""
    loss = distance(rendered, target)
    return loss + 0.5 * (1.0 - ssim(rendered, target)) if min(target.shape[2:]) >= SSIM_FROM_PX else loss


def rendered_loss(state: Tensor, photo: Tensor, alpha: Tensor, defocus: Tensor) -> Tensor:
    """`picture_loss` of the photo rendered with predicted and with true maps, all (N, ., h, w)."""
    radius = optics.radius_px(STRENGTH, (photo.shape[2], photo.shape[3]))
    with torch.no_grad():
        target = render(photo, alpha, defocus, radius)
    rendered = render(photo, torch.sigmoid(state[:, :1]), torch.sigmoid(state[:, 1:2]), radius)
    return picture_loss(rendered, target)


def fitted(target: Tensor, photo: Tensor) -> Tensor:
    """The target with the photo's colours: per picture and channel the gain and offset that bring the two closest.

    Two exposures of one scene differ by a little, and no map can make up for it. target, photo (N, 3, h, w) in [0, 1].
    """
    size = min(FIT_PX, target.shape[2]), min(FIT_PX, target.shape[3])
    x, y = (averaged(picture, size).flatten(2) for picture in (target, photo))
    mean_x, mean_y = x.mean(2, keepdim=True), y.mean(2, keepdim=True)
    gain = ((x - mean_x) * (y - mean_y)).sum(2, keepdim=True) / (x - mean_x).square().sum(2, keepdim=True).clamp(min=1e-4)
    gain = gain.clamp(1.0 / MOST_GAIN, MOST_GAIN)
    offset = mean_y - gain * mean_x
    return (target * gain[:, :, :, None] + offset[:, :, :, None]).clamp(0.0, 1.0)


def robust(found: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference, but what is far off, for it lies elsewhere in the other photo, counts little more."""
    size = (found - target).abs()
    return (size / (1.0 + size / OUTLIER)).mean()


def pair_loss(state: Tensor, photo: Tensor, target: Tensor) -> Tensor:
    """Loss of one level on a real pair: the photo rendered with the level's maps against the shallow photo.

    state (N, 2+, h, w) logits; photo, target (N, 3, H, W) at least that size. No map is known; the lens teaches both. The
    shallow photo's colours are fitted to the wide one's, and the difference is `robust`, for two photos never match quite.
    """
    state = state.float()
    photo, target = (averaged(x, (state.shape[2], state.shape[3])) for x in (photo, target))
    target = fitted(target, photo)
    radius = optics.radius_px(STRENGTH, (photo.shape[2], photo.shape[3]))
    rendered = render(photo, torch.sigmoid(state[:, :1]), torch.sigmoid(state[:, 1:2]), radius)
    return picture_loss(rendered, target, robust)


def level_loss(
    state: Tensor,
    photo: Tensor,
    alpha: Tensor,
    defocus: Tensor,
    weight: Tensor,
    pointed: Tensor,
    compares_pictures: bool = True,
) -> Tensor:
    """Loss of one level.

    state (N, 2+, h, w) logits; photo, alpha, defocus (N, ., H, W) at least that size; weight (N,) of the defocus; pointed
    (N,) 1 where somebody points. compares_pictures: whether `rendered_loss` counts where the level is large enough.
    """
    size = state.shape[2], state.shape[3]
    alpha, defocus = (x if x.shape[2:] == state.shape[2:] else averaged(x, size) for x in (alpha, defocus))
    state = state.float()
    loss = alpha_loss(state[:, :1], alpha, pointed) + 0.5 * defocus_loss(state[:, 1:2], defocus, alpha, weight)
    if compares_pictures and min(size) >= SSIM_FROM_PX:
        loss = loss + rendered_loss(state, averaged(photo, size), alpha, defocus)
    return loss
