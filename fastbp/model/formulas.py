"""The formulas of a network: rows of the kernels' tables, by their names or as a user's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import validation
from ..kernels.activations import ACTIVATIONS, Activation
from ..kernels.losses import LOSSES, Loss

if TYPE_CHECKING:
    from ..own_formulas import formulas

# What traces and checks a user's own formulas is imported where there is one: it takes 20 ms.

Own = dict[str, "formulas.Activation | formulas.Loss"]


def activations_of(given: Any, count: int) -> tuple[str | tuple[str, ...], Own]:
    """Return the names of the hidden layers' activations, one or a tuple, and those that are a user's own."""
    if isinstance(given, str):
        return validation.names("activation", given, ACTIVATIONS, count), {}
    from ..own_formulas import formulas

    whole = formulas.activation_of(given)
    if isinstance(whole, formulas.Activation):
        return whole.name, {whole.name: whole}
    own: Own = {}
    if isinstance(given, (list, tuple)) or (isinstance(given, np.ndarray) and given.ndim):
        given = list(map(formulas.activation_of, given))
        for each in given:
            if isinstance(each, formulas.Activation) and own.setdefault(each.name, each) != each:
                raise ValueError(f"activation: got two formulas of the name {each.name!r}, expected a name for each")
        given = [each.name if isinstance(each, formulas.Activation) else each for each in given]
    return validation.names("activation", given, [*ACTIVATIONS, *own], count), own


def loss_of(given: Any) -> tuple[Loss, Own]:
    """Return the row of a loss, and the loss if it is a user's own."""
    if not isinstance(given, str):
        from ..own_formulas import formulas

        given = formulas.loss_of(given)
        if isinstance(given, formulas.Loss):
            return given.row(), {given.name: given}
    return LOSSES[validation.choice("loss", given, tuple(LOSSES))], {}


def activation_named(name: str, own: Own) -> Activation:
    """Return the row of an activation by its name."""
    return own[name].row() if name in own else ACTIVATIONS[name]  # type: ignore[return-value]


def described(own: Own) -> dict[str, Any]:
    """Return what a file has of a network's own formulas: names and digests, and nothing that could be run."""
    return {"custom": {name: formula.described() for name, formula in own.items()}} if own else {}


def restored(metadata: Mapping[str, Any], custom: Any) -> tuple[Any, Any]:
    """Return activation and loss of a file, its own formulas taken from those that a user supplies."""
    activation, loss, found = metadata["activation"], metadata["loss"], metadata.get("custom", {})
    if not found:
        return activation, loss
    if not isinstance(found, dict):
        raise ValueError(f"custom: got {found!r}")
    from ..own_formulas import formulas

    own = {name: formulas.supplied(custom, name, each) for name, each in found.items()}
    return with_own(activation, own), own.get(loss, loss)


def with_own(activation: Any, own: Own) -> Any:
    """Return activations as arguments of `MLP`: of names, one or several, a user's own formulas instead of theirs."""
    if isinstance(activation, str):
        return own.get(activation, activation)
    return [own.get(name, name) for name in activation]
