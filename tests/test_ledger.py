"""What an output folder knows, and that a run which is killed at any moment can be gone on with."""

import contextlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath

import numpy as np
import pytest
from PIL import Image

from bokehcli import entries as ledgers
from bokehcli.batch import judge
from bokehcli.cli import main
from bokehcli.discover import Job
from bokehcli.entries import State, read, signature_of
from bokehcli.errors import LedgerError
from bokehcli.ledger import Ledger, limits_of, making_of
from bokehcli.options import DecodeOptions, EncodeOptions, Existing, InferOptions, LensOptions, RunOptions, Unsure
from bokehcli.outcome import Outcome, Status

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
Captured = pytest.CaptureFixture[str]
STILL = ["--strength", "0"]  # no network is opened, which makes a photo quick


@pytest.fixture
def job(tmp_path: Path) -> Job:
    (tmp_path / "in.jpg").write_bytes(b"photo")
    return Job(source=tmp_path / "in.jpg", destination=tmp_path / "out" / "sub" / "in.jpg")


def opened(job: Job, making: str = "m", retry_failed: bool = False, options: RunOptions | None = None) -> Ledger:
    warnings: list[str] = []
    limits = limits_of(options or RunOptions())
    ledger = Ledger(job.destination.parent.parent, making, warnings.append, retry_failed=retry_failed, limits=limits)
    ledger.warnings = warnings  # type: ignore[attr-defined]
    return ledger


def enter(job: Job, outcome: Outcome | None = None, making: str = "m") -> None:
    """What a run enters that took the photo up, and, with an outcome, did it."""
    with opened(job, making) as ledger:
        ledger.plan([job])
        ledger.started(job)
        if outcome is not None:
            if outcome.status is Status.DONE:
                write(job)
            ledger.finished(outcome)


def write(job: Job) -> None:
    for target in job.targets:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(b"result")


def done(job: Job) -> Outcome:
    return Outcome(source=job.source, destination=job.destination, status=Status.DONE, elapsed_s=1.5, written=job.targets)


def failed(job: Job, lasting: bool) -> Outcome:
    error = f"{job.source}: no photo"
    return Outcome(source=job.source, destination=job.destination, status=Status.FAILED, error=error, lasting=lasting)


def verdict(job: Job, existing: Existing = Existing.REFUSE, making: str = "m", retry: bool = False) -> tuple[object, bool]:
    """The status that settles a photo, or None where it is to be done, and whether what is there may be replaced."""
    with opened(job, making, retry) as ledger:
        found = judge(job, RunOptions(existing=existing), ledger)
    return found.outcome and found.outcome.status, job.destination in found.replaces


def test_what_is_done_is_not_done_again_unless_photo_options_or_result_change(job: Job) -> None:
    enter(job, done(job))
    assert verdict(job) == (Status.SKIPPED, False)
    assert verdict(job, Existing.OVERWRITE) == (None, False)
    assert verdict(job, making="other") == (None, True)
    assert verdict(job, Existing.SKIP, making="other") == (Status.SKIPPED, False)
    job.source.write_bytes(b"another photo")
    assert verdict(job) == (None, True)
    job.destination.write_bytes(b"somebody's work")
    assert verdict(job) == (Status.FAILED, False)  # not this program's any more
    job.destination.unlink()
    assert verdict(job) == (None, False)


def test_a_result_of_another_photo_is_not_replaced(job: Job) -> None:
    enter(job, done(job))
    other = replace(job, source=job.source.with_name("other.jpg"))
    other.source.write_bytes(b"a photo of its own")
    assert verdict(other) == (Status.FAILED, False)
    shutil.copy2(job.source, other.source)  # moved: same size, same time
    assert verdict(other) == (Status.SKIPPED, False)


