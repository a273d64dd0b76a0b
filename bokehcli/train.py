"""The train command: hands its words to the trainer, which runs as a child process, and its exit status back."""

import importlib.util
import os
import signal
import subprocess
import sys
from typing import Any

import typer
from typer.core import TyperCommand

from bokehcli.interrupts import PARENT


class PassThrough(TyperCommand):
    """A command that leaves its arguments as they are, `--` and `--help` included."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.args = list(args)
        return args


def train(context: typer.Context) -> None:
    """Train a model of your own: bokeh train DATA --out DIR. Needs PyTorch."""
    if importlib.util.find_spec("torch") is None:
        missing = "training needs PyTorch: pip install 'bokehcli[train]'"
        if "--help" in context.args:
            typer.echo(f"{train.__doc__}\nAll options are explained once it is there; {missing}")
            raise typer.Exit
        typer.echo(f"bokeh: {missing}", err=True)
        raise typer.Exit(1)
    # By that number it knows that it has been left alone, and stops. On Windows the Python of a virtual environment starts
    # another one, which is then the parent.
    environment = {**os.environ, PARENT: str(os.getpid())} if os.name == "posix" else None
    with subprocess.Popen([sys.executable, "-m", "bokehcli.trainer", *context.args], env=environment) as child:
        raise typer.Exit(_wait_for(child))


def _wait_for(child: subprocess.Popen[bytes]) -> int:
    """The child's exit status, as a shell gives it: 128 + N when signal N ended it.

    On Ctrl-C the terminal interrupts the child as well, which stops in its own time with a checkpoint; so wait on.
    """
    earlier = signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    try:
        while True:
            try:
                status = child.wait()
                return status if status >= 0 else 128 - status
            except KeyboardInterrupt:
                continue
    finally:
        signal.signal(signal.SIGTERM, earlier)
