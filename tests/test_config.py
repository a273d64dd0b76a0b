"""Options from a file: what they are taken for, that the command line wins, and what a bad file is told."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bokehcli import cli, config
from bokehcli.cli import main
from bokehcli.options import Device, Existing, Running, RunOptions, Unsure
from bokehcli.photo import Container

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What runs were asked for: (sources, out, options, running) each; none is carried out."""
    runs: list[Any] = []
    monkeypatch.setattr(cli, "run_photos", lambda *arguments: runs.append(arguments) or 0)
    return runs


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's own file, which is not there yet."""
    monkeypatch.setattr(config, "user_file", lambda: tmp_path / "home" / "config.toml")
    monkeypatch.delenv("BOKEH_CONFIG", raising=False)
    (tmp_path / "home").mkdir()
    return tmp_path / "home" / "config.toml"


def wrote(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_every_option_can_come_from_a_file(tmp_path: Path, asked: list[Any]) -> None:
    file = wrote(
        tmp_path / "web.toml",
        """
        [run]
        out = "results"
        files-from = "list.txt"
        null = true
        include = ["*.jpg", "2024*"]
        exclude = "Trash"
        shard = "2/8"
        format = "webp"
        quality = 80
        overwrite = true
        retry-failed = true
        no-ledger = true
        report = "/var/failed.txt"
        json = true
        save-maps = true
        f-number = 2
        blades = 7
        cat-eye = 0.25
        highlights = 1
        focus = [0.25, 0.5]
        min-subject = 0.01
        min-clarity = 0.5
        unsure = "none"
        strip-gps = true
        strip-metadata = true
        preserve-times = true
        strict = true
        jobs = 3
        threads = 2
        max-megapixels = 12.5
        time-limit = 30
        model = "~/model"
        device = "cpu"
        verbose = true
        """,
    )
    assert main(["run", "--config", str(file), "in"]) == 0
    ((sources, out, options, running),) = asked
    assert sources == [Path("in")]
    assert out == tmp_path / "results"
    assert options.encode.container is Container.WEBP
    assert options.encode.quality == 80
    assert (options.lens.strength, options.lens.blades, options.lens.cat_eye, options.lens.highlights) == (0.6, 7, 0.25, 1.0)
    assert (options.focus, options.min_subject, options.infer.min_clarity) == ((0.25, 0.5), 0.01, 0.5)
    assert options.unsure is Unsure.NONE
    assert (options.metadata.strip_gps, options.metadata.strip, options.metadata.preserve_times) == (True, True, True)
    assert (options.jobs, options.infer.threads, options.decode.max_megapixels, options.time_limit_s) == (3, 2, 12.5, 30.0)
    assert (options.infer.model, options.infer.device) == (Path.home() / "model", Device.CPU)
    assert (options.existing, options.save_maps, options.strict) == (Existing.OVERWRITE, True, True)
    assert (running.files_from, running.report) == (tmp_path / "list.txt", Path("/var/failed.txt"))
    assert (running.null, running.json, running.verbose, running.retry_failed) == (True,) * 4
    assert not running.keep_ledger
    assert running.selection.include == ("*.jpg", "2024*")
    assert running.selection.exclude == ("Trash",)
    assert str(running.shard) == "2/8"


def test_the_command_line_wins(tmp_path: Path, asked: list[Any]) -> None:
    text = """
        [run]
        quality = 80
        include = ["*.jpg"]
        strip-gps = true
        no-ledger = true
        strength = 0.9
        skip-existing = true
        quiet = true
    """
    command = ["run", "in", "-o", "out", "--config", str(wrote(tmp_path / "c.toml", text))]
    typed = [*("--quality", "70", "--include", "*.png", "--no-strip-gps", "--ledger"), "--f-number=2.4", "--overwrite", "-v"]
    assert main([*command, *typed]) == 0
    ((_, _, options, running),) = asked
    assert (options.encode.quality, options.metadata.strip_gps, running.keep_ledger) == (70, False, True)
    assert running.selection.include == ("*.png",)
    assert (options.lens.strength, options.existing) == (0.5, Existing.OVERWRITE)
    assert (running.verbose, running.quiet) == (True, False)


@pytest.mark.parametrize(
    "words",
    [
        *(["--strength", "0", "--f-number", "2"], ["--overwrite", "--skip-existing"], ["-q", "-v"]),
        *(["--dry-run", "--gallery", "a.html"], ["--dry-run", "--report", "a.txt"], ["--dry-run", "--watch"]),
        *(["--watch", "--files-from", "-"], ["--out", "s3://bucket/out", "--preserve-times"]),
    ],
)
def test_two_that_contradict_each_other_are_misuse_when_both_are_typed(asked: list[Any], words: list[str]) -> None:
    assert main(["run", "in", "-o", "out", *words]) == 2
    assert asked == []


@pytest.mark.parametrize(
    ("text", "words", "left"),
    [
        ("gallery = 'a.html'", ["--dry-run"], {"dry_run": True}),
        ("report = 'a.txt'", ["--dry-run"], {"dry_run": True}),
        ("watch = true", ["--dry-run"], {"dry_run": True}),
        ("watch = true", ["--files-from", "list"], {"files_from": Path("list")}),
        ("dry-run = true", ["--gallery", "a.html"], {"gallery": Path("a.html")}),
        ("dry-run = true", ["--watch"], {"watch": True}),
        ("files-from = 'list'", ["--watch"], {"watch": True}),
        ("preserve-times = true", ["--out", "s3://bucket/out"], {}),
        ("dry-run = true", [], {"dry_run": True}),
    ],
)
def test_what_only_the_file_says_gives_way_to_what_is_typed(
    tmp_path: Path, asked: list[Any], text: str, words: list[str], left: dict[str, Any]
) -> None:
    assert main(["run", "in", "-o", "out", "--config", str(wrote(tmp_path / "c.toml", f"[run]\n{text}")), *words]) == 0
    ((_, _, options, running),) = asked
    assert (running, options.metadata.preserve_times) == (Running(**left), False)


def test_help_is_there_whatever_the_file_says(home: Path, capfd: Captured) -> None:
    wrote(home, "nonsense")
    assert main(["run", "--help"]) == main(["run", "--help-all"]) == 0
    assert main(["run", "in", "-o", "out"]) == 2
    assert "Usage" in capfd.readouterr().out


def test_the_users_own_file_is_read_unless_another_is_named(
    tmp_path: Path, home: Path, asked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    wrote(home, "[run]\nquality = 33\nstrip-gps = true")
    other = wrote(tmp_path / "other.toml", "[run]\nquality = 44")
    assert main(["run", "in", "-o", "out"]) == 0
    assert main(["run", "in", "-o", "out", "--config", str(other)]) == 0
    monkeypatch.setenv("BOKEH_CONFIG", str(other))
    assert main(["run", "in", "-o", "out"]) == 0
    assert [(options.encode.quality, options.metadata.strip_gps) for _, _, options, _ in asked] == [
        (33, True),
        (44, False),
        (44, False),
    ]


def test_without_a_file_the_defaults_are_those_of_the_options(asked: list[Any]) -> None:
    assert main(["run", "in", "-o", "out"]) == 0
    assert asked == [([Path("in")], Path("out"), RunOptions(), Running())]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[run]\nquallity = 3", "quallity: there is no such option"),
        ("[run]\nhelp = true", "help: there is no such option"),
        ("[run]\nconfig = 'x'", "config: there is no such option"),
        ("[run]\nquality = 'high'", "quality: "),
        ("[run]\nquality = true", "quality: must be a value"),
        ("[run]\nquality = {a = 1}", "quality: must be a value"),
        ("[run]\nquality = [1, 2]", "quality: "),
        ("[run]\nstrip-gps = 'yes'", "strip-gps: must be true or false"),
        ("[run]\nformat = 'gif'", "format: gif is none of"),
        ("[run]\nfocus = [1]", "focus: 1 is no point"),
        ("[run]\nshard = '9/8'", "shard: shard must be I/N"),
        ("[run]\nout = ''", "out: the name is empty"),
        ('[run]\nout = "a\\u0000b"', "out: no name has a NUL byte"),
        ("[run]\nout = '~nosuchuser/x'", "out: ~nosuchuser/x: there is no such home folder"),
        ("[run]\nstrength = 2", "strength: strength must be between 0 and 1"),
        ("[run]\nf-number = 0.5", "f-number: f-number must be between"),
        ("[run]\ntime-limit = -1", "time-limit: time-limit must be 0"),
        ("[run]\nfocus = [2, 0]", "focus: focus must be two shares"),
        ("[run]\nstrength = 0.5\nf-number = 2", "--strength and --f-number cannot be used together"),
        ("[run]\ngallery = 'a.html'\ndry-run = true", "--gallery and --dry-run cannot be used together"),
        ("quality = 3", "options go into a table [run], not quality"),
        ("run = 3", "options go into a table [run]"),
        ("[run", "no TOML file: "),
        ("[run]\nquality = 3\nquality = 4", "no TOML file: "),
    ],
)
def test_a_file_that_is_wrong_is_named_with_the_reason(
    tmp_path: Path, asked: list[Any], capfd: Captured, text: str, says: str
) -> None:
    file = wrote(tmp_path / "c.toml", text)
    assert main(["run", "in", "-o", "out", "--config", str(file)]) == 2
    assert asked == []
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"bokeh: {file}: {says}")


