"""The options of the run command: their names, their groups, and what help says of each, in a line where it can be one."""

from pathlib import Path
from typing import Annotated, Any

import typer

from bokehcli.arguments import (
    container_of,
    file_of,
    number_of,
    one_of,
    path_of,
    pattern_of,
    point_of,
    scheduler_of,
    where_of,
    whole_of,
)
from bokehcli.command import help_with_everything
from bokehcli.config import use_config
from bokehcli.options import FASTEST_F_NUMBER, THREADS_A_CORE, Device, LensOptions, Unsure
from bokehcli.photo import Container
from bokehcli.shard import Shard, shard_of


def _option(*names: str, panel: str, **settings: Any) -> Any:
    return typer.Option(*names, rich_help_panel=panel, **settings)


def _switch(*names: str, panel: str, says: str) -> Any:
    """An option without a value. The first name has a form with --no-, which takes back what a settings file asks for."""
    name, *others = names
    bare = name.removeprefix("--")
    negative = bare.removeprefix("no-") if bare.startswith("no-") else f"no-{bare}"
    return typer.Option(f"--{bare}/--{negative}", *others, help=says, rich_help_panel=panel, show_default=False)


def _patterns(name: str, says: str) -> Any:
    return _option(name, metavar="GLOB", parser=pattern_of, help=says, panel="Input")


def _number(name: str, metavar: str, *, panel: str, says: str) -> Any:
    return _option(name, metavar=metavar, parser=number_of, help=says, panel=panel)


def report_file(panel: str | None = None) -> Any:
    """The option that names a file for what failed."""
    says = "Write each photo that failed, and why, to this file."
    return typer.Option("--report", metavar="FILE", parser=file_of, help=says, rich_help_panel=panel)


# Any: a place is a path or a URL, and Typer takes no annotation of two types
Sources = Annotated[
    list[Any] | None,
    typer.Argument(
        metavar="SRC",
        parser=where_of,
        help="Photos, and folders or URLs to search; - is a photo on stdin.",
        rich_help_panel="Input",
        show_default=False,
    ),
]
FilesFrom = Annotated[
    Path | None,
    _option(
        "--files-from", metavar="FILE", parser=path_of, help="Also take what this lists, one a line; - is stdin.", panel="Input"
    ),
]
Null = Annotated[bool, _switch("--null", "-0", panel="Input", says="Names listed, and paths on stdout, end with NUL.")]
Include = Annotated[list[str] | None, _patterns("--include", "Only photos that match, or whose folder does.")]
Exclude = Annotated[list[str] | None, _patterns("--exclude", "No photos that match, or whose folder does.")]
ShardOption = Annotated[
    Shard | None,
    _option("--shard", metavar="I/N", parser=shard_of, help="Only part I of N, always the same photos.", panel="Input"),
]
Watch = Annotated[bool, _switch("--watch", panel="Input", says="Go on with photos as they arrive in the folders.")]

Out = Annotated[
    Any,
    _option(
        "--out",
        "-o",
        metavar="DIR",
        parser=where_of,
        help="Folder or URL for the results; - is stdout, for one photo.",
        panel="Output",
    ),
]
Format = Annotated[
    Container | None,
    _option(
        "--format",
        metavar="NAME",
        parser=container_of,
        show_default="each photo's own",
        help=f"{', '.join(sorted(Container))}.",
        panel="Output",
    ),
]
Quality = Annotated[
    int | None,
    _option(
        "--quality",
        metavar="1..100",
        parser=whole_of,
        show_default="each photo's own",
        help="Quality of JPEG, WebP, AVIF and HEIC.",
        panel="Output",
    ),
]
SaveMaps = Annotated[
    bool,
    _switch(
        "--save-maps",
        panel="Output",
        says="Also write what was found in focus (.alpha.png) and how far out of focus the rest is (.defocus.png).",
    ),
]
Overwrite = Annotated[bool, _switch("--overwrite", panel="Output", says="Replace results that are already there.")]
SkipExisting = Annotated[
    bool, _switch("--skip-existing", panel="Output", says="Leave out photos whose result is already there.")
]
RetryFailed = Annotated[
    bool,
    _switch("--retry-failed", panel="Output", says="Try again what failed in an earlier run and would fail again."),
]
NoLedger = Annotated[
    bool, _switch("--no-ledger", panel="Output", says="Keep no record in DIR of what was done, and heed none.")
]
Report = Annotated[Path | None, report_file("Output")]
Gallery = Annotated[
    Any,
    _option("--gallery", metavar="FILE", parser=where_of, help="Write a page that shows all before and after.", panel="Output"),
]
Json = Annotated[bool, _switch("--json", panel="Output", says="Tell of each photo on stdout as a line of JSON.")]
DryRun = Annotated[bool, _switch("--dry-run", panel="Output", says="Print what would be written where; write nothing.")]

