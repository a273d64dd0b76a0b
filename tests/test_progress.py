"""Records on stdout, everything for people on stderr, and no name that can break a line."""

import errno
import io
import itertools
import json
import os
import re
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from bokehcli import progress
from bokehcli.discover import Job
from bokehcli.errors import ReadError, WriteError
from bokehcli.outcome import Outcome, Status
from bokehcli.printable import printable
from bokehcli.progress import Bar, Reporter

DONE = Outcome(
    source=Path("in/a.jpg"),
    destination=Path("out/a.jpg"),
    status=Status.DONE,
    elapsed_s=0.41,
    megapixels=12.0,
    doubt=0.12345,
    warnings=("EXIF is damaged",),
    written=(Path("out/a.alpha.png"), Path("out/a.jpg")),
)
SKIPPED = Outcome(source=Path("in/b.jpg"), destination=Path("out/b.jpg"), status=Status.SKIPPED)
FAILED = Outcome(
    source=Path("in/c.jpg"),
    destination=Path("out/c.jpg"),
    status=Status.FAILED,
    error="in/c.jpg: damaged",
    traceback="Traceback\n  deep inside",
)

# Ten outcomes, as a process of its own: what is at stake is how it ends.
SCRIPT = """
import sys
from pathlib import Path
from bokehcli.discover import Job
from bokehcli.outcome import Outcome, Status
from bokehcli.progress import Reporter
with Reporter(10) as reporter:
    for number in range(10):
        name = Path(f"[red]{number}\\n.jpg")
        reporter.started(Job(source=name, destination=name))
        failed = number == 3
        reporter.finished(Outcome(source=name, destination=name, status=Status.FAILED if failed else Status.DONE,
                                  error=f"{name}: damaged" if failed else None))
sys.exit(0 if reporter.all_well else 1)
"""


def told(capfd: pytest.CaptureFixture[str], *, quiet: bool = False, verbose: bool = False) -> tuple[list[str], str]:
    """Lines on stdout, and all of stderr."""
    with Reporter(3, quiet=quiet, verbose=verbose) as reporter:
        reporter.note("left out")
        for outcome in (DONE, SKIPPED, FAILED):
            reporter.finished(outcome)
    assert not reporter.all_well
    captured = capfd.readouterr()
    return captured.out.splitlines(), captured.err


def test_stdout_holds_the_rendered_photos_and_nothing_else(capfd: pytest.CaptureFixture[str]) -> None:
    for settings in ({}, {"quiet": True}, {"verbose": True}):
        out, _ = told(capfd, **settings)
        assert out == [str(Path("out/a.jpg"))]


def test_without_a_terminal_each_photo_is_a_line_and_the_end_a_summary(capfd: pytest.CaptureFixture[str]) -> None:
    _, err = told(capfd)
    lines = err.splitlines()
    assert len(lines) == 5
    assert lines[1].startswith("[1/3] ")
    assert lines[2].startswith("[2/3] ")
    assert lines[3] == "bokeh: in/c.jpg: damaged"
    assert lines[4].startswith("1 of 3 photos rendered, 1 skipped, 1 failed")


def test_the_summary_counts_photos_without_a_clear_subject_and_those_unsure_of_it(capfd: pytest.CaptureFixture[str]) -> None:
    found = [(True, 0.1), (True, 0.5), (True, 0.9), (False, None), (None, None)]
    with Reporter(len(found) + 1, quiet=False) as reporter:
        for subject, doubt in found:
            reporter.finished(replace(DONE, subject=subject, doubt=doubt))
        reporter.finished(replace(FAILED, subject=False))
    words = "5 of 6 photos rendered, 1 without a clear subject, 2 unsure of the subject, 1 failed in "
    assert capfd.readouterr().err.splitlines()[-1].startswith(words)


def test_quiet_leaves_the_failures_only(capfd: pytest.CaptureFixture[str]) -> None:
    assert told(capfd, quiet=True)[1] == "bokeh: in/c.jpg: damaged\n"


def test_verbose_adds_notes_maps_and_tracebacks(capfd: pytest.CaptureFixture[str]) -> None:
    plain, verbose = told(capfd)[1], told(capfd, verbose=True)[1]
    for words in ("left out", "a.alpha.png", "deep inside"):
        assert words in verbose
        assert words not in plain


def test_a_failure_beside_the_photos_is_told_and_counts(capfd: pytest.CaptureFixture[str]) -> None:
    reporter = Reporter(1, quiet=True)
    reporter.finished(DONE)
    assert reporter.all_well
    reporter.failed(ReadError("in/locked", "Permission denied"))
    assert not reporter.all_well
    assert capfd.readouterr().err == "bokeh: in/locked: Permission denied\n"


