"""Running a program: its operands, the course of its steps, and the call into the compiled pass."""

from __future__ import annotations

import ctypes
import functools
import struct
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import threads
from ..kernels import coefficients as co
from ..kernels import functions
from ..kernels import operations as op
from .interrupts import interrupt_held
from .memory import address, workspace
from .table import NO_PROGRAM, Program
from .team import team as process_team

Array = NDArray[Any]
_CALL = struct.Struct(f"={op.CALL}q")  # as `kernels.operations` lays it out
_SIGNED = 2**63


class Operands(NamedTuple):
    """The arrays that a program works on: flat, contiguous, writable, and of one dtype.

    With each row `weights`, `labels` and `order` move on by 1, `inputs` and `targets` as the course says. With each
    step `sums` moves on by 2, and `coefficients`, named in `kernels.coefficients`, as the course says; dropout's masks
    follow from `key` and the step.
    """

    inputs: Array
    parameters: Array
    activations: Array
    gradient: Array
    targets: Array | None = None
    weights: Array | None = None
    labels: NDArray[np.int64] | None = None
    order: NDArray[np.int64] | None = None
    sums: NDArray[np.float64] | None = None
    coefficients: Array | None = None
    key: int = 0


class Course(NamedTuple):
    """Many steps in one call: `rounds` times `repeats` steps of `batch` rows, then `tail` for the `last` rows.

    The rows of the rounds follow one another. `input_row` and `target_row` are the elements of a row, or 0 where all
    rows are one; `coefficient_step` is the elements of a step's coefficients, or 0 where all steps share them.
    """

    repeats: int
    batch: int
    tail: Program | None = None
    last: int = 0
    rounds: int = 1
    input_row: int = 0
    target_row: int = 0
    coefficient_step: int = 0


ONE_STEP = Course(1, 0)


def run(program: Program, operands: Operands, course: Course = ONE_STEP) -> None:
    """Carry a program out, once or for all steps of a course."""
    dtype = operands.parameters.dtype
    size, tail = dtype.itemsize, course.tail or NO_PROGRAM
    team = max(program.threads, tail.threads)
    call_pass = compiled_pass()
    words = program.words(dtype), tail.words(dtype)
    space = workspace(dtype, team, max(program.workspace, tail.workspace))
    counters = (program.counters(), tail.counters()) if team > 1 else None
    at = [0 if array is None else address(array) for array in operands[:-1]]
    if operands.coefficients is None:
        at[op.COEFFICIENTS] = address(no_coefficients(dtype))
    key = operands.key if operands.key < _SIGNED else operands.key - 2 * _SIGNED
    call = _CALL.pack(
        team, course.rounds, course.repeats, course.batch, course.last, space.address, space.stride,
        *words[0], 0 if counters is None else address(counters[0]),
        *words[1], 0 if counters is None else address(counters[1]),
        *at, key,
        course.input_row * size, 0, 0, 0, course.target_row * size, size, 8, 8, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 16, course.coefficient_step * size,
    )  # fmt: skip
    if team == 1:
        call_pass(call, 0)
    else:
        with interrupt_held():  # while another thread works on these arrays
            _run_in_a_team(call, team)


def _run_in_a_team(call: bytes, team: int) -> None:
    if threads.layer() == "python":
        if not process_team(int(_pass_address()[0])).run(call, team):
            compiled_pass()(call, 0)  # alone: nobody waits for members that do not come
    else:
        with threads.entered(team):
            run_by_numbas_threads()(team, _pass_address(), np.frombuffer(bytearray(call), np.int64))


@functools.cache
def run_by_numbas_threads() -> Any:
    """Return the driver of Numba's threads, called with the team, the pass's address and the call."""
    with functions.lock:  # a fork waits for it: a child that had to compile would find the module half imported
        from ..kernels import steps  # imports Numba

        return steps.run_by_numbas_threads


@functools.cache
def _pass_address() -> NDArray[np.int64]:
    with interrupt_held():
        return np.array(functions.addresses([functions.RUN]))


@functools.cache
def compiled_pass() -> Any:
    """Return the compiled pass, called with a packed call and the number of a member of its team."""
    return ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(int(_pass_address()[0]))


@functools.cache
def no_coefficients(dtype: np.dtype[Any]) -> Array:
    """Return coefficients of 0, for programs that need none."""
    return co.row(dtype)


def prepare(program: Program, dtype: np.dtype[Any]) -> None:
    """Compile or load what the program runs on."""
    with interrupt_held():
        functions.addresses([functions.RUN, *program.functions(dtype)])
