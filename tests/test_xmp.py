"""bokehcli.xmp: packets as text. exiftool and an XML parser are the independent readers."""

import json
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bokehcli import __version__
from bokehcli.metadata import attach_metadata
from bokehcli.options import MetadataOptions
from bokehcli.photo import Carried, Container
from bokehcli.xmp import correct_xmp, with_edit
from tests.test_metadata import XMP, H, W, exif_block, photo_of
from tests.test_metadata import written as encoded

needs_exiftool = pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is not installed")
EDIT = "shallow depth of field: strength 0.5 & <more>"
BARE = XMP.replace(b" " * 60, b"")


def test_xmp_keeps_its_length() -> None:
    corrected = correct_xmp(XMP, (12345, W))
    assert b'tiff:Orientation="1"' in corrected
    assert b'exif:PixelXDimension="31"' in corrected
    assert b"<exif:PixelYDimension>12345</exif:PixelYDimension>" in corrected
    assert b"old" not in corrected
    assert b"old" not in correct_xmp(XMP.replace(b"xmp:", b"xap:"), (12345, W))
    twice = XMP.replace(b"</xmp:Thumbnails>", b"</xmp:Thumbnails><dc:title/><xmp:Thumbnails>older</xmp:Thumbnails>")
    assert b"</xmp:Rating><dc:title/></rdf:Description>" in correct_xmp(twice, (12345, W))
    assert len(corrected) == len(XMP)
    assert corrected.endswith(b'<?xpacket end="w"?>')
    assert correct_xmp(corrected, (12345, W)) == corrected
    assert correct_xmp(b"<x tiff:Orientation = '8'/>", (1, 1)) == b"<x tiff:Orientation = '1'/>"


@pytest.mark.parametrize("container", [Container.JPEG, Container.PNG, Container.HEIC])
@pytest.mark.parametrize("exif", [None, exif_block()])
def test_an_orientation_that_xmp_alone_has_stays(exif: bytes | None, container: Container) -> None:
    bare, _ = encoded(photo_of(Carried(), Container.PNG))
    data, _ = attach_metadata(bare, Container.PNG, photo_of(Carried(xmp=XMP, exif=exif), container))
    stays = exif is None and container is not Container.HEIC
    assert (b'tiff:Orientation="6"' in data) is stays
    assert (b'tiff:Orientation="1"' in data) is not stays


def test_xmp_without_padding_may_change_its_length() -> None:
    xmp = b'<x exif:PixelXDimension="9"/><?xpacket end="w"?>'
    assert correct_xmp(xmp, (1, 4000)) == b'<x exif:PixelXDimension="4000"/><?xpacket end="w"?>'


@example(b"</rdf:RDF>")  # an end without a beginning
@given(st.binary(max_size=200))
def test_any_xmp_is_passed_through(xmp: bytes) -> None:
    correct_xmp(xmp, (H, W))
    assert with_edit(xmp, EDIT) in (xmp, with_edit(None, EDIT))


def history_of(tmp_path: Path, data: bytes) -> dict[str, object]:
    path = tmp_path / "written"
    path.write_bytes(data)
    command = ["exiftool", "-j", "-XMP-xmpMM:all", "-XMP-xmp:Rating", "-XMP-tiff:Orientation#", path]
    tags: dict[str, object] = json.loads(subprocess.run(command, capture_output=True, check=False).stdout)[0]
    tags.pop("SourceFile")
    return tags


@needs_exiftool
@pytest.mark.parametrize("container", [Container.JPEG, Container.PNG, Container.WEBP, Container.TIFF])
@pytest.mark.parametrize("xmp", [None, XMP, BARE])
def test_exiftool_reads_what_was_done(tmp_path: Path, container: Container, xmp: bytes | None) -> None:
    bare, _ = encoded(photo_of(Carried(), container))
    data, _ = attach_metadata(bare, container, photo_of(Carried(xmp=xmp), container), edit=EDIT)
    tags = history_of(tmp_path, data)
    one = {"HistoryAction": "filtered", "HistorySoftwareAgent": f"bokeh {__version__}", "HistoryParameters": EDIT}
    assert tags == one | ({} if xmp is None else {"Rating": 4, "Orientation": 6})
    data, _ = attach_metadata(bare, container, photo_of(Carried(xmp=with_edit(xmp, "first")), container), edit=EDIT)
    assert history_of(tmp_path, data)["HistoryParameters"] == ["first", EDIT]


@pytest.mark.parametrize("xmp", [None, XMP, BARE, XMP.replace(b'rdf:about=""', b"rdf:about='uuid:1'")])
def test_a_packet_with_an_edit_is_xml_and_about_the_same(xmp: bytes | None) -> None:
    longer = with_edit(with_edit(xmp, EDIT), EDIT)
    assert longer is not None
    root = ElementTree.fromstring(longer)
    about = {node.get("{http://www.w3.org/1999/02/22-rdf-syntax-ns#}about") for node in root.iter()} - {None}
    assert about == ({"uuid:1"} if xmp is not None and b"uuid:1" in xmp else {""})
    if xmp is not None:
        assert longer.startswith(xmp[: xmp.index(b"</rdf:RDF>")])


@pytest.mark.parametrize("empty", [b"<rdf:Seq/>", b"\n<rdf:Seq />\n", b"<rdf:Seq></rdf:Seq>"])
def test_an_empty_history_takes_an_edit(empty: bytes) -> None:
    opened = b'<rdf:Description rdf:about="" xmlns:xmpMM="http://ns.adobe.com/xap/1.0/mm/"><xmpMM:History>'
    history = opened + empty + b"</xmpMM:History></rdf:Description></rdf:RDF>"
    xmp = XMP.replace(b"</rdf:RDF>", history).replace(b" " * 60, b" " * 2000)
    longer = with_edit(xmp, EDIT)
    assert longer is not None
    assert len(longer) == len(xmp)
    events = [node for node in ElementTree.fromstring(longer).iter() if node.tag.endswith("}Seq")]
    assert [len(each) for each in events] == [1]


def test_the_history_of_another_document_takes_no_edit() -> None:
    history = b"<xmpMM:History><rdf:Seq><rdf:li>%b</rdf:li></rdf:Seq></xmpMM:History>"
    pantry = b"<xmpMM:Pantry><rdf:Bag><rdf:li>" + history % b"another" + b"</rdf:li></rdf:Bag></xmpMM:Pantry>"
    for own in (b"", history % b"own"):
        xmp = BARE.replace(b"<xmp:Rating>", pantry + own + b"<xmp:Rating>")
        edited = with_edit(xmp, EDIT)
        assert edited is not None
        assert pantry in edited
        assert edited.index(b"shallow depth of field") > edited.index(b"</xmpMM:Pantry>")
        assert edited.count(b"<xmpMM:History>") == 2


def test_padding_makes_room_for_an_edit() -> None:
    roomy = XMP.replace(b" " * 60, b" " * 2000)
    longer = with_edit(roomy, EDIT)
    assert longer is not None
    assert len(longer) == len(roomy)


@pytest.mark.parametrize("xmp", [b"no packet", XMP.decode().encode("utf-16"), BARE + bytes(65_000)])
def test_a_packet_that_cannot_take_an_edit_stays_as_it_is(xmp: bytes) -> None:
    assert with_edit(xmp, EDIT) == xmp


def test_where_metadata_are_not_wanted_nothing_is_added() -> None:
    bare, _ = encoded(photo_of(Carried()))
    assert attach_metadata(bare, Container.JPEG, photo_of(Carried()), MetadataOptions(strip=True), EDIT)[0] == bare
