"""The commands: words to options, and nothing else. What is heavy to import is imported inside a command."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from bokehcli import __version__
from bokehcli.arguments import ALL_DONE, INTERRUPTED, MISUSE, container_of, path_of, patterns, point_of, report_file, switch
from bokehcli.errors import BokehError, UsageError
from bokehcli.options import (
    FASTEST_F_NUMBER,
    DecodeOptions,
    Device,
    EncodeOptions,
    Existing,
    InferOptions,
    LensOptions,
    MetadataOptions,
    Running,
    RunOptions,
    strength_of_f_number,
)
from bokehcli.photo import Container
from bokehcli.run import run_photos
from bokehcli.selection import Selection
from bokehcli.status import status
from bokehcli.train import PassThrough, train

app = typer.Typer(name="bokeh", pretty_exceptions_enable=False)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line, by default the process's own, and return the exit status.

    0: all done. 1: some photos failed. 2: misuse, or something that is needed is absent. 130: interrupted.
    """
    if not (sys.argv[1:] if arguments is None else arguments):
        main(["--help"])
        return MISUSE
    try:
        status = app(args=arguments, prog_name="bokeh", standalone_mode=False)
    except (BokehError, typer.TyperException) as error:
        from bokehcli.progress import say

        say(f"bokeh: {error.format_message() if isinstance(error, typer.TyperException) else error}")
        return MISUSE
    except KeyboardInterrupt:
        return INTERRUPTED
    return status if isinstance(status, int) else ALL_DONE


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


