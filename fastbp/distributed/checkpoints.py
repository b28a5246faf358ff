"""Checkpoints of a distributed run: rank 0 reads and writes the file, and every rank continues from the same state."""

from __future__ import annotations

import os
import time
from dataclasses import asdict
from typing import Any

from ..training import checkpoint_file, fingerprint
from ..training.early_stopping import EarlyStopping
from ..training.history import LISTS
from .loop import ParallelTraining, StepPosition


class Checkpoints:
    """Writes the state of a run to its file, and continues a run from there.

    The file holds only what is the same on each rank: a rank's order of rows follows from the key, the epoch and the
    rank's number.

    Parameters
    ----------
    path : path or None
        None: no checkpoints.
    seconds : float
        The interval after which the next checkpoint is due.
    about : dict
        The settings that must be the same when the run is continued.
    training : ParallelTraining
    stop : EarlyStopping
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None,
        seconds: float,
        about: dict[str, Any],
        training: ParallelTraining,
        stop: EarlyStopping,
    ):
        self._path, self._seconds, self._training, self._stop = path, seconds, training, stop
        self._last = time.monotonic()
        self._fingerprint = about | ({} if path is None else _digests(training))

    def begin(self) -> None:
        """Continue from the file if there is one; else write the first one.

        A file that cannot be written is thus found before hours of training are lost.
        """
        if self._path is None:
            return
        ranks = self._training.ranks
        state = ranks.comm.bcast(ranks.agree(lambda: self._read() if ranks.is_root else None))
        if state is None:
            ranks.agree(lambda: self._save() if ranks.is_root else None)
        else:
            ranks.agree(lambda: self._put_back(state))

    def keep(self, now: bool = False) -> None:
        """Write a checkpoint if `now` or one is due; if it cannot be written, warn and go on."""
        due = now or time.monotonic() - self._last >= self._seconds
        if self._path is None or not self._training.ranks.is_root or not due:
            return
        try:
            self._save()
        except (OSError, TypeError) as error:  # TypeError: an attribute of a user's learning rate
            checkpoint_file.warn_not_written(self._path, error)
        self._last = time.monotonic()

    def _save(self) -> None:
        training, plan = self._training, self._training.plan
        arrays = {"parameters": training.model.parameters, "moments": training.moments}
        if self._stop.best is not None:
            arrays["best"] = self._stop.best
        state = {
            "fingerprint": self._fingerprint,
            "position": asdict(training.position),
            "key": training.key,
            "walk_key": training.shuffle_key,
            "memory_steps": training.memory.steps,
            "history": {name: getattr(training.history, name) for name in LISTS},
            "early_stopping": {"lowest": self._stop.lowest, "waited": self._stop.waited},
            "learning_rate": checkpoint_file.attributes("learning_rate", plan.learning_rate),
            "optimizer": checkpoint_file.attributes("optimizer", plan.optimizer),
            "generator": training.model.rng.bit_generator.state,
        }
        checkpoint_file.save(self._path or "", {**arrays, **state})

    def _read(self) -> dict[str, Any] | None:
        state = checkpoint_file.load(self._path or "")
        if state is not None:
            fingerprint.check_same_run(self._path or "", state.get("fingerprint", {}), self._fingerprint)
        return state

    def _put_back(self, state: dict[str, Any]) -> None:
        training, stop, plan = self._training, self._stop, self._training.plan
        try:
            for name, array in (("parameters", training.model.parameters), ("moments", training.moments)):
                if state[name].shape != array.shape or state[name].dtype != array.dtype:
                    raise ValueError(f"{name} of shape {state[name].shape} and dtype {state[name].dtype}")
                array[...] = state[name]
            training.position = StepPosition(**state["position"])
            training.key, training.shuffle_key = state["key"], state["walk_key"]
            training.memory.steps = state["memory_steps"]
            for name in LISTS:
                getattr(training.history, name)[:] = state["history"][name]
            stop.lowest, stop.waited = state["early_stopping"]["lowest"], state["early_stopping"]["waited"]
            stop.best = state.get("best")
            checkpoint_file.put_attributes(plan.learning_rate, state["learning_rate"])
            checkpoint_file.put_attributes(plan.optimizer, state["optimizer"])
            training.model.rng.bit_generator.state = state["generator"]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise checkpoint_file.unreadable(self._path or "", error) from error


def _digests(training: ParallelTraining) -> dict[str, str]:
    """Return digests of the data of all ranks."""
    own = {
        "X": fingerprint.digest_of_rows(training.rows),
        "y": fingerprint.digest(training.targets),
        "sample_weight": fingerprint.digest(training.weights),
    }
    return {name: fingerprint.digest_of_text(repr(training.ranks.comm.allgather(each))) for name, each in own.items()}
