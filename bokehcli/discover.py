"""Arguments to jobs: which photos, and where each result goes. Opens no photo and writes nothing."""

import os
import stat
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path, PurePath

from bokehcli.entries import is_ledger
from bokehcli.errors import PhotoError, ReadError, UsageError
from bokehcli.options import RunOptions
from bokehcli.photo import Container
from bokehcli.places import folded, forget_links, identity, is_hidden, is_link, is_within, told_apart, unlinked
from bokehcli.remote import Place, Signature, Url, joined
from bokehcli.selection import EVERYTHING, Selection
from bokehcli.shard import WHOLE, Shard

# What a folder is searched for. A file that is named outright is taken whatever its suffix: the bytes decide.
CONTAINER_OF_SUFFIX = {
    ".jpg": Container.JPEG,
    ".jpeg": Container.JPEG,
    ".jpe": Container.JPEG,
    ".jfif": Container.JPEG,
    ".mpo": Container.JPEG,  # with more pictures behind the first
    ".png": Container.PNG,
    ".webp": Container.WEBP,
    ".tif": Container.TIFF,
    ".tiff": Container.TIFF,
    ".bmp": Container.BMP,
    ".avif": Container.AVIF,
    ".heic": Container.HEIC,
    ".heif": Container.HEIC,
    ".hif": Container.HEIC,
}


@dataclass(frozen=True, kw_only=True)
class Job:
    """One photo to do. alpha, defocus: where its maps go, None when they are not asked for.

    replaces: those of its targets where this program's own earlier files may be. doubtful: of these, those where a file is its
    own only if it is the same as is to be written. settled: its result is there and stays; the
    two are only looked at. photo: its bytes, where they do not come from the file source. returns: its files go back in the
    outcome, and none is written. listed: what a listing said of its source and of those of its targets that are there, if
    they are objects; None where nobody listed them. ousts: photos that would have this destination if this one were not there.
    """

    source: Place
    destination: Place
    alpha: Place | None = None
    defocus: Place | None = None
    ousts: tuple[Place, ...] = ()
    replaces: tuple[Place, ...] = ()
    doubtful: tuple[Place, ...] = ()
    settled: bool = False
    photo: bytes | None = field(default=None, repr=False)
    returns: bool = False
    listed: Mapping[Place, Signature] | None = field(default=None, repr=False, compare=False)

    @property
    def targets(self) -> tuple[Place, ...]:
        """Every file the job writes, in the order of writing: the photo comes last, so that it marks completion."""
        return tuple(path for path in (self.alpha, self.defocus, self.destination) if path is not None)


@dataclass(frozen=True, kw_only=True)
class Discovery:
    """What the arguments came to. photos: how many were found; jobs: those of this shard. notes: what was left out and why;
    warnings: likewise, where it may have been wanted. unreadable: what could not be listed, or cannot be done."""

    jobs: tuple[Job, ...]
    photos: int
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    unreadable: tuple[PhotoError, ...] = ()


EARLIER_RESULTS = "left out, it has results of an earlier run; name it to have them rendered"
Refused = list[tuple[Job, PhotoError]]  # what cannot be done, and why


def discover(
    sources: Sequence[Path],
    out: Place,
    options: RunOptions,
    listed: Sequence[Path] = (),
    selection: Selection = EVERYTHING,
    shard: Shard = WHOLE,
    earlier: Collection[Place] | None = None,
) -> Discovery:
    """Find the photos and give each a destination of its own under out.

    A file SRC lands at out/name; the contents of a folder SRC are mirrored under out, without folders in it that runs wrote
    into, as their ledgers tell, unless they are named. A photo that is given twice is done once. Where a new suffix makes two
    destinations one (a.jpg and a.png with --format jpeg), the converted photo keeps its old suffix (a.png.jpg); maps that
    would share a name do likewise (a.png.alpha.png).

    listed: photos and folders that a list names. Each keeps its whole path under out: that from the working folder when it
    is inside, else that from the root. One that cannot be read is among the unreadable ones, and what lies in the output
    folder is left out with a note, so that a list of everything may be given. selection: what is wanted of all this, by the
    path under out that a photo would have without a change of suffix. shard: the part of the jobs that is wanted, by the paths
    of their results under out. earlier: photos that were taken up when others had not come yet; None if all are there at once.

    Two destinations that may be one, by names which differ in case or normalisation alone, are the first photo's; the other
    one is among the unreadable ones. Raises UsageError when a source is absent and, unless photos come one by one, when a
    result would replace one of the sources or two sources still share a destination; else that too costs one photo, which is
    none of the earlier ones.
    """
    if not isinstance(out, Url) and os.path.exists(out) and not os.path.isdir(out):
        raise UsageError(f"{out}: the output must be a folder, and this is a file")
    forget_links()  # the file system may have changed since the last call
    search = _Search(out, selection, (*sources, *listed))
    for source in sources:
        search.add(source)
    for source in listed:
        search.add_listed(source)
    jobs, refused = jobs_of(search.photos.values(), out, options, earlier)
    return Discovery(
        jobs=tuple(job for job in jobs if shard.has(below(job.destination, out))),
        photos=len(jobs) + len(refused),
        notes=tuple(search.notes),
        warnings=tuple(search.warnings),
        unreadable=(*search.unreadable, *(error for job, error in refused if shard.has(below(job.destination, out)))),
    )


