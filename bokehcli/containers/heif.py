"""AVIF and HEIC: pictures as items of the High Efficiency Image File Format (ISO/IEC 23008-12).

Everything about a photo hangs on its primary item: properties (size, turn, colours) and items that refer to it (EXIF, XMP,
thumbnails, auxiliary pictures). `Carried.others` stays empty. An orientation in EXIF says nothing here: what counts are
the turn (irot) and the mirroring (imir).
"""

from bokehcli.containers.boxes import found, number, parse
from bokehcli.containers.cicp import hdr_refusal
from bokehcli.containers.items import XMP_TYPE, Meta, content_of, read_meta
from bokehcli.containers.reading import Malformed, tiff_stream
from bokehcli.photo import Carried

AVIF_BRANDS = {b"avif", b"avis"}
HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
SEQUENCES = {b"avis", b"hevc", b"hevx", b"hevm", b"hevs", b"msf1"}
ALPHA_URNS = (b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha", b"urn:mpeg:hevc:2015:auxid:1")
TONE_MAPPED = b"tmap"  # an item that says how to use a gain map
KNOWN = {b"ftyp", b"meta", b"mdat", b"free", b"skip", b"pitm", b"moov"}
# (turn in quarters anticlockwise, axis of the mirroring after it) -> the EXIF orientation that says the same.
ORIENTATIONS = {
    (0, None): 1, (0, 1): 2, (2, None): 3, (0, 0): 4, (1, 0): 5, (3, None): 6, (3, 0): 7, (1, None): 8,
    (2, 0): 2, (2, 1): 4, (1, 1): 7, (3, 1): 5,
}  # fmt: skip
AV1C_BYTES, HVCC_BYTES = 4, 23
SUBSAMPLINGS = {1: "4:2:0", 2: "4:2:2", 3: "4:4:4"}  # by HEVC's number for them
MOST_ADDED = 64
SAME_AS_SRGB = {1, 2}  # numbers of colour primaries: BT.709, and none stated
LIKE_SRGB = {1, 2, 6, 13, 14, 15}  # of tone curves: BT.709's and BT.2020's, which are taken for sRGB, none stated, and sRGB's


def brands(data: bytes) -> set[bytes]:
    """What the file says it is; empty if it is of another kind."""
    if data[4:8] != b"ftyp":
        return set()
    end = min(int.from_bytes(data[:4], "big"), 1024, len(data))
    return {data[8:12], *(data[at : at + 4] for at in range(16, end - 3, 4))}


def is_avif(data: bytes) -> bool:
    """Whether the file says that it is an AVIF; else it is a HEIC."""
    return bool(brands(data) & AVIF_BRANDS)


def size(data: bytes) -> tuple[int, int]:
    """(height, width) of the primary item, cropped as its header says but before any turn. Raises Malformed.

    Encoders crop (clap) what they had to add, up to MOST_ADDED pixels a side; a crop that leaves less than half of the coded
    picture, and is more than that, is Malformed.
    """
    meta = read_meta(data)
    extent = next(iter(meta.of(meta.primary, b"ispe")), None)
    if extent is None:
        raise Malformed("its picture has no size")
    height, width = coded = number(extent, 8, 4), number(extent, 4, 4)
    for crop in meta.of(meta.primary, b"clap"):
        width, height = (number(crop, at, 4) // max(1, number(crop, at + 4, 4)) for at in (0, 8))
    added = coded[0] - height, coded[1] - width
    if min(added) < 0 or (max(added) > MOST_ADDED and 2 * height * width < coded[0] * coded[1]):
        raise Malformed("its header crops the picture to something else")
    return height, width


def orientation(data: bytes) -> int:
    """The EXIF orientation, 1 to 8, that says what the primary item's turn and mirroring say. Raises Malformed."""
    meta = read_meta(data)
    turn = next((number(payload, 0, 1) & 3 for payload in meta.of(meta.primary, b"irot")), 0)
    axis = next((number(payload, 0, 1) & 1 for payload in meta.of(meta.primary, b"imir")), None)
    return ORIENTATIONS[turn, axis]


def bits(data: bytes) -> int:
    """Bits of a channel, 8 if nothing says. Raises Malformed."""
    av1c, hvcc = coding(read_meta(data))
    if av1c:
        return (12 if av1c[2] & 0x20 else 10) if av1c[2] & 0x40 else 8
    return 8 + (hvcc[17] & 7 if hvcc else 0)


def is_grey(data: bytes) -> bool:
    """Whether there is a single channel. Raises Malformed."""
    av1c, hvcc = coding(read_meta(data))
    return bool(av1c[2] & 0x10) if av1c else bool(hvcc) and hvcc[16] & 3 == 0


def is_grey_with_opacity(data: bytes) -> bool:
    """Raises Malformed."""
    meta = read_meta(data)
    return is_grey(data) and any(
        kind == b"auxl" and meta.primary in to and is_opacity(meta, source) for kind, source, to in meta.references
    )


def is_opacity(meta: Meta, item: int) -> bool:
    """Whether an auxiliary picture says that it is its photo's opacity."""
    return any(payload[4:].split(b"\0")[0] in ALPHA_URNS for payload in meta.of(item, b"auxC"))


def subsampling(data: bytes) -> str | None:
    """Of HEVC's colour channels, such as "4:2:0"; None if there are none, or nothing says. Raises Malformed."""
    hvcc = coding(read_meta(data))[1]
    return SUBSAMPLINGS.get(hvcc[16] & 3) if hvcc else None


def coding(meta: Meta) -> tuple[bytes, bytes]:
    """How the primary item, or its first tile, is coded: av1C (AV1-ISOBMFF, 2.3) and hvcC (ISO/IEC 14496-15, 8.3.3.1).

    Empty where there is none, or where it is too short.
    """
    for item in primary_and_tile(meta):
        av1c, hvcc = (next(iter(meta.of(item, kind)), b"") for kind in (b"av1C", b"hvcC"))
        if len(av1c) >= AV1C_BYTES or len(hvcc) >= HVCC_BYTES:
            return (av1c, b"") if len(av1c) >= AV1C_BYTES else (b"", hvcc)
    return b"", b""


def primary_and_tile(meta: Meta) -> tuple[int, ...]:
    """The primary item, and the first of the tiles that it is made of, if it is: what the one does not say, the other does."""
    tiles = [target for kind, source, to in meta.references if kind == b"dimg" and source == meta.primary for target in to]
    return meta.primary, *tiles[:1]


def colours(meta: Meta) -> list[bytes]:
    """The colour properties of the primary item; those of its tiles where it has none, as early iPhones wrote them."""
    return next((found for item in primary_and_tile(meta) if (found := meta.of(item, b"colr"))), [])


def is_animated(data: bytes) -> bool:
    """Whether the file is a sequence of pictures, or has one beside its photo."""
    return data[8:12] in SEQUENCES or any(box.kind == b"moov" for box in parse(data))


def is_complete(data: bytes) -> bool:
    """Whether all items are there. Raises CutShort, Malformed."""
    parse(data)
    meta = read_meta(data)
    idat = found(meta.children, b"idat")
    inside = 0 if idat is None else len(idat.payload)
    for item in meta.items.values():
        limit = inside if item.inside else len(data)
        if any(offset + length > limit for offset, length in item.extents):
            return False
    return True


def refusal(data: bytes) -> str | None:
    """Why the photo cannot be rendered and written as it was, if it cannot. Raises Malformed."""
    meta = read_meta(data)
    if is_avif(data) and meta.of(meta.primary, b"clap"):  # libheif crops, OpenCV does not
        return "its picture is cropped by its header: save it cropped"
    for payload in colours(meta):
        if payload[:4] == b"nclx":
            primaries, transfer = number(payload, 4, 2), number(payload, 6, 2)
            if reason := hdr_refusal(transfer):
                return reason
            by_numbers = profile(meta) is None
            if by_numbers and primaries not in SAME_AS_SRGB:
                return f"its colours are named by a number ({primaries}) alone: save it with an ICC profile"
            if by_numbers and transfer not in LIKE_SRGB:
                return f"its tone curve is named by a number ({transfer}) alone: save it with an ICC profile"
    return None


def profile(meta: Meta) -> bytes | None:
    """The picture's ICC profile."""
    return next((payload[4:] for payload in colours(meta) if payload[:4] in (b"prof", b"rICC")), None)


def for_decoder(data: bytes) -> bytes:
    """The same picture, with its EXIF and XMP items passed off as something unknown.

    OpenCV takes no AVIF for one whose EXIF lies far behind a short meta box, where exiftool for one puts it.
    """
    meta = read_meta(data)
    iinf = found(meta.children, b"iinf")
    assert iinf is not None  # or read_meta would have complained
    patched = bytearray(data)
    for entry in parse(iinf.payload, 8 if iinf.version else 6):
        at = 6 + (4 if entry.version > 2 else 2)
        if entry.payload[at : at + 4] in (b"Exif", b"mime"):
            start = sum(len(box.header) + box.at for box in (meta.box, iinf, entry)) + at
            patched[start : start + 4] = b"none"
    return bytes(patched)


def get(data: bytes) -> tuple[Carried, tuple[str, ...]]:
    """The metadata blocks, and a warning for each thing that describes the old pixels. Raises Malformed."""
    meta = read_meta(data)
    exif = xmp = None
    warnings = []
    describing = {source for kind, source, to in meta.references if kind == b"cdsc" and meta.primary in to}
    described = {source for kind, source, _ in meta.references if kind == b"cdsc"}
    for item in meta.items.values():
        if item.number in described - describing:
            continue  # it describes another picture
        if item.kind == b"Exif" and exif is None:
            content = content_of(data, meta, item)
            exif = tiff_stream(content[4 + number(content, 0, 4) :])
        elif item.kind == b"mime" and item.mime == XMP_TYPE and xmp is None:
            xmp = content_of(data, meta, item)
        elif item.kind == b"mime":
            warnings.append(f"a block of type {item.mime.decode('ascii', 'replace')} was left out")
    warnings += pictures_left_out(meta)
    lost = sorted({box.kind for box in parse(data)} - KNOWN)
    if lost:
        names = ", ".join(kind.decode("ascii", "replace") for kind in lost)
        warnings.append(f"blocks beside the picture ({names}) were left out")
    return Carried(exif=exif, icc=profile(meta), xmp=xmp), tuple(warnings)


def pictures_left_out(meta: Meta) -> list[str]:
    """A warning if there are gain maps, depth maps or further pictures; a thumbnail and opacity are worth none."""
    helpers = {target for kind, _, to in meta.references if kind == b"dimg" for target in to}
    auxiliary, others = set[int](), set[int]()
    for kind, source, _ in meta.references:
        if kind in (b"auxl", b"thmb"):
            (others if kind == b"thmb" or is_opacity(meta, source) else auxiliary).add(source)
    shown = {item.number for item in meta.items.values() if meta.of(item.number, b"ispe")}
    further = shown - helpers - auxiliary - others - {meta.primary}
    warnings = []
    if auxiliary or any(item.kind == TONE_MAPPED for item in meta.items.values()):
        warnings.append("gain map, depth map or another auxiliary picture was left out: it describes the old pixels")
    if further:
        warnings.append(f"only the main one of its {len(further) + 1} pictures is rendered")
    return warnings
