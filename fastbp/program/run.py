"""Running a program: its operands, the course of its steps, and the call into the compiled pass."""

from __future__ import annotations

import contextlib
import functools
import signal
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numba import from_dtype
from numpy.typing import NDArray

from .. import threads
from ..kernels import coefficients as co
from ..kernels import steps
from .memory import workspace
from .table import NO_PROGRAM, Program

Array = NDArray[Any]
NO_INTEGERS = np.zeros(1, np.int64)  # for programs that read no labels, no order
NO_SUMS = np.zeros(2)  # for programs that write none
NO_KEY = np.uint64(0)
ONE_STEP = np.array([1, 1, 0, 0, 0, 0, 0])  # the course of one step, as `kernels.operations` has it


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


def run(program: Program, operands: Operands, course: Course | None = None) -> None:
    """Carry a program out, once or for all steps of a course."""
    dtype = operands.parameters.dtype
    team, size, numbers, tail = program.threads, program.workspace, ONE_STEP, NO_PROGRAM
    if course is not None:
        numbers = np.array([course.rounds, course.repeats, course.batch, course.last, course.input_row,
                            course.target_row, course.coefficient_step])  # fmt: skip
        if course.tail is not None:
            tail = course.tail
            team, size = max(team, tail.threads), max(size, tail.workspace)
    if team > 1 and threads.layer() is None:
        team = 1
    address, no_coefficients = _loaded(dtype, team > 1)
    inputs, parameters, activations, gradient, targets, weights, labels, order, sums, coefficients, key = operands
    arguments = (
        numbers, address, program.table, tail.table, inputs, parameters, activations, gradient,
        parameters if targets is None else targets, parameters if weights is None else weights,
        NO_INTEGERS if labels is None else labels, NO_INTEGERS if order is None else order,
        NO_SUMS if sums is None else sums, no_coefficients if coefficients is None else coefficients,
        NO_KEY if key == 0 else np.uint64(key),
        workspace(dtype, team, size),
    )  # fmt: skip
    if team == 1:
        steps.run_serial(*arguments)
    else:
        _run_parallel(team, program, tail, arguments)


def _run_parallel(team: int, program: Program, tail: Program, arguments: tuple[Any, ...]) -> None:
    with threads.entered(team):
        steps.run_parallel(team, program.strands, program.phases, program.counters(), tail.strands, tail.phases,
                           tail.counters(), *arguments)  # fmt: skip


@functools.lru_cache
def _loaded(dtype: np.dtype[Any], parallel: bool) -> tuple[NDArray[np.uintp], Array]:
    """Compile or load what such programs run on; return the operations' address in an array, and coefficients of 0."""
    with loading():
        address, no_coefficients = np.array([steps.perform.address(from_dtype(dtype))], np.uintp), co.row(dtype)
        nothing, table, no_steps = np.zeros(1, dtype), NO_PROGRAM.table, np.zeros_like(ONE_STEP)
        arguments = (no_steps, address, table, table, *[nothing] * 6, NO_INTEGERS, NO_INTEGERS, NO_SUMS,
                     no_coefficients, NO_KEY, workspace(dtype, 1 + parallel, 1))  # fmt: skip
        if parallel:
            _run_parallel(2, NO_PROGRAM, NO_PROGRAM, arguments)
        else:
            steps.run_serial(*arguments)
    return address, no_coefficients


def prepare(program: Program, dtype: np.dtype[Any]) -> None:
    """Compile or load what the program runs on."""
    _loaded(dtype, program.threads > 1 and threads.layer() is not None)


@contextlib.contextmanager
def loading() -> Iterator[None]:
    """Surround what compiles or loads kernels: Ctrl-C waits until they are there."""
    if not hasattr(steps.run_serial, "py_func"):  # Numba has left the functions as they are
        raise ValueError("NUMBA_DISABLE_JIT: got 1 when fastbp was imported, expected 0, for its kernels run only "
                         "compiled; unset it, and start Python anew")  # fmt: skip
    with interrupt_held():
        yield


@contextlib.contextmanager
def interrupt_held() -> Iterator[None]:
    """Hold Ctrl-C back to the end of the block: raised within one of LLVM's callbacks it would be lost, and while Numba
    imports a module of its own that module would be half there for ever."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    received: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: received.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if received:
        before(signal.SIGINT, None)
