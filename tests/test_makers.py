"""Maker notes, laid out as each maker does, come back so that exiftool reads in them what it read before.

The notes are synthesised: an offset in them counts from the EXIF stream's start or from the note's own, by maker, so that a
note that moved, or an EXIF laid out anew, would give other values.
"""

import json
import shutil
import struct
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from bokehcli import containers
from bokehcli.decode import decode_photo
from bokehcli.encode import Encoding, encode_image
from bokehcli.metadata import attach_metadata
from bokehcli.options import DecodeOptions
from bokehcli.photo import Carried, Container, Photo

pytestmark = pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is not installed")
PIXELS = np.add.outer(np.arange(48), np.arange(64))[..., None].repeat(3, 2).astype(np.uint8)
KEEPING = (Container.JPEG, Container.PNG, Container.WEBP, Container.AVIF, Container.HEIC)
ASCII, SHORT, LONG, UNDEFINED = 2, 3, 4, 7
WIDTHS = {ASCII: 1, SHORT: 2, LONG: 4, UNDEFINED: 1}
Tags = dict[int, tuple[int, bytes | int]]


@dataclass(frozen=True)
class Maker:
    """note: the maker note for where it will lie and for the byte order of the EXIF. expected: tag -> value that is read."""

    make: bytes
    model: bytes
    note: Callable[[int, str], bytes]
    expected: dict[str, str]


def directory(tags: Tags, order: str, base: int) -> bytes:
    """A directory and its values behind it; base: where it begins, counted from what its offsets count from."""
    at = base + 2 + 12 * len(tags) + 4
    entries, behind = b"", b""
    for tag, (kind, value) in sorted(tags.items()):
        raw = value if isinstance(value, bytes) else struct.pack(order + {SHORT: "H", LONG: "I"}[kind], value)
        entries += struct.pack(order + "HHI", tag, kind, len(raw) // WIDTHS[kind])
        if len(raw) <= 4:
            entries += raw.ljust(4, b"\0")
        else:
            entries += struct.pack(order + "I", at + len(behind))
            behind += raw + b"\0" * (len(raw) % 2)
    return struct.pack(order + "H", len(tags)) + entries + b"\0\0\0\0" + behind


def absolute(start: bytes, tags: Tags, order: str | None = None) -> Callable[[int, str], bytes]:
    """A note whose offsets count from the EXIF stream's start."""
    return lambda at, exif_order: start + directory(tags, order or exif_order, at + len(start))


def relative(start: bytes, tags: Tags, order: str, base: int | None = None) -> Callable[[int, str], bytes]:
    """A note whose offsets count from its own start, or from `base` bytes before its directory."""
    return lambda _at, _order: start + directory(tags, order, len(start) if base is None else base)


def text(value: str) -> tuple[int, bytes]:
    return ASCII, value.encode() + b"\0"


SERIAL = "serial 0123456789"
NIKON = b"Nikon\0\2\x10\0\0MM\0*\0\0\0\x08"  # with a TIFF header of its own, from which its offsets count
MAKERS = {
    "Canon": Maker(
        b"Canon",
        b"Canon EOS R5",
        absolute(b"", {6: text("IMG:EOS R5 JPEG"), 7: text("Firmware 1.2.3"), 9: text(SERIAL)}),
        {"CanonImageType": "IMG:EOS R5 JPEG", "CanonFirmwareVersion": "Firmware 1.2.3", "OwnerName": SERIAL},
    ),
    "Nikon": Maker(
        b"NIKON CORPORATION",
        b"NIKON Z 6",
        relative(NIKON, {1: (UNDEFINED, b"0211"), 4: text("RAW+FINE"), 5: text("SUNNY AUTO")}, ">", 8),
        {"Quality": "RAW+Fine", "WhiteBalance": "Sunny Auto"},
    ),
    "Sony": Maker(
        b"SONY",
        b"ILCE-7M3",
        absolute(b"SONY DSC \0\0\0", {0xB020: text("Standard Vivid")}),
        {"CreativeStyle": "Standard Vivid"},
    ),
    "Fujifilm": Maker(
        b"FUJIFILM",
        b"X-T4",
        relative(b"FUJIFILM\x0c\0\0\0", {0x10: text(SERIAL), 0x1000: text("FINE+RAW")}, "<"),
        {"InternalSerialNumber": SERIAL, "Quality": "FINE+RAW"},
    ),
    "Olympus": Maker(
        b"OLYMPUS CORPORATION",
        b"E-M1",
        relative(b"OLYMPUS\0II\3\0", {0x207: text("D4575 type"), 0x404: text(SERIAL)}, "<"),
        {"SerialNumber": SERIAL},
    ),
    "Panasonic": Maker(
        b"Panasonic",
        b"DC-G9",
        absolute(b"Panasonic\0\0\0", {0x51: text("LUMIX G 25/F1.7"), 0x52: text(SERIAL)}),
        {"LensType": "LUMIX G 25/F1.7", "LensSerialNumber": SERIAL},
    ),
    "Pentax": Maker(
        b"RICOH IMAGING COMPANY, LTD.",
        b"PENTAX K-1",
        relative(b"PENTAX \0MM", {0x229: text(SERIAL)}, ">"),
        {"SerialNumber": SERIAL},
    ),
    "Apple": Maker(
        b"Apple",
        b"iPhone 12",
        relative(b"Apple iOS\0\0\1MM", {0x15: text("unique id 42")}, ">"),
        {"ImageUniqueID": "unique id 42"},
    ),
    "Samsung": Maker(
        b"SAMSUNG",
        b"NX500",
        relative(b"", {1: (UNDEFINED, b"0100"), 0xA001: text("NX500_firmware 1.10")}, "<"),
        {"FirmwareName": "NX500_firmware 1.10"},
    ),
    "Google": Maker(b"Google", b"Pixel 7", lambda _at, _order: b"HDRP\3" + bytes(range(256)) * 3, {}),
}


def exif_of(maker: Maker, order: str) -> tuple[bytes, bytes]:
    """EXIF of a photo to be turned, which ends with that maker's note; and the note."""
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)

    def laid_out(exif_at: int, note_at: int, note: bytes) -> bytes:
        camera: Tags = {0x10F: text(maker.make.decode()), 0x110: text(maker.model.decode())}
        main = camera | {0x112: (SHORT, 6), 0x8769: (LONG, exif_at)}
        first = start + directory(main, order, 8)
        entry = struct.pack(order + "HHII", 0x927C, UNDEFINED, len(note), note_at)
        return first + struct.pack(order + "H", 1) + entry + b"\0\0\0\0" + note

    length = len(laid_out(0, 0, b""))
    note = maker.note(length, order)
    return laid_out(length - 18, length, note), note


