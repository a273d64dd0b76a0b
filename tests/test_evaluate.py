"""Models are held against pairs by measures that others have too, and what cannot be compared is said."""

import csv
import io
import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from bokehcli import comparison, resources, similarity
from bokehcli.cli import main
from bokehcli.comparison import MASK, UNCHANGED, Comparison, Contestant, of_all
from bokehcli.errors import MissingDependency, ModelError, UnsupportedPhoto, UsageError
from bokehcli.options import RunOptions
from bokehcli.pairs import find_pairs
from bokehcli.photo import Photo

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def folder(rendered_pairs: Path, tmp_path: Path) -> Path:
    """Four pairs that a test may damage."""
    for name in ("original", "bokeh"):
        (tmp_path / "pairs" / name).mkdir(parents=True)
        for path in sorted((rendered_pairs / name).iterdir())[:4]:
            shutil.copy(path, tmp_path / "pairs" / name)
    return tmp_path / "pairs"


def evaluated(capfd: Captured, *arguments: str | Path) -> tuple[int, str, str]:
    status = main(["eval", *map(str, arguments)])
    out, err = capfd.readouterr()
    return status, out, err


def test_every_model_and_the_simple_ways_are_measured_as_other_libraries_do(folder: Path, capfd: Captured) -> None:
    status, out, _ = evaluated(capfd, "bundled", folder, "--json")
    assert status == 0
    found = json.loads(out)
    assert list(found["means"]) == ["bundled", UNCHANGED, MASK]
    assert len(found["pairs"]) == 12
    for row in found["pairs"]:
        assert row["seconds"] > 0
        if row["model"] == UNCHANGED:
            paths = [folder / name / f"{row['pair']}.png" for name in ("original", "bokeh")]
            wide, shallow = (cv2.imread(str(path))[32:-32, 32:-32] for path in paths)
            assert row["PSNR"] == pytest.approx(peak_signal_noise_ratio(shallow, wide))
            expected = structural_similarity(wide, shallow, channel_axis=2, **similarity.SSIM_SETTINGS)
            assert row["SSIM"] == pytest.approx(expected)
    for name, means in found["means"].items():
        own = [row for row in found["pairs"] if row["model"] == name]
        assert means["PSNR"] == pytest.approx(np.mean([row["PSNR"] for row in own]))
        assert means["s"] == pytest.approx(np.mean([row["seconds"] for row in own]))


def test_our_lens_is_nearer_to_what_it_rendered_than_the_simple_ways(folder: Path, capfd: Captured) -> None:
    _, out, _ = evaluated(capfd, folder, "--strength", "1", "--json")
    means = json.loads(out)["means"]
    assert means["bundled"]["PSNR"] > means[MASK]["PSNR"] > means[UNCHANGED]["PSNR"]


def test_all_are_rendered_at_full_strength_and_without_grain(photos: Path, tmp_path: Path, capfd: Captured) -> None:
    for folder, unsure in (("original", "none"), ("bokeh", "full")):  # the photo as it is, and rendered
        command = ["run", str(photos / "rocket.jpg"), "--out", str(tmp_path / "pairs" / folder), "--unsure", unsure]
        assert main([*command, "--format", "png", "--no-ledger", "--grain", "0"]) == 0
    capfd.readouterr()
    _, out, _ = evaluated(capfd, tmp_path / "pairs", "--json")
    means = json.loads(out)["means"]
    assert means["bundled"]["PSNR"] == similarity.IDENTICAL_DB > means[UNCHANGED]["PSNR"]


def test_the_table_states_what_was_measured(folder: Path, capfd: Captured) -> None:
    status, out, _ = evaluated(capfd, folder, "--border", "8")
    assert status == 0
    lines = out.splitlines()
    assert lines[0].split()[:3] == ["PSNR", "SSIM", "s"]
    assert [line[:9].strip() for line in lines[1:4]] == ["bundled", "unchanged", "mask + Ga"]
    assert "4 pairs, 8 px" in lines[4]


def test_a_line_for_each_pair_and_model_as_csv(folder: Path, capfd: Captured) -> None:
    _, out, _ = evaluated(capfd, folder, "--csv", "--sample", "2", "--seed", "3")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert len(rows) == 6
    assert len({row["pair"] for row in rows}) == 2
    assert all(float(row["PSNR"]) > 5 for row in rows)


