"""The build backend's hooks: what they ask for, when they compile, and what they say where they do not."""

from __future__ import annotations

import importlib.util
import shutil
import sys
import tomllib
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from fastbp.kernels import shipped, target
from support.processes import PACKAGE, run_python
from support.wheels import BACKEND, HOST, LEVELS, ROOT, copied_sources, hook, pip

LINKER = any(map(shutil.which, ("cc", "gcc", "clang", "ld")))


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copied_sources(tmp_path_factory.mktemp("checkout") / "fastbp")


@pytest.fixture(scope="module")
def level_libraries() -> ModuleType:
    spec = importlib.util.spec_from_file_location("level_libraries", BACKEND / "level_libraries.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_build_asks_for_compilers_only_where_it_compiles(sources: Path) -> None:
    pure, _ = hook(sources, "get_requires_for_build_wheel")
    by_setting, _ = hook(sources, "get_requires_for_build_wheel", config_settings={"levels": "all"})
    by_variable, _ = hook(sources, "get_requires_for_build_wheel", environment={"FASTBP_WHEEL_LEVELS": "host"})
    by_both, _ = hook(sources, "get_requires_for_build_wheel", config_settings={"levels": ""},
                      environment={"FASTBP_WHEEL_LEVELS": "host"})  # fmt: skip
    ours = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    compilers = [line for line in ours if line.startswith(("numba>", "llvmlite>", "numpy>"))]
    assert len(compilers) == 3
    assert by_setting == by_variable == pure + compilers
    assert by_both == pure


def test_names_of_levels(level_libraries: ModuleType) -> None:
    named = level_libraries.levels_named
    assert named("all", target) == LEVELS
    assert named("host", target) == HOST
    assert named(" host , all,host", target) == list(dict.fromkeys(HOST + LEVELS))
    assert named(",", target) == []
    others = [level.level for level in target.LEVELS if level.level not in LEVELS]
    for wrong in ("x86-64-v9", "All", *others):
        with pytest.raises(
            SystemExit, match=f"levels=host,{wrong}: this machine cannot compile for '{wrong}'.*all, host"
        ):
            named(f"host,{wrong}", target)


def test_the_linker_is_the_one_named_or_the_first_found(
    level_libraries: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CC", "gone -m64")
    assert level_libraries.linker() is None
    for name in ("ld", "gcc", "named"):
        (tmp_path / name).write_text("")
        (tmp_path / name).chmod(0o755)
    if sys.platform != "win32":
        assert level_libraries.linker() == ["gcc"]
        monkeypatch.setenv("CC", "named -m64")
        assert level_libraries.linker() == ["named", "-m64"]


def test_a_folder_of_the_backend_is_the_folder_of_the_package() -> None:
    text = (BACKEND / "fastbp_build.py").read_text(encoding="utf-8")
    assert f'FOLDER = "fastbp/kernels/{shipped.FOLDER}"' in text


def is_pure(wheel: Path) -> bool:
    with zipfile.ZipFile(wheel) as file:
        return wheel.name.endswith("-py3-none-any.whl") and not any(name.endswith(".so") for name in file.namelist())


NO_NUMBA = "sys.modules['numba'] = None"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "before", "environment", "message"),
    [
        ({}, "", {}, ""),
        (
            {"levels": "all"},
            "",
            {"PATH": "/nonexistent"},
            "no linker; install one of cc, gcc, clang, ld, or name one by CC",
        ),
        ({}, "", {"PATH": "/nonexistent", "FASTBP_WHEEL_LEVELS": "all"}, "no linker"),
        ({"levels": ["all", "host"]}, NO_NUMBA, {}, "no numba to compile with"),
    ],
    ids=["not asked", "no linker", "no linker, by variable", "no Numba"],
)
def test_a_wheel_stays_pure_and_says_why(
    settings: Any, before: str, environment: dict[str, str], message: str, tmp_path: Path
) -> None:
    name, said = hook(copied_sources(tmp_path / "fastbp"), "build_wheel", before, environment,
                      wheel_directory=str(tmp_path), config_settings=settings)  # fmt: skip
    assert is_pure(tmp_path / name)
    lines = [line for line in said.splitlines() if line.startswith("fastbp:")]
    assert len(lines) == bool(message)
    assert "".join(lines).startswith(f"fastbp: {name} has no compiled functions: {message}" if message else "")


@pytest.mark.slow
def test_an_editable_install_ships_nothing(tmp_path: Path) -> None:
    checkout = copied_sources(tmp_path / "fastbp")
    name, _ = hook(checkout, "build_editable", wheel_directory=str(tmp_path), config_settings={"levels": "all"},
                   environment={"FASTBP_WHEEL_LEVELS": "all"})  # fmt: skip
    with zipfile.ZipFile(tmp_path / name) as file:
        assert not [member for member in file.namelist() if member.endswith(".so")]
    assert not list(checkout.rglob("*.so"))


@pytest.mark.slow
def test_a_level_that_cannot_be_compiled_fails_the_build(tmp_path: Path) -> None:
    checkout = copied_sources(tmp_path / "fastbp")
    done = pip(
        "wheel", ".", "--no-build-isolation", "--no-deps", "-w", tmp_path, "-C", "levels=x86-64-v9", cwd=checkout
    )
    assert done.returncode != 0
    if LINKER:
        assert "levels=x86-64-v9: this machine cannot compile for 'x86-64-v9'" in done.stdout + done.stderr


# The hash of some objects of a level.
OBJECTS = """
import hashlib, json, sys
sys.path.insert(0, {backend!r})
import level_libraries
target = level_libraries.target_of({sources!r})
target.TARGET = next(each for each in target.LEVELS if each.level == {level!r})
from fastbp.kernels import compiler, functions
some = [each for each in functions.every(["float32"]) if each.operation in ("run", "gemm", "softmax", "drop")]
print(hashlib.sha256(b"".join(code for _, code in compiler.compiled(some))).hexdigest())
"""
PROCESSORS = {
    "x86_64": ({"CPU_NAME": "skylake-avx512"}, {"CPU_NAME": "generic", "CPU_FEATURES": ""}),
    "aarch64": ({"CPU_NAME": "neoverse-v1"}, {"CPU_NAME": "generic", "CPU_FEATURES": ""}),
}


@pytest.mark.slow
@pytest.mark.parametrize("level", LEVELS)
def test_a_level_has_the_same_objects_whatever_machine_compiles_them(level: str) -> None:
    """Numba's settings make it take the processor for another one."""
    code = OBJECTS.format(backend=str(BACKEND), sources=str(PACKAGE.parent), level=level)
    expected = run_python(code)
    for processor in PROCESSORS[target.FAMILY]:
        assert run_python(code, {f"NUMBA_{name}": value for name, value in processor.items()}) == expected
