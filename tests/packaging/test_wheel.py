"""Wheels: what the build backend makes, and that an installed one compiles nothing and gives no stale code."""

from __future__ import annotations

import base64
import csv
import ctypes
import email
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fastbp.kernels import cache, functions, shipped, target
from support.processes import becoming_nobody, others_may_read, run_python
from support.wheel_programs import ASK, EDIT, FIT, FITS
from support.wheels import HOST, LEVELS, Environment, clean_environment, copied_sources, pip, sdist

LINKER = any(map(shutil.which, ("cc", "gcc", "clang", "ld")))
WHEELS = pytest.mark.skipif(not (LEVELS and LINKER and sys.platform != "win32"), reason="no library can be made here")
RUNS = pytest.mark.skipif(not HOST, reason="this processor has no level")


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A folder that every user may look into, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp()).resolve()
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def wheel(place: Path) -> Path:
    """The wheel of all levels, built from the sdist, in an environment whose settings would change machine code."""
    unpacked = sdist(copied_sources(place / "checkout"), place)
    settings = clean_environment(NUMBA_OPT="0", NUMBA_CPU_NAME="generic")
    done = pip("wheel", ".", "--no-build-isolation", "--no-deps", "-w", place / "wheels", "-C", "levels=all",
               cwd=unpacked, env=settings)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = (place / "wheels").iterdir()
    return built


@pytest.mark.slow
@WHEELS
def test_the_wheel_has_a_library_for_each_level_and_says_where_it_runs(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as file:
        assert file.testzip() is None
        contents = {name: file.read(name) for name in file.namelist()}
    libraries = [name for name in contents if name.endswith(shipped.SUFFIX)]
    names = [re.fullmatch(r"fastbp/kernels/levels/(.+)-(\w{16})-(\w{16})\.so", name) for name in libraries]
    assert sorted(name[1] for name in names if name) == sorted(LEVELS) and len(libraries) == len(LEVELS)
    assert len({name[2] for name in names if name}) == 1  # the stamp

    python, abi, platforms = wheel.stem.split("-")[-3:]
    assert (python, abi) == ("py3", "none")
    (information,) = (email.message_from_bytes(text) for name, text in contents.items() if name.endswith("/WHEEL"))
    assert information["Root-Is-Purelib"] == "false"
    assert information.get_all("Tag") == [f"py3-none-{platform}" for platform in platforms.split(".")]
    assert "any" not in platforms.split(".")

    (record,) = (name for name in contents if name.endswith("/RECORD"))
    rows = list(csv.reader(contents[record].decode().splitlines()))
    assert [row[0] for row in rows] == list(contents)
    for name, digest, size in rows[:-1]:
        expected = base64.urlsafe_b64encode(hashlib.sha256(contents[name]).digest()).rstrip(b"=").decode()
        assert (digest, size) == (f"sha256={expected}", str(len(contents[name])))


def of_tool(*command: str | Path) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "LC_ALL": "C"}).stdout


@pytest.mark.slow
@WHEELS
def test_each_library_has_every_function_and_needs_no_other(wheel: Path, tmp_path: Path) -> None:
    everything = {function.symbol for function in functions.every()}
    with zipfile.ZipFile(wheel) as file:
        libraries = [Path(file.extract(name, tmp_path)) for name in file.namelist() if name.endswith(shipped.SUFFIX)]
    for library in libraries:
        loaded = ctypes.CDLL(str(library))  # of a higher level too: nothing of it runs
        for symbol in everything:
            assert hasattr(loaded, symbol)
        if sys.platform == "linux" and shutil.which("nm") and shutil.which("readelf"):
            assert {
                line.split()[-1] for line in of_tool("nm", "-D", "--defined-only", library).splitlines()
            } == everything
            undefined = of_tool("nm", "-D", "--undefined-only", library)
            assert "@" not in undefined, undefined  # a symbol with a version would bind the wheel to C libraries
            assert "(NEEDED)" not in of_tool("readelf", "-d", library)


# ---- installed ----


@pytest.fixture(scope="module")
def installed(place: Path, wheel: Path) -> Environment:
    return Environment(place / "environment", wheel)


@pytest.mark.slow
@WHEELS
@RUNS
def test_a_first_fit_imports_no_compiler_and_writes_no_cache(installed: Environment) -> None:
    _, compilers, _ = installed.run(FIT)
    assert compilers == []
    assert installed.compiled_files() == []
    assert installed.run(ASK) == [str(installed.packages / "fastbp"), True, True, False]


@pytest.mark.slow
@WHEELS
@RUNS
@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="who may write is not known on this system")
@pytest.mark.skipif(not others_may_read(sys.prefix), reason="nobody may not read this environment")
def test_on_a_disk_that_cannot_be_written(installed: Environment) -> None:
    """For a user without a home; root, who may write everywhere, becomes nobody."""
    expected, _, modules = installed.run(FIT)
    folders = [installed.packages, *(path for path in installed.packages.rglob("*") if path.is_dir())]
    modes = [folder.stat().st_mode & 0o777 for folder in folders]
    for folder in folders:
        folder.chmod(0o555)
    try:
        became = becoming_nobody(name for name in modules if not name.startswith("fastbp"))
        result = installed.run(became + FIT, HOME="/nonexistent/home")
    finally:
        for folder, mode in zip(folders, modes, strict=True):
            folder.chmod(mode)
    assert result == [expected, [], result[2]]
    assert installed.compiled_files() == []


