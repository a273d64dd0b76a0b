"""One photo through a pipe: what stdout gets, and what everybody is told."""

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
STILL = ("--strength", "0")  # no network is opened, which makes a photo quick


def bokeh(*arguments: str | Path, photo: bytes = b"", **settings: object) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "bokehcli", "run", *map(str, arguments)]
    return subprocess.run(command, input=photo, capture_output=True, timeout=300, **settings)  # type: ignore[call-overload]


@pytest.fixture
def png() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (16, 12), (200, 90, 30)).save(file, "png")
    return file.getvalue()


def test_stdout_gets_what_the_file_would_have_got(photos: Path, tmp_path: Path) -> None:
    photo = photos / "astronaut.jpg"
    assert bokeh(photo, "--out", tmp_path, "-q").returncode == 0
    piped = bokeh("-", "--out", "-", photo=photo.read_bytes())
    assert (piped.returncode, piped.stderr) == (0, b"")
    assert piped.stdout == (tmp_path / "astronaut.jpg").read_bytes()
    assert bokeh(photo, "--out", "-").stdout == piped.stdout
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".jpg"] == ["astronaut.jpg"]


def test_nothing_is_written_beside(png: bytes, tmp_path: Path) -> None:
    done = bokeh("-", "--out", "-", *STILL, "--format", "webp", photo=png, cwd=tmp_path)
    assert done.stdout.startswith(b"RIFF")
    assert list(tmp_path.iterdir()) == []


def test_warnings_and_more_go_to_stderr(photos: Path, png: bytes) -> None:
    flat = bokeh("-", "--out", "-", "-v", photo=png)
    assert flat.returncode == 0
    assert flat.stdout.startswith(b"\x89PNG")
    warning, line = flat.stderr.decode().splitlines()
    assert warning == "bokeh: warning: stdin: no clear subject: the picture stays as it is"
    assert line.startswith("stdin ")
    assert bokeh("-", "--out", "-", "-q", photo=png).stderr == b""


@pytest.mark.parametrize("photo", [b"", b"no photo", b"\xff\xd8\xff\xe0 cut short"])
def test_what_is_no_photo_is_one_line_and_no_output(photo: bytes) -> None:
    done = bokeh("-", "--out", "-", *STILL, photo=photo)
    assert (done.returncode, done.stdout) == (1, b"")
    (line,) = done.stderr.splitlines()
    assert line.startswith(b"bokeh: stdin: ")


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    done = bokeh(tmp_path / "absent.jpg", "--out", "-")
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.decode() == f"bokeh: {tmp_path / 'absent.jpg'}: No such file or directory\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["-", "--out", "DIR"],
        ["-", "DIR/a.png", "--out", "-"],
        ["--out", "-"],
        ["DIR", "--out", "-"],
        *(
            ["-", "--out", "-", *words]
            for words in (["--json"], ["--dry-run"], ["--save-maps"], ["--report", "r"], ["--shard=1/2"])
        ),
        *(["-", "--out", "-", *words] for words in (["--include", "*"], ["--exclude", "a"], ["--preserve-times"])),
        ["--files-from", "-", "--out", "-"],
    ],
)
def test_what_makes_no_sense_in_a_pipe_is_misuse(tmp_path: Path, png: bytes, arguments: list[str]) -> None:
    done = bokeh(*(word.replace("DIR", str(tmp_path)) for word in arguments), photo=png)
    assert (done.returncode, done.stdout) == (2, b"")
    assert len(done.stderr.splitlines()) == 1


def test_what_a_settings_file_asks_for_is_left_out_in_a_pipe(tmp_path: Path, png: bytes) -> None:
    (tmp_path / "c.toml").write_text(
        '[run]\njson = true\nreport = "r"\ninclude = "*.jpg"\npreserve-times = true\nstrength = 0\n'
    )
    done = bokeh("-", "--out", "-", "--config", tmp_path / "c.toml", photo=png)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["c.toml"]


def test_what_is_taken_back_may_be_said_in_a_pipe(png: bytes) -> None:
    switches = ["json", "dry-run", "save-maps", "preserve-times", "overwrite", "skip-existing", "watch"]
    done = bokeh("-", "--out", "-", *STILL, *(f"--no-{switch}" for switch in switches), photo=png)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"\x89PNG")


@posix
def test_a_folder_of_that_name_has_another_spelling(tmp_path: Path, png: bytes) -> None:
    (tmp_path / "a.png").write_bytes(png)
    done = bokeh("a.png", "--out", "./-", *STILL, cwd=tmp_path)
    assert done.returncode == 0
    assert (tmp_path / "-" / "a.png").exists()


@posix
def test_a_reader_that_leaves_is_no_traceback(photos: Path) -> None:
    """The photo is larger than a pipe's buffer."""
    command = f'"{sys.executable}" -m bokehcli run - -qo - --strength 0 --format bmp <"{photos / "rocket.jpg"}" | head -c 10'
    done = subprocess.run(command, shell=True, capture_output=True)
    assert (len(done.stdout), done.stderr) == (10, b"")


