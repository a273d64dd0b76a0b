"""The network at run time: tiles do not show, any shape of photo is taken, and torch gives the same."""

import dataclasses
import functools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bokehcli import infer
from bokehcli.errors import DeviceError, ModelError
from bokehcli.infer import MAPS, Network, open_network
from bokehcli.model import ModelCard, find_lens_model
from bokehcli.options import UNSURE_FROM, Device, InferOptions
from bokehcli.pixels import focus_hint, resize, to_unit
from bokehcli.pyramid import Level
from bokehcli.subject import doubt, pointed_at
from bokehcli.tiling import Box

ONE_THREAD = InferOptions(threads=1, min_clarity=0.0)
LONG_SIDE = 128


def tiny_lens_net() -> Any:
    """A small untrained network whose alpha is sure in some places and unsure in others, and whose octaves do something."""
    torch = pytest.importorskip("torch")
    from bokehcli.trainer.network import DECISION, LensNet, NetworkOptions

    torch.set_num_threads(1)
    torch.manual_seed(10)
    net = LensNet(NetworkOptions(widths=(8, 8, 8, 8, 8), blocks=(1, 1, 1, 1, 1), octave=8)).eval()
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, torch.nn.BatchNorm2d):  # so that folding it has something to fold
                module.running_mean.uniform_(-0.1, 0.1)
                module.running_var.uniform_(0.5, 1.5)
        torch.nn.init.normal_(net.octave.head.weight, std=0.3)  # zero-initialised
        torch.nn.init.normal_(net.octave.head.bias, std=0.3)
        maps = net.network(torch.cat((example_photo(torch), torch.zeros(1, 1, LONG_SIDE, LONG_SIDE)), 1))
        alpha = maps[-1][:, 0]
        spread = 7.0 / DECISION  # of the logits that reach the octaves: 7
        for head in net.network.head.values():
            head.weight[0] *= spread / alpha.std()
            head.bias[0] *= spread / alpha.std()
        net.network.head["3"].bias[0] -= spread * alpha.mean() / alpha.std()
    return net


def example_photo(torch: Any) -> Any:
    photo = load(Path(__file__).parent / "photos" / "astronaut.jpg")
    small = cv2.resize(photo, (LONG_SIDE, LONG_SIDE), interpolation=cv2.INTER_AREA)
    return torch.from_numpy(small.astype(np.float32).transpose(2, 0, 1)[None] / 255)


def load(path: Path) -> NDArray[np.uint8]:
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


@pytest.fixture(scope="session")
def net() -> Any:
    return tiny_lens_net()


@pytest.fixture(scope="session")
def card(net: Any, tmp_path_factory: pytest.TempPathFactory) -> ModelCard:
    pytest.importorskip("onnx")
    from bokehcli.trainer.export import export_model

    return export_model(net, tmp_path_factory.mktemp("tiny"), {"for": "tests"}, LONG_SIDE)


@pytest.fixture(scope="session")
def network(card: ModelCard) -> Network:
    return open_network(card, ONE_THREAD)


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles that already come into play at the size of the test photos."""
    monkeypatch.setattr(infer, "TILE_PX", 16)
    monkeypatch.setattr(infer, "WHOLE_UP_TO_PX", 100)


@dataclass
class Recorded:
    """A session that keeps what it was given."""

    session: Any
    feeds: list[dict[str, NDArray[np.float32]]] = field(default_factory=list)

    def run(self, outputs: None, feed: dict[str, NDArray[np.float32]]) -> Any:
        self.feeds.append(feed)
        return self.session.run(outputs, feed)


@dataclass
class InTorch:
    """A session that runs the torch module itself."""

    module: Any

    def run(self, _: None, feed: dict[str, NDArray[np.float32]]) -> Any:
        import torch

        with torch.no_grad():
            return [self.module(*(torch.from_numpy(array) for array in feed.values())).numpy()]


def recorded(network: Network) -> tuple[Network, Recorded, Recorded, Recorded]:
    """The network with sessions that are watched: the global one, the octave's, and that of the last octave."""
    sessions = Recorded(network.lowest), Recorded(network.octave), Recorded(network.finest)
    return Network(network.card, *(cast(ort.InferenceSession, session) for session in sessions)), *sessions


NAMES = pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee", "rocket"])


