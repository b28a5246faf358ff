"""The estimators as skl2onnx takes them: for each a function of its outputs' types, and one that adds its nodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx

from ..export.onnx_graph import BOOL, FLOAT32, FLOAT64, INT64, ML_OPSET, TEXT, Graph, Tensor
from ..export.onnx_networks import class_labels, logits_of, outputs_of_logits
from ..extras import missing
from ..tables.encoder import Encoder, LevelColumn, NumberColumn
from ..tables.onnx_export import outputs_of, rising, shape_of_prediction
from .mlp import MLPClassifier, MLPRegressor
from .tabular import TabularClassifier, TabularRegressor

try:
    import skl2onnx
    from skl2onnx.common import data_types
    from skl2onnx.common.utils_classifier import get_label_classes
except ModuleNotFoundError as error:
    raise missing(error, "fastbp.onnx", "skl2onnx", "skl2onnx") from None

DTYPES = {
    data_types.FloatTensorType: FLOAT32,
    data_types.DoubleTensorType: FLOAT64,
    data_types.Int64TensorType: INT64,
    data_types.BooleanTensorType: BOOL,
    data_types.StringTensorType: TEXT,
}
OPTIONS = {"zipmap": [True, False, "columns"], "nocl": [True, False], "output_class_labels": [False, True]}


def register() -> None:
    """Do what `fastbp.onnx.register` documents."""
    of_classes = (_shapes_of_classes, _convert_classifier)
    of_numbers = (_shapes_of_numbers, _convert_regressor)
    skl2onnx.update_registered_converter(MLPClassifier, "FastbpMLPClassifier", *of_classes, options=OPTIONS)
    skl2onnx.update_registered_converter(TabularClassifier, "FastbpTabularClassifier", *of_classes, options=OPTIONS)
    skl2onnx.update_registered_converter(MLPRegressor, "FastbpMLPRegressor", *of_numbers)
    skl2onnx.update_registered_converter(TabularRegressor, "FastbpTabularRegressor", *of_numbers)


# ---- types of outputs ----


def _shapes_of_classes(operator: Any) -> None:
    estimator, rows = operator.raw_operator, operator.inputs[0].get_first_dimension()
    classes = _classes(operator.scope_inst, estimator)
    kind = data_types.StringTensorType if classes.dtype == TEXT else data_types.Int64TensorType
    operator.outputs[0].set_type(kind([rows, len(classes)] if _tells_labels(estimator) else [rows]))
    operator.outputs[1].type.shape = [rows, len(classes)]


def _shapes_of_numbers(operator: Any) -> None:
    operator.outputs[0].type.shape = [operator.inputs[0].get_first_dimension(), *_shape_of_row(operator.raw_operator)]


def _shape_of_row(estimator: Any) -> tuple[int, ...]:
    """Return the shape of a row's numbers, (1,) of a single one, as skl2onnx has it for other regressors."""
    if isinstance(estimator, MLPRegressor):
        return (estimator.network_.classes,)
    return shape_of_prediction(estimator.model_) or (1,)


def _classes(scope: Any, estimator: Any) -> Any:
    """Return the classes as int64 or, if these are no numbers, as text."""
    classes = np.asarray(get_label_classes(scope, estimator))
    if classes.dtype.kind in "biuf" and (classes.astype(np.int64) == classes).all():
        return classes.astype(np.int64)
    if not all(isinstance(each, str) for each in classes.tolist()):
        raise ValueError(f"{type(estimator).__name__}: got classes {classes.tolist()}, expected whole numbers or text")
    return classes.astype(TEXT)


def _tells_labels(estimator: Any) -> bool:
    """Return whether a row has several labels, each 0 or 1."""
    return isinstance(estimator, MLPClassifier) and estimator._label_binarizer.y_type_.startswith("multilabel")


# ---- nodes ----


def _convert_classifier(scope: Any, operator: Any, container: Any) -> None:
    estimator, graph = operator.raw_operator, _graph_of_inputs(operator)
    outputs = _outputs(estimator, operator, graph)
    if _tells_labels(estimator):
        label = outputs.greater(0.5).cast(INT64)
    else:
        if isinstance(estimator, MLPClassifier) and estimator.network_.classes == 1:  # that of the second of two
            outputs = graph.joined([-outputs + 1.0, outputs])
        label = graph.constant(_classes(scope, estimator)).op("Gather", class_labels(outputs, None))
    _add(graph, [label, outputs], scope, operator, container)


