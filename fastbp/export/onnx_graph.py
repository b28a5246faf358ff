"""A graph of ONNX operators that is written as arithmetic, and its file.

Operators are those of opset 17 and of ai.onnx.ml 3, of which later opsets changed none that is used here.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Union

import numpy as np
from numpy.typing import NDArray

from ..extras import missing
from ..model.whole_file import replacing
from ..version import __version__

try:
    import onnx
except ModuleNotFoundError as error:
    raise missing(error, "to_onnx", "onnx", "'fastbp[onnx]'") from None

OPSET, ML_OPSET, IR_VERSION = 17, 3, 8
ML_DOMAIN = "ai.onnx.ml"
ROWS = "rows"  # what files call the axis whose length is free
MOST_BYTES = 2**31 - 2**20  # of constants: a message of protobuf ends at 2 GiB
FLOAT32, FLOAT64, INT64, BOOL, TEXT = map(np.dtype, (np.float32, np.float64, np.int64, np.bool_, np.object_))
TYPES = {
    FLOAT32: onnx.TensorProto.FLOAT,
    FLOAT64: onnx.TensorProto.DOUBLE,
    INT64: onnx.TensorProto.INT64,
    BOOL: onnx.TensorProto.BOOL,
    TEXT: onnx.TensorProto.STRING,
}
Array = NDArray[Any]
Operand = Union["Tensor", Array, float]


@dataclass(frozen=True, eq=False)
class Tensor:
    """A value in a graph, with the arithmetic that adds nodes to it.

    Numbers among the operands become constants of this tensor's dtype; arrays keep their own.

    Attributes
    ----------
    graph : Graph
    name : str
    dtype : dtype
        Object for text.
    """

    graph: Graph
    name: str
    dtype: np.dtype[Any]

    def op(self, kind: str, *operands: Operand, dtype: np.dtype[Any] | None = None, **attributes: Any) -> Tensor:
        """Return an operator's result, of `dtype`, by default this tensor's; the other arguments are `Graph.node`'s."""
        return self.graph.node(kind, (self, *map(self._operand, operands)), dtype or self.dtype, **attributes)

    def _operand(self, value: Operand) -> Tensor:
        if isinstance(value, Tensor):
            return value
        return self.graph.constant(value if isinstance(value, np.ndarray) else np.array(value, self.dtype))

    def __add__(self, other: Operand) -> Tensor:
        return self.op("Add", other)

    def __sub__(self, other: Operand) -> Tensor:
        return self.op("Sub", other)

    def __mul__(self, other: Operand) -> Tensor:
        return self.op("Mul", other)

    def __truediv__(self, other: Operand) -> Tensor:
        return self.op("Div", other)

    def __neg__(self) -> Tensor:
        return self.op("Neg")

    def greater(self, other: Operand) -> Tensor:
        """Return where this tensor is greater, as bools."""
        return self.op("Greater", other, dtype=BOOL)

    def less(self, other: Operand) -> Tensor:
        """Return where this tensor is less, as bools."""
        return self.op("Less", other, dtype=BOOL)

    def less_equal(self, other: Operand) -> Tensor:
        """Return where this tensor is at most as large, as bools."""
        return self.op("LessOrEqual", other, dtype=BOOL)

    def equals(self, other: Operand) -> Tensor:
        """Return where this tensor is the same number, as bools."""
        return self.op("Equal", other, dtype=BOOL)

    def where(self, yes: Tensor, no: Operand) -> Tensor:
        """Return `yes` where this tensor of bools holds, `no` elsewhere."""
        return self.op("Where", yes, yes._operand(no), dtype=yes.dtype)

    def cast(self, dtype: np.dtype[Any]) -> Tensor:
        """Return this tensor in a dtype."""
        return self if dtype == self.dtype else self.op("Cast", dtype=dtype, to=TYPES[dtype])

    def columns(self, places: Sequence[int]) -> Tensor:
        """Return columns (rows, len(places))."""
        return self.op("Gather", np.array(places, INT64), axis=1)

    def reshaped(self, *shape: int) -> Tensor:
        """Return this tensor in a shape, in which -1 stands for what is left."""
        return self.op("Reshape", np.array(shape, INT64))


