"""WebP: RIFF chunks (RFC 9649).

The kinds of ``Carried.others`` are the names of chunks that the specification does not know.
"""

from dataclasses import dataclass, replace

from bokehcli.containers.reading import CutShort, Malformed, take, tiff_stream, unsigned
from bokehcli.photo import Carried

ICC_FLAG, ALPHA_FLAG, EXIF_FLAG, XMP_FLAG, ANIMATION_FLAG = 0x20, 0x10, 0x08, 0x04, 0x02
KNOWN = (b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF", b"ICCP", b"EXIF", b"XMP ", b"C2PA")


@dataclass(frozen=True)
class Chunk:
    kind: bytes
    payload: bytes


@dataclass(frozen=True)
class WebP:
    """trailer: whatever follows the RIFF form."""

    chunks: tuple[Chunk, ...]
    trailer: bytes = b""

    def find(self, kind: bytes) -> bytes | None:
        """Payload of the first chunk of that kind."""
        return next((chunk.payload for chunk in self.chunks if chunk.kind == kind), None)


def parse(data: bytes) -> WebP:
    """Raises Malformed; CutShort where a chunk or the whole form is not all there."""
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        raise Malformed("it does not start as a WebP")
    end = 8 + unsigned(data, 4, 4, big=False)
    if end > len(data) or end < 12:
        raise CutShort
    chunks: list[Chunk] = []
    at = 12
    while at < end:
        kind, length = take(data, at, 4), unsigned(data, at + 4, 4, big=False)
        payload = take(data[:end] if at + 8 + length > end else data, at + 8, length)
        chunks.append(Chunk(kind, payload))
        at += 8 + length + length % 2
    return WebP(tuple(chunks), data[end:])


def serialise(webp: WebP) -> bytes:
    """The bytes that ``parse`` read."""
    parts = [b"WEBP"]
    for chunk in webp.chunks:
        length = len(chunk.payload)
        parts += [chunk.kind, length.to_bytes(4, "little"), chunk.payload, b"\0" * (length % 2)]
    body = b"".join(parts)
    return b"RIFF" + len(body).to_bytes(4, "little") + body + webp.trailer


def size(data: bytes) -> tuple[int, int]:
    """(height, width) of the canvas. Raises Malformed."""
    kind, body = take(data, 12, 4), take(data, 20, 10)
    if kind == b"VP8X":
        return 1 + unsigned(body, 7, 3, big=False), 1 + unsigned(body, 4, 3, big=False)
    if kind == b"VP8 " and body[3:6] == b"\x9d\x01\x2a":
        return unsigned(body, 8, 2, big=False) & 0x3FFF, unsigned(body, 6, 2, big=False) & 0x3FFF
    if kind == b"VP8L" and body[0] == 0x2F:
        bits = unsigned(body, 1, 4, big=False)
        return 1 + (bits >> 14 & 0x3FFF), 1 + (bits & 0x3FFF)
    raise Malformed("it has no WebP picture")


def is_complete(data: bytes) -> bool:
    """Whether the form is as long as it says, and holds a picture. Raises Malformed."""
    return any(chunk.kind in (b"VP8 ", b"VP8L", b"ANMF") for chunk in parse(data).chunks)


def is_animated(data: bytes) -> bool:
    """Raises Malformed."""
    return any(chunk.kind in (b"ANIM", b"ANMF") for chunk in parse(data).chunks)


def for_decoder(data: bytes) -> bytes:
    """The same pixels, any opacity of theirs announced: OpenCV goes by the extended header alone. Raises Malformed."""
    webp = parse(data)
    first, *others = webp.chunks or (Chunk(b"", b""),)
    if first.kind != b"VP8X" or not _has_opacity(webp):
        return data
    flags = unsigned(first.payload, 0, 1, big=False) | ALPHA_FLAG
    return serialise(replace(webp, chunks=(replace(first, payload=bytes((flags,)) + first.payload[1:]), *others)))


def _has_opacity(webp: WebP) -> bool:
    """Whether the pixels themselves have it, whatever the extended header says. Raises Malformed."""
    lossless = webp.find(b"VP8L")
    return webp.find(b"ALPH") is not None or (lossless is not None and bool(unsigned(lossless, 4, 1, big=False) & 16))


def get(data: bytes) -> tuple[Carried, tuple[str, ...]]:
    """What the file carries, and a warning for each thing that is left out. Raises Malformed."""
    webp = parse(data)
    others = tuple((chunk.kind.decode("latin-1"), chunk.payload) for chunk in webp.chunks if chunk.kind not in KNOWN)
    warnings = ["content credentials (C2PA) sign the old pixels: left out"] if webp.find(b"C2PA") else []
    if webp.trailer.strip(b"\0"):
        warnings.append(f"{len(webp.trailer)} bytes behind the end of the picture: left out")
    exif = tiff_stream(webp.find(b"EXIF"))
    return Carried(exif=exif, icc=webp.find(b"ICCP"), xmp=webp.find(b"XMP "), others=others), tuple(warnings)


def put(data: bytes, carried: Carried) -> tuple[bytes, tuple[str, ...]]:
    """The encoded file with those blocks, in the extended format if there is any. Raises Malformed."""
    webp = parse(data)
    height, width = size(data)
    pixels = [chunk for chunk in webp.chunks if chunk.kind in (b"ALPH", b"VP8 ", b"VP8L")]
    flags = ICC_FLAG * bool(carried.icc) | EXIF_FLAG * bool(carried.exif) | XMP_FLAG * bool(carried.xmp)
    if not flags and not carried.others:
        return data, ()
    header = bytes((flags | ALPHA_FLAG * _has_opacity(webp), 0, 0, 0)) + (width - 1).to_bytes(3, "little")
    chunks = [Chunk(b"VP8X", header + (height - 1).to_bytes(3, "little"))]
    chunks += [Chunk(b"ICCP", carried.icc)] if carried.icc else []
    chunks += pixels
    chunks += [Chunk(b"EXIF", carried.exif)] if carried.exif else []
    chunks += [Chunk(b"XMP ", carried.xmp)] if carried.xmp else []
    chunks += [Chunk(kind.encode("latin-1"), payload) for kind, payload in carried.others]
    return serialise(WebP(tuple(chunks))), ()


def quality(data: bytes) -> int | None:
    """The libwebp quality, 1 to 100, that gives the picture's quantiser; None for lossless. Raises Malformed."""
    picture = parse(data).find(b"VP8 ")
    if picture is None:
        return None
    # libwebp's QualityToCompression, turned round: quantiser 0 is quality 100, 127 is 0.
    compression = (1 - _base_quantiser(picture) / 127) ** 3
    linear = compression * 1.5 if compression < 0.5 else (compression + 1) / 2
    return min(max(round(100 * linear), 1), 100)


def _base_quantiser(picture: bytes) -> int:
    """The quantiser of a key frame's header, 0 to 127 (RFC 6386, section 9.2 to 9.6).

    libwebp quantises up to four kinds of blocks differently; in photos the second finest has the quality's own value
    (measured at qualities 20 to 95, within one step).
    """
    bits = _Bits(picture[10:])
    bits.read(2)  # colour space, clamping
    if bits.read(1):  # segments
        update_map, update_data = bits.read(1), bits.read(1)
        if update_data:
            absolute = bits.read(1)
            steps = [bits.read_optional(7 + 1) >> 1 for _ in range(4)]  # the last bit is the sign
            if absolute:
                return sorted(steps)[1]
            for _ in range(4):
                bits.read_optional(6 + 1)
        for _ in range(3 * update_map):
            bits.read_optional(8)
    bits.read(1 + 6 + 3)  # loop filter
    if bits.read(1) and bits.read(1):
        for _ in range(8):
            bits.read_optional(6 + 1)
    bits.read(2)  # partitions
    return bits.read(7)


class _Bits:
    """The boolean decoder of RFC 6386, section 7.3, for bits of even odds, all that a header holds."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.value = unsigned(data, 0, 2, big=True)
        self.at, self.range, self.shifts = 2, 255, 0

    def read(self, count: int) -> int:
        """``count`` bits, the highest first."""
        number = 0
        for _ in range(count):
            split = 1 + ((self.range - 1) * 128 >> 8)
            bit = self.value >= split << 8
            self.value -= split << 8 if bit else 0
            self.range = self.range - split if bit else split
            while self.range < 128:
                self.value, self.range, self.shifts = self.value << 1, self.range << 1, self.shifts + 1
                if self.shifts == 8:
                    self.value |= unsigned(self.data, self.at, 1, big=False)
                    self.at, self.shifts = self.at + 1, 0
            number = number << 1 | bit
        return number

    def read_optional(self, count: int) -> int:
        """``count`` bits that a flag announces; 0 where it does not."""
        return self.read(count) if self.read(1) else 0
