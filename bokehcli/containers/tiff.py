"""TIFF files: what the first directory says, and a new first directory behind the old bytes.

The kinds of ``Carried.others`` are "IPTC" (tag 33723) and "IRB" (tag 34377, Photoshop's resources).
"""

from contextlib import suppress

from bokehcli.containers.ifd import (
    BYTE,
    EXIF_IFD,
    INTEGERS,
    LONG,
    ORIENTATION,
    TYPES,
    UNDEFINED,
    Directory,
    Field,
    chain,
    integers,
    is_big,
    is_damaged,
    lay_out,
    numbers,
    read_directory,
    read_fields,
    with_first,
)
from bokehcli.containers.photoshop import without_thumbnails
from bokehcli.containers.reading import CutShort, Malformed, byte_order
from bokehcli.photo import Carried

SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, SAMPLES = 254, 256, 257, 258, 259, 262, 277
PREDICTOR, COLOUR_MAP, TILE_WIDTH = 317, 320, 322
STRIP_OFFSETS, STRIP_LENGTHS, TILE_OFFSETS, TILE_LENGTHS = 273, 279, 324, 325
PLANES, EXTRA_SAMPLES, SAMPLE_FORMAT, DNG_VERSION = 284, 338, 339, 50706
SUB_DIRECTORIES, XMP, IPTC, IRB, ICC, LAYERS = 330, 700, 33723, 34377, 34675, 37724
MOST_BELOW = 64  # directories that are looked at
OTHERS = {"IPTC": IPTC, "IRB": IRB}
CMYK = 5  # of the tag PhotometricInterpretation
UNSPECIFIED, ASSOCIATED, UNASSOCIATED = 0, 1, 2  # of the tag ExtraSamples

# Of the tags from 50706 to 51200, which are DNG's: the camera, its serial number and lens, and the raw file's name.
OF_THE_CAMERA = {50708, 50709, 50735, 50736, 50827}
# Tags that say how the old pixels lie in the file; all else describes the photo and is carried.
STRUCTURE = {
    SUBFILE, 255, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, 263, 264, 265, 266, STRIP_OFFSETS, SAMPLES, 278, STRIP_LENGTHS,
    280, 281, PLANES, 288, 289, 290, 291, 292, 293, 297, 301, PREDICTOR, COLOUR_MAP, 321, TILE_WIDTH, 323, TILE_OFFSETS,
    TILE_LENGTHS, 326, 327, 328, SUB_DIRECTORIES, 332, 333, 334, 336, 337, EXTRA_SAMPLES, SAMPLE_FORMAT, 340, 341, 342, 343,
    344, 345, 346, 347, 351, *range(512, 522), 529, 530, 531, 532, 559, XMP, IPTC, IRB, ICC, LAYERS,
    *({*range(DNG_VERSION, 51201)} - OF_THE_CAMERA),
}  # fmt: skip


def size(data: bytes) -> tuple[int, int]:
    """(height, width) of the first page. Raises Malformed."""
    return number(data, HEIGHT), number(data, WIDTH)


def is_complete(data: bytes) -> bool:
    """Whether the first page's strips or tiles lie in the file. Raises Malformed."""
    big, page = is_big(data), read_directory(data)
    for offsets, lengths in ((STRIP_OFFSETS, STRIP_LENGTHS), (TILE_OFFSETS, TILE_LENGTHS)):
        starts, counts = integers(page.find(offsets), big=big), integers(page.find(lengths), big=big)
        if starts:
            # Strips without a length are legal where there is one strip; its start must then do.
            ends = (start + count for start, count in zip(starts, counts or (1,) * len(starts), strict=False))
            return max(ends) <= len(data)
    if page.damaged:
        raise CutShort
    raise Malformed("it has no strips or tiles")


def pages(data: bytes) -> int:
    """Pages that are pictures of their own, not smaller versions or masks of another. Raises Malformed."""
    big = is_big(data)
    count = 0
    try:
        for page in chain(data):
            count += not (_first(page, SUBFILE, big=big) & 0b101)
    except Malformed:  # behind the first page
        if not count:
            raise
    return count


def has_layers(data: bytes) -> bool:
    """Whether the first page has layers of Photoshop's. Raises Malformed."""
    return read_directory(data).find(LAYERS) is not None


def has_pictures_below(data: bytes) -> bool:
    """Whether directories below the first page's hold pictures of their own, as `pages` has it. Raises Malformed."""
    for offset in all_numbers(data, SUB_DIRECTORIES)[:MOST_BELOW]:
        with suppress(Malformed):
            if not _first(read_directory(data, offset), SUBFILE, big=is_big(data)) & 0b101:
                return True
    return False


def photometric(data: bytes) -> int:
    """Meaning of the samples: 0 and 1 grey, 2 RGB, 3 palette, 5 CMYK, 6 YCbCr ... Raises Malformed."""
    return number(data, PHOTOMETRIC)


def samples(data: bytes) -> int:
    """Channels of a pixel, opacity among them. Raises Malformed."""
    return number(data, SAMPLES, 1)


def bits(data: bytes) -> int:
    """Bits of a pixel's first channel. Raises Malformed."""
    return number(data, BITS, 1)


def is_planar(data: bytes) -> bool:
    """Whether each channel lies apart. Raises Malformed."""
    return samples(data) > 1 and number(data, PLANES, 1) == 2


def is_raw(data: bytes) -> bool:
    """Whether it is a camera's raw file, whose first page is a preview, or a mosaic. Raises Malformed."""
    big, page = is_big(data), read_directory(data)
    preview = bool(_first(page, SUBFILE, big=big) & 1)
    return preview or page.find(DNG_VERSION) is not None or data[8:10] == b"CR" or photometric(data) in (32803, 34892)


