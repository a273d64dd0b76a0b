"""PNG: chunks (PNG specification, third edition).

The kinds of ``Carried.others`` are chunk names; the payload is the chunk's data.
"""

import binascii
import zlib
from dataclasses import dataclass
from functools import lru_cache

from bokehcli.containers.cicp import hdr_refusal
from bokehcli.containers.reading import Malformed, take, tiff_stream, unsigned
from bokehcli.photo import Carried

SIGNATURE = b"\x89PNG\r\n\x1a\n"
XMP_KEYWORD = b"XML:com.adobe.xmp"
# Colour, density, text and time outlive a change of pixels.
CARRIED = (b"cHRM", b"gAMA", b"sRGB", b"cICP", b"mDCV", b"mDCv", b"cLLI", b"cLLi", b"pHYs", b"oFFs", b"tIME", b"tEXt",
           b"zTXt", b"iTXt")  # fmt: skip
# Known chunks that describe the old samples, though their names allow copying.
NOT_CARRIED = (b"tRNS", b"bKGD", b"hIST", b"sBIT", b"sPLT", b"eXIf", b"iCCP", b"acTL", b"fcTL", b"fdAT")
# Known chunks that are not copied and yet are missed where they are damaged.
MISSED = (b"tRNS", b"eXIf", b"iCCP", b"acTL", b"caBX")
RAW_PROFILES = (b"exif", b"app1", b"xmp", b"icc", b"icm")
GREY, GREY_WITH_OPACITY = 0, 4  # colour types
LONGEST_INFLATED = 64 << 20  # bytes; metadata that inflates to more is taken for an attack


@dataclass(frozen=True)
class Chunk:
    """pixels: the payload of one of compressed pixels, where the file lies; then `payload` is empty."""

    kind: bytes
    payload: bytes = b""
    pixels: bytes | memoryview = b""


@dataclass(frozen=True)
class Png:
    """trailer: whatever follows the end chunk. spoilt: kinds of chunks that were passed over, their checksum being wrong."""

    chunks: tuple[Chunk, ...]
    trailer: bytes = b""
    spoilt: tuple[bytes, ...] = ()


@lru_cache(maxsize=1)
def parse(data: bytes) -> Png:
    """Chunks up to IEND or the end of the data. Raises Malformed; CutShort where a chunk is not all there.

    A chunk whose checksum is wrong is an error where it holds pixels, and is passed over where it does not. The last file's are
    kept: several questions are asked of each, and its checksums take more than a millisecond a megabyte.
    """
    if data[:8] != SIGNATURE:
        raise Malformed("it does not start as a PNG")
    chunks: list[Chunk] = []
    spoilt: list[bytes] = []
    at = 8
    while at < len(data) and (not chunks or chunks[-1].kind != b"IEND"):
        length, kind = unsigned(data, at, 4, big=True), take(data, at + 4, 4)
        payload = take(memoryview(data), at + 8, length)
        if not kind.isalpha():
            raise Malformed("a chunk's name is not made of letters")
        chunk = Chunk(kind, pixels=payload) if kind == b"IDAT" else Chunk(kind, bytes(payload))
        if unsigned(data, at + 8 + length, 4, big=True) == _checksum(chunk):
            chunks.append(chunk)
        elif kind[:1].isupper():
            raise Malformed(f"the checksum of its {kind.decode()} chunk is wrong")
        else:
            spoilt.append(kind)
        at += 12 + length
    if not chunks or chunks[0].kind != b"IHDR" or len(chunks[0].payload) != 13:
        raise Malformed("it has no PNG header")
    return Png(tuple(chunks), data[at:], tuple(spoilt))


def serialise(png: Png) -> bytes:
    """The bytes that ``parse`` read."""
    parts: list[bytes | memoryview] = [SIGNATURE]
    for chunk in png.chunks:
        length = (len(chunk.payload) + len(chunk.pixels)).to_bytes(4, "big")
        parts += [length, chunk.kind, chunk.payload, chunk.pixels, _checksum(chunk).to_bytes(4, "big")]
    return b"".join([*parts, png.trailer])


