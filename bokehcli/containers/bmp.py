"""BMP: a header and rows of pixels; it carries nothing but how many pixels go to a metre.

The kind of ``Carried.others`` is "density": that many across and down, as they lie in the header.
"""

from bokehcli.containers.reading import Malformed, take, unsigned
from bokehcli.photo import Carried

# Ways of compression: none, none with bit masks for red, green and blue, files within the file, and masks for opacity too.
NONE, MASKS, JPEG, PNG, MASKS_AND_OPACITY = 0, 3, 4, 5, 6
FIRST_MASK = 54  # where it lies, within longer headers and behind the one of 40 bytes; the others follow
MASKED_HEADER = 56  # bytes of the shortest header that has room for all four masks
USUAL_MASKS = (0x7C00, 0x3E0, 0x1F, 0)  # of 16 bits a pixel
MOST_BITS = 16  # of a channel
DENSITY = slice(38, 46)  # in every header but the shortest, of 12 bytes


def _header(data: bytes) -> tuple[int, int, int, int]:
    """(height, width, bits a pixel, compression). A height below 0: the top row comes first."""
    if data[:2] != b"BM":
        raise Malformed("it does not start as a BMP")
    length = unsigned(data, 14, 4, big=False)
    if length == 12:
        width, height = unsigned(data, 18, 2, big=False), unsigned(data, 20, 2, big=False)
        return height, width, unsigned(data, 24, 2, big=False), NONE
    width = int.from_bytes(take(data, 18, 4), "little", signed=True)
    height = int.from_bytes(take(data, 22, 4), "little", signed=True)
    return height, max(width, 0), unsigned(data, 28, 2, big=False), unsigned(data, 30, 4, big=False)


def size(data: bytes) -> tuple[int, int]:
    """(height, width). Raises Malformed."""
    height, width, _, _ = _header(data)
    return abs(height), width


def bits(data: bytes) -> int:
    """Of a pixel. Raises Malformed."""
    return _header(data)[2]


def is_top_first(data: bytes) -> bool:
    """Whether the top row comes first, not the bottom one. Raises Malformed."""
    return _header(data)[0] < 0


def place(data: bytes) -> tuple[int, int]:
    """Where the first row begins, and the bytes of each, compressed ones apart. Raises Malformed."""
    _, width, bits_a_pixel, _ = _header(data)
    return unsigned(data, 10, 4, big=False), (width * bits_a_pixel + 31) // 32 * 4


def is_complete(data: bytes) -> bool:
    """Whether all rows are there; of compressed ones, whether any are. Raises Malformed."""
    height, _, _, compression = _header(data)
    start, row = place(data)
    return start + (abs(height) * row if compression in (NONE, MASKS, MASKS_AND_OPACITY) else 1) <= len(data)


def masks(data: bytes) -> tuple[int, int, int, int] | None:
    """Which bits of a pixel are red, green, blue and opacity, 0 if none; None where whole bytes are. Raises Malformed."""
    _, _, bits_a_pixel, compression = _header(data)
    if bits_a_pixel == 16 and compression == NONE:
        return USUAL_MASKS
    if bits_a_pixel not in (16, 32) or compression not in (MASKS, MASKS_AND_OPACITY):
        return None
    red, green, blue = (unsigned(data, FIRST_MASK + 4 * number, 4, big=False) for number in range(3))
    has_opacity = unsigned(data, 14, 4, big=False) >= MASKED_HEADER or compression == MASKS_AND_OPACITY
    return red, green, blue, unsigned(data, FIRST_MASK + 12, 4, big=False) if has_opacity else 0


def lowest_bit(mask: int) -> int:
    """Its number, of a mask that is not 0."""
    return (mask & -mask).bit_length() - 1


def refusal(data: bytes) -> str | None:
    """Why the pixels are not read, if they are not. Raises Malformed."""
    _, _, bits_a_pixel, compression = _header(data)
    if compression in (JPEG, PNG):
        return "a BMP that holds a JPEG or PNG: save it as that"
    if bits_a_pixel == 2:
        return "a BMP of 2 bits a pixel: save it with 4 or 8"
    if (found := masks(data)) is not None and not all(_is_in_a_row(mask, bits_a_pixel) for mask in found[: 3 + bool(found[3])]):
        return "a BMP whose bit masks are not those of colours: save it with 24 bits a pixel"
    return None


def _is_in_a_row(mask: int, bits_a_pixel: int) -> bool:
    """Whether a mask has bits, few enough, all of them side by side and within a pixel."""
    side_by_side = mask > 0 and mask >> lowest_bit(mask) == (1 << mask.bit_count()) - 1
    return side_by_side and mask.bit_count() <= MOST_BITS and mask >> bits_a_pixel == 0


def get(data: bytes) -> tuple[Carried, tuple[str, ...]]:
    """What the file carries, without a warning. Raises Malformed."""
    density = take(data, DENSITY.start, 8) if unsigned(data, 14, 4, big=False) > 12 else b""
    return Carried(others=(("density", density),) if any(density) else ()), ()


def put(data: bytes, carried: Carried) -> tuple[bytes, tuple[str, ...]]:
    """The encoded file with that density. Raises Malformed."""
    take(data, DENSITY.start, 8)
    density = dict(carried.others).get("density", data[DENSITY])
    return data[: DENSITY.start] + density + data[DENSITY.stop :], ()
