"""What a photo is once its file has been read: upright pixels, and everything that is not a pixel."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the commands that start processes need no arrays, and numpy takes a tenth of a second
    from numpy.typing import NDArray

FLOAT_BITS = 32  # of a channel, by which photos of floats are known


class Container(StrEnum):
    """A file format, whatever the file's name says."""

    JPEG = "jpeg"
    PNG = "png"
    WEBP = "webp"
    TIFF = "tiff"
    BMP = "bmp"
    AVIF = "avif"
    HEIC = "heic"

    @property
    def suffix(self) -> str:
        """The usual file name suffix, with its dot."""
        return {"jpeg": ".jpg", "tiff": ".tif"}.get(self.value, f".{self.value}")


@dataclass(frozen=True, kw_only=True)
class Carried:
    """Metadata blocks as the file held them.

    exif: a TIFF stream (begins II or MM), without any container's prefix. icc: the whole profile, joined from its
    pieces. xmp: the standard packet. others: blocks that mean something only in the same container, in file order,
    each as (kind, payload); what a kind is, the container's module says.
    """

    exif: bytes | None = None
    icc: bytes | None = None
    xmp: bytes | None = None
    others: tuple[tuple[str, bytes], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Photo:
    """A decoded photo.

    image: (H, W, 3) uint8, uint16 or float32 (white at 1, finite), RGB, upright, in the encoding of its ICC profile.
    opacity: (H, W) of the same type, or None. grey: the file had a single channel (the image holds it three times).
    unspecified: the opacity is a channel of which its TIFF does not say what it is, and goes back as that or not at all.
    orientation: the EXIF orientation that was undone, 1 to 8. quality: for JPEG and lossy WebP, 1 to 100 as estimated; None
    is unknown or lossless. subsampling: of the colour channels of a JPEG or HEIC, such as "4:2:0"; None is unknown or none.
    progressive: a JPEG that comes in scans of growing detail. optimised: not a JPEG with the Huffman codes that any may have,
    which is written in half the time and some percent larger. bits: of a channel in the file, 32 of floats; 10 and 12 are
    spread over the whole range of uint16.
    """

    name: str
    container: Container
    image: "NDArray[Any]"
    opacity: "NDArray[Any] | None" = None
    unspecified: bool = False
    grey: bool = False
    orientation: int = 1
    quality: int | None = None
    subsampling: str | None = None
    progressive: bool = False
    optimised: bool = True
    bits: int = 8
    carried: Carried = field(default_factory=Carried)
    warnings: tuple[str, ...] = ()

    @property
    def transparency(self) -> "NDArray[Any] | None":
        """The opacity (H, W), unless the file does not say that it is one."""
        return None if self.unspecified else self.opacity

    @property
    def megapixels(self) -> float:
        """Pixels in millions."""
        height, width = self.image.shape[:2]
        return float(height * width) / 1e6
