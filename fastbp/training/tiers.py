"""The choice, call by call, between the general pass and a step that is compiled for the network."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..program import narrow, passes
from ..program.network import Network, StepForm
from ..program.table import Program
from ..program.tuning import tuning

TRIALS = 3  # calls of each tier that are timed before the quicker one goes on


class Tiers:
    """What the steps of a fit run on; either tier gives the same bits, so it may change between any two calls.

    Parameters
    ----------
    network : Network
    batch : int
        Rows of a whole minibatch.
    dtype : numpy.dtype
    threads : int
        At most, of the general pass. The compiled step has one. The clock decides, once for all fits of this process:
        which is quicker depends on the processor.
    form : StepForm
    """

    def __init__(self, network: Network, batch: int, dtype: np.dtype[Any], threads: int, form: StepForm):
        self._network, self._dtype, self._threads = network, dtype, threads
        self._step = narrow.step_of(network, batch, dtype, form)
        self._specialised = False
        team = passes.training_step(network, batch, dtype, threads, form, tuning()).threads
        self._times = narrow.times_of(self._step, team)

    def program(self, rows: int, form: StepForm) -> Program:
        """Return the program of a minibatch."""
        if self._specialised and self._step is not None:
            return narrow.training_step(self._network, rows, form, self._step)
        return passes.training_step(self._network, rows, self._dtype, self._threads, form, tuning())

    def choose(self, rows: float, seconds_a_row: float) -> None:
        """Choose for the next call; so many rows of the fit are left."""
        if self._step is None or not (self._specialised or narrow.ready(self._step, rows * seconds_a_row)):
            return
        general, compiled = self._times.general, self._times.compiled
        if tuning().specialised:
            self._specialised = True
        elif min(len(general), len(compiled)) < TRIALS:
            self._specialised = len(general) >= TRIALS
        else:
            self._specialised = min(compiled) <= min(general)

    def took(self, seconds: float, rows: int) -> None:
        """Take note of what a call of so many rows took."""
        if self._step is None:
            return
        times = self._times.compiled if self._specialised else self._times.general
        if len(times) < TRIALS:
            times.append(seconds / rows)
        if not self._specialised:
            narrow.spend(self._step, seconds)
