"""Processes that render: how many, and what it costs when one dies, is interrupted or is left alone.

The processes and pipes are real. What renders in them is a stand-in, which a spawned process imports from here.
"""

import atexit
import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bokehcli import workers
from bokehcli.batch import open_batch, run_in_workers
from bokehcli.budget import BASE_BYTES, MEGAPIXEL_BYTES
from bokehcli.cli import main
from bokehcli.discover import Job
from bokehcli.errors import ModelError, WorkerError
from bokehcli.options import Device, Existing, InferOptions, LensOptions, RunOptions
from bokehcli.outcome import Outcome, Status
from bokehcli.storage import write_atomic
from bokehcli.workers import share_out

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc")
REPOSITORY = Path(__file__).parent.parent
TWO = RunOptions(jobs=2, infer=InferOptions(threads=1))
GIB = 1 << 30


class Stand:
    """Writes its process's number where the rendering belongs; a photo's name says what befalls it."""

    admit: Callable[[float], None]

    def render_photo(self, job: Job) -> Outcome:
        if "heavy" in job.source.name:
            return self.carry(job)
        if "kill" in job.source.name:
            os.kill(os.getpid(), signal.SIGKILL)
        if "leave" in job.source.name:
            os._exit(3)
        if "slow" in job.source.name:
            time.sleep(0.5)
        if "deaf" in job.source.name:
            signal.signal(workers.DROP, signal.SIG_IGN)
        if "stuck" in job.source.name:
            time.sleep(60)
        write_atomic(job.destination, str(os.getpid()).encode(), exclusive=True)
        return Outcome(source=job.source, destination=job.destination, status=Status.DONE, written=(job.destination,))

    def carry(self, job: Job) -> Outcome:
        """Note when it begins and ends, and how much of it. The name has its weight, and how much there has to be carried at
        some moment before it ends."""
        _, weight, *wishes = job.source.name.split("-")
        self.admit(float(weight))
        for text in (f"{weight} ", f"-{weight} "):
            with open(job.destination.parent / "scale", "a") as file:
                file.write(text)
            if wishes and wishes[0].isdigit():
                wait_for(lambda: carried_at_once(job.destination.parent) >= float(wishes[0]))
            time.sleep(1.5 if "long" in job.source.name else 0.1)
            if "kill" in job.source.name:
                os.kill(os.getpid(), signal.SIGKILL)
        return Outcome(source=job.source, destination=job.destination, status=Status.DONE)


def open_stand(options: RunOptions) -> Stand:
    return Stand()


def open_nothing(options: RunOptions) -> Stand:
    raise ModelError("the model is not here")


def open_nothing_and_end_late(options: RunOptions) -> Stand:
    """The signal by which the pool ends what has a photo in hand finds the process among its exit handlers."""
    atexit.register(os.kill, os.getpid(), workers.DROP)
    return open_nothing(options)


def die_opening(options: RunOptions) -> Stand:
    os._exit(9)


def open_after_one_death(options: RunOptions) -> Stand:
    """Dies as it opens, but only when a first process has opened."""
    flag = Path(os.environ["BOKEH_TEST_FLAG"])
    try:
        flag.touch(exist_ok=False)
    except FileExistsError:
        time.sleep(0.5)  # until the first has said that it is ready
        os._exit(9)
    return Stand()


@pytest.fixture(autouse=True)
def stand(monkeypatch: pytest.MonkeyPatch) -> Callable[[object], None]:
    """Workers open a stand-in; call with another opening for that."""
    monkeypatch.setattr(workers, "open_renderer", open_stand)
    return lambda opening: monkeypatch.setattr(workers, "open_renderer", opening)


def run(folder: Path, *names: str, options: RunOptions = TWO) -> list[Outcome]:
    jobs = [Job(source=Path("in", name), destination=folder / name) for name in names]
    return list(run_in_workers(jobs, options, lambda job: None, lambda in_hand: None))


def statuses(outcomes: list[Outcome]) -> dict[str, Status]:
    return {outcome.source.name: outcome.status for outcome in outcomes}


