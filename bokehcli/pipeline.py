"""One photo through the stages, from its file to the file of its rendering."""

import time
import traceback
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bokehcli.decode import decode_photo
from bokehcli.discover import Job
from bokehcli.encode import Encoding, encode_image, encode_map, encoding_losses
from bokehcli.errors import BokehError, PhotoError, UnsupportedPhoto
from bokehcli.infer import Network, open_network
from bokehcli.lens import render
from bokehcli.metadata import attach_metadata
from bokehcli.model import find_model
from bokehcli.opencv import cv2
from bokehcli.options import Existing, LensOptions, RunOptions
from bokehcli.outcome import Outcome, Status
from bokehcli.photo import Container, Photo
from bokehcli.pixels import from_unit, resize
from bokehcli.resources import keep_freed_memory
from bokehcli.storage import read_bytes, times_of, write_atomic
from bokehcli.tone import as_seen, curves_of

Image = NDArray[Any]


class Renderer:
    """Takes photos through the stages, one at a time, with one open network.

    network: None only when no stage asks for maps, see open_renderer.
    """

    def __init__(self, options: RunOptions, network: Network | None) -> None:
        self.options = options
        self.network = network

    def render_photo(self, job: Job) -> Outcome:
        """Read, decode, predict, render, encode, attach metadata, write. Never raises an Exception."""
        started = time.perf_counter()
        photo: Photo | None = None
        warnings: list[str] = []
        written: list[Path] = []
        error = trace = None
        try:
            times_ns = times_of(job.source) if self.options.metadata.preserve_times else None
            photo = decode_photo(read_bytes(job.source), str(job.source), self.options.decode)
            container = self.options.encode.container or photo.container
            warnings += self._allowed(photo, (*photo.warnings, *encoding_losses(photo, container)))
            edit: str | None = None
            pending: list[tuple[Path, bytes]] = []
            if self.network is not None:  # the photo's own pixels and the maps are let go before the result is encoded
                image = self._blur(photo, self.network, job, warnings, pending)
                edit = None if image is photo.image else edit_of(self.options.lens)
                photo = replace(photo, image=image)
            data = encode_image(photo.image, photo.opacity, self._encoding(photo, container), str(job.destination))
            data, lost = attach_metadata(data, container, photo, self.options.metadata, edit)
            warnings += self._allowed(photo, lost)
            exclusive = self.options.existing is not Existing.OVERWRITE
            for path, of_map in pending:  # only now that nothing else can be refused
                self._write_map(path, of_map, written)
            write_atomic(job.destination, data, exclusive=exclusive, times_ns=times_ns)
            written.append(job.destination)
        except PhotoError as failure:
            error = str(failure)
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
            status=Status.DONE if error is None else Status.FAILED,
            elapsed_s=time.perf_counter() - started,
            megapixels=0.0 if photo is None else photo.megapixels,
            warnings=tuple(warnings),
            error=error,
            traceback=trace,
            written=tuple(written),
        )

    def _encoding(self, photo: Photo, container: Container) -> Encoding:
        """As the photo was encoded, but for what is asked for."""
        return Encoding(
            container=container,
            quality=photo.quality if self.options.encode.quality is None else self.options.encode.quality,
            grey=photo.grey,
            subsampling=photo.subsampling,
            progressive=photo.progressive,
            bits=photo.bits,
        )

    def _allowed(self, photo: Photo, losses: tuple[str, ...]) -> tuple[str, ...]:
        """The losses as warnings. Raises UnsupportedPhoto where none are to be had."""
        if losses and self.options.strict:
            raise UnsupportedPhoto(photo.name, f"refused as --strict asks: {'; '.join(losses)}")
        return losses

    def _blur(
        self, photo: Photo, network: Network, job: Job, warnings: list[str], pending: list[tuple[Path, bytes]]
    ) -> Image:
        """Predict what is in focus, put that among what is to be written if it is asked for, and render the rest."""
        image, curves = photo.image, curves_of(photo.carried.icc)
        maps = network.predict(as_seen(image, curves), self.options.focus)
        if job.alpha is not None and job.defocus is not None:
            defocus = resize(from_unit(maps.defocus, np.uint8), image.shape[:2])
            pending += [(job.alpha, encode_map(maps.alpha)), (job.defocus, encode_map(defocus))]
        if maps.subject_area < self.options.min_subject:
            warnings.append("no clear subject: the picture stays as it is")
            return image
        if self.options.lens.strength == 0:
            return image
        return render(image, maps.alpha, maps.defocus, self.options.lens, curves)

    def _write_map(self, path: Path, data: bytes, written: list[Path]) -> None:
        """Write a map as the policy says; one that is there and not to be touched stays as it is."""
        if self.options.existing is Existing.SKIP and path.exists():
            return
        write_atomic(path, data, exclusive=self.options.existing is not Existing.OVERWRITE)
        written.append(path)


def edit_of(lens: LensOptions) -> str:
    """What the lens does, for a photo's history."""
    settings = ", ".join(f"{name.replace('_', '-')} {value:g}" for name, value in asdict(lens).items())
    return f"shallow depth of field: {settings}"


def open_renderer(options: RunOptions) -> Renderer:
    """Open the network, unless no picture depends on it. Threads that are asked for hold for all of this process.

    Raises ModelError and DeviceError.
    """
    if options.infer.threads:
        cv2.setNumThreads(options.infer.threads)
    if not options.needs_maps:
        return Renderer(options, None)
    keep_freed_memory()
    return Renderer(options, open_network(find_model(options.infer.model), options.infer))
