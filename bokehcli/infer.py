"""ONNX Runtime sessions: image -> what is in focus, and how far out of focus the rest is."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from bokehcli.errors import DeviceError, ModelError
from bokehcli.model import ModelCard
from bokehcli.options import Device, InferOptions
from bokehcli.pixels import enlarged_box, fit_long_side, focus_hint, resize, round_up, to_unit
from bokehcli.tiling import Box, boxes_of

Image = NDArray[Any]
Float = NDArray[np.float32]

MAPS = 2  # the first channels of a state: logits of alpha and defocus
TILE_PX = 256  # of an octave; its context comes on top
WHOLE_UP_TO_PX = 1024  # octaves up to this long side run over the whole picture
PROVIDERS = {
    Device.CPU: "CPUExecutionProvider",
    Device.CUDA: "CUDAExecutionProvider",
    Device.COREML: "CoreMLExecutionProvider",
    Device.DIRECTML: "DmlExecutionProvider",
    Device.OPENVINO: "OpenVINOExecutionProvider",
}
PACKAGES = {
    Device.CUDA: "onnxruntime-gpu in place of onnxruntime",
    Device.COREML: "onnxruntime on macOS",
    Device.DIRECTML: "onnxruntime-directml in place of onnxruntime",
    Device.OPENVINO: "onnxruntime-openvino in place of onnxruntime",
}


@dataclass(frozen=True)
class Maps:
    """alpha, defocus: (H, W) float32 in [0, 1], at the photo's size: share in focus, relative circle of confusion."""

    alpha: Float
    defocus: Float

    @property
    def subject_area(self) -> float:
        """Share of the pixels that are mostly in focus."""
        return float((self.alpha > 0.5).mean())


def open_session(card: ModelCard, role: str, options: InferOptions) -> ort.InferenceSession:
    """A session for one of the card's files. Raises DeviceError for a provider that is not there, ModelError else."""
    wanted = Device.CPU if options.device is Device.AUTO else options.device
    provider = PROVIDERS[wanted]
    if provider not in ort.get_available_providers():
        raise DeviceError(f"device {wanted.value} is not available here; it needs the package {PACKAGES[wanted]}")
    settings = ort.SessionOptions()
    settings.enable_mem_pattern = False  # keeps memory flat over pictures of different sizes
    settings.log_severity_level = 3
    settings.intra_op_num_threads = options.threads
    try:
        session = ort.InferenceSession(str(card.path(role)), settings, providers=[provider])
    except Exception as error:  # onnxruntime raises its own classes, which share no public root
        raise ModelError(f"{card.path(role)}: cannot be opened ({str(error).splitlines()[0]})") from error
    if session.get_providers()[0] != provider:
        raise DeviceError(f"device {wanted.value} was asked for, but onnxruntime fell back to the CPU")
    return session


def open_network(card: ModelCard, options: InferOptions | None = None) -> "Network":
    """The network of a card, ready to run. Raises ModelError, DeviceError."""
    options = options or InferOptions()
    return Network(card, *(open_session(card, role, options) for role in ("global", "octave")))


