"""Predictions: from a user's X to the outputs of a network, which every method that predicts returns.

A few rows are computed sooner than Python looks up what to compute, and where, and while it looks, all other threads
wait. So their pass is bound: it is kept with memory of its own, and a call names nothing that could have changed but
where X lies.
"""

from __future__ import annotations

import ctypes
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import validation
from .inputs.in_memory import Rows, rows_of
from .inputs.levels import check_of
from .model.model import Model
from .program import narrow, passes
from .program.batch_layout import BatchLayout
from .program.cost_model import SHORT, threads_for
from .program.memory import address, aligned, scratch
from .program.run import Operands, bound, run
from .program.table import Program
from .program.tuning import tuning

Array = NDArray[Any]
BoundPass = Callable[[Array], Array | None]
Kept = dict[Any, list[BoundPass]]

BOUND_BYTES = 2 * 1024**2  # at most, of X and of a pass: those of more take some ten times as long as Python
BOUND_SHAPES = 16  # at most, of a network
COPIED_BYTES = 16 * 1024  # of X, copied in 0.9 us: to ask where it lies, and how, takes 0.7 to 1.5


def outputs_of(model: Model, X: ArrayLike, answered: bool) -> Array:
    """Return what `MLP.outputs` returns, (n, outputs), if `answered`; else the logits."""
    if type(X) is not np.ndarray:
        if not isinstance(X, list):
            rows = rows_of(model, "X", X)
            work = model.operations_per_input * rows.count * model.sizes[0]
            return in_blocks(model, rows, answered, threads_for(work))
        X = validation.real_array("X", X)  # as `rows_of` does
    forced, work = tuning(), model.operations_per_input * X.size
    threads = 1 if work < SHORT and forced.parallel is None else threads_for(work)
    kept, like = model.bound_passes, (X.shape, X.dtype, answered, threads, forced)
    try:
        free = kept[like]
        bound_pass: BoundPass | None = free.pop()  # from here on no other thread has it
    except LookupError:
        bound_pass = None
    if bound_pass is None:  # not within `except`: errors would come with a KeyError in their traceback
        return _unbound(model, X, answered, threads, kept, like)
    found = bound_pass(X)
    free.append(bound_pass)
    return in_blocks(model, rows_of(model, "X", X), answered, threads) if found is None else found


def _unbound(model: Model, X: Array, answered: bool, threads: int, kept: Kept, like: Any) -> Array:
    """Return `outputs_of` an array; when one of the same shape and dtype comes for the second time, bind its pass."""
    rows = rows_of(model, "X", X)
    out = in_blocks(model, rows, answered, threads)
    if X.nbytes <= BOUND_BYTES and asked_before(kept, like):
        bound_pass = _bound_pass(model, rows, answered, threads)
        kept.setdefault(like, []).extend([] if bound_pass is None else [_checking(model, bound_pass)])
    return out


def asked_before(kept: Kept, like: Any) -> bool:
    """Return whether a pass of this kind was asked for before; from now on it was."""
    if like in kept:
        return True
    if len(kept) >= BOUND_SHAPES:
        kept.clear()
    kept[like] = []
    return False


def in_blocks(model: Model, rows: Rows, answered: bool, threads: int) -> Array:
    """Return the outputs of any rows, some at a time, so that activations stay small, by up to `threads` threads."""
    count, classes, dtype, most = rows.count, model.sizes[-1], model.dtype, model.rows_at_once
    parameters, out, start = model.parameters, np.empty((count, classes), dtype), time.perf_counter()
    coefficients = model.coefficients
    flat = out.reshape(-1)
    for begin in range(0, count, most):
        end = min(count, begin + most)
        program = _program(model, end - begin, answered, threads)
        activations = scratch(program.activations, dtype)
        part, answer = rows.between(begin, end, checked=False), flat[begin * classes : end * classes]
        run(program, Operands(part, parameters, activations, answer, coefficients=coefficients))
        check_inputs(program, activations, rows, begin, end)
    if (compiled := narrow.forward_of(model.network, min(count, most), dtype, answered)) is not None:
        narrow.spend(compiled, time.perf_counter() - start)  # which matters until it is there
    return out


