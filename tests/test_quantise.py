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
from bokehcli.trainer.export import export_model, export_picture, export_pointed  # noqa: E402
from bokehcli.trainer.network import LensNet, NetworkOptions  # noqa: E402
from bokehcli.trainer.pynet2020 import Pynet2020, Pynet2020Options, Shown  # noqa: E402
from bokehcli.trainer.quantise import main, photos_of, quantised  # noqa: E402

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
    for role in card.files:
        count, eight = convolutions(made.path(role))
        assert count / 2 < eight < count, role  # all but the heads
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


def test_the_command_writes_a_model_that_runs(folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    lens_model(tmp_path / "model")
    (folder / "broken.jpg").write_bytes(b"none")
    words = [str(folder), "--int8", "--model", str(tmp_path / "model"), "--out", str(tmp_path / "int8")]
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
    assert main([str(tmp_path / "nowhere"), "--int8", "--out", out]) == 2
    assert main([str(folder), "--int8", "--out", out, "--model", str(folder)]) == 2
    assert main([str(tmp_path / "model"), "--int8", "--out", out]) == 2
    assert main([str(folder), "--int8", "--model", str(tmp_path / "model"), "--out", str(tmp_path / "model")]) == 2
    errors = capfd.readouterr().err.splitlines()
    assert [line.split(": ", 1)[0] for line in errors] == ["bokeh train export"] * 4
    with pytest.raises(UsageError, match="no photos"):
        photos_of(tmp_path / "model")
