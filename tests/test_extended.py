"""XMP longer than a JPEG segment is split and joined without losing a property. exiftool is the independent reader."""

import io
import json
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

from bokehcli import containers
from bokehcli.containers import extended, jpeg
from bokehcli.photo import Carried, Container
from bokehcli.translated import translated

RDF = b'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"'
LONG = b"<rdf:Bag>" + b"".join(b"<rdf:li>xmp.did:%06d &amp; more</rdf:li>" % number for number in range(4000)) + b"</rdf:Bag>"
PACKET = (
    b'<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF ' + RDF
    + b' xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/">'
    b'<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="5" photoshop:City="%b">'
    b"<photoshop:DocumentAncestors>" + LONG + b"</photoshop:DocumentAncestors></rdf:Description>"
    b'<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title><rdf:Alt>'
    b'<rdf:li xml:lang="x-default">Cake</rdf:li></rdf:Alt></dc:title></rdf:Description>'
    b'</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
) % (b"Z\xc3\xbcrich " * 9000)
LABEL = "{http://ns.adobe.com/xap/1.0/}Label"
MOST = jpeg.MAX_PAYLOAD - len(jpeg.XMP)


def read(data: bytes, suffix: str, folder: Path) -> dict[str, object]:
    path = folder / f"photo{suffix}"
    path.write_bytes(data)
    tags = json.loads(subprocess.check_output(["exiftool", "-m", "-j", "-XMP:all", "-Warning", "-Error", path]))[0]
    return {name: value for name, value in tags.items() if name not in ("SourceFile", "XMPToolkit", "HasExtendedXMP")}


def written(container: Container, carried: Carried) -> bytes:
    bare = io.BytesIO()
    Image.new("RGB", (16, 16)).save(bare, container.value)
    data, warnings = containers.put_carried(bare.getvalue(), container, carried)
    assert warnings == ()
    return data


def test_a_long_packet_goes_into_a_jpeg_whole_and_comes_back(tmp_path: Path) -> None:
    expected = read(written(Container.PNG, Carried(xmp=PACKET)), ".png", tmp_path)
    assert {"Rating", "City", "DocumentAncestors", "Title"} == expected.keys()
    data = written(Container.JPEG, Carried(xmp=PACKET))
    assert read(data, ".jpg", tmp_path) == expected
    carried, warnings = containers.get_carried(data, Container.JPEG)
    assert warnings == ()
    assert carried.xmp is not None
    assert len(carried.xmp) <= MOST
    assert b"Rating" in carried.xmp
    assert b"Cake" in carried.xmp
    for container in (Container.TIFF, Container.PNG):
        across, left = translated(carried, container)
        assert left == []
        assert read(written(container, across), container.suffix, tmp_path) == expected


def test_its_pieces_are_as_the_standard_asks() -> None:
    found = extended.split(PACKET, MOST)
    assert found is not None
    standard, longer = found
    name = extended.name_of(longer)
    assert b'HasExtendedXMP="' + name + b'"' in standard
    pieces = list(extended.pieces_of(longer))
    assert len(pieces) > 1
    assert all(len(piece) <= jpeg.MAX_PAYLOAD and piece[len(extended.SIGNATURE) :].startswith(name) for piece in pieces)
    assert extended.text_of([b"other", *reversed(pieces)]) == longer


def test_one_that_is_short_enough_is_left_as_it_is() -> None:
    short = PACKET.replace(LONG, b"").replace(b"Z\xc3\xbcrich " * 9000, b"")
    assert containers.get_carried(written(Container.JPEG, Carried(xmp=short)), Container.JPEG)[0].xmp == short


@pytest.mark.parametrize(
    "xmp", [b"x" * 70_000, PACKET[:-60], PACKET.replace(b"Description", b"Other"), b"<!DOCTYPE x>" + PACKET]
)
def test_one_that_cannot_be_split_is_left_out_with_a_warning(xmp: bytes) -> None:
    assert extended.split(xmp, MOST) is None
    bare = io.BytesIO()
    Image.new("RGB", (16, 16)).save(bare, "JPEG")
    _, warnings = containers.put_carried(bare.getvalue(), Container.JPEG, Carried(xmp=xmp))
    assert [text for text in warnings if "64 KB" in text] == list(warnings) != []


