"""A network to a file and back: what of it is kept, and what a file must hold to become one again."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from . import checkpoint, validation
from .parameters import Layout

if TYPE_CHECKING:
    from .network import MLP

SCALING = ("input_shift", "input_scale")
NUMBERS = ("leaky_slope", "huber_delta")


def save(net: MLP, path: str | os.PathLike[str]) -> None:
    checkpoint.write(path, *contents(net))


def contents(net: MLP) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arrays and metadata that `network_of` makes a network of again."""
    arrays = {"parameters": net.parameters}
    arrays |= {name: value for name in SCALING if (value := getattr(net, name)) is not None}
    state = net.rng.bit_generator.state if isinstance(net.rng.bit_generator, np.random.PCG64) else None
    return arrays, {
        "sizes": list(net.sizes), "loss": net.loss_name, "dtype": net.dtype.name,
        "activation": net.activation if isinstance(net.activation, str) else list(net.activation),
        **{name: getattr(net, name) for name in NUMBERS},
        "class_names": net.class_names, "feature_names": net.feature_names, "target_name": net.target_name,
        "random_state": state,
    }  # fmt: skip


def load(path: str | os.PathLike[str], make: Callable[..., MLP]) -> MLP:
    arrays, metadata = checkpoint.read(path)
    if "networks" in metadata:
        raise checkpoint.CheckpointError(f"{os.fspath(path)}: an ensemble, which fastbp.Ensemble.load reads")
    try:
        return network_of(arrays, metadata, make)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise checkpoint.CheckpointError(f"{os.fspath(path)}: not a network that fastbp can read: {error}") from error


def network_of(arrays: dict[str, Any], metadata: dict[str, Any], make: Callable[..., MLP]) -> MLP:
    parameters = arrays["parameters"]
    sizes = validation.layer_sizes(metadata["sizes"])
    validation.shape("parameters", parameters, (Layout(sizes).total,))  # before memory is taken for them
    net = make(sizes, metadata["activation"], metadata["loss"], metadata["dtype"], 0,
               *(arrays.get(name) for name in SCALING), **{name: metadata[name] for name in NUMBERS})  # fmt: skip
    net._seed = None  # it is not known
    if parameters.dtype != net.dtype:
        raise ValueError(f"parameters: got dtype {parameters.dtype}, expected {net.dtype}")
    net.parameters[...] = parameters
    net.class_names = metadata["class_names"]
    net.feature_names, net.target_name = metadata.get("feature_names"), metadata.get("target_name")  # not in older ones
    if metadata["random_state"] is not None:
        net.rng.bit_generator.state = metadata["random_state"]
    return net
