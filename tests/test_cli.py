"""Command lines: exit status, stdout records and files. The network is a fake; tests/test_run.py has the real one."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from bokehcli import __version__, arguments, batch, cli, entries, model, pipeline
from bokehcli.arguments import matching, where_of
from bokehcli.batch import judge
from bokehcli.cli import main
from bokehcli.discover import Job
from bokehcli.entries import NAME
from bokehcli.errors import DeviceError, MissingDependency, ModelError
from bokehcli.infer import Maps
from bokehcli.ledger import Ledger
from bokehcli.options import LensOptions, MetadataOptions, RunOptions, strength_of_f_number
from bokehcli.outcome import Outcome
from bokehcli.pipeline import Renderer

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
Captured = pytest.CaptureFixture[str]


class FakeNetwork:
    def predict(self, image: NDArray[Any], focus: tuple[float, float] | None = None) -> Maps:
        return Maps(np.full(image.shape[:2], 255, np.uint8), np.zeros((6, 8), np.float32))


@pytest.fixture(autouse=True)
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps the photos in this process, where the fakes are; tests/test_workers.py has the other processes."""

    def run_here(
        jobs: list[Job], options: RunOptions, started: Callable[[Job], None], _: object, ledger: Ledger | None
    ) -> Iterator[Outcome]:
        renderer: Renderer | None = None
        for job in jobs:
            verdict = judge(job, options, ledger)
            outcome = verdict.outcome
            if outcome is None:
                started(job)
                if ledger is not None:
                    ledger.started(job)
                renderer = renderer or pipeline.open_renderer(options)
                outcome = renderer.render_photo(replace(job, replaces=verdict.replaces))
                if ledger is not None:
                    ledger.finished(outcome)
            yield outcome

    monkeypatch.setattr(batch, "run_in_workers", run_here)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Replaces the model by a fake; holds what was asked of it."""
    asked: list[Any] = []

    def open_network(card: object, options: object) -> FakeNetwork:
        asked.append((card, options))
        return FakeNetwork()

    monkeypatch.setattr(pipeline, "find_model", lambda path: path)
    monkeypatch.setattr(pipeline, "open_network", open_network)
    return asked


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two photos, one of them in a subfolder."""
    for name in ("in/a.jpg", "in/sub/b.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 12), (200, 90, 30)).save(path)
    return tmp_path / "in"


def files_in(folder: Path) -> list[str]:
    """All but the ledger."""
    paths = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(NAME))
    return sorted(path.relative_to(folder).as_posix() for path in paths)


@pytest.mark.usefixtures("opened")
def test_a_folder_is_rendered_and_its_paths_printed(folder: Path, capfd: Captured) -> None:
    out = folder.parent / "out"
    assert main(["run", str(folder), "--out", str(out)]) == 0
    assert files_in(out) == ["a.jpg", "sub/b.png"]
    assert capfd.readouterr().out.splitlines() == [str(out / "a.jpg"), str(out / "sub" / "b.png")]


@pytest.mark.usefixtures("opened")
def test_maps_are_saved_on_request(folder: Path) -> None:
    out = folder.parent / "out"
    assert main(["run", str(folder / "a.jpg"), "-o", str(out), "--save-maps", "-q"]) == 0
    assert files_in(out) == ["a.alpha.png", "a.defocus.png", "a.jpg"]


@pytest.mark.usefixtures("opened")
@pytest.mark.parametrize("name", ["webp", "WEBP", ".webp"])
def test_a_format_is_taken_by_any_of_its_names(folder: Path, name: str) -> None:
    out = folder.parent / "out"
    assert main(["run", str(folder), "-o", str(out), "--format", name, "--quality", "80"]) == 0
    assert files_in(out) == ["a.webp", "sub/b.webp"]
    with Image.open(out / "a.webp") as image:
        assert image.format == "WEBP"


