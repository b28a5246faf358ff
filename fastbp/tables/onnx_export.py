"""Models of tables as ONNX files: the encoder in ONNX operators, in front of the networks.

What `encoder` computes column by column is computed here of all columns of a kind at once, since each node takes ONNX
Runtime microseconds; a last node puts the encoded columns in order.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..export.onnx_graph import BOOL, FLOAT32, FLOAT64, INT64, ML_DOMAIN, TEXT, Graph, Tensor
from ..export.onnx_networks import class_labels, mean_outputs, metadata_of
from .encoder import BIN_SCALE, CLIP, FARTHEST, Encoder, LevelColumn, NumberColumn
from .model import TableModel


class Part(NamedTuple):
    """Encoded columns.

    Attributes
    ----------
    values : Tensor (rows, len(places))
    places : list of int
        Which columns of the encoder these are.
    """

    values: Tensor
    places: list[int]


def write(model: TableModel, path: str | os.PathLike[str]) -> None:
    """Write the file of `TableModel.to_onnx`."""
    columns = zip(input_names(model.encoder), model.encoder.columns, strict=True)
    graph = Graph({name: (FLOAT64 if isinstance(column, NumberColumn) else TEXT, 1) for name, column in columns})
    outputs, net = outputs_of(model, graph.inputs), model.network
    if model.scaling is None:
        graph.output("label", class_labels(outputs, net.class_names))
        graph.output("probabilities", outputs, net.sizes[-1])
    else:
        shape = shape_of_prediction(model)
        graph.output("predictions", rising(model, outputs).reshaped(-1, *shape), *shape)
    told = {"feature_names": model.encoder.names, "quantiles": model.quantiles or None}
    graph.write(path, metadata_of(net.model) | told)


def input_names(encoder: Encoder) -> list[str]:
    """Return what the inputs are called: as the columns, or by their positions."""
    names = encoder.names or ("",) * len(encoder.columns)
    found: list[str] = []
    for place, name in enumerate(names):
        own = name or f"column_{place}"
        while not name and own in names:
            own += "_"
        found.append(own)
    return found


def outputs_of(model: TableModel, inputs: Sequence[Tensor]) -> Tensor:
    """Return what `TableModel.outputs` returns, from the columns (rows, 1)."""
    total: Tensor | None = None
    for encoder, networks, share in model.members:
        X = encoded(encoder, inputs).cast(model.network.dtype)
        mean = mean_outputs([net.model for net in networks.networks], X).cast(FLOAT64) * share
        total = mean if total is None else total + mean
    assert total is not None
    if model.scaling is None:
        return total.cast(model.network.dtype)
    shift, scale = (np.asarray(each, FLOAT64) for each in model.scaling)
    return total * scale + shift


def rising(model: TableModel, outputs: Tensor) -> Tensor:
    """Return outputs in which the quantiles of each target, if there are some, rise: (rows, targets, levels)."""
    levels = len(model.quantiles)
    if not levels:
        return outputs
    return outputs.reshaped(-1, model.network.sizes[-1] // levels, levels).op(
        "TopK", np.array([levels], INT64), outputs=2, largest=0
    )


def shape_of_prediction(model: TableModel) -> tuple[int, ...]:
    """Return the shape of what `TableModel.predict` returns of a row, where it is of numbers."""
    outputs, levels = model.network.sizes[-1], len(model.quantiles)
    targets = outputs // max(1, levels)
    return (() if targets == 1 else (targets,)) + ((levels,) if levels else ())


# ---- the encoder ----


def encoded(encoder: Encoder, inputs: Sequence[Tensor]) -> Tensor:
    """Return what `Encoder.encode` returns, in float64, from the columns (rows, 1)."""
    numbers: list[tuple[Tensor, NumberColumn, int]] = []
    parts: list[Part] = []
    at, embedded = 0, encoder.dense
    for values, column in zip(inputs, encoder.columns, strict=True):
        if isinstance(column, NumberColumn):
            if column.width:
                numbers.append((values, column, at))
        elif column.embedded:
            parts.append(Part(_level_numbers(column, values).cast(FLOAT64), [embedded]))
            embedded += 1
        elif column.width:
            parts.append(Part(_one_hot(column, values), list(range(at, at + column.width))))
        at += column.width
    if at == 0:  # no column tells anything: the networks get a column of 0
        zeros = inputs[0].op("Shape", dtype=INT64).op("ConstantOfShape", dtype=FLOAT32)
        parts.append(Part(zeros.cast(FLOAT64), [0]))
    parts += _numbers(*zip(*numbers, strict=True)) if numbers else []
    places = [place for part in parts for place in part.places]
    joined = inputs[0].graph.joined([part.values for part in parts])
    return joined if places == sorted(places) else joined.columns(np.argsort(places).tolist())


def _numbers(inputs: Sequence[Tensor], columns: Sequence[NumberColumn], starts: Sequence[int]) -> list[Part]:
    """Return what `NumberColumn.encode` writes, of all columns: numbers, bins, and where there are gaps."""
    x = inputs[0].graph.joined(inputs)
    middles, scales = (np.array(each) for each in zip(*((each.middle, each.scale) for each in columns), strict=True))
    missing = x.op("IsNaN", dtype=BOOL)
    values = missing.where(x.graph.constant(middles), x)
    told = [place for place, column in enumerate(columns) if column.scale > 0]
    parts = []
    if told:
        z = ((values.columns(told) - middles[told]) * scales[told]).op("Clip", -FARTHEST, FARTHEST)
        ratio = z / CLIP
        parts.append(Part(z / (ratio * ratio + 1.0).op("Sqrt"), [starts[place] for place in told]))
    bins = [
        (place, lower, upper, starts[place] + int(column.scale > 0) + number)
        for place, column in enumerate(columns)
        for number, (lower, upper) in enumerate(zip(column.edges[:-1], column.edges[1:], strict=True))
    ]
    if bins:
        of, lower, upper, places = zip(*bins, strict=True)
        low, high = np.array(lower), np.array(upper)
        within = (values.columns(of).op("Max", low).op("Min", high) - low) / (high - low)
        scaled = (within * 2.0 - 1.0) * BIN_SCALE
        parts.append(Part(missing.columns(of).where(x.graph.constant(np.array(0.0)), scaled), list(places)))
    gaps = [place for place, column in enumerate(columns) if column.gaps]
    if gaps:
        ends = [starts[place] + columns[place].width - 1 for place in gaps]
        parts.append(Part(missing.columns(gaps).cast(FLOAT64), ends))
    return parts


def _level_numbers(column: LevelColumn, text: Tensor) -> Tensor:
    """Return what `LevelColumn.numbers` returns of text (rows, 1)."""
    places = column.places
    return text.op("LabelEncoder", dtype=INT64, domain=ML_DOMAIN, keys_strings=list(places),
                   values_int64s=list(places.values()), default_int64=0)  # fmt: skip


def _one_hot(column: LevelColumn, text: Tensor) -> Tensor:
    """Return what `LevelColumn.encode` writes."""
    first = 0 if column.others else 1
    numbers = np.arange(first, len(column.levels) + 1, dtype=INT64)
    return _level_numbers(column, text).op("Equal", numbers, dtype=BOOL).cast(FLOAT64)
