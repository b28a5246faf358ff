"""What of a network goes into a file or a pickle, and how a network is made of that again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import validation
from .parameters import Layout
from .program import aligned
from .training import Memory

if TYPE_CHECKING:
    from .network import MLP

SCALING = ("input_shift", "input_scale")
NUMBERS = ("leaky_slope", "huber_delta")


def contents(net: MLP) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return arrays and metadata, of which `fill` makes a network again."""
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


def fill(net: MLP, arrays: dict[str, NDArray[Any]], metadata: dict[str, Any]) -> None:
    """Make a new object, whose `__init__` was not called, the network that arrays and metadata describe."""
    parameters = arrays["parameters"]
    sizes = validation.layer_sizes(metadata["sizes"])
    validation.shape("parameters", parameters, (Layout(sizes).total,))  # before memory is taken for them
    net._set_up(sizes, metadata["activation"], metadata["loss"], metadata["dtype"],
                *(arrays.get(name) for name in SCALING), **{name: metadata[name] for name in NUMBERS})  # fmt: skip
    if parameters.dtype != net.dtype:
        raise ValueError(f"parameters: got dtype {parameters.dtype}, expected {net.dtype}")
    net.parameters[...] = parameters
    net.class_names = metadata["class_names"]
    net.feature_names, net.target_name = metadata.get("feature_names"), metadata.get("target_name")  # not in older ones
    net.rng, net._seed = np.random.default_rng(0), None  # neither is known
    if metadata["random_state"] is not None:
        net.rng.bit_generator.state = metadata["random_state"]


def memory_state(memory: Memory) -> dict[str, Any] | None:
    """Return what an optimizer remembers, without naming the class that holds it; None if that is nothing."""
    return {name.lstrip("_"): value for name, value in vars(memory).items()} if memory.filled else None


def memory_of(state: dict[str, Any] | None) -> Memory:
    """Return a `Memory` of what `memory_state` gave, in memory of its own."""
    memory = Memory()
    if state is not None:
        buffer = aligned(state["buffer"].size, state["buffer"].dtype)
        buffer[...] = state["buffer"]
        memory.steps, memory._kind, memory._buffer = state["steps"], state["kind"], buffer
    return memory
