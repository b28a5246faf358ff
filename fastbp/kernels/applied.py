"""Formulas of the tables as kernels call them: with their constants taken from the coefficients of the step."""

from __future__ import annotations

import functools
from typing import Any

from numba import types

from . import coefficients as co
from .constants import Constant
from .jit import Instruction
from .lanes import Formula
from .simd import (
    I64,
    VectorLanes,
    VectorType,
    first_lanes,
    lanes_of,
    load_vector,
    splat,
    store_vector,
)
from .target import TARGET
from .updates import Update


@functools.cache
def applied(formula: Formula, constants: tuple[Constant, ...], by_outputs: bool = False) -> Any:
    """Make a call ``(coefficients, output, *vectors)`` of ``formula(*vectors, *constants)``.

    The constants come from `coefficients`, those with a number for each output from `output` on, or that of `output`
    in every lane where vectors are `by_outputs`.
    """
    places = co.places(constants)

    def define(typingctx: Any, coefficients: Any, output: Any, *vectors: Any) -> Any:
        dtype = coefficients.dtype
        kinds = [kind if isinstance(kind, VectorType) else dtype for kind in vectors]
        result = next((kind for kind in kinds if isinstance(kind, VectorType)), VectorType(dtype))

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            coefficients, output, *values = args
            lanes = [lanes_of(builder, dtype, kind, value) for kind, value in zip(kinds, values, strict=True)]
            numbers = [_constant(builder, dtype, coefficients, output, *place, by_outputs) for place in places]
            return formula.write(*lanes, *numbers).value  # type: ignore[attr-defined]

        return result(coefficients, types.intp, *kinds), codegen

    return Instruction(define)


@functools.cache
def updated_by(form: Update) -> Any:
    """Make a call that updates a vector of parameters and its state in memory, by a form of `kernels.updates`.

    The call is ``(coefficients, w, gradient, keep, to, state, stride, count)``: w as it was, where it goes, the state
    of the same parameters, its vectors `stride` apart, and of how many parameters.
    """
    places = [co.INDEX[name] for name in form.coefficients]

    def define(typingctx: Any, coefficients: Any, w: Any, gradient: Any, keep: Any, to: Any, state: Any, stride: Any,
               count: Any) -> Any:  # fmt: skip
        dtype = coefficients.dtype

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            coefficients, w, gradient, keep, to, state, stride, count = args
            mask = first_lanes(builder, dtype, count)
            operands = [
                VectorLanes(builder, dtype, value) for value in (w, gradient, splat(builder, keep, TARGET.lanes(dtype)))
            ]
            at = [builder.gep(state, [builder.mul(stride, I64(number))]) for number in range(form.states)]
            old = tuple(VectorLanes(builder, dtype, load_vector(builder, dtype, start, mask)) for start in at)
            numbers = [_constant(builder, dtype, coefficients, I64(0), place) for place in places]
            new, state_after = form.write(*operands, old, *numbers)
            for start, vector in zip((to, *at), (new, *state_after), strict=True):
                store_vector(builder, dtype, vector.value, start, mask)  # type: ignore[attr-defined]
            return context.get_dummy_value()

        vector = VectorType(dtype)
        return types.void(coefficients, vector, vector, dtype, to, state, types.intp, types.intp), codegen

    return Instruction(define)


def _constant(builder: Any, dtype: types.Type, coefficients: Any, output: Any, index: int, per_output: bool = False,
              by_outputs: bool = False) -> Any:  # fmt: skip
    start = builder.gep(coefficients, [I64(index)])
    if per_output:
        start = builder.gep(start, [output])
    if per_output and not by_outputs:
        return VectorLanes(builder, dtype, load_vector(builder, dtype, start))
    number = builder.load(start, align=dtype.bitwidth // 8)
    return VectorLanes(builder, dtype, splat(builder, number, TARGET.lanes(dtype)))
