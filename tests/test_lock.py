"""One run at a time into a folder, and none shut out by a run that is no more."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from bokehcli.cli import main
from bokehcli.entries import NAME, folder_of
from bokehcli.errors import LedgerError
from bokehcli.lock import Lock
from bokehcli.remote import Url

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX locks, and a stand-in for those of Windows")
HOLD = (
    "import sys, pathlib; from bokehcli.lock import Lock\n"
    "path = pathlib.Path(sys.argv[1]); Lock(path, path.parent); print(flush=True); sys.stdin.read()"
)
Captured = pytest.CaptureFixture[str]


def holding(path: Path) -> "subprocess.Popen[bytes]":
    """Another process, which has the lock until it is killed."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"\n"
    return process


def test_a_lock_is_one_processs_and_ends_with_it(tmp_path: Path) -> None:
    path = tmp_path / "out" / "lock"
    process = holding(path)
    with pytest.raises(LedgerError, match="another run"):
        Lock(path, path.parent)
    process.kill()  # by SIGKILL: it can undo nothing
    process.communicate()
    assert path.exists()
    lock = Lock(path, path.parent)
    with pytest.raises(LedgerError):
        Lock(path, path.parent)
    lock.release()
    assert not path.exists()
    lock.release()


def test_the_lock_of_windows_is_held_and_let_go_likewise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    def locking(descriptor: int, mode: int, count: int) -> None:
        assert (mode, count) == (2, 1)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise PermissionError(13, "Permission denied") from error

    path = tmp_path / "lock"
    process = holding(path)
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setitem(sys.modules, "msvcrt", SimpleNamespace(LK_NBLCK=2, locking=locking))
    with pytest.raises(LedgerError, match="another run"):
        Lock(path, path.parent)
    other = Lock(tmp_path / "other", tmp_path)
    with pytest.raises(LedgerError, match="another run"):
        other.refuse(path)
    process.kill()
    process.communicate()
    other.refuse(path)
    lock = Lock(path, path.parent)
    with pytest.raises(LedgerError):
        Lock(path, path.parent)
    lock.release()
    other.release()
    assert not list(tmp_path.iterdir())


def test_where_no_file_can_be_made_nothing_is_held_off(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "lock", tmp_path / ("x" * 300)):
        Lock(path, path.parent).release()


def test_a_second_run_into_a_folder_is_refused(tmp_path: Path, capfd: Captured) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for name in "abcdef":
        Image.new("RGB", (16, 12)).save(folder / f"{name}.png")
    command = ["run", str(folder), "--out", str(out), "--jobs", "1", "--strength", "0", "-q"]
    process = holding(out / f"{NAME}-lock")
    assert main(command) == 2
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", f"bokeh: {out}: another run is writing into this folder\n")
    assert main([*command, "--shard", "1/2"]) == 2  # all has been taken already
    assert main([*command, "--dry-run"]) == 0
    process.kill()
    process.communicate()
    part = holding(out / ".bokeh-1-of-2.sqlite3-lock")
    assert main(command) == main([*command, "--shard", "1/2"]) == 2
    assert main([*command, "--shard", "2/2"]) == 0
    part.kill()
    part.communicate()
    (out / ".bokeh-1-of-2.sqlite3-lock").unlink()
    assert main(command) == 0
    assert len(list(out.glob("*.png"))) == 6
    assert not list(out.glob("*-lock"))
    process = holding(out / f"{NAME}-lock")
    assert main(command) == 0  # there is nothing to do
    process.kill()
    process.communicate()


def test_a_store_that_is_written_to_is_named_by_its_url(
    tmp_path: Path, capfd: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("typer.get_app_dir", lambda name: str(tmp_path / name))
    Image.new("RGB", (16, 12)).save(tmp_path / "a.png")
    url = "memory://bucket/out"
    process = holding(folder_of(Url(url)) / f"{NAME}-lock")
    assert main(["run", str(tmp_path / "a.png"), "--out", url, "--strength", "0"]) == 2
    assert capfd.readouterr().err == f"bokeh: {url}: another run is writing into this folder\n"
    process.kill()
    process.communicate()
