"""Runs that are killed: kinds of them, what a run ends in, and the process that kills its children at random moments.

    python resume_cases.py KILLS SEED KIND ...

trains each kind once without checkpoints, and once in child processes that get SIGKILL or SIGINT at random moments,
each child going on from the last one's checkpoint; it prints a JSON line a kind.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import sparse

import fastbp
from fastbp import MLP
from fastbp.averaging import Equal, Exponential
from fastbp.learning_rates import Adaptive, Cosine, InverseScaling, LearningRate
from fastbp.optimizers import Custom
from fastbp.program import memory
from fastbp.training import checkpoint_file, loop

FEATURES, COUNT = 6, 203
EPOCHS = 15  # of a run that is killed again and again
STAGE = 5 * 10 * FEATURES * 8  # bytes of 50 rows, five minibatches, in float64


def calls(self: loop.Training, first: int, rows: int) -> Iterator[tuple[int, int]]:
    """`Training._calls` by rows instead of by the clock: no more than a stage of rows that are gathered."""
    whole, most = rows // self.batch * self.batch, STAGE // (FEATURES * self.parameters.itemsize)
    for begin in range(first, whole, most):
        yield begin, min(whole, begin + most)
    if whole < rows:
        yield whole, rows


@dataclass
class Falling(LearningRate):
    """A user's own, which remembers what it saw."""

    learning_rate: float
    bounds: tuple[float, ...] = (0.5, 2.0)
    _seen: list[float] = field(default_factory=list)

    def at(self, steps: Any, total: int) -> Any:
        share = min(max(sum(self._seen), self.bounds[0]), self.bounds[1])
        return np.full(len(steps), self.learning_rate * share)

    def start(self) -> None:
        self._seen = []

    def epoch_ended(self, loss: float) -> bool:
        self._seen.append(loss)
        return False


def draw(net: MLP, history: Any) -> None:
    """A callback that uses the network's generator, and writes into its parameters."""
    net.parameters[0] += 0.01 * net.rng.random()


def data(classes: int = 3) -> tuple[Any, Any]:
    rng = np.random.default_rng(5)
    X = rng.normal(size=(COUNT, FEATURES))
    return X, np.argmax(X[:, :classes] + rng.normal(size=(COUNT, classes)), axis=1)


def sgd() -> dict[str, Any]:
    """float32, L2, weights, and a bare number as learning rate."""
    return {"dtype": "float32", "l2": 0.01, "learning_rate": 0.2, "sample_weight": np.linspace(0.1, 3, COUNT)}


def adam() -> dict[str, Any]:
    return {"optimizer": "adam", "dropout": 0.3, "max_grad_norm": 0.4, "learning_rate": Cosine(0.02, warmup=0.3)}


def adaptive() -> dict[str, Any]:
    return {"optimizer": "momentum", "learning_rate": Adaptive(0.3, factor=0.5, patience=1, tol=0.05, least=1e-3)}


def early_stopping() -> dict[str, Any]:
    """It stops before its epochs are over, and keeps parameters that are not the last ones."""
    X, y = data()
    return {"optimizer": "rmsprop", "learning_rate": 0.01, "early_stopping": 2, "epochs": 15,
            "validation_data": (X[:40] + 1, y[:40])}  # fmt: skip


def sparse_rows() -> dict[str, Any]:
    X, _ = data()
    return {
        "X": sparse.csr_array(np.where(X > 0.3, X, 0)),
        "optimizer": "nesterov",
        "learning_rate": InverseScaling(0.3),
    }


def custom() -> dict[str, Any]:
    return {"learning_rate": Falling(0.3), "callbacks": [draw], "shuffle": False, "optimizer": "adagrad"}


def layers() -> dict[str, Any]:
    """Options of layers."""
    return {"optimizer": "adamw", "l2": 0.01, "dropout": (0.3,), "input_dropout": 0.1, "layer_learning_rates": (0.3, 1),
            "label_smoothing": 0.1}  # fmt: skip


def exponential() -> dict[str, Any]:
    """An average of steps, one of which validation and early stopping choose."""
    return {**early_stopping(), "averaging": Exponential(0.9)}


def equal() -> dict[str, Any]:
    """An average of epochs, which plain SGD needs a buffer for."""
    return {"learning_rate": 0.3, "averaging": Equal(start=1)}


@dataclass
class Waiting(Custom):
    """A user's own, whose state is two vectors and the number of its updates."""

    states = 2

    def update(self, parameters: Any, gradient: Any, state: Any, step: Any) -> None:
        mean, last = state
        mean += (gradient - mean) / step.number
        parameters -= step.learning_rate * (gradient + 0.5 * last + 0.1 * mean)
        last[...] = gradient


