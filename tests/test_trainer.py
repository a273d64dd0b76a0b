"""Network, schedule, samples, losses, checkpoints, export and the command that joins them, on real photos."""

import dataclasses
import functools
import itertools
import os
import pickle
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training is optional")
pytest.importorskip("onnx", reason="training is optional")

from bokehcli.errors import DivergenceError, ModelError, TrainingError, UsageError, WriteError  # noqa: E402 (torch may be absent)
from bokehcli.infer import open_network  # noqa: E402
from bokehcli.model import POINTED, ROLES, ModelCard, find_model  # noqa: E402
from bokehcli.pixels import focus_hint  # noqa: E402
from bokehcli.trainer import schedule, warm  # noqa: E402
from bokehcli.trainer.batch import averaged, collate, layout_on, overview_of, stacked  # noqa: E402
from bokehcli.trainer.checkpoint import COLAB, load_checkpoint, save_checkpoint  # noqa: E402
from bokehcli.trainer.command import parser, preset_of  # noqa: E402
from bokehcli.trainer.data import FINE_PART, Item, Library, Maker, Span, find_items  # noqa: E402
from bokehcli.trainer.export import export_model, export_pointed  # noqa: E402
from bokehcli.trainer.fine import crop_corners, halved, octave_losses, octave_states  # noqa: E402
from bokehcli.trainer.lens_kind import MEASURED, losses_of  # noqa: E402
from bokehcli.trainer.loop import State, TrainOptions, arriving, has_bfloat16, train  # noqa: E402
from bokehcli.trainer.loss import fitted, level_loss, pair_loss, robust  # noqa: E402
from bokehcli.trainer.network import (  # noqa: E402
    LEVELS,
    LIKENED_LEVELS,
    LensNet,
    Likening,
    NetworkOptions,
    OctaveNet,
    Pointing,
    gate_of,
    upsample,
)
from bokehcli.trainer.pairs import Pairs  # noqa: E402
from bokehcli.trainer.report import Stop  # noqa: E402
from bokehcli.trainer.samples import MIXED, MIXES, UNPOINTED, make_sample  # noqa: E402
from bokehcli.trainer.scenes import layout, neighbouring  # noqa: E402
from bokehcli.trainer.start import resumed_state  # noqa: E402
from bokehcli.trainer.training import learn, run  # noqa: E402
from bokehcli.trainer.warm import load_exported  # noqa: E402
from bokehcli.trainer.weights import EIGHT_BITS_FROM, as_stored, eight_bits, stored_weights  # noqa: E402

torch.set_num_threads(1)  # the networks here are too small to share

TINY = NetworkOptions(widths=(8, 12, 16, 24, 32), blocks=(1, 1, 1, 1, 1), octave=8)
ONE_STAGE = (schedule.Stage(until=1.0, lowest=3, size=64, batch=8),)


@pytest.fixture
def library(training_folder: Path) -> Library:
    return Library([dataclasses.replace(item, part="train") for item in find_items(training_folder)], 256)


@pytest.fixture
def make(library: Library) -> Maker:
    return functools.partial(make_sample, library)


def options(**changed: Any) -> TrainOptions:
    return dataclasses.replace(TrainOptions(steps=6, workers=0, network=TINY, stages=schedule.TINY_STAGES), **changed)


def trained(state: State, make: Maker, steps: int = 10**9) -> list[float]:
    losses = []
    for record in train(state, make):
        losses.append(record.loss)
        if len(losses) == steps:
            break
    return losses


def level_3(network: LensNet, x: Any) -> Any:
    maps, features = network.network.pyramid(x)
    return network.network.state(maps[-1], features)


def write_pairs(folder: Path, photos: Path, count: int) -> None:
    for name in ("original", "bokeh"):
        (folder / name).mkdir(parents=True)
    photo = cv2.resize(cv2.imread(str(photos / "chelsea.jpg")), (160, 120))
    for index in range(count):
        wide = np.roll(photo, 7 * index, axis=1)
        cv2.imwrite(str(folder / "original" / f"{index}.jpg"), wide)
        cv2.imwrite(str(folder / "bokeh" / f"{index}.jpg"), cv2.GaussianBlur(wide, (0, 0), 3))


def bokeh(*arguments: str | Path, **settings: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bokehcli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, **settings)


# the network


def test_a_level_is_half_as_large_as_the_one_above() -> None:
    states = LensNet(TINY).eval().network(torch.zeros(1, 4, 128, 192))
    assert [tuple(s.shape[2:]) for s in states] == [(2, 3), (4, 6), (8, 12), (16, 24), (32, 48)]
    assert len(states) == len(LEVELS)


@pytest.mark.parametrize("lowest", LEVELS)
def test_a_level_does_not_depend_on_those_above_it(lowest: int) -> None:
    network, x = LensNet(TINY).eval().network, torch.rand(1, 4, 64, 64)
    for part, whole in zip(network(x, lowest), network(x), strict=False):
        torch.testing.assert_close(part, whole)


def test_the_octave_net_changes_nothing_where_alpha_is_level() -> None:
    octave = OctaveNet(TINY).eval()
    torch.nn.init.normal_(octave.head.weight)
    state = torch.randn(1, 8, 64, 64)
    state[:, 0] = 6.0
    state[:, 0, :, 32] = 0.0  # unsure in one column
    refined = octave(torch.rand(1, 3, 128, 128), state)
    changed = (refined != upsample(state)).any(1)[0]
    assert changed[:, 58:72].all()
    assert not changed[:, :57].any()
    assert not changed[:, 73:].any()


def test_the_gate_is_open_at_an_edge_however_sharp_and_shut_where_alpha_is_level() -> None:
    edge = torch.full((1, 8, 9, 20), 9.0)
    edge[:, 0, :, 10:] = -9.0
    gate = gate_of(edge)[0, 0, 4]
    assert (gate[7:13] == 1.0).all()
    assert (gate[:7] == 0.0).all()
    assert (gate[13:] == 0.0).all()
    for level in (-9.0, 0.0, 9.0):
        assert gate_of(torch.full((1, 8, 9, 9), level)).max() == 0.0


# the schedule


def test_pointing_adds_nothing_without_a_hint_and_marks_what_resembles_the_pointed_place() -> None:
    torch.manual_seed(0)
    pointing = Pointing(4).eval()
    torch.nn.init.normal_(pointing.mark.weight)
    x = torch.zeros(1, 4, 6, 9)
    x[:, :, :, :3], x[:, :, :, 6:] = torch.randn(4, 1, 1), torch.randn(4, 1, 1)
    x[:, :, 4:, 6:] = x[:, :, :2, :3]  # below on the right the same as on the left
    hint = torch.zeros(1, 1, 6, 9)
    with torch.no_grad():
        assert torch.equal(pointing(x, hint), x)
        hint[:, :, 1, 1] = 0.7
        added = pointing(x, hint) - x
    left, other, alike = added[0, :, 0, 0], added[0, :, 0, 7], added[0, :, 5, 7]
    torch.testing.assert_close(alike, left)
    assert (other - left).abs().max() > 0.1


def test_pointing_marks_what_differs_from_the_pointed_place() -> None:
    torch.manual_seed(0)
    pointing = Pointing(4).eval()
    torch.nn.init.normal_(pointing.differ.weight)
    x = torch.randn(1, 4, 1, 1).repeat(1, 1, 6, 9)
    x[:, :, :, 5:] = torch.randn(4, 1, 1)  # another thing that touches it
    hint = torch.zeros(1, 1, 6, 9)
    with torch.no_grad():
        assert torch.equal(pointing(x, hint), x)
        hint[:, :, 1, 1] = 0.7
        added = (pointing(x, hint) - x).abs().amax(1)[0]
    assert added[:, :5].max() < 0.01 * added[:, 5:].min()


def test_of_a_point_near_an_edge_its_own_side_counts() -> None:
    torch.manual_seed(0)
    pointing = Pointing(4).eval()
    torch.nn.init.normal_(pointing.differ.weight)
    x = torch.randn(1, 4, 1, 1).repeat(1, 1, 1, 12)
    x[..., 6:] = torch.randn(4, 1, 1)
    hint = torch.from_numpy(focus_hint((12, 12), (4.5 / 12, 0.5)))[6][None, None, None]
    hint = hint / hint.max()
    with torch.no_grad():
        added = (pointing(x, hint) - x).abs().amax(1)[0, 0]
    assert added[0] < 0.05 * added[11]


