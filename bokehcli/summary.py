"""What has become of the photos of an output folder, and reports of what failed."""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bokehcli.entries import Entry, State, signature_of
from bokehcli.errors import ReadError, WriteError
from bokehcli.printable import printable
from bokehcli.remote import Place, joined
from bokehcli.storage import exists, make_ready, read_bytes, write_atomic

Failure = tuple[Place, str]  # a photo, and why it failed


@dataclass(frozen=True)
class Summary:
    """done: as they were written. failures: with their reasons. missing: not yet done, by source. gone: results that were
    done, and have since been removed or changed. withdrawn: sources that are no longer there, and were never done."""

    out: Place
    done: int
    failures: tuple[Failure, ...]
    missing: tuple[Place, ...]
    gone: tuple[Place, ...]
    withdrawn: tuple[Place, ...]

    @property
    def all_done(self) -> bool:
        """Whether every photo that was ever asked for, and is still there, is done."""
        return not (self.failures or self.missing or self.gone)

    def lines(self) -> Iterator[str]:
        """For people, each line escaped."""
        counts = {
            "failed": len(self.failures),
            "not done yet": len(self.missing),
            "done, and removed or changed since": len(self.gone),
            "not done, and no longer there": len(self.withdrawn),
        }
        total = self.done + sum(counts.values())
        parts = [f"{self.done} done", *(f"{count} {word}" for word, count in counts.items() if count)]
        yield printable(f"{self.out}: {total} photo{'' if total == 1 else 's'}: {', '.join(parts)}")
        yield from (printable(f"failed: {path}: {reason}") for path, reason in self.failures)
        yield from (printable(f"not done yet: {path}") for path in self.missing)
        yield from (printable(f"removed or changed: {path}") for path in self.gone)
        yield from (printable(f"no longer there: {path}") for path in self.withdrawn)

    def as_json(self) -> Iterator[str]:
        """One object. Names that are not UTF-8 have their odd bytes as lone surrogates, as Python's os.fsencode takes them."""
        yield json.dumps(
            {
                "out": str(self.out),
                "done": self.done,
                "failed": [{"source": str(path), "error": reason} for path, reason in self.failures],
                "missing": [str(path) for path in self.missing],
                "gone": [str(path) for path in self.gone],
                "withdrawn": [str(path) for path in self.withdrawn],
            }
        )


def summary_of(out: Place, entries: Sequence[Entry]) -> Summary:
    """What the ledger knows, held against the results that are there."""
    done, failures, missing, gone, withdrawn = 0, [], [], [], []
    for entry in entries:
        path = joined(out, entry.destination)
        if entry.state is not State.DONE and not _may_be_there(entry.source):
            withdrawn.append(entry.source)
        elif entry.state is State.FAILED:
            failures.append((entry.source, entry.error or "no reason is known"))
        elif entry.state is not State.DONE:
            missing.append(entry.source)
        elif signature_of(path) == entry.result:
            done += 1
        else:
            gone.append(path)
    return Summary(out, done, tuple(failures), tuple(missing), tuple(gone), tuple(withdrawn))


def _may_be_there(source: Place) -> bool:
    """Whether a photo is there, as far as its store says."""
    try:
        return exists(source)
    except WriteError:
        return True


def make_report_ready(path: Place) -> None:
    """Make the folder of a report. Raises WriteError where it cannot be, and where something is there that is no report."""
    make_ready(path)
    try:
        lines = read_bytes(path).splitlines() if exists(path) else []
    except ReadError as error:
        raise WriteError(error.name, error.reason) from error
    if any(line.count(b"\t") != 1 for line in lines):
        raise WriteError(str(path), "there is something else, which the report would replace; give another name")


def write_report(path: Place, failures: Sequence[Failure]) -> None:
    """A line for each failure: the photo, a tabulator, the reason; both escaped. Written whole or not at all: WriteError."""
    lines = (f"{printable(os.fspath(source))}\t{printable(reason)}\n" for source, reason in failures)
    make_report_ready(path)  # again: results have been written since
    write_atomic(path, "".join(lines).encode("utf-8", "backslashreplace"))
