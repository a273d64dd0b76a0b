"""A model in eight bits computes nearly what it did, and says what it was calibrated on."""

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training is optional")
onnx = pytest.importorskip("onnx", reason="training is optional")

from bokehcli.errors import UsageError  # noqa: E402 (torch may be absent)
from bokehcli.infer import open_network  # noqa: E402
from bokehcli.model import ModelCard, PictureCard, find_lens_model, find_model  # noqa: E402
from bokehcli.picture import open_picture_network  # noqa: E402
from bokehcli.trainer import quantise  # noqa: E402
from bokehcli.trainer.export import export_model, export_picture, export_pointed  # noqa: E402
from bokehcli.trainer.network import LensNet, NetworkOptions  # noqa: E402
from bokehcli.trainer.pynet2020 import Pynet2020, Pynet2020Options, Shown  # noqa: E402
from bokehcli.trainer.quantise import main, photos_of, quantised  # noqa: E402
from bokehcli.trainer.weights import expanded, stored_weights  # noqa: E402

TINY = NetworkOptions(widths=(8, 12, 16, 24, 32), blocks=(1, 1, 1, 1, 1), octave=8)


@pytest.fixture
def folder(photos: Path, tmp_path: Path) -> Path:
    """A few small photos."""
    (tmp_path / "photos").mkdir()
    for path in photos.glob("*.jpg"):
        cv2.imwrite(str(tmp_path / "photos" / path.name), cv2.resize(cv2.imread(str(path)), (256, 192)))
    return tmp_path / "photos"


def lens_model(folder: Path) -> ModelCard:
    torch.manual_seed(0)
    network = LensNet(TINY).eval()
    with torch.no_grad():
        for parameter in network.parameters():  # no two biases alike, which the exporter would store once
            parameter.add_(0.01 * torch.randn_like(parameter))
    about = {"network": dataclasses.asdict(TINY)}
    return export_pointed(network, folder, about, export_model(network, folder, about, 128))


