"""What is there already; tests/test_workers.py has the rest of bokehcli.batch."""

from pathlib import Path

import pytest

from bokehcli.batch import settle_existing
from bokehcli.discover import Job
from bokehcli.options import Existing
from bokehcli.outcome import Status


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
