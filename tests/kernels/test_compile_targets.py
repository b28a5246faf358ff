"""Other compile targets, another tile shape, and faults planted in a copy: each in a process with an empty cache."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from fastbp.kernels.shapes import MR
from fastbp.kernels.target import FAMILY, TARGET
from support.processes import TESTS, copied, planted, python, run_python

CHECK = TESTS / "support/small_check.py"
X86 = FAMILY == "x86_64"
AVX2 = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx,+avx2,+fma,+bmi,+bmi2,+f16c,+sse4.2"}
GENERIC = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
OTHER_ROWS = 6 if MR != 6 else 4  # of the main tile

# What is planted: file, the text that is replaced, the fault, and what the check must say is wrong.
FAULTS = {
    "the bias is added twice": (
        "kernels/microkernel.py",
        "tile_add_row(sums, ",
        "tile_add_row(tile_add_row(sums, place.bias), ",
        r"affine_forward: .* beyond the bound",
    ),
    "the ReLU's mask lets 0 through": (
        "kernels/activations.py",
        "select(y <= 0.0, 0.0, dy)",
        "select(y < 0.0, 0.0, dy)",
        r"relu_backward",
    ),
    "a tile's end is stored one row too far": (
        "kernels/microkernel.py",
        "here.c.start, here.c.ld, rows, columns)",
        "here.c.start, here.c.ld, rows + 1, columns)",
        r"affine_forward: writes beyond out",
    ),
    "a later stretch drops the partial sum": (
        "kernels/gemm.py",
        "depth - k0), resume != 0 or k0 > 0",
        "depth - k0), resume != 0",
        r"affine_forward in stretches: not the same bits",
    ),
}


def host_has(*flags: str) -> bool:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    found = re.search(r"^flags\s*:(.*)$", text, re.MULTILINE)
    return found is not None and set(flags) <= set(found[1].split())


HAS_AVX2 = X86 and host_has("avx", "avx2", "fma", "bmi1", "bmi2", "f16c", "sse4_2")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Any]]]:
    """All processes, two at a time: compiling, 10 to 20 s each, is nearly all that they do."""

    def folder(name: str) -> Path:
        return tmp_path_factory.mktemp(re.sub(r"\W+", "-", name))

    def check(environment: dict[str, str], *dtypes: str) -> Future[Any]:
        return pool.submit(python, CHECK, *dtypes, env=environment, timeout=300.0)

    with ThreadPoolExecutor(2) as pool:
        started = {}
        if X86:
            started["generic"] = check({"NUMBA_CACHE_DIR": str(folder("generic")), **GENERIC})
        if HAS_AVX2:
            started["AVX2"] = check({"NUMBA_CACHE_DIR": str(folder("avx2")), **AVX2})
        started["unmodified"] = check(copied(folder("unmodified")), "float32")
        old = "MAIN = Shape((TARGET.registers - 4) // 2, 2)"
        shape = planted(folder("shape"), "kernels/shapes.py", old, f"MAIN = Shape({OTHER_ROWS}, 2)")
        started["other shape"] = check(shape, "float32")
        for name, (file, old, new, _) in FAULTS.items():
            started[name] = check(planted(folder(name), file, old, new), "float32")
        yield started
        pool.shutdown(cancel_futures=True)


def passed(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert done.stdout.endswith("\nok\n")
    return done.stdout


def line(output: str, start: str) -> str:
    """The rest of the one line that begins so."""
    (found,) = re.findall(rf"^{start}: (.*)$", output, re.MULTILINE)
    return str(found)


def instructions(output: str, dtype: str) -> dict[str, int]:
    found = re.findall(r"(\w+) (\d+)", line(output, f"machine code of {dtype}"))
    return {name: int(count) for name, count in found}


@pytest.mark.slow
@pytest.mark.skipif(not HAS_AVX2, reason="needs a processor with AVX2")
def test_as_an_avx2_target(runs: dict[str, Future[Any]]) -> None:
    output = passed(runs["AVX2"].result())
    assert "32 bytes a vector, 16 registers, fma True" in line(output, "target")
    for dtype in ("float32", "float64"):
        used = instructions(output, dtype)
        assert used["zmm"] == 0
        assert used["ymm"] > 1000
        assert used["vfmadd"] > 100


@pytest.mark.slow
@pytest.mark.skipif(not X86, reason="needs an x86-64 processor")
def test_as_a_generic_target(runs: dict[str, Future[Any]]) -> None:
    output = passed(runs["generic"].result())
    assert "16 bytes a vector, 16 registers, fma False" in line(output, "target")
    for dtype in ("float32", "float64"):
        used = instructions(output, dtype)
        assert used["zmm"] == used["ymm"] == used["vfmadd"] == 0
        assert used["xmm"] > 1000


@pytest.mark.slow
def test_another_tile_shape_gives_the_same_bits(runs: dict[str, Future[Any]]) -> None:
    ours, other = passed(runs["unmodified"].result()), passed(runs["other shape"].result())
    assert f"tiles {MR} and" in line(ours, "target")
    assert f"tiles {OTHER_ROWS} and" in line(other, "target")
    assert line(other, "hash") == line(ours, "hash")


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_caught(fault: str, runs: dict[str, Future[Any]]) -> None:
    done = runs[fault].result()
    assert done.returncode == 1, done.stderr  # neither 0 nor killed
    assert "AssertionError" in done.stderr
    assert re.search(FAULTS[fault][3], done.stderr), done.stderr
    passed(runs["unmodified"].result())  # the fault is what it failed for


@pytest.mark.slow
def test_the_check_passes_in_this_process_s_settings() -> None:
    assert f"{TARGET.vector_bytes} bytes a vector" in line(run_python(CHECK, timeout=300.0), "target")
