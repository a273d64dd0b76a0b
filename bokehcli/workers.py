"""Processes that render photos: how many, the pool that hands them jobs, and what each of them does.

They are spawned, not forked: the thread pools of OpenCV and ONNX Runtime do not survive a fork, and a spawned process is
the same on every system. Only jobs and outcomes cross the pipes. concurrent.futures would end the whole pool when one
process dies; here that costs its photo and nothing else.
"""

import math
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing import connection
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from types import FrameType, TracebackType
from typing import NoReturn, Protocol

from bokehcli.budget import Budget, megapixels_within
from bokehcli.discover import Job
from bokehcli.errors import BokehError, WorkerError
from bokehcli.interrupts import SIGNALS, Interrupts, born_deaf
from bokehcli.options import THREADS_A_CORE, Device, RunOptions
from bokehcli.outcome import Outcome, failed, given_up
from bokehcli.resources import available_bytes, usable_cores

WORKER_BYTES = 1 << 30  # of memory, taken for each: the peak of one was 394 MiB at 12 megapixels, 1371 at 108
MOST_WORKERS = 60  # Windows waits for 63 handles at once; each worker is one, the wake-up another
# Longest wait at a time. A longer one counts as twice this: then the machine slept, or somebody stopped the run for a while.
WAIT_S = 5.0
GRACE_S = 5.0  # to leave when told to: Python looks at signals between two calls of a library
# By which a process is told to drop its photo. SIGTERM may be sent to the whole group, to have it end in its own time; on
# Windows a process is ended without a signal.
DROP = getattr(signal, "SIGUSR1", signal.SIGTERM)


class Rendering(Protocol):
    """What a worker needs of a Renderer. admit: see there."""

    admit: Callable[[float], None]

    def render_photo(self, job: Job) -> Outcome:
        """Do one photo; never raises an Exception."""


Opening = Callable[[RunOptions], Rendering]


def open_renderer(options: RunOptions) -> Rendering:
    """The pipeline's, imported where photos are rendered and not where they are handed out."""
    from bokehcli import pipeline

    return pipeline.open_renderer(options)