@NAMES
def test_tiles_do_not_show(network: Network, photos: Path, name: str, small_tiles: None) -> None:
    image = load(photos / f"{name}.jpg")
    tiled, whole = network.predict(image), network.predict(image, tiled=False)
    # The tiles' context covers all that the octave looks at. What is left is where alpha is level, and is enlarged as alpha
    # instead of as a logit: three quarters of what it may vary by at most, and a rounding.
    difference = np.abs(tiled.alpha.astype(int) - whole.alpha)
    assert difference.max() <= 0.75 * infer.LEVEL * network.card.gate_from * 255 + 1
    assert difference.mean() < 0.02
    np.testing.assert_array_equal(tiled.defocus, whole.defocus)


def test_tiles_without_their_context_would_show(
    network: Network, photos: Path, small_tiles: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(infer, "REFINING_PX", 0)  # blocks end nearer to the edges
    monkeypatch.setattr(infer, "TILE_PX", 4)
    image = load(photos / "astronaut.jpg")
    whole = network.predict(image, tiled=False)
    cut = Network(dataclasses.replace(network.card, context_px=0), network.lowest, network.octave, network.finest)
    assert np.abs(cut.predict(image).alpha.astype(int) - whole.alpha).max() > 40


def tiles_of(network: Network, session: Recorded) -> int:
    """How many tiles were run, in blocks of several."""
    count = 0
    for number, _, *sides in (feed["state"].shape for feed in session.feeds):
        down, across = ((side - 2 * network.card.context_px) // infer.TILE_PX for side in sides)
        count += number * down * across
    return count


def test_only_tiles_near_an_edge_are_run(network: Network, small_tiles: None) -> None:
    size = 160, 224
    state = np.random.default_rng(1).normal(size=(network.card.channels, *size)).astype(np.float32)
    state[0] = np.where(np.arange(size[1]) < 100, 9.0, -9.0)
    state[0, :, 100:] = -9.0
    state[0, :50], state[0, 100:] = 9.0, 9.0  # what is left of the edge: rows 50 to 100, from column 100 on
    state[0, 8, 8] = 0.0  # well inside the first tile
    picture = np.random.default_rng(2).integers(0, 256, (2 * size[0], 2 * size[1], 3), np.uint8)
    watched, _, octave, finest = recorded(network)
    alpha = network.alpha_of(state, infer.FULL)
    level, finer = watched.refine_tiles(picture, Level(size, dense=state), alpha, 255)
    run = tiles_of(network, finest)
    assert 20 < run < 40  # of 140
    assert len({feed["state"].shape[2:] for feed in finest.feeds}) > 1
    np.testing.assert_array_equal(finer, network.alpha_of(network.refine(picture, state, 255), 255))
    assert not level.pieces  # nobody asks for the state at the photo's own size
    level, _ = watched.refine_tiles(picture, Level(size, dense=state), alpha, infer.FULL)
    assert run == tiles_of(network, octave)
    boxes = [piece.box for pieces in level.pieces.values() for piece in pieces]
    assert sum(box.height * box.width for box in boxes) == run * (2 * infer.TILE_PX) ** 2
    whole = network.refine(picture, state, infer.FULL)
    # hidden channels too are what one run over everything gives, wherever tiles and the enlarged state meet
    box = Box(90, 131, 180, 233)
    np.testing.assert_allclose(level.state(box, len(whole)), whole[:, *box.slices], atol=1e-4)


@NAMES
def test_the_tests_see_sure_and_unsure_pixels(network: Network, photos: Path, name: str) -> None:
    alpha = network.predict(load(photos / f"{name}.jpg")).alpha
    for share in (alpha == 0, alpha == 255, (alpha > 0) & (alpha < 255)):
        assert share.mean() > 0.05


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.sampled_from([np.uint8, np.uint16]))
@example(1, 900, np.uint8)
@example(900, 1, np.uint16)
@example(3, 1400, np.uint8)
@example(131, 257, np.uint16)
def test_maps_have_the_photos_size_and_stay_in_range_at_any_shape(
    network: Network, height: int, width: int, dtype: Any
) -> None:
    assume(max(height, width) >= LONG_SIDE / network.card.shrink)  # smaller ones: see the next test
    image = np.random.default_rng(height * 1000 + width).integers(0, np.iinfo(dtype).max, (height, width, 3), dtype)
    maps = network.predict(image, (0.3, 0.6))
    assert (maps.alpha.shape, maps.alpha.dtype) == ((height, width), np.uint8)
    assert maps.defocus.dtype == np.float32
    assert 0.0 <= maps.defocus.min() <= maps.defocus.max() <= 1.0  # and so no NaN
    assert 0.0 <= maps.subject_area <= 1.0


@pytest.mark.parametrize("size", [(100, 90), (37, 53)])
def test_a_photo_smaller_than_the_state_is_taken(card: ModelCard, net: Any, tmp_path: Path, size: tuple[int, int]) -> None:
    from bokehcli.trainer.export import export_model

    network = open_network(export_model(net, tmp_path, {}, 512), ONE_THREAD)  # its state has 128 px
    assert network.predict(np.zeros((*size, 3), np.uint8)).alpha.shape == size


def test_sixteen_bits_give_what_eight_bits_give(model: ModelCard, photos: Path) -> None:
    network = open_network(model, ONE_THREAD)
    for name in ("astronaut", "chelsea"):
        image = load(photos / f"{name}.jpg")
        narrow, wide = network.predict(image), network.predict(image.astype(np.uint16) * 257)
        assert np.abs(narrow.alpha.astype(int) - wide.alpha).max() <= 2


def errors_against_torch(net: Any, network: Network, path: Path) -> tuple[float, float, float]:
    """Largest and mean error of alpha, in 1/255, and largest of defocus."""
    from bokehcli.trainer.export import Lowest
    from bokehcli.trainer.network import finest

    modules = Lowest(net.network), net.octave, finest(net.octave)
    sessions = (cast(ort.InferenceSession, InTorch(module)) for module in modules)
    image = load(path)
    ours, torchs = network.predict(image), Network(network.card, *sessions).predict(image)
    alpha, defocus = np.abs(ours.alpha.astype(int) - torchs.alpha), np.abs(ours.defocus - torchs.defocus)
    return float(alpha.max()), float(alpha.mean()), float(defocus.max())


def test_the_exported_network_is_the_one_in_torch(
    net: Any, photos: Path, small_tiles: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bokehcli.trainer import export

    monkeypatch.setattr(export, "compact", lambda model: model)
    network = open_network(export.export_model(net, tmp_path, {}, LONG_SIDE), ONE_THREAD)
    largest, mean, defocus = errors_against_torch(net, network, photos / "rocket.jpg")
    assert largest <= 1  # a value on the verge of two steps
    assert mean < 1e-3
    assert defocus < 1e-4


@NAMES
def test_torch_computes_the_bundled_model_in_float32_as_onnxruntime_does(
    model: ModelCard, training_folder: Path, photos: Path, tmp_path: Path, name: str
) -> None:
    from bokehcli.trainer.data import Library, find_items
    from bokehcli.trainer.quantise import written
    from bokehcli.trainer.samples import make_sample
    from bokehcli.trainer.warm import load_exported

    written(model, tmp_path, {})
    library, card = Library(find_items(training_folder), 256), find_lens_model(tmp_path)
    net = load_exported(card, functools.partial(make_sample, library)).eval()
    # The weights are the same rounded ones.
    largest, mean, defocus = errors_against_torch(net, open_network(card, ONE_THREAD), photos / f"{name}.jpg")
    assert largest <= 1
    assert mean < 1e-3
    assert defocus < 1e-4


@pytest.mark.parametrize(("focus", "least"), [(None, 0.97), ((0.5, 0.5), 0.9)])
def test_the_bundled_model_finds_in_eight_bits_what_it_finds_in_float32(
    model: ModelCard, photos: Path, tmp_path: Path, focus: tuple[float, float] | None, least: float
) -> None:
    from bokehcli.trainer.quantise import written

    assert "quantised" in model.about
    in_float32 = open_network(written(model, tmp_path, {}), ONE_THREAD)
    in_eight_bits = open_network(model, ONE_THREAD)
    for name in ("astronaut", "chelsea", "coffee"):
        image = load(photos / f"{name}.jpg")
        first, second = (network.predict(image, focus).alpha > 127 for network in (in_float32, in_eight_bits))
        assert (first & second).sum() > least * (first | second).sum() > 0, name


def test_the_focus_hint_reaches_the_network_by_its_fourth_channel_alone(network: Network, photos: Path) -> None:
    image = resize(load(photos / "coffee.jpg"), (100, 150))
    watched, lowest, *_ = recorded(network)
    without, left = watched.predict(image), watched.predict(image, (0.25, 0.5))
    free, turned, again, _, hinted, mirrored, *_ = (feed["photo"][0] for feed in lowest.feeds)
    assert np.array_equal(free[:3], hinted[:3])
    assert np.array_equal(free, again)
    assert not free[3].any()
    np.testing.assert_allclose(turned, free[:, :, ::-1], atol=1e-6)
    assert np.array_equal(hinted[3], focus_hint(hinted.shape[1:], (0.25, 0.5)))
    np.testing.assert_allclose(mirrored, hinted[:, :, ::-1], atol=1e-6)
    assert not np.array_equal(without.alpha, left.alpha)


def test_where_somebody_points_the_network_for_that_is_asked_and_opened_once(network: Network, photos: Path) -> None:
    image = load(photos / "coffee.jpg")
    lowest, pointed = Recorded(network.lowest), Recorded(network.lowest)
    opened: list[Recorded] = []

    def open_pointed() -> ort.InferenceSession:
        opened.append(pointed)
        return cast(ort.InferenceSession, pointed)

    sessions = cast(ort.InferenceSession, lowest), network.octave, network.finest
    both = Network(network.card, *sessions, open_pointed=open_pointed)
    both.predict(image)
    assert (len(lowest.feeds), len(opened)) == (2, 0)
    for _ in range(2):
        both.predict(image, (0.25, 0.5))
    assert (len(lowest.feeds), len(opened)) == (6, 1)  # it is asked for its own choice as well
    assert len(pointed.feeds) in (4, 8)  # the photo and its mirror image; a window, and its, where it holds what was found


def test_what_is_pointed_at_in_a_mirrored_photo_is_the_mirrored_thing(model: ModelCard, photos: Path) -> None:
    network = open_network(model, ONE_THREAD)
    image = load(photos / "rocket.jpg")
    state = network.global_state(image, (0.3, 0.6))
    mirrored = network.global_state(np.ascontiguousarray(image[:, ::-1]), (0.7, 0.6))
    assert state[0].max() > 0.0
    np.testing.assert_allclose(mirrored[:MAPS, :, ::-1], state[:MAPS], atol=1e-3)


def test_what_is_found_in_a_doubtful_photo_is_found_mirrored_in_its_mirror_image(
    model: ModelCard, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(infer, "AMBIGUOUS", 0.0)
    network = open_network(model, ONE_THREAD)
    image = load(photos / "chelsea.jpg")
    state, mirrored = (network.global_state(each, None) for each in (image, np.ascontiguousarray(image[:, ::-1])))
    assert state[0].max() > 0.0
    np.testing.assert_allclose(mirrored[:MAPS, :, ::-1], state[:MAPS], atol=1e-3)


def test_the_network_for_what_is_pointed_at_sees_the_photo_at_its_own_size(card: ModelCard, network: Network) -> None:
    lowest, pointed = Recorded(network.lowest), Recorded(network.lowest)
    sessions = cast(ort.InferenceSession, lowest), network.octave, network.finest
    halved = dataclasses.replace(card, pointed_side=LONG_SIDE // 2)
    Network(halved, *sessions, open_pointed=lambda: cast(ort.InferenceSession, pointed)).predict(
        np.zeros((200, 200, 3), np.uint8), (0.5, 0.5)
    )
    assert {feed["photo"].shape[2:] for feed in lowest.feeds} == {(LONG_SIDE, LONG_SIDE)}
    assert {feed["photo"].shape[2:] for feed in pointed.feeds} == {(LONG_SIDE // 2, LONG_SIDE // 2)}


def test_threads_change_nothing(network: Network, photos: Path, small_tiles: None) -> None:
    image = load(photos / "rocket.jpg")
    sessions = network.lowest, network.octave, network.finest
    one, three = (Network(network.card, *sessions, threads=threads).predict(image) for threads in (1, 3))
    assert np.array_equal(one.alpha, three.alpha)


@dataclass
class SaysInTurn:
    """A session that gives one state after the other, and keeps what it is given."""

    states: list[NDArray[np.float32]]
    feeds: list[dict[str, NDArray[np.float32]]] = field(default_factory=list)

    def run(self, _outputs: None, feed: dict[str, NDArray[np.float32]]) -> Any:
        self.feeds.append(feed)
        return [self.states[min(len(self.feeds), len(self.states)) - 1].copy()]


@dataclass
class Says:
    """A session that gives the same whatever it is given."""

    result: NDArray[np.float32]

    def run(self, _outputs: None, _feed: object) -> Any:
        return [self.result.copy()]


def says_in_turn(network: Network, *patches: tuple[slice, slice]) -> tuple[Network, SaysInTurn]:
    """A network that says of the photo, of its mirror image, and so on, that one patch is in focus, with a logit of 2.

    By itself it chooses nothing.
    """
    states = []
    for number, patch in enumerate(patches):
        state = np.full((1, network.card.channels, 32, 32), -6.0, np.float32)
        state[0, 0][patch] = 2.0
        states.append(np.ascontiguousarray(state[:, :, :, :: -1 if number % 2 else 1]))
    session, nothing = SaysInTurn(states), Says(np.full_like(states[0], -6.0))
    sessions = cast(ort.InferenceSession, nothing), network.octave, network.finest
    return Network(network.card, *sessions, open_pointed=lambda: cast(ort.InferenceSession, session)), session


def test_a_window_about_the_point_is_looked_at_as_well(network: Network, photos: Path) -> None:
    image = load(photos / "astronaut.jpg")
    first, closer = (slice(5, 10), slice(5, 10)), (slice(10, 15), slice(5, 15))
    watched, session = says_in_turn(network, first, first, closer, closer)
    state = watched.global_state(image, (0.25, 0.25))
    photo, _, window, _ = (feed["photo"][0] for feed in session.feeds)
    expected = resize(to_unit(image[:384, :384]), (LONG_SIDE, LONG_SIDE)).transpose(2, 0, 1)
    np.testing.assert_array_equal(window[:3], expected)
    np.testing.assert_array_equal(window[3], focus_hint((LONG_SIDE, LONG_SIDE), (1 / 3, 1 / 3)))
    assert not np.array_equal(photo[:3], window[:3])
    # of the state's 32 cells 24 are the window's
    whole, seen = (np.full((32, 32), -6.0, np.float32) for _ in range(2))
    whole[first], seen[closer] = 2.0, 2.0
    whole[:24, :24] = 0.5 * (whole[:24, :24] + resize(seen, (24, 24)))
    np.testing.assert_allclose(state[0], pointed_at(whole, (0.25, 0.25)), atol=1e-5)


def test_what_reaches_out_of_the_window_is_not_looked_at_more_closely(network: Network, photos: Path) -> None:
    image = load(photos / "astronaut.jpg")
    for right, looks in ((25, 4), (32, 2)):
        patch = slice(5, 10), slice(5, right)
        watched, session = says_in_turn(network, patch, patch, patch, patch)
        watched.global_state(image, (0.25, 0.25))
        assert len(session.feeds) == looks


@pytest.mark.parametrize(("logit", "looks"), [(9.0, 1), (1.0, 2)])
def test_only_a_photo_that_is_in_doubt_is_looked_at_twice(network: Network, logit: float, looks: int) -> None:
    state = np.full((1, network.card.channels, 32, 32), -9.0, np.float32)
    state[0, 0, 8:24, 4:20] = logit
    session = SaysInTurn([state])
    watched = Network(network.card, cast(ort.InferenceSession, session), network.octave, network.finest)
    found = watched.global_state(np.zeros((LONG_SIDE, LONG_SIDE, 3), np.uint8), None)
    assert len(session.feeds) == looks
    mean = 0.5 * (state[0, 0] + state[0, 0, :, :: 1 if looks == 1 else -1])
    np.testing.assert_allclose(found[0], mean)


def test_a_doubtful_patch_is_out_of_focus_unless_somebody_points(network: Network) -> None:
    state = np.zeros((1, network.card.channels, 32, 32), np.float32)
    state[0, 0] = -9.0
    state[0, 0, 8:24, 8:24] = 1.0
    says = cast(ort.InferenceSession, Says(state))
    doubting = Network(network.card, says, network.octave, network.finest, min_clarity=0.9)
    image = np.zeros((LONG_SIDE, LONG_SIDE, 3), np.uint8)
    assert doubting.predict(image).subject_area == 0.0
    assert doubting.predict(image, (0.5, 0.5)).subject_area > 0.1


@pytest.mark.parametrize("kept", [True, False])
def test_doubt_is_that_of_what_stays_in_focus(network: Network, kept: bool) -> None:
    state = np.full((1, network.card.channels, 32, 32), -9.0, np.float32)
    state[0, 0, 4:12, 10:22] = 12.0
    alone = doubt(state[0, 0])
    state[0, 0, 16:28, 10:22] = 1.0
    says = cast(ort.InferenceSession, Says(state))
    looking = Network(network.card, says, network.octave, network.finest, min_clarity=0.0 if kept else 0.9)
    image = np.zeros((LONG_SIDE, LONG_SIDE, 3), np.uint8)
    found = looking.predict(image).doubt
    assert found > UNSURE_FROM if kept else found == pytest.approx(alone, abs=0.01)
    assert looking.predict(image, (0.5, 0.7)).doubt == 0.0


def test_colours_have_their_say_after_the_networks_and_doubt_is_of_the_networks(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = np.full((1, network.card.channels, 32, 32), -9.0, np.float32)
    state[0, 0, 8:24, 8:24] = 1.0
    says = cast(ort.InferenceSession, Says(state))
    looking = Network(network.card, says, network.octave, network.finest)
    image = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    seen: list[NDArray[Any]] = []

    def all_in_focus(logit: NDArray[np.float32], picture: NDArray[Any]) -> NDArray[np.float32]:
        seen.extend((logit.copy(), picture))
        return np.full_like(logit, 9.0)

    monkeypatch.setattr(infer, "with_colours", all_in_focus)
    maps = looking.predict(image)
    assert (maps.alpha == 255).all()
    assert maps.doubt == doubt(state[0, 0]) > UNSURE_FROM
    np.testing.assert_array_equal(seen[0], state[0, 0])
    assert seen[1] is image


@pytest.mark.parametrize("size", [(20, 30), (301, 400)])
def test_strands_are_looked_for_in_the_photo_and_its_halves(
    network: Network, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    seen: list[Any] = []

    def noted(pictures: Any, alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
        seen.extend(pictures)
        return np.full_like(alpha, 7)

    monkeypatch.setattr(infer, "with_strands", noted)
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    assert (network.predict(image).alpha == 7).all()
    assert seen[-1] is image
    assert [picture.shape[0] for picture in seen] == [-(-size[0] // 2**n) for n in range(len(seen))][::-1]


def test_the_global_network_sees_the_whole_photo_at_sides_it_can_take(network: Network) -> None:
    watched, lowest, *_ = recorded(network)
    for height, width in ((10, 900), (900, 10), (333, 500), (1, 1)):
        watched.predict(np.zeros((height, width, 3), np.uint8))
    shapes = [feed["photo"].shape for feed in lowest.feeds[::2]]  # every second one is the mirrored photo
    assert shapes == [(1, 4, 64, 384), (1, 4, 384, 64), (1, 4, 128, 128), (1, 4, 128, 128)]


@pytest.mark.parametrize("device", [Device.CUDA, Device.COREML, Device.DIRECTML, Device.OPENVINO])
def test_a_device_that_is_not_there_is_an_error_not_the_cpu(
    model: ModelCard, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(DeviceError, match=f"{device.value}.*onnxruntime"):
        open_network(model, InferOptions(device=device))


def test_a_device_that_is_listed_but_does_not_work_is_an_error_not_the_cpu(
    model: ModelCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = ort.InferenceSession
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    monkeypatch.setattr(ort, "InferenceSession", lambda path, options, providers: real(path, options))  # falls back
    with pytest.raises(DeviceError, match="cuda"):
        open_network(model, InferOptions(device=Device.CUDA, threads=1))


def test_a_file_that_is_no_network_is_a_model_error(tmp_path: Path, card: ModelCard) -> None:
    for role in card.files:
        (tmp_path / card.files[role]).write_bytes(b"not a network")
    broken = ModelCard(**{**vars(card), "folder": tmp_path})
    with pytest.raises(ModelError, match=r"global\.onnx"):
        open_network(broken, ONE_THREAD)


def test_the_bundled_model_finds_something_in_focus(model: ModelCard, photos: Path) -> None:
    maps = open_network(model, ONE_THREAD).predict(load(photos / "astronaut.jpg"))
    assert 0.05 < maps.subject_area < 0.95
