"""What pickles of fastbp's objects consist of: a name in `fastbp` itself, a version, and a dict.

A pickle names classes and functions by the modules that they lie in, and cannot be read once these have moved. So what
is fastbp's own is made by one function that a pickle finds as ``fastbp._blank``, from the public name of a class.
"""

from __future__ import annotations

import pickle
import sys
from typing import Any

from ..version import __version__

VERSION = 1  # of what the dicts hold
PUBLIC = __package__.partition(".")[0]


def _blank(kind: str | type) -> Any:
    """Return an object whose `__init__` was not called: of a class that is public in `fastbp`, or of a subclass."""
    cls: Any = getattr(sys.modules[PUBLIC], kind) if isinstance(kind, str) else kind
    return cls.__new__(cls)


_blank.__module__ = PUBLIC  # where a pickle looks for it


def reduced(value: Any) -> tuple[Any, ...]:
    """Return what `__reduce_ex__` returns of an object of such a class."""
    cls = type(value)
    public = getattr(sys.modules[PUBLIC], cls.__name__, None) is cls
    return _blank, (cls.__name__ if public else cls,), value.__getstate__()


def stamped(**state: Any) -> dict[str, Any]:
    """Return a state that `check` lets pass."""
    return {"version": VERSION, "fastbp": __version__, **state}


def check(name: str, state: Any) -> None:
    """Refuse a state of another version."""
    version = state.get("version") if isinstance(state, dict) else None
    written_by = state.get("fastbp", "of another version") if isinstance(state, dict) else ""
    if version != VERSION:
        got = "an early fastbp, without a version" if version is None else f"fastbp {written_by}, version {version}"
        raise pickle.UnpicklingError(f"{name}: got a pickle of {got}, expected version {VERSION}, as fastbp "
                                     f"{__version__} writes; read it with the fastbp that wrote it, and save the model "
                                     "to a file (MLP.save), which later ones read")  # fmt: skip
