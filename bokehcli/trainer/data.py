"""Photos with subject mattes, from folders or tar shards; decoded when needed, kept in memory up to a limit."""

import sys
import tarfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bokehcli.errors import UsageError
from bokehcli.opencv import cv2
from bokehcli.pairs import SAME_SHAPE, SUFFIXES, decode
from bokehcli.pixels import fit_within, resize, to_8_bits
from bokehcli.resources import usable_cores

Image = NDArray[Any]
Float = NDArray[np.float32]

# Mattes are stored lossy by a level or two: what is nearly 0 or nearly 255 is taken as sure.
MATTE_LOW, MATTE_HIGH = 4, 251
EMPTY = 0.005  # a matte below this share of the picture has no subject
FINE_PART = "hires"  # the part with the finest edges, where a data folder has one
VALIDATION_PART = "val"
VALIDATION_SHARE = 0.02  # of a folder that has no validation part of its own
FILLED_AT_ONCE = 64


@dataclass(frozen=True)
class Sample:
    """What the network is shown once.

    photo: (S, S, 3) uint8 RGB. hint, alpha, defocus: (S, S) float32 in [0, 1]. weight: of the defocus loss, 0 or 1.
    target: (S, S, 3) uint8 RGB where the sample is a real pair of wide and shallow photo; then the maps mean nothing.
    """

    photo: Image
    hint: Float
    alpha: Float
    defocus: Float
    weight: float
    target: Image | None = None


# (seed, number, size, fine) -> sample; a pure function.
Maker = Callable[[int, int, int, bool], Sample]


@dataclass(frozen=True)
class Span:
    """A file, or `size` bytes of it from `offset` on; name: what it is called within that file."""

    path: Path
    offset: int = 0
    size: int = -1
    name: str = ""

    def __str__(self) -> str:
        return f"{self.path}: {self.name}" if self.name else str(self.path)

    def read(self) -> bytes:
        """The bytes. Raises OSError."""
        with self.path.open("rb") as file:
            file.seek(self.offset)
            return file.read(self.size)


@dataclass(frozen=True)
class Item:
    """One photo with its matte. Plain data, for processes that make samples may be given it by pickle."""

    name: str
    part: str
    photo: Span
    matte: Span


def items_of_shard(path: Path) -> Iterator[Item]:
    """Items of one tar file of NAME.photo.EXT and NAME.matte.EXT; the part is the shard's name up to its number.

    Raises UsageError where it is no tar file, a compressed one, in which nothing has a place of its own, or cut short.
    """
    found: dict[str, dict[str, Span]] = {}
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                name, kind, _ = [*Path(member.name).name.rsplit(".", 2), "", ""][:3]
                if member.isfile() and kind in ("photo", "matte"):
                    found.setdefault(name, {})[kind] = Span(path, member.offset_data, member.size, member.name)
    except tarfile.TarError as error:
        raise UsageError(f"{path}: cut short, or no uncompressed tar file ({error})") from error
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from error
    part = path.stem.rsplit("-", 1)[0]
    for name, kinds in sorted(found.items()):
        if len(kinds) == 2:
            yield Item(name, part, kinds["photo"], kinds["matte"])


def items_of_folder(folder: Path) -> Iterator[Item]:
    """Items of a folder that holds NAME.photo.EXT beside NAME.matte.EXT, or photos/NAME.EXT and mattes/NAME.EXT."""
    if (folder / "photos").is_dir() and (folder / "mattes").is_dir():
        photos = {path.stem: path for path in (folder / "photos").iterdir() if path.suffix.lower() in SUFFIXES}
        mattes = {path.stem: path for path in (folder / "mattes").iterdir() if path.suffix.lower() in SUFFIXES}
    else:
        files = [path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES]
        photos = {path.stem[:-6]: path for path in files if path.stem.endswith(".photo")}
        mattes = {path.stem[:-6]: path for path in files if path.stem.endswith(".matte")}
    for name in sorted(photos.keys() & mattes.keys()):
        held_out = zlib.crc32(name.encode("utf-8", sys.getfilesystemencodeerrors())) % 1000 < 1000 * VALIDATION_SHARE
        yield Item(name, VALIDATION_PART if held_out else "train", Span(photos[name]), Span(mattes[name]))


def find_items(data: Path) -> list[Item]:
    """All items of a folder of tar shards, or of photos and mattes, in a stable order. Raises UsageError if none."""
    if not data.is_dir():
        raise UsageError(f"{data}: no such folder")
    shards = sorted(data.glob("*.tar"))
    items = [item for shard in shards for item in items_of_shard(shard)] if shards else list(items_of_folder(data))
    if not items:
        raise UsageError(f"{data}: neither tar shards nor NAME.photo.* beside NAME.matte.* nor photos/ and mattes/")
    return items


