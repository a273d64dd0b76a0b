"""Memory of a process and its children while it runs, from /proc, so on Linux only."""

import threading
from dataclasses import dataclass
from pathlib import Path

SAMPLE_EVERY_S = 0.05


@dataclass(frozen=True)
class Memory:
    """MiB of all processes together. rss: resident, shared pages counted in each. pss: shared pages counted once."""

    rss_mib: float = 0.0
    pss_mib: float = 0.0


def tree_of(pid: int) -> list[int]:
    """A process and all below it, those that have just ended left out."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        below = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [pid, *(process for child in below for process in tree_of(child))]


def memory_of(pid: int) -> Memory:
    """What a process and all below it hold now."""
    found = {"Rss:": 0, "Pss:": 0}
    for process in tree_of(pid):
        try:
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        for line in lines:
            name, *values = line.split()
            if name in found:
                found[name] += int(values[0])
    return Memory(found["Rss:"] / 1024, found["Pss:"] / 1024)


class PeakSampler:
    """Keeps the largest memory of a process tree, sampled until `stop`."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.peak = Memory()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def stop(self) -> Memory:
        """The peak, sampling ended."""
        self._ended.set()
        self._thread.join()
        return self.peak

    def _sample(self) -> None:
        while not self._ended.wait(SAMPLE_EVERY_S):
            now = memory_of(self.pid)
            self.peak = Memory(max(self.peak.rss_mib, now.rss_mib), max(self.peak.pss_mib, now.pss_mib))
