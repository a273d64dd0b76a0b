"""HEIC pixels, by pillow-heif, which comes with the extra `[heic]`: OpenCV reads no HEVC.

libheif turns and mirrors a picture as its header says, so that pixels come upright.
"""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bokehcli.errors import DecodeError, EncodeError, MissingDependency, UnsupportedPhoto
from bokehcli.pixels import gathered, spread

HOW_TO_GET = "HEIC needs pillow-heif: pip install 'bokehcli[heic]'"
WRITTEN_BITS = 10  # of a channel, of those with more than 8
SUBSAMPLINGS = ("4:2:0", "4:2:2", "4:4:4")
# Of x265. At quality 90 photos took a seventh of the time that libheif's own choice, slow, takes, were as good (PSNR within
# 0.2 dB) and 1 to 15 % larger.
PRESET = "ultrafast"
CHANNELS = {"L": 1, "I": 1, "RGB": 3, "RGBA": 4}  # by the mode, less what says that it has more than 8 bits


def load() -> Any:
    """The module ``pillow_heif``. Raises MissingDependency."""
    try:
        import pillow_heif
    except ImportError as error:
        raise MissingDependency(HOW_TO_GET) from error
    return pillow_heif


def decode(data: bytes, name: str) -> NDArray[Any]:
    """The primary picture: (H, W), (H, W, 3) or (H, W, 4), RGB order, upright, uint8, or uint16 over its whole range.

    Raises DecodeError, UnsupportedPhoto.
    """
    try:
        heif = load().open_heif(data, convert_hdr_to_8bit=False)
        mode, bits = heif.mode, int(heif.info.get("bit_depth") or 8)
        pixels = np.asarray(heif)
    except MissingDependency as error:
        raise UnsupportedPhoto(name, str(error)) from error
    except IndexError as error:  # pillow-heif takes the first of none
        raise DecodeError(name, "the picture is damaged: libheif finds none") from error
    except (ValueError, RuntimeError, EOFError, OSError, MemoryError, SyntaxError) as error:
        raise DecodeError(name, f"the picture cannot be decoded: {' '.join(str(error).split())[:200]}") from error
    colours, _, deep = mode.partition(";")
    if colours not in CHANNELS or pixels.ndim not in (2, 3):
        raise UnsupportedPhoto(name, f"a HEIC picture of {mode} samples is not rendered")
    return spread((pixels >> (16 - bits)).astype(np.uint16), bits) if deep and 8 < bits < 16 else pixels


def encode(pixels: NDArray[Any], quality: int, subsampling: str | None, name: str) -> bytes:
    """Pixels as `decode` gives them, as HEIC without metadata; uint16 is written with WRITTEN_BITS. Raises EncodeError.

    subsampling: of the colour channels; what HEVC has not, and None, is 4:2:0, which all devices read.
    """
    if pixels.dtype == np.uint16:
        pixels = gathered(pixels, WRITTEN_BITS) << (16 - WRITTEN_BITS)
    mode = "L" if pixels.ndim == 2 else "RGB" if pixels.shape[2] == CHANNELS["RGB"] else "RGBA"
    deep = ";16" if pixels.dtype == np.uint16 else ""
    out = io.BytesIO()
    try:
        heif = load().from_bytes(mode + deep, (pixels.shape[1], pixels.shape[0]), np.ascontiguousarray(pixels).tobytes())
        chroma = subsampling if subsampling in SUBSAMPLINGS else SUBSAMPLINGS[0]
        heif.save(out, quality=quality, subsampling=chroma, enc_params={"preset": PRESET}, exif=None, xmp=None)
    except MissingDependency as error:
        raise EncodeError(name, str(error)) from error
    except (ValueError, RuntimeError, OSError, MemoryError) as error:
        raise EncodeError(name, f"heic: {' '.join(str(error).split())[:200]}") from error
    return out.getvalue()
