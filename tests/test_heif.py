"""AVIF and HEIC. Pillow (AVIF), pillow-heif (HEIC) and exiftool read and write what is compared."""

import contextlib
import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import piexif
import pillow_heif
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps

from bokehcli import containers, heic
from bokehcli.batch import open_batch
from bokehcli.containers import Malformed, boxes, heif, heif_put, items
from bokehcli.decode import decode_photo
from bokehcli.discover import Job
from bokehcli.encode import Encoding, encode_image
from bokehcli.errors import DecodeError, EncodeError, MissingDependency, UnsupportedPhoto
from bokehcli.metadata import attach_metadata
from bokehcli.opencv import cv2
from bokehcli.options import DecodeOptions, EncodeOptions, RunOptions
from bokehcli.photo import Carried, Container, Photo
from bokehcli.pixels import gathered, spread

H, W = 64, 96
ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<?xpacket begin=""?><x:xmpmeta xmlns:x="adobe:ns:meta/"></x:xmpmeta><?xpacket end="w"?>'
BOTH = pytest.mark.parametrize("container", [Container.AVIF, Container.HEIC])
EASY = DecodeOptions()


def exif(orientation: int | None = None) -> bytes:
    first: dict[int, object] = {piexif.ImageIFD.Make: b"Maker"}
    if orientation is not None:
        first[piexif.ImageIFD.Orientation] = orientation
    return piexif.dump({"0th": first, "Exif": {piexif.ExifIFD.FNumber: (28, 10), piexif.ExifIFD.MakerNote: b"notes" * 9}})[6:]