def test_options_reach_the_stages_and_have_their_defaults_from_the_options(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[RunOptions] = []

    def stop(jobs: object, options: RunOptions, *_: object) -> None:
        given.append(options)
        raise ModelError("far enough")

    monkeypatch.setattr(batch, "open_batch", stop)
    line = ["run", str(folder), "-o", str(folder.parent / "out"), "--no-ledger"]
    monkeypatch.setattr(model, "find_model", lambda path: SimpleNamespace(kind="lens", digest=lambda: ""))
    assert main(line) == 2
    assert given.pop() == RunOptions()
    options = "--f-number 2 --blades 7 --cat-eye 0.25 --highlights 0 --jobs 1 --threads 3 --device cpu --model m --focus 0.25,1"
    options += " --grain 0.5"
    options += " --strip-gps --strip-metadata --preserve-times --strict --time-limit 9"
    assert main([*line, *options.split(), "--max-megapixels", "12.5", "--quality", "77", "--overwrite"]) == 2
    run = given.pop()
    assert run.lens == LensOptions(strength=strength_of_f_number(2), blades=7, cat_eye=0.25, highlights=0, grain=0.5)
    assert (run.jobs, run.infer.threads, run.infer.device, run.infer.model) == (1, 3, "cpu", Path("m"))
    assert run.focus == (0.25, 1.0)
    assert (run.strict, run.time_limit_s) == (True, 9)
    assert run.metadata == MetadataOptions(strip=True, strip_gps=True, preserve_times=True)
    assert (run.decode.max_megapixels, run.encode.quality, run.existing) == (12.5, 77, "overwrite")


@pytest.mark.usefixtures("opened")
def test_one_bad_photo_is_one_line_and_the_rest_is_done(folder: Path, capfd: Captured) -> None:
    (folder / "aa.jpg").write_bytes(b"no photo")
    assert main(["run", str(folder), "-o", str(folder.parent / "out"), "-q"]) == 1
    captured = capfd.readouterr()
    assert files_in(folder.parent / "out") == ["a.jpg", "sub/b.png"]
    assert len(captured.out.splitlines()) == 2
    assert len(captured.err.splitlines()) == 1
    assert captured.err.startswith(f"bokeh: {folder / 'aa.jpg'}: ")


@pytest.mark.usefixtures("opened")
def test_a_second_run_refuses_skips_or_overwrites(folder: Path, capfd: Captured) -> None:
    out = folder.parent / "out"
    out.mkdir()
    (out / "a.jpg").write_bytes(b"precious")
    line = ["run", str(folder / "a.jpg"), "-o", str(out)]
    assert main(line) == 1
    assert main([*line, "--skip-existing"]) == 0
    assert (out / "a.jpg").read_bytes() == b"precious"
    assert capfd.readouterr().out == ""
    assert main([*line, "--overwrite"]) == 0
    assert (out / "a.jpg").read_bytes() != b"precious"


def test_a_dry_run_prints_pairs_and_touches_nothing(folder: Path, opened: list[Any], capfd: Captured) -> None:
    out = folder.parent / "out"
    line = ["run", str(folder), "-o", str(out), "--dry-run", "--format", "png"]
    assert main(line) == 0
    assert capfd.readouterr().out.splitlines() == [
        f"{folder / 'a.jpg'} -> {out / 'a.png'}",
        f"{folder / 'sub' / 'b.png'} -> {out / 'sub' / 'b.png'}",
    ]
    assert not out.exists()
    assert opened == []
    out.mkdir()
    (out / "a.png").touch()
    assert main([*line, "--skip-existing"]) == 0
    assert len(capfd.readouterr().out.splitlines()) == 1
    assert main(line) == 1  # as the run itself would


def test_a_dry_run_names_the_maps_too(folder: Path, capfd: Captured) -> None:
    photo, out = folder / "a.jpg", folder.parent / "out"
    line = ["run", str(photo), "-o", str(out), "--dry-run", "--save-maps"]
    names = ["a.alpha.png", "a.defocus.png", "a.jpg"]
    assert main(line) == 0
    assert capfd.readouterr().out.splitlines() == [f"{photo} -> {out / name}" for name in names]
    assert main([*line, "--json"]) == 0
    told = json.loads(capfd.readouterr().out)
    assert (told["maps"], told["destination"]) == ([str(out / name) for name in names[:2]], str(out / names[2]))


@pytest.mark.usefixtures("opened")
@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["run"],
        ["run", "{in}"],
        ["run", "--out", "{out}"],
        ["run", "{in}/nowhere.jpg", "--out", "{out}"],
        ["run", "", "--out", "{out}"],
        ["run", "{in}", "--out", ""],
        ["run", "{in}", "--out", "{in}"],
        ["run", "{in}", "--out", "{in}/a.jpg"],
        ["run", "{empty}", "--out", "{out}"],
        ["run", "{in}", "--out", "{out}", "--unknown"],
        ["run", "{in}", "--out", "{out}", "--format", "gif"],
        ["run", "{in}", "--out", "{out}", "--quality", "101"],
        ["run", "{in}", "--out", "{out}", "--quality", "high"],
        ["run", "{in}", "--out", "{out}", "--strength", "1.5"],
        ["run", "{in}", "--out", "{out}", "--strength", "nan"],
        ["run", "{in}", "--out", "{out}", "--f-number", "0.5"],
        ["run", "{in}", "--out", "{out}", "--f-number", "2", "--strength", "0.5"],
        ["run", "{in}", "--out", "{out}", "--blades", "3"],
        ["run", "{in}", "--out", "{out}", "--focus", "0.5"],
        ["run", "{in}", "--out", "{out}", "--focus", "0.5,1.5"],
        ["run", "{in}", "--out", "{out}", "--focus", "nan,0"],
        ["run", "{in}", "--out", "{out}", "--focus", "left,top"],
        ["run", "{in}", "--out", "{out}", "--min-clarity", "2"],
        ["run", "{in}", "--out", "{out}", "--unsure", "maybe"],
        ["run", "{in}", "--out", "{out}", "--threads", "-1"],
        ["run", "{in}", "--out", "{out}", "--jobs", "-1"],
        ["run", "{in}", "--out", "{out}", "--time-limit", "-1"],
        ["run", "{in}", "--out", "{out}", "--max-megapixels", "nan"],
        ["run", "{in}", "--out", "{out}", "--device", "toaster"],
        ["run", "{in}", "--out", "{out}", "--overwrite", "--skip-existing"],
        ["run", "{in}", "--out", "{out}", "--quiet", "--verbose"],
    ],
    ids=lambda arguments: " ".join(arguments) or "nothing",
)
def test_misuse_is_one_line_and_status_2(folder: Path, capfd: Captured, arguments: list[str]) -> None:
    places = {"in": folder, "out": folder.parent / "out", "empty": folder.parent / "empty"}
    places["empty"].mkdir()
    assert main([argument.format(**places) for argument in arguments]) == 2
    captured = capfd.readouterr()
    if arguments:
        assert captured.err.startswith("bokeh: ")
        assert len(captured.err.splitlines()) == 1
        assert captured.out == ""
    assert not places["out"].exists()


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--strength", "abc", "abc is no number"),
        ("--jobs", "1.5", "1.5 is no whole number"),
        ("--unsure", "maybe", "maybe is none of gentle, full, none"),
        ("--device", "toaster", "toaster is none of auto, cpu, cuda, coreml, directml, openvino"),
    ],
)
def test_a_value_that_is_none_is_told_plainly(folder: Path, capfd: Captured, option: str, value: str, says: str) -> None:
    assert main(["run", str(folder), "--out", str(folder.parent / "out"), option, value]) == 2
    assert capfd.readouterr().err == f"bokeh: Invalid value for '{option}': {says}\n"


