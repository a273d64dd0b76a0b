"""What is there already; tests/test_workers.py has the rest of bokehcli.batch."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bokehcli import batch
from bokehcli.batch import run_in_workers, settle_existing
from bokehcli.discover import Job
from bokehcli.options import Existing, RunOptions
from bokehcli.outcome import Outcome, Status


def jobs_in(folder: Path, *names: str) -> list[Job]:
    return [Job(source=Path("in", name), destination=folder / name) for name in names]


@pytest.mark.parametrize(
    ("existing", "status"),
    [(Existing.REFUSE, Status.FAILED), (Existing.SKIP, Status.SKIPPED), (Existing.OVERWRITE, None)],
)
def test_what_is_there_is_refused_skipped_or_replaced(tmp_path: Path, existing: Existing, status: Status | None) -> None:
    (tmp_path / "a.jpg").write_text("old")
    there, absent = jobs_in(tmp_path, "a.jpg", "b.jpg")
    settled = settle_existing(there, existing)
    assert (settled and settled.status) == status
    assert settled is None or (settled.error is not None) == (status is Status.FAILED)
    assert settle_existing(absent, existing) is None


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


class FakeCrew:
    """Does one photo each time that it is asked for what is done."""

    interrupted = 0
    full = False

    def __init__(self) -> None:
        self.jobs: list[Job] = []

    @property
    def in_hand(self) -> int:
        return len(self.jobs)

    def give(self, job: Job) -> None:
        self.jobs.append(job)

    def collect(self, wait_s: float = 0.0) -> Iterator[Outcome]:
        job = self.jobs.pop(0)
        yield Outcome(source=job.source, destination=job.destination, status=Status.DONE)


def test_a_photo_that_changes_while_it_is_in_hand_is_judged_again_when_it_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crew, order = FakeCrew(), list[str]()

    @contextmanager
    def open_crew(_: RunOptions) -> Iterator[FakeCrew]:
        yield crew

    monkeypatch.setattr(batch, "open_crew", open_crew)
    jobs = jobs_in(tmp_path, "a.jpg", "b.jpg", "a.jpg", "c.jpg")
    for outcome in run_in_workers(jobs, RunOptions(), lambda job: order.append(f"+{job.source.stem}"), lambda _: None):
        order.append(f"-{outcome.source.stem}")
    assert order == ["+a", "+b", "-a", "+a", "+c", "-b", "-a", "-c"]
