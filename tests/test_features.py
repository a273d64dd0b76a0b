"""A feature network from a file computes what it did where it came from, and what is learned goes back through it."""

import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training is optional")
onnx = pytest.importorskip("onnx", reason="training is optional")

import onnxruntime  # noqa: E402 (torch may be absent)

from bokehcli.errors import ModelError  # noqa: E402
from bokehcli.trainer.features import load_features, try_out  # noqa: E402

CPU = torch.device("cpu")


class Scaled(torch.nn.Module):
    """Brings [0, 1] to the range of a network that was trained on something else."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x - 0.45) / 0.225 * 1.5 + 0.1


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(
        Scaled(),
        torch.nn.Conv2d(3, 8, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=2),
        torch.nn.LeakyReLU(0.2),
        torch.nn.AvgPool2d(3, 1, 1),
    ).eval()


def exported(path: Path, module: torch.nn.Module) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(module, (torch.rand(1, 3, 32, 32),), str(path), opset_version=18, dynamo=False)
    return path


def test_an_onnx_file_computes_what_onnxruntime_does_and_lets_gradients_through(tmp_path: Path) -> None:
    path = exported(tmp_path / "features.onnx", network())
    loaded = load_features(path, CPU)
    assert not any(weight.requires_grad for weight in loaded.parameters())
    photo = torch.rand(1, 3, 32, 32, requires_grad=True)
    features = loaded(photo)
    session = onnxruntime.InferenceSession(str(path))
    (expected,) = session.run(None, {session.get_inputs()[0].name: photo.detach().numpy()})
    np.testing.assert_allclose(features.detach().numpy(), expected, atol=1e-5)
    features.square().sum().backward()
    assert float(photo.grad.abs().sum()) > 0


def test_files_of_torch_are_used_as_they_are(tmp_path: Path) -> None:
    module, photo = network(), torch.rand(1, 3, 32, 32)
    with warnings.catch_warnings():
        for kind in (DeprecationWarning, FutureWarning):  # up to PyTorch 2.13, and from 2.14 on
            warnings.simplefilter("ignore", kind)
        torch.jit.trace(module, photo).save(str(tmp_path / "features.pt"))
    torch.export.save(torch.export.export(module, (photo,)), tmp_path / "features.pt2")
    for name in ("features.pt", "features.pt2"):
        photo.requires_grad_(True)
        features = load_features(tmp_path / name, CPU)(photo)
        assert torch.allclose(features, module(photo), atol=1e-6)
        (slope,) = torch.autograd.grad(features.sum(), photo)
        assert float(slope.abs().sum()) > 0


def test_a_torchscript_file_from_a_gpu_is_read_without_one(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        for kind in (DeprecationWarning, FutureWarning):
            warnings.simplefilter("ignore", kind)
        torch.jit.trace(network(), torch.rand(1, 3, 32, 32)).save(str(tmp_path / "here.pt"))
    with zipfile.ZipFile(tmp_path / "here.pt") as here, zipfile.ZipFile(tmp_path / "there.pt", "w") as there:
        for info in here.infolist():  # pickled texts with their lengths
            content = here.read(info.filename).replace(b"X\3\0\0\0cpu", b"X\6\0\0\0cuda:0")
            there.writestr(info.filename.replace("here", "there"), content)
    assert (tmp_path / "there.pt").stat().st_size > (tmp_path / "here.pt").stat().st_size - 20_000
    assert load_features(tmp_path / "there.pt", CPU)(torch.rand(1, 3, 32, 32)).isfinite().all()


def written(path: Path, *nodes: onnx.NodeProto) -> Path:
    """A graph of these nodes, from x to y, (1, 3, 9, 9)."""
    shapes = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in "xy"]
    graph = onnx.helper.make_graph(list(nodes), "features", shapes[:1], shapes[1:])
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9), str(path))
    return path


@pytest.mark.parametrize("counted", [{}, {"count_include_pad": 0}, {"count_include_pad": 1}], ids=str)
def test_means_at_the_border_are_those_of_onnx(tmp_path: Path, counted: dict[str, int]) -> None:
    pool = onnx.helper.make_node("AveragePool", ["x"], ["p"], kernel_shape=[3, 3], pads=[1, 1, 1, 1], **counted)
    half = onnx.helper.make_node("Constant", [], ["c"], value_float=0.5)
    path = written(tmp_path / "a.onnx", pool, half, onnx.helper.make_node("Mul", ["p", "c"], ["y"]))
    photo = torch.rand(1, 3, 9, 9)
    (expected,) = onnxruntime.InferenceSession(str(path)).run(None, {"x": photo.numpy()})
    np.testing.assert_allclose(load_features(path, CPU)(photo).numpy(), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("asked", "word"),
    [
        ({"ceil_mode": 1}, "ceil_mode"),
        ({"auto_pad": "SAME_UPPER"}, "auto_pad"),
        ({"dilations": [2, 2]}, "dilations"),
        ({"pads": [0, 0, 1, 1]}, "pads that differ"),
        ({"kernel_shape": [3]}, "1-dimensional"),
    ],
    ids=str,
)
def test_what_is_not_computed_as_onnx_has_it_is_refused(tmp_path: Path, asked: dict[str, Any], word: str) -> None:
    pool = onnx.helper.make_node("MaxPool", ["x"], ["y"], **{"kernel_shape": [3, 3], **asked})
    with pytest.raises(ModelError, match=rf"a\.onnx: has MaxPool with {word}"):
        load_features(written(tmp_path / "a.onnx", pool), CPU)


def test_a_network_that_takes_no_such_pictures_is_refused_before_it_is_needed(tmp_path: Path) -> None:
    torch.export.save(torch.export.export(network(), (torch.rand(1, 3, 32, 32),)), tmp_path / "a.pt2")
    loaded = load_features(tmp_path / "a.pt2", CPU)
    try_out(loaded, tmp_path / "a.pt2", 1, 32, CPU)
    with pytest.raises(ModelError, match=r"a\.pt2: fails on 2 pictures of 64 pixels \("):
        try_out(loaded, tmp_path / "a.pt2", 2, 64, CPU)


def test_what_cannot_be_used_is_refused_by_name(tmp_path: Path) -> None:
    path = exported(tmp_path / "gelu.onnx", torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Softmax(1)))
    with pytest.raises(ModelError, match=r"gelu\.onnx: has Softmax"):
        load_features(path, CPU)
    for name in ("a.onnx", "a.pt", "a.pt2"):
        (tmp_path / name).write_bytes(b"no network")
        with pytest.raises(ModelError, match=name):
            load_features(tmp_path / name, CPU)
