"""How busy other processes keep the processors, as Linux counts it."""

from __future__ import annotations

import math
import time
from collections.abc import Collection
from pathlib import Path

from .benchmarks.duel import PROCESSORS

STATISTICS = Path("/proc/stat")
MUCH = 0.1  # one tick in ten: medians of turns bear less


def busy_share(seconds: float = 0.5) -> float:
    """Return which part of this process's processors is busy while it sleeps; NaN where the system does not say."""
    try:
        before = ticks(STATISTICS.read_text(encoding="ascii"), PROCESSORS)
        time.sleep(seconds)
        after = ticks(STATISTICS.read_text(encoding="ascii"), PROCESSORS)
    except (OSError, ValueError):
        return math.nan
    idle, whole = after[0] - before[0], after[1] - before[1]
    return 1 - idle / whole if whole > 0 else math.nan


def ticks(text: str, processors: Collection[int]) -> tuple[int, int]:
    """Return the ticks in which these processors were idle, or waited for a disk, and all their ticks."""
    idle = whole = 0
    for line in text.splitlines():
        name, *numbers = line.split()[:9]  # user, nice, system, idle, iowait, irq, softirq, steal
        if name.startswith("cpu") and name != "cpu" and int(name.removeprefix("cpu")) in processors:
            counts = [int(number) for number in numbers]
            idle += counts[3] + counts[4]
            whole += sum(counts)
    return idle, whole
