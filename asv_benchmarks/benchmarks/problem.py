"""The problem that every side of a duel computes: the same network, data and rates, from a few numbers."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import BRIEF
from .duel import PROCESSORS, Side

Array = NDArray[Any]
LEARNING_RATE, L2 = 0.01, 1e-4  # of SGD
# Adam has no penalty here. Its epsilon is too small to count: scikit-learn adds it before the correction of the bias.
ADAM_RATE, BETA_1, BETA_2, EPSILON = 0.001, 0.9, 0.999, 1e-16
PREPARE = """
from benchmarks.problem import Problem
from benchmarks.peers.{0} import {1}
it = {1}({2!r})
"""
EPOCH_WORK = 1e4 if BRIEF else 5e9  # floating-point operations an epoch: about 50 ms at 100 GFLOP/s


@dataclass(frozen=True)
class Problem:
    """A network and its training by `steps` minibatches of `batch` rows in each of the `epochs`.

    SGD has L2 on the weights only, Adam none. Names are those of `fastbp.MLP`: "relu" or "tanh",
    "softmax_cross_entropy" or "mean_squared_error". Its ``repr`` builds it again, in the process of a side.
    """

    sizes: tuple[int, ...]
    batch: int
    steps: int
    dtype: str = "float32"
    threads: int = len(PROCESSORS)
    activation: str = "relu"
    loss: str = "softmax_cross_entropy"
    optimizer: str = "sgd"
    epochs: int = 1

    @classmethod
    def training(
        cls,
        name: str,
        batch: int,
        dtype: str = "float32",
        threads: int = len(PROCESSORS),
        *,
        full_batch: bool = False,
        **how: str,
    ) -> Problem:
        """Make the problem of a network named like 64-100-10, with enough steps that one call's overhead disappears.

        With `full_batch`, `batch` rows are all there are: each step is an epoch. `how` has further fields.
        """
        sizes = tuple(map(int, name.split("-")))
        steps = int(min(max(EPOCH_WORK / step_flops(sizes, batch), 2), 4000))
        steps, epochs = (1, steps) if full_batch else (steps, 1)
        return cls(sizes, batch, steps, dtype, threads, epochs=epochs, **how)

    @property
    def all_steps(self) -> int:
        return self.steps * self.epochs

    @property
    def learning_rate(self) -> float:
        return LEARNING_RATE if self.optimizer == "sgd" else ADAM_RATE

    @property
    def l2(self) -> float:
        return L2 if self.optimizer == "sgd" else 0.0

    @property
    def classifies(self) -> bool:
        return self.loss == "softmax_cross_entropy"

    @cached_property
    def X(self) -> Array:
        return np.random.default_rng(0).standard_normal((self.batch * self.steps, self.sizes[0]), self.dtype)

    @cached_property
    def y(self) -> Array:
        """Labels, or targets (n, outputs): a function of X, for 4,000 steps of Adam on noise took JAX elsewhere."""
        rng, rows = np.random.default_rng(1), self.batch * self.steps
        if self.classifies:
            return rng.integers(0, self.sizes[-1], rows)
        directions = rng.standard_normal((self.sizes[0], self.sizes[-1])) / np.sqrt(self.sizes[0])
        return np.sin(self.X @ directions).astype(self.dtype)

    @cached_property
    def minibatches(self) -> list[tuple[Array, Array]]:
        """Those of all epochs."""
        return list(zip(np.split(self.X, self.steps), np.split(self.y, self.steps), strict=True)) * self.epochs

    @property
    def weights(self) -> list[Array]:
        """The initial weights, new arrays each time."""
        rng = np.random.default_rng(2)
        return [rng.standard_normal(fan, self.dtype) * np.sqrt(2 / fan[0], dtype=self.dtype) for fan in self.fans]

    @property
    def biases(self) -> list[Array]:
        return [np.zeros(fan_out, self.dtype) for _, fan_out in self.fans]

    @property
    def fans(self) -> list[tuple[int, int]]:
        return list(itertools.pairwise(self.sizes))

    def sides(self, peers: Iterable[str], task: str) -> dict[str, Side]:
        """Return a side for each peer that has a class for the task: `run` is timed, after `result` was compared."""
        return {name: self._side(name, *PEERS[task][name]) for name in peers if name in PEERS[task]}

    def _side(self, name: str, module: str, kind: str) -> Side:
        setup = PREPARE.format(module, kind, self)
        side = Side(setup, "it.run()", "it.result()", self.threads, absent=why_absent(name))
        if name != OLDER_JAX or side.absent:
            return side
        flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_use_thunk_runtime=false".strip()
        return replace(side, python=interpreter_of_older_jax(), environment={"XLA_FLAGS": flags})

    def check_training(self, theirs: Array, ours: Array) -> None:
        """Compare two `after_epoch`: losses, and the distance of the parameters relative to how far fastbp's moved."""
        # A ReLU whose input rounds to the other side of 0 costs 1e-3 in float32; the steps and layers after it carry it
        # on: in 73 steps of 64-128x6-10, fastbp stays within 5e-5 of float64, NumPy is 1e-2 off.
        close = len(self.fans) * np.sqrt(np.finfo(self.dtype).eps * max(self.all_steps, 100))
        np.testing.assert_allclose(theirs[0], ours[0], rtol=close)
        way = np.linalg.norm(ours[1:] - flat(self.weights + self.biases))
        distance = np.linalg.norm(theirs[1:] - ours[1:])
        assert distance <= close * way, f"parameters {distance / way:.1e} of a run's way apart, {close:.1e} allowed"

    def check_probabilities(self, theirs: Array, ours: Array) -> None:
        np.testing.assert_allclose(theirs, ours, rtol=0, atol=np.sqrt(np.finfo(self.dtype).eps))