def size(data: bytes) -> tuple[int, int]:
    """(height, width). Raises Malformed."""
    if data[:8] != SIGNATURE or data[12:16] != b"IHDR":
        raise Malformed("it does not start as a PNG")
    return unsigned(data, 20, 4, big=True), unsigned(data, 16, 4, big=True)


def is_complete(data: bytes) -> bool:
    """Whether pixels and the end chunk are there. Raises Malformed."""
    kinds = [chunk.kind for chunk in parse(data).chunks]
    return b"IDAT" in kinds and kinds[-1] == b"IEND"


def is_animated(data: bytes) -> bool:
    """Raises Malformed."""
    return any(chunk.kind == b"acTL" for chunk in parse(data).chunks)


def is_grey(data: bytes) -> bool:
    """Whether the header declares grey, with or without opacity. Raises Malformed."""
    return parse(data).chunks[0].payload[9] in (GREY, GREY_WITH_OPACITY)


def bits(data: bytes) -> int:
    """Of a channel. Raises Malformed."""
    return parse(data).chunks[0].payload[8]


def refusal(data: bytes) -> str | None:
    """Why the photo cannot be rendered and written as it was, if it cannot. Raises Malformed."""
    for chunk in parse(data).chunks:
        if chunk.kind == b"cICP" and len(chunk.payload) == 4:
            return hdr_refusal(chunk.payload[1])
    return None


def transparent_grey(data: bytes) -> int | None:
    """The grey that is transparent, of 8 or 16 bits; None where none is or the picture is not grey. Raises Malformed."""
    chunks = parse(data).chunks
    key = next((chunk.payload for chunk in chunks if chunk.kind == b"tRNS"), b"")
    depth, colour = chunks[0].payload[8:10]
    if colour != GREY or len(key) < 2:
        return None
    return (unsigned(key, 0, 2, big=True) & ((1 << depth) - 1)) * {1: 255, 2: 85, 4: 17}.get(depth, 1)


def for_decoder(data: bytes) -> bytes:
    """The same pixels, less what a decoder does not need and may complain about. Raises Malformed."""
    return serialise(Png(tuple(c for c in parse(data).chunks if c.kind[:1].isupper() or c.kind == b"tRNS")))


def get(data: bytes) -> tuple[Carried, tuple[str, ...]]:
    """What the file carries, and a warning for each thing that is left out. Raises Malformed."""
    blocks: dict[str, bytes] = {}
    others: list[tuple[str, bytes]] = []
    warnings: list[str] = []
    png = parse(data)
    if png.trailer.strip(b"\0"):
        warnings.append(f"{len(png.trailer)} bytes behind the end of the picture: left out")
    for kind in dict.fromkeys(each for each in png.spoilt if each in MISSED or _is_copied(each)):
        warnings.append(f"its {kind.decode()} chunk is damaged: {'opacity ' if kind == b'tRNS' else ''}left out")
    for chunk in sorted(png.chunks, key=_is_raw_profile):
        kind, payload = chunk.kind, chunk.payload
        try:
            if kind == b"eXIf":
                blocks["exif"] = blocks.get("exif") or tiff_stream(payload) or b""
            elif kind == b"iCCP":
                blocks["icc"] = _inflate(payload[payload.index(b"\0") + 2 :])
            elif kind == b"iTXt" and payload.startswith(XMP_KEYWORD + b"\0"):
                blocks["xmp"] = _international_text(payload)
            elif _is_raw_profile(chunk):
                _take_raw_profile(kind, payload, blocks)
            elif kind == b"caBX":
                warnings.append("content credentials (caBX) sign the old pixels: left out")
            elif _is_copied(kind):
                others.append((kind.decode(), payload))
        except ValueError:  # Malformed among them
            warnings.append(f"its {kind.decode()} chunk is damaged: left out")
    exif, icc, xmp = (blocks.get(name) or None for name in ("exif", "icc", "xmp"))
    return Carried(exif=exif, icc=icc, xmp=xmp, others=tuple(others)), tuple(warnings)


