"""Parts of a batch: each photo in one of them, always the same, and each part with a ledger of its own."""

import json
import re
import sqlite3
import sys
from pathlib import Path, PurePath

import pytest
from PIL import Image

from bokehcli.cli import main
from bokehcli.discover import discover
from bokehcli.entries import NAME, read
from bokehcli.errors import UsageError
from bokehcli.options import EncodeOptions, RunOptions
from bokehcli.photo import Container
from bokehcli.shard import Shard, shard_of

STILL = ["--strength", "0", "--jobs", "1"]  # no network is opened, which makes a photo quick
Captured = pytest.CaptureFixture[str]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for index in range(9):
        path = tmp_path / "in" / f"sub{index % 3}" / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 12), (200, 90, 10 * index)).save(path)
    return tmp_path / "in"


def run(folder: Path, *arguments: str) -> int:
    return main(["run", str(folder), "--out", str(folder.parent / "out"), *STILL, *arguments])


@pytest.mark.parametrize("count", [1, 2, 7, 300])
def test_every_photo_is_in_one_part(count: int) -> None:
    paths = [PurePath("trip", f"{index}.jpg") for index in range(200)]
    parts = [[path for path in paths if Shard(index + 1, count).has(path)] for index in range(count)]
    assert sorted(path for part in parts for path in part) == sorted(paths)
    if count < 10:
        assert min(map(len, parts)) > 0.5 * len(paths) / count


def test_a_part_is_the_same_on_every_machine_and_release() -> None:
    """What sha256sum prints of these names, as a number, modulo ten, plus one."""
    parts = {"a.jpg": 5, "sub/b.png": 9, "é.jpg": 7, "e\u0301.jpg": 7}  # the last as macOS writes the one before
    assert all(Shard(part, 10).has(PurePath(path)) for path, part in parts.items())


def test_a_name_that_is_not_unicode_is_in_a_part_too(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sum(Shard(part, 10).has(PurePath("\udcff.jpg")) for part in range(1, 11)) == 1
    monkeypatch.setattr(sys, "getfilesystemencodeerrors", lambda: "surrogatepass")  # as it is on Windows
    assert sum(Shard(part, 10).has(PurePath("\ud800.jpg")) for part in range(1, 11)) == 1


def test_names_are_given_before_the_parts_are_taken(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.png", "a.webp"):
        (tmp_path / name).touch()
    options = RunOptions(encode=EncodeOptions(container=Container.JPEG))
    found = [discover([tmp_path], tmp_path / "out", options, shard=Shard(index, 3)) for index in (1, 2, 3)]
    assert sorted(job.destination.name for part in found for job in part.jobs) == ["a.jpg", "a.png.jpg", "a.webp.jpg"]
    assert [part.photos for part in found] == [3, 3, 3]


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "1/", "/2", "-1/2", "a/b", "1/2/3", "²/3"])
def test_what_is_no_part_is_misuse(text: str) -> None:
    with pytest.raises(UsageError, match=re.escape(text)):
        shard_of(text)


def test_parts_together_do_everything_once(folder: Path, capfd: Captured) -> None:
    for index in (1, 2, 3):
        assert run(folder, "--shard", f"{index}/3") == 0
    printed = capfd.readouterr().out.splitlines()
    assert sorted(printed) == sorted(str(folder.parent / "out" / path.relative_to(folder)) for path in folder.rglob("*.png"))
    ledgers = sorted(path.name for path in (folder.parent / "out").glob(".*"))
    assert ledgers == [f".bokeh-{index}-of-3.sqlite3" for index in (1, 2, 3)]
    assert main(["status", str(folder.parent / "out"), "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["done"] == 9
    assert run(folder) == 0  # a run over all goes by what the parts know
    assert run(folder, "--shard", "2/2") == 0  # as does another division
    assert capfd.readouterr().out == ""
    assert {entry.times for entry in read(folder.parent / "out")} == {1}


def test_the_ledger_that_heard_last_is_right(folder: Path, capfd: Captured) -> None:
    out = folder.parent / "out"
    assert run(folder, "--shard", "1/1") == 0
    assert (out / NAME).exists()  # one part is the whole
    assert run(folder, "--shard", "1/2", "--format", "webp") == 0
    assert run(folder, "--format", "webp") == 0
    photo = folder / "sub0" / "0.png"
    Image.new("RGB", (16, 12), (1, 2, 3)).save(photo)
    assert run(folder, "--shard", "1/2") == run(folder, "--shard", "2/2") == 0
    capfd.readouterr()
    assert run(folder) == 0
    assert capfd.readouterr().out == ""  # not done again for what the older ledger says of it
    with Image.open(out / "sub0" / "0.png") as image:
        assert image.getpixel((0, 0)) == (1, 2, 3)


def test_a_part_without_photos_is_done_and_a_folder_without_is_misuse(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    assert run(tmp_path / "in", "--shard", "1/2") == 2
    Image.new("RGB", (8, 8)).save(tmp_path / "in" / "a.png")
    assert {run(tmp_path / "in", "--shard", f"{index}/40") for index in range(1, 41)} == {0}
    assert (tmp_path / "out" / "a.png").exists()


def test_the_ledger_of_another_part_that_cannot_be_read_costs_a_warning(folder: Path, capfd: Captured) -> None:
    out = folder.parent / "out"
    out.mkdir()
    (out / ".bokeh-1-of-2.sqlite3").write_bytes(b"no database at all" * 99)
    assert run(folder, "--shard", "2/2") == 0
    assert ".bokeh-1-of-2.sqlite3" in capfd.readouterr().err
    assert run(folder, "--shard", "1/2") == 2  # its own it needs


def test_the_file_of_a_part_is_safe_without_shared_memory(folder: Path) -> None:
    """A write-ahead log needs memory that all its users share: between machines there is none (sqlite.org/wal.html)."""
    assert run(folder, "--shard", "1/2") == run(folder) == 0
    modes = {}
    for path in (folder.parent / "out").glob(".bokeh*.sqlite3"):
        connection = sqlite3.connect(path)
        modes[path.name] = connection.execute("PRAGMA journal_mode").fetchone()[0]
        connection.close()
    assert modes == {NAME: "wal", ".bokeh-1-of-2.sqlite3": "delete"}
