"""How long the command takes to begin and to end: `bokeh --version`, and `bokeh run` of one small photo, each in a new process.

python -m tests.bench.startup [PHOTO] [--repeat 5] [--against CHECKOUT]

With another checkout of the project the two take turns, and the ratio is printed.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.machine import machine

HERE = Path(__file__).resolve().parents[2]
PHOTO = HERE / "tests" / "photos" / "coffee.jpg"


def seconds(checkout: Path, *arguments: str) -> float:
    """The time of one command, from the start of its process to its end."""
    environment = os.environ | {"PYTHONPATH": str(checkout)}
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "bokehcli", *arguments], cwd=checkout, env=environment, check=True, capture_output=True
    )
    return time.perf_counter() - began


def main() -> None:
    """Print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo", type=Path, nargs="?", default=PHOTO)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--against", type=Path)
    arguments = parser.parse_args()
    photo = str(arguments.photo.resolve())
    checkouts = [HERE] if arguments.against is None else [HERE, arguments.against.resolve()]
    times: dict[str, dict[Path, list[float]]] = {"--version": {}, "run": {}}
    for number in range(arguments.repeat + 1):
        for checkout in checkouts:
            with tempfile.TemporaryDirectory() as folder:
                once = {"--version": seconds(checkout, "--version"), "run": seconds(checkout, "run", photo, "--out", folder)}
            for command, took in once.items() if number else ():  # the first round reads the files in
                times[command].setdefault(checkout, []).append(took)
    for command, of_checkout in times.items():
        medians = [statistics.median(of_checkout[checkout]) for checkout in checkouts]
        ratio = f"  {medians[0] / medians[1]:.2f} of the other's {medians[1]:.2f} s" if len(medians) > 1 else ""
        print(f"bokeh {command:9} {medians[0]:5.2f} s{ratio}")
    print(machine())


if __name__ == "__main__":
    main()
