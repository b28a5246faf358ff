"""The target that is measured: what this processor runs, or AVX2 on a processor that also has AVX-512."""

from __future__ import annotations

import os
from pathlib import Path

from fastbp.kernels.target import TARGET, Target, levels_of_this_machine

NAMES = {"x86-64-v4": "avx512", "x86-64-v3": "avx2", "aarch64": "neon"}
NOT_HELD = ("ONNX Runtime",)  # peers that choose their kernels by the processor, whatever the environment says
XLA = "--xla_cpu_max_isa=AVX2"


def name_of(target: Target = TARGET) -> str:
    """Return the name of a target; of one that Numba's settings describe, by its vectors."""
    if target.level:
        return NAMES[target.level]
    return {64: "avx512", 32: "avx2" if target.has_fma else "avx", 16: target.cpu}[target.vector_bytes]


def environment(name: str) -> dict[str, str]:
    """Return the variables that hold every process to a target; none if it is this processor's own."""
    levels = levels_of_this_machine()
    has = {NAMES[level.level]: level for level in levels}
    if name not in has:
        raise ValueError(f"--target {name}: this processor has {', '.join(has) or name_of()}, choose one of them")
    if name == next(iter(has)):
        return {}
    level = has[name]  # AVX2: no other is narrower than one that a processor has
    return {
        "NUMBA_CPU_NAME": level.cpu,
        "NUMBA_CPU_FEATURES": f"+avx,+avx2,+fma,{level.features}",
        "NUMBA_CACHE_DIR": _cache_of(name),
        "NPY_DISABLE_CPU_FEATURES": " ".join(_wider_of_numpy()),
        "OPENBLAS_CORETYPE": "Haswell",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "ATEN_CPU_CAPABILITY": "avx2",
        "TORCHINDUCTOR_CPP_MARCH": "haswell",
        "XLA_FLAGS": " ".join([*(flag for flag in os.environ.get("XLA_FLAGS", "").split() if flag != XLA), XLA]),
    }


def _cache_of(name: str) -> str:
    base = Path(os.environ.get("NUMBA_CACHE_DIR") or Path.home() / ".cache" / "fastbp-benchmarks")
    return str(base if base.name == name else base / name)


def _wider_of_numpy() -> list[str]:
    """Return what NumPy calls the features beyond AVX2 for which it has loops of their own."""
    from numpy._core import _multiarray_umath as numpy_core

    return [name for name in numpy_core.__cpu_dispatch__ if name.startswith(("X86_V4", "AVX512"))]
