"""ONNX Runtime sessions on the device that is asked for."""

import onnxruntime as ort

from bokehcli.errors import DeviceError, ModelError
from bokehcli.model import Card
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
    """A session for one of the card's files. Raises DeviceError for a provider that is not there, ModelError else."""
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
    return session