def smooth() -> np.ndarray:
    ramp = np.add.outer(np.arange(H) * 2, np.arange(W))
    return np.dstack([ramp, ramp // 2 + 40, 200 - ramp // 2]).astype(np.uint8)


def saved(container: Container, image: np.ndarray | None = None, orientation: int | None = None, **options: object) -> bytes:
    """As another program writes it."""
    out = io.BytesIO()
    picture = Image.fromarray(smooth() if image is None else image)
    kind = "AVIF" if container is Container.AVIF else "HEIF"
    picture.save(out, kind, quality=95, **{"exif": exif(orientation), "icc_profile": ICC, "xmp": XMP, **options})
    return out.getvalue()


def written(photo: Photo, container: Container) -> tuple[bytes, tuple[str, ...]]:
    encoding = Encoding(container=container, grey=photo.grey, bits=photo.bits)
    return attach_metadata(encode_image(photo.image, photo.opacity, encoding, "p"), container, photo)


def near(image: np.ndarray, expected: np.ndarray, most: float = 3.0) -> bool:
    return image.shape == expected.shape and float(np.abs(image.astype(float) - expected).mean()) < most


@BOTH
def test_a_photo_comes_back_with_all_its_metadata(container: Container, tmp_path: Path) -> None:
    photo = decode_photo(saved(container), "p", EASY)
    assert photo.container is container
    assert near(photo.image, smooth())
    assert (photo.carried.exif, photo.carried.icc, photo.carried.xmp) == (exif(), ICC, XMP)
    data, warnings = written(photo, container)
    assert warnings == ()
    seen = Image.open(io.BytesIO(data))
    assert near(np.asarray(seen.convert("RGB")), smooth())
    assert seen.info["icc_profile"] == ICC
    assert seen.info["xmp"] == XMP
    assert seen.getexif()[piexif.ImageIFD.Make] == "Maker"
    (tmp_path / f"p.{container}").write_bytes(data)
    for binary, expected in (("-XMP", XMP), ("-ICC_Profile", ICC)):
        assert subprocess.check_output(["exiftool", "-b", binary, tmp_path / f"p.{container}"]) == expected
    tags = subprocess.check_output(["exiftool", "-s3", "-Make", "-FNumber", "-Warning", tmp_path / f"p.{container}"])
    assert tags.decode().split() == ["Maker", "2.8"]


@BOTH
@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_are_turned_upright_once(container: Container, orientation: int) -> None:
    data = saved(container, orientation=orientation)
    photo = decode_photo(data, "p", EASY)
    seen = Image.open(io.BytesIO(data))
    upright = np.asarray(seen.convert("RGB") if container is Container.HEIC else _turned(seen))
    assert near(photo.image, upright)
    again, _ = written(photo, container)
    assert near(decode_photo(again, "p", EASY).image, upright)
    assert containers.read_orientation(containers.get_carried(again, container)[0].exif) == 1


def test_exif_that_exiftool_put_at_the_end_of_an_avif_is_no_reason_to_refuse_it(tmp_path: Path) -> None:
    path = tmp_path / "p.avif"
    path.write_bytes(encode_image(smooth(), None, Encoding(container=Container.AVIF), "p"))
    subprocess.check_call(["exiftool", "-q", "-overwrite_original", "-Make=Maker", "-XMP:Title=Hare", path])
    photo = decode_photo(path.read_bytes(), "p", EASY)
    assert near(photo.image, smooth())
    assert photo.carried.exif is not None
    assert b"Maker" in photo.carried.exif
    assert photo.carried.xmp is not None
    assert b"Hare" in photo.carried.xmp


def _turned(image: Image.Image) -> Image.Image:
    return ImageOps.exif_transpose(image).convert("RGB")


@BOTH
def test_an_orientation_in_exif_alone_turns_nothing(container: Container) -> None:
    photo = Photo(name="p", container=container, image=smooth(), carried=Carried(exif=exif(1)))
    data = written(photo, container)[0].replace(exif(1), exif(6))
    assert near(decode_photo(data, "p", EASY).image, smooth())


def test_a_picture_of_tiles_is_read_as_one() -> None:
    image = np.tile(smooth(), (4, 4, 1))
    data = saved(Container.HEIC, image, tile_size=128)
    assert items.read_meta(data).items[items.read_meta(data).primary].kind == b"grid"
    photo = decode_photo(data, "p", EASY)
    assert photo.warnings == ()
    assert photo.subsampling == "4:2:0"
    assert near(photo.image, image)


def test_a_profile_that_only_the_tiles_have_is_the_pictures() -> None:
    """So early iPhones wrote them; libheif, which pillow-heif is made of, sees it the same way."""
    data = bytearray(saved(Container.HEIC, np.tile(smooth(), (4, 4, 1)), tile_size=128))
    first = data.index(b"ipma") + 4 + 4 + 4  # item 1, three properties: size, bits, colours
    assert data[first : first + 3] == b"\0\1\3"
    data[first + 5] = data[first + 3]
    assert items.read_meta(bytes(data)).of(1, b"colr") == []
    assert pillow_heif.open_heif(bytes(data)).info["icc_profile"] == ICC
    assert decode_photo(bytes(data), "p", EASY).carried.icc == ICC


@pytest.mark.parametrize("subsampling", heic.SUBSAMPLINGS)
def test_colours_of_a_heic_stay_as_fine_as_they_were(subsampling: str) -> None:
    photo = decode_photo(saved(Container.HEIC, subsampling=subsampling), "p", EASY)
    assert photo.subsampling == subsampling
    encoding = Encoding(container=Container.HEIC, subsampling=photo.subsampling)
    data = encode_image(photo.image, None, encoding, "p")
    assert pillow_heif.open_heif(data).info["chroma"] == int(subsampling.replace(":", ""))
    assert near(decode_photo(data, "p", EASY).image, smooth())


@BOTH
def test_grey_stays_grey_and_opacity_stays(container: Container) -> None:
    grey = decode_photo(saved(container, smooth()[..., 0]), "p", EASY)
    assert grey.grey
    data, _ = written(grey, container)
    assert heif.is_grey(data)
    assert decode_photo(data, "p", EASY).grey
    opacity = np.tile(np.linspace(0, 255, W).astype(np.uint8), (H, 1))
    clear = decode_photo(saved(container, np.dstack((smooth(), opacity))), "p", EASY)
    assert clear.opacity is not None
    assert clear.warnings == ()
    again = Image.open(io.BytesIO(written(clear, container)[0]))
    assert again.mode == "RGBA"
    assert near(np.asarray(again)[..., 3], opacity)


@pytest.mark.parametrize(("bits", "container"), [(10, Container.AVIF), (12, Container.AVIF), (10, Container.HEIC)])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_deep_colours_stay_deep(bits: int, container: Container, channels: int) -> None:
    levels = np.linspace(0, (1 << bits) - 1, W).astype(np.uint16)
    image = np.dstack([np.tile(levels, (H, 1))] * channels).squeeze()
    if container is Container.AVIF:
        data = cv2.imencode(".avif", image, [cv2.IMWRITE_AVIF_DEPTH, bits, cv2.IMWRITE_AVIF_QUALITY, 95])[1].tobytes()
    else:
        mode = {1: "I;16", 3: "RGB;16", 4: "RGBA;16"}[channels]
        out = io.BytesIO()
        pillow_heif.from_bytes(mode, (W, H), (image << (16 - bits)).tobytes()).save(out, quality=95)
        data = out.getvalue()
    photo = decode_photo(data, "p", EASY)
    assert (photo.bits, photo.image.dtype) == (bits, np.uint16)
    assert photo.image.max() > 65535 * 0.995
    again = decode_photo(written(photo, container)[0], "p", EASY)
    assert again.bits == bits
    assert near(again.image, photo.image, 65535 * 0.004)
    assert len(np.unique(again.image)) > 80  # in 8 bits a ramp of 96 steps would have them too; but not these values
    assert np.any(again.image % 257)


@BOTH
@pytest.mark.parametrize("orientation", [1, 6])
def test_odd_sizes_come_back_as_they_were(container: Container, orientation: int) -> None:
    image = smooth()[: H - 1, : W - 3]
    photo = decode_photo(saved(container, image, orientation), "p", EASY)
    expected = image if orientation == 1 else np.rot90(image, -1)
    assert near(photo.image, expected)
    again = written(photo, container)[0]
    assert containers.declared_size(again, container) == expected.shape[:2]
    assert near(decode_photo(again, "p", EASY).image, expected)


def test_a_crop_that_hides_a_large_picture_is_refused() -> None:
    data = bytearray(saved(Container.HEIC, smooth()[: H - 1]))
    at = data.index(b"ispe") + 8
    data[at : at + 8] = (30_000).to_bytes(4, "big") * 2
    with pytest.raises(DecodeError, match="crops"):
        decode_photo(bytes(data), "p", EASY)


@pytest.mark.parametrize("bits", [8, 10, 12])
def test_spreading_and_gathering_are_inverse(bits: int) -> None:
    samples = np.arange(1 << bits, dtype=np.uint16)
    assert np.array_equal(gathered(spread(samples, bits), bits), samples)
    assert spread(samples, bits)[-1] == 65535


@BOTH
@pytest.mark.parametrize("target", sorted(set(Container) - {Container.BMP}))
def test_metadata_follow_into_other_containers(container: Container, target: Container) -> None:
    photo = decode_photo(saved(container), "p", EASY)
    carried = containers.get_carried(written(photo, target)[0], target)[0]
    assert carried.icc == ICC
    assert carried.xmp == XMP
    assert carried.exif is not None
    assert piexif.load(b"Exif\0\0" + carried.exif)["0th"][piexif.ImageIFD.Make] == b"Maker"


def test_further_pictures_are_named_when_left_out() -> None:
    second = Image.fromarray(smooth()[::-1])
    photo = decode_photo(saved(Container.HEIC, save_all=True, append_images=[second]), "p", EASY)
    assert near(photo.image, smooth())
    assert photo.warnings == ("only the main one of its 2 pictures is rendered",)


def test_auxiliary_pictures_are_named_when_left_out_but_for_opacity() -> None:
    data = saved(Container.HEIC, np.dstack((smooth(), smooth()[..., 0])))
    urn = next(urn for urn in heif.ALPHA_URNS if urn in data)
    other = b"urn:com:apple:photo:2020:aux:hdrgainmap"[: len(urn)].ljust(len(urn), b"x")
    _, warnings = containers.get_carried(data.replace(urn, other), Container.HEIC)
    assert "auxiliary" in warnings[0]
    assert containers.get_carried(data, Container.HEIC)[1] == ()


def test_sequences_are_refused() -> None:
    out = io.BytesIO()
    frames = [Image.fromarray(smooth()), Image.fromarray(smooth()[::-1])]
    frames[0].save(out, "AVIF", save_all=True, append_images=frames[1:])
    with pytest.raises(UnsupportedPhoto, match="animated"):
        decode_photo(out.getvalue(), "p", EASY)


def test_grey_with_opacity_in_an_avif_is_refused_by_that_name() -> None:
    """Its colours are passed off as grey, for no writer at hand makes such a file; nor does OpenCV read it then."""
    data = bytearray(saved(Container.AVIF, np.dstack((smooth(), smooth()[..., 0]))))
    data[data.index(b"av1C") + 6] |= 0x10
    assert heif.is_grey(bytes(data))
    with pytest.raises(UnsupportedPhoto, match="grey AVIF with opacity"):
        decode_photo(bytes(data), "p", EASY)


NUMBERS = [(9, 16, "PQ"), (9, 18, "HLG"), (12, 13, "colours are named"), *((1, of, "tone curve") for of in (4, 5, 8, 11, 17))]


@pytest.mark.parametrize(("primaries", "transfer", "reason"), NUMBERS)
def test_colours_that_could_not_be_kept_are_refused(primaries: int, transfer: int, reason: str) -> None:
    data = bytearray(encode_image(smooth(), None, Encoding(container=Container.AVIF), "p"))
    at = data.index(b"nclx") + 4
    data[at : at + 4] = bytes((0, primaries, 0, transfer))
    with pytest.raises(UnsupportedPhoto, match=reason):
        decode_photo(bytes(data), "p", EASY)


@pytest.mark.parametrize("transfer", [1, 2, 6, 13, 14, 15])
def test_tone_curves_that_are_like_srgb_are_read(transfer: int) -> None:
    data = bytearray(encode_image(smooth(), None, Encoding(container=Container.AVIF), "p"))
    at = data.index(b"nclx") + 4
    data[at : at + 4] = bytes((0, 1, 0, transfer))
    assert near(decode_photo(bytes(data), "p", EASY).image, smooth())


def test_a_profile_counts_more_than_the_number_of_a_tone_curve() -> None:
    data = bytearray(saved(Container.AVIF))
    at = data.index(b"nclx") + 4
    data[at : at + 4] = bytes((0, 1, 0, 8))
    assert decode_photo(bytes(data), "p", EASY).carried.icc == ICC


@BOTH
def test_size_is_held_to_the_limit_before_decoding(container: Container) -> None:
    data = bytearray(saved(container))
    at = data.index(b"ispe") + 8
    data[at : at + 8] = (60_000).to_bytes(4, "big") * 2
    with pytest.raises(UnsupportedPhoto, match=r"3600\.0 megapixels"):
        decode_photo(bytes(data), "p", EASY)


@BOTH
def test_every_cut_is_an_error(container: Container) -> None:
    data = saved(container)
    for end in range(16, len(data), 7):
        with pytest.raises(DecodeError):
            decode_photo(data[:end], "p", EASY)


@pytest.mark.parametrize(("kind", "at"), [(b"meta", 4), (b"hvcC", 0)])
def test_a_heic_that_libheif_makes_nothing_of_is_an_error(kind: bytes, at: int) -> None:
    data = bytearray(SAMPLES[Container.HEIC])
    data[data.index(kind) + at] = 127
    with pytest.raises(DecodeError, match="p: the picture"):
        decode_photo(bytes(data), "p", EASY)


@BOTH
@settings(max_examples=150)
@given(data=st.data())
def test_damaged_files_raise_nothing_but_our_own_error(container: Container, data: st.DataObject) -> None:
    damaged = bytearray(SAMPLES[container])
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, min(len(damaged), 1400) - 1))] = data.draw(st.sampled_from([0, 1, 2, 127, 128, 255]))
    photo = bytes(damaged)
    for read in READERS:
        with contextlib.suppress(Malformed):
            read(photo)
    with contextlib.suppress(Malformed):
        heif_put.put(photo, Carried(exif=exif(), icc=ICC, xmp=XMP))


