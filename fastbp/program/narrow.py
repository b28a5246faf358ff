"""The programs of narrow networks: one operation, compiled for the network's shape, that is a whole step.

The general pass starts at once. A step compiled for the network gives the same bits sooner, so it may take over between
any two steps: `ready` asks for it when that will have paid.
"""

from __future__ import annotations

import functools
import itertools
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..hardware import caches
from ..kernels import background, objects
from ..kernels import operations as op
from ..kernels.narrow.forms import ROWS, SUMS, TILE_VECTORS, NarrowForward, NarrowStep, Workspace
from ..kernels.target import TARGET
from ..kernels.updates import OWN, UPDATES
from .interrupts import interrupt_held
from .memory import round_up
from .network import Network, StepForm
from .parameter_blocks import average_of_all
from .products import bounds
from .table import Operation, Program, operation
from .tuning import tuning

SWITCH = "FASTBP_SPECIALISE"  # an environment variable: with 0, no, off or false all runs on the general pass
WIDEST = 128  # inputs, units and outputs: beyond, compiling hardly pays (docs/internals/experiments.md)
MOST_LAYERS = 5
LOADING_SECONDS = 0.05  # of work by the general pass that pay for a look at the disk: 1 to 4 ms
LINKER_SECONDS = 0.5  # that pay for the first look, which imports LLVM's linker: 50 to 300 ms
COMPILING_SECONDS = 3.0  # that pay for compiling: on another processor, in a process that has to import Numba
# Rows times parameters from which on threads may share a step: on AVX2, 64 rows of 64-16-10 (77,000) took 7.9 us alone
# and 8.0 shared, 150 of 4-100-3 (120,000) 24 and 26, 200 of 64-32-10 (480,000) 46 and 35.
LEAST_SHARED = 200_000
LOSSES_COST = 8  # of a block's losses, which are added one at a time, as `forms.Tiles.cost` counts

_spent: dict[NarrowStep | NarrowForward, float] = {}  # seconds of slower tiers, by all fits of this process


def switched_on() -> bool:
    """Return whether steps may be compiled for their network."""
    return os.environ.get(SWITCH, "").strip().lower() not in ("0", "no", "off", "false")


