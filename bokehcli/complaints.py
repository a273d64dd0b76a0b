"""What libjpeg, libpng and libtiff complain of while OpenCV decodes: they write it to stderr, and name no photo."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Lock

from bokehcli.opencv import cv2

STDERR = 2  # the descriptor to which the libraries write, whatever sys.stderr is
OF_OPENCV = rb"\[ ?[A-Z]+:\d+@[\d.]+\] global \S+ \w+ "  # its log, through which libtiff's go
OF_LIBJPEG = rb"(?:Corrupt JPEG data|Premature end of JPEG file|Inconsistent progression)"
IN_LOG, REST_OF_LOG = re.compile(OF_OPENCV), re.compile(rb"|>.*|where| .*")  # the first line of an entry, and the others
COMPLAINT = re.compile(rb"%b.*|libpng .*|%b.*" % (OF_OPENCV, OF_LIBJPEG))
# Others are of what a file says beside its pixels, or of the few bytes that some cameras leave behind the last one.
DAMAGE = re.compile(rb"\[ERROR:\S+ global \S+ \w+ (.*)|libpng error: (.*)|.*?(%b(?!.* before marker 0xd9).*)" % OF_LIBJPEG)
PIPE_BYTES = 1 << 16  # that a pipe holds, at least as much as is ever read

_one_at_a_time = Lock()


@contextmanager
def overheard() -> Iterator[list[str]]:
    """A list that at the end has the complaints that tell of damage, each once. Whatever else goes to stderr gets there then.

    It stays empty where there is no stderr, and on Windows, where a pipe waits for a reader.
    """
    complaints: list[str] = []
    log = cv2.utils.logging
    with _one_at_a_time:
        stderr = _second_stderr()
        if stderr is None:
            yield complaints
            return
        reader, writer = os.pipe()
        before = log.getLogLevel()
        try:
            for end in (reader, writer):
                os.set_blocking(end, False)
            os.dup2(writer, STDERR)
            log.setLogLevel(log.LOG_LEVEL_WARNING)
            yield complaints
        finally:
            log.setLogLevel(before)
            os.dup2(stderr, STDERR)
            with suppress(BlockingIOError):  # nothing was written
                _sort_out(os.read(reader, PIPE_BYTES), complaints, stderr)
            for descriptor in (stderr, reader, writer):
                os.close(descriptor)


def _second_stderr() -> int | None:
    if os.name != "posix":
        return None
    with suppress(OSError):
        return os.dup(STDERR)
    return None


def _sort_out(written: bytes, complaints: list[str], stderr: int) -> None:
    in_log = False
    for line in written.splitlines(keepends=True):
        text = line.rstrip()
        if in_log and REST_OF_LOG.fullmatch(text):
            continue
        in_log = IN_LOG.match(text) is not None
        if not COMPLAINT.fullmatch(text):
            with suppress(OSError):
                os.write(stderr, line)
        elif damage := DAMAGE.fullmatch(text):
            complaint = damage[damage.lastindex or 0].decode(errors="replace")
            complaints += [complaint] if complaint not in complaints else []
