"""What makes fastbp slow or unsafe on this machine, with its remedy: one line each, for `fastbp info`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

from .. import hardware, threads
from ..kernels import cache
from ..kernels.target import FAMILY, TARGET

GET_TBB = "install TBB (pip install tbb; where it has no wheel, your system's libtbb12 or onetbb)"

# Numba's name of a setting, its environment variable, which values do harm, and what harm.
SETTINGS: tuple[tuple[str, str, Callable[[Any], bool], str], ...] = (
    ("OPT", "NUMBA_OPT", lambda level: int(level) < 3, "compiled code is not optimised as far as it could be"),
    ("BOUNDSCHECK", "NUMBA_BOUNDSCHECK", bool, "compiled code checks every index, which slows it down"),
    ("DEBUGINFO_DEFAULT", "NUMBA_DEBUGINFO", bool, "code is compiled for a debugger, which slows it down"),
    ("LOOP_VECTORIZE", "NUMBA_LOOP_VECTORIZE", lambda on: not on, "rows are gathered number by number, not in vectors"),
)


def findings() -> list[str]:
    """Return what is slow or unsafe, each with its remedy; empty if nothing is. Starts Numba's threads, if any."""
    return [*_settings(), *_target(), *_layer(), *_processors(), *_cache()]


def config() -> Any:
    """Return Numba's settings, or None where Numba is not imported: `kernels.target` imports it where one is set that
    changes compiled code."""
    return sys.modules.get("numba.core.config")


def _settings() -> Iterator[str]:
    settings = config()
    for name, variable, harms, effect in SETTINGS:
        value = getattr(settings, name, None)
        if value is not None and harms(value):
            yield f"{variable}={int(value)} is set: {effect}; unset it"


# ---- what is compiled for ----


def _target() -> Iterator[str]:
    if TARGET.level:  # the widest that this processor has
        return
    from llvmlite import binding

    features = binding.get_host_cpu_features()
    bits, x86 = 8 * TARGET.vector_bytes, FAMILY == "x86_64"
    host = 512 if features.get("avx512f") else 256 if features.get("avx") else 128
    lacks = []
    if TARGET.cpu == "generic":
        lacks.append("for no processor in particular")
    if x86 and bits < max(256, host):
        lacks.append(f"in vectors of {bits} bits" + (f" where the processor has {host}" if host > bits else ""))
    if not TARGET.has_fma:
        lacks.append("without fused multiply-add")
    if lacks:
        times = max(256, host) // bits * (1 if TARGET.has_fma else 2) if x86 else 1  # of arithmetic that fills a core
        slower = f"products take up to {times} times as long" if times > 1 else "it is a little slower"
        yield f"code is compiled {', '.join(lacks)}: {slower}; {_better_target(host > 128)}"


def _better_target(has_avx: bool) -> str:
    settings = config()
    given = [f"NUMBA_{name}={value}" for name in ("CPU_NAME", "CPU_FEATURES") if (value := getattr(settings, name, ""))]
    given += ["NUMBA_CPU_FEATURES="] if getattr(settings, "CPU_FEATURES", None) == "" else []
    given += ["NUMBA_ENABLE_AVX=0"] if has_avx and not getattr(settings, "ENABLE_AVX", True) else []
    if given:
        return f"unset {' and '.join(given)}"
    return "choose a machine with AVX2 and FMA, or let the virtual machine see its host's processor"


# ---- threads ----


def _layer() -> Iterator[str]:
    settings = config()
    layer = threads.layer()
    if settings is None or settings.DISABLE_JIT or threads.configured() == 1:  # then Numba's threads are not wanted
        return
    asked, slower = settings.THREADING_LAYER, "Python's threads are used, which begin later than Numba's"
    if layer == "python" and asked != "default":
        yield (
            f"NUMBA_THREADING_LAYER={asked} cannot be loaded, or is not safe if several Python threads train: "
            f"{slower}; unset it"
        )
    elif layer == "python":
        yield (
            "neither TBB nor OpenMP can be loaded, and Numba's workqueue aborts a process if two Python threads use it "
            f"at once: {slower}; {GET_TBB}"
        )
    elif layer == "omp" and asked == "default":
        yield (
            "no TBB library can be loaded: threads are OpenMP's, and a child process forked after they start is killed "
            f"if it runs other parallel code of Numba's; {GET_TBB}"
        )


def _processors() -> Iterator[str]:
    used, configured = threads.count(), threads.configured()
    most, quota = hardware.processors(), hardware.cpu_quota()
    limit = f"its container's quota of {quota:g} allows" if most < hardware.affinity() else "this process is bound to"
    named = f"{most} processor{'s' if most > 1 else ''}"
    if used > most:  # only if the user has set it
        yield (
            f"{used} threads, as NUMBA_NUM_THREADS or numba.set_num_threads says, share the {named} that {limit}: "
            "they wait for one another, at worst many times slower; unset it"
        )
    if configured < most:
        yield f"NUMBA_NUM_THREADS={configured} uses less than the {named} that {limit}; unset it"


# ---- the cache of compiled code ----


def cache_folders() -> str:
    """Return the folders whose compiled code is used, in words."""
    rows = [folder.path if folder.writable else f"{folder.path} (read only, used)" for folder in cache.folders()]
    return ", ".join(rows) or "none can be used: each process compiles again"


def _cache() -> Iterator[str]:
    every = "every process compiles again, about 10 s for each dtype"
    if not cache.stamped():
        yield (
            "the loader of this package gives neither source nor bytecode of each module, which identify the version "
            f"that compiled code belongs to: none is kept, and {every}; install fastbp as files"
        )
        return
    for folder in cache.surveyed():
        if folder.objection:
            yield f"compiled code in {folder.path} is not used: {folder.objection}"
    if not cache.folders():
        yield f"no folder for compiled code can be written: {every}; set NUMBA_CACHE_DIR to one that can be written"
