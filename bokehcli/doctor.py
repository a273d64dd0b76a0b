"""The doctor command: what is installed, whether it works, and what a run would use."""

import os
import platform
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from itertools import chain, repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from bokehcli import __version__
from bokehcli.arguments import ALL_DONE, FAILED
from bokehcli.config import defaults_of, user_file
from bokehcli.errors import BokehError, MissingDependency
from bokehcli.flags import DeviceOption, Model
from bokehcli.options import Device, InferOptions, RunOptions
from bokehcli.photo import Container
from bokehcli.printable import printable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NEEDED = ("onnxruntime", "opencv-python", "numpy", "typer", "rich", "piexif")
# Others that bring the same modules.
STAND_INS = {
    "onnxruntime": ("onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-openvino"),
    "opencv-python": ("opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless"),
}
EXTRAS = {
    "heic": ("pillow-heif",),
    "cmyk": ("pillow",),
    "webp": ("pillow",),
    "watch": ("watchfiles",),
    "distributed": ("distributed",),
    "cloud": ("fsspec", "s3fs", "gcsfs"),
    "eval": ("scikit-image",),
    "train": ("torch",),
}
MANY = 1000  # photos of an imagined run
SAMPLE_PX = 480, 640  # of the picture for the self-test


class Unwell(Exception):
    """Something that a run needs does not work; the message says what."""


def doctor(
    context: typer.Context,
    model: Model = InferOptions.model,
    device: DeviceOption = InferOptions.device,
) -> None:
    """Look at the installation: versions, devices, formats, the model, a test picture.

    Exit status: 0 all is well, 1 something that is needed is not.
    """
    options = RunOptions(infer=InferOptions(model=model, device=device))
    parts: tuple[tuple[str, Callable[[], Iterator[str]]], ...] = (
        ("bokeh", versions),
        ("packages", packages),
        ("extras", extras),
        ("machine", machine),
        ("devices", devices),
        ("formats", formats),
        ("model", lambda: about_model(options)),
        ("settings", lambda: settings(context)),
        ("test", lambda: self_test(options)),
        ("a run", lambda: would_use(options)),
    )
    well = [_look_at(name, part) for name, part in parts]
    raise typer.Exit(ALL_DONE if all(well) else FAILED)


def _look_at(name: str, part: Callable[[], Iterator[str]]) -> bool:
    """Show a part, and whether it is well."""
    names = chain((name,), repeat(""))
    try:
        for line in part():
            _show(next(names), line)
    except (Unwell, BokehError) as error:
        _show(next(names), f"NOT WELL: {error}")
    except Exception as error:  # an import that fails in its own way, a fault of a library
        _show(next(names), f"NOT WELL: {type(error).__name__}: {error}")
    else:
        return True
    return False


def _show(name: str, line: str) -> None:
    typer.echo(f"{name:9} {printable(line)}")


def versions() -> Iterator[str]:
    """This program, Python, the system."""
    yield f"{__version__}, Python {platform.python_version()}, {platform.platform()}, SQLite {sqlite3.sqlite_version}"
    yield f"at {Path(__file__).parent}, run by {sys.executable}"


def packages() -> Iterator[str]:
    """Those that are needed. Raises Unwell."""
    found = {name: _version(name, *STAND_INS.get(name, ())) for name in NEEDED}
    yield ", ".join(version for version in found.values() if version)
    missing = [name for name, version in found.items() if not version]
    if missing:
        raise Unwell(f"not installed: {', '.join(missing)}")


def extras() -> Iterator[str]:
    """Those that may be there."""
    for extra, names in EXTRAS.items():
        found = {name: _version(name) for name in names}
        told = [version for version in found.values() if version]
        missing = [name for name, version in found.items() if not version]
        if missing:
            told.append(f"no {', '.join(missing)}; pip install 'bokehcli[{extra}]'")
        yield f"{extra}: {', '.join(told)}"


def _version(*names: str) -> str | None:
    for name in names:
        try:
            return f"{name} {metadata.version(name)}"
        except metadata.PackageNotFoundError:
            continue
    return None


def machine() -> Iterator[str]:
    """Cores and memory that this process may use."""
    from bokehcli.resources import available_bytes, usable_cores

    memory = available_bytes()
    told = "memory unknown" if memory is None else f"{memory / 2**30:.1f} GiB of memory available"
    yield f"{usable_cores()} of {os.cpu_count()} cores may be used, {told}"


