"""Copies of functions that can be called with symbols: they find stand-ins where they find functions of `math`.

Nothing is patched: other threads, and other callers of the same functions, see none of it.
"""

from __future__ import annotations

import builtins
import contextlib
import functools
import math
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .tracing import NAMES, Symbol


def traceable(function: Any) -> Callable[..., Any]:
    """Return a copy of a function that finds functions of symbols where it finds those of `math`; and so on, for the
    functions that it calls."""
    copied: Callable[..., Any] = _stand_in(function, {})
    return copied


def plain(function: Any) -> Callable[..., Any]:
    """Return the Python function of one that Numba compiles."""
    inner = getattr(function, "py_func", function)
    found: Callable[..., Any] = inner if isinstance(inner, types.FunctionType) else function
    return found


def _of_symbols(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*values: Any) -> Any:
        trace = next((value.trace for value in values if isinstance(value, Symbol)), None)
        if trace is None:
            return function(*values)
        if name == "log" and len(values) == 2:
            return call(values[0]) / call(values[1])
        return trace.apply(NAMES[name], *values)

    return call


_OF_MATH = {
    function: _of_symbols(name, function) for name in NAMES if callable(function := getattr(math, name, None))
}  # fmt: skip


class _Module:
    """A module whose functions are stand-ins."""

    def __init__(self, module: types.ModuleType, known: dict[Any, Any]):
        self._module, self._known = module, known

    def __getattr__(self, name: str) -> Any:
        return _stand_in(getattr(self._module, name), self._known)


def _stand_in(value: Any, known: dict[int, Any]) -> Any:
    if isinstance(value, types.BuiltinFunctionType):
        return _OF_MATH.get(value, value)
    if isinstance(value, functools.partial):
        return functools.partial(_stand_in(value.func, known), *value.args, **value.keywords)
    if isinstance(value, types.MethodType):
        return types.MethodType(_stand_in(value.__func__, known), value.__self__)
    if isinstance(value, types.ModuleType) and value is not np:
        return _Module(value, known)
    function = plain(value)
    return _copy(function, known) if isinstance(function, types.FunctionType) else value


def _copy(function: types.FunctionType, known: dict[int, Any]) -> Any:
    if id(function) not in known:
        code, names, cells = function.__code__, function.__globals__, function.__closure__ or ()
        namespace: dict[str, Any] = {
            "__builtins__": names.get("__builtins__", builtins),
            "__name__": function.__module__,
        }
        copied = types.FunctionType(
            code, namespace, function.__name__, function.__defaults__, tuple(types.CellType() for _ in cells)
        )
        copied.__kwdefaults__ = function.__kwdefaults__
        known[id(function)] = copied
        for name in _names(code):
            if name in names:
                namespace[name] = _stand_in(names[name], known)
            elif name == "float":
                namespace[name] = lambda value=0.0: value if isinstance(value, Symbol) else float(value)
        for new, cell in zip(copied.__closure__ or (), cells, strict=True):
            with contextlib.suppress(ValueError):  # an empty cell
                new.cell_contents = _stand_in(cell.cell_contents, known)
        if function.__defaults__:
            copied.__defaults__ = tuple(_stand_in(value, known) for value in function.__defaults__)
    return known[id(function)]


def _names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)
