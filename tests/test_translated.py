"""bokehcli.translated: IPTC and Photoshop's resources go from JPEG to TIFF and back. exiftool is the independent reader."""

import io
import json
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from bokehcli import containers
from bokehcli.containers import jpeg, photoshop
from bokehcli.photo import Carried, Container
from bokehcli.translated import translated

IPTC = b"\x1c\2\x19\0\4Anna\x1c\2\x78\0\4Cake"
OTHER = b"8BIM\4\x0a\0\0\0\0\0\1\1\0"  # whether it has a copyright: yes
RESOURCES = photoshop.with_iptc(OTHER, IPTC)


def written(container: Container, carried: Carried) -> bytes:
    bare = io.BytesIO()
    Image.new("RGB", (16, 16)).save(bare, container.value)
    return containers.put_carried(bare.getvalue(), container, carried)[0]


def tags_of(data: bytes, folder: Path) -> dict[str, object]:
    path = folder / "photo"
    path.write_bytes(data)
    asked = ["-IPTC:Keywords", "-IPTC:Caption-Abstract", "-Photoshop:CopyrightFlag", "-Warning", "-Error"]
    tags: dict[str, object] = json.loads(subprocess.check_output(["exiftool", "-j", *asked, path]))[0]
    return {name: value for name, value in tags.items() if name != "SourceFile"}


@pytest.mark.parametrize(
    ("container", "others"),
    [
        (Container.TIFF, (("APP13", jpeg.IRB + RESOURCES),)),
        (Container.TIFF, (("APP13", jpeg.IRB + RESOURCES[:20]), ("APP13", jpeg.IRB + RESOURCES[20:]))),
        (Container.JPEG, (("IRB", RESOURCES),)),
        (Container.JPEG, (("IPTC", IPTC), ("IRB", OTHER))),
        (Container.JPEG, (("IPTC", b"another"), ("IRB", RESOURCES))),
    ],
)
def test_they_follow_between_jpeg_and_tiff(container: Container, others: tuple[tuple[str, bytes], ...], tmp_path: Path) -> None:
    carried, left = translated(Carried(others=others), container)
    assert left == []
    expected = {"Keywords": "Anna", "Caption-Abstract": "Cake", "CopyrightFlag": True}
    assert tags_of(written(container, carried), tmp_path) == expected


def test_iptc_alone_follows_into_a_jpeg(tmp_path: Path) -> None:
    carried, left = translated(Carried(others=(("IPTC", IPTC),)), Container.JPEG)
    assert left == []
    assert tags_of(written(Container.JPEG, carried), tmp_path) == {"Keywords": "Anna", "Caption-Abstract": "Cake"}


@pytest.mark.parametrize(
    ("block", "name"),
    [
        (("APP13", jpeg.IRB + RESOURCES), "IPTC"),
        (("APP13", jpeg.IRB + OTHER), "Photoshop's resources"),
        (("APP13", b"Adobe_CM"), "APP13"),
        (("IRB", RESOURCES), "IPTC"),
        (("IRB", b"broken"), "Photoshop's resources"),
        (("IPTC", IPTC), "IPTC"),
        (("COM", b"a comment"), "COM"),
    ],
)
def test_what_cannot_follow_is_named(block: tuple[str, bytes], name: str) -> None:
    carried, left = translated(Carried(exif=b"exif", others=(block,)), Container.PNG)
    assert left == [name]
    assert carried == Carried(exif=b"exif")
