"""ONNX Runtime sessions: image -> what is in focus, and how far out of focus the rest is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import chain, groupby
from math import prod
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from bokehcli.colours import with_colours
from bokehcli.model import POINTED, ROLES, ModelCard
from bokehcli.opencv import cv2
from bokehcli.options import InferOptions
from bokehcli.packing import SQUARE, Block, Grid, packed
from bokehcli.pixels import fit_multiples, focus_hint, halved, resize, sigmoid, to_planes, to_unit
from bokehcli.pyramid import Level, Tile, base_state, doubled, inner_box, level_sizes, octave_count, varied_tiles
from bokehcli.resources import usable_cores
from bokehcli.session import open_session
from bokehcli.strands import with_strands
from bokehcli.subject import AMBIGUOUS, WINDOW, ambiguity, confirmed, doubt, is_held, pointed_at, window_about, without_doubtful
from bokehcli.threadpool import ThreadPool
from bokehcli.tiling import Box, bands_of, clip, grow

Image = NDArray[Any]
Float = NDArray[np.float32]

TILE_PX = 16  # of the state under an octave
AT_ONCE_PX = 20_000  # of the state, in one run of the octave network; one block may have more
WHOLE_UP_TO_PX = 256  # octaves up to this long side run over the whole picture
# What a block costs beside its pixels, in pixels: a third of a millisecond of preparing and putting back.
REFINING_PX, ENLARGING_PX = 1000, 10_000
# A tile is left out where alpha varies by less than this share of what the network itself takes for level. There it is
# enlarged as alpha, not as a logit. On 160 validation photos brought to 3 MP alpha differs by 1/255 at most from a run over the
# whole, and nowhere on every fourth of them; with 0.1 by 2/255 in two pixels, in the same time.
LEVEL = 0.02
MAPS = 2  # channels of a state that are maps: logits of alpha and defocus; the others are the network's own
ROUNDING = 64  # of 65535: how far alpha, as it is held, may be from what the network has
FULL = 65535  # alpha of the octaves below the photo's own size, 16 bits


@dataclass(frozen=True)
class Maps:
    """What is in focus, and how far out of focus the rest is.

    alpha: (H, W) uint8 at the photo's size, 0 background to 255 in focus. defocus: (h, w) float32 in [0, 1], circle of
    confusion relative to the largest one, at the size of the global state; it covers the whole photo. doubt: how unsure the
    network is of what is in focus, see `bokehcli.subject.doubt`; 0 where somebody pointed at it.
    """

    alpha: NDArray[np.uint8]
    defocus: Float
    doubt: float = 0.0

    @property
    def subject_area(self) -> float:
        """Share of the pixels that are mostly in focus."""
        return float(np.count_nonzero(self.alpha > 127) / self.alpha.size)


def open_network(card: ModelCard, options: InferOptions | None = None) -> "Network":
    """The network of a card, ready to run. Raises ModelError, DeviceError.

    The global network takes all threads for one picture. The octaves' tiles are many and small: several are run at a time,
    each on one thread, which took 30 % less time on two cores than both threads for one tile after the other.
    """
    options = options or InferOptions()
    single = replace(options, threads=1)
    lowest, octave, finest = (open_session(card, role, options if role == "global" else single) for role in ROLES)
    threads = options.threads or usable_cores()
    pointed = partial(open_session, card, POINTED, options) if POINTED in card.files else None
    return Network(card, lowest, octave, finest, threads=threads, min_clarity=options.min_clarity, open_pointed=pointed)


class Network:
    """The global network and the octave network of a lens model. One instance may serve several threads.

    finest: the octave network for the last octave, of which only alpha is wanted. threads: on which tiles are run.
    min_clarity: see `bokehcli.subject`. open_pointed: opens the global network for photos in which somebody points, when
    the first one comes; None where the model has no such network.
    """

    def __init__(
        self,
        card: ModelCard,
        lowest: ort.InferenceSession,
        octave: ort.InferenceSession,
        finest: ort.InferenceSession,
        threads: int = 1,
        min_clarity: float = 0.0,
        open_pointed: Callable[[], ort.InferenceSession] | None = None,
    ) -> None:
        self.card = card
        self.lowest = lowest
        self.octave = octave
        self.finest = finest
        self.threads = threads
        self.min_clarity = min_clarity
        self.open_pointed = open_pointed

    @cached_property
    def pointed(self) -> ort.InferenceSession:
        """The global network for photos in which somebody points. Raises DeviceError, ModelError the first time."""
        return self.lowest if self.open_pointed is None else self.open_pointed()

    def predict(self, image: Image, focus: tuple[float, float] | None = None, tiled: bool = True) -> Maps:
        """Maps of a photo; alpha has what its colours say (`bokehcli.colours`) and the subject's rim and strands, too.

        image: (H, W, 3) uint8 or uint16, upright RGB. focus: (x, y) as shares of width and height, None to choose by
        itself. tiled: False runs the large octaves over the whole picture, which gives the same and takes longer.
        """
        native = image.shape[0], image.shape[1]
        octaves = octave_count(native, self.card.long_side // self.card.shrink)
        sizes = level_sizes(native, octaves)
        pictures = pyramid(image, octaves)
        height, width = (side / (1.0 if focus is None else WINDOW) for side in self.overview(native, focus is not None))
        seen = next((p for p in pictures if p.shape[0] >= height and p.shape[1] >= width), image)
        state = self.global_state(seen, focus)
        unsure = 0.0 if focus is not None else doubt(state[0])
        state[0] = with_colours(state[0], seen)
        base = base_state(state, native, octaves)
        level, alpha = Level(sizes[0], dense=base), self.alpha_of(base, FULL if octaves else 255)
        for number, picture in enumerate(pictures, start=1):
            top = 255 if number == octaves else FULL
            if max(sizes[number]) <= WHOLE_UP_TO_PX or not tiled:
                assert level.dense is not None
                dense = self.refine(picture, level.dense, top)
                level, alpha = Level(sizes[number], dense=dense), self.alpha_of(dense, top)
            else:
                level, alpha = self.refine_tiles(picture, level, alpha, top)
        alpha = with_strands(pictures or [image], alpha)
        return Maps(alpha, sigmoid(state[1]), unsure)

    def alpha_of(self, state: Float, top: int) -> Image:
        """(h, w) uint8 or uint16, 0 to `top`, from a state; what is sure becomes exactly 0 or `top`."""
        share = sigmoid(state[0])
        scale = top / (1.0 - 2.0 * self.card.sure)
        depth = cv2.CV_8U if top == 255 else cv2.CV_16U  # to which OpenCV rounds, and no further than its ends
        rounded: Image = cv2.addWeighted(share, scale, share, 0.0, -self.card.sure * scale, dtype=depth)
        return rounded

    def overview(self, size: tuple[int, int], pointed: bool = False) -> tuple[int, int]:
        """The (height, width) in which the global network, or the one for what is pointed at, sees a photo of `size`."""
        return fit_multiples(size, self.card.side(POINTED if pointed else "global"), self.card.multiple)

    def global_state(self, image: Image, focus: tuple[float, float] | None) -> Float:
        """(channels, h, w) float32 state of level 3 for the whole photo, stretched to `overview`.

        Where that is AMBIGUOUS, its mirror image is asked as well, and the two maps averaged. Of what is in focus then, patches
        in doubt are left out, or, if somebody points, those that are not meant. What is pointed at is the harder task, and
        one photo at a time: there the mirror image is always asked, the network that chooses by itself is too, and, unless
        what was found reaches out of it, a window about the point, in which small things are larger.
        """
        shape, unit = (image.shape[0], image.shape[1]), to_unit(image)  # stretched as it is, not rounded to its type again
        photo = resize(unit, self.overview(shape))
        chosen = self.run_global(photo, None)
        if ambiguity(chosen[0]) > AMBIGUOUS:
            chosen = self.with_mirrored(chosen, photo, None)
        if focus is None:
            chosen[0] = without_doubtful(chosen[0], self.card.sure, self.min_clarity)
            return chosen
        size = self.overview(shape, pointed=True)
        state = self.run_both_ways(resize(unit, size), focus)
        window, place, point = window_about(focus, (state.shape[1], state.shape[2]), shape)
        if is_held(pointed_at(state[0], focus) > 0.0, place):
            closer = self.run_both_ways(resize(unit[window.slices], size), point)[0]
            seen = state[0][place.slices]
            seen += np.float32(0.5) * (resize(closer, seen.shape) - seen)
        state[0] = confirmed(state[0], resize(chosen[0], state[0].shape), focus)
        state[0] = pointed_at(state[0], focus)
        return state

    def run_both_ways(self, photo: Float, focus: tuple[float, float]) -> Float:
        """`run_global` with the mean of the maps of the photo and its mirror image."""
        return self.with_mirrored(self.run_global(photo, focus), photo, focus)

    def with_mirrored(self, state: Float, photo: Float, focus: tuple[float, float] | None) -> Float:
        """The state of a photo with the mean of its maps and those of the mirror image."""
        mirrored = self.run_global(cv2.flip(photo, 1), None if focus is None else (1.0 - focus[0], focus[1]))
        state[:MAPS] = 0.5 * (state[:MAPS] + mirrored[:MAPS, :, ::-1])
        return state

    def run_global(self, photo: Float, focus: tuple[float, float] | None) -> Float:
        """One run of a global network over a photo (H, W, 3) in [0, 1]: (channels, h, w)."""
        session = self.lowest if focus is None else self.pointed
        planes = np.empty((4, *photo.shape[:2]), np.float32)
        cv2.split(photo, list(planes[:3]))
        planes[3] = focus_hint((photo.shape[0], photo.shape[1]), focus)
        state: Float = session.run(None, {"photo": planes[None]})[0][0]
        return state

    def refine(self, picture: Image, state: Float, top: int) -> Float:
        """One run of the octave network over a whole picture (H, W, 3): state (C, h, w) of the half size -> (C or 1, H, W)."""
        height, width = picture.shape[:2]
        photo = to_planes([piece(picture, Box(0, state.shape[1], 0, state.shape[2]))])
        refined: Float = self.run_octave(photo, np.ascontiguousarray(state[None]), top)[0]
        return refined[:, :height, :width]

    def run_octave(self, photos: Float, states: Float, top: int) -> Float:
        """photos (N, 3, 2h, 2w), states (N, C, h, w) -> refined states (N, C, 2h, 2w), or their first channel at the end."""
        session = self.finest if top == 255 else self.octave
        refined: Float = session.run(None, {"photo": photos, "state": states})[0]
        return refined

    def batches(self, blocks: list[Block], grid: Grid) -> list[list[Block]]:
        """Blocks of one shape each, the largest first: AT_ONCE_PX at most, and so few that no thread waits long for another."""

        def sides_px(block: Block) -> tuple[int, int]:
            return grid.sides_px(block.down, block.across)

        most_px = min(AT_ONCE_PX, sum(map(prod, map(sides_px, blocks))) // (4 * self.threads))
        result = []
        for sides, some in groupby(sorted(blocks, key=sides_px), sides_px):
            alike, together = list(some), max(1, most_px // prod(sides))
            result += [alike[first : first + together] for first in range(0, len(alike), together)]
        return sorted(result, key=lambda batch: len(batch) * prod(sides_px(batch[0])), reverse=True)

    def refine_tiles(self, picture: Image, below: Level, alpha: Image, top: int) -> tuple[Level, Image]:
        """`refine` and `alpha_of`, but only where alpha (h, w) uint16 varies: elsewhere the network changes nothing.

        Where it varies by so little that the octave's gate stays shut, the state is enlarged, which is the same.
        """
        size = picture.shape[0], picture.shape[1]
        level = Level(size, below, square_px=2 * TILE_PX * SQUARE)
        card, least = self.card, self.card.gate_from * FULL
        refining, enlarging = Grid(TILE_PX, card.context_px, REFINING_PX), Grid(TILE_PX, 1, ENLARGING_PX)

        def enlarge_some(some: Sequence[Block]) -> None:
            for box in (block_box(block, below.size) for block in some):
                outer = clip(grow(box, 1), below.size)
                own, place = above(box, outer, size)
                finer[own.slices] = self.alpha_of(doubled(below.state(outer, 1))[:, *place.slices], top)

        def refine_some(some: Sequence[Block]) -> None:
            boxes = [block_box(block, below.size) for block in some]
            sides = refining.sides_px(some[0].down, some[0].across)
            around = [inner_box(box, card.context_px, sides, below.size) for box in boxes]
            states = np.empty((len(around), card.channels, around[0].height, around[0].width), np.float32)
            for state, box in zip(states, around, strict=True):
                below.fill(state, box)
            refined = self.run_octave(to_planes([piece(picture, box) for box in around]), states, top)
            for box, outer, state in zip(boxes, around, refined, strict=True):
                own, place = above(box, outer, size)
                inner = state[:, *place.slices]
                finer[own.slices] = self.alpha_of(inner, top)
                if top == FULL:
                    level.hold(own, inner)

        def look(rows: range) -> tuple[list[Tile], list[Tile]]:
            return varied_tiles(rows, alpha, TILE_PX, card.gate_px, (int(LEVEL * least), int(least) - ROUNDING))

        with ThreadPool(self.threads) as pool:
            larger = pool.submit(enlarged, alpha, size, top)
            bands = bands_of(range(-(-below.size[0] // TILE_PX)), 2 * self.threads)
            uneven, opened = ({*chain(*each)} for each in zip(*pool.map(look, bands), strict=True))
            finer = larger.result()
            # a block may hold tiles of the other kind, and what is refined has the last word
            for work, tiles, grid in ((enlarge_some, uneven - opened, enlarging), (refine_some, opened, refining)):
                pool.for_each(work, self.batches(packed(sorted(tiles), grid), grid))
        return level, finer


def block_box(block: Block, size: tuple[int, int]) -> Box:
    """The box of a block of tiles in a level of that size."""
    top, left = block.row * TILE_PX, block.column * TILE_PX
    return Box(top, min(top + block.down * TILE_PX, size[0]), left, min(left + block.across * TILE_PX, size[1]))


def above(box: Box, outer: Box, size: tuple[int, int]) -> tuple[Box, Box]:
    """A box, one octave finer, in the picture of `size` and in the enlarged `outer`, which holds it."""
    own = Box(2 * box.top, min(2 * box.bottom, size[0]), 2 * box.left, min(2 * box.right, size[1]))
    top, left = 2 * outer.top, 2 * outer.left
    return own, Box(own.top - top, own.bottom - top, own.left - left, own.right - left)


def piece(picture: Image, box: Box) -> Image:
    """(2h, 2w, 3) of a picture under a box of the level of half its size; an odd last row or column is repeated."""
    part = picture[2 * box.top : 2 * box.bottom, 2 * box.left : 2 * box.right]
    down, right = 2 * box.height - part.shape[0], 2 * box.width - part.shape[1]
    return np.pad(part, ((0, down), (0, right), (0, 0)), mode="edge") if down or right else part


def enlarged(alpha: Image, size: tuple[int, int], top: int) -> Image:
    """Alpha (h, w) uint16 at twice its size, cut to `size`, as 0 to `top`."""
    height, width = alpha.shape
    if top == 255:
        alpha = cv2.convertScaleAbs(alpha, alpha=255 / FULL)  # rounds to nearest
    return np.ascontiguousarray(resize(alpha, (2 * height, 2 * width))[: size[0], : size[1]])


def pyramid(image: Image, octaves: int) -> list[Image]:
    """The photo at the size of every octave, ascending; each is the half of the next larger one."""
    pictures: list[Image] = []
    for _ in range(octaves):
        pictures.append(image)
        image = halved(image) if len(pictures) < octaves else image
    return pictures[::-1]
