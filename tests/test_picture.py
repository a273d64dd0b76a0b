"""Models that give pictures: sharp places keep the photo's own detail, blurred ones none, at any size, depth and profile."""

import dataclasses
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training is optional")
onnx = pytest.importorskip("onnx", reason="training is optional")

from bokehcli.cli import main  # noqa: E402 (torch may be absent)
from bokehcli.errors import ModelError, UsageError  # noqa: E402
from bokehcli.model import PictureCard, find_model  # noqa: E402
from bokehcli.options import InferOptions, LensOptions, RunOptions  # noqa: E402
from bokehcli.picture import PictureNetwork, open_picture_network, sharpness  # noqa: E402
from bokehcli.tone import SRGB, Parametric  # noqa: E402
from bokehcli.trainer.export import export_picture  # noqa: E402

LONG_SIDE = 192


class Same(torch.nn.Module):
    """The photo as it is."""

    def forward(self, photo: Any) -> Any:
        return photo * 1.0


class Blurred(torch.nn.Module):
    """The photo, blurred."""

    def forward(self, photo: Any) -> Any:
        for _ in range(3):
            photo = torch.nn.functional.avg_pool2d(photo, 9, 1, 4, count_include_pad=False)
        return photo


class HalfBlurred(Blurred):
    """The photo, blurred on the right."""

    def forward(self, photo: Any) -> Any:
        right = (torch.ones_like(photo).cumsum(3) > 0.5 * LONG_SIDE).float()
        return photo * (1.0 - right) + super().forward(photo) * right


class Tinted(torch.nn.Module):
    """The photo, darker."""

    def forward(self, photo: Any) -> Any:
        return photo * 0.5


class Broken(torch.nn.Module):
    """Not a number where the photo is black."""

    def forward(self, photo: Any) -> Any:
        return photo / photo


def written(folder: Path, module: torch.nn.Module) -> PictureCard:
    card, _ = export_picture(module, folder, {}, torch.rand(1, 3, 64, 128), LONG_SIDE, 64)
    assert isinstance(card, PictureCard)
    return card


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, PictureNetwork]:
    folder = tmp_path_factory.mktemp("models")
    made = {module.__class__.__name__: module for module in (Same(), Blurred(), HalfBlurred(), Tinted())}
    return {name: open_picture_network(written(folder / name, module)) for name, module in made.items()}


@pytest.fixture(scope="module")
def photo(photos: Path) -> np.ndarray:
    return np.ascontiguousarray(cv2.imread(str(photos / "astronaut.jpg"))[:384, :, ::-1])  # 512 wide


def detail(image: np.ndarray) -> float:
    grey = image.astype(np.float32).mean(2)
    return float(np.abs(grey - cv2.GaussianBlur(grey, (0, 0), 2)).mean())


def test_what_is_left_as_it_is_stays_the_photos_own_pixels(networks: dict[str, PictureNetwork], photo: np.ndarray) -> None:
    assert np.abs(networks["Same"].render(photo).astype(int) - photo).max() <= 1


def test_what_is_blurred_has_no_detail_of_the_photo(networks: dict[str, PictureNetwork], photo: np.ndarray) -> None:
    rendered = networks["Blurred"].render(photo)
    assert detail(rendered) < 0.15 * detail(photo)
    small = cv2.resize(photo, (LONG_SIDE, 144), interpolation=cv2.INTER_AREA)
    whole = cv2.resize(networks["Blurred"].predict(small), (512, 384), interpolation=cv2.INTER_LINEAR)
    assert np.abs(rendered / 255.0 - whole).mean() < 0.01


def test_each_place_is_as_sharp_as_the_network_leaves_it(networks: dict[str, PictureNetwork], photo: np.ndarray) -> None:
    rendered = networks["HalfBlurred"].render(photo)
    assert np.abs(rendered[:, :200].astype(int) - photo[:, :200]).max() <= 1
    assert detail(rendered[:, 320:]) < 0.15 * detail(photo[:, 320:])