@pytest.mark.parametrize("content", [None, b"\xff\xfe[run]"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, asked: list[Any], capfd: Captured, content: bytes | None) -> None:
    file = tmp_path / "c.toml"
    if content is not None:
        file.write_bytes(content)
    assert main(["run", "in", "-o", "out", "--config", str(file)]) == 2
    assert str(file) in capfd.readouterr().err


def test_a_range_is_checked_as_on_the_command_line(tmp_path: Path, capfd: Captured) -> None:
    file = wrote(tmp_path / "c.toml", "[run]\nquality = 300")
    assert main(["run", "in", "-o", "out", "--config", str(file)]) == 2
    assert "quality must be between 1 and 100" in capfd.readouterr().err


def test_a_real_run_takes_the_users_own_defaults(tmp_path: Path) -> None:
    """The folder for them is the system's: on Linux XDG_CONFIG_HOME (XDG Base Directory Specification)."""
    if sys.platform != "linux":
        pytest.skip("the folder is elsewhere")
    (tmp_path / "xdg" / "bokeh").mkdir(parents=True)
    wrote(tmp_path / "xdg" / "bokeh" / "config.toml", '[run]\nstrength = 0\nformat = "webp"\nout = "../../there"')
    Image.new("RGB", (16, 12)).save(tmp_path / "a.png")
    command = [sys.executable, "-m", "bokehcli", "run", "a.png", "-q"]
    done = subprocess.run(command, cwd=tmp_path, env={"XDG_CONFIG_HOME": str(tmp_path / "xdg")}, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "there" / "a.webp").exists()
