"""What became of one photo: the record that the pipeline makes and that batch, progress and cli pass on."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path


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

    destination: None when it was never decided. megapixels: of the photo, 0 when it was not decoded. error: one line
    that names the file and the cause. traceback: kept for the log when the error was not foreseen. written: every
    file written, maps before the photo, also those of a photo that failed later. lasting: a failure that comes again unless
    the photo or the options change, unlike that of a full disk. subject: whether a clear one was found; None if unasked.
    result: the rendered photo's bytes, of a photo that did not come from a file. preview: if asked for.
    """

    source: Path
    destination: Path | None
    status: Status
    elapsed_s: float = 0.0
    megapixels: float = 0.0
    warnings: tuple[str, ...] = ()
    error: str | None = None
    traceback: str | None = None
    written: tuple[Path, ...] = ()
    lasting: bool = False
    subject: bool | None = None
    result: bytes | None = field(default=None, repr=False)
    preview: Preview | None = None

    @property
    def reason(self) -> str | None:
        """The error's cause, without the photo's name in front."""
        return None if self.error is None else self.error.removeprefix(f"{self.source}: ")


def failed(source: Path, destination: Path, reason: str) -> Outcome:
    """The outcome of a photo whose process is no more."""
    return Outcome(source=source, destination=destination, status=Status.FAILED, error=f"{source}: {reason}", lasting=True)
