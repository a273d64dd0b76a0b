"""The sections of the quality table, each from one photo or from the network: row -> column -> value."""

import dataclasses
import math
from typing import Any
from unittest import mock

import cv2
import numpy as np
from numpy.typing import NDArray

from bokehcli import similarity
from bokehcli.comparison import mask_and_gaussian
from bokehcli.infer import Network
from bokehcli.options import UNSURE_FROM, LensOptions, RunOptions
from bokehcli.pixels import fit_long_side, resize
from bokehcli.trainer import groups, scenes
from bokehcli.trainer.data import Library, Sample
from tests.bench import measures
from tests.bench.baselines import ellipse, guided_alpha
from tests.bench.product import Case, alpha_of, lens_for, rendered

Image = NDArray[Any]
Float = NDArray[np.float32]
Rows = dict[str, dict[str, float]]

LENS = LensOptions()
STRONGEST = LensOptions(strength=1.0)
SIZE_PX = 512  # long side at which the subject is compared, and side of the composites
STRICT_PX = 2.0  # a second tolerance of the boundary, near what an eye sees at the photo's own size
ERODED_PX = 5
TILED_MEGAPIXELS = 3.0
SEED = 1
VISIBLE = 0.01  # share of a composite that each of its objects must cover
GAUSSIAN = "mask + Gaussian"
WITHOUT, WITH = "without a subject", "validation photos"
FAR, NEAR = "far one pointed at", "near one pointed at"
OWN = "a photo's own subject"
GROUPS = "side by side"
SURE, UNSURE = "sure", "unsure, blurred gently"
OF_A_PHOTO = "subject", "edge", "edge found", "kept", "halo", "target", "unsure"


def subject(network: Network, photo: Image, matte: Float, half: tuple[float, float]) -> Rows:
    """IoU and error of alpha, photo and matte brought to SIZE_PX; beside an ellipse of the half axes, and nothing."""
    size = fit_long_side(matte.shape, SIZE_PX) if max(matte.shape) > SIZE_PX else matte.shape
    photo, matte = resize(photo, size), resize(matte, size)
    alphas = {
        "model": alpha_of(network.predict(photo)),
        "centred ellipse": ellipse(size, half),
        "nothing in focus": np.zeros_like(matte),
    }
    return {
        name: {"IoU": measures.iou(alpha, matte), "MAE": measures.mean_error(alpha, matte)} for name, alpha in alphas.items()
    }


def edge(case: Case) -> Rows:
    """Error in the band around the matte's edge, and F-scores of the boundary, at the photo's own size."""
    near = measures.band(case.matte)
    alphas = {
        "model": case.alpha,
        "global, enlarged": case.enlarged,
        "global, guided filter": guided_alpha(case.photo, case.enlarged),
    }
    return {
        name: {
            "MAE": measures.mean_error(alpha, case.matte, near),
            "F": measures.boundary_f(alpha, case.matte),
            "F 2 px": measures.boundary_f(alpha, case.matte, STRICT_PX),
        }
        for name, alpha in alphas.items()
    }


def kept(case: Case, output: Image) -> Rows:
    """What became of the subject's own pixels in the model's output."""
    inner = measures.eroded(case.matte > 0.5, ERODED_PX)
    sure = inner & (case.alpha >= 1.0)
    return {
        name: {
            "PSNR dB": similarity.psnr_db(output, case.photo, where),
            "bit-equal": measures.identical(output, case.photo, where),
            "of subject": measures.average(where[inner]),
        }
        for name, where in (("matte - 5 px", inner), ("and alpha = 1", sure))
    }


def halo(case: Case) -> Rows:
    """Light that crossed the edge of a painted subject at the strongest blur; by the model's alpha only where it is found."""
    paint, far = measures.painted(case.matte), np.ones_like(case.matte)
    alphas = {"matte given": case.matte} | ({"model, found": case.alpha} if case.found else {})
    rows: Rows = {}
    for name, alpha in alphas.items():
        rows[name] = crossed(rendered(paint, alpha, far, STRONGEST), case.matte)
        rows[f"{GAUSSIAN}, {name}"] = crossed(mask_and_gaussian(paint, alpha, STRONGEST.strength), case.matte)
    return rows


def crossed(picture: Image, matte: Float) -> dict[str, float]:
    """Shares of the other's light on both sides of the edge."""
    outside, inside = measures.halo(picture, matte)
    return {"outside": outside, "inside": inside, "3-10 px": measures.halo(picture, matte, measures.NEAR_RING_PX)[0]}


def target(case: Case, output: Image) -> Rows:
    """Likeness to the photo rendered with the matte and the trainer's layout of the defocus."""
    defocus = scenes.layout(case.matte, np.random.default_rng(SEED))
    wanted = rendered(case.photo, case.matte, defocus, LENS)
    pictures = {
        "model": output,
        "photo unchanged": case.photo,
        GAUSSIAN: mask_and_gaussian(case.photo, case.alpha, LENS.strength),
    }
    return {
        name: {"PSNR dB": similarity.psnr_db(picture, wanted), "SSIM": measures.ssim(picture, wanted)}
        for name, picture in pictures.items()
    }


