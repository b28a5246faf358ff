"""The file of a checkpoint: a run's state as arrays and JSON, in one of `model.npz_file`.

There is no pickle in it, and a file is replaced as a whole or not at all.
"""

from __future__ import annotations

import json
import os
import warnings
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from ..model import npz_file
from ..model.npz_file import CheckpointError


def save(path: str | os.PathLike[str], state: dict[str, Any]) -> None:
    """Write a run's state, arrays and whatever `to_json` can hold, replacing the file as a whole."""
    arrays = {name: value for name, value in state.items() if isinstance(value, np.ndarray)}
    npz_file.write(path, arrays, {"run": to_json({name: state[name] for name in state if name not in arrays})})


def load(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Read what `save` wrote; return None where there is no file.

    Raises
    ------
    CheckpointError
        The file is another program's, a network's, damaged or altered.
    OSError
        The file cannot be read.
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
    """Return a value as JSON from which `from_json` makes the same again.

    It may consist of numbers, text, lists, tuples, dicts, and NumPy's arrays and numbers; TypeError for anything else.
    """
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
    """Return the value of which `to_json` made this JSON."""
    if isinstance(value, list):
        return [from_json(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "numpy" in value:
        return np.array(value["numpy"], np.dtype(value["dtype"])).reshape(value["shape"])[()]
    if "tuple" in value:
        return tuple(from_json(item) for item in value["tuple"])
    return {name: from_json(item) for name, item in value["dict"].items()}


def attributes(name: str, owner: Any) -> dict[str, Any]:
    """Return all attributes of a learning rate or an optimizer, a user's own too; TypeError if a file cannot hold one.

    Parameters
    ----------
    name : str
        What the error calls the owner.
    owner : LearningRate or Optimizer
    """
    names = {field.name for field in fields(owner)} if is_dataclass(owner) else set()
    values = {}
    for each in sorted(names | set(getattr(owner, "__dict__", ()))):
        if hasattr(owner, each):
            values[each] = value = getattr(owner, each)
            try:
                to_json(value)
            except TypeError as error:
                what = f"{type(owner).__name__}.{each}"
                raise TypeError(f"{name}: cannot be kept in a checkpoint because of {what}: {error}") from None
    return values


def put_attributes(owner: Any, values: dict[str, Any]) -> None:
    """Set the attributes of a learning rate or an optimizer to the values that `attributes` returned."""
    now = attributes("", owner)
    for name, value in values.items():
        if name.startswith("__"):
            raise ValueError(f"{name}: got a name that is Python's own")
        if name not in now or json.dumps(to_json(now[name])) != json.dumps(to_json(value)):
            object.__setattr__(owner, name, value)  # frozen or not


def unreadable(path: str | os.PathLike[str], error: Exception) -> CheckpointError:
    """Return the error to raise for a file whose content is no run's state."""
    return CheckpointError(f"{os.fspath(path)}: not a run that fastbp can read: {type(error).__name__}: {error}")


def warn_not_written(path: str | os.PathLike[str], error: Exception) -> None:
    """Warn that a checkpoint could not be written, which is no reason to end the run."""
    then = "training goes on, and the next checkpoint is tried when it is due"
    warnings.warn(f"checkpoint: {os.fspath(path)!r} was not written: {error}; {then}", RuntimeWarning, stacklevel=2)
