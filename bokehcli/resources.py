"""What of the machine this process may use: cores, and memory where the system tells; and how it uses memory."""

import ctypes
import os
import sys
from collections.abc import Iterator
from pathlib import Path

# Of mallopt, from glibc's malloc.h; and the highest values that it takes.
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
NEVER_BYTES, MMAP_FROM_BYTES = (1 << 31) - 1, 32 << 20
PROC, CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")  # where Linux keeps them; elsewhere nothing is there


def usable_cores() -> int:
    """Cores that this process may run on, at least 1: its affinity, or all there are, and no more than its quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = (text.split() for text in cgroup_settings("cpu.max"))  # "200000 100000": microseconds of each so many
    older = zip(cgroup_settings("cpu.cfs_quota_us"), cgroup_settings("cpu.cfs_period_us"), strict=False)
    for quota, period in (*quotas, *older):
        if quota.isdigit() and int(period) > 0:  # else "max", or -1 in version 1
            cores = min(cores, int(quota) // int(period))
    return max(1, cores)


def available_bytes() -> int | None:
    """Memory that is to be had without swapping, and no more than the limit of a container. None where unknown.

    macOS does not tell it plainly; there half of all memory counts as available.
    """
    limits = (*cgroup_settings("memory.max"), *cgroup_settings("memory.limit_in_bytes"))
    amounts = [int(text) for text in limits if text.isdigit()]  # else "max"
    for line in _lines(PROC / "meminfo"):
        if line.startswith("MemAvailable:"):
            amounts.append(int(line.split()[1]) * 1024)
    return min(amounts, default=_told_bytes())


def _told_bytes() -> int | None:
    """Available memory as macOS and Windows tell of it by a function; None elsewhere, and where that fails."""
    try:
        if sys.platform == "darwin":
            return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
        if sys.platform == "win32":
            status = (ctypes.c_uint64 * 8)(64)  # MEMORYSTATUSEX of sysinfoapi.h: its size, all memory, what is available ...
            return status[2] if ctypes.windll.kernel32.GlobalMemoryStatusEx(status) else None
    except (OSError, ValueError, AttributeError, TypeError, ctypes.ArgumentError):
        return None
    return None


def keep_freed_memory() -> bool:
    """Have the C library keep what is freed for the next photo; False where it is not glibc.

    A photo is worked on in blocks of some megabytes. Given back to the system after each, they cost a page fault for every
    4 kB when the next one is asked for. Blocks above MMAP_FROM_BYTES, whole photos, are given back as ever.
    """
    try:
        adjust = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # a C library without it; TypeError: Windows has no library None
        return False
    return bool(adjust(MMAP_THRESHOLD, MMAP_FROM_BYTES) and adjust(TRIM_THRESHOLD, NEVER_BYTES))


def reset_peak() -> None:
    """Have `peak_mib` begin anew, on Linux."""
    try:
        (PROC / "self" / "clear_refs").write_text("5", "ascii")
    except OSError:  # elsewhere it goes on from the process's start
        return


def peak_mib() -> float | None:
    """Most memory that the process held at once since `reset_peak`; None where the system does not tell."""
    line = next((line for line in _lines(PROC / "self" / "status") if line.startswith("VmHWM:")), None)
    return None if line is None else int(line.split()[1]) / 1024


def cgroup_settings(name: str) -> Iterator[str]:
    """What a file of that name says in this process's control groups and those above them.

    Version 2 has one tree of groups, version 1 one a controller, in a folder of the controller's name.
    """
    for line in _lines(PROC / "self" / "cgroup"):
        _, controllers, group = line.split(":", 2)
        root = CGROUPS / controllers
        inside = root / group.lstrip("/")
        for folder in (inside, *inside.parents):
            yield from (text.strip() for text in _lines(folder / name))
            if folder == root:
                break


def _lines(path: Path) -> list[str]:
    """The lines of a file, none where it cannot be read."""
    try:
        return path.read_text("utf-8").splitlines()
    except OSError:
        return []