@BOTH
def test_boxes_come_back_as_they_were(container: Container) -> None:
    data = SAMPLES[container]
    read = boxes.parse(data)
    assert boxes.serialise(read) == data
    meta = items.read_meta(data)
    assert boxes.serialise(meta.children) == meta.box.payload[4:]


@given(st.lists(st.tuples(st.binary(min_size=4, max_size=4), st.binary(max_size=40), st.booleans()), max_size=6))
def test_any_row_of_boxes_comes_back_as_it_was(row: list[tuple[bytes, bytes, bool]]) -> None:
    data = b"".join(
        b"\0\0\0\1" + kind + (16 + len(payload)).to_bytes(8, "big") + payload if wide else boxes.made(kind, payload)
        for kind, payload, wide in row
    )
    read = boxes.parse(data)
    assert [(box.kind, box.payload) for box in read] == [(kind, payload) for kind, payload, _ in row]
    assert boxes.serialise(read) == data


@pytest.mark.parametrize("carried", [Carried(), Carried(exif=exif()), Carried(icc=ICC), Carried(xmp=XMP)])
@BOTH
def test_blocks_can_be_put_one_by_one_and_again(container: Container, carried: Carried) -> None:
    bare = encode_image(smooth(), None, Encoding(container=container), "p")
    data, warnings = heif_put.put(bare, carried)
    assert warnings == ()
    assert heif.get(data)[0] == carried
    assert near(np.asarray(Image.open(io.BytesIO(data)).convert("RGB")), smooth())
    more, _ = heif_put.put(data, Carried(xmp=b"<more/>"))
    assert near(np.asarray(Image.open(io.BytesIO(more)).convert("RGB")), smooth())