@pytest.mark.usefixtures("opened")
@pytest.mark.parametrize("place", ["{in}", "{in}/a.jpg/r.txt", "-", "/proc/nowhere/r.txt"])
def test_a_report_that_cannot_be_written_is_refused_before_the_first_photo(folder: Path, capfd: Captured, place: str) -> None:
    if place.startswith("/proc") and sys.platform != "linux":
        pytest.skip("Linux has it")
    out = folder.parent / "out"
    assert main(["run", str(folder), "-o", str(out), "--strength", "0", "--report", place.format(**{"in": folder})]) == 2
    said = capfd.readouterr()
    assert (said.out, len(said.err.splitlines())) == ("", 1)
    assert not out.exists()


@posix
def test_a_report_replaces_no_pipe_or_device(folder: Path, capfd: Captured) -> None:
    out, pipe = folder.parent / "out", folder.parent / "pipe"
    os.mkfifo(pipe)
    assert main(["run", str(folder), "-o", str(out), "--strength", "0", "-q"]) == 0
    assert main(["status", str(out), "--report", str(pipe)]) == 2
    assert capfd.readouterr().err == f"bokeh: {pipe}: a folder or a device, not a file\n"
    assert pipe.is_fifo()


def test_a_report_replaces_nothing_but_a_report(folder: Path, capfd: Captured) -> None:
    out, report = folder.parent / "out", folder.parent / "failed.txt"
    (folder / "bad.jpg").write_bytes(b"no photo")
    line = ["run", str(folder), "-o", str(out), "--strength", "0", "-q", "--report"]
    photo = (folder / "a.jpg").read_bytes()
    assert main([*line, str(folder / "a.jpg")]) == 2
    assert not out.exists()
    assert capfd.readouterr().err == (
        f"bokeh: {folder / 'a.jpg'}: there is something else, which the report would replace; give another name\n"
    )
    assert main([*line, str(out / "a.jpg")]) == 1  # a result by the time that the report is written
    assert (out / "a.jpg").read_bytes().startswith(b"\xff\xd8")
    for path in (out / NAME, out / "a.jpg"):
        before = path.read_bytes()
        assert main([*line, str(path)]) == main(["status", str(out), "--report", str(path)]) == 2
        assert path.read_bytes() == before
    for content in (b"", b"/in/b.jpg\tno photo\n"):
        report.write_bytes(content)
        assert main([*line, str(report)]) == 1
        assert report.read_bytes().startswith(os.fsencode(folder / "bad.jpg") + b"\t")
    report.write_bytes(b"my notes\n")
    assert main(["status", str(out), "--report", str(report)]) == 2
    assert report.read_bytes() == b"my notes\n"
    assert (folder / "a.jpg").read_bytes() == photo


