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

from .jit import call_at, instruction, kernel
from .operations import COMMON_COUNTERS, LINE
from .simd import I32, advance, pointer_at, set_pointer
from .target import FAMILY

# Counters, each on a cache line of its own: strands finished since the pass began; how many they were when a phase last
# ended, which those who wait look at; strands drawn by idle members; then, for each strand, the steps that it was begun
# in. A strand is looked at by its own member and by the one that draws it, so that the cache lines that change cores in
# a phase grow with strands and members, not with their product.
DONE, ENDED, DRAWN, BEGUN = range(COMMON_COUNTERS + 1)
SHORTLY, FOR_EVER = 8, 2**62  # looks
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
    """Add 1 to a counter, behind all that was written before; return what it was."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = _counter(builder, *args)
        return builder.atomic_rmw("add", pointer, ir.Constant(ir.IntType(64), 1), "acq_rel")

    return types.int64(counters, types.intp), codegen


@instruction
def put(typingctx: Any, counters: Any, index: Any, value: Any) -> Any:
    """Set a counter, behind all that was written before, and before anything is read after."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array, index, value = args
        builder.atomic_rmw("xchg", _counter(builder, array, index), value, "seq_cst")
        return context.get_dummy_value()

    return types.void(counters, types.intp, types.int64), codegen


@instruction
def replace(typingctx: Any, counters: Any, index: Any, old: Any, new: Any) -> Any:
    """Set a counter that is `old` to `new`; return whether this thread is the one that did."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array, index, old, new = args
        result = builder.cmpxchg(_counter(builder, array, index), old, new, "seq_cst", "seq_cst")
        return builder.extract_value(result, 1)

    return types.boolean(counters, types.intp, types.int64, types.int64), codegen


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
def rest(looks):
    """Wait a moment after so many looks in vain."""
    if looks < PATIENCE:
        pause()
    else:
        give_way()


@kernel
def wait_for(counters, end, most):
    """Wait until the phase has ended with which so many strands are finished, or for so many looks; return how many
    were when a phase last ended."""
    looks = 0
    ended = look(counters, ENDED)
    while ended < end and looks < most:
        looks += 1
        rest(looks)
        ended = look(counters, ENDED)
    return ended


@kernel
def finish_one(counters, end):
    """Count a finished strand; with the phase's last one, `end` are finished."""
    if count_one(counters, DONE) + 1 >= end:
        put(counters, ENDED, end)


@kernel
def draw(counters, before, end):
    """Return the next number from `before` on that nobody has drawn, or `end` where there is none before it."""
    drawn = look(counters, DRAWN)
    while drawn < end:
        number = drawn if drawn > before else before
        if replace(counters, DRAWN, drawn, number + 1):
            return number
        drawn = look(counters, DRAWN)
    return end


# ---- a team of Python's threads, which wait in compiled code ----

# Its mailbox holds a counter on a cache line of its own for each of these: where the compiled pass lies, where the call
# lies, and for each member but the first what it is offered, and whether it is awake to see that.
PASS, CALL = range(2)
IDLE, OFFERED, TAKEN = range(3)


@kernel
def offer_of(member):
    return 2 * member


@kernel
def awake_of(member):
    return 2 * member + 1


@kernel
def join_in(mailbox, member):
    """Do this member's part of a call that is offered to it; return whether one was."""
    taken = look(mailbox, offer_of(member)) == OFFERED and replace(mailbox, offer_of(member), OFFERED, TAKEN)
    if taken:
        call_at(advance(mailbox, PASS * LINE), (pointer_at(mailbox, CALL * LINE), member))
        put(mailbox, offer_of(member), IDLE)
    return taken


@kernel
def serve(mailbox, member):
    """Do this member's parts of calls, until none has come for a while."""
    put(mailbox, awake_of(member), 1)
    looks = 0
    while looks < PATIENCE:
        looks += 1
        if join_in(mailbox, member):
            looks = 0
        pause()
    put(mailbox, awake_of(member), 0)
    join_in(mailbox, member)  # offered since the last look, by a thread that saw this one awake


@kernel
def lead(mailbox, call, team):
    """Offer a call to a team. Carry it out, if all its members are awake; return how many are asleep."""
    set_pointer(mailbox, CALL * LINE, call)
    asleep = 0
    for member in range(1, team):
        put(mailbox, offer_of(member), OFFERED)
        asleep += 1 - look(mailbox, awake_of(member))
    if asleep == 0:
        carry_out(mailbox, call, team)
    return asleep


@kernel
def carry_out(mailbox, call, team):
    """Do the first member's part of a call, then wait for those who have begun theirs; others need not come."""
    call_at(advance(mailbox, PASS * LINE), (call, 0))
    for member in range(1, team):
        if not replace(mailbox, offer_of(member), OFFERED, IDLE):
            looks = 0
            while look(mailbox, offer_of(member)) != IDLE:
                looks += 1
                rest(looks)