def test_without_pillow_heif_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(UnsupportedPhoto, match=r"p: .*bokehcli\[heic\]"):
        decode_photo(SAMPLES[Container.HEIC], "p", EASY)
    with pytest.raises(EncodeError, match=r"p: .*bokehcli\[heic\]"):
        heic.encode(smooth(), 90, None, "p")


@BOTH
def test_the_command_takes_and_gives_them(container: Container, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with Image.open(photos / "chelsea.jpg") as photo:
        photo.save(tmp_path / "in" / f"cat.{container}", exif=exif(), icc_profile=ICC)
    command = [sys.executable, "-m", "bokehcli", "run", tmp_path / "in", "--out", tmp_path / "out"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path / 'out' / f'cat.{container}'}\n"
    result = decode_photo((tmp_path / "out" / f"cat.{container}").read_bytes(), "p", EASY)
    assert result.container is container
    assert result.carried.icc == ICC
    assert b"shallow depth of field" in (result.carried.xmp or b"")
    assert 1 < np.abs(result.image.astype(int) - np.asarray(photo)).mean() < 30  # blurred, and still that photo


def test_heic_that_cannot_be_written_is_said_before_the_first_photo(
    monkeypatch: pytest.MonkeyPatch, photos: Path, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    options = RunOptions(encode=EncodeOptions(container=Container.HEIC))
    job = Job(source=photos / "chelsea.jpg", destination=tmp_path / "cat.heic")
    with pytest.raises(MissingDependency, match="pip install"):
        open_batch([job], options, lambda _: None, lambda _: None)


def test_avif_that_cannot_be_written_is_said_before_the_first_photo(
    monkeypatch: pytest.MonkeyPatch, photos: Path, tmp_path: Path
) -> None:
    monkeypatch.setattr(cv2, "haveImageWriter", lambda suffix: suffix != ".avif")
    job = Job(source=photos / "chelsea.jpg", destination=tmp_path / "cat.avif")
    for container in (Container.AVIF, Container.JPEG, None):
        options = RunOptions(encode=EncodeOptions(container=container))
        if container is Container.AVIF:
            with pytest.raises(MissingDependency, match="OpenCV that is installed writes no AVIF"):
                open_batch([job], options, lambda _: None, lambda _: None)
        else:
            open_batch([job], options, lambda _: None, lambda _: None).close()


READERS = (
    heif.size,
    heif.orientation,
    heif.get,
    heif.is_animated,
    heif.is_complete,
    heif.refusal,
    heif.bits,
    heif.is_grey,
    heif.for_decoder,
    heif.subsampling,
)
SAMPLES = {container: saved(container) for container in (Container.AVIF, Container.HEIC)}
