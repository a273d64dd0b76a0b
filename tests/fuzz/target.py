"""What is fuzzed: everything that reads or corrects bytes of a file, but for the pixels' decoders."""

from contextlib import suppress

from bokehcli import containers, privacy, tiff_samples, xmp
from bokehcli.containers import Malformed, heif, ifd, jpeg, png, tiff
from bokehcli.metadata import correct_exif
from bokehcli.photo import Carried, Container
from bokehcli.tone import curves_of

FULL = Carried(exif=b"II*\0\x08\0\0\0\0\0\0\0\0\0", icc=b"profile" * 20, xmp=b"<xmp/>")
OF_ALL = (
    containers.declared_size,
    containers.is_complete,
    containers.is_animated,
    containers.for_decoder,
    containers.estimated_quality,
    containers.subsampling,
    containers.refusal,
)
OF_ONE = {
    Container.JPEG: (jpeg.components, jpeg.is_progressive),
    Container.PNG: (png.is_grey,),
    Container.TIFF: (
        tiff.pages,
        tiff.is_raw,
        tiff.samples,
        tiff.bits,
        tiff.photometric,
        tiff.is_planar,
        tiff_samples.refusal,
        tiff_samples.warnings,
        tiff_samples.prepared,
    ),
    Container.AVIF: (heif.orientation, heif.bits, heif.is_grey),
    Container.HEIC: (heif.orientation, heif.bits, heif.is_grey),
}


def check(data: bytes) -> None:
    """Read the bytes in every way that a photo is read, and write what was found. Raises whatever is not Malformed."""
    container = containers.sniff(data)
    if container is None:
        ifd.read_orientation(data)
        return
    for read in OF_ALL:
        with suppress(Malformed):
            read(data, container)
    for read_one in OF_ONE.get(container, ()):
        with suppress(Malformed):
            read_one(data)
    with suppress(Malformed):
        containers.put_carried(data, container, FULL)
    with suppress(Malformed):
        carried, _ = containers.get_carried(data, container)
        check_blocks(carried)
        containers.put_carried(data, container, carried)


def check_blocks(carried: Carried) -> None:
    """Correct, strip and use the blocks, which must always go."""
    if carried.exif:
        correct_exif(carried.exif, (1, 1))
    if carried.xmp:
        xmp.with_edit(xmp.correct_xmp(carried.xmp, (1, 1)), "edit")
    privacy.without_gps(carried)
    privacy.without_metadata(carried)
    curves_of(carried.icc)