def test_models_of_both_kinds_stand_beside_each_other(folder: Path, tmp_path: Path, capfd: Captured) -> None:
    torch = pytest.importorskip("torch", reason="training is optional")
    export = pytest.importorskip("bokehcli.trainer.export", reason="training is optional")

    class Same(torch.nn.Module):  # type: ignore[name-defined, misc]
        def forward(self, photo: Any) -> Any:
            return photo * 1.0

    export.export_picture(Same(), tmp_path / "same", {}, torch.rand(1, 3, 64, 64), 128, 64)
    status, out, _ = evaluated(capfd, tmp_path / "same", "bundled", folder, "--json")
    assert status == 0
    means = json.loads(out)["means"]
    assert list(means) == ["same", "bundled", UNCHANGED, MASK]
    assert means["same"]["PSNR"] == pytest.approx(means[UNCHANGED]["PSNR"], abs=0.05)
    shutil.copytree(tmp_path / "same", tmp_path / "other" / "same")
    status, _, err = evaluated(capfd, tmp_path / "same", tmp_path / "other" / "same", folder)
    assert status == 2
    assert "two models are called same" in err
    shutil.copytree(tmp_path / "same", tmp_path / "else")
    files = [folder_of / "picture.onnx" for folder_of in (tmp_path / "same", tmp_path / "else")]
    status, out, _ = evaluated(capfd, *files, folder, "--json")
    assert (status, list(json.loads(out)["means"])[:2]) == (0, ["same", "else"])


def test_best_and_worst_are_shown(folder: Path, tmp_path: Path, capfd: Captured) -> None:
    status, _, _ = evaluated(capfd, folder, "--sheet", tmp_path / "sheet.png")
    assert status == 0
    image = cv2.imread(str(tmp_path / "sheet.png"))
    assert image.shape[:2] == (4 * 364, 4 * 364)  # four pairs: wide, shallow, bundled, mask + Gaussian
    assert evaluated(capfd, folder, "--sheet", tmp_path / "sheet.png")[0] == 0  # once more


@pytest.mark.parametrize("place", ["sheet.txt", "file/sheet.png", "folder.png", "pairs/bokeh/00.png", "link.png"])
def test_a_sheet_that_cannot_be_is_refused_before_the_first_pair(
    folder: Path, tmp_path: Path, capfd: Captured, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "link.png").symlink_to(folder / "original" / "00.png")
    before = {path: path.read_bytes() for path in folder.rglob("*.png")}
    monkeypatch.setattr(Comparison, "scores", lambda *_: pytest.fail("began"))
    status, _, err = evaluated(capfd, folder, "--sheet", tmp_path / place)
    assert status == 2
    assert f"{tmp_path / place}: " in err
    assert before == {path: path.read_bytes() for path in folder.rglob("*.png")}


def test_what_cannot_be_compared_is_named_and_the_rest_is(folder: Path, capfd: Captured) -> None:
    (folder / "bokeh" / "00.png").write_bytes(b"")
    (folder / "original" / "01.png").unlink()
    for name in ("original", "bokeh"):
        small = cv2.imread(str(folder / name / "02.png"))[:70, :70]
        cv2.imwrite(str(folder / name / "02.png"), small)
    status, out, err = evaluated(capfd, folder, "--json")
    assert status == 1
    assert {row["pair"] for row in json.loads(out)["pairs"]} == {"03"}
    assert f"{folder / 'bokeh' / '00.png'}: cannot be decoded" in err
    assert f"{folder / 'bokeh' / '01.png'}: no partner in original/" in err
    assert f"{folder / 'original' / '02.png'}: 70x70 is too small for a border of 32 pixels" in err
    assert "3 left out" in err


def test_a_pair_that_one_model_fails_on_counts_for_none(folder: Path) -> None:
    def fails(photo: Photo) -> Photo:
        if photo.name.endswith("02.png"):
            raise UnsupportedPhoto(photo.name, "no")
        return photo

    contestants = [Contestant("a", lambda: lambda photo: photo), Contestant("b", lambda: fails)]
    comparison = Comparison(contestants)
    pairs, _ = find_pairs(folder)
    scores = of_all(list(comparison.scores(pairs)), contestants)
    assert [(score.contestant, score.pair) for score in scores] == [(c, p) for c in "ab" for p in ("00", "01", "03")]
    assert comparison.failed == [f"{folder / 'original' / '02.png'}: no"]


