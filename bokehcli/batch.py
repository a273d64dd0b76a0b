"""Many photos, one after the other or several at once, and what happens when a result is already there."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Protocol

from bokehcli.discover import Job
from bokehcli.errors import PhotoError
from bokehcli.interrupts import Interrupted
from bokehcli.ledger import Ledger, Verdict, is_there
from bokehcli.options import Existing, RunOptions
from bokehcli.outcome import Outcome, Status
from bokehcli.photo import Container
from bokehcli.remote import Place, is_of_this_process
from bokehcli.storage import ALREADY_EXISTS, read_bytes, write_atomic
from bokehcli.workers import MOST_WORKERS, WAIT_S, Pool, share_out

OF_LIBRARIES = (Container.AVIF, Container.HEIC)  # containers that some installations cannot write
IDLE_S = 0.25  # to wait for what was done, where there are no further photos for now


def open_batch(
    jobs: Sequence[Job],
    options: RunOptions,
    started: Callable[[Job], None],
    stopping: Callable[[int], bool | None],
    ledger: Ledger | None = None,
) -> Generator[Outcome]:
    """Do every job, in processes, so that no photo can take others, or the message about it, along.

    ledger: says what need not be done again, and is told what becomes of every photo. Raises before the first photo
    MissingDependency, and LedgerError when another run has the ledger; DeviceError and ModelError come from the first worker.
    """
    verdicts = [judge(job, options, ledger) for job in jobs]
    photos = sum(verdict.outcome is None for verdict in verdicts)
    looks = sum(is_to_be_seen(verdict, options) for verdict in verdicts)
    if photos:
        _check_encoder(options)
    shared = share_out(options, photos + looks)
    if ledger is not None and photos:
        ledger.claim()
        ledger.plan(jobs)
    return run_in_workers(jobs, shared, started, stopping, ledger)


def open_endless(
    jobs: Iterable[Job | None],
    options: RunOptions,
    started: Callable[[Job], None],
    stopping: Callable[[int], bool | None],
    ledger: Ledger | None = None,
) -> Generator[Outcome]:
    """Do jobs as they come, like open_batch; there is None where none is to be had just now. Raises likewise."""
    _check_encoder(options)
    if ledger is not None:
        ledger.claim()
    return run_in_workers(jobs, share_out(options, MOST_WORKERS), started, stopping, ledger)


def _check_encoder(options: RunOptions) -> None:
    if options.encode.container in OF_LIBRARIES:
        from bokehcli.encode import check_encoder

        check_encoder(options.encode.container)


def run_in_workers(
    jobs: Iterable[Job | None],
    options: RunOptions,
    started: Callable[[Job], None],
    stopping: Callable[[int], bool | None],
    ledger: Ledger | None = None,
) -> Generator[Outcome]:
    """Do every job in options.jobs processes, or on a cluster, and yield what became of it.

    Taken up in order, they come back as done. A None among them makes it look for what was done, for a moment, before it asks
    for the next. started is called as a photo is taken up. After an interrupt none is; stopping is called with the number of
    those in hand, they are finished, and Interrupted follows. A second interrupt drops them, and so does stopping when it
    returns True: they leave nothing half-written. Raises WorkerError, and what a worker could not open its renderer for.
    """
    given: dict[Place, Job] = {}  # those whose files come back
    in_hand: set[Place | None] = set()

    def told(outcome: Outcome) -> Outcome:
        in_hand.discard(outcome.destination)
        if outcome.destination in given:
            outcome = delivered(outcome, given.pop(outcome.destination), options)
        if ledger is not None:
            ledger.finished(outcome)
        return outcome

    def collected(wait_s: float = WAIT_S) -> Iterator[Outcome]:
        yield from map(told, crew.collect(wait_s))

    def out_of_hand(destination: Place) -> Iterator[Outcome]:
        """Wait for the earlier job of a photo that has changed since it was taken up."""
        while destination in in_hand and not crew.interrupted:
            yield from collected()

    with open_crew(options) as crew:
        for job in jobs:
            if crew.interrupted:
                break
            if job is None:
                yield from collected(IDLE_S)
                continue
            yield from out_of_hand(job.destination)
            verdict = judge(job, options, ledger)
            look = is_to_be_seen(verdict, options)
            if verdict.outcome is not None and not look:
                yield verdict.outcome
                continue
            while crew.full and not crew.interrupted:
                yield from collected()
            if crew.interrupted:
                break
            replaces = job.targets if options.existing is Existing.OVERWRITE else verdict.replaces
            job = replace(job, replaces=replaces, doubtful=verdict.doubtful, settled=look)  # noqa: PLW2901
            started(job)
            in_hand.add(job.destination)
            if ledger is not None and not look:
                ledger.started(job)
            if is_of_this_process(job.destination):
                given[job.destination] = job = replace(job, returns=True)  # noqa: PLW2901
            try:
                crew.give(brought(job))
            except PhotoError as error:
                yield told(Outcome(source=job.source, destination=job.destination, status=Status.FAILED, error=str(error)))
        said = dropped = False
        while crew.in_hand and not dropped:
            if crew.interrupted and not said:
                said, dropped = True, bool(stopping(crew.in_hand))
            yield from collected(0.0 if dropped else WAIT_S)
        if crew.interrupted:
            raise Interrupted(crew.interrupted)


def brought(job: Job) -> Job:
    """A job that can be given away: with the photo where no other process can read it. Raises ReadError."""
    return replace(job, photo=read_bytes(job.source)) if is_of_this_process(job.source) else job


def delivered(outcome: Outcome, job: Job, options: RunOptions) -> Outcome:
    """Write the files that came back with an outcome, where no other process can."""
    written: list[Place] = []
    try:
        for place, data in outcome.contents:
            write_atomic(place, data, exclusive=options.existing is not Existing.OVERWRITE and place not in job.replaces)
            written.append(place)
    except PhotoError as error:
        outcome = replace(outcome, status=Status.FAILED, error=str(error))
    return replace(outcome, contents=(), written=tuple(written))


class Crew(Protocol):
    """Those who render, as a context manager: processes of this machine's (Pool), or of a cluster's (Cluster)."""

    def __enter__(self) -> "Crew": ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...

    @property
    def interrupted(self) -> int:
        """The signal by which an interrupt was heard, 0 for none: then no further photos are to be given."""

    @property
    def in_hand(self) -> int:
        """Photos that are being rendered now."""

    @property
    def full(self) -> bool:
        """Whether no further photo can be given for now."""

    def give(self, job: Job) -> None:
        """Hand a photo over. Raises WorkerError."""

    def collect(self, wait_s: float = WAIT_S) -> Iterator[Outcome]:
        """Wait so long or until something happens, and yield what became of photos, if anything.

        Raises WorkerError, and what the renderer could not be opened for.
        """


def open_crew(options: RunOptions) -> Crew:
    """Those whom the options ask for. Raises MissingDependency."""
    if options.scheduler is None:
        return Pool(options)
    from bokehcli.cluster import Cluster

    return Cluster(options)


def judge(job: Job, options: RunOptions, ledger: Ledger | None) -> Verdict:
    """What is to become of a photo: by the ledger, where it knows, else by what is already there.

    Where a store does not say what is there, the photo has failed.
    """
    try:
        verdict = Verdict() if ledger is None else ledger.judge(job, options.existing)
        settled = verdict.outcome or settle_existing(replace(job, replaces=verdict.replaces), options.existing)
        return verdict if settled is None else Verdict(settled)
    except PhotoError as error:
        return Verdict(Outcome(source=job.source, destination=job.destination, status=Status.FAILED, error=str(error)))


def is_to_be_seen(verdict: Verdict, options: RunOptions) -> bool:
    """Whether a photo whose result is there already is to be looked at, for a gallery."""
    return bool(options.preview_px) and verdict.outcome is not None and verdict.outcome.status is Status.SKIPPED


def settle_existing(job: Job, existing: Existing) -> Outcome | None:
    """The outcome when what is already there settles it; None when the photo is to be rendered.

    With SKIP the photo alone decides, as it is written after its maps. With REFUSE no target may be there. What the job
    replaces counts as not there.
    """
    if existing is Existing.SKIP and job.destination not in job.replaces and is_there(job, job.destination):
        return Outcome(source=job.source, destination=job.destination, status=Status.SKIPPED)
    if existing is Existing.REFUSE:
        for path in reversed(job.targets):
            if path not in job.replaces and is_there(job, path):
                return Outcome(
                    source=job.source,
                    destination=job.destination,
                    status=Status.FAILED,
                    error=f"{path}: {ALREADY_EXISTS}",
                )
    return None
