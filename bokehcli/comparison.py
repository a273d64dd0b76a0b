"""Models held against real pairs: what each makes of the wide photo, and how near that comes to the shallow one."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bokehcli import optics
from bokehcli.decode import decode_photo
from bokehcli.errors import MissingDependency, PhotoError, UnsupportedPhoto, UsageError
from bokehcli.infer import Network
from bokehcli.model import find_model
from bokehcli.opencv import cv2
from bokehcli.options import LensOptions, RunOptions
from bokehcli.pairs import Pair
from bokehcli.photo import Photo
from bokehcli.pipeline import Findings, open_renderer
from bokehcli.pixels import resize, to_8_bits
from bokehcli.resources import peak_mib, reset_peak
from bokehcli.similarity import Measure, cropped, psnr_db, ssim
from bokehcli.storage import read_bytes
from bokehcli.tone import as_seen, curves_of

Image = NDArray[Any]
Float = NDArray[np.float32]

BUNDLED = "bundled"  # the name of the bundled model on the command line
UNCHANGED, MASK = "unchanged photo", "mask + Gaussian"
PICTURES = 3  # best, and as many worst, on a contact sheet
CELL_PX = 360  # height of its pictures


@dataclass(frozen=True)
class Score:
    """One contestant's result for one pair.

    elapsed_s: decoding and rendering. peak_mib: largest memory of the process meanwhile, None where the system does not
    tell. values: measure -> how alike result and shallow photo are.
    """

    pair: str
    contestant: str
    elapsed_s: float
    peak_mib: float | None
    values: dict[str, float]


@dataclass(frozen=True)
class Contestant:
    """Something that renders a photo, opened when its turn comes."""

    name: str
    open: Callable[[], Callable[[Photo], Photo]]


@dataclass
class Comparison:
    """Contestants, and what they are compared by. border_px: is not compared. failed: a line for each pair that fails."""

    contestants: list[Contestant]
    border_px: int = 32
    measures: dict[str, Measure] = field(default_factory=lambda: {"PSNR": psnr_db, "SSIM": ssim})
    failed: list[str] = field(default_factory=list)

    def scores(self, pairs: Sequence[Pair]) -> Iterator[Score]:
        """One contestant after the other, so that each has the memory to itself; whether all can be opened shows before.

        Raises BokehError where one cannot be, and MissingDependency.
        """
        for contestant in self.contestants:
            contestant.open()
        broken: set[Pair] = set()
        for contestant in self.contestants:
            render = contestant.open()
            for pair in pairs:
                if pair in broken:
                    continue
                try:
                    yield self.score(pair, contestant.name, render)
                except MissingDependency:
                    raise
                except Exception as error:  # a runtime's, say, of one network and one size
                    broken.add(pair)
                    self.failed.append(str(error) if isinstance(error, PhotoError) else fault_of(pair, contestant, error))

    def score(self, pair: Pair, name: str, render: Callable[[Photo], Photo]) -> Score:
        """Raises PhotoError."""
        reset_peak()
        began_s = time.perf_counter()
        image = render(read(pair.wide)).image
        elapsed_s, peak = time.perf_counter() - began_s, peak_mib()
        try:
            shown, target = (cropped(each, self.border_px) for each in (to_8_bits(image), target_of(pair, image)))
        except UsageError as error:
            raise UnsupportedPhoto(str(pair.wide), str(error)) from error
        values = {measure: compare(shown, target) for measure, compare in self.measures.items()}
        return Score(pair.wide.stem, name, elapsed_s, peak, values)


def fault_of(pair: Pair, contestant: Contestant, error: Exception) -> str:
    """A line for a pair that a contestant fails on in a way that names no photo."""
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return f"{pair.wide}: {contestant.name} fails: {reason}"


def of_all(scores: Sequence[Score], contestants: Sequence[Contestant]) -> list[Score]:
    """The scores for pairs that every contestant has one for: others would make the means those of different photos."""
    counts = Counter(score.pair for score in scores)
    return [score for score in scores if counts[score.pair] == len(contestants)]


def read(path: Path) -> Photo:
    """A photo of a pair. Raises PhotoError."""
    return decode_photo(read_bytes(path), str(path), RunOptions().decode)


def target_of(pair: Pair, image: Image) -> NDArray[np.uint8]:
    """The shallow photo, 8 bits, at the size of the rendered one. Raises PhotoError."""
    return to_8_bits(resize(read(pair.shallow).image, (image.shape[0], image.shape[1])))


def contestant_of(model: str, options: RunOptions) -> Contestant:
    """A model by its folder, or BUNDLED. Raises ModelError, UsageError."""
    path = path_of(model)
    options = replace(options, infer=replace(options.infer, model=path))
    card = find_model(path)
    if card.kind != "lens":
        options = replace(options, lens=LensOptions())
    name = BUNDLED if path is None else card.folder.resolve().name

    def opened() -> Callable[[Photo], Photo]:
        renderer = open_renderer(options)
        return lambda photo: renderer.develop(photo, Findings())[0]

    return Contestant(name, opened)


def path_of(model: str) -> Path | None:
    """A model's folder; None is the bundled one."""
    return None if model == BUNDLED and not Path(model).exists() else Path(model)


