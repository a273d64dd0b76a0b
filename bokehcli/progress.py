"""What became of each photo: the written paths, or a JSON object each, on stdout; everything for people on stderr."""

import errno
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable
from types import TracebackType
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TimeRemainingColumn
from rich.table import Column, Table
from rich.text import Text

from bokehcli.discover import Job
from bokehcli.errors import BokehError, PhotoError, WriteError
from bokehcli.outcome import Outcome, Status
from bokehcli.printable import printable
from bokehcli.remote import WINDOWS, Place, place_of

# Columns that a terminal must have for the bar, the speed and the time left, so that a dozen stay for the name of a photo.
BAR_FROM, RATE_FROM, TIME_FROM = 72, 46, 32
WITHOUT, UNSURE = "without a clear subject", "unsure of the subject"  # as the last line counts them


def write_record(record: bytes, end: bytes = b"\n") -> bool:
    """Write one record on stdout, by default a line, and flush it.

    False, with no further output to come, when nobody reads it any more.
    Raises WriteError for any other failure, such as a full disk.
    """
    if sys.stdout is None:
        return False
    try:
        left = memoryview(record + end)
        while left:  # a signal that is handled meanwhile, such as the first Ctrl-C, cuts a long write short
            left = left[sys.stdout.buffer.write(left) :]
        sys.stdout.buffer.flush()
    except OSError as error:
        silence(sys.stdout)
        if isinstance(error, BrokenPipeError) or (WINDOWS and error.errno == errno.EINVAL):  # as Windows has it of a pipe
            return False
        raise WriteError("stdout", error.strerror or str(error)) from error
    return True


class Reporter:
    """Shows a batch as it goes, and counts; use as a context manager around it.

    On a terminal, a bar; else a line a photo. quiet leaves the failures only. verbose adds notes, sizes, the paths of
    maps, and the traceback of what was not foreseen. null ends each path on stdout with NUL. as_json has a JSON object there
    instead, a line for each photo, also for those that were not done.
    """

    def __init__(
        self, total: int = 0, *, quiet: bool = False, verbose: bool = False, null: bool = False, as_json: bool = False
    ) -> None:
        self.total = total
        self.quiet = quiet
        self.verbose = verbose
        self.as_json = as_json
        self._record_end = b"\0" if null and not as_json else b"\n"
        self.counts: Counter[Status] = Counter()
        self.found: Counter[str] = Counter()
        self.failures: list[tuple[Place, str]] = []
        self._megapixels = 0.0
        self._started_s = time.perf_counter()
        self._records = True
        self._other_trouble = False
        self._bar: Progress | None = None

    def __enter__(self) -> "Reporter":
        self._started_s = time.perf_counter()
        if not self.quiet and sys.stderr is not None and sys.stderr.isatty():
            self._bar = Bar(_StderrConsole(stderr=True, highlight=False))
            self._task = self._bar.add_task("", total=self.total, photo="")
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        if not self.quiet:
            self._say(("interrupted: " if isinstance(error, KeyboardInterrupt) else "") + self._summary())

    @property
    def all_well(self) -> bool:
        """Whether no photo failed so far, every folder was read, and every path was listed on stdout."""
        return not self.counts[Status.FAILED] and not self._other_trouble

    def expect(self, photos: int) -> None:
        """Count on so many more."""
        self.total += photos
        if self._bar is not None:
            self._bar.update(self._task, total=self.total)

    def started(self, job: Job) -> None:
        """Show which photo is in hand."""
        if self._bar is not None:
            self._bar.update(self._task, photo=printable(job.source.name))

    def finished(self, outcome: Outcome) -> None:
        """Count one outcome, tell people about it, and put the path of a rendered photo on stdout."""
        self.counts[outcome.status] += 1
        if outcome.status is Status.DONE:
            self.found[WITHOUT] += outcome.subject is False
            self.found[UNSURE] += outcome.unsure
        self._megapixels += outcome.megapixels
        if self._bar is not None:
            self._bar.advance(self._task)
        if not self.quiet:
            for warning in outcome.warnings:
                self._say(f"bokeh: warning: {with_name(outcome.source, warning)}")
        if outcome.status is Status.FAILED:
            self.failures.append((outcome.source, outcome.reason or ""))
            self._say(f"bokeh: {outcome.error}")
            if self.verbose and outcome.traceback is not None:
                for line in outcome.traceback.splitlines():
                    self._say("    " + line)
        elif not self.quiet and (self._bar is None or self.verbose):
            self._say(self._line(outcome))
        if self.as_json:
            self._record(as_json(outcome))
        elif outcome.status is Status.DONE and outcome.destination is not None:
            self._record(os.fsencode(outcome.destination))

    def stopping(self, in_hand: int) -> None:
        """Say that an interrupt was heard, and what is waited for."""
        if not self.quiet:
            photos = "the photo" if in_hand == 1 else f"the {in_hand} photos"
            self._say(f"bokeh: finishing {photos} in hand; interrupt again to drop {'it' if in_hand == 1 else 'them'}")

    def planned(self, job: Job) -> None:
        """Put on stdout what would be written where."""
        if self.as_json:
            self._record(as_json(job))
        else:
            for place in job.targets:
                self._record(os.fsencode(job.source) + b" -> " + os.fsencode(place))

    def failed(self, error: BokehError) -> None:
        """Tell of something that failed beside the photos."""
        self._other_trouble = True
        self._say(f"bokeh: {error}")
        if isinstance(error, PhotoError) and not isinstance(error, WriteError):
            source = place_of(error.name)
            self.failures.append((source, error.reason))
            if self.as_json:
                self._record(as_json(Outcome(source=source, destination=None, status=Status.FAILED, error=str(error))))

    def announce(self, text: str) -> None:
        """Say what begins."""
        if not self.quiet:
            self._say(f"bokeh: {text}")

    def warn(self, text: str) -> None:
        """Tell of something that costs no photo."""
        if not self.quiet:
            self._say(f"bokeh: warning: {text}")

    def note(self, text: str) -> None:
        """Say something that only --verbose asks for."""
        if self.verbose and not self.quiet:
            self._say(f"bokeh: {text}")

    def _line(self, outcome: Outcome) -> str:
        done = self.counts.total()
        line = f"[{done:{len(str(self.total))}}/{self.total}] {outcome.source}"
        if outcome.status is Status.SKIPPED:
            return f"{line} skipped, {outcome.destination} is there"
        line += f" {outcome.elapsed_s:.2f} s"
        if self.verbose:
            line += f", {outcome.megapixels:.1f} megapixels"
            line += "".join(f", wrote {path}" for path in outcome.written)
        return line

    def _summary(self) -> str:
        elapsed_s = time.perf_counter() - self._started_s
        done = self.counts[Status.DONE]
        parts = [f"{done} of {self.total} photo{'' if self.total == 1 else 's'} rendered"]
        parts += [f"{self.found[what]} {what}" for what in (WITHOUT, UNSURE) if self.found[what]]
        parts += [
            f"{self.counts[status]} {status}" for status in (Status.SKIPPED, Status.FAILED) if self.counts[status]
        ]
        line = f"{', '.join(parts)} in {elapsed_s:.1f} s"
        if done and elapsed_s > 0:
            line += f" ({_rate(done / elapsed_s)}, {self._megapixels / elapsed_s:.1f} megapixels/s)"
        return line

    def _record(self, record: bytes) -> None:
        if not self._records:
            return
        if self._bar is not None and sys.stdout is not None and sys.stdout.isatty():
            self._say(os.fsdecode(record))  # the bar's own terminal: to write past the bar would tear it
            return
        try:
            self._records = write_record(record, self._record_end)
        except WriteError as error:
            self._records = False
            self.failed(error)

    def _say(self, text: str) -> None:
        say(text, self._bar.console if self._bar is not None else None)


