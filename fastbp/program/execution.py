"""A program: the table of operations for one step, and its execution.

`fastbp.program.passes` writes programs; here they are kept, given a workspace and run.
"""

from __future__ import annotations

import contextlib
import functools
import signal
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numba import from_dtype
from numpy.typing import DTypeLike, NDArray

from .. import threads
from ..kernels import operations as op
from ..kernels import steps
from ..kernels.team import LINE

Array = NDArray[Any]
Operation = dict[str, int]  # fields of `kernels.operations` that are not 0
Strand = list[Operation]
STAGED_BYTES = 2 * 1024**2  # of rows that are gathered at a time
ALIGNMENT = 64  # bytes: the longest vector, and a cache line
NO_INTEGERS = np.zeros(1, np.int64)  # for programs that read no labels, no order
NO_SUMS = np.zeros(2)  # for programs that write none
NO_KEY = np.uint64(0)
ONCE = np.array([1, 1, 0, 0, 0, 0, 0])  # the course of one step


@dataclass(frozen=True)
class Program:
    """Phases of strands of operations; `workspace` elements for each thread."""

    table: NDArray[np.int64]
    strands: NDArray[np.int64]
    phases: NDArray[np.int64]
    workspace: int
    threads: int
    activations: int = 0  # elements
    probes: slice = field(default_factory=lambda: slice(0))  # of the activations: finite only where all inputs are

    def counters(self) -> NDArray[np.int64]:
        """One for all, and one for each strand, each on a cache line of its own."""
        counters = aligned(LINE * self.strands.size, np.int64)
        counters.fill(0)
        return counters

    @classmethod
    def of(cls, phases: Iterable[list[Strand]], workspace: int, threads: int) -> Program:
        rows: list[list[int]] = []
        strand_ends, phase_ends = [0], [0]
        for phase in phases:
            for strand in phase:
                rows += [[operation.get(field, 0) for field in op.FIELDS] for operation in strand]
                strand_ends.append(len(rows))
            phase_ends.append(len(strand_ends) - 1)
        table = np.array(rows, np.int64).reshape(len(rows), len(op.FIELDS))
        return cls(table, np.array(strand_ends), np.array(phase_ends), workspace, threads)


NO_PROGRAM = Program.of([], 0, 1)


class _Scratch(threading.local):
    """What a Python thread keeps between calls: memory of each dtype, grown to the largest asked for."""

    def __init__(self) -> None:
        self.workspaces: dict[np.dtype[Any], Array] = {}
        self.activations: dict[np.dtype[Any], Array] = {}

    def workspace(self, dtype: np.dtype[Any], threads: int, size: int) -> Array:
        have = self.workspaces.get(dtype)
        if have is None or have.shape[0] < threads or have.shape[1] < size:
            if have is not None:
                threads, size = max(threads, have.shape[0]), max(size, have.shape[1])
            have = self.workspaces[dtype] = aligned(threads * round_up(size, dtype), dtype).reshape(threads, -1)
        return have


_scratch = _Scratch()


