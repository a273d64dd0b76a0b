"""One photo from stdin or a file to stdout: bokeh run - --out -."""

import os
import sys
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import replace
from pathlib import Path

from bokehcli.arguments import ALL_DONE, FAILED
from bokehcli.batch import open_batch
from bokehcli.discover import Job
from bokehcli.errors import PhotoError, ReadError, UsageError
from bokehcli.interrupts import Interrupts, status_of
from bokehcli.listing import STDIN, read_stdin
from bokehcli.options import Existing, Running, RunOptions
from bokehcli.outcome import Outcome
from bokehcli.progress import say, with_name, write_record
from bokehcli.remote import Place
from bokehcli.storage import MAX_FILE_BYTES, read_bytes


def pipe_photo(sources: Sequence[Place], out: Place, options: RunOptions, running: Running) -> int:
    """Render one photo to stdout, which gets all of it or nothing; returns the exit status.

    It is rendered in a process of its own like any other, so that what kills that one is told of.
    """
    if out != STDIN:
        raise UsageError("a photo from stdin goes to stdout: give --out -")
    if len(sources) != 1 or os.path.isdir(sources[0]):
        raise UsageError("to stdout goes one photo: give one, or - for stdin")
    if sys.stdout is None:
        raise UsageError("stdout is closed: send the photo into a file or a pipe")
    if sys.stdout.isatty():
        raise UsageError("stdout is a terminal: send the photo into a file or a pipe")
    source: Place = Path("stdin") if sources[0] == STDIN else sources[0]
    try:
        job = Job(source=source, destination=Path("stdout"), photo=_read(sources[0]), returns=True)
        options = replace(options, existing=Existing.OVERWRITE)
        with closing(open_batch([job], options, lambda _: None, _stop)) as outcomes:
            (outcome,) = outcomes
        return _deliver(outcome, running)
    except PhotoError as error:
        say(f"bokeh: {error}")
        return FAILED
    except KeyboardInterrupt as interrupt:
        return status_of(interrupt)


def _read(source: Place) -> bytes:
    if source != STDIN:
        return read_bytes(source)
    if sys.stdin is None:
        raise UsageError("stdin is closed: send a photo into it")
    if sys.stdin.isatty():
        raise UsageError("stdin is a terminal: send a photo into it")
    try:
        photo = read_stdin(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ReadError("stdin", error.strerror or str(error)) from error
    if len(photo) > MAX_FILE_BYTES:
        raise ReadError("stdin", "more than 4 GiB: no photo is that large")
    return photo


def _deliver(outcome: Outcome, running: Running) -> int:
    """Say what there is to say, and write the photo. That nobody reads it is a failure, a quiet one. Raises WriteError."""
    if not running.quiet:
        for warning in outcome.warnings:
            say(f"bokeh: warning: {with_name(outcome.source, warning)}")
    if not outcome.contents:
        say(f"bokeh: {outcome.error}")
        if running.verbose and outcome.traceback is not None:
            for line in outcome.traceback.splitlines():
                say("    " + line)
        return FAILED
    if running.verbose:
        say(f"{outcome.source} {outcome.elapsed_s:.2f} s, {outcome.megapixels:.1f} megapixels")
    with _patience():
        return ALL_DONE if write_record(outcome.contents[-1][1], end=b"") else FAILED


def _patience() -> AbstractContextManager[object]:
    """Let the first interrupt pass, so that what has begun to be written is written whole; the second one stops."""
    if threading.current_thread() is not threading.main_thread():
        return nullcontext()
    return Interrupts(lambda: None)


def _stop(_: int) -> bool:
    """Drop the photo: in a pipe there is nothing to be gained by finishing it."""
    return True