def test_any_fault_of_a_model_costs_its_pair_alone(folder: Path) -> None:
    def fails(photo: Photo) -> Photo:
        if photo.name.endswith("02.png"):
            raise RuntimeError("no memory\nat all")
        return photo

    comparison = Comparison([Contestant("a", lambda: fails)])
    pairs, _ = find_pairs(folder)
    assert [score.pair for score in comparison.scores(pairs)] == ["00", "01", "03"]
    assert comparison.failed == [f"{folder / 'original' / '02.png'}: a fails: no memory"]


def test_all_models_are_opened_before_the_first_one_begins(folder: Path) -> None:
    def closed() -> Any:
        raise ModelError("no")

    comparison = Comparison([Contestant("a", lambda: pytest.fail), Contestant("b", closed)])
    with pytest.raises(ModelError, match="no"):
        list(comparison.scores(find_pairs(folder)[0]))


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["nowhere"], "no folder with original/"),
        (["nomodel", "PAIRS"], "nomodel: not a model"),
        (["PAIRS", "--csv", "--json"], "exclude"),
        (["PAIRS", "--border", "60"], "too small for a border of 60"),
        (["PAIRS", "--border", "-1"], "border must be 0 or more, not -1"),
        (["PAIRS", "--sample", "-1"], "sample must be 0 or more, not -1"),
        (["PAIRS", "--seed", "-1"], "seed must be 0 or more, not -1"),
        (["PAIRS", "--f-number", "0.5"], "f-number"),
        (["PAIRS", "--f-number", "2", "--strength", "0"], "cannot be used together"),
    ],
)
def test_misuse_is_status_2(folder: Path, capfd: Captured, arguments: list[str], word: str) -> None:
    status, _, err = evaluated(capfd, *(folder if argument == "PAIRS" else argument for argument in arguments))
    assert status == 2
    assert word in err


def test_threads_are_bounded_as_in_a_run(folder: Path, capfd: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(_: str, options: RunOptions) -> None:
        raise UsageError(f"with {options.infer.threads} threads")

    monkeypatch.setattr(comparison, "contestant_of", stop)
    assert evaluated(capfd, folder, "--threads", "3000")[2] == f"bokeh: with {4 * resources.usable_cores()} threads\n"


def test_psnr_of_identical_pictures_is_finite() -> None:
    image = np.zeros((20, 20, 3), np.uint8)
    assert similarity.psnr_db(image, image) == similarity.IDENTICAL_DB
    assert similarity.psnr_db(image, image + 255) == pytest.approx(0.0)


def test_learned_measures_see_the_range_that_they_were_trained_on(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch", reason="learned measures are")

    class Distance(torch.nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self, **_: Any) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(1))

        def forward(self, a: Any, b: Any) -> Any:
            assert a.shape == b.shape == (1, 3, 16, 24)
            return self.weight * (a.min() + 10 * b.max())

    black, white = np.zeros((16, 24, 3), np.uint8), np.full((16, 24, 3), 255, np.uint8)
    for name, make, expected in (("lpips", similarity.lpips, 9.0), ("DISTS_pytorch", similarity.dists, 10.0)):
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(MissingDependency, match="pip install"):
            make()
        monkeypatch.setitem(sys.modules, name, SimpleNamespace(LPIPS=Distance, DISTS=Distance))
        assert make()(black, white) == pytest.approx(expected)


def test_ssim_without_its_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skimage.metrics", None)
    with pytest.raises(MissingDependency, match=r"bokehcli\[eval\]"):
        similarity.ssim(np.zeros((20, 20, 3), np.uint8), np.zeros((20, 20, 3), np.uint8))


def test_a_border_is_taken_from_all_sides() -> None:
    image = np.arange(40 * 50 * 3, dtype=np.uint32).reshape(40, 50, 3).astype(np.uint8)
    np.testing.assert_array_equal(similarity.cropped(image, 8), image[8:32, 8:42])
    np.testing.assert_array_equal(similarity.cropped(image, 0), image)
    with pytest.raises(UsageError):
        similarity.cropped(image, 15)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
def test_the_peak_of_memory_begins_anew() -> None:
    resources.reset_peak()
    low = resources.peak_mib()
    block = np.ones(400 << 20, np.uint8)  # much, for a system may take other pages away meanwhile
    high = resources.peak_mib()
    assert low is not None
    assert high is not None
    assert high - low > 200
    del block
    resources.reset_peak()
    again = resources.peak_mib()
    assert again is not None
    assert again < high - 200
