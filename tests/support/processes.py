"""Fresh interpreters, and copies of the package for them, with faults planted or without."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import fastbp

PACKAGE = Path(fastbp.__file__).parent
TESTS = Path(__file__).parents[1]


def python(
    code: str | Path, *arguments: str, env: Mapping[str, str] | None = None, timeout: float = 120.0
) -> subprocess.CompletedProcess[str]:
    """Run a snippet, or a script, in a fresh interpreter with warnings as errors; `env` on top of this process's."""
    what = [str(code)] if isinstance(code, Path) else ["-c", code]
    path = os.pathsep.join(filter(None, [str(PACKAGE.parent), str(TESTS), os.environ.get("PYTHONPATH")]))
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
    return {"PYTHONPATH": f"{folder}{os.pathsep}{TESTS}", "NUMBA_CACHE_DIR": str(folder / "cache")}


def planted(folder: Path, file: str, old: str, new: str) -> dict[str, str]:
    """`copied` with the one place in `file` (relative to the package) that reads `old` made to read `new`."""
    environment = copied(folder)
    path = folder / "fastbp" / file
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{file} holds {text.count(old)} times: {old}"
    path.write_text(text.replace(old, new), encoding="utf-8")
    return environment


DROPPED = """
import contextlib, importlib, os
for name in {modules}:  # which another user may not be allowed to read
    with contextlib.suppress(ImportError):
        importlib.import_module(name)
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
"""


def becoming_nobody(modules: Iterable[str]) -> str:
    """Code that imports these modules, then makes root's process one of a user who owns nothing."""
    return DROPPED.format(modules=list(modules))


def others_may_read(*places: str) -> bool:
    """Whether every folder on the way to these places lets other users through, as nobody must read them."""
    folders = {folder for place in places for folder in (Path(place), *Path(place).parents)}
    return all(folder.stat().st_mode & 0o001 for folder in folders)
