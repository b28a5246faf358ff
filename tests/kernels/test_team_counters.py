"""The counters of a team, played through in Python: who looks at what, how often, whoever comes and however late."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import Any

import pytest

from fastbp.kernels import operations as op
from fastbp.kernels import steps, team

STEPS = 5


class Played:
    """The kernels of a pass as Python functions, on counters that say how often each was looked at and changed."""

    def __init__(self, phases: list[int], members: int, monkeypatch: pytest.MonkeyPatch):
        starts = [sum(phases[:number]) for number in range(len(phases) + 1)]
        self.phases, self.lock = phases, threading.Lock()
        self.values: Counter[int] = Counter()
        self.looks: Counter[int] = Counter()
        self.changes: Counter[int] = Counter()
        self.carried_out: list[int] = []
        self.program: dict[int, Any] = {
            op.TABLE: None, op.STRANDS: range(starts[-1] + 1), op.PHASES: starts, op.COUNTERS: None,
            op.STRAND_COUNT: starts[-1], op.PHASE_COUNT: len(phases),
        }  # fmt: skip
        self.call = {op.TEAM: members}
        replaced = {
            "look": self.look, "replace": self.replace, "count_one": self.count_one, "put": self.put,
            "rest": lambda looks: time.sleep(0), "pointer_at": lambda place, index: place[index],
            "integers": lambda pointer: pointer, "move_to": lambda *arguments: None,
            "perform": lambda table, begin, end, member: self.carried_out.append(begin),
        }  # fmt: skip
        for module in (steps, team):
            names = [name for name in ("carry_out_once", "draw", "finish_one", "wait_for") if hasattr(module, name)]
            kernels = {name: getattr(module, name).py_func for name in names}
            for name, function in (replaced | kernels).items():
                monkeypatch.setattr(module, name, function, raising=False)

    def look(self, counters: None, index: int) -> int:
        with self.lock:
            self.looks[index] += 1
            return self.values[index]

    def replace(self, counters: None, index: int, old: int, new: int) -> bool:
        with self.lock:
            if self.values[index] != old:
                return False
            assert new > old
            self.changes[index] += 1
            self.values[index] = new
            return True

    def count_one(self, counters: None, index: int) -> int:
        with self.lock:
            self.changes[index] += 1
            self.values[index] += 1
            return self.values[index] - 1

    def put(self, counters: None, index: int, value: int) -> None:
        with self.lock:
            assert value > self.values[index]
            self.changes[index] += 1
            self.values[index] = value

    def by(self, present: list[int], late: float = 0.0) -> None:
        """Carry the steps out by these members, each some seconds after the one before."""

        def part(number: int) -> None:
            time.sleep(late * present.index(number))
            member = steps.Member(number, None, None)
            steps.take_part.py_func(self.program, 0, STEPS, steps.Step(0, 0), 1, self.call, member)

        threads = [threading.Thread(target=part, args=(number,), daemon=True) for number in present]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
        assert not any(thread.is_alive() for thread in threads)


@pytest.mark.parametrize("late", [0.0, 0.001])
@pytest.mark.parametrize("present", ["all", "every other one", "the last"])
@pytest.mark.parametrize("members", [2, 4, 16])
def test_a_strand_is_looked_at_twice_a_step_however_many_members_there_are(
    members: int, present: str, late: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its own member, and by the one that draws it."""
    played = Played([members, 1, 2 * members + 1], members, monkeypatch)
    who = {"all": range(members), "every other one": range(0, members, 2), "the last": [members - 1]}[present]
    played.by(list(who), late)
    strands = sum(played.phases)
    ended = [sorted(played.carried_out[at : at + strands]) for at in range(0, STEPS * strands, strands)]
    assert ended == [list(range(strands))] * STEPS
    for number, phase in enumerate(played.phases):  # of each step
        before = sum(played.phases[:number])
        for at in range(before, STEPS * strands, strands):
            assert sorted(played.carried_out[at : at + phase]) == list(range(before, before + phase))
    for strand in range(strands):
        assert played.changes[team.BEGUN + strand] == STEPS
        assert played.looks[team.BEGUN + strand] <= 2 * STEPS
    assert played.changes[team.DONE] == STEPS * strands
    assert played.looks[team.DONE] == 0  # those who wait look at another line
    assert played.changes[team.ENDED] == STEPS * len(played.phases)
    assert played.changes[team.DRAWN] <= STEPS * strands