@pytest.mark.parametrize(
    ("jobs", "threads", "photos", "memory_bytes", "shared"),
    [
        (0, 0, 100, None, (8, 1)),
        (0, 0, 3, None, (3, 2)),
        (0, 2, 100, None, (4, 2)),
        (0, 0, 100, 3 * GIB, (3, 2)),
        (0, 0, 100, GIB // 2, (1, 0)),
        (0, 16, 100, None, (1, 16)),
        (0, 0, 1, None, (1, 0)),
        (0, 0, 0, None, (1, 0)),
        (1, 0, 100, None, (1, 0)),
        (1, 3, 100, None, (1, 3)),
        (2, 0, 100, GIB // 2, (2, 4)),
        (20, 0, 100, None, (20, 1)),
        (20, 0, 5, None, (5, 1)),
        (8, 3, 100, None, (8, 3)),
        (1, 10, 100, None, (1, 10)),
        (1, 3000, 100, None, (1, 32)),
        (2, 3000, 100, None, (2, 32)),
    ],
)
def test_cores_are_shared_out(
    monkeypatch: pytest.MonkeyPatch, jobs: int, threads: int, photos: int, memory_bytes: int | None, shared: tuple[int, int]
) -> None:
    monkeypatch.setattr(workers, "usable_cores", lambda: 8)
    monkeypatch.setattr(workers, "available_bytes", lambda: memory_bytes)
    options = share_out(RunOptions(jobs=jobs, infer=InferOptions(threads=threads)), photos)
    assert (options.jobs, options.infer.threads) == shared


def test_another_device_gets_one_process_unless_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "usable_cores", lambda: 8)
    cuda = InferOptions(device=Device.CUDA)
    assert share_out(RunOptions(infer=cuda), 100).jobs == 1
    assert share_out(RunOptions(infer=cuda, jobs=2), 100).jobs == 2


def test_every_photo_is_done_once_by_as_many_processes_as_asked(tmp_path: Path) -> None:
    names = [f"{number}.slow.jpg" for number in range(6)]
    outcomes = run(tmp_path, *names)
    assert statuses(outcomes) == dict.fromkeys(names, Status.DONE)
    by = {(tmp_path / name).read_text() for name in names}
    assert len(by) == 2
    assert str(os.getpid()) not in by


def test_what_is_there_already_needs_no_process(tmp_path: Path, stand: Callable[[object], None]) -> None:
    stand(die_opening)
    (tmp_path / "a.jpg").touch()
    (outcome,) = run(tmp_path, "a.jpg", options=RunOptions(jobs=2, existing=Existing.SKIP))
    assert outcome.status is Status.SKIPPED


@posix
def test_a_process_that_is_killed_costs_its_photo_and_is_replaced(tmp_path: Path) -> None:
    outcomes = run(tmp_path, "a.jpg", "kill.jpg", "kill2.jpg", "kill3.jpg", "b.jpg", "c.jpg", "leave.jpg", "d.jpg")
    failed = {outcome.source.name: outcome.error for outcome in outcomes if outcome.status is Status.FAILED}
    assert failed == {
        **{
            name: f"{Path('in', name)}: the process that rendered it died (signal 9)"
            for name in ("kill.jpg", "kill2.jpg", "kill3.jpg")
        },
        "leave.jpg": f"{Path('in', 'leave.jpg')}: the process that rendered it died (exit status 3)",
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]


def test_a_photo_that_never_ends_costs_itself_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "GRACE_S", 0.5)
    options = replace(TWO, time_limit_s=4.0)
    names = ["a.jpg", "stuck.jpg", "deaf.stuck.jpg", "b.jpg", "c.jpg", "d.jpg"]
    outcomes = run(tmp_path, *names, options=options)
    failed = {outcome.source.name: outcome.error for outcome in outcomes if outcome.status is Status.FAILED}
    told = "not done within the limit of 4 s (time-limit): given up"
    assert failed == {name: f"{Path('in', name)}: {told}" for name in ("stuck.jpg", "deaf.stuck.jpg")}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]
    assert multiprocessing.active_children() == []


