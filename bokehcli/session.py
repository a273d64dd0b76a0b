"""ONNX Runtime sessions on the device that is asked for."""

from collections.abc import Iterator

import onnxruntime as ort

from bokehcli.errors import DeviceError, ModelError
from bokehcli.model import POINTED, Card, ModelCard, PictureCard
from bokehcli.options import Device, InferOptions

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


def available(device: Device) -> bool:
    """Whether the onnxruntime that is installed has a provider for a device."""
    return PROVIDERS[device] in ort.get_available_providers()


def open_session(card: Card, role: str, options: InferOptions) -> ort.InferenceSession:
    """A session for one of the card's files.

    Raises DeviceError for a provider that is not there, ModelError for a file that cannot be opened, or not as the card says.
    """
    wanted = Device.CPU if options.device is Device.AUTO else options.device
    provider = PROVIDERS[wanted]
    if not available(wanted):
        raise DeviceError(f"device {wanted.value} is not available here; it needs the package {PACKAGES[wanted]}")
    settings = ort.SessionOptions()
    settings.enable_mem_pattern = False  # keeps memory flat over pictures of different sizes
    settings.log_severity_level = 3
    settings.intra_op_num_threads = options.threads
    # Between runs waiting threads sleep: spinning, they would take the cores from what OpenCV and numpy do. Within one they
    # spin: to wake them for every layer took a quarter of the time of the global network.
    settings.add_session_config_entry("session.force_spinning_stop", "1")
    try:
        session = ort.InferenceSession(str(card.path(role)), settings, providers=[provider])
    except Exception as error:  # onnxruntime raises its own classes, which share no public root
        raise ModelError(f"{card.path(role)}: cannot be opened ({str(error).splitlines()[0]})") from error
    if session.get_providers()[0] != provider:
        raise DeviceError(f"device {wanted.value} was asked for, but onnxruntime fell back to the CPU")
    for fault in faults_of(session, card, role):
        raise ModelError(f"{card.path(role)}: {fault}")
    return session


def faults_of(session: ort.InferenceSession, card: Card, role: str) -> Iterator[str]:
    """What a network takes and gives otherwise than one of this card and role has to."""
    taken, given = channels_of(card, role)
    inputs = {tensor.name: tensor for tensor in session.get_inputs()}
    if inputs.keys() != taken.keys():
        yield f"takes {' and '.join(inputs)}, not {' and '.join(taken)}"
        return
    for name, channels in taken.items():
        shape, kind = inputs[name].shape, inputs[name].type
        if len(shape) != 4 or kind != "tensor(float)" or differs(shape[1], channels):
            yield f"takes {name} as {kind} {shape}, not as floats with {channels} channels"
        elif any(differs(side, tile_side_of(card)) for side in shape[2:]):
            yield f"takes {name} in one size alone, {shape[2]}x{shape[3]}, and photos have any"
        elif isinstance(shape[0], int) and (shape[0] != 1 or len(taken) > 1):
            yield f"takes {shape[0]} of {name} at a time, and no other number"
    shape = session.get_outputs()[0].shape
    if len(shape) != 4 or differs(shape[1], given):
        yield f"gives {shape}, not {given} channels"


def channels_of(card: Card, role: str) -> tuple[dict[str, int], int]:
    """The inputs of a role's network by name, and its output, in channels."""
    if not isinstance(card, ModelCard):
        return {"photo": 3}, 3
    if role in ("global", POINTED):
        return {"photo": 4}, card.channels
    return {"photo": 3, "state": card.channels}, 1 if role == "finest" else card.channels


def tile_side_of(card: Card) -> int:
    """The side of the tiles that a network sees one by one; 0 where it sees whole pictures."""
    return card.tile_px + 2 * card.context_px if isinstance(card, PictureCard) and card.tile_px else 0


def differs(stated: object, wanted: int) -> bool:
    """Whether a dimension of an ONNX file is a number, and another one."""
    return isinstance(stated, int) and stated != wanted