def convolutions(path: Path) -> tuple[int, int]:
    """How many there are, and how many of them compute in eight bits."""
    graph = onnx.load(str(path)).graph
    quantised_names = {name for node in graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    convs = [node for node in graph.node if node.op_type == "Conv"]
    return len(convs), sum(node.input[1] in quantised_names for node in convs)


def test_a_lens_model_finds_nearly_the_same_in_eight_bits(folder: Path, tmp_path: Path) -> None:
    card = lens_model(tmp_path / "model")
    made = quantised(card, photos_of(folder), tmp_path / "int8")
    assert isinstance(made, ModelCard)
    assert made.files == card.files
    assert "5 photos" in made.about["quantised"]
    assert made.about["computes"] == {"global": "int8", "octave": "float32", "finest": "float32", "pointed": "int8"}
    for role in ("global", "pointed"):
        count, eight = convolutions(made.path(role))
        assert count / 2 < eight < count, role  # all but the heads
    for role in ("octave", "finest"):
        assert made.path(role).read_bytes() == card.path(role).read_bytes()
    photo = cv2.imread(str(folder / "chelsea.jpg"))[:, :, ::-1]
    first, second = (open_network(each).global_state(photo, None) for each in (card, made))
    spread = float(first[:2].std())
    assert 0 < float(np.abs(first[:2] - second[:2]).mean()) < 0.1 * spread


def test_a_model_of_pictures_too(folder: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = Shown(Pynet2020(Pynet2020Options(width=4)).eval(), 3)
    card, _ = export_picture(network, tmp_path / "model", {}, torch.rand(1, 3, 128, 128), 192, 64)
    made = quantised(card, photos_of(folder), tmp_path / "int8")
    assert isinstance(made, PictureCard)
    assert isinstance(card, PictureCard)
    photo = cv2.imread(str(folder / "chelsea.jpg"))[:, :, ::-1]
    first, second = (open_picture_network(each).predict(np.ascontiguousarray(photo[:128, :192])) for each in (card, made))
    assert 0 < np.abs(first - second).mean() < 0.05


def test_weights_that_are_named_as_packed_ones_are_no_such(tmp_path: Path) -> None:
    card = lens_model(tmp_path / "model")
    model = expanded(onnx.load(str(card.path("octave"))))
    first, second, third = model.graph.initializer[:3]
    renamed = {first.name: "norm.scale", second.name: "norm.half", third.name: "norm.codes"}
    for tensor in (first, second, third):
        tensor.name = renamed[tensor.name]
    for node in model.graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
    assert [tensor.name for tensor in expanded(model).graph.initializer] == [tensor.name for tensor in model.graph.initializer]


def test_a_network_that_the_quantiser_refuses_is_one_line(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("an operator that is none\nand more")

    card = lens_model(tmp_path / "model")
    monkeypatch.setattr(quantise, "write_quantised", refuse)
    assert main(["--int8", str(folder), "--model", str(card.folder), "--out", str(tmp_path / "int8")]) == 2
    told = capfd.readouterr().err.splitlines()[-1]
    assert told.endswith("global.onnx: cannot be quantised (an operator that is none)")


def test_a_model_that_takes_tiles_alone_is_calibrated_on_tiles(folder: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    layers = torch.nn.Sequential(torch.nn.Conv2d(3, 3, 3, padding=1), torch.nn.LeakyReLU(), torch.nn.Conv2d(3, 3, 3, padding=1))
    card, _ = export_picture(layers.eval(), tmp_path / "model", {}, torch.rand(1, 3, 128, 128), 192, 64)
    assert isinstance(card, PictureCard)
    model = onnx.load(str(card.path("picture")))
    for place in (2, 3):
        model.graph.input[0].type.tensor_type.shape.dim[place].dim_value = 128
    onnx.save(model, str(card.path("picture")))
    dataclasses.replace(card, tile_px=96, context_px=16).save()
    made = quantised(find_model(card.folder), photos_of(folder)[:2], tmp_path / "int8")
    assert made.about["computes"] == {"picture": "int8"}


def test_and_in_float32_again_with_the_same_weights(folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    card = lens_model(tmp_path / "model")
    eight = quantised(card, photos_of(folder), tmp_path / "int8")
    assert main(["--float32", "--model", str(eight.folder), "--out", str(tmp_path / "float")]) == 0
    assert "float32; " in capfd.readouterr().err
    again = find_lens_model(tmp_path / "float")
    assert "quantised" not in again.about
    assert set(again.about["computes"].values()) == {"float32"}
    photo = cv2.imread(str(folder / "chelsea.jpg"))[:, :, ::-1]
    for role in ("global", "pointed"):
        assert convolutions(again.path(role))[1] == 0
        before, after = (stored_weights(each.path(role)) for each in (card, again))
        assert before.keys() == after.keys()
        for name, weight in before.items():
            most = float(weight.abs().max())
            step = most / 63  # of seven bits
            assert float((weight - after[name]).abs().max()) <= 0.5 * step + 0.004 * most, name  # and in eight once more
    first, second = (open_network(each).global_state(photo, None) for each in (card, again))
    assert float(np.abs(first[:2] - second[:2]).mean()) < 0.1 * float(first[:2].std())


def test_what_came_back_to_float32_goes_to_eight_bits_once_more(folder: Path, tmp_path: Path) -> None:
    once = quantised(lens_model(tmp_path / "model"), photos_of(folder)[:2], tmp_path / "once")
    assert main(["--float32", "--model", str(once.folder), "--out", str(tmp_path / "float")]) == 0
    twice = quantised(find_lens_model(tmp_path / "float"), photos_of(folder)[:2], tmp_path / "twice")
    assert convolutions(twice.path("global")) == convolutions(once.path("global"))
    photo = cv2.imread(str(folder / "chelsea.jpg"))[:, :, ::-1]
    first, second = (open_network(find_lens_model(card.folder)).global_state(photo, None) for card in (once, twice))
    assert float(np.abs(first[:2] - second[:2]).mean()) < 0.1 * float(first[:2].std())


def test_what_is_carried_into_a_new_model_stays_in_eight_bits(folder: Path, tmp_path: Path) -> None:
    eight = quantised(lens_model(tmp_path / "model"), photos_of(folder)[:2], tmp_path / "int8")
    assert isinstance(eight, ModelCard)
    again = export_pointed(LensNet(TINY).eval(), tmp_path / "again", {}, eight)
    assert again.path("global").read_bytes() == eight.path("global").read_bytes()
    assert again.about["computes"] == {**eight.about["computes"], "pointed": "float32"}


def test_what_is_in_eight_bits_can_be_calibrated_anew(folder: Path, tmp_path: Path) -> None:
    once = quantised(lens_model(tmp_path / "model"), photos_of(folder), tmp_path / "once")
    twice = quantised(once, photos_of(folder)[:2], tmp_path / "twice")
    assert "2 photos" in twice.about["quantised"]
    assert convolutions(twice.path("global")) == convolutions(once.path("global"))


def test_products_of_the_largest_codes_fit_into_16_bits(folder: Path, tmp_path: Path) -> None:
    # where a CPU adds up pairs of products of a code of the input and one of the weight in so many
    made = quantised(lens_model(tmp_path / "model"), photos_of(folder), tmp_path / "int8")
    codes = [onnx.numpy_helper.to_array(t) for t in onnx.load(str(made.path("global"))).graph.initializer]
    largest = max(int(np.abs(code.astype(np.int32)).max()) for code in codes if code.dtype == np.int8 and code.ndim == 4)
    assert largest > 32
    assert 2 * 255 * largest < 2**15


def test_the_command_writes_a_model_that_runs(folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    lens_model(tmp_path / "model")
    (folder / "broken.jpg").write_bytes(b"none")
    words = ["--int8", str(folder), "--model", str(tmp_path / "model"), "--out", str(tmp_path / "int8")]
    assert main(words) == 0
    out, err = capfd.readouterr()
    assert out.splitlines()[-1] == str(tmp_path / "int8")
    assert "broken.jpg: cannot be decoded" in err
    assert "calibrated on 5 photos" in err
    assert find_model(tmp_path / "int8").about["quantised"]
    assert open_network(find_lens_model(tmp_path / "int8")).predict(np.zeros((100, 120, 3), np.uint8)).alpha.shape == (100, 120)


def test_misuse_is_status_2(folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    lens_model(tmp_path / "model")
    out = str(tmp_path / "int8")
    assert main(["--int8", str(tmp_path / "nowhere"), "--out", out]) == 2
    assert main(["--int8", str(folder), "--out", out, "--model", str(folder)]) == 2
    assert main(["--int8", str(tmp_path / "model"), "--out", out]) == 2
    assert main(["--int8", str(folder), "--model", str(tmp_path / "model"), "--out", str(tmp_path / "model")]) == 2
    (tmp_path / "file").touch()
    assert main(["--float32", "--out", str(tmp_path / "file")]) == 2
    errors = capfd.readouterr().err.splitlines()
    assert [line.split(": ", 1)[0] for line in errors] == ["bokeh train export"] * 5
    with pytest.raises(UsageError, match="no photos"):
        photos_of(tmp_path / "model")
