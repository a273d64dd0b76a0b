"""One photo through the stages: order, policy, and that nothing that goes wrong escapes as an exception."""

import io
import os
import re
import stat
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageCms

from bokehcli import pipeline
from bokehcli.decode import decode_photo
from bokehcli.discover import Job, discover
from bokehcli.errors import DeviceError, UnsupportedPhoto
from bokehcli.infer import Maps, Network
from bokehcli.options import (
    UNSURE_FROM,
    DecodeOptions,
    EncodeOptions,
    Existing,
    LensOptions,
    MetadataOptions,
    RunOptions,
    Unsure,
)
from bokehcli.outcome import Status
from bokehcli.photo import Container
from bokehcli.pipeline import Renderer, open_renderer
from bokehcli.tone import SRGB, Curves, curves_of

Pixels = NDArray[np.uint8]


class FakeNetwork:
    """Takes the left half for the subject; keeps the shapes that it was given."""

    def __init__(self, error: Exception | None = None, doubt: float = 0.0) -> None:
        self.error = error
        self.doubt = doubt
        self.shapes: list[tuple[int, ...]] = []
        self.focus: tuple[float, float] | None = None

    def predict(self, image: NDArray[Any], focus: tuple[float, float] | None = None) -> Maps:
        self.shapes.append(image.shape)
        self.focus = focus
        if self.error is not None:
            raise self.error
        alpha = np.zeros(image.shape[:2], np.uint8)
        alpha[:, : image.shape[1] // 2] = 255
        return Maps(alpha, np.full((6, 8), 0.5, np.float32), self.doubt)


@pytest.fixture(autouse=True)
def negative_for_blur(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of the lens: the background as a negative, to be seen without a tolerance; what is transparent as black."""

    def render(
        image: Pixels,
        alpha: NDArray[np.uint8],
        defocus: NDArray[np.float32],
        options: LensOptions,
        curves: Curves,
        opacity: Pixels | None,
    ) -> Pixels:
        top = 1.0 if image.dtype == np.float32 else np.iinfo(image.dtype).max
        image = image if opacity is None else np.where(opacity[..., None] == 0, top, image)
        return np.where(alpha[..., None] > 127, image, top - image).astype(image.dtype)

    monkeypatch.setattr(pipeline, "render", render)


def picture(height: int = 24, width: int = 32) -> Pixels:
    return np.random.default_rng(7).integers(0, 256, (height, width, 3), np.uint8)


def saved(path: Path, pixels: Pixels, **settings: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **settings)
    return path


def loaded(path: Path) -> Pixels:
    with Image.open(path) as image:
        return np.asarray(image)


def renderer(network: FakeNetwork | None = None, **options: Any) -> Renderer:
    return Renderer(RunOptions(**options), cast(Network, network or FakeNetwork()))


def job_for(source: Path, out: Path, **options: Any) -> Job:
    (job,) = discover([source], out, RunOptions(**options)).jobs
    return job


def test_the_subject_keeps_its_pixels_and_the_rest_goes_through_the_lens(tmp_path: Path) -> None:
    pixels = picture()
    job = job_for(saved(tmp_path / "a.png", pixels), tmp_path / "out")
    outcome = renderer().render_photo(job)
    assert (outcome.status, outcome.error, outcome.written) == (Status.DONE, None, (tmp_path / "out" / "a.png",))
    assert outcome.megapixels == pytest.approx(24 * 32 / 1e6)
    result = loaded(job.destination)
    np.testing.assert_array_equal(result[:, :16], pixels[:, :16])
    np.testing.assert_array_equal(result[:, 16:], 255 - pixels[:, 16:])


def test_the_network_is_told_where_the_user_points(tmp_path: Path) -> None:
    job = job_for(saved(tmp_path / "a.png", picture()), tmp_path / "out")
    network = FakeNetwork()
    renderer(network, focus=(0.2, 0.7)).render_photo(job)
    assert network.focus == (0.2, 0.7)


@pytest.mark.parametrize("profiled", [False, True])
def test_the_lens_is_told_how_the_photo_is_encoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, profiled: bool
) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes() if profiled else None
    job = job_for(saved(tmp_path / "a.png", picture(), icc_profile=profile), tmp_path / "out")
    told: list[Curves] = []
    monkeypatch.setattr(pipeline, "render", lambda image, *others: told.append(others[-2]) or image)
    assert renderer().render_photo(job).status is Status.DONE
    assert told == [curves_of(profile)]
    assert (told == [SRGB]) is not profiled


@pytest.mark.parametrize("preserve", [False, True])
def test_a_result_is_as_old_as_its_photo_on_request(tmp_path: Path, preserve: bool) -> None:
    job = job_for(saved(tmp_path / "a.jpg", picture()), tmp_path / "out")
    os.utime(job.source, (1_000_000_000, 900_000_000))
    assert renderer(metadata=MetadataOptions(preserve_times=preserve)).render_photo(job).status is Status.DONE
    assert (job.destination.stat().st_mtime == 900_000_000) is preserve


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX modes")
def test_a_result_and_its_maps_are_as_private_as_the_photo(tmp_path: Path) -> None:
    job = job_for(saved(tmp_path / "a.jpg", picture()), tmp_path / "out", save_maps=True)
    tmp_path.joinpath("a.jpg").chmod(0o600)
    assert renderer(save_maps=True).render_photo(job).status is Status.DONE
    assert [stat.S_IMODE(path.stat().st_mode) for path in job.targets if isinstance(path, Path)] == [0o600] * 3


def test_what_was_done_is_in_the_xmp_of_what_was_done_to(tmp_path: Path) -> None:
    job = job_for(saved(tmp_path / "a.jpg", picture()), tmp_path / "out")
    for options, done in (({}, True), ({"min_subject": 0.51}, False), ({"lens": LensOptions(strength=0)}, False)):
        assert renderer(existing=Existing.OVERWRITE, **options).render_photo(job).status is Status.DONE
        told = b"strength 0.5, blades 0, cat-eye 0, highlights 0.5, grain 1" in job.destination.read_bytes()
        assert told is done


def test_metadata_is_left_out_on_request(tmp_path: Path) -> None:
    job = job_for(saved(tmp_path / "a.jpg", picture(), comment=b"hello"), tmp_path / "out")
    assert renderer(metadata=MetadataOptions(strip=True)).render_photo(job).status is Status.DONE
    with Image.open(job.destination) as image:
        assert "comment" not in image.info


def test_strict_refuses_a_photo_of_which_something_would_be_left_out(tmp_path: Path) -> None:
    whole = saved(tmp_path / "whole.jpg", picture())
    trailing = tmp_path / "trailing.jpg"
    trailing.write_bytes(whole.read_bytes() + b"a video")
    clear = saved(tmp_path / "clear.png", np.dstack([picture(), picture()[..., :1]]))
    commented = saved(tmp_path / "commented.jpg", picture(), comment=b"hello")
    unspecified = tmp_path / "unspecified.tif"
    tifffile.imwrite(unspecified, np.dstack([picture(), picture()[..., :1]]), photometric="rgb", extrasamples=["unspecified"])
    png = EncodeOptions(container=Container.PNG)
    cases = [
        (trailing, {}, "7 bytes behind the end of the picture"),
        (clear, {"encode": EncodeOptions(container=Container.JPEG)}, "no opacity"),
        (commented, {"encode": png}, "cannot carry COM"),
        (unspecified, {"encode": png}, "does not say what it is"),
        (unspecified, {}, None),
        (whole, {}, None),
    ]
    for source, options, reason in cases:
        job = job_for(source, tmp_path / "out", **options)
        network = FakeNetwork()
        assert renderer(network, **options).render_photo(job).status is Status.DONE
        job.destination.unlink()
        outcome = renderer(network, strict=True, **options).render_photo(job)
        assert job.destination.exists() is (reason is None)
        if reason is not None:
            assert outcome.error is not None
            assert outcome.error.startswith(f"{source}: refused as --strict asks: ")
            assert reason in outcome.error
    job = job_for(commented, tmp_path / "maps", encode=png, save_maps=True)  # refused last of all
    assert renderer(strict=True, encode=png, save_maps=True).render_photo(job).status is Status.FAILED
    assert not (tmp_path / "maps").exists()


def test_a_progressive_photo_stays_one(tmp_path: Path) -> None:
    job = job_for(saved(tmp_path / "a.jpg", picture(), progressive=True), tmp_path / "out")
    assert renderer().render_photo(job).status is Status.DONE
    with Image.open(job.destination) as image:
        assert image.info.get("progressive")


def test_a_photo_without_a_clear_subject_keeps_its_pixels_and_says_so(tmp_path: Path) -> None:
    job = job_for(saved(tmp_path / "a.png", picture()), tmp_path / "out")
    outcome = renderer(min_subject=0.51).render_photo(job)
    assert (outcome.status, outcome.warnings) == (Status.DONE, ("no clear subject: the picture stays as it is",))
    np.testing.assert_array_equal(loaded(job.destination), picture())


def jpeg_on_its_side() -> bytes:
    """With an orientation, and bytes behind its end, which would be left out."""
    exif, out = Image.Exif(), io.BytesIO()
    exif[0x0112] = 6
    Image.fromarray(picture()).save(out, "JPEG", quality=80, exif=exif)
    return out.getvalue() + b"what a phone keeps behind a picture"


@pytest.mark.parametrize("options", [{"min_subject": 0.9}, {"unsure": Unsure.NONE}, {"strict": True, "min_subject": 0.9}])
def test_the_file_of_a_photo_that_stays_as_it_is_is_copied(tmp_path: Path, options: dict[str, Any]) -> None:
    source = tmp_path / "a.jpg"
    source.write_bytes(jpeg_on_its_side())
    job = job_for(source, tmp_path / "out")
    outcome = renderer(FakeNetwork(doubt=0.4), **options).render_photo(job)
    assert (outcome.status, len(outcome.warnings)) == (Status.DONE, 1)
    assert cast(Path, job.destination).read_bytes() == source.read_bytes()


@pytest.mark.parametrize(
    "options",
    [
        {"encode": EncodeOptions(quality=70)},
        {"encode": EncodeOptions(container=Container.PNG)},
        {"metadata": MetadataOptions(strip=True)},
        {"metadata": MetadataOptions(strip_gps=True)},
    ],
)
def test_it_is_written_anew_where_something_else_is_asked_for(tmp_path: Path, options: dict[str, Any]) -> None:
    source = tmp_path / "a.jpg"
    source.write_bytes(jpeg_on_its_side())
    job = job_for(source, tmp_path / "out")
    outcome = renderer(min_subject=0.9, **options).render_photo(job)
    assert outcome.status is Status.DONE
    assert any("behind the end" in warning for warning in outcome.warnings)
    with Image.open(cast(Path, job.destination)) as image:
        assert image.size == picture().shape[:2]


@pytest.mark.parametrize(
    ("unsure", "doubt", "strength", "warning"),
    [
        (Unsure.GENTLE, UNSURE_FROM, "0.5", None),
        (Unsure.GENTLE, 0.21, "0.325", "blurred with 65% of the strength"),
        (Unsure.GENTLE, 0.27, "0.15", "blurred with 30% of the strength"),
        (Unsure.GENTLE, 0.5, None, "the picture stays as it is"),
        (Unsure.FULL, 0.9, "0.5", None),
        (Unsure.NONE, UNSURE_FROM, "0.5", None),
        (Unsure.NONE, 0.19, None, "the picture stays as it is"),
    ],
)
def test_a_photo_of_an_unsure_subject_is_blurred_gently_or_as_asked(
    tmp_path: Path, unsure: Unsure, doubt: float, strength: str | None, warning: str | None
) -> None:
    job = job_for(saved(tmp_path / "a.jpg", picture()), tmp_path / "out")
    outcome = renderer(FakeNetwork(doubt=doubt), unsure=unsure).render_photo(job)
    assert outcome.status is Status.DONE
    assert outcome.warnings == (() if warning is None else (f"unsure of the subject: {warning}",))
    assert (outcome.doubt, outcome.subject) == (doubt, True)  # what was found, whatever becomes of it
    assert outcome.unsure is (doubt > UNSURE_FROM)
    told = re.search(rb"strength ([0-9.]+)", job.destination.read_bytes())
    assert (told and told[1].decode()) == strength


def test_where_nothing_is_blurred_nobody_is_told_how_gently(tmp_path: Path) -> None:
    job = job_for(saved(tmp_path / "a.jpg", picture()), tmp_path / "out", save_maps=True)
    options = {"save_maps": True, "lens": LensOptions(strength=0)}
    assert renderer(FakeNetwork(doubt=0.9), **options).render_photo(job).warnings == ()


def test_at_strength_0_pixels_stay_and_no_network_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "open_network", lambda *_: pytest.fail("opened"))
    job = job_for(saved(tmp_path / "a.png", picture()), tmp_path / "out")
    outcome = open_renderer(RunOptions(lens=LensOptions(strength=0))).render_photo(job)
    assert outcome.status is Status.DONE
    np.testing.assert_array_equal(loaded(job.destination), picture())


def test_maps_are_written_before_the_photo_at_its_upright_size(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    source = saved(tmp_path / "x" / "a.jpg", picture(24, 32), exif=exif)
    network = FakeNetwork()
    options: dict[str, Any] = {"save_maps": True, "lens": LensOptions(strength=0)}
    job = job_for(source, tmp_path / "out", **options)
    outcome = renderer(network, **options).render_photo(job)
    out = tmp_path / "out"
    assert outcome.written == (out / "a.alpha.png", out / "a.defocus.png", out / "a.jpg")
    assert network.shapes == [(32, 24, 3)]
    alpha, defocus = loaded(out / "a.alpha.png"), loaded(out / "a.defocus.png")
    assert alpha.shape == (32, 24)
    assert alpha.dtype == np.uint8
    assert (alpha[:, :12] == 255).all()
    assert (alpha[:, 12:] == 0).all()
    assert set(np.unique(defocus)) <= {127, 128}


def test_opacity_is_left_alone(tmp_path: Path) -> None:
    rgba = np.dstack([picture(), np.arange(24 * 32, dtype=np.uint8).reshape(24, 32)])
    job = job_for(saved(tmp_path / "a.png", rgba), tmp_path / "out")
    assert renderer().render_photo(job).status is Status.DONE
    np.testing.assert_array_equal(loaded(job.destination)[..., 3], rgba[..., 3])


def test_the_lens_knows_what_is_transparent(tmp_path: Path) -> None:
    rgba = np.dstack([picture(), np.full((24, 32), 255, np.uint8)])
    rgba[5:9, 20:25, 3] = 0
    job = job_for(saved(tmp_path / "a.png", rgba), tmp_path / "out")
    assert renderer().render_photo(job).status is Status.DONE
    assert (loaded(job.destination)[5:9, 20:25, :3] == 0).all()


def test_grey_stays_grey(tmp_path: Path) -> None:
    network = FakeNetwork()
    job = job_for(saved(tmp_path / "a.png", picture()[..., 0]), tmp_path / "out")
    assert renderer(network).render_photo(job).status is Status.DONE
    assert network.shapes == [(24, 32, 3)]
    assert loaded(job.destination).shape == (24, 32)


def test_the_format_asked_for_is_the_one_written_and_what_it_cannot_hold_is_a_warning(tmp_path: Path) -> None:
    rgba = np.dstack([picture(), np.full((24, 32), 9, np.uint8)])
    options: dict[str, Any] = {"encode": EncodeOptions(container=Container.JPEG)}
    job = job_for(saved(tmp_path / "a.png", rgba), tmp_path / "out", **options)
    outcome = renderer(**options).render_photo(job)
    assert job.destination.name == "a.jpg"
    with Image.open(job.destination) as image:
        assert image.format == "JPEG"
    assert len(outcome.warnings) == 1


@pytest.mark.parametrize(
    ("name", "form", "told"), [("a.png", "jpeg", True), ("a.JPE", "jpeg", False), ("a.photo", "png", False)]
)
def test_a_name_that_says_another_container_is_told_of_and_kept(tmp_path: Path, name: str, form: str, told: bool) -> None:
    with open(tmp_path / name, "wb") as file:
        Image.fromarray(picture()).save(file, form)
    job = job_for(tmp_path / name, tmp_path / "out")
    outcome = renderer().render_photo(job)
    assert outcome.warnings == (("jpeg by its content, not png as its name says",) if told else ())
    assert outcome.destination == tmp_path / "out" / name
    with Image.open(outcome.destination) as image:
        assert image.format == form.upper()


def test_a_quality_asked_for_goes_before_the_photos_own(tmp_path: Path) -> None:
    source = saved(tmp_path / "a.jpg", picture(128, 128), quality=90)
    sizes = {}
    for quality in (None, 30):
        options: dict[str, Any] = {"encode": EncodeOptions(quality=quality)}
        job = job_for(source, tmp_path / str(quality), **options)
        assert renderer(**options).render_photo(job).status is Status.DONE
        sizes[quality] = job.destination.stat().st_size
    assert sizes[30] < 0.6 * sizes[None]


def test_metadata_goes_along(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    job = job_for(saved(tmp_path / "a.jpg", picture(), exif=exif, icc_profile=None), tmp_path / "out")
    assert renderer().render_photo(job).status is Status.DONE
    with Image.open(job.destination) as image:
        assert image.getexif()[0x010F] == "Maker"


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda path: path.unlink(), "No such file"),
        (lambda path: path.write_bytes(b""), "empty"),
        (lambda path: path.write_bytes(b"no photo"), "not a"),
        (lambda path: path.write_bytes(path.read_bytes()[:400]), ""),
    ],
)
def test_what_cannot_be_read_is_a_failed_outcome_of_one_line(
    tmp_path: Path, spoil: Callable[[Path], object], reason: str
) -> None:
    source = saved(tmp_path / "a.jpg", picture())
    job = job_for(source, tmp_path / "out")
    spoil(source)
    outcome = renderer().render_photo(job)
    assert outcome.status is Status.FAILED
    assert outcome.error is not None
    assert outcome.error.startswith(f"{source}: ")
    assert reason in outcome.error
    assert "\n" not in outcome.error
    assert outcome.traceback is None
    assert not (tmp_path / "out").exists()


def test_a_photo_above_the_limit_is_refused(tmp_path: Path) -> None:
    options: dict[str, Any] = {"decode": DecodeOptions(max_megapixels=0.0001)}
    job = job_for(saved(tmp_path / "a.png", picture()), tmp_path / "out")
    outcome = renderer(**options).render_photo(job)
    assert outcome.status is Status.FAILED


@pytest.mark.parametrize(
    ("error", "message", "traced"),
    [
        (UnsupportedPhoto("a.png", "too odd"), "a.png: too odd", False),
        (DeviceError("it went away"), "{source}: it went away", False),
        (MemoryError(), "{source}: not enough memory", False),
        (ZeroDivisionError("oh"), "{source}: unexpected ZeroDivisionError: oh", True),
    ],
)
def test_an_exception_is_a_failed_outcome_and_keeps_its_traceback_when_unforeseen(
    tmp_path: Path, error: Exception, message: str, traced: bool
) -> None:
    job = job_for(saved(tmp_path / "a.png", picture()), tmp_path / "out")
    outcome = renderer(FakeNetwork(error)).render_photo(job)
    assert outcome.status is Status.FAILED
    assert outcome.error == message.format(source=job.source)
    assert (outcome.traceback is not None) is traced
    assert ("in predict" in (outcome.traceback or "")) is traced


def test_an_interrupt_passes_through_and_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    job = job_for(saved(tmp_path / "in" / "a.png", picture()), tmp_path / "out")
    monkeypatch.setattr(pipeline, "attach_metadata", interrupt)
    with pytest.raises(KeyboardInterrupt):
        renderer().render_photo(job)
    assert not (tmp_path / "out").exists()


def test_a_result_that_appeared_meanwhile_is_not_overwritten_unless_asked(tmp_path: Path) -> None:
    job = job_for(saved(tmp_path / "a.png", picture()), tmp_path / "out")
    job.destination.parent.mkdir()
    job.destination.write_bytes(b"another's")
    for existing in (Existing.REFUSE, Existing.SKIP):
        assert renderer(existing=existing).render_photo(job).status is Status.FAILED
        assert job.destination.read_bytes() == b"another's"
    assert renderer(existing=Existing.OVERWRITE).render_photo(job).status is Status.DONE
    assert job.destination.read_bytes() != b"another's"


def test_what_a_job_replaces_is_told_file_by_file(tmp_path: Path) -> None:
    job = job_for(saved(tmp_path / "a.png", picture()), tmp_path / "out", save_maps=True)
    assert job.alpha is not None
    job.alpha.parent.mkdir()
    job.alpha.write_bytes(b"another's")
    job.destination.write_bytes(b"earlier")
    render = renderer(save_maps=True).render_photo
    assert render(replace(job, replaces=(job.destination,))).status is Status.FAILED
    assert (job.alpha.read_bytes(), job.destination.read_bytes()) == (b"another's", b"earlier")
    assert render(replace(job, replaces=job.targets)).status is Status.DONE


def test_maps_that_are_there_are_kept_when_skipping_and_replaced_when_overwriting(tmp_path: Path) -> None:
    source = saved(tmp_path / "a.png", picture())
    for existing, kept in ((Existing.SKIP, True), (Existing.OVERWRITE, False)):
        options: dict[str, Any] = {"save_maps": True, "existing": existing}
        job = job_for(source, tmp_path / existing, **options)
        assert job.alpha is not None
        job.alpha.parent.mkdir()
        job.alpha.write_bytes(b"old")
        outcome = renderer(**options).render_photo(job)
        assert outcome.status is Status.DONE
        assert (job.alpha.read_bytes() == b"old") is kept
        assert (job.alpha in outcome.written) is not kept


def test_16_bits_reach_the_network_and_the_file(tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    deep = (picture().astype(np.uint16) * 257)[..., ::-1]
    encoded, data = cv2.imencode(".png", deep)
    assert encoded
    (tmp_path / "a.png").write_bytes(io.BytesIO(data).getvalue())
    job = job_for(tmp_path / "a.png", tmp_path / "out")
    assert renderer().render_photo(job).status is Status.DONE
    result = cv2.imdecode(np.frombuffer(job.destination.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    assert result.dtype == np.uint16
    np.testing.assert_array_equal(result[:, :16], deep[:, :16])


@pytest.mark.parametrize("channels", [2, 4])
def test_floats_and_opacity_of_a_tiff_reach_the_file(tmp_path: Path, channels: int) -> None:
    pixels = np.random.default_rng(7).random((24, 32, channels), np.float32) * 2.0
    kind = "minisblack" if channels == 2 else "rgb"
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric=kind, planarconfig="contig", extrasamples=["unassalpha"])
    job = job_for(tmp_path / "a.tif", tmp_path / "out")
    seen: list[Any] = []

    class Watching(FakeNetwork):
        def predict(self, image: NDArray[Any], focus: tuple[float, float] | None = None) -> Maps:
            seen.append(image.dtype)
            return super().predict(image, focus)

    outcome = renderer(Watching()).render_photo(job)
    assert (outcome.status, outcome.warnings) == (Status.DONE, ())
    assert seen == [np.uint16]
    photo = decode_photo(job.destination.read_bytes(), "a.tif", DecodeOptions())
    assert (photo.image.dtype, photo.grey) == (np.float32, channels == 2)
    np.testing.assert_array_equal(photo.image[:, :16], pixels[:, :16, : channels - 1].repeat(3 if channels == 2 else 1, axis=2))
    np.testing.assert_allclose(photo.image[:, 16:, 0], 1.0 - pixels[:, 16:, 0], atol=1e-6)
    np.testing.assert_array_equal(photo.opacity, pixels[..., -1])
