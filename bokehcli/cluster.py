"""Photos rendered by a Dask cluster (--scheduler): reading, rendering and writing one is one task there.

The photos and the folder for the results have to be where every machine finds them, on a shared disk or as URLs. The
ledger stays with whoever hands out the photos. A worker that dies costs nothing: Dask gives its photo to another one. As
many photos are handed out as there are threads, so that only the photo that made workers die is taken to be the cause.
"""

import logging
import os
import queue
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any

from bokehcli import __version__
from bokehcli.discover import Job
from bokehcli.errors import BokehError, MissingDependency, WorkerError
from bokehcli.interrupts import Interrupts, born_deaf
from bokehcli.model import find_model
from bokehcli.options import RunOptions
from bokehcli.outcome import Outcome, Status, failed, given_up
from bokehcli.pipeline import Renderer, open_renderer
from bokehcli.places import absolute
from bokehcli.storage import ALREADY_EXISTS

LOCAL = "local:"
CONNECT_S = 15.0
RESTART_S = 30.0
LOOK_S = 1.0  # between looks at which workers there are
LET_GO_S = 0.05  # between looks at whether the scheduler has let a photo go
WAIT_S = 5.0
_opening = threading.Lock()


@dataclass(frozen=True)
class Order:
    """What all photos of a run have in common. version: of this program; model: its hash. Both have to be the same there."""

    options: RunOptions
    version: str
    model: str


@dataclass(eq=False)
class Task:
    """A photo that is in hand. there: the same with absolute paths, as a worker has it."""

    job: Job
    there: Job
    future: Any
    began_s: float = field(default_factory=time.monotonic)


class Cluster:
    """The workers of a Dask cluster, found when the first photo is given; a Crew, see `bokehcli.batch`.

    For interrupts see Interrupts. What a worker has in hand when the run ends early it may still finish, and write whole.
    Raises MissingDependency.
    """

    def __init__(self, options: RunOptions) -> None:
        assert options.scheduler is not None
        self.scheduler = options.scheduler
        self.options = options
        self._distributed = load()
        self._order = order_of(options)
        self._local: Any = None
        self._client: Any = None
        self._tasks: set[Task] = set()
        self._done: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._interrupts = Interrupts(lambda: self._done.put(None))
        self._threads: dict[str, int] = {}
        self._ever: set[str] = set()
        self._looked_s = 0.0

    def __enter__(self) -> "Cluster":
        self._interrupts.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            for task in self._tasks:
                task.future.cancel()
            for one in (self._client, self._local):
                if one is not None:
                    one.close()
        finally:
            self._interrupts.__exit__(kind, error, trace)

    @property
    def interrupted(self) -> int:
        """The signal by which an interrupt was heard, 0 for none: then no further photos are to be given."""
        return self._interrupts.heard

    @property
    def in_hand(self) -> int:
        """Photos that were given and have not come back."""
        return len(self._tasks)

    @property
    def full(self) -> bool:
        """Whether every thread has a photo. One may be given when there are none yet: some clusters grow by what waits."""
        if self._client is None:
            return False
        return self.in_hand >= (self.options.jobs or max(1, sum(self._workers().values())))

    def give(self, job: Job) -> None:
        """Hand a photo over. Raises WorkerError."""
        if self._client is None:
            self._connect()
        self._submit(job, made_absolute(job))

    def collect(self, wait_s: float = WAIT_S) -> Iterator[Outcome]:
        """Wait so long or until something happens, and yield what became of photos, if anything.

        Raises what a worker could not open its renderer for, and WorkerError when the scheduler is gone.
        """
        tasks: list[Task | None] = []
        limit_s, now_s = self.options.time_limit_s, time.monotonic()
        left_s = [task.began_s + limit_s - now_s for task in self._tasks if limit_s]
        with suppress(queue.Empty):  # what is over its limit already is so for want of workers
            tasks.append(self._done.get(timeout=min((wait_s, *(each_s for each_s in left_s if each_s > 0.0)))))
            while True:
                tasks.append(self._done.get_nowait())
        for task in tasks:
            if task in self._tasks and (outcome := self._finish(task)) is not None:
                yield outcome
        for task in [task for task in self._tasks if limit_s and time.monotonic() - task.began_s >= limit_s]:
            if self._workers():
                yield self._give_up(task)

    def _connect(self) -> None:
        distributed = self._distributed
        address = self.scheduler
        try:
            if address.startswith(LOCAL):
                with born_deaf():
                    self._local = distributed.LocalCluster(
                        n_workers=int(address.removeprefix(LOCAL)),
                        threads_per_worker=1,
                        dashboard_address="127.0.0.1:0",  # without one it would take a port that is open to all
                        silence_logs=logging.CRITICAL,
                    )
            for name in [name for name in logging.root.manager.loggerDict if name.startswith("distributed")]:
                logging.getLogger(name).setLevel(logging.CRITICAL)  # what goes wrong is told by this program
            self._client = distributed.Client(self._local or address, timeout=CONNECT_S, set_as_default=False)
        except (OSError, TimeoutError, ValueError, RuntimeError) as error:
            raise WorkerError(f"{address}: no Dask scheduler answers there ({_line(error)})") from error

    def _workers(self) -> dict[str, int]:
        """The threads of each worker by its address, as they were a moment ago."""
        now_s = time.monotonic()
        if not self._threads or now_s - self._looked_s > LOOK_S:
            try:
                self._threads = dict(self._client.nthreads())
            except Exception as error:  # distributed raises what its event loop does
                raise self._lost(error) from error
            self._ever |= set(self._threads)
            self._looked_s = now_s
        return self._threads

    def _submit(self, job: Job, there: Job) -> None:
        try:
            future = self._client.submit(render_there, there, self._order, pure=False)
        except Exception as error:  # as above
            raise self._lost(error) from error
        task = Task(job, there, future)
        self._tasks.add(task)
        future.add_done_callback(lambda _: self._done.put(task))

    def _finish(self, task: Task) -> Outcome | None:
        """What became of a photo; None when it is tried once more."""
        self._tasks.discard(task)
        try:
            outcome: Outcome = task.future.result()
        except BokehError:
            raise
        except self._distributed.KilledWorker:
            reason = "each process that rendered it died, and what else they were to do was done by others"
            return failed(task.job.source, task.job.destination, reason)
        except (self._distributed.client.FutureCancelledError, OSError) as error:
            raise self._lost(error) from error
        except Exception as error:  # whatever the worker could not load
            what = f"{type(error).__name__}: {_line(error)}"
            raise WorkerError(f"{self.scheduler}: a worker cannot render photos: {what}") from error
        if outcome.status is Status.FAILED and str(outcome.error).endswith(ALREADY_EXISTS) and self._may_be_ours(task):
            self._submit(task.job, replace(task.there, replaces=task.there.targets))
            return None
        return as_given(outcome, task)

    def _may_be_ours(self, task: Task) -> bool:
        """Whether what is there may have been written by a worker that has died since, before it could say so."""
        self._looked_s = -LOOK_S
        return task.there.replaces != task.there.targets and bool(self._ever - set(self._workers()))

    def _give_up(self, task: Task) -> Outcome:
        """Have the process ended that has had a photo for too long; whatever else it has in hand, others do."""
        self._tasks.discard(task)
        with suppress(Exception):  # a worker that nobody watches over cannot be restarted
            stuck = self._at_work_on(task)
            task.future.cancel()
            end_s = time.monotonic() + RESTART_S
            while self._at_work_on(task) and time.monotonic() < end_s:
                time.sleep(LET_GO_S)  # with the worker restarted before that is heard, another one would get the photo
            self._client.restart_workers(stuck, timeout=RESTART_S, raise_for_error=False)
        return given_up(task.job.source, task.job.destination, self.options.time_limit_s)

    def _at_work_on(self, task: Task) -> list[str]:
        """The workers that have a photo, as the scheduler knows."""
        return [worker for worker, keys in self._client.processing().items() if task.future.key in keys]

    def _lost(self, error: Exception) -> WorkerError:
        return WorkerError(f"{self.scheduler}: the connection to the Dask scheduler was lost ({_line(error)})")


