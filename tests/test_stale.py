"""XMP of telephones: what describes a gain map or a video goes, everything else stays. exiftool reads both."""

import io
import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bokehcli import containers
from bokehcli.containers import extended
from bokehcli.containers.stale import OLD_PIXELS_WARNING, is_stale, is_well_formed, without_stale
from bokehcli.encode import Encoding, encode_image
from bokehcli.photo import Carried, Container

START = b'<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
RDF = b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
END = b'</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
# A motion photo with an Ultra HDR gain map, as Android's format asks; rated and titled by its owner.
TELEPHONE = (
    START + RDF + b'<rdf:Description rdf:about="" xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" '
    b'xmlns:GCamera="http://ns.google.com/photos/1.0/camera/" xmlns:dc="http://purl.org/dc/elements/1.1/" '
    b'xmlns:C="http://ns.google.com/photos/1.0/container/" xmlns:Item="http://ns.google.com/photos/1.0/container/item/" '
    b'xmlns:xmp="http://ns.adobe.com/xap/1.0/" hdrgm:Version="1.0" GCamera:MotionPhoto="1" GCamera:MotionPhotoVersion="1" '
    b"GCamera:MotionPhotoPresentationTimestampUs='968644' GCamera:PortraitVersion=\"2\" xmp:Rating=\"5\">"
    b"<C:Directory><rdf:Seq>"
    b'<rdf:li rdf:parseType="Resource"><C:Item Item:Semantic="Primary" Item:Mime="image/jpeg"/></rdf:li>'
    b'<rdf:li rdf:parseType="Resource"><C:Item Item:Semantic="GainMap" Item:Mime="image/jpeg" Item:Length="66171"/></rdf:li>'
    b"</rdf:Seq></C:Directory>"
    b'<dc:title><rdf:Alt><rdf:li xml:lang="x-default">Hare</rdf:li></rdf:Alt></dc:title>'
    b"</rdf:Description>" + END
)
PLAIN = START + RDF + b'<rdf:Description xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="5"/>' + END
NOTE = b'xmlns:xmpNote="http://ns.adobe.com/xmp/note/" xmpNote:HasExtendedXMP="' + b"0" * 32 + b'"'
KEPT = {"Rating": 5, "Title": "Hare", "PortraitVersion": 2}


def read(path: Path) -> dict[str, object]:
    tags = json.loads(subprocess.check_output(["exiftool", "-j", "-struct", "-XMP:all", "-Warning", "-Error", path]))[0]
    return {name: value for name, value in tags.items() if name not in ("SourceFile", "XMPToolkit")}


def jpeg_of(xmp: bytes, others: tuple[tuple[str, bytes], ...] = ()) -> bytes:
    bare = io.BytesIO()
    Image.new("RGB", (16, 16)).save(bare, "JPEG")
    return containers.put_carried(bare.getvalue(), Container.JPEG, Carried(xmp=xmp, others=others))[0]


def test_a_telephones_xmp_keeps_what_its_owner_wrote(tmp_path: Path) -> None:
    assert is_stale(TELEPHONE)
    source, result = tmp_path / "a.jpg", tmp_path / "b.jpg"
    source.write_bytes(jpeg_of(TELEPHONE))
    before = read(source)
    assert before.items() >= KEPT.items()
    assert len(before) > len(KEPT)
    carried, warnings = containers.get_carried(source.read_bytes(), Container.JPEG)
    assert warnings == (OLD_PIXELS_WARNING,)
    assert carried.xmp is not None
    assert not is_stale(carried.xmp)
    result.write_bytes(jpeg_of(carried.xmp))
    assert read(result) == KEPT


@pytest.mark.parametrize("container", sorted(set(Container) - {Container.BMP, Container.JPEG}))
def test_it_is_taken_out_in_every_container(container: Container) -> None:
    pixels = np.zeros((64, 64, 3), np.uint8)
    bare = encode_image(pixels, None, Encoding(container=container), "p")
    data, _ = containers.put_carried(bare, container, Carried(xmp=TELEPHONE))
    carried, warnings = containers.get_carried(data, container)
    assert warnings == (OLD_PIXELS_WARNING,)
    assert b"Rating" in (carried.xmp or b"")
    assert not is_stale(carried.xmp or b"")


CAMERAS = {
    "oplus": b'MotionPhotoOwner="oplus" %s:OLivePhotoVersion="2" %s:VideoLength="99" %s:MotionPhotoEnable="True"',
    "vivo": b'VMotionPhotoVersion="1" %s:VMediaKitVersion="1.0.0.5"',
    "xiaomi": b'XMPMeta="&lt;subimage offset=&quot;99&quot;/&gt;"',
}


@pytest.mark.parametrize("maker", sorted(CAMERAS))
def test_what_other_telephones_say_of_a_video_goes_and_nothing_else(maker: str, tmp_path: Path) -> None:
    names = CAMERAS[maker].replace(b"%s", b"Cam")
    camera = b'xmlns:Cam="http://ns.' + maker.encode() + b'.com/photos/1.0/camera/" Cam:' + names
    packet = TELEPHONE.replace(b'GCamera:MotionPhoto="1"', camera)
    assert is_stale(PLAIN.replace(b'xmp:Rating="5"', b'xmp:Rating="5" ' + camera))
    carried, warnings = containers.get_carried(jpeg_of(packet), Container.JPEG)
    assert warnings == (OLD_PIXELS_WARNING,)
    assert carried.xmp is not None
    result = tmp_path / "b.jpg"
    result.write_bytes(jpeg_of(carried.xmp))
    assert read(result) == KEPT


