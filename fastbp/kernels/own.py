"""Users' own activations and losses: expressions that become rows of the tables while the process runs.

A row's name has the digest of its expressions, from which the names of C functions and of cache entries follow.
"""

from __future__ import annotations

import threading
from typing import NamedTuple

from . import activations, functions, losses
from .activations import IDENTITY, Activation
from .expressions import Expression, digest, written
from .functions import OWN, Compiled, Function
from .lanes import Formula, Lanes
from .losses import Loss

_definitions: dict[str, Definition] = {}  # by the names of the rows
_lock = threading.Lock()


class Definition(NamedTuple):
    """Hold what a row is made of.

    Attributes
    ----------
    value, derivative : Expression
        Of an activation the value of x, and the derivative of what the kernels keep of it; of a loss both of logit and
        target.
    keeps_input : bool
        Whether an activation's derivative is that of x; else of the output.
    """

    value: Expression
    derivative: Expression
    keeps_input: bool = True

    @property
    def name(self) -> str:
        return OWN + digest(*self)


def activation(definition: Definition) -> Activation:
    """Return the row of an activation, which is put into the table if it is not there."""
    name = definition.name
    with _lock:
        if name not in activations.KINDS:

            def value(x: Lanes) -> Lanes:
                return written(definition.value, x)

            def backward(dy: Lanes, kept: Lanes) -> Lanes:
                return dy * written(definition.derivative, kept)

            cost = definition.value.cost + definition.derivative.cost
            row = Activation(name, name, Formula(value), Formula(backward), definition.keeps_input, cost=max(4, cost))
            _definitions[name] = definition
            functions.ACTIVATIONS.append(name)
            activations.FUNCTIONS[len(activations.KINDS)] = row
            activations.KINDS[name] = len(activations.KINDS)
    return activations.named(name)


def loss(definition: Definition) -> Loss:
    """Return the row of a loss, which is put into the table if it is not there."""
    name = definition.name
    with _lock:
        if name not in functions.LOSSES:

            def value(z: Lanes, t: Lanes) -> Lanes:
                return written(definition.value, z, t)

            def gradient(z: Lanes, t: Lanes) -> Lanes:
                return written(definition.derivative, z, t)

            row = Loss(name, name, "numbers", IDENTITY, Formula(value), Formula(gradient))
            row.value.__name__ = name
            _definitions[name] = definition
            losses.ELEMENTWISE[row.value] = row
            losses.KINDS[row.value] = len(losses.FORMULAS)
            losses.FORMULAS.append(row.value)
            functions.LOSSES.append(name)
    return losses.ELEMENTWISE[losses.FORMULAS[functions.LOSSES.index(name)]]


def definition(name: str) -> Definition:
    """Return what the row of this name is made of."""
    return _definitions[name]


def definitions(function: Compiled) -> list[Definition]:
    """Return what a function is made of besides the code of this package."""
    names: tuple[str, ...]
    if isinstance(function, Function):
        names = (function.kind,)
    else:
        names = (*function.activations, getattr(function, "loss", ""))
    return [_definitions[name] for name in dict.fromkeys(names) if name in _definitions]


def define(definition: Definition) -> None:
    """Make the row of a definition that came from another process."""
    if definition.value.inputs == 1:
        activation(definition)
    else:
        loss(definition)
