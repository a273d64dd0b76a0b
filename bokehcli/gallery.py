"""A page that shows a run: every photo before and after, in one file that needs nothing else (--gallery).

The small pictures wait in a file without a name until the run ends, so that memory stays flat. In the page they come after
everything else, as text that no browser looks at before the photo is scrolled to: so a page of thousands opens quickly.
"""

import base64
import hashlib
import json
import os
import posixpath
import tempfile
from collections.abc import Iterator
from importlib.resources import files
from typing import Any
from urllib.parse import quote

from bokehcli import __version__
from bokehcli.errors import PhotoError, UsageError, WriteError
from bokehcli.outcome import Outcome, Preview, Status
from bokehcli.printable import printable
from bokehcli.remote import Place, Url, place_of
from bokehcli.storage import exists, make_ready, read_bytes, write_atomic

SUFFIXES = (".html", ".htm")
GENERATOR = '<meta name="generator" content="bokehcli'
HEAD_BYTES = 1024  # of a page, within which it says what made it
# Long side of the pictures, by how many photos there are at most: 2,000 photos came to 188 MB.
SIZES_PX = ((300, 960), (3000, 600))
SMALLEST_PX = 320


def preview_px(photos: int) -> int:
    """How large the pictures of a gallery of so many photos are."""
    return next((size for most, size in SIZES_PX if photos <= most), SMALLEST_PX)


class Gallery:
    """What a run came to, as a page at path. Raises UsageError when something is there that is no such page, and WriteError
    where no page can be.

    Iterated over, it yields the page piece by piece, the photos by the names of their results.
    """

    def __init__(self, path: Place) -> None:
        _refuse_other(path)
        make_ready(path)
        self.path = path
        self._photos: list[dict[str, Any]] = []
        self._places: list[tuple[int, int]] = []  # of each photo's pictures in the spool: where, how many bytes
        self._trouble: WriteError | None = None
        try:
            self._spool = tempfile.TemporaryFile()  # noqa: SIM115  # closed by write
        except OSError as error:
            raise self._no_room(error) from error

    def add(self, outcome: Outcome) -> None:
        """Take one photo in. What goes wrong shows when the page is written."""
        preview, here = outcome.preview, self._spool.tell()
        try:
            if preview is not None and self._trouble is None:
                self._spool.writelines(_lines(preview))
        except OSError as error:
            self._trouble = self._no_room(error)
            return
        self._places.append((here, self._spool.tell() - here))
        self._photos.append(self._facts(outcome))

    def add_error(self, error: PhotoError) -> None:
        """Take in what could not even be looked at."""
        self.add(Outcome(source=place_of(error.name), destination=None, status=Status.FAILED, error=str(error)))

    def write(self) -> None:
        """Write the page, whole or not at all. Raises WriteError."""
        with self._spool:
            if self._trouble is not None:
                raise self._trouble
            write_atomic(self.path, self)

    def __iter__(self) -> Iterator[bytes]:
        order = sorted(range(len(self._photos)), key=lambda number: str(self._photos[number]["name"]))
        style, script = (_asset(f"gallery.{kind}") for kind in ("css", "js"))
        facts = json.dumps([self._photos[number] for number in order], separators=(",", ":")).replace("<", "\\u003c")
        parts = {
            "GENERATOR": f'{GENERATOR} {__version__}">',
            "STYLE-HASH": _csp_hash(style),
            "SCRIPT-HASH": _csp_hash(script),
            "STYLE": style,
            "FACTS": facts,
            "SCRIPT": script,
        }
        page = _asset("gallery.html")
        for name, text in parts.items():
            before, _, page = page.partition(f"<!--{name}-->")
            yield (before + text).encode()
        yield page.encode()
        for place, number in enumerate(order):
            here, length = self._places[number]
            if length:
                self._spool.seek(here)
                yield f'<script type="text/plain" id="p{place}">'.encode()
                yield self._spool.read(length)
                yield b"</script>\n"

    def _no_room(self, error: OSError) -> WriteError:
        return WriteError(str(self.path), f"the pictures for it cannot be kept: {error.strerror or error}")

    def _facts(self, outcome: Outcome) -> dict[str, Any]:
        """What the page says of a photo; its texts are escaped as for a terminal, so that every character can be seen."""
        preview, result = outcome.preview, outcome.destination
        return {
            "name": printable(str(outcome.source) if result is None else self._relative(result) or str(result)),
            "source": printable(str(outcome.source)),
            "before": self._link(outcome.source),
            "after": None if result is None or outcome.status is Status.FAILED else self._link(result),
            "status": outcome.status.value,
            "subject": outcome.subject,
            "unsure": outcome.unsure,
            "seconds": round(outcome.elapsed_s, 2),
            "megapixels": round(outcome.megapixels, 1),
            "warnings": [printable(warning) for warning in outcome.warnings],
            "error": None if outcome.error is None else printable(outcome.reason or ""),
            "size": None if preview is None else preview.size,
            "pictures": None if preview is None else [bool(preview.after), bool(preview.alpha)],
        }

    def _link(self, place: Place) -> str | None:
        """A file as the page can name it, None where it cannot."""
        relative = self._relative(place)
        return None if relative is None else "./" + quote(os.fsencode(relative))

    def _relative(self, place: Place) -> str | None:
        """The way from the page's folder; None where there is none: to another bucket, store or drive."""
        if isinstance(place, Url) or isinstance(self.path, Url):
            alike = isinstance(place, Url) and isinstance(self.path, Url) and place.home == self.path.home
            return posixpath.relpath(os.fspath(place), os.fspath(self.path.parent)) if alike else None
        try:
            return os.path.relpath(place, os.path.abspath(self.path.parent)).replace(os.sep, "/")
        except ValueError:
            return None


def _refuse_other(path: Place) -> None:
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{path}: a gallery is a page: give a name that ends with {' or '.join(SUFFIXES)}")
    try:
        if not exists(path):
            return
        ours = GENERATOR.encode() in read_bytes(path)[:HEAD_BYTES]
    except PhotoError as error:
        raise UsageError(str(error)) from error
    if not ours:
        raise UsageError(f"{path}: there is something else, which the gallery would replace; give another name")


def _lines(preview: Preview) -> Iterator[bytes]:
    """Before, after and map, a line each, which is empty where there is none."""
    for picture in (preview.before, preview.after, preview.alpha):
        yield base64.b64encode(picture or b"") + b"\n"


def _asset(name: str) -> str:
    return (files("bokehcli") / "page" / name).read_text("utf-8")


def _csp_hash(text: str) -> str:
    """A text as a page's Content-Security-Policy names it: nothing else runs, whatever a file is called."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
