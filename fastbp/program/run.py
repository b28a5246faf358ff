"""Running a program: its operands, the course of its steps, and the call into the compiled pass."""

from __future__ import annotations

import ctypes
import functools
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import threads
from ..kernels import coefficients as co
from ..kernels import functions, objects
from ..kernels import operations as op
from ..kernels.dropout import STEP_STEP
from ..kernels.functions import Compiled
from .interrupts import interrupt_held
from .memory import address, addresses, new_workspace, workspace
from .table import NO_PROGRAM, Program
from .team import team as process_team

Array = NDArray[Any]
Words = NDArray[np.int64]
_OPERANDS, _COURSE = struct.Struct(f"{op.TEAM}q"), struct.Struct(f"{op.CALL - op.TEAM}q")  # of a call
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


def run(program: Program, operands: Operands, course: Course | None = None) -> None:
    """Carry a program out, once or for all steps of a course."""
    dtype = operands.parameters.dtype
    if course is None and program.threads == 1:  # the rest of this function takes 10 us
        space = workspace(dtype, 1, program.workspace)
        call = _OPERANDS.pack(space.address, space.stride, *_places(operands))
        compiled_pass()(call + _one_step(program, dtype), 0)
        return
    course = course or ONE_STEP
    tail = course.tail or NO_PROGRAM
    team = max(program.threads, tail.threads)
    space = workspace(dtype, team, max(program.workspace, tail.workspace))
    counters = program.counters(), tail.counters()
    call = _OPERANDS.pack(space.address, space.stride, *_places(operands))
    call += _course(program, tail, course, team, dtype, *map(address, counters))
    if team == 1:
        compiled_pass()(call, 0)
    else:
        _run_in_a_team(_words(call), team)


class Bound(NamedTuple):
    """A function that carries a program out once, on the same operands and workspace at each call, and the words of its
    call."""

    carry_out: Callable[[], None]
    words: Words

    def read_inputs_at(self, address: int) -> None:
        """Have the next calls read the inputs there."""
        self.words[op.OPERANDS + op.INPUTS] = address

    def write_gradient_at(self, address: int) -> None:
        """Have the next calls take the gradient buffer to lie there."""
        self.words[op.OPERANDS + op.GRADIENT] = address


def bound(program: Program, operands: Operands, prototype: Callable[..., Any] = ctypes.CFUNCTYPE) -> Bound:
    """Return what does the same as `run`, but looks up and converts nothing.

    Besides the program it takes 0.2 us, or 10 with a team. What it saves takes 5 us, but 25 to 40 behind a program
    whose weights have driven out of the caches what Python needs.
    """
    dtype, team = operands.parameters.dtype, program.threads
    space = new_workspace(dtype, team, program.workspace)
    counters = program.counters()
    call = _OPERANDS.pack(space.address, space.stride, *_places(operands))
    words = _words(call + _course(program, NO_PROGRAM, ONE_STEP, team, dtype, address(counters)))
    memory = operands, space, words, program
    if team > 1:
        return Bound(functools.partial(_run_again, words, team, counters, memory), words)
    return Bound(bound_call(prototype(None), int(_pass_address()[0]), (address(words), 0), memory), words)


def _run_again(words: Words, team: int, counters: NDArray[np.int64], memory: object) -> None:
    """Carry out a call once more; `memory` is what its addresses name."""
    counters.fill(0)
    _run_in_a_team(words, team)


def bound_call(
    prototype: Callable[[int], Any], where: int, arguments: Iterable[int], memory: object
) -> functools.partial[Any]:
    """Return a call of the C function that lies there, with arguments, all int64s, that are converted only once.

    The call keeps the `memory` that they name by its addresses.
    """
    call = functools.partial(prototype(where), *map(ctypes.c_int64.from_param, arguments))
    call.__dict__["memory"] = memory
    return call


def steps_of(program: Program, operands: Operands, course: Course) -> Iterator[tuple[Program, int, Operands]]:
    """Yield the program of each step of a course, its rows, and its operands, moved on as the compiled pass would: for
    work between two steps."""
    number = first = 0
    for _ in range(course.rounds):
        for index in range(course.repeats + (course.tail is not None)):
            one, rows = (program, course.batch) if index < course.repeats else (course.tail or program, course.last)
            yield one, rows, _moved(operands, course, number, first)
            number, first = number + 1, first + rows


