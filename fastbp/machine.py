"""What this machine holds: its caches, by which products are blocked, and its memory."""

from __future__ import annotations

import functools
import glob
import os
from typing import NamedTuple

UNITS = {"K": 1024, "M": 1024**2, "G": 1024**3}


class Caches(NamedTuple):
    """Bytes of the first-level data cache and of the second level, of one core."""

    l1: int
    l2: int


@functools.cache
def caches() -> Caches:
    """As Linux tells them; the smallest of current desktop processors where it tells nothing.

    Examples
    --------
    >>> caches().l1 > 0
    True
    """
    found = {}
    for folder in glob.glob("/sys/devices/system/cpu/cpu0/cache/index*"):
        try:
            level, kind, size = (_read(f"{folder}/{name}") for name in ("level", "type", "size"))
            if kind != "Instruction":
                found[level] = int(size[:-1]) * UNITS[size[-1]] if size[-1] in UNITS else int(size)
        except (OSError, ValueError):  # some virtual machines leave files out
            continue
    return Caches(found.get("1", 32 * 1024), found.get("2", 512 * 1024))


@functools.cache
def memory() -> int:
    """Bytes of memory that this process may use: the machine's, or its control group's limit where that is lower.

    Examples
    --------
    >>> memory() > 0
    True
    """
    try:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not told, as on Windows
        total = 8 * UNITS["G"]
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            total = min(total, int(_read(file)))
        except (OSError, ValueError):  # no such group, or "max"
            continue
    return total


def _read(path: str) -> str:
    with open(path, encoding="ascii") as file:
        return file.read().strip()
