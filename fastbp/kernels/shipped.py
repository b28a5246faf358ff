"""The compiled functions that a wheel brings along: a shared library for each instruction-set level.

The name of a library says which level it is for, which sources and compilers it is made from, and what its content is.
A library that does not fit, or cannot be loaded, is as if it were not there.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os

from . import cache
from .target import TARGET, settings

FOLDER = "levels"  # beside this file; the build backend puts libraries there
SUFFIX = ".so"


def address(symbol: str) -> int | None:
    """Return where a function of the shipped library lies, or None if this machine has to compile it."""
    library = _library()
    if library is None:
        return None
    try:
        return ctypes.addressof(ctypes.c_char.in_dll(library, symbol))
    except ValueError:
        return None


def holds(symbol: str) -> bool:
    """Return whether a shipped library has this function for this machine."""
    return address(symbol) is not None


def file_name(content: bytes) -> str:
    """Return the name of a library that was made by this process's sources, compilers and target."""
    return f"{_stem()}{hashlib.sha256(content).hexdigest()[:16]}{SUFFIX}"


def _stem() -> str:
    return f"{TARGET.level}-{'' if cache.STAMP is None else cache.STAMP.digest}-"


@functools.cache
def _library() -> ctypes.CDLL | None:
    here = str(globals().get("__file__", ""))
    if not (TARGET.level and not settings() and cache.STAMP is not None and cache.stamped() and os.path.isfile(here)):
        return None
    folder = os.path.join(os.path.dirname(os.path.abspath(here)), FOLDER)
    try:
        for name in sorted(os.listdir(folder)):
            if name.startswith(_stem()):
                path = os.path.join(folder, name)
                with open(path, "rb") as file:  # a library that lost its end would kill the process: 0.2 ms
                    whole = file_name(file.read()) == name
                return ctypes.CDLL(path) if whole else None
    except OSError:
        pass
    return None
