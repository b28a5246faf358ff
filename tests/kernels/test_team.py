"""The team that carries a program out: every strand once a step, phases in order, nobody waited for in vain."""

from __future__ import annotations

from pathlib import Path

import numba  # noqa: F401  # whose threads are the team where it is imported
import numpy as np
import pytest

from fastbp import threads
from fastbp.kernels import coefficients as co
from fastbp.kernels import operations as op
from fastbp.program.memory import aligned
from fastbp.program.run import Course, Operands, run
from fastbp.program.table import Program, Strand
from support.processes import planted, python

FLOAT32 = np.dtype(np.float32)
NUMBERS = 16  # a cache line of results each, as real strands have

CODE = """
import numpy as np
from fastbp import threads
from fastbp.kernels import operations as op
from fastbp.kernels import coefficients as co
from fastbp.program.run import Course, Operands, run
from fastbp.program.table import Program
threads.layer()
c = np.zeros(64, np.float32)
one = np.ones(64, np.float32)
add = {"code": op.ADD_L2_GRADIENT, "a_buffer": op.INPUTS, "c_buffer": op.ACTIVATIONS}
strands = [[{**add, "row_begin": 16 * i, "row_end": 16 * i + 1}] for i in range(4)]
operands = Operands(one, one, c, one, coefficients=co.row(one.dtype, l2=1.0))
run(Program.of([strands], 16, 2), operands, Course(repeats=400000, batch=0))
print(sorted(set(c[::16].tolist())))
"""


def add(of: int, to: int) -> Strand:
    """``activations[to] += l2 activations[of]``, in lines of their own."""
    return [{"code": op.ADD_L2_GRADIENT, "a_buffer": op.ACTIVATIONS, "a": of * NUMBERS, "c_buffer": op.ACTIVATIONS,
             "c": to * NUMBERS, "row_end": 1}]  # fmt: skip


def carried_out(phases: list[list[Strand]], team: int, steps: int, lines: int) -> np.ndarray:
    memory = aligned(lines * NUMBERS, FLOAT32)
    memory[...] = 0
    memory[::NUMBERS] = 1 + np.arange(lines) / 8
    program = Program.of(phases, NUMBERS, team)
    operands = Operands(memory, memory, memory, memory, coefficients=co.row(FLOAT32, l2=0.25))
    run(program, operands, Course(repeats=steps, batch=0))
    return memory[::NUMBERS].copy()


@pytest.fixture(autouse=True, params=["python", "numba"])
def whose(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Whose threads are the team: Python's, or those of Numba's pool."""
    if threads.count() < 2:
        pytest.skip("needs two threads")
    if request.param == "python":
        monkeypatch.setattr(threads, "layer", lambda: "python")
    elif threads.layer() == "python":
        pytest.skip("Numba was imported after the first parallel call, or has no pool that can be trusted")
    return str(request.param)


@pytest.mark.parametrize("team", [2, 3, 8])  # more than there are threads: some members never come, or one by one
@pytest.mark.parametrize("strands", [1, 2, 3, 7])
def test_every_strand_is_carried_out_once_a_step(strands: int, team: int) -> None:
    phases = [[add(0, 1 + phase * strands + i) for i in range(strands)] for phase in range(3)]
    lines = 1 + 3 * strands
    np.testing.assert_array_equal(carried_out(phases, team, 200, lines), carried_out(phases, 1, 200, lines))


@pytest.mark.parametrize("team", [2, 8])
def test_a_phase_begins_when_the_one_before_has_ended(team: int) -> None:
    """Each phase reads what the others' strands wrote in the one before: any other order gives other numbers."""
    phases = [
        [add((i + shift) % 4 + 4 * (shift % 2), i + 4 * ((shift + 1) % 2)) for i in range(4)] for shift in range(3)
    ]
    serial = carried_out(phases, 1, 60, 8)
    for _ in range(20):
        np.testing.assert_array_equal(carried_out(phases, team, 60, 8), serial)


def test_no_steps() -> None:
    np.testing.assert_array_equal(carried_out([[add(0, 1), add(0, 2)]], 2, 0, 3), [1, 1.125, 1.25])


@pytest.mark.slow
def test_strands_that_nobody_claims_are_seen(whose: str, tmp_path: Path) -> None:
    code = "import numba\n" + CODE if whose == "numba" else CODE
    claim = "look(counters, begun) == turn and replace(counters, begun, turn, turn + 1)"
    done = python(code, env=planted(tmp_path, "kernels/steps.py", claim, "turn >= 0"), timeout=120)
    assert done.stdout.strip() != "[400000.0]"