@pytest.mark.parametrize("size", [(384, 512), (77, 191), (33, 17), (1, 1), (5, 400)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_any_size_and_depth_comes_back(networks: dict[str, PictureNetwork], size: tuple[int, int], dtype: Any) -> None:
    rng = np.random.default_rng(3)
    image = rng.random((*size, 3)).astype(np.float32)
    image = image if dtype == np.float32 else (image * np.iinfo(dtype).max).astype(dtype)
    for name in ("Same", "Tinted"):
        rendered = networks[name].render(image)
        assert (rendered.shape, rendered.dtype) == (image.shape, image.dtype)
    step = 2e-5 if dtype == np.float32 else 1.0
    assert np.abs(networks["Same"].render(image).astype(np.float64) - image).max() <= step


def test_floats_beyond_white_are_kept_where_the_picture_is_sharp(networks: dict[str, PictureNetwork]) -> None:
    image = np.random.default_rng(0).random((300, 400, 3)).astype(np.float32) + np.float32(0.2)
    rendered = networks["HalfBlurred"].render(image)
    assert float(rendered[:, :150].max()) > 1.0


def test_the_network_sees_a_photo_as_its_profile_says(networks: dict[str, PictureNetwork]) -> None:
    linear = (Parametric(1.0),) * 3
    flat = np.full((200, 300, 3), 0.25, np.float32)
    encoded = networks["Tinted"].render((flat * 65535).astype(np.uint16), SRGB)
    assert encoded.mean() / 65535 == pytest.approx(0.125, abs=1e-3)
    light = networks["Tinted"].render((flat * 65535).astype(np.uint16), linear)
    seen = 0.5 * (1.055 * 0.25 ** (1 / 2.4) - 0.055)  # as sRGB has that light, half of it
    assert light.mean() / 65535 == pytest.approx(((seen + 0.055) / 1.055) ** 2.4, abs=1e-3)


def test_sharpness_is_whole_in_flat_places_and_none_where_detail_went() -> None:
    rng = np.random.default_rng(0)
    noise = rng.random((64, 64, 3)).astype(np.float32)
    flat = np.full_like(noise, 0.4)
    assert sharpness(noise, noise).min() == 1.0
    assert sharpness(flat, flat + 0.2).min() == 1.0
    assert sharpness(noise, flat).max() == 0.0


@pytest.mark.parametrize("size", [(384, 512), (64, 64), (70, 300), (1, 1)])
def test_tiles_differ_from_the_whole_at_the_border_alone(
    networks: dict[str, PictureNetwork], tmp_path: Path, size: tuple[int, int]
) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    whole = networks["Blurred"]  # looks 12 pixels around itself
    card = dataclasses.replace(whole.card, tile_px=96, context_px=16)
    tiled = PictureNetwork(card, whole.session).predict(image)
    assert tiled.shape == (*size, 3)
    inner = slice(12, max(12, size[0] - 12)), slice(12, max(12, size[1] - 12))
    np.testing.assert_allclose(tiled[inner], whole.predict(image)[inner], atol=1e-5)
    narrow = PictureNetwork(dataclasses.replace(card, tile_px=120, context_px=4), whole.session).predict(image)
    if min(size) > 300:
        assert np.abs(narrow[inner] - whole.predict(image)[inner]).max() > 1e-3  # what lies beyond the context


@pytest.mark.parametrize(("tile_px", "context_px"), [(100, 16), (-64, 0), (128, -1), (1.5, 0)])
def test_tiles_that_the_network_cannot_take_are_refused(tmp_path: Path, tile_px: int, context_px: int) -> None:
    card = written(tmp_path, Same())
    dataclasses.replace(card, tile_px=tile_px, context_px=context_px).save()
    with pytest.raises(ModelError, match="make no sense"):
        find_model(tmp_path)


def test_a_batch_is_rendered_by_a_model_of_pictures(photos: Path, tmp_path: Path) -> None:
    written(tmp_path / "model", HalfBlurred())
    assert main(["run", str(photos / "astronaut.jpg"), "--out", str(tmp_path / "out"), "--model", str(tmp_path / "model")]) == 0
    before, after = (cv2.imread(str(folder / "astronaut.jpg")) for folder in (photos, tmp_path / "out"))
    assert before.shape == after.shape
    assert detail(after[:, 320:]) < 0.4 * detail(before[:, 320:])
    assert detail(after[:, :200]) > 0.8 * detail(before[:, :200])
    assert b"by model" in (tmp_path / "out" / "astronaut.jpg").read_bytes()


def test_a_picture_that_is_not_finite_is_a_failed_photo(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    written(tmp_path / "model", Broken())
    black = np.zeros((64, 64, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "black.png"), black)
    cv2.imwrite(str(tmp_path / "grey.png"), black + 99)
    line = ["run", *map(str, (tmp_path / "black.png", tmp_path / "grey.png"))]
    assert main([*line, "--out", str(tmp_path / "out"), "--model", str(tmp_path / "model")]) == 1
    assert f"{tmp_path / 'black.png'}: {tmp_path / 'model' / 'picture.onnx'}: gives " in capfd.readouterr().err
    assert not (tmp_path / "out" / "black.png").exists()
    assert (tmp_path / "out" / "grey.png").exists()


@pytest.mark.parametrize("asked", [["--focus", "0.5,0.5"], ["--save-maps"], ["--strength", "0.3"]], ids=str)
def test_what_such_a_model_cannot_be_told_is_misuse(
    photos: Path, tmp_path: Path, asked: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    written(tmp_path / "model", Same())
    line = ["run", str(photos / "rocket.jpg"), "--out", str(tmp_path / "out"), "--model", str(tmp_path / "model")]
    assert main([*line, *asked]) == 2
    assert "gives pictures" in capfd.readouterr().err
    assert not (tmp_path / "out" / "rocket.jpg").exists()


def test_a_network_of_pictures_that_are_no_numbers_is_not_exported(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="differ by nan"):
        export_picture(Broken(), tmp_path, {}, torch.zeros(1, 3, 64, 128), LONG_SIDE, 64)


def stated(
    folder: Path, name: str = "photo", channels: int = 3, sides: tuple[int, ...] = (), tile_px: int = 0, context_px: int = 0
) -> PictureCard:
    """A model of whose file and card something is said."""
    card = written(folder, Same())
    model = onnx.load(str(card.path("picture")))
    for tensor in (*model.graph.input, *model.graph.output):
        tensor.type.tensor_type.shape.dim[1].dim_value = channels
        for place, side in enumerate(sides):
            tensor.type.tensor_type.shape.dim[2 + place].dim_value = side
    for node in model.graph.node:
        node.input[:] = [name if each == "photo" else each for each in node.input]
    model.graph.input[0].name = name
    onnx.save(model, str(card.path("picture")))
    dataclasses.replace(card, tile_px=tile_px, context_px=context_px).save()
    found = find_model(folder)
    assert isinstance(found, PictureCard)
    return found


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"name": "image"}, "takes image, not photo"),
        ({"channels": 4}, "not as floats with 3 channels"),
        ({"sides": (64, 128)}, "in one size alone, 64x128"),
        ({"sides": (64, 64), "tile_px": 64, "context_px": 32}, "in one size alone, 64x64"),
    ],
    ids=str,
)
def test_a_network_that_is_not_what_its_card_says_is_not_opened(tmp_path: Path, changes: dict[str, Any], word: str) -> None:
    with pytest.raises(ModelError, match=word):
        open_picture_network(stated(tmp_path, **changes))


