"""How many megapixels may be worked on at once, whatever the mix of sizes, so that memory lasts."""

from collections.abc import Hashable
from typing import Generic, TypeVar

BASE_BYTES = 300 << 20  # of a process before its photo, and some more: measured 265 MiB
MEGAPIXEL_BYTES = 11 << 20  # of a photo while it is rendered, by megapixel: measured 10.2 MiB from 12 to 108 megapixels
UNKNOWN_MEGAPIXELS = 256.0  # in all, where the system does not say how much memory is to be had
FILE_BYTES = 3_000_000  # of the file, that count as a megapixel: 8-bit RGB. More bits, or floats, take more memory as well.

Who = TypeVar("Who", bound=Hashable)


def megapixels_within(memory_bytes: int | None, processes: int) -> float:
    """Megapixels that can be worked on at once in that much memory by so many processes; 0 where it is too little for any."""
    if memory_bytes is None:
        return UNKNOWN_MEGAPIXELS
    return max(0.0, (memory_bytes - processes * BASE_BYTES) / MEGAPIXEL_BYTES)


def weight_of(megapixels: float, file_bytes: int) -> float:
    """What a photo counts as, in megapixels of 8 bits."""
    return max(megapixels, file_bytes / FILE_BYTES)


class Budget(Generic[Who]):
    """Megapixels that are handed out, in the order in which they are asked for, so that a large photo is not put off for ever.

    One photo may always be worked on, however large it is.
    """

    def __init__(self, megapixels: float) -> None:
        self.megapixels = megapixels
        self._given: dict[Who, float] = {}
        self._asked: dict[Who, float] = {}

    def ask(self, who: Who, megapixels: float) -> None:
        """Ask for some; `grant` tells when they are to be had."""
        self._asked[who] = megapixels

    def give_back(self, who: Who) -> None:
        """Give back what was got or asked for, if anything."""
        self._given.pop(who, None)
        self._asked.pop(who, None)

    def grant(self) -> list[Who]:
        """Those who get now what they asked for."""
        got = []
        for who, megapixels in list(self._asked.items()):
            if self._given and sum(self._given.values()) + megapixels > self.megapixels:
                break
            self._given[who] = self._asked.pop(who)
            got.append(who)
        return got
