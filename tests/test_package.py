"""What is installed: one wheel that carries the model and works from any folder."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from bokehcli import __version__
from bokehcli.model import CARD, POINTED, ROLES

REPOSITORY = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's content, as an installer lays it out."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder / "dist")]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = (folder / "dist").iterdir()
    assert wheel.name == f"bokehcli-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_the_wheel_holds_the_package_its_model_and_nothing_else(unpacked: Path) -> None:
    assert {path.name.split("-")[0] for path in unpacked.iterdir()} == {"bokehcli"}
    models = {path.name for path in (unpacked / "bokehcli" / "models").iterdir()}
    assert models == {CARD, "README.md", *(f"{role}.onnx" for role in (*ROLES, POINTED))}
    assert (unpacked / "bokehcli" / "py.typed").exists()
    (entry_points,) = unpacked.glob("*.dist-info/entry_points.txt")
    assert "bokeh = bokehcli.__main__:main" in entry_points.read_text()


def test_a_run_leaves_nothing_in_the_users_home_and_tells_nobody(photos: Path, tmp_path: Path) -> None:
    """Official builds of onnxruntime keep there what they will send, from the moment that they are imported."""
    home = tmp_path / "home"
    home.mkdir()
    hidden = {name: str(home) for name in ("HOME", "USERPROFILE", "LOCALAPPDATA", "XDG_CACHE_HOME")}
    settings = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    command = [sys.executable, "-m", "bokehcli", "run", str(photos / "chelsea.jpg"), "--out", str(tmp_path / "out")]
    done = subprocess.run(command, env={**settings, **hidden}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [path for path in home.rglob("*") if path.is_file()] == []


def test_the_wheel_renders_a_photo_from_another_folder(unpacked: Path, photos: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bokehcli", "run", str(photos / "coffee.jpg"), "--out", "out", "--gallery", "a.html"]
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(unpacked)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"out{os.sep}coffee.jpg\n"
    assert "gallery" not in done.stdout
    assert (tmp_path / "a.html").stat().st_size > 20_000
    where = [sys.executable, "-c", "import bokehcli, bokehcli.model as m; print(m.find_model().folder)"]
    found = subprocess.run(where, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(unpacked)}, capture_output=True, text=True)
    assert Path(found.stdout.strip()) == unpacked / "bokehcli" / "models"


def test_the_models_stay_below_20_megabytes() -> None:
    assert sum(path.stat().st_size for path in (REPOSITORY / "models").iterdir()) <= 20_000_000
