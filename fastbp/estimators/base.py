"""The network of an estimator, and scikit-learn's updates as the kernels take them.

The estimators are subclasses of scikit-learn's: parameters and their checks, input validation, labels, methods, tags
and messages are scikit-learn's own. Of its private parts, this module and `fitting`

- extend `_fit`, `_validate_input`, `_initialize` and `_fit_lbfgs`, and in `mlp` give `_label_binarizer` what it finds;
- replace `_fit_stochastic`, `_backprop` and `_forward_pass_fast`;
- use `_random_state`, `_label_binarizer`, `_score`, `_optimizer` (whose classes know the learning rate and when to
  stop) and `_update_no_improvement_count`, with `_no_improvement_count`, `_best_coefs` and `_best_intercepts`.

The extra ``fastbp[sklearn]`` allows only versions of scikit-learn with which these are tested.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.neural_network._stochastic_optimizers import AdamOptimizer, SGDOptimizer
from sklearn.utils.validation import validate_data

from ..learning_rates import LearningRate
from ..model import pickles
from ..names import repeated
from ..network import MLP
from ..optimizers import SGD, Coefficients, Optimizer
from ..training.optimizer_state import OptimizerState
from ..training.orders import Order, Orders
from .arguments import limited

Array = NDArray[Any]
DTYPES = (np.float64, np.float32)  # scikit-learn's order: other dtypes become float64
LEAST_EPSILON = 1e-30  # one that is 0 in float32 would give 0 / 0 where a gradient is always 0
DRAWN_AGAIN = 64  # orders of rows, before the generator's state, which takes 80 us, is kept again
OPTIMIZER = ("_optimizer", "_optimizer_state")  # of scikit-learn, and of the kernels


# ---- scikit-learn's updates, as the kernels take them ----


@dataclass(frozen=True)
class Velocity(Optimizer):
    """``m = momentum m - learning_rate g``, then ``w += m``, or with Nesterov ``w += momentum m - learning_rate g``."""

    momentum: float
    nesterov: bool

    form: ClassVar[str] = "momentum"
    default_learning_rate: ClassVar[float] = 0.001

    def coefficients(self, steps: NDArray[np.int64], learning_rate: NDArray[np.float64]) -> Coefficients:
        return {
            "old_first": self.momentum,
            "new_first": -learning_rate,
            "first_share": -self.momentum if self.nesterov else -1.0,
            "gradient_share": learning_rate if self.nesterov else 0.0,
        }


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam with epsilon added to the uncorrected root: ``w -= learning_rate_t m / (sqrt(v) + epsilon)``."""

    beta_1: float
    beta_2: float
    epsilon: float

    form: ClassVar[str] = "adaptive"
    default_learning_rate: ClassVar[float] = 0.001

    @property
    def steady(self) -> bool:
        return False

    def coefficients(self, steps: NDArray[np.int64], learning_rate: NDArray[np.float64]) -> Coefficients:
        correction = np.sqrt(1.0 - np.power(self.beta_2, steps)) / (1.0 - np.power(self.beta_1, steps))
        return {
            "old_first": self.beta_1,
            "new_first": 1.0 - self.beta_1,
            "old_second": self.beta_2,
            "new_second": 1.0 - self.beta_2,
            "first_share": learning_rate * correction,
            "epsilon": max(self.epsilon, LEAST_EPSILON),
        }


UPDATES: dict[str, type[Optimizer]] = {"sgd": SGD, "velocity": Velocity, "adam": Adam}  # by their names in pickles
UPDATE_NAMES = {update: name for name, update in UPDATES.items()}


