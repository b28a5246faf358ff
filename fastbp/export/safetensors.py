"""Networks as safetensors files: `MLP.to_safetensors`.

The format (https://huggingface.co/docs/safetensors): 8 bytes with the length of a JSON header, little-endian; the
header, which says of each tensor its dtype, shape and place; the tensors' bytes, little-endian, in C order, without
gaps.
"""

from __future__ import annotations

import json
import os
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..model.model import NAMES, SCALING, Model
from ..model.whole_file import replacing

DTYPES = {"float32": "F32", "float64": "F64"}
ALIGNMENT = 8  # of the first tensor: the header is filled up with spaces


def write(path: str | os.PathLike[str], model: Model) -> None:
    """Write a model's weights and biases; the arguments and errors are those of `MLP.to_safetensors`."""
    if model.embeddings:
        raise ValueError("to_safetensors: got a network with embeddings, expected one whose inputs are all numbers")
    tensors, end = _tensors(model), 0
    header: dict[str, Any] = {"__metadata__": _metadata(model)}
    for name, array in tensors.items():
        place = [end, end := end + array.nbytes]
        header[name] = {"dtype": DTYPES[array.dtype.name], "shape": list(array.shape), "data_offsets": place}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    with replacing(path) as file:
        file.write(struct.pack("<Q", len(text)))
        file.write(text)
        for array in tensors.values():
            file.write(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes())


def _tensors(model: Model) -> dict[str, NDArray[Any]]:
    """Return the tensors by the names that they have in an nn.Sequential of Linear and activations by turns."""
    tensors = {}
    for layer, (W, b) in enumerate(zip(model.weights, model.biases, strict=True)):
        tensors[f"{2 * layer}.weight"], tensors[f"{2 * layer}.bias"] = W.T, b
    return tensors


def _metadata(model: Model) -> dict[str, str]:
    """Return what tensors do not say, as the format wants it: texts, in which lists and numbers are JSON."""
    values = {**model.describe(), **{name: getattr(model, name) for name in NAMES}}
    values |= {name: None if (array := getattr(model, name)) is None else array.tolist() for name in SCALING}
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}
    return {"format": "pt", **{name: text for name, text in texts.items() if values[name] is not None}}
