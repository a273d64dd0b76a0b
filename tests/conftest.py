"""What several tests ask for: real photos, a folder to train on, the bundled model."""

import shutil
import signal
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import settings
from pillow_heif import register_heif_opener

from bokehcli.lens import render
from bokehcli.model import ModelCard, find_lens_model
from bokehcli.options import LensOptions

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
def rendered_pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dozen pairs in EBB! layout, 128x128: cut-outs before coarse noise, and what the lens makes of them."""
    folder = tmp_path_factory.mktemp("pairs")
    rng = np.random.default_rng(0)
    for name in ("original", "bokeh"):
        (folder / name).mkdir()
    mattes = sorted((PHOTOS / "mattes").glob("*.png"))
    for number in range(12):
        path = mattes[number % len(mattes)]
        photo, alpha = (
            cv2.resize(cv2.imread(str(file), flag), (128, 128), interpolation=cv2.INTER_AREA)
            for file, flag in ((PHOTOS / f"{path.stem}.jpg", cv2.IMREAD_COLOR), (path, cv2.IMREAD_GRAYSCALE))
        )
        noise = cv2.resize(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8), (128, 128), interpolation=cv2.INTER_NEAREST)
        wide = np.rint(noise + (photo.astype(np.float32) - noise) * (alpha / np.float32(255))[:, :, None]).astype(np.uint8)
        shallow = render(wide, alpha, np.ones((128, 128), np.float32), LensOptions(strength=1.0))
        cv2.imwrite(str(folder / "original" / f"{number:02}.png"), wide)
        cv2.imwrite(str(folder / "bokeh" / f"{number:02}.png"), shallow)
    return folder


@pytest.fixture(scope="session")
def model() -> ModelCard:
    """The card of the bundled model, its files' hashes checked."""
    return find_lens_model()
