"""Fresh interpreters: import, and the first ``fit`` with an empty and with a warm cache of compiled code."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time

FIRST_FIT = """
import fastbp
X, y = fastbp.datasets.load_digits()
fastbp.MLP((64, 100, 10), seed=0, input_scale=1 / 16).fit(X, y, epochs=1, batch_size=64)
"""


def seconds_of(code: str, cache: str) -> float:
    """Wall time of a fresh interpreter that runs `code`, its own start included."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "NUMBA_CACHE_DIR": cache})
    return time.perf_counter() - start


def import_seconds(rounds: int = 7) -> tuple[float, float]:
    """Medians of ``import fastbp`` and of ``import numba``, in turns, interpreters included."""
    with tempfile.TemporaryDirectory() as cache:
        pairs = [(seconds_of("import fastbp", cache), seconds_of("import numba", cache)) for _ in range(rounds)]
    return statistics.median(pair[0] for pair in pairs), statistics.median(pair[1] for pair in pairs)


def first_fit_seconds(rounds: int = 5) -> tuple[float, float]:
    """The first fit of a process with an empty cache, and the median with a warm one."""
    with tempfile.TemporaryDirectory() as cache:
        cold = seconds_of(FIRST_FIT, cache)
        return cold, statistics.median(seconds_of(FIRST_FIT, cache) for _ in range(rounds))


class Start:
    timeout = 300
    unit = "s"

    def track_import_over_numba(self):
        ours, numba = import_seconds()
        return ours - numba

    def track_first_fit_cold(self):
        return first_fit_seconds(1)[0]

    def track_first_fit_warm(self):
        return first_fit_seconds()[1]
