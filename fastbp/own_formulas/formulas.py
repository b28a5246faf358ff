"""`Activation` and `Loss`: a user's own pair of functions, value and derivative, for `MLP`."""

from __future__ import annotations

import functools
import keyword
import numbers
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..kernels import activations, losses, own
from ..kernels.activations import EXP, IDENTITY, LOGISTIC
from ..kernels.expressions import evaluated
from ..kernels.functions import OWN
from ..kernels.own import Definition
from ..validation import choice, real_array, shape, truth
from .checks import POINTS, TARGETS, check_derivative, check_finite
from .functions import plain, traceable
from .tracing import Trace

Function = Callable[..., Any]
DESCRIBED = ({"digest", "initializer"}, {"digest", "targets", "mean"})  # what files have of a formula
INITIALIZERS = ("glorot", "he", "lecun")
OUTPUTS = {"numbers": IDENTITY, "shares": LOGISTIC, "counts": EXP}  # by what targets are


class _Formula:
    """A name, and what was traced."""

    what: str
    name: str
    definition: Definition

    @property
    def digest(self) -> str:
        """Hash of all that the formula follows from."""
        return self.definition.name.removeprefix(OWN)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{type(self).__name__}.{name}: cannot be changed; make another one")

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and vars(other) == vars(self)

    def __hash__(self) -> int:
        return hash((self.name, self.definition))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    def __getstate__(self) -> dict[str, Any]:
        return vars(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


class Activation(_Formula):
    """An activation of your own: a function of one number, and its derivative.

    Both are plain functions of a Python float, or compiled by Numba. They are traced: called with symbols, by which the
    arithmetic that they do becomes an operation of the compiled pass, in vectors and in the network's dtype. They may
    use arithmetic, comparisons, branches, loops of a fixed length, ``abs``, ``min``, ``max``, functions of `math` and
    their namesakes of NumPy, and functions that do. ``exp``, ``expm1``, ``log``, ``log1p``, ``sqrt`` and ``tanh`` are
    computed in vectors; others, such as ``sin`` and ``erf``, are the C library's, one number after another.

    Where the derivative is one of the value alone, as ``1 - tanh(x)**2`` is, it is computed from the value.

    Parameters
    ----------
    name : str
        An identifier, none of the activations and losses that `MLP` has.
    value : callable
        ``value(x, **constants)``.
    derivative : callable
        ``derivative(x, **constants)``; at kinks, any one of the slopes around.
    initializer : {"he", "glorot", "lecun"}, default "he"
        How the weights in front of it start, unless `MLP` is told.
    **constants : float
        Numbers that both functions take by these names. With other numbers it is another formula.

    Attributes
    ----------
    name : str
    digest : str
        Hash of all that the formula follows from: the code of both functions, the constants in it and given here, what
        they close over and what they call.

    Raises
    ------
    ValueError
        The derivative is not that of the value: at about a hundred points of both signs and sizes up to 100,000 it is
        compared with central differences by `gradcheck`, and the message shows both numbers. Or one of the functions is
        not finite somewhere between -30 and 30, in float64; `MLP` looks at that in its own dtype.
    TypeError
        A function does what cannot be traced.

    See Also
    --------
    fastbp.load : reads a network with formulas of your own, which are given to it again.

    Examples
    --------
    The ReLU squared [1]_:

    >>> import fastbp
    >>> squared = fastbp.Activation("relu_squared", lambda x: max(x, 0) ** 2, lambda x: 2 * max(x, 0))
    >>> net = fastbp.MLP((2, 16, 4), activation=squared, seed=0)
    >>> X, y = fastbp.datasets.quadrants(1000, seed=0)
    >>> history = net.fit(X, y, epochs=20, batch_size=32)
    >>> net.score(X, y) > 0.9
    True

    A derivative that is wrong:

    >>> fastbp.Activation("cubic", lambda x: x**3, lambda x: 2 * x**2)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: activation 'cubic': derivative is 2e-06 at x = 0.001, but differences of value give 3.0000...

    .. [1] D. So, W. Mańke, H. Liu, Z. Dai, N. Shazeer, Q. Le, "Primer: searching for efficient transformers for
       language modeling", NeurIPS 2021.
    """

    what = "activation"
    initializer: str

    def __init__(self, name: str, value: Function, derivative: Function, *, initializer: str = "he",
                 **constants: float):  # fmt: skip
        what = _named(self.what, name)
        functions = _functions(what, value, derivative, constants)
        trace = Trace(1)
        at_value, at_derivative = (_traced(trace, what, *each) for each in functions.items())
        expressions = trace.expression(at_value, [0]), trace.expression(at_derivative, [0])
        # From the output where that is enough: the input need not be kept then, and tanh needs no second tanh.
        of_output = at_value != 0 and 0 not in trace.needs(at_derivative, [at_value])
        backward = trace.expression(at_derivative, [at_value]) if of_output else expressions[1]
        definition = Definition(expressions[0], backward, not of_output)
        initializer = choice("initializer", initializer, INITIALIZERS)
        self.__dict__.update(name=name, definition=definition, initializer=initializer)
        self.check_in(np.dtype(np.float64))
        check_derivative(what, functions, expressions, POINTS)

    def check_in(self, dtype: np.dtype[Any]) -> None:
        """Raise ValueError if the formula, computed in this dtype, is not finite at an ordinary point."""
        value, derivative, keeps_input = self.definition
        found = evaluated(value, POINTS, dtype=dtype)
        slopes = evaluated(derivative, POINTS if keeps_input else found, dtype=dtype)
        check_finite(f"{self.what} {self.name!r}", {"value": found, "derivative": slopes}, dtype, POINTS)

    def row(self) -> activations.Activation:
        """Return the row of the kernels' table."""
        return own.activation(self.definition)._replace(initializer=self.initializer)

    def described(self) -> dict[str, Any]:
        """Return what a model's file has of it."""
        return {"digest": self.digest, "initializer": self.initializer}

    def __call__(self, x: Any) -> Any:
        """Return the values at x, array_like of any shape, in float64."""
        return evaluated(self.definition.value, real_array("x", x))


class Loss(_Formula):
    """A loss of your own, output by output: a function of a logit z and its target t, and its derivative by z.

    Both functions are traced as those of `Activation` are, and may use the same.

    Parameters
    ----------
    name : str
        An identifier, none of the activations and losses that `MLP` has.
    value : callable
        ``value(z, t, **constants)``.
    derivative : callable
        ``derivative(z, t, **constants)``, by z.
    targets : {"numbers", "shares", "counts"}, default "numbers"
        What y holds, and with it what predictions are: any numbers, and predictions are z; shares from 0 to 1, or
        classes 0 and 1 of one output, and predictions are probabilities 1 / (1 + exp(-z)); or numbers of at least 0,
        and predictions are exp(z).
    mean : bool, default True
        Whether the loss of a row is the mean over outputs; else their sum.
    **constants : float
        Numbers that both functions take by these names.

    Attributes
    ----------
    name : str
    digest : str
        As of `Activation`.

    Raises
    ------
    ValueError, TypeError
        As of `Activation`.

    Examples
    --------
    The focal loss for two classes [1]_, in which rows that are told apart already count little:

    >>> import math, fastbp
    >>> def softplus(x):
    ...     return max(x, 0.0) + math.log1p(math.exp(-abs(x)))
    >>> def focal(z, t, gamma):
    ...     m = (2 * t - 1) * z                     # how far z is on the right side
    ...     q = 1 / (1 + math.exp(m))               # what is missing to certainty
    ...     return q**gamma * softplus(-m)
    >>> def slope(z, t, gamma):
    ...     s = 2 * t - 1
    ...     q = 1 / (1 + math.exp(s * z))
    ...     return -s * q**gamma * (gamma * (1 - q) * softplus(-s * z) + q)
    >>> loss = fastbp.Loss("focal", focal, slope, targets="shares", gamma=2)
    >>> net = fastbp.MLP((2, 16, 1), loss=loss, seed=0)
    >>> X, y = fastbp.datasets.quadrants(1000, seed=0)
    >>> history = net.fit(X, y % 2, epochs=30, batch_size=32, optimizer="adam", learning_rate=0.01)
    >>> net.score(X, y % 2) > 0.9
    True

    .. [1] T.-Y. Lin, P. Goyal, R. Girshick, K. He, P. Dollár, "Focal loss for dense object detection", ICCV 2017.
    """

    what = "loss"
    targets: str
    mean: bool

    def __init__(self, name: str, value: Function, derivative: Function, *, targets: str = "numbers",
                 mean: bool = True, **constants: float):  # fmt: skip
        what = _named(self.what, name)
        targets = choice("targets", targets, tuple(OUTPUTS))
        functions = _functions(what, value, derivative, constants)
        trace = Trace(2)
        found = [trace.expression(_traced(trace, what, *each), [0, 1]) for each in functions.items()]
        definition = Definition(found[0], found[1])
        self.__dict__.update(name=name, definition=definition, targets=targets, mean=truth("mean", mean))
        self.check_in(np.dtype(np.float64))
        for t in TARGETS[targets]:
            check_derivative(what, functions, definition[:2], POINTS, np.full_like(POINTS, t))

    def check_in(self, dtype: np.dtype[Any]) -> None:
        """Raise ValueError if the formula, computed in this dtype, is not finite at an ordinary point."""
        z, t = map(np.ravel, np.meshgrid(POINTS, TARGETS[self.targets]))
        value, derivative = (evaluated(each, z, t, dtype=dtype) for each in self.definition[:2])
        check_finite(f"{self.what} {self.name!r}", {"value": value, "derivative": derivative}, dtype, z, t)

    def row(self) -> losses.Loss:
        """Return the row of the kernels' table."""
        row = own.loss(self.definition)
        return row._replace(name=self.name, targets=self.targets, output=OUTPUTS[self.targets], mean=self.mean)

    def described(self) -> dict[str, Any]:
        """Return what a model's file has of it."""
        return {"digest": self.digest, "targets": self.targets, "mean": self.mean}

    def __call__(self, z: Any, t: Any) -> Any:
        """Return the losses at logits z and targets t, array_like of one shape, in float64."""
        logits, targets = real_array("z", z), real_array("t", t)
        shape("t", targets, logits.shape)
        return evaluated(self.definition.value, logits, targets)


# ---- arguments ----


def is_pair(value: Any) -> bool:
    """Return whether a value is a pair of functions, not of formulas."""
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        return False
    return all(callable(each) and not isinstance(each, _Formula) for each in value)


def activation_of(value: Any) -> Any:
    """Return what is given for an activation; of a pair of functions, an `Activation` by the name of the first."""
    return _of_pair(Activation, value) if is_pair(value) else value


def loss_of(value: Any) -> Any:
    """Return what is given for a loss; of a pair of functions, a `Loss` by the name of the first."""
    return _of_pair(Loss, value) if is_pair(value) else value


def supplied(custom: Any, name: str, described: Any) -> Activation | Loss:
    """Return the formula of this name among those that a user supplies, which must be the one described."""
    if not isinstance(described, dict) or not any(described.keys() == keys for keys in DESCRIBED):
        raise ValueError(f"custom: got {described!r} for the formula {name!r}")
    kind: type[Activation] | type[Loss] = Loss if "targets" in described else Activation
    custom = {} if custom is None else custom
    if not isinstance(custom, Mapping):
        raise TypeError(f"custom: got {type(custom).__name__}, expected a mapping of names to formulas")
    if name not in custom:
        raise ValueError(
            f"it has a formula of your own, the {kind.what} {name!r}, and none is ever imported from a file; load it "
            f"by fastbp.load(path, custom={{{name!r}: ...}}), with the fastbp.{kind.__name__}, or its pair of functions"
        )
    given = custom[name]
    if is_pair(given):
        given = kind(name, *given, **{key: value for key, value in described.items() if key != "digest"})
    if type(given) is not kind:
        raise TypeError(
            f"custom[{name!r}]: got {type(given).__name__}, expected a fastbp.{kind.__name__} or a pair of functions"
        )
    if given.name != name or given.described() != described:
        raise ValueError(
            f"custom[{name!r}]: got another formula than the network was saved with: {given.name}, "
            f"{given.described()}, expected {name}, {described}"
        )
    return given


def _of_pair(kind: Any, pair: Any) -> Any:
    return kind(getattr(pair[0], "__name__", ""), *pair)


def _named(what: str, name: Any) -> str:
    if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name):
        raise ValueError(
            f"{what}: got the name {name!r}, expected an identifier; functions without one, such as lambdas, need a "
            f"name: fastbp.{what.capitalize()}('name', value, derivative)"
        )
    if name in activations.ACTIVATIONS or name in losses.LOSSES:  # a network has its formulas by their names
        raise ValueError(f"{what}: got the name {name!r}, which fastbp has itself, expected another one")
    return f"{what} {name!r}"


def _functions(what: str, value: Any, derivative: Any, constants: dict[str, Any]) -> dict[str, Function]:
    """Return both functions by their names, as functions of Python's numbers with these constants."""
    for constant, number in constants.items():
        if isinstance(number, bool) or not isinstance(number, numbers.Real):
            raise TypeError(f"{what}: got {constant}={number!r}, expected a number")
    # NumPy's numbers as Python's: those of 32 bits would make the function compute in 32.
    constants = {
        name: number.item() if isinstance(number, np.generic) else number for name, number in constants.items()
    }
    functions = {"value": value, "derivative": derivative}
    for name, function in functions.items():
        if not callable(function):
            raise TypeError(f"{what}: got {type(function).__name__} for {name}, expected a function")
    return {name: functools.partial(plain(function), **constants) for name, function in functions.items()}


def _traced(trace: Trace, what: str, name: str, function: Function) -> int:
    try:
        return trace.value(traceable(function), *trace.inputs)
    except Exception as error:
        raise TypeError(f"{what}: {name} cannot be traced: {error}") from error
