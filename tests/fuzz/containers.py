"""`python -m tests.fuzz.containers --seconds 600`: search for bytes that the parsers of file formats do not survive.

By atheris (libFuzzer), from the files of `tests.fuzz.seeds`. Whatever the bytes, the only error is Malformed, nothing takes
longer than some seconds, and a block that was read can be written. A find is written to the working folder, and said.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.fuzz.seeds import seeds

SLOW_S = 10


def main() -> None:
    """Fuzz until the time is over or something is found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=600, help="(%(default)s)")
    parser.add_argument("--corpus", type=Path, help="folder that keeps what was learned, to go on from")
    arguments = parser.parse_args()
    try:
        import atheris
    except ImportError:
        sys.exit("atheris is not installed: pip install 'bokehcli[fuzz]'")
    fuzzer: Any = atheris
    with fuzzer.instrument_imports(include=["bokehcli"]):
        from tests.fuzz.target import check
    with tempfile.TemporaryDirectory() as folder:
        corpus = arguments.corpus or Path(folder)
        corpus.mkdir(parents=True, exist_ok=True)
        for name, data in seeds().items():
            (corpus / name).write_bytes(data)
        limits = [f"-max_total_time={arguments.seconds}", f"-timeout={SLOW_S}", "-max_len=16384", "-rss_limit_mb=2048"]
        fuzzer.Setup([sys.argv[0], *limits, str(corpus)], check)
        fuzzer.Fuzz()


if __name__ == "__main__":
    main()