def share_out(options: RunOptions, photos: int) -> RunOptions:
    """The options with jobs and, when there are several, threads filled in: jobs x threads are at most the cores.

    More threads may be asked for, up to THREADS_A_CORE. Unasked, a device other than the CPU gets one process: there is one of
    it, and each process would fill its memory anew. A cluster shares out by itself.
    """
    if options.scheduler is not None:
        return options
    cores = usable_cores()
    options = replace(options, infer=replace(options.infer, threads=min(options.infer.threads, THREADS_A_CORE * cores)))
    jobs = options.jobs
    if jobs == 0 and options.infer.device in (Device.AUTO, Device.CPU):
        memory_bytes = available_bytes()
        jobs = cores // max(1, options.infer.threads)
        if memory_bytes is not None:
            jobs = min(jobs, memory_bytes // WORKER_BYTES)
    jobs = max(1, min(jobs, photos, MOST_WORKERS))
    if jobs == 1:
        return replace(options, jobs=1)
    threads = options.infer.threads or max(1, cores // jobs)
    return replace(options, jobs=jobs, infer=replace(options.infer, threads=threads))


@dataclass(eq=False)
class Worker:
    """One process as the pool sees it. job: the photo it has in hand, for left_s more, which do not pass while it waits for
    memory. ready: it has opened its renderer."""

    process: SpawnProcess
    pipe: Connection
    job: Job | None = None
    left_s: float = math.inf
    ready: bool = False


class Pool:
    """Up to options.jobs processes, each with one photo in hand; started as photos come in, replaced when they die.

    A context manager, for interrupts see Interrupts. On the way out, processes that are idle leave, and those with a photo
    in hand are told to drop it. The megapixels that are worked on at once are as many as there is memory for.
    """

    def __init__(self, options: RunOptions) -> None:
        self.options = options
        self._workers: list[Worker] = []
        self._budget = Budget[Worker](megapixels_within(available_bytes(), options.jobs))
        self._ever_ready = False
        self._woken, self._wake = multiprocessing.Pipe(duplex=False)
        self._interrupts = Interrupts(lambda: self._wake.send_bytes(b"!"))

    def __enter__(self) -> "Pool":
        self._interrupts.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            stop(self._workers)
        finally:
            self._interrupts.__exit__(kind, error, trace)
            self._wake.close()
            self._woken.close()

    @property
    def interrupted(self) -> int:
        """The signal by which an interrupt was heard, 0 for none: then no further photos are to be given."""
        return self._interrupts.heard

    @property
    def in_hand(self) -> int:
        """Photos that are being rendered now."""
        return sum(worker.job is not None for worker in self._workers)

    @property
    def full(self) -> bool:
        """Whether every process that there may be has a photo in hand."""
        return self.in_hand >= self.options.jobs

    def give(self, job: Job) -> None:
        """Hand a photo to an idle process, or to a new one. Raises WorkerError."""
        assert not self.full
        worker = next((worker for worker in self._workers if worker.job is None), None) or self._start()
        worker.job = job
        worker.left_s = self.options.time_limit_s or math.inf
        with suppress(OSError):  # it has died meanwhile, and collect will see that
            worker.pipe.send(job)

    def collect(self, wait_s: float = WAIT_S) -> Iterator[Outcome]:
        """Wait so long or until something happens, and yield what became of the photos that are no longer in hand, if any.

        Raises what a worker could not open its renderer for, and WorkerError when the first ones die of it.
        """
        of_pipe = {worker.pipe: worker for worker in self._workers}
        in_hand = [worker for worker in self._workers if worker.job is not None]
        timeout_s = max(0.0, min((worker.left_s for worker in in_hand), default=math.inf))
        began_s = time.monotonic()
        happened: Sequence[object] = ()
        with suppress(InterruptedError):  # by a signal, on Windows; what its handler sent is read in the next round
            happened = connection.wait([self._woken, *of_pipe], min(timeout_s, wait_s))
        waited_s = min(time.monotonic() - began_s, 2 * WAIT_S)
        for pipe in happened:
            if pipe is self._woken:
                self._woken.recv_bytes()
            elif (outcome := self._receive(of_pipe[pipe])) is not None:  # type: ignore[index]  # all are Connections
                yield outcome
        for worker in in_hand:
            worker.left_s -= waited_s
            if worker.job is not None and worker in self._workers and worker.left_s <= 0.0:
                yield self._give_up(worker)
        for worker in self._budget.grant():
            worker.left_s = self.options.time_limit_s or math.inf
            with suppress(OSError):  # as in give
                worker.pipe.send(None)

    def _receive(self, worker: Worker) -> Outcome | None:
        """What a worker says, or, when its pipe has closed, the failure of the photo that it had in hand."""
        try:
            said: Outcome | BokehError | float | None = worker.pipe.recv()
        except (EOFError, OSError):
            return self._bury(worker)
        if isinstance(said, BokehError):
            raise said
        if isinstance(said, float):
            self._budget.ask(worker, said)
            worker.left_s = math.inf
            return None
        if said is None:
            self._ever_ready = worker.ready = True
        else:
            worker.job = None
            self._budget.give_back(worker)
        return said

    def _give_up(self, worker: Worker) -> Outcome:
        """End a process that has had a photo in hand for too long."""
        assert worker.job is not None
        self._workers.remove(worker)
        self._budget.give_back(worker)
        stop([worker])
        return given_up(worker.job.source, worker.job.destination, self.options.time_limit_s)

    def _bury(self, worker: Worker) -> Outcome | None:
        self._workers.remove(worker)
        self._budget.give_back(worker)
        worker.pipe.close()
        worker.process.join(GRACE_S)
        how = cause_of_death(worker.process.exitcode)
        if not self._ever_ready:
            raise WorkerError(f"the process that was to render photos died as it started ({how})")
        if worker.job is None:
            return None
        return failed(worker.job.source, worker.job.destination, f"the process that rendered it died ({how})")

    def _start(self) -> Worker:
        ours, theirs = multiprocessing.Pipe()
        process = multiprocessing.get_context("spawn").Process(
            target=serve, args=(theirs, self.options, open_renderer), name="bokeh worker", daemon=True
        )
        try:
            with born_deaf():
                process.start()
        except OSError as error:
            ours.close()
            raise WorkerError(f"no process to render photos in could be started ({error.strerror or error})") from error
        finally:
            theirs.close()
        worker = Worker(process, ours)
        self._workers.append(worker)
        return worker


def serve(pipe: Connection, options: RunOptions, opening: Opening) -> NoReturn:
    """What a worker does: open a renderer, say so with None (or send the error), then do job after job.

    It leaves when its pipe closes, so also when the process that hands out jobs was killed.
    """
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # the terminal interrupts every process of the group at once
    signal.signal(DROP, _leave)

    def admit(weight: float) -> None:
        pipe.send(weight)
        pipe.recv()

    try:
        renderer = opening(options)
        renderer.admit = admit
        pipe.send(None)
        while True:
            pipe.send(renderer.render_photo(pipe.recv()))
    except BokehError as error:
        with suppress(OSError):
            pipe.send(error)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass
    finally:
        signal.signal(DROP, signal.SIG_IGN)  # it leaves anyway, and what runs at exit is not to be interrupted
    os._exit(0)  # all is written and said; to take the interpreter and the network apart would take a tenth of a second


def stop(workers: Sequence[Worker]) -> None:
    """End processes: the idle ones by closing their pipe, the others by DROP, which leaves no temporary file."""
    for worker in workers:
        worker.pipe.close()
        if worker.job is not None:
            _tell_to_drop(worker.process)
    for worker in workers:
        worker.process.join(GRACE_S)
        if worker.process.exitcode is None:
            worker.process.kill()
            worker.process.join()


def _tell_to_drop(process: SpawnProcess) -> None:
    if DROP == signal.SIGTERM:
        process.terminate()
    elif process.pid is not None and process.exitcode is None:
        os.kill(process.pid, DROP)


def cause_of_death(status: int | None) -> str:
    """An exit status as multiprocessing has it, in words: negative for a signal, None while the process lives."""
    if status is None:
        return "it closed its pipe"
    return f"signal {-status}" if status < 0 else f"exit status {status}"


def _leave(number: int, _: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)
    sys.exit(128 + number)
