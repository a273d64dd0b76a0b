"""The run command, once its options are known: find the photos, do them, tell of them."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from bokehcli.arguments import ALL_DONE, FAILED, INTERRUPTED
from bokehcli.errors import UsageError
from bokehcli.listing import STDIN, read_list
from bokehcli.options import Running, RunOptions

if TYPE_CHECKING:
    from bokehcli.discover import Discovery
    from bokehcli.ledger import Ledger


def run_photos(sources: Sequence[Path], out: Path, options: RunOptions, running: Running) -> int:
    """Find the photos and do them; returns the exit status."""
    from bokehcli.batch import judge, open_batch
    from bokehcli.model import find_model
    from bokehcli.progress import Reporter
    from bokehcli.summary import write_report

    if STDIN in (out, *sources):
        from bokehcli.piped import pipe_photo

        return pipe_photo(sources, out, options, running)
    found = _find(sources, out, options, running)
    reporter = Reporter(
        len(found.jobs), quiet=running.quiet, verbose=running.verbose, null=running.null, as_json=running.json
    )
    for note in found.notes:
        reporter.note(note)
    for error in found.unreadable:
        reporter.failed(error)
    # each worker opens the model by itself; but what is wrong with it shows here
    model = find_model(options.infer.model).digest() if options.needs_maps else ""
    with _ledger(out, options, running, model, reporter.warn) as ledger:
        if running.dry_run:
            for job in found.jobs:
                settled = judge(job, options, ledger).outcome
                if settled is None:
                    reporter.planned(job)
                else:
                    reporter.finished(settled)
            return ALL_DONE if reporter.all_well else FAILED
        outcomes = open_batch(found.jobs, options, reporter.started, reporter.stopping, ledger)
        try:
            with reporter, closing(outcomes):
                for outcome in outcomes:
                    reporter.finished(outcome)
        except KeyboardInterrupt:
            return INTERRUPTED
        finally:
            if running.report is not None:
                write_report(running.report, reporter.failures)
    return ALL_DONE if reporter.all_well else FAILED


def _find(sources: Sequence[Path], out: Path, options: RunOptions, running: Running) -> "Discovery":
    """The photos. Raises UsageError, also when there are none."""
    from bokehcli.discover import discover

    if not sources and running.files_from is None:
        raise UsageError("give photos or folders, or a list of them with --files-from")
    listed = () if running.files_from is None else read_list(running.files_from, null=running.null)
    found = discover(sources, out, options, listed, running.selection, running.shard)
    if not found.photos and not found.unreadable:
        searched = [*sources, *([] if running.files_from is None else [running.files_from])]
        raise UsageError(f"no photos found in {', '.join(map(str, searched))}")
    return found


def _ledger(
    out: Path, options: RunOptions, running: Running, model: str, warn: Callable[[str], None]
) -> AbstractContextManager["Ledger | None"]:
    """The output folder's ledger, or nothing where none is wanted. model: its hash. Raises LedgerError."""
    if not running.keep_ledger:
        return nullcontext()
    from bokehcli.ledger import Ledger, making_of

    return Ledger(out, making_of(options, model), warn, retry_failed=running.retry_failed, shard=running.shard)