def as_json(photo: Outcome | Job) -> bytes:
    """One photo as a JSON object; a Job is one that would be done. Names that are not UTF-8 have their odd bytes as lone
    surrogates, as Python's os.fsencode takes them."""
    outcome = photo if isinstance(photo, Outcome) else None
    files = photo.written if isinstance(photo, Outcome) else photo.targets
    return json.dumps(
        {
            "source": str(photo.source),
            "destination": None if photo.destination is None else str(photo.destination),
            "maps": [str(path) for path in files if path != photo.destination],
            "status": "planned" if outcome is None else outcome.status,
            "seconds": None if outcome is None else round(outcome.elapsed_s, 3),
            "megapixels": None if outcome is None else round(outcome.megapixels, 3),
            "subject": None if outcome is None else outcome.subject,
            "doubt": None if outcome is None or outcome.doubt is None else round(outcome.doubt, 3),
            "warnings": [] if outcome is None else outcome.warnings,
            "error": None if outcome is None else outcome.reason,
        }
    ).encode()


def say(text: str, console: Console | None = None) -> None:
    """One line on stderr, escaped; above the bar when that is up. That nobody reads it is no reason to stop."""
    if console is not None:
        console.print(Text(printable(text)), soft_wrap=True)
    elif sys.stderr is not None:
        try:
            print(printable(text), file=sys.stderr, flush=True)
        except OSError:
            silence(sys.stderr)


def silence(stream: TextIO) -> None:
    """Send the rest to nowhere: what is buffered would fail again, loudly, as Python exits (its docs on SIGPIPE)."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


class _StderrConsole(Console):
    """A console on stderr that falls silent when its reader, or its terminal, has gone."""

    def on_broken_pipe(self) -> None:
        self.quiet = True

    def _check_buffer(self) -> None:
        try:
            super()._check_buffer()
        except OSError:
            self.quiet = True
            silence(sys.stderr)


class _RateColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text("" if not task.speed else _rate(task.speed), style="progress.data.speed")


class _PhotoColumn(ProgressColumn):
    """The name of the photo in hand: the one column that gives way, as rich has it of those that may wrap, and is cut off."""

    def render(self, task: Task) -> Text:
        return Text(task.fields["photo"], no_wrap=True, overflow="ellipsis")


class Bar(Progress):
    """A line: bar, count, name, speed, time left. Where a terminal is too narrow for all, the name is shortened, and what is of
    less use is left out."""

    def __init__(self, console: Console) -> None:
        whole = Column(no_wrap=True)
        self._terminal = console  # rich makes a first line before its own is set
        self._columns_from: dict[ProgressColumn, int] = {
            BarColumn(bar_width=24, table_column=whole): BAR_FROM,
            MofNCompleteColumn(table_column=whole): 0,
            _PhotoColumn(): 0,
            _RateColumn(table_column=whole): RATE_FROM,
            TimeRemainingColumn(table_column=whole): TIME_FROM,
        }
        super().__init__(
            console=console, refresh_per_second=4, redirect_stdout=False, redirect_stderr=False, transient=True
        )

    def make_tasks_table(self, tasks: Iterable[Task]) -> Table:
        """The line, of the columns that there is room for now."""
        self.columns = tuple(column for column, width in self._columns_from.items() if self._terminal.width >= width)
        return super().make_tasks_table(tasks)


def _rate(photos_per_s: float) -> str:
    return f"{photos_per_s:.1f} photos/s" if photos_per_s >= 1 else f"{1 / photos_per_s:.1f} s/photo"


def with_name(source: Place, warning: str) -> str:
    """A warning that begins with its photo's name."""
    return warning if warning.startswith(str(source)) else f"{source}: {warning}"
