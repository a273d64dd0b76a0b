"""PyNET as published: what is counted, what a level sees, what it learns, and what is left of it."""

import dataclasses
import shutil
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training is optional")
pytest.importorskip("onnx", reason="training is optional")

import onnxruntime  # noqa: E402 (torch may be absent)

from bokehcli.errors import ModelError  # noqa: E402
from bokehcli.model import PICTURE, PictureCard, find_lens_model, find_model  # noqa: E402
from bokehcli.trainer.batch import Batch, collate  # noqa: E402
from bokehcli.trainer.checkpoint import load_checkpoint, save_checkpoint  # noqa: E402
from bokehcli.trainer.describe import parts_of  # noqa: E402
from bokehcli.trainer.loop import State, TrainOptions, train  # noqa: E402
from bokehcli.trainer.networks import KINDS  # noqa: E402
from bokehcli.trainer.pairs import Pairs  # noqa: E402
from bokehcli.trainer.pynet2020 import PAPER, MultiBlock, Pynet2020, Pynet2020Options  # noqa: E402
from bokehcli.trainer.schedule import Stage, learning_rate, stage_at  # noqa: E402

torch.set_num_threads(1)  # the networks here are too small to share

KIND = KINDS["pynet2020"]
TINY = KIND.presets["tiny"]
NARROW = Pynet2020Options(width=4)


@pytest.fixture
def pairs(rendered_pairs: Path) -> Pairs:
    return Pairs(rendered_pairs)


def options(**changed: Any) -> TrainOptions:
    return dataclasses.replace(TrainOptions(steps=10, rate=1e-3, workers=0, network=NARROW, stages=TINY.stages), **changed)


def psnr_db(found: Any, target: Any) -> float:
    return float((-10.0 * torch.log10(((found - target) ** 2).mean((1, 2, 3)))).mean())


