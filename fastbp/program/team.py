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
from ..kernels import functions
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
        lead, carry_out, serve = functions.addresses(functions.TEAM)
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

    def run(self, call: bytes, team: int) -> bool:
        """Carry out a call by a team of at most so many; return False if the members are at another call."""
        team = min(team, self._most)
        if not self._busy.acquire(blocking=False):
            return False
        try:
            while len(self._wakes) < team - 1:
                self._start_member()
            if self._lead(self._address, call, team):
                for member in range(1, team):
                    if not self._mailbox[(2 * member + 1) * LINE]:
                        self._wakes[member - 1].put(None)
                self._carry_out(self._address, call, team)
        finally:
            self._busy.release()
        return True

    def _start_member(self) -> None:
        wake: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._wakes.append(wake)
        arguments = self._serve, self._address, len(self._wakes), wake
        threading.Thread(target=_attend, args=arguments, name=f"fastbp-{len(self._wakes)}", daemon=True).start()


def _attend(serve: Any, mailbox: int, member: int, wake: queue.SimpleQueue[None]) -> None:
    while True:
        wake.get()
        serve(mailbox, member)


@functools.cache
def team(compiled_pass: int) -> Team:
    """Return the team of this process."""
    return Team(hardware.affinity(), compiled_pass)
