"""Fresh processes, from start to end: import, first ``fit`` and prediction, by where their compiled code comes from.

Figures are ratios to ``python -c "import numba"`` in the same run, so that they hold on any machine.
"""

from __future__ import annotations

import contextlib
import functools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

import fastbp

from . import BRIEF
from .duel import REST_SECONDS
from .problem import why_absent

ROUNDS = 1 if BRIEF else 9
PROJECT = Path(__file__).parents[2]
PACKAGE = str(Path(fastbp.__file__).parents[1])
ELSEWHERE = (
    tempfile.gettempdir()
)  # where no package lies that an interpreter would find before the one that is measured
NUMBA = [sys.executable, "-c", "import numba"]
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
# The same with the library's own digits, for processes that are compared with `import numba`.
DIGITS = """
import fastbp
X, y = fastbp.datasets.load_digits()
net = fastbp.MLP((64, 100, 10), seed=0, input_scale=1 / 16)
net.fit(X, y, epochs=1, batch_size=64, learning_rate=0.1, progress=False)
net.predict(X)
"""
LOAD = """
import sys
import numpy as np
with np.load(sys.argv[1]) as digits:
    X, y = digits["X"], digits["y"]
"""


def run(command: Sequence[str], environment: Mapping[str, str], folder: str | None = None) -> None:
    """Run a process to its end, by default where it finds no package beside it."""
    whole = {**os.environ, "PYTHONPATH": PACKAGE, **environment}
    subprocess.run(command, check=True, cwd=folder or ELSEWHERE, env=whole, stdout=subprocess.DEVNULL)


def seconds_of(
    commands: Sequence[Sequence[str]], environments: Sequence[Mapping[str, str]], rounds: int = ROUNDS
) -> list[float]:
    """Return the median wall times of processes that run each command, in turns, including their own start."""
    times: list[list[float]] = [[] for _ in commands]
    for _ in range(rounds):
        for command, environment, taken in zip(commands, environments, times, strict=True):
            time.sleep(REST_SECONDS)
            start = time.perf_counter()
            run(command, environment)
            taken.append(time.perf_counter() - start)
    return [statistics.median(taken) for taken in times]


def over_numba(command: Sequence[str], environment: Mapping[str, str], rounds: int = ROUNDS) -> float:
    """Return how many times as long as ``import numba`` a process takes."""
    taken, numba = seconds_of([command, NUMBA], [environment, {}], rounds)
    return taken / numba


class Start:
    """Ratios to ``import numba``; `code` says where compiled code comes from."""

    timeout = 600
    unit = "import numba"

    def track_import(self):
        return over_numba([sys.executable, "-c", "import fastbp"], {})

    def track_help(self):
        return over_numba([sys.executable, "-m", "fastbp", "--help"], {})

    def track_first_fit_compiled(self):
        """The first fit of a process that finds no compiled code."""
        ratios = []
        for _ in range(1 if BRIEF else 3):
            with tempfile.TemporaryDirectory() as empty:
                ratios.append(over_numba([sys.executable, "-c", DIGITS], {"NUMBA_CACHE_DIR": empty}, 1))
        return statistics.median(ratios)

    def track_first_fit_cached(self):
        with cached() as environment:
            return over_numba([sys.executable, "-c", DIGITS], environment)

    def track_first_fit_shipped(self):
        return over_numba([sys.executable, "-c", DIGITS], shipped())

    def track_predict_cached(self):
        with cached() as environment, row_to_predict(environment) as command:
            return over_numba(command, environment)

    def track_predict_shipped(self):
        with row_to_predict(shipped()) as command:
            return over_numba(command, shipped())


# What each ratio is, and what is asked of it.
RATIOS = (
    ("import fastbp", "import", 0.4),
    ("fastbp --help", "help", 0.5),
    ("first fit, compiled on the spot", "first_fit_compiled", 8.0),
    ("first fit, code from the cache", "first_fit_cached", 0.8),
    ("first fit, code from a wheel", "first_fit_shipped", 0.5),
    ("fastbp predict, one row, cache", "predict_cached", 0.6),
    ("fastbp predict, one row, wheel", "predict_shipped", 0.6),
)


@contextlib.contextmanager
def cached() -> Iterator[dict[str, str]]:
    """Give the environment of processes that find in a cache what the first fit and predictions need."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {"NUMBA_CACHE_DIR": folder}
        run([sys.executable, "-c", DIGITS], environment)
        yield environment


@contextlib.contextmanager
def row_to_predict(environment: Mapping[str, str]) -> Iterator[list[str]]:
    """Give the command that predicts one row of the digits by a model file."""
    with tempfile.TemporaryDirectory() as folder:
        write = f"{DIGITS}\nnet.save('model.npz')\nimport numpy\nnumpy.savetxt('row.csv', X[:1], '%d', ',')"
        run([sys.executable, "-c", write], environment, folder)
        command = [sys.executable, "-m", "fastbp", "predict", f"{folder}/model.npz", f"{folder}/row.csv"]
        run(command, environment)  # what it needs is then in the cache
        yield command


@functools.cache
def _wheel_folder() -> tempfile.TemporaryDirectory[str]:
    """Install a wheel with the compiled functions of this machine's level into a folder of its own."""
    folder = tempfile.TemporaryDirectory()
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = ["wheel", "--no-deps", "-C", "levels=host", "-w", f"{folder.name}/wheel"]
    subprocess.run([*pip, *build, str(PROJECT)], check=True)
    [wheel] = Path(folder.name, "wheel").iterdir()
    subprocess.run([*pip, "install", "--no-deps", "--target", f"{folder.name}/site", str(wheel)], check=True)
    return folder


def shipped() -> dict[str, str]:
    """Return the environment of processes that use a wheel's compiled functions, and find no others."""
    folder = _wheel_folder().name
    return {"PYTHONPATH": f"{folder}/site", "NUMBA_CACHE_DIR": f"{folder}/cache"}


# ---- against others ----


def first_fit_seconds(peers: Sequence[str]) -> dict[str, float]:
    """Return the seconds of a process that imports, fits once and predicts, its code in the cache, and of its peers."""
    names = ["fastbp", *peers]
    with digits() as file, cached() as environment:
        commands = [[sys.executable, "-c", LOAD + FIRST_FIT[name], file] for name in names]
        if not BRIEF:
            seconds_of(commands, [environment] * len(names), 1)  # fills the disk's cache
        return dict(zip(names, seconds_of(commands, [environment] * len(names)), strict=True))


@contextlib.contextmanager
def digits() -> Iterator[str]:
    """Give a file with the digits in float32, scaled to order one."""
    X, y = fastbp.datasets.load_digits()
    with tempfile.TemporaryDirectory() as folder:
        np.savez(f"{folder}/digits.npz", X=X.astype(np.float32) / 16, y=y)
        yield f"{folder}/digits.npz"


class StartAgainst:
    params = [[peer for peer in FIRST_FIT if peer != "fastbp"]]
    param_names = ["peer"]
    timeout = 300
    unit = "fastbp / peer"

    def setup(self, peer):
        if reason := why_absent(peer):
            raise NotImplementedError(reason)

    def track_first_fit(self, peer):
        seconds = first_fit_seconds([peer])
        return seconds["fastbp"] / seconds[peer]
