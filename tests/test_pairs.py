"""Pairs of a wide and a shallow photo: the same view of both, and a clear line for every one that cannot be used."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from bokehcli.errors import UsageError
from bokehcli.lens import render
from bokehcli.options import LensOptions
from bokehcli.pairs import LISTED, told
from bokehcli.trainer.pairs import Pairs


@pytest.fixture
def folder(rendered_pairs: Path, tmp_path: Path) -> Path:
    """A copy of the pairs that a test may damage."""
    return Path(shutil.copytree(rendered_pairs, tmp_path / "pairs"))


def test_pairs_are_the_same_view_of_both_photos(folder: Path) -> None:
    for name in ("original", "bokeh"):  # the shallow one is the wide one, half as large
        for path in (folder / name).iterdir():
            image = cv2.imread(str(folder / "original" / path.name))
            cv2.imwrite(str(path), image if name == "original" else cv2.resize(image, (64, 64), interpolation=cv2.INTER_AREA))
    pairs = Pairs(folder)
    for number in range(10):
        sample = pairs.make(0, number, 64, False)
        assert sample.target is not None
        blurred = [cv2.GaussianBlur(x, (0, 0), 3).astype(float) for x in (sample.photo, sample.target)]
        assert np.abs(blurred[0] - blurred[1]).mean() < 6
        np.testing.assert_array_equal(sample.photo, pairs.make(0, number, 64, False).photo)


def test_a_sample_of_pairs_is_chosen_by_the_seed(folder: Path) -> None:
    chosen = [[pair.wide.name for pair in Pairs(folder, 5, seed).paths] for seed in (0, 0, 1)]
    assert chosen[0] == chosen[1] != chosen[2]
    assert len(set(chosen[0])) == 5


def test_what_is_held_out_is_never_trained_on_and_does_not_depend_on_the_sample(folder: Path) -> None:
    whole, some = Pairs(folder), Pairs(folder, 4, 7)
    assert whole.held == some.held != []
    assert not set(whole.held) & set(whole.paths)
    assert len(whole) + len(whole.held) == 12
    held = {cv2.imread(str(pair.wide)).tobytes() for pair in whole.held}
    assert not held & {cv2.imread(str(pair.wide)).tobytes() for pair in whole.paths}


def lines(folder: Path) -> list[str]:
    pairs = Pairs(folder)
    assert len(pairs) + len(pairs.held) + len(pairs.left_out) == 12
    return pairs.left_out


def test_a_photo_without_a_partner_is_named(folder: Path) -> None:
    (folder / "bokeh" / "03.png").unlink()
    (line,) = lines(folder)
    assert line == f"{folder / 'original' / '03.png'}: no partner in bokeh/"
    (folder / "original" / "03.png").rename(folder / "bokeh" / "03.png")
    assert lines(folder) == [f"{folder / 'bokeh' / '03.png'}: no partner in original/"]


@pytest.mark.parametrize("content", [b"", b"not a photo", b"\x89PNG\r\n\x1a\n"], ids=["empty", "text", "cut short"])
def test_a_photo_that_cannot_be_read_is_named(folder: Path, content: bytes) -> None:
    (folder / "original" / "05.png").write_bytes(content)
    assert lines(folder) == [f"{folder / 'original' / '05.png'}: cannot be decoded"]


def test_a_photo_that_is_too_small_to_be_looked_at_is_named(folder: Path) -> None:
    cv2.imwrite(str(folder / "original" / "05.png"), np.zeros((1, 300, 3), np.uint8))
    (line,) = lines(folder)
    assert line.startswith(f"{folder / 'original' / '05.png'}: ")


def test_a_folder_in_a_photos_place_is_named(folder: Path) -> None:
    (folder / "original" / "05.png").unlink()
    (folder / "original" / "05.png").mkdir()
    assert lines(folder) == [f"{folder / 'original' / '05.png'}: Is a directory"]


def test_another_shape_is_named_and_another_size_is_not(folder: Path) -> None:
    shallow = cv2.imread(str(folder / "bokeh" / "07.png"))
    cv2.imwrite(str(folder / "bokeh" / "07.png"), shallow[:100])
    cv2.imwrite(str(folder / "bokeh" / "08.png"), cv2.resize(cv2.imread(str(folder / "bokeh" / "08.png")), (96, 96)))
    (line,) = lines(folder)
    assert line.startswith(f"{folder / 'bokeh' / '07.png'}: another shape")


def test_another_scene_is_named(folder: Path) -> None:
    shutil.copy(folder / "bokeh" / "01.png", folder / "bokeh" / "02.png")
    (line,) = lines(folder)
    assert line.startswith(f"{folder / 'bokeh' / '02.png'}: shows something else")


def test_a_photo_that_lies_beside_the_other_is_named(photos: Path, tmp_path: Path) -> None:
    photo = cv2.imread(str(photos / "astronaut.jpg"))
    for name, beside in (("original", 0), ("bokeh", 20)):
        (tmp_path / name).mkdir()
        for number, off in enumerate((0, beside, beside // 10)):  # the last one by 2 of 400 pixels, which is tolerated
            cv2.imwrite(str(tmp_path / name / f"{number}.png"), photo[60:460, off : off + 400])
    pairs = Pairs(tmp_path)
    (line,) = pairs.left_out
    assert line.startswith(f"{tmp_path / 'bokeh' / '1.png'}: lies ")
    assert " 5 % beside" in line
    moved = next(pair for pair in pairs.paths if pair.wide.stem == "2")  # its content lies 2 pixels to the left
    assert (moved.right * 400, moved.down * 400) == pytest.approx((-2.0, 0.0), abs=0.5)
    for number in range(20):
        sample = pairs.make(0, number, 200)
        assert sample.target is not None
        assert np.abs(sample.photo.astype(int) - sample.target).mean() < 7  # 10 and more where it is not moved back


@pytest.mark.parametrize("name", ["astronaut", "coffee", "chelsea"])
@pytest.mark.parametrize(("right", "down"), [(0, 0), (7, 0), (-4, 11)])
def test_a_shift_is_measured_to_a_pixel_and_none_is_found_where_there_is_none(
    photos: Path, tmp_path: Path, name: str, right: int, down: int
) -> None:
    """Whatever the blurred background does, brighter in the shallow photo; without a shift not even a part of a pixel."""
    wide = cv2.resize(cv2.imread(str(photos / f"{name}.jpg")), (1024, 768), interpolation=cv2.INTER_CUBIC)
    alpha = cv2.resize(cv2.imread(str(photos / "mattes" / f"{name}.png"), cv2.IMREAD_GRAYSCALE), (1024, 768))
    shallow = render(wide, alpha, np.ones((96, 128), np.float32), LensOptions(strength=0.6, grain=0.0))
    shallow = np.clip(shallow * 1.1, 0, 255).astype(np.uint8)
    there = shallow[16 - down : 752 - down, 16 - right : 1008 - right]
    for folder, picture in (("original", wide[16:-16, 16:-16]), ("bokeh", there)):
        (tmp_path / folder).mkdir()
        cv2.imwrite(str(tmp_path / folder / "0.jpg"), picture)
    (pair,) = Pairs(tmp_path).paths
    assert (pair.right * 992, pair.down * 736) == pytest.approx((right, down), abs=1.0 if right or down else 0.0)


def test_exposure_and_background_blur_make_no_other_scene(folder: Path) -> None:
    for path in (folder / "bokeh").iterdir():
        image = cv2.imread(str(path))
        cv2.imwrite(str(path), np.clip(0.6 * image + 30, 0, 255).astype(np.uint8))
    assert lines(folder) == []


def test_a_folder_of_no_use_is_refused_in_one_line(folder: Path) -> None:
    for path in (folder / "bokeh").iterdir():
        path.write_bytes(b"")
    with pytest.raises(UsageError, match=r"none of 12 pairs can be used; the first: .*00\.png: cannot be decoded"):
        Pairs(folder)
    for path in (folder / "bokeh").iterdir():
        path.unlink()
    with pytest.raises(UsageError, match="no photo of original/ has the same name"):
        Pairs(folder)


def test_a_single_pair_is_used_for_both(folder: Path) -> None:
    for name in ("original", "bokeh"):
        for path in sorted((folder / name).iterdir())[1:]:
            path.unlink()
    pairs = Pairs(folder)
    assert (len(pairs), pairs.held) == (1, [])
    np.testing.assert_array_equal(pairs.make(0, 0, 64).photo, pairs.make_held(0, 0, 64).photo)


def test_a_pair_that_goes_while_training_goes_on_is_passed_over(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pairs = Pairs(folder)
    pairs.paths[0].wide.unlink()
    samples = [pairs.make(0, number, 64) for number in range(40)]
    assert len(samples) == 40
    assert f"{pairs.paths[0].wide}: No such file" in capfd.readouterr().err
    shutil.rmtree(folder)
    with pytest.raises(UsageError, match="cannot be read any more"):
        pairs.make(0, 0, 64)


def test_many_lines_are_shortened_and_counted() -> None:
    assert list(told([])) == []
    assert list(told(["a", "b"])) == ["a", "b", "2 left out"]
    assert list(told(["x"] * 100))[LISTED:] == ["... and 80 more", "100 left out"]
