"""The run command, once its options are known: find the photos, do them, tell of them."""

from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from bokehcli.arguments import ALL_DONE, FAILED
from bokehcli.errors import PhotoError, UsageError, WriteError
from bokehcli.interrupts import status_of
from bokehcli.listing import STDIN, read_list
from bokehcli.options import Running, RunOptions
from bokehcli.remote import Place, Url

if TYPE_CHECKING:
    from bokehcli.discover import Discovery, Job
    from bokehcli.gallery import Gallery
    from bokehcli.ledger import Ledger
    from bokehcli.outcome import Outcome
    from bokehcli.progress import Reporter

UNCOUNTED = 1000  # photos that a gallery is made for where nobody knows how many will come


def run_photos(sources: Sequence[Place], out: Place, options: RunOptions, running: Running) -> int:
    """Find the photos and do them; returns the exit status."""
    from bokehcli.batch import open_batch
    from bokehcli.progress import Reporter

    if STDIN in (out, *sources):
        from bokehcli.piped import pipe_photo

        return pipe_photo(sources, out, options, running)
    reporter = Reporter(quiet=running.quiet, verbose=running.verbose, null=running.null, as_json=running.json)
    if running.watch:
        return _watch_photos(sources, out, options, running, reporter)
    if not sources and running.files_from is None:
        raise UsageError("give photos or folders, or a list of them with --files-from")
    listed = () if running.files_from is None else read_list(running.files_from, null=running.null)
    if any(isinstance(source, Url) for source in (*sources, *listed)):
        return _do_parts(sources, listed, out, options, running, reporter)
    found = _find(sources, listed, out, options, running)
    reporter.expect(len(found.jobs))
    _tell(found, reporter)
    gallery, options = _gallery(options, running, len(found.jobs), found.unreadable)
    with _ledger(out, options, running, reporter.warn) as ledger:
        if running.dry_run:
            return _plan(found.jobs, options, ledger, reporter)
        outcomes = open_batch(found.jobs, options, reporter.started, reporter.stopping, ledger)
        return _carry_out(outcomes, reporter, running, gallery)


def _do_parts(
    sources: Sequence[Place],
    listed: Sequence[Place],
    out: Place,
    options: RunOptions,
    running: Running,
    reporter: "Reporter",
) -> int:
    """Do photos of object stores, the first of them while the others are still being looked for; returns the exit status."""
    from bokehcli.batch import open_endless
    from bokehcli.prefixes import Prefixes

    parts = Prefixes(sources, out, options, listed, running.selection, running.shard).parts()
    first: list[Discovery] = []
    for part in parts:
        first.append(part)
        if part.photos or part.unreadable:
            break
    else:
        raise _nothing_found(sources, running, [warning for part in first for warning in part.warnings])
    gallery, options = _gallery(options, running, UNCOUNTED)
    with _ledger(out, options, running, reporter.warn) as ledger:

        def jobs() -> "Iterator[Job]":
            for part in chain(first, parts):
                reporter.expect(len(part.jobs))
                _tell(part, reporter)
                if gallery is not None:
                    for error in part.unreadable:
                        gallery.add_error(error)
                if ledger is not None and not running.dry_run:
                    ledger.plan(part.jobs)
                yield from part.jobs

        if running.dry_run:
            return _plan(jobs(), options, ledger, reporter)
        outcomes = open_endless(jobs(), options, reporter.started, reporter.stopping, ledger)
        return _carry_out(outcomes, reporter, running, gallery)


def _watch_photos(sources: Sequence[Place], out: Place, options: RunOptions, running: Running, reporter: "Reporter") -> int:
    """Do the photos that are there and those that arrive, until an interrupt; returns the exit status."""
    from bokehcli.batch import open_endless
    from bokehcli.discover import discover
    from bokehcli.watch import Watch

    folders = [source for source in sources if isinstance(source, Path)]
    if not folders or len(folders) < len(sources):
        raise UsageError("give the folders to watch" + (": URLs cannot be watched" if sources else ""))

    def find(earlier: Collection[Place]) -> "Discovery":
        return discover(folders, out, options, selection=running.selection, shard=running.shard, earlier=earlier)

    def jobs() -> "Iterator[Job | None]":
        for job in watch.jobs():
            if job is not None:
                reporter.expect(1)
            yield job

    for warning in find(()).warnings:  # what is wrong with the sources shows here
        reporter.warn(warning)
    gallery, options = _gallery(options, running, UNCOUNTED)
    watch = Watch(folders, out, find, reporter.failed)
    with _ledger(out, options, running, reporter.warn) as ledger:
        reporter.announce(f"watching {', '.join(map(str, folders))}; interrupt to stop")
        outcomes = open_endless(jobs(), options, reporter.started, reporter.stopping, ledger)
        return _carry_out(outcomes, reporter, running, gallery)


