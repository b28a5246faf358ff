"""A fit that may be killed at any moment: its state in a file, written every so often, from which it goes on.

All that a run needs to end in the same bits is gathered and put back here. `save` and `load` are the file, which is
one of `model.npz_file`: no pickle, whole or the one before.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
import os
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .. import validation
from ..inputs.blocks import Stream
from ..inputs.in_memory import Rows
from ..kernels.coefficients import CONSTANTS
from ..model import npz_file
from ..model.model import Model
from ..model.npz_file import CheckpointError
from ..program.memory import round_up
from .early_stopping import EarlyStopping
from .history import History
from .optimizer_state import OptimizerState
from .plan import Plan

Array = NDArray[Any]
SAMPLE = 64  # rows of X that tell one data set from another; of targets and weights all do
LISTS = ("loss", "validation_loss", "validation_score", "seconds", "samples_per_second")  # of a history
OTHER = "sha256:"


@dataclass
class Position:
    """Where a fit is.

    Attributes
    ----------
    epoch, rows : int
        The running epoch, 0 for the first, and how many rows of its order are done: whole minibatches.
    total : float
        Sum over these rows of their minibatches' losses.
    seconds : float
        That they took.
    steps : int
        Done in the whole fit.
    generator : dict
        State of the network's generator as the epoch began: the order of its rows follows from it, and where nothing
        is drawn but by that order, so does every later state.
    finished : bool
    """

    epoch: int = 0
    rows: int = 0
    total: float = 0.0
    seconds: float = 0.0
    steps: int = 0
    generator: Any = None
    finished: bool = False

    def next_epoch(self, finished: bool) -> Position:
        return Position(self.epoch + 1, steps=self.steps, finished=finished)


class Training(Protocol):
    """What of a training in progress a checkpoint holds, or compares."""

    plan: Plan
    rows: Rows | Stream
    targets: Array
    weights: Array | None
    memory: OptimizerState
    parameters: Array
    before: Array
    history: History
    position: Position
    key: int
    batch: int


# ---- the file ----


def save(path: str | os.PathLike[str], state: dict[str, Any]) -> None:
    """Write a run's state, replacing the file as a whole: arrays, and what `to_json` can hold."""
    arrays = {name: value for name, value in state.items() if isinstance(value, np.ndarray)}
    npz_file.write(path, arrays, {"run": to_json({name: state[name] for name in state if name not in arrays})})