class Network:
    """The global network and the octave network of a lens model. One instance may serve several threads."""

    def __init__(self, card: ModelCard, lowest: ort.InferenceSession, octave: ort.InferenceSession) -> None:
        self.card = card
        self.lowest = lowest
        self.octave = octave

    def predict(self, image: Image, focus: tuple[float, float] | None = None, tiled: bool = True) -> Maps:
        """Maps of a photo at its own size.

        image: (H, W, 3) uint8 or uint16, upright RGB. focus: (x, y) as shares of width and height, None to choose by
        itself. tiled: False runs the large octaves over the whole picture, which gives the same and takes longer.
        """
        native = image.shape[0], image.shape[1]
        state = self.global_state(image, focus)
        sizes = self.octave_sizes(native, max(state.shape[:2]))
        pictures = pyramid(image, sizes)
        for size, picture in zip(sizes, pictures, strict=True):
            if max(size) <= WHOLE_UP_TO_PX or not tiled:
                state = self.refine(picture, resize(state, size))
            else:
                state = self.refine_tiles(picture, state, MAPS if size == native else self.card.channels)
        if not sizes:
            state = resize(state, native)
        return self.maps(state)

    def maps(self, state: Float) -> Maps:
        """Maps from the logits of a state at native size; what is sure becomes exactly 0 or 1."""
        sure = np.float32(self.card.sure)
        alpha = np.clip((sigmoid(state[:, :, 0]) - sure) / (1.0 - 2.0 * sure), 0.0, 1.0)
        return Maps(alpha.astype(np.float32, copy=False), sigmoid(state[:, :, 1]))

    def global_state(self, image: Image, focus: tuple[float, float] | None) -> Float:
        """(h, w, channels) float32 state of level 3 for the whole photo.

        The photo is stretched to sides that are multiples of the card's: at 512 pixels and 3:2 by 6 %.
        """
        card = self.card
        size = fit_long_side((image.shape[0], image.shape[1]), card.long_side)
        height, width = (max(card.multiple, round(side / card.multiple) * card.multiple) for side in size)
        photo = to_unit(resize(image, (height, width)))
        hint = focus_hint((height, width), focus)
        stacked = np.concatenate((photo, hint[:, :, None]), axis=2).transpose(2, 0, 1)[None]
        state = self.lowest.run(None, {"photo": np.ascontiguousarray(stacked)})[0]
        return np.ascontiguousarray(state[0].transpose(1, 2, 0))

    def octave_sizes(self, native: tuple[int, int], state_px: int) -> list[tuple[int, int]]:
        """Sizes of the octaves: the long side doubles from the global state's, the last one is the photo's own."""
        sizes = []
        while state_px < max(native):
            state_px *= 2
            sizes.append(native if state_px >= max(native) else fit_long_side(native, state_px))
        return sizes

    def refine(self, picture: Image, state: Float) -> Float:
        """One run of the octave network: picture (h, w, 3) integer, state (h, w, channels) upsampled -> refined state."""
        photo = np.ascontiguousarray(to_unit(picture).transpose(2, 0, 1)[None])
        stacked = np.ascontiguousarray(state.transpose(2, 0, 1)[None])
        refined = self.octave.run(None, {"photo": photo, "state": stacked})[0]
        return np.ascontiguousarray(refined[0].transpose(1, 2, 0))

    def refine_tiles(self, picture: Image, state: Float, channels: int) -> Float:
        """`refine`, but only where alpha is unsure: elsewhere the network passes the upsampled state on as it is.

        picture: (H, W, 3). state: (h, w, channels) of the octave below. Returns the first `channels` of (H, W, channels): at
        the photo's own size nobody asks for the hidden ones.
        """
        size = picture.shape[0], picture.shape[1]
        refined = resize(np.ascontiguousarray(state[:, :, :channels]), size)
        if np.may_share_memory(refined, state):
            refined = refined.copy()
        unsure = self.unsure(refined[:, :, 0])
        for tile in boxes_of(size, TILE_PX):
            box = context_box(tile, self.card.context_px, size)
            if not unsure[reach_slices(tile, self.card.gate_reach_px)].any():
                continue
            inner = slice(tile.top - box.top, tile.bottom - box.top), slice(tile.left - box.left, tile.right - box.left)
            finer = self.refine(picture[box.slices], enlarged_box(state, size, box))
            refined[tile.slices] = finer[inner][:, :, :channels]
        return refined

    def unsure(self, logit: Float) -> NDArray[np.bool_]:
        """Where alpha is neither background nor subject for sure; (h, w)."""
        edge = np.float32(np.log((1.0 - self.card.sure) / self.card.sure))
        return np.abs(logit) < edge


def reach_slices(tile: Box, reach: int) -> tuple[slice, slice]:
    """Index of a tile with `reach` pixels more on every side, as far as the picture goes."""
    return slice(max(0, tile.top - reach), tile.bottom + reach), slice(max(0, tile.left - reach), tile.right + reach)


def context_box(tile: Box, context_px: int, size: tuple[int, ...]) -> Box:
    """A tile with context, always TILE_PX + 2 contexts wide and high unless the picture is smaller.

    At the picture's border the box moves inwards, so that the border of box and picture coincide and the convolutions
    pad the same way in both.
    """
    side = round_up(TILE_PX + 2 * context_px, 4)
    edges = []
    for start, length in ((tile.top, size[0]), (tile.left, size[1])):
        first = max(0, min(start - context_px, length - side))
        edges += [first, min(length, first + side)]
    return Box(*edges)


def pyramid(image: Image, sizes: list[tuple[int, int]]) -> list[Image]:
    """The photo at each of `sizes`, ascending; each is made from the next larger one."""
    pictures: list[Image] = []
    for size in reversed(sizes):
        image = resize(image, size)
        pictures.append(image)
    return pictures[::-1]


def sigmoid(logit: Float) -> Float:
    """1 / (1 + exp(-x)), (h, w) float32."""
    half: Float = np.tanh(0.5 * logit).astype(np.float32, copy=False)
    return 0.5 * half + np.float32(0.5)