def _plan(jobs: "Iterable[Job]", options: RunOptions, ledger: "Ledger | None", reporter: "Reporter") -> int:
    """Tell what would become of each photo; returns the exit status."""
    from bokehcli.batch import judge

    for job in jobs:
        settled = judge(job, options, ledger).outcome
        if settled is None:
            reporter.planned(job)
        else:
            reporter.finished(settled)
    return ALL_DONE if reporter.all_well else FAILED


def _carry_out(outcomes: "Generator[Outcome]", reporter: "Reporter", running: Running, gallery: "Gallery | None") -> int:
    """Tell of each photo as it is done, also in the report and the gallery; returns the exit status."""
    from bokehcli.summary import write_report

    interrupted = None
    try:
        with reporter, closing(outcomes):
            for outcome in outcomes:
                reporter.finished(outcome)
                if gallery is not None:
                    gallery.add(outcome)
    except KeyboardInterrupt as interrupt:
        interrupted = status_of(interrupt)
    finally:
        if running.report is not None:
            with _told_by(reporter):
                write_report(running.report, reporter.failures)
        if gallery is not None:
            with _told_by(reporter):
                gallery.write()
                reporter.announce(f"the gallery is {gallery.path}")
    return interrupted or (ALL_DONE if reporter.all_well else FAILED)


@contextmanager
def _told_by(reporter: "Reporter") -> Iterator[None]:
    """What cannot be written is told, and costs nothing else."""
    try:
        yield
    except WriteError as error:
        reporter.failed(error)


def _gallery(
    options: RunOptions, running: Running, photos: int, unreadable: Sequence[PhotoError] = ()
) -> "tuple[Gallery | None, RunOptions]":
    """The gallery that is asked for, with what could not be read in it already, and the options by which photos get into it.

    Raises WriteError where it, or the report, cannot be written.
    """
    if running.report is not None:
        from bokehcli.summary import make_report_ready

        make_report_ready(running.report)
    if running.gallery is None:
        return None, options
    from bokehcli.gallery import Gallery, preview_px

    gallery = Gallery(running.gallery)
    for error in unreadable:
        gallery.add_error(error)
    return gallery, replace(options, preview_px=preview_px(photos))


def _find(
    sources: Sequence[Place], listed: Sequence[Place], out: Place, options: RunOptions, running: Running
) -> "Discovery":
    """The photos of this machine's. Raises UsageError, also when there are none."""
    from bokehcli.discover import discover

    paths, listed_paths = ([place for place in places if isinstance(place, Path)] for places in (sources, listed))
    found = discover(paths, out, options, listed_paths, running.selection, running.shard)
    if not found.photos and not found.unreadable:
        raise _nothing_found(sources, running, found.warnings)
    if isinstance(out, Url):
        from bokehcli.prefixes import with_results

        return with_results(found)
    return found


def _nothing_found(sources: Sequence[Place], running: Running, warnings: Sequence[str] = ()) -> UsageError:
    searched = [*sources, *([] if running.files_from is None else [running.files_from])]
    return UsageError("; ".join([f"no photos found in {', '.join(map(str, searched))}", *warnings]))


def _tell(found: "Discovery", reporter: "Reporter") -> None:
    """Tell of what was found that is not done."""
    for note in found.notes:
        reporter.note(note)
    for warning in found.warnings:
        reporter.warn(warning)
    for error in found.unreadable:
        reporter.failed(error)


def _ledger(
    out: Place, options: RunOptions, running: Running, warn: Callable[[str], None]
) -> AbstractContextManager["Ledger | None"]:
    """The output folder's ledger, or nothing where none is wanted. Raises LedgerError; ModelError, UsageError either way."""
    from bokehcli.ledger import Ledger, limits_of, making_of
    from bokehcli.model import find_model

    # each worker opens the model by itself; but what is wrong with it shows here
    model = ""
    if options.needs_maps:
        card = find_model(options.infer.model)
        options.check(card.kind)
        model = card.digest()
    if not running.keep_ledger:
        return nullcontext()
    making, limits = making_of(options, model), limits_of(options)
    return Ledger(out, making, warn, retry_failed=running.retry_failed, shard=running.shard, limits=limits)
