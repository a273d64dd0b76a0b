"""Which photos --include and --exclude let through."""

import subprocess
import sys
import unicodedata
from pathlib import Path, PurePosixPath

import pytest

from bokehcli.discover import discover
from bokehcli.options import RunOptions
from bokehcli.selection import Selection

CASES = [
    ("*.jpg", "a.jpg", True),
    ("*.jpg", "sub/deep/a.JPG", True),
    ("*.JPG", "a.jpg", True),
    ("*.jpg", "a.png", False),
    ("*.jpg", "a.jpg.png", False),
    ("trash", "trash/a.jpg", True),
    ("trash", "x/Trash/y/a.jpg", True),
    ("trash", "trashed/a.jpg", False),
    ("trash", "trash.jpg", False),
    ("x/trash", "x/trash/a.jpg", True),
    ("x/trash", "y/x/trash/a.jpg", False),
    ("x/trash/", "x/trash/a.jpg", True),
    ("./x/*.jpg", "x/a.jpg", True),
    ("trips/*/drafts", "trips/2024/rome/drafts/a.jpg", True),
    ("trips/*/drafts", "trips/drafts/a.jpg", False),
    ("img_00[1-3]?.*", "IMG_0021.jpg", True),
    ("img_00[1-3]?.*", "IMG_0041.jpg", False),
    (unicodedata.normalize("NFC", "\u00e9t\u00e9*"), unicodedata.normalize("NFD", "\u00c9t\u00e9/a.jpg"), True),
]


@pytest.mark.parametrize(("pattern", "path", "matches"), CASES)
def test_a_pattern_means_names_or_paths(pattern: str, path: str, matches: bool) -> None:
    assert Selection(include=(pattern,)).wants(PurePosixPath(path)) is matches
    assert Selection(exclude=(pattern,)).wants(PurePosixPath(path)) is not matches


def test_without_patterns_everything_is_wanted() -> None:
    assert Selection().wants(PurePosixPath("a.jpg"))


def test_one_of_several_is_enough_and_exclude_goes_first() -> None:
    selection = Selection(include=("*.jpg", "*.png"), exclude=("b*", "old"))
    wanted = [name for name in ("a.jpg", "a.png", "a.bmp", "b.jpg", "old/a.jpg") if selection.wants(PurePosixPath(name))]
    assert wanted == ["a.jpg", "a.png"]


def test_it_holds_for_folders_files_and_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("in/a.jpg", "in/b.jpg", "in/no/a.jpg", "c.jpg", "b.png", "list/d.jpg", "list/b.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    sources, listed = [Path("in"), Path("c.jpg"), Path("b.png")], [Path("list/d.jpg"), Path("list/b.jpg")]
    found = discover(sources, Path("out"), RunOptions(), listed, Selection(exclude=("b.*", "no")))
    assert [job.destination.as_posix() for job in found.jobs] == ["out/a.jpg", "out/c.jpg", "out/list/d.jpg"]


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bokehcli", "run", *arguments, "--out", str(folder / "out"), "--strength", "0"]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_a_run_does_what_is_wanted_only(photos: Path, tmp_path: Path) -> None:
    patterns = ("--include", "c*.jpg", "--exclude", "camera.*", "--exclude", "mattes")
    done = run(tmp_path, str(photos), *patterns)
    assert done.returncode == 0, done.stderr
    assert sorted(Path(line).name for line in done.stdout.splitlines()) == ["chelsea.jpg", "coffee.jpg"]


@pytest.mark.parametrize("arguments", [["--include", "*.nef"], ["--exclude", "*"], ["--include", ""]])
def test_patterns_that_leave_nothing_are_misuse(photos: Path, tmp_path: Path, arguments: list[str]) -> None:
    done = run(tmp_path, str(photos), *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
