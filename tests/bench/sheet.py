"""Contact sheet of what a model does to photos: a row each of before | after | alpha | defocus.

    python -m tests.bench.sheet OUT.jpg PHOTO... [--model DIR] [--strength S] [--count N] [--seed N] [--crops]
        [--focus X,Y]

A PHOTO is a file, a folder of files, or a tar shard with members NAME.photo.EXT. With --crops each row goes on with
pieces at their own size, before and after: where the subject's edge is, and the brightest light out of focus.
"""

import argparse
import random
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from bokehcli.decode import decode_photo
from bokehcli.errors import BokehError
from bokehcli.infer import Maps, Network, open_network
from bokehcli.lens import render
from bokehcli.model import find_model
from bokehcli.options import DecodeOptions, LensOptions
from bokehcli.pixels import from_unit, resize, to_8_bits, to_unit
from tests.bench.product import lens_for

Image = NDArray[Any]
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp")
CELL_PX = 360  # height and width of the largest picture in a cell
CROP_PX = CELL_PX
GAP_PX = 6


def photos_of(path: Path) -> list[tuple[str, Callable[[], bytes]]]:
    """Name and reader of every photo of a file, folder or tar shard."""
    if path.is_dir():
        files = [file for file in sorted(path.rglob("*")) if file.suffix.lower() in SUFFIXES]
        return [(file.name, file.read_bytes) for file in files if not is_matte(file)]
    if path.suffix == ".tar":
        with tarfile.open(path) as tar:
            members = [member for member in tar if ".photo." in Path(member.name).name]
        return [(Path(member.name).name, lambda member=member: read_member(path, member)) for member in members]
    return [(path.name, path.read_bytes)]


def is_matte(path: Path) -> bool:
    """Whether a file of a training folder is a matte, as the trainer reads such folders."""
    return path.stem.endswith(".matte") or path.parent.name == "mattes"


def read_member(path: Path, member: tarfile.TarInfo) -> bytes:
    """The bytes of one file of a tar."""
    with path.open("rb") as file:
        file.seek(member.offset_data)
        return file.read(member.size)


def fitted(image: Image) -> Image:
    """(H, W[, 3]) -> (CELL_PX, CELL_PX, 3) RGB: reduced if larger, in the middle of black."""
    if image.ndim == 2:
        grey = image if image.dtype == np.uint8 else from_unit(image, np.uint8)
        image = np.repeat(grey[:, :, None], 3, axis=2)
    scale = min(1.0, CELL_PX / max(image.shape[:2]))
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    return centred(cv2.resize(image, size, interpolation=cv2.INTER_AREA), CELL_PX)


def centred(image: Image, side: int) -> Image:
    """An image in the middle of a black square."""
    cell = np.zeros((side, side, 3), np.uint8)
    top, left = (side - image.shape[0]) // 2, (side - image.shape[1]) // 2
    cell[top : top + image.shape[0], left : left + image.shape[1]] = image
    return cell


def places(image: Image, maps: Maps) -> list[tuple[int, int]]:
    """(y, x) where alpha changes most over a neighbourhood, and of the brightest light that is out of focus."""
    alpha = to_unit(maps.alpha)
    change = np.abs(cv2.Sobel(alpha, -1, 1, 0)) + np.abs(cv2.Sobel(alpha, -1, 0, 1))
    change = cv2.blur(change, (CROP_PX // 2, CROP_PX // 2))
    light = cv2.GaussianBlur(image.min(2).astype(np.float32), (0, 0), 2) * (1 - alpha) * resize(maps.defocus, alpha.shape)
    return [(int(i[0]), int(i[1])) for i in (np.unravel_index(values.argmax(), values.shape) for values in (change, light))]


def crop(image: Image, place: tuple[int, int]) -> Image:
    """CROP_PX around a place, moved inwards at the border, in a cell's middle."""
    top, left = (max(0, min(at - CROP_PX // 2, side - CROP_PX)) for at, side in zip(place, image.shape[:2], strict=True))
    return centred(image[top : top + CROP_PX, left : left + CROP_PX], CELL_PX)


def row_of(
    name: str,
    data: bytes,
    network: Network,
    options: LensOptions,
    crops: bool,
    focus: tuple[float, float] | None = None,
) -> Image:
    """One row of the sheet, with the photo's name, the share of it in focus, and how unsure the network is of that."""
    before = to_8_bits(decode_photo(data, name, DecodeOptions()).image)
    maps = network.predict(before, focus)
    after = render(before, maps.alpha, maps.defocus, lens_for(maps.doubt, options))
    cells = [fitted(picture) for picture in (before, after, maps.alpha, resize(maps.defocus, before.shape[:2]))]
    if crops:
        cells += [crop(picture, place) for place in places(before, maps) for picture in (before, after)]
    facts = f"{before.shape[1]} x {before.shape[0]}  in focus {maps.subject_area:.0%}  doubt {maps.doubt:.2f}"
    return labelled(cells, f"{name}  {facts}")


def labelled(cells: list[Image], label: str) -> Image:
    """Cells side by side with a line of text in the first one's corner."""
    row = np.hstack([np.pad(cell, ((0, GAP_PX), (0, GAP_PX), (0, 0)), constant_values=40) for cell in cells])
    for colour, width in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(row, label, (6, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.42, colour, width, cv2.LINE_AA)
    return row


def write_sheet(out: Path, rows: list[Image]) -> None:
    """Rows of one width below each other, as a JPEG."""
    cv2.imwrite(str(out), np.vstack(rows)[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])


def point(text: str) -> tuple[float, float]:
    """'0.3,0.6' as shares of width and height. Raises ValueError, which argparse reports."""
    x, y = (float(part) for part in text.split(","))
    return x, y


def main() -> None:
    """Write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, metavar="OUT.jpg")
    parser.add_argument("photos", type=Path, nargs="+", metavar="PHOTO")
    parser.add_argument("--model", type=Path, default=None)
    parser.add_argument("--strength", type=float, default=LensOptions.strength)
    parser.add_argument("--highlights", type=float, default=LensOptions.highlights)
    parser.add_argument("--count", type=int, default=0, help="at most so many photos; 0 is all")
    parser.add_argument("--seed", type=int, default=None, help="choose them by chance, the same for the same number")
    parser.add_argument("--crops", action="store_true")
    parser.add_argument("--focus", type=point, default=None, metavar="X,Y", help="point at it, in all photos")
    arguments = parser.parse_args()
    found = [photo for path in arguments.photos for photo in photos_of(path)]
    if arguments.seed is not None:
        random.Random(arguments.seed).shuffle(found)
    found = found[: arguments.count or None]
    network = open_network(find_model(arguments.model))
    options = LensOptions(strength=arguments.strength, highlights=arguments.highlights)
    rows = []
    for name, read in found:
        try:
            rows.append(row_of(name, read(), network, options, arguments.crops, arguments.focus))
        except BokehError as error:
            print(error)
    if not rows:
        parser.error("no photo found that can be read")
    write_sheet(arguments.out, rows)
    print(f"{arguments.out}: {len(rows)} photos, strength {arguments.strength:g}")


if __name__ == "__main__":
    main()
