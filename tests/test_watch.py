"""Photos as they arrive: each once its writing has ended, and none twice."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from bokehcli import watch
from bokehcli.cli import main
from bokehcli.discover import Job, discover
from bokehcli.errors import MissingDependency
from bokehcli.options import EncodeOptions, RunOptions
from bokehcli.photo import Container

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="it is ended by a POSIX signal")
WAIT_S = 60.0  # for what must come; no test asserts a time
Captured = pytest.CaptureFixture[str]


class Watching:
    """A run that watches folder `in`, and what it says on stdout."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.told: Queue[dict[str, Any]] = Queue()
        self.thread = Thread(target=self._listen, daemon=True)
        self.thread.start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.told.put(json.loads(line))

    def next(self) -> tuple[str, str]:
        """Name and status of the next photo that is told of."""
        told = self.told.get(timeout=WAIT_S)
        return Path(told["source"]).name, told["status"]

    def names(self, count: int) -> list[tuple[str, str]]:
        return sorted(self.next() for _ in range(count))


@contextmanager
def watching(folder: Path, *arguments: str) -> Iterator[Watching]:
    """Watch the folder until the block ends; then interrupt, and nothing more may have been done."""
    command = [
        sys.executable,
        "-m",
        "bokehcli",
        "run",
        "in",
        "--out",
        "out",
        "--watch",
        "--json",
        "--strength",
        "0",
        *arguments,
    ]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "watching" in process.stderr.readline()
        running = Watching(process)
        try:
            yield running
            process.send_signal(signal.SIGINT)
            errors = process.stderr.read()
            assert process.wait(WAIT_S) == 130
            running.thread.join(WAIT_S)
            assert "Traceback" not in errors
            assert "interrupted: " in errors
            with pytest.raises(Empty):
                running.told.get_nowait()
        finally:
            process.kill()


def save(path: Path, colour: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (16, 12), (colour, 90, 30)).save(path)
    return path


def test_what_is_there_is_done_and_then_what_arrives_or_changes(tmp_path: Path) -> None:
    save(tmp_path / "in" / "a.png")
    with watching(tmp_path) as running:
        assert running.next() == ("a.png", "done")
        save(tmp_path / "in" / "new" / "b.png")
        assert running.next() == ("b.png", "done")
        save(tmp_path / "elsewhere" / "c.png")
        (tmp_path / "elsewhere").rename(tmp_path / "in" / "moved")  # no word comes of what is in it
        assert running.next() == ("c.png", "done")
        save(tmp_path / "in" / "a.png", 200)
        assert running.next() == ("a.png", "done")
    with Image.open(tmp_path / "out" / "a.png") as image:
        assert image.getpixel((0, 0)) == (200, 90, 30)
    assert (tmp_path / "out" / "moved" / "c.png").exists()
    with watching(tmp_path) as running:
        assert running.names(3) == [("a.png", "skipped"), ("b.png", "skipped"), ("c.png", "skipped")]


def test_a_photo_is_waited_for_until_its_writing_ends(tmp_path: Path) -> None:
    """Open for writing, and still for longer than a file that is done; a second one shows that the run goes on meanwhile."""
    whole = save(tmp_path / "a.png").read_bytes()
    (tmp_path / "in").mkdir()
    with watching(tmp_path) as running:
        with open(tmp_path / "in" / "slow.png", "wb") as file:
            file.write(whole[:40])
            file.flush()
            if sys.platform != "linux":  # there the size has to show it
                for byte in whole[40:]:
                    time.sleep(watch.SETTLED_S / 10)
                    file.write(bytes([byte]))
                    file.flush()
            else:
                time.sleep(2 * watch.SETTLED_S)
                save(tmp_path / "in" / "quick.png")
                assert running.next() == ("quick.png", "done")
                file.write(whole[40:])
        assert running.next() == ("slow.png", "done")
    assert (tmp_path / "out" / "slow.png").exists()


def test_a_photo_that_came_in_two_pieces_is_done_in_the_end(tmp_path: Path) -> None:
    whole = save(tmp_path / "a.png").read_bytes()
    (tmp_path / "in").mkdir()
    with watching(tmp_path) as running:
        (tmp_path / "in" / "a.png").write_bytes(whole[:40])
        assert running.next() == ("a.png", "failed")
        with open(tmp_path / "in" / "a.png", "ab") as file:
            file.write(whole[40:])
        assert running.next() == ("a.png", "done")


def test_results_inside_what_is_watched_are_no_photos(tmp_path: Path) -> None:
    save(tmp_path / "in" / "a.png")
    command = ["--out", "in/out"]
    with watching(tmp_path, *command) as running:
        assert running.next() == ("a.png", "done")
        save(tmp_path / "in" / "b.png")
        assert running.next() == ("b.png", "done")
    assert sorted(path.name for path in (tmp_path / "in" / "out").glob("*.png")) == ["a.png", "b.png"]


