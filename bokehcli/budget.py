"""How many megapixels may be worked on at once, whatever the mix of sizes, so that memory lasts."""

from collections.abc import Hashable
from typing import Generic, TypeVar

BASE_BYTES = 300 << 20  # of a process without its photo
MEGAPIXEL_BYTES = 13 << 20  # of a JPEG while it is rendered, by megapixel; with the base above what 24 and 48 took
UNKNOWN_MEGAPIXELS = 256.0  # in all, where the system does not say how much memory is to be had

Who = TypeVar("Who", bound=Hashable)


def megapixels_within(memory_bytes: int | None, processes: int) -> float:
    """Megapixels that can be worked on at once in that much memory by so many processes; 0 where it is too little for any."""
    if memory_bytes is None:
        return UNKNOWN_MEGAPIXELS
    return max(0.0, (memory_bytes - processes * BASE_BYTES) / MEGAPIXEL_BYTES)


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
