"""Predictions: from a user's X to the outputs of a network, which every method that predicts returns.

A few rows are computed sooner than Python looks up what to compute, and where. So their pass is bound: it is kept with
memory of its own, into which rows are copied, and a call names nothing that could have changed.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import hardware, validation
from .inputs.in_memory import Rows, rows_of
from .model.model import Model
from .program import passes
from .program.cost_model import SHORT, threads_for
from .program.memory import aligned, scratch
from .program.run import Operands, bound, run
from .program.table import Program
from .program.tuning import tuning

Array = NDArray[Any]
BoundPass = Callable[[Array], Array | None]

BOUND_ROWS = 64  # at most; the time of more is the processor's
BOUND_BYTES = 256 * 1024  # at most, of a pass
BOUND_SHAPES = 16  # at most, of a network


def outputs_of(model: Model, X: ArrayLike, answered: bool) -> Array:
    """Return what `MLP.outputs` returns, (n, outputs), if `answered`; else the logits."""
    if type(X) is not np.ndarray:
        if not isinstance(X, list):
            return in_blocks(model, rows_of(model, "X", X), answered)
        X = validation.real_array("X", X)  # as `rows_of` does
    kept, like = model.bound_passes, (X.shape, X.dtype, answered, tuning())
    try:
        free = kept[like]
        bound_pass: BoundPass | None = free.pop()  # from here on no other thread has it
    except LookupError:
        bound_pass = None
    if bound_pass is None:  # not within `except`: errors would come with a KeyError in their traceback
        return _unbound(model, X, answered, kept, like)
    found = bound_pass(X)
    free.append(bound_pass)
    return in_blocks(model, rows_of(model, "X", X), answered) if found is None else found


def _unbound(model: Model, X: Array, answered: bool, kept: dict[Any, list[BoundPass]], like: Any) -> Array:
    """Return `outputs_of` an array; when few rows of one shape and dtype come for the second time, bind their pass."""
    rows = rows_of(model, "X", X)
    out = in_blocks(model, rows, answered)
    if rows.count <= BOUND_ROWS:
        if like not in kept:
            if len(kept) >= BOUND_SHAPES:
                kept.clear()
            kept[like] = []
        elif (bound_pass := _bound_pass(model, rows, answered)) is not None:
            kept.setdefault(like, []).append(bound_pass)
    return out


def in_blocks(model: Model, rows: Rows, answered: bool) -> Array:
    """Return the outputs of any rows, some at a time, so that activations stay small."""
    count, classes, dtype, most = rows.count, model.sizes[-1], model.dtype, model.rows_at_once
    parameters, out, forced = model.parameters, np.empty((count, classes), dtype), tuning()
    coefficients = model.coefficients
    flat = out.reshape(-1)
    number = threads_for(_work(model, rows))
    for begin in range(0, count, most):
        end = min(count, begin + most)
        program = passes.forward(model.network, end - begin, dtype, number, answered, forced)
        activations = scratch(program.activations, dtype)
        part, answer = rows.between(begin, end, checked=False), flat[begin * classes : end * classes]
        run(program, Operands(part, parameters, activations, answer, coefficients=coefficients))
        if not math.isfinite(sum(activations[program.probes].tolist())):
            rows.between(begin, end)  # raises for NaN and infinity in X; outputs that overflow are returned
    return out


def _bound_pass(model: Model, rows: Rows, answered: bool) -> BoundPass | None:
    """Return a function of an array of the same shape and dtype as `rows`, which returns its outputs, or None where X
    must be looked at: it holds NaN or infinity, or numbers whose squares overflow.

    Return None where a pass takes several threads or much memory, or NumPy might warn of the conversion.
    """
    program, shape = _serial_program(model, rows, answered), (rows.count, model.sizes[0])
    if program is None or not rows.copied_silently:
        return None
    size = math.prod(shape) + program.activations + program.workspace + rows.count * model.sizes[-1]
    if size * model.dtype.itemsize > BOUND_BYTES:
        return None
    inputs, activations = aligned(math.prod(shape), model.dtype), aligned(program.activations, model.dtype)
    answer = aligned(rows.count * model.sizes[-1], model.dtype)
    operands = Operands(inputs, model.parameters, activations, answer, coefficients=model.coefficients)
    # Short work keeps the GIL: beside a thread that runs Python, to get it back takes up to 5 ms.
    compute = bound(program, operands, ctypes.PYFUNCTYPE if _work(model, rows) < SHORT else ctypes.CFUNCTYPE)
    source, gather = rows.bound_gather(inputs.reshape(shape))
    probes: Any = activations[program.probes]
    probes, result = memoryview(probes), answer.reshape(rows.count, -1)  # whose numbers are read soonest

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


def _serial_program(model: Model, rows: Rows, answered: bool) -> Program | None:
    """Return the program of so few rows if it is serial however many threads there are."""
    forced = tuning()
    short = _work(model, rows) < SHORT and forced.parallel is None
    most = 1 if short else hardware.processors()
    program = passes.forward(model.network, rows.count, model.dtype, most, answered, forced)
    return program if program.threads == 1 else None


def _work(model: Model, rows: Rows) -> float:
    """Return the multiplications and additions of a forward pass."""
    return 2.0 * rows.count * model.parameters.size
