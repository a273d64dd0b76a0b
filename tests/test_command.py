"""Help that fits a screen, and that shows what there is; completion in real shells."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from bokehcli.cli import app, main
from bokehcli.command import NOT_PIPED, RARE

Captured = pytest.CaptureFixture[str]
RUN = typer.main.get_command(app).commands["run"]  # type: ignore[attr-defined]
OPTIONS = {name for parameter in RUN.params for name in parameter.opts if name.startswith("-")}


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def shown(capfd: Captured, *arguments: str) -> list[str]:
    assert main(list(arguments)) == 0
    captured = capfd.readouterr()
    assert captured.err == ""
    return captured.out.splitlines()


def test_help_fits_a_screen_in_groups_with_examples_at_the_end(capfd: Captured) -> None:
    lines = shown(capfd, "run", "--help")
    assert len(lines) <= 50
    assert max(map(len, lines)) <= 80
    groups = [line for line in lines if re.fullmatch(r"[A-Z]\w+:", line)]
    assert groups == ["Input:", "Output:", "Lens:", "Metadata:", "Running:"]
    assert lines[-5].strip() == "Examples:"
    assert all(line.startswith("    ") for line in lines[-4:])


def test_every_option_is_in_one_of_the_two_helps(capfd: Captured) -> None:
    short, whole = (
        set(re.findall(r"(?<![\w<-])--?\w[\w-]*", "\n".join(shown(capfd, "run", word)))) for word in ("--help", "--help-all")
    )
    assert whole >= OPTIONS
    left_out = {name for parameter in RUN.params if parameter.name in RARE for name in parameter.opts}
    assert OPTIONS - short == left_out - {"-0"}  # of which an example speaks


def test_what_is_said_of_options_by_name_is_said_of_options() -> None:
    assert RARE | set(NOT_PIPED) <= {parameter.name for parameter in RUN.params}


@pytest.mark.parametrize("command", [[], ["status"], ["train"]])
def test_the_other_helps_fit_too(capfd: Captured, command: list[str]) -> None:
    lines = shown(capfd, *command, "--help")
    if command != ["train"]:  # the trainer's own
        assert len(lines) <= 24
        assert max(map(len, lines)) <= 80


SHELLS = {  # what completes `bokeh run --str`, after the shell's own script for it was read
    "bash": """
        source "$SCRIPT"; COMP_WORDS=(bokeh run --str); COMP_CWORD=2
        _bokeh_completion bokeh; printf "%s\\n" "${COMPREPLY[@]}"
    """,
    # the completion system itself needs a terminal
    "zsh": """
        compdef() { :; }; _arguments() { print -r -- "$@"; }
        source "$SCRIPT"; words=(bokeh run --str); CURRENT=3; _bokeh_completion
    """,
    "fish": 'source $SCRIPT; complete --do-complete "bokeh run --str"',
}


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_completes_options(tmp_path: Path, shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    (tmp_path / "bokeh").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m bokehcli "$@"\n')
    (tmp_path / "bokeh").chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "SCRIPT": str(tmp_path / "script"),
        "HOME": str(tmp_path),
    }
    asked = subprocess.run(["bokeh"], env={**environment, "_BOKEH_COMPLETE": f"source_{shell}"}, capture_output=True, text=True)
    (tmp_path / "script").write_text(asked.stdout)
    done = subprocess.run([shell, "-c", SHELLS[shell]], env=environment, capture_output=True, text=True)
    assert set(re.findall(r"--\w[\w-]*", done.stdout)) == {"--strength", "--strip-gps", "--strip-metadata", "--strict"}, (
        done.stderr
    )