def decode_pair(item: Item, long_side: int) -> tuple[Image, Image]:
    """(H, W, 3) uint8 RGB and (H, W) uint8, the long side reduced to at most `long_side`.

    Raises UsageError for files that cannot be read, and for a matte of another shape than its photo.
    """
    image, mask = decoded(item.photo, cv2.IMREAD_COLOR)[:, :, ::-1], decode_matte(item.matte)
    height, width = image.shape[:2]
    if abs(width * mask.shape[0] / (height * mask.shape[1]) - 1.0) > SAME_SHAPE:
        raise UsageError(f"{item.matte}: another shape than {item.photo}")
    size = fit_within((height, width), long_side)
    scaled = (mask.astype(np.float32) - MATTE_LOW) * (255.0 / (MATTE_HIGH - MATTE_LOW))
    mask = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(resize(image, size)), resize(mask, size)


def decode_matte(span: Span) -> Image:
    """(H, W) uint8: the opacity, where there is one that says something, else grey. Raises UsageError."""
    whole = decoded(span, cv2.IMREAD_UNCHANGED)
    if whole.ndim == 3 and whole.shape[2] == 4 and np.ptp(whole[:, :, 3]):
        return to_8_bits(whole[:, :, 3])
    return decoded(span, cv2.IMREAD_GRAYSCALE)


def decoded(span: Span, flag: int) -> Image:
    """A picture as OpenCV gives it. Raises UsageError."""
    try:
        content = np.frombuffer(span.read(), np.uint8)
    except OSError as error:
        raise UsageError(f"{span}: {error.strerror or error}") from error
    return decode(content, flag, str(span))


class Library:
    """Decoded photos and mattes of some items; the first `cache_bytes` of them stay in memory.

    What cannot be used is left out: the next photo takes its place. faults: why, by number, as far as they were looked at.

    Fill it before worker processes fork and they share that memory; those that are given it by pickle get it without the
    decoded photos, and keep as many as there was room left for. fine: numbers of the photos with the finest edges.
    empty: of those without a clear subject, as far as they were filled in.
    """

    def __init__(self, items: list[Item], long_side: int, cache_bytes: int = 4 << 30) -> None:
        self.items = items
        self.long_side = long_side
        self.cache_bytes = cache_bytes
        self.cache: dict[int, tuple[Image, Image]] = {}
        self.fine = [index for index, item in enumerate(items) if item.part == FINE_PART]
        self.empty: list[int] = []
        self.faults: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self.items)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "cache": {}}

    def __getitem__(self, index: int) -> tuple[Image, Image]:
        """(H, W, 3) uint8 RGB and (H, W) uint8 matte. Raises UsageError if no photo at all can be used."""
        for number in (*range(index, len(self)), *range(index)):
            if number in self.cache:
                return self.cache[number]
            if number not in self.faults:
                pair = self.decode(number)
                if pair is not None:
                    return self.keep(number, pair)
                print(f"bokeh train: {self.faults[number]}", file=sys.stderr, flush=True)
        raise UsageError(f"none of {len(self)} photos can be used; the first: {self.faults[0]}")

    def decode(self, index: int) -> tuple[Image, Image] | None:
        """A photo and its matte, from its files; None, and a fault, where they cannot be used."""
        try:
            return decode_pair(self.items[index], self.long_side)
        except UsageError as error:
            self.faults[index] = str(error)
            return None

    def keep(self, index: int, pair: tuple[Image, Image]) -> tuple[Image, Image]:
        """Hold a pair in memory if there is room; returns it."""
        size = pair[0].nbytes + pair[1].nbytes
        if self.cache_bytes >= size:
            self.cache_bytes -= size
            self.cache[index] = pair
        return pair

    def fill(self) -> None:
        """Decode until the cache is full, on all cores."""
        with ThreadPoolExecutor(usable_cores()) as pool:
            for first in range(0, len(self.items), FILLED_AT_ONCE):
                if self.cache_bytes < 3 * self.long_side * self.long_side:
                    return
                some = range(first, min(first + FILLED_AT_ONCE, len(self.items)))
                for index, pair in zip(some, pool.map(self.decode, some), strict=True):
                    if pair is not None and (self.keep(index, pair)[1] > 127).mean() < EMPTY:
                        self.empty.append(index)