def step_of(network: Network, rows: int, dtype: np.dtype[Any], form: StepForm) -> NarrowStep | None:
    """Return the step that can be compiled for minibatches of so many rows, or None where there is none: for
    different dropout of layers, dropped inputs, rates of layers, smoothed targets, a user's own optimizer."""
    inputs, *hidden = form.thresholds or (0,)
    if inputs or len(set(hidden)) > 1 or form.rates or form.smoothed:
        return None
    if not _is_narrow(network) or form.update == OWN:
        return None
    return _step_of(network, min(TILE_VECTORS, -(-rows // TARGET.lanes(dtype))), dtype, form)


@functools.lru_cache(maxsize=256)
def _step_of(network: Network, tile_vectors: int, dtype: np.dtype[Any], form: StepForm) -> NarrowStep:
    loss, activations = network.loss, tuple(activation.name for activation in network.activations)
    targets = form.targets if loss.value is None else loss.value.__name__
    dropout = any(form.thresholds)
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
    return max(network.sizes) <= WIDEST and 2 <= network.layers <= MOST_LAYERS and not network.embeddings


def threads_for(step: NarrowStep, rows: int, threads: int) -> int:
    """Return how many of so many threads may share a step: one where it is short."""
    return threads if tuning().parallel or rows * step.parameters >= LEAST_SHARED else 1


def parts_of(step: NarrowStep, rows: int, threads: int, clipped: bool) -> tuple[NarrowStep, ...]:
    """Return the parts of a step that several threads share, none where they cannot.

    Each needs a block of rows; and to clip a gradient, its norm would have to be known between sums and update.
    """
    if clipped or min(threads, -(-rows // step.workspace().ld)) < 2:
        return ()
    return step._replace(part=ROWS), step._replace(part=SUMS)


def ready(step: NarrowStep | NarrowForward, seconds: float = 0.0) -> bool:
    """Return whether a step's function is there; load or ask for it if it pays for `seconds` more of a slower tier.

    That tier has had its own time before: who waited as long as compiling takes, waits no longer for nothing.
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
    """Take note of time that a slower tier took for what this step could have done."""
    _spent[step] = _spent.get(step, 0.0) + seconds


@functools.lru_cache(maxsize=256)
def training_step(network: Network, rows: int, form: StepForm, step: NarrowStep, threads: int = 1) -> Program:
    """Return the program of `passes.training_step` by a step that is compiled for the network, or by its parts."""
    parts = op.DECAY | (op.PENALTY if form.penalised and not form.clipped else 0)
    common = {
        "threshold": max(form.thresholds, default=0), "fetched": form.fetched, "weighted": form.weighted,
        "penalised": form.penalised, "clipped": form.clipped, "takes_part": parts,
        "ldb": round_up(network.layout.total, np.dtype(step.dtype)),
    }  # fmt: skip
    averages: list[Operation] = []  # one, where there is any: the parameters are few
    if form.averaged:
        averages.append(average_of_all(network, np.dtype(step.dtype), UPDATES[form.update].states))
    if shared := parts_of(step, rows, threads, form.clipped):
        return _by_several(rows, common, shared, threads, averages)
    strand = [operation(op.STEP, row_end=rows, **common), *averages]
    return Program.of([[strand]], step.workspace().total, 1, {op.STEP: step})


def _by_several(
    rows: int, common: dict[str, int], parts: Sequence[NarrowStep], threads: int, averages: list[Operation]
) -> Program:
    """Return the program of a step that several threads share, in two phases: blocks of rows, then sums over them.

    It goes through the rows in stretches, with two phases each, where their blocks would not stay in the second cache.
    """
    step, at = parts[0], parts[0].workspace()
    threads = min(threads, -(-rows // at.ld))
    most = max(1, caches().l2 // 2 // (at.block * np.dtype(step.dtype).itemsize))  # blocks of a thread
    stretches = bounds(rows, -(-rows // (threads * most * at.ld)), at.ld)
    blocks = max(-(-(end - begin) // at.ld) for begin, end in stretches)
    sums, phases = (op.ACTIVATIONS, (blocks - 1) * at.block), []
    for begin, end in stretches:
        phases.append([
            [operation(op.STEP_ROWS, row_begin=begin + first, row_end=begin + last,
                       c=(op.ACTIVATIONS, first // at.ld * at.block), **common)]
            for first, last in bounds(end - begin, threads, at.ld)
        ])  # fmt: skip
        phases.append([
            [operation(op.STEP_SUMS, row_begin=begin, row_end=end, column_begin=first, column_end=last, c=sums,
                       epilogue=end == rows, **common)]
            for first, last in _shares(at, step.lanes, threads)
        ])  # fmt: skip
    phases += [[averages]] if averages else []
    program = Program.of(
        phases, step.parameters + step.lanes, threads, {op.STEP_ROWS: parts[0], op.STEP_SUMS: parts[1]}
    )
    return replace(program, activations=blocks * at.block + at.gradient - at.block)


def _shares(at: Workspace, lanes: int, threads: int) -> list[tuple[int, int]]:
    """Cut the tiles of all parameters into shares of nearly the same cost; the first one sums up losses too."""
    costs = [
        layer.gradient_tiles.cost(height, -(-layer.fan_out // lanes))
        for layer in at.layers
        for height in layer.gradient_tiles.heights(layer.fan_in + 1)
    ]
    ends = np.cumsum([LOSSES_COST + costs[0], *costs[1:]])
    middles = ends - 0.5 * np.array(costs)
    cuts = [0, *np.searchsorted(middles, ends[-1] / threads * np.arange(1, threads)).tolist(), len(costs)]
    return [(begin, end) for begin, end in itertools.pairwise(cuts) if begin < end]


@functools.lru_cache(maxsize=256)
def forward(rows: int, compiled: NarrowForward, threads: int) -> Program:
    """Return the program of `passes.forward` by predictions that are compiled for the network, in equal parts."""
    strands = [
        [operation(op.FORWARD, row_begin=begin, row_end=end, lda=compiled.sizes[0], ldc=compiled.sizes[-1], y=number)]
        for number, (begin, end) in enumerate(bounds(rows, threads, compiled.lanes))
    ]
    program = Program.of([strands], compiled.workspace().total, len(strands), {op.FORWARD: compiled})
    return replace(program, activations=len(strands), probes=slice(0, len(strands)))
