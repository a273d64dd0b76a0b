"""bokehcli.encode: pixels -> bytes. Pillow and tifffile read what it writes."""

import io
import os
import subprocess
import sys

import numpy as np
import pytest
import tifffile
from PIL import Image

from bokehcli import containers
from bokehcli.containers import jpeg, webp
from bokehcli.decode import decode_photo
from bokehcli.encode import Encoding, encode_image, encode_map, encoding_losses
from bokehcli.errors import EncodeError
from bokehcli.opencv import cv2
from bokehcli.options import DecodeOptions
from bokehcli.photo import Container, Photo
from bokehcli.pixels import to_8_bits

H, W = 20, 31
LOSSLESS = [Container.PNG, Container.TIFF, Container.WEBP]


def noise(channels=3, dtype=np.uint8, seed=0):
    shape = (H, W) if channels == 1 else (H, W, channels)
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


def smooth():
    ramp = np.add.outer(np.arange(H) * 5, np.arange(W) * 3)
    return np.dstack([ramp, ramp // 2 + 40, 200 - ramp // 2]).astype(np.uint8)


def encode(image, container, opacity=None, **options):
    return encode_image(image, opacity, Encoding(container=container, **options), "photo")


def decode(data):
    return decode_photo(data, "photo", DecodeOptions())


@pytest.mark.parametrize("container", [*LOSSLESS, Container.BMP])
def test_lossless_containers_give_the_pixels_back(container):
    data = encode(noise(), container)
    assert containers.sniff(data) is container
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data)).convert("RGB")), noise())
    assert np.array_equal(decode(data).image, noise())


@pytest.mark.parametrize("with_pillow", [True, False])
def test_lossless_webp_keeps_what_nobody_sees_too(with_pillow, monkeypatch):
    if not with_pillow:
        monkeypatch.setitem(sys.modules, "PIL", None)
    pixels = noise(4)
    pixels[:8, :, 3] = 0  # fully transparent, and coloured
    data = encode(pixels[..., :3], Container.WEBP, pixels[..., 3])
    photo = decode(data)
    assert webp.quality(data) is None
    assert np.array_equal(photo.opacity, pixels[..., 3])
    seen = slice(None) if with_pillow or hasattr(cv2, "IMWRITE_WEBP_LOSSLESS_PRESERVE_COLOR") else slice(8, None)
    assert np.array_equal(photo.image[seen], pixels[seen, :, :3])


def test_a_picture_too_large_for_webp_is_told_of():
    with pytest.raises(EncodeError, match="20000 x 2 pixels cannot be encoded as webp"):
        encode(np.zeros((2, 20_000, 3), np.uint8), Container.WEBP)


@pytest.mark.parametrize("container", [Container.PNG, Container.TIFF])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_16_bits_are_kept_by_png_and_tiff(container, channels):
    pixels = noise(4, np.uint16)
    image = np.dstack([pixels[..., 0]] * 3) if channels == 1 else pixels[..., :3]
    opacity = pixels[..., 3] if channels == 4 else None
    photo = decode(encode(image, container, opacity, grey=channels == 1))
    assert photo.image.dtype == np.uint16
    assert np.array_equal(photo.image, image)
    assert photo.grey == (channels == 1)
    assert (photo.opacity is None) == (opacity is None)
    assert opacity is None or np.array_equal(photo.opacity, opacity)


@pytest.mark.parametrize("container", LOSSLESS)
def test_opacity_is_kept_with_the_colours_below_it(container):
    opacity = noise(1) * (noise(1, seed=2) > 99)
    data = encode(noise(), container, opacity)
    photo = decode(data)
    assert np.array_equal(photo.opacity, opacity)
    can_keep = container is not Container.WEBP or hasattr(cv2, "IMWRITE_WEBP_LOSSLESS_PRESERVE_COLOR")
    kept = opacity >= (0 if can_keep else 1)
    assert np.array_equal(photo.image[kept], noise()[kept])
    assert Image.open(io.BytesIO(data)).mode == "RGBA"


