"""Which of the photos that were found are wanted (--include, --exclude)."""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePath


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Patterns as of a shell, in which * also stands for slashes and case makes no difference.

    One without a slash is for a name, that of the photo or of a folder it is in; one with a slash is for the path from the
    folder that is searched. include: empty for everything. exclude: goes before include.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def wants(self, path: PurePath) -> bool:
        """Whether a photo is taken that has this path below the folder that is searched."""
        ways = [_alike(way.as_posix()) for way in (path, *path.parents) if way.name]
        return (not self.include or _any_matches(self.include, ways)) and not _any_matches(self.exclude, ways)


EVERYTHING = Selection()


def _any_matches(patterns: Iterable[str], ways: Iterable[str]) -> bool:
    return any(_matches(_alike(pattern), way) for pattern in patterns for way in ways)


def _matches(pattern: str, way: str) -> bool:
    """Whether a pattern means the photo or folder at the end of `way`."""
    if "/" in pattern:
        return fnmatchcase(way, pattern.removeprefix("./").strip("/"))
    return fnmatchcase(way.rpartition("/")[2], pattern)


def _alike(text: str) -> str:
    """The same for names that differ in case or normalisation alone: macOS takes accents apart."""
    return unicodedata.normalize("NFC", text).casefold()
