"""Cores and memory, from files as Linux has them."""

import ctypes
import os
import platform
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bokehcli import resources
from bokehcli.resources import available_bytes, keep_freed_memory, usable_cores


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands for /: an empty system of eight cores."""
    monkeypatch.setattr(resources, "PROC", tmp_path / "proc")
    monkeypatch.setattr(resources, "CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_where_nothing_is_told_memory_is_unknown_and_the_affinity_counts(system: Path) -> None:
    assert available_bytes() is None
    assert usable_cores() == 8


def test_without_affinity_all_cores_count(system: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert usable_cores() == 6


def test_memory_is_what_linux_calls_available(system: Path) -> None:
    write(system / "proc" / "meminfo", "MemTotal:  9000 kB\nMemFree:  10 kB\nMemAvailable:  5000 kB\n")
    assert available_bytes() == 5000 * 1024


def test_of_macos_half_the_memory_counts(system: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(os, "sysconf", {"SC_PHYS_PAGES": 1000, "SC_PAGE_SIZE": 16384}.__getitem__)
    assert available_bytes() == 500 * 16384
    monkeypatch.delattr(os, "sysconf")
    assert available_bytes() is None


def test_windows_is_asked_for_what_is_available(system: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.delattr(ctypes, "windll", raising=False)
    assert available_bytes() is None

    def tell(status: Any) -> int:
        assert (ctypes.sizeof(status), list(status)) == (64, [64] + [0] * 7)
        status[:] = [64 + (50 << 32), 9000, 7000, 1, 1, 1, 1, 1]
        return 1

    kernel = SimpleNamespace(GlobalMemoryStatusEx=tell)
    monkeypatch.setattr(ctypes, "windll", SimpleNamespace(kernel32=kernel), raising=False)
    assert available_bytes() == 7000
    kernel.GlobalMemoryStatusEx = lambda _: 0
    assert available_bytes() is None


def test_the_tightest_group_of_version_2_counts(system: Path) -> None:
    write(system / "proc" / "self" / "cgroup", "0::/outer/inner\n")
    write(system / "cgroup" / "memory.max", "9000\n")
    write(system / "cgroup" / "outer" / "memory.max", "700\n")
    write(system / "cgroup" / "outer" / "inner" / "memory.max", "max\n")
    write(system / "cgroup" / "outer" / "inner" / "cpu.max", "250000 100000\n")
    write(system / "cgroup" / "outer" / "cpu.max", "max 100000\n")
    assert available_bytes() == 700
    assert usable_cores() == 2


def test_version_1_has_a_tree_for_each_controller(system: Path) -> None:
    write(system / "proc" / "self" / "cgroup", "4:memory:/gone\n2:cpu,cpuacct:/\n0::/\n")
    write(system / "cgroup" / "memory" / "memory.limit_in_bytes", "800\n")
    write(system / "cgroup" / "cpu,cpuacct" / "cpu.cfs_quota_us", "50000\n")
    write(system / "cgroup" / "cpu,cpuacct" / "cpu.cfs_period_us", "100000\n")
    assert available_bytes() == 800
    assert usable_cores() == 1  # half a core is one all the same
    write(system / "cgroup" / "cpu,cpuacct" / "cpu.cfs_quota_us", "-1\n")
    assert usable_cores() == 8


FREED = """
import ctypes, resource, sys
from bokehcli.resources import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
library = ctypes.CDLL(None)
library.malloc.restype, library.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
def use():
    places = [library.malloc(20 << 20) for _ in range(4)]
    for place in places:
        ctypes.memset(place, 1, 20 << 20)
    for place in places:
        library.free(place)
use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is glibc's")
def test_freed_memory_is_used_again_without_page_faults() -> None:
    def faults(word: str) -> int:
        done = subprocess.run([sys.executable, "-c", FREED, word], capture_output=True, text=True, check=True)
        return int(done.stdout)

    pages = 10 * (80 << 20) // os.sysconf("SC_PAGESIZE")
    assert faults("keep") < 0.01 * pages
    assert faults("as it is") > 0.5 * pages


def test_another_c_library_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    assert not keep_freed_memory()