def bokeh(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bokehcli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_parameters_and_operations_are_those_of_the_published_network() -> None:
    parts = parts_of(Pynet2020Options(), (1024, 1536))
    photo_alone = 32 * 4 * 9  # weights that a fourth channel, of depth, would have in the first convolution
    assert round((sum(part.parameters for part in parts) + photo_alone) / 1e6, 2) == 47.55
    assert round(sum(part.mac for part in parts) / 1e9) == 658
    level_3 = next(part for part in parts if part.name == "level 3")
    assert round(level_3.mac / sum(part.mac for part in parts), 2) == 0.64
    assert sum(part.parameters for part in parts) == sum(p.numel() for p in Pynet2020(Pynet2020Options()).parameters())


def test_operations_are_counted_as_a_convolution_has_them() -> None:
    parts = {part.name: part.mac for part in parts_of(NARROW, (128, 128))}
    level_1 = 64 * 64 * 9 * 2 * 1 + 128 * 128 * 9 * 1 * 3  # a transposed convolution of 2 channels, and the head
    assert parts["level 1"] == level_1


def test_of_ours_every_operation_belongs_to_a_level() -> None:
    lens = KINDS["lens"]
    parts = parts_of(lens.presets["full"].network, (1024, 1536))
    assert {part.name for part in parts} == {"level 7", "level 6", "level 5", "level 4", "level 3", "octaves"}
    assert all(part.mac > 0 and part.parameters > 0 for part in parts)


@pytest.mark.parametrize("level", [7, 6, 5, 4, 3, 2, 1])
def test_a_level_gives_the_picture_at_its_size(level: int) -> None:
    picture = Pynet2020(NARROW).eval()(torch.rand(1, 3, 128, 192), level)
    assert picture.shape == (1, 3, 128 >> (level - 1), 192 >> (level - 1))


@pytest.mark.parametrize("level", [7, 5, 3, 2])
def test_a_level_does_not_depend_on_those_above_it(level: int) -> None:
    network = Pynet2020(NARROW)
    network(torch.rand(1, 3, 128, 128), level).sum().backward()
    above = {str(n) for n in range(1, level)}
    for name, weight in network.named_parameters():
        part, number = name.split(".")[:2]
        if part in ("level", "head"):
            assert (weight.grad is None) == (number in above or (part == "head" and int(number) > max(level, 3))), name


def test_level_3_alone_keeps_a_pictures_means() -> None:
    network = Pynet2020(NARROW)
    norms = {name.split(".")[1] for name, m in network.named_modules() if isinstance(m, torch.nn.InstanceNorm2d)}
    # what enlarges level 4's features for level 3 is level 4's
    assert norms == {"7", "6", "5", "4", "2", "1"}
    assert not any(isinstance(m, torch.nn.InstanceNorm2d) for head in network.head.values() for m in head.modules())


def test_a_block_adds_to_its_input_where_the_channels_fit() -> None:
    assert MultiBlock(8, 4, 5, True).adds
    assert not MultiBlock(8, 4, 3, True).adds
    assert [branch[0].kernel_size[0] for branch in MultiBlock(4, 4, 9, True).branches] == [3, 5, 7, 9]


def test_the_last_levels_begin_as_the_one_below_unless_as_published() -> None:
    photo = torch.rand(1, 3, 128, 128)
    for residual in (True, False):
        torch.manual_seed(0)
        network = Pynet2020(dataclasses.replace(NARROW, residual=residual)).eval()
        picture = network(photo, 3)
        enlarged = torch.nn.functional.interpolate(picture, scale_factor=2.0, mode="bilinear")
        enlarged = torch.nn.functional.interpolate(enlarged, scale_factor=2.0, mode="bilinear")
        assert torch.equal(network(photo, 1), enlarged) == residual


def test_the_papers_schedule_has_its_iterations_and_batches_at_any_scale() -> None:
    paper = KIND.presets["paper"]
    assert paper.steps == sum(iterations for _, iterations, _ in PAPER) == 260_000
    for scale in (1.0, 0.01):
        steps = round(paper.steps * scale)
        stages = [stage_at(step, steps, paper.stages) for step in range(0, steps, round(1000 * scale))]
        for level, iterations, batch in PAPER:
            found = [stage for stage in stages if stage.lowest == level]
            assert len(found) == iterations / 1000
            assert {(stage.batch, stage.size) for stage in found} == {(batch, 1024)}
    assert {learning_rate(step, 2600, paper.rate, paper.stages) for step in range(0, 2600, 13)} == {5e-5}


class Constant(torch.nn.Module):
    """Gives the same grey at any level."""

    def forward(self, photo: Any, level: int) -> Any:
        return torch.full_like(torch.nn.functional.avg_pool2d(photo, 2 ** (level - 1)), 0.75)


def test_the_losses_are_the_papers() -> None:
    grey, empty = torch.full((2, 3, 64, 64), 0.5), torch.zeros(2, 1, 64, 64)
    batch = Batch(grey, empty, empty, empty, torch.zeros(2), target=grey)
    (at_4,) = KIND.losses(Constant(), batch, Stage(until=1.0, lowest=4, size=64, batch=2))
    assert float(at_4) == pytest.approx(100 * 0.25)
    at_1 = Stage(until=1.0, lowest=1, size=64, batch=2)
    (without,) = KIND.losses(Constant(), batch, at_1)
    ssim = (2 * 0.5 * 0.75 + 1e-4) / (0.5**2 + 0.75**2 + 1e-4)  # of two flat pictures
    assert float(without) == pytest.approx(10 * 0.25 + 10 * (1 - ssim), rel=1e-4)
    (perceptual,) = KIND.losses(Constant(), batch, at_1, torch.nn.AvgPool2d(2))
    assert float(perceptual - without) == pytest.approx(0.1 * 0.25**2, rel=1e-3)


def test_photos_with_mattes_teach_it_what_the_lens_makes_of_them() -> None:
    photo, alpha = torch.rand(2, 3, 128, 128), torch.zeros(2, 1, 128, 128)
    alpha[:, :, 32:96, 32:96] = 1.0
    batch = Batch(photo, torch.zeros_like(alpha), alpha, torch.ones_like(alpha), torch.ones(2))
    _, target, _ = KIND.columns(Pynet2020(NARROW).eval(), batch, Stage(until=1.0, lowest=3, size=128, batch=2))
    assert torch.equal(target[:, :, 40:88, 40:88], photo[:, :, 40:88, 40:88])
    assert float(target[:, :, :20].std()) < 0.7 * float(photo[:, :, :20].std())


def test_colours_that_drift_are_told() -> None:
    target = torch.rand(4, 3, 32, 32)
    assert KIND.complaints([target, target, target + 0.001]) == []
    tinted = target.clone()
    tinted[:, 2] += 0.1
    (line,) = KIND.complaints([target, target, tinted])
    assert "B +25.5" in line


def test_resuming_equals_not_stopping(pairs: Pairs, tmp_path: Path) -> None:
    undisturbed, stopped = State(options()), State(options())
    list(train(undisturbed, pairs.make))
    for record in train(stopped, pairs.make):
        if record.step == 6:  # in the middle of level 3
            break
    save_checkpoint(stopped, tmp_path / "a.ckpt")
    resumed = load_checkpoint(tmp_path / "a.ckpt")
    assert resumed.options == stopped.options
    assert [record.stage.lowest for record in train(resumed, pairs.make)] == [3, 2, 1, 1]
    for mine, theirs in ((resumed.network, undisturbed.network), (resumed.average, undisturbed.average)):
        for name, value in mine.state_dict().items():
            assert torch.equal(value, theirs.state_dict()[name]), name


def test_level_by_level_it_comes_nearer_to_pairs_that_it_has_not_seen_than_the_photo_is(pairs: Pairs) -> None:
    state = State(TrainOptions(steps=500, rate=TINY.rate, workers=0, network=TINY.network, stages=TINY.stages))
    losses: dict[int, list[float]] = {}
    for record in train(state, pairs.make):
        losses.setdefault(record.stage.lowest, []).append(record.loss)
    assert list(losses) == [7, 6, 5, 4, 3, 2, 1]
    assert all(np.mean(found[-5:]) < np.mean(found[:3]) for found in losses.values())
    held = collate([pairs.make_held(5, number, 128) for number in range(6)])
    photo, target, shown = KIND.columns(state.average, held, state.stage)
    assert psnr_db(shown, target) > psnr_db(photo, target)


@pytest.mark.parametrize("level", [1, 4])
def test_it_is_exported_as_a_model_that_gives_pictures(pairs: Pairs, tmp_path: Path, level: int) -> None:
    state = State(options())
    for record in train(state, pairs.make):
        if record.stage.lowest == level:
            break
    samples = collate([pairs.make(1, number, 128) for number in range(2)])
    asked = type("Asked", (), {"out": tmp_path})()
    card, difference = KIND.export(state.average, {}, samples, state.stage, asked, None)
    assert difference < 1e-3
    assert isinstance(find_model(tmp_path), PictureCard)
    assert card.about["level"] == level
    session = onnxruntime.InferenceSession(str(card.path(PICTURE)))
    picture = session.run(None, {"photo": np.random.default_rng(0).random((1, 3, 192, 128), np.float32)})[0]
    assert picture.shape == (1, 3, 192, 128)
    assert picture.min() >= 0.0
    assert picture.max() <= 1.0
    with pytest.raises(ModelError, match="one of kind lens is needed"):
        find_lens_model(tmp_path)


def test_the_command_trains_goes_on_and_says_what_it_leaves_out(rendered_pairs: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(rendered_pairs, tmp_path / "pairs"))
    (folder / "bokeh" / "04.png").unlink()
    arguments = ("train", folder, "--out", tmp_path / "model", "--network", "pynet2020", "--preset", "tiny", "--threads", "1")
    done = bokeh(*arguments, "--scale", "0.01", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert f"{folder / 'original' / '04.png'}: no partner" in done.stderr
    assert "1 left out" in done.stderr
    assert "10 steps on cpu" in done.stderr
    assert "colours drift" in done.stderr  # after ten steps they do
    again = bokeh("train", folder, "--out", tmp_path / "model", "--steps", "12")  # the checkpoint knows the rest
    assert again.returncode == 0, again.stderr
    assert "from step 10" in again.stderr
    resumed = load_checkpoint(tmp_path / "model" / "last.ckpt").options
    assert (resumed.network, resumed.rate, resumed.steps) == (TINY.network, TINY.rate, 12)


def test_a_step_in_parts_learns_what_it_learns_at_once(rendered_pairs: Path) -> None:
    learned = []
    for split in (1, 3, 99):
        stages = (Stage(until=1.0, lowest=2, size=64, batch=5),)
        state = State(TrainOptions(network=NARROW, stages=stages, steps=4, workers=0, threads=1, split=split))
        loss = next(iter(train(state, Pairs(rendered_pairs).make))).loss
        slopes = [weight.grad.flatten() for weight in state.network.parameters() if weight.grad is not None]
        learned.append((loss, torch.cat(slopes)))
    (loss, slope), *parts = learned
    for part_loss, part_slope in parts:
        assert part_loss == pytest.approx(loss, rel=1e-5)
        assert float((part_slope - slope).norm() / slope.norm()) < 0.05  # an absolute difference turns with the last bit


def test_killed_and_started_again_it_ends_as_if_undisturbed(rendered_pairs: Path, tmp_path: Path) -> None:
    def line(out: str) -> list[str]:
        words = ["train", rendered_pairs, "--out", tmp_path / out, "--network", "pynet2020", "--preset", "tiny"]
        more = ["--steps", "40", "--save-every", "0", "--preview-every", "60", "--threads", "1"]
        return [sys.executable, "-m", "bokehcli.trainer", *map(str, words[1:]), *more]

    checkpoint = tmp_path / "killed" / "last.ckpt"
    with subprocess.Popen(line("killed"), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as child:
        for _ in range(3000):
            if checkpoint.exists() or child.poll() is not None:
                break
            time.sleep(0.02)
        child.kill()
    assert child.returncode == -9
    assert 0 < load_checkpoint(checkpoint).step < 40
    for out in ("killed", "undisturbed"):
        subprocess.run(line(out), check=True, capture_output=True, timeout=300)
    resumed, undisturbed = (load_checkpoint(tmp_path / out / "last.ckpt") for out in ("killed", "undisturbed"))
    assert resumed.step == undisturbed.step == 40
    for name, value in resumed.average.state_dict().items():
        assert torch.equal(value, undisturbed.average.state_dict()[name]), name


def test_what_is_gone_on_with_keeps_its_pairs_its_schedule_and_its_loss(rendered_pairs: Path, tmp_path: Path) -> None:
    features = tmp_path / "features.pt"
    with warnings.catch_warnings():
        for kind in (DeprecationWarning, FutureWarning):
            warnings.simplefilter("ignore", kind)
        torch.jit.trace(torch.nn.Conv2d(3, 2, 3), torch.rand(1, 3, 32, 32)).save(str(features))
    out = tmp_path / "model"
    first = ["--network", "pynet2020", "--preset", "tiny", "--threads", "1", "--perceptual", features, "--minutes", "0.0001"]
    done = bokeh("train", rendered_pairs, "--out", out, *first, "--scale", "0.01", "--sample", "3", "--seed", "7")
    assert done.returncode == 0, done.stderr
    assert "3 pairs" in done.stderr

    def again(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return bokeh("train", rendered_pairs, "--out", out, "--threads", "1", "--network", "pynet2020", *arguments)

    for arguments, word in (
        (["--perceptual", features, "--sample", "4"], "another --sample"),
        (["--perceptual", features, "--seed", "8"], "another --seed"),
        (["--perceptual", __file__], "another --perceptual"),
        ([], "was made with --perceptual"),
    ):
        done = again(*arguments)
        assert (done.returncode, word in done.stderr.splitlines()[-1]) == (2, True), done.stderr
    done = again("--perceptual", features, "--scale", "0.02", "--minutes", "0.0001")
    assert done.returncode == 0, done.stderr
    assert "3 pairs" in done.stderr
    assert "20 steps on cpu" in done.stderr  # of that preset's, not of ours
    options = load_checkpoint(out / "last.ckpt").options
    assert (options.sample, options.seed, options.steps) == (3, 7, 20)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX processes")
def test_a_trainer_whose_command_is_killed_ends_and_another_one_goes_on(rendered_pairs: Path, tmp_path: Path) -> None:
    words = ["train", rendered_pairs, "--out", tmp_path / "model", "--network", "pynet2020", "--preset", "tiny"]
    more = ["--steps", "100000", "--save-every", "0", "--preview-every", "60", "--threads", "1"]
    command, checkpoint = [sys.executable, "-m", "bokehcli", *map(str, [*words, *more])], tmp_path / "model" / "last.ckpt"
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as parent:
        while not checkpoint.exists():
            assert parent.poll() is None
            time.sleep(0.02)
        second = bokeh(*words, "--steps", "100000")
        assert (second.returncode, second.stderr.count("another run is writing into this folder")) == (2, 1)
        parent.kill()
    done = bokeh(*words, "--steps", "100000", "--minutes", "0.0001", "--threads", "1")
    assert done.returncode == 0, done.stderr
    assert "going on from step" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--network", "pynet2020", "--preset", "octaves"], "paper, tiny"),
        (["--network", "pynet2020", "--from", "models"], "--from"),
        (["--network", "pynet2020", "--blocks", "1,1,1,1,1"], "--blocks: for --network lens alone"),
        (["--as-published"], "--as-published: for --network pynet2020 alone"),
        (["--network", "pynet2020", "--device", "abacus"], "abacus"),
        pytest.param(["--device", "cuda"], "finds only", marks=pytest.mark.skipif(torch.cuda.is_available(), reason="it is")),
        (["--network", "pynet2020", "--perceptual", "nowhere.onnx"], "nowhere.onnx: no such file"),
    ],
)
def test_misuse_is_one_line_and_status_2(rendered_pairs: Path, tmp_path: Path, arguments: list[str], word: str) -> None:
    models = Path(__file__).parents[1] / "models"
    given = [str(models) if argument == "models" else argument for argument in arguments]
    done = bokeh("train", rendered_pairs, "--out", tmp_path / "model", *given)
    assert done.returncode == 2
    assert word in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_a_description_is_printed_and_nothing_else_done() -> None:
    done = bokeh("train", "--network", "pynet2020", "--describe", "768x512")
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()[1:]] == ["level"] * 7 + ["all"]
    assert "47,550,533" in done.stdout
    assert "164.5" in done.stdout  # a quarter of the operations
    assert bokeh("train", "--describe", "768").returncode == 2
    assert "are needed" in bokeh("train").stderr
