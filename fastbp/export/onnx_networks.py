"""Networks and ensembles as ONNX files: their inputs, layers and answers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..model.model import Model
from .onnx_functions import applied, softmax
from .onnx_graph import FLOAT64, INT64, TEXT, Graph, Tensor

# ---- files ----


def write_network(model: Model, path: str | os.PathLike[str]) -> None:
    """Write the file of `MLP.to_onnx`."""
    graph = Graph({"X": (model.dtype, model.sizes[0])})
    logits = logits_of(model, graph.inputs[0])
    add_answers(graph, model, outputs_of_logits(model, logits), logits, 0.0)
    graph.write(path, metadata_of(model))


def write_ensemble(models: Sequence[Model], path: str | os.PathLike[str]) -> None:
    """Write the file of `Ensemble.to_onnx`."""
    dtype = np.result_type(*(model.dtype for model in models))
    graph = Graph({"X": (dtype, models[0].sizes[0])})
    outputs = mean_outputs(models, graph.inputs[0])
    add_answers(graph, models[0], outputs, outputs, 0.5)
    graph.write(path, metadata_of(models[0]))


def metadata_of(model: Model) -> dict[str, Any]:
    """Return what a file tells of a network in its `metadata_props`."""
    return {
        "loss": model.loss.name,
        "classes": model.class_names,
        "feature_names": model.feature_names,
        "target_name": model.target_name,
    }


# ---- from inputs to outputs ----


def logits_of(model: Model, X: Tensor) -> Tensor:
    """Return the logits (rows, outputs) of inputs (rows, features) of any dtype, in the model's."""
    h = X.cast(model.dtype)
    if model.input_shift is not None:
        h = h - model.input_shift
    if model.input_scale is not None:
        h = h * model.input_scale
    layers = list(zip(model.weights, model.biases, strict=True))
    h = _embedded(model, h)
    for (W, b), activation in zip(layers[:-1], model.network.activations, strict=True):
        h = applied(activation, h.op("Gemm", W, b), model.constants)
    return h.op("Gemm", *layers[-1])


def _embedded(model: Model, X: Tensor) -> Tensor:
    """Return the inputs of the first layer: columns that are not embedded, then the vectors of the others' levels."""
    if not model.embeddings:
        return X
    layout, graph = model.network.layout, X.graph
    parts = [X.columns(layout.plain_columns)] if layout.plain else []
    for column, table in model.tables.items():
        level = X.columns([column]).cast(INT64).reshaped(-1)
        parts.append(graph.constant(table).op("Gather", level, axis=0))
    return graph.joined(parts)


def outputs_of_logits(model: Model, logits: Tensor) -> Tensor:
    """Return what the logits stand for, as `MLP.outputs` does."""
    output = model.loss.output
    return softmax(logits) if output is None else applied(output, logits, model.constants)


def mean_outputs(models: Sequence[Model], X: Tensor) -> Tensor:
    """Return the mean of several models' outputs, summed in float64 as `Ensemble.outputs` does."""
    found = [outputs_of_logits(model, logits_of(model, X)).cast(FLOAT64) for model in models]
    mean = X.graph.node("Sum", found, FLOAT64) / float(len(models))
    return mean.cast(np.result_type(*(model.dtype for model in models)))


# ---- answers ----


def add_answers(graph: Graph, model: Model, outputs: Tensor, decisive: Tensor, threshold: float) -> None:
    """Add the outputs of the graph: `label` and `probabilities` of a loss that classifies, else `predictions`.

    Parameters
    ----------
    decisive : Tensor (rows, outputs)
        Of classes the largest is the label; of binary outputs those above `threshold` are 1.
    """
    count = model.sizes[-1]
    shape = () if count == 1 else (count,)  # of a row's prediction
    if not model.loss.classifies:
        graph.output("predictions", outputs.reshaped(-1, *shape), *shape)
        return
    if model.loss.targets == "classes":
        graph.output("label", class_labels(decisive, model.class_names))
    else:
        graph.output("label", decisive.greater(threshold).cast(INT64).reshaped(-1, *shape), *shape)
    graph.output("probabilities", outputs, count)


def class_labels(decisive: Tensor, names: Sequence[str] | None) -> Tensor:
    """Return the number of each row's largest entry (rows,), the lowest on ties; or its name, if classes have some."""
    number = decisive.op("ArgMax", dtype=INT64, axis=1, keepdims=0)
    return number if names is None else decisive.graph.constant(np.array(names, TEXT)).op("Gather", number)