def test_tiff_says_that_its_opacity_is_straight_and_is_compressed_without_loss():
    page = tifffile.TiffFile(io.BytesIO(encode(noise(), Container.TIFF, noise(1)))).pages[0]
    assert page.extrasamples == (tifffile.EXTRASAMPLE.UNASSALPHA,)
    assert page.compression == tifffile.COMPRESSION.ADOBE_DEFLATE
    assert np.array_equal(page.asarray(), np.dstack((noise(), noise(1))))


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_an_unspecified_channel_stays_that_in_tiff_and_goes_elsewhere(dtype, grey):
    image, channel = np.dstack([noise(1, dtype)] * 3) if grey else noise(3, dtype), noise(1, dtype, seed=2)
    page = tifffile.TiffFile(io.BytesIO(encode(image, Container.TIFF, channel, grey=grey, unspecified=True))).pages[0]
    assert page.extrasamples == (tifffile.EXTRASAMPLE.UNSPECIFIED,)
    assert np.array_equal(page.asarray(), np.dstack((image[..., 0] if grey else image, channel)))
    photo = Photo(name="p", container=Container.TIFF, image=image, opacity=channel, unspecified=True)
    assert encoding_losses(photo, Container.TIFF) == ()
    for container in (Container.PNG, Container.WEBP, Container.JPEG):
        assert encode(image, container, channel, grey=grey, unspecified=True) == encode(image, container, grey=grey)
        assert "left out" in "".join(encoding_losses(photo, container))


@pytest.mark.parametrize("container", [Container.JPEG, Container.BMP])
def test_opacity_is_dropped_where_there_is_no_room(container):
    assert encode(noise(), container, noise(1)) == encode(noise(), container)


@pytest.mark.parametrize("container", [Container.JPEG, Container.PNG, Container.TIFF, Container.BMP])
def test_grey_is_written_as_grey(container):
    image = np.dstack([smooth()[..., 0]] * 3)
    written = Image.open(io.BytesIO(encode(image, container, grey=True, quality=95)))
    assert written.mode == "L"
    assert np.abs(np.asarray(written).astype(int) - image[..., 0]).max() <= 4


@pytest.mark.parametrize("container", [Container.PNG, Container.TIFF])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_is_written_as_grey_beside_opacity(container, dtype):
    grey, opacity = noise(1, dtype), noise(1, dtype, seed=2)
    data = encode(np.dstack([grey] * 3), container, opacity, grey=True)
    photo = decode(data)
    assert photo.grey
    assert np.array_equal(photo.image, np.dstack([grey] * 3))
    assert np.array_equal(photo.opacity, opacity)
    if container is Container.TIFF:
        page = tifffile.TiffFile(io.BytesIO(data)).pages[0]
        assert page.extrasamples == (tifffile.EXTRASAMPLE.UNASSALPHA,)
        assert np.array_equal(page.asarray(), np.dstack((grey, opacity)))
    else:
        assert data[25] == 4  # of the header: grey with opacity
        if dtype == np.uint8:
            assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), np.dstack((grey, opacity)))


def test_grey_with_opacity_is_written_at_any_size():
    for shape in ((1, 1), (1, 9), (9, 1), (300, 2)):
        grey = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        for container in (Container.PNG, Container.TIFF):
            photo = decode(encode(np.dstack([grey] * 3), container, 255 - grey, grey=True))
            assert np.array_equal(photo.image[..., 0], grey)
            assert np.array_equal(photo.opacity, 255 - grey)


def floats(channels=3):
    """From -1 to 3."""
    return np.random.default_rng(5).random((H, W, channels), np.float32) * 4.0 - 1.0


@pytest.mark.parametrize("opaque", [True, False])
@pytest.mark.parametrize("grey", [True, False])
def test_a_tiff_keeps_floats(grey, opaque):
    image = np.dstack([floats(1)] * 3) if grey else floats()
    opacity = None if opaque else floats(4)[..., 3]
    photo = decode(encode(image, Container.TIFF, opacity, grey=grey))
    assert photo.image.dtype == np.float32
    assert photo.grey == grey
    assert np.array_equal(photo.image, image)
    assert opaque or np.array_equal(photo.opacity, opacity)
    assert encoding_losses(photo, Container.TIFF) == ()


@pytest.mark.parametrize("container", [kind for kind in Container if kind is not Container.TIFF])
def test_floats_are_cut_off_where_there_is_no_room_and_that_is_said(container):
    photo = Photo(name="photo", container=Container.TIFF, image=floats(), bits=32)
    assert "holds no floats" in encoding_losses(photo, container)[0]
    deep = np.rint(np.clip(floats(), 0.0, 1.0) * 65535.0).astype(np.uint16)
    if container not in (Container.AVIF, Container.HEIC):
        shallow = deep if container is Container.PNG else np.rint(np.clip(floats(), 0.0, 1.0) * 255.0).astype(np.uint8)
        assert encode(floats(), container) == encode(shallow, container)


@pytest.mark.parametrize("container", [Container.JPEG, Container.WEBP, Container.BMP])
def test_16_bits_become_8_by_the_nearest(container):
    deep = smooth().astype(np.uint16) * 257 + np.random.default_rng(0).integers(-128, 129, smooth().shape)
    deep = np.clip(deep, 0, 65535).astype(np.uint16)
    assert np.array_equal(to_8_bits(deep), smooth())
    assert encode(deep, container) == encode(smooth(), container)


