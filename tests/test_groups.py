"""Groups that training makes: who stands where, and what of whom is to be seen."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("torch", reason="training is optional")

from bokehcli.trainer.data import Item, Library, Span, find_items
from bokehcli.trainer.groups import Group, group_of, group_sample, is_unsure, nobody, standing

SIZE = 96


@pytest.fixture
def library(training_folder: Path) -> Library:
    return Library([dataclasses.replace(item, part="train") for item in find_items(training_folder)], 256)


def person(height: int = 80, cut: bool = False) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A bar of one colour in a photo of 100 by 100, and its matte; cut off by the lower border or not."""
    matte = np.zeros((100, 100), np.uint8)
    bottom = 100 if cut else 95
    matte[bottom - height : bottom, 40:60] = 255
    return np.full((100, 100, 3), 200, np.uint8), matte


def empty_group(feet: float = 90.0, height: float = 60.0) -> Group:
    return Group(np.zeros((SIZE, SIZE, 3), np.uint8), np.zeros((SIZE, SIZE), np.float32), feet, height, (48.0, 48.0))


def test_members_share_out_what_is_in_focus(library: Library) -> None:
    counts = []
    for number in range(40):
        group = group_of(np.random.default_rng(number), library, range(len(library)), SIZE)
        assert group.picture.shape == (SIZE, SIZE, 3)
        assert group.picture.dtype == np.uint8
        counts.append(len(group.members))
        if group.members:
            np.testing.assert_allclose(sum(group.members), group.alpha, atol=1e-5)
            assert 0.0 <= group.alpha.min() <= group.alpha.max() <= 1.0
    assert max(counts) >= 3
    assert np.mean(np.array(counts) >= 2) > 0.5


def test_members_stand_on_one_line_side_by_side() -> None:
    rng = np.random.default_rng(0)
    group = empty_group()
    added = [group.add(rng, person()) for _ in range(10)]
    assert added.count(True) == len(group.members) >= 4
    boxes = [np.argwhere(member > 0.5) for member in group.members]
    feet = [rows[:, 0].max() for rows in boxes]
    assert max(feet) - min(feet) <= 10
    middles = sorted(float(rows[:, 1].mean()) for rows in boxes)
    assert np.diff(middles).min() > 5
    assert (group.picture[np.max(group.members, axis=0) > 0.99] >= 198).all()
    assert (group.picture[group.alpha == 0.0] == 0).all()


def test_whoever_is_in_front_hides_the_others() -> None:
    behind = in_front = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        group = empty_group()
        group.add(rng, person())
        before = group.members[0].copy()
        group.add(rng, person())
        in_front += int((group.members[0] < before).any())
        behind += int(np.array_equal(group.members[0], before))
    assert in_front > 5
    assert behind > 5


def test_what_a_border_cuts_is_cut_by_the_border() -> None:
    rng = np.random.default_rng(0)
    assert not empty_group().add(rng, person(cut=True))
    group = empty_group(feet=SIZE + 10.0)
    assert group.add(rng, person(cut=True))
    assert group.alpha[-1].max() > 0.9


def test_unclear_or_huge_things_are_no_members() -> None:
    rng = np.random.default_rng(0)
    photo, matte = person()
    unclear = matte.copy()
    unclear[:, 45:60] //= 2
    assert is_unsure(unclear)
    assert not is_unsure(matte)
    wide = np.zeros_like(matte)
    wide[80:95] = 255
    for refused in (unclear, wide, np.zeros_like(matte)):
        group = empty_group()
        assert not group.add(rng, (photo, refused))
        assert not group.members


def test_the_photos_own_subject_is_the_first_of_its_group() -> None:
    rng = np.random.default_rng(0)
    alpha = person(60)[1].astype(np.float32) / 255.0
    group = standing(rng, np.zeros((100, 100, 3), np.uint8), alpha)
    assert group is not None
    np.testing.assert_array_equal(group.members[0], alpha)
    assert (group.feet, group.height, group.left, group.right) == (95, 60, 40, 60)
    assert standing(rng, group.picture, np.zeros_like(alpha)) is None  # nobody there
    assert standing(rng, group.picture, person(20)[1] / np.float32(255)) is None  # far away


def test_a_place_for_a_group_lies_in_the_picture() -> None:
    for seed in range(50):
        group = nobody(np.random.default_rng(seed), np.zeros((SIZE, SIZE, 3), np.uint8))
        assert 0 <= group.feet - group.height < SIZE
        assert 0 < group.left == group.right < SIZE


def test_a_group_without_members_is_no_sample() -> None:
    blank = np.zeros((64, 64, 3), np.uint8)

    class Nothing(Library):
        def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
            return blank, blank[:, :, 0]

    library = Nothing([Item("a", "train", Span(Path("a")), Span(Path("a")))], 64)
    assert group_sample(np.random.default_rng(0), library, range(1), SIZE) is None
