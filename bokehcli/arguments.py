"""Words of the command line as values, and its exit statuses."""

import os
from collections.abc import Callable, Sequence
from enum import StrEnum
from glob import glob
from pathlib import Path
from typing import TypeVar

import typer

from bokehcli.listing import STDIN
from bokehcli.photo import Container
from bokehcli.remote import URL, WINDOWS, Place, Url, place_of

Choice = TypeVar("Choice", bound=StrEnum)
SCHEDULERS = ("tcp", "tls", "ucx", "ws", "wss")  # ways to reach one that Dask knows
ALL_DONE, FAILED, MISUSE = 0, 1, 2  # exit statuses; for interrupts see `bokehcli.interrupts.status_of`


def where_of(text: str) -> Place:
    """A URL, or else a path as `path_of` has it."""
    return place_of(text) if URL.match(text) else path_of(text)


def path_of(text: str) -> Path:
    """A path: STDIN for `-`, but not for `./-`. Nothing at all, as an unset shell variable gives, is not the current folder.

    On Windows, where few shells know it, a `~` that stands for the user's folder is that.
    """
    if not text:
        raise typer.BadParameter("the name is empty")
    if "\0" in text:
        raise typer.BadParameter("no name has a NUL byte")
    if WINDOWS and text[:2] in ("~", "~/", "~\\") and not os.path.lexists(text):
        text = os.path.expanduser(text)
    return Path.cwd() / text if text != str(STDIN) and Path(text) == STDIN else Path(text)


def matching(sources: Sequence[Place]) -> list[Place]:
    """The same with what matches in place of a pattern, on Windows, where shells leave that to programs.

    What is the name of a file is no pattern, and one that nothing matches stays as it is.
    """
    places: list[Place] = []
    for source in sources:
        names = [] if not WINDOWS or isinstance(source, Url) or os.path.lexists(source) else glob(str(source), recursive=True)
        places += [Path(name) for name in sorted(names)] or [source]
    return places


def file_of(text: str) -> Path:
    """The path of a file to write, which cannot be stdout: that has records of its own."""
    path = path_of(text)
    if path == STDIN:
        raise typer.BadParameter("it cannot go to stdout; ./- is a file of that name")
    return path


def number_of(text: str) -> float:
    """A number; its range is checked with the options."""
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"{text} is no number") from None


def whole_of(text: str) -> int:
    """A whole number, likewise."""
    try:
        return int(text)
    except ValueError:
        raise typer.BadParameter(f"{text} is no whole number") from None


def one_of(choices: type[Choice]) -> Callable[[str], Choice]:
    """What takes a word for one of these."""

    def choice_of(text: str) -> Choice:
        try:
            return choices(text)
        except ValueError:
            raise typer.BadParameter(f"{text} is none of {', '.join(choices)}") from None

    return choice_of


def container_of(text: str) -> Container:
    """A container by its name, or by its usual suffix."""
    for container in Container:
        if text.lower().lstrip(".") in (container.value, container.suffix.lstrip(".")):
            return container
    raise typer.BadParameter(f"{text} is none of {', '.join(Container)}")


def point_of(text: str) -> tuple[float, float]:
    """'0.3,0.6' as a point (x, y)."""
    try:
        x, y = (float(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"{text} is no point X,Y, such as 0.5,0.4") from None
    return x, y


def pattern_of(text: str) -> str:
    """A pattern; nothing at all, as an unset shell variable gives, would match no photo."""
    if not text.strip("/"):
        raise typer.BadParameter("the pattern is empty")
    return text


def scheduler_of(text: str) -> str:
    """Where a Dask scheduler is, such as tcp://host:8786, or local:N for N processes of this machine's."""
    kind, _, rest = text.partition(":")
    if kind == "local" and rest.isascii() and rest.isdigit() and int(rest):
        return text
    if kind in SCHEDULERS and rest.startswith("//") and rest.strip("/"):
        return text
    raise typer.BadParameter(f"{text} is no scheduler, such as tcp://host:8786 or local:4")
