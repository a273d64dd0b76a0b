"""One photo through the stages, from its file to the file of its rendering, or from bytes to bytes."""

import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bokehcli.decode import decode_photo, weight_of
from bokehcli.discover import CONTAINER_OF_SUFFIX, Job
from bokehcli.encode import Encoding, encode_image, encode_map, encoding_losses
from bokehcli.entries import signature_of
from bokehcli.errors import BokehError, EncodeError, ModelError, PhotoError, ReadError, Undecided, UnsupportedPhoto, WriteError
from bokehcli.infer import Maps, Network, open_network
from bokehcli.lens import render
from bokehcli.metadata import attach_metadata
from bokehcli.model import PictureCard, find_model
from bokehcli.opencv import cv2
from bokehcli.options import Existing, LensOptions, RunOptions
from bokehcli.outcome import Outcome, Preview, Status
from bokehcli.photo import Container, Photo
from bokehcli.picture import PictureNetwork, open_picture_network
from bokehcli.pixels import from_unit, resize
from bokehcli.preview import reduced, small_map, small_picture
from bokehcli.remote import Place, Signature, Url
from bokehcli.resources import keep_freed_memory
from bokehcli.storage import ALL_MAY, ALREADY_EXISTS, exists, mode_of_result, read_bytes, times_of, write_atomic
from bokehcli.subject import share_of_strength
from bokehcli.tone import as_seen, curves_of

Image = NDArray[Any]

LOOKED_AT_PX = 1024  # long side at which what was in focus is found anew


@dataclass(frozen=True)
class Rendering:
    """Whole files: the rendered photo, and its maps as PNG where they are asked for."""

    photo: bytes
    alpha: bytes | None = None
    defocus: bytes | None = None


@dataclass
class Findings:
    """What shows while a photo is rendered, also one that fails later. subject, doubt, preview: see Outcome."""

    megapixels: float = 0.0
    warnings: list[str] = field(default_factory=list)
    subject: bool | None = None
    doubt: float | None = None
    preview: Preview | None = None