def test_time_in_which_the_machine_sleeps_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = itertools.count()
    monkeypatch.setattr(workers, "time", SimpleNamespace(monotonic=lambda: 1000.0 * next(looks)))
    names = ["a.slow.jpg", "b.slow.jpg"]
    assert statuses(run(tmp_path, *names, options=replace(TWO, time_limit_s=600.0))) == dict.fromkeys(names, Status.DONE)


@posix
@pytest.mark.parametrize("jobs", [1, 2])
def test_with_one_job_a_death_costs_its_photo_too(tmp_path: Path, jobs: int) -> None:
    names = ["a.jpg", "kill.jpg", "b.jpg"]
    paths = [Job(source=Path(name), destination=tmp_path / name) for name in names]
    outcomes = list(open_batch(paths, replace(TWO, jobs=jobs), lambda job: None, lambda in_hand: None))
    assert statuses(outcomes) == {"a.jpg": Status.DONE, "kill.jpg": Status.FAILED, "b.jpg": Status.DONE}


@posix
def test_a_photo_alone_that_kills_its_process_is_one_failure(tmp_path: Path) -> None:
    (outcome,) = open_batch(
        [Job(source=Path("kill.jpg"), destination=tmp_path / "kill.jpg")], RunOptions(), lambda job: None, lambda in_hand: None
    )
    assert outcome.error == "kill.jpg: the process that rendered it died (signal 9)"


def test_what_cannot_be_opened_ends_the_run(tmp_path: Path, stand: Callable[[object], None]) -> None:
    stand(open_nothing)
    with pytest.raises(ModelError, match="the model is not here"):
        run(tmp_path, "a.jpg", "b.jpg")
    stand(die_opening)
    with pytest.raises(WorkerError, match=r"exit status 9"):
        run(tmp_path, "a.jpg", "b.jpg")


