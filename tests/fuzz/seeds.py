"""Files to begin with: every container as several programs write it, with all the blocks it can carry."""

import io

import numpy as np
import piexif
import pillow_heif
from PIL import Image, ImageCms, PngImagePlugin

pillow_heif.register_heif_opener()
HEIGHT, WIDTH = 24, 40
ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = (
    b'<?xpacket begin=""?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
    b'<?xpacket end="w"?>'
)


def exif() -> bytes:
    """With a place, a thumbnail and a maker note."""
    thumbnail = io.BytesIO()
    Image.new("RGB", (16, 12)).save(thumbnail, "JPEG")
    first = {piexif.ImageIFD.Make: b"Maker", piexif.ImageIFD.Orientation: 6}
    more = {piexif.ExifIFD.MakerNote: b"note" * 9, piexif.ExifIFD.PixelXDimension: 999}
    gps = {piexif.GPSIFD.GPSLatitude: ((10, 1), (20, 1), (30, 1))}
    block: bytes = piexif.dump({"0th": first, "Exif": more, "GPS": gps, "1st": {}, "thumbnail": thumbnail.getvalue()})
    return block.removeprefix(b"Exif\0\0")


def seeds() -> dict[str, bytes]:
    """Name -> file."""
    pixels = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 4), dtype=np.uint8)
    colour, clear, grey = (Image.fromarray(part) for part in (pixels[..., :3].copy(), pixels, pixels[..., 0].copy()))
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", XMP.decode())
    blocks = {"exif": exif(), "icc_profile": ICC, "xmp": XMP}
    written = {
        "jpeg": (colour, "JPEG", blocks | {"comment": b"hello", "dpi": (300, 300)}),
        "jpeg-progressive": (colour, "JPEG", {"progressive": True}),
        "jpeg-grey": (grey, "JPEG", {}),
        "png": (clear, "PNG", {"exif": exif(), "icc_profile": ICC, "pnginfo": text, "dpi": (300, 300)}),
        "webp": (clear, "WEBP", blocks),
        "webp-lossless": (colour, "WEBP", {"lossless": True}),
        "tiff": (colour, "TIFF", {"icc_profile": ICC, "compression": "tiff_lzw"}),
        "bmp": (colour, "BMP", {}),
        "avif": (clear, "AVIF", blocks),
        "heic": (colour, "HEIF", blocks),
    }
    files = {}
    for name, (image, kind, options) in written.items():
        out = io.BytesIO()
        image.save(out, kind, **options)
        files[name] = out.getvalue()
    return files
