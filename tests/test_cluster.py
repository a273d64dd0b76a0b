"""`bokeh run --scheduler` with a real Dask scheduler and two worker processes on loopback.

Where something has to befall a worker, a stand-in renders there, which it imports from here.
"""

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from distributed import Client

from bokehcli import cluster
from bokehcli.batch import open_batch
from bokehcli.cli import main
from bokehcli.cluster import WAIT_S, Cluster, Order, Task
from bokehcli.discover import Job
from bokehcli.entries import State, read
from bokehcli.errors import MissingDependency, ModelError, WorkerError
from bokehcli.options import LensOptions, RunOptions
from bokehcli.outcome import Outcome, Status
from bokehcli.storage import ALREADY_EXISTS, write_atomic

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
REPOSITORY = Path(__file__).parent.parent
PHOTOS = ("astronaut.jpg", "camera.jpg", "chelsea.jpg", "coffee.jpg", "rocket.jpg")
PATIENCE_S = 60.0


@dataclass
class Dask:
    """A scheduler and its workers, as somebody would start them."""

    address: str
    scheduler: subprocess.Popen[bytes]
    nannies: list[subprocess.Popen[bytes]]

    def pids(self) -> dict[str, int]:
        """The process behind each worker."""
        with Client(self.address, set_as_default=False) as client:
            return dict(client.run(os.getpid))

    def both(self) -> dict[str, int]:
        """The same once there are two again, whatever befell them before."""
        wait_for(lambda: len(self.pids()) == 2)
        return self.pids()

    def stop(self) -> None:
        for process in (*self.nannies, self.scheduler):
            process.terminate()
        for process in (*self.nannies, self.scheduler):
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def started(folder: Path, workers: int = 2) -> Dask:
    file = folder / "scheduler.json"
    dask = [sys.executable, "-m", "distributed.cli"]
    common: dict[str, Any] = {
        "cwd": REPOSITORY,  # where `tests` can be imported from
        "env": os.environ | {"PYTHONPATH": str(REPOSITORY), "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1"},
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.DEVNULL,
    }
    local = ["--host", "127.0.0.1", "--scheduler-file", str(file)]
    dashless = ["--no-dashboard"]
    scheduler = subprocess.Popen([*dask[:2], f"{dask[2]}.dask_scheduler", *local, "--port", "0", *dashless], **common)
    wait_for(lambda: file.exists() and file.read_text().strip().endswith("}"))
    worker = [*dask[:2], f"{dask[2]}.dask_worker", "--host", "127.0.0.1", "--scheduler-file", str(file), "--nthreads", "1"]
    nannies = [
        subprocess.Popen([*worker, *dashless, "--local-directory", str(folder)], **common) for _ in range(workers)
    ]
    found = Dask(json.loads(file.read_text())["address"], scheduler, nannies)
    with Client(found.address, set_as_default=False) as client:
        client.wait_for_workers(workers, timeout=PATIENCE_S)
    return found


def wait_for(condition: Callable[[], bool]) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.02)


@pytest.fixture(scope="module")
def dask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dask]:
    found = started(tmp_path_factory.mktemp("dask"))
    yield found
    found.stop()


@pytest.fixture
def many(photos: Path, tmp_path: Path) -> Path:
    """Forty photos."""
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(40):
        shutil.copy(photos / PHOTOS[number % len(PHOTOS)], folder / f"{number:02}.jpg")
    return folder


def results(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("[!.]*.jpg"))}


