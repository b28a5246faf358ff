"""A team of Python's threads, which carries out calls of the compiled pass together with the calling thread.

Its members wait in compiled code, with the GIL released, for some 100 us after a call before they go to sleep: a call
that follows soon is entered in under a microsecond, where Python takes 100 to wake a thread. Nobody waits for a member
that does not come (`kernels.team`).
"""

from __future__ import annotations

import ctypes
import functools
import queue
import threading
from typing import Any

import numpy as np

from .. import hardware
from ..kernels import objects
from ..kernels.functions import TEAM
from ..kernels.operations import LINE
from .memory import address, aligned


class Team:
    """The members of a team, started when they are first needed; one call at a time.

    Parameters
    ----------
    most : int
        The number of members, the calling thread included.
    compiled_pass : int
        Where the compiled pass lies.
    """

    def __init__(self, most: int, compiled_pass: int):
        lead, carry_out, serve = objects.addresses(TEAM)
        pointer, number = ctypes.c_void_p, ctypes.c_int64
        self._lead = ctypes.CFUNCTYPE(number, pointer, pointer, number)(lead)
        self._carry_out = ctypes.CFUNCTYPE(None, pointer, pointer, number)(carry_out)
        self._serve = ctypes.CFUNCTYPE(None, pointer, number)(serve)
        self._mailbox = aligned(2 * LINE * most, np.int64)
        self._mailbox.fill(0)
        self._mailbox[0] = compiled_pass
        # For ever: at the end of the process Python frees what a member may still look at.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._mailbox))
        self._address = address(self._mailbox)
        self._most, self._busy = most, threading.Lock()
        self._wakes: list[queue.SimpleQueue[None]] = []

    def run(self, call: int, team: int) -> bool:
        """Carry out the call at an address by a team of at most so many; return False if the members are at another."""
        if not self._busy.acquire(blocking=False):
            return False
        asleep = -1  # not known, if a signal's handler raises on the way back from compiled code
        try:
            team = min(team, self._enlisted(team))
            asleep = self._lead(self._address, call, team)
            if asleep:
                for member in range(1, team):
                    if not self._mailbox[(2 * member + 1) * LINE]:
                        self._wakes[member - 1].put(None)
        finally:
            try:
                if asleep:  # also after an exception: the call lies in memory that is then freed
                    self._carry_out(self._address, call, team)
            finally:
                self._busy.release()
        return True

    def _enlisted(self, team: int) -> int:
        """Start members up to so many, the calling thread included; return how many there are."""
        while len(self._wakes) < min(team, self._most) - 1:
            wake: queue.SimpleQueue[None] = queue.SimpleQueue()
            arguments = self._serve, self._address, len(self._wakes) + 1, wake
            member = threading.Thread(target=_attend, args=arguments, name=f"fastbp-{arguments[2]}", daemon=True)
            try:
                member.start()
            except RuntimeError:  # the system's limit, or the interpreter ends
                break
            self._wakes.append(wake)
        return len(self._wakes) + 1


def _attend(serve: Any, mailbox: int, member: int, wake: queue.SimpleQueue[None]) -> None:
    while True:
        wake.get()
        serve(mailbox, member)


@functools.cache
def team(compiled_pass: int) -> Team:
    """Return the team of this process."""
    return Team(hardware.affinity(), compiled_pass)
