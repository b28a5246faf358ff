"""Back-propagation from a gradient of the logits that comes from elsewhere, the work of `MLP.backward`.

As of predictions, the pass of a few rows is bound: kept with memory of its own, from which results are copied.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import prediction, validation
from .inputs.in_memory import Rows, rows_of
from .model.evaluation import Derivatives, matrix_at, take_inputs
from .model.model import Model
from .prediction import BOUND_BYTES, COPIED_BYTES, asked_before, check_inputs
from .program import passes
from .program.batch_layout import BatchLayout
from .program.cost_model import SHORT, threads_for
from .program.memory import address, aligned, round_up, scratch
from .program.run import Operands, bound, run
from .program.table import Program
from .program.tuning import tuning

Array = NDArray[Any]
OfLogits = Callable[[Array], ArrayLike]  # from logits to the derivatives with respect to them
BoundPass = Callable[[Array, Any, Derivatives], bool]


def derivatives_of(
    model: Model, X: ArrayLike, dlogits: ArrayLike | OfLogits, inputs: bool, out: Derivatives | None
) -> Derivatives:
    """Return what `MLP.backward` returns, whose arguments these are."""
    inputs, called = validation.truth("inputs", inputs), callable(dlogits)
    if type(X) is not np.ndarray or model.embeddings:
        rows = rows_of(model, "X", X)
        threads = threads_for(3.0 * model.operations_per_input * rows.count * model.sizes[0])
        return in_blocks(model, rows, dlogits, inputs, out, threads)
    forced, work = tuning(), 3.0 * model.operations_per_input * X.size
    threads = 1 if work < SHORT and forced.parallel is None else threads_for(work)
    kept, like = model.bound_passes, ("backward", X.shape, X.dtype, called, inputs, threads, forced)
    try:
        free = kept[like]
        bound_pass: BoundPass | None = free.pop()  # from here on no other thread has it
    except LookupError:
        bound_pass = None
    if bound_pass is None:  # not within `except`: errors would come with a KeyError in their traceback
        rows = rows_of(model, "X", X)
        found = in_blocks(model, rows, dlogits, inputs, out, threads)
        if X.nbytes <= BOUND_BYTES and asked_before(kept, like):
            bound_pass = _bound_pass(model, rows, called, inputs, threads)
            kept.setdefault(like, []).extend([] if bound_pass is None else [bound_pass])
        return found
    given = dlogits if callable(dlogits) else _matrix_of(model, dlogits, len(X))
    found = _results(model, len(X), inputs, out, X, given)
    try:
        done = bound_pass(X, given, found)
    finally:  # a user's function may raise
        free.append(bound_pass)
    return found if done else in_blocks(model, rows_of(model, "X", X), dlogits, inputs, found, threads)


def in_blocks(
    model: Model, rows: Rows, dlogits: ArrayLike | OfLogits, inputs: bool, out: Derivatives | None, threads: int
) -> Derivatives:
    """Propagate back for any rows, some at a time, so that activations stay small, by up to `threads` threads."""
    network, dtype, count, most = model.network, model.dtype, rows.count, model.rows_at_once
    if callable(dlogits) and count > most:  # it is called once, with the logits of all rows
        dlogits = dlogits(prediction.in_blocks(model, rows, False, threads))
    given: Any = dlogits if callable(dlogits) else _matrix_of(model, dlogits, count)
    found = _results(model, count, inputs, out, rows.source, given)
    block, features = min(most, count), model.sizes[0]
    size = round_up(passes.activations_size(network, block, dtype), dtype)
    elements = size + (0 if rows.readable_in_place else block * features)
    memory = aligned(elements, dtype) if callable(given) else scratch(elements, dtype)  # which a function may use too
    activations = memory[:size]
    rows.gather_to(memory[size:])
    if model.embeddings:
        found.inputs.fill(0)
    for begin in range(0, count, most):
        end = min(count, begin + most)
        first, last = _programs(model, end - begin, callable(given), begin > 0, inputs, threads)
        at, part = BatchLayout(network, end - begin, dtype), rows.between(begin, end, checked=False)
        operands = Operands(part, model.parameters, activations, found.parameters, coefficients=model.coefficients)
        run(first, operands)
        check_inputs(first, activations, rows, begin, end)
        logits, dlogits_to = _places(model, activations, at)
        _copy(_matrix_of(model, given(logits), count) if callable(given) else given[begin:end], dlogits_to)
        run(last, operands)
        if inputs:
            take_inputs(model, found.inputs[begin:end], activations, at)
    if inputs:
        if model.input_scale is not None:
            np.multiply(found.inputs, model.input_scale, out=found.inputs)
        if (ordered := rows.as_given(found.inputs)) is not found.inputs:
            found.inputs[...] = ordered
    return found


def _programs(
    model: Model, rows: int, called: bool, resume: bool, inputs: bool, threads: int
) -> tuple[Program, Program]:
    """Return the programs of the way forward, to the logits where a function is `called` with them, and of that back:
    what slabs of rows that go both ways would save is a tenth at most, and less in most cases."""
    network, dtype, forced = model.network, model.dtype, tuning()
    layer = network.layers - 1 if called else max(0, network.layers - 2)
    first = passes.hidden(network, rows, dtype, threads, layer, forced)
    return first, passes.backward(network, rows, dtype, threads, resume, inputs, forced)


def _places(model: Model, activations: Array, at: BatchLayout) -> tuple[Array, Array]:
    """Return the logits among the activations, and the derivatives with respect to them."""
    last, outputs = model.network.layers - 1, model.sizes[-1]
    places = at.output(last), at.gradient(last)
    logits, dlogits = (matrix_at(activations, place, at.rows, outputs) for place in places)
    return logits, dlogits


def _matrix_of(model: Model, dlogits: ArrayLike, rows: int) -> Array:
    """Return the derivatives with respect to the logits as a matrix, if there is a row for each of X."""
    given, outputs = validation.real_array("dlogits", dlogits), model.sizes[-1]
    if given.shape == (rows, outputs):
        return given
    if outputs == 1 and given.shape == (rows,):
        return given.reshape(rows, 1)
    raise ValueError(f"dlogits: got shape {given.shape}, expected ({rows}, {outputs}), a row for each of X")


def _copy(dlogits: Array, to: Array) -> None:
    if dlogits.dtype == to.dtype:
        to[...] = dlogits
        return
    with np.errstate(over="ignore"):  # to infinity, in float32
        to[...] = dlogits


def _results(model: Model, rows: int, inputs: bool, out: Any, *operands: Any) -> Derivatives:
    """Return where derivatives are written to: `out`, if it is right for them."""
    rows = rows if inputs else 0
    if out is None:
        return Derivatives.empty(model, rows)
    if not isinstance(out, Derivatives):
        raise TypeError(f"out: got {type(out).__name__}, expected what an earlier call of backward returned")
    arrays = [each for each in operands if isinstance(each, np.ndarray)]
    validation.output("out.parameters", out.parameters, model.parameters.shape, model.dtype, model.parameters, *arrays)
    apart = (model.parameters, out.parameters, *arrays)
    validation.output("out.inputs", out.inputs, (rows, model.sizes[0]), model.dtype, *apart)
    if not out.parameters.flags.carray:
        raise ValueError("out.parameters: got a strided array, expected a contiguous one")
    return out


def _bound_pass(model: Model, rows: Rows, called: bool, inputs: bool, threads: int) -> BoundPass | None:
    """Return a function of X and dlogits, as `called` says a function or an array, for as many rows as these.

    It writes derivatives to its last argument and returns True; or False where X must be looked at: it holds NaN or
    infinity, or numbers whose squares overflow. Return None where a pass takes much memory, or NumPy might warn of the
    conversion.
    """
    if not rows.copied_silently:
        return None
    dtype, count, shape = model.dtype, rows.count, (rows.count, model.sizes[0])
    programs = _programs(model, count, called, False, inputs, threads)
    at = BatchLayout(model.network, count, dtype)
    read_in_place = rows.readable_in_place and math.prod(shape) * dtype.itemsize > COPIED_BYTES
    copied = 0 if read_in_place else math.prod(shape)
    workspaces = sum(program.threads * program.workspace for program in programs)
    if (copied + at.total + workspaces) * dtype.itemsize > BOUND_BYTES:
        return None
    memory, activations = aligned(copied, dtype), aligned(at.total, dtype)
    operands = Operands(memory, model.parameters, activations, activations, coefficients=model.coefficients)
    # Short work keeps the GIL, as predictions do.
    short = 3.0 * model.operations_per_input * math.prod(shape) < SHORT and programs[1].threads == 1
    prototype = ctypes.PYFUNCTYPE if short else ctypes.CFUNCTYPE
    forward, backward = (bound(program, operands, prototype) for program in programs)
    logits, dlogits_to = _places(model, activations, at)
    dX, scale = matrix_at(activations, at.gradient(-1), *shape), model.input_scale
    probes: Any = activations[programs[0].probes]
    probes = memoryview(probes)
    source, gather = (memory, None) if read_in_place else rows.bound_gather(memory.reshape(shape))

    def propagate(X: Array, dlogits: Any, out: Derivatives) -> bool:
        if read_in_place:
            if not X.flags.c_contiguous or not X.flags.aligned:
                X = X.copy("C")
            forward.read_inputs_at(address(X))
            backward.read_inputs_at(address(X))
        else:
            source[...] = X
            if gather is not None and gather() >= 0:
                return False
        forward.carry_out()
        if not math.isfinite(sum(probes)):
            return False
        _copy(_matrix_of(model, dlogits(logits), count) if called else dlogits, dlogits_to)
        backward.write_gradient_at(address(out.parameters))
        backward.carry_out()
        if inputs and scale is not None:
            np.multiply(dX, scale, out=out.inputs)
        elif inputs:
            out.inputs[...] = dX
        return True

    return propagate