@posix
def test_a_stdin_that_does_not_wait_is_waited_for(png: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png)
    for arguments, content in (["-", "--out", "-"], png), (["--files-from", "-", "--out", "out", "--no-ledger"], b"a.png"):
        theirs, ours = os.pipe()
        os.set_blocking(theirs, False)
        command = [sys.executable, "-m", "bokehcli", "run", *arguments, *STILL]
        with subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path) as child:
            for part in (content[:3], content[3:]):
                time.sleep(1)  # longer than it takes to begin to read
                os.write(ours, part)
            os.close(ours)
            out, errors = child.communicate()
        os.close(theirs)
        assert child.returncode == 0, errors
        assert out.startswith(b"\x89PNG") or out == b"out/a.png\n"


@posix
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_reader_that_is_slow_gets_all_of_what_does_not_wait_for_it(photos: Path, tmp_path: Path, stream: str) -> None:
    """More than a pipe holds, of a photo and of lines."""
    bad = [tmp_path / f"{'long' * 40}{number}.jpg" for number in range(400)]
    for path in bad if stream == "stderr" else ():
        path.write_bytes(b"no photo")
    into = ["-q", str(tmp_path), "--out", str(tmp_path / "out"), "--no-ledger"]
    arguments = [str(photos / "rocket.jpg"), "-qo", "-", "--format", "bmp"] if stream == "stdout" else into
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)
    command = [sys.executable, "-m", "bokehcli", "run", *arguments, *STILL]
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, stream: theirs}
    with subprocess.Popen(command, **streams) as child, open(ours, "rb") as reader:  # type: ignore[call-overload]
        os.close(theirs)
        time.sleep(2)  # longer than it takes to fill the pipe
        told = reader.read()
    assert child.returncode == (0 if stream == "stdout" else 1)
    if stream == "stdout":
        assert len(told) == int.from_bytes(told[2:6], "little") > 65_536  # the length that a BMP's header says
    else:
        assert len(told) > 65_536
        assert all(f"{path.name}:".encode() in told for path in bad)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has it")
def test_a_full_disk_is_named(png: bytes) -> None:
    with open("/dev/full", "wb") as full:
        command = [sys.executable, "-m", "bokehcli", "run", "-", "--out", "-", *STILL]
        done = subprocess.run(command, input=png, stdout=full, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (1, b"bokeh: stdout: No space left on device\n")


@posix
def test_a_terminal_gets_no_photo(png: bytes) -> None:
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "bokehcli", "run", "-", "--out", "-"]
    done = subprocess.run(command, input=png, stdout=theirs, stderr=subprocess.PIPE)
    assert done.returncode == 2
    assert b"terminal" in done.stderr
    done = subprocess.run(command, stdin=theirs, capture_output=True)
    assert (done.returncode, done.stdout) == (2, b"")
    os.close(ours)
    os.close(theirs)


@posix
@pytest.mark.parametrize(("stream", "number"), [("stdin", 0), ("stdout", 1)])
def test_a_closed_stream_is_called_so(stream: str, number: int) -> None:
    command = ["sh", "-c", f'exec "$@" {number}>&-', "sh", sys.executable, "-m", "bokehcli", "run", "-", "--out", "-"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert done.returncode == 2
    assert done.stderr.startswith(f"bokeh: {stream} is closed: ".encode())


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_while_the_photo_is_written_leaves_it_whole(photos: Path, number: signal.Signals) -> None:
    arguments = [photos / "rocket.jpg", "--out", "-", "--format", "png"]  # more than a pipe holds
    whole = bokeh(*arguments).stdout
    assert len(whole) > 1 << 17
    command = [sys.executable, "-m", "bokehcli", "run", *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        first = os.read(process.stdout.fileno(), 1)
        process.send_signal(number)
        time.sleep(0.3)
        rest, errors = process.communicate(timeout=60)
    assert first + rest == whole
    assert process.returncode == 0
    assert b"Traceback" not in errors


@posix
@pytest.mark.parametrize("missing", [1000, 0])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_no_half_photo(photos: Path, missing: int, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "bokehcli", "run", "-", "--out", "-"]
    photo = (photos / "rocket.jpg").read_bytes()
    whole = b"" if missing else bokeh(photos / "rocket.jpg", "--out", "-").stdout
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(photo[: len(photo) - missing])  # more than a pipe holds: done once the other end reads
        process.stdin.flush()
        if not missing:
            process.stdin.close()
            process.stdin = None
        process.send_signal(number)
        out, errors = process.communicate(timeout=60)
    ends = (128 + number, -number)  # the latter before there is anything to finish
    assert process.returncode in (ends if missing else (*ends, 0))  # or it was done before
    assert out in ((b"",) if missing else (b"", whole))
    assert b"Traceback" not in errors