def devices() -> Iterator[str]:
    """Where a network can run here."""
    from bokehcli.session import PACKAGES, available

    for device in Device:
        if device is not Device.AUTO:
            yield f"{device.value}: {'yes' if available(device) else f'no; needs {PACKAGES.get(device)}'}"


def formats() -> Iterator[str]:
    """What is written and read again. Raises Unwell where that fails for one that every installation has."""
    from bokehcli.decode import decode_photo
    from bokehcli.encode import Encoding, check_encoder, encode_image
    from bokehcli.options import DecodeOptions

    works, fails = [], {}
    for container in Container:
        try:
            check_encoder(container)
            data = encode_image(_sample()[::8, ::8], None, Encoding(container=container), "sample")
            decode_photo(data, "sample", DecodeOptions())
        except MissingDependency as error:
            yield f"{container.value}: {error}"
        except BokehError as error:
            fails[container.value] = str(error)
        else:
            works.append(container.value)
    yield f"{', '.join(works)}: written and read"
    if fails:
        raise Unwell("; ".join(f"{name}: {error}" for name, error in fails.items()))


def about_model(options: RunOptions) -> Iterator[str]:
    """The model's card; its files' hashes are checked. Raises ModelError."""
    from bokehcli.model import find_model

    card = find_model(options.infer.model)
    size = sum(card.path(role).stat().st_size for role in card.files)
    yield f"{card.folder}: {card.kind}, {', '.join(card.files)}, {size / 1e6:.2f} MB, opset {card.opset}; hashes are right"


def settings(context: typer.Context) -> Iterator[str]:
    """The user's own defaults. Raises UsageError where every run would, for what its settings file says."""
    file = user_file()
    yield f"{file}: {'used unless --config names another' if file.is_file() else 'not there'}"
    if named := os.environ.get("BOKEH_CONFIG"):
        yield f"BOKEH_CONFIG names {named}"
    if named or file.is_file():
        commands: Any = context.find_root().command
        defaults_of(typer.Context(commands.get_command(context, "run")), Path(named) if named else file)


def self_test(options: RunOptions) -> Iterator[str]:
    """Render one picture, from bytes to bytes. Raises BokehError."""
    from bokehcli.decode import decode_photo
    from bokehcli.encode import Encoding, encode_image
    from bokehcli.pipeline import Findings, open_renderer

    data = encode_image(_sample(), None, Encoding(container=Container.JPEG), "sample")
    began_s = time.perf_counter()
    renderer = open_renderer(options)
    opened_s = time.perf_counter()
    rendering = renderer.render(data, "sample", Findings())
    done_s = time.perf_counter()
    if decode_photo(rendering.photo, "sample", options.decode).image.shape[:2] != SAMPLE_PX:
        raise Unwell("the result is not as large as the picture")
    yield f"network opened in {opened_s - began_s:.2f} s, a picture of 0.3 megapixels rendered in {done_s - opened_s:.2f} s"


def would_use(options: RunOptions) -> Iterator[str]:
    """What a run over many photos would do unasked."""
    from bokehcli.budget import megapixels_within
    from bokehcli.resources import available_bytes
    from bokehcli.workers import share_out

    shared = share_out(options, MANY)
    megapixels = megapixels_within(available_bytes(), shared.jobs)
    device = Device.CPU if options.infer.device is Device.AUTO else options.infer.device
    threads = shared.infer.threads or "all"
    yield (
        f"{shared.jobs} photos at once (--jobs), {threads} threads each (--threads), on {device.value}, "
        f"{megapixels:.0f} megapixels at a time"
    )


def _sample() -> "NDArray[np.uint8]":
    """A picture: a disc before a gradient, with some noise."""
    import numpy as np

    height, width = SAMPLE_PX
    y, x = np.mgrid[:height, :width]
    picture = np.stack((x * 255 // width, y * 255 // height, np.full_like(x, 90)), 2)
    picture[(y - height // 2) ** 2 + (x - width // 2) ** 2 < (height // 4) ** 2] = (230, 60, 40)
    noise = np.random.default_rng(1).integers(-12, 13, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)
