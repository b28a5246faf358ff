"""The choice, call by call, between the general pass and a step that is compiled for the network."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..program import narrow, passes
from ..program.network import Network, StepForm
from ..program.table import Program
from ..program.tuning import tuning


class Tiers:
    """What the steps of a fit run on; either tier gives the same bits, so it may change between any two calls.

    Parameters
    ----------
    network : Network
    batch : int
        Rows of a whole minibatch.
    dtype : numpy.dtype
    threads : int
        At most, of the general pass. The compiled step has one; where the general pass has several, the clock decides.
    form : StepForm
    """

    def __init__(self, network: Network, batch: int, dtype: np.dtype[Any], threads: int, form: StepForm):
        self._network, self._dtype, self._threads = network, dtype, threads
        self._step = narrow.step_of(network, batch, dtype, form)
        self._specialised = False
        general = passes.training_step(network, batch, dtype, threads, form, tuning())
        self._compares = general.threads > 1 and not tuning().specialised
        self._general_seconds: float | None = None  # for a row

    def program(self, rows: int, form: StepForm) -> Program:
        """Return the program of a minibatch."""
        if self._specialised and self._step is not None:
            return narrow.training_step(self._network, rows, form, self._step)
        return passes.training_step(self._network, rows, self._dtype, self._threads, form, tuning())

    def choose(self, rows: float, seconds_a_row: float) -> None:
        """Choose for the next call; so many rows of the fit are left."""
        if self._step is None or self._specialised or (self._compares and self._general_seconds is None):
            return
        self._specialised = narrow.ready(self._step, rows * seconds_a_row)

    def took(self, seconds: float, rows: int) -> None:
        """Take note of what a call of so many rows took."""
        if self._step is None:
            return
        if not self._specialised:
            self._general_seconds = seconds / rows
            narrow.spend(self._step, seconds)
        elif self._compares and self._general_seconds is not None and seconds / rows > self._general_seconds:
            self._step, self._specialised = None, False
