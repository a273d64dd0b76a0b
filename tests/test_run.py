"""`bokeh run` with the bundled model on real photos, looked at from outside."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

PHOTOS = ("astronaut.jpg", "camera.jpg", "chelsea.jpg", "coffee.jpg", "rocket.jpg")


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bokehcli", "run", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def load(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


def detail(image: NDArray[np.uint8], where: NDArray[np.bool_]) -> float:
    """Mean absolute Laplacian of the luminance where asked."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return float(np.abs(cv2.Laplacian(grey, -1))[where].mean())


@pytest.fixture(scope="module")
def rendered(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """The sample photos rendered losslessly, with their maps."""
    out = tmp_path_factory.mktemp("rendered")
    return out, run(*(photos / name for name in PHOTOS), "--out", out, "--format", "png", "--save-maps")


def test_every_photo_is_rendered_and_its_path_printed(rendered: tuple[Path, Any]) -> None:
    out, done = rendered
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.split()) == [str(out / Path(name).with_suffix(".png")) for name in PHOTOS]


@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee"])
def test_the_subject_is_found(rendered: tuple[Path, Any], photos: Path, name: str) -> None:
    found = cv2.imread(str(rendered[0] / f"{name}.alpha.png"), cv2.IMREAD_GRAYSCALE) > 127
    true = cv2.imread(str(photos / "mattes" / f"{name}.png"), cv2.IMREAD_GRAYSCALE) > 127
    # IoU, measured: astronaut 0.95, chelsea 0.95, coffee 0.86
    assert np.count_nonzero(found & true) > 0.8 * np.count_nonzero(found | true)


# not chelsea: behind the cat everything is out of focus already
@pytest.mark.parametrize("name", ["astronaut", "coffee"])
def test_the_subject_is_sharp_and_the_background_blurred(
    rendered: tuple[Path, Any], photos: Path, tmp_path: Path, name: str
) -> None:
    done = run(photos / f"{name}.jpg", "--out", tmp_path, "--format", "png", "--grain", "0")
    assert done.returncode == 0, done.stderr
    before, after = load(photos / f"{name}.jpg"), load(Path(done.stdout.strip()))
    grainy = load(rendered[0] / f"{name}.png")
    matte = cv2.imread(str(photos / "mattes" / f"{name}.png"), cv2.IMREAD_GRAYSCALE)
    kernel = np.ones((15, 15), np.uint8)
    subject, background = cv2.erode(matte, kernel) == 255, cv2.dilate(matte, kernel) == 0
    assert detail(after, subject) > 0.8 * detail(before, subject)
    assert detail(after, background) < 0.6 * detail(before, background)
    assert detail(after, background) < detail(grainy, background) < detail(before, background)
    assert detail(grainy, subject) > 0.8 * detail(before, subject)