def load(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """What `save` wrote; None where there is no file.

    Raises
    ------
    CheckpointError
        It is another program's, a network's, damaged or altered.
    OSError
        It cannot be read.
    """
    try:
        arrays, metadata = npz_file.read(path)
    except FileNotFoundError:
        return None
    if "run" not in metadata:
        raise CheckpointError(f"{os.fspath(path)}: got a network's file, expected the checkpoint of a training")
    try:
        rest: dict[str, Any] = from_json(metadata["run"])
        return {**rest, **arrays}
    except (KeyError, TypeError, ValueError) as error:
        raise unreadable(path, error) from error


def to_json(value: Any) -> Any:
    """`value` as JSON that `from_json` turns into the same again: numbers, text, lists, tuples, dicts, NumPy's arrays
    and numbers; TypeError for anything else."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "biuf" and value.dtype.itemsize <= 8:
        return {"numpy": np.ravel(value).tolist(), "dtype": value.dtype.name, "shape": list(value.shape)}
    if type(value) is list:
        return [to_json(item) for item in value]
    if type(value) is tuple:
        return {"tuple": [to_json(item) for item in value]}
    if type(value) is dict and all(type(name) is str for name in value):
        return {"dict": {name: to_json(item) for name, item in value.items()}}
    raise TypeError(f"got {type(value).__name__}, expected numbers, text, arrays, lists, tuples or dicts of these")


def from_json(value: Any) -> Any:
    if isinstance(value, list):
        return [from_json(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "numpy" in value:
        return np.array(value["numpy"], np.dtype(value["dtype"])).reshape(value["shape"])[()]
    if "tuple" in value:
        return tuple(from_json(item) for item in value["tuple"])
    return {name: from_json(item) for name, item in value["dict"].items()}


def unreadable(path: str | os.PathLike[str], error: Exception) -> CheckpointError:
    return CheckpointError(f"{os.fspath(path)}: not a run that fastbp can read: {type(error).__name__}: {error}")


def warn_not_written(path: str | os.PathLike[str], error: Exception) -> None:
    warnings.warn(f"checkpoint: {os.fspath(path)!r} was not written: {error}; training goes on, and the next one is "
                  "tried in time", RuntimeWarning, stacklevel=2)  # fmt: skip


# ---- what is saved ----


class Checkpoints:
    """Writes the state of one fit to its file, and takes it up from there.

    Parameters
    ----------
    path : path
    seconds : float
        How long after a checkpoint the next one is due.
    model : Model
    stop : EarlyStopping
    settings : dict
        What of the call is neither in the plan nor in the training: it must be the same when the run goes on.
    """

    def __init__(self, path: str | os.PathLike[str], seconds: float, model: Model, stop: EarlyStopping,
                 settings: dict[str, Any]):  # fmt: skip
        self.path, self.seconds, self.model, self.stop, self.settings = path, seconds, model, stop, settings
        self._last = -math.inf
        self._fingerprint: dict[str, Any] = {}

    def begin(self, training: Training) -> None:
        """Go on from the file, or write the first one. On an error nothing has changed.

        Either way a file is written before the first step, so that a folder that cannot be written to, or a disk that
        is full, is found before hours of training are lost.
        """
        self._fingerprint = self._fingerprint_of(training)
        state = load(self.path)
        put_back = None if state is None else self._checked(training, state)
        training.plan.learning_rate.start()
        if state is None:
            training.position.generator = self.model.rng.bit_generator.state
            state = self._state(training)
        if not state["position"]["finished"]:
            try:
                save(self.path, state)
            except OSError as error:
                error.add_note("checkpoint: nothing was trained, for it cannot be written")
                raise
        if put_back is not None:
            put_back()
        self._last = time.monotonic()

    def keep(self, training: Training, now: bool) -> None:
        """Write a checkpoint, `now` or where one is due; one that cannot be written is no reason to lose the run."""
        if training.position.rows == 0:
            training.position.generator = self.model.rng.bit_generator.state
        if not now and time.monotonic() - self._last < self.seconds:
            return
        try:
            save(self.path, self._state(training))
        except (OSError, TypeError) as error:  # TypeError: what a user's learning rate has come to remember
            warn_not_written(self.path, error)
        self._last = time.monotonic()

    def _state(self, training: Training) -> dict[str, Any]:
        plan, position = training.plan, training.position
        arrays = {"parameters": training.parameters, "moments": _moments(training)}
        if position.rows:
            arrays["before"] = training.before
        if self.stop.best is not None:
            arrays["best"] = self.stop.best
        return {
            **arrays, "fingerprint": self._fingerprint, "position": asdict(position), "key": training.key,
            "memory_steps": training.memory.steps,
            "history": {name: getattr(training.history, name) for name in LISTS},
            "early_stopping": {"lowest": self.stop.lowest, "waited": self.stop.waited},
            "learning_rate": attributes("learning_rate", plan.learning_rate),
            "optimizer": attributes("optimizer", plan.optimizer),
        }  # fmt: skip

    def _checked(self, training: Training, state: dict[str, Any]) -> Callable[[], None]:
        """A function that puts everything back and cannot fail."""
        try:
            check_same_run(self.path, state["fingerprint"], self._fingerprint)
            return self._read(training, state)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise error if isinstance(error, CheckpointError) else unreadable(self.path, error) from error

    def _read(self, training: Training, state: dict[str, Any]) -> Callable[[], None]:
        """The same, of a state whose values may be anything."""
        model, plan = self.model, training.plan
        position = _position(state["position"])
        copy.deepcopy(model.rng).bit_generator.state = position.generator  # it raises here what it would raise later
        needed = {"parameters", "moments"} | {"best"} & state.keys() | ({"before"} if position.rows else set())
        arrays: dict[str, Array] = {name: state[name] for name in needed}
        for name, array in arrays.items():
            like = _moments(training) if name == "moments" else training.parameters
            if array.dtype != like.dtype:
                raise ValueError(f"{name}: got dtype {array.dtype}, expected {like.dtype}")
            validation.shape(name, array, like.shape)
        within = 0 <= position.rows < training.rows.count and position.rows % training.batch == 0
        if not (within and 0 <= position.epoch < plan.epochs + position.finished):
            raise ValueError(f"position: got epoch {position.epoch}, row {position.rows}")
        history = {name: [*map(float, state["history"][name])] for name in LISTS}
        lowest, waited = float(state["early_stopping"]["lowest"]), int(state["early_stopping"]["waited"])
        key, steps = int(state["key"]), int(state["memory_steps"])
        owners = [(getattr(plan, name), dict(state[name])) for name in ("learning_rate", "optimizer")]
        for owner, values in owners:
            put_attributes(copy.copy(owner), values)

        def put_back() -> None:
            training.position, training.key, training.memory.steps = position, key, steps
            training.parameters[...] = arrays["parameters"]
            _moments(training)[...] = arrays["moments"]
            training.before[...] = arrays.get("before", arrays["parameters"])
            model.rng.bit_generator.state = position.generator
            for name in LISTS:
                getattr(training.history, name)[:] = history[name]
            self.stop.lowest, self.stop.waited, self.stop.best = lowest, waited, arrays.get("best")
            for owner, values in owners:
                put_attributes(owner, values)

        return put_back

    # ---- is it the same run? ----

    def _fingerprint_of(self, training: Training) -> dict[str, Any]:
        """What the bits of a run follow from, but for what it begins with: that is in the file."""
        model, plan = self.model, training.plan
        attributes("learning_rate", plan.learning_rate)  # refused here, before a copy is
        started = copy.deepcopy(plan.learning_rate)
        started.start()
        return {
            **model.describe(), "input_shift": digest(model.input_shift), "input_scale": digest(model.input_scale),
            "generator": type(model.rng.bit_generator).__name__,
            "rows": training.rows.count, "X": digest_of_rows(training.rows), "y": digest(training.targets),
            "sample_weight": digest(training.weights),
            **{name: getattr(plan, name) for name in ("epochs", "batch_size", "l2", "dropout", "max_grad_norm")},
            "learning_rate": _described("learning_rate", started), "optimizer": _described("optimizer", plan.optimizer),
            **self.settings,
        }  # fmt: skip


def _position(values: dict[str, Any]) -> Position:
    position = Position(**values)
    for name in ("epoch", "rows", "steps"):
        setattr(position, name, validation.whole_number(name, getattr(position, name), 0))
    position.total, position.seconds = float(position.total), float(position.seconds)
    return position


def _moments(training: Training) -> Array:
    """What the optimizer remembers; the gradient before it is only scratch."""
    memory = training.memory
    begin = round_up(training.parameters.size, training.parameters.dtype)
    return memory.buffer(training.plan.optimizer, training.parameters)[begin:] if memory.filled else np.empty(
        0, training.parameters.dtype)  # fmt: skip


def attributes(name: str, owner: Any) -> dict[str, Any]:
    """What a learning rate or an optimizer, a user's own too, consists of."""
    names = {field.name for field in fields(owner)} if is_dataclass(owner) else set()
    values = {}
    for each in sorted(names | set(getattr(owner, "__dict__", ()))):
        if hasattr(owner, each):
            values[each] = value = getattr(owner, each)
            try:
                to_json(value)
            except TypeError as error:
                raise TypeError(f"{name}: cannot be kept in a checkpoint, for {type(owner).__name__}.{each}: "
                                f"{error}") from None  # fmt: skip
    return values


def put_attributes(owner: Any, values: dict[str, Any]) -> None:
    now = attributes("", owner)
    for name, value in values.items():
        if name.startswith("__"):
            raise ValueError(f"{name}: got a name that is Python's own")
        if name not in now or json.dumps(to_json(now[name])) != json.dumps(to_json(value)):
            object.__setattr__(owner, name, value)  # frozen or not


def _described(name: str, owner: Any) -> str:
    values = ", ".join(f"{each}={value!r}" for each, value in attributes(name, owner).items())
    return f"{type(owner).__qualname__}({values})"


def digest(array: Array | None) -> str | None:
    if array is None:
        return None
    found = hashlib.sha256(f"{array.dtype.name} {array.shape} ".encode())
    found.update(np.ascontiguousarray(array).data.cast("B"))
    return OTHER + found.hexdigest()


def digest_of_text(text: str) -> str:
    return OTHER + hashlib.sha256(text.encode()).hexdigest()


def digest_of_rows(rows: Rows | Stream) -> str:
    """Of some rows; where they are read block by block, which rows follow from the blocks."""
    if isinstance(rows, Stream):
        return f"blocks of {rows.block} rows"
    some = np.unique(np.linspace(0, rows.count - 1, SAMPLE).astype(np.int64))
    return digest(rows.chosen(some)) or ""


def check_same_run(path: str | os.PathLike[str], there: dict[str, Any], here: dict[str, Any]) -> None:
    """Refuse a file with another fingerprint."""
    differing = differences(there, here)
    if differing:
        raise CheckpointError(f"{os.fspath(path)}: got another run's checkpoint, whose {differing}; expected this "
                              "run's: repeat the call that wrote it, or name another file")  # fmt: skip


def differences(there: dict[str, Any], here: dict[str, Any]) -> str:
    """What differs between two fingerprints, in words."""
    found = []
    for name in dict.fromkeys((*here, *there)):
        default = CONSTANTS[name].default if name in CONSTANTS else None  # which is left out, or not, by version
        values = [side.get(name, default) for side in (there, here)]
        if json.dumps(to_json(values[0])) != json.dumps(to_json(values[1])):
            hidden = all(isinstance(value, str) and value.startswith(OTHER) for value in values)
            said = ["given" if isinstance(value, str) and value.startswith(OTHER) else value for value in values]
            found.append(f"{name} has other values" if hidden else f"{name} is {said[0]}, here {said[1]}")
    return ", ".join(found)
