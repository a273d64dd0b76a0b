"""Corrects the blocks that a photo carried, and attaches them to its encoded pixels.

EXIF is patched where it lies: every offset in it, those inside maker notes too, stays true. piexif names the tags; its
own load and dump lay EXIF out anew and lose unknown tags, so they are not used.
"""

from dataclasses import replace

from piexif import ExifIFD, ImageIFD

from bokehcli import containers
from bokehcli.containers import Malformed, heif, ifd, jpeg, png, tiff
from bokehcli.containers.reading import byte_order
from bokehcli.errors import EncodeError
from bokehcli.options import MetadataOptions
from bokehcli.photo import Carried, Container, Photo
from bokehcli.privacy import with_density_once, without_gps, without_metadata
from bokehcli.regions import turn_exif, turned_xmp
from bokehcli.translated import translated
from bokehcli.xmp import correct_xmp, with_edit

ALL_KEPT = MetadataOptions()
# Tag -> which number of (height, width) it holds, in the first directory and in the EXIF one.
SIZE_TAGS = {ImageIFD.ImageWidth: 1, ImageIFD.ImageLength: 0}
EXIF_SIZE_TAGS = {ExifIFD.PixelXDimension: 1, ExifIFD.PixelYDimension: 0}
# Where a thumbnail lies, as (offset, length): a JPEG, or a strip of samples.
THUMBNAIL_TAGS = (
    (ImageIFD.JPEGInterchangeFormat, ImageIFD.JPEGInterchangeFormatLength),
    (ImageIFD.StripOffsets, ImageIFD.StripByteCounts),
)
GREY_PROFILE = b"GRAY"


def attach_metadata(
    data: bytes, container: Container, photo: Photo, options: MetadataOptions = ALL_KEPT, edit: str | None = None
) -> tuple[bytes, tuple[str, ...]]:
    """The encoded picture with what the photo carried, less what is not wanted, corrected for it.

    data: as encoded, in ``container``. edit: what was done to the pixels, for the history in XMP, unless metadata are not
    wanted; None adds nothing. Returns the file, and a warning for each block that was left out or damaged: a
    block is never a reason to lose the picture. Raises EncodeError where ``data`` itself cannot be read.
    """
    carried, warnings = _wanted(photo, container, options)
    if container is Container.BMP:
        if replace(carried, others=()) != Carried():
            warnings.append("BMP carries no metadata: EXIF, ICC profile and XMP left out")
        carried, edit = Carried(others=carried.others), None
    try:
        size = containers.declared_size(data, container)
        if carried.icc and (carried.icc[16:20] == GREY_PROFILE) and not _is_grey(data, container):
            carried = replace(carried, icc=None)
            warnings.append("the ICC profile is for grey, the written picture has colour channels: profile left out")
        if carried.exif:
            exif, lost = correct_exif(carried.exif, size, photo.orientation)
            carried = replace(carried, exif=exif)
            warnings += lost
        if carried.xmp:
            upright = photo.container in (Container.AVIF, Container.HEIC) or _has_orientation(photo.carried.exif)
            turned = turned_xmp(carried.xmp, photo.orientation, size)
            carried = replace(carried, xmp=correct_xmp(turned, size, upright=upright))
        if edit is not None and not options.strip:
            carried = replace(carried, xmp=with_edit(carried.xmp, edit))
        if Container.TIFF in (container, photo.container) and _has_maker_note(carried.exif):
            warnings.append("the maker note was moved: offsets inside it may no longer hold")
        data, lost = containers.put_carried(data, container, carried)
    except Malformed as error:
        raise EncodeError(photo.name, f"the encoded picture cannot be read: {error}") from error
    return data, (*warnings, *lost)


def _wanted(photo: Photo, container: Container, options: MetadataOptions) -> tuple[Carried, list[str]]:
    """What the photo carries that is wanted and that the container can hold, and a warning for each block left out."""
    carried, warnings = photo.carried, list[str]()
    if options.strip:
        carried = without_metadata(carried)
    elif options.strip_gps:
        carried, lost = without_gps(carried)
        warnings += lost
    if container is not photo.container:
        carried, left = translated(carried, container)
        if left:
            warnings.append(f"{container.value} cannot carry {', '.join(left)} of {photo.container.value}: left out")
    return with_density_once(carried, container) if options.strip else carried, warnings


