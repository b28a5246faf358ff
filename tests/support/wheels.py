"""A wheel with compiled functions, built from the sdist, and environments that it is installed in."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
from pathlib import Path
from typing import Any

from fastbp.kernels import target
from support.processes import PACKAGE, TESTS

ROOT = TESTS.parent
BACKEND = ROOT / "build_backend"
FILES = ("pyproject.toml", "MANIFEST.in", "README.md", "LICENSE")
LEVELS = [level.level for level in target.LEVELS if level.level.startswith(target.FAMILY[:3])]  # "x86" or "aar"
HOST = [level.level for level in target.levels_of_this_machine()[:1]]
HOOK = """
import json, sys
sys.path.insert(0, "build_backend")
{before}
import fastbp_build
print(json.dumps(fastbp_build.{name}(**json.loads(sys.argv[1]))))
"""


def copied_sources(folder: Path) -> Path:
    """Copy what a build needs of the checkout, since it writes into its folder."""
    folder.mkdir()
    unwanted = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PACKAGE, folder / "fastbp", ignore=unwanted)
    shutil.copytree(BACKEND, folder / "build_backend", ignore=unwanted)
    for name in FILES:
        shutil.copy(ROOT / name, folder)
    return folder


def clean_environment(**more: str) -> dict[str, str]:
    """The environment without what concerns Python, Numba or a linker."""
    unwanted = ("NUMBA_", "PYTHON", "FASTBP_", "XDG_", "CC")
    return {name: value for name, value in os.environ.items() if not name.startswith(unwanted)} | more


def hook(sources: Path, name: str, before: str = "", environment: dict[str, str] | None = None,
         **arguments: Any) -> tuple[Any, str]:  # fmt: skip
    """What a hook of the backend returns, and what it writes to stderr."""
    code = HOOK.format(name=name, before=before)
    done = subprocess.run([sys.executable, "-P", "-c", code, json.dumps(arguments)], cwd=sources,
                          env=clean_environment(**environment or {}), capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


def sdist(sources: Path, folder: Path) -> Path:
    """Build the sdist and unpack it, as a front end does before it builds a wheel."""
    name, _ = hook(sources, "build_sdist", sdist_directory=str(folder))
    with tarfile.open(folder / name) as archive:
        archive.extractall(folder, filter="data")
    return folder / name.removesuffix(".tar.gz")


def pip(
    *arguments: str | Path, python: str | Path = sys.executable, **options: Any
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check", *arguments]
    return subprocess.run(command, capture_output=True, text=True, **{"env": clean_environment(), **options})


class Environment:
    """A virtual environment that has the dependencies by a path file, and an empty home."""

    def __init__(self, folder: Path, wheel: Path):
        self.folder, self.home = folder, folder / "home"
        venv.create(folder, symlinks=os.name != "nt")
        self.home.mkdir()
        paths = sysconfig.get_paths(scheme="venv", vars={"base": str(folder), "platbase": str(folder)})
        self.python, self.packages = Path(paths["scripts"], "python"), Path(paths["purelib"])
        # A line of a path file is no folder of sites: an editable fastbp in there is not seen.
        (self.packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
        done = pip("install", "--no-deps", "--no-index", wheel, python=self.python)
        assert done.returncode == 0, done.stderr

    def copied(self, folder: Path) -> Path:
        """Copy the installed package into a folder for PYTHONPATH."""
        shutil.copytree(self.packages / "fastbp", folder / "fastbp", ignore=shutil.ignore_patterns("__pycache__"))
        return folder / "fastbp"

    def run(self, code: str, path: Path | None = None, cwd: Path | None = None, **more: str) -> Any:
        """What a snippet prints as JSON; `path` goes before the installed packages."""
        environment = clean_environment(HOME=str(self.home), PYTHONWARNINGS="error")
        environment |= ({} if path is None else {"PYTHONPATH": str(path)}) | more
        done = subprocess.run([self.python, "-P", "-c", code], env=environment, cwd=cwd or self.home,
                              capture_output=True, text=True)  # fmt: skip
        assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return json.loads(done.stdout.splitlines()[-1])

    def compiled_files(self) -> list[Path]:
        """What a cache would have written."""
        return [*self.home.rglob("*"), *self.packages.rglob("*.nbc")]
