"""ONNX Runtime: the network as a chain of Gemm and Relu nodes, followed by Softmax."""

from __future__ import annotations

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from ..problem import Array, Problem


def model(problem: Problem) -> bytes:
    kind = TensorProto.FLOAT if problem.dtype == "float32" else TensorProto.DOUBLE
    nodes, constants, last = [], [], len(problem.fans) - 1
    for layer, (W, b) in enumerate(zip(problem.weights, problem.biases, strict=True)):
        constants += [numpy_helper.from_array(W, f"W{layer}"), numpy_helper.from_array(b, f"b{layer}")]
        nodes.append(helper.make_node("Gemm", [f"H{layer}", f"W{layer}", f"b{layer}"], [f"Z{layer}"]))
        after = ("Relu", f"H{layer + 1}") if layer < last else ("Softmax", "P")
        nodes.append(helper.make_node(after[0], [f"Z{layer}"], [after[1]]))
    ends = [
        helper.make_tensor_value_info(name, kind, ["n", size])
        for name, size in (("H0", problem.sizes[0]), ("P", problem.sizes[-1]))
    ]
    graph = helper.make_graph(nodes, "network", ends[:1], ends[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


class Inference:
    def __init__(self, problem: Problem):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = problem.threads, 1
        self.session = onnxruntime.InferenceSession(model(problem), options, providers=["CPUExecutionProvider"])
        self.X = {"H0": np.ascontiguousarray(problem.X)}

    def run(self) -> Array:
        return self.session.run(None, self.X)[0]

    result = run
