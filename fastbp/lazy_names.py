"""Names of a package that are imported on first access (PEP 562), so that a program waits for what it uses only."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any


def load(package: str, where: Mapping[str, str], name: str) -> Any:
    """Return what a package's ``__getattr__`` is asked for, and store it in the package.

    Parameters
    ----------
    package : str
        The package's own ``__name__``.
    where : mapping of str to str
        The module of each name, relative to the package; ``"module:other"`` where the module calls it `other`, and ""
        for a module of that name.
    name : str
    """
    if name not in where:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    module, _, other = where[name].partition(":")
    found = import_module(f"{package}.{module or name}")
    if module:
        found = getattr(found, other or name)
    setattr(sys.modules[package], name, found)  # so that it is not asked for again
    return found