def test_likening_starts_by_adding_nothing_and_then_marks_what_resembles_what_was_found() -> None:
    torch.manual_seed(0)
    likening = Likening(4).eval()
    x = torch.randn(1, 4, 1, 1).repeat(1, 1, 6, 9)
    x[:, :, :, 4:] = torch.randn(4, 1, 1)  # two things; half of the left one is found
    alpha = torch.zeros(1, 1, 6, 9)
    alpha[..., :2] = 1.0
    with torch.no_grad():
        assert torch.equal(likening(x, alpha), x)
        torch.nn.init.normal_(likening.mark.weight)
        added = (likening(x, alpha) - x)[0]
    torch.testing.assert_close(added[:, :, 2:4], added[:, :, :2])  # the other half is marked as the found one is
    assert (added[:, :, 4:] - added[:, :, :1]).abs().amax(0).min() > 0.1


def test_the_mean_with_a_network_without_likenings_takes_those_as_adding_nothing(make: Maker, tmp_path: Path) -> None:
    torch.manual_seed(3)
    likened = dataclasses.replace(TINY, likened_levels=LIKENED_LEVELS)
    plain = export_model(State(options(seed=1)).average, tmp_path / "a", {"network": dataclasses.asdict(TINY)})
    state = State(options(seed=2, network=likened))
    for likening in state.average.network.likening.values():
        torch.nn.init.normal_(likening.mark.weight, std=0.3)
    other = export_model(state.average, tmp_path / "b", {"network": dataclasses.asdict(likened)})
    overview = overview_of(collate([make(9, number, 64, False) for number in range(2)]), 64)
    with torch.no_grad():
        for share, alone in ((0.0, plain), (1.0, other)):
            mean = load_exported(plain, make, options=likened, blend=(other, share)).eval()
            torch.testing.assert_close(level_3(mean, overview), level_3(load_exported(alone, make).eval(), overview))


def test_the_mean_with_a_network_that_tells_no_differences_takes_those_as_adding_nothing(
    make: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = export_model(State(options()).average, tmp_path, {"network": dataclasses.asdict(TINY)}, 128)
    with_them = warm.exported_weights(card)
    differ = "network.pointing.6.differ.weight"
    with_them[differ] = torch.ones(24, 16, 1, 1)
    without = {name: weight for name, weight in with_them.items() if not name.endswith("differ.weight")}
    for held, part in (([with_them, without], 0.75), ([without, with_them], 0.25)):
        monkeypatch.setattr(warm, "exported_weights", lambda *_, held=held: held.pop(0))
        mean = warm.blended_weights(card, card, 0.25)
        torch.testing.assert_close(mean[differ], torch.full_like(mean[differ], part))
        torch.testing.assert_close(mean["network.stem.0.weight"], with_them["network.stem.0.weight"])


@pytest.mark.parametrize("found", [0.0, 1.0])
def test_likening_stays_finite_where_nothing_or_everything_is_found(found: float) -> None:
    likening = Likening(4)
    torch.nn.init.normal_(likening.mark.weight)
    assert torch.isfinite(likening.eval()(torch.randn(1, 4, 5, 5), torch.full((1, 1, 5, 5), found))).all()


def test_a_network_without_likenings_goes_on_with_them_and_computes_what_it_did(make: Maker, tmp_path: Path) -> None:
    torch.manual_seed(3)
    card = export_model(State(options()).average, tmp_path, {"network": dataclasses.asdict(TINY)})
    likened = dataclasses.replace(TINY, likened_levels=LIKENED_LEVELS)
    batch = collate([make(9, number, 64, False) for number in range(2)])
    with torch.no_grad():
        maps = [level_3(load_exported(card, make, options=each).eval(), overview_of(batch, 64)) for each in (TINY, likened)]
    torch.testing.assert_close(maps[0], maps[1])
    assert set(load_exported(card, make, options=likened).network.likening) == {"6", "5", "4", "3"}


def test_levels_join_from_7_upwards_and_sizes_grow() -> None:
    stages = [schedule.stage_at(step, 1000) for step in range(1000)]
    lowest, sizes = [s.lowest for s in stages], [s.size for s in stages]
    assert lowest == sorted(lowest, reverse=True)
    assert set(lowest) == set(LEVELS)
    assert sizes[:949] == sorted(sizes[:949])
    assert [bool(s.octaves) for s in stages] == sorted(bool(s.octaves) for s in stages)
    assert {s.size for s in stages if s.octaves} == {384, 1280}


@pytest.mark.parametrize("steps", [1, 7, 1000])
def test_the_rate_warms_up_stays_below_its_peak_and_falls(steps: int) -> None:
    rates = [schedule.learning_rate(step, steps, 1.0) for step in range(steps)]
    assert all(0 < rate <= 1.0 for rate in rates)
    if steps == 1000:
        assert max(rates) == 1.0
        assert rates[0] < 0.2
        assert rates[949] < 0.05


def test_going_on_from_a_model_the_octaves_learn_faster_than_the_levels_below() -> None:
    rates = [schedule.learning_rate(step, 1000, 1.0, schedule.WARM_STAGES) for step in range(1000)]
    assert max(rates[:720]) == 1.0
    assert max(rates[720:]) == 3.0


# samples


def test_a_sample_is_a_pure_function_of_seed_and_number(library: Library) -> None:
    for number in range(20):
        first, again = (make_sample(library, 3, number, 64) for _ in range(2))
        for name in ("photo", "hint", "alpha", "defocus"):
            np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    assert (make_sample(library, 4, 0, 64).photo != make_sample(library, 3, 0, 64).photo).any()


def test_samples_are_in_range_and_a_hint_lies_on_what_is_in_focus(library: Library) -> None:
    hinted = 0
    for number in range(60):
        sample = make_sample(library, 0, number, 64, number % 2 == 1)
        assert sample.photo.shape == (64, 64, 3)
        assert sample.photo.dtype == np.uint8
        for image in (sample.hint, sample.alpha, sample.defocus):
            assert image.shape == (64, 64)
            assert image.dtype == np.float32
            assert image.min() >= 0.0
            assert image.max() <= 1.0
        if sample.hint.any():
            hinted += 1
            assert sample.alpha.flat[int(sample.hint.argmax())] > 0.5
    assert hinted > 5


def test_the_ground_is_sharp_at_the_foot_of_a_standing_subject_and_blurs_away_from_it() -> None:
    alpha = np.zeros((100, 100), np.float32)
    alpha[20:80, 40:60] = 1.0
    column = layout(alpha, np.random.default_rng(0))[:, 0]
    assert column[79] < 0.02
    assert (np.diff(column[:80]) <= 0).all()
    assert (np.diff(column[79:]) >= 0).all()
    assert column[0] == 1.0
    cut = np.zeros_like(alpha)
    cut[20:, 40:60] = 1.0
    assert (layout(cut, np.random.default_rng(0)) == 1.0).all()


def test_the_ground_around_a_small_animal_blurs_as_slowly_as_the_camera_is_high() -> None:
    alpha = np.zeros((100, 100), np.float32)
    alpha[60:80, 40:60] = 1.0
    column = layout(alpha, np.random.default_rng(0))[:, 0]
    assert column[79] < 0.02
    assert column[60] < 0.5
    assert column[35] == 1.0
    flying = np.zeros_like(alpha)
    flying[10:30, 40:60] = 1.0
    assert (layout(flying, np.random.default_rng(0)) == 1.0).all()


def test_large_samples_for_the_octaves_are_made_of_the_finest_photos_alone(training_folder: Path) -> None:
    items = find_items(training_folder)

    class Unread(Span):
        def read(self) -> bytes:
            raise AssertionError("this photo is not a fine one")

    coarse = Item("coarse", "train", Unread(Path("photo")), Unread(Path("matte")))
    library = Library([dataclasses.replace(items[0], part=FINE_PART), coarse], 256)
    assert library.fine == [0]
    for number in range(6):
        make_sample(library, 0, number, 640, fine=True)
    with pytest.raises(AssertionError, match="not a fine one"):
        [make_sample(library, 0, number, 64, fine=True) for number in range(20)]


def test_a_full_cache_changes_nothing(training_folder: Path) -> None:
    items = find_items(training_folder)
    some, none = Library(items, 128, 1 << 20), Library(items, 128, 0)
    some.fill()
    assert some.cache
    for index in range(len(items)):
        for cached, read in zip(some[index], none[index], strict=True):
            np.testing.assert_array_equal(cached, read)
    assert not none.cache


@pytest.mark.parametrize("in_shard", [False, True])
def test_what_makes_samples_can_be_given_to_a_process_that_is_not_forked(
    training_folder: Path, tmp_path: Path, in_shard: bool
) -> None:
    folder = training_folder
    if in_shard:
        folder = tmp_path / "shards"
        folder.mkdir()
        with tarfile.open(folder / "train-0.tar", "w") as tar:
            for kind in ("photo", "matte"):
                for path in sorted((training_folder / f"{kind}s").iterdir()):
                    tar.add(path, f"{path.stem}.{kind}{path.suffix}")
    library = Library(find_items(folder), 128)
    library.fill()
    make = functools.partial(make_sample, library)
    sent = pickle.dumps(make)
    assert library.cache
    assert len(sent) < 10_000
    for number in range(4):
        mine, theirs = make(0, number, 64), pickle.loads(sent)(0, number, 64)
        np.testing.assert_array_equal(mine.photo, theirs.photo)
        np.testing.assert_array_equal(mine.alpha, theirs.alpha)


@pytest.mark.parametrize("fault", ["content", "empty", "folder", "link", "shape"])
def test_a_photo_that_cannot_be_used_is_left_out_with_a_line(
    training_folder: Path, capfd: pytest.CaptureFixture[str], fault: str
) -> None:
    photo, matte = (training_folder / kind for kind in ("photos/astronaut.jpg", "mattes/astronaut.png"))
    bad = matte if fault == "shape" else photo
    if fault == "shape":
        cv2.imwrite(str(matte), cv2.imread(str(matte))[:-20])
    elif fault in ("content", "empty"):
        photo.write_bytes(b"none" if fault == "content" else b"")
    else:
        photo.unlink()
        photo.mkdir() if fault == "folder" else photo.symlink_to("nowhere")
    for filled in (False, True):
        library = Library(find_items(training_folder), 128)
        if filled:
            library.fill()
        pictures = [library[index][0] for index in range(3)]
        (line,) = library.faults.values()
        assert line.startswith(f"{bad}: ")
        assert (line in capfd.readouterr().err) is not filled  # who fills it says so
        assert sum(pictures[0] is other for other in pictures) == 2
        assert make_sample(library, 0, 0, 64).photo.shape == (64, 64, 3)


def test_where_no_photo_can_be_used_the_first_is_named(training_folder: Path) -> None:
    for path in (training_folder / "photos").iterdir():
        path.write_bytes(b"none")
    items = find_items(training_folder)
    with pytest.raises(UsageError, match=f"none of 3 photos can be used; the first: {items[0].photo}: cannot be decoded"):
        Library(items, 128)[1]


@pytest.mark.parametrize("fault", ["text", "compressed", "cut short", "folder", "link"])
def test_a_shard_that_is_no_whole_tar_file_is_named(training_folder: Path, tmp_path: Path, fault: str) -> None:
    shard = tmp_path / "train-0.tar"
    with tarfile.open(shard, "w:gz" if fault == "compressed" else "w") as tar:
        tar.add(training_folder / "photos" / "astronaut.jpg", "a.photo.jpg")
    if fault == "cut short":
        shard.write_bytes(shard.read_bytes()[:5000])
    elif fault != "compressed":
        shard.unlink()
        {"folder": shard.mkdir, "link": lambda: shard.symlink_to("x"), "text": lambda: shard.write_bytes(b"no" * 999)}[fault]()
    with pytest.raises(UsageError, match=f"{shard}: ") as caught:
        find_items(tmp_path)
    assert "\n" not in str(caught.value)


def test_the_opacity_of_a_matte_counts_where_it_has_one(training_folder: Path) -> None:
    path = training_folder / "mattes" / "astronaut.png"
    items = [item for item in find_items(training_folder) if item.name == "astronaut"]
    before = Library(items, 128)[0][1]
    matte = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    for shown, opacity in ((np.full_like(matte, 255), matte), (matte, np.full_like(matte, 255))):
        cv2.imwrite(str(path), np.dstack([shown, shown, shown, opacity]))
        np.testing.assert_array_equal(Library(items, 128)[0][1], before)


def test_a_photo_as_thin_as_a_line_makes_samples(training_folder: Path) -> None:
    for name in ("photos/astronaut.jpg", "mattes/astronaut.png"):
        path = training_folder / name
        cv2.imwrite(str(path), cv2.resize(cv2.imread(str(path)), (1280, 4)))
    library = Library(find_items(training_folder), 1280)
    for number in range(40):
        assert make_sample(library, 0, number, 64).photo.shape == (64, 64, 3)


def test_a_folder_without_mattes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=str(tmp_path)):
        find_items(tmp_path)