@pytest.mark.parametrize("existing", [Existing.REFUSE, Existing.SKIP])
def test_a_result_of_a_photo_that_has_another_place_now_makes_room(job: Job, existing: Existing) -> None:
    enter(job, done(job))
    other = replace(job, source=job.source.with_name("other.jpg"), ousts=(job.source,))
    shutil.copy2(job.source, other.source)
    assert verdict(other, existing) == (None, True)
    with opened(other) as ledger:
        ledger.plan([other])
    assert [(entry.state, entry.source) for entry in read(job.destination.parent.parent)] == [(State.PLANNED, other.source)]
    assert verdict(other, existing) == (None, True)
    enter(other, failed(other, lasting=False))
    assert verdict(other, existing) == (None, True)
    job.destination.write_bytes(b"somebody's work")
    assert verdict(other, existing) == (Status.SKIPPED if existing is Existing.SKIP else Status.FAILED, False)
    job.destination.unlink()
    enter(other, done(other))
    assert verdict(other, existing) == (Status.SKIPPED, False)


def test_what_was_in_hand_when_the_run_died_is_done_again_over_what_is_there(job: Job) -> None:
    enter(job)
    assert verdict(job) == (None, True)
    job.destination.parent.mkdir(parents=True)
    job.destination.write_bytes(b"written, not entered")
    assert verdict(job) == (None, True)
    assert verdict(job, Existing.SKIP) == (Status.SKIPPED, False)
    with opened(job) as ledger:
        ledger.started(job)
        ledger.finished(done(job))
        assert ledger.entries[Path("sub/in.jpg")].times == 2
    assert verdict(job) == (Status.SKIPPED, False)


def test_what_failed_for_good_is_left_and_what_may_pass_is_tried_again(job: Job) -> None:
    enter(job, failed(job, lasting=True))
    assert verdict(job) == (Status.FAILED, False)
    with opened(job) as ledger:
        outcome = judge(job, RunOptions(), ledger).outcome
    assert outcome is not None
    assert outcome.error == f"{job.source}: no photo (so it was before; --retry-failed tries again)"
    assert verdict(job, retry=True) == (None, False)
    assert verdict(job, making="other") == (None, False)
    enter(job, failed(job, lasting=False))
    assert verdict(job) == (None, False)


@pytest.fixture
def with_maps(job: Job) -> Job:
    folder = job.destination.parent
    return replace(job, alpha=folder / "in.alpha.png", defocus=folder / "in.defocus.png")


def test_a_map_is_replaced_only_where_it_is_as_it_was_written(with_maps: Job) -> None:
    assert with_maps.alpha is not None
    write(with_maps)
    enter(with_maps, done(with_maps))
    with opened(with_maps, "other") as ledger:
        assert set(judge(with_maps, RunOptions(), ledger).replaces) == set(with_maps.targets)
    with_maps.alpha.write_bytes(b"retouched")
    assert verdict(with_maps, making="other") == (Status.FAILED, False)
    assert verdict(replace(with_maps, alpha=None), making="other") == (None, True)
    with_maps.alpha.unlink()
    assert verdict(with_maps, making="other") == (None, True)


def test_a_map_that_is_gone_is_made_again(with_maps: Job) -> None:
    assert with_maps.defocus is not None
    enter(with_maps, done(with_maps))
    assert verdict(with_maps) == (Status.SKIPPED, False)
    with_maps.defocus.unlink()
    assert verdict(with_maps) == (None, True)


def test_a_file_where_no_map_was_written_is_not_ours(job: Job, with_maps: Job) -> None:
    enter(job, done(job))
    assert verdict(with_maps, making="other") == (None, True)
    assert with_maps.defocus is not None
    with_maps.defocus.write_bytes(b"somebody's work")
    assert verdict(with_maps, making="other") == (Status.FAILED, False)
    with opened(with_maps, "other") as ledger:
        outcome = judge(with_maps, RunOptions(), ledger).outcome
    assert outcome is not None
    assert str(with_maps.defocus) in str(outcome.error)


def test_maps_of_a_photo_that_did_not_come_to_its_end_are_ours(with_maps: Job) -> None:
    """The run was killed, or the disk was full when it came to the photo."""
    assert with_maps.alpha is not None
    enter(with_maps)
    write(with_maps)
    assert verdict(with_maps) == (None, True)
    with opened(with_maps) as ledger:
        ledger.finished(replace(failed(with_maps, lasting=False), written=(with_maps.alpha,)))
    with_maps.destination.unlink()
    assert verdict(with_maps) == (Status.FAILED, False)  # for the other map, of which nothing was told
    assert verdict(replace(with_maps, defocus=None)) == (None, False)


