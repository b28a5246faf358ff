"""About how long the parts take, from the numbers of sides, rounds and rests; within a factor of two."""

from __future__ import annotations

from collections.abc import Mapping

from .benchmarks.duel import REST_SECONDS, ROUND_SECONDS

# From the start of a process until it is ready, its code compiled or in the cache: seconds on two cores of 3.5 GHz.
READY = {"fastbp": 2.5, "NumPy": 1.0, "PyTorch": 4.0, "torch.compile": 20.0, "scikit-learn": 5.0, "ONNX Runtime": 1.5}
READY_OF_OTHERS = 3.0
OVERHEAD = {"NumPy": 5e-5, "PyTorch": 2e-4, "torch.compile": 8e-5, "scikit-learn": 1e-4}  # a step of a tiny network
CALLS_BEFORE = 4  # for the result, to warm up, and to find the number of repeats
FLOPS = {"float32": 4e10, "float64": 2e10}  # a second and a thread, of a typical side


def of_duel(calls: Mapping[str, float], rounds: int) -> float:
    """Return the seconds of a duel whose sides take so many seconds for one call of their statement."""
    return sum(of_side(READY.get(side, READY_OF_OTHERS), rounds, call) for side, call in calls.items())


def of_side(ready: float, rounds: int, call: float = 0) -> float:
    turn = max(1.2 * ROUND_SECONDS, call) + max(0.1 * ROUND_SECONDS, call)
    return ready + CALLS_BEFORE * max(ROUND_SECONDS, call) + rounds * (REST_SECONDS + turn)


def of_work(side: str, flops: float, dtype: str, threads: int, steps: int = 1) -> float:
    """Return the seconds of steps of so many floating-point operations."""
    return steps * (flops / (FLOPS[dtype] * threads) + OVERHEAD.get(side, 0))


def words(seconds: float) -> str:
    """Return a duration with no more digits than an estimate deserves."""
    if seconds < 90:
        return f"{max(10, round(seconds, -1)):.0f} seconds"
    return f"{seconds / 60:.0f} minutes"
