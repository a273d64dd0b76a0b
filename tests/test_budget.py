"""Megapixels at once: as many as fit, in order, and never none."""

from bokehcli.budget import BASE_BYTES, MEGAPIXEL_BYTES, UNKNOWN_MEGAPIXELS, Budget, megapixels_within


def test_what_fits_goes_at_once_and_the_rest_in_order() -> None:
    budget = Budget[str](100.0)
    for who, megapixels in (("a", 60.0), ("b", 50.0), ("c", 40.0)):
        budget.ask(who, megapixels)
    assert budget.grant() == ["a"]
    assert budget.grant() == []  # c would fit, but b was there first
    budget.give_back("a")
    assert budget.grant() == ["b", "c"]


def test_one_photo_may_always_be_worked_on() -> None:
    budget = Budget[str](0.0)
    budget.ask("a", 500.0)
    budget.ask("b", 1.0)
    assert budget.grant() == ["a"]
    budget.give_back("b")  # it gave up waiting
    budget.give_back("a")
    budget.give_back("a")
    assert budget.grant() == []


def test_megapixels_are_what_memory_leaves_beside_the_processes() -> None:
    assert megapixels_within(2 * BASE_BYTES + 24 * MEGAPIXEL_BYTES, 2) == 24.0
    assert megapixels_within(BASE_BYTES, 2) == 0.0
    assert megapixels_within(None, 2) == UNKNOWN_MEGAPIXELS
