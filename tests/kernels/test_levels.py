"""Machine code of each instruction-set level has vectors as long as it says, whether or not this processor has them."""

from __future__ import annotations

import llvmlite.binding as llvm
import pytest

from fastbp.kernels.jit import TRIPLE
from fastbp.kernels.target import FAMILY, LEVELS, Target

REGISTERS = {64: "zmm", 32: "ymm"}
X86 = [level for level in LEVELS if level.level.startswith("x86")]


@pytest.mark.skipif(FAMILY != "x86_64", reason="LLVM compiles for this processor's family")
@pytest.mark.parametrize("level", X86, ids=[level.level for level in X86])
def test_a_vector_is_one_register(level: Target) -> None:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    kind = f"<{level.vector_bytes // 4} x float>"
    module = llvm.parse_assembly(f"""
        declare {kind} @llvm.fma.v{level.vector_bytes // 4}f32({kind}, {kind}, {kind})
        define {kind} @multiply_add({kind} %a, {kind} %b, {kind} %c) {{
            %sum = call {kind} @llvm.fma.v{level.vector_bytes // 4}f32({kind} %a, {kind} %b, {kind} %c)
            ret {kind} %sum
        }}""")
    machine = llvm.Target.from_triple(TRIPLE).create_target_machine(cpu=level.cpu, features=level.features, opt=3)
    text = machine.emit_assembly(module)
    instructions = [line.split() for line in text.splitlines() if "vfmadd" in line]
    assert len(instructions) == 1, text
    assert REGISTERS[level.vector_bytes] in instructions[0][1], text
