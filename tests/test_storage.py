"""Files are read whole, and written whole or not at all."""

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from bokehcli import storage
from bokehcli.errors import ReadError, WriteError
from bokehcli.storage import MAX_FILE_BYTES, make_ready, mode_of_result, read_bytes, times_of, write_atomic

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX file system")


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folders" / "a.jpg"
    write_atomic(path, b"\x00\xff" * 5000)
    assert read_bytes(path) == b"\x00\xff" * 5000
    assert os.listdir(path.parent) == ["a.jpg"]


def test_what_is_ready_can_be_written_and_what_cannot_be_written_is_not_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_ready(tmp_path / "new" / "a.txt")
    write_atomic(tmp_path / "new" / "a.txt", b"")
    make_ready(tmp_path / "new" / "a.txt")
    with pytest.raises(WriteError, match="a folder"):
        make_ready(tmp_path / "new")
    with pytest.raises(WriteError, match="a file, not a folder"):
        make_ready(tmp_path / "new" / "a.txt" / "b.txt")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(WriteError, match="not a file"):
            make_ready(tmp_path / "pipe")
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(WriteError, match="denied"):
        make_ready(tmp_path / "new" / "a.txt")


@pytest.mark.parametrize("exclusive", [False, True])
def test_a_file_is_given_times_that_are_asked_for(tmp_path: Path, exclusive: bool) -> None:
    source, path = tmp_path / "a.jpg", tmp_path / "b.jpg"
    source.write_bytes(b"old")
    os.utime(source, ns=(1_111_111_111_000_000_000, 999_999_999_000_000_000))
    write_atomic(path, b"new", exclusive=exclusive, times_ns=times_of(source))
    assert times_of(path) == (1_111_111_111_000_000_000, 999_999_999_000_000_000)
    write_atomic(path, b"newer")
    assert path.stat().st_mtime > 1_500_000_000
    with pytest.raises(ReadError, match="No such file"):
        times_of(tmp_path / "c.jpg")


def test_an_existing_file_is_replaced_unless_the_write_is_exclusive(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    write_atomic(path, b"one", exclusive=True)
    write_atomic(path, b"two")
    with pytest.raises(WriteError, match="already exists"):
        write_atomic(path, b"three", exclusive=True)
    assert path.read_bytes() == b"two"
    assert os.listdir(tmp_path) == ["a.jpg"]


@posix
@pytest.mark.parametrize("exclusive", [False, True])
def test_a_file_system_without_links_is_written_to_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exclusive: bool
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    write_atomic(tmp_path / "a.jpg", b"one", exclusive=exclusive)
    with pytest.raises(WriteError, match="already exists"):
        write_atomic(tmp_path / "a.jpg", b"two", exclusive=True)
    assert (tmp_path / "a.jpg").read_bytes() == b"one"
    assert os.listdir(tmp_path) == ["a.jpg"]


FULL, QUOTA = OSError(errno.ENOSPC, "No space left on device"), OSError(errno.EDQUOT, "Disk quota exceeded")


@pytest.mark.parametrize("error", [FULL, QUOTA, KeyboardInterrupt()])
@pytest.mark.parametrize("call", ["replace", "fsync", "open"])
def test_a_write_that_fails_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, error: BaseException
) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"old")

    def fail(*_: object, **__: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(WriteError if isinstance(error, OSError) else KeyboardInterrupt) as caught:
            write_atomic(path, b"new")
    if isinstance(error, OSError):
        assert str(caught.value) == f"{path}: {error.strerror}"
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.jpg"]


@posix
def test_a_write_over_the_size_limit_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"old")
    script = (
        "import resource, sys, pathlib\n"
        "from bokehcli.errors import WriteError\n"
        "from bokehcli.storage import write_atomic\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try:\n"
        "    write_atomic(pathlib.Path(sys.argv[1]), bytes(100_000))\n"
        "except WriteError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=True)
    assert done.stdout == f"{path}: {os.strerror(errno.EFBIG)}\n"
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.jpg"]


@posix
def test_the_mode_is_what_the_umask_leaves(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_atomic(tmp_path / "a.jpg", b"")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.jpg").stat().st_mode) == 0o640


@posix
@pytest.mark.parametrize("hidden", [False, True])
@pytest.mark.parametrize(
    ("photos_mode", "umask", "mode"),
    [
        *((0o600, 0o022, 0o600), (0o640, 0o022, 0o640), (0o644, 0o022, 0o644), (0o755, 0o002, 0o664)),
        *((0o400, 0o022, 0o600), (0o444, 0o022, 0o644), (0o604, 0o000, 0o606), (0o644, 0o077, 0o600)),
    ],
)
def test_a_result_is_open_to_nobody_who_may_not_read_the_photo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photos_mode: int, umask: int, mode: int, hidden: bool
) -> None:
    if hidden:
        monkeypatch.setattr(storage, "DESCRIPTORS", tmp_path / "nowhere")
    (tmp_path / "in.jpg").touch()
    (tmp_path / "in.jpg").chmod(photos_mode)
    before = os.umask(umask)
    try:
        write_atomic(tmp_path / "a.jpg", b"", mode=mode_of_result(tmp_path / "in.jpg"))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.jpg").stat().st_mode) == mode
    with pytest.raises(ReadError, match="No such file"):
        mode_of_result(tmp_path / "absent.jpg")


@posix
@pytest.mark.parametrize("exclusive", [False, True])
def test_a_name_of_255_bytes_can_be_written_and_one_of_256_is_a_clear_failure(tmp_path: Path, exclusive: bool) -> None:
    write_atomic(tmp_path / ("a" * 255), b"x", exclusive=exclusive)
    with pytest.raises(WriteError, match=os.strerror(errno.ENAMETOOLONG)):
        write_atomic(tmp_path / ("a" * 256), b"x", exclusive=exclusive)
    assert os.listdir(tmp_path) == ["a" * 255]


@posix
def test_a_link_at_the_destination_is_replaced_and_its_target_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"precious")
    (tmp_path / "a.jpg").symlink_to(tmp_path / "precious")
    write_atomic(tmp_path / "a.jpg", b"new")
    assert (tmp_path / "precious").read_bytes() == b"precious"
    assert not (tmp_path / "a.jpg").is_symlink()


def test_a_file_where_a_folder_is_needed_is_a_clear_failure(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WriteError, match="not a folder"):
        write_atomic(tmp_path / "file" / "a.jpg", b"")


def test_an_absent_file_is_a_read_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ReadError) as caught:
        read_bytes(tmp_path / "a.jpg")
    assert caught.value.name == str(tmp_path / "a.jpg")
    assert caught.value.reason == os.strerror(errno.ENOENT)


@posix
def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    for path in (tmp_path / "pipe.jpg", tmp_path, Path(os.devnull)):
        with pytest.raises(ReadError):
            read_bytes(path)


@posix
def test_a_file_larger_than_any_photo_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with (tmp_path / "sparse.jpg").open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    with pytest.raises(ReadError, match=r"4\.0 GiB"):
        read_bytes(tmp_path / "sparse.jpg")