@pytest.mark.parametrize("kind", [ModelError, DeviceError, MissingDependency])
def test_what_is_needed_and_absent_is_one_line_and_status_2(
    folder: Path, capfd: Captured, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    def fail(*_: object) -> None:
        raise kind("it is not here")

    monkeypatch.setattr(model, "find_model", fail)
    assert main(["run", str(folder), "-o", str(folder.parent / "out")]) == 2
    assert capfd.readouterr().err == "bokeh: it is not here\n"


@pytest.mark.usefixtures("opened")
def test_an_interrupt_is_status_130_and_keeps_what_is_done(
    folder: Path, capfd: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict = FakeNetwork.predict
    seen: list[object] = []

    def interrupt_second(self: FakeNetwork, image: NDArray[Any], focus: tuple[float, float] | None) -> Maps:
        seen.append(image)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return predict(self, image)

    monkeypatch.setattr(FakeNetwork, "predict", interrupt_second)
    assert main(["run", str(folder), "-o", str(folder.parent / "out")]) == 130
    assert files_in(folder.parent / "out") == ["a.jpg"]
    assert "Traceback" not in capfd.readouterr().err


def test_an_interrupt_before_the_batch_is_status_130_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "find_model", interrupt)
    assert main(["run", str(folder), "-o", str(folder.parent / "out")]) == 130


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names are Unicode there")
@pytest.mark.parametrize("module", ["bokehcli", "bokehcli.trainer"])
def test_an_interrupt_while_modules_are_imported_is_no_traceback(module: str) -> None:
    script = (
        "import runpy, sys\n"
        "class Interrupted:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name in ('typer', 'torch'):\n"
        "            raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupted())\n"
        f"runpy.run_module('{module}', run_name='__main__')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "")


def test_names_that_are_not_utf_8_go_through(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9\xff.jpg")
    Image.new("RGB", (8, 8)).save(tmp_path / name)
    command = [sys.executable, "-m", "bokehcli", "run", name, "--out", os.fsdecode(b"o\xfe")]
    done = subprocess.run([*command, "--strength", "0"], cwd=tmp_path, capture_output=True)
    assert (done.returncode, done.stdout) == (0, b"o\xfe/caf\xe9\xff.jpg\n"), done.stderr
    failed = subprocess.run([*command, "--strength", "0", "-q", "--no-ledger"], cwd=tmp_path, capture_output=True)
    assert failed.returncode == 1
    assert failed.stderr.startswith(b"bokeh: o\\udcfe/caf\\udce9\\udcff.jpg: already exists")


def test_names_that_stdout_cannot_encode_are_escaped(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "\N{SNOWMAN}.jpg").write_bytes(b"no photo")
    settings: dict[str, Any] = {"cwd": tmp_path, "env": {**os.environ, "PYTHONIOENCODING": "cp1252"}, "capture_output": True}
    command = [sys.executable, "-m", "bokehcli"]
    done = subprocess.run([*command, "run", "in", "--out", "\N{SNOWMAN}", "--strength", "0"], **settings)
    assert done.returncode == 1, done.stderr
    told = subprocess.run([*command, "status", "\N{SNOWMAN}"], **settings)
    assert (told.returncode, told.stderr) == (1, b"")
    assert [line.partition(b".jpg")[0] for line in told.stdout.splitlines()] == [
        b"\\u2603: 1 photo: 0 done, 1 failed",
        b"failed: " + os.fsencode(tmp_path / "in") + os.sep.encode() + b"\\u2603",
    ]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("arguments", [["status", "out"], ["doctor"], ["run", "--help"], ["run", "--help-all"], ["--version"]])
def test_a_full_disk_under_stdout_is_one_line(folder: Path, arguments: list[str]) -> None:
    assert main(["run", str(folder), "--out", str(folder.parent / "out"), "--strength", "0", "-q"]) == 0
    with open("/dev/full", "wb") as full:
        command = [sys.executable, "-m", "bokehcli", *arguments]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, cwd=folder.parent)
    assert (done.returncode, done.stderr) == (1, b"bokeh: stdout: No space left on device\n")


@posix
@pytest.mark.parametrize("arguments", ["status out", "doctor", "run --help"])
def test_a_reader_that_leaves_is_no_traceback(folder: Path, arguments: str) -> None:
    assert main(["run", str(folder), "--out", str(folder.parent / "out"), "--strength", "0", "-q"]) == 0
    ours, theirs = os.pipe()
    os.close(ours)
    command = [sys.executable, "-m", "bokehcli", *arguments.split()]
    done = subprocess.run(command, stdout=theirs, stderr=subprocess.PIPE, cwd=folder.parent)
    os.close(theirs)
    assert (done.returncode, done.stderr) == (1, b"")


def test_a_fault_that_is_not_of_stdout_keeps_its_traceback(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(entries, "read", fail)
    with pytest.raises(OSError, match="No space"):
        main(["status", str(folder)])


def test_words_are_taken_as_they_are_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Typer's library would take all of them for patterns on Windows, those of --exclude too."""
    given: list[dict[str, Any]] = []
    monkeypatch.setattr(cli, "app", lambda **settings: given.append(settings))
    assert main(["run", "*.jpg"]) == 0
    assert given[0]["windows_expand_args"] is False


def test_patterns_of_photos_are_looked_up_on_windows_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("b1.jpg", "a1.jpg", "[x].jpg", "x.jpg"):
        (tmp_path / name).touch()
    words = ["?1.jpg", "[x].jpg", "*.tif", "~/c.jpg", "~1", "s3://b/*.jpg"]
    assert list(map(str, matching([where_of(word) for word in words]))) == words
    monkeypatch.setattr(arguments, "WINDOWS", True)
    found = ["a1.jpg", "b1.jpg", "[x].jpg", "*.tif", str(tmp_path / "home" / "c.jpg"), "~1", "s3://b/*.jpg"]
    assert list(map(str, matching([where_of(word) for word in words]))) == found


def test_the_version_is_printed(capfd: Captured) -> None:
    assert main(["--version"]) == 0
    assert capfd.readouterr().out == f"bokeh {__version__}\n"


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"]])
def test_help_is_printed_on_stdout(capfd: Captured, arguments: list[str]) -> None:
    assert main(arguments) == 0
    captured = capfd.readouterr()
    assert "Usage" in captured.out
    assert captured.err == ""


def test_training_without_torch_is_one_line(capfd: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(["train", "photos", "--out", "model"]) == 1
    captured = capfd.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert "pip install 'bokehcli[train]'" in captured.err
    assert main(["train", "--help"]) == 0
    assert "pip install 'bokehcli[train]'" in capfd.readouterr().out


@pytest.fixture
def trainer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In place of the trainer, a script of the test's; torch counts as installed."""
    script = tmp_path / "trainer.py"
    popen = subprocess.Popen

    def start(command: list[str], **settings: Any) -> Any:
        assert command[:3] == [sys.executable, "-m", "bokehcli.trainer"]
        return popen([sys.executable, str(script), *command[3:]], **settings)

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(subprocess, "Popen", start)
    return script


@pytest.mark.parametrize(
    "arguments",
    [["photos", "--out", "m", "--steps=3", "-x", "-abc", "--", "--odd", ""], ["--help"], []],
)
def test_training_passes_every_argument_on(trainer: Path, capfd: Captured, arguments: list[str]) -> None:
    trainer.write_text("import sys; print(sys.argv[1:])")
    assert main(["train", *arguments]) == 0
    assert capfd.readouterr().out.strip() == str(arguments)


@pytest.mark.parametrize("status", [0, 1, 2, 3, 130])
def test_training_passes_the_exit_status_back(trainer: Path, status: int) -> None:
    trainer.write_text(f"raise SystemExit({status})")
    assert main(["train", "photos"]) == status


@posix
def test_a_trainer_that_a_signal_ended_has_the_status_that_a_shell_gives(trainer: Path) -> None:
    trainer.write_text("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert main(["train", "photos"]) == 128 + signal.SIGKILL


@posix
@pytest.mark.parametrize("to_group", [True, False], ids=["Ctrl-C", "SIGTERM to the parent"])
def test_an_interrupted_trainer_is_waited_for(tmp_path: Path, to_group: bool) -> None:
    (tmp_path / "trainer.py").write_text(
        "import pathlib, signal, sys, time\n"
        "def stop(*_):\n"
        "    time.sleep(0.3)\n"
        "    pathlib.Path('checkpoint').touch()\n"
        "    sys.exit(17)\n"
        "signal.signal(signal.SIGINT, stop)\n"
        "signal.signal(signal.SIGTERM, stop)\n"
        "pathlib.Path('ready').touch()\n"
        "time.sleep(30)\n"
    )
    script = (
        "import importlib.util, subprocess, sys\n"
        "from bokehcli.cli import main\n"
        "importlib.util.find_spec = lambda name: object()\n"
        "popen = subprocess.Popen\n"
        "subprocess.Popen = lambda command, **_: popen([sys.executable, 'trainer.py'])\n"
        "sys.exit(main(['train', 'photos']))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=tmp_path, stderr=subprocess.PIPE, start_new_session=True
    ) as parent:
        while not (tmp_path / "ready").exists():
            assert parent.poll() is None
            time.sleep(0.02)
        if to_group:  # as a terminal does
            os.killpg(parent.pid, signal.SIGINT)
        else:
            parent.send_signal(signal.SIGTERM)
        _, errors = parent.communicate(timeout=20)
    assert (tmp_path / "checkpoint").exists()
    assert (parent.returncode, errors) == (17, b"")
