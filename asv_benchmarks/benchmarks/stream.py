"""Training on a file four times as large as its memory limit: resident memory, and speed relative to memory.

Each side runs in its own process.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import BRIEF
from .duel import PROCESSORS, ROUNDS, Side, duel

LIMITS = (2 << 20,) if BRIEF else (48 << 20, 256 << 20)  # bytes; the file has four times as many
NETWORKS = ("784-10",) if BRIEF else ("784-512-256-10", "784-100-10")
KINDS = {"float32": None, "uint8": 1 / 255}  # the stored dtype, and the factor for its numbers
PREPARE = """
import numpy as np
import fastbp
X, y, limit = np.load({path!r}, mmap_mode="r"), np.load({labels!r}), {limit}
net = fastbp.MLP({sizes}, seed=0, input_scale={scale})
def fit(X, memory_limit):
    net.fit(X, y[: len(X)], epochs=1, batch_size=128, learning_rate=0.01, memory_limit=memory_limit)
"""
# Before: compiled kernels, their buffers, and the code of both ways to train; then the peak of two epochs.
RESIDENT = """
import json, pathlib
def status(name):
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name))
fastbp.warmup("float32")
some = np.zeros((min(8192, len(X)), X.shape[1]), X.dtype)
fit(some, None)
fit(some, 2 << 20)
del some
pathlib.Path("/proc/self/clear_refs").write_text("5")
before = status("VmRSS")
fit(X, limit)
fit(X, limit)
print(json.dumps([before, status("VmHWM")]))
"""


@dataclass(frozen=True)
class File:
    """Random rows and labels in a temporary folder."""

    path: str
    labels: str
    kind: str
    limit: int

    def setup(self, network: str) -> str:
        sizes = tuple(map(int, network.split("-")))
        return PREPARE.format(path=self.path, labels=self.labels, limit=self.limit, sizes=sizes, scale=KINDS[self.kind])


def rows_of(limit: int, kind: str) -> int:
    return 4 * limit // (784 * np.dtype(kind).itemsize)


@contextlib.contextmanager
def file_of(limit: int, kind: str) -> Iterator[File]:
    rng = np.random.default_rng(0)
    rows = rows_of(limit, kind)
    with tempfile.TemporaryDirectory() as folder:
        path, labels = f"{folder}/X.npy", f"{folder}/y.npy"
        X = np.lib.format.open_memmap(path, "w+", np.dtype(kind), (rows, 784))
        for begin in range(0, rows, 4096):
            part = X[begin : begin + 4096]
            part[...] = rng.integers(0, 256, part.shape) if kind == "uint8" else rng.standard_normal(part.shape)
        X.flush()
        np.save(labels, rng.integers(0, 10, rows).astype(np.uint8))
        yield File(path, labels, kind, limit)


def resident(file: File, network: str) -> tuple[int, int]:
    """Return the resident bytes of a process before two epochs, and their peak."""
    done = subprocess.run(
        [sys.executable, "-c", file.setup(network) + RESIDENT],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(
                filter(None, [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
            ),
        },
    )
    before, peak = json.loads(done.stdout.splitlines()[-1])
    return before, peak


def speed(file: File, network: str, threads: int = len(PROCESSORS), rounds: int = ROUNDS) -> dict[str, float]:
    """Return the seconds per epoch, for the file and for its rows in memory."""
    setup = file.setup(network)
    sides = {
        "file": Side(setup, "fit(X, limit)", threads=threads),
        "memory": Side(setup + "X = np.array(X)\n", "fit(X, None)", threads=threads),
    }
    return duel(sides, rounds).seconds


class Resident:
    params = [list(KINDS)]
    param_names = ["kind"]
    timeout = 600
    unit = "peak over what was before / limit"

    def track_resident(self, kind):
        if not Path("/proc/self/clear_refs").exists():
            raise NotImplementedError("needs Linux")
        with file_of(LIMITS[0], kind) as file:
            before, peak = resident(file, NETWORKS[0])
        return (peak - before) / file.limit


class Streamed:
    params = [list(NETWORKS), list(KINDS)]
    param_names = ["network", "kind"]
    timeout = 600
    unit = "seconds of the file / of memory"

    def track_speed(self, network, kind):
        with file_of(LIMITS[0], kind) as file:
            seconds = speed(file, network)
        return seconds["file"] / seconds["memory"]
