"""What several test files share: protected memory, canaries, error bounds, fresh processes, planted faults."""

from __future__ import annotations

import ctypes
import mmap
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastbp

PACKAGE = Path(fastbp.__file__).parent
CANARY = 0x7FC5A5A5, 0x7FF8A5A5A5A5A5A5  # quiet NaNs with a payload that no computation makes
MARGIN = 64  # canaries on each side of an array
LONG = os.environ.get("FASTBP_LONG") == "1"


def forms(short: int, long: int) -> Any:
    """Parameters of a test in two forms: how many cases it tries; the long form runs where FASTBP_LONG=1."""
    marks = [pytest.mark.long, pytest.mark.skipif(not LONG, reason="minutes of work: set FASTBP_LONG=1")]
    return pytest.mark.parametrize(
        "cases", [pytest.param(short, id="short"), pytest.param(long, id="long", marks=marks)]
    )


@pytest.fixture(scope="session", autouse=True)
def _pool() -> None:
    """Start the pool: without one, work as short as that of tests stays on one thread."""
    fastbp.threads.layer()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that take minutes run where they are asked for."""
    if os.environ.get("FASTBP_LONG") != "1":
        for item in items:
            if item.get_closest_marker("long"):
                item.add_marker(pytest.mark.skip(reason="takes minutes: set FASTBP_LONG=1"))


# ---- memory ----


def guarded(values: Any, side: str = "end") -> Any:
    """A copy of an array whose last element ends at a page that may not be touched, or ("start") whose first
    element begins behind one. A read or write beyond it kills the process."""
    if sys.platform != "linux":
        pytest.skip("protects pages by way of Linux's mprotect")
    values = np.ascontiguousarray(values)
    page = mmap.PAGESIZE
    body = max(1, -(-values.nbytes // page)) * page
    memory = mmap.mmap(-1, body + 2 * page)
    whole = np.frombuffer(memory, np.uint8)  # keeps the mapping alive as long as a view of it lives
    libc = ctypes.CDLL(None, use_errno=True)
    for start in (0, page + body):
        address = ctypes.c_void_p(whole.ctypes.data + start)
        if libc.mprotect(address, ctypes.c_size_t(page), 0) != 0:
            raise OSError(ctypes.get_errno(), "mprotect")
    begin = page if side == "start" else page + body - values.nbytes
    result = whole[begin : begin + values.nbytes].view(values.dtype).reshape(values.shape)
    result[...] = values
    return result


def surrounded(shape: tuple[int, ...], dtype: Any) -> tuple[Any, Callable[[], bool]]:
    """An array of NaN canaries amid more of them, and a function that says whether those around it are intact."""
    dtype = np.dtype(dtype)
    size = int(np.prod(shape))
    canary = CANARY[dtype.itemsize == 8]
    bits = np.full(size + 2 * MARGIN, canary, f"u{dtype.itemsize}")

    def intact() -> bool:
        return bool((bits[:MARGIN] == canary).all() and (bits[MARGIN + size :] == canary).all())

    return bits[MARGIN : MARGIN + size].view(dtype).reshape(shape), intact


def bits_of(array: Any) -> Any:
    """The array's bit patterns as integers: NaN equals itself here, and -0 is not 0."""
    array = np.asarray(array)
    return array.astype(array.dtype, order="C", copy=True).view(f"u{array.dtype.itemsize}")


def assert_same_bits(actual: Any, expected: Any) -> None:
    assert actual.dtype == expected.dtype
    assert actual.shape == expected.shape
    wrong = bits_of(actual) != bits_of(expected)
    if wrong.any():
        at = tuple(np.argwhere(wrong)[0])
        raise AssertionError(f"{wrong.sum()} of {wrong.size} differ, first at {at}: {actual[at]!r}, {expected[at]!r}")


# ---- error bounds ----


def assert_within(actual: Any, expected: Any, bound: Any) -> None:
    """``|actual - expected| <= bound`` entry by entry; NaN and infinity must come where they are expected."""
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    assert actual.shape == expected.shape
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(actual[~finite], expected[~finite])
    bound = np.broadcast_to(bound, expected.shape)[finite]
    error = np.abs(actual[finite] - expected[finite])
    assert np.isfinite(error).all(), "not finite where a finite number is expected"
    wrong = error > bound
    if wrong.any():
        worst = int(np.argmax(error - bound))
        raise AssertionError(f"{wrong.sum()} of {wrong.size} beyond the bound; error {error[worst]:.3g} "
                             f"where {bound[worst]:.3g} is allowed")  # fmt: skip


def product_bound(A: Any, B: Any, dtype: Any, more: Any = 0.0) -> Any:
    """``k eps (|A||B| + |more|)`` with k the number of terms and a few: for sums in any order, rounded throughout."""
    A, B = np.abs(np.asarray(A, np.float64)), np.abs(np.asarray(B, np.float64))
    limits = np.finfo(dtype)
    terms = A.shape[1] + 3
    return terms * (float(limits.eps) * (A @ B + np.abs(more)) + float(limits.smallest_subnormal))


# ---- fresh processes ----


def python(
    code: str | Path, *arguments: str, env: Mapping[str, str] | None = None, timeout: float = 120.0
) -> subprocess.CompletedProcess[str]:
    """Run a snippet, or a script, in a fresh interpreter with warnings as errors; `env` on top of this process's."""
    what = [str(code)] if isinstance(code, Path) else ["-c", code]
    path = os.pathsep.join(filter(None, [str(PACKAGE.parent), os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        [sys.executable, "-P", "-W", "error", *what, *arguments],  # -P: the current folder has a fastbp too
        env={**os.environ, "PYTHONPATH": path, **(env or {})},
        timeout=timeout, capture_output=True, text=True, check=False,
    )  # fmt: skip


def run_python(code: str | Path, env: Mapping[str, str] | None = None, timeout: float = 120.0) -> str:
    """What the snippet prints; a snippet that fails fails the test."""
    done = python(code, env=env, timeout=timeout)
    assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def copied(folder: Path) -> dict[str, str]:
    """A copy of the package in `folder`; returns the environment for processes that use it, with a cache of its own."""
    shutil.copytree(PACKAGE, folder / "fastbp", ignore=shutil.ignore_patterns("__pycache__"))
    return {"PYTHONPATH": str(folder), "NUMBA_CACHE_DIR": str(folder / "cache")}


def planted(folder: Path, file: str, old: str, new: str) -> dict[str, str]:
    """`copied` with the one place in `file` (relative to the package) that reads `old` made to read `new`."""
    environment = copied(folder)
    path = folder / "fastbp" / file
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{file} holds {text.count(old)} times: {old}"
    path.write_text(text.replace(old, new), encoding="utf-8")
    return environment
