"""Fits with checkpoints: killed, gone on with, tampered with."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastbp import MLP
from fastbp.training import checkpoints
from fastbp.training.checkpoints import load, save
from support.resume_cases import FEATURES, data, outcome

ALWAYS: dict[str, Any] = {"checkpoint_seconds": 0}


class Killed(BaseException):
    """Stands for a kill: nothing of fastbp's may catch it."""


def killed_after(number: int, monkeypatch: pytest.MonkeyPatch, call: Any) -> bool:
    """Whether the call was killed right after it had written so many checkpoints, for it may end before."""
    left = [number]

    def saved(*arguments: Any) -> None:
        save(*arguments)
        left[0] -= 1
        if left[0] == 0:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(checkpoints, "save", saved)
        try:
            call()
        except Killed:
            return True
    return False


def state_of(net: MLP) -> Any:
    return net.parameters.tobytes(), net.rng.bit_generator.state


# ---- the same bits ----


@functools.cache
def never_killed(kind: str) -> dict[str, Any]:
    return outcome(kind)


# ---- another run's file ----
X, Y = data()


def fit_of(net: dict[str, Any], options: dict[str, Any], path: Path) -> tuple[MLP, Any]:
    made = MLP(**{"sizes": (FEATURES, 7, 3), "seed": 3, "dtype": "float64", **net})
    options = {"X": X, "y": Y, "epochs": 2, "batch_size": 10, "validation_data": (X[:30], Y[:30]), **options}
    if made.loss_name == "mean_squared_error":
        options |= {"y": np.eye(3)[Y], "validation_data": (X[:30], np.eye(3)[Y[:30]])}
    return made, lambda: made.fit(checkpoint=path, **options)


# ---- no such file ----


def tampered(path: Path, **changes: Any) -> None:
    """A whole file whose digest agrees, with other values."""
    state = load(path)
    assert state is not None
    save(path, {name: value for name, value in (state | changes).items() if value is not None})


def position(**changes: Any) -> dict[str, Any]:
    """A position within an epoch; all else that such a file holds is in order."""
    values = {"epoch": 1, "rows": 50, "total": 1.0, "seconds": 1.0, "steps": 26, "finished": False,
              "generator": np.random.PCG64(1).state}  # fmt: skip
    return {"position": values | changes, "before": MLP((FEATURES, 7, 3), dtype="float64").parameters}
