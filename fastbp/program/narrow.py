"""The programs of narrow networks: one operation, compiled for the network's shape, that is a whole step.

The general pass starts at once. A step compiled for the network gives the same bits sooner, so it may take over between
any two steps: `ready` asks for it when that will have paid.
"""

from __future__ import annotations

import functools
import os
import sys
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ..kernels import background, objects
from ..kernels import operations as op
from ..kernels.narrow.forms import TILE_VECTORS, NarrowForward, NarrowStep
from ..kernels.target import TARGET
from .interrupts import interrupt_held
from .memory import round_up
from .network import Network, StepForm
from .products import bounds
from .table import Program, operation
from .tuning import tuning

SWITCH = "FASTBP_SPECIALISE"  # an environment variable: with 0, no, off or false all runs on the general pass
WIDEST = 128  # inputs, units and outputs: beyond, compiling hardly pays (docs/internals/experiments.md)
MOST_LAYERS = 5
LOADING_SECONDS = 0.05  # of work by the general pass that pay for a look at the disk: 1 to 4 ms
LINKER_SECONDS = 0.5  # that pay for the first look, which imports LLVM's linker: 50 to 300 ms
COMPILING_SECONDS = 3.0  # that pay for compiling: on another processor, in a process that has to import Numba

_spent: dict[NarrowStep | NarrowForward, float] = {}  # seconds of the general pass, by all fits of this process


def switched_on() -> bool:
    """Return whether steps may be compiled for their network."""
    return os.environ.get(SWITCH, "").strip().lower() not in ("0", "no", "off", "false")


def step_of(network: Network, rows: int, dtype: np.dtype[Any], form: StepForm) -> NarrowStep | None:
    """Return the step that can be compiled for minibatches of so many rows, or None where there is none."""
    if not _is_narrow(network):
        return None
    return _step_of(network, min(TILE_VECTORS, -(-rows // TARGET.lanes(dtype))), dtype, form)


@functools.lru_cache(maxsize=256)
def _step_of(network: Network, tile_vectors: int, dtype: np.dtype[Any], form: StepForm) -> NarrowStep:
    loss, activations = network.loss, tuple(activation.name for activation in network.activations)
    targets = form.targets if loss.value is None else loss.value.__name__
    dropout = form.threshold > 0
    return NarrowStep(network.sizes, activations, targets, form.update, dropout, tile_vectors, dtype.name)


def forward_of(network: Network, rows: int, dtype: np.dtype[Any], outputs: bool) -> NarrowForward | None:
    """Return the predictions, outputs or logits, that can be compiled for so many rows, or None where there are none:
    where rows fill no vector, the general pass is as quick."""
    return _forward_of(network, dtype, outputs) if _is_narrow(network) and rows >= TARGET.lanes(dtype) else None


@functools.lru_cache(maxsize=256)
def _forward_of(network: Network, dtype: np.dtype[Any], outputs: bool) -> NarrowForward:
    function = network.loss.output
    output = "softmax" if function is None else function.name if function.in_loop else "logits"
    activations = tuple(activation.name for activation in network.activations)
    return NarrowForward(network.sizes, activations, output if outputs else "logits", dtype.name)


def _is_narrow(network: Network) -> bool:
    if not (tuning().specialised or (tuning().nothing and switched_on())):
        return False
    return max(network.sizes) <= WIDEST and 2 <= network.layers <= MOST_LAYERS


class Times(NamedTuple):
    """Holds what first calls of the general pass and of a compiled step took in this process, in seconds a row."""

    general: list[float]
    compiled: list[float]


@functools.lru_cache(maxsize=256)
def times_of(step: NarrowStep | None, threads: int) -> Times:
    """Return the times of a step, and of the general pass with so many threads, to be added to."""
    return Times([], [])


def ready(step: NarrowStep | NarrowForward, seconds: float = 0.0) -> bool:
    """Return whether a step's function is there; load or ask for it if it pays for `seconds` more of the general pass.

    That pass has had its own time before: who waited as long as compiling takes, waits no longer for nothing.
    """
    if tuning().specialised:
        with interrupt_held():
            objects.addresses([step])
        return True
    if objects.in_memory(step) is not None:
        return True
    seconds += _spent.get(step, 0.0)
    if seconds < (LOADING_SECONDS if "llvmlite.binding" in sys.modules else LINKER_SECONDS):
        return False
    with interrupt_held():
        if background.address(step) is not None:
            return True
    if seconds >= COMPILING_SECONDS:
        background.ask(step)
    return False


def spend(step: NarrowStep | NarrowForward, seconds: float) -> None:
    """Take note of time that the general pass took for what this step could have done."""
    _spent[step] = _spent.get(step, 0.0) + seconds


@functools.lru_cache(maxsize=256)
def training_step(network: Network, rows: int, form: StepForm, step: NarrowStep) -> Program:
    """Return the program of `passes.training_step` by a step that is compiled for the network."""
    parts = op.DECAY | (op.PENALTY if form.penalised and not form.clipped else 0)
    row = operation(
        op.STEP, row_end=rows, threshold=form.threshold, fetched=form.fetched, weighted=form.weighted,
        penalised=form.penalised, clipped=form.clipped, takes_part=parts,
        ldb=round_up(network.layout.total, np.dtype(step.dtype)),
    )  # fmt: skip
    return Program.of([[[row]]], step.workspace().total, 1, step)


@functools.lru_cache(maxsize=256)
def forward(rows: int, compiled: NarrowForward, threads: int) -> Program:
    """Return the program of `passes.forward` by predictions that are compiled for the network, in equal parts."""
    strands = [
        [operation(op.FORWARD, row_begin=begin, row_end=end, lda=compiled.sizes[0], ldc=compiled.sizes[-1], y=number)]
        for number, (begin, end) in enumerate(bounds(rows, threads, compiled.lanes))
    ]
    program = Program.of([strands], compiled.workspace().total, len(strands), compiled)
    return replace(program, activations=len(strands), probes=slice(0, len(strands)))
