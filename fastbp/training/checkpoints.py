"""Checkpoints of a fit: its state, written to a file every so often, from which a killed fit goes on.

`Checkpoints` gathers all that a run needs to end in the same bits, and puts it back. `checkpoint_file` is the file,
`fingerprint` tells one run from another.
"""

from __future__ import annotations

import copy
import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Protocol

from numpy.typing import NDArray

from .. import validation
from ..inputs.blocks import Stream
from ..inputs.in_memory import InMemory
from ..model.model import Model
from ..model.npz_file import CheckpointError
from .checkpoint_file import attributes, load, put_attributes, save, unreadable, warn_not_written
from .early_stopping import EarlyStopping
from .fingerprint import check_same_run, describe, describe_rows, digest
from .history import LISTS, History
from .optimizer_state import OptimizerState
from .plan import Plan
from .position import FitPosition

Array = NDArray[Any]


class Training(Protocol):
    """The parts of a training in progress that a checkpoint holds or compares."""

    plan: Plan
    data: InMemory | Stream
    optimizer_state: OptimizerState
    parameters: Array
    before: Array
    history: History
    position: FitPosition
    key: int
    batch: int


class Checkpoints:
    """Writes the state of one fit to its file, and restores it from there.

    Parameters
    ----------
    path : path
    seconds : float
        How long after a checkpoint the next one is due.
    model : Model
    stop : EarlyStopping
    settings : dict
        Settings of the call that are neither in the plan nor in the training; they belong to the fingerprint.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        seconds: float,
        model: Model,
        stop: EarlyStopping,
        settings: dict[str, Any],
    ):
        self.path, self.seconds, self.model, self.stop, self.settings = path, seconds, model, stop, settings
        self._last = -math.inf
        self._fingerprint: dict[str, Any] = {}

    def begin(self, training: Training) -> None:
        """Restore the state in the file, or write the first one. On an error nothing has changed.

        In both cases a file is written before the first step: a folder that is not writable, or a full disk, is
        found before hours of training are lost.
        """
        self._fingerprint = self._fingerprint_of(training)
        state = load(self.path)
        restore = None if state is None else self._restorer(training, state)
        training.plan.learning_rate.start()
        if state is None:
            training.position.generator = self.model.rng.bit_generator.state
            state = self._state(training)
        if not state["position"]["finished"]:
            try:
                save(self.path, state)
            except OSError as error:
                error.add_note("checkpoint: nothing was trained, since the file cannot be written")
                raise
        if restore is not None:
            restore()
        self._last = time.monotonic()

    def keep(self, training: Training, now: bool) -> None:
        """Write a checkpoint, `now` or if one is due; if it cannot be written, warn and let the run go on."""
        if training.position.rows == 0:
            training.position.generator = self.model.rng.bit_generator.state
        if not now and time.monotonic() - self._last < self.seconds:
            return
        try:
            save(self.path, self._state(training))
        except (OSError, TypeError) as error:  # TypeError: of an attribute that a user's learning rate has by now
            warn_not_written(self.path, error)
        self._last = time.monotonic()

    def _state(self, training: Training) -> dict[str, Any]:
        plan, position = training.plan, training.position
        arrays = {"parameters": training.parameters, "moments": training.optimizer_state.moments(training.parameters)}
        if position.rows:
            arrays["before"] = training.before
        if self.stop.best is not None:
            arrays["best"] = self.stop.best
        return {
            **arrays,
            "fingerprint": self._fingerprint,
            "position": asdict(position),
            "key": training.key,
            "memory_steps": training.optimizer_state.steps,
            "history": {name: getattr(training.history, name) for name in LISTS},
            "early_stopping": {"lowest": self.stop.lowest, "waited": self.stop.waited},
            "learning_rate": attributes("learning_rate", plan.learning_rate),
            "optimizer": attributes("optimizer", plan.optimizer),
        }

    def _restorer(self, training: Training, state: dict[str, Any]) -> Callable[[], None]:
        """Return a function that restores the state and cannot fail."""
        try:
            check_same_run(self.path, state["fingerprint"], self._fingerprint)
            return self._checked_restorer(training, state)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise error if isinstance(error, CheckpointError) else unreadable(self.path, error) from error

    def _checked_restorer(self, training: Training, state: dict[str, Any]) -> Callable[[], None]:
        """Check each value of the state, which may be anything; return that function."""
        model, plan = self.model, training.plan
        moments = training.optimizer_state.moments(training.parameters)
        position = FitPosition.of(state["position"])
        copy.deepcopy(model.rng).bit_generator.state = position.generator  # raises here, not when it is restored
        needed = {"parameters", "moments"} | {"best"} & state.keys() | ({"before"} if position.rows else set())
        arrays: dict[str, Array] = {name: state[name] for name in needed}
        for name, array in arrays.items():
            like = moments if name == "moments" else training.parameters
            if array.dtype != like.dtype:
                raise ValueError(f"{name}: got dtype {array.dtype}, expected {like.dtype}")
            validation.shape(name, array, like.shape)
        within = 0 <= position.rows < training.data.count and position.rows % training.batch == 0
        if not (within and 0 <= position.epoch < plan.epochs + position.finished):
            raise ValueError(f"position: got epoch {position.epoch}, row {position.rows}")
        history = {name: [*map(float, state["history"][name])] for name in LISTS}
        lowest, waited = float(state["early_stopping"]["lowest"]), int(state["early_stopping"]["waited"])
        key, steps = int(state["key"]), int(state["memory_steps"])
        owners = [(getattr(plan, name), dict(state[name])) for name in ("learning_rate", "optimizer")]
        for owner, values in owners:
            put_attributes(copy.copy(owner), values)

        def restore() -> None:
            training.position, training.key, training.optimizer_state.steps = position, key, steps
            training.parameters[...] = arrays["parameters"]
            moments[...] = arrays["moments"]
            training.before[...] = arrays.get("before", arrays["parameters"])
            model.rng.bit_generator.state = position.generator
            for name in LISTS:
                getattr(training.history, name)[:] = history[name]
            self.stop.lowest, self.stop.waited, self.stop.best = lowest, waited, arrays.get("best")
            for owner, values in owners:
                put_attributes(owner, values)

        return restore

    def _fingerprint_of(self, training: Training) -> dict[str, Any]:
        """Return all that determines a run's result, except its starting state, which the file holds."""
        model, plan, data = self.model, training.plan, training.data
        attributes("learning_rate", plan.learning_rate)  # raises here what a copy would raise
        learning_rate = copy.deepcopy(plan.learning_rate)
        learning_rate.start()
        return {
            **model.describe(),
            "input_shift": digest(model.input_shift),
            "input_scale": digest(model.input_scale),
            "generator": type(model.rng.bit_generator).__name__,
            "rows": data.count,
            "X": describe_rows(data),
            "y": digest(data.targets),
            "sample_weight": digest(data.weights),
            **{name: getattr(plan, name) for name in ("epochs", "batch_size", "l2", "dropout", "max_grad_norm")},
            **plan.options(),
            "learning_rate": describe("learning_rate", learning_rate),
            "optimizer": describe("optimizer", plan.optimizer),
            **self.settings,
        }
