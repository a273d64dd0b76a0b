"""What the fuzz target starts from, and that it would notice."""

import pytest

from bokehcli import containers
from bokehcli.photo import Container
from tests.fuzz.seeds import seeds
from tests.fuzz.target import check

SEEDS = seeds()


def test_the_seeds_are_of_every_container() -> None:
    assert {containers.sniff(data) for data in SEEDS.values()} == set(Container)


@pytest.mark.parametrize("name", SEEDS)
def test_a_seed_cut_anywhere_passes(name: str) -> None:
    data = SEEDS[name]
    for end in [*range(min(400, len(data))), *range(400, len(data), 97), len(data)]:
        check(data[:end])


@pytest.mark.parametrize("name", SEEDS)
def test_the_target_notices_an_error_of_another_kind(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise IndexError

    monkeypatch.setattr(containers, "get_carried", broken)
    with pytest.raises(IndexError):
        check(SEEDS[name])