def hidden_of(model: Model, X: ArrayLike, layer: int) -> Array:
    """Return what `MLP.hidden` returns; layers count from 0."""
    rows, network, dtype, most = rows_of(model, "X", X), model.network, model.dtype, model.rows_at_once
    count, width = rows.count, model.sizes[layer + 1]
    threads = threads_for(model.operations_per_input * count * model.sizes[0])
    out = np.empty((count, width), dtype)
    for begin in range(0, count, most):
        end = min(count, begin + most)
        program = passes.hidden(network, end - begin, dtype, threads, layer, tuning())
        activations = scratch(program.activations, dtype)
        part = rows.between(begin, end, checked=False)
        run(program, Operands(part, model.parameters, activations, activations, coefficients=model.coefficients))
        check_inputs(program, activations, rows, begin, end)
        found = BatchLayout(network, end - begin, dtype).output(layer)
        out[begin:end] = activations[found : found + (end - begin) * width].reshape(-1, width)
    return out


def check_inputs(program: Program, activations: Array, rows: Rows, begin: int, end: int) -> None:
    """Raise ValueError for NaN and infinity in X; outputs that overflow are returned."""
    if not math.isfinite(sum(activations[program.probes].tolist())):
        rows.between(begin, end)


def _program(model: Model, rows: int, answered: bool, threads: int) -> Program:
    """Return the program of so many rows: compiled for the network where that is there."""
    compiled = narrow.forward_of(model.network, rows, model.dtype, answered)
    if compiled is None or not narrow.ready(compiled):
        return passes.forward(model.network, rows, model.dtype, threads, answered, tuning())
    work = model.operations_per_input * rows * model.sizes[0]
    return narrow.forward(rows, compiled, threads if work > SHORT else 1)


def _checking(model: Model, bound_pass: BoundPass) -> BoundPass:
    """Return a bound pass that returns None where an embedded column of X holds what is no level."""
    if not model.embeddings:
        return bound_pass
    right = check_of(model.embeddings)
    return lambda X: bound_pass(X) if right(X) else None


def _bound_pass(model: Model, rows: Rows, answered: bool, threads: int) -> BoundPass | None:
    """Return a function of an array of the same shape and dtype as `rows`, which returns its outputs, or None where X
    must be looked at: it holds NaN or infinity, or numbers whose squares overflow.

    Return None where a pass takes much memory, or NumPy might warn of the conversion.
    """
    if not rows.copied_silently:
        return None
    program = _program(model, rows.count, answered, threads)
    shape, dtype = (rows.count, model.sizes[0]), model.dtype
    read_in_place = rows.readable_in_place and math.prod(shape) * dtype.itemsize > COPIED_BYTES
    copied, answers = 0 if read_in_place else math.prod(shape), rows.count * model.sizes[-1]
    size = copied + program.activations + program.threads * program.workspace + answers
    if size * dtype.itemsize > BOUND_BYTES:
        return None
    inputs, activations, answer = (aligned(elements, dtype) for elements in (copied, program.activations, answers))
    operands = Operands(inputs, model.parameters, activations, answer, coefficients=model.coefficients)
    # Short work keeps the GIL: beside a thread that runs Python, to get it back takes up to 5 ms.
    short = model.operations_per_input * math.prod(shape) < SHORT and program.threads == 1
    prototype = ctypes.PYFUNCTYPE if short else ctypes.CFUNCTYPE
    the_pass = bound(program, operands, prototype)
    compute = the_pass.carry_out
    probes: Any = activations[program.probes]
    probes, result = memoryview(probes), answer.reshape(rows.count, -1)  # whose numbers are read soonest

    def outputs_in_place(X: Array) -> Array | None:
        if not X.flags.c_contiguous or not X.flags.aligned:
            X = X.copy("C")
        the_pass.read_inputs_at(address(X))
        compute()
        return result.copy() if math.isfinite(sum(probes)) else None

    if read_in_place:
        return outputs_in_place
    source, gather = rows.bound_gather(inputs.reshape(shape))

    def outputs_of_copied(X: Array) -> Array | None:
        source[...] = X
        compute()
        return result.copy() if math.isfinite(sum(probes)) else None

    if gather is None:
        return outputs_of_copied

    def outputs_of_gathered(X: Array) -> Array | None:
        source[...] = X
        if gather() >= 0:
            return None
        compute()
        return result.copy()

    return outputs_of_gathered
