"""What both estimators share: fitting and evaluating an `MLP` where scikit-learn has loops of its own.

The estimators are subclasses of scikit-learn's, so that parameters and their checks, input validation, labels, methods,
tags and words are theirs. Of what scikit-learn keeps private,

- `_fit`, `_validate_input`, `_initialize` and `_fit_lbfgs` are extended; `_fit_stochastic`, `_backprop` and
  `_forward_pass_fast` are replaced;
- `_random_state`, `_label_binarizer`, `_score`, `_optimizer` (whose classes know the learning rate and when to stop)
  and `_update_no_improvement_count`, with `_no_improvement_count`, `_best_coefs` and `_best_intercepts`, are used.

The extra ``fastbp[sklearn]`` is bounded to the versions in which these are what they are taken for.
"""

from __future__ import annotations

import contextlib
import copy
import warnings
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.neural_network._stochastic_optimizers import AdamOptimizer, SGDOptimizer
from sklearn.utils import column_or_1d
from sklearn.utils.validation import validate_data

from .. import threads
from ..learning_rates import LearningRate
from ..model import pickles
from ..names import repeated
from ..network import MLP
from ..optimizers import SGD, Coefficients, Optimizer
from ..training.history import History
from ..training.optimizer_state import OptimizerState
from ..training.plan import DivergenceError, Plan

Array = NDArray[Any]
LOSSES = {  # of an output activation (classifiers) or a `loss` (regressors)
    "softmax": "softmax_cross_entropy", "logistic": "binary_cross_entropy_sum", "squared_error": "half_squared_error",
    "poisson": "half_poisson_deviance_sum", "absolute_error": "mean_absolute_error", "huber": "huber",
}  # fmt: skip
DTYPES = (np.float64, np.float32)  # scikit-learn's order: what is neither becomes float64
LEAST_EPSILON = 1e-30  # 0 in float32 would make 0 / 0 of a parameter whose gradient is always 0


# ---- scikit-learn's updates, as the kernels take them ----


@dataclass(frozen=True)
class _Velocity(Optimizer):
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
class _Adam(Optimizer):
    """Adam whose epsilon stands beside the uncorrected root: ``w -= learning_rate_t m / (sqrt(v) + epsilon)``."""

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


UPDATES: dict[str, type[Optimizer]] = {"sgd": SGD, "velocity": _Velocity, "adam": _Adam}  # what pickles call them
UPDATE_NAMES = {update: name for name, update in UPDATES.items()}


@dataclass
class _Held(LearningRate):
    """The rate that it holds: it is changed between epochs, from outside."""

    learning_rate: float

    def at(self, steps: NDArray[np.int64], total: int) -> NDArray[np.float64]:
        return np.full(len(steps), self.learning_rate)


# ---- what both estimators share ----


class _Before:
    """An estimator as it was before a fit, for where that is refused."""

    def __init__(self, estimator: Fitting, goes_on: bool):
        values = estimator.__dict__
        fitted = "network_" in values
        first = () if fitted else ("classes_", "_label_binarizer")  # partial_fit sets these before it looks at X
        self.values = {
            name: list(value) if name.endswith("_") and isinstance(value, list) else value
            for name, value in values.items()
            if name not in first
        }
        self.goes_on = fitted and goes_on  # else another network takes the place of this one
        if self.goes_on:
            self.parameters = estimator.network_.parameters.copy()
            self.draws = estimator.network_.rng.bit_generator.state
            self.values |= copy.deepcopy({name: values[name] for name in ("_optimizer", "_memory") if name in values})

    def restore(self, estimator: Fitting) -> None:
        estimator.__dict__.clear()
        estimator.__dict__.update(self.values)
        if self.goes_on:
            estimator.network_.parameters[...] = self.parameters
            estimator.network_.rng.bit_generator.state = self.draws
            estimator._name_columns()