def step_flops(sizes: Sequence[int], batch: int) -> int:
    """Return the operations of a training step's products: forward, dW, and dX for all layers except the first."""
    layers = [2 * batch * fan_in * fan_out for fan_in, fan_out in itertools.pairwise(sizes)]
    return 3 * sum(layers) - layers[0]


def flat(arrays: Iterable[Any]) -> Array:
    return np.concatenate([np.ravel(array) for array in arrays]).astype(np.float64)


def after_epoch(loss: float, parameters: Iterable[Any]) -> Array:
    """Return a peer's `result`: the mean loss of its first run, without penalty; weights; biases."""
    return flat([loss, *parameters])


def interpreter_of_older_jax() -> str:
    """Return the interpreter that the environment names, or "" where it names none."""
    found = shutil.which(os.environ.get(VARIABLE, ""))
    return os.path.abspath(found) if found else ""


def why_absent(peer: str) -> str:
    """Return why a peer cannot be measured here, and how to change that; "" if it can."""
    if peer == OLDER_JAX and not interpreter_of_older_jax():
        return (
            f"the environment variable {VARIABLE} names no interpreter; to make one: "
            "python -m venv jax-0.6 && jax-0.6/bin/pip install jax==0.6.2, then set it to jax-0.6/bin/python"
        )
    module = DISTRIBUTIONS.get(peer, "")
    return "" if not module or find_spec(module) else f"{peer} is not installed"


# JAX before its thunks, which is faster on narrow networks; it lives in an environment of its own.
OLDER_JAX, VARIABLE = "JAX 0.6.2", "FASTBP_JAX_0_6_PYTHON"
# Module and class of each peer by what it does. The modules lie in `peers`, a folder that is no package: asv, which
# imports every module of every package, does not look into it, so that they import what may not be installed.
PEERS = {
    "step": {
        "fastbp": ("fastbp_network", "Training"),
        "NumPy": ("numpy_network", "Training"),
        "PyTorch": ("torch_network", "Training"),
        "torch.compile": ("torch_network", "CompiledTraining"),
        "JAX": ("jax_network", "Training"),
        OLDER_JAX: ("jax_network", "OlderTraining"),
        "scikit-learn": ("sklearn_network", "Training"),
    },
    "inference": {
        "fastbp": ("fastbp_network", "Inference"),
        "NumPy": ("numpy_network", "Inference"),
        "PyTorch": ("torch_network", "Inference"),
        "torch.compile": ("torch_network", "CompiledInference"),
        "ONNX Runtime": ("onnx_network", "Inference"),
        "scikit-learn": ("sklearn_network", "Inference"),
    },
}
DISTRIBUTIONS = {
    "NumPy": "numpy",
    "PyTorch": "torch",
    "torch.compile": "torch",
    "JAX": "jax",
    OLDER_JAX: "",
    "scikit-learn": "sklearn",
    "ONNX Runtime": "onnxruntime",
}
