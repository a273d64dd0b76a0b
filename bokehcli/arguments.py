"""Words of the command line as values, the form of its switches, and its exit statuses."""

from pathlib import Path
from typing import Any

import typer

from bokehcli.photo import Container

ALL_DONE, FAILED, MISUSE, INTERRUPTED = 0, 1, 2, 130  # exit statuses


def path_of(text: str) -> Path:
    """A path; nothing at all, as an unset shell variable gives, is not taken for the current folder."""
    if not text:
        raise typer.BadParameter("the name is empty")
    return Path(text)


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


def report_file(panel: str | None = None) -> Any:
    """The option that names a file for what failed."""
    help_text = "Write each photo that failed, and why, to this file."
    return typer.Option("--report", metavar="FILE", parser=path_of, help=help_text, rich_help_panel=panel)


def pattern_of(text: str) -> str:
    """A pattern; nothing at all, as an unset shell variable gives, would match no photo."""
    if not text.strip("/"):
        raise typer.BadParameter("the pattern is empty")
    return text


def patterns(name: str, help_text: str) -> Any:
    """An option that takes a pattern and may be given more than once."""
    return typer.Option(
        name, metavar="GLOB", parser=pattern_of, help=f"{help_text} May be repeated.", rich_help_panel="Input"
    )


def switch(names: str, help_text: str, panel: str) -> Any:
    """An option without a value. names: one, or two with a space between them, as typed; there is no --no- form."""
    return typer.Option(*names.split(), help=help_text, rich_help_panel=panel)