class OptimizerRate(LearningRate):
    """The rate of scikit-learn's optimizer, which changes between epochs, and is known ahead unless losses decide.

    Parameters
    ----------
    optimizer : SGDOptimizer or AdamOptimizer
    trained : int
        Rows that were trained on before the fit, `t_`.
    rows, steps : int
        Those of an epoch.
    """

    def __init__(self, optimizer: SGDOptimizer | AdamOptimizer, trained: int, rows: int, steps: int):
        self.optimizer, self.trained, self.rows, self.steps = optimizer, trained, rows, steps
        self._first, self._ahead = self.learning_rate, copy.copy(optimizer)
        self._schedule: str = getattr(optimizer, "lr_schedule", "constant")

    @property
    def learning_rate(self) -> float:  # type: ignore[override]  # it is read only
        """The rate of the next step."""
        return float(self.optimizer.learning_rate)

    @property
    def steady(self) -> bool:
        return self._schedule != "invscaling"

    @property
    def by_steps(self) -> bool:
        return self._schedule != "adaptive"

    def at(self, steps: NDArray[np.int64], total: int) -> NDArray[np.float64]:
        if self.steady:
            return np.full(len(steps), self.learning_rate)
        epochs = steps // self.steps
        first, last = int(epochs[0]), int(epochs[-1])
        return np.array([self._in_epoch(epoch) for epoch in range(first, last + 1)])[epochs - first]

    def _in_epoch(self, epoch: int) -> float:
        if epoch == 0:
            return self._first
        self._ahead.iteration_ends(self.trained + epoch * self.rows)
        return float(self._ahead.learning_rate)


class ShuffledOrders(Orders):
    """The order of the epoch before, shuffled, with the draws of `sklearn.utils.shuffle`.

    That function's own checks take 0.3 ms per epoch.
    """

    def __init__(self, generator: np.random.RandomState):
        self.generator = generator
        self._last: Order | None = None
        self._kept: tuple[Any, Order | None] | None = None  # the generator's state, and the order before the next
        self._since_kept = 0  # orders drawn

    def __call__(self, rows: int) -> Order:
        """Return the order of the next epoch."""
        order: Order = self._drawn(rows, 1)[0]
        return order

    def several(self, rows: int, epochs: int) -> Order:
        if self._kept is None or self._since_kept > DRAWN_AGAIN:
            self._kept, self._since_kept = (self.generator.get_state(legacy=False), self._last), 0
        return self._drawn(rows, epochs)

    def _drawn(self, rows: int, epochs: int) -> Order:
        orders, last = np.empty((epochs, rows), np.int64), np.arange(rows) if self._last is None else self._last
        for order in orders:
            order[:] = last
            self.generator.shuffle(order)
            last = order
        self._last = last
        self._since_kept += epochs
        return orders

    def put_back(self, epochs: int) -> None:
        """Draw the others again, unless another thread has drawn meanwhile: NumPy's global generator is for all."""
        assert self._kept is not None and self._last is not None
        again = ShuffledOrders(copy.deepcopy(self.generator))
        again.generator.set_state(self._kept[0])
        again._last, rows = self._kept[1], len(self._last)
        self._since_kept -= epochs
        again._drawn(rows, self._since_kept)
        wanted, self._last = again.generator.get_state(legacy=False), again._last
        again._drawn(rows, epochs)
        if _same_state(again.generator, self.generator):
            self.generator.set_state(wanted)


def _same_state(one: np.random.RandomState, other: np.random.RandomState) -> bool:
    return pickle.dumps(one.get_state(legacy=False)) == pickle.dumps(other.get_state(legacy=False))


