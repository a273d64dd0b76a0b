"""BMP: a header and rows of pixels; it carries nothing but how many pixels go to a metre.

The kind of ``Carried.others`` is "density": that many across and down, as they lie in the header.
"""

from bokehcli.containers.reading import Malformed, take, unsigned
from bokehcli.photo import Carried

MASKS, GREEN_MASK = 3, 58  # a way of compression that is none, and where its second mask lies
DENSITY = slice(38, 46)  # in every header but the shortest, of 12 bytes


def _header(data: bytes) -> tuple[int, int, int, int]:
    """(height, width, bits a pixel, compression)."""
    if data[:2] != b"BM":
        raise Malformed("it does not start as a BMP")
    length = unsigned(data, 14, 4, big=False)
    if length == 12:
        width, height = unsigned(data, 18, 2, big=False), unsigned(data, 20, 2, big=False)
        return height, width, unsigned(data, 24, 2, big=False), 0
    width = int.from_bytes(take(data, 18, 4), "little", signed=True)
    height = int.from_bytes(take(data, 22, 4), "little", signed=True)  # below 0: the top row comes first
    return abs(height), max(width, 0), unsigned(data, 28, 2, big=False), unsigned(data, 30, 4, big=False)


def size(data: bytes) -> tuple[int, int]:
    """(height, width). Raises Malformed."""
    return _header(data)[:2]


def is_complete(data: bytes) -> bool:
    """Whether all rows are there; of compressed ones, whether any are. Raises Malformed."""
    height, width, bits, compression = _header(data)
    row = (width * bits + 31) // 32 * 4
    return unsigned(data, 10, 4, big=False) + (height * row if compression in (0, MASKS) else 1) <= len(data)


def channel_bits(data: bytes) -> tuple[int, int, int] | None:
    """Bits of blue, green and red where a pixel has 16; None where it has not. Raises Malformed."""
    _, _, bits, compression = _header(data)
    if bits != 16:
        return None
    return (5, 6, 5) if compression == MASKS and unsigned(data, GREEN_MASK, 4, big=False) == 0x7E0 else (5, 5, 5)


def get(data: bytes) -> tuple[Carried, tuple[str, ...]]:
    """What the file carries, without a warning. Raises Malformed."""
    density = take(data, DENSITY.start, 8) if unsigned(data, 14, 4, big=False) > 12 else b""
    return Carried(others=(("density", density),) if any(density) else ()), ()


def put(data: bytes, carried: Carried) -> tuple[bytes, tuple[str, ...]]:
    """The encoded file with that density. Raises Malformed."""
    take(data, DENSITY.start, 8)
    density = dict(carried.others).get("density", data[DENSITY])
    return data[: DENSITY.start] + density + data[DENSITY.stop :], ()
