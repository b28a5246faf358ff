"""The compiled pass over many minibatches, with no Python between them.

A table of operations (`operations`) is carried out for each step. It is cut into phases, which follow one another;
a phase is cut into strands, which may run side by side; a strand is operations one after the other on one thread.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from numba import prange

from . import operations as op
from .dropout import STEP_STEP
from .jit import call_at, kernel, parallel_entry
from .simd import advance, integers, keys, pointer, pointer_at, set_pointer, unsigned
from .team import BEGUN, FOR_EVER, SHORTLY, draw, finish_one, look, replace, wait_for

FIELDS = len(op.FIELDS)


class Step(NamedTuple):
    """A step of a course: its number and its first row."""

    number: Any
    first: Any


class Member(NamedTuple):
    """A thread of a team: its number, and its own operands and workspace."""

    number: Any
    operands: Any
    workspace: Any


@kernel
def member_of(call, number):
    operands = advance(pointer_at(call, op.WORKSPACE), number * call[op.WORKSPACE_BYTES])
    return Member(number, operands, advance(operands, op.OPERAND_BYTES))


@kernel
def move_to(step, call, operands):
    """Write where the operands of a step lie; the call has those of the course's begin."""
    for operand in range(op.KEY):
        moved = step.first * call[op.ROW_BYTES + operand] + step.number * call[op.STEP_BYTES + operand]
        set_pointer(operands, operand, advance(pointer_at(call, op.OPERANDS + operand), moved))
    key = keys(call)[op.OPERANDS + op.KEY] + unsigned(step.number) * unsigned(STEP_STEP)
    keys(operands)[op.KEY] = key


@kernel
def perform(table, begin, end, member):
    """Carry out rows [begin, end) of a table."""
    for index in range(begin, end):
        row = advance(table, index * FIELDS)
        call_at(row, (row, member.operands, member.workspace))


# ---- one thread ----


@kernel
def whole_step(table, rows, step, call, member):
    move_to(step, call, member.operands)
    perform(table, 0, rows, member)


@kernel
def serially(call):
    """Carry the table out for each step of the course, and the tail, if there is one, for the last of each round."""
    member = member_of(call, 0)
    whole, tail = advance(call, op.WHOLE), advance(call, op.TAIL)
    number, first = 0, 0
    for _ in range(call[op.ROUNDS]):
        for _ in range(call[op.STEPS]):
            whole_step(integers(pointer_at(whole, op.TABLE)), whole[op.ROWS], Step(number, first), call, member)
            number, first = number + 1, first + call[op.BATCH]
        if tail[op.ROWS] > 0:
            whole_step(integers(pointer_at(tail, op.TABLE)), tail[op.ROWS], Step(number, first), call, member)
            number, first = number + 1, first + call[op.LAST]


# ---- a team ----


@kernel
def carry_out_once(program, strand, turn, end, member):
    """Carry out a strand of step `turn`, unless it has been begun; its phase ends with `end` strands finished."""
    counters, strands = integers(pointer_at(program, op.COUNTERS)), integers(pointer_at(program, op.STRANDS))
    begun = BEGUN + strand
    if look(counters, begun) == turn and replace(counters, begun, turn, turn + 1):
        perform(integers(pointer_at(program, op.TABLE)), strands[strand], strands[strand + 1], member)
        finish_one(counters, end)


@kernel
def take_part(program, begun, steps, step, batch, call, member):
    """Do one member's part of `steps` steps from `step` on, each of `batch` rows; `begun` steps of the counters' were
    before."""
    phases, counters = integers(pointer_at(program, op.PHASES)), integers(pointer_at(program, op.COUNTERS))
    total, last, team = program[op.STRAND_COUNT], program[op.PHASE_COUNT] - 1, call[op.TEAM]
    turn, phase = begun, 0
    while turn < begun + steps:
        start, count = phases[phase], phases[phase + 1] - phases[phase]
        before, end = turn * total + start, turn * total + start + count
        move_to(Step(step.number + turn - begun, step.first + (turn - begun) * batch), call, member.operands)
        for own in range(member.number, count, team):  # what they work on is in this member's cache
            carry_out_once(program, start + own, turn, end, member)
        # Then others', each shown to one idle member: first those that their members begin last.
        drawn = 0
        while wait_for(counters, end, SHORTLY) < end and drawn < count:
            drawn = draw(counters, before, end) - before
            other = (drawn + team) % count
            if drawn < count and other % team != member.number:
                carry_out_once(program, start + other, turn, end, member)
        phase += 1
        if phase > last:
            turn, phase = turn + 1, 0
        ended = wait_for(counters, end, FOR_EVER)
        if ended >= (turn + 1) * total:  # it came late: the others are further on
            turn, phase = ended // total, 0


@kernel
def in_a_team(call, number):
    """Do one member's part of the course."""
    member = member_of(call, number)
    whole, tail = advance(call, op.WHOLE), advance(call, op.TAIL)
    steps, batch, last = call[op.STEPS], call[op.BATCH], call[op.LAST]
    tails = 1 if tail[op.ROWS] > 0 else 0
    for turn in range(call[op.ROUNDS]):
        step = Step(turn * (steps + tails), turn * (steps * batch + last))
        take_part(whole, turn * steps, steps, step, batch, call, member)
        step = Step(step.number + steps, step.first + steps * batch)
        take_part(tail, turn, tails, step, last, call, member)


@kernel
def run(call, number):
    """Carry out a call, laid out as `operations` says: the whole of it, or what member `number` of its team does."""
    if call[op.TEAM] == 1:
        serially(call)
    else:
        in_a_team(call, number)


def _by_numbas_threads(team, address, call):
    for number in prange(team):
        call_at(pointer(address), (pointer(call), number))


run_by_numbas_threads = parallel_entry(_by_numbas_threads)
