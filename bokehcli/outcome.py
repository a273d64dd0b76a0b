"""What became of one photo: the record that the pipeline makes and that batch, progress and cli pass on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from bokehcli.options import UNSURE_FROM
from bokehcli.remote import Place, Signature


class Status(StrEnum):
    """How it went with one photo."""

    DONE = "done"
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class Preview:
    """A photo made small, to be looked at: JPEG or WebP files. size: (height, width).

    after: None where the photo stays as it is, or was not rendered. alpha: what was found in focus, None where nobody knows.
    """

    size: tuple[int, int]
    before: bytes = field(repr=False)
    after: bytes | None = field(default=None, repr=False)
    alpha: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one photo.

    destination: None when it was never decided. megapixels: of the photo, 0 when it was not decoded. error: one line that
    names the file and the cause. traceback: kept for the log when the error was not foreseen. written: every file written,
    maps before the photo, also those of a photo that failed later. lasting: a failure that comes again unless the photo or the
    options change, unlike that of a full disk. subject: whether a clear one was found; None if unasked. doubt: how unsure the
    network is of what it found, see `bokehcli.subject.doubt`; None if unasked or nothing was found. stored: signatures of
    those of the written files that are objects, as whoever wrote them saw them. contents: of a job that returns its files
    instead of writing them, each with its bytes, the photo last. preview: if asked for. undecided: what lies in its result's
    place, and may be from a run that was killed, is not the same.
    """

    source: Place
    destination: Place | None
    status: Status
    elapsed_s: float = 0.0
    megapixels: float = 0.0
    warnings: tuple[str, ...] = ()
    error: str | None = None
    traceback: str | None = None
    written: tuple[Place, ...] = ()
    lasting: bool = False
    subject: bool | None = None
    doubt: float | None = None
    stored: Mapping[Place, Signature | None] = field(default_factory=dict)
    contents: tuple[tuple[Place, bytes], ...] = field(default=(), repr=False)
    preview: Preview | None = None
    undecided: bool = False

    @property
    def unsure(self) -> bool:
        """Whether there is a subject of which the network is not sure."""
        return bool(self.subject) and self.doubt is not None and self.doubt > UNSURE_FROM

    @property
    def reason(self) -> str | None:
        """The error's cause, without the photo's name in front."""
        return None if self.error is None else self.error.removeprefix(f"{self.source}: ")


def given_up(source: Place, destination: Place, limit_s: float) -> Outcome:
    """The outcome of a photo that took longer than it may."""
    return failed(source, destination, f"not done within the limit of {limit_s:g} s (time-limit): given up")


def failed(source: Place, destination: Place, reason: str) -> Outcome:
    """The outcome of a photo whose process is no more."""
    return Outcome(source=source, destination=destination, status=Status.FAILED, error=f"{source}: {reason}", lasting=True)