def test_what_only_talks_of_videos_stays() -> None:
    subject = b"<dc:subject xmlns:dc='http://purl.org/dc/elements/1.1/'><rdf:Bag><rdf:li>MotionPhoto</rdf:li></rdf:Bag></dc:subject>"
    packet = PLAIN.replace(b' xmp:Rating="5"/>', b' xmp:Rating="5">' + subject + b"</rdf:Description>")
    assert is_well_formed(packet)
    carried, warnings = containers.get_carried(jpeg_of(packet), Container.JPEG)
    assert (carried.xmp, warnings) == (packet, ())
    left = without_stale(TELEPHONE.replace(b"Hare", b"MicroVideo"))
    assert left is not None
    assert b">MicroVideo<" in left


def test_extended_xmp_that_says_nothing_of_old_pixels_stays_beside_a_gain_map(tmp_path: Path) -> None:
    longer, short = tmp_path / "long.txt", tmp_path / "a.jpg"
    longer.write_text("x" * 150_000, "ascii")
    short.write_bytes(jpeg_of(TELEPHONE))
    subprocess.check_call(["exiftool", "-q", "-overwrite_original", f"-XMP-photoshop:History<={longer}", short])
    carried, warnings = containers.get_carried(short.read_bytes(), Container.JPEG)
    assert warnings == (OLD_PIXELS_WARNING,)
    short.write_bytes(jpeg_of(carried.xmp or b"", carried.others))
    tags = read(short)
    assert tags.pop("HasExtendedXMP")
    assert tags == {**KEPT, "History": "x" * 150_000}


def test_extended_xmp_with_a_depth_map_goes_and_so_does_the_pointer_to_it() -> None:
    packet = PLAIN.replace(b' xmp:Rating="5"', b' xmp:Rating="5" ' + NOTE)
    assert not is_stale(packet)
    head = extended.SIGNATURE + b"0" * 40
    for uri, kept in ((b"http://ns.google.com/photos/1.0/depthmap/", False), (b"http://example.org/", True)):
        data = jpeg_of(packet, (("APP1", head + b'<x xmlns:d="' + uri + b'"/>'),))
        carried, warnings = containers.get_carried(data, Container.JPEG)
        assert (b"HasExtendedXMP" in (carried.xmp or b"")) is kept
        assert any(payload.startswith(extended.SIGNATURE) for _, payload in carried.others) is kept
        assert (warnings == ()) is kept
        assert b"Rating" in (carried.xmp or b"")


@pytest.mark.parametrize("xmp", [TELEPHONE[:-60], TELEPHONE.replace(b"</C:Directory>", b""),
                                 TELEPHONE.replace(b"<C:Directory>", b"<C:Directory/>")])  # fmt: skip
def test_what_cannot_be_taken_out_cleanly_goes_as_a_whole(xmp: bytes) -> None:
    assert without_stale(xmp) is None
    carried, warnings = containers.get_carried(jpeg_of(xmp), Container.JPEG)
    assert carried.xmp is None
    assert "and the XMP" in warnings[0]


def test_blanks_by_the_megabyte_are_no_trouble() -> None:
    padded = TELEPHONE.replace(b"<dc:title>", b" " * 1_000_000 + b"<dc:title>")
    left = without_stale(padded)
    assert left is not None
    assert b"Hare" in left


def test_xmp_of_another_kind_does_not_change() -> None:
    assert not is_stale(PLAIN)
    assert without_stale(PLAIN) == PLAIN
    assert is_well_formed(PLAIN)


@given(st.lists(st.sampled_from([TELEPHONE[i : i + 40] for i in range(0, len(TELEPHONE), 40)]), max_size=40))
def test_any_text_gives_clean_text_or_none(parts: list[bytes]) -> None:
    left = without_stale(b"".join(parts))
    assert left is None or (is_well_formed(left) and not is_stale(left))


@pytest.mark.parametrize(
    "xmp",
    [
        b'<x xmlns:GCamera="http://ns.google.com/photos/1.0/camera/">' + b"<GCamera:MotionPhoto >" * 100_000,
        b'<x xmlns:GCamera="http://ns.google.com/photos/1.0/camera/"><!--' + b"<GCamera:MotionPhoto >" * 100_000 + b"--></x>",
        b"<x" + b"".join(b' xmlns:p%d="http://ns.adobe.com/hdr-gain-map/1.0/"' % n for n in range(10_000)) + b"/>",
        b"<x MotionPhoto='' " + b" " * 1_000_000,
    ],
)
def test_what_is_made_to_take_long_goes_at_once(xmp: bytes) -> None:
    """Patterns alone took minutes to hours for it."""
    assert without_stale(xmp) is None
