"""The form of pickles of fastbp's objects: a name in `fastbp` itself, a version, and a dict.

A pickle names classes and functions by the modules that define them, and cannot be read once these have moved. So every
object of fastbp is made by one function, which a pickle finds as ``fastbp._blank``, from the public name of its class.
"""

from __future__ import annotations

import pickle
import sys
from typing import Any

from ..version import __version__

VERSION = 1  # of what the dicts hold
PUBLIC = __package__.partition(".")[0]


def blank(kind: str | type) -> Any:
    """Return an instance without calling `__init__`: of a public class of `fastbp`, by its name, or of a subclass."""
    cls: Any = getattr(sys.modules[PUBLIC], kind) if isinstance(kind, str) else kind
    return cls.__new__(cls)


blank.__module__, blank.__qualname__ = PUBLIC, "_blank"  # where a pickle looks for it


def reduced(value: Any) -> tuple[Any, ...]:
    """Return the value of ``__reduce_ex__`` for an object of a class of fastbp, or of a subclass."""
    cls = type(value)
    public = getattr(sys.modules[PUBLIC], cls.__name__, None) is cls
    return blank, (cls.__name__ if public else cls,), value.__getstate__()


def stamped(**state: Any) -> dict[str, Any]:
    """Return a state with the version that `check` accepts."""
    return {"version": VERSION, "fastbp": __version__, **state}


def check(name: str, state: Any) -> None:
    """Raise UnpicklingError for a state of another version."""
    version = state.get("version") if isinstance(state, dict) else None
    written_by = state.get("fastbp", "of another version") if isinstance(state, dict) else ""
    if version != VERSION:
        got = "an early fastbp, without a version" if version is None else f"fastbp {written_by}, version {version}"
        raise pickle.UnpicklingError(
            f"{name}: got a pickle of {got}, expected version {VERSION}, as fastbp {__version__} writes; read it with "
            "the fastbp that wrote it, and save the model to a file (MLP.save), which later ones read"
        )