def load() -> Any:
    """The module ``distributed``. Raises MissingDependency."""
    try:
        import distributed
    except ImportError as error:
        raise MissingDependency("--scheduler needs Dask: pip install 'bokehcli[distributed]'") from error
    return distributed


def order_of(options: RunOptions) -> Order:
    """The options as workers have them: with an absolute path, and one thread for each photo unless others are asked for.

    Raises ModelError.
    """
    model = None if options.infer.model is None else Path(os.path.abspath(options.infer.model))
    infer = replace(options.infer, model=model, threads=options.infer.threads or 1)
    return Order(replace(options, infer=infer), __version__, digest_of(options))


def digest_of(options: RunOptions) -> str:
    """The hash of the model that is used, none where none is. Raises ModelError."""
    return find_model(options.infer.model).digest() if options.needs_maps else ""


def made_absolute(job: Job) -> Job:
    """The same job for a process that works in another folder."""
    alpha, defocus = (place if place is None else absolute(place) for place in (job.alpha, job.defocus))
    return replace(
        job,
        source=absolute(job.source),
        destination=absolute(job.destination),
        alpha=alpha,
        defocus=defocus,
        replaces=tuple(map(absolute, job.replaces)),
        doubtful=tuple(map(absolute, job.doubtful)),
    )


def as_given(outcome: Outcome, task: Task) -> Outcome:
    """A worker's outcome with the paths that the job was given with."""
    names = {getattr(task.there, name): getattr(task.job, name) for name in ("source", "destination", "alpha", "defocus")}
    source = task.job.source
    return replace(
        outcome,
        source=source,
        destination=task.job.destination,
        written=tuple(names[path] for path in outcome.written),
        error=None if outcome.error is None else outcome.error.replace(f"{outcome.source}: ", f"{source}: ", 1),
    )


def render_there(job: Job, order: Order) -> Outcome:
    """What a worker does with a photo. Raises WorkerError if it has another version or model, and what `open_renderer` does."""
    with _opening:
        renderer = _renderer(order)
    return renderer.render_photo(job)


@lru_cache(maxsize=1)
def _renderer(order: Order) -> Renderer:
    for what, there, here in (
        ("version", __version__, order.version),
        ("model", digest_of(order.options)[:12], order.model[:12]),
    ):
        if there != here:
            raise WorkerError(f"a worker has another {what} of bokehcli, {there}, than is here, {here}")
    return open_renderer(order.options)


def _line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
