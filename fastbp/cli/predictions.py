"""Make a table of texts of what a network says of rows: what `fastbp predict` writes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from numpy.typing import NDArray

from ..kernels.losses import LOSSES
from ..network import MLP

Array = NDArray[Any]


def table(net: MLP, X: Array, proba: bool) -> tuple[list[str], Iterable[list[str]]]:
    """Return the names of the columns, and a row of texts for each row of X.

    A row holds its class; or 0 or 1 for each label; or a number for each target. Behind them stand the probabilities,
    if they are asked for. Numbers have the fewest digits that read as the same number in the network's own dtype.
    Everything is computed at once, so that whatever is wrong with X is raised here.

    Raises
    ------
    ValueError
        Probabilities are asked of a network that predicts numbers; or X is refused by `MLP.predict`.
    """
    loss, names = LOSSES[net.loss_name], net.class_names or tuple(map(str, range(net.classes)))
    if proba and not loss.classifies:
        raise ValueError(f"the network predicts numbers (its loss is {net.loss_name}), which have no probabilities")
    found, of_classes = net.predict(X).reshape(len(X), -1), loss.targets == "classes"
    answers: Iterable[list[str]] = ([names[row[0]]] if of_classes else list(map(str, row)) for row in found)
    columns = ["prediction"] if found.shape[1] == 1 else [f"prediction {name}" for name in names]
    if not proba:
        return columns, answers
    if of_classes:
        columns += names
    else:
        columns += ["probability"] if found.shape[1] == 1 else [f"probability {name}" for name in names]
    probabilities = net.predict_proba(X).reshape(len(X), -1)
    return columns, ([*answer, *map(str, row)] for answer, row in zip(answers, probabilities, strict=True))
