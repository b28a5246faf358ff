"""Ways in which a package comes to be installed, for a small one that has fastbp's cache; again is an upgrade in place.

Each way writes `source` into `folder` and returns the command of a process that runs ``script`` with it.
"""

from __future__ import annotations

import compileall
import marshal
import os
import shutil
import sys
import zipapp
import zipfile
from collections.abc import Callable
from pathlib import Path

import fastbp

PACKAGE = Path(fastbp.__file__).parent

# An entry that calls a kernel of another file, so that Numba's own key sees no change when that kernel changes. The set
# is a constant whose order differs from process to process.
GATHER_IMPORT, GATHER_USE = "from .simd import", "(number(out, row[j]) - shift[j])"
PLANTED = """
from .jit import kernel

@kernel
def planted(x, y):
    return {formula}

def letters(text):
    return text in {{"a", "b", "c", "d", "e", "f", "g"}}
"""

# What PyInstaller's importer does: a finder for paths below one that is no folder, which lists its modules, and a
# loader that has bytecode and no files.
FROZEN = """
import marshal, os, sys
from importlib.machinery import ModuleSpec

with open({archive!r}, "rb") as file:
    MODULES = marshal.load(file)

class Loader:
    def create_module(self, spec):
        return None
    def exec_module(self, module):
        exec(MODULES[module.__name__][1], module.__dict__)
    def get_source(self, name):
        return None
    def get_code(self, name):
        return MODULES[name][1]

class Finder:
    def __init__(self, path):
        if not path.startswith({archive!r}):
            raise ImportError
        self.path = path
    def find_spec(self, name, target=None):
        if name not in MODULES:
            return None
        spec = ModuleSpec(name, Loader(), is_package=MODULES[name][0])
        if MODULES[name][0]:
            spec.submodule_search_locations = [os.path.join(self.path, name.rpartition(".")[2])]
        return spec
    def iter_modules(self, prefix=""):
        for name, (is_package, code) in MODULES.items():
            parent, _, tail = name.rpartition(".")
            if os.path.join({archive!r}, *parent.split(".")).rstrip(os.sep) == self.path:
                yield prefix + tail, is_package

sys.path_hooks.insert(0, Finder)
sys.path.insert(0, {archive!r})
"""

EDITABLE = """
import sys
from importlib.util import spec_from_file_location

class Finder:  # as an editable install by setuptools puts it there
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "fastbp":
            root = {root!r}
            return spec_from_file_location(name, root + "/__init__.py", submodule_search_locations=[root])

sys.meta_path.insert(0, Finder)  # first, for this environment has a fastbp of its own
"""


def source(folder: Path, formula: str) -> Path:
    """A package `fastbp` of the kernels alone, where gathering follows from `formula` of x and y."""
    shutil.rmtree(folder, ignore_errors=True)
    kernels = folder / "fastbp" / "kernels"
    shutil.copytree(PACKAGE / "kernels", kernels, ignore=shutil.ignore_patterns("__pycache__"))
    gather = (kernels / "gather.py").read_text(encoding="utf-8")
    assert gather.count(GATHER_IMPORT) == gather.count(GATHER_USE) == 1
    gather = gather.replace(GATHER_IMPORT, f"from .planted import planted\n{GATHER_IMPORT}")
    gather = gather.replace(GATHER_USE, "planted(number(out, row[j]), shift[j])")
    (kernels / "gather.py").write_text(gather, encoding="utf-8")
    (kernels / "planted.py").write_text(PLANTED.format(formula=formula), encoding="utf-8")
    (kernels.parent / "__init__.py").write_text("")
    return folder


def as_folder(source: Path, folder: Path, script: str) -> list[str]:
    shutil.copytree(source / "fastbp", folder / "fastbp", dirs_exist_ok=True)  # an upgrade leaves what it does not know
    return with_path(folder, script)


def editable(source: Path, folder: Path, script: str) -> list[str]:
    as_folder(source, folder, script)
    return [sys.executable, "-P", "-c", EDITABLE.format(root=str(folder / "fastbp")) + script]


def bytecode(source: Path, folder: Path, script: str) -> list[str]:
    """Without the sources."""
    as_folder(source, folder, script)
    assert compileall.compile_dir(folder / "fastbp", quiet=1, legacy=True)
    for file in (folder / "fastbp").rglob("*.py"):
        file.unlink()
    return with_path(folder, script)


def archive(source: Path, folder: Path, script: str) -> list[str]:
    return with_path(shutil.make_archive(str(folder / "packages"), "zip", source), script)


def archive_of_bytecode(source: Path, folder: Path, script: str) -> list[str]:
    """As `zipfile.PyZipFile` makes it."""
    path = folder / "packages.zip"
    with zipfile.PyZipFile(path, "w") as file:
        file.writepy(str(source / "fastbp"))
    assert not [name for name in zipfile.ZipFile(path).namelist() if name.endswith(".py")]
    return with_path(path, script)


def application(source: Path, folder: Path, script: str) -> list[str]:
    (source / "__main__.py").write_text(script)
    zipapp.create_archive(source, folder / "app.pyz")
    return [sys.executable, str(folder / "app.pyz")]


def frozen(source: Path, folder: Path, script: str) -> list[str]:
    modules = {}
    for file in sorted(source.rglob("*.py")):
        parts = file.relative_to(source).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        modules[name] = (is_package, compile(file.read_text(encoding="utf-8"), f"<frozen {name}>", "exec"))
    (folder / "modules").write_bytes(marshal.dumps(modules))
    return [sys.executable, "-P", "-c", FROZEN.format(archive=str(folder / "modules")) + script]


def frozen_and_not_listed(source: Path, folder: Path, script: str) -> list[str]:
    return frozen(source, folder, "del Finder.iter_modules\n" + script)


def frozen_without_code(source: Path, folder: Path, script: str) -> list[str]:
    return frozen(source, folder, "del Loader.get_code\n" + script)


def with_path(path: str | Path, script: str) -> list[str]:
    return [sys.executable, "-P", "-c", f"import sys\nsys.path.insert(0, {os.fspath(path)!r})\n{script}"]


Way = Callable[[Path, Path, str], list[str]]
KEPT: tuple[Way, ...] = (as_folder, editable, bytecode, archive, archive_of_bytecode, application, frozen)
NOT_KEPT: tuple[Way, ...] = (frozen_and_not_listed, frozen_without_code)
