"""Calls whose first argument says which formula of a table they apply.

One loop then serves a whole table: with a loop for each formula, the first fit of a process compiled for 11.4 s, not
8.5. A number that the table does not have takes the first formula.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .simd import I64, TARGET, Lanes, VectorType, first_lanes, lanes_of, load_vector, splat, store_vector, vector_ir

Places = tuple[tuple[int, bool], ...]  # of a formula's constants among the coefficients; whether one for each output


def one_of(formulas: Mapping[int, tuple[Callable[..., Lanes], Places]]) -> Any:
    """Make a call ``(which, coefficients, output, *vectors)`` of formulas ``write(*vectors, *constants)``.

    The constants come from `coefficients`, those with a number for each output from `output` on.
    """
    operands = min(len(inspect.signature(write).parameters) - len(places) for write, places in formulas.values())

    def define(typingctx: Any, which: Any, coefficients: Any, output: Any, *vectors: Any) -> Any:
        dtype = coefficients.dtype
        kinds = [kind if isinstance(kind, VectorType) else dtype for kind in vectors]
        result = next((kind for kind in kinds if isinstance(kind, VectorType)), VectorType(dtype))

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            which, coefficients, output, *values = args
            lanes = [lanes_of(builder, dtype, kind, value) for kind, value in zip(kinds, values, strict=True)]
            results = []
            for write, places in _cases(builder, which, formulas):
                constants = [_constant(builder, dtype, coefficients, output, *place) for place in places]
                results.append((write(*lanes, *constants).value, builder.block))
            found = builder.phi(vector_ir(dtype))
            for value, block in results:
                found.add_incoming(value, block)
            return found

        return result(types.int64, coefficients, types.intp, *kinds), codegen

    names = ["which", "coefficients", "output", *(f"vector{number}" for number in range(operands))]
    return _intrinsic(define, names)


def updated_by(forms: Mapping[int, tuple[Callable[..., Any], int, tuple[int, ...]]]) -> Any:
    """Make a call that updates a vector of parameters and its state in memory, by one of these forms.

    A form is (write, number of state vectors, places of its coefficients), see `kernels.updates`; the call is
    ``(which, coefficients, w, gradient, keep, to, state, stride, count)``: w as it was, where it goes, the state of the
    same parameters, its vectors `stride` apart, and of how many parameters.
    """

    def define(typingctx: Any, which: Any, coefficients: Any, w: Any, gradient: Any, keep: Any, to: Any, state: Any,
               stride: Any, count: Any) -> Any:  # fmt: skip
        dtype = coefficients.dtype

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            which, coefficients, w, gradient, keep, to, state, stride, count = args
            mask = first_lanes(builder, dtype, count)
            operands = [
                Lanes(builder, dtype, value) for value in (w, gradient, splat(builder, keep, TARGET.lanes(dtype)))
            ]
            for write, states, places in _cases(builder, which, forms):
                at = [builder.gep(state, [builder.mul(stride, I64(number))]) for number in range(states)]
                old = tuple(Lanes(builder, dtype, load_vector(builder, dtype, start, mask)) for start in at)
                numbers = [_constant(builder, dtype, coefficients, I64(0), place, False) for place in places]
                new, state_after = write(*operands, old, *numbers)
                for start, vector in zip((to, *at), (new, *state_after), strict=True):
                    store_vector(builder, dtype, vector.value, start, mask)
            return context.get_dummy_value()

        vector = VectorType(dtype)
        return types.void(types.int64, coefficients, vector, vector, dtype, to, state, types.intp, types.intp), codegen

    return _intrinsic(define, list(inspect.signature(define).parameters)[1:])


def _cases(builder: Any, which: Any, table: Mapping[int, tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    """Give each entry of the table while the builder stands in its case of a switch; end behind the switch."""
    blocks = [builder.append_basic_block(f"case{number}") for number in table]
    after = builder.append_basic_block("after")
    switch = builder.switch(which, blocks[0])
    for (number, entry), block in zip(table.items(), blocks, strict=True):
        switch.add_case(ir.Constant(which.type, number), block)
        builder.position_at_end(block)
        yield entry
        builder.branch(after)
    builder.position_at_end(after)


def _constant(builder: Any, dtype: types.Type, coefficients: Any, output: Any, index: int, per_output: bool) -> Lanes:
    start = builder.gep(coefficients, [I64(index)])
    if per_output:
        return Lanes(builder, dtype, load_vector(builder, dtype, builder.gep(start, [output])))
    number = builder.load(start, align=dtype.bitwidth // 8)
    return Lanes(builder, dtype, splat(builder, number, TARGET.lanes(dtype)))


def _intrinsic(define: Callable[..., Any], names: list[str]) -> Any:
    """Make an intrinsic of these arguments, which Numba matches by name."""
    define.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in ("typingctx", *names)]
    )
    return intrinsic(define)