def notes_of(*paths: Path) -> list[dict[str, str]]:
    """What exiftool reads of each file's maker note."""
    tags = json.loads(subprocess.check_output(["exiftool", "-j", "-a", "-b", "-Make", "-MakerNotes:all", *paths]))
    return [{name: value for name, value in each.items() if name != "SourceFile"} for each in tags]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("name", MAKERS)
def test_maker_notes_read_the_same_before_and_after(name: str, order: str, tmp_path: Path) -> None:
    maker = MAKERS[name]
    exif, note = exif_of(maker, order)
    blank = encode_image(PIXELS, None, Encoding(container=Container.JPEG), "p")
    source = tmp_path / "source.jpg"
    source.write_bytes(containers.put_carried(blank, Container.JPEG, Carried(exif=exif))[0])
    photo = decode_photo(source.read_bytes(), "p", DecodeOptions())
    assert photo.orientation == 6
    results = [tmp_path / f"result{container.suffix}" for container in KEEPING]
    for container, path in zip(KEEPING, results, strict=True):
        data = encode_image(photo.image, None, Encoding(container=container), "p")
        data, warnings = attach_metadata(data, container, photo)
        assert warnings == ()
        carried = containers.get_carried(data, container)[0].exif
        assert carried is not None
        assert carried.index(note) == exif.index(note)
        path.write_bytes(data)
    before, *after = notes_of(source, *results)
    assert before.items() >= maker.expected.items()
    assert after == [before] * len(KEEPING)


@pytest.mark.parametrize("name", MAKERS)
def test_in_a_tiff_the_notes_move_and_a_warning_says_so(name: str) -> None:
    exif, note = exif_of(MAKERS[name], "<")
    photo = Photo(name="p", container=Container.JPEG, image=PIXELS, carried=Carried(exif=exif))
    data = encode_image(photo.image, None, Encoding(container=Container.TIFF), "p")
    data, warnings = attach_metadata(data, Container.TIFF, photo)
    assert warnings == ("the maker note was moved: offsets inside it may no longer hold",)
    assert note in data
