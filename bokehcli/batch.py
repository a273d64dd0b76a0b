"""Many photos, one after the other, and what happens when a result is already there."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from bokehcli.discover import Job
from bokehcli.options import Existing
from bokehcli.outcome import Outcome, Status
from bokehcli.storage import ALREADY_EXISTS

if TYPE_CHECKING:  # a dry run needs neither OpenCV nor ONNX Runtime
    from bokehcli.pipeline import Renderer


def run_batch(jobs: Iterable[Job], renderer: "Renderer", started: Callable[[Job], None]) -> Iterator[Outcome]:
    """Do every job, in order, and yield what became of it. started is called as a photo is taken up.

    An interrupt passes through: the photo in hand leaves nothing half-written, and those before it are whole.
    """
    for job in jobs:
        started(job)
        yield settle_existing(job, renderer.options.existing) or renderer.render_photo(job)


def settle_existing(job: Job, existing: Existing) -> Outcome | None:
    """The outcome when what is already there settles it; None when the photo is to be rendered.

    With SKIP the photo alone decides, as it is written after its maps. With REFUSE no target may be there.
    """
    if existing is Existing.SKIP and _is_there(job.destination):
        return Outcome(source=job.source, destination=job.destination, status=Status.SKIPPED)
    if existing is Existing.REFUSE:
        for path in reversed(job.targets):
            if _is_there(path):
                return Outcome(
                    source=job.source,
                    destination=job.destination,
                    status=Status.FAILED,
                    error=f"{path}: {ALREADY_EXISTS}",
                )
    return None


def _is_there(path: Path) -> bool:
    """Also for a link to nowhere: to write there would replace it."""
    return path.exists() or path.is_symlink()
