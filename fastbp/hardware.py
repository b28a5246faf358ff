"""The machine as this process may use it: caches, which determine block sizes, memory and processors."""

from __future__ import annotations

import functools
import math
import os
from typing import NamedTuple

MEMBERSHIP, CGROUPS = "/proc/self/cgroup", "/sys/fs/cgroup"
MOST_CACHES = 10
UNITS = {"K": 1024, "M": 1024**2, "G": 1024**3}


class Caches(NamedTuple):
    """Bytes of one core's first-level data cache and second-level cache."""

    l1: int
    l2: int


@functools.cache
def caches() -> Caches:
    """Return the sizes of the caches, from Linux; elsewhere the smallest of current desktop processors.

    Examples
    --------
    >>> caches().l1 > 0
    True
    """
    found = {}
    for index in range(MOST_CACHES):
        folder = f"/sys/devices/system/cpu/cpu0/cache/index{index}"
        try:
            level, kind, size = (_read(f"{folder}/{name}") for name in ("level", "type", "size"))
            if kind != "Instruction":
                found[level] = int(size[:-1]) * UNITS[size[-1]] if size[-1] in UNITS else int(size)
        except (OSError, ValueError):  # some virtual machines leave files out
            continue
    return Caches(found.get("1", 32 * 1024), found.get("2", 512 * 1024))


@functools.cache
def memory() -> int:
    """Return the bytes of memory that this process may use: the machine's, or the control group's limit if lower.

    Examples
    --------
    >>> memory() > 0
    True
    """
    try:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not available, as on Windows
        total = 8 * UNITS["G"]
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            total = min(total, int(_read(file)))
        except (OSError, ValueError):  # no such group, or "max"
            continue
    return total


@functools.cache
def processors() -> int:
    """Return the number of processors that this process may keep busy: `affinity`, or `cpu_quota` rounded up if less.

    The number is cached: later changes of affinity or quota are not noticed.

    Examples
    --------
    >>> 1 <= processors() <= affinity()
    True
    """
    quota = cpu_quota()
    return affinity() if quota is None else max(1, min(affinity(), math.ceil(quota)))


def affinity() -> int:
    """Return the number of processors on which the scheduler lets this process run.

    Examples
    --------
    >>> affinity() >= 1
    True
    """
    # By the process's id: 0 would mean the calling thread, which may be bound to fewer.
    return len(os.sched_getaffinity(os.getpid())) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_quota() -> float | None:
    """Return the CPU quota of the container, in processors: the least of its cgroup's and its parents'.

    It is read from Linux's cgroups, version 2 (``cpu.max``) or 1 (``cpu.cfs_quota_us``); None if there is no limit.

    Examples
    --------
    >>> quota = cpu_quota()
    >>> quota is None or quota > 0
    True
    """
    try:
        lines = _read(MEMBERSHIP).splitlines()
    except OSError:  # another system than Linux
        return None
    quotas = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        # The path may be the host's while only the container's own cgroup is mounted, so every folder on it is tried.
        names = [name for name in path.split("/") if name not in ("", "..")]
        for root in (f"{CGROUPS}/{controllers}", f"{CGROUPS}/cpu") if controllers else (CGROUPS,):
            quotas += [_quota("/".join([root, *names[:depth]])) for depth in range(len(names) + 1)]
    return min((quota for quota in quotas if quota is not None), default=None)


def _quota(folder: str) -> float | None:
    for files in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        try:
            quota, period = (int(word) for file in files for word in _read(f"{folder}/{file}").split())
        except (OSError, ValueError):  # not there, or "max"
            continue
        return quota / period if quota > 0 and period > 0 else None  # version 1 has -1 for no limit
    return None


def _read(path: str) -> str:
    with open(path, encoding="ascii", errors="replace") as file:
        return file.read().strip()
