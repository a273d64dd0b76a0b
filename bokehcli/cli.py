"""The commands: words to options, and nothing else. What is heavy to import is imported inside a command."""

import io
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated

import typer

from bokehcli import __version__, flags
from bokehcli.arguments import ALL_DONE, FAILED, MISUSE, matching
from bokehcli.command import RunCommand
from bokehcli.doctor import doctor
from bokehcli.errors import BokehError
from bokehcli.evaluate import evaluate
from bokehcli.interrupts import status_of
from bokehcli.options import (
    DecodeOptions,
    EncodeOptions,
    Existing,
    InferOptions,
    LensOptions,
    MetadataOptions,
    Running,
    RunOptions,
    strength_of_f_number,
)
from bokehcli.run import run_photos
from bokehcli.selection import Selection
from bokehcli.shard import WHOLE
from bokehcli.status import status
from bokehcli.train import PassThrough, train

app = typer.Typer(name="bokeh", pretty_exceptions_enable=False, rich_markup_mode=None)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line, by default the process's own, and return the exit status.

    0: all done. 1: some photos failed. 2: misuse, or something that is needed is absent. 128 + N: interrupted by signal N.
    """
    if not (sys.argv[1:] if arguments is None else arguments):
        main(["--help"])
        return MISUSE
    _wait_for_readers()
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr's are: Windows has names that its code pages lack
    try:
        status = app(args=arguments, prog_name="bokeh", standalone_mode=False, windows_expand_args=False)
    except (BokehError, typer.TyperException) as error:
        from bokehcli.progress import say

        say(f"bokeh: {error.format_message() if isinstance(error, typer.TyperException) else error}")
        return MISUSE
    except OSError as error:
        if not _is_of_stdout(error):
            raise
        from bokehcli.progress import say, silence

        silence(sys.stdout)
        say(f"bokeh: stdout: {error.strerror or error}")
        return FAILED
    except KeyboardInterrupt as interrupt:
        return status_of(interrupt)
    return status if isinstance(status, int) else ALL_DONE


def _wait_for_readers() -> None:
    """Let writes wait until they are read: whoever opened stdout and stderr may have them fail where they would have to."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):  # there is none, or it is no file's
            if os.name == "posix":
                os.set_blocking(stream.fileno(), True)


def _is_of_stdout(error: OSError) -> bool:
    """Whether it arose in Typer's function that writes text, through which help and all records but a run's go."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return frame.f_code is typer.echo.__code__


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"bokeh {__version__}")
        raise typer.Exit(ALL_DONE)


@app.callback()
def bokeh(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Give folders of photos the shallow depth of field of a fast lens."""


EXAMPLES = """\b
Examples:
  bokeh run ~/Photos --out processed/
  bokeh run ~/Photos --out processed/ --f-number 2 --format jpeg --strip-gps
  find . -name '*.jpg' -print0 | bokeh run --files-from - -0 --out processed/
  bokeh run - --out - <photo.jpg >portrait.jpg"""


@app.command(cls=RunCommand, epilog=EXAMPLES)
def run(
    sources: flags.Sources = None,
    *,
    files_from: flags.FilesFrom = None,
    null: flags.Null = False,
    include: flags.Include = None,
    exclude: flags.Exclude = None,
    shard: flags.ShardOption = None,
    watch: flags.Watch = False,
    out: flags.Out,
    container: flags.Format = EncodeOptions.container,
    quality: flags.Quality = EncodeOptions.quality,
    overwrite: flags.Overwrite = False,
    skip_existing: flags.SkipExisting = False,
    retry_failed: flags.RetryFailed = False,
    no_ledger: flags.NoLedger = False,
    report: flags.Report = None,
    gallery: flags.Gallery = None,
    json: flags.Json = False,
    dry_run: flags.DryRun = False,
    save_maps: flags.SaveMaps = RunOptions.save_maps,
    strength: flags.Strength = None,
    f_number: flags.FNumber = None,
    blades: flags.Blades = LensOptions.blades,
    cat_eye: flags.CatEye = LensOptions.cat_eye,
    highlights: flags.Highlights = LensOptions.highlights,
    grain: flags.Grain = LensOptions.grain,
    focus: flags.Focus = RunOptions.focus,
    min_subject: flags.MinSubject = RunOptions.min_subject,
    min_clarity: flags.MinClarity = InferOptions.min_clarity,
    unsure: flags.UnsureOption = RunOptions.unsure,
    strip_gps: flags.StripGps = MetadataOptions.strip_gps,
    strip_metadata: flags.StripMetadata = MetadataOptions.strip,
    preserve_times: flags.PreserveTimes = MetadataOptions.preserve_times,
    strict: flags.Strict = RunOptions.strict,
    jobs: flags.Jobs = RunOptions.jobs,
    threads: flags.Threads = InferOptions.threads,
    scheduler: flags.Scheduler = RunOptions.scheduler,
    max_megapixels: flags.MaxMegapixels = DecodeOptions.max_megapixels,
    time_limit: flags.TimeLimit = RunOptions.time_limit_s,
    model: flags.Model = InferOptions.model,
    device: flags.DeviceOption = InferOptions.device,
    config: flags.Config = None,  # noqa: ARG001  # read by the option itself, before the others
    quiet: flags.Quiet = False,
    verbose: flags.Verbose = False,
    help_all: flags.HelpAll = False,  # noqa: ARG001  # likewise
) -> None:
    """Render photos with a blurred background.

    Folders are searched for JPEG, PNG, WebP, TIFF, AVIF, HEIC and BMP files and mirrored under DIR. Paths of results go to
    stdout, one a line; all else to stderr.
    """
    if f_number is not None:
        strength = strength_of_f_number(f_number)
    options = RunOptions(
        lens=LensOptions(
            strength=LensOptions.strength if strength is None else strength,
            blades=blades,
            cat_eye=cat_eye,
            highlights=highlights,
            grain=grain,
        ),
        decode=DecodeOptions(max_megapixels=max_megapixels),
        encode=EncodeOptions(container=container, quality=quality),
        metadata=MetadataOptions(strip=strip_metadata, strip_gps=strip_gps, preserve_times=preserve_times),
        infer=InferOptions(model=model, device=device, threads=threads, min_clarity=min_clarity),
        existing=Existing.OVERWRITE if overwrite else Existing.SKIP if skip_existing else Existing.REFUSE,
        save_maps=save_maps,
        focus=focus,
        min_subject=min_subject,
        unsure=unsure,
        jobs=jobs,
        scheduler=scheduler,
        time_limit_s=time_limit,
        strict=strict,
    )
    running = Running(
        dry_run=dry_run,
        quiet=quiet,
        verbose=verbose,
        retry_failed=retry_failed,
        keep_ledger=not no_ledger,
        report=report,
        gallery=gallery,
        files_from=files_from,
        null=null,
        json=json,
        watch=watch,
        shard=shard or WHOLE,
        selection=Selection(include=tuple(include or ()), exclude=tuple(exclude or ())),
    )
    raise typer.Exit(run_photos(matching(sources or []), out, options, running))


app.command()(status)
app.command()(doctor)
app.command("eval")(evaluate)
app.command(cls=PassThrough, add_help_option=False)(train)
