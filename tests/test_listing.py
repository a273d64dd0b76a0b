"""Lists of photos: how they are read, where what they name goes, and a real run at the end of a pipe."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bokehcli.discover import Discovery, discover
from bokehcli.errors import UsageError
from bokehcli.listing import read_list
from bokehcli.options import RunOptions


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def find(out: Path, *listed: Path) -> Discovery:
    return discover([], out, RunOptions(), listed)


def landed(found: Discovery, out: Path) -> list[str]:
    return [job.destination.relative_to(out).as_posix() for job in found.jobs]


@pytest.mark.parametrize(
    ("text", "null", "names"),
    [
        (b"a.jpg\nsub/b c.jpg\n", False, ["a.jpg", "sub/b c.jpg"]),
        (b"a.jpg\nb.jpg", False, ["a.jpg", "b.jpg"]),
        (b"\xef\xbb\xbfa.jpg\r\n\r\nb.jpg\r\n", False, ["a.jpg", "b.jpg"]),
        (b"\xff\xfe" + "\u0411.jpg\r\nb.jpg\r\n".encode("utf-16-le"), False, ["\u0411.jpg", "b.jpg"]),
        (b"\xfe\xff" + "\u0411.jpg\n".encode("utf-16-be"), False, ["\u0411.jpg"]),
        (b" a.jpg \n", False, [" a.jpg "]),
        (b"a\nb.jpg\0c\r\0", True, ["a\nb.jpg", "c\r"]),
        (b"", False, []),
        (b"", True, []),
    ],
)
def test_a_list_names_what_it_says(tmp_path: Path, text: bytes, null: bool, names: list[str]) -> None:
    (tmp_path / "list").write_bytes(text)
    assert read_list(tmp_path / "list", null=null) == [Path(name) for name in names]


def test_a_list_that_ends_names_with_nul_is_not_taken_for_lines(tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes(b"a.jpg\0b.jpg\0")
    with pytest.raises(UsageError, match="--null"):
        read_list(tmp_path / "list")


@pytest.mark.parametrize(
    ("text", "encoding"), [("caf\u00e9.jpg\n".encode("latin-1"), "UTF-8"), (b"\xff\xfea\0.", "UTF-16")]
)
def test_a_list_in_another_encoding_is_misuse_where_names_are_utf_8(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: bytes, encoding: str
) -> None:
    (tmp_path / "list").write_bytes(text)
    monkeypatch.setattr(os, "fsdecode", lambda name: name.decode("utf-8", "surrogatepass"))  # as it is on Windows
    with pytest.raises(UsageError, match=f"list: the list is not in {encoding}"):
        read_list(tmp_path / "list")


@pytest.mark.parametrize("name", ["absent", "."])
def test_a_list_that_cannot_be_read_is_misuse_and_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=name):
        read_list(tmp_path / name)


def test_listed_photos_keep_their_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work, away, out = tmp_path / "work", tmp_path / "away", tmp_path / "out"
    touch(work / "a.jpg", work / "one" / "a.jpg", work / "two" / "a.jpg", away / "a.jpg")
    monkeypatch.chdir(work)
    found = find(out, Path("a.jpg"), Path("./one/a.jpg"), work / "two" / "a.jpg", Path("../away/a.jpg"))
    outside = (away / "a.jpg").relative_to(away.anchor).as_posix()
    assert landed(found, out)[:3] == ["a.jpg", "one/a.jpg", "two/a.jpg"]
    assert landed(found, out)[3].endswith(outside)


def test_a_listed_folder_and_what_is_in_it_are_done_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path / "in" / "a.jpg", tmp_path / "in" / "sub" / "b.jpg")
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "out"
    found = find(out, Path("in"), Path("in/a.jpg"), Path("in/sub"), Path("in/sub/b.jpg"))
    assert landed(found, out) == ["in/a.jpg", "in/sub/b.jpg"]


def test_what_a_list_names_in_the_output_folder_is_left_out_with_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path / "a.jpg", tmp_path / "out" / "a.jpg", tmp_path / "out" / "sub" / "b.jpg", tmp_path / "outer.jpg")
    monkeypatch.chdir(tmp_path)
    listed = [Path(name) for name in ("a.jpg", "out", "out/a.jpg", "out/sub/b.jpg", "outer.jpg")]
    found = find(Path("out"), *listed)
    assert landed(found, Path("out")) == ["a.jpg", "outer.jpg"]
    assert len(found.notes) == 3


def test_an_absent_photo_in_a_list_costs_itself_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path / "a.jpg")
    monkeypatch.chdir(tmp_path)
    found = find(Path("out"), Path("gone.jpg"), Path("a.jpg"), Path("bad\0name.jpg"))
    assert landed(found, Path("out")) == ["a.jpg"]
    assert [error.name for error in found.unreadable] == ["gone.jpg", "bad\0name.jpg"]


def run(folder: Path, *arguments: str, listed: bytes) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "bokehcli", "run", *arguments, "--strength", "0"]
    return subprocess.run(command, input=listed, capture_output=True, cwd=folder, timeout=120)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such names")
def test_a_run_takes_names_with_line_ends_from_a_pipe_and_prints_them_so(photos: Path, tmp_path: Path) -> None:
    for name in ("two\nlines.jpg", "sub/plain.jpg"):
        target = tmp_path / "in" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((photos / "coffee.jpg").read_bytes())
    listed = b"in/two\nlines.jpg\0in/sub/plain.jpg\0in/gone.jpg\0"
    done = run(tmp_path, "--files-from", "-", "-0", "--out", "out", "--report", "failed.txt", listed=listed)
    assert done.returncode == 1, done.stderr
    assert sorted(done.stdout.split(b"\0")) == [b"", b"out/in/sub/plain.jpg", b"out/in/two\nlines.jpg"]
    assert all((tmp_path / os.fsdecode(name)).is_file() for name in done.stdout.split(b"\0")[:-1])
    assert done.stderr.count(b"in/gone.jpg: ") == 1
    assert "in/gone.jpg" in (tmp_path / "failed.txt").read_text()


@pytest.mark.parametrize("arguments", [[], ["--files-from", "-"], ["--files-from", "absent"]])
def test_a_run_without_photos_is_misuse_in_one_line(tmp_path: Path, arguments: list[str]) -> None:
    done = run(tmp_path, *arguments, "--out", "out", listed=b"")
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (2, b"", 1)
    assert not (tmp_path / "out").exists()