def test_a_network_of_tiles_may_take_these_alone(tmp_path: Path) -> None:
    network = open_picture_network(stated(tmp_path, sides=(128, 128), tile_px=64, context_px=32))
    image = np.random.default_rng(0).integers(0, 256, (100, 150, 3), np.uint8)
    np.testing.assert_allclose(network.predict(image), image / np.float32(255), atol=1e-6)


def test_a_picture_of_another_size_is_refused(tmp_path: Path) -> None:
    class Halved(torch.nn.Module):
        def forward(self, photo: Any) -> Any:
            return torch.nn.functional.avg_pool2d(photo, 2)

    with pytest.raises(ModelError, match=r"gives \(1, 3, 32, 64\) for \(1, 3, 64, 128\)"):
        open_picture_network(written(tmp_path, Halved())).predict(np.zeros((64, 128, 3), np.uint8))


def test_options_are_checked_against_the_kind_of_model() -> None:
    options = RunOptions(infer=InferOptions(model=Path("m")), lens=LensOptions(blades=7))
    options.check("lens")
    with pytest.raises(UsageError, match="m: a model that gives pictures"):
        options.check("rgb")
    dataclasses.replace(options, lens=LensOptions()).check("rgb")


def test_a_card_without_its_picture_is_refused(tmp_path: Path) -> None:
    card = written(tmp_path, Same())
    dataclasses.replace(card, files={"other": "picture.onnx"}).save()
    with pytest.raises(ModelError, match="make no sense"):
        find_model(tmp_path)