def _moved(operands: Operands, course: Course, number: int, first: int) -> Operands:
    """Return the operands of step `number`, which begins with row `first`."""
    return operands._replace(
        inputs=operands.inputs[first * course.input_row :],
        targets=_from(operands.targets, first * course.target_row),
        weights=_from(operands.weights, first),
        labels=_from(operands.labels, first),
        order=_from(operands.order, first),
        sums=_from(operands.sums, 2 * number),
        coefficients=_from(operands.coefficients, number * course.coefficient_step),
        key=(operands.key + number * STEP_STEP) % (2 * _SIGNED),
    )


def _from(array: Array | None, first: int) -> Array | None:
    return None if array is None else array[first:]


def _places(operands: Operands) -> list[int]:
    """Return the operands' addresses and the key, as int64s."""
    *arrays, key = operands
    if operands.coefficients is None:
        arrays[op.COEFFICIENTS] = no_coefficients(operands.parameters.dtype)
    at = addresses(arrays)
    at.append(key if key < _SIGNED else key - 2 * _SIGNED)
    return at


def _course(program: Program, tail: Program, course: Course, team: int, dtype: np.dtype[Any], counters: int = 0,
            tail_counters: int = 0) -> bytes:  # fmt: skip
    """Return a call's words behind the operands."""
    for part in (program, tail):
        if not part.is_linked(dtype):
            prepare(part, dtype)
    size = dtype.itemsize
    row_bytes = [0] * op.KEY
    row_bytes[op.INPUTS], row_bytes[op.TARGETS] = course.input_row * size, course.target_row * size
    row_bytes[op.WEIGHTS], row_bytes[op.LABELS], row_bytes[op.ORDER] = size, 8, 8
    step_bytes = [0] * op.KEY
    step_bytes[op.SUMS], step_bytes[op.COEFFICIENTS] = 16, course.coefficient_step * size
    return _COURSE.pack(
        team, course.rounds, course.repeats, course.batch, course.last, *row_bytes, *step_bytes,
        *program.words(dtype), counters, *tail.words(dtype), tail_counters,
    )  # fmt: skip


def _one_step(program: Program, dtype: np.dtype[Any]) -> bytes:
    call = program.one_step.get(dtype)
    if call is None:
        call = program.one_step[dtype] = _course(program, NO_PROGRAM, ONE_STEP, 1, dtype)
    return call


def _words(call: bytes) -> Words:
    """Return a call's words, which may be written."""
    return np.frombuffer(bytearray(call), np.int64)


def _run_in_a_team(words: Words, team: int) -> None:
    with interrupt_held():  # while other threads work on the arrays
        if threads.layer() == "python":
            call = address(words)
            if not process_team(int(_pass_address()[0])).run(call, team):
                compiled_pass()(call, 0)  # alone: nobody waits for members that do not come
        else:
            with threads.entered(team):
                run_by_numbas_threads()(team, _pass_address(), words)


@functools.cache
def run_by_numbas_threads() -> Any:
    """Return the driver of Numba's threads, called with the team, the pass's address and the call."""
    objects.before_numba()
    with objects.lock:  # a fork waits for it: a child that had to compile would find the module half imported
        from ..kernels import steps  # imports Numba

        return steps.run_by_numbas_threads


@functools.cache
def _pass_address() -> NDArray[np.int64]:
    with interrupt_held():
        return np.array(objects.addresses([functions.RUN]))


@functools.cache
def compiled_pass() -> Any:
    """Return the compiled pass, called with a packed call and the number of a member of its team."""
    return ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(int(_pass_address()[0]))


@functools.cache
def no_coefficients(dtype: np.dtype[Any]) -> Array:
    """Return coefficients of 0, for programs that need none."""
    return co.row(dtype)


def prepare(program: Program, dtype: np.dtype[Any], others: Sequence[Compiled] = ()) -> None:
    """Compile or load what the program runs on, and other functions with it: what is compiled together takes less."""
    team = functions.TEAM if program.threads > 1 else ()  # for the next process, where Numba's threads are used here
    with interrupt_held():
        own = () if program.is_linked(dtype) else program.functions(dtype)  # 70 us for a step's
        objects.addresses([functions.RUN, *team, *own, *others])
        program.words(dtype)  # though another tier may run: the next fit then looks up nothing