def test_a_cluster_gives_what_this_machine_gives(
    dask: Dask, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Also from another working folder than the workers have, with paths on stdout as they were given."""
    shutil.copytree(photos, tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    assert main(["run", *(f"photos/{name}" for name in PHOTOS), "--out", "here", "--jobs", "1", "--threads", "1"]) == 0
    capfd.readouterr()
    arguments = ["run", *(f"photos/{name}" for name in PHOTOS), "--out", "there", "--scheduler", dask.address]
    assert main([*arguments, "--gallery", "there/index.html"]) == 0
    said = capfd.readouterr()
    assert sorted(said.out.split()) == [f"there{os.sep}{name}" for name in PHOTOS]
    assert results(tmp_path / "there") == results(tmp_path / "here")
    assert (tmp_path / "there" / "index.html").read_text().count('"pictures":[true,true]') == len(PHOTOS)
    entries = read(tmp_path / "there")
    assert [entry.state for entry in entries] == [State.DONE] * len(PHOTOS)
    assert main(arguments) == 0
    assert "5 skipped" in capfd.readouterr().err


def test_what_goes_wrong_with_a_photo_is_told_as_here(
    dask: Dask, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cut.jpg").write_bytes((photos / "coffee.jpg").read_bytes()[:9000])
    shutil.copy(photos / "rocket.jpg", tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    assert main(["run", "photos", "--out", "out", "--scheduler", dask.address]) == 1
    assert f"bokeh: photos{os.sep}cut.jpg: the file is cut short\n" in capfd.readouterr().err
    assert list(results(tmp_path / "out")) == ["rocket.jpg"]


@posix
def test_a_worker_that_is_killed_in_mid_batch_costs_nothing(
    dask: Dask, many: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    before = dask.both()

    def kill() -> None:
        wait_for(lambda: len(results(out)) >= 4)
        os.kill(next(iter(before.values())), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    status = main(["run", str(many), "--out", str(out), "--scheduler", dask.address])
    killer.join()
    assert status == 0, capfd.readouterr().err
    assert len(results(out)) == 40
    assert len(capfd.readouterr().out.split()) == 40
    assert all(entry.state is State.DONE and entry.times == 1 for entry in read(out))
    assert len(set(dask.both().values()) & set(before.values())) == 1


def stand_in(job: Job, order: Order) -> Outcome:
    """Renders nothing; a photo's name says what befalls the process."""
    name, marker = job.source.name, Path(f"{job.destination}.was-here")
    if "stuck" in name:
        time.sleep(600)
    if "slow" in name:
        time.sleep(0.3)
    if "deadly" in name:
        os.kill(os.getpid(), signal.SIGKILL)
    if "model" in name:
        raise ModelError("the model is not there")
    if "odd" in name:
        raise ModuleNotFoundError("No module named 'bokehcli'")
    destination = job.destination
    again = marker.exists()
    if "half" in name and not again:
        marker.touch()
        write_atomic(destination, b"first", exclusive=True)
        os.kill(os.getpid(), signal.SIGKILL)
    if os.path.exists(destination) and not job.replaces:
        error = f"{destination}: {ALREADY_EXISTS}"
        return Outcome(source=job.source, destination=destination, status=Status.FAILED, error=error)
    write_atomic(destination, b"second" if again else b"first")
    return Outcome(source=job.source, destination=destination, status=Status.DONE, written=(destination,))


def outcomes_of(dask: Dask, folder: Path, *names: str, options: RunOptions | None = None) -> list[Outcome]:
    """What the stand-in makes of photos of these names."""
    folder.mkdir(exist_ok=True)
    options = replace(options or RunOptions(), scheduler=dask.address, lens=LensOptions(strength=0))
    jobs = [Job(source=folder / name, destination=folder / f"{name}.out") for name in names]
    return list(open_batch(jobs, options, lambda _: None, lambda _: None))


def statuses(outcomes: list[Outcome]) -> dict[str, Status]:
    return {outcome.source.name: outcome.status for outcome in outcomes}


@pytest.fixture
def standing_in(monkeypatch: pytest.MonkeyPatch) -> None:
    assert stand_in.__module__ == "tests.test_cluster"  # as the workers can import it
    monkeypatch.setattr(cluster, "render_there", stand_in)


@posix
@pytest.mark.usefixtures("standing_in")
def test_a_photo_that_kills_every_worker_is_given_up(dask: Dask, tmp_path: Path) -> None:
    names = ["0.slow", "1.slow", "2.deadly", *(f"{number}.slow" for number in range(3, 9))]
    outcomes = outcomes_of(dask, tmp_path / "photos", *names)
    expected = {name: Status.FAILED if "deadly" in name else Status.DONE for name in names}
    assert statuses(outcomes) == expected
    (failure,) = [outcome for outcome in outcomes if outcome.status is Status.FAILED]
    assert failure.lasting
    assert failure.reason is not None
    assert failure.reason.startswith("each process that rendered it died")


@posix
@pytest.mark.usefixtures("standing_in")
def test_a_worker_that_dies_after_writing_leaves_no_failure(dask: Dask, tmp_path: Path) -> None:
    outcomes = outcomes_of(dask, tmp_path / "photos", "0.slow", "1.half", "2.slow")
    assert set(statuses(outcomes).values()) == {Status.DONE}
    assert (tmp_path / "photos" / "1.half.out").read_bytes() == b"second"


@pytest.mark.usefixtures("standing_in")
def test_what_was_there_before_is_not_replaced(dask: Dask, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "0.jpg.out").write_bytes(b"somebody's")
    (outcome,) = outcomes_of(dask, tmp_path / "photos", "0.jpg")
    assert outcome.status is Status.FAILED
    assert (tmp_path / "photos" / "0.jpg.out").read_bytes() == b"somebody's"


def test_what_a_job_replaces_it_replaces_on_a_worker() -> None:
    job = Job(source=Path("a.jpg"), destination=Path("out", "a.jpg"), alpha=Path("out", "a.alpha.png"))
    there = cluster.made_absolute(replace(job, replaces=(job.destination,), doubtful=(job.destination,)))
    assert there.replaces == there.doubtful == (there.destination,)
    assert there.destination.is_absolute()


@pytest.mark.usefixtures("standing_in")
def test_a_photo_that_takes_too_long_is_given_up(dask: Dask, tmp_path: Path) -> None:
    before = dask.both()
    names = ["0.slow", "1.stuck", "2.slow", "3.slow", "4.slow"]
    outcomes = outcomes_of(dask, tmp_path / "photos", *names, options=RunOptions(time_limit_s=10.0))
    assert statuses(outcomes) == {name: Status.FAILED if "stuck" in name else Status.DONE for name in names}
    (failure,) = [outcome for outcome in outcomes if outcome.status is Status.FAILED]
    assert failure.reason == "not done within the limit of 10 s (time-limit): given up"
    assert len(set(dask.both().values()) & set(before.values())) == 1  # the process that was stuck is another one now


@pytest.mark.parametrize(("ages_s", "longest_s"), [([1.5, 0.0], 0.5), ([3.0], WAIT_S), ([], WAIT_S)])
def test_a_wait_is_no_longer_than_the_least_time_left(
    monkeypatch: pytest.MonkeyPatch, ages_s: list[float], longest_s: float
) -> None:
    crew = Cluster(RunOptions(scheduler="tcp://nowhere:1", time_limit_s=2.0, lens=LensOptions(strength=0)))
    waits: list[float] = []

    def get(timeout: float) -> None:
        waits.append(timeout)
        raise queue.Empty

    monkeypatch.setattr(crew, "_workers", dict)  # there are none, so that nothing is given up
    monkeypatch.setattr(crew, "_done", SimpleNamespace(get=get))
    job = Job(source=Path("a.jpg"), destination=Path("out/a.jpg"))
    crew._tasks = {Task(job, job, None, time.monotonic() - age_s) for age_s in ages_s}
    assert list(crew.collect()) == []
    assert 0.0 < waits[0] <= longest_s


def test_a_process_is_ended_when_the_scheduler_has_let_its_photo_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else another one would get the photo, and be stuck with it."""
    crew = Cluster(RunOptions(scheduler="tcp://nowhere:1", time_limit_s=2.0, lens=LensOptions(strength=0)))
    has_it, restarted = [True, True, True, False], []
    client = SimpleNamespace(
        processing=lambda: {"tcp://one": ["photo"] if has_it.pop(0) else []},
        restart_workers=lambda workers, **_: restarted.append((workers, list(has_it))),
    )
    monkeypatch.setattr(crew, "_client", client)
    job = Job(source=Path("a.jpg"), destination=Path("out/a.jpg"))
    crew._give_up(Task(job, job, SimpleNamespace(key="photo", cancel=lambda: None)))
    assert restarted == [(["tcp://one"], [])]


@pytest.mark.usefixtures("standing_in")
@pytest.mark.parametrize(
    ("name", "kind", "text"),
    [("model", ModelError, "the model is not there"), ("odd", WorkerError, "a worker cannot render photos: ModuleNotFound")],
)
def test_a_worker_that_cannot_render_ends_the_run(dask: Dask, tmp_path: Path, name: str, kind: type, text: str) -> None:
    with pytest.raises(kind, match=text):
        outcomes_of(dask, tmp_path / "photos", "0.slow", f"1.{name}", *(f"{number}.slow" for number in range(2, 9)))


@pytest.mark.parametrize("what", ["version", "model"])
def test_a_worker_of_another_kind_ends_the_run(
    dask: Dask, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], what: str
) -> None:
    real = cluster.order_of
    monkeypatch.setattr(cluster, "order_of", lambda options: replace(real(options), **{what: "0.0"}))
    assert main(["run", str(photos / "rocket.jpg"), "--out", str(tmp_path / "out"), "--scheduler", dask.address]) == 2
    assert f"a worker has another {what} of bokehcli" in capfd.readouterr().err
    assert results(tmp_path / "out") == {}


@pytest.mark.parametrize("text", ["here", "local:", "local:0", "local:two", "http://host", "tcp://", "tcp:host", ""])
def test_a_scheduler_has_an_address(text: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(tmp_path), "--out", str(tmp_path / "out"), "--scheduler", text]) == 2
    assert "is no scheduler, such as tcp://host:8786 or local:4" in capfd.readouterr().err


def test_that_nobody_answers_is_said_once(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cluster, "CONNECT_S", 0.5)
    arguments = ["run", str(photos / "rocket.jpg"), "--out", str(tmp_path / "out"), "--scheduler", "tcp://127.0.0.1:9"]
    assert main([*arguments, "--quiet"]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("bokeh: tcp://127.0.0.1:9: no Dask scheduler answers there")


def test_dask_comes_with_an_extra(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingDependency, match=r"bokehcli\[distributed\]"):
        cluster.load()
    assert main(["run", str(photos / "rocket.jpg"), "--out", str(tmp_path / "out"), "--scheduler", "local:1"]) == 2
    assert "bokehcli[distributed]" in capfd.readouterr().err


def test_a_scheduler_that_goes_away_ends_the_run_and_the_next_one_goes_on(
    many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT", "1s")
    out = tmp_path / "out"
    own = started(tmp_path)

    def kill() -> None:
        wait_for(lambda: len(results(out)) >= 4)
        own.scheduler.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    status = main(["run", str(many), "--out", str(out), "--scheduler", own.address])
    killer.join()
    own.stop()
    assert status == 2
    assert "the connection to the Dask scheduler was lost" in capfd.readouterr().err
    assert 4 <= len(results(out)) < 40
    assert main(["run", str(many), "--out", str(out), "--scheduler", "local:2"]) == 0
    assert len(results(out)) == 40
    assert max(entry.times for entry in read(out)) == 2  # those that were in hand
    assert sum(entry.times for entry in read(out)) <= 42


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_finishes_what_is_in_hand_on_a_local_cluster(many: Path, tmp_path: Path, number: signal.Signals) -> None:
    """Sent to every process of the group, as a terminal does."""
    out = tmp_path / "out"
    command = [sys.executable, "-m", "bokehcli", "run", str(many), "--out", str(out), "--scheduler", "local:2"]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    wait_for(lambda: len(results(out)) >= 4)
    os.killpg(run.pid, number)
    paths, said = run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 128 + number
    assert b"Traceback" not in said
    assert len(paths.split()) == len(results(out)) < 40
    assert not list(out.glob(".bokeh-*.tmp"))
    assert {entry.state for entry in read(out)} == {State.DONE, State.PLANNED}
    assert subprocess.run(command, capture_output=True).returncode == 0
    assert len(results(out)) == 40
    assert {entry.times for entry in read(out)} == {1}
