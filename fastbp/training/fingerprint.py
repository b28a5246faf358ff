"""A run's fingerprint: what must be the same for a checkpoint to be this run's."""

from __future__ import annotations

import hashlib
import json
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..inputs.blocks import Stream
from ..inputs.in_memory import InMemory, Rows
from ..kernels.coefficients import CONSTANTS
from ..model.npz_file import CheckpointError
from .checkpoint_file import attributes, to_json

Array = NDArray[Any]
SAMPLE = 64  # rows of X that stand for all of them; of targets and weights all rows count
WRITTEN_OUT = 1000  # numbers of an array, all of which `repr` writes
PREFIX = "sha256:"


def digest(array: Array | None) -> str | None:
    """Return the digest of an array's dtype, shape and values; None for None."""
    if array is None:
        return None
    found = hashlib.sha256(f"{array.dtype.name} {array.shape} ".encode())
    found.update(np.ascontiguousarray(array).data.cast("B"))
    return PREFIX + found.hexdigest()


def digest_of_text(text: str) -> str:
    """Return the digest of a text."""
    return PREFIX + hashlib.sha256(text.encode()).hexdigest()


def digest_of_rows(rows: Rows) -> str:
    """Return the digest of `SAMPLE` rows, spread over all."""
    some = np.unique(np.linspace(0, rows.count - 1, SAMPLE).astype(np.int64))
    return digest(rows.chosen(some)) or ""


def describe_rows(data: InMemory | Stream) -> str:
    """Return the digest of some rows; of a stream the length of its blocks, from which the order of rows follows."""
    return f"blocks of {data.block} rows" if isinstance(data, Stream) else digest_of_rows(data.rows)


def describe(name: str, owner: Any) -> str:
    """Return a learning rate or an optimizer as text."""
    values = ", ".join(f"{each}={in_full(value, value)}" for each, value in attributes(name, owner).items())
    return f"{type(owner).__qualname__}({values})"


def in_full(value: Any, parts: Any) -> str:
    """Return a value as text, with digests of the long arrays among its parts, whose middle `repr` leaves out."""
    return " ".join([repr(value), *(digest(array) or "" for array in _long_arrays(parts))])


def _long_arrays(value: Any) -> list[Array]:
    if isinstance(value, np.ndarray):
        return [value] if value.size > WRITTEN_OUT else []
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return [array for part in parts for array in _long_arrays(part)]


def check_same_run(path: str | os.PathLike[str], there: dict[str, Any], here: dict[str, Any]) -> None:
    """Raise CheckpointError unless a file's fingerprint, `there`, is the run's own, `here`."""
    if differing := differences(there, here):
        raise CheckpointError(
            f"{os.fspath(path)}: got another run's checkpoint, whose {differing}; expected this run's: repeat the call "
            "that wrote it, or name another file"
        )


def differences(there: dict[str, Any], here: dict[str, Any]) -> str:
    """Return the differences between two fingerprints, in words; "" where there are none."""
    found = []
    for name in dict.fromkeys((*here, *there)):
        default = CONSTANTS[name].default if name in CONSTANTS else None  # defaults are not always written
        values = [side.get(name, default) for side in (there, here)]
        if _text(values[0]) != _text(values[1]):
            digests = [isinstance(value, str) and value.startswith(PREFIX) for value in values]
            if all(digests):
                found.append(f"{name} has other values")
            else:
                theirs, ours = ("given" if hidden else value for hidden, value in zip(digests, values, strict=True))
                found.append(f"{name} is {theirs}, here {ours}")
    return ", ".join(found)


def _text(value: Any) -> str:
    return json.dumps(to_json(value), sort_keys=True)  # files have keys in this order