def test_one_property_that_is_too_long_by_itself_goes_into_the_extended_packet_alone() -> None:
    found = extended.split(PACKET, 2000)
    assert found is not None
    assert len(found[0]) <= 2000
    assert extended.split(PACKET, 200) is None


def test_a_pointer_that_is_an_element_is_followed_among_pieces_of_others(tmp_path: Path) -> None:
    """As exiftool writes it."""
    standard, longer = extended.split(PACKET, MOST) or (b"", b"")
    name = extended.name_of(longer)
    pointer = b'<n:HasExtendedXMP xmlns:n="http://ns.adobe.com/xmp/note/">' + name + b"</n:HasExtendedXMP>"
    element = standard.replace(b' xmpNote:HasExtendedXMP="' + name + b'"', b"")
    element = element.replace(b"</rdf:Description>", pointer + b"</rdf:Description>", 1)
    others = [*extended.pieces_of(longer[:-9]), *extended.pieces_of(longer), *extended.pieces_of(longer)]
    across, left = translated(Carried(xmp=element, others=tuple(("APP1", each) for each in others)), Container.PNG)
    assert left == []
    assert across.xmp is not None
    assert b"HasExtendedXMP" not in across.xmp
    expected = read(written(Container.PNG, Carried(xmp=PACKET)), ".png", tmp_path)
    assert read(written(Container.PNG, across), ".png", tmp_path) == expected
    again = extended.split(element, len(element) - 60)
    assert again is not None
    assert again[0].count(b"HasExtendedXMP") == 1


def test_ends_of_lines_in_values_stay_what_they_are() -> None:
    text = b"one&#xA;two&#x0D;&#10;three&#9;four &amp;#10;"
    packet = PACKET.replace(b'xmp:Rating="5"', b'xmp:Label="' + text + b'"').replace(b">Cake<", b">" + text + b"<")
    value = "one\ntwo\r\nthree\tfour &#10;"
    standard, longer = extended.split(packet, MOST) or (b"", b"")
    pieces = [("APP1", piece) for piece in extended.pieces_of(longer)]
    for xmp in (packet, standard, translated(Carried(xmp=standard, others=tuple(pieces)), Container.PNG)[0].xmp or b""):
        root = ElementTree.fromstring(xmp)
        assert [each.attrib[LABEL] for each in root.iter() if LABEL in each.attrib] == [value]
        assert [each.text for each in root.iter() if each.get("{http://www.w3.org/XML/1998/namespace}lang")] == [value]


def test_elements_within_elements_by_the_thousand_are_no_trouble() -> None:
    deep = PACKET.replace(LONG, b"<rdf:li>" * 3000 + b"</rdf:li>" * 3000)
    assert extended.split(deep, MOST) is None
    standard, longer = extended.split(PACKET, MOST) or (b"", b"")
    assert extended.joined(deep.replace(b'xmp:Rating="5"', b'xmp:Rating="5"'), extended.pieces_of(longer)) is None
    assert standard


@pytest.mark.parametrize("spoilt", ["name", "text", "packet"])
def test_an_extended_packet_that_is_not_the_one_named_is_left_out_with_a_warning(spoilt: str) -> None:
    standard, longer = extended.split(PACKET, MOST) or (b"", b"")
    if spoilt == "name":
        standard = standard.replace(extended.name_of(longer), b"0" * 32)
    elif spoilt == "text":
        longer = longer[:-100]
    else:
        standard = standard.replace(b"</x:xmpmeta>", b"")
    others = tuple(("APP1", piece) for piece in extended.pieces_of(longer))
    across, left = translated(Carried(xmp=standard, others=others), Container.PNG)
    assert across.xmp == standard
    assert left == ["extended XMP"]