class Graph:
    """Nodes and constants in the order in which they are added.

    Parameters
    ----------
    inputs : mapping of str to (dtype, columns)
        The inputs (rows, columns), by their names; a name may be any text.

    Attributes
    ----------
    inputs : list of Tensor
    """

    def __init__(self, inputs: Mapping[str, tuple[np.dtype[Any], int]]):
        self._names = set(inputs)
        self.inputs = [Tensor(self, name, dtype) for name, (dtype, _) in inputs.items()]
        self._inputs = [_value_info(name, dtype, [ROWS, columns]) for name, (dtype, columns) in inputs.items()]
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.outputs: list[Any] = []
        self._numbers, self._bytes = itertools.count(), 0

    def node(self, kind: str, operands: Sequence[Tensor], dtype: np.dtype[Any], *, outputs: int = 1, domain: str = "",
             **attributes: Any) -> Tensor:  # fmt: skip
        """Add a node and return the first of its outputs, which has this dtype."""
        names = [self._unused(kind.lower()) for _ in range(outputs)]
        inputs = [each.name for each in operands]
        self.nodes.append(onnx.helper.make_node(kind, inputs, names, name=names[0], domain=domain, **attributes))
        return Tensor(self, names[0], dtype)

    def constant(self, array: Array) -> Tensor:
        """Add a constant; an array of objects holds text."""
        self._bytes += array.nbytes
        if self._bytes > MOST_BYTES:
            raise ValueError("to_onnx: got a model of more than 2 GiB, which an ONNX file cannot hold")
        name = self._unused("constant")
        self.constants.append(onnx.numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name))
        return Tensor(self, name, array.dtype)

    def joined(self, parts: Sequence[Tensor]) -> Tensor:
        """Return the columns of several tensors (rows, columns) side by side."""
        return parts[0] if len(parts) == 1 else self.node("Concat", parts, parts[0].dtype, axis=1)

    def output(self, name: str, value: Tensor, *shape: int) -> None:
        """Make a tensor (rows, *shape) the next output, by this name; with `_` behind it if an input is called so."""
        while name in self._names:
            name += "_"
        self._names.add(name)
        self.nodes.append(onnx.helper.make_node("Identity", [value.name], [name], name=name))
        self.outputs.append(_value_info(name, value.dtype, [ROWS, *shape]))

    def write(self, path: str | os.PathLike[str], metadata: Mapping[str, Any]) -> None:
        """Write the file, whole or not at all.

        Parameters
        ----------
        path : path
        metadata : mapping of str to values of JSON
            None is left out, and what is no text becomes JSON.
        """
        graph = onnx.helper.make_graph(self.nodes, "fastbp", self._inputs, self.outputs, self.constants)
        opsets = [onnx.helper.make_opsetid("", OPSET), onnx.helper.make_opsetid(ML_DOMAIN, ML_OPSET)]
        model = onnx.helper.make_model(
            graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="fastbp", producer_version=__version__
        )
        told = {name: value for name, value in metadata.items() if value is not None}
        onnx.helper.set_model_props(
            model, {name: value if isinstance(value, str) else json.dumps(value) for name, value in told.items()}
        )
        content = model.SerializeToString(deterministic=True)
        with replacing(path) as file:
            file.write(content)

    def _unused(self, stem: str) -> str:
        """Return a name that nothing has yet: the stem and a number."""
        name = next(name for number in self._numbers if (name := f"{stem}_{number}") not in self._names)
        self._names.add(name)
        return name


def _value_info(name: str, dtype: np.dtype[Any], shape: Sequence[Any]) -> Any:
    return onnx.helper.make_tensor_value_info(name, TYPES[dtype], shape)