def test_an_interrupt_is_in_the_summary(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt), Reporter(3):
        raise KeyboardInterrupt
    assert capfd.readouterr().err.splitlines()[-1].startswith("interrupted: 0 of 3")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ünïcödé 写真.jpg", "plain ünïcödé 写真.jpg"),
        ("a\nb\r\x1b[31m\x9b", "a\\nb\\r\\x1b[31m\\x9b"),
        ("\u202egpj.exe", "\\u202egpj.exe"),
        ("caf\udce9", "caf\\udce9"),
    ],
)
def test_what_could_break_a_line_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.skipif(sys.platform == "win32", reason="names are Unicode there")
def test_a_name_that_is_not_utf_8_reaches_stdout_byte_for_byte(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    name = Path(os.fsdecode(b"caf\xe9\n.jpg"))
    reporter = Reporter(1, quiet=True)
    reporter.finished(Outcome(source=name, destination=name, status=Status.DONE))
    reporter.planned(Job(source=name, destination=name))
    assert capfdbinary.readouterr().out == b"caf\xe9\n.jpg\ncaf\xe9\n.jpg -> caf\xe9\n.jpg\n"


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX pipes")
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_reader_that_has_gone_ends_nothing(stream: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: writing}
    done = subprocess.run([sys.executable, "-c", SCRIPT], **streams)  # type: ignore[call-overload]
    os.close(writing)
    assert done.returncode == 1  # of the one that failed, not of the pipe
    if stream == "stdout":
        assert b"9 of 10 photos rendered, 1 failed" in done.stderr
        assert b"Error" not in done.stderr
    else:
        assert done.stdout.count(b".jpg\n") == 9


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_a_terminal_that_has_gone_ends_nothing() -> None:
    import pty

    ours, theirs = pty.openpty()
    with subprocess.Popen([sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, stderr=theirs, stdin=theirs) as child:
        os.close(theirs)
        assert os.read(ours, 1)  # it has begun to draw
        os.close(ours)
        assert child.stdout is not None
        assert child.stdout.read().count(b".jpg\n") == 9
    assert child.returncode == 1


@pytest.mark.parametrize("windows", [True, False])
def test_a_reader_that_has_gone_is_told_by_another_number_on_windows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, windows: bool
) -> None:
    def write(_: bytes) -> int:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(progress, "WINDOWS", windows)
    with open(tmp_path / "stdout", "wb") as file:
        monkeypatch.setattr(sys, "stdout", SimpleNamespace(buffer=SimpleNamespace(write=write), fileno=file.fileno))
        with nullcontext() if windows else pytest.raises(WriteError, match="stdout: Invalid argument"):
            assert not progress.write_record(b"a.jpg")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_records_that_cannot_be_written_are_one_line_and_a_failure() -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run([sys.executable, "-c", SCRIPT], stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 1
    assert done.stderr.count(f"bokeh: stdout: {os.strerror(errno.ENOSPC)}".encode()) == 1
    assert b"9 of 10 photos rendered" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_on_a_terminal_a_bar_shows_and_failures_stay_whole_above_it() -> None:
    import pty

    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, stderr=theirs, env=environment
    ) as child:
        os.close(theirs)
        shown = b""
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:  # Linux's way to say that the other end is closed
                break
            if not piece:
                break
            shown += piece
        assert child.stdout is not None
        out = child.stdout.read()
    os.close(ours)
    assert child.returncode == 1
    assert out.count(b".jpg\n") == 9
    assert b"10/10" in shown
    assert b"bokeh: [red]3\\n.jpg: damaged" in shown


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (20, " 9876/12345 n+…"),
        (50, r" 9876/12345 n+… [\d.]+ photos/s \d:\d\d:\d\d"),
        (80, r"━+[╸━ ]+ 9876/12345 n+… [\d.]+ photos/s \d:\d\d:\d\d"),
    ],
)
def test_a_long_name_leaves_room_for_the_rest_of_the_line(width: int, shown: str) -> None:
    console = Console(width=width, file=io.StringIO(), force_terminal=True, color_system=None, legacy_windows=False)
    ticks = itertools.count()
    bar = Bar(console)
    bar.get_time = lambda: next(ticks) / 7
    task = bar.add_task("", total=12345, photo="n" * 150)
    for completed in (9000, 9876):
        bar.update(task, completed=completed)
    with console.capture() as captured:
        console.print(bar)
    (line,) = captured.get().splitlines()
    assert re.fullmatch(shown, line.rstrip())
    assert len(line) <= width


def test_json_tells_of_every_photo_on_a_line(capfd: pytest.CaptureFixture[str]) -> None:
    with Reporter(3, quiet=True, null=True, as_json=True) as reporter:
        for outcome in (DONE, SKIPPED, FAILED):
            reporter.finished(outcome)
        reporter.failed(ReadError("in/\udcff\n", "absent"))
        reporter.planned(Job(source=Path("in/d.jpg"), destination=Path("out/d.jpg")))
    lines = capfd.readouterr().out.splitlines()
    assert json.loads(lines[0]) == {
        "source": "in/a.jpg",
        "destination": "out/a.jpg",
        "maps": ["out/a.alpha.png"],
        "status": "done",
        "seconds": 0.41,
        "megapixels": 12.0,
        "subject": None,
        "doubt": 0.123,
        "warnings": ["EXIF is damaged"],
        "error": None,
    }
    rest = [json.loads(line) for line in lines[1:]]
    assert [(told["source"], told["status"], told["error"]) for told in rest] == [
        ("in/b.jpg", "skipped", None),
        ("in/c.jpg", "failed", "damaged"),
        ("in/\udcff\n", "failed", "absent"),
        ("in/d.jpg", "planned", None),
    ]
    assert all(told.keys() == json.loads(lines[0]).keys() for told in rest)


def test_json_that_nobody_can_write_is_told_once() -> None:
    """A full disk fails the run, and does not call for a record of its own."""
    if not Path("/dev/full").exists():
        pytest.skip("Linux has it")
    script = SCRIPT.replace("Reporter(10)", "Reporter(10, as_json=True, quiet=True)")
    with open("/dev/full", "wb") as full:
        done = subprocess.run([sys.executable, "-c", script], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr.count("No space left") == 1
