"""The status command: what has become of the photos of an output folder."""

from pathlib import Path
from typing import Annotated, Any

import typer

from bokehcli.arguments import ALL_DONE, FAILED, where_of
from bokehcli.flags import report_file


def status(
    out: Annotated[Any, typer.Argument(metavar="DIR", parser=where_of, help="What photos were rendered into.")],
    report: Annotated[Path | None, report_file()] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False,
) -> None:
    """Sum up what was done: how many photos are done, failed and why, not yet done, or done and gone since.

    Exit status: 0 all done, 1 not all done, 2 misuse.
    """
    from bokehcli.entries import read
    from bokehcli.summary import summary_of, write_report

    summary = summary_of(out, read(out))
    if report is not None:
        write_report(report, summary.failures)
    for line in summary.as_json() if json else summary.lines():
        typer.echo(line)
    raise typer.Exit(ALL_DONE if summary.all_done else FAILED)