def test_a_ledger_that_does_not_know_of_maps_is_gone_on_with(job: Job, with_maps: Job) -> None:
    enter(job, done(job))
    path = with_maps.destination.parent.parent / ledgers.NAME
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("ALTER TABLE photos DROP COLUMN maps")
        connection.execute("PRAGMA user_version = 1")
    (entry,) = read(path.parent)
    assert entry.maps is None
    assert verdict(job) == (Status.SKIPPED, False)
    write(replace(with_maps, destination=with_maps.alpha))  # its run made maps
    assert verdict(with_maps) == (Status.SKIPPED, False)
    assert verdict(with_maps, making="other") == (None, True)
    enter(job, done(job), making="third")
    (entry,) = read(path.parent)
    assert entry.maps is None
    enter(with_maps, done(with_maps), making="other")
    (entry,) = read(path.parent)
    assert set(entry.maps or {}) == {Path("sub", "in.alpha.png"), Path("sub", "in.defocus.png")}
    assert with_maps.alpha is not None
    with_maps.alpha.write_bytes(b"retouched")
    assert verdict(with_maps, making="third") == (Status.FAILED, False)


def test_a_map_that_was_retouched_before_a_run_was_killed_stays(job: Job, with_maps: Job) -> None:
    assert with_maps.alpha is not None
    enter(with_maps, done(with_maps))
    with_maps.alpha.write_bytes(b"retouched")
    enter(job, making="other")  # without maps, and killed
    assert verdict(with_maps, making="other") == (Status.FAILED, False)
    with_maps.alpha.write_bytes(b"result")
    os.utime(with_maps.alpha, ns=(0, 0))
    assert verdict(with_maps, making="other") == (Status.FAILED, False)
    with_maps.alpha.unlink()
    assert verdict(with_maps, making="other") == (None, True)


def test_maps_that_went_with_another_name_of_the_photo_are_ours(job: Job, with_maps: Job) -> None:
    """As when --format makes in.png.jpg of in.png, and later does not."""
    enter(job, done(job))
    renamed = replace(with_maps, destination=with_maps.destination.with_name("in.png.jpg"))
    enter(renamed, done(renamed))
    with opened(with_maps, "other") as ledger:
        assert set(judge(with_maps, RunOptions(), ledger).replaces) == set(with_maps.targets)
    assert with_maps.alpha is not None
    with_maps.alpha.write_bytes(b"retouched")
    assert verdict(with_maps, making="other") == (Status.FAILED, False)


def test_what_somebody_put_there_meanwhile_is_never_replaced(job: Job) -> None:
    """The write was refused because of it, and so it is the next time."""
    enter(job, failed(job, lasting=False))
    job.destination.parent.mkdir(parents=True)
    job.destination.write_bytes(b"somebody's work")
    assert verdict(job) == (Status.FAILED, False)
    assert verdict(job, making="other") == (Status.FAILED, False)


@pytest.mark.parametrize("lasting", [True, False])
def test_an_earlier_result_stays_ours_when_doing_it_anew_fails(job: Job, lasting: bool) -> None:
    enter(job, done(job))
    enter(job, failed(job, lasting), making="other")
    assert job.destination.read_bytes() == b"result"
    assert verdict(job, making="other") == ((Status.FAILED, False) if lasting else (None, True))
    assert verdict(job) == (None, True)


def test_a_hash_tells_every_option_that_changes_a_result() -> None:
    plain = RunOptions()
    changed = [
        RunOptions(lens=LensOptions(strength=0.6)),
        RunOptions(encode=EncodeOptions(quality=80)),
        RunOptions(focus=(0.5, 0.5)),
        RunOptions(infer=InferOptions(min_clarity=0.5)),
        RunOptions(save_maps=True),
        RunOptions(unsure=Unsure.FULL),
    ]
    hashes = {making_of(options, "model") for options in (plain, *changed)} | {making_of(plain, "another")}
    assert len(hashes) == len(changed) + 2
    assert making_of(RunOptions(jobs=7, existing=Existing.SKIP), "model") == making_of(plain, "model")


