"""C files of networks, compiled and called."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastbp import MLP

COMPILER = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
STRICT = ("-std=c99", "-ffp-contract=off", "-O2")
WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wmissing-prototypes", "-Werror")

needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no C compiler")


class Program:
    """The library of a network's C file; its functions take and return rows."""

    def __init__(self, source: Path, *options: str):
        library = source.with_suffix(".so")
        done = compiled(source, "-shared", "-fPIC", "-o", str(library), *(options or STRICT), *WARNINGS)
        assert done.returncode == 0, done.stderr
        self.library = ctypes.CDLL(str(library))

    def rows(self, function: str, X: Any, outputs: int) -> Any:
        """What a function of (x, out) makes of each row."""
        X, out = np.ascontiguousarray(X), np.full((len(X), outputs), np.nan, X.dtype)
        call = getattr(self.library, function)
        for x, row in zip(X, out, strict=True):
            call(ctypes.c_void_p(x.ctypes.data), ctypes.c_void_p(row.ctypes.data))
        return out

    def classes(self, X: Any) -> Any:
        X = np.ascontiguousarray(X)
        return np.array([self.library.fastbp_class(ctypes.c_void_p(x.ctypes.data)) for x in X])

    def names(self, array: str, count: int) -> list[str]:
        return [text.decode() for text in (ctypes.c_char_p * count).in_dll(self.library, array)]


def compiled(source: Path, *options: str) -> subprocess.CompletedProcess[str]:
    assert COMPILER is not None
    return subprocess.run([COMPILER, str(source), *options], capture_output=True, text=True, timeout=120, check=False)


def program(net: MLP, folder: Path, *options: str) -> Program:
    source = folder / "model.c"
    net.to_c(source)
    return Program(source, *options)