def own_optimizer() -> dict[str, Any]:
    return {"optimizer": Waiting(), "l2": 0.01, "max_grad_norm": 0.5, "dropout": 0.2, "learning_rate": Falling(0.1)}


def own_average() -> dict[str, Any]:
    """The average of steps behind a user's own updates."""
    return {"optimizer": Waiting(), "learning_rate": 0.1, "averaging": Exponential(0.8), "label_smoothing": 0.1}


_OPTIONS = (layers, exponential, equal, own_optimizer, own_average)
KINDS = {each.__name__: each for each in (sgd, adam, adaptive, early_stopping, sparse_rows, custom, *_OPTIONS)}


def prepared(kind: str) -> tuple[MLP, Any]:
    """A network as it is before the run, and the run: a function that takes more arguments of `fit`."""
    X, y = data()
    options = {"X": X, "y": y, "epochs": 4, "batch_size": 10, **KINDS[kind]()}
    net = MLP((FEATURES, 7, 3), seed=3, dtype=options.pop("dtype", "float64"))
    return net, lambda **more: net.fit(**{**options, **more})


def ended(net: MLP, history: Any) -> dict[str, Any]:
    """Everything that must be the same to the bit; seconds are not."""
    lists = (history.loss, history.validation_loss, history.validation_score)
    return {"parameters": net.parameters.tobytes().hex(), "generator": net.rng.bit_generator.state,
            "history": [[value.hex() for value in values] for values in lists]}  # fmt: skip


def outcome(kind: str, **more: Any) -> dict[str, Any]:
    net, fit = prepared(kind)
    return ended(net, fit(**more))


def child(kind: str, path: str) -> tuple[int, int]:
    """A process that trains, and again after each Ctrl-C, with the same objects; its number, and where its answer comes
    from."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            net, fit = prepared(kind)
            result = None
            while result is None:
                with contextlib.suppress(KeyboardInterrupt):
                    result = ended(net, fit(epochs=EPOCHS, checkpoint=path, checkpoint_seconds=0))
            os.write(write, json.dumps(result).encode())
        except Exception as error:
            os.write(write, json.dumps({"error": repr(error)}).encode())
        finally:
            os._exit(0)
    os.close(write)
    return pid, read


def answer_of(pid: int, read: int) -> Any:
    """What a child has to say, None if it was killed before."""
    with open(read, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(pid, 0)
    return json.loads(answer) if answer else None


def seconds_of(kind: str, path: str) -> float:
    start = time.monotonic()
    assert answer_of(*child(kind, path)) is not None
    return time.monotonic() - start


def killed(kind: str, kills: int, chance: random.Random) -> dict[str, Any]:
    path = os.path.join(tempfile.mkdtemp(), "run.npz")
    whole, none = seconds_of(kind, path), seconds_of(kind, path)  # the second finds a finished run
    folder = tempfile.mkdtemp()
    path, ends, positions = os.path.join(folder, "run.npz"), [], set()

    def later() -> None:
        time.sleep(none + chance.uniform(0, 2 * max(0.0, whole - none) / kills))

    result = None
    while result is None:
        pid, read = child(kind, path)
        if len(ends) < kills:
            ends.append("kill" if chance.random() < 0.6 else "Ctrl-C, kill")
            later()
            if ends[-1] == "Ctrl-C, kill":
                os.kill(pid, signal.SIGINT)
                later()
            os.kill(pid, signal.SIGKILL)
        result = answer_of(pid, read)
        state = checkpoint_file.load(path)
        if state is not None and result is None:
            positions.add((state["position"]["epoch"], state["position"]["rows"]))
    return {"kind": kind, "ends": ends, "positions": sorted(positions), "left": len(os.listdir(folder)) - 1,
            "result": result}  # fmt: skip


def main(kills: int, seed: int, kinds: list[str]) -> None:
    warnings.filterwarnings("ignore", message=".*multi-threaded, use of fork.*")
    for dtype in ("float32", "float64"):
        fastbp.warmup(dtype)
    for kind in kinds:
        expected = json.loads(json.dumps(outcome(kind, epochs=EPOCHS)))
        line = killed(kind, kills, random.Random(seed))
        result = line.pop("result")
        line["differ"] = [name for name in expected if result.get(name) != expected[name]]
        line["error"] = result.get("error")
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    memory.STAGED_BYTES = STAGE
    loop.Training._calls = calls  # type: ignore[method-assign]
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
