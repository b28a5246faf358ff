"""Fresh interpreters: import, and a first ``fit``, with an empty and with a warm cache of compiled code."""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from importlib.util import find_spec

import numpy as np

import fastbp

from . import BRIEF
from .problem import DISTRIBUTIONS

ROUNDS = 1 if BRIEF else 7
# What a process does with the digits X, y: one epoch and a prediction.
FIRST_FIT = {
    "fastbp": """
import fastbp
net = fastbp.MLP((64, 100, 10), seed=0)
net.fit(X, y, epochs=1, batch_size=64, learning_rate=0.1)
net.predict(X)
""",
    "scikit-learn": """
from sklearn.neural_network import MLPClassifier
net = MLPClassifier((100,), solver="sgd", learning_rate_init=0.1, momentum=0, batch_size=64)
net.partial_fit(X, y, classes=range(10))
net.predict(X)
""",
    "PyTorch": """
import torch
X, y = torch.from_numpy(X), torch.from_numpy(y)
net = torch.nn.Sequential(torch.nn.Linear(64, 100), torch.nn.ReLU(), torch.nn.Linear(100, 10))
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for rows in torch.randperm(len(X)).split(64):
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(net(X[rows]), y[rows]).backward()
    optimizer.step()
with torch.inference_mode():
    net(X).argmax(1)
""",
}
LOAD = """
import sys
import numpy as np
with np.load(sys.argv[1]) as digits:
    X, y = digits["X"], digits["y"]
"""


def seconds_of(codes: Sequence[str], rounds: int = ROUNDS, cache: str | None = None, *arguments: str) -> list[float]:
    """Return the median wall times of fresh interpreters that run each code, in turns, including their own start."""
    environment = os.environ if cache is None else {**os.environ, "NUMBA_CACHE_DIR": cache}
    times: list[list[float]] = [[] for _ in codes]
    for _ in range(rounds):
        for code, taken in zip(codes, times, strict=True):
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", code, *arguments], check=True, env=environment)
            taken.append(time.perf_counter() - start)
    return [statistics.median(taken) for taken in times]


def import_seconds() -> list[float]:
    """Return the seconds of ``import fastbp`` and of ``import numba``."""
    return seconds_of(["import fastbp", "import numba"])


def cold_fit_seconds() -> float:
    """Return the seconds of the first fit of a process that finds no compiled code."""
    with digits() as (file, folder):
        return seconds_of([LOAD + FIRST_FIT["fastbp"]], 1, f"{folder}/cache", file)[0]


def warm_fit_seconds(peers: Sequence[str] = ()) -> dict[str, float]:
    """Return the seconds of a first fit with a warm cache, for fastbp and its peers."""
    codes = {name: LOAD + FIRST_FIT[name] for name in ("fastbp", *peers)}
    with digits() as (file, _):
        if not BRIEF:
            seconds_of(list(codes.values()), 1, None, file)  # fills the caches, the disk's too
        return dict(zip(codes, seconds_of(list(codes.values()), ROUNDS, None, file), strict=True))


@contextlib.contextmanager
def digits() -> Iterator[tuple[str, str]]:
    """Give a file with the digits in float32, scaled to order one, in a folder that is removed at the end."""
    X, y = fastbp.datasets.load_digits()
    with tempfile.TemporaryDirectory() as folder:
        np.savez(f"{folder}/digits.npz", X=X.astype(np.float32) / 16, y=y)
        yield f"{folder}/digits.npz", folder


class Start:
    timeout = 300
    unit = "s"

    def track_import_over_numba(self):
        ours, numba = import_seconds()
        return ours - numba

    def track_first_fit_cold(self):
        return cold_fit_seconds()

    def track_first_fit_warm(self):
        return warm_fit_seconds()["fastbp"]


class StartAgainst:
    params = [[peer for peer in FIRST_FIT if peer != "fastbp"]]
    param_names = ["peer"]
    timeout = 300
    unit = "fastbp / peer"

    def setup(self, peer):
        if find_spec(DISTRIBUTIONS[peer]) is None:
            raise NotImplementedError(f"{peer} is not installed")

    def track_first_fit_warm(self, peer):
        warm = warm_fit_seconds([peer])
        return warm["fastbp"] / warm[peer]
