"""What is left after a process was killed in the midst of a write, or had no room to write: whole files, and none else."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from bokehcli.entries import NAME

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="signals, limits and mounts of Linux")

# Runs the command line in a process that kills itself before or after a call of the system; argv: call, when, nth, ...
DEADLY = """
import os, signal, sys
from bokehcli import batch, pipeline, storage
from bokehcli.cli import main

def run_here(jobs, options, *_):
    renderer = pipeline.open_renderer(options)
    for job in jobs:
        yield renderer.render_photo(job)

batch.run_in_workers = run_here
name, when, nth, hidden = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4] == "hidden"
if hidden:
    storage.DESCRIPTORS = storage.Path("/nowhere")
real, calls = getattr(os, name), 0

def die(*arguments, **options):
    global calls
    if name == "open" and not arguments[1] & os.O_WRONLY:
        return real(*arguments, **options)
    calls += 1
    if calls == nth and when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    if calls == nth and when == "half":
        os.write(arguments[0], b"half")
        os.kill(os.getpid(), signal.SIGKILL)
    result = real(*arguments, **options)
    if calls == nth:
        os.kill(os.getpid(), signal.SIGKILL)
    return result

setattr(os, name, die)
sys.argv = ["bokeh", *sys.argv[5:]]
main()
"""
STAGES = [
    ("open", "before", 1), ("open", "after", 1), ("fsync", "half", 1), ("fsync", "before", 1), ("fsync", "after", 1),
    ("link", "before", 1), ("link", "after", 1), ("fsync", "before", 2), ("fsync", "after", 2),
]  # fmt: skip
REPLACING = [("replace", "before", 1), ("replace", "after", 1)]
KILLS = [(stage, "nameless") for stage in STAGES + REPLACING]
KILLS += [(stage, "hidden") for stage in (("fsync", "half", 1), ("link", "after", 1), ("replace", "before", 1))]
FULL_BYTES = 160 * 1024  # the first photo and the ledger fit, the second photo does not


def bokeh(*arguments: str | Path, before: Sequence[str] = (), **options: object) -> subprocess.CompletedProcess[str]:
    command = [*before, sys.executable, "-m", "bokehcli", "run", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, **options)  # type: ignore[call-overload, no-any-return]


def names(folder: Path) -> list[str]:
    return sorted(name for name in os.listdir(folder) if not name.startswith(NAME)) if folder.exists() else []


@pytest.fixture(scope="module")
def expected(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What the photo comes to, pixels as they are."""
    out = tmp_path_factory.mktemp("expected")
    assert bokeh(photos / "chelsea.jpg", "--out", out, "--strength", "0").returncode == 0
    return (out / "chelsea.jpg").read_bytes()


@pytest.mark.parametrize(("stage", "kind"), KILLS)
def test_a_kill_at_any_stage_of_a_write_leaves_whole_files(
    photos: Path, tmp_path: Path, expected: bytes, stage: tuple[str, str, int], kind: str
) -> None:
    overwrite = stage in REPLACING or (stage[0] != "link" and kind == "nameless")
    out = tmp_path / "out"
    policy = "--skip-existing"
    if overwrite:
        out.mkdir()
        (out / "chelsea.jpg").write_bytes(b"old")
        policy = "--overwrite"
    arguments = [photos / "chelsea.jpg", "--out", out, "--strength", "0", policy]
    command = [sys.executable, "-c", DEADLY, *map(str, stage), kind, "run", *arguments]
    killed = subprocess.run(command, capture_output=True, timeout=300)
    assert killed.returncode == -9, killed.stderr
    if (out / "chelsea.jpg").exists():
        assert (out / "chelsea.jpg").read_bytes() in (expected, b"old")
    others = [name for name in names(out) if name != "chelsea.jpg"]
    assert all(name.startswith(".bokeh-") for name in others)  # no later run takes them for photos
    if kind == "nameless" and stage[0] != "replace":
        assert others == [] or stage == ("link", "after", 1)
    assert bokeh(*arguments).returncode == 0
    assert (out / "chelsea.jpg").read_bytes() == expected
    assert [name for name in names(out) if name != "chelsea.jpg"] == others


def test_a_limit_of_file_sizes_costs_the_photos_over_it(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    sources = [photos / "chelsea.jpg", photos / "rocket.jpg"]
    limit_kib = 60  # chelsea comes to less, rocket to more
    done = bokeh(*sources, "--out", out, "--strength", "0", before=["bash", "-c", f'ulimit -f {limit_kib}; exec "$@"', "bash"])
    assert done.returncode == 1
    assert [line for line in done.stderr.splitlines() if "rocket" in line] == [f"bokeh: {out / 'rocket.jpg'}: File too large"]
    assert names(out) == ["chelsea.jpg"]
    again = bokeh(*sources, "--out", out, "--strength", "0", "--skip-existing")
    assert again.returncode == 0
    assert names(out) == ["chelsea.jpg", "rocket.jpg"]


def test_a_full_disk_costs_the_photos_that_do_not_fit(photos: Path, tmp_path: Path) -> None:
    if not may_mount():
        pytest.skip("may not mount a file system, not even in a namespace of its own")
    disk, kept = tmp_path / "disk", tmp_path / "kept"
    disk.mkdir()
    sources = [photos / "chelsea.jpg", photos / "rocket.jpg"]
    script = f'mount -t tmpfs -o size={FULL_BYTES} tmpfs "$0" && "$@"; status=$?; cp -a "$0" {kept}; exit $status'
    done = bokeh(*sources, "--out", disk / "out", "--strength", "0", before=[*NAMESPACE, "sh", "-c", script, str(disk)])
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if "rocket" in line]
    assert lines == [f"bokeh: {disk / 'out' / 'rocket.jpg'}: No space left on device"]
    assert names(kept / "out") == ["chelsea.jpg"]
    assert bokeh(*sources, "--out", kept / "out", "--strength", "0", "--skip-existing").returncode == 0
    assert names(kept / "out") == ["chelsea.jpg", "rocket.jpg"]


NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount"]


def may_mount() -> bool:
    """Whether a small file system can be had: as root of a namespace of our own."""
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*NAMESPACE, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True).returncode == 0