def test_rounding_to_8_bits_is_exact_for_every_value():
    every = np.arange(65536, dtype=np.uint16)
    assert np.array_equal(to_8_bits(every), np.rint(every / 257).astype(np.uint8))
    assert to_8_bits(smooth()) is not None
    assert np.array_equal(to_8_bits(smooth()), smooth())


@pytest.mark.parametrize("quality", [1, 30, 75, 100])
def test_quality_is_what_is_asked_for(quality):
    assert jpeg.quality(encode(smooth(), Container.JPEG, quality=quality)) == quality
    assert webp.quality(encode(smooth(), Container.WEBP, quality=quality)) is not None
    assert jpeg.quality(encode(smooth(), Container.JPEG)) == 92
    assert webp.quality(encode(smooth(), Container.WEBP)) is None


SAMPLINGS = [(95, None, "4:4:4"), (80, None, "4:2:0"), (95, "4:2:0", "4:2:0"), (80, "4:2:2", "4:2:2"),
             (80, "4:4:0", "4:4:0"), (80, "4:1:1", "4:1:1")]  # fmt: skip


@pytest.mark.parametrize(("quality", "asked", "written"), SAMPLINGS)
def test_subsampling_is_kept_or_chosen(quality, asked, written):
    assert jpeg.subsampling(encode(smooth(), Container.JPEG, quality=quality, subsampling=asked)) == written


def test_colours_are_not_swapped():
    red = np.zeros((16, 16, 3), np.uint8) + np.array([200, 10, 10], np.uint8)
    for container in Container:
        seen = np.asarray(Image.open(io.BytesIO(encode(red, container))).convert("RGB"))
        assert np.abs(seen.astype(int) - red).max() <= 3, container


def test_a_turned_view_is_encoded_as_it_is_seen():
    view = noise().swapaxes(0, 1)[::-1]
    assert np.array_equal(decode(encode(view, Container.PNG)).image, view)


def test_map_is_an_8_bit_grey_png():
    values = np.array([[0, 128, 255], [0, 255, 0]], np.uint8)
    written = Image.open(io.BytesIO(encode_map(values)))
    assert (written.format, written.mode) == ("PNG", "L")
    assert np.array_equal(written, values)


@pytest.mark.parametrize("optimised", [False, True])
def test_huffman_codes_are_made_for_a_jpeg_where_they_were(optimised):
    """Twice the time for some percent: the photo's own choice."""
    source = io.BytesIO()
    Image.fromarray(smooth()).save(source, "JPEG", optimize=optimised)
    photo = decode_photo(source.getvalue(), "a.jpg", DecodeOptions())
    assert photo.optimised is optimised
    written = encode(photo.image, Container.JPEG, optimised=photo.optimised)
    assert jpeg.has_usual_codes(written) is not optimised


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("grey", [False, True])
def test_a_progressive_jpeg_stays_one(progressive, grey):
    source = io.BytesIO()
    Image.fromarray(smooth()[..., 0] if grey else smooth()).save(source, "JPEG", progressive=progressive)
    photo = decode(source.getvalue())
    assert photo.progressive is progressive
    written = encode(photo.image, Container.JPEG, grey=grey, progressive=photo.progressive)
    assert bool(Image.open(io.BytesIO(written)).info.get("progressive")) is progressive


@pytest.mark.parametrize(("container", "width"), [(Container.WEBP, 17000), (Container.JPEG, 66000)])
def test_a_picture_too_large_for_its_container_is_an_encode_error(container, width):
    with pytest.raises(EncodeError, match="photo"):
        encode(np.zeros((2, width, 3), np.uint8), container)


def test_losses_are_told():
    photo = Photo(name="p", container=Container.PNG, image=noise(3, np.uint16), opacity=noise(1, np.uint16), bits=16)
    assert len(encoding_losses(photo, Container.JPEG)) == 2
    assert len(encoding_losses(photo, Container.WEBP)) == 1
    assert encoding_losses(photo, Container.TIFF) == ()
    assert encoding_losses(photo, Container.AVIF) == ("AVIF holds 12 bits a channel: rounded from 16",)
    assert encoding_losses(photo, Container.HEIC) == ("HEIC holds 10 bits a channel: rounded from 16",)


def test_without_opencv_the_error_says_how_to_get_it(tmp_path):
    (tmp_path / "cv2.py").write_text("raise ImportError('libGL.so.1: cannot open shared object file')")
    code = """
from bokehcli.errors import MissingDependency
try:
    import bokehcli.opencv
except MissingDependency as error:
    print(error)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert "libGL.so.1" in done.stdout
    assert "opencv-python-headless" in done.stdout
    assert done.stdout.count("\n") == 1