def test_where_alpha_is_full_the_photo_keeps_its_own_pixels(rendered: tuple[Path, Any], photos: Path) -> None:
    seen = 0
    for name in PHOTOS:
        alpha = cv2.imread(str(rendered[0] / f"{Path(name).stem}.alpha.png"), cv2.IMREAD_GRAYSCALE)
        before, after = (load(folder) for folder in (photos / name, rendered[0] / Path(name).with_suffix(".png")))
        assert alpha.shape == before.shape[:2]
        # 255 stands for all above 254.5 / 255: at most half a step of the background is mixed in
        assert np.abs(before[alpha == 255].astype(int) - after[alpha == 255]).max(initial=0) <= 1
        seen += int((alpha == 255).sum())
    assert seen > 50_000


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_eight_orientations_give_the_same_upright_picture(
    rendered: tuple[Path, Any], photos: Path, tmp_path: Path, orientation: int
) -> None:
    upright = Image.fromarray(load(photos / "chelsea.jpg"))
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Image.Transpose that makes the stored picture of each
    stored = upright if orientation == 1 else upright.transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "a.png", exif=exif)
    done = run(tmp_path / "a.png", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "out" / "a.png") as image:
        assert image.getexif()[0x0112] == 1
        assert np.array_equal(np.asarray(image), load(rendered[0] / "chelsea.png"))


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".bmp"])
def test_the_container_stays_what_it_was(photos: Path, tmp_path: Path, suffix: str) -> None:
    source = tmp_path / "in" / "sub" / f"a{suffix}"
    source.parent.mkdir(parents=True)
    Image.open(photos / "coffee.jpg").save(source)
    done = run(tmp_path / "in", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    with Image.open(source) as before, Image.open(tmp_path / "out" / "sub" / f"a{suffix}") as after:
        assert (after.format, after.size, after.mode) == (before.format, before.size, before.mode)
        assert not np.array_equal(np.asarray(after), np.asarray(before))


def test_a_profile_comes_through_byte_for_byte(photos: Path, tmp_path: Path) -> None:
    assert run(photos / "rocket.jpg", "--out", tmp_path).returncode == 0
    with Image.open(photos / "rocket.jpg") as before, Image.open(tmp_path / "rocket.jpg") as after:
        assert before.info["icc_profile"] == after.info["icc_profile"]


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is the independent reader")
def test_exiftool_reads_the_same_camera_data_before_and_after(photos: Path, tmp_path: Path) -> None:
    tags = ["-Make=Maker", "-Model=M 1", "-ExposureTime=1/250", "-FNumber=2.8", "-GPSLatitude=52.5", "-GPSLatitudeRef=N"]
    source = tmp_path / "a.jpg"
    shutil.copy(photos / "coffee.jpg", source)
    subprocess.run(["exiftool", "-q", "-overwrite_original", *tags, "-XMP:Rating=4", str(source)], check=True)
    assert run(source, "--out", tmp_path / "out").returncode == 0

    def read(path: Path) -> str:
        command = ["exiftool", "-s", "-G1", "-IFD0:all", "-ExifIFD:all", "-GPS:all", "-XMP:all", str(path)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    before, after = read(source), read(tmp_path / "out" / "a.jpg")
    assert "FNumber" in before
    assert "Rating" in before
    assert after.startswith(before)  # and of what follows every line tells what was done
    added = after.removeprefix(before).splitlines()
    told = ["HistoryAction", "HistorySoftwareAgent", "HistoryParameters"]
    assert [line.split()[:2] for line in added] == [["[XMP-xmpMM]", name] for name in told]


def test_blur_grows_with_strength_on_a_real_run(photos: Path, tmp_path: Path) -> None:
    details = []
    for strength in ("0", "0.3", "0.9"):
        out = tmp_path / strength
        assert run(photos / "chelsea.jpg", "--out", out, "--strength", strength, "--format", "png").returncode == 0
        image = load(out / "chelsea.png")
        details.append(detail(image, np.ones(image.shape[:2], bool)))
    assert np.array_equal(load(tmp_path / "0" / "chelsea.png"), load(photos / "chelsea.jpg"))
    assert details[0] > details[1] > details[2]


def test_a_bad_photo_costs_itself_and_nothing_else(photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    shutil.copy(photos / "coffee.jpg", folder / "b.jpg")
    (folder / "a.jpg").write_bytes((photos / "chelsea.jpg").read_bytes()[:9000])
    (folder / "c.png").write_text("no photo")
    done = run(folder, "--out", tmp_path / "out", "--jobs", "2")
    assert done.returncode == 1
    assert [path.name for path in (tmp_path / "out").glob("[!.]*")] == ["b.jpg"]
    assert [name in done.stderr for name in ("a.jpg", "c.png")] == [True, True]


def test_several_processes_give_the_same_bytes_as_one(photos: Path, tmp_path: Path) -> None:
    for jobs in ("1", "2"):
        done = run(*(photos / name for name in PHOTOS), "--out", tmp_path / jobs, "--jobs", jobs, "--save-maps")
        assert done.returncode == 0, done.stderr
    names = sorted(path.name for path in (tmp_path / "1").glob("[!.]*"))
    assert names == sorted(path.name for path in (tmp_path / "2").glob("[!.]*"))
    assert len(names) == 3 * len(PHOTOS)
    for name in names:
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


def test_a_damaged_model_is_one_line_and_no_photo(photos: Path, tmp_path: Path) -> None:
    shutil.copytree(Path(__file__).parent.parent / "models", tmp_path / "model")
    (tmp_path / "model" / "octave.onnx").write_bytes(b"damaged")
    done = run(photos, "--out", tmp_path / "out", "--model", tmp_path / "model", "--jobs", "2")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert not (tmp_path / "out").exists()


def test_a_second_run_replaces_nothing_unasked(photos: Path, tmp_path: Path) -> None:
    assert run(photos / "coffee.jpg", "--out", tmp_path).returncode == 0
    first = (tmp_path / "coffee.jpg").stat()
    assert run(photos / "coffee.jpg", "--out", tmp_path).returncode == 0  # it is known to be done
    assert run(photos / "coffee.jpg", "--out", tmp_path, "--no-ledger").returncode == 1
    assert run(photos / "coffee.jpg", "--out", tmp_path, "--skip-existing").returncode == 0
    assert (tmp_path / "coffee.jpg").stat().st_mtime_ns == first.st_mtime_ns
    assert run(photos / "coffee.jpg", "--out", tmp_path, "--overwrite").returncode == 0
    assert (tmp_path / "coffee.jpg").stat().st_mtime_ns != first.st_mtime_ns


@pytest.mark.skipif(sys.platform == "win32", reason="names are shorter there")
def test_a_name_too_long_for_its_maps_or_its_new_suffix_costs_that_photo_only(tmp_path: Path) -> None:
    """Names may have 255 bytes; a map's is longer than its photo's."""
    folder = tmp_path / "in"
    for name in ("a.png", "x" * 250 + ".png"):
        folder.mkdir(exist_ok=True)
        Image.new("RGB", (16, 12)).save(folder / name)
    for out, more in (("maps", []), ("maps", ["--no-ledger", "--skip-existing"]), ("avif", ["--format", "avif"])):
        assert run(folder, "--jobs", "1", "--save-maps", "--out", tmp_path / out, *more).returncode == 1
        assert len(list((tmp_path / out).glob("a.*"))) == 3
        assert list((tmp_path / out).glob("x*")) == []


@pytest.mark.skipif(sys.platform == "win32", reason="names are shorter there")
def test_names_too_long_for_the_system_are_misuse_or_failures(tmp_path: Path) -> None:
    Image.new("RGB", (16, 12)).save(tmp_path / "a.png")
    long = str(tmp_path / ("x" * 300))
    commands = [[long, "--out", "out"], [str(tmp_path / "a.png"), "--out", long], ["--out", "out", "--files-from", long]]
    commands += [[str(tmp_path / "a.png"), "--out", str(tmp_path / "o"), *(option, long)] for option in ("--model", "--config")]
    for command in commands:
        done = run(*command)
        assert done.returncode in (1, 2)
        assert "xxx" in done.stderr
        assert "Traceback" not in done.stderr
