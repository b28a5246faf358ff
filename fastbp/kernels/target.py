"""The processor that code is made for: an instruction-set level, or a processor that the user or LLVM names.

Objects of one level run on every processor that has it, with the same bits: only vector width, registers and fused
multiply-add are compiled in. So a level is chosen wherever the processor has one, and found without a compiler. A
processor without a level is compiled for as LLVM describes it, and so is whatever Numba's settings ask for.
"""

from __future__ import annotations

import os
import platform
import sys
from typing import Any, NamedTuple

import numpy as np

# Numba's settings that change machine code. With one of them, nothing shipped is used.
SETTINGS = ("CPU_NAME", "CPU_FEATURES", "ENABLE_AVX", "OPT", "BOUNDSCHECK", "DEBUGINFO", "LOOP_VECTORIZE",
            "SLP_VECTORIZE")  # fmt: skip
DEFAULTS = {"OPT": 3, "LOOP_VECTORIZE": 1, "SLP_VECTORIZE": 0}  # of those that a program may set within `numba.config`
CONFIG_FILE = ".numba_config.yaml"  # where Numba reads settings too
LONGEST_VECTOR = 16  # numbers in the longest vector of any target


class Target(NamedTuple):
    """The properties of the compile target.

    Attributes
    ----------
    level : str
        The instruction-set level, or "" for a single processor.
    cpu, features : str
        In LLVM's words.
    vector_bytes, registers : int
        Of one vector, and how many vectors fit in registers.
    has_fma : bool
        Whether a multiply-add is one instruction with one rounding.
    """

    level: str
    cpu: str
    features: str
    vector_bytes: int
    registers: int
    has_fma: bool

    def lanes(self, dtype: Any) -> int:
        """Return how many numbers of a float type, Numba's or NumPy's, one vector holds."""
        bits = getattr(dtype, "bitwidth", None) or 8 * np.dtype(dtype).itemsize
        return self.vector_bytes * 8 // int(bits)


# LLVM's own levels, which also say how to order instructions, less what NumPy may not have looked for. To LLVM, AVX-512
# needs F16C: without it, it would make two AVX2 vectors of each of AVX-512's.
_LESS = "-bmi,-bmi2,-lzcnt,-movbe"
LEVELS = (
    Target("x86-64-v4", "x86-64-v4", f"{_LESS},-prefer-256-bit", 64, 32, True),
    Target("x86-64-v3", "x86-64-v3", f"{_LESS},-f16c", 32, 16, True),
    Target("aarch64", "generic", "+neon,+fp-armv8", 16, 32, True),
)
# What NumPy calls the features of a level.
_NEEDED = {
    "x86-64-v4": ("AVX512F", "AVX512CD", "AVX512BW", "AVX512DQ", "AVX512VL", "AVX2", "FMA3"),
    "x86-64-v3": ("AVX2", "FMA3"),
    "aarch64": ("ASIMD",),
}
# Groups that NumPy names instead of their members.
_GROUPS = {"AVX512_SKX": ("AVX512CD", "AVX512BW", "AVX512DQ", "AVX512VL"), "X86_V4": _NEEDED["x86-64-v4"]}
FAMILY = {"AMD64": "x86_64", "arm64": "aarch64"}.get(platform.machine(), platform.machine())


def levels_of_this_machine() -> list[Target]:
    """Return the levels that this processor has, the widest first, as NumPy detected its features at its import."""
    try:
        from numpy._core._multiarray_umath import __cpu_features__ as detected  # type: ignore[import-not-found]
    except ImportError:  # another NumPy than those tested: LLVM is asked instead
        return []
    has = {name for name, present in detected.items() if present}
    for group, members in _GROUPS.items():
        has |= set(members) if group in has else set()
    family = {"x86_64": "x86", "aarch64": "aarch64"}.get(FAMILY, "none")
    return [level for level in LEVELS if level.level.startswith(family) and has.issuperset(_NEEDED[level.level])]


def settings() -> tuple[tuple[str, str], ...]:
    """Return Numba's settings that change machine code, as the environment, its file, or the program has them."""
    found = tuple((name, os.environ[f"NUMBA_{name}"]) for name in SETTINGS if f"NUMBA_{name}" in os.environ)
    if os.path.exists(CONFIG_FILE):
        from numba.core import config

        return found + tuple((name, repr(getattr(config, name, None))) for name in SETTINGS)
    imported = sys.modules.get("numba.core.config")
    now = {name: int(getattr(imported, name, default)) for name, default in DEFAULTS.items()}
    return found + tuple((name, str(now[name])) for name in DEFAULTS if now[name] != DEFAULTS[name])


def _chosen() -> Target:
    levels = [] if settings() else levels_of_this_machine()
    return levels[0] if levels else _of_compiler()


def _of_compiler() -> Target:
    """Return the target that Numba compiles for, by its settings and LLVM's description of the processor."""
    from numba.core.registry import cpu_target

    triple, cpu, listed = cpu_target.target_context.codegen().magic_tuple()
    features = set(listed.split(","))
    if "+avx512f" in features:
        return Target("", cpu, listed, 64, 32, True)
    if triple.startswith(("aarch64", "arm64")):
        return Target("", cpu, listed, 16, 32, True)
    return Target("", cpu, listed, 32 if "+avx" in features else 16, 16, "+fma" in features)


TARGET = _chosen()
