"""What has become of the photos of an output folder, and reports of what failed."""

import json
import os
from collections import Counter
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
    done, and have since been removed or changed."""

    out: Place
    done: int
    failures: tuple[Failure, ...]
    missing: tuple[Place, ...]
    gone: tuple[Place, ...]

    @property
    def all_done(self) -> bool:
        """Whether every photo that was ever asked for is done."""
        return not (self.failures or self.missing or self.gone)

    def lines(self) -> Iterator[str]:
        """For people, each line escaped."""
        total = self.done + len(self.failures) + len(self.missing) + len(self.gone)
        counts = Counter(failed=len(self.failures), missing=len(self.missing), gone=len(self.gone))
        words = {"failed": "failed", "missing": "not done yet", "gone": "done, and removed or changed since"}
        parts = [f"{self.done} done", *(f"{counts[key]} {word}" for key, word in words.items() if counts[key])]
        yield printable(f"{self.out}: {total} photo{'' if total == 1 else 's'}: {', '.join(parts)}")
        yield from (printable(f"failed: {path}: {reason}") for path, reason in self.failures)
        yield from (printable(f"not done yet: {path}") for path in self.missing)
        yield from (printable(f"removed or changed: {path}") for path in self.gone)

    def as_json(self) -> Iterator[str]:
        """One object. Names that are not UTF-8 have their odd bytes as lone surrogates, as Python's os.fsencode takes them."""
        yield json.dumps(
            {
                "out": str(self.out),
                "done": self.done,
                "failed": [{"source": str(path), "error": reason} for path, reason in self.failures],
                "missing": [str(path) for path in self.missing],
                "gone": [str(path) for path in self.gone],
            }
        )


def summary_of(out: Place, entries: Sequence[Entry]) -> Summary:
    """What the ledger knows, held against the results that are there."""
    done, failures, missing, gone = 0, [], [], []
    for entry in entries:
        path = joined(out, entry.destination)
        if entry.state is State.FAILED:
            failures.append((entry.source, entry.error or "no reason is known"))
        elif entry.state is not State.DONE:
            missing.append(entry.source)
        elif signature_of(path) == entry.result:
            done += 1
        else:
            gone.append(path)
    return Summary(out, done, tuple(failures), tuple(missing), tuple(gone))


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