def test_a_later_process_that_dies_opening_costs_one_photo(
    tmp_path: Path, stand: Callable[[object], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOKEH_TEST_FLAG", str(tmp_path / "flag"))
    stand(open_after_one_death)
    found = list(statuses(run(tmp_path, "a.slow.jpg", "b.slow.jpg")).values())
    assert sorted(found) == [Status.DONE, Status.FAILED]


def test_processes_end_when_the_outcomes_are_no_longer_asked_for(tmp_path: Path) -> None:
    jobs = [Job(source=Path(name), destination=tmp_path / name) for name in ("a.jpg", "stuck.jpg", "b.jpg")]
    outcomes = run_in_workers(jobs, TWO, lambda job: None, lambda in_hand: None)
    assert next(outcomes).source.name in ("a.jpg", "b.jpg")
    outcomes.close()
    assert multiprocessing.active_children() == []


@posix
def test_a_command_line_goes_on_after_a_death(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    names = ("a.jpg", "kill.jpg", "b.jpg")
    for name in names:
        (tmp_path / name).touch()
    out = tmp_path / "out"
    assert main(["run", *(str(tmp_path / name) for name in names), "-o", str(out), "--jobs", "2", "-q"]) == 1
    captured = capfd.readouterr()
    assert sorted(captured.out.split()) == [str(out / "a.jpg"), str(out / "b.jpg")]
    assert captured.err == f"bokeh: {tmp_path / 'kill.jpg'}: the process that rendered it died (signal 9)\n"


@pytest.mark.parametrize("opening", [open_nothing, open_nothing_and_end_late, die_opening])
def test_a_command_line_whose_workers_cannot_start_is_status_2(
    tmp_path: Path, stand: Callable[[object], None], capfd: pytest.CaptureFixture[str], opening: object
) -> None:
    stand(opening)
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).touch()
    assert main(["run", str(tmp_path), "-o", str(tmp_path / "out"), "--jobs", "2", "-q"]) == 2
    assert len(capfd.readouterr().err.splitlines()) == 1


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts `bokeh run --jobs 2` on photos of these names, in a process group of its own and with the stand-in."""
    script = (
        "import sys\n"
        "from bokehcli import workers\n"
        "from bokehcli.cli import main\n"
        "from tests.test_workers import open_stand\n"
        "workers.open_renderer = open_stand\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    begun: list[subprocess.Popen[bytes]] = []

    def start(*names: str, more: Sequence[str] = ()) -> subprocess.Popen[bytes]:
        for name in names:
            (tmp_path / name).touch()
        line = ["run", *(str(tmp_path / name) for name in names), "-o", str(tmp_path / "out"), "--jobs", "2", *more]
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        begun.append(
            subprocess.Popen(
                [sys.executable, "-c", script, *line],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        )
        return begun[-1]

    yield start
    for process in begun:
        process.kill()
        process.communicate()


@posix
def test_an_interrupt_finishes_what_is_in_hand(tmp_path: Path, started: Callable[..., subprocess.Popen[bytes]]) -> None:
    process = started("0.jpg", *(f"{number}.slow.jpg" for number in range(1, 30)))
    assert process.stdout is not None
    first = process.stdout.readline()
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"interrupt again to drop " in err  # "it" or "them": one or two are in hand
    assert err.splitlines()[-1].startswith(b"interrupted: ")
    assert b"Traceback" not in err
    printed = sorted((first + out).decode().split())
    assert 1 < len(printed) < 10
    assert printed == sorted(map(str, (tmp_path / "out").glob("[!.]*")))


def test_ctrl_break_is_heard_where_there_is_one() -> None:
    script = "import signal; signal.SIGBREAK = 21; from bokehcli.interrupts import SIGNALS; print(*map(int, SIGNALS))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=REPOSITORY, check=True)
    assert "21" in done.stdout.split()


@posix
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_run_that_is_told_to_end_finishes_what_is_in_hand_and_tells_of_it(
    tmp_path: Path, started: Callable[..., subprocess.Popen[bytes]], name: str
) -> None:
    number = getattr(signal, name)
    report, page = tmp_path / "failed.txt", tmp_path / "index.html"
    more = ["--report", str(report), "--gallery", str(page)]
    process = started("0.jpg", *(f"{index}.slow.jpg" for index in range(1, 30)), more=more)
    assert process.stdout is not None
    first = process.stdout.readline()
    os.killpg(process.pid, number)  # workers included
    time.sleep(0.1)
    process.send_signal(number)  # as timeout does, twice
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert any(line.startswith(b"interrupted: ") for line in err.splitlines())
    assert b"Traceback" not in err
    printed = sorted((first + out).decode().split())
    assert 1 < len(printed) < 10
    assert printed == sorted(map(str, (tmp_path / "out").glob("[!.]*")))
    assert report.read_text() == ""
    assert page.exists()


@linux
def test_a_hangup_that_is_ignored_stays_so(started: Callable[..., subprocess.Popen[bytes]]) -> None:
    earlier = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup leaves it
    process = started("0.jpg", "1.slow.jpg", "2.slow.jpg")
    signal.signal(signal.SIGHUP, earlier)
    assert process.stdout is not None
    process.stdout.readline()
    os.killpg(process.pid, signal.SIGHUP)
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, len(out.split())) == (0, 2)


@linux
def test_an_interrupt_as_the_processes_start_is_kept_from_them(
    started: Callable[..., subprocess.Popen[bytes]],
) -> None:
    process = started(*(f"{number}.slow.jpg" for number in range(30)))
    wait_for(lambda: len(children_of(process.pid)) >= 2)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"Traceback" not in err


def test_a_wait_that_a_signal_ends_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On Windows it ends so although the signal's handler returned."""
    real, asked = multiprocessing.connection.wait, itertools.count()

    def wait(*arguments: Any) -> Any:
        if not next(asked) % 2:
            raise InterruptedError
        return real(*arguments)

    monkeypatch.setattr(workers, "connection", SimpleNamespace(wait=wait))
    outcomes = run(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    assert set(statuses(outcomes).values()) == {Status.DONE}
    assert next(asked) > 2


@posix
def test_a_second_interrupt_drops_what_is_in_hand(tmp_path: Path, started: Callable[..., subprocess.Popen[bytes]]) -> None:
    process = started("0.jpg", "1.jpg", "stuck1.jpg", "stuck2.jpg", "2.jpg")
    assert process.stdout is not None
    process.stdout.readline(), process.stdout.readline()
    os.killpg(process.pid, signal.SIGINT)
    assert process.stderr is not None
    for line in process.stderr:
        if b"interrupt again" in line:
            break
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert err.splitlines()[-1].startswith(b"interrupted: 2 of 5")
    assert b"Traceback" not in err
    assert sorted(path.name for path in (tmp_path / "out").glob("[!.]*")) == ["0.jpg", "1.jpg"]


@linux
def test_processes_end_when_the_one_that_hands_out_is_killed(
    tmp_path: Path, started: Callable[..., subprocess.Popen[bytes]]
) -> None:
    process = started("0.jpg", *(f"{number}.slow.jpg" for number in range(1, 30)))
    assert process.stdout is not None
    process.stdout.readline()
    children = children_of(process.pid)
    assert len(children) >= 3  # two workers, and the resource tracker of multiprocessing
    process.kill()
    process.wait()
    wait_for(lambda: not any(alive(child) for child in children))
    assert len(list((tmp_path / "out").glob("[!.]*"))) < 10
    assert not list((tmp_path / "out").glob(".bokeh-*"))


def children_of(pid: int) -> list[int]:
    return [int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_for(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    end_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.02)


def test_at_strength_0_no_model_is_looked_for() -> None:
    assert not RunOptions(lens=LensOptions(strength=0)).needs_maps
    assert RunOptions(lens=LensOptions(strength=0), save_maps=True).needs_maps
    assert RunOptions().needs_maps


def carried_at_once(folder: Path) -> float:
    """The heaviest that was carried at any moment."""
    return max(itertools.accumulate(map(float, (folder / "scale").read_text().split())))


def test_no_more_megapixels_are_worked_on_at_once_than_there_is_memory_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "available_bytes", lambda: 4 * BASE_BYTES + 100 * MEGAPIXEL_BYTES)
    options = replace(TWO, jobs=4)
    names = [f"{index}.heavy-{weight}" for index, weight in enumerate((40, 60, 50, 120, 30, 10, 10, 10, 90))]
    assert statuses(run(tmp_path, *names, options=options)) == dict.fromkeys(names, Status.DONE)
    assert carried_at_once(tmp_path) == 120.0  # that one alone
    (tmp_path / "scale").unlink()
    names = [f"{index}.heavy-30-90" for index in range(12)]
    assert statuses(run(tmp_path, *names, options=options)) == dict.fromkeys(names, Status.DONE)
    assert carried_at_once(tmp_path) == 90.0


def test_what_is_too_large_for_any_memory_is_done_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "available_bytes", lambda: 0)
    names = [f"{index}.heavy-30" for index in range(4)]
    assert statuses(run(tmp_path, *names)) == dict.fromkeys(names, Status.DONE)
    assert carried_at_once(tmp_path) == 30.0


@posix
def test_a_process_that_dies_gives_back_what_it_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "available_bytes", lambda: 0)
    names = ["a.heavy-30", "kill.heavy-30-kill", "b.heavy-30"]
    assert list(statuses(run(tmp_path, *names)).values()).count(Status.DONE) == 2


def test_waiting_for_memory_does_not_count_as_time_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes 3 s of its 4; the last waits for 6."""
    monkeypatch.setattr(workers, "available_bytes", lambda: 0)
    names = [f"{index}.heavy-30-long" for index in range(3)]
    outcomes = run(tmp_path, *names, options=replace(TWO, jobs=3, time_limit_s=4.0))
    assert statuses(outcomes) == dict.fromkeys(names, Status.DONE)