# losses


def test_the_right_maps_have_the_least_loss(library: Library) -> None:
    batch = collate([make_sample(library, 0, number, 64) for number in range(8)])

    def loss(alpha: Any, defocus: Any) -> float:
        logits = torch.logit(torch.cat((alpha, defocus), 1), 1e-4)
        return float(level_loss(logits, batch.photo, batch.alpha, batch.defocus, batch.weight, torch.zeros(8)))

    right = loss(batch.alpha, batch.defocus)
    assert right < 0.9 * loss(torch.roll(batch.alpha, 6, 3), batch.defocus)
    assert right < 0.9 * loss(1 - batch.alpha, batch.defocus)
    assert right < loss(batch.alpha, 1 - batch.defocus)


def test_where_somebody_points_in_every_picture_the_rendered_ones_are_not_compared(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = LensNet(TINY)
    batch = collate([make_sample(library, 0, number, 128, mix=POINTED) for number in range(2)])
    assert batch.hint.amax((1, 2, 3)).min() > 0.0
    one_not = dataclasses.replace(batch, hint=batch.hint * torch.tensor([1.0, 0.0])[:, None, None, None])
    rendered = mock.Mock(return_value=torch.zeros(()))
    monkeypatch.setattr("bokehcli.trainer.loss.rendered_loss", rendered)
    for some, compared in ((batch, False), (one_not, True)):
        rendered.reset_mock()
        losses_of(network, some, schedule.Stage(until=1.0, lowest=3, size=128, batch=2))
        assert rendered.called is compared


@pytest.mark.parametrize(
    ("gain", "offset", "beside_px", "share"),
    [(1.0, 0.0, 0, 0.15), (0.8, 0.05, 0, 0.15), (1.0, 0.0, 1, 0.85), (0.9, -0.05, 1, 0.85)],
)
def test_a_pair_teaches_the_maps_that_rendered_it(
    library: Library, gain: float, offset: float, beside_px: int, share: float
) -> None:
    from bokehcli import optics
    from bokehcli.trainer.lens import render

    sample = make_sample(library, 0, 1, 128)
    batch = collate([sample])
    photo, alpha, defocus = batch.photo, batch.alpha, batch.defocus
    target = render(photo, alpha, defocus, optics.radius_px(1.0, (128, 128)))
    target = (target * gain + offset).clamp(0.0, 1.0).roll(beside_px, 3)  # another exposure, and not quite the same place
    right = torch.logit(torch.cat((alpha, defocus), 1), 1e-5)
    sharp = torch.full_like(right, 8.0)
    blurred = torch.cat((torch.full_like(alpha, -8.0), torch.full_like(alpha, 8.0)), 1)
    for wrong in (sharp, blurred):
        assert float(pair_loss(right, photo, target)) < share * float(pair_loss(wrong, photo, target))


@pytest.mark.parametrize("size", [(64, 64), (50, 30)])
def test_means_of_areas_are_taken_where_a_gpu_of_apple_takes_none(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    x = torch.rand(2, 3, 128, 128)
    there = mock.Mock(spec=torch.Tensor, device=torch.device("mps"), shape=x.shape)
    there.cpu.return_value = x
    pool, back = torch.nn.functional.adaptive_avg_pool2d, []

    def strict(pooled: Any, size: tuple[int, int]) -> Any:
        assert pooled is not there or pooled.shape[2] % size[0] == pooled.shape[3] % size[1] == 0
        return pool(x, size)

    def sent(tensor: Any, device: Any) -> Any:
        back.append(device.type)
        return tensor

    monkeypatch.setattr(torch.nn.functional, "adaptive_avg_pool2d", strict)
    monkeypatch.setattr(torch.Tensor, "to", sent)
    assert torch.equal(averaged(there, size), averaged(x, size))
    assert back == (["mps"] if size == (50, 30) else [])


def test_colours_are_fitted_by_gain_and_offset_within_reason() -> None:
    photo = torch.rand(2, 3, 64, 64) * 0.5 + 0.25
    assert torch.allclose(fitted(photo * 0.8 + 0.1, photo), photo, atol=1e-3)
    flat = torch.full_like(photo, 0.5)
    assert torch.isfinite(fitted(flat, photo)).all()
    assert torch.isfinite(fitted(photo, flat)).all()


def test_one_place_that_differs_much_counts_less_than_many_that_differ_a_little() -> None:
    once, everywhere = torch.zeros(1, 1, 10, 10), torch.full((1, 1, 10, 10), 0.01)
    once[0, 0, 0, 0] = 1.0
    assert float(once.mean()) == pytest.approx(float(everywhere.mean()))
    nothing = torch.zeros_like(once)
    assert float(robust(once, nothing)) < 0.3 * float(robust(everywhere, nothing))


def test_crops_for_the_octaves_lie_around_edges_that_were_found_roughly() -> None:
    torch.manual_seed(0)
    alpha = torch.zeros(1, 1, 160, 160)
    alpha[:, :, :, 30:60] = 1.0  # two edges that were found,
    found = alpha.clone()
    alpha[:, :, :, 120:] = 1.0  # and one that was not
    corners = crop_corners(found, alpha, torch.where(torch.arange(160) < 100, 1.0, 0.05).expand(1, 1, 160, 160), 200)
    near = [left for _, _, left in corners if left < 60]
    assert len(near) > 180
    assert all(0 <= top <= 120 and 0 <= left <= 120 for _, top, left in corners)


def test_the_octave_net_learns_the_edge_of_a_photo(library: Library) -> None:
    torch.manual_seed(0)
    batch = collate([make_sample(library, 0, number, 256, True) for number in range(8)])
    coarse = halved(batch.alpha, 2)[0]
    state = torch.cat((torch.logit(coarse, 1e-3), torch.zeros(8, 7, *coarse.shape[2:])), 1)
    octave = OctaveNet(TINY)
    optimiser = torch.optim.Adam(octave.parameters(), 3e-3)
    losses = []
    for _ in range(40):
        loss = torch.stack(octave_losses(octave, state, batch.photo, batch.alpha, 2)).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert np.mean(losses[-8:]) < 0.9 * losses[0]


# the loop, checkpoints, export


def test_the_loss_falls_on_real_photos(make: Maker) -> None:
    losses = trained(State(options(steps=80, stages=ONE_STAGE)), make)
    assert np.mean(losses[-15:]) < 0.85 * np.mean(losses[:15])


def test_the_photo_rendered_with_its_maps_comes_nearer_to_pairs_that_it_has_not_seen(rendered_pairs: Path) -> None:
    """Twelve pairs are few: of four seeds, two end no better than the photo as it is."""
    pairs = Pairs(rendered_pairs)
    state = State(options(steps=150, rate=5e-3, stages=ONE_STAGE, seed=1))
    held = collate([pairs.make_held(1, number, 64) for number in range(8)])
    stage = ONE_STAGE[0]

    def error() -> float:
        _, target, rendered, _ = state.kind.columns(state.average, held, stage)
        return float((rendered - target).abs().mean())

    before = error()
    trained(state, pairs.make)
    assert error() < 0.97 * before
    assert error() < float((held.photo - held.target).abs().mean())


OCTAVES_ALONE = (schedule.Stage(until=1.0, lowest=3, size=256, batch=2, octaves=2, overview=128),)


@pytest.mark.parametrize(("workers", "stages"), [(0, schedule.TINY_STAGES), (1, schedule.TINY_STAGES), (0, OCTAVES_ALONE)])
def test_resuming_equals_not_stopping(make: Maker, tmp_path: Path, workers: int, stages: tuple[schedule.Stage, ...]) -> None:
    undisturbed = State(options(workers=workers, stages=stages))
    torch.nn.init.normal_(undisturbed.network.network.head["3"].weight, std=5.0)  # so that crops of the octaves differ
    trained(undisturbed, make)
    stopped = State(options(workers=workers, stages=stages))
    torch.nn.init.normal_(stopped.network.network.head["3"].weight, std=5.0)
    trained(stopped, make, 3)
    save_checkpoint(stopped, tmp_path / "a.ckpt")
    resumed = load_checkpoint(tmp_path / "a.ckpt")
    assert resumed.step == 3
    assert resumed.options == stopped.options
    trained(resumed, make)
    assert resumed.step == undisturbed.step == 6
    for mine, theirs in ((resumed.network, undisturbed.network), (resumed.average, undisturbed.average)):
        for name, value in mine.state_dict().items():
            assert torch.equal(value, theirs.state_dict()[name]), name


@pytest.mark.parametrize("poisoned", ["loss", "gradient"])
def test_numbers_that_are_not_finite_reach_neither_weights_nor_average(
    make: Maker, poisoned: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = State(options(steps=3, stages=ONE_STAGE))
    steps = train(state, make)
    next(steps)
    weights = [[p.clone() for p in network.parameters()] for network in (state.network, state.average)]
    if poisoned == "loss":
        monkeypatch.setattr(state.kind, "losses", lambda network, *_: [next(network.parameters()).sum() * float("nan")])
    else:
        next(state.network.parameters()).register_hook(lambda slope: slope * float("inf"))
    with pytest.raises(DivergenceError, match="step 2: "):
        next(steps)
    assert state.step == 1
    for network, before in zip((state.network, state.average), weights, strict=True):
        assert all(torch.equal(now, then) for now, then in zip(network.parameters(), before, strict=True))


# PyTorch raises in the handler of the signal that a worker died, wherever Python is then: within Hypothesis' callback of the
# garbage collector nobody can catch it, and the loader finds out by itself a little later.
@pytest.mark.filterwarnings("ignore:Exception ignored in.*gc_callback:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(("fault", "workers"), [("raises", 0), ("raises", 1), ("dies", 1), ("loop", 1)], ids=str)
def test_whatever_ends_training_what_was_done_is_kept(
    make: Maker, tmp_path: Path, capfd: pytest.CaptureFixture[str], workers: int, fault: str
) -> None:
    here = os.getpid()

    def failing(seed: int, number: int, size: int, fine: bool) -> Any:
        if number >= 2 * 8 and fault == "raises":
            raise RuntimeError("first line\nsecond line")
        if number >= 2 * 8 and fault == "dies" and os.getpid() != here:
            os._exit(1)
        return make(seed, number, size, fine)

    state = State(options(steps=4, stages=ONE_STAGE, workers=workers))
    if fault == "loop":
        state.optimiser.register_step_pre_hook(lambda *_: None if state.step < 2 else 1 / 0)
    arguments = parser().parse_args(["photos", "--out", str(tmp_path)])
    with pytest.raises(TrainingError) as caught:
        learn(state, failing, arguments, mock.Mock(), mock.Mock(wanted=False))
    assert "\n" not in str(caught.value)
    kept = load_checkpoint(tmp_path / "last.ckpt")
    assert kept.step == state.step
    assert kept.step == 2 or fault == "dies"
    assert f"step {state.step} is in {tmp_path / 'last.ckpt'}" in capfd.readouterr().err
    for mine, theirs in zip(kept.average.parameters(), state.average.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_a_state_that_is_not_finite_replaces_no_checkpoint(tmp_path: Path) -> None:
    state = State(options())
    save_checkpoint(state, tmp_path / "a.ckpt")
    before = (tmp_path / "a.ckpt").read_bytes()
    with torch.no_grad():
        state.average.octave.head.bias[0] = float("inf")
    with pytest.raises(DivergenceError, match=r"a\.ckpt: not replaced"):
        save_checkpoint(state, tmp_path / "a.ckpt")
    assert (tmp_path / "a.ckpt").read_bytes() == before


def test_a_checkpoint_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    path.write_bytes(b"no")
    with pytest.raises(ModelError, match=r"a\.ckpt"):
        load_checkpoint(path)
    save_checkpoint(State(options()), path)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(ModelError, match=r"a\.ckpt"):
        load_checkpoint(path)


@pytest.mark.parametrize("in_colab", [True, False])
def test_in_colab_what_a_checkpoint_replaces_is_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_colab: bool) -> None:
    if in_colab:
        monkeypatch.setenv(COLAB, "release-colab")
    path, bin_ = tmp_path / "a.ckpt", tmp_path / "bin"
    for step in (1, 2):
        state = State(options())
        state.step = step
        save_checkpoint(state, path)
        if step == 1:
            os.link(path, bin_)  # keeps what is replaced, as a drive does
    assert bool(bin_.stat().st_size) is not in_colab
    assert load_checkpoint(path).step == 2


@pytest.mark.parametrize("killed_at", ["writing", "replacing"])
def test_killed_at_any_time_in_colab_a_whole_checkpoint_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_at: str
) -> None:
    path, state = tmp_path / "a.ckpt", State(options())
    save_checkpoint(state, path)
    state.step = 1
    monkeypatch.setenv(COLAB, "release-colab")
    with monkeypatch.context() as kill:
        method = (os, "fsync") if killed_at == "writing" else (Path, "replace")
        kill.setattr(*method, mock.Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            save_checkpoint(state, path)
    step = load_checkpoint(path).step
    assert step == (0 if killed_at == "writing" else 1)
    monkeypatch.setattr(os, "fsync", mock.Mock(side_effect=KeyboardInterrupt))  # and once more, when the next one is written
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(state, path)
    assert load_checkpoint(path).step == step


def test_training_goes_on_from_an_exported_model_as_it_was(make: Maker, tmp_path: Path) -> None:
    state = State(options(steps=8))
    trained(state, make)
    state.network.eval()
    card = export_model(state.network, tmp_path, {"network": dataclasses.asdict(TINY)})
    loaded = load_exported(card, make)
    batch = collate([make(9, number, 128, False) for number in range(4)])
    # half-precision weights and batch statistics of other samples: agreement, not identity
    for training, tolerance in ((False, 0.01), (True, 0.6)):
        loaded.train(training)
        with torch.no_grad():
            lowest, expected = (level_3(n, overview_of(batch, 64)) for n in (loaded, state.network))
            assert (lowest - expected).abs().mean() < tolerance * expected.abs().mean()
            pictures = [halved(batch.photo, 2)[0]]
            finer, wanted = (octave_states(n.octave, lowest, pictures)[-1] for n in (loaded, state.network))
            assert (finer - wanted).abs().mean() < tolerance * wanted.abs().mean()


def test_added_blocks_start_by_adding_nothing(make: Maker, tmp_path: Path) -> None:
    state = State(options(steps=8))
    trained(state, make)
    card = export_model(state.average, tmp_path, {"network": dataclasses.asdict(TINY)})
    batch = collate([make(9, number, 64, False) for number in range(4)])
    deeper = dataclasses.replace(TINY, blocks=(1, 1, 2, 1, 3))
    plain, grown = (load_exported(card, make, 0, options).eval() for options in (TINY, deeper))
    with torch.no_grad():
        was, now = (level_3(n, overview_of(batch, 64)) for n in (plain, grown))
    assert sum(p.numel() for p in grown.parameters()) > sum(p.numel() for p in plain.parameters())
    assert (now - was).abs().mean() < 0.5 * was.abs().mean()  # but for one more LeakyReLU each
    for block in (grown.network.decode["5"][2], grown.network.decode["7"][1], grown.network.decode["7"][2]):
        x = torch.rand(1, block.join[0].in_channels, 8, 8)
        torch.testing.assert_close(block(x), x)
    with pytest.raises(ModelError, match="weights of"):
        load_exported(card, make, 0, dataclasses.replace(TINY, widths=(8, 12, 16, 24, 40)))


def test_two_models_are_blended_weight_by_weight(make: Maker, tmp_path: Path) -> None:
    about = {"network": dataclasses.asdict(TINY)}
    first, second = (export_model(State(options(seed=seed)).average, tmp_path / str(seed), about) for seed in (1, 2))
    one, two = warm.exported_weights(first), warm.exported_weights(second)
    for share in (0.0, 0.25, 1.0):
        for name, weight in warm.blended_weights(first, second, share).items():
            torch.testing.assert_close(weight, (1.0 - share) * one[name] + share * two[name])
    batch = collate([make(9, number, 64, False) for number in range(2)])
    with torch.no_grad():
        blended, alone = (load_exported(first, make, blend=(second, share)).eval() for share in (1.0, 0.0))
        maps = [level_3(n, overview_of(batch, 64)) for n in (blended, load_exported(second, make).eval(), alone)]
    torch.testing.assert_close(maps[0], maps[1])
    assert (maps[0] - maps[2]).abs().max() > 1e-3


def test_the_mean_of_two_models_has_the_pointings_that_both_have(make: Maker, tmp_path: Path) -> None:
    fewer = dataclasses.replace(TINY, pointed_levels=(5,))
    cards = [
        export_model(State(options(network=network)).average, tmp_path / str(n), {"network": dataclasses.asdict(network)})
        for n, network in enumerate((TINY, fewer))
    ]
    for card, other in (cards, cards[::-1]):
        mean = warm.blended_weights(card, other, 0.5)
        assert {name.split(".")[2] for name in mean if ".pointing." in name} == {"5"}
        load_exported(card, make, blend=(other, 0.5))


def test_models_of_other_shapes_are_not_blended(make: Maker, tmp_path: Path) -> None:
    wider = dataclasses.replace(TINY, octave=16)
    cards = [
        export_model(State(options(network=network)).average, tmp_path / str(n), {"network": dataclasses.asdict(network)})
        for n, network in enumerate((TINY, wider))
    ]
    with pytest.raises(ModelError, match="not the same network"):
        load_exported(cards[0], make, blend=(cards[1], 0.5))


def test_a_model_from_before_it_could_be_pointed_at_goes_on(
    make: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = export_model(State(options()).average, tmp_path, {"network": dataclasses.asdict(TINY)})
    weights = warm.exported_weights(card)
    older = {name: weight for name, weight in weights.items() if "pointing" not in name}
    assert len(older) < len(weights)
    batch = collate([make(9, number, 64, False) for number in range(2)])
    whole = load_exported(card, make).eval()
    monkeypatch.setattr(warm, "exported_weights", lambda *_: older)
    started = load_exported(card, make).eval()
    with torch.no_grad():
        torch.testing.assert_close(level_3(started, overview_of(batch, 64)), level_3(whole, overview_of(batch, 64)))


def test_onnxruntime_computes_what_torch_does_on_a_real_photo(make: Maker, photos: Path, tmp_path: Path) -> None:
    state = State(options(steps=8))
    trained(state, make)
    network = open_network(export_model(state.network, tmp_path, {}, long_side=256))
    image = cv2.imread(str(photos / "astronaut.jpg"))[:256, :192, ::-1]
    mine = network.run_global(image / np.float32(255), (0.5, 0.5))
    with torch.no_grad():
        x = np.dstack([image / np.float32(255), focus_hint((256, 192), (0.5, 0.5))]).transpose(2, 0, 1)[None]
        theirs = level_3(state.network.eval(), torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32)))
    difference = np.abs(mine - theirs[0].numpy())
    assert difference.max() < 2e-3  # of logits, with weights stored in half precision


def test_an_export_that_computes_something_else_is_refused(make: Maker, tmp_path: Path) -> None:
    from bokehcli.trainer.export import parity

    state = State(options(steps=8))
    trained(state, make)
    card = export_model(state.average, tmp_path, {})
    batch = collate([make(5, number, 128, False) for number in range(2)])
    assert parity(state.average, card, batch.photo, batch.hint) < 1e-3
    for wrong in (1.0, float("nan")):
        with torch.no_grad():
            state.average.octave.head.bias[0] += wrong
        with pytest.raises(ModelError, match="differ"):
            parity(state.average, card, batch.photo, batch.hint)


def test_large_kernels_are_stored_in_eight_bits_and_small_ones_in_sixteen() -> None:
    torch.manual_seed(0)
    kernel = torch.randn(64, 32, 3, 3) * torch.logspace(-4, 1, 64)[:, None, None, None]  # outputs of any size
    kernel[5] = 0.0
    stored = as_stored(kernel)
    assert kernel.numel() >= EIGHT_BITS_FROM
    step = kernel.abs().amax((1, 2, 3), keepdim=True) / 127
    assert ((stored - kernel).abs() <= 0.501 * step).all()
    assert ((stored - kernel).abs().amax((1, 2, 3)) > 0.3 * step[:, 0, 0, 0])[torch.arange(64) != 5].all()
    codes, scale = eight_bits(stored.numpy())
    torch.testing.assert_close(torch.from_numpy(codes * scale), stored, rtol=1e-6, atol=0.0)  # stored again it is the same
    small = torch.randn(8, 8, 3, 3)
    assert torch.equal(as_stored(small), small.half().float())


def test_weights_come_back_from_the_files_as_they_were_stored(tmp_path: Path) -> None:
    wide = dataclasses.replace(TINY, widths=(8, 12, 16, 24, 96))  # so that some kernels are large
    network = State(options(network=wide)).average
    card = export_model(network, tmp_path, {})
    kinds = {tensor.split(".")[-1] for tensor in names_in(card)}
    assert {"codes", "scale", "half"} <= kinds
    weights = stored_weights(card.path("global"))
    own = {name: weight for name, weight in network.network.state_dict().items() if name.endswith("describe.0.weight")}
    assert own.keys() <= {name.removeprefix("network.") for name in weights}
    batch = torch.rand(1, 3, 128, 128), torch.zeros(1, 1, 128, 128)
    from bokehcli.trainer.export import parity

    assert parity(network, card, *batch) < 1e-4  # torch with weights as stored against ONNX Runtime


def test_a_file_in_half_precision_is_carried_over_in_eight_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnx

    from bokehcli.trainer import export, weights

    wide = dataclasses.replace(TINY, widths=(8, 12, 16, 24, 96))
    network, about = State(options(network=wide)).average, {"network": dataclasses.asdict(wide)}
    new = export_model(network, tmp_path / "new", about)
    with monkeypatch.context() as patch:
        patch.setattr(weights, "EIGHT_BITS_FROM", 10**9)
        old = export_model(network, tmp_path / "old", about)
    assert old.path("global").stat().st_size > new.path("global").stat().st_size
    files = [export_pointed(network, tmp_path / f"{n}", about, base).path("global") for n, base in enumerate((old, new))]
    assert files[1].read_bytes() == new.path("global").read_bytes()
    mine, theirs = (stored_weights(path) for path in (files[0], new.path("global")))
    for name, weight in theirs.items():
        step = weight.abs().max() / 127
        # in between it was rounded to half precision, by 2^-12 of 127 steps: one code further, and as much of the scale
        assert (mine[name] - weight).abs().max() <= 1.07 * step, name
    nodes = [[(node.op_type, *node.output) for node in onnx.load(str(path)).graph.node] for path in (files[0], files[1])]
    assert nodes[0] == nodes[1]
    assert export.is_compact(onnx.load(str(files[0])))


def names_in(card: ModelCard) -> list[str]:
    import onnx

    return [tensor.name for tensor in onnx.load(str(card.path("global"))).graph.initializer]


# the network for what is pointed at


def test_a_network_for_pointing_joins_a_model_and_changes_nothing_else(make: Maker, photos: Path, tmp_path: Path) -> None:
    about = {"network": dataclasses.asdict(TINY), "data": "three photos"}
    base = export_model(State(options(seed=1)).average, tmp_path / "base", about, long_side=128)
    deeper = dataclasses.replace(TINY, blocks=(2, 1, 1, 1, 1))
    pointed = State(options(seed=2, network=deeper)).average
    card = export_pointed(pointed, tmp_path / "both", {"network": dataclasses.asdict(deeper)}, base)
    assert {role: card.sha256[role] for role in ROLES} == base.sha256
    assert card.about["data"] == "three photos"
    image = cv2.imread(str(photos / "astronaut.jpg"))[:256, :192, ::-1]
    one, both = open_network(base), open_network(card)
    np.testing.assert_array_equal(one.run_global(image / np.float32(255), None), both.run_global(image / np.float32(255), None))
    hinted = [network.run_global(image / np.float32(255), (0.5, 0.5)) for network in (one, both)]
    assert np.abs(hinted[0] - hinted[1]).max() > 1e-3
    # and the one goes on where the other does not
    assert load_exported(card, make, pointed=True).options == deeper
    assert load_exported(card, make).options == TINY
    again = export_model(State(options(seed=3)).average, tmp_path / "again", about, 128, card)
    assert again.sha256[POINTED] == card.sha256[POINTED]
    assert again.about[POINTED] == card.about[POINTED]


def test_the_network_at_which_nobody_points_is_written_without_pointings(make: Maker, photos: Path, tmp_path: Path) -> None:
    from bokehcli.trainer.export import parity

    about = {"network": dataclasses.asdict(TINY)}
    network = State(options(seed=1)).average
    for pointing in network.network.pointing.values():
        torch.nn.init.normal_(pointing.mark.weight)
        torch.nn.init.normal_(pointing.differ.weight)
    alone = export_model(network, tmp_path / "alone", about, 128)
    both = export_pointed(State(options(seed=2)).average, tmp_path / "both", about, alone)
    card = export_model(network, tmp_path / "again", about, 128, both)
    assert any("pointing" in name for name in names_in(alone))
    assert not any("pointing" in name for name in names_in(card))
    assert any("pointing" in name for name in stored_weights(card.path(POINTED)))
    assert len(network.network.pointing) == len(TINY.pointed_levels)  # what is trained has them still
    image = cv2.imread(str(photos / "astronaut.jpg"))[:256, :192, ::-1] / np.float32(255)
    with_them, without = (open_network(each).run_global(image, None) for each in (alone, card))
    np.testing.assert_allclose(without, with_them, atol=1e-5)
    # it goes on as what it is, and the other one as well
    assert load_exported(card, make).options.pointed_levels == ()
    assert load_exported(card, make, pointed=True).options.pointed_levels == TINY.pointed_levels
    batch = collate([make(5, number, 128, False) for number in range(2)])
    assert batch.hint.any()
    assert parity(network, card, batch.photo, batch.hint) < 1e-3


def test_a_network_from_before_levels_to_point_at_were_chosen_has_three_of_them() -> None:
    written = dataclasses.asdict(TINY)
    del written["pointed_levels"]
    assert set(LensNet(NetworkOptions.restored(written)).network.pointing) == {"6", "5", "4"}


def test_weights_that_the_network_has_no_place_for_are_refused(make: Maker, tmp_path: Path) -> None:
    deeper = dataclasses.replace(TINY, blocks=(1, 2, 1, 1, 1))
    card = export_model(State(options(network=deeper)).average, tmp_path, {"network": dataclasses.asdict(TINY)})
    with pytest.raises(ModelError, match=r"no place for 4 of the weights, such as network\.decode\.4\.2\.join\.0\.weight"):
        load_exported(card, make)


def test_a_pointed_network_starts_as_the_only_one_a_model_has(make: Maker, tmp_path: Path) -> None:
    card = export_model(State(options()).average, tmp_path, {"network": dataclasses.asdict(TINY)})
    batch = collate([make(9, number, 64, False) for number in range(2)])
    with torch.no_grad():
        maps = [level_3(load_exported(card, make, pointed=pointed).eval(), overview_of(batch, 64)) for pointed in (False, True)]
    torch.testing.assert_close(maps[0], maps[1])


def changed_by(make: Maker, mix: str) -> list[set[str]]:
    """The names of what changes while the global levels are trained, and then the octaves, on a mix of samples."""
    stages = (
        schedule.Stage(until=0.5, lowest=3, size=64, batch=2),
        schedule.Stage(until=1.0, lowest=3, size=128, batch=2, octaves=2),
    )
    state = State(options(steps=4, stages=stages, mix=mix))
    torch.nn.init.normal_(state.network.octave.head.weight, std=0.1)  # so that the hidden channels matter
    torch.nn.init.normal_(state.network.network.head["3"].weight, std=5.0)  # so that there are edges
    held = []
    for steps in (0, 2, 2):
        if steps:
            trained(state, make, steps)
        held.append({name: value.clone() for name, value in state.network.state_dict().items()})
    return [{name for name in a if not torch.equal(a[name], b[name])} for a, b in itertools.pairwise(held)]


def test_a_pointed_network_leaves_the_octaves_as_they_are(make: Maker) -> None:
    first, then = changed_by(make, POINTED)
    assert "network.stem.0.weight" in first
    assert then == {"network.hidden.weight", "network.hidden.bias"}
    assert not any("running_" in name for name in first)  # statistics of batch norm


def test_without_pointing_the_global_levels_and_the_octaves_learn(make: Maker) -> None:
    first, then = changed_by(make, UNPOINTED)
    assert "network.stem.0.weight" in first
    assert not any("running_" in name for name in first)
    assert "octave.head.weight" in then
    assert all(name.startswith(("octave.", "network.hidden.")) for name in then)


def test_in_small_batches_statistics_and_wide_kernels_are_held_and_in_large_ones_not(make: Maker) -> None:
    alone = (schedule.Stage(until=1.0, lowest=3, size=64, batch=1),)
    for times, measured in ((1, False), (MEASURED, True)):
        state = State(options(mix=UNPOINTED, stages=alone, times=times, steps=1))
        watched = state.network.network.stem[1].running_mean, state.network.network.decode["3"][1].wide[0].weight
        before = [each.detach().clone() for each in watched]
        record = next(train(state, make))
        assert record.pictures == times
        for then, now in zip(before, watched, strict=True):
            assert bool((now != then).any()) is measured


@pytest.mark.parametrize(("capability", "pays"), [("AVX2", False), ("DEFAULT", False), ("AVX512", True)])
def test_a_cpu_trains_in_bfloat16_only_where_that_is_faster(
    capability: str, pays: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert has_bfloat16(torch.device("cpu")) is pays


@pytest.mark.parametrize("native", [False, True])
def test_a_gpu_trains_in_bfloat16_only_where_it_is_not_emulated(native: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: native or including_emulation)
    assert has_bfloat16(torch.device("cuda")) is native
    assert not has_bfloat16(torch.device("mps"))


@pytest.mark.parametrize(
    ("device", "layout"),
    [("cpu", torch.channels_last), ("cuda", torch.channels_last), ("mps", torch.contiguous_format)],
    ids=str,
)
def test_channels_lie_last_where_batch_norm_takes_them_so(device: str, layout: Any) -> None:
    assert layout_on(torch.device(device)) is layout


def test_samples_travel_as_bytes_and_arrive_as_they_were(library: Library) -> None:
    samples = [make_sample(library, 0, number, 64) for number in range(4)]
    sent = stacked(samples)
    assert sent.photo.dtype == torch.uint8
    arrived = sent.to(torch.device("cpu"))
    for number, sample in enumerate(samples):
        np.testing.assert_allclose(arrived.photo[number].permute(1, 2, 0).numpy() * 255.0, sample.photo, atol=1e-4)
        for name in ("hint", "alpha", "defocus"):
            np.testing.assert_allclose(getattr(arrived, name)[number, 0].numpy(), getattr(sample, name), atol=5e-4)


def test_photos_whose_matte_is_in_doubt_come_seldom(tmp_path: Path, photos: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "mattes").mkdir()
    for number in range(10):
        photo = cv2.imread(str(photos / "coffee.jpg"))
        matte = np.zeros(photo.shape[:2], np.uint8)
        matte[100:300, 100:300] = 128 if number < 5 else 255
        cv2.imwrite(str(tmp_path / "photos" / f"{number}.png"), photo)
        cv2.imwrite(str(tmp_path / "mattes" / f"{number}.png"), matte)
    library = Library(find_items(tmp_path), 128)
    plain = dataclasses.replace(MIXES[UNPOINTED], two=0.0, one=0.0, group=0.0, empty=0.0)
    shares = []
    for sure in (0.0, 1.0):
        with mock.patch.dict(MIXES, {UNPOINTED: dataclasses.replace(plain, sure=sure)}):
            samples = [make_sample(library, 0, number, 32, mix=UNPOINTED) for number in range(200)]
        shares.append(sum(sample.alpha.max() < 0.9 for sample in samples) / len(samples))
    assert 0.4 < shares[0] < 0.6
    assert 0.15 < shares[1] < 0.35


def test_a_checkpoint_from_before_there_were_mixes_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    save_checkpoint(State(options()), path)
    held = torch.load(path, weights_only=True)
    del held["options"]["mix"]
    for pointed, mix in ((True, POINTED), (False, MIXED)):
        held["options"]["pointed"] = pointed
        torch.save(held, path)
        assert load_checkpoint(path).options.mix == mix


@pytest.mark.parametrize("mix", MIXES)
def test_every_mix_is_a_pure_function_of_seed_and_number(library: Library, mix: str) -> None:
    for number in range(30):
        first, again = (make_sample(library, 3, number, 64, mix=mix) for _ in range(2))
        for name in ("photo", "hint", "alpha", "defocus"):
            np.testing.assert_array_equal(getattr(first, name), getattr(again, name))


def test_samples_without_pointing_have_subjects_and_no_hint(library: Library) -> None:
    samples = [make_sample(library, 0, number, 64, mix=UNPOINTED) for number in range(60)]
    assert not any(sample.hint.any() for sample in samples)
    assert sum(bool((sample.alpha > 0.9).any()) for sample in samples) > 50


def test_samples_for_pointing_point_at_what_is_in_focus(library: Library) -> None:
    pointed = 0
    for number in range(40):
        sample = make_sample(library, 0, number, 96, mix=POINTED)
        if not (sample.alpha > 0.9).any():
            continue
        pointed += 1
        y, x = np.unravel_index(sample.hint.argmax(), sample.hint.shape)
        assert sample.hint.max() > 0.5
        assert sample.alpha[y, x] > 0.9
    assert pointed > 35


def test_touching_objects_are_placed_side_by_side() -> None:
    rng = np.random.default_rng(0)
    alpha = np.zeros((200, 200), np.float32)
    alpha[80:120, 90:130] = 1.0
    overlaps = []
    for _ in range(200):
        x, y = neighbouring(rng, alpha, 15.0, 25.0)
        apart = max(abs(x - 110) - 35, abs(y - 100) - 45)  # of the boxes' borders; negative where they overlap
        assert apart < 1.0
        overlaps.append(-apart)
    assert np.mean(overlaps) > 3
    assert neighbouring(rng, np.zeros((64, 64), np.float32), 5.0, 5.0) == (32.0, 32.0)  # beside nothing


# the command


def test_train_then_run_works_as_a_chain(training_folder: Path, photos: Path, tmp_path: Path) -> None:
    model, out = tmp_path / "model", tmp_path / "out"
    done = bokeh("train", training_folder, "--out", model, "--preset", "tiny", "--steps", "12", "--threads", "1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(model)
    assert "pictures/s" in done.stderr
    assert list((model / "previews").glob("*.jpg"))
    ran = bokeh("run", photos / "rocket.jpg", "--out", out, "--model", model, "--min-subject", "0")
    assert ran.returncode == 0, ran.stderr
    assert (out / "rocket.jpg").exists()
    again = bokeh("train", training_folder, "--out", model, "--steps", "14", "--threads", "1")
    assert again.returncode == 0, again.stderr
    assert "from step 12" in again.stderr
    blend = ("--blend", model, "--share", "0.25")
    alone = bokeh("train", training_folder, "--out", tmp_path / "warm", *blend)
    assert alone.returncode == 2
    assert "--from" in alone.stderr
    warm = bokeh("train", training_folder, "--out", tmp_path / "warm", "--from", model, *blend, "--steps", "1")
    assert warm.returncode == 0, warm.stderr
    assert "from the weights" in warm.stderr


@pytest.mark.parametrize(
    "words",
    ["--network pynet2020", "--preset full", "--preset pointed --from OTHER", "--from OTHER", "--blocks 1,1,1,1,2"],
)
def test_a_checkpoint_of_another_training_is_not_gone_on_from(tmp_path: Path, words: str) -> None:
    about = {"network": dataclasses.asdict(TINY)}
    base, other = (export_model(State(options(seed=n)).average, tmp_path / name, about) for n, name in enumerate("ab"))
    held = options(preset="tiny", base=base.digest(), workers=1)
    save_checkpoint(State(held), tmp_path / "last.ckpt")
    arguments = parser().parse_args(["photos", "--out", str(tmp_path), *words.replace("OTHER", str(other.folder)).split()])
    card = None if arguments.model is None else find_model(arguments.model)
    with pytest.raises(UsageError, match=f"made with another {words.split(maxsplit=1)[0]}; .* --fresh"):
        resumed_state(arguments, preset_of(arguments), card)
    arguments.fresh = True
    assert resumed_state(arguments, preset_of(arguments), card) is None
    for same in ([], ["--preset", "tiny", "--network", "lens"], ["--from", str(base.folder), "--blocks", "1,1,1,1,1"]):
        arguments = parser().parse_args(["photos", "--out", str(tmp_path), *same])
        resumed = resumed_state(arguments, preset_of(arguments), base if arguments.model else None)
        assert resumed is not None
        assert resumed.options == held


def test_a_checkpoint_from_before_it_knew_its_preset_is_gone_on_from(tmp_path: Path) -> None:
    save_checkpoint(State(options()), tmp_path / "last.ckpt")
    held = torch.load(tmp_path / "last.ckpt", weights_only=True)
    del held["options"]["preset"], held["options"]["base"]
    torch.save(held, tmp_path / "last.ckpt")
    arguments = parser().parse_args(["photos", "--out", str(tmp_path), "--preset", "tiny"])
    assert resumed_state(arguments, preset_of(arguments), None) is not None


@pytest.mark.parametrize("preset", [POINTED, UNPOINTED, "octaves"])
def test_what_goes_on_from_a_model_needs_one(training_folder: Path, tmp_path: Path, preset: str) -> None:
    alone = bokeh("train", training_folder, "--out", tmp_path / "model", "--preset", preset)
    assert alone.returncode == 2
    assert f"--preset {preset}: needs --from" in alone.stderr


def test_a_network_for_pointing_is_trained_and_used(training_folder: Path, photos: Path, tmp_path: Path) -> None:
    base = export_model(State(options()).average, tmp_path / "base", {"network": dataclasses.asdict(TINY)}, 128)
    arguments = ("train", training_folder, "--out", tmp_path / "model", "--steps", "2", "--threads", "1")
    done = bokeh(*arguments, "--preset", "pointed", "--from", base.folder)
    assert done.returncode == 0, done.stderr
    again = bokeh(*arguments, "--from", base.folder)  # the checkpoint knows what it is
    assert again.returncode == 0, again.stderr
    ran = bokeh("run", photos / "rocket.jpg", "--out", tmp_path, "--model", tmp_path / "model", "--focus", "0.5,0.5")
    assert ran.returncode == 0, ran.stderr
    write_pairs(tmp_path / "pairs", photos, 1)
    pairs = ("train", tmp_path / "pairs", "--out", tmp_path / "x", "--preset", "pointed", "--from", base.folder)
    refused = bokeh(*pairs)
    assert refused.returncode == 2
    assert "--preset pointed needs photos with mattes" in refused.stderr


def test_training_goes_on_without_anybody_pointing(training_folder: Path, tmp_path: Path) -> None:
    base = export_model(State(options()).average, tmp_path / "base", {"network": dataclasses.asdict(TINY)}, 128)
    both = export_pointed(State(options(seed=2)).average, tmp_path / "both", {"network": dataclasses.asdict(TINY)}, base)
    arguments = ("train", training_folder, "--out", tmp_path / "model", "--steps", "2", "--threads", "1")
    done = bokeh(*arguments, "--preset", "unpointed", "--from", both.folder)
    assert done.returncode == 0, done.stderr
    card = find_model(tmp_path / "model")
    assert card.path(POINTED).read_bytes() == both.path(POINTED).read_bytes()
    assert card.path("global").read_bytes() != both.path("global").read_bytes()
    assert load_checkpoint(tmp_path / "model" / "last.ckpt").options.mix == UNPOINTED


def test_pairs_train_through_the_lens_alone(tmp_path: Path, photos: Path) -> None:
    write_pairs(tmp_path / "pairs", photos, 4)
    arguments = ("--preset", "tiny", "--steps", "8", "--sample", "3", "--threads", "1")
    done = bokeh("train", tmp_path / "pairs", "--out", tmp_path / "model", *arguments)
    assert done.returncode == 0, done.stderr
    assert "3 pairs" in done.stderr
    onwards = ("--from", tmp_path / "model", "--steps", "3", "--threads", "1")  # one of levels 3 to 7, two of the octaves
    done = bokeh("train", tmp_path / "pairs", "--out", tmp_path / "more", *onwards)
    assert done.returncode == 0, done.stderr
    assert find_model(tmp_path / "more").about["trained"]["steps"] == 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["terminal", "scheduler"])
def test_an_interrupt_leaves_a_checkpoint_and_a_model(training_folder: Path, tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "bokehcli", "train", str(training_folder), "--out", str(tmp_path / "model")]
    command += ["--preset", "tiny", "--steps", "100000", "--threads", "1"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as child:
        assert child.stderr is not None
        for line in child.stderr:
            if line.startswith("step"):
                break
        os.killpg(child.pid, number)  # as a terminal does, to every process of the group
        rest = child.stderr.read()
    assert child.returncode == 130, rest
    assert "Traceback" not in rest
    assert load_checkpoint(tmp_path / "model" / "last.ckpt").step > 0
    assert (tmp_path / "model" / "card.json").exists()


def test_of_all_signals_a_second_ctrl_c_alone_leaves_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal, "signal", mock.Mock())
    stop = Stop()
    assert not stop.asked
    for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
        stop.ask(number, None)
        assert stop.asked
    with pytest.raises(KeyboardInterrupt):
        stop.ask(signal.SIGINT, None)


def test_a_wait_for_samples_that_a_signal_ends_is_the_end_of_them(make: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows, where it ends so although the signal's handler returned; who asked for a stop looks after the rest."""

    def samples(_: object) -> Iterator[Any]:
        yield "a batch"
        raise InterruptedError

    monkeypatch.setattr(torch.utils.data.DataLoader, "__iter__", samples)
    assert list(arriving(torch.utils.data.DataLoader([]))) == ["a batch"]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["nowhere", "--out", "m"], "nowhere"),
        ([".", "--out", "m"], "mattes"),
        ([".", "--out", "m", "--from", "x"], "x: not a model"),
    ],
)
def test_misuse_is_one_line_and_status_2(tmp_path: Path, arguments: list[str], word: str) -> None:
    done = bokeh("train", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert word in done.stderr


@pytest.mark.parametrize("place", ["file", "file/m", "/proc/nowhere/m"])
def test_a_place_where_no_folder_can_be_is_misuse(training_folder: Path, tmp_path: Path, place: str) -> None:
    if place.startswith("/proc") and sys.platform != "linux":
        pytest.skip("Linux has it")
    (tmp_path / "file").touch()
    done = bokeh("train", training_folder, "--out", place, "--threads", "1", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(f"bokeh train: {place}: no folder can be made there (")
    assert "Traceback" not in done.stderr


def test_training_that_diverges_is_one_line_and_leaves_no_model(training_folder: Path, tmp_path: Path) -> None:
    arguments = ("--preset", "tiny", "--steps", "100", "--threads", "1", "--rate", "1e30")
    done = bokeh("train", training_folder, "--out", tmp_path / "model", *arguments)
    assert done.returncode == 1
    assert "bokeh train: step 2: the loss is " in done.stderr.splitlines()[-1]
    assert not list((tmp_path / "model").iterdir())


def test_a_folder_that_takes_no_files_is_misuse_before_anything_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "TemporaryFile", mock.Mock(side_effect=PermissionError(13, "Permission denied")))
    with pytest.raises(UsageError, match="m: nothing can be written there"):
        run(parser().parse_args(["nowhere", "--out", str(tmp_path / "m")]))


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("unexpected pos 1 vs 2\nmore")])
def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    state, path = State(options()), tmp_path / "a.ckpt"
    save_checkpoint(state, path)
    before = path.read_bytes()
    monkeypatch.setattr(torch, "save", mock.Mock(side_effect=error))
    with pytest.raises(WriteError, match=r"a\.ckpt: (No space left on device|unexpected pos 1 vs 2)$"):
        save_checkpoint(state, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_step_without_pictures_is_refused(tmp_path: Path) -> None:
    done = bokeh("train", ".", "--out", "m", "--times", "0", cwd=tmp_path)
    assert done.returncode == 2
    assert "--times: invalid" in done.stderr


@pytest.mark.parametrize("option", ["--sample", "--seed", "--workers", "--threads", "--long-side"])
def test_a_number_below_0_is_refused(option: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert getattr(parser().parse_args(["photos", "--out", "m", option, "0"]), option.strip("-").replace("-", "_")) == 0
    with pytest.raises(SystemExit, match="2"):
        parser().parse_args(["photos", "--out", "m", option, "-3"])
    assert f"{option}: invalid" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("option", "least", "refused"),
    [
        ("--steps", "1", ["0", "-1", "1.5"]),
        ("--rate", "1e-9", ["0", "-1", "nan", "inf"]),
        ("--scale", "1e-9", ["0", "-1", "nan", "inf"]),
        *((option, "0", ["-1", "nan", "inf"]) for option in ("--cache", "--minutes", "--save-every", "--preview-every")),
        ("--seed", str(2**63 - 1), [str(2**63)]),
        ("--long-side", "64", ["1", "63"]),
    ],
)
def test_a_number_that_makes_no_sense_is_refused(
    option: str, least: str, refused: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    parser().parse_args(["photos", "--out", "m", option, least])
    for value in refused:
        with pytest.raises(SystemExit, match="2"):
            parser().parse_args(["photos", "--out", "m", option, value])
        assert f"{option}: invalid" in capfd.readouterr().err


def test_minutes_end_a_run_with_a_checkpoint(training_folder: Path, tmp_path: Path) -> None:
    began = time.monotonic()
    arguments = ("--preset", "tiny", "--steps", "1000000", "--minutes", "0.05", "--threads", "1")
    done = bokeh("train", training_folder, "--out", tmp_path, *arguments)
    assert done.returncode == 0, done.stderr
    assert 0 < load_checkpoint(tmp_path / "last.ckpt").step < 1_000_000
    assert time.monotonic() - began < 250
