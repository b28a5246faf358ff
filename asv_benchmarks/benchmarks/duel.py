"""Two pieces of code timed against one another: each in a process of its own, in turns, medians.

Machines are shared and noisy: a figure on its own says little, a ratio of two that were interleaved says much.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = str(Path(__file__).parent)
ROUND_SECONDS = 0.05
REST_SECONDS = 0.2  # threads of the other side's pool spin on our processors after its turn: OpenBLAS for 110 ms

WORKER = """
import sys, time
sys.path.insert(0, {here!r})
{setup}
def measure(repeats):
    start = time.perf_counter()
    for _ in range(repeats):
        {statement}
    return time.perf_counter() - start
measure(2)
repeats = 1
while (took := measure(repeats)) < {seconds} and repeats < 10**7:
    repeats = max(repeats + 1, int(repeats * min(10, 1.2 * {seconds} / max(took, 1e-9))))
print("ready", flush=True)
for line in sys.stdin:
    measure(max(1, repeats // 10))
    print(measure(repeats) / repeats, flush=True)
"""


class Side:
    """One process that times a statement on demand."""

    def __init__(self, setup: str, statement: str):
        code = WORKER.format(here=HERE, setup=setup, statement=statement, seconds=ROUND_SECONDS)
        self._process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._answer()

    def _answer(self) -> str:
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the timed process ended before it answered")
        return line

    def seconds(self) -> float:
        time.sleep(REST_SECONDS)
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        return float(self._answer())

    def __enter__(self) -> Side:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def medians(ours: tuple[str, str], theirs: tuple[str, str], rounds: int = 9) -> tuple[float, float]:
    """Seconds a call of both sides, each given as (setup, statement)."""
    with Side(*ours) as first, Side(*theirs) as second:
        pairs = [(first.seconds(), second.seconds()) for _ in range(rounds)]
    return statistics.median(pair[0] for pair in pairs), statistics.median(pair[1] for pair in pairs)