def correct_exif(exif: bytes, size: tuple[int, int], orientation: int = 1) -> tuple[bytes | None, tuple[str, ...]]:
    """An EXIF stream for upright pixels of ``size`` (height, width), of which an orientation was undone, and warnings.

    The orientation becomes 1, sizes become the new ones, places turn, the thumbnail is unlinked and blanked; no byte moves.
    None where the first directory cannot be read: nothing could then be corrected.
    """
    try:
        big, first = ifd.is_big(exif), ifd.read_directory(exif)
    except Malformed as error:
        return None, (f"EXIF cannot be corrected ({error}): left out",)
    patched = bytearray(exif)
    warnings = ["EXIF is damaged in places: what could be read was corrected"] if first.damaged else []
    directories = [first]
    _set(patched, first, ImageIFD.Orientation, 1, big=big)
    for tag, side in SIZE_TAGS.items():
        _set(patched, first, tag, size[side], big=big)
    for tag in (ImageIFD.ExifTag, ImageIFD.GPSTag):
        for offset in ifd.integers(first.find(tag), big=big, most=1):
            try:
                directory = ifd.read_directory(exif, offset)
            except Malformed:
                warnings = ["EXIF is damaged in places: what could be read was corrected"]
                continue
            directories.append(directory)
            for size_tag, side in EXIF_SIZE_TAGS.items() if tag == ImageIFD.ExifTag else ():
                _set(patched, directory, size_tag, size[side], big=big)
            if tag == ImageIFD.ExifTag and orientation > 1:
                turn_exif(patched, directory, orientation, size, big=big)
    if first.next:
        patched[first.next_at : first.next_at + 4] = b"\0\0\0\0"
        _blank_thumbnail(patched, first.next, directories, big=big)
    return bytes(patched), tuple(warnings)


def _set(stream: bytearray, directory: ifd.Directory, tag: int, value: int, *, big: bool) -> None:
    """Write a whole number into each entry of that tag that holds one; a value that is too wide for it is left."""
    for entry in directory.entries:
        width = ifd.TYPES[entry.kind][0]
        if entry.tag == tag and entry.kind in ifd.INTEGERS and value < 1 << (8 * width):
            number = value.to_bytes(width, byte_order(big=big))
            stream[entry.value_at : entry.value_at + width] = number


def _blank_thumbnail(stream: bytearray, offset: int, directories: list[ifd.Directory], *, big: bool) -> None:
    """Zero the pixels of the thumbnail that the directory at ``offset`` describes, unless other things lie there."""
    try:
        directory = ifd.read_directory(bytes(stream), offset)
    except Malformed:
        return
    spans: list[tuple[int, int]] = []
    for offset_tag, length_tag in THUMBNAIL_TAGS:
        starts, lengths = (ifd.integers(directory.find(tag), big=big) for tag in (offset_tag, length_tag))
        spans += [(start, start + length) for start, length in zip(starts, lengths, strict=False)]
    ifd.blank(stream, spans, [span for other in directories for span in other.spans()])


def _is_grey(data: bytes, container: Container) -> bool:
    if container is Container.JPEG:
        return jpeg.components(data) == 1
    if container is Container.PNG:
        return png.is_grey(data)
    if container in (Container.AVIF, Container.HEIC):
        return heif.is_grey(data)
    return container is Container.TIFF and tiff.photometric(data) in (0, 1)


def _has_maker_note(exif: bytes | None) -> bool:
    try:
        return exif is not None and tiff.has_tag(exif, ExifIFD.MakerNote)
    except Malformed:
        return False


def _has_orientation(exif: bytes | None) -> bool:
    try:
        return exif is not None and ifd.read_directory(exif).find(ImageIFD.Orientation) is not None
    except Malformed:
        return False
