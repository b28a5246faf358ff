"""The build backend: setuptools, and in a wheel, where they are asked for, the compiled functions.

``pip wheel . -C levels=all``, or the environment variable FASTBP_WHEEL_LEVELS for a front end that passes no settings,
names the instruction-set levels, separated by commas: "all" are those of this machine's family, "host" is the highest
that this machine has. Without it the wheel is pure. An editable install never has compiled functions.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import importlib.util
import io
import os
import platform
import re
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

from level_libraries import LINKERS, linker
from setuptools import build_meta
from setuptools.build_meta import (
    build_editable,
    build_sdist,
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

VARIABLE = "FASTBP_WHEEL_LEVELS"
COMPILERS = ("numba", "llvmlite", "numpy")  # all that the kernels import
FOLDER = "fastbp/kernels/levels"  # where fastbp.kernels.shipped looks
Settings = dict[str, Any] | None


def get_requires_for_build_wheel(config_settings: Settings = None) -> list[str]:
    """Return what setuptools needs, and the compilers where functions are compiled."""
    needed: list[str] = build_meta.get_requires_for_build_wheel(config_settings)
    return needed + (_compilers() if _levels(config_settings) else [])


def build_wheel(wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None) -> str:
    """Build the pure wheel, then add a library for each level."""
    pure: str = build_meta.build_wheel(wheel_directory, config_settings, metadata_directory)
    levels = _levels(config_settings)
    if not levels:
        return pure
    missing = [package for package in COMPILERS if importlib.util.find_spec(package) is None]
    if missing:
        return _left_pure(pure, f"no {' or '.join(missing)} to compile with")
    if linker() is None:
        return _left_pure(pure, f"no linker; install one of {', '.join(LINKERS)}, or name one by CC")
    libraries = _libraries(Path(wheel_directory, pure), levels)
    if not libraries:
        return _left_pure(pure, f"levels={levels} are none on this machine")
    return _with_libraries(Path(wheel_directory, pure), libraries).name


def _left_pure(wheel: str, why: str) -> str:
    print(f"fastbp: {wheel} has no compiled functions: {why}", file=sys.stderr, flush=True)
    return wheel


def _levels(settings: Settings) -> str:
    given = (settings or {}).get("levels", os.environ.get(VARIABLE, ""))
    return ",".join(given) if isinstance(given, list) else str(given)


def _compilers() -> list[str]:
    """Return the project's own bounds of what compiles."""
    dependencies = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    return [line for line in dependencies if re.split(r"[^\w.-]", line, maxsplit=1)[0] in COMPILERS]


def _libraries(wheel: Path, levels: str) -> dict[str, bytes]:
    """Compile the sources as they are in the wheel, away from any settings of Numba."""
    with tempfile.TemporaryDirectory() as scratch:
        sources, made = Path(scratch, "sources"), Path(scratch, "made")
        with zipfile.ZipFile(wheel) as file:
            file.extractall(sources)
        made.mkdir()
        environment = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
        script = Path(__file__).with_name("level_libraries.py")
        # Numba reads settings from the current folder too.
        subprocess.run([sys.executable, script, sources, made, levels], cwd=scratch, env=environment, check=True)
        return {f"{FOLDER}/{file.name}": file.read_bytes() for file in sorted(made.iterdir())}


# ---- the wheel: a zip archive with a list of its members and their hashes ----


def _with_libraries(wheel: Path, libraries: dict[str, bytes]) -> Path:
    """Write the wheel anew, with the libraries and the tags of the platforms that they run on."""
    platforms = _platforms()
    with zipfile.ZipFile(wheel) as file:
        members = {info.filename: (info, file.read(info)) for info in file.infolist()}
    (folder,) = {name.partition("/")[0] for name in members if name.endswith(".dist-info/WHEEL")}
    information, text = members[f"{folder}/WHEEL"]
    lines = [line for line in text.decode().splitlines() if line and not line.startswith(("Root-Is-Purelib:", "Tag:"))]
    lines += ["Root-Is-Purelib: false", *(f"Tag: py3-none-{name}" for name in platforms)]
    members[f"{folder}/WHEEL"] = information, "".join(f"{line}\n" for line in lines).encode()
    record, _ = members.pop(f"{folder}/RECORD")
    added = {name: (_member(name, record), content) for name, content in libraries.items()}
    members = added | members  # the metadata stays at the end
    target = wheel.with_name(wheel.name.replace("-py3-none-any", f"-py3-none-{'.'.join(platforms)}"))
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as file:
        for info, content in members.values():
            file.writestr(info, content)
        file.writestr(record, _record({name: content for name, (_, content) in members.items()}, record.filename))
    wheel.unlink()
    return target


def _member(name: str, like: zipfile.ZipInfo) -> zipfile.ZipInfo:
    """Return a member with the date of another, so that two builds give the same bytes."""
    info = zipfile.ZipInfo(name, like.date_time)
    info.external_attr, info.compress_type = like.external_attr, zipfile.ZIP_DEFLATED
    return info


def _record(members: dict[str, bytes], itself: str) -> str:
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    for name, content in members.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        writer.writerow((name, f"sha256={digest}", len(content)))
    writer.writerow((itself, "", ""))
    return lines.getvalue()


def _platforms() -> list[str]:
    """Return the platforms of the tag.

    On Linux a library needs no other and no symbol with a version, so any C library will do: manylinux_2_17 and
    musllinux_1_1 are the oldest names that installers of today know.
    """
    machine = platform.machine()
    if sys.platform == "linux":
        return [f"manylinux_2_17_{machine}", f"musllinux_1_1_{machine}"]
    system, _, rest = sysconfig.get_platform().partition("-")
    version = rest.partition("-")[0]
    if system == "macosx" and machine == "arm64" and int(version.partition(".")[0]) < 11:
        version = "11.0"  # the first for this processor, whatever a Python for two processors says
    return [re.sub(r"\W", "_", f"{system}_{version}_{machine}")]
