"""A network's layers as a table, which notebooks show."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .. import representation
from .model import Model


def layer_table(model: Model) -> str:
    """Return a row for each embedded column and each layer as HTML, and the names of the outputs."""
    shown = representation.table(("layer", "inputs", "outputs", "activation", "parameters"), _rows(model))
    names = model.class_names or (() if model.target_name is None else (model.target_name,))
    return shown + (representation.text(f"outputs: {', '.join(names)}") if names else "")


def _rows(model: Model) -> Iterator[tuple[Any, ...]]:
    for each in model.embeddings:
        name = each.column if model.feature_names is None else model.feature_names[each.column]
        yield f"embedding of {name}", f"{each.levels} levels", each.width, "", each.levels * each.width
    layers = list(zip(model.weights, model.biases, strict=True))
    for i, (weights, biases) in enumerate(layers):
        last = i == len(layers) - 1
        activation = f"none, {model.loss.name}" if last else model.network.activations[i].name
        yield i + 1, *weights.shape, activation, weights.size + biases.size
    yield "all", "", "", "", model.parameters.size
