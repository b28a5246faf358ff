"""The tiers of compiled code: the general pass, and code specialised on a network's shape, which takes over later.

Both give the same bits. Where fastbp does not specialise, both names mean the general pass.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from typing import Any

import fastbp

from . import BRIEF

# What the environment of a process says for each tier. It is set before the process imports fastbp.
TIERS = {"general": {"FASTBP_SPECIALISE": "0"}, "specialised": {"FASTBP_SPECIALISE": "1"}}
SECONDS = 0 if BRIEF else 5  # of calls before the first that counts
MORE_SECONDS = 5 * SECONDS  # where a call uses several steps, each compiled once it has taken 3 s, or all processors
WIDEST = 128  # no network with a wider layer is specialised, so none of them is called for so long


def specialise(network: fastbp.MLP) -> None:
    """Compile the code specialised on a network's shape, where this version of fastbp can be asked for it."""
    if "network" in inspect.signature(fastbp.warmup).parameters:
        fastbp.warmup(network=network)


def take_up(call: Callable[[], Any], network: fastbp.MLP | None = None, seconds: float = SECONDS) -> None:
    """Make calls until they run on the specialised code: a first fit begins on the general pass.

    All sides of fastbp come by here before they are measured.
    """
    if network is not None:
        specialise(network)
    end = time.perf_counter() + seconds
    call()
    while time.perf_counter() < end:
        call()
