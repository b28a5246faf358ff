"""Compile all functions for instruction-set levels, and link one library for each.

``python level_libraries.py sources made levels`` compiles the package in the folder `sources`, and leaves the libraries
in the folder `made`. Each level has a process to itself, in which it is the target before any kernel is imported. So no
setting exists that could make an ordinary process run instructions that its processor lacks.
"""

from __future__ import annotations

import ctypes
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import types
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

LINKERS = ("cc", "gcc", "clang", "ld")


def linker() -> list[str] | None:
    """Return the command that links: CC, or the first that is found; None where there is none."""
    if sys.platform == "win32":  # the kernels call the C library of POSIX systems
        return None
    commands = [shlex.split(os.environ.get("CC", "")), *([name] for name in LINKERS)]
    return next((command for command in commands if command and shutil.which(command[0])), None)


def main(sources: str, made: str, names: str) -> None:
    """Make the library of each level that is named."""
    levels = levels_named(names, target_of(sources))
    if levels:
        workers = min(len(levels), _processors())
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
            for _ in pool.map(make, levels, [sources] * len(levels), [made] * len(levels)):
                pass


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def target_of(sources: str) -> Any:
    """Import the module of targets and no other of the kernels, which take its `TARGET` over when they are imported."""
    package = types.ModuleType("fastbp")  # the package's own __init__ imports everything
    package.__path__ = [os.path.join(sources, "fastbp")]
    sys.modules["fastbp"] = package
    from fastbp.kernels import target

    return target


def levels_named(names: str, target: Any) -> list[str]:
    """Return the levels that a list of names, separated by commas, stands for."""
    family = "x86" if target.FAMILY == "x86_64" else target.FAMILY
    known = [level.level for level in target.LEVELS if level.level.startswith(family)]
    chosen: dict[str, None] = {}
    for name in filter(None, map(str.strip, names.split(","))):
        if name == "all":
            chosen |= dict.fromkeys(known)
        elif name == "host":
            chosen |= dict.fromkeys(level.level for level in target.levels_of_this_machine()[:1])
        elif name in known:
            chosen[name] = None
        else:
            expected = ", ".join(["all", "host", *known])
            sys.exit(f"levels={names}: this machine cannot compile for {name!r}; expected one or more of {expected}")
    return list(chosen)


def make(level: str, sources: str, made: str) -> None:
    """Compile and link the library of one level, in a process that has imported nothing yet."""
    target = target_of(sources)
    target.TARGET = next(each for each in target.LEVELS if each.level == level)
    from fastbp.kernels import compiler, functions, shipped

    everything = functions.every()
    with tempfile.TemporaryDirectory() as scratch:
        objects = []
        for function, code in compiler.compiled(everything):
            objects.append(os.path.join(scratch, f"{function.symbol}.o"))
            Path(objects[-1]).write_bytes(code)
        library = os.path.join(scratch, f"library{shipped.SUFFIX}")
        _link(objects, library)
        loaded = ctypes.CDLL(library)  # runs nothing of it; fails where a symbol is in no library of this process
        for function in everything:
            loaded[function.symbol]
        shutil.copy(library, os.path.join(made, shipped.file_name(Path(library).read_bytes())))


def _link(objects: list[str], library: str) -> None:
    """Link with no library: what is undefined then has no version, and any C library of the process will do."""
    command = linker()
    assert command is not None
    options = ["-s"] if os.path.basename(command[0]).endswith("ld") else ["-s", "-nostdlib"]
    if sys.platform == "darwin":  # where a symbol must be found in a library that is named
        options = []
    subprocess.run([*command, "-shared", *options, "-o", library, *objects], check=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
