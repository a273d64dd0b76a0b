"""One machine's part of a batch that several share (--shard I/N)."""

import hashlib
import sys
import unicodedata
from dataclasses import dataclass
from pathlib import PurePath

from bokehcli.errors import UsageError


@dataclass(frozen=True)
class Shard:
    """Part `index` of `count`, the first is 1. Raises UsageError where there is no such part."""

    index: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.count:
            raise UsageError(f"shard must be I/N with I between 1 and N, not {self}")

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def has(self, path: PurePath) -> bool:
        """Whether the photo whose result has this path under the output folder is in this part.

        By a hash of the path alone: on any machine, and however many photos come or go, it is the same part. Accents are
        composed before, as macOS takes them apart. What is not Unicode in a name is as the system has it.
        """
        name = unicodedata.normalize("NFC", path.as_posix()).encode("utf-8", sys.getfilesystemencodeerrors())
        return int.from_bytes(hashlib.sha256(name).digest()) % self.count == self.index - 1


WHOLE = Shard(1, 1)


def shard_of(text: str) -> Shard:
    """'2/8' as the second of eight parts. Raises UsageError."""
    index, _, count = text.partition("/")
    if not (index.isascii() and index.isdigit() and count.isascii() and count.isdigit()):
        raise UsageError(f"shard must be I/N, such as 2/8, not {text}")
    return Shard(int(index), int(count))
