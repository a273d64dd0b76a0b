"""Damage that the libraries find goes with its photo as a warning, not to stderr; all else that is written there gets there."""

import io
import os

import cv2
import numpy as np
import pytest
import tifffile

from bokehcli.complaints import overheard
from bokehcli.decode import decode_photo
from bokehcli.errors import UnsupportedPhoto
from bokehcli.options import DecodeOptions

NOISE = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)


def encoded(suffix: str, *parameters: int) -> bytes:
    return bytes(cv2.imencode(suffix, NOISE, list(parameters))[1])


def with_damage(data: bytes, damage: bytes) -> bytes:
    """The file with some bytes in its middle overwritten."""
    middle = len(data) // 2
    return data[:middle] + damage + data[middle + len(damage) :]


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (with_damage(encoded(".jpg"), b"\xff\xd3" * 50), "Corrupt JPEG data"),
        (with_damage(encoded(".tif", cv2.IMWRITE_TIFF_COMPRESSION, 5), b"\xff" * 400), "code"),
    ],
    ids=["jpeg", "lzw"],
)
def test_damaged_pixels_are_a_warning_of_their_photo(data: bytes, complaint: str, capfd: pytest.CaptureFixture[str]) -> None:
    (warning,) = decode_photo(data, "old.jpg", DecodeOptions()).warnings
    assert "damaged" in warning
    assert complaint in warning
    assert capfd.readouterr().err == ""


def test_what_is_whole_has_no_warning(capfd: pytest.CaptureFixture[str]) -> None:
    whole = encoded(".jpg")
    for data in (whole, whole[:-2] + b"\1\2\3" + whole[-2:], encoded(".png"), encoded(".tif")):
        assert decode_photo(data, "whole", DecodeOptions()).warnings == ()
    assert capfd.readouterr().err == ""


def test_what_others_write_to_stderr_gets_there(capfd: pytest.CaptureFixture[str]) -> None:
    with overheard() as complaints:
        for text in (b"2 of 9 photos\r", b"libpng warning: iCCP: CRC error\n", b"libpng error: bad IDAT\n" * 2, b"half a line"):
            os.write(2, text)
    assert complaints == ["bad IDAT"]
    assert capfd.readouterr().err == "2 of 9 photos\rhalf a line"


def test_what_takes_several_lines_of_opencvs_log_does_not_get_there(capfd: pytest.CaptureFixture[str]) -> None:
    five = np.zeros((20, 31, 5), np.uint8)
    out = io.BytesIO()
    tifffile.imwrite(out, five, photometric="rgb", planarconfig="contig", extrasamples=["unspecified"] * 2)
    with pytest.raises(UnsupportedPhoto):
        decode_photo(out.getvalue(), "old.tif", DecodeOptions())
    entry = b"[ERROR:0@0.109] global x.cpp:9 imdecode_ can't read\n> of:\n>     '1 <= 4'\nwhere\n    'channels' is 5\n\n"
    with overheard() as complaints:
        for text in (b"> 2 of 9\n\n", entry, b"3 of 9\n", b"\n    where\n"):
            os.write(2, text)
    assert complaints == ["can't read"]
    assert capfd.readouterr().err == "> 2 of 9\n\n3 of 9\n\n    where\n"


def test_a_failure_leaves_stderr_and_the_log_as_they_were(capfd: pytest.CaptureFixture[str]) -> None:
    level = cv2.utils.logging.getLogLevel()
    with pytest.raises(ValueError, match="of a decoder"), overheard():
        raise ValueError("of a decoder")
    os.write(2, b"afterwards")
    assert capfd.readouterr().err == "afterwards"
    assert cv2.utils.logging.getLogLevel() == level


def test_without_a_stderr_there_is_nothing_to_hear(monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(_descriptor: int) -> int:
        raise OSError(9, "Bad file descriptor")

    monkeypatch.setattr(os, "dup", closed)
    with overheard() as complaints:
        pass
    assert complaints == []
