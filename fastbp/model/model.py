"""A network's state: layers and loss, their constants, parameters, input scaling, generator, names.

`MLP` owns a `Model` and is its public interface. Everything below `fastbp.network` takes the model, never the `MLP`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import frames, names, validation
from ..kernels import coefficients as co
from ..kernels.activations import Activation
from ..kernels.constants import Constant
from ..kernels.losses import Loss
from ..program import passes
from ..program.memory import aligned, most_rows
from ..program.network import network_of
from ..program.parameters import Embedding, ParameterLayout
from . import formulas
from .fit_lock import FitLock
from .initializers import initialise

Array = NDArray[Any]
SCALING = ("input_shift", "input_scale")
NAMES = ("class_names", "feature_names", "target_name")


class Model:
    """The parts of a network. The arguments are those of `MLP` and are checked here.

    Attributes
    ----------
    loss : Loss
    own : dict of str to own_formulas.Activation or Loss
        A user's own formulas, by their names.
    network : passes.Network
        What its programs depend on.
    constants : dict of str to float or tuple of float
        What its activations and its loss depend on, by the names in `kernels.coefficients.CONSTANTS`.
    fixed_coefficients : dict of str to float or array
        The coefficients of a step that follow from the network, by their names.
    coefficients : array
        The same as the kernels take them, the others 0.
    rows_at_once : int
        The largest number of rows in one forward or backward pass.
    parameters : array (n_parameters,)
        Never reallocated: compiled code trusts its length.
    rng : numpy.random.Generator
    seed : int or None
        The seed of the generator, by which runs are told apart; None if it was not an int.
    lock : FitLock
        Held while the network is trained.
    operations_per_input : float
        Multiplications and additions of a forward pass, for each number of X.
    history : training.history.History or None
        The record of the last training that was not refused; neither files nor pickles hold it.
    bound_passes : dict
        The forward passes that `fastbp.prediction` keeps, by what they are for. They know where in memory
        parameters and coefficients lie, so that the assignment of any attribute leaves an empty dict.
    """

    bound_passes: dict[Any, Any]

    def __init__(self, sizes: Any, activation: Any, loss: Any, dtype: Any, input_shift: Any, input_scale: Any,
                 constants: Mapping[str, Any], embeddings: Any = None):  # fmt: skip
        self.sizes = validation.layer_sizes(sizes)
        self.activation, own = formulas.activations_of(activation, len(self.sizes) - 2)
        self.loss, own_loss = formulas.loss_of(loss)
        if own.keys() & own_loss:
            raise ValueError(f"loss: got the name {self.loss.name!r}, which the activation has, expected another one")
        self.own = own | own_loss
        self.dtype = validation.float_dtype(dtype)
        for formula in self.own.values():
            formula.check_in(self.dtype)
        self.constants = _constants(constants, self.sizes[-1], self.dtype)
        embedded = embeddings_of(embeddings, self.sizes, self.dtype)
        columns = [each.column for each in embedded]
        self.input_shift = _scaling("input_shift", input_shift, self.sizes[0], self.dtype, columns, 0.0)
        self.input_scale = _scaling("input_scale", input_scale, self.sizes[0], self.dtype, columns, 1.0)
        self.class_names = self.feature_names = self.target_name = None
        hidden = len(self.sizes) - 2
        activations = (self.activation,) * hidden if isinstance(self.activation, str) else self.activation
        of_layers = tuple(formulas.activation_named(name, self.own) for name in activations)
        self.network = network_of(self.sizes, of_layers, self.loss, embedded)
        self.fixed_coefficients: dict[str, Any] = {"share": self.loss.share_of(self.sizes[-1])}
        rows: tuple[Activation | Loss, ...] = (*self.network.activations, self.loss)
        for constant in itertools.chain(*(row.constants for row in rows)):
            value: Any = self.constants[constant.name]
            self.fixed_coefficients[constant.name] = (
                np.broadcast_to(value, self.sizes[-1]) if constant.per_output else value
            )
        self.coefficients = co.row(self.dtype, **self.fixed_coefficients)
        self.rows_at_once = passes.rows_at_once(self.network, self.dtype, most_rows(self.sizes[0], self.dtype))
        self.parameters: Array = aligned(self.network.layout.total, self.dtype)
        self.operations_per_input = 2.0 * self.network.layout.of_layers / self.sizes[0]
        self.rng = np.random.default_rng(0)
        self.seed: int | None = None
        self.lock = FitLock()
        self.history: Any = None

    def draw(self, seed: Any, initializer: Any) -> None:
        """Create the generator and draw the initial parameters. The arguments are those of `MLP`."""
        self.rng = _generator(seed)
        self.seed = int(seed) if isinstance(seed, (int, np.integer)) else None
        hidden = self.network.activations
        named = self.activation if isinstance(self.activation, str) else "identity"
        first = (formulas.activation_named(named, self.own),)
        of_layers = [each.initializer for each in (*hidden, (hidden or first)[-1])]
        initialise(self.network.layout, self.parameters, self.rng, initializer, of_layers)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        self.__dict__["bound_passes"] = {}

    def __copy__(self) -> Model:
        """Return a model that shares parameters, generator and lock."""
        same = type(self).__new__(type(self))
        same.__dict__.update(self.__dict__, bound_passes={})
        return same

    def keep_history(self, history: Any) -> None:
        """Set the history, of which bound passes know nothing: they stay."""
        self.__dict__["history"] = history

    # ---- parameters ----

    @property
    def weights(self) -> list[Array]:
        return self.network.layout.weights(self.parameters)

    @property
    def biases(self) -> list[Array]:
        return self.network.layout.biases(self.parameters)

    @property
    def embeddings(self) -> tuple[Embedding, ...]:
        return self.network.embeddings

    @property
    def tables(self) -> dict[int, Array]:
        return self.network.layout.tables(self.parameters)

    def set_parameters(self, values: ArrayLike) -> None:
        """Copy values into the parameters; array_like (n_parameters,), checked for dtype and shape."""
        array = validation.real_array("parameters", values)
        validation.shape("parameters", array, self.parameters.shape)
        with np.errstate(over="ignore"):  # to infinity, which shows in the next loss
            self.parameters[...] = array

    # ---- names ----

    @property
    def class_names(self) -> tuple[str, ...] | None:
        return self._class_names

    @class_names.setter
    def class_names(self, value: Iterable[Any] | None) -> None:
        self._class_names = names.of_classes(value, self.sizes[-1])

    @property
    def feature_names(self) -> tuple[str, ...] | None:
        return self._feature_names

    @feature_names.setter
    def feature_names(self, value: Iterable[str] | None) -> None:
        self._feature_names = names.of_features(value, self.sizes[0])

    @property
    def target_name(self) -> str | None:
        return self._target_name

    @target_name.setter
    def target_name(self, value: str | None) -> None:
        self._target_name = names.of_target(value)

    # ---- description ----

    def describe(self) -> dict[str, Any]:
        """Return the settings that define the network, without arrays and names, for files and fingerprints."""
        return {
            "sizes": list(self.sizes), "loss": self.loss.name, "dtype": self.dtype.name,
            "activation": self.activation if isinstance(self.activation, str) else list(self.activation),
            **{name: value for name, value in self.constants.items() if value != co.CONSTANTS[name].default},
            **({"embeddings": [list(each) for each in self.embeddings]} if self.embeddings else {}),
            **formulas.described(self.own),
        }  # fmt: skip

    def targets(self, name: str, y: ArrayLike, rows: int) -> Array:
        """Check `y` and return class indices as int64 (n,), or targets (n, outputs) in the compute dtype.

        The columns of a frame are matched to the names of the outputs.
        """
        if (columns := frames.outputs_of(name, y, self.sizes[-1])) is not None:
            y = columns.values
            if columns.names is not None and self.class_names is not None:
                y = y[:, names.match_exactly(self.class_names, columns.names, name)]
        return validation.targets(name, y, rows, self.sizes[-1], self.dtype, self.loss.targets)


def embeddings_of(given: Any, sizes: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[Embedding, ...]:
    """Return the embeddings in ascending order of their columns, from a mapping of column to (levels, width)."""
    if given is None:
        return ()
    if not isinstance(given, Mapping):
        raise TypeError(f"embeddings: got {given!r}, expected a mapping of columns of X to (levels, width)")
    most = 2 ** (np.finfo(dtype).nmant + 1)  # up to which the dtype has every whole number
    found: dict[int, Embedding] = {}
    for key, value in given.items():
        column = validation.whole_number("embeddings: column", key, 0)
        if column >= sizes[0]:
            raise ValueError(f"embeddings: got column {column}, expected one from 0 to {sizes[0] - 1}")
        pair = None if isinstance(value, (str, bytes)) else validation.as_list(value)
        if pair is None or len(pair) != 2:
            raise ValueError(f"embeddings[{column}]: got {value!r}, expected (levels, width)")
        levels, width = (validation.whole_number(f"embeddings[{column}]", each) for each in pair)
        if levels > most:
            raise ValueError(f"embeddings[{column}]: got {levels} levels, expected at most {most}, as {dtype} can hold")
        found[column] = Embedding(column, levels, width)
    embedded = tuple(found[column] for column in sorted(found))
    if ParameterLayout(sizes, embedded).total > validation.MAX_SIZE:
        raise ValueError(f"embeddings: got {given!r}, expected a network that fits into memory")
    return embedded


def _scaling(
    name: str, given: Any, features: int, dtype: np.dtype[Any], embedded: list[int], neutral: float
) -> Array | None:
    """Return input scaling for each column: where a column is embedded, it must be neutral, and one number for all
    columns does not concern it."""
    array = validation.per_feature(name, given, features, dtype)
    if array is None or not embedded:
        return array
    if np.ndim(given) == 0:
        array[embedded] = neutral
    if wrong := [column for column in embedded if array[column] != neutral]:
        raise ValueError(
            f"{name}: got {array[wrong[0]]} for column {wrong[0]}, which is embedded; expected {neutral:g}"
        )
    return array


def _constants(given: Mapping[str, Any], outputs: int, dtype: np.dtype[Any]) -> dict[str, float | tuple[float, ...]]:
    """Return all constants, those that are not given by their defaults."""
    unknown = ", ".join(map(repr, sorted(given.keys() - co.CONSTANTS.keys())))
    if unknown:
        raise TypeError(f"MLP: got the keyword {unknown}, expected one of the constants {', '.join(co.CONSTANTS)}")
    return {
        name: _constant(constant, given.get(name, constant.default), outputs, dtype)
        for name, constant in co.CONSTANTS.items()
    }


def _constant(constant: Constant, value: Any, outputs: int, dtype: np.dtype[Any]) -> float | tuple[float, ...]:
    limits = np.finfo(dtype)
    of_each = isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.ndim == 1)
    if constant.per_output and of_each:
        if len(value) != outputs:
            raise ValueError(f"{constant.name}: got {len(value)} numbers, expected one, or one for each of the "
                             f"{outputs} outputs")  # fmt: skip
        return tuple(_constant(constant._replace(per_output=False), each, outputs, dtype) for each in value)  # type: ignore[misc]
    if constant.most == np.inf and not constant.above_least:
        return validation.rate(constant.name, value, dtype)
    least = float(limits.tiny) if constant.above_least else constant.least
    below = constant.below_most
    return validation.number(constant.name, value, least, min(constant.most, float(limits.max)), below=below)


def _generator(seed: Any) -> np.random.Generator:
    if isinstance(seed, (bool, np.bool_)):
        raise TypeError(f"seed: got {seed!r}, expected a whole number of at least 0, a Generator or None")
    try:
        return np.random.default_rng(seed)
    except (TypeError, ValueError) as error:
        raise type(error)(f"seed: got {seed!r}, expected a whole number of at least 0, a Generator or None") from None
