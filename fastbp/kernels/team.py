"""Threads that share out the strands of a program among themselves, through counters in memory.

A parallel region costs 4 us and more to enter and leave, as much as a whole step of a small network. So a pass
over many steps is one region: each of its threads takes strands of the phase at hand, its own first, then what others
have not begun, and waits for the phase's end by looking at a counter, for some 0.1 us. Nobody waits for a thread
that has not come: who is there does all the work, so a pool that lends fewer threads than asked for, or lends them
late, is slow but never stuck.
"""

from __future__ import annotations

import os
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from .jit import instruction, kernel
from .operations import LINE
from .simd import I32
from .target import FAMILY

DONE = 0  # the first counter: strands finished since the pass began; then, for each strand, the steps it was begun in
PATIENCE = 4000  # looks, some 100 us, before the processor is offered to whoever has more to do


def _counter(builder: Any, counters: Any, index: Any) -> Any:
    return builder.gep(counters, [builder.mul(index, ir.Constant(index.type, LINE))])


@instruction
def look(typingctx: Any, counters: Any, index: Any) -> Any:
    """Return the counter as it is now; what was written before it reached this value can be read."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load_atomic(_counter(builder, *args), "acquire", 8)

    return types.int64(counters, types.intp), codegen


@instruction
def count_one(typingctx: Any, counters: Any, index: Any) -> Any:
    """Add 1 to a counter, behind all that was written before."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = _counter(builder, *args)
        return builder.atomic_rmw("add", pointer, ir.Constant(ir.IntType(64), 1), "acq_rel")

    return types.int64(counters, types.intp), codegen


@instruction
def begin(typingctx: Any, counters: Any, index: Any, step: Any) -> Any:
    """Return whether this thread is the one to do the strand in this step; its counter then goes on to the next."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array, index, step = args
        pointer = _counter(builder, array, index)
        result = builder.cmpxchg(pointer, step, builder.add(step, ir.Constant(step.type, 1)), "acq_rel", "acquire")
        return builder.extract_value(result, 1)

    return types.boolean(counters, types.intp, types.int64), codegen


@instruction
def pause(typingctx: Any) -> Any:
    """Tell the processor that this is a loop that waits."""
    name = "llvm.x86.sse2.pause" if FAMILY == "x86_64" else "llvm.aarch64.hint"
    arguments = [] if "x86" in name else [I32(1)]

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if FAMILY in ("x86_64", "aarch64"):
            kind = ir.FunctionType(ir.VoidType(), [value.type for value in arguments])
            builder.call(builder.module.declare_intrinsic(name, (), kind), arguments)
        return context.get_dummy_value()

    return types.void(), codegen


@instruction
def give_way(typingctx: Any) -> Any:
    """Offer the processor to whoever has more to do."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if os.name == "posix":
            kind = ir.FunctionType(I32, [])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, "sched_yield"), [])
        return context.get_dummy_value()

    return types.void(), codegen


@kernel
def wait_for(counters, finished):
    """Wait until so many strands are finished, and return how many are."""
    looks = 0
    done = look(counters, DONE)
    while done < finished:
        looks += 1
        if looks < PATIENCE:
            pause()
        else:
            give_way()
        done = look(counters, DONE)
    return done