def is_premultiplied(data: bytes) -> bool:
    """Whether colours are stored multiplied by opacity. Raises Malformed."""
    return number(data, EXTRA_SAMPLES) == ASSOCIATED


def is_unspecified(data: bytes) -> bool:
    """Whether it declares a channel beside the colours without saying what that is. Raises Malformed."""
    return all_numbers(data, EXTRA_SAMPLES)[:1] == (UNSPECIFIED,)


def for_decoder(data: bytes) -> bytes:
    """The same samples, to be read as they lie: orientation 1, opacity already multiplied. Raises Malformed.

    OpenCV turns TIFF pixels by the orientation whatever its flags say, and multiplies colours of 8 bits by their
    opacity where the file says that they are not yet multiplied. Pillow takes nothing but unspecified channels beside CMYK.
    """
    order = byte_order(big=is_big(data))
    extra = UNSPECIFIED if photometric(data) == CMYK else ASSOCIATED
    patched = bytearray(data)
    for entry in read_directory(data).entries:
        if entry.kind in INTEGERS and entry.tag in (ORIENTATION, EXTRA_SAMPLES):
            value = (extra if entry.tag == EXTRA_SAMPLES else 1).to_bytes(TYPES[entry.kind][0], order)
            patched[entry.value_at : entry.value_at + entry.length] = value * entry.count
    return bytes(patched)


def with_fields(data: bytes, fields: tuple[Field, ...], without: tuple[int, ...] = ()) -> bytes:
    """The file with a new first directory at its end: the old one's entries, replaced or joined by ``fields``.

    without: tags that are left out. Pixels stay where they are. fields: values in the file's byte order. Raises Malformed.
    """
    big = is_big(data)
    merged = {field.tag: field for field in (*read_fields(data, big=big), *fields) if field.tag not in without}
    return with_first(data, merged.values())


def get(data: bytes) -> tuple[Carried, tuple[str, ...]]:
    """What the first page carries; ``exif`` is a stream of its own, laid out anew. Raises Malformed."""
    big, page = is_big(data), read_directory(data)
    blocks = {tag: entry.value for tag in (XMP, IPTC, IRB, ICC) if (entry := page.find(tag))}
    fields = [field for field in read_fields(data, big=big) if field.tag not in STRUCTURE]
    exif = data[:4] + (8).to_bytes(4, byte_order(big=big)) + lay_out(fields, big=big, base=8) if fields else None
    others = [(kind, blocks[tag]) for kind, tag in OTHERS.items() if tag in blocks]
    warnings = ("some of its tags are damaged: left out",) if is_damaged(data) else ()
    return Carried(exif=exif, icc=blocks.get(ICC), xmp=blocks.get(XMP), others=tuple(others)), warnings


def put(data: bytes, carried: Carried) -> tuple[bytes, tuple[str, ...]]:
    """The encoded file with those blocks; EXIF is laid out anew. Raises Malformed for the encoded file."""
    big = is_big(data)
    fields: list[Field] = []
    warnings: list[str] = []
    if carried.exif:
        try:
            found = read_fields(carried.exif, big=big)
            fields += [field for field in found if field.tag not in STRUCTURE]
            warnings += ["some tags of EXIF are damaged: left out"] if is_damaged(carried.exif) else []
        except Malformed as error:
            warnings.append(f"EXIF cannot be read ({error}): left out")
    if carried.icc:
        fields.append(Field(ICC, UNDEFINED, len(carried.icc), carried.icc))
    if carried.xmp:
        fields.append(Field(XMP, BYTE, len(carried.xmp), carried.xmp))
    for kind, payload in carried.others:
        kept = without_thumbnails(payload) if kind == "IRB" else payload
        if kept:
            fields.append(Field(OTHERS[kind], UNDEFINED if kind == "IPTC" else BYTE, len(kept), kept))
    return (with_fields(data, tuple(fields)) if fields else data), tuple(warnings)


def in_pairs(data: bytes) -> bytes:
    """A grey picture of grey and opacity in turn, without a predictor, in strips, as one of both. Raises Malformed."""
    big = is_big(data)
    doubled = [tag for tag in (BITS, SAMPLE_FORMAT) if read_directory(data).find(tag)]
    fields = [numbers(tag, *(number(data, tag),) * 2, big=big) for tag in doubled]
    fields += [numbers(SAMPLES, 2, big=big), numbers(WIDTH, number(data, WIDTH) // 2, big=big, kind=LONG)]
    return with_fields(data, tuple(fields))


def with_extra(data: bytes, *, unspecified: bool) -> bytes:
    """The file with its last channel declared as unspecified, or as opacity that is not multiplied in. Raises Malformed."""
    return with_fields(data, (numbers(EXTRA_SAMPLES, UNSPECIFIED if unspecified else UNASSOCIATED, big=is_big(data)),))


def has_tag(stream: bytes, tag: int) -> bool:
    """Whether the EXIF directory below the first one of a stream holds that tag. Raises Malformed."""
    at = integers(read_directory(stream).find(EXIF_IFD), big=is_big(stream), most=1)
    return bool(at) and read_directory(stream, at[0]).find(tag) is not None


def _first(page: Directory, tag: int, default: int = 0, *, big: bool) -> int:
    return (integers(page.find(tag), big=big, most=1) or (default,))[0]


def all_numbers(data: bytes, tag: int) -> tuple[int, ...]:
    """Every value of a whole-number tag of the first page; none where it is absent. Raises Malformed."""
    return integers(read_directory(data).find(tag), big=is_big(data))


def number(data: bytes, tag: int, default: int = 0) -> int:
    """The first value of a whole-number tag of the first page, or the default. Raises Malformed."""
    return _first(read_directory(data), tag, default, big=is_big(data))