@pytest.mark.parametrize("other", [RunOptions(decode=DecodeOptions(max_megapixels=1)), RunOptions(time_limit_s=1)])
def test_what_failed_within_other_limits_is_tried_again_and_what_is_done_stays(job: Job, other: RunOptions) -> None:
    for outcome, within, beyond in (
        (failed(job, lasting=True), Status.FAILED, None),
        (done(job), Status.SKIPPED, Status.SKIPPED),
    ):
        enter(job, outcome)
        for options, status in ((RunOptions(), within), (other, beyond)):
            with opened(job, options=options) as ledger:
                settled = judge(job, options, ledger).outcome
            assert (settled and settled.status) == status


def test_a_photo_above_a_limit_is_done_when_the_limit_is_raised(photos_in: Callable[[int], Path]) -> None:
    folder = photos_in(1)
    line = ["run", str(folder), "--out", str(folder.parent / "out"), *STILL]
    assert main([*line, "--max-megapixels", "0.001"]) == 1
    assert main(line) == 0


def test_names_are_kept_byte_for_byte(tmp_path: Path) -> None:
    name = os.fsdecode(b"a\xff\n.jpg")
    odd = Job(source=tmp_path / name, destination=tmp_path / "out" / "x" / name)
    enter(odd, failed(odd, lasting=True))
    (entry,) = read(tmp_path / "out")
    assert (entry.source, entry.destination, entry.error) == (odd.source, Path("x", name), "no photo")


@pytest.mark.parametrize(
    ("path", "uri"),
    [
        (PurePosixPath("/a b/?c#d%e"), "file:///a%20b/%3Fc%23d%25e"),
        (PurePosixPath(os.fsdecode(b"/a\xff")), "file:///a%FF"),
        (PureWindowsPath("C:\\a b\\c#d%e"), "file:///C:/a%20b/c%23d%25e"),
        (PureWindowsPath(r"\\server\share\a b\c"), "file:////server/share/a%20b/c"),
    ],
)
def test_a_path_is_a_uri_as_sqlite_takes_it(path: PurePath, uri: str) -> None:
    assert ledgers.uri_of(path) == uri


def test_a_ledger_is_read_whatever_its_folder_is_called(tmp_path: Path) -> None:
    job = Job(source=tmp_path / "a.jpg", destination=tmp_path / "a b?c=1#d%41" / "a.jpg")
    with Ledger(job.destination.parent, "m", lambda _: None) as ledger:
        ledger.plan([job])
    assert [entry.source for entry in read(job.destination.parent)] == [job.source]


def test_paths_below_the_output_folder_are_written_alike_on_every_system(job: Job) -> None:
    enter(job)
    (entry,) = read(job.destination.parent.parent)
    rows = []
    for path in (PureWindowsPath("sub\\a.jpg"), PurePosixPath("sub/a.jpg")):
        rows.append(ledgers._row(replace(entry, destination=path, maps={path.with_suffix(".png"): None})))  # type: ignore[arg-type,dict-item]
    assert rows[0] == rows[1]
    assert rows[0][0] == b"sub/a.jpg"


def test_a_reason_may_have_half_a_pair_of_surrogates(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "getfilesystemencodeerrors", lambda: "surrogatepass")  # as it is on Windows
    enter(job, replace(failed(job, lasting=True), error=f"{job.source}: \ud800"))
    assert [entry.error for entry in read(job.destination.parent.parent)] == ["\ud800"]


def test_a_ledger_that_is_none_is_one_error(job: Job, capfd: Captured) -> None:
    out = job.destination.parent.parent
    with pytest.raises(LedgerError, match="no ledger there"):
        read(out)
    out.mkdir()
    (out / ledgers.NAME).write_bytes(b"not a database at all" * 99)
    with pytest.raises(LedgerError, match="cannot be used"):
        opened(job)
    assert main(["status", str(out)]) == 2
    assert len(capfd.readouterr().err.splitlines()) == 1
    (out / ledgers.NAME).unlink()
    enter(job)
    with sqlite3.connect(out / ledgers.NAME) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(LedgerError, match="another version"):
        opened(job)