def put(data: bytes, carried: Carried) -> tuple[bytes, tuple[str, ...]]:
    """The encoded file with those blocks. Raises Malformed."""
    png = parse(data)
    blocks: list[Chunk] = []
    if carried.icc:
        blocks.append(Chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(carried.icc)))
    blocks += [Chunk(kind.encode(), payload) for kind, payload in carried.others]
    if carried.exif:
        blocks.append(Chunk(b"eXIf", carried.exif))
    if carried.xmp:
        blocks.append(Chunk(b"iTXt", XMP_KEYWORD + b"\0\0\0\0\0" + carried.xmp))
    pixels = [chunk for chunk in png.chunks[1:] if chunk.kind[:1].isupper() or chunk.kind == b"tRNS"]
    return serialise(Png((png.chunks[0], *blocks, *pixels))), ()


def _is_copied(kind: bytes) -> bool:
    """Whether such chunks go into the result as they are: known ones, and unknown ones that are safe to copy."""
    return kind in CARRIED or (kind[:1].islower() and kind[3:].islower() and kind not in NOT_CARRIED)


def _is_raw_profile(chunk: Chunk) -> bool:
    """Whether it is ImageMagick's older way of carrying a block as hexadecimal text."""
    if chunk.kind not in (b"tEXt", b"zTXt") or not chunk.payload.startswith(b"Raw profile type "):
        return False
    return chunk.payload.partition(b"\0")[0].split()[-1].lower() in RAW_PROFILES


def _take_raw_profile(kind: bytes, payload: bytes, blocks: dict[str, bytes]) -> None:
    """A block from hexadecimal text: used where the chunk proper, which is read before, is absent."""
    keyword, _, text = payload.partition(b"\0")
    words = (_inflate(text[1:]) if kind == b"zTXt" else text).split(maxsplit=2)
    block = binascii.unhexlify(b"".join(words[2].split()) if len(words) == 3 else b"")
    is_exif = block.startswith(b"Exif\0\0") or block[:4] in (b"II*\0", b"MM\0*")
    place = "exif" if is_exif else "icc" if keyword.split()[-1].lower() in (b"icc", b"icm") else "xmp"
    block = block.removeprefix(b"Exif\0\0").removeprefix(b"http://ns.adobe.com/xap/1.0/\0")
    blocks[place] = blocks.get(place) or block


def _international_text(payload: bytes) -> bytes:
    """The text of an iTXt chunk."""
    _, _, rest = payload.partition(b"\0")
    text = rest[2:].split(b"\0", 2)
    if len(text) != 3:
        raise Malformed("an iTXt chunk has too few parts")
    return _inflate(text[2]) if rest[0] else text[2]


def _inflate(data: bytes) -> bytes:
    try:
        inflater = zlib.decompressobj()
        inflated = inflater.decompress(data, LONGEST_INFLATED)
    except zlib.error as error:
        raise Malformed("compressed metadata is damaged") from error
    if not inflater.eof:
        raise Malformed("compressed metadata has no end or is too long")
    return inflated


def _checksum(chunk: Chunk) -> int:
    return zlib.crc32(chunk.pixels, zlib.crc32(chunk.payload, zlib.crc32(chunk.kind)))


def with_opacity(data: bytes) -> bytes:
    """A grey picture of grey and opacity in turn, its rows not filtered across, as one of both. Raises Malformed."""
    first, *others = parse(data).chunks
    width = unsigned(first.payload, 0, 4, big=True) // 2
    header = width.to_bytes(4, "big") + first.payload[4:9] + bytes([GREY_WITH_OPACITY]) + first.payload[10:]
    return serialise(Png((Chunk(b"IHDR", header), *others)))
