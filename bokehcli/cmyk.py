"""CMYK pixels to sRGB by their own ICC profile, by Little CMS in Pillow, which comes with the extra `[cmyk]`.

Ink does not mix by multiplication, as OpenCV has it: without the profile a print file's colours come out far too bright.
"""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bokehcli.errors import DecodeError, MissingDependency

HOW_TO_GET = "pip install 'bokehcli[cmyk]'"


class BadProfile(ValueError):
    """The profile is damaged, or not one that CMYK can be converted by."""


def to_srgb(data: bytes, icc: bytes, name: str) -> NDArray[np.uint8]:
    """Decode a JPEG or TIFF of CMYK or YCCK samples: (H, W, 3) uint8 in BGR order, sRGB.

    data: without an orientation, see containers.for_decoder, for Pillow turns a TIFF by it and a JPEG not.
    Relative colorimetric, with black point compensation, as print programs show such files on a screen. Raises
    MissingDependency, BadProfile, DecodeError.
    """
    try:
        from PIL import Image, ImageCms
    except ImportError as error:
        raise MissingDependency(HOW_TO_GET) from error
    Image.MAX_IMAGE_PIXELS = None  # the caller has held the picture to its own limit
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        transform: Any = ImageCms.buildTransform(
            profile,
            ImageCms.createProfile("sRGB"),
            "CMYK",
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, ValueError) as error:
        raise BadProfile(" ".join(str(error).split())[:200]) from error
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG", "TIFF")) as image:
            if image.mode != "CMYK":
                raise BadProfile(f"{image.mode} samples")
            converted = ImageCms.applyTransform(image, transform)
    except (OSError, SyntaxError, EOFError, MemoryError, ImageCms.PyCMSError) as error:
        raise DecodeError(name, f"the picture cannot be decoded: {' '.join(str(error).split())[:200]}") from error
    assert converted is not None  # it is None only where the transform is to be done in place
    return np.ascontiguousarray(np.asarray(converted)[..., ::-1])