def test_a_ledger_that_cannot_be_written_costs_a_warning_and_no_photo(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledgers, "PUT", "INSERT INTO nowhere VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
    with opened(job) as ledger:
        ledger.started(job)
        ledger.finished(done(job))
        assert len(ledger.warnings) == 1  # type: ignore[attr-defined]


def test_what_could_not_be_entered_is_entered_once_it_can_be(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a disk that is full for a while."""
    (tmp_path / "other.jpg").write_bytes(b"photo")
    other = replace(job, source=tmp_path / "other.jpg", destination=job.destination.with_name("other.jpg"))
    statement = ledgers.PUT
    monkeypatch.setattr(ledgers, "PUT", "INSERT INTO nowhere VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
    with opened(job) as ledger:
        ledger.started(job)
        write(job)
        ledger.finished(done(job))
        monkeypatch.setattr(ledgers, "PUT", statement)
        ledger.started(other)  # sooner than it is tried again
        assert read(job.destination.parent.parent) == []
        ledger._again_s = 0.0
        write(other)
        ledger.finished(done(other))
        assert {entry.state for entry in read(job.destination.parent.parent)} == {State.DONE}
        assert len(ledger.warnings) == 1  # type: ignore[attr-defined]
    assert verdict(job) == verdict(other) == (Status.SKIPPED, False)


def test_what_could_not_be_entered_is_tried_at_the_end(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    statement = ledgers.PUT
    with opened(job) as ledger:
        monkeypatch.setattr(ledgers, "PUT", "INSERT INTO nowhere VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
        ledger.started(job)
        write(job)
        ledger.finished(done(job))
        monkeypatch.setattr(ledgers, "PUT", statement)
    assert verdict(job) == (Status.SKIPPED, False)


def test_what_is_entered_survives_a_power_cut(job: Job) -> None:
    with opened(job) as ledger:
        assert ledger._open().execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


def test_a_ledger_that_cannot_be_written_is_gone_by_all_the_same(job: Job, capfd: Captured) -> None:
    enter(job, done(job))
    out = job.destination.parent.parent
    (out / f"{ledgers.NAME}-shm").mkdir()  # then SQLite cannot open it, as in a folder that may not be changed
    assert verdict(job) == (Status.SKIPPED, False)
    assert main(["run", str(job.source), "--out", str(out), "--dry-run", *STILL]) == 0
    assert capfd.readouterr().err == ""
    with opened(job) as ledger:
        ledger.started(job)
        ledger.finished(done(job))
        assert len(ledger.warnings) == 1  # type: ignore[attr-defined]


def test_a_ledger_that_was_not_yet_made_when_its_run_was_killed_is_empty(job: Job) -> None:
    folder = job.destination.parent.parent
    folder.mkdir()
    (folder / ledgers.NAME).touch()
    assert read(folder) == []
    enter(job, done(job))
    assert verdict(job) == (Status.SKIPPED, False)


# whole runs


@pytest.fixture
def photos_in(tmp_path: Path) -> Callable[[int], Path]:
    def made(count: int) -> Path:
        rng = np.random.default_rng(0)
        for number in range(count):
            path = tmp_path / "in" / f"{number % 3}" / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (90, 120, 3), np.uint8)).save(path)
        return tmp_path / "in"

    return made


def test_a_rerun_does_what_is_missing_changed_or_made_otherwise(photos_in: Callable[[int], Path], capfd: Captured) -> None:
    folder = photos_in(5)
    out = folder.parent / "out"
    line = ["run", str(folder), "--out", str(out), "--jobs", "1", *STILL]

    def ran(*more: str, status: int = 0) -> list[str]:
        assert main([*line, *more]) == status
        return sorted(Path(path).name for path in capfd.readouterr().out.splitlines())

    assert len(ran()) == 5
    assert ran() == []
    (out / "0" / "3.jpg").unlink()
    (folder / "bad.jpg").write_bytes(b"no photo")
    time.sleep(0.01)
    shutil.copy(folder / "0" / "0.jpg", folder / "1" / "1.jpg")
    report = folder.parent / "failures.txt"
    assert ran("--report", str(report), status=1) == ["1.jpg", "3.jpg"]
    assert report.read_text() == f"{folder / 'bad.jpg'}\tnot a JPEG, PNG, WebP, TIFF, BMP, AVIF or HEIC file\n"
    assert ran(status=1) == []
    assert len(ran("--quality", "50", status=1)) == 5
    assert ran("--quality", "50", "--no-ledger", status=1) == []  # all are there already
    assert main(["status", str(out)]) == 1
    assert capfd.readouterr().out.splitlines()[0] == f"{out}: 6 photos: 5 done, 1 failed"
    (out / "0" / "3.jpg").unlink()
    assert main(["status", str(out), "--json"]) == 1
    said = json.loads(capfd.readouterr().out)
    assert (said["done"], said["gone"], said["missing"]) == (4, [str(out / "0" / "3.jpg")], [])
    assert [failure["source"] for failure in said["failed"]] == [str(folder / "bad.jpg")]
    (folder / "bad.jpg").unlink()
    assert ran("--quality", "50") == ["3.jpg"]
    assert main(["status", str(out)]) == 0  # all that there is
    summed_up = [f"{out}: 6 photos: 5 done, 1 not done, and no longer there", f"no longer there: {folder / 'bad.jpg'}"]
    assert capfd.readouterr().out.splitlines() == summed_up
    assert main(["status", str(out), "--json"]) == 0
    said = json.loads(capfd.readouterr().out)
    assert (said["done"], said["failed"], said["withdrawn"]) == (5, [], [str(folder / "bad.jpg")])
    (out / "0" / "3.jpg").unlink()
    shutil.copy(folder / "0" / "0.jpg", folder / "bad.jpg")
    assert ran("--quality", "50", "--retry-failed") == ["3.jpg", "bad.jpg"]
    assert main(["status", str(out)]) == 0
    assert [path.name for path in out.glob(".*")] == [ledgers.NAME]


def test_results_are_not_rendered_again_into_another_folder(photos_in: Callable[[int], Path], capfd: Captured) -> None:
    folder = photos_in(3)
    assert main(["run", str(folder), "--out", str(folder / "old"), *STILL]) == 0
    capfd.readouterr()
    assert main(["run", str(folder), "--out", str(folder / "new"), "--json", *STILL]) == 0
    told = capfd.readouterr()
    assert len(told.out.splitlines()) == 3
    assert told.err.count(str(folder / "old")) == 1
    assert main(["run", str(folder / "old"), "--out", str(folder / "twice"), "--quiet", *STILL]) == 0
    shutil.rmtree(folder / "0")
    shutil.rmtree(folder / "1")
    shutil.rmtree(folder / "2")
    assert main(["run", str(folder), "--out", str(folder / "none"), *STILL]) == 2


@pytest.mark.parametrize("more", [[], ["--skip-existing"]])
def test_photos_that_come_to_share_a_name_are_each_rendered(tmp_path: Path, capfd: Captured, more: list[str]) -> None:
    line = ["run", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--jobs", "1", "--format", "png", *STILL]
    (tmp_path / "in").mkdir()
    Image.new("RGB", (20, 10)).save(tmp_path / "in" / "x.bmp")
    assert main(line) == 0
    Image.new("RGB", (30, 10)).save(tmp_path / "in" / "x.png")
    capfd.readouterr()
    assert main([*line, *more, "--dry-run"]) == 0
    assert len(capfd.readouterr().out.splitlines()) == 2
    assert main([*line, *more]) == 0
    for name, width in (("x.png", 30), ("x.bmp.png", 20)):
        with Image.open(tmp_path / "out" / name) as image:
            assert image.width == width
    capfd.readouterr()
    assert main([*line, *more]) == 0
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("name", ["0.jpg", "0.alpha.png"])
def test_what_lies_where_a_photo_was_in_hand_is_replaced_by_the_same_only(
    photos_in: Callable[[int], Path], capfd: Captured, name: str
) -> None:
    """As after a kill, or when a second interrupt has dropped the photo."""
    source = photos_in(1) / "0" / "0.jpg"
    out, other = source.parent / "out", source.parent / "other"
    line = ["run", str(source), "--jobs", "1", "--save-maps", "--out"]
    assert main([*line, str(other)]) == 0
    made = {path.name: path.read_bytes() for path in other.glob("*.*g")}
    job = Job(source=source, destination=out / "0.jpg", alpha=out / "0.alpha.png", defocus=out / "0.defocus.png")
    with Ledger(out, "m", lambda _: None) as ledger:
        ledger.started(job)
    (out / name).write_bytes(b"somebody's work")
    assert main([*line, str(out)]) == 1
    assert f"{out / name}: already exists" in capfd.readouterr().err
    assert (out / name).read_bytes() == b"somebody's work"
    assert main([*line, str(out)]) == 1  # nor is it later
    with Ledger(out, "m", lambda _: None) as ledger:
        ledger.started(job)
    (out / name).write_bytes(made[name])  # by the run that was killed
    assert main([*line, str(out)]) == 0
    assert {path.name: path.read_bytes() for path in out.glob("*.*g")} == made
    assert read(out)[0].state is State.DONE


def test_other_options_after_a_kill_leave_what_was_in_hand_to_the_first_ones(
    photos_in: Callable[[int], Path], capfd: Captured
) -> None:
    source = photos_in(1) / "0" / "0.jpg"
    out = source.parent / "out"
    line = ["run", str(source), "--jobs", "1", "--out", str(out)]
    assert main([*line]) == 0
    made = (out / "0.jpg").read_bytes()
    with Ledger(out, "m", lambda _: None) as ledger:  # as a run that was killed leaves it
        ledger.entries.clear()
        ledger.started(Job(source=source, destination=out / "0.jpg"))
    assert main([*line, "--quality", "40"]) == 1
    assert "already exists" in capfd.readouterr().err
    assert read(out)[0].state is State.STARTED
    assert main(line) == 0
    assert (out / "0.jpg").read_bytes() == made
    assert read(out)[0].state is State.DONE


def test_a_dry_run_writes_no_ledger(photos_in: Callable[[int], Path], capfd: Captured) -> None:
    folder = photos_in(2)
    assert main(["run", str(folder), "--out", str(folder.parent / "out"), "--dry-run", *STILL]) == 0
    assert len(capfd.readouterr().out.splitlines()) == 2
    assert not (folder.parent / "out").exists()


@posix
def test_killed_at_random_moments_and_started_again_it_ends_with_the_same_files(photos_in: Callable[[int], Path]) -> None:
    """Twenty kills of the whole process group; nothing is done twice but what was in hand."""
    folder, kills, jobs = photos_in(400), 20, 2
    line = [sys.executable, "-m", "bokehcli", "run", str(folder), "--jobs", str(jobs), "--quiet", *STILL, "--out"]
    whole, broken = folder.parent / "whole", folder.parent / "broken"
    assert subprocess.run([*line, str(whole)], capture_output=True).returncode == 0
    chance = random.Random(11)
    cut = 0
    for _ in range(kills):
        command = [*line, str(broken)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)
        assert process.stdout is not None
        for _ in range(chance.randrange(0, 6)):  # so many photos are written, and then a moment
            process.stdout.readline()
        time.sleep(chance.uniform(0.0, 0.05))
        cut += process.poll() is None
        with contextlib.suppress(ProcessLookupError):  # it may be done already
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
    assert cut >= kills / 2
    before = {path: signature_of(path) for path in broken.rglob("*.jpg")}
    known = {entry.destination: entry for entry in read(broken)} if broken.exists() else {}
    assert subprocess.run([*line, str(broken)], capture_output=True).returncode == 0
    for path in whole.rglob("*.jpg"):
        assert (broken / path.relative_to(whole)).read_bytes() == path.read_bytes()
    others = [path.name for path in broken.rglob("*") if path.is_file() and path.suffix != ".jpg"]
    assert all(name.startswith(ledgers.NAME) for name in others)
    entries = read(broken)
    assert {entry.state for entry in entries} == {State.DONE}
    assert sum(entry.times for entry in entries) <= len(entries) + kills * jobs
    for destination, entry in known.items():
        if entry.state is State.DONE:  # as it was entered, so it stayed
            assert signature_of(broken / destination) == before[broken / destination]
