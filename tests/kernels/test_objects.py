"""Compiled functions as objects: they ask nothing of the process, need no Numba, and a level's bits are the host's."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import llvmlite.binding as llvm
import pytest

from fastbp.kernels import compiler, functions
from fastbp.kernels.functions import Function
from support.processes import run_python

# What a compiler may write for loops that clear or copy memory, and what a member of a team calls while it waits.
LIBC = {"memset", "memcpy", "memmove", "sched_yield"}
COMPILE_SIDE = {
    "affine", "applied", "by_rows", "compiler", "dispatcher_cache", "elementwise", "embedding", "entries", "gather",
    "gemm", "hashing", "jit", "microkernel", "packing", "reductions", "simd", "softmax", "steps", "team", "tile",
}  # fmt: skip


# ---- what an object asks for ----


def symbols(code: bytes) -> tuple[set[str], set[str]]:
    """Return the global symbols that an ELF object defines, and those that it asks of others."""
    assert code[:6] == b"\x7fELF\x02\x01"  # 64 bits, little-endian
    (at,) = struct.unpack_from("<Q", code, 40)
    size, count = struct.unpack_from("<HH", code, 58)
    sections = [struct.unpack_from("<IIQQQQIIQQ", code, at + size * number) for number in range(count)]
    (table,) = [section for section in sections if section[1] == 2]  # SHT_SYMTAB
    names = sections[table[6]][4]
    defined, wanted = set(), set()
    for offset in range(table[4], table[4] + table[5], table[9]):
        name, info, _, section = struct.unpack_from("<IBBH", code, offset)
        text = code[names + name : code.index(b"\0", names + name)].decode()
        if text and not section:
            wanted.add(text)
        elif text and info >> 4:  # not local
            defined.add(text)
    return defined, wanted


ELF = pytest.mark.skipif(sys.platform != "linux", reason="reads ELF objects")


@ELF
def test_the_symbols_of_an_object_are_seen() -> None:
    text = "declare void @asked()\ndefine void @given() {\n  call void @asked()\n  ret void\n}\n"
    assert symbols(compiler.emitted([text], "given")) == ({"given"}, {"asked"})


@pytest.mark.slow
@ELF
@pytest.mark.parametrize("function", functions.every(), ids=lambda function: function.symbol)
def test_every_function_compiles_and_asks_nothing_of_the_process(function: Function) -> None:
    ((_, code),) = compiler.compiled([function])
    defined, wanted = symbols(code)
    assert defined == {function.symbol}
    assert wanted - {"_GLOBAL_OFFSET_TABLE_"} <= LIBC


@pytest.mark.slow
def test_compiling_a_function_again_gives_the_same_object() -> None:
    for function in (functions.RUN, Function("gemm", "", "float32"), functions.gathering("uint8", "float64")):
        code = "import hashlib; from fastbp.kernels import compiler, functions;"
        code += f"((_, code),) = compiler.compiled([functions.{function!r}]); print(hashlib.sha256(code).hexdigest())"
        assert len({run_python(code, env={"PYTHONHASHSEED": seed}) for seed in "12"}) == 1, function


# ---- no compiler where nothing is compiled ----

WARM = """
import sys, tempfile
import numpy as np
import fastbp

X, y = np.random.default_rng(0).normal(size=(60, 7)), np.arange(60) % 3
path = tempfile.mkdtemp() + "/net.npz"
for dtype in ("float32", "float64"):
    net = fastbp.MLP((7, 9, 3), dtype=dtype, seed=0)
    net.fit(X, y, epochs=2, validation_data=(X, y), progress=False)
    net.save(path)
    again = fastbp.load(path)
    assert (again.predict(X) == net.predict(X)).all()
    assert again.score(X.astype("u1"), y) == net.score(X.astype("u1"), y)
with fastbp.threads.limit(2):
    fastbp.affine_forward(*(np.ones(shape, "f4") for shape in ((700, 500), (500, 400), (400,))))
print(*sorted(name for name in sys.modules if name.split(".")[0] == "numba"))
"""


def test_a_warm_process_imports_no_numba() -> None:
    run_python(WARM)
    assert run_python(WARM) == "\n"


def test_only_the_compile_side_imports_a_compiler() -> None:
    kernels = {path.stem for path in Path(functions.__file__).parent.glob("*.py")} - {"__init__"}
    assert kernels > COMPILE_SIDE
    code = f"""
import importlib, sys
for name in {sorted(kernels - COMPILE_SIDE)}:
    importlib.import_module("fastbp.kernels." + name)
    assert not sys.modules.keys() & {{"numba", "llvmlite"}}, name
"""
    run_python(code)


# ---- a level and the host ----

BITS = """
import hashlib, sys
import numpy as np
import fastbp
from fastbp.kernels.target import TARGET

rng, digest = np.random.default_rng(0), hashlib.sha256()
X, y = rng.normal(size=(90, 19)), rng.integers(0, 5, 90)
for dtype in ("float32", "float64"):
    net = fastbp.MLP((19, 37, 70, 5), dtype=dtype, seed=0)
    history = net.fit(X, y, epochs=3, batch_size=32, l2=0.01, progress=False)
    g = net.gradient(X, y, l2=0.1)
    for array in (net.parameters, np.array(history.loss), net.predict_proba(X), *g.weights, *g.biases, g.inputs):
        digest.update(array.tobytes())
print(TARGET.level, TARGET.vector_bytes, digest.hexdigest())
"""


def test_a_level_has_the_bits_of_the_host() -> None:
    """Code for all that this processor has, its own scheduling included, computes what the level's code does."""
    host = {"NUMBA_CPU_NAME": llvm.get_host_cpu_name(), "NUMBA_CPU_FEATURES": llvm.get_host_cpu_features().flatten()}
    *level, bits = run_python(BITS).split()
    vector, own_bits = run_python(BITS, env=host, timeout=300).split()  # of no level
    if not level[:-1]:
        pytest.skip("this processor has no level")
    if vector != level[-1]:
        pytest.skip("this processor has longer vectors than its level")
    assert own_bits == bits
