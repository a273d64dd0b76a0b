"""JPEG: markers and segments (ITU T.81, annex B), and what applications put into them.

The kinds of ``Carried.others`` are "APP0" to "APP15" and "COM"; the payload is the segment's, without its length.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from bokehcli.containers import extended
from bokehcli.containers.photoshop import without_thumbnails
from bokehcli.containers.reading import CutShort, Malformed, take, unsigned
from bokehcli.containers.stale import OLD_PIXELS_WARNING, cleaned, is_stale
from bokehcli.photo import Carried

SOI, EOI, SOS, DHT, DQT, COM, APP0 = 0xD8, 0xD9, 0xDA, 0xC4, 0xDB, 0xFE, 0xE0
APP1, APP2, APP11, APP13, APP14 = 0xE1, 0xE2, 0xEB, 0xED, 0xEE
ALONE = {0x01, *range(0xD0, 0xDA)}  # markers without a length
FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
PROGRESSIVE = {0xC2, 0xC6, 0xCA, 0xCE}
NOT_DECODED = {COM, *range(APP1, 0xF0)} - {APP14}  # APP14 says which colour model
MAX_PAYLOAD = 65533  # a segment's length is 16 bits and counts its own two bytes

EXIF = b"Exif\0\0"
XMP = b"http://ns.adobe.com/xap/1.0/\0"
ICC = b"ICC_PROFILE\0"
IRB = b"Photoshop 3.0\0"
GAIN_MAP = (b"MPF\0", b"urn:iso:std:iso:ts:21496:-1\0", b"FPXR\0")

_MARKER = re.compile(rb"\xff[^\x00\xff]")
_MARKER_AFTER_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")

# Luminance table of T.81, annex K.1, in the zigzag order in which files hold tables.
_LUMINANCE = (
    16, 11, 12, 14, 12, 10, 16, 14, 13, 14, 18, 17, 16, 19, 24, 40, 26, 24, 22, 22, 24, 49, 35, 37, 29, 40, 58, 51, 61,
    60, 57, 51, 56, 55, 64, 72, 92, 78, 64, 68, 87, 69, 55, 56, 80, 109, 81, 87, 95, 98, 103, 104, 103, 62, 77, 113,
    121, 112, 100, 120, 92, 101, 103, 99,
)  # fmt: skip

# How many Huffman codes of each length, 1 to 16 bits, the tables have that encoders use unless told otherwise (ITU-T T.81,
# tables K.3 to K.6).
_USUAL_CODES = {
    bytes.fromhex(lengths)
    for lengths in (
        "00010501010101010100000000000000",
        "00030101010101010101010000000000",
        "0002010303020403050504040000017d",
        "00020102040403040705040400010277",
    )
}


@dataclass(frozen=True)
class Segment:
    """before: stray or fill bytes in front of the marker. scan: the coded data behind a start of scan, where the file lies."""

    marker: int
    payload: bytes = b""
    before: bytes = b""
    scan: bytes | memoryview = b""


@dataclass(frozen=True)
class Jpeg:
    """trailer: whatever follows the end of the image."""

    segments: tuple[Segment, ...]
    trailer: bytes = b""


@lru_cache(maxsize=1)
def parse(data: bytes) -> Jpeg:
    """Raises Malformed; CutShort where a segment is not all there. A scan without an end is taken as it is.

    The last file's is kept: a dozen questions are asked of each, and to look through its scan takes a millisecond a megabyte.
    """
    if data[:2] != b"\xff\xd8":
        raise Malformed("it does not start as a JPEG")
    segments = [Segment(SOI)]
    at = 2
    while at < len(data) and segments[-1].marker != EOI:
        found = _MARKER.search(data, at)
        if found is None:
            raise CutShort
        before, marker, at = data[at : found.start()], data[found.start() + 1], found.end()
        payload, scan = b"", memoryview(b"")
        if marker not in ALONE:
            length = unsigned(data, at, 2, big=True)
            if length < 2:
                raise Malformed(f"a segment has the length {length}")
            payload = take(data, at + 2, length - 2)
            at += length
        if marker == SOS:
            end = _MARKER_AFTER_SCAN.search(data, at)
            scan = memoryview(data)[at : end.start() if end else len(data)]
            at += len(scan)
        segments.append(Segment(marker, payload, before, scan))
    return Jpeg(tuple(segments), data[at:])


def serialise(jpeg: Jpeg) -> bytes:
    """The bytes that ``parse`` read. Raises Malformed where a payload is longer than a segment can be."""
    parts: list[bytes | memoryview] = []
    for segment in jpeg.segments:
        parts += [segment.before, bytes((0xFF, segment.marker))]
        if segment.marker not in ALONE:
            if len(segment.payload) > MAX_PAYLOAD:
                raise Malformed("a block is longer than a JPEG segment can be")
            parts += [(len(segment.payload) + 2).to_bytes(2, "big"), segment.payload, segment.scan]
    return b"".join([*parts, jpeg.trailer])


def frame(jpeg: Jpeg) -> bytes:
    """Payload of the frame header: precision, height, width and components. Raises Malformed."""
    payload = next((segment.payload for segment in jpeg.segments if segment.marker in FRAMES), b"")
    take(payload, 0, 6 + 3 * unsigned(payload, 5, 1, big=True))
    return payload


def size(data: bytes) -> tuple[int, int]:
    """(height, width) of the frame. Raises Malformed."""
    header = frame(parse(data))
    return unsigned(header, 1, 2, big=True), unsigned(header, 3, 2, big=True)


def is_complete(data: bytes) -> bool:
    """Whether the marker that ends the image comes after a scan. Raises Malformed."""
    markers = [segment.marker for segment in parse(data).segments]
    return SOS in markers and markers[-1] == EOI


def for_decoder(data: bytes) -> bytes:
    """The same pixels, less what a decoder does not need and may complain about. Raises Malformed."""
    kept = [s for s in parse(data).segments if s.marker not in NOT_DECODED]
    return serialise(Jpeg(tuple(kept)))


def is_progressive(data: bytes) -> bool:
    """Whether the picture comes in scans of growing detail. Raises Malformed."""
    return any(segment.marker in PROGRESSIVE for segment in parse(data).segments)


def has_usual_codes(data: bytes) -> bool:
    """Whether its Huffman codes are those of every picture, not ones made for it. Raises Malformed."""
    for segment in parse(data).segments:
        at = 0
        while segment.marker == DHT and at < len(segment.payload):
            lengths = take(segment.payload, at + 1, 16)
            if lengths not in _USUAL_CODES:
                return False
            at += 1 + 16 + sum(lengths)
    return True


def components(data: bytes) -> int:
    """Number of channels: 1 grey, 3 colour, 4 CMYK. Raises Malformed."""
    return frame(parse(data))[5]


def subsampling(data: bytes) -> str | None:
    """Of the colour channels: "4:4:4", "4:2:2", "4:2:0", "4:4:0" or "4:1:1"; None for others. Raises Malformed."""
    header = frame(parse(data))
    factors = [(header[i] >> 4, header[i] & 15) for i in range(7, 6 + 3 * header[5], 3)]
    if len(factors) != 3 or factors[1] != factors[2] or 0 in factors[1]:
        return None
    ratio = factors[0][0] / factors[1][0], factors[0][1] / factors[1][1]
    names = {(1.0, 1.0): "4:4:4", (2.0, 1.0): "4:2:2", (2.0, 2.0): "4:2:0", (1.0, 2.0): "4:4:0", (4.0, 1.0): "4:1:1"}
    return names.get(ratio)


def quality(data: bytes) -> int | None:
    """The IJG quality, 1 to 100, whose luminance table is nearest; None where there is no table. Raises Malformed."""
    jpeg = parse(data)
    wanted = frame(jpeg)[8] if frame(jpeg)[5] else 0  # the table of the first component
    table: list[int] = []
    for segment in jpeg.segments:
        at = 0
        while segment.marker == DQT and at < len(segment.payload):
            width = 2 if segment.payload[at] >> 4 else 1
            values = take(segment.payload, at + 1, 64 * width)
            if segment.payload[at] & 15 == wanted and not table:
                table = [int.from_bytes(values[i : i + width], "big") for i in range(0, len(values), width)]
            at += 1 + 64 * width
    if not table:
        return None
    return 100 - int(np.argmin(np.abs(_ijg_tables() - np.array(table)).sum(axis=1)))


@lru_cache(maxsize=1)
def _ijg_tables() -> NDArray[np.int64]:
    """(100, 64): the luminance tables that libjpeg makes of the qualities 100 to 1 (jcparam.c, jpeg_quality_scaling)."""
    quality = np.arange(100, 0, -1)
    scale = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    tables: NDArray[np.int64] = np.clip((np.array(_LUMINANCE) * scale[:, None] + 50) // 100, 1, 255)
    return tables


def get(data: bytes) -> tuple[Carried, tuple[str, ...]]:
    """What the file carries, and a warning for each thing that is left out. Raises Malformed."""
    jpeg = parse(data)
    xmp: bytes | None = None
    pieces: dict[int, bytes] = {}
    total = 0
    others: list[tuple[str, bytes]] = []
    warnings: list[str] = []
    for segment in jpeg.segments:
        marker, payload = segment.marker, segment.payload
        if marker == APP1 and payload.startswith(EXIF):
            continue
        if marker == APP1 and payload.startswith(XMP):
            packet = payload[len(XMP) :]
            xmp = xmp or packet
            warnings += ["a second XMP packet was left out"] if packet and packet != xmp else []
        elif marker == APP2 and payload.startswith(ICC) and len(payload) > len(ICC) + 2:
            total = payload[len(ICC) + 1]
            pieces.setdefault(payload[len(ICC)], payload[len(ICC) + 2 :])
        elif marker == APP2 and payload.startswith(GAIN_MAP):
            warnings.append(OLD_PIXELS_WARNING)
        elif marker == APP11:
            warnings.append("content credentials (APP11) sign the old pixels: left out")
        elif marker == COM or (APP0 <= marker <= 0xEF and marker != APP14 and not payload.startswith(b"JFXX\0")):
            others.append(("COM" if marker == COM else f"APP{marker - APP0}", payload))
    longer = extended.text_of(payload for _, payload in others)
    if xmp and (is_stale(xmp) or is_stale(longer)):
        keeps = bool(longer) and not is_stale(longer)
        xmp, warning = cleaned(xmp, extended=keeps)
        warnings.append(warning)
        if longer and not (keeps and xmp):
            # Where it holds depth maps, pictures or sounds, it goes as a whole: its name is a digest of it.
            others = [(kind, payload) for kind, payload in others if not extended.is_piece(payload)]
            warnings += ["extended XMP goes with it"] if xmp else []
    if jpeg.trailer.strip(b"\0") and not any(text.startswith(OLD_PIXELS_WARNING) for text in warnings):
        warnings.append(f"{len(jpeg.trailer)} bytes behind the end of the picture: left out")
    icc = b"".join(pieces[number] for number in sorted(pieces)) or None
    if pieces and sorted(pieces) != list(range(1, total + 1)):
        icc = None
        warnings.append("a piece of the ICC profile is missing: left out")
    exif, further = _exif(jpeg)
    warnings += ["a second EXIF block was left out"] if further else []
    return Carried(exif=exif, icc=icc, xmp=xmp, others=tuple(others)), tuple(dict.fromkeys(warnings))


def _exif(jpeg: Jpeg) -> tuple[bytes | None, bool]:
    """The first EXIF stream, and whether there is another.

    With what the segments right behind it hold of it, as exiftool has one that is above 64 KB.
    """
    pieces: list[bytes] = []
    whole = further = False
    for segment in jpeg.segments:
        is_piece = segment.marker == APP1 and segment.payload.startswith(EXIF)
        piece = segment.payload[len(EXIF) :]
        whole = whole or (bool(pieces) and (not is_piece or piece.startswith((b"II*\0", b"MM\0*"))))
        if is_piece and piece:
            further = further or (whole and piece not in pieces)
            pieces += [] if whole else [piece]
    return b"".join(pieces) or None, further


def put(data: bytes, carried: Carried) -> tuple[bytes, tuple[str, ...]]:
    """The encoded file with those blocks instead of its own, and a warning for each that is too long.

    A JFIF block that the encoder wrote stays where none is carried. Raises Malformed.
    """
    jpeg = parse(data)
    warnings: list[str] = []
    blocks: list[Segment] = []
    if carried.exif:
        step = MAX_PAYLOAD - len(EXIF)
        blocks += [Segment(APP1, EXIF + carried.exif[i : i + step]) for i in range(0, len(carried.exif), step)]
    if carried.xmp:
        short, longer = carried.xmp, b""
        if len(XMP + short) > MAX_PAYLOAD:
            short, longer = extended.split(short, MAX_PAYLOAD - len(XMP)) or (short, b"")
        blocks += [Segment(APP1, payload) for payload in (XMP + short, *extended.pieces_of(longer))]
    if carried.icc:
        step = MAX_PAYLOAD - len(ICC) - 2
        pieces = [carried.icc[i : i + step] for i in range(0, len(carried.icc), step)]
        if len(pieces) > 255:
            warnings.append("the ICC profile is longer than a JPEG can hold: left out")
        else:
            blocks += [Segment(APP2, ICC + bytes((i, len(pieces))) + piece) for i, piece in enumerate(pieces, 1)]
    head = [segment for segment in jpeg.segments[1:2] if segment.marker == APP0]
    for kind, payload in carried.others:
        if kind == "APP0" and payload.startswith(b"JFIF\0") and len(payload) >= 14:
            head = [Segment(APP0, payload[:12] + b"\0\0")]  # without the thumbnail
        elif kind != "APP13" or not payload.startswith(IRB):
            blocks.append(Segment(COM if kind == "COM" else APP0 + int(kind[3:]), payload))
    resources = b"".join(p[len(IRB) :] for kind, p in carried.others if kind == "APP13" and p.startswith(IRB))
    resources = without_thumbnails(resources)
    step = MAX_PAYLOAD - len(IRB)
    blocks += [Segment(APP13, IRB + resources[i : i + step]) for i in range(0, len(resources), step)]
    for block in blocks:
        if len(block.payload) > MAX_PAYLOAD:
            name = "XMP" if block.payload.startswith(XMP) else "a block"
            warnings.append(f"{name} of {len(block.payload)} bytes is longer than the 64 KB that JPEG allows: left out")
    blocks = [block for block in blocks if len(block.payload) <= MAX_PAYLOAD]
    rest = [segment for segment in jpeg.segments[1:] if segment.marker not in {APP0} | NOT_DECODED]
    return serialise(Jpeg((jpeg.segments[0], *head, *blocks, *rest), jpeg.trailer)), tuple(warnings)
