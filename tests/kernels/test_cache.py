"""The disk cache of compiled code: a hit only where nothing changed, whatever way the package is installed."""

from __future__ import annotations

import ast
import os
import subprocess
from pathlib import Path
from typing import Any

import llvmlite
import numba
import pytest

from fastbp.kernels import cache
from support import installed
from support.cached_package import HIT, MISS, Copy, finished
from support.lanes import in_lanes
from support.processes import run_python


def test_the_second_process_loads_what_the_first_compiled(package: Copy) -> None:
    code = "print(json.dumps([gather('uint8', 'float32', 'float64'), cache.folders(), 'numba' in sys.modules]))"
    counts, ((folder, *how),), _ = package.run(code)
    assert counts == {"hits": 0, "misses": 3}
    assert how == [True, ""]
    assert {entry.parent for entry in package.entries()} == {Path(folder)}
    before = {entry: (entry.stat().st_mtime_ns, entry.read_bytes()) for entry in package.entries()}
    assert len(before) == 3
    assert package.run(code)[::2] == [{"hits": 3, "misses": 0}, False]  # no compiler was imported
    assert {entry: (entry.stat().st_mtime_ns, entry.read_bytes()) for entry in package.entries()} == before
    assert [path for path in package.cache.rglob("*") if path.is_file() and path not in before] == []  # no index


@pytest.mark.slow
def test_a_change_in_another_file_is_a_miss_and_old_entries_go(package: Copy) -> None:
    assert package.run() == MISS
    seen = {package.entry().name}
    others = [package.entry().parent / name for name in ("other-f.py311.1.nbc", "fastbp-notes.txt", "gather.nbi")]
    for other in others:
        other.write_text("not ours")
    for name in ("losses.py", "deeper/__init__.py"):
        changed = package.source / "kernels" / name
        changed.parent.mkdir(exist_ok=True)
        with changed.open("a", encoding="utf-8") as file:
            file.write("# another line\n")
        assert package.run() == MISS, name
        seen.add(package.entry().name)  # there is but one: the old stamp's is pruned
    assert len(seen) == 3
    assert package.run() == HIT
    assert all(other.read_text() == "not ours" for other in others)


@pytest.mark.slow
def test_sources_changed_while_a_process_runs_are_no_stale_entry(package: Copy) -> None:
    """What a process compiles from the sources it imported must not pass for the compiled form of newer ones."""
    code = """
    losses = Path(cache.__file__).with_name("losses.py")
    losses.write_text(losses.read_text() + "# an upgrade while this runs\\n")
    print(json.dumps(gather()))
    """
    assert package.run(code) == MISS
    assert package.run() == MISS


def test_the_stamp_does_not_depend_on_what_is_imported() -> None:
    """A process that imports Numba first must find what others kept, and not prune it."""
    code = "from fastbp.kernels import cache; print(cache.STAMP.digest, *cache.versions())"
    unimported = run_python(f"{code}; import sys; assert 'numba' not in sys.modules")
    assert unimported == run_python(f"import numba; {code}")
    assert unimported.split()[1:] == [numba.__version__, llvmlite.__version__]


def test_every_source_file_counts(package: Copy) -> None:
    digests, modules = package.run(
        """
        folder = Path(cache.__file__).parent
        digests = [cache.package_stamp().digest]
        for path in sorted(folder.rglob("*.py")):
            content = path.read_bytes()
            path.write_bytes(content + b" ")
            digests.append(cache.package_stamp().digest)
            path.write_bytes(content)
        path.rename(path.with_name("renamed.py"))
        digests.append(cache.package_stamp().digest)
        path.with_name("renamed.py").rename(path)
        digests.append(cache.package_stamp().digest)
        print(json.dumps([digests, sorted(cache.STAMP.modules)]))
        """
    )
    files = sorted(file.relative_to(package.folder) for file in (package.source / "kernels").rglob("*.py"))
    assert modules == sorted(".".join(file.with_suffix("").parts).removesuffix(".__init__") for file in files)
    assert len(digests) == len(files) + 3
    assert len(set(digests)) == len(digests) - 1
    assert digests[0] == digests[-1]


def test_nothing_outside_the_kernels_is_compiled(package: Copy) -> None:
    """The stamp covers the kernels alone, so they may import nothing else of fastbp, but for what only loads them."""
    kernels = package.source / "kernels"
    for file in set(kernels.rglob("*.py")) - {kernels / "__init__.py", kernels / "objects.py"}:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                depth = len(file.relative_to(kernels).parts)
                assert node.level <= depth, f"{file.name}: {ast.unparse(node)}"
                assert node.level or not str(node.module).startswith("fastbp"), f"{file.name}: {ast.unparse(node)}"
            elif isinstance(node, ast.Import):
                assert not any(name.name.startswith("fastbp") for name in node.names), f"{file.name}"
    assert package.run() == MISS
    with (package.source / "version.py").open("a", encoding="utf-8") as file:
        file.write("# another line\n")
    assert package.run() == HIT


