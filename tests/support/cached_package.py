"""A small package with fastbp's cache, in a folder of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import fastbp

GATHER = """
    import ctypes, json, os, sys, warnings
    warnings.simplefilter("error")
    from pathlib import Path
    import numpy as np
    import fastbp
    from fastbp.kernels import cache, functions, objects
    assert fastbp.__file__.startswith(os.environ["PYTHONPATH"]), fastbp.__file__

    write, compiled = cache.write, []
    cache.write = lambda symbol, content: (compiled.append(symbol), write(symbol, content))
    POINTER, NUMBER = ctypes.c_void_p, ctypes.c_int64
    GATHER = ctypes.CFUNCTYPE(NUMBER, POINTER, NUMBER, POINTER, NUMBER, POINTER, POINTER, POINTER)

    def gather(*kinds):
        \"\"\"Gather rows of these dtypes, as a process that has loaded nothing; says what the cache gave.\"\"\"
        objects._addresses.clear()
        compiled.clear()
        wanted = [functions.gathering(kind, "float32") for kind in kinds or ("uint8",)]
        for function, where in zip(wanted, objects.addresses(wanted)):
            X, out = np.arange(12, dtype=function.kind).reshape(4, 3), np.zeros((2, 3), "f4")
            rows, shift, scale = np.array([3, 1]), np.ones(3, "f4"), np.full(3, 2, "f4")
            at = [array.ctypes.data for array in (X, rows, shift, scale, out)]
            assert GATHER(where)(at[0], 3, at[1], 2, *at[2:]) == -1
            assert out.tolist() == [[16, 18, 20], [4, 6, 8]]
        return {"hits": len(wanted) - len(compiled), "misses": len(compiled)}
"""
HIT, MISS = {"hits": 1, "misses": 0}, {"hits": 0, "misses": 1}


class Copy:
    """A copy of the package: its folder, its cache, and processes that use them."""

    def __init__(self, folder: Path):
        self.folder, self.source, self.cache = folder, folder / "fastbp", folder / "cache"
        shutil.copytree(Path(fastbp.__file__).parent, self.source, ignore=shutil.ignore_patterns("__pycache__", "data"))
        for path in (self.source, *self.source.rglob("*")):  # `git archive` lets the group write, and copies keep modes
            path.chmod(path.stat().st_mode & ~0o022)
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("NUMBA_", "PYTHON"))
        } | {"PYTHONPATH": str(folder), "NUMBA_CACHE_DIR": str(self.cache)}

    def start(self, code: str = "print(json.dumps(gather()))", **environment: str) -> subprocess.Popen[str]:
        script = textwrap.dedent(GATHER) + textwrap.dedent(code)
        return subprocess.Popen([sys.executable, "-P", "-c", script], env={**self.environment, **environment},
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # fmt: skip

    def run(self, code: str = "print(json.dumps(gather()))", **environment: str) -> Any:
        return finished(self.start(code, **environment))

    def entries(self) -> list[Path]:
        return sorted(self.cache.rglob("fastbp_*.nbc"))

    def entry(self) -> Path:
        (entry,) = self.entries()
        return entry


def finished(process: subprocess.Popen[str]) -> Any:
    try:
        out, err = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    assert process.returncode == 0, f"exit {process.returncode}\n{out}\n{err}"
    return json.loads(out.splitlines()[-1])