def baselines(models: Sequence[str], options: RunOptions) -> list[Contestant]:
    """The photo as it is, and the first lens model's alpha over a Gaussian blur as strong as the lens."""
    paths = [path_of(model) for model in models]
    infer = replace(options.infer, model=next((path for path in paths if find_model(path).kind == "lens"), None))

    def masked() -> Callable[[Photo], Photo]:
        network = open_renderer(RunOptions(infer=infer)).network
        assert isinstance(network, Network)

        def render(photo: Photo) -> Photo:
            alpha = network.predict(as_seen(photo.image, curves_of(photo.carried.icc))).alpha * np.float32(1 / 255)
            return replace(photo, image=mask_and_gaussian(photo.image, alpha, options.lens.strength))

        return render

    return [Contestant(UNCHANGED, lambda: lambda photo: photo), Contestant(MASK, masked)]


def mask_and_gaussian(image: Image, alpha: Float, strength: float) -> Image:
    """alpha x photo + (1 - alpha) x blurred photo, on encoded values; a Gaussian of the lens' disc's standard deviation.

    image: (H, W, 3) uint8, uint16 or float32, which the result is too. alpha: (H, W) in [0, 1]. A disc of radius R has the
    standard deviation R / 2 along each axis.
    """
    sigma_px = optics.radius_px(strength, (image.shape[0], image.shape[1])) / 2.0
    blurred = (cv2.GaussianBlur(image, (0, 0), sigma_px) if sigma_px > 0.0 else image).astype(np.float32)
    mixed: Image = blurred + (image.astype(np.float32) - blurred) * alpha[:, :, None]
    return mixed if image.dtype == np.float32 else np.rint(mixed).astype(image.dtype)


def unique(contestants: list[Contestant]) -> list[Contestant]:
    """The contestants, refused if two have one name. Raises UsageError."""
    names = [contestant.name for contestant in contestants]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"two models are called {', '.join(twice)}: rename the folder of one")
    return contestants


def sheet(comparison: Comparison, pairs: Sequence[Pair], scores: Sequence[Score]) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB: the pairs with the best and the worst PSNR of the first contestant, best first.

    A row each: the wide photo, the shallow one, what each contestant makes of it.
    """
    first = comparison.contestants[0].name
    ranked = sorted((score for score in scores if score.contestant == first), key=lambda score: -score.values["PSNR"])
    chosen = ranked if len(ranked) <= 2 * PICTURES else [*ranked[:PICTURES], *ranked[-PICTURES:]]
    by_name = {pair.wide.stem: pair for pair in pairs}
    rows = [[read(by_name[score.pair].wide).image, read(by_name[score.pair].shallow).image] for score in chosen]
    for contestant in comparison.contestants:
        if contestant.name == UNCHANGED:
            continue
        render = contestant.open()
        for row, score in zip(rows, chosen, strict=True):
            row.append(render(read(by_name[score.pair].wide)).image)
    titles = ["wide", "shallow", *(each.name for each in comparison.contestants if each.name != UNCHANGED)]
    return stacked([[framed(cell(image), title) for image, title in zip(row, titles, strict=True)] for row in rows])


def cell(image: Image) -> NDArray[np.uint8]:
    """A picture CELL_PX high."""
    height, width = image.shape[:2]
    return to_8_bits(resize(image, (CELL_PX, max(1, round(width * CELL_PX / height)))))


def framed(image: NDArray[np.uint8], title: str) -> NDArray[np.uint8]:
    """With a white line around it, and its title in a corner; what is not ASCII in that is shown as question marks."""
    result: NDArray[np.uint8] = cv2.copyMakeBorder(image, 2, 2, 2, 2, cv2.BORDER_CONSTANT, value=(255, 255, 255))
    for colour, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(result, title, (8, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, thickness, cv2.LINE_AA)
    return result


def stacked(rows: list[list[NDArray[np.uint8]]]) -> NDArray[np.uint8]:
    """Rows of pictures of one height below each other, white to the right of the shorter ones."""
    lines = [np.concatenate(row, 1) for row in rows]
    width = max(line.shape[1] for line in lines)
    filled = [np.pad(line, ((0, 0), (0, width - line.shape[1]), (0, 0)), constant_values=255) for line in lines]
    return np.concatenate(filled, 0)