class Renderer:
    """Takes photos through the stages, one at a time, with one open network.

    network: None only when no stage asks for maps, see open_renderer. admit: is told how much a photo weighs (see
    `bokehcli.budget`) before its pixels are decoded, and returns when there is memory for it.
    """

    def __init__(self, options: RunOptions, network: Network | PictureNetwork | None) -> None:
        self.options = options
        self.network = network
        self.admit: Callable[[float], None] = lambda _: None

    def render_photo(self, job: Job) -> Outcome:
        """Read, render, write; of a job that is settled, only look. Never raises an Exception."""
        started = time.perf_counter()
        findings = Findings()
        written: list[Place] = []
        contents: list[tuple[Place, bytes]] = []
        stored: dict[Place, Signature | None] = {}
        error = trace = None
        lasting = undecided = False
        try:
            if job.settled:
                self._look(job, findings)
            else:
                times_ns = times_of(job.source) if self.options.metadata.preserve_times and job.photo is None else None
                mode = mode_of_result(job.source) if job.photo is None else ALL_MAY
                data = read_bytes(job.source) if job.photo is None else job.photo
                rendering = self.render(data, str(job.source), findings)
                if job.returns:
                    contents = files_of(job, rendering)
                else:
                    self._write(job, rendering, times_ns, mode, written)
                    stored = {place: signature_of(place) for place in written if isinstance(place, Url)}
        except PhotoError as failure:
            error = str(failure)
            lasting = not isinstance(failure, ReadError | WriteError)
            undecided = isinstance(failure, Undecided)
        except BokehError as failure:
            error = f"{job.source}: {failure}"
        except MemoryError:
            error = f"{job.source}: not enough memory"
        except Exception as failure:  # a fault of this program's: one photo fails, and the log says where
            error = f"{job.source}: unexpected {type(failure).__name__}: {failure}"
            trace = traceback.format_exc()
        return Outcome(
            source=job.source,
            destination=job.destination,
            status=Status.FAILED if error is not None else Status.SKIPPED if job.settled else Status.DONE,
            elapsed_s=time.perf_counter() - started,
            megapixels=findings.megapixels,
            warnings=tuple(findings.warnings),
            error=error,
            traceback=trace,
            written=tuple(written),
            lasting=lasting,
            subject=findings.subject,
            doubt=findings.doubt,
            stored=stored,
            contents=tuple(contents),
            preview=findings.preview,
            undecided=undecided,
        )

    def _write(
        self, job: Job, rendering: Rendering, times_ns: tuple[int, int] | None, mode: int, written: list[Place]
    ) -> None:
        """Write a job's files, the photo last, and note each in written. Raises WriteError."""
        for path, data in files_of(job, rendering):
            if path in job.doubtful and exists(path) and read_bytes(path) != data:
                raise Undecided(str(path), ALREADY_EXISTS)
            is_map, replaced = path != job.destination, path in job.replaces
            exclusive = self.options.existing is not Existing.OVERWRITE and not replaced
            if not (is_map and self.options.existing is Existing.SKIP and not replaced and exists(path)):
                write_atomic(path, data, exclusive=exclusive, times_ns=None if is_map else times_ns, mode=mode)
                written.append(path)

    def render(self, data: bytes, name: str, findings: Findings) -> Rendering:
        """Decode, predict, render, encode, attach metadata. Raises BokehError; what was found until then is in findings."""
        self.admit(weight_of(data))
        photo = decode_photo(data, name, self.options.decode)
        findings.megapixels = photo.megapixels
        named = CONTAINER_OF_SUFFIX.get(Path(name).suffix.lower(), photo.container)
        if named is not photo.container:
            findings.warnings.append(f"{photo.container.value} by its content, not {named.value} as its name says")
        container = self.options.encode.container or photo.container
        losses = *photo.warnings, *encoding_losses(photo, container)
        if self.options.preview_px:
            self._show_before(photo, findings)
        photo, maps, edit = self.develop(photo, findings)  # the photo's own pixels are let go
        self._show_after(None if edit is None else photo, maps, findings)
        alpha = defocus = None
        if maps is not None and self.options.save_maps:
            alpha = encode_map(maps.alpha)
            defocus = encode_map(resize(from_unit(maps.defocus, np.uint8), photo.image.shape[:2]))
        del maps
        if edit is None and self._may_stay(photo, container):
            return Rendering(data, alpha, defocus)
        findings.warnings += self._allowed(photo, losses)
        encoded = encode_image(photo.image, photo.opacity, self._encoding(photo, container), name)
        encoded, lost = attach_metadata(encoded, container, photo, self.options.metadata, edit)
        findings.warnings += self._allowed(photo, lost)
        return Rendering(encoded, alpha, defocus)

    def _may_stay(self, photo: Photo, container: Container) -> bool:
        """Whether the file of a photo in which nothing is to be blurred is the result as it is, with all that it holds."""
        kept = self.options.metadata
        anew = self.options.encode.quality is not None or container is not photo.container or kept.strip or kept.strip_gps
        return self.network is not None and not anew

    def develop(self, photo: Photo, findings: Findings) -> tuple[Photo, Maps | None, str | None]:
        """The photo rendered, its maps if the model gives such, and what was done, None where it stays as it is.

        Raises UnsupportedPhoto where a model that gives pictures has none of this photo.
        """
        if self.network is None:
            return photo, None, None
        curves = curves_of(photo.carried.icc)
        if isinstance(self.network, PictureNetwork):
            edit = f"shallow depth of field: by model {self.network.card.digest()[:12]}"
            try:
                return replace(photo, image=self.network.render(photo.image, curves)), None, edit
            except ModelError as error:
                raise UnsupportedPhoto(photo.name, str(error)) from error
        maps = self.network.predict(as_seen(photo.image, curves), self.options.focus)
        lens = self._lens(maps, findings)
        if lens.strength > 0:
            image = render(photo.image, maps.alpha, maps.defocus, lens, curves, photo.transparency)
            return replace(photo, image=image), maps, edit_of(lens)
        return photo, maps, None

    def _lens(self, maps: Maps, findings: Findings) -> LensOptions:
        """The lens for a photo with such maps, its strength 0 where the photo stays as it is; why is among the warnings."""
        share = self._judge(maps, findings)
        if findings.doubt is None:
            findings.warnings.append("no clear subject: the picture stays as it is")
        elif share < 1.0 and self.options.lens.strength > 0:
            what = f"blurred with {share:.0%} of the strength" if share else "the picture stays as it is"
            findings.warnings.append(f"unsure of the subject: {what}")
        return self.options.lens.gentler(share)

    def _judge(self, maps: Maps, findings: Findings) -> float:
        """Note whether there is a clear subject and how unsure the network is of it; the share of the strength that is left."""
        found = maps.subject_area >= self.options.min_subject
        findings.doubt, findings.subject = maps.doubt if found else None, found
        return share_of_strength(maps.doubt, self.options.unsure) if found else 0.0

    def _look(self, job: Job, findings: Findings) -> None:
        """Find what a gallery shows of a photo whose result is there. What cannot be read is a warning, for nothing was lost.

        What was in focus is predicted anew, from the small picture.
        """
        try:
            data = read_bytes(job.source) if job.photo is None else job.photo
            self.admit(weight_of(data))
            photo = decode_photo(data, str(job.source), self.options.decode)
            findings.megapixels = photo.megapixels
            self._show_before(photo, findings)
            seen = as_seen(reduced(photo, LOOKED_AT_PX).image, curves_of(photo.carried.icc))
            del photo
            maps = self.network.predict(seen, self.options.focus) if isinstance(self.network, Network) else None
            stays = maps is not None and not self._judge(maps, findings)
            result = decode_photo(read_bytes(job.destination), str(job.destination), self.options.decode)
            self._show_after(None if stays else result, maps, findings)
        except PhotoError as failure:
            findings.warnings.append(f"not in the gallery as it should be: {failure}")

    def _show_before(self, photo: Photo, findings: Findings) -> None:
        """Begin a preview. That there is none costs no photo."""
        try:
            small = reduced(photo, self.options.preview_px)
            findings.preview = Preview(size=(small.image.shape[0], small.image.shape[1]), before=small_picture(small))
        except EncodeError as failure:
            findings.warnings.append(f"not in the gallery: {failure.reason}")

    def _show_after(self, rendered: Photo | None, maps: Maps | None, findings: Findings) -> None:
        """Complete the preview, if one was begun. rendered: None where the photo stays as it is."""
        if (preview := findings.preview) is None:
            return
        try:
            after = None if rendered is None else small_picture(reduced(rendered, self.options.preview_px))
            alpha = None if maps is None else small_map(maps.alpha, preview.size)
            findings.preview = replace(preview, after=after, alpha=alpha)
        except EncodeError as failure:
            findings.warnings.append(f"not in the gallery as it should be: {failure.reason}")

    def _encoding(self, photo: Photo, container: Container) -> Encoding:
        """As the photo was encoded, but for what is asked for."""
        return Encoding(
            container=container,
            quality=photo.quality if self.options.encode.quality is None else self.options.encode.quality,
            grey=photo.grey,
            unspecified=photo.unspecified,
            subsampling=photo.subsampling,
            progressive=photo.progressive,
            optimised=photo.optimised,
            bits=photo.bits,
        )

    def _allowed(self, photo: Photo, losses: tuple[str, ...]) -> tuple[str, ...]:
        """The losses as warnings. Raises UnsupportedPhoto where none are to be had."""
        if losses and self.options.strict:
            raise UnsupportedPhoto(photo.name, f"refused as --strict asks: {'; '.join(losses)}")
        return losses


def files_of(job: Job, rendering: Rendering) -> list[tuple[Place, bytes]]:
    """What a job comes to: the places of its files and their bytes, the photo last."""
    files = ((job.alpha, rendering.alpha), (job.defocus, rendering.defocus), (job.destination, rendering.photo))
    return [(place, data) for place, data in files if place is not None and data is not None]


def edit_of(lens: LensOptions) -> str:
    """What the lens does, for a photo's history."""
    settings = ", ".join(f"{name.replace('_', '-')} {value:g}" for name, value in asdict(lens).items())
    return f"shallow depth of field: {settings}"


def open_renderer(options: RunOptions) -> Renderer:
    """Open the network, unless no picture depends on it. Threads that are asked for hold for all of this process.

    Raises ModelError and DeviceError, and UsageError where the model cannot do what is asked for.
    """
    if options.infer.threads:
        cv2.setNumThreads(options.infer.threads)
    if not options.needs_maps:
        return Renderer(options, None)
    keep_freed_memory()
    card = find_model(options.infer.model)
    if isinstance(card, PictureCard):
        options.check(card.kind)
        return Renderer(options, open_picture_network(card, options.infer))
    return Renderer(options, open_network(card, options.infer))
