"""The choice, call by call, between the general pass and a step that is compiled for the network."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from ..program import narrow, passes
from ..program.network import Network, StepForm
from ..program.table import Program
from ..program.tuning import tuning

TRIALS = 3  # calls of each tier that are timed before the quickest goes on
GENERAL, COMPILED, SHARED = TIERS = range(3)  # the general pass, the compiled step, its parts for several threads


class Tiers:
    """What the steps of a fit run on; every tier gives the same bits, so it may change between any two calls.

    Parameters
    ----------
    network : Network
    batch : int
        Rows of a whole minibatch.
    dtype : numpy.dtype
    threads : int
        At most. The clock decides, once for all fits of this process: which is quickest depends on the processor.
    form : StepForm
    """

    def __init__(self, network: Network, batch: int, dtype: np.dtype[Any], threads: int, form: StepForm):
        self._network, self._batch, self._dtype, self._threads, self._form = network, batch, dtype, threads, form
        self._step = step = narrow.step_of(network, batch, dtype, form)
        self._sharing = 1 if step is None else narrow.threads_for(step, batch, threads)
        self._parts = () if step is None else narrow.parts_of(step, batch, self._sharing, form.clipped)
        self._tier, self._there = GENERAL, [GENERAL]
        team = passes.training_step(network, batch, dtype, threads, form, tuning()).threads
        self._times = _times_of(step, team, self._sharing)

    def program(self, rows: int, form: StepForm) -> Program:
        """Return the program of a minibatch."""
        if self._tier == GENERAL or self._step is None:
            return passes.training_step(self._network, rows, self._dtype, self._threads, form, tuning())
        sharing = self._sharing if self._tier == SHARED else 1
        return narrow.training_step(self._network, rows, form, self._step, sharing)

    @property
    def activations(self) -> int:
        """The elements of activations that compiled steps take."""
        if not self._parts or self._step is None:
            return 0
        return narrow.training_step(self._network, self._batch, self._form, self._step, self._sharing).activations

    def choose(self, rows: float, seconds_a_row: float) -> None:
        """Choose for the next call; so many rows of the fit are left."""
        self._look(rows * seconds_a_row)
        untried = [tier for tier in self._there if len(self._times[tier]) < TRIALS]
        if tuning().specialised:
            self._tier = self._there[-1]
        else:
            self._tier = untried[0] if untried else min(self._there, key=lambda tier: min(self._times[tier]))

    def _look(self, seconds: float) -> None:
        """Find out which tiers are there now; what is missing is asked for if it pays for so many seconds."""
        if len(self._there) == GENERAL + 1 and self._step is not None and narrow.ready(self._step, seconds):
            self._there.append(COMPILED)
        if len(self._there) == COMPILED + 1 and self._parts:
            parts = [narrow.ready(part, seconds) for part in self._parts]  # both are asked for
            if all(parts):
                self._there.append(SHARED)

    def took(self, seconds: float, rows: int) -> None:
        """Take note of what a call of so many rows took."""
        if self._step is None:
            return
        times = self._times[self._tier]
        if len(times) < TRIALS:
            times.append(seconds / rows)
        if self._tier == GENERAL:
            narrow.spend(self._step, seconds)
        if self._tier != SHARED:
            for part in self._parts:
                narrow.spend(part, seconds)


@functools.lru_cache(maxsize=256)
def _times_of(step: Any, threads: int, sharing: int) -> tuple[list[float], ...]:
    """Return what first calls of a step took in this process in each tier, in seconds a row, to be added to.

    So many threads may carry out the general pass, and so many share the compiled step.
    """
    return tuple([] for _ in TIERS)