def round_up(elements: int, dtype: DTypeLike) -> int:
    """The next number of elements that fills whole cache lines."""
    line = ALIGNMENT // np.dtype(dtype).itemsize
    return -(-elements // line) * line


def aligned(elements: int, dtype: DTypeLike) -> Array:
    """An uninitialised vector that begins on a cache line: a vector load across two lines costs twice."""
    dtype = np.dtype(dtype)
    memory = np.empty(elements + ALIGNMENT // dtype.itemsize, dtype)
    start = -memory.ctypes.data % ALIGNMENT // dtype.itemsize
    return memory[start : start + elements]


def most_rows(features: int, dtype: np.dtype[Any]) -> int:
    """Return how many rows are gathered at a time."""
    return max(1, STAGED_BYTES // (features * dtype.itemsize))


def scratch(elements: int, dtype: np.dtype[Any]) -> Array:
    """Uninitialised memory for the activations of a call: the same that this thread's last call had."""
    have = _scratch.activations.get(dtype)
    if have is None or have.size < elements:
        have = _scratch.activations[dtype] = aligned(elements, dtype)
    return have[:elements]


def run(
    program: Program,
    *,
    inputs: Array,
    parameters: Array,
    activations: Array,
    gradient: Array,
    targets: Array | None = None,
    weights: Array | None = None,
    labels: NDArray[np.int64] | None = None,
    order: NDArray[np.int64] | None = None,
    sums: NDArray[np.float64] | None = None,
    rates: Array | None = None,
    key: int = 0,
    repeats: int = 1,
    batch: int = 0,
    tail: Program | None = None,
    last: int = 0,
    rounds: int = 1,
    input_row: int = 0,
    target_row: int = 0,
    rate_step: int = 0,
) -> None:
    """Carry a program out `repeats` times, each for `batch` rows, then `tail` for the `last` ones; all that in so many
    rounds, whose rows follow one another.

    All arrays are flat, contiguous, writable and of one dtype. With each row `weights`, `labels` and `order` move on by
    1, `inputs` and `targets` by `input_row` and `target_row`. With each step `sums` moves on by 2 and `rates`, the
    numbers of a step as `operations.RATES` names them, by `rate_step`; dropout's masks follow from `key` and the step.
    """
    dtype = parameters.dtype
    team, size, course = program.threads, program.workspace, ONCE
    if repeats != 1 or rounds != 1 or tail is not None:
        course = np.array([rounds, repeats, batch, last, input_row, target_row, rate_step])
    if tail is None:
        tail = NO_PROGRAM
    else:
        team, size = max(team, tail.threads), max(size, tail.workspace)
    if team > 1 and threads.layer() is None:
        team = 1
    address, no_rates = _loaded(dtype, team > 1)
    arguments = (
        course, address, program.table, tail.table, inputs, parameters, activations, gradient,
        parameters if targets is None else targets, parameters if weights is None else weights,
        NO_INTEGERS if labels is None else labels, NO_INTEGERS if order is None else order,
        NO_SUMS if sums is None else sums, no_rates if rates is None else rates,
        NO_KEY if key == 0 else np.uint64(key),
        _scratch.workspace(dtype, team, size),
    )  # fmt: skip
    if team == 1:
        steps.run_serial(*arguments)
    else:
        _run_parallel(team, program, tail, arguments)


def _run_parallel(team: int, program: Program, tail: Program, arguments: tuple[Any, ...]) -> None:
    with threads.entered(team):
        steps.run_parallel(team, program.strands, program.phases, program.counters(), tail.strands, tail.phases,
                           tail.counters(), *arguments)  # fmt: skip


def rates_of(dtype: np.dtype[Any], **numbers: float) -> Array:
    """The numbers of one step by their names in `operations.RATES`, the others 0."""
    rates = np.zeros(len(op.RATES), dtype)
    for name, number in numbers.items():
        rates[op.RATES.index(name)] = number
    return rates


@functools.lru_cache
def _loaded(dtype: np.dtype[Any], parallel: bool) -> tuple[NDArray[np.uintp], Array]:
    """Compile or load what such programs run on; return the operations' address in an array, and rates of 0."""
    with loading():
        address, no_rates = np.array([steps.perform.address(from_dtype(dtype))], np.uintp), rates_of(dtype)
        nothing, table, no_steps = np.zeros(1, dtype), NO_PROGRAM.table, np.zeros_like(ONCE)
        arguments = (no_steps, address, table, table, *[nothing] * 6, NO_INTEGERS, NO_INTEGERS, NO_SUMS, no_rates,
                     NO_KEY, _scratch.workspace(dtype, 1 + parallel, 1))  # fmt: skip
        if parallel:
            _run_parallel(2, NO_PROGRAM, NO_PROGRAM, arguments)
        else:
            steps.run_serial(*arguments)
    return address, no_rates


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
