"""Pieces of code timed against one another: each in its own process, in turns; medians are compared.

Machines are shared and noisy: the ratio of two interleaved measurements says more than a figure alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from . import BRIEF

ROUNDS = 1 if BRIEF else 9
ROUND_SECONDS = 1e-4 if BRIEF else 0.05
REST_SECONDS = 0 if BRIEF else 0.25  # a pool of threads spins on after its turn: OpenBLAS's for 110 ms
PROCESSORS = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
POOLS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


@dataclass(frozen=True)
class Side:
    """One of the codes that are compared.

    `statement` is timed after `setup`; the array `result` is evaluated once between them, for comparison. The process
    has as many processors as threads, since some pools, such as XLA's, have a thread for each processor.
    `environment` is added to this process's; `python` may be the interpreter of another environment, which needs NumPy.
    If `absent` says why the side cannot run, no process is started.
    """

    setup: str
    statement: str
    result: str = "()"
    threads: int = len(PROCESSORS)
    python: str = sys.executable
    environment: Mapping[str, str] = field(default_factory=dict)
    absent: str = ""


class Missing(RuntimeError):
    """A side is not installed, or cannot do what it is asked for."""


class Crashed(RuntimeError):
    """A side's process was ended by a signal, as JAX 0.6.2 does on 2048-4096-4096-1000."""


class Process:
    """The process of one side, ready to time it on demand; see `worker`."""

    def __init__(self, side: Side):
        if side.absent:
            raise Missing(side.absent)
        if side.threads > len(PROCESSORS):
            raise Missing(f"{side.threads} threads on {len(PROCESSORS)} processors")
        with tempfile.TemporaryDirectory() as folder:
            task = {
                "setup": side.setup,
                "statement": side.statement,
                "result": side.result,
                "path": f"{folder}/result.npy",
                "processors": PROCESSORS[: side.threads],
                "round_seconds": ROUND_SECONDS,
            }
            self._process = subprocess.Popen(
                [side.python, "-m", f"{__package__.rpartition('.')[2]}.worker", json.dumps(task)],
                cwd=Path(__file__).parents[1],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=_environment(side),
            )
            try:
                answer = self._answer()
                if answer != "ready":
                    raise Missing(answer)
                self.result = np.load(task["path"])
            except BaseException:
                self.__exit__()
                raise

    def _answer(self) -> str:
        while line := self._process.stdout.readline():
            if line.startswith("side: "):  # libraries write to the same stream
                return line.removeprefix("side: ").rstrip()
        status = self._process.wait()
        if status < 0:
            raise Crashed(f"signal {-status} ended its process")
        raise RuntimeError("the timed process ended before it answered")

    def seconds(self) -> float:
        time.sleep(REST_SECONDS)
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        return float(self._answer())

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


def _environment(side: Side) -> dict[str, str]:
    whole = {**os.environ, **dict.fromkeys(POOLS, str(side.threads)), **side.environment}
    if side.python != sys.executable:
        whole.pop("PYTHONPATH", None)  # it leads to packages of this interpreter
    return whole


@dataclass
class Outcome:
    """The median seconds per call of each side, and why others are missing."""

    seconds: dict[str, float] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def of(self, name: str) -> float:
        """Return the time of a side without which nothing can be compared."""
        if name not in self.seconds:
            raise Missing(f"{name}: {self.missing[name]}")
        return self.seconds[name]

    def best(self, names: Sequence[str]) -> float:
        """Return the time of the fastest of these sides; NaN if all are missing."""
        return min((self.seconds[name] for name in names if name in self.seconds), default=float("nan"))


def duel(sides: Mapping[str, Side], rounds: int = ROUNDS, check: Callable[[Any, Any], None] | None = None) -> Outcome:
    """Time all sides in turns. Before that, `check` receives each side's result and the first one's."""
    outcome = Outcome()
    with contextlib.ExitStack() as stack:
        processes: dict[str, Process] = {}
        for name, side in sides.items():
            try:
                processes[name] = stack.enter_context(Process(side))
            except (Missing, Crashed) as reason:
                if isinstance(reason, Crashed) and not processes:  # the side that the others are compared with
                    raise
                outcome.missing[name] = str(reason)
                continue
            if check is not None:
                try:
                    check(processes[name].result, next(iter(processes.values())).result)
                except AssertionError as error:
                    raise AssertionError(f"{name}: {error}") from None
        turns = [[process.seconds() for process in processes.values()] for _ in range(rounds)]
    outcome.seconds = dict(zip(processes, map(statistics.median, zip(*turns, strict=True)), strict=True))
    return outcome