class Fitting(BaseEstimator):
    """Fits and evaluates an `MLP` where scikit-learn has loops of its own; comes before its class."""

    network_: MLP
    coefs_: list[Array]
    intercepts_: list[Array]
    validation_scores_: Any  # list of float, or None
    _no_improvement_count: int
    _update: Optimizer

    # ---- the network and the lists of its arrays ----

    def _hold(self, network: MLP) -> None:
        """Make it the estimator's; `coefs_` and `intercepts_` are views into its parameters."""
        self.network_, self.coefs_, self.intercepts_ = network, network.weights, network.biases
        self._views = (*self.coefs_, *self.intercepts_)
        self._name_columns()

    def _name_columns(self) -> None:
        """Give the network the names that scikit-learn keeps, for those who call the network itself."""
        names = [*getattr(self, "feature_names_in_", ())]
        self.network_.feature_names = names if names and not repeated(names) else None

    def _network(self) -> MLP:
        """`network_` with what stands in `coefs_` and `intercepts_`, where a user may have put arrays of their own."""
        arrays = (*self.coefs_, *self.intercepts_)
        for view, array in zip(self._views, arrays, strict=True):
            if array is not view:
                if np.shape(array) != view.shape:
                    raise ValueError(f"coefs_, intercepts_: got shape {np.shape(array)}, expected {view.shape}")
                view[...] = array
        return self.network_

    def _network_to_train(self, layer_units: Sequence[int]) -> MLP:
        network = self._network()
        if network.sizes != tuple(layer_units):
            raise ValueError(
                f"hidden_layer_sizes: got layers of {tuple(layer_units)} units, expected {network.sizes} as in the fit "
                "before, whose network warm_start and partial_fit train on"
            )
        self._hold(network)
        return network

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return pickles.reduced(self)

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        if "network_" in state:  # which has the parameters; their views would be pickled as copies
            self._network()
            state = {name: state[name] for name in state if name not in ("coefs_", "intercepts_", "_views")}
        if "_memory" in state:  # and with it `_update`; classes of this module are not named
            update: Any = self._update
            state["_update"] = UPDATE_NAMES[type(update)], astuple(update)
            memory = self._memory.state()
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
            state["_update"], memory = UPDATES[name](*values), state["_memory"]
            if memory is not None:
                kind, *rest = memory["kind"]
                memory = {**memory, "kind": (UPDATES[kind], *rest)}
            state["_memory"] = OptimizerState.of(memory)
        super().__setstate__(state)
        if "network_" in state:
            self._hold(copy.deepcopy(self.network_))  # copy.copy, too, makes an estimator of its own

    def _limited(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext() if self.n_threads is None else threads.limit(self.n_threads)

    def _forward_pass_fast(self, X: Any, check_input: bool = True) -> Array:
        if check_input:
            X = validate_data(self, X, accept_sparse=["csr", "csc"], reset=False)
        with self._limited():
            return self._network().outputs(X)

    # ---- fitting ----

    def _fit(self, X: Any, y: Any, sample_weight: Any = None, incremental: bool = False) -> Any:
        before = _Before(self, incremental or self.warm_start)
        try:
            with self._limited():
                return super()._fit(X, y, sample_weight=sample_weight, incremental=incremental)
        except BaseException:
            before.restore(self)
            raise

    def _validate_input(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[Any, Array]:
        if not all(callable(callback) for callback in self.callbacks or ()):
            raise TypeError(f"callbacks: got {self.callbacks!r}, expected a sequence of callables")
        X, y = super()._validate_input(X, y, incremental, reset)
        dtype = X.dtype if self.dtype is None else np.dtype(self.dtype)
        with np.errstate(over="ignore"):  # to infinity, which training refuses
            # Rows side by side, as frames do not have them: every epoch gathers rows.
            return (np.require(X, dtype, "C") if isinstance(X, np.ndarray) else X.astype(dtype, copy=False)), y

    def _initialize(self, y: Array, layer_units: Sequence[int], dtype: np.dtype[Any]) -> None:
        super()._initialize(y, layer_units, dtype)  # draws the parameters
        del self._best_coefs, self._best_intercepts
        arrays = [array for pair in zip(self.coefs_, self.intercepts_, strict=True) for array in pair]
        if not isinstance(self.activation, str) and self.activation:
            for i, name in enumerate((*self.activation, self.activation[-1])):
                if name == "logistic":  # for which scikit-learn's bound is sqrt(2 / fans), not sqrt(6 / fans)
                    for array in arrays[2 * i : 2 * i + 2]:
                        array /= np.sqrt(3.0)
        loss = LOSSES[self.out_activation_ if is_classifier(self) else self.loss]
        seed = self._random_state.randint(2**31 - 1) if self.dropout else 0  # no draw that scikit-learn does not make
        self._hold(MLP(layer_units, self.activation, loss, dtype, seed, initializer=arrays))

    def _targets(self, y: Array) -> Array:
        """Class indices in place of one-hot rows."""
        return y.argmax(axis=1) if self.out_activation_ == "softmax" else y

    def _weights(self, y: Array, sample_weight: Any, incremental: bool) -> Any:
        """A regressor's are what was given."""
        return sample_weight

    def _fit_lbfgs(self, X: Any, y: Array, sample_weight: Any, *workspace: Any) -> None:
        """scikit-learn's call of SciPy, which writes into `coefs_` and gets loss and gradient from `_backprop`."""
        network = self._network_to_train(workspace[-1])
        if network.dtype != np.float64:  # float32 is too coarse for a line search; scikit-learn's is in float64 too
            arrays = [array for pair in zip(self.coefs_, self.intercepts_, strict=True) for array in pair]
            self._hold(MLP(network.sizes, network.activation, network.loss_name, "float64", 0, initializer=arrays))
        super()._fit_lbfgs(X, y, self._weights(y, sample_weight, False), *workspace)
        network.parameters = self._network().parameters
        self._hold(network)

    def _backprop(
        self, X: Any, y: Array, sample_weight: Any, *workspace: Any
    ) -> tuple[float, list[Array], list[Array]]:
        total = X.shape[0] if sample_weight is None else sample_weight.sum()
        gradient = self._network().gradient(X, self._targets(y), self.alpha / total, sample_weight=sample_weight)
        return gradient.loss, gradient.weights, gradient.biases

    def _fit_stochastic(self, X: Any, y: Array, sample_weight: Any, *workspace: Any) -> None:
        layer_units, incremental = workspace[-2:]
        network = self._network_to_train(layer_units)
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        if not incremental or not hasattr(self, "_optimizer"):
            self._begin_optimizer()
        self._begin_records()
        sample_weight = self._weights(y, sample_weight, incremental)
        X, y, sample_weight, held_out = self._split(X, y, sample_weight)
        n_samples = X.shape[0]
        rate, stopped = _Held(self._optimizer.learning_rate), False

        def after_epoch(history: History) -> bool:
            nonlocal stopped
            stopped = self._end_epoch(history, n_samples, held_out)
            rate.learning_rate = self._optimizer.learning_rate
            ended = [callback(self, history) is True for callback in self.callbacks or ()]  # all are called
            stopped = stopped or any(ended)
            return stopped

        plan = Plan(
            epochs=1 if incremental else self.max_iter, batch_size=self._rows_of_a_batch(n_samples),
            learning_rate=rate, l2=float(self.alpha), l2_per_weight=True, optimizer=self._update,
            order=self._orders(), dropout=float(self.dropout), max_grad_norm=self.max_grad_norm,
            time_budget=self.time_budget,
        )  # fmt: skip
        try:
            network.train(X, self._targets(y), plan, sample_weight=sample_weight, memory=self._memory,
                          after_epoch=after_epoch)  # fmt: skip
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=2)
        except DivergenceError as error:
            if not (self.early_stopping and self.n_iter_):  # else there is a best epoch to go back to
                raise ValueError(
                    "Solver produced non-finite parameter weights. The input data may contain large values and need to "
                    "be preprocessed." + (f" Try {error.about_targets}" if error.about_targets else "")
                ) from error
            warnings.warn(str(error), ConvergenceWarning, stacklevel=2)
        if self.n_iter_ == self.max_iter and not (stopped or incremental):
            warnings.warn(f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the optimization "
                          "hasn't converged yet.", ConvergenceWarning, stacklevel=2)  # fmt: skip
        if self.early_stopping:
            for view, best in zip(self._views, (*self._best_coefs, *self._best_intercepts), strict=True):
                view[...] = best
            del self._best_coefs, self._best_intercepts

    def _begin_optimizer(self) -> None:
        """An update for the kernels, what it remembers, and scikit-learn's optimizer, for its rate and its stopping."""
        self._memory = OptimizerState()
        if self.solver == "adam":
            self._optimizer = AdamOptimizer([], self.learning_rate_init)
            self._update = _Adam(self.beta_1, self.beta_2, self.epsilon)
        else:
            self._optimizer = SGDOptimizer([], self.learning_rate_init, self.learning_rate, power_t=self.power_t)
            plain = self.momentum == 0  # the same numbers, without a velocity
            self._update = SGD() if plain else _Velocity(self.momentum, self.nesterovs_momentum)

    def _begin_records(self) -> None:
        """Those of `_initialize`, which a warm start after lbfgs, or with another way of stopping, lacks."""
        self.n_iter_ = 0
        self.__dict__.setdefault("loss_curve_", [])
        self.__dict__.setdefault("_no_improvement_count", 0)
        best = getattr(self, "best_loss_", None)
        self.best_loss_ = None if self.early_stopping else np.inf if best is None else best
        scored = self.early_stopping or self.validation_data is not None
        if getattr(self, "validation_scores_", None) is None and scored:
            self.validation_scores_, self.best_validation_score_ = [], -np.inf
        if self.early_stopping:
            self._best_coefs = [array.copy() for array in self.coefs_]
            self._best_intercepts = [array.copy() for array in self.intercepts_]

    def _split(self, X: Any, y: Array, sample_weight: Any) -> tuple[Any, Array, Any, tuple[Any, Any, Any]]:
        """What to train on, and (X, y, weights) to score every epoch, None each where nothing is."""
        if self.validation_data is not None:
            return X, y, sample_weight, (*self._validation_data(), None)
        if not self.early_stopping:
            return X, y, sample_weight, (None, None, None)
        arrays = (X, y) if sample_weight is None else (X, y, sample_weight)
        stratify = y if is_classifier(self) and self.n_outputs_ == 1 else None
        parts = train_test_split(
            *arrays, random_state=self._random_state, test_size=self.validation_fraction, stratify=stratify
        )
        (X, y, sample_weight), (X_held, y_held, weight_held) = ((*parts[i::2], None)[:3] for i in (0, 1))
        if X_held.shape[0] < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            )
        if is_classifier(self):
            y_held = self._label_binarizer.inverse_transform(y_held)
        return X, y, sample_weight, (X_held, y_held, weight_held)

    def _validation_data(self) -> tuple[Any, Array]:
        if len(self.validation_data) != 2:
            raise ValueError(f"validation_data: got {len(self.validation_data)} items, expected a pair (X, y)")
        try:
            X, y = validate_data(self, *self.validation_data, accept_sparse=["csr", "csc"], multi_output=True,
                                 y_numeric=not is_classifier(self), dtype=DTYPES, reset=False)  # fmt: skip
        except ValueError as error:
            raise ValueError(f"validation_data: {error}") from error
        return X, column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y

    def _rows_of_a_batch(self, n_samples: int) -> int:
        if self.batch_size == "auto":
            return min(200, n_samples)
        if self.batch_size > n_samples:
            warnings.warn("Got `batch_size` less than 1 or larger than sample size. It is going to be clipped",
                          stacklevel=2)  # fmt: skip
        return min(int(self.batch_size), n_samples)

    def _orders(self) -> Callable[[int], NDArray[np.int64] | None]:
        """Each epoch's order of the rows: that of the epoch before, shuffled by the draws of `sklearn.utils.shuffle`,
        whose own checks take 0.3 ms an epoch."""
        order: NDArray[np.int64] | None = None

        def following(rows: int) -> NDArray[np.int64] | None:
            nonlocal order
            if self.shuffle:
                drawn = np.arange(rows)
                self._random_state.shuffle(drawn)
                order = drawn if order is None else order[drawn]
            return order

        return following

    def _end_epoch(self, history: History, n_samples: int, held_out: tuple[Any, Any, Any]) -> bool:
        """Take note of an epoch, as scikit-learn does; True where training is to stop."""
        self.n_iter_ += 1
        self.loss_ = history.loss[-1]
        self.t_ += n_samples
        self.loss_curve_.append(self.loss_)
        if self.verbose:
            print(f"Iteration {self.n_iter_}, loss = {self.loss_:.8f}")
        self._update_no_improvement_count(self.early_stopping, *held_out)
        if self.validation_data is not None and not self.early_stopping:
            self.validation_scores_.append(self._score(*held_out[:2]))
            self.best_validation_score_ = float(np.fmax(self.best_validation_score_, self.validation_scores_[-1]))
        if held_out[0] is not None:
            history.validation_score.append(self.validation_scores_[-1])
        self._optimizer.iteration_ends(self.t_)
        if not self._no_improvement_count > self.n_iter_no_change:
            return False
        what = "Validation score" if self.early_stopping else "Training loss"
        words = f"{what} did not improve more than tol={self.tol:f} for {self.n_iter_no_change} consecutive epochs."
        stops = bool(self._optimizer.trigger_stopping(words, self.verbose))
        if not stops:
            self._no_improvement_count = 0
        return stops