@pytest.mark.slow
@WHEELS
@RUNS
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_bits_are_those_of_what_is_compiled_on_the_spot(dtype: str, installed: Environment, tmp_path: Path) -> None:
    code = f"DTYPE = {dtype!r}\n{FITS}"
    results, *told = installed.run(code)
    assert told == [True, False] and len(set(results)) == 7
    shutil.rmtree(installed.copied(tmp_path) / "kernels" / shipped.FOLDER)
    compiled, *told = installed.run(code, tmp_path, NUMBA_CACHE_DIR=str(tmp_path / "cache"))
    assert told == [False, True]
    assert compiled == results


@pytest.mark.slow
@WHEELS
@RUNS
@pytest.mark.parametrize(
    "setting",
    ["CPU_NAME=generic", "CPU_FEATURES=+avx2", "ENABLE_AVX=1", "OPT=3", "BOUNDSCHECK=0", "DEBUGINFO=0",
     "LOOP_VECTORIZE=1", "SLP_VECTORIZE=0"],
)  # fmt: skip
def test_a_setting_of_numba_bypasses_the_library(setting: str, installed: Environment) -> None:
    name, _, value = setting.partition("=")
    assert name in target.SETTINGS
    assert installed.run(ASK, **{f"NUMBA_{name}": value})[1:3] == [False, False]


@pytest.mark.slow
@WHEELS
@RUNS
def test_a_file_of_settings_bypasses_the_library(installed: Environment, tmp_path: Path) -> None:
    pytest.importorskip("yaml")  # without which Numba reads no such file
    (tmp_path / target.CONFIG_FILE).write_text("slp_vectorize: 1\n")
    assert installed.run(ASK, cwd=tmp_path)[1:3] == [False, False]


@pytest.mark.slow
@WHEELS
@RUNS
def test_edited_sources_bypass_the_library(installed: Environment, tmp_path: Path) -> None:
    package = installed.copied(tmp_path)
    assert installed.run(ASK, tmp_path) == [str(package), True, True, False]
    digests, last = installed.run(EDIT, tmp_path)
    assert len(set(digests)) == len(list((package / "kernels").glob("*.py"))) + 1 > 30
    assert last == digests[0]
    file = package / "kernels" / "formulas.py"
    content = file.read_bytes()
    file.write_bytes(content + b"#")
    assert installed.run(ASK, tmp_path)[:3] == [str(package), False, False]
    file.write_bytes(content)
    (package / "kernels" / "another.py").write_text("")
    assert installed.run(ASK, tmp_path)[:3] == [str(package), False, False]
    (package / "kernels" / "another.py").unlink()
    assert installed.run(ASK, tmp_path)[:3] == [str(package), True, True]


@pytest.mark.slow
@WHEELS
@RUNS
@pytest.mark.parametrize("package", ["numba", "llvmlite"])
def test_another_compiler_bypasses_the_library(package: str, installed: Environment, tmp_path: Path) -> None:
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").write_text("raise AssertionError('imported')")
    (tmp_path / package / "_version.py").write_text("version_version = '9.9.9'")
    assert installed.run(ASK, tmp_path)[1:3] == [False, False]


def cut(library: Path) -> None:
    library.write_bytes(library.read_bytes()[: library.stat().st_size // 2])


def flip(library: Path) -> None:
    content = bytearray(library.read_bytes())
    content[len(content) // 2] ^= 1
    library.write_bytes(content)


def empty(library: Path) -> None:
    library.write_bytes(b"")


def no_library(library: Path) -> None:
    """With the name that its content asks for, so that only the system's loader can refuse it."""
    content = b"no library"
    stem = library.name.rpartition("-")[0]
    library.with_name(f"{stem}-{hashlib.sha256(content).hexdigest()[:16]}{library.suffix}").write_bytes(content)
    library.unlink()


def folder(library: Path) -> None:
    library.unlink()
    library.mkdir()


def gone(library: Path) -> None:
    shutil.rmtree(library.parent)


@pytest.mark.slow
@WHEELS
@RUNS
@pytest.mark.parametrize("damage", [cut, flip, empty, no_library, folder, gone])
def test_a_damaged_library_is_passed_over(
    damage: Callable[[Path], None], installed: Environment, tmp_path: Path
) -> None:
    package = installed.copied(tmp_path)
    (library,) = (package / "kernels" / shipped.FOLDER).glob(f"{HOST[0]}-*")
    damage(library)
    assert installed.run(ASK, tmp_path) == [str(package), False, False, False]


def test_a_package_without_libraries_has_none() -> None:
    assert not any(shipped.holds(function.symbol) for function in functions.every())


@pytest.mark.parametrize("imported", ["numba", "llvmlite", "json"])
def test_the_stamp_does_not_depend_on_what_was_imported_first(imported: str) -> None:
    code = f"import {imported}\nfrom fastbp.kernels import cache\nprint(cache.STAMP.digest, *cache.versions())"
    assert cache.STAMP is not None
    assert run_python(code).split() == [cache.STAMP.digest, *cache.versions()]