def is_searched_for(path: PurePath) -> bool:
    """Whether a folder's search takes a file of that name: a photo by its suffix, and not hidden."""
    return not path.name.startswith(".") and path.suffix.lower() in CONTAINER_OF_SUFFIX


def jobs_of(
    photos: Iterable[tuple[Place, PurePath]], out: Place, options: RunOptions, earlier: Collection[Place] | None = None
) -> tuple[list[Job], Refused]:
    """A job for each photo with its path under out, with places for its results that no other has, and those that cannot have
    such. earlier, and what is raised: see discover."""
    jobs = _name_maps(_name_photos(photos, out, options.encode.container), save_maps=options.save_maps)
    return _refuse_clashes(jobs, out, earlier)


def below(place: Place, folder: Place) -> PurePath:
    """The path from a folder to a place in it."""
    return place.below(folder) if isinstance(place, Url) else place.relative_to(folder)


@dataclass
class _Search:
    """The photos found so far: (source, path relative to the output folder) by place, in order of discovery. asked: all that is
    named."""

    out: Place
    selection: Selection
    asked: Sequence[Path]
    photos: dict[str, tuple[Place, PurePath]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    unreadable: list[ReadError] = field(default_factory=list)

    @cached_property
    def named(self) -> set[tuple[int, int] | None]:
        """What the file system knows all that is named by; asked for where an earlier run's results are found."""
        return {identity(source) for source in self.asked}

    def add(self, source: Path) -> None:
        """Take one SRC, file or folder."""
        try:
            status = source.stat()
        except OSError as error:
            raise UsageError(f"{source}: {error.strerror}") from error
        if not stat.S_ISDIR(status.st_mode):
            self._take(source, Path(source.name))
            return
        if identity(source) == identity(self.out):
            raise UsageError(f"{source}: the output folder must be another folder than the input")
        for path in self._walk(source):
            self._take(path, path.relative_to(source))

    def add_listed(self, source: Path) -> None:
        """Take one name of a list, file or folder."""
        relative = _mirrored(source)
        try:
            is_folder = stat.S_ISDIR(source.stat().st_mode)
        except (OSError, ValueError) as error:
            self.unreadable.append(ReadError(str(source), getattr(error, "strerror", None) or str(error)))
            return
        if is_within(source, self.out):
            self.notes.append(f"{source}: left out, it is in the output folder")
        elif is_folder:
            for path in self._walk(source):
                self._take(path, relative / path.relative_to(source))
        else:
            self._take(source, relative)

    def _take(self, source: Path, relative: Path) -> None:
        if self.selection.wants(relative):
            self.photos.setdefault(unlinked(source), (source, relative))

    def _walk(self, folder: Path) -> Iterator[Path]:
        """Photos under folder, by name, each folder's files before its subfolders. Hidden names are left out, and results."""
        out = identity(self.out)
        for root, folders, files in os.walk(folder, onerror=self._note_unreadable):
            if any(map(is_ledger, files)) and identity(Path(root)) not in self.named:
                self.warnings.append(f"{root}: {EARLIER_RESULTS}")
                folders.clear()
                continue
            kept = []
            for name in sorted(folders):
                path = Path(root, name)
                if is_hidden(path):
                    continue
                if is_link(path):
                    self.notes.append(f"{path}: left out, a link to a folder")
                elif out is not None and identity(path) == out:
                    self.notes.append(f"{path}: left out, it is the output folder")
                else:
                    kept.append(name)
            folders[:] = kept
            for name in sorted(files):
                path = Path(root, name)
                if is_searched_for(path) and not is_hidden(path):
                    yield path

    def _note_unreadable(self, error: OSError) -> None:
        self.unreadable.append(ReadError(os.fsdecode(error.filename), error.strerror or str(error)))


def _name_photos(photos: Iterable[tuple[Place, PurePath]], out: Place, container: Container | None) -> list[Job]:
    """Give each photo its destination; container None keeps every name."""
    pairs = []
    for source, relative in photos:
        known = CONTAINER_OF_SUFFIX.get(relative.suffix.lower())
        short = in_full = joined(out, relative)
        if container is not None and known is not container:
            in_full = short.with_name(short.name + container.suffix)
            short = short.with_suffix(container.suffix) if known else in_full
        pairs.append((source, short, in_full))
    claims: dict[str, list[tuple[Place, bool]]] = {}
    for source, short, in_full in pairs:
        claims.setdefault(folded(short), []).append((source, short == in_full))
    jobs = []
    for source, short, in_full in pairs:
        others = [other for other in claims[folded(short)] if other[0] != source]
        ousts = tuple(other for other, stays in others if not stays) if short == in_full else ()
        jobs.append(Job(source=source, destination=in_full if others else short, ousts=ousts))
    return jobs


def _name_maps(jobs: list[Job], *, save_maps: bool) -> list[Job]:
    """Put x/a.alpha.png and x/a.defocus.png beside x/a.jpg; the full name (a.jpg.alpha.png) where that is taken."""
    if not save_maps:
        return jobs
    short = {job: _stem(job.destination) for job in jobs}
    claims = Counter(folded(job.destination) for job in jobs)
    claims.update(folded(path) for stem in short.values() for path in _maps(stem))
    named = []
    for job in jobs:
        free = all(claims[folded(path)] == 1 for path in _maps(short[job]))
        alpha, defocus = _maps(short[job] if free else job.destination)
        named.append(replace(job, alpha=alpha, defocus=defocus))
    return named


def _stem(path: Place) -> Place:
    return path.with_suffix("") if path.suffix.lower() in CONTAINER_OF_SUFFIX else path


def _maps(stem: Place) -> tuple[Place, Place]:
    return stem.with_name(stem.name + ".alpha.png"), stem.with_name(stem.name + ".defocus.png")


def _refuse_clashes(jobs: Sequence[Job], out: Place, earlier: Collection[Place] | None = None) -> tuple[list[Job], Refused]:
    """The jobs without those with a target that is a source, or that a job before them has. earlier, and what is raised: see
    discover."""
    sources: dict[str, list[Place]] = {}
    for job in jobs:
        sources.setdefault(folded(job.source), []).append(job.source)
    taken: dict[str, list[tuple[Place, Place]]] = {}  # by folded name: whose, and the name itself
    clear: list[Job] = []
    refused: Refused = []
    for job in sorted(jobs, key=lambda job: job.source not in earlier) if earlier else jobs:
        certain = _replaced(job, sources) or _shared(job, taken)
        if certain is not None and earlier is None:
            raise UsageError(f"{job.source}: {certain}")
        reason = certain or _alike(job, taken, out)
        if reason is not None:
            refused.append((job, PhotoError(str(job.source), reason)))
            continue
        clear.append(job)
        for target in job.targets:
            taken.setdefault(folded(target), []).append((job.source, target))
    return clear, refused


def _replaced(job: Job, sources: Mapping[str, Sequence[Place]]) -> str | None:
    """What is wrong with a job one of whose targets is a source. sources: by folded name."""
    for target in job.targets:
        for source in sources.get(folded(target), ()):
            if unlinked(source) == unlinked(target) or identity(source) == identity(target):
                return f"its result would replace the photo {source}; choose another output folder"
    return None


def _shared(job: Job, taken: Mapping[str, Sequence[tuple[Place, Place]]]) -> str | None:
    """What is wrong with a job one of whose targets another job has."""
    for target in job.targets:
        for other, written in taken.get(folded(target), ()):
            if unlinked(written) == unlinked(target):
                return f"{other} is for {target} as well; give the folder that holds both, or two output folders"
    return None


def _alike(job: Job, taken: Mapping[str, Sequence[tuple[Place, Place]]], out: Place) -> str | None:
    """What is wrong with a job one of whose targets is perhaps another's, by a name that differs in case or normalisation."""
    for target in job.targets:
        for other, written in taken.get(folded(target), ()):
            if not told_apart(other, job.source, out):
                return f"{target} may be the same file as {written}, the result of {other}"
    return None


def _mirrored(path: Path) -> Path:
    """Where a listed path goes under the output folder."""
    whole = Path(os.path.abspath(path))
    try:
        return whole.relative_to(Path.cwd())
    except ValueError:
        drive = whole.drive.strip(":\\/").replace("\\", "/").replace("?", "_").replace(":", "_")
        return Path(drive, *whole.parts[1:])
