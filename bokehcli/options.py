"""Every setting, in frozen dataclasses that check themselves; the defaults live here, once."""

from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from bokehcli.errors import UsageError
from bokehcli.photo import Container
from bokehcli.remote import Place
from bokehcli.selection import EVERYTHING, Selection
from bokehcli.shard import WHOLE, Shard

# f/1.2 is the fastest lens in common use: it is what strength 1 stands for. The circle of confusion is
# proportional to the aperture's width, that is to 1 / f-number.
FASTEST_F_NUMBER = 1.2

# Doubt (see `bokehcli.subject`) from which the network is unsure of a photo's subject: above are three fifths of those that are
# found wrongly (an IoU below 0.5 with the matte) and 2 % of those that are found well (above 0.8), see `subject.DOUBTS`.
UNSURE_FROM = 0.18

# Most threads that one photo gets, by the core. More of them wait for each other: with two cores, a photo of 96x64 pixels took
# 0.2 s on 2 threads, 0.7 s on 8, 3.6 s on 32 and nine minutes on 3000.
THREADS_A_CORE = 4


class Existing(StrEnum):
    """What to do when the destination is already there."""

    REFUSE = "refuse"
    OVERWRITE = "overwrite"
    SKIP = "skip"


class Unsure(StrEnum):
    """What becomes of a photo of whose subject the network is unsure."""

    GENTLE = "gentle"
    FULL = "full"
    NONE = "none"


class Device(StrEnum):
    """Where the network runs."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"
    COREML = "coreml"
    DIRECTML = "directml"
    OPENVINO = "openvino"


def strength_of_f_number(f_number: float) -> float:
    """Strength of the blur that a lens of that f-number gives: 1 at f/1.2, proportional to 1 / f-number."""
    if not FASTEST_F_NUMBER <= f_number <= 64:
        raise UsageError(f"f-number must be between {FASTEST_F_NUMBER} and 64, not {f_number:g}")
    return FASTEST_F_NUMBER / f_number


@dataclass(frozen=True, kw_only=True)
class LensOptions:
    """The look of the blur.

    strength: 0 (none) to 1 (an f/1.2 portrait lens). blades: 0 for a round aperture, else 4 to 16 straight ones.
    cat_eye: 0 to 1, how much the aperture is cut off towards the corners. highlights: 0 to 1, how much brighter
    than white a clipped highlight is taken to have been. grain: 0 to 2, how much of the photo's own grain is given to
    what is blurred, 1 being as much as the photo has.
    """

    strength: float = 0.5
    blades: int = 0
    cat_eye: float = 0.0
    highlights: float = 0.5
    grain: float = 1.0

    def __post_init__(self) -> None:
        for name in ("strength", "cat_eye", "highlights"):
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                raise UsageError(f"{name.replace('_', '-')} must be between 0 and 1, not {value:g}")
        if not 0.0 <= self.grain <= 2.0:
            raise UsageError(f"grain must be between 0 and 2, not {self.grain:g}")
        if self.blades != 0 and not 4 <= self.blades <= 16:
            raise UsageError(f"blades must be 0 (round) or between 4 and 16, not {self.blades}")

    def gentler(self, share: float) -> "LensOptions":
        """The same lens with that share, 0 to 1, of its strength."""
        return replace(self, strength=share * self.strength)


@dataclass(frozen=True, kw_only=True)
class DecodeOptions:
    """max_megapixels: photos whose header declares more are refused before decoding."""

    max_megapixels: float = 256.0

    def __post_init__(self) -> None:
        if not self.max_megapixels > 0:  # so that NaN is refused as well
            raise UsageError(f"max-megapixels must be above 0, not {self.max_megapixels:g}")


@dataclass(frozen=True, kw_only=True)
class EncodeOptions:
    """container: None keeps the source's. quality: 1 to 100 of JPEG, WebP, AVIF and HEIC; None
    keeps the source's, as estimated."""

    container: Container | None = None
    quality: int | None = None

    def __post_init__(self) -> None:
        if self.quality is not None and not 1 <= self.quality <= 100:
            raise UsageError(f"quality must be between 1 and 100, not {self.quality}")


@dataclass(frozen=True, kw_only=True)
class MetadataOptions:
    """strip: keep nothing but what says how the pixels are to be seen. strip_gps: leave out where the photo was taken.

    preserve_times: give the result the photo's own times of access and change.
    """

    strip: bool = False
    strip_gps: bool = False
    preserve_times: bool = False


