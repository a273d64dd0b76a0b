"""The octave network as it is exported computes what the network does, whoever wrote the file."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import onnxruntime  # noqa: E402
from torch import Tensor  # noqa: E402

from bokehcli.model import ModelCard  # noqa: E402
from bokehcli.trainer import warm  # noqa: E402
from bokehcli.trainer.export import carried, export_model, folded, write_onnx  # noqa: E402
from bokehcli.trainer.network import STATE, LensNet, NetworkOptions, OctaveNet, finest  # noqa: E402
from bokehcli.trainer.octave_graph import FIRST, ExportedOctave, halves, joined, shuffled  # noqa: E402
from bokehcli.trainer.weights import stored_weights  # noqa: E402

TINY = NetworkOptions(widths=(8, 12, 16, 24, 32), blocks=(1, 1, 1, 1, 1), octave=8)
ABOUT: dict[str, Any] = {"network": dataclasses.asdict(TINY)}


def octave() -> OctaveNet:
    """One that changes something, no two weights of which are the same: an exporter writes equal ones once."""
    torch.manual_seed(0)
    network = OctaveNet(TINY).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.bias, std=0.3)
    torch.nn.init.normal_(network.head.weight, std=0.3)
    return network


def inputs(height: int, width: int) -> tuple[Tensor, Tensor]:
    """A photo, and a state of which alpha varies."""
    torch.manual_seed(1)
    return torch.rand(2, 3, 2 * height, 2 * width), 3.0 * torch.randn(2, STATE, height, width)


def test_the_first_convolution_is_halved_and_joined_again() -> None:
    weight = torch.rand(16, 12 + STATE, 3, 3)
    photo, state = halves(weight)
    assert photo.shape == (16, 3, 6, 6)
    assert torch.equal(joined(photo, state), weight)


@pytest.mark.parametrize("channels", [1, 3])
def test_two_transpositions_shuffle_pixels(channels: int, tmp_path: Path) -> None:
    class Alone(torch.nn.Module):  # type: ignore[misc]
        def forward(self, x: Tensor) -> Tensor:
            return shuffled(x, channels)

    path = tmp_path / "shuffle.onnx"
    write_onnx(Alone(), {"x": torch.rand(1, 4 * channels, 6, 6)}, "shuffled", path)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    x = torch.rand(2, 4 * channels, 5, 7)
    expected = torch.nn.functional.pixel_shuffle(x, 2)
    assert torch.equal(shuffled(x, channels), expected)
    np.testing.assert_array_equal(session.run(None, {"x": x.numpy()})[0], expected.numpy())


@pytest.mark.parametrize("size", [(1, 1), (5, 9), (50, 50)])
@pytest.mark.parametrize("last", [False, True])
def test_the_exported_octave_computes_what_the_network_does(size: tuple[int, int], last: bool) -> None:
    network = finest(octave()) if last else octave()
    photo, state = inputs(*size)
    with torch.no_grad():
        torch.testing.assert_close(ExportedOctave(folded(network))(photo, state), network(photo, state))  # type: ignore[arg-type]


def outputs(card: ModelCard, role: str) -> Any:
    """What a file of the model makes of the inputs."""
    session = onnxruntime.InferenceSession(str(card.path(role)), providers=["CPUExecutionProvider"])
    photo, state = inputs(20, 30)
    return session.run(None, {"photo": photo.numpy(), "state": state.numpy()})[0]


def test_octaves_of_an_earlier_exporter_are_read_and_brought_to_this_form(tmp_path: Path) -> None:
    network = LensNet(TINY).eval()
    network.octave = octave()
    card = export_model(network, tmp_path / "new", ABOUT)
    new = {role: outputs(card, role) for role in ("octave", "finest")}
    read = warm.exported_weights(card)
    example = {"photo": torch.rand(1, 3, 64, 64), "state": torch.rand(1, STATE, 32, 32)}
    write_onnx(network.octave, example, "refined", card.path("octave"))
    write_onnx(finest(network.octave), example, "alpha", card.path("finest"))
    assert f"{FIRST}.weight" in stored_weights(card.path("octave"))
    before = warm.exported_weights(card)
    for name in before.keys() & {f"octave.{FIRST}.weight", f"octave.{FIRST}.bias", "octave.head.weight"}:
        torch.testing.assert_close(read[name], before[name])
    (tmp_path / "again").mkdir()
    for role in ("octave", "finest"):
        carried(card, role, tmp_path / "again")
        again = dataclasses.replace(card, folder=tmp_path / "again")
        assert f"{FIRST}.weight" not in stored_weights(again.path(role))
        np.testing.assert_allclose(outputs(again, role), new[role], atol=1e-5)
