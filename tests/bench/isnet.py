"""A stand-in for a segmentation network of ISNet's size: its architecture, in ONNX, with random weights.

IS-Net (Qin et al., "Highly Accurate Dichotomous Image Segmentation", ECCV 2022, arXiv 2203.03041): six encoder and five
decoder stages of residual U-blocks (RSU, from U2-Net, Qin et al. 2020), widths as in the authors' published network
(github.com/xuebinqin/DIS). Batch norm counts as folded into the convolutions, and only the finest side output is computed, as
in exported networks. Random weights take the time that trained ones take, and give no useful mask.
"""

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

SIDE_PX = 1024
# RSU blocks: depth (0 for the dilated RSU-4F), input, middle and output channels.
ENCODER = ((7, 64, 32, 64), (6, 64, 32, 128), (5, 128, 64, 256), (4, 256, 128, 512), (0, 512, 256, 512), (0, 512, 256, 512))
DECODER = ((0, 1024, 256, 512), (4, 1024, 128, 256), (5, 512, 64, 128), (6, 256, 32, 64), (7, 128, 16, 64))


class Builder:
    """Collects nodes and weights, and counts: macs, multiplications with addition; parameters, weights and biases."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.macs = self.parameters = 0
        self.random = np.random.default_rng(1)
        self.sides_px = {"photo": SIDE_PX}

    def add(self, kind: str, inputs: list[str], side_px: int, **attributes: object) -> str:
        """One node; returns the name of what it gives, side_px wide and high."""
        name = f"{kind}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        self.sides_px[name] = side_px
        return name

    def constant(self, values: NDArray[np.float32]) -> str:
        """Weights."""
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(values, name))
        return name

    def conv(self, x: str, taken: int, given: int, dilation: int = 1, stride: int = 1, relu: bool = True) -> str:
        """3x3 convolution, and ReLU."""
        side_px = self.sides_px[x] // stride
        spread = np.float32((2.0 / (9 * taken)) ** 0.5)  # He: keeps the signal's size through the ReLUs
        kernel = self.constant(self.random.standard_normal((given, taken, 3, 3), np.float32) * spread)
        bias = self.constant(np.zeros(given, np.float32))
        self.macs += side_px**2 * given * taken * 9
        self.parameters += given * (taken * 9 + 1)
        around = [dilation] * 4
        y = self.add("Conv", [x, kernel, bias], side_px, pads=around, dilations=[dilation] * 2, strides=[stride] * 2)
        return self.add("Relu", [y], side_px) if relu else y

    def pool(self, x: str) -> str:
        """Half the size."""
        return self.add("MaxPool", [x], self.sides_px[x] // 2, kernel_shape=[2, 2], strides=[2, 2])

    def resized(self, x: str, side_px: int) -> str:
        """Bilinear."""
        if self.sides_px[x] == side_px:
            return x
        scale = side_px / self.sides_px[x]
        scales = self.constant(np.array([1, 1, scale, scale], np.float32))
        return self.add("Resize", [x, "", scales], side_px, mode="linear", coordinate_transformation_mode="half_pixel")

    def joined(self, x: str, skip: str) -> str:
        """x, enlarged to the skip's size, beside it."""
        side_px = self.sides_px[skip]
        return self.add("Concat", [self.resized(x, side_px), skip], side_px, axis=1)

    def block(self, x: str, depth: int, taken: int, middle: int, given: int) -> str:
        """RSU-depth: a small U-Net with a residual around it; depth 0 is RSU-4F, with dilation in place of pooling."""
        levels = depth - 1 if depth else 3
        whole = self.conv(x, taken, given)
        skips = [self.conv(whole, given, middle)]
        for level in range(1, levels):
            below = self.pool(skips[-1]) if depth else skips[-1]
            skips.append(self.conv(below, middle, middle, 1 if depth else 2**level))
        y = self.conv(skips[-1], middle, middle, 2 if depth else 8)
        for level in reversed(range(levels)):
            dilation = 1 if depth else 2**level
            y = self.conv(self.joined(y, skips[level]), 2 * middle, middle if level else given, dilation)
        return self.add("Add", [y, whole], self.sides_px[whole])


def build() -> tuple[bytes, int, int]:
    """The ONNX file's bytes (photo, 1x3x1024x1024 float32 -> mask, 1x1x1024x1024 in [0, 1]), its MACs, its parameters."""
    net = Builder()
    x = net.conv("photo", 3, 64, stride=2, relu=False)
    skips = []
    for stage, widths in enumerate(ENCODER):
        x = net.block(x if stage == 0 else net.pool(x), *widths)
        skips.append(x)
    for widths, skip in zip(DECODER, reversed(skips[:-1]), strict=True):
        x = net.block(net.joined(x, skip), *widths)
    net.add("Sigmoid", [net.resized(net.conv(x, 64, 1, relu=False), SIDE_PX)], SIDE_PX)
    net.nodes[-1].output[0] = "mask"
    graph = helper.make_graph(
        net.nodes,
        "isnet-stand-in",
        [helper.make_tensor_value_info("photo", TensorProto.FLOAT, [1, 3, SIDE_PX, SIDE_PX])],
        [helper.make_tensor_value_info("mask", TensorProto.FLOAT, [1, 1, SIDE_PX, SIDE_PX])],
        net.weights,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return made.SerializeToString(), net.macs, net.parameters
