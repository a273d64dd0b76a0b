"""BMP: a header and rows of pixels; it carries nothing."""

from bokehcli.containers.reading import Malformed, take, unsigned


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
    return unsigned(data, 10, 4, big=False) + (height * row if compression in (0, 3) else 1) <= len(data)
