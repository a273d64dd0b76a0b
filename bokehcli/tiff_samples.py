"""TIFF samples that OpenCV does not read as they are meant, and what has to be done about them.

OpenCV knows neither grey with opacity nor floats of 16 bits, nor more than 8 bits in channels that lie apart, nor most samples
of less than 8 bits. They all lie in the file like something that it does know: a row of grey and opacity in turn is a row of
grey twice as long, a float of 16 bits is a whole number to whoever does not ask, each of the channels is a grey picture, and a
row of samples of 4 bits is a row of black and white four times as long.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bokehcli.containers import tiff
from bokehcli.containers.ifd import LONG, Field, is_big, numbers
from bokehcli.containers.reading import Malformed
from bokehcli.pixels import filled, spread, to_8_bits

Image = NDArray[Any]

WHITE_IS_0, BLACK_IS_0, RGB, PALETTE = 0, 1, 2, 3  # of the tag PhotometricInterpretation
LAB = (8, 9, 10)  # CIE's, ICC's and ITU's, which OpenCV takes for RGB
UNSIGNED, FLOAT, UNDEFINED = 1, 3, 4  # of SampleFormat
NO_PREDICTOR, DIFFERENCES, FLOAT_DIFFERENCES = 1, 2, 3  # of Predictor
BYTE_WISE = (1, 5, 8, 32773, 32946)  # compressions that know nothing of samples: none, LZW, Deflate, PackBits, old Deflate
OTHERS_READ = (2, 3, 4, 6, 7, 32766, 32771, 32809, 32909, 34676, 34677)  # compressions: fax, JPEG and others that libtiff has
BUILT_IN_OR_NOT = {34661: "JBIG", 34887: "LERC", 34925: "LZMA", 50000: "Zstandard", 50001: "WebP"}  # libtiff's too
PLACES = (tiff.STRIP_OFFSETS, tiff.STRIP_LENGTHS, tiff.TILE_OFFSETS, tiff.TILE_LENGTHS)
PIXEL_DIMENSIONS = 3  # of a picture with channels
COLOURS = 3
NARROW_CHANNELS = {WHITE_IS_0: (1, 2), BLACK_IS_0: (1, 2), RGB: (3, 4), PALETTE: (1,)}
READ_BY_OPENCV = ((WHITE_IS_0, 1, 1), (BLACK_IS_0, 1, 1), (PALETTE, 4, 1))  # of fewer bits than 8: meaning, bits, channels
EASIER = "save it with LZW, Deflate or without compression"
MOST_WIDE = (1 << 32) - 1


def refusal(data: bytes) -> str | None:
    """Why a TIFF is not rendered, if it is not. Raises Malformed."""
    kind, bits = tiff.number(data, tiff.SAMPLE_FORMAT, UNSIGNED), tiff.bits(data)
    if tiff.is_raw(data):
        return "a camera's raw file: develop it to JPEG, PNG or TIFF first"
    if kind not in (UNSIGNED, FLOAT, UNDEFINED) or bits > (32 if kind == FLOAT else 16):
        return "a TIFF of signed samples, of whole numbers of 32 bits or of floats of 64: save it with 8, 16 or float 32 bits"
    if (compression := tiff.number(data, tiff.COMPRESSION, 1)) not in (*BYTE_WISE, *OTHERS_READ, *BUILT_IN_OR_NOT):
        return f"a TIFF compressed in a way that is not read (number {compression}): {EASIER}"
    return _refusal_of_colours(data) or (_refusal_of_floats(data) if kind == FLOAT else None)


def _refusal_of_colours(data: bytes) -> str | None:
    kind, bits = tiff.photometric(data), tiff.bits(data)
    if kind == PALETTE and bits not in (4, 8) and not is_narrow(data):
        return f"a TIFF whose colours stand in a table (bits a pixel: {bits}): save it as RGB"
    if kind in LAB:
        return "a TIFF of L*a*b* colours: save it as RGB"
    apart = tiff.is_planar(data) and not lies_apart(data)
    if bits > 8 and (apart or kind not in (WHITE_IS_0, BLACK_IS_0, RGB)):
        return "a TIFF of more than 8 bits that is neither grey nor RGB, or compressed as pictures: save it as RGB"
    return None


def _refusal_of_floats(data: bytes) -> str | None:
    if (bits := tiff.bits(data)) not in (16, 32):
        return f"a TIFF of floats of {bits} bits: save it with 32"
    if (bits == 16 or is_grey_with_opacity(data)) and _predictor(data) == FLOAT_DIFFERENCES:
        return "a TIFF of floats of 16 bits or of grey with opacity, compressed with a predictor: save it without"
    return None


def unread(data: bytes) -> str | None:
    """What OpenCV did not know in a TIFF of which it made nothing, if that can be told. Raises Malformed."""
    channels, compression = tiff.samples(data), tiff.number(data, tiff.COMPRESSION, 1)
    if compression in BUILT_IN_OR_NOT:
        return f"the OpenCV that is installed reads no TIFF compressed with {BUILT_IN_OR_NOT[compression]}: {EASIER}"
    if tiff.photometric(data) == tiff.CMYK and channels < 4:
        return "a TIFF of other inks than CMYK: save it as RGB"
    return f"a TIFF of {channels} channels: save it with 4 at most" if channels > 4 else None


def warnings(data: bytes) -> tuple[str, ...]:
    """What of a TIFF is not rendered. Raises Malformed."""
    found = []
    if tiff.pages(data) > 1:
        found.append(f"only the first of its {tiff.pages(data)} pages is rendered")
    if tiff.has_layers(data):
        found.append("its layers (Photoshop's) were left out, and the picture that they make was rendered")
    if tiff.has_pictures_below(data):
        found.append("pictures below its first page (SubIFDs) were left out")
    if tiff.photometric(data) == PALETTE and tiff.samples(data) > 1:
        found.append("the opacity of a TIFF whose colours stand in a table was left out")
    if tiff.photometric(data) == tiff.CMYK and tiff.samples(data) > 4:
        found.append("channels beside its four inks were left out")
    in_two = is_narrow(data) or is_grey_with_opacity(data) or lies_apart(data)
    if tiff.photometric(data) in (WHITE_IS_0, BLACK_IS_0) and tiff.samples(data) > 1 and not in_two:
        deep = ", and 8 of its bits a channel are kept" if tiff.bits(data) > 8 else ""
        found.append(f"the opacity of a grey TIFF that is compressed as a picture was left out{deep}")
    return tuple(found)


def is_grey_with_opacity(data: bytes) -> bool:
    """Whether grey and opacity follow each other, in a way that they can be read. Raises Malformed."""
    grey = tiff.photometric(data) in (WHITE_IS_0, BLACK_IS_0)
    readable = tiff.number(data, tiff.COMPRESSION, 1) in BYTE_WISE and tiff.bits(data) in (8, 16, 32)
    return grey and tiff.samples(data) == 2 and not tiff.is_planar(data) and readable


def is_narrow(data: bytes) -> bool:
    """Whether its samples of less than 8 bits are to be read bit by bit. Raises Malformed."""
    kind, bits, channels = tiff.photometric(data), tiff.bits(data), tiff.samples(data)
    if not 0 < bits < 8 or channels not in NARROW_CHANNELS.get(kind, ()) or (kind, bits, channels) in READ_BY_OPENCV:
        return False
    alike = len(set(tiff.all_numbers(data, tiff.BITS))) < 2 and not tiff.is_planar(data)
    return alike and _predictor(data) == NO_PREDICTOR and tiff.number(data, tiff.COMPRESSION, 1) in BYTE_WISE


def lies_apart(data: bytes) -> bool:
    """Whether its channels are to be read one by one: see `planes`. Raises Malformed."""
    channels = {RGB: (3, 4), WHITE_IS_0: (2,), BLACK_IS_0: (2,)}.get(tiff.photometric(data), ())
    readable = tiff.is_planar(data) and tiff.samples(data) in channels and tiff.number(data, tiff.COMPRESSION, 1) in BYTE_WISE
    return readable and (tiff.bits(data) > 8 or tiff.photometric(data) != RGB)


def planes(data: bytes) -> Iterator[bytes]:
    """Each channel of a TIFF that `lies_apart` as a grey one. Raises Malformed."""
    big, channels = is_big(data), tiff.samples(data)
    single = {tiff.SAMPLES: 1, tiff.PLANES: 1, tiff.PHOTOMETRIC: BLACK_IS_0, tiff.BITS: tiff.bits(data)}
    if is_float(data):
        single[tiff.SAMPLE_FORMAT] = UNSIGNED if tiff.bits(data) == 16 else FLOAT
    gone = (tiff.EXTRA_SAMPLES,) if is_float(data) else (tiff.EXTRA_SAMPLES, tiff.SAMPLE_FORMAT)
    fields = [numbers(tag, value, big=big) for tag, value in single.items()]
    where = {tag: values for tag in PLACES if (values := tiff.all_numbers(data, tag))}
    if any(len(values) % channels for values in where.values()):
        raise Malformed("its channels do not lie in equally many pieces")
    for channel in range(channels):
        pieces = [
            numbers(tag, *values[channel * len(values) // channels :][: len(values) // channels], big=big, kind=LONG)
            for tag, values in where.items()
        ]
        yield tiff.with_fields(data, (*fields, *pieces), without=gone)


def joined(channels: Sequence[Image]) -> Image:
    """What OpenCV made of `planes`, in its own order: (H, W, 2), grey and opacity, or (H, W, 3 or 4), BGR and opacity.

    Raises Malformed where they are not alike.
    """
    if len({(each.shape, each.dtype) for each in channels}) > 1 or channels[0].ndim > 2:
        raise Malformed("its channels are not alike")
    return np.dstack([*channels[:3][::-1], *channels[3:]] if len(channels) > 2 else list(channels))


def prepared(data: bytes) -> bytes:
    """The same samples as OpenCV can read them; `restored` makes of what it reads what they are. Raises Malformed."""
    kind, bits = tiff.number(data, tiff.SAMPLE_FORMAT, UNSIGNED), tiff.bits(data)
    big = is_big(data)
    fields: list[Field] = []
    if kind == FLOAT and bits == 16:
        fields.append(numbers(tiff.SAMPLE_FORMAT, *(UNSIGNED,) * tiff.samples(data), big=big))
    if is_grey_with_opacity(data) or is_narrow(data):
        longer = tiff.samples(data) * bits if is_narrow(data) else 2
        fields = [replace(each, count=1, value=each.value[:2]) for each in fields]
        widths = {tag: longer * tiff.number(data, tag) for tag in _widths(data)}
        if max(widths.values()) > MOST_WIDE:
            raise Malformed("a width beyond all measure")
        fields += [numbers(tag, width, big=big, kind=LONG) for tag, width in widths.items()]
        single = {tiff.SAMPLES: 1, tiff.PHOTOMETRIC: BLACK_IS_0, tiff.PREDICTOR: NO_PREDICTOR}
        single[tiff.BITS] = 1 if is_narrow(data) else bits
        if kind == FLOAT and bits == 32:
            single[tiff.SAMPLE_FORMAT] = FLOAT
        fields += [numbers(tag, value, big=big) for tag, value in single.items()]
    return tiff.with_fields(data, tuple(fields), without=(tiff.EXTRA_SAMPLES,) if len(fields) > 1 else ()) if fields else data


def restored(data: bytes, decoded: Image) -> Image:
    """What `data` means, from what OpenCV made of `prepared` and tiff.for_decoder, or from what was `joined`.

    decoded: (H, W[, C]), (H, 2 W) of grey and opacity in turn, and (H, n W) of bits, 0 or 255, where it `is_narrow`. Returns
    (H, W), grey; (H, W, 2), grey and opacity; (H, W, 3 or 4), BGR and opacity; uint8, uint16 or float32, white at the type's
    top or at 1, opacity not multiplied in. Raises Malformed.
    """
    narrow = is_narrow(data)
    picture = _widened(data, decoded) if narrow else _paired(data, decoded) if is_grey_with_opacity(data) else decoded
    if is_float(data) and picture.dtype == np.uint16:
        picture = picture.view(np.float16).astype(np.float32)
    elif picture.dtype == np.uint16 and 8 < (bits := tiff.bits(data)) < 16:  # they lie on top, and white is not yet 65535
        picture = spread(picture >> np.uint16(16 - bits), bits)
    if tiff.photometric(data) == tiff.CMYK:
        return picture[..., :COLOURS] if picture.ndim == PIXEL_DIMENSIONS else picture
    top = 1 if picture.dtype == np.float32 else np.iinfo(picture.dtype).max
    if tiff.photometric(data) == WHITE_IS_0 and (narrow or picture.dtype != np.uint8 or picture.ndim == PIXEL_DIMENSIONS):
        grey = picture[..., :1] if picture.ndim == PIXEL_DIMENSIONS else picture
        np.subtract(top, grey, out=grey)  # OpenCV does so with 8 bits and without opacity alone
    if tiff.is_premultiplied(data) and picture.ndim == PIXEL_DIMENSIONS and picture.shape[2] in (2, 4):
        least = 1e-6 if top == 1 else 1
        straight = picture[..., :-1] * (top / np.maximum(picture[..., -1:], least).astype(np.float32))
        picture[..., :-1] = straight if top == 1 else np.clip(np.rint(straight), 0, top)
    return picture


def _paired(data: bytes, decoded: Image) -> Image:
    """(H, 2 W) grey and opacity in turn, still as differences where the file has those, to (H, W, 2)."""
    pairs = decoded.reshape(decoded.shape[0], -1, 2)
    if _predictor(data) != DIFFERENCES:
        return pairs
    whole = pairs.shape[1]
    width = tiff.number(data, tiff.TILE_WIDTH, whole) or whole
    for left in range(0, whole, width):
        tile = pairs[:, left : left + width]
        np.cumsum(tile, axis=1, dtype=tile.dtype, out=tile)
    return pairs


def _widened(data: bytes, decoded: Image) -> Image:
    """(H, n W) single bits, 0 or 255, to what they are together, uint8: (H, W), (H, W, 2), or (H, W, 3 or 4) in BGR order.

    Raises Malformed.
    """
    bits, channels = tiff.bits(data), tiff.samples(data)
    single = decoded.reshape(decoded.shape[0], -1, channels, bits) & (1 << np.arange(bits)[::-1]).astype(np.uint8)
    values: NDArray[np.uint8] = single.sum(axis=3, dtype=np.uint8)
    if tiff.photometric(data) == PALETTE:
        return _colours(data)[values[..., 0]]
    picture: Image = filled(values << np.uint8(8 - bits), bits)
    if channels >= COLOURS:
        return picture[..., [2, 1, 0, *range(COLOURS, channels)]]
    return picture if channels > 1 else picture[..., 0]


def _colours(data: bytes) -> NDArray[np.uint8]:
    """(2 ** bits, 3), BGR: what a palette's numbers stand for, in 16 bits or, against the rule, in 8. Raises Malformed."""
    said = tiff.all_numbers(data, tiff.COLOUR_MAP)
    if len(said) < COLOURS << tiff.bits(data):
        raise Malformed("its palette has too few colours")
    table = np.array(said[: COLOURS << tiff.bits(data)]).reshape(COLOURS, -1).T[:, ::-1]
    return to_8_bits(table.astype(np.uint16 if table.max() > 255 else np.uint8))


def is_float(data: bytes) -> bool:
    """Whether the samples are floats. Raises Malformed."""
    return tiff.number(data, tiff.SAMPLE_FORMAT, UNSIGNED) == FLOAT


def _predictor(data: bytes) -> int:
    """Of a compression that has one: in others the tag means nothing."""
    return tiff.number(data, tiff.PREDICTOR, 1) if tiff.number(data, tiff.COMPRESSION, 1) in (5, 8, 32946) else NO_PREDICTOR


def _widths(data: bytes) -> tuple[int, ...]:
    return (tiff.WIDTH, tiff.TILE_WIDTH) if tiff.number(data, tiff.TILE_WIDTH) else (tiff.WIDTH,)