def test_versions_of_the_compilers_count(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = cache.versions()
    digests = [cache.package_stamp()]
    for number in range(len(versions)):
        other = tuple("another" if i == number else version for i, version in enumerate(versions))
        monkeypatch.setattr(cache, "versions", lambda other=other: other)
        digests.append(cache.package_stamp())
    assert len(versions) == 2
    assert None not in digests
    assert len(set(digests)) == 3


# ---- ways to be installed ----
INSTALLED = """
import ctypes, json
import numpy as np
from fastbp.kernels import cache, functions, objects
write, compiled = cache.write, []
cache.write = lambda symbol, content: (compiled.append(symbol), write(symbol, content))
[where] = objects.addresses([functions.gathering("uint8", "float32")])
X, row, ones, out = np.arange(4, dtype="u1").reshape(2, 2), np.array([1]), np.ones(2, "f4"), np.zeros((1, 2), "f4")
x, row, ones, to = (array.ctypes.data for array in (X, row, ones, out))
pointer, number = ctypes.c_void_p, ctypes.c_int64
call = ctypes.CFUNCTYPE(number, pointer, number, pointer, number, pointer, pointer, pointer)(where)
assert call(x, 2, row, 1, ones, ones, to) == -1
print(json.dumps([1 - len(compiled), out.tolist()[0], bool(cache.folders())]))
"""


class Installed:
    """A small package that is installed in one way, and installed again with other sources in the same place."""

    def __init__(self, folder: Path, way: installed.Way):
        self.folder, self.way, self.command = folder, way, [""]
        (folder / "place").mkdir()

    def install(self, formula: str) -> None:
        source = installed.source(self.folder / "source", formula)
        self.command = self.way(source, self.folder / "place", INSTALLED)

    def run(self, seed: int) -> Any:
        """How often it loaded what it runs, the values it computes, whether there is a folder."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("NUMBA_", "PYTHON"))}
        home = str(self.folder / "home")
        environment |= {"HOME": home, "XDG_CACHE_HOME": home, "PYTHONHASHSEED": str(seed)}
        environment |= {
            "PYTHONDONTWRITEBYTECODE": "1"
        }  # a source of the same second and length would pass for the same
        return finished(subprocess.Popen(self.command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                         text=True))  # fmt: skip

    def entries(self) -> list[Path]:
        return list(self.folder.rglob("*.nbc"))


@pytest.mark.parametrize("way", in_lanes(installed.KEPT, fast=installed.KEPT[:1]), ids=lambda way: way.__name__)
def test_an_upgrade_in_place_never_runs_what_was_compiled_before(way: installed.Way, tmp_path: Path) -> None:
    package = Installed(tmp_path, way)
    package.install("x - y")
    assert package.run(seed=1) == [0, [1.0, 2.0], True]
    assert package.run(seed=2) == [1, [1.0, 2.0], True]
    (before,) = package.entries()
    package.install("x + y")
    assert package.run(seed=3) == [0, [3.0, 4.0], True]
    (after,) = package.entries()  # in the place of the other
    assert after.parent == before.parent
    assert after.name != before.name


@pytest.mark.parametrize("way", in_lanes(installed.NOT_KEPT, fast=installed.NOT_KEPT[:1]), ids=lambda way: way.__name__)
def test_nothing_is_kept_where_the_code_cannot_be_seen(way: installed.Way, tmp_path: Path) -> None:
    package = Installed(tmp_path, way)
    package.install("x - y")
    assert [package.run(seed=1), package.run(seed=2)] == [[0, [1.0, 2.0], False]] * 2
    assert package.entries() == []


@pytest.mark.slow
def test_the_code_of_an_import_hook_is_what_counts(package: Copy) -> None:
    """A loader that changes the code of a file on its way is asked for the code."""
    hook = """
    import importlib.machinery, numba, sys  # the hook below knows no extension modules

    class Hook(importlib.machinery.SourceFileLoader):
        def source_to_code(self, data, path, *, _optimize=-1):
            return super().source_to_code(data.replace(b"LINE = 8 ", os.environ["LINE"].encode()), path)

    suffixes = importlib.machinery.SOURCE_SUFFIXES
    sys.path_hooks.insert(0, importlib.machinery.FileFinder.path_hook((Hook, suffixes)))
    sys.path_importer_cache.clear()
    from importlib.util import cache_from_source
    print(json.dumps(cache.package_stamp().digest))
    """
    lines = ("LINE = 8 ", "LINE = 16 ", "LINE = 8 ")
    digests = [package.run(hook, LINE=line, PYTHONDONTWRITEBYTECODE="1") for line in lines]
    assert digests[0] == digests[2] != digests[1]
