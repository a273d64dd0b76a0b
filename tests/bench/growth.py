"""How time and memory grow with the photo: one JPEG of each size, each rendered in a process of its own.

    python -m tests.bench.growth PHOTO [--megapixels 1,3,12,48,108] [--threads N] [--model DIR]

The photo is enlarged to each size. Seconds are of the photo from file to file, with the network open already. Memory is
the peak of the whole process; what that is above the same process before the photo, by megapixel; and what each further
megapixel adds to the size before.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bokehcli.discover import Job
from bokehcli.options import Existing, InferOptions, LensOptions, RunOptions
from tests.bench.machine import machine
from tests.bench.sized import brought_to

HERE = "--here"  # first argument of the child process


def resident_mib(field: str) -> float:
    """This process's memory now (VmRSS) or at most so far (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def render_here(source: Path, out: Path, options: RunOptions) -> dict[str, float]:
    """Open the network and render one photo in this process."""
    from bokehcli.pipeline import open_renderer

    renderer = open_renderer(options)
    before_mib = resident_mib("VmRSS")
    started = time.perf_counter()
    outcome = renderer.render_photo(Job(source=source, destination=out))
    elapsed_s = time.perf_counter() - started
    if outcome.error is not None:
        raise SystemExit(outcome.error)
    return {"elapsed_s": elapsed_s, "before_mib": before_mib, "peak_mib": resident_mib("VmHWM")}


def main() -> None:
    """Render each size in a child process and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo", type=Path)
    parser.add_argument("--megapixels", default="1,3,12,48,108", help="sizes, by comma")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--strength", type=float, default=LensOptions.strength)
    parser.add_argument("--model", type=Path, default=None)
    parser.add_argument(HERE, type=Path, default=None, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.here is not None:
        options = RunOptions(
            infer=InferOptions(model=arguments.model, threads=arguments.threads),
            lens=LensOptions(strength=arguments.strength),
            existing=Existing.OVERWRITE,
        )
        print(json.dumps(render_here(arguments.photo, arguments.here, options)))
        return
    print("    MP       s    s/MP  peak MiB  above start, per MP  per further MP")
    before: tuple[float, float] | None = None
    with tempfile.TemporaryDirectory() as temporary:
        source, out = Path(temporary, "in.jpg"), Path(temporary, "out.jpg")
        for size in arguments.megapixels.split(","):
            sized = brought_to(arguments.photo, float(size))
            source.write_bytes(sized.data)
            megapixels = sized.megapixels
            command = [sys.executable, "-m", "tests.bench.growth", str(source), HERE, str(out)]
            command += ["--threads", str(arguments.threads), "--strength", str(arguments.strength)]
            command += [] if arguments.model is None else ["--model", str(arguments.model)]
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True, env=os.environ)
            it = json.loads(done.stdout)
            above_mib = (it["peak_mib"] - it["before_mib"]) / megapixels
            further = f"{(it['peak_mib'] - before[1]) / (megapixels - before[0]):15.1f}" if before else ""
            before = megapixels, it["peak_mib"]
            print(
                f"{megapixels:6.1f} {it['elapsed_s']:7.2f} {it['elapsed_s'] / megapixels:7.3f} {it['peak_mib']:9.0f} "
                f"{above_mib:20.1f} {further}",
                flush=True,
            )
    print(machine())
    print("repeat: python -m tests.bench.growth " + " ".join(sys.argv[1:]))


if __name__ == "__main__":
    main()