class NetworkEstimator(BaseEstimator):
    """An estimator with an `MLP`, of which `coefs_` and `intercepts_` are views."""

    network_: MLP
    coefs_: list[Array]
    intercepts_: list[Array]
    _update: Optimizer
    _optimizer_state: OptimizerState

    # ---- the network and the lists of its arrays ----

    def _set_network(self, network: MLP) -> None:
        """Set `network_`, and make `coefs_` and `intercepts_` views into its parameters."""
        self.network_, self.coefs_, self.intercepts_ = network, network.weights, network.biases
        self._views = (*self.coefs_, *self.intercepts_)
        self._name_columns()

    def _name_columns(self) -> None:
        """Give the network the column names that scikit-learn keeps, for direct calls of the network."""
        names = [*getattr(self, "feature_names_in_", ())]
        self.network_.feature_names = names if names and not repeated(names) else None

    def _network(self) -> MLP:
        """Return `network_` with the values in `coefs_` and `intercepts_`, to which a user may have assigned arrays."""
        arrays = (*self.coefs_, *self.intercepts_)
        for view, array in zip(self._views, arrays, strict=True):
            if array is not view:
                if np.shape(array) != view.shape:
                    raise ValueError(f"coefs_, intercepts_: got shape {np.shape(array)}, expected {view.shape}")
                view[...] = array
        return self.network_

    def _network_to_train(self, layer_units: Sequence[int]) -> MLP:
        """Return the network, its views restored; ValueError if it has other layers than now wanted."""
        network = self._network()
        if network.sizes != tuple(layer_units):
            raise ValueError(
                f"hidden_layer_sizes: got layers of {tuple(layer_units)} units, expected {network.sizes} as in the fit "
                "before, whose network warm_start and partial_fit train on"
            )
        self._set_network(network)
        return network

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return pickles.reduced(self)

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        if "network_" in state:  # which has the parameters; their views would be pickled as copies
            self._network()
            state = {name: state[name] for name in state if name not in ("coefs_", "intercepts_", "_views")}
        if "_optimizer_state" in state:  # and with it `_update`; the pickle does not name classes of this module
            update: Any = self._update
            state["_update"] = UPDATE_NAMES[type(update)], astuple(update)
            del state["_optimizer_state"]
            memory = self._optimizer_state.state()
            if memory is not None:
                kind, *rest = memory["kind"]
                memory["kind"] = UPDATE_NAMES[kind], *rest
            state["_memory"] = memory
        return pickles.stamped(estimator=state)

    def __setstate__(self, state: dict[str, Any]) -> None:
        pickles.check(type(self).__name__, state)
        state = dict(state["estimator"])
        if "_memory" in state:
            name, values = state["_update"]
            state["_update"], memory = UPDATES[name](*values), state.pop("_memory")
            if memory is not None:
                kind, *rest = memory["kind"]
                memory = {**memory, "kind": (UPDATES[kind], *rest)}
            state["_optimizer_state"] = OptimizerState.of(memory)
        super().__setstate__(state)
        if "network_" in state:
            self._set_network(copy.deepcopy(self.network_))  # copy.copy must not share the network

    def _forward_pass_fast(self, X: Any, check_input: bool = True) -> Array:
        """Compute the outputs of X: scikit-learn's `predict` and `predict_proba` call this."""
        if check_input:
            X = validate_data(self, X, accept_sparse=["csr", "csc"], reset=False)
        with limited(self.n_threads):
            return self._network().outputs(X)


class Snapshot:
    """An estimator as it was before a fit, to be restored if the fit raises."""

    def __init__(self, estimator: NetworkEstimator, goes_on: bool):
        values = estimator.__dict__
        fitted = "network_" in values
        first = () if fitted else ("classes_", "_label_binarizer")  # partial_fit sets these before it looks at X
        self.values = {
            name: list(value) if name.endswith("_") and isinstance(value, list) else value
            for name, value in values.items()
            if name not in first
        }
        self.goes_on = fitted and goes_on  # otherwise the fit makes another network
        if self.goes_on:
            self.parameters = estimator.network_.parameters.copy()
            self.draws = estimator.network_.rng.bit_generator.state
            self.values |= copy.deepcopy({name: values[name] for name in OPTIMIZER if name in values})

    def restore(self, estimator: NetworkEstimator) -> None:
        estimator.__dict__.clear()
        estimator.__dict__.update(self.values)
        if self.goes_on:
            estimator.network_.parameters[...] = self.parameters
            estimator.network_.rng.bit_generator.state = self.draws
            estimator._name_columns()
