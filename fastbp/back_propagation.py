"""Back-propagation from a gradient of the logits that comes from elsewhere, the work of `MLP.backward`.

As of predictions, the pass of a few rows is bound: kept with memory of its own, of which results are copied.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import validation
from .inputs.in_memory import Rows, rows_of
from .model.evaluation import Derivatives, matrix_at, take_inputs
from .model.model import Model
from .prediction import BOUND_BYTES, COPIED_BYTES, asked_before, check_inputs
from .program import passes
from .program.batch_layout import BatchLayout
from .program.cost_model import SHORT, threads_for
from .program.memory import address, aligned, round_up, scratch
from .program.run import Operands, bound, run
from .program.tuning import tuning

Array = NDArray[Any]
BoundPass = Callable[[Array, Array, Derivatives], bool]


def derivatives_of(
    model: Model, X: ArrayLike, dlogits: ArrayLike, inputs: bool, out: Derivatives | None
) -> Derivatives:
    """Return what `MLP.backward` returns, whose arguments these are."""
    given, inputs = validation.real_array("dlogits", dlogits), validation.truth("inputs", inputs)
    if type(X) is not np.ndarray or model.embeddings:
        rows = rows_of(model, "X", X)
        threads = threads_for(3.0 * model.operations_per_input * rows.count * model.sizes[0])
        return in_blocks(model, rows, given, inputs, out, threads)
    forced, work = tuning(), 3.0 * model.operations_per_input * X.size
    threads = 1 if work < SHORT and forced.parallel is None else threads_for(work)
    kept, like = model.bound_passes, ("backward", X.shape, X.dtype, inputs, threads, forced)
    try:
        free = kept[like]
        bound_pass: BoundPass | None = free.pop()  # from here on no other thread has it
    except LookupError:
        bound_pass = None
    if bound_pass is None:  # not within `except`: errors would come with a KeyError in their traceback
        rows = rows_of(model, "X", X)
        found = in_blocks(model, rows, given, inputs, out, threads)
        if X.nbytes <= BOUND_BYTES and asked_before(kept, like):
            bound_pass = _bound_pass(model, rows, inputs, threads)
            kept.setdefault(like, []).extend([] if bound_pass is None else [bound_pass])
        return found
    given = _matrix_of(model, given, len(X))
    found = _results(model, len(X), inputs, out, X, given)
    done = bound_pass(X, given, found)
    free.append(bound_pass)
    return found if done else in_blocks(model, rows_of(model, "X", X), given, inputs, found, threads)


def in_blocks(
    model: Model, rows: Rows, dlogits: Array, inputs: bool, out: Derivatives | None, threads: int
) -> Derivatives:
    """Propagate back for any rows, some at a time, so that activations stay small, by up to `threads` threads."""
    network, dtype, count, most = model.network, model.dtype, rows.count, model.rows_at_once
    dlogits, (features, *_, outputs) = _matrix_of(model, dlogits, count), model.sizes
    found = _results(model, count, inputs, out, rows.source, dlogits)
    block = min(most, count)
    size = round_up(passes.activations_size(network, block, dtype), dtype)
    memory = scratch(size + (0 if rows.readable_in_place else block * features), dtype)
    activations = memory[:size]
    rows.gather_to(memory[size:])
    if model.embeddings:
        found.inputs.fill(0)
    for begin in range(0, count, most):
        end = min(count, begin + most)
        program = passes.backward(network, end - begin, dtype, threads, begin > 0, inputs, tuning())
        at, part = BatchLayout(network, end - begin, dtype), rows.between(begin, end, checked=False)
        with np.errstate(over="ignore"):  # to infinity, in float32
            matrix_at(activations, at.gradient(network.layers - 1), end - begin, outputs)[...] = dlogits[begin:end]
        run(program, Operands(part, model.parameters, activations, found.parameters, coefficients=model.coefficients))
        check_inputs(program, activations, rows, begin, end)
        if inputs:
            take_inputs(model, found.inputs[begin:end], activations, at)
    if inputs:
        if model.input_scale is not None:
            np.multiply(found.inputs, model.input_scale, out=found.inputs)
        if (ordered := rows.as_given(found.inputs)) is not found.inputs:
            found.inputs[...] = ordered
    return found


def _matrix_of(model: Model, dlogits: Array, rows: int) -> Array:
    """Return the derivatives with respect to the logits as a matrix, if there is a row for each of X."""
    outputs = model.sizes[-1]
    if dlogits.shape == (rows, outputs):
        return dlogits
    if outputs == 1 and dlogits.shape == (rows,):
        return dlogits.reshape(rows, 1)
    raise ValueError(f"dlogits: got shape {dlogits.shape}, expected ({rows}, {outputs}), a row for each of X")


def _results(model: Model, rows: int, inputs: bool, out: Any, *operands: Any) -> Derivatives:
    """Return where derivatives are written to: `out`, if it is right for them."""
    rows = rows if inputs else 0
    if out is None:
        return Derivatives.empty(model, rows)
    if not isinstance(out, Derivatives):
        raise TypeError(f"out: got {type(out).__name__}, expected what an earlier call of backward returned")
    arrays = [each for each in operands if isinstance(each, np.ndarray)]
    validation.output("out.parameters", out.parameters, model.parameters.shape, model.dtype, model.parameters, *arrays)
    validation.output("out.inputs", out.inputs, (rows, model.sizes[0]), model.dtype, *arrays)
    if not out.parameters.flags.carray:
        raise ValueError("out.parameters: got a strided array, expected a contiguous one")
    return out


def _bound_pass(model: Model, rows: Rows, inputs: bool, threads: int) -> BoundPass | None:
    """Return a function of X and dlogits, of the same shape as these rows, that writes derivatives to its last argument
    and returns True; or False where X must be looked at: it holds NaN or infinity, or numbers whose squares overflow.

    Return None where a pass takes much memory, or NumPy might warn of the conversion.
    """
    if not rows.copied_silently:
        return None
    network, dtype, count, shape = model.network, model.dtype, rows.count, (rows.count, model.sizes[0])
    program = passes.backward(network, count, dtype, threads, False, inputs, tuning())
    read_in_place = rows.readable_in_place and math.prod(shape) * dtype.itemsize > COPIED_BYTES
    copied = 0 if read_in_place else math.prod(shape)
    if (copied + program.activations + program.threads * program.workspace) * dtype.itemsize > BOUND_BYTES:
        return None
    memory, activations = aligned(copied, dtype), aligned(program.activations, dtype)
    operands = Operands(memory, model.parameters, activations, activations, coefficients=model.coefficients)
    short = 3.0 * model.operations_per_input * math.prod(shape) < SHORT and program.threads == 1  # keeps the GIL
    the_pass = bound(program, operands, ctypes.PYFUNCTYPE if short else ctypes.CFUNCTYPE)
    at = BatchLayout(network, count, dtype)
    dlogits_to = matrix_at(activations, at.gradient(network.layers - 1), count, model.sizes[-1])
    dX, scale = matrix_at(activations, at.gradient(-1), *shape), model.input_scale
    probes: Any = activations[program.probes]
    probes = memoryview(probes)
    source, gather = (memory, None) if read_in_place else rows.bound_gather(memory.reshape(shape))

    def propagate(X: Array, dlogits: Array, out: Derivatives) -> bool:
        if read_in_place:
            if not X.flags.c_contiguous or not X.flags.aligned:
                X = X.copy("C")
            the_pass.read_inputs_at(address(X))
        else:
            source[...] = X
            if gather is not None and gather() >= 0:
                return False
        if dlogits.dtype == dtype:
            dlogits_to[...] = dlogits
        else:
            with np.errstate(over="ignore"):  # to infinity, in float32
                dlogits_to[...] = dlogits
        the_pass.write_gradient_at(address(out.parameters))
        the_pass.carry_out()
        if inputs and scale is not None:
            np.multiply(dX, scale, out=out.inputs)
        elif inputs:
            out.inputs[...] = dX
        return math.isfinite(sum(probes))

    return propagate
