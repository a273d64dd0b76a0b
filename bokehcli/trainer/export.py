"""From a checkpoint to the files that `bokeh run` loads, and back.

Batch norm is folded into the convolutions; how the weights are stored is told in `bokehcli.trainer.weights`.
"""

import copy
import dataclasses
import shutil
import warnings
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bokehcli.errors import ModelError
from bokehcli.model import PICTURE, POINTED, ROLES, Card, ModelCard, PictureCard, find_lens_model, find_model
from bokehcli.trainer.network import (
    GATE_FROM,
    GATE_REACH_PX,
    LONG_SIDE,
    MULTIPLE,
    OCTAVE_DILATIONS,
    POINTED_SIDE,
    STATE,
    STEM,
    SURE,
    GlobalNet,
    LensNet,
    NetworkOptions,
    OctaveNet,
    finest,
)
from bokehcli.trainer.octave_graph import FIRST, ExportedOctave, octave_of
from bokehcli.trainer.weights import as_stored, compact, expanded, is_compact, is_quantised, stored_weights

OPSET = 18
# In pixels of the state below: the gate and its enlargement, and the convolutions with the head.
GATE_CONTEXT_PX = GATE_REACH_PX + 1
CONTEXT_PX = max(GATE_CONTEXT_PX, sum(OCTAVE_DILATIONS) + 1)
EXAMPLE_PX = 128


class Lowest(nn.Module):
    """The global network with level 3's state as its only output."""

    def __init__(self, network: GlobalNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, photo: Tensor) -> Tensor:
        maps, features = self.network.pyramid(photo)
        return self.network.state(maps[-1], features)


def folded(network: nn.Module) -> nn.Module:
    """A copy in which every convolution followed by batch norm is one convolution with a bias."""
    network = copy.deepcopy(network).eval()
    for module in list(network.modules()):
        if not isinstance(module, nn.Sequential):
            continue
        for name, following in zip(list(module._modules), list(module._modules)[1:], strict=False):
            first, second = module._modules[name], module._modules[following]
            if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                module._modules[name] = nn.utils.fusion.fuse_conv_bn_eval(first, second)
                module._modules[following] = nn.Identity()
    return network


