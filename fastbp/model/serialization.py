"""A model as arrays and metadata, for files and pickles, and a model from these."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import validation
from ..kernels.coefficients import CONSTANTS
from ..program.parameters import ParameterLayout
from .formulas import restored
from .model import NAMES, SCALING, Model, embeddings_of


def to_arrays(model: Model) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the arrays and the metadata from which `from_arrays` makes an equal model."""
    arrays = {"parameters": model.parameters}
    arrays |= {name: value for name in SCALING if (value := getattr(model, name)) is not None}
    state = model.rng.bit_generator.state if isinstance(model.rng.bit_generator, np.random.PCG64) else None
    names = {name: getattr(model, name) for name in NAMES}
    return arrays, {**model.describe(), **names, "random_state": state}


def from_arrays(arrays: dict[str, NDArray[Any]], metadata: dict[str, Any], custom: Any = None) -> Model:
    """Return the model that arrays and metadata describe; raise KeyError, TypeError or ValueError if they do not.

    A user's own formulas are in neither: `custom` has them by their names.
    """
    parameters = arrays["parameters"]
    sizes = validation.layer_sizes(metadata["sizes"])
    embeddings = {column: (levels, width) for column, levels, width in metadata.get("embeddings", [])}
    embedded = embeddings_of(embeddings, sizes, validation.float_dtype(metadata["dtype"]))
    total = ParameterLayout(sizes, embedded).total
    validation.shape("parameters", parameters, (total,))  # before memory is allocated for them
    scaling = {name: arrays.get(name) for name in SCALING}
    constants = {name: metadata[name] for name in CONSTANTS if name in metadata}
    model = Model(
        sizes,
        *restored(metadata, custom),
        metadata["dtype"],
        **scaling,
        constants=constants,
        embeddings=embeddings,
    )
    if parameters.dtype != model.dtype:
        raise ValueError(f"parameters: got dtype {parameters.dtype}, expected {model.dtype}")
    model.parameters[...] = parameters
    for name in NAMES:
        setattr(model, name, metadata.get(name))  # older files have fewer
    if metadata["random_state"] is not None:
        model.rng.bit_generator.state = metadata["random_state"]
    return model