@dataclass(frozen=True, kw_only=True)
class InferOptions:
    """model: folder or card of a model, None for the bundled one. threads: of one process; 0 shares the cores out.

    min_clarity: what the network is less sure of is no subject, see `bokehcli.subject`; 0 keeps all.
    """

    model: Path | None = None
    device: Device = Device.AUTO
    threads: int = 0
    min_clarity: float = 0.8

    def __post_init__(self) -> None:
        if not 0.0 <= self.min_clarity <= 1.0:
            raise UsageError(f"min-clarity must be between 0 and 1, not {self.min_clarity:g}")
        if self.threads < 0:
            raise UsageError(f"threads must be 0 or more, not {self.threads}")


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Everything `bokeh run` is told.

    focus: point (x, y) on what is to be in focus, shares of width and height; None leaves the choice to the network.
    min_subject: share of a photo below which what is in focus is no subject; such a photo stays as it is. jobs: photos
    rendered at once, each in a process of its own; 0 for as many as cores and memory allow. scheduler: of a Dask cluster
    that renders instead, see `scheduler_of`. time_limit_s: longest that one photo may take; 0 is for ever. preview_px: long
    side of the small pictures that each outcome has for a gallery; 0 is none. strict: a photo of which something would be
    left out or changed beside the look is refused. unsure: how strongly a photo is blurred of whose subject the network is not
    sure; somebody who points is.
    """

    lens: LensOptions = LensOptions()
    decode: DecodeOptions = DecodeOptions()
    encode: EncodeOptions = EncodeOptions()
    metadata: MetadataOptions = MetadataOptions()
    infer: InferOptions = InferOptions()
    existing: Existing = Existing.REFUSE
    save_maps: bool = False
    focus: tuple[float, float] | None = None
    min_subject: float = 0.005
    unsure: Unsure = Unsure.GENTLE
    jobs: int = 0
    scheduler: str | None = None
    time_limit_s: float = 600.0
    preview_px: int = 0
    strict: bool = False

    def __post_init__(self) -> None:
        if self.focus is not None and not all(0.0 <= share <= 1.0 for share in self.focus):
            raise UsageError(f"focus must be two shares between 0 and 1, not {self.focus[0]:g},{self.focus[1]:g}")
        if not 0.0 <= self.min_subject <= 1.0:
            raise UsageError(f"min-subject must be between 0 and 1, not {self.min_subject:g}")
        if self.jobs < 0:
            raise UsageError(f"jobs must be 0 or more, not {self.jobs}")
        if not self.time_limit_s >= 0.0:  # so that NaN is refused as well
            raise UsageError(f"time-limit must be 0 (none) or more seconds, not {self.time_limit_s:g}")

    @property
    def needs_maps(self) -> bool:
        """Whether anything depends on the network: at strength 0 the pixels stay as they are."""
        return self.lens.strength > 0 or self.save_maps

    def check(self, kind: str) -> None:
        """Raise UsageError if a model of this kind cannot do what is asked for."""
        if kind == "rgb" and (self.focus is not None or self.save_maps or self.lens != LensOptions()):
            raise UsageError(
                f"{self.infer.model}: a model that gives pictures chooses focus and blur by itself; "
                "--focus, --save-maps and the options of the lens are not for it"
            )


def check_setting(name: str, value: object) -> None:
    """Raise UsageError if what the command line calls by that name cannot be so, whatever else is asked for."""
    if name == "f_number":
        strength_of_f_number(value)  # type: ignore[arg-type]  # the command line's words were parsed
    name = {"time_limit": "time_limit_s"}.get(name, name)
    for kind in (LensOptions, DecodeOptions, EncodeOptions, InferOptions, RunOptions):
        if name in kind.__dataclass_fields__:
            kind(**{name: value})  # type: ignore[arg-type]  # likewise


@dataclass(frozen=True, kw_only=True)
class Running:
    """How a run goes on and what it tells, none of which changes a result.

    retry_failed: try again what failed before and would fail again. keep_ledger: record in the output folder what was done,
    and go by it. report: file for the photos that failed. gallery: file for a page that shows all photos. files_from: a
    list of further photos and folders, `-` for stdin. null: the names there, and the paths on stdout, end with NUL instead
    of a line's end. json: stdout tells of each photo, also of those not done. watch: photos are done as they arrive, until
    an interrupt. selection, shard: which of all the photos.
    """

    dry_run: bool = False
    quiet: bool = False
    verbose: bool = False
    retry_failed: bool = False
    keep_ledger: bool = True
    report: Path | None = None
    gallery: Place | None = None
    files_from: Path | None = None
    null: bool = False
    json: bool = False
    watch: bool = False
    shard: Shard = WHOLE
    selection: Selection = EVERYTHING
