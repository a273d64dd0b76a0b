"""Many photos: order, what is there already, and interrupts."""

from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from bokehcli.batch import run_batch, settle_existing
from bokehcli.discover import Job
from bokehcli.options import Existing, RunOptions
from bokehcli.outcome import Outcome, Status
from bokehcli.pipeline import Renderer


class FakeRenderer:
    """Writes the name of the photo where its rendering belongs."""

    def __init__(self, existing: Existing = Existing.REFUSE, do: Callable[[Job], None] = lambda job: None) -> None:
        self.options = RunOptions(existing=existing)
        self.do = do

    def render_photo(self, job: Job) -> Outcome:
        self.do(job)
        job.destination.write_text(job.source.name)
        return Outcome(source=job.source, destination=job.destination, status=Status.DONE, written=(job.destination,))


def jobs_in(folder: Path, *names: str) -> list[Job]:
    return [Job(source=Path("in", name), destination=folder / name) for name in names]


def run(jobs: list[Job], renderer: FakeRenderer, started: Callable[[Job], None] = lambda job: None) -> list[Outcome]:
    return list(run_batch(jobs, cast(Renderer, renderer), started))


def test_photos_are_done_in_order_and_announced_before(tmp_path: Path) -> None:
    jobs = jobs_in(tmp_path, "b.jpg", "a.jpg", "c.jpg")
    told: list[str] = []
    outcomes = run(
        jobs,
        FakeRenderer(do=lambda job: told.append(f"do {job.source.name}")),
        lambda job: told.append(job.source.name),
    )
    assert [outcome.source for outcome in outcomes] == [job.source for job in jobs]
    assert told == ["b.jpg", "do b.jpg", "a.jpg", "do a.jpg", "c.jpg", "do c.jpg"]


@pytest.mark.parametrize(
    ("existing", "status", "content"),
    [
        (Existing.REFUSE, Status.FAILED, "old"),
        (Existing.SKIP, Status.SKIPPED, "old"),
        (Existing.OVERWRITE, Status.DONE, "a.jpg"),
    ],
)
def test_what_is_there_is_refused_skipped_or_replaced(
    tmp_path: Path, existing: Existing, status: Status, content: str
) -> None:
    (tmp_path / "a.jpg").write_text("old")
    outcomes = run(jobs_in(tmp_path, "a.jpg", "b.jpg"), FakeRenderer(existing))
    assert [outcome.status for outcome in outcomes] == [status, Status.DONE]
    assert (tmp_path / "a.jpg").read_text() == content
    assert (outcomes[0].error is not None) == (status is Status.FAILED)


def test_a_refusal_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    (job,) = jobs_in(tmp_path, "a.jpg")
    outcome = settle_existing(job, Existing.REFUSE)
    assert outcome is not None
    assert outcome.error == f"{tmp_path / 'a.jpg'}: already exists; use --overwrite or --skip-existing"


def test_a_map_alone_is_refused_but_does_not_mark_a_photo_as_done(tmp_path: Path) -> None:
    job = Job(source=Path("a.jpg"), destination=tmp_path / "a.jpg", alpha=tmp_path / "a.alpha.png")
    (tmp_path / "a.alpha.png").touch()
    refused = settle_existing(job, Existing.REFUSE)
    assert refused is not None
    assert refused.status is Status.FAILED
    assert settle_existing(job, Existing.SKIP) is None
    assert settle_existing(job, Existing.OVERWRITE) is None


def test_an_interrupt_ends_the_batch_with_the_photos_before_it_whole(tmp_path: Path) -> None:
    def interrupt_b(job: Job) -> None:
        if job.source.name == "b.jpg":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(jobs_in(tmp_path, "a.jpg", "b.jpg", "c.jpg"), FakeRenderer(do=interrupt_b))
    assert [path.name for path in tmp_path.iterdir()] == ["a.jpg"]