def test_only_what_is_wanted_is_taken(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with watching(tmp_path, "--exclude", "no*") as running:
        save(tmp_path / "in" / "no.png")
        (tmp_path / "in" / "notes.txt").write_text("no photo")
        save(tmp_path / "in" / ".half-copied.png")
        save(tmp_path / "in" / "yes.png")
        assert running.next() == ("yes.png", "done")


def test_a_photo_that_is_given_twice_is_done_once(tmp_path: Path) -> None:
    save(tmp_path / "in" / "a.png")
    save(tmp_path / "in" / "out" / "x.png")
    with watching(tmp_path, "in/a.png") as running:
        assert running.names(2) == [("a.png", "done"), ("x.png", "done")]


def test_a_name_that_comes_twice_costs_the_second_photo(tmp_path: Path) -> None:
    save(tmp_path / "in" / "a.png")
    (tmp_path / "more").mkdir()
    with watching(tmp_path, "more") as running:
        assert running.next() == ("a.png", "done")
        second = save(tmp_path / "more" / "a.png", 200)
        told = running.told.get(timeout=WAIT_S)
        assert (tmp_path / told["source"], told["status"]) == (second, "failed")
        save(tmp_path / "in" / "b.png")
        assert running.next() == ("b.png", "done")
    with Image.open(tmp_path / "out" / "a.png") as image:
        assert image.getpixel((0, 0)) == (0, 90, 30)


@pytest.mark.parametrize(
    "arguments",
    [["--watch", "--dry-run", "."], ["--watch", "--files-from", "list"], ["--watch"], ["--watch", "absent"], ["--watch", "-"]],
)
def test_what_cannot_be_watched_is_misuse(
    tmp_path: Path, capfd: Captured, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["run", "--out", "out", *arguments]) == 2
    assert len(capfd.readouterr().err.splitlines()) == 1
    assert os.listdir(tmp_path) == []


def test_without_the_package_the_message_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    with pytest.raises(MissingDependency, match=r"bokehcli\[watch\]"):
        watch.load()


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A watch that looks at each event, a minute after the one before."""
    seconds = 1000.0

    def events(*_: object, **__: object) -> Iterator[set[object]]:
        nonlocal seconds
        while True:
            seconds += 60.0
            yield set()

    monkeypatch.setattr(watch, "load", lambda: SimpleNamespace(watch=events))
    monkeypatch.setattr(watch.time, "monotonic", lambda: seconds)


@pytest.mark.usefixtures("looks")
def test_a_photo_whose_destination_changes_is_done_again_unless_its_result_is_there(tmp_path: Path) -> None:
    """As when another photo arrives that has the name by right, and when that one goes."""
    options = RunOptions(encode=EncodeOptions(container=Container.PNG))
    folder, out = tmp_path / "in", tmp_path / "out"
    save(folder / "a.bmp")
    jobs = watch.Watch([folder], out, lambda _: discover([folder], out, options), pytest.fail).jobs()
    assert taken_in(jobs) == {"a.bmp": "a.png"}
    save(folder / "a.png")
    assert taken_in(jobs) == {"a.bmp": "a.bmp.png", "a.png": "a.png"}
    save(out / "a.png")
    (folder / "a.png").unlink()
    assert taken_in(jobs) == {}


@pytest.mark.usefixtures("looks")
def test_a_photo_that_is_still_arriving_has_its_name_before_a_later_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders, out = [tmp_path / "a", tmp_path / "b"], tmp_path / "out"
    arriving = True
    monkeypatch.setattr(watch, "_is_being_written", lambda _: arriving)
    for folder in folders:
        folder.mkdir()
    refused: list[str] = []
    jobs = watch.Watch(
        folders,
        out,
        lambda earlier: discover(folders, out, RunOptions(), earlier=earlier),
        lambda error: refused.append(str(error)),
    ).jobs()
    first = save(folders[1] / "x.png")
    assert taken_in(jobs) == {}
    save(folders[0] / "x.png")
    assert taken_in(jobs) == {}
    arriving = False
    assert [job.source for job in islice(jobs, 6) if job is not None] == [first]
    (said,) = refused
    assert said.startswith(str(folders[0] / "x.png"))


def taken_in(jobs: Iterator[Job | None]) -> dict[str, str]:
    """The names of photos and results that come in the next few looks."""
    return {job.source.name: job.destination.name for job in islice(jobs, 6) if job is not None}


def test_a_photo_that_still_grows_is_waited_for_where_nobody_says_that_it_is_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Time is counted in steps of a second, one at each event."""
    seconds = 1000.0

    def events(*_: object, **__: object) -> Iterator[set[object]]:
        nonlocal seconds
        while True:
            yield set()
            seconds += 1.0

    monkeypatch.setattr(watch, "load", lambda: SimpleNamespace(watch=events))
    monkeypatch.setattr(watch, "_is_being_written", lambda _: False)
    monkeypatch.setattr(watch.time, "monotonic", lambda: seconds)
    photo = save(tmp_path / "in" / "a.png")
    os.utime(photo, (time.time() + 9, time.time() + 9))  # a clock that is ahead does not make it older
    out = tmp_path / "out"
    jobs = watch.Watch([tmp_path / "in"], out, lambda _: discover([tmp_path / "in"], out, RunOptions()), pytest.fail).jobs()
    taken = []
    for step in range(8):
        job = next(jobs)
        if job is not None:
            taken.append((step, job.source.name))
            assert next(jobs) is None
        if step < 3:
            photo.write_bytes(photo.read_bytes() + b"more")
    assert taken == [(5, "a.png")]  # seen changed at 3, unchanged at 4 and 5