@app.command()
def run(
    out: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="DIR", parser=path_of, help="Folder for the results; made when absent."),
    ],
    sources: Annotated[
        list[Path] | None,
        typer.Argument(metavar="SRC", parser=path_of, help="Photos, and folders to search for photos."),
    ] = None,
    files_from: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            parser=path_of,
            help="Also take the photos and folders that are listed here, one a line; - is stdin.",
            rich_help_panel="Input",
        ),
    ] = None,
    null: Annotated[
        bool, switch("--null -0", "End names in the list, and paths on stdout, with NUL instead.", "Input")
    ] = False,
    include: Annotated[list[str] | None, patterns("--include", "Only photos that match, or whose folder does.")] = None,
    exclude: Annotated[list[str] | None, patterns("--exclude", "No photos that match, or whose folder does.")] = None,
    container: Annotated[
        Container | None,
        typer.Option(
            "--format",
            metavar=f"[{'|'.join(Container)}]",
            parser=container_of,
            show_default="each photo's own",
            help="File format of the results.",
            rich_help_panel="Output",
        ),
    ] = EncodeOptions.container,
    quality: Annotated[
        int | None,
        typer.Option(
            metavar="1..100",
            show_default="each photo's own",
            help="Quality of JPEG, WebP, AVIF and HEIC.",
            rich_help_panel="Output",
        ),
    ] = EncodeOptions.quality,
    save_maps: Annotated[
        bool,
        switch(
            "--save-maps",
            "Also write what was found in focus (.alpha.png) and how far out of focus the rest is (.defocus.png).",
            "Output",
        ),
    ] = RunOptions.save_maps,
    overwrite: Annotated[bool, switch("--overwrite", "Replace results that are already there.", "Output")] = False,
    skip_existing: Annotated[
        bool, switch("--skip-existing", "Leave out photos whose result is already there.", "Output")
    ] = False,
    retry_failed: Annotated[
        bool, switch("--retry-failed", "Try again what failed in an earlier run and would fail again.", "Output")
    ] = False,
    no_ledger: Annotated[
        bool, switch("--no-ledger", "Keep no record in DIR of what was done, and heed none.", "Output")
    ] = False,
    report: Annotated[Path | None, report_file("Output")] = None,
    dry_run: Annotated[
        bool, switch("--dry-run", "Print what would be written where, and write nothing.", "Output")
    ] = False,
    preserve_times: Annotated[
        bool, switch("--preserve-times", "Give results the times of their photos' files.", "Metadata")
    ] = MetadataOptions.preserve_times,
    strip_gps: Annotated[
        bool, switch("--strip-gps", "Leave out where photos were taken (EXIF and XMP).", "Metadata")
    ] = MetadataOptions.strip_gps,
    strip_metadata: Annotated[
        bool, switch("--strip-metadata", "Leave out everything but the ICC profile and the density.", "Metadata")
    ] = MetadataOptions.strip,
    strict: Annotated[
        bool,
        switch(
            "--strict",
            "Refuse photos of which anything would be left out, such as a gain map, instead of saying so.",
            "Metadata",
        ),
    ] = RunOptions.strict,
    strength: Annotated[
        float | None,
        typer.Option(
            metavar="0..1",
            show_default=str(LensOptions.strength),
            help=f"How much blur: 0 is none, 1 a portrait lens at f/{FASTEST_F_NUMBER}.",
            rich_help_panel="Lens",
        ),
    ] = None,
    f_number: Annotated[
        float | None,
        typer.Option(metavar="N", help="The same as an f-number; the smaller, the more blur.", rich_help_panel="Lens"),
    ] = None,
    blades: Annotated[
        int,
        typer.Option(metavar="N", help="Blades of the aperture, 4 to 16; 0 is a round one.", rich_help_panel="Lens"),
    ] = LensOptions.blades,
    cat_eye: Annotated[
        float,
        typer.Option(
            metavar="0..1", help="How much the aperture is cut off towards the corners.", rich_help_panel="Lens"
        ),
    ] = LensOptions.cat_eye,
    highlights: Annotated[
        float,
        typer.Option(metavar="0..1", help="How much clipped highlights glow when blurred.", rich_help_panel="Lens"),
    ] = LensOptions.highlights,
    focus: Annotated[
        Any,  # a tuple would be taken for two arguments
        typer.Option(
            metavar="X,Y",
            parser=point_of,
            show_default="what stands out",
            help="Focus on what is at this point: shares of the width from the left and of the height from the top.",
            rich_help_panel="Lens",
        ),
    ] = RunOptions.focus,
    min_subject: Annotated[
        float,
        typer.Option(
            metavar="0..1", help="Leave photos alone whose subject is a smaller share than this.", rich_help_panel="Lens"
        ),
    ] = RunOptions.min_subject,
    min_clarity: Annotated[
        float,
        typer.Option(
            metavar="0..1",
            help="How sure the network must be of a subject; the higher, the fewer patches stay sharp.",
            rich_help_panel="Lens",
        ),
    ] = InferOptions.min_clarity,
    model: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            parser=path_of,
            show_default="the bundled one",
            help="Folder or card of a model.",
            rich_help_panel="Running",
        ),
    ] = InferOptions.model,
    device: Annotated[
        Device, typer.Option(help="Where the network runs.", rich_help_panel="Running")
    ] = InferOptions.device,
    jobs: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Photos rendered at once, each in a process; 0 is as many as cores and memory allow.",
            rich_help_panel="Running",
        ),
    ] = RunOptions.jobs,
    threads: Annotated[
        int,
        typer.Option(metavar="N", help="Threads of each process; 0 shares the cores out.", rich_help_panel="Running"),
    ] = InferOptions.threads,
    max_megapixels: Annotated[
        float,
        typer.Option(metavar="N", help="Refuse larger photos before decoding them.", rich_help_panel="Running"),
    ] = DecodeOptions.max_megapixels,
    time_limit: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", help="Give up a photo that takes longer; 0 is never.", rich_help_panel="Running"
        ),
    ] = RunOptions.time_limit_s,
    quiet: Annotated[bool, switch("--quiet -q", "Say nothing but failures.", "Messages")] = False,
    verbose: Annotated[bool, switch("--verbose -v", "Say more, with the traceback of a fault.", "Messages")] = False,
) -> None:
    """Render photos with a blurred background.

    Folders are searched for JPEG, PNG, WebP, TIFF, AVIF, HEIC and BMP files, and mirrored under
    DIR.

    The path of each result is printed on stdout, one a line; everything else goes to stderr.
    """
    for one, other, both in (
        ("--strength", "--f-number", strength is not None and f_number is not None),
        ("--overwrite", "--skip-existing", overwrite and skip_existing),
        ("--quiet", "--verbose", quiet and verbose),
    ):
        if both:
            raise UsageError(f"{one} and {other} cannot be used together")
    if f_number is not None:
        strength = strength_of_f_number(f_number)
    options = RunOptions(
        lens=LensOptions(
            strength=LensOptions.strength if strength is None else strength,
            blades=blades,
            cat_eye=cat_eye,
            highlights=highlights,
        ),
        decode=DecodeOptions(max_megapixels=max_megapixels),
        encode=EncodeOptions(container=container, quality=quality),
        metadata=MetadataOptions(strip=strip_metadata, strip_gps=strip_gps, preserve_times=preserve_times),
        infer=InferOptions(model=model, device=device, threads=threads, min_clarity=min_clarity),
        existing=Existing.OVERWRITE if overwrite else Existing.SKIP if skip_existing else Existing.REFUSE,
        save_maps=save_maps,
        focus=focus,
        min_subject=min_subject,
        jobs=jobs,
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
        files_from=files_from,
        null=null,
        selection=Selection(include=tuple(include or ()), exclude=tuple(exclude or ())),
    )
    raise typer.Exit(run_photos(sources or [], out, options, running))


app.command()(status)
app.command(cls=PassThrough, add_help_option=False)(train)