def unsure(case: Case) -> Rows:
    """IoU at the photo's own size, by whether the network is sure of the subject, and whether this is one of those."""
    row = UNSURE if case.doubt > UNSURE_FROM else SURE
    return {each: {"IoU": case.iou if each == row else math.nan, "share": float(each == row)} for each in (SURE, UNSURE)}


def tiles(network: Network, photo: Image) -> Rows:
    """Largest differences, in 8-bit levels, between a tiled and an untiled run over a photo enlarged to 3 MP."""
    scale = (TILED_MEGAPIXELS * 1e6 / (photo.shape[0] * photo.shape[1])) ** 0.5
    large = cv2.resize(photo, None, fx=scale * 1.001, fy=scale * 1.001, interpolation=cv2.INTER_CUBIC)
    runs = [network.predict(large, tiled=tiled) for tiled in (True, False)]
    alphas = [alpha_of(maps) for maps in runs]
    pictures = {
        "alpha": [to_bytes(alpha) for alpha in alphas],
        "defocus": [to_bytes(maps.defocus) for maps in runs],
        "rendered": [rendered(large, alpha, maps.defocus, LENS) for alpha, maps in zip(alphas, runs, strict=True)],
    }
    return {name: {"levels": float(measures.largest_step(*pair))} for name, pair in pictures.items()}


def alone(network: Network, photo: Image, row: str) -> Rows:
    """Whether the photo is left as it is for want of a clear subject, or blurred gently, and how much of it is in focus."""
    maps = network.predict(photo)
    left = maps.subject_area < RunOptions.min_subject or lens_for(maps.doubt, LENS).strength == 0.0
    gently = not left and maps.doubt > UNSURE_FROM
    return {row: {"left alone": float(left), "gently": float(gently), "in focus": maps.subject_area}}


def to_bytes(values: Float) -> NDArray[np.uint8]:
    """[0, 1] -> 8 bits."""
    levels: NDArray[np.uint8] = np.rint(values * np.float32(255.0)).astype(np.uint8)
    return levels


@dataclasses.dataclass(frozen=True)
class Pointed:
    """A composite of two cut-outs, the point (x, y) on one of them as shares of the sides, and whether that is the far one."""

    sample: Sample
    point: tuple[float, float]
    far: bool


def pointed(library: Library, number: int) -> Pointed | None:
    """Composite `number`; None where the trainer points at nothing or an object covers less than VISIBLE.

    The trainer points at the far object in 45 % of the composites, else in half of the rest at the near one, and a sample
    tells neither which it was nor what the other's alpha is: so the cut-outs are noted as they are made.
    """
    cuts: list[Float] = []

    def noted(*arguments: Any) -> scenes.CutOut:
        made = cut_out(*arguments)
        cuts.append(made.whole(SIZE_PX))
        return made

    cut_out = scenes.cut_out
    with mock.patch.object(scenes, "cut_out", noted):
        sample = scenes.composite(np.random.default_rng((SEED, number)), library, range(len(library)), SIZE_PX, 2)
    far, near = cuts[0] * (1.0 - cuts[1]), cuts[1]
    if sample.hint.max() == 0.0 or min((far > 0.5).mean(), (near > 0.5).mean()) < VISIBLE:
        return None
    y, x = np.unravel_index(sample.hint.argmax(), sample.hint.shape)
    point = (float(x) + 0.5) / SIZE_PX, (float(y) + 0.5) / SIZE_PX
    return Pointed(sample, point, bool(np.array_equal(sample.alpha, far)))


def hint(network: Network, composite: Pointed) -> Rows:
    """IoU with the object that is pointed at, with the point and without it."""
    rows = "all", FAR if composite.far else NEAR
    without = alpha_of(network.predict(composite.sample.photo))
    return dict.fromkeys(rows, with_point(network, composite.sample.photo, composite.sample.alpha, composite.point, without))


def group(network: Network, library: Library, number: int) -> Rows:
    """How much of group `number` is found, and of how many of its members at least half; nothing where fewer than two show."""
    made = groups.group_of(np.random.default_rng((SEED, number)), library, range(len(library)), SIZE_PX)
    members = [member > 0.5 for member in made.members]
    members = [member for member in members if member.mean() >= VISIBLE]
    if len(members) < 2:
        return {}
    alpha = alpha_of(network.predict(made.picture))
    found = [measures.average(alpha[member] > 0.5) >= 0.5 for member in members]
    return {GROUPS: {"IoU": measures.iou(alpha, made.alpha), "members found": measures.average(np.array(found))}}


def own_hint(network: Network, case: Case, number: int) -> Rows:
    """IoU with the photo's own subject, with a random point on it and without it; nothing where there is no subject."""
    point = scenes.subject_point(np.random.default_rng((SEED, number)), case.matte)
    return {} if point is None else {OWN: with_point(network, case.photo, case.matte, point, case.alpha)}


def with_point(
    network: Network, photo: Image, wanted: Float, point: tuple[float, float], without: Float
) -> dict[str, float]:
    """IoU with the wanted alpha of the model's when it is given the point, and of the one it gave without it."""
    alpha = alpha_of(network.predict(photo, point))
    return {"pointed": measures.iou(alpha, wanted), "no hint": measures.iou(without, wanted)}