def write_onnx(module: nn.Module, inputs: dict[str, Tensor], output: str, path: Path) -> None:
    """Export one module; number, height and width stay free."""
    axes: dict[str, dict[int, str]] = {
        name: {0: "number", 2: f"{name}_height", 3: f"{name}_width"} for name in (*inputs, output)
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the tracing exporter needs no further package
        warnings.filterwarnings("ignore", "ONNX export mode", UserWarning)  # instance norm has no other mode
        torch.onnx.export(
            folded(module),
            tuple(inputs.values()),
            str(path),
            input_names=list(inputs),
            output_names=[output],
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )
    model = compact(onnx.load(str(path)))
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


CONTRAST = 16.0  # of the logit of alpha that is made of a photo's brightness
PARITY = 1e-3  # largest difference of alpha or defocus that rounding may make, the weights being the same


def rounded(module: nn.Module) -> nn.Module:
    """What `write_onnx` stores, in torch: folded, weights rounded."""
    module = folded(module)
    with torch.no_grad():
        for weight in module.parameters():
            weight.copy_(as_stored(weight))
    return module


@torch.no_grad()
def parity(network: LensNet, card: ModelCard, photo: Tensor, hint: Tensor, role: str = "global") -> float:
    """Largest difference of alpha and defocus between torch and ONNX Runtime, over the global network and the octave.

    role: the file that holds the global network. network: in eval mode. photo: (N, 3, H, W), hint: (N, 1, H, W), real
    samples in [0, 1], sides multiples of MULTIPLE; the hint counts where the file is for what is pointed at, too. Raises
    ModelError if it is more than PARITY.
    """
    if role != POINTED and POINTED in card.files:
        hint = torch.zeros_like(hint)
    x = torch.cat((photo, hint), 1)
    state = rounded(Lowest(network.network))(x)
    coarse = F.avg_pool2d(photo, STEM // 2)
    edges = CONTRAST * (F.avg_pool2d(coarse, 2).mean(1, keepdim=True) - 0.5)  # so that the octave's gate is open
    varied = torch.cat((edges, state[:, 1:]), 1)
    pairs = (
        (role, {"photo": x}, state),
        ("octave", {"photo": coarse, "state": varied}, rounded(network.octave)(coarse, varied)),
        ("finest", {"photo": coarse, "state": varied}, rounded(finest(network.octave))(coarse, varied)),
    )
    largest = 0.0
    for name, inputs, expected in pairs:
        session = onnxruntime.InferenceSession(str(card.path(name)), providers=["CPUExecutionProvider"])
        feeds = {key: value.contiguous().numpy() for key, value in inputs.items()}
        computed = torch.from_numpy(session.run(None, feeds)[0])
        difference = (torch.sigmoid(computed[:, :2]) - torch.sigmoid(expected[:, :2])).abs()
        largest = max(largest, within_parity(difference, card.folder))
    return largest


def within_parity(difference: Tensor, folder: Path) -> float:
    """The largest difference between torch and ONNX Runtime. Raises ModelError if it is more than PARITY, or not a number."""
    largest = float(difference.max())
    if not largest <= PARITY:
        raise ModelError(f"{folder}: ONNX Runtime and torch differ by {largest:.3f} on the same photos")
    return largest


# What goes in and comes out of the files, for the card.
TENSORS = {
    "global": {
        "photo": "in, (N, 4, H, W) float32: sRGB-encoded RGB in [0, 1] and the focus hint in [0, 1]; H, W multiples of 64",
        "state": "out, (N, 8, H/4, W/4) float32: logit of alpha, logit of defocus, six hidden channels",
    },
    "octave": {
        "photo": "in, (N, 3, 2H, 2W) float32: sRGB-encoded RGB in [0, 1]",
        "state": "in, (N, 8, H, W) float32: the state of the octave below",
        "refined": "out, (N, 8, 2H, 2W) float32: the state at twice its size; alpha counts, defocus stays level 3's",
    },
    "pointed": "as global, where there is one; asked instead of it when somebody points",
    "finest": {"photo": "as octave's", "state": "as octave's", "alpha": "out, (N, 1, 2H, 2W) float32: logit of alpha alone"},
}


def export_model(
    network: LensNet, folder: Path, about: dict[str, Any], long_side: int = LONG_SIDE, base: ModelCard | None = None
) -> ModelCard:
    """Write global.onnx, octave.onnx, finest.onnx and card.json into `folder`; returns the card as it was read back.

    base: a model whose network for what is pointed at, if it has one, goes into this one too; its hidden channels were
    made for the octaves of `base`. Then nobody points at this one, and it is written without its pointings.
    """
    folder.mkdir(parents=True, exist_ok=True)
    network = exportable(network)
    if base is not None and POINTED in base.files:
        network.network.pointing.clear()
        about = about | ({"network": about["network"] | {"pointed_levels": ()}} if "network" in about else {})
    write_global(network, folder / "global.onnx")
    write_octave(folded(network.octave), folder / "octave.onnx")
    write_octave(folded(finest(network.octave)), folder / "finest.onnx")
    files = {role: f"{role}.onnx" for role in ROLES}
    about, pointed_side = {"tensors": TENSORS, **about}, 0
    if base is not None and POINTED in base.files:
        files[POINTED] = carried(base, POINTED, folder)
        about[POINTED] = base.about.get(POINTED, {})
        pointed_side = base.side(POINTED)
    card = ModelCard(
        folder=folder,
        kind="lens",
        files=files,
        sha256={},
        long_side=long_side,
        multiple=MULTIPLE,
        shrink=STEM,
        channels=STATE,
        context_px=CONTEXT_PX,
        gate_px=GATE_CONTEXT_PX,
        gate_from=GATE_FROM,
        sure=SURE,
        pointed_side=pointed_side,
        opset=OPSET,
        about=about,
    )
    return saved(card)


def export_pointed(network: LensNet, folder: Path, about: dict[str, Any], base: ModelCard) -> ModelCard:
    """Write the model `base` into `folder` with this global network as the one that is asked when somebody points.

    about: of that network; it stands in the card by the name of its role.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = {role: carried(base, role, folder) for role in ROLES}
    files[POINTED] = f"{POINTED}.onnx"
    network = exportable(network)
    write_global(network, folder / files[POINTED])
    about = {**base.about, "tensors": TENSORS, POINTED: about}
    return saved(dataclasses.replace(base, folder=folder, files=files, pointed_side=POINTED_SIDE, about=about))


def exportable(network: LensNet) -> LensNet:
    """A copy in eval mode, its weights laid out as the exporter takes them."""
    network = copy.deepcopy(network).eval()
    return network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload, no-any-return]


def example() -> Tensor:
    """A picture with a hint, for the exporter to look at."""
    return torch.rand(1, 4, EXAMPLE_PX, EXAMPLE_PX)


def write_global(network: LensNet, path: Path) -> None:
    """Export the global network."""
    write_onnx(Lowest(network.network), {"photo": example()}, "state", path)


def write_octave(octave: nn.Module, path: Path) -> None:
    """Export an octave network, batch norm folded, or the one for the last octave."""
    assert isinstance(octave, OctaveNet)
    output = "alpha" if octave.head.out_channels == 4 else "refined"
    example_of = {"photo": example()[:, :3], "state": torch.rand(1, STATE, EXAMPLE_PX // 2, EXAMPLE_PX // 2)}
    write_onnx(ExportedOctave(octave), example_of, output, path)


def carried(base: ModelCard, role: str, folder: Path) -> str:
    """Copy a role's file into `folder`, unless it lies there.

    What an earlier exporter wrote becomes as this one writes it: large kernels in eight bits, octaves in fewer operations.
    """
    source, there = base.path(role), folder / base.files[role]
    model = onnx.load(str(source))
    if f"{FIRST}.weight" in (weights := stored_weights(source)):
        width = weights[f"{FIRST}.weight"].shape[0]
        octave = folded(OctaveNet(NetworkOptions(octave=width)))
        assert isinstance(octave, OctaveNet)
        write_octave(octave_of(weights, octave), there)
    elif not is_quantised(model) and not is_compact(model):
        onnx.save(compact(expanded(model)), str(there))
    elif not there.exists() or not there.samefile(source):
        shutil.copyfile(source, there)
    return there.name


def saved(card: ModelCard) -> ModelCard:
    """Write the card with what its files are; returns it as it was read back."""
    described(card).save()
    return find_lens_model(card.folder)


def described(card: Any) -> Any:
    """The card with the sizes of its files, and in what each computes."""
    sizes, kinds = {}, {}
    for role in card.files:
        sizes[role] = card.path(role).stat().st_size
        kinds[role] = "int8" if is_quantised(onnx.load(str(card.path(role)))) else "float32"
    return dataclasses.replace(card, about={**card.about, "bytes": sizes, "computes": kinds})


PICTURE_TENSORS = {
    "photo": "in, (N, 3, H, W) float32: sRGB-encoded RGB in [0, 1], a whole picture",
    PICTURE: "out, (N, 3, H, W) float32: the rendered picture, likewise",
}


@torch.no_grad()
def export_picture(
    network: nn.Module, folder: Path, about: dict[str, Any], photo: Tensor, long_side: int, multiple: int
) -> tuple[Card, float]:
    """Write a network that gives pictures, and its card: the card, and how far ONNX Runtime and torch are apart on photo.

    network: (N, 3, H, W) in [0, 1] to the same, in eval mode. photo: real samples, (N, 3, H, W), sides multiples of
    `multiple`. Raises ModelError if the two differ by more than PARITY.
    """
    folder.mkdir(parents=True, exist_ok=True)
    network = copy.deepcopy(network).eval().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    photo = photo.contiguous()
    name = f"{PICTURE}.onnx"
    write_onnx(network, {"photo": photo[:1]}, PICTURE, folder / name)
    card = PictureCard(
        folder=folder,
        kind="rgb",
        files={PICTURE: name},
        sha256={},
        long_side=long_side,
        multiple=multiple,
        opset=OPSET,
        about={"tensors": PICTURE_TENSORS, **about},
    )
    described(card).save()
    session = onnxruntime.InferenceSession(str(folder / name), providers=["CPUExecutionProvider"])
    computed = torch.from_numpy(session.run(None, {"photo": photo.numpy()})[0])
    difference = within_parity((computed - rounded(network)(photo)).abs(), folder)
    return find_model(folder), difference
