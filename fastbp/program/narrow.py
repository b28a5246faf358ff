"""The programs of narrow networks: one operation, compiled for the network's shape, that is a whole step."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from ..kernels import operations as op
from ..kernels.narrow import NarrowStep
from .memory import round_up
from .network import Network, StepForm
from .table import Program, operation

WIDEST = 128  # of inputs, units and outputs
MOST_LAYERS = 5


def step_of(network: Network, rows: int, dtype: np.dtype[Any], form: StepForm) -> NarrowStep | None:
    """Return the step that can be compiled for a network, or None where it is not narrow."""
    if max(network.sizes) > WIDEST or not 2 <= network.layers <= MOST_LAYERS:
        return None
    step = NarrowStep(
        sizes=network.sizes,
        activations=tuple(activation.name for activation in network.activations),
        loss=form.targets if network.loss.value is None else network.loss.value.__name__,
        update=form.update,
        dropout=form.threshold > 0,
        tile_vectors=2,
        dtype=dtype.name,
    )
    return step._replace(tile_vectors=1) if rows <= step.lanes else step


@functools.lru_cache(maxsize=256)
def training_step(network: Network, rows: int, form: StepForm, step: NarrowStep) -> Program:
    """Return the program of a step that is compiled for this network."""
    parts = op.DECAY | (op.PENALTY if form.penalised and not form.clipped else 0)
    row = operation(
        op.STEP, row_end=rows, threshold=form.threshold, fetched=form.fetched, weighted=form.weighted,
        penalised=form.penalised, clipped=form.clipped, takes_part=parts,
        ldb=round_up(network.layout.total, np.dtype(step.dtype)),
    )  # fmt: skip
    program = Program.of([[[row]]], step.workspace().total, 1)
    program.compiled = step
    return program
