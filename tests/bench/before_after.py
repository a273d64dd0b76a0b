"""The README's picture: photos before and after, side by side, rows of one height.

    python -m tests.bench.before_after OUT.jpg PHOTO... [--strength S] [--model DIR]
"""

import argparse
from pathlib import Path

import cv2
import numpy as np

from bokehcli.decode import decode_photo
from bokehcli.infer import open_network
from bokehcli.lens import render
from bokehcli.model import find_model
from bokehcli.options import DecodeOptions, LensOptions
from tests.bench.product import lens_for

HEIGHT_PX, GAP_PX = 360, 8


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("photos", type=Path, nargs="+")
    parser.add_argument("--strength", type=float, default=LensOptions.strength)
    parser.add_argument("--model", type=Path)
    arguments = parser.parse_args()
    network = open_network(find_model(arguments.model))
    cells = []
    for path in arguments.photos:
        image = decode_photo(path.read_bytes(), path.name, DecodeOptions()).image
        maps = network.predict(image)
        lens = lens_for(maps.doubt, LensOptions(strength=arguments.strength))
        after = render(image, maps.alpha, maps.defocus, lens)
        width = round(image.shape[1] * HEIGHT_PX / image.shape[0])
        for shown in (image, after):
            cells.append(cv2.resize(shown, (width, HEIGHT_PX), interpolation=cv2.INTER_AREA))
            cells.append(np.full((HEIGHT_PX, GAP_PX, 3), 255, np.uint8))
    sheet = np.hstack(cells[:-1])
    cv2.imwrite(str(arguments.out), sheet[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])


if __name__ == "__main__":
    main()
