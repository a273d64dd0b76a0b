"""What several tests ask for: real photos, a folder to train on, the bundled model."""

import shutil
import signal
from pathlib import Path

import pytest
from hypothesis import settings
from pillow_heif import register_heif_opener

from bokehcli.model import ModelCard, find_model

settings.register_profile("here", deadline=None)  # no test asserts a time
settings.load_profile("here")

# Tests interrupt programs they start. Those inherit that interrupts are ignored, as nohup and & leave it, but no handler.
signal.signal(signal.SIGINT, signal.default_int_handler)

register_heif_opener()  # so that Pillow is an independent reader of HEIC too, as it is of AVIF

PHOTOS = Path(__file__).parent / "photos"


@pytest.fixture(scope="session")
def photos() -> Path:
    """Folder of the real photos; SOURCES.md there says where they are from."""
    return PHOTOS


@pytest.fixture
def training_folder(tmp_path: Path) -> Path:
    """A folder as the trainer reads it: photos/NAME.jpg beside mattes/NAME.png, three of them."""
    folder = tmp_path / "training"
    (folder / "photos").mkdir(parents=True)
    shutil.copytree(PHOTOS / "mattes", folder / "mattes")
    for matte in (PHOTOS / "mattes").glob("*.png"):
        shutil.copy(PHOTOS / f"{matte.stem}.jpg", folder / "photos")
    return folder


@pytest.fixture(scope="session")
def model() -> ModelCard:
    """The card of the bundled model, its files' hashes checked."""
    return find_model()
