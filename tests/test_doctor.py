"""What an installation is told about itself, well or not."""

import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import cv2
import pytest

from bokehcli import doctor, session
from bokehcli.cli import main
from bokehcli.model import ModelCard
from bokehcli.options import Device

Captured = pytest.CaptureFixture[str]
PARTS = ["bokeh", "packages", "extras", "machine", "devices", "formats", "model", "settings", "test", "a run"]


def told(capfd: Captured, *arguments: str) -> tuple[int, dict[str, str]]:
    """Exit status, and what is said of each part."""
    status = main(["doctor", *arguments])
    said: dict[str, str] = {}
    for line in capfd.readouterr().out.splitlines():
        name = line[:9].strip() or name  # noqa: F821  # the part before goes on
        said[name] = f"{said[name]}\n{line[10:]}" if name in said else line[10:]
    return status, said


def test_a_whole_installation_is_well(capfd: Captured) -> None:
    status, said = told(capfd)
    assert status == 0
    assert list(said) == PARTS
    assert "NOT WELL" not in "".join(said.values())
    assert f"numpy {metadata.version('numpy')}" in said["packages"]
    assert "cpu: yes" in said["devices"]
    assert "jpeg, png, webp, tiff, bmp, avif, heic: written and read" in said["formats"]
    assert "hashes are right" in said["model"]
    assert "rendered in" in said["test"]


def test_a_damaged_model_is_not_well_and_the_rest_is_told(capfd: Captured, model: ModelCard, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model.folder, folder)
    with open(folder / "octave.onnx", "ab") as file:
        file.write(b"more")
    status, said = told(capfd, "--model", str(folder))
    assert status == 1
    assert list(said) == PARTS
    assert {name for name, text in said.items() if "NOT WELL" in text} == {"model", "test"}
    assert "octave.onnx" in said["model"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[run]\nstrength = 2", "strength: strength must be between 0 and 1, not 2"),
        ("[run]\nquallity = 3", "quallity: there is no such option"),
        (None, "No such file or directory"),
    ],
)
@pytest.mark.parametrize("named", [True, False])
def test_a_settings_file_with_which_no_run_begins_is_not_well(
    capfd: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: bool, text: str | None, says: str
) -> None:
    file = tmp_path / "config.toml"
    if text is not None:
        file.write_text(text)
    if named:
        monkeypatch.setenv("BOKEH_CONFIG", str(file))
    else:
        monkeypatch.setattr(doctor, "user_file", lambda: file)
    status, said = told(capfd)
    well = text is None and not named  # the user's own file need not be there
    assert status == (0 if well else 1)
    assert {name for name, text in said.items() if "NOT WELL" in text} == (set() if well else {"settings"})
    assert well or said["settings"].endswith(f"NOT WELL: {file}: {says}")


def test_a_settings_file_that_is_right_is_well(capfd: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "c.toml").write_text("[run]\nf-number = 2\nfocus = [0.5, 0.5]\nout = 'x'")
    monkeypatch.setenv("BOKEH_CONFIG", str(tmp_path / "c.toml"))
    assert told(capfd)[0] == 0


def test_a_device_that_is_not_there_is_not_well_and_the_package_is_named(capfd: Captured) -> None:
    absent = next(device for device in session.PACKAGES if not session.available(device))
    status, said = told(capfd, "--device", absent.value)
    assert status == 1
    assert session.PACKAGES[absent] in said["test"]
    assert session.available(Device.CPU)


def test_a_package_that_is_missing_is_named(capfd: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    real = metadata.version

    def version(name: str) -> str:
        if name in ("piexif", "watchfiles"):
            raise metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(doctor.metadata, "version", version)
    status, said = told(capfd)
    assert status == 1
    assert said["packages"].endswith("NOT WELL: not installed: piexif")
    assert "pip install 'bokehcli[watch]'" in said["extras"]  # which is no fault


def test_a_library_that_writes_no_avif_is_well(capfd: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "haveImageWriter", lambda suffix: suffix != ".avif")
    status, said = told(capfd)
    assert status == 0
    assert "avif: the OpenCV that is installed writes no AVIF" in said["formats"]
    assert "jpeg, png, webp, tiff, bmp, heic: written and read" in said["formats"]


def test_a_library_that_does_not_load_leaves_the_rest_to_be_told() -> None:
    script = "import sys; sys.modules['cv2'] = None; from bokehcli.cli import main; sys.exit(main(['doctor']))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == ""
    assert "libgl1" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("a run")