PreserveTimes = Annotated[
    bool, _switch("--preserve-times", panel="Metadata", says="Give results the times of their photos' files.")
]
StripGps = Annotated[bool, _switch("--strip-gps", panel="Metadata", says="Leave out where photos were taken.")]
StripMetadata = Annotated[
    bool, _switch("--strip-metadata", panel="Metadata", says="Leave out all but the ICC profile and the density.")
]
Strict = Annotated[
    bool,
    _switch(
        "--strict",
        panel="Metadata",
        says="Refuse photos of which anything would be left out, such as a gain map, instead of saying so.",
    ),
]

Strength = Annotated[
    float | None,
    _option(
        "--strength",
        metavar="0..1",
        parser=number_of,
        show_default=str(LensOptions.strength),
        help=f"How much blur; 1 is a portrait lens at f/{FASTEST_F_NUMBER}.",
        panel="Lens",
    ),
]
FNumber = Annotated[
    float | None,
    _number("--f-number", "N", panel="Lens", says="The same as an f-number; smaller is more."),
]
Blades = Annotated[
    int,
    _option("--blades", metavar="N", parser=whole_of, help="Blades of the aperture, 4 to 16; 0 is a round one.", panel="Lens"),
]
CatEye = Annotated[
    float,
    _number("--cat-eye", "0..1", panel="Lens", says="How much the aperture is cut off towards corners."),
]
Highlights = Annotated[
    float,
    _number("--highlights", "0..1", panel="Lens", says="How much clipped highlights glow when blurred."),
]
Grain = Annotated[
    float,
    _number("--grain", "0..2", panel="Lens", says="How much of the photo's own grain the blur gets back."),
]
Focus = Annotated[
    Any,  # a tuple would be taken for two arguments
    _option(
        "--focus",
        metavar="X,Y",
        parser=point_of,
        show_default="what stands out",
        help="Focus on what is there: shares of width and height.",
        panel="Lens",
    ),
]
MinSubject = Annotated[
    float,
    _number("--min-subject", "0..1", panel="Lens", says="Leave photos alone whose subject is a smaller share than this."),
]
MinClarity = Annotated[
    float,
    _number(
        "--min-clarity",
        "0..1",
        panel="Lens",
        says="How sure the network must be of a subject; the higher, the fewer patches stay sharp.",
    ),
]
UnsureOption = Annotated[
    Unsure,
    _option(
        "--unsure",
        metavar="NAME",
        parser=one_of(Unsure),
        help="How to blur where the network is unsure of the subject: gentle, full, or none, which leaves the photo alone.",
        panel="Lens",
    ),
]

Model = Annotated[
    Path | None,
    _option(
        "--model",
        metavar="PATH",
        parser=path_of,
        show_default="the bundled one",
        help="Folder or card of a model.",
        panel="Running",
    ),
]
DeviceOption = Annotated[
    Device,
    _option(
        "--device", metavar="NAME", parser=one_of(Device), help=f"Where the network runs: {', '.join(Device)}.", panel="Running"
    ),
]
Jobs = Annotated[
    int,
    _option("--jobs", metavar="N", parser=whole_of, help="Photos at once; 0 is what cores and memory allow.", panel="Running"),
]
Threads = Annotated[
    int,
    _option(
        "--threads",
        metavar="N",
        parser=whole_of,
        help=f"Threads for each photo, up to {THREADS_A_CORE} a core; 0 shares the cores out.",
        panel="Running",
    ),
]
Scheduler = Annotated[
    str | None,
    _option(
        "--scheduler",
        metavar="ADDRESS",
        parser=scheduler_of,
        help="Render on this Dask cluster: tcp://HOST:PORT, or local:N for one here.",
        panel="Running",
    ),
]
MaxMegapixels = Annotated[
    float,
    _number("--max-megapixels", "N", panel="Running", says="Refuse larger photos before decoding them."),
]
TimeLimit = Annotated[
    float,
    _number("--time-limit", "SECONDS", panel="Running", says="Give up a photo that takes longer; 0 is never."),
]
Config = Annotated[
    Path | None,
    _option(
        "--config",
        metavar="FILE",
        parser=path_of,
        is_eager=True,
        callback=use_config,
        envvar="BOKEH_CONFIG",
        show_default="your own",
        help="Take options from this TOML file.",
        panel="Running",
    ),
]
Quiet = Annotated[bool, _switch("--quiet", "-q", panel="Running", says="Say nothing but failures.")]
Verbose = Annotated[bool, _switch("--verbose", "-v", panel="Running", says="Say more, with the traceback of a fault.")]
HelpAll = Annotated[
    bool,
    typer.Option("--help-all", is_eager=True, callback=help_with_everything, help="Show every option.", show_default=False),
]
