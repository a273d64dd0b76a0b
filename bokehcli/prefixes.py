"""Photos in object stores (URLs) as jobs, found folder by folder while the first ones are being rendered already.

Nothing is asked of an object but what the listing of its folder says. Of results in a store, that of their folder says which
are there; so a photo costs one request to read it and one to write it, beside these.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePath, PurePosixPath

from bokehcli import remote
from bokehcli.discover import EARLIER_RESULTS, Discovery, Job, below, discover, is_searched_for, jobs_of
from bokehcli.entries import files_of
from bokehcli.errors import PhotoError, ReadError, UsageError, WriteError
from bokehcli.options import RunOptions
from bokehcli.remote import Place, Signature, Url, leads_out
from bokehcli.selection import EVERYTHING, Selection
from bokehcli.shard import WHOLE, Shard
from bokehcli.storage import MAX_FILE_BYTES

ODD = "no path can have such a name"
Listing = dict[Place, Signature]


def with_results(found: Discovery) -> Discovery:
    """The same with what is there of the results, where they are objects. Raises UsageError where they cannot be listed."""
    return replace(found, jobs=tuple(_with_listing(found.jobs, {}, {})))


class Prefixes:
    """Photos below URLs, and those of this machine's that are given beside them, in parts.

    sources: objects, and what their names begin with; an object lands at out/name, what lies below the others is mirrored under
    out. listed: likewise, but each keeps its whole path, with the bucket, under out. Raises UsageError for what cannot be
    looked at, and where results would be among the photos.
    """

    def __init__(
        self,
        sources: Sequence[Place],
        out: Place,
        options: RunOptions,
        listed: Sequence[Place] = (),
        selection: Selection = EVERYTHING,
        shard: Shard = WHOLE,
    ) -> None:
        self.out, self.options, self.selection, self.shard = out, options, selection, shard
        self._local = [source for source in sources if isinstance(source, Path)]
        self._local_listed = [source for source in listed if isinstance(source, Path)]
        self._sources = [source for source in sources if isinstance(source, Url)]
        self._listed = [source for source in listed if isinstance(source, Url)]
        self._taken: dict[Place, Place] = {}
        for source in self._sources:
            if source == out or out in source.parents:
                raise UsageError(f"{source}: the output must be neither the input nor a folder that it is in")
        self._folders = {source: _is_folder(source) for source in self._sources}

    def parts(self) -> Iterator[Discovery]:
        """Find them, a folder at a time. Raises UsageError for what is wrong with photos of this machine's."""
        if self._local or self._local_listed:
            found = discover(self._local, self.out, self.options, self._local_listed, self.selection, self.shard)
            yield self._without_taken(with_results(found))
        for source, is_folder in self._folders.items():
            if is_folder:
                yield from self._walk(source, PurePosixPath())
            else:
                yield self._part({source: None}, PurePosixPath())
        for source in self._listed:
            whole = PurePosixPath(*source.parts[1:])
            try:
                if _is_folder(source):
                    yield from self._walk(source, whole)
                else:
                    yield self._part({source: None}, whole.parent)
            except UsageError as error:
                yield Discovery(jobs=(), photos=0, unreadable=(ReadError(str(source), str(error).removeprefix(f"{source}: ")),))

    def _walk(self, source: Url, relative: PurePath) -> Iterator[Discovery]:
        """The photos below a URL, each folder's objects before its subfolders. Hidden names are left out, and results."""
        waiting = [(source, relative)]
        while waiting:
            folder, path = waiting.pop()
            if folder not in (*self._sources, *self._listed) and files_of(folder):
                yield Discovery(jobs=(), photos=0, warnings=(f"{folder}: {EARLIER_RESULTS}",))
                continue
            try:
                objects, folders, odd = remote.objects_in(folder)
            except OSError as error:
                yield Discovery(jobs=(), photos=0, unreadable=(ReadError(str(folder), error.strerror or str(error)),))
                continue
            unreadable: list[PhotoError] = [ReadError(name, ODD) for name in odd]
            photos: dict[Url, Signature | None] = {}
            for url, signature in objects.items():
                if not is_searched_for(url):
                    continue
                if signature[0] > MAX_FILE_BYTES:
                    unreadable.append(ReadError(str(url), "larger than any photo of these formats can be"))
                else:
                    photos[url] = signature
            part = self._part(photos, path, unreadable)
            if self.out in folders:
                part = replace(part, notes=(f"{self.out}: left out, it is the output folder",))
            yield part
            for one in reversed(folders):
                if not one.name.startswith(".") and one != self.out:
                    waiting.append((one, path / one.name))

    def _part(
        self, photos: dict[Url, Signature | None], relative: PurePath, unreadable: Sequence[PhotoError] = ()
    ) -> Discovery:
        """The jobs of the photos of one folder. photos: what a listing said of each; None where none was asked for."""
        named = [(url, relative / url.name) for url in photos]
        odd = {url for url, path in named if leads_out(path, self.out)}
        unreadable = (*unreadable, *(ReadError(str(url), ODD) for url in photos if url in odd))
        listed: Listing = {url: signature for url, signature in photos.items() if signature is not None}
        try:
            wanted = [(url, path) for url, path in named if url not in odd and self.selection.wants(path)]
            jobs, refused = jobs_of(wanted, self.out, self.options)
            ours = [job for job in jobs if self.shard.has(below(job.destination, self.out))]
            errors = [error for job, error in refused if self.shard.has(below(job.destination, self.out))]
            found = Discovery(
                jobs=tuple(_with_listing(ours, listed, {})),
                photos=len(jobs) + len(refused),
                unreadable=(*unreadable, *errors),
            )
        except UsageError as error:  # the photos of other folders can be done all the same
            trouble = ReadError(str(next(iter(photos)).parent), str(error))
            return Discovery(jobs=(), photos=0, unreadable=(*unreadable, trouble))
        return self._without_taken(found)

    def _without_taken(self, found: Discovery) -> Discovery:
        """The same without what would be written where an earlier part writes something already."""
        if len(self._folders) + len(self._listed) + len(self._local) + len(self._local_listed) == 1:
            return found  # of one source, every photo has a path of its own
        jobs: list[Job] = []
        unreadable = list(found.unreadable)
        for job in found.jobs:
            other = next((self._taken[target] for target in job.targets if target in self._taken), None)
            if other == job.source:
                continue
            if other is not None:
                unreadable.append(WriteError(str(job.source), f"{other} would be written to {job.destination} as well"))
                continue
            self._taken.update((target, job.source) for target in job.targets)
            jobs.append(job)
        return replace(found, jobs=tuple(jobs), unreadable=tuple(unreadable))


def _is_folder(source: Url) -> bool:
    """Whether names begin with it. Raises UsageError where there is nothing, or nobody may look."""
    try:
        return remote.is_folder(source)
    except OSError as error:
        raise UsageError(f"{source}: {error.strerror or error}") from error


def _with_listing(jobs: Sequence[Job], photos: Listing, folders: dict[Url, Listing]) -> Iterator[Job]:
    """The jobs with what listings say of their files. folders: of results, those that were listed already."""
    for job in jobs:
        listed: Listing = dict(photos) if job.source in photos else {}
        folder = job.destination.parent
        if isinstance(folder, Url):
            if folder not in folders:
                folders[folder] = _results_in(folder)
            listed |= {target: folders[folder][target] for target in job.targets if target in folders[folder]}
        known = {place: listed[place] for place in (job.source, *job.targets) if place in listed}
        yield replace(job, listed=known)


def _results_in(folder: Url) -> Listing:
    try:
        return {url: signature for url, signature in remote.objects_in(folder)[0].items()}  # noqa: C416  # as Listing has it
    except OSError as error:
        raise UsageError(f"{folder}: {error.strerror or error}") from error