def _convert_regressor(scope: Any, operator: Any, container: Any) -> None:
    estimator, graph = operator.raw_operator, _graph_of_inputs(operator)
    outputs = _outputs(estimator, operator, graph)
    if isinstance(estimator, TabularRegressor):
        outputs = rising(estimator.model_, outputs)
    _add(graph, [outputs.reshaped(-1, *_shape_of_row(estimator))], scope, operator, container)


def _graph_of_inputs(operator: Any) -> Graph:
    """Return a graph with the inputs of an operator, called by their numbers."""
    inputs = {}
    for number, variable in enumerate(operator.inputs):
        kind, columns = type(variable.type), variable.type.shape[1]
        if kind not in DTYPES:
            raise ValueError(f"{_named(operator, number)}: got {kind.__name__}, expected a tensor of numbers or text")
        inputs[str(number)] = DTYPES[kind], columns or operator.raw_operator.n_features_in_
    return Graph(inputs)


def _outputs(estimator: Any, operator: Any, graph: Graph) -> Tensor:
    """Return the outputs (rows, outputs) of an estimator's networks."""
    if isinstance(estimator, (TabularClassifier, TabularRegressor)):
        return outputs_of(estimator.model_, _columns(operator, graph.inputs, estimator.model_.encoder))
    if len(graph.inputs) > 1 or graph.inputs[0].dtype == TEXT:
        raise ValueError(
            f"{type(estimator).__name__}: got {len(graph.inputs)} inputs, expected one, of numbers; a step in front of "
            "it, such as a ColumnTransformer, makes one of several"
        )
    model = estimator._network().model  # with what a user has assigned to `coefs_`
    return outputs_of_logits(model, logits_of(model, graph.inputs[0]))


def _columns(operator: Any, inputs: Sequence[Tensor], encoder: Encoder) -> list[Tensor]:
    """Return the columns (rows, 1) as the encoder takes them: by the names of the inputs, or in their order."""
    columns, called = [], []
    for number, (given, variable) in enumerate(zip(inputs, operator.inputs, strict=True)):
        width = variable.type.shape[1] or len(encoder.columns)
        columns += [given] if width == 1 else [given.columns([place]) for place in range(width)]
        called += [_named(operator, number)] * width
    if len(columns) != len(encoder.columns):
        raise ValueError(f"{called[0]}: got {len(columns)} columns, expected {len(encoder.columns)} as in the fit")
    names = [variable.raw_name for variable in operator.inputs]
    if encoder.names is not None and set(names) == set(encoder.names):
        order = [names.index(name) for name in encoder.names]
        columns, called = [columns[place] for place in order], [called[place] for place in order]
    return [_as_in_fit(*each) for each in zip(columns, encoder.columns, called, strict=True)]


def _as_in_fit(given: Tensor, column: NumberColumn | LevelColumn, called: str) -> Tensor:
    """Return one column as float64 if it was of numbers in the fit, else as text."""
    if isinstance(column, NumberColumn):
        if given.dtype == TEXT and column.width:
            raise ValueError(f"{called}: got StringTensorType, expected numbers as in the fit")
        return given if given.dtype == TEXT else given.cast(FLOAT64)
    if given.dtype == BOOL:
        true, false = (given.graph.constant(np.array([text], TEXT)) for text in ("True", "False"))
        return given.where(true, false)
    if given.dtype != TEXT:
        raise ValueError(f"{called}: got numbers, expected StringTensorType([None, 1]) for text, as in the fit")
    return given


def _named(operator: Any, number: int) -> str:
    return f"{type(operator.raw_operator).__name__}: input {operator.inputs[number].raw_name!r}"


def _add(graph: Graph, outputs: Sequence[Tensor], scope: Any, operator: Any, container: Any) -> None:
    """Add the graph's nodes to those that skl2onnx collects, under names that are free there."""
    names: dict[str, str] = {str(number): variable.full_name for number, variable in enumerate(operator.inputs)}
    for value, variable in zip(outputs, operator.outputs, strict=True):
        dtype = DTYPES[type(variable.type)]
        graph.output(variable.full_name, value.cast(dtype))
        names[graph.outputs[-1].name] = variable.full_name

    def own(name: str) -> str:
        if name not in names:
            names[name] = scope.get_unique_variable_name(name)
        return names[name]

    for constant in graph.constants:
        values = list(constant.string_data) or onnx.numpy_helper.to_array(constant).ravel()
        container.add_initializer(own(constant.name), constant.data_type, list(constant.dims), values)
    for node in graph.nodes:
        attributes = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
        container.add_node(
            node.op_type, [own(name) for name in node.input], [own(name) for name in node.output],
            op_domain=node.domain, op_version=ML_OPSET if node.domain else None,
            name=scope.get_unique_operator_name(node.op_type), **attributes,
        )  # fmt: skip
