"""A feature network that the user names, for a perceptual loss (Johnson et al. 2016, arXiv 1603.08155).

It takes (N, 3, H, W) RGB in [0, 1] and gives one tensor of features; what it needs of other ranges is its own first layer.
A file of torch.export (.pt2) or of TorchScript runs as it is; of an ONNX file, the operations of plain convolutional networks
(VGG and the like).
"""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bokehcli.errors import ModelError
from bokehcli.model import file_hash


def digest_of(path: Path) -> str:
    """SHA-256 of a network's file. Raises ModelError."""
    if not path.is_file():
        raise ModelError(f"{path}: no such file")
    return file_hash(path)


def load_features(path: Path, device: torch.device) -> nn.Module:
    """The network in a file, its weights held. Raises ModelError."""
    if not path.is_file():
        raise ModelError(f"{path}: no such file")
    if path.suffix.lower() == ".onnx":
        return held(OnnxFeatures(path).to(device))
    try:
        if path.suffix.lower() == ".pt2":
            network: nn.Module = torch.export.load(path).module()
        else:
            with warnings.catch_warnings():
                for kind in (DeprecationWarning, FutureWarning):  # of TorchScript, before and from 2.14: files of it are about
                    warnings.simplefilter("ignore", kind)
                network = torch.jit.load(str(path), map_location="cpu").eval()  # type: ignore[no-untyped-call]
    except Exception as error:  # what a file that is none of these raises differs from release to release
        raise ModelError(f"{path}: neither ONNX (.onnx) nor of torch.export (.pt2) nor TorchScript") from error
    return held(network.to(device))


@torch.no_grad()
def try_out(network: nn.Module, path: Path, pictures: int, size_px: int, device: torch.device) -> None:
    """Show the network so many square pictures, as training will. Raises ModelError, with its file, where it takes no such."""
    try:
        features = network(torch.rand(pictures, 3, size_px, size_px, device=device))
        sound = bool(features.isfinite().all())
    except Exception as error:  # anything, for it is somebody's own
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(f"{path}: fails on {pictures} pictures of {size_px} pixels ({reason})") from error
    if not sound:
        raise ModelError(f"{path}: gives values that are not finite")


def held(network: nn.Module) -> nn.Module:
    """The network, which learns nothing."""
    for weight in network.parameters():
        weight.requires_grad_(False)
    return network


def pooled(pool: Callable[..., Tensor], x: Tensor, at: dict[str, Any], **more: Any) -> Tensor:
    """MaxPool or AveragePool."""
    return pool(x, at["kernel_shape"], at.get("strides", 1), at.get("pads", [0, 0])[:2], **more)


def averaged(at: dict[str, Any], x: Tensor) -> Tensor:
    """AveragePool; whether what lies beyond the border counts is said in the file, and not, if nothing is."""
    return pooled(F.avg_pool2d, x, at, count_include_pad=bool(at.get("count_include_pad", 0)))


def convolved(at: dict[str, Any], x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Conv; pads are top, left, bottom, right."""
    pads = at.get("pads", [0, 0, 0, 0])
    x = F.pad(x, (pads[1], pads[3], pads[0], pads[2]))
    return F.conv2d(x, weight, bias, at.get("strides", 1), 0, at.get("dilations", 1), at.get("group", 1))


PLAIN: dict[str, Callable[..., Tensor]] = {
    "Relu": F.relu,
    "Add": torch.add,
    "Sub": torch.sub,
    "Mul": torch.mul,
    "Div": torch.div,
}
# attributes first
TUNED: dict[str, Callable[..., Tensor]] = {
    "Conv": convolved,
    "LeakyRelu": lambda at, x: F.leaky_relu(x, at.get("alpha", 0.01)),
    "MaxPool": lambda at, x: pooled(F.max_pool2d, x, at),
    "AveragePool": averaged,
}


def fault_of(operation: str, at: dict[str, Any]) -> str | None:
    """What an operation is asked for that is not done here."""
    pads = at.get("pads", [])
    pools = operation in ("MaxPool", "AveragePool")
    if at.get("auto_pad", b"NOTSET") != b"NOTSET":
        return "auto_pad"
    if len(at.get("kernel_shape", (0, 0))) != 2:
        return f"{len(at['kernel_shape'])}-dimensional kernels"
    if pools and at.get("ceil_mode", 0):
        return "ceil_mode"
    if pools and any(dilation != 1 for dilation in at.get("dilations", [])):
        return "dilations"
    if pools and list(pads[:2]) != list(pads[2:]):
        return "pads that differ between the sides"
    return None


def constant_of(at: dict[str, Any]) -> Any:
    """The array of a Constant; None if it is none of numbers."""
    if "value" in at:
        import onnx

        return onnx.numpy_helper.to_array(at["value"])
    number = next((at[name] for name in ("value_float", "value_floats", "value_int", "value_ints") if name in at), None)
    return None if number is None else np.array(number, np.float32 if "float" in next(iter(at)) else np.int64)


class OnnxFeatures(nn.Module):
    """The graph of an ONNX file, in torch, so that what it is given can learn from it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        import onnx

        try:
            graph = onnx.load(str(path)).graph
        except Exception as error:  # protobuf's own classes differ from release to release
            raise ModelError(f"{path}: cannot be read as ONNX") from error
        unknown = sorted({node.op_type for node in graph.node} - {*PLAIN, *TUNED, "Constant"})
        if unknown:
            raise ModelError(f"{path}: has {', '.join(unknown)}; a feature network may have {', '.join((*PLAIN, *TUNED))}")
        self.values: list[str] = []
        for tensor in graph.initializer:
            self.keep(tensor.name, onnx.numpy_helper.to_array(tensor))
        self.steps: list[tuple[str, dict[str, Any], list[str], str]] = []
        for node in graph.node:
            attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            fault = fault_of(node.op_type, attributes)
            if node.op_type == "Constant":
                constant = constant_of(attributes)
                if constant is None:
                    raise ModelError(f"{path}: has a Constant that is no number")
                self.keep(node.output[0], constant)
            elif fault is not None:
                raise ModelError(f"{path}: has {node.op_type} with {fault}, which a feature network may not have")
            else:
                self.steps.append((node.op_type, attributes, list(node.input), node.output[0]))
        self.takes = next(x.name for x in graph.input if x.name not in self.values)
        self.gives = graph.output[0].name

    def keep(self, name: str, array: Any) -> None:
        """A weight of the graph, by its name there."""
        self.register_buffer(f"value{len(self.values)}", torch.from_numpy(array.copy()))
        self.values.append(name)

    def forward(self, x: Tensor) -> Tensor:
        known: dict[str, Any] = {name: self.get_buffer(f"value{index}") for index, name in enumerate(self.values)}
        known[self.takes] = x
        for operation, attributes, inputs, output in self.steps:
            given = [known[name] for name in inputs]
            known[output] = PLAIN[operation](*given) if operation in PLAIN else TUNED[operation](attributes, *given)
        features: Tensor = known[self.gives]
        return features
